/* Makes machine code of a module within a limit of time. wasmtime cannot be interrupted, so that a compilation with a
 * limit has a thread of its own; one that passes the limit is given up: it runs on at the lowest priority until it
 * ends, and what it made is thrown away.
 *
 * in:   module bytes (hostile).
 * out:  wasmtime modules.
 * owns: compilations that were given up, with the bytes they read. */
#include "host/engine.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MAX_GIVEN_UP = 4,
    WALL_FACTOR = 8, /* a thread that gets no processor is not to wait for ever */
    LEAST_WAIT_NS = 1000000,
    LOWEST_PRIORITY = 19
};

/* Lives as long as the engine or the last compilation that was given up. */
struct compile_room {
    pthread_mutex_t lock; /* of all that follows and of every job */
    uint32_t given_up;
    bool left; /* the engine is gone */
};

struct job {
    struct compile_room *room;
    wasm_engine_t *engine;
    struct str wasm; /* its own copy */
    wasmtime_module_t *module;
    wasmtime_error_t *error;
    pthread_cond_t ended;
    pid_t thread_id;
    bool done, given_up;
};

struct compile_room *compile_room_new(void) {
    struct compile_room *room = calloc(1, sizeof *room);
    if (room) pthread_mutex_init(&room->lock, NULL);
    return room;
}

static void room_free(struct compile_room *room) {
    pthread_mutex_destroy(&room->lock);
    free(room);
}

bool compile_room_leave(struct compile_room *room) {
    pthread_mutex_lock(&room->lock);
    bool alone = room->given_up == 0;
    room->left = true;
    pthread_mutex_unlock(&room->lock);
    if (alone) room_free(room);
    return alone;
}

static void job_free(struct job *j) {
    if (j->module) wasmtime_module_delete(j->module);
    if (j->error) wasmtime_error_delete(j->error);
    pthread_cond_destroy(&j->ended);
    free((char *)j->wasm.ptr);
    free(j);
}

static struct job *job_new(struct engine *e, struct str wasm) {
    pthread_condattr_t monotonic;
    struct job *j = calloc(1, sizeof *j);
    char *copy = malloc(wasm.len + 1);
    if (!j || !copy || pthread_condattr_init(&monotonic)) {
        free(j);
        free(copy);
        return NULL;
    }
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&j->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    memcpy(copy, wasm.ptr, wasm.len);
    j->room = e->room;
    j->engine = e->wasm;
    j->wasm = (struct str){copy, wasm.len};
    return j;
}

static void *job_run(void *arg) {
    struct job *j = arg;
    struct compile_room *room = j->room;
    pthread_mutex_lock(&room->lock);
    j->thread_id = (pid_t)syscall(SYS_gettid);
    pthread_mutex_unlock(&room->lock);
    wasmtime_module_t *module = NULL;
    wasmtime_error_t *error =
        wasmtime_module_new(j->engine, (const uint8_t *)j->wasm.ptr, j->wasm.len, &module);
    pthread_mutex_lock(&room->lock);
    j->module = error ? NULL : module;
    j->error = error;
    j->done = true;
    bool last = j->given_up && --room->given_up == 0 && room->left;
    pthread_cond_signal(&j->ended);
    bool given_up = j->given_up;
    pthread_mutex_unlock(&room->lock);
    if (given_up) job_free(j); /* else its starter waits and frees it */
    if (last) room_free(room);
    return NULL;
}

/* Processor's time of a thread; 0 where it cannot be known: then only the wall's limit holds. */
static uint64_t thread_ns(pthread_t thread) {
    clockid_t clock;
    return pthread_getcpuclockid(thread, &clock) ? 0 : clock_of(clock);
}

/* Waits, with the room's lock held, until the job is done or has used up its time. */
static void job_wait(struct job *j, pthread_t thread, uint64_t max_ns) {
    uint64_t start = clock_ns(), used = 0;
    while (!j->done && (used = thread_ns(thread)) < max_ns && clock_ns() - start < WALL_FACTOR * max_ns) {
        uint64_t left = max_ns - used, until = clock_ns() + (left > LEAST_WAIT_NS ? left : LEAST_WAIT_NS);
        struct timespec t = {(time_t)(until / 1000000000), (long)(until % 1000000000)};
        pthread_cond_timedwait(&j->ended, &j->room->lock, &t);
    }
}

static enum err compile_here(struct engine *e, struct str wasm, wasmtime_module_t **out,
                             struct load_message *message) {
    wasmtime_error_t *error = wasmtime_module_new(e->wasm, (const uint8_t *)wasm.ptr, wasm.len, out);
    if (!error) return OK;
    *out = NULL;
    load_say_error(message, "module does not validate", error);
    return ERR_INVALID;
}

static enum err job_outcome(struct job *j, wasmtime_module_t **out, struct load_message *message) {
    enum err err = OK;
    *out = j->module;
    j->module = NULL;
    if (j->error) {
        load_say_error(message, "module does not validate", j->error);
        err = ERR_INVALID;
    }
    j->error = NULL;
    job_free(j);
    return err;
}

enum err code_compile(struct engine *e, struct str wasm, uint64_t max_us, wasmtime_module_t **out,
                 struct load_message *message) {
    pthread_t thread;
    if (max_us == 0) return compile_here(e, wasm, out, message);
    struct compile_room *room = e->room;
    struct job *j = job_new(e, wasm);
    if (!j) return ERR_MEMORY;
    pthread_mutex_lock(&room->lock);
    bool crowded = room->given_up >= MAX_GIVEN_UP;
    if (crowded || pthread_create(&thread, NULL, job_run, j)) {
        pthread_mutex_unlock(&room->lock);
        job_free(j);
        load_say(message, crowded ? "modules that took too long to compile keep the compiler busy"
                                  : "no thread to compile in");
        return crowded ? ERR_OVERLOAD : ERR_MEMORY;
    }
    job_wait(j, thread, max_us * 1000);
    if (j->done) {
        pthread_mutex_unlock(&room->lock);
        pthread_join(thread, NULL);
        return job_outcome(j, out, message);
    }
    j->given_up = true;
    room->given_up++;
    if (j->thread_id) setpriority(PRIO_PROCESS, (id_t)j->thread_id, LOWEST_PRIORITY);
    pthread_mutex_unlock(&room->lock);
    pthread_detach(thread);
    load_say(message, "compiling takes longer than the limit of %llu ms", (unsigned long long)(max_us / 1000));
    return ERR_LIMIT;
}
