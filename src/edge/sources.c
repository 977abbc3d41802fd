/* The life of sources: one thread that fetches, loaders that offer what it brings, and those who wait for them.
 *
 * in:   the configuration's sources; versions that are asked for; tenants that requests name.
 * out:  candidates for the activator (source_load.c), metrics, status.
 * owns: its threads and tables.
 * How it fits together: source_work.h. Why one thread: docs/decisions/0018-one-thread-fetches.md. */
#include "edge/sources.h"
#include "base/clock.h"
#include "edge/priority.h"
#include "edge/source_work.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { PROGRESS_MS = 1000 };

/* ---- the thread ---- */

static bool is_idle(struct sources *s) { return !s->to_load && !s->loading; }

/* Nothing of the configuration before is in use any more: requests are dropped, and loaders have ended. */
static void quiesce(struct sources *s) {
    source_cancel_all(s);
    pthread_mutex_lock(&s->lock);
    while (!is_idle(s)) pthread_cond_wait(&s->changed, &s->lock);
    struct errand *loaded = s->loaded;
    s->loaded = NULL;
    pthread_mutex_unlock(&s->lock);
    for (struct errand *next; loaded; loaded = next) {
        next = loaded->next;
        supply_loaded(loaded);
    }
}

static void take_up(struct sources *s) {
    s->now_ms = clock_ms();
    quiesce(s);
    if (origins_take_up(s, s->next))
        log_line(s->options.log, LOG_ERROR, "sources not taken up", "reason", err_meaning(ERR_MEMORY), NULL);
    s->first_done = false;
    for (uint32_t i = 0; i < s->n_origins; i++)
        if (!s->origins[i].config->discover) origin_sweep(s, &s->origins[i]);
    pthread_mutex_lock(&s->lock);
    s->take_up = false;
    s->first_round_over = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void *run(void *ctx) {
    struct sources *s = ctx;
    priority_of_lane();
    for (;;) {
        pthread_mutex_lock(&s->lock);
        bool stop = s->stop, change = s->take_up;
        pthread_mutex_unlock(&s->lock);
        if (stop) break;
        if (change)
            take_up(s);
        else
            source_work(s);
    }
    quiesce(s);
    wants_end(s);
    struct activation stopped = {.kind = ACTIVATION_REFUSED, .err = ERR_IO, .why = "the node stops"};
    for (struct supply *t = s->all; t; t = t->next) supply_end(s, t, &stopped);
    pthread_mutex_lock(&s->lock);
    for (struct order *o = s->orders; o; o = o->next) *o->out = stopped, o->done = true;
    s->orders = NULL;
    s->stopped = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- starting and changing ---- */

static enum err begin(struct sources *s, char *why, size_t why_bytes) {
    enum err e = fetch_set_new(SOURCE_CONNECTIONS, &s->fetches, why, why_bytes);
    if (e) return e == ERR_UNSUPPORTED ? ERR_INVALID : e;
    if ((e = loaders_start(s))) return e;
    s->running = pthread_create(&s->thread, NULL, run, s) == 0;
    return s->running ? OK : ERR_MEMORY;
}

enum err sources_new(const struct sources_options *options, struct sources **out, char *why, size_t why_bytes) {
    struct sources *s = calloc(1, sizeof *s);
    pthread_condattr_t attr;
    why[0] = 0;
    if (!s) return ERR_MEMORY;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, &attr);
    pthread_cond_init(&s->work, NULL);
    pthread_condattr_destroy(&attr);
    s->options = *options;
    s->config = options->config;
    s->to_load_end = &s->to_load;
    s->negative = calloc(1, sizeof *s->negative);
    enum err e = s->negative ? OK : ERR_MEMORY;
    if (!e && (getrandom(s->random, sizeof s->random, 0) != sizeof s->random ||
               getrandom(s->negative->key, sizeof s->negative->key, 0) != sizeof s->negative->key))
        e = ERR_IO;
    if (!e) e = sources_configure(s, options->config, why, why_bytes);
    if (e)
        sources_free(s);
    else
        *out = s;
    return e;
}

/* Returns when the thread has taken it up, so that the configuration before may be freed. */
enum err sources_configure(struct sources *s, const struct edge_config *config, char *why, size_t why_bytes) {
    why[0] = 0;
    if (!s->running && !config->sources.n) {
        s->config = config;
        return OK;
    }
    if (!s->running) {
        enum err e = begin(s, why, why_bytes);
        if (e) return e;
    }
    pthread_mutex_lock(&s->lock);
    s->next = config;
    s->take_up = true;
    fetch_set_wake(s->fetches);
    while (s->take_up && !s->stopped) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return OK;
}

void sources_stop(struct sources *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->work);
    if (s->fetches) fetch_set_wake(s->fetches);
    pthread_mutex_unlock(&s->lock);
    if (s->running) pthread_join(s->thread, NULL);
    s->running = false;
    loaders_stop(s);
}

void sources_free(struct sources *s) {
    if (!s) return;
    sources_stop(s);
    fetch_set_free(s->fetches);
    origins_free(s);
    free(s->negative);
    pthread_cond_destroy(&s->changed);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- who waits ---- */

static struct timespec in_ms(int64_t ms) {
    int64_t at = clock_ms() + ms;
    return (struct timespec){(time_t)(at / 1000), (long)(at % 1000) * 1000000};
}

static void tell_progress(struct sources *s) {
    char n[3][16];
    snprintf(n[0], 16, "%u", s->first_loaded);
    snprintf(n[1], 16, "%u", s->first_of);
    snprintf(n[2], 16, "%u", s->first_failed);
    log_line(s->options.log, LOG_INFO, "loading from sources", "loaded", n[0], "of", n[1], "failed", n[2], NULL);
}

bool sources_first_round(struct sources *s, uint32_t timeout_ms, uint32_t *loaded, uint32_t *failed) {
    int64_t end = clock_ms() + timeout_ms;
    pthread_mutex_lock(&s->lock);
    while (s->running && s->n_origins && !s->first_round_over && !s->stop && clock_ms() < end) {
        struct timespec until = in_ms(end - clock_ms() < PROGRESS_MS ? end - clock_ms() : PROGRESS_MS);
        pthread_cond_timedwait(&s->changed, &s->lock, &until);
        if (!s->progress_ms) s->progress_ms = clock_ms();
        if (clock_ms() - s->progress_ms < PROGRESS_MS) continue;
        s->progress_ms = clock_ms();
        tell_progress(s);
    }
    bool over = !s->running || !s->n_origins || s->first_round_over || s->stop;
    *loaded = s->first_loaded;
    *failed = s->first_failed;
    pthread_mutex_unlock(&s->lock);
    return over;
}

static void forget_order(struct sources *s, struct order *order) {
    for (struct order **at = &s->orders; *at; at = &(*at)->next)
        if (*at == order) {
            *at = order->next;
            return;
        }
}

void sources_load_now(struct sources *s, struct str tenant, struct str version, bool allow_older,
                      struct activation *out) {
    struct order *o = calloc(1, sizeof *o);
    *out = (struct activation){.kind = ACTIVATION_REFUSED, .err = o ? ERR_NOT_FOUND : ERR_MEMORY};
    bool valid = source_tenant_valid(tenant) && (!version.len || source_version_valid(version));
    snprintf(out->why, sizeof out->why, valid ? "no source has the tenant" : "no such tenant or version can be");
    if (!o) return;
    snprintf(o->id, sizeof o->id, "%.*s", STR_FMT(tenant));
    snprintf(o->version, sizeof o->version, "%.*s", STR_FMT(version));
    o->allow_older = allow_older;
    o->out = out;
    pthread_mutex_lock(&s->lock);
    if (valid && s->running && s->n_origins && !s->stop && !s->stopped) {
        o->next = s->orders;
        s->orders = o;
        fetch_set_wake(s->fetches);
        while (!o->done) pthread_cond_wait(&s->changed, &s->lock); /* every request has its timeout */
    }
    forget_order(s, o);
    pthread_mutex_unlock(&s->lock);
    free(o);
}
