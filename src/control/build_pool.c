/* Threads that build: each takes a batch of jobs, reads, builds, uploads, commits, and begins
 * again. in: jobs in the store, of any process. out: versions in the blob store and in the store,
 * releases. owns: the threads, a builder and arenas for each. */
#include "base/clock.h"
#include "control/build_private.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    THREADS_MOST = 256,
    IDLE_MS = 1000,
    CLOCK_ARENA_BYTES = 1 << 20,
    OLDEST_EVERY = 4,
    FIRST_JOB_US = 100000,
    COMPLAIN_MS = 5000
};

/* ---- a turn ---- */

/* All threads notice at once, and again and again: one of them says so now and then. */
static void complain(struct build_worker *w, const char *what, const char *why) {
    int64_t now = clock_ms(), last = atomic_load(&w->pool->complained_ms);
    if ((last && now - last < COMPLAIN_MS) ||
        !atomic_compare_exchange_strong(&w->pool->complained_ms, &last, now))
        return;
    log_line(w->control->log, LOG_WARN, "building is held up", "at", what, "error", why, NULL);
}

static uint32_t batch_limit(const struct build_worker *w) {
    if (atomic_load(&w->pool->blob_failures))
        return 1; /* one is enough to see whether it works again */
    int64_t n = (int64_t)BATCH_MS * 1000 / (w->job_us + 1);
    return n < 1 ? 1 : n > BATCH_MOST ? BATCH_MOST : (uint32_t)n;
}

/* The blob store failed: nobody claims for a while that grows with each failure. */
static void note_blobs(struct build_worker *w, bool failed) {
    struct build_pool *p = w->pool;
    if (!failed) {
        atomic_store(&p->blob_failures, 0);
        return;
    }
    uint32_t n = atomic_fetch_add(&p->blob_failures, 1);
    int64_t lease = build_lease_ms(w->control), pause = (lease / 60 + 1) << (n < 5 ? n : 5);
    atomic_store(&p->hold_ms, control_now_ms() + (pause < lease ? pause : lease));
}

static void build_all(struct build_worker *w) {
    struct batch *b = &w->batch;
    int64_t end = clock_ms() + BATCH_MS;
    for (uint32_t i = 0; i < b->n; i++) {
        struct job *j = &b->jobs[i];
        if (j->outcome != JOB_READY) continue;
        if (i && (clock_ms() >= end || atomic_load(&w->pool->stopping))) return;
        build_run(w, j);
        w->job_us = (w->job_us * 7 + j->took_us) / 8;
        if (j->outcome == JOB_BUILT) note_blobs(w, false);
        if (j->outcome != JOB_RETRY) continue;
        complain(w, "the blob store", j->errors.ptr);
        note_blobs(w, true);
        return;
    }
}

/* What is in the blob store must survive a power cut before the store says that it is there. */
static void sync_blobs(struct build_worker *w) {
    struct batch *b = &w->batch;
    char why[BLOB_WHY_BYTES] = "";
    bool any = false;
    for (uint32_t i = 0; i < b->n; i++) any = any || b->jobs[i].outcome == JOB_BUILT;
    if (!any || blobs_sync(w->control->blobs, why) == OK) return;
    complain(w, "the blob store", why);
    note_blobs(w, true);
    for (uint32_t i = 0; i < b->n; i++) {
        struct job *j = &b->jobs[i];
        if (j->outcome != JOB_BUILT) continue;
        j->outcome = j->attempts >= ATTEMPTS_MOST ? JOB_FAILED : JOB_RETRY;
        j->errors = build_error(b->arena, "blob_store", "%s", why);
    }
}

static enum err run_batch(struct build_worker *w) {
    enum err e = build_read_inputs(w);
    if (e) return e;
    build_all(w);
    sync_blobs(w);
    return build_commit(w);
}

/* The clock renews whatever is this thread's by the rows, so nothing may stay there that it does
 * not work on. */
static enum err settle_debts(struct build_worker *w) {
    if (!w->owes) return OK;
    enum err e = build_give_back(w);
    w->owes = e != OK;
    return e;
}

static enum err claim_and_run(struct build_worker *w, bool *some) {
    enum err e = settle_debts(w);
    if (e) return e;
    w->owes = true;
    e = build_claim(w, batch_limit(w), w->turns++ % OLDEST_EVERY == OLDEST_EVERY - 1);
    if (e == OK && w->batch.n) e = run_batch(w);
    if (e) return e;
    w->owes = false;
    *some = w->batch.n > 0;
    return OK;
}

/* false: nothing to do, or nothing that can be done now. */
static bool turn(struct build_worker *w) {
    char why[DB_WHY_BYTES];
    bool some = false;
    if (control_now_ms() < atomic_load(&w->pool->hold_ms)) return false;
    enum err e = db_take(w->control->db, &w->db, why);
    if (e) return complain(w, "the store", why), false;
    arena_reset(&w->arena);
    e = claim_and_run(w, &some);
    if (e) {
        complain(w, "the store", db_why(w->db));
        if (settle_debts(w)) complain(w, "the store", "jobs are given back later");
    }
    w->batch.n = 0;
    db_put(w->db);
    w->db = NULL;
    return some;
}

/* ---- threads ---- */

static void timed_wait(struct build_pool *p, int64_t ms) {
    struct timespec t = clock_after(CLOCK_MONOTONIC, ms);
    pthread_cond_timedwait(&p->woken, &p->lock, &t);
}

static void *work(void *arg) {
    struct build_worker *w = arg;
    struct build_pool *p = w->pool;
    for (uint64_t seen = 0; !atomic_load(&p->stopping);) {
        if (turn(w)) continue;
        pthread_mutex_lock(&p->lock);
        if (p->wakes == seen && !atomic_load(&p->stopping)) timed_wait(p, IDLE_MS);
        seen = p->wakes;
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

/* Renews what this process holds, and wakes threads when something is due: another process may have
 * died. */
static bool tick(struct build_pool *p, struct arena *a) {
    struct db_conn *c;
    char why[DB_WHY_BYTES];
    bool due = false;
    arena_reset(a);
    if (db_take(p->control->db, &c, why)) return false;
    enum err e = build_renew(p, c, a);
    if (e == OK) e = build_due(c, a, &due);
    db_put(c);
    return e == OK && due;
}

static void *run_clock(void *arg) {
    struct build_pool *p = arg;
    struct arena a;
    int64_t every = build_lease_ms(p->control) / 4;
    arena_init(&a, CLOCK_ARENA_BYTES);
    if (every > IDLE_MS) every = IDLE_MS;
    pthread_mutex_lock(&p->lock);
    while (!atomic_load(&p->stopping)) {
        int64_t end = clock_ms() + every;
        while (clock_ms() < end && !atomic_load(&p->stopping)) timed_wait(p, end - clock_ms());
        pthread_mutex_unlock(&p->lock);
        bool due = tick(p, &a);
        pthread_mutex_lock(&p->lock);
        if (!due) continue;
        p->wakes++;
        pthread_cond_broadcast(&p->woken);
    }
    pthread_mutex_unlock(&p->lock);
    arena_deinit(&a);
    return NULL;
}

const struct build_counts *build_pool_counts(const struct build_pool *p) { return &p->counts; }

void build_pool_wake(struct build_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->wakes++;
    pthread_cond_broadcast(&p->woken);
    pthread_mutex_unlock(&p->lock);
}

/* ---- life ---- */

static enum err worker_start(struct build_pool *p, uint32_t i) {
    struct build_worker *w = &p->workers[i];
    w->pool = p;
    w->control = p->control;
    w->job_us = FIRST_JOB_US;
    snprintf(w->owner, sizeof w->owner, "%s/%u", p->control->id, i);
    arena_init(&w->arena, BATCH_MAX_BYTES);
    arena_init(&w->job_arena, JOB_BYTES);
    arena_init(&w->kept_arena, SOURCES_MAX_BYTES);
    w->batch.arena = &w->arena;
    enum err e = builder_new(p->shared, p->control->signer, &w->builder);
    if (e) return e;
    if (pthread_create(&w->thread, NULL, work, w)) return ERR_MEMORY;
    w->started = true;
    return OK;
}

static uint32_t cores(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > THREADS_MOST ? THREADS_MOST : (uint32_t)n;
}

static void init_lock(struct build_pool *p) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->woken, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&p->lock, NULL);
}

enum err build_pool_new(struct control *control, struct build_pool **out, char why[DB_WHY_BYTES]) {
    struct build_pool *p = calloc(1, sizeof *p);
    uint32_t n = control->config->build_threads ? control->config->build_threads : cores();
    if (n > THREADS_MOST) n = THREADS_MOST;
    if (!p) return snprintf(why, DB_WHY_BYTES, "no memory for threads that build"), ERR_MEMORY;
    p->control = control;
    init_lock(p);
    p->workers = calloc(n, sizeof *p->workers);
    p->n_workers = p->workers ? n : 0;
    enum err e = p->workers ? builder_shared_new(&p->shared) : ERR_MEMORY;
    for (uint32_t i = 0; i < n && e == OK; i++) e = worker_start(p, i);
    if (e == OK && pthread_create(&p->clock, NULL, run_clock, p)) e = ERR_MEMORY;
    p->clock_started = e == OK;
    if (e) {
        snprintf(why, DB_WHY_BYTES, "threads that build do not start: %s", err_meaning(e));
        build_pool_free(p);
        return e;
    }
    *out = p;
    return OK;
}

void build_pool_free(struct build_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stopping, true);
    pthread_cond_broadcast(&p->woken);
    pthread_mutex_unlock(&p->lock);
    if (p->clock_started) pthread_join(p->clock, NULL);
    for (uint32_t i = 0; i < p->n_workers; i++) {
        struct build_worker *w = &p->workers[i];
        if (w->started) pthread_join(w->thread, NULL);
        if (w->builder) builder_free(w->builder);
        if (!w->pool) continue;
        arena_deinit(&w->arena);
        arena_deinit(&w->job_arena);
        arena_deinit(&w->kept_arena);
    }
    if (p->shared) builder_shared_free(p->shared);
    free(p->workers);
    pthread_cond_destroy(&p->woken);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
