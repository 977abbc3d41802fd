/* The engine: wasmtime's own, the thread that ticks epochs, and the host functions' linker.
 *
 * in:   engine_options.
 * out:  struct engine, from which code, policies and instances are made.
 * owns: wasmtime's engine and linker, the ticker thread; the code table's entries are counted. */
#include "host/engine.h"
#include "host/instance.h"
#include "host/pages.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

void load_say(struct load_message *m, const char *format, ...) {
    va_list args;
    if (!m) return;
    va_start(args, format);
    vsnprintf(m->text, sizeof m->text, format, args);
    va_end(args);
}

void load_say_error(struct load_message *m, const char *what, wasmtime_error_t *error) {
    wasm_byte_vec_t text;
    wasmtime_error_message(error, &text);
    load_say(m, "%s: %.*s", what, (int)(text.size < 400 ? text.size : 400), text.data);
    wasm_byte_vec_delete(&text);
    wasmtime_error_delete(error);
}

/* wasmtime aborts when the pool's address space cannot be had, so it is tried first and the pool
 * halved until it fits (sanitizers and ulimit -v leave less). */
static uint32_t pool_that_fits(uint32_t instances, uint64_t reservation) {
    for (; instances > 16; instances /= 2) {
        uint64_t bytes = (instances + 1) * (reservation + GUARD_BYTES);
        void *p = mmap(NULL, bytes + bytes / 8, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) continue;
        munmap(p, bytes + bytes / 8);
        break;
    }
    return instances;
}

void engine_unpark(struct engine *e) {
    pthread_mutex_lock(&e->stop_lock);
    atomic_store(&e->parked, false);
    pthread_cond_signal(&e->stop);
    pthread_mutex_unlock(&e->stop_lock);
}

/* An idle node wakes up for nothing: when no evaluation wanted ticks since the last look, sleeps until one does. True
 * after such a sleep. */
static bool ticker_park(struct engine *e) {
    if (atomic_exchange(&e->wanted, false)) return false;
    atomic_store(&e->parked, true);
    if (atomic_load(&e->wanted)) atomic_store(&e->parked, false);
    bool slept = false;
    for (; atomic_load(&e->parked) && !e->stopping; slept = true) pthread_cond_wait(&e->stop, &e->stop_lock);
    return slept;
}

static void *ticker_run(void *arg) {
    struct engine *e = arg;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&e->stop_lock);
    for (uint32_t ticks = 1; !e->stopping; ticks++) {
        if (ticks % (2 * TICKS_AT_MOST) == 0 && ticker_park(e)) clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_nsec += (long)e->options.tick_us * 1000;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        while (!e->stopping && pthread_cond_timedwait(&e->stop, &e->stop_lock, &next) != ETIMEDOUT) {
        }
        wasmtime_engine_increment_epoch(e->wasm);
    }
    pthread_mutex_unlock(&e->stop_lock);
    return NULL;
}

/* A tick's sleep ends at once when the engine does. */
static int ticker_start(struct engine *e) {
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic)) return -1;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&e->stop_lock, NULL);
    pthread_cond_init(&e->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return pthread_create(&e->ticker, NULL, ticker_run, e);
}

static void ticker_stop(struct engine *e) {
    pthread_mutex_lock(&e->stop_lock);
    e->stopping = true;
    pthread_cond_signal(&e->stop);
    pthread_mutex_unlock(&e->stop_lock);
    pthread_join(e->ticker, NULL);
    pthread_cond_destroy(&e->stop);
    pthread_mutex_destroy(&e->stop_lock);
}

static void settings_print(struct engine *e) {
    const struct engine_options *o = &e->options;
    snprintf(e->settings, sizeof e->settings,
             "regent-host 1 wasmtime %s quick %d reservation %llu guard %u fuel %d stack %u",
             WASMTIME_VERSION, o->quick_compile, (unsigned long long)o->memory_reservation_bytes,
             (unsigned)GUARD_BYTES, o->fuel, (unsigned)STACK_LIMIT_BYTES);
}

enum err engine_new(const struct engine_options *options, struct engine **out) {
    enum err err = ERR_MEMORY;
    struct engine *e = calloc(1, sizeof *e);
    if (!e) return ERR_MEMORY;
    pthread_mutex_init(&e->code_lock, NULL);
    pthread_cond_init(&e->code_ready, NULL);
    e->pagemap = -1;
    atomic_init(&e->next_policy_id, 1);
    if (options) e->options = *options;
    engine_options_fill(&e->options);
    e->options.max_instances =
        pool_that_fits(e->options.max_instances, e->options.memory_reservation_bytes);
    settings_print(e);
    if (e->options.cache_dir) {
        char *copy = strdup(e->options.cache_dir);
        e->options.cache_dir = copy;
        if (!copy) goto out;
        e->has_disk = disk_open(e);
    }
    e->wasm = wasm_engine_new_with_config(engine_config_new(&e->options));
    if (!e->wasm) goto out;
    e->linker = wasmtime_linker_new(e->wasm);
    if (!e->linker || !imports_define(e->linker)) goto out;
    if (!(e->room = compile_room_new())) goto out;
    if ((err = offers_init(&e->offers, runtime_module())) != OK) goto out;
    err = ERR_MEMORY;
    e->pagemap = pages_open();
    if (ticker_start(e) != 0) goto out;
    *out = e;
    return OK;
out:
    if (e->room) compile_room_leave(e->room);
    offers_deinit(&e->offers);
    pages_close(e->pagemap);
    if (e->linker) wasmtime_linker_delete(e->linker);
    if (e->wasm) wasm_engine_delete(e->wasm);
    free((char *)e->options.cache_dir);
    free(e);
    return err;
}

static void codes_free(struct engine *e) {
    for (unsigned i = 0; i < CODE_BUCKETS; i++) {
        for (struct code *c = e->buckets[i], *next; c; c = next) {
            next = c->next;
            code_free(c);
        }
    }
}

void engine_free(struct engine *e) {
    if (!e) return;
    ticker_stop(e);
    codes_free(e);
    wasmtime_linker_delete(e->linker);
    /* A compilation that was given up still uses it: then it goes with the process. */
    if (compile_room_leave(e->room)) wasm_engine_delete(e->wasm);
    offers_deinit(&e->offers);
    pages_close(e->pagemap);
    pthread_mutex_destroy(&e->code_lock);
    pthread_cond_destroy(&e->code_ready);
    free((char *)e->options.cache_dir);
    free(e);
}

void engine_stats(struct engine *e, struct engine_stats *out) {
    uint64_t freed = atomic_load(&e->counts.instances_freed); /* first: never more than were made */
    *out = (struct engine_stats){.instances_created = atomic_load(&e->counts.instances_created),
                                 .instances_evicted = atomic_load(&e->counts.instances_evicted),
                                 .code_from_memory = atomic_load(&e->counts.code_from[CODE_FROM_MEMORY]),
                                 .code_from_disk = atomic_load(&e->counts.code_from[CODE_FROM_DISK]),
                                 .code_compiled = atomic_load(&e->counts.code_from[CODE_COMPILED])};
    out->instances = out->instances_created - freed;
    pthread_mutex_lock(&e->code_lock);
    for (uint32_t i = 0; i < CODE_BUCKETS; i++)
        for (const struct code *c = e->buckets[i]; c; c = c->next) {
            out->code_modules += c->ready;
            out->code_bytes += c->ready ? c->bytes : 0;
        }
    pthread_mutex_unlock(&e->code_lock);
}
