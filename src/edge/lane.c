/* Lanes: threads of low priority that answer what was put off, one request at a time each, fairly by tenant.
 * in: jobs from event loops. out: the same jobs, answered, posted back. owns: threads, their workers, the queue. */
#include "edge/lane.h"
#include "base/clock.h"
#include "edge/decision_log.h"
#include "edge/metrics.h"
#include "edge/priority.h"
#include "edge/process.h"
#include "edge/tracer.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

enum { BODY_BYTES = 64 << 20 };

struct lane {
    pthread_t id;
    struct lanes *lanes;
    struct worker worker;
    struct setup *setup, *next_setup; /* next_*: under the lock, taken up between requests */
    struct identifier *next_identifier;
    struct buf body;
    bool started;
};

struct lanes {
    struct lanes_options options;
    pthread_mutex_t lock;
    pthread_cond_t work, clock;
    pthread_t clock_id;
    struct queue queue;
    uint32_t n_idle;
    uint64_t wait_ns;
    bool stopping, clock_started;
    uint32_t n;
    struct lane lanes[];
};

/* ---- one lane ---- */

static void answer(struct lane *lane, struct job *job) {
    struct worker *w = &lane->worker;
    const struct http_request *q = http_pending_request(job->pending);
    struct http_reply reply;
    if (http_pending_gone(job->pending)) return;
    buf_clear(&lane->body);
    http_reply_init(&reply, &lane->body);
    worker_begin(w, job->charged, job->held);
    enum door_outcome outcome = job->door->handle(w, q, &reply);
    decision_log_end(w);
    if (w->spans) tracer_end(w, outcome == DOOR_LATER ? NULL : &reply);
    if (outcome == DOOR_LATER || lane->body.err) return;
    job->answer = http_keep(&reply);
}

static void adopt(struct lane *lane) {
    if (!lane->next_setup) return;
    identifier_free(lane->worker.identifier);
    setup_unuse(lane->setup);
    lane->worker.identifier = lane->next_identifier;
    lane->setup = lane->next_setup;
    lane->worker.config = &lane->setup->config;
    lane->worker.log = &lane->setup->config.log;
    lane->next_setup = NULL;
}

static void count_waiting(struct lanes *l) {
    if (l->options.counts)
        atomic_store_explicit(&l->options.counts->waiting, l->queue.n, memory_order_relaxed);
}

static void count_served(struct lanes *l, uint64_t busy_ns) {
    struct lane_counts *c = l->options.counts;
    if (!c) return;
    atomic_fetch_sub_explicit(&c->busy, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->busy_ns, busy_ns, memory_order_relaxed);
}

/* Waits for the next job, under the lock; NULL: the end. */
static struct job *next_job(struct lane *lane) {
    struct lanes *l = lane->lanes;
    for (;;) {
        adopt(lane);
        if (l->stopping) return NULL;
        struct job *job = (struct job *)queue_pop(&l->queue);
        if (job) return job;
        tenants_offline(lane->worker.tenants, lane->worker.number);
        l->n_idle++;
        pthread_cond_wait(&l->work, &l->lock);
        l->n_idle--;
        tenants_online(lane->worker.tenants, lane->worker.number);
    }
}

static void *serve(void *ctx) {
    struct lane *lane = ctx;
    struct lanes *l = lane->lanes;
    struct worker *w = &lane->worker;
    priority_of_lane();
    tenants_online(w->tenants, w->number);
    pthread_mutex_lock(&l->lock);
    for (struct job *job; (job = next_job(lane));) {
        count_waiting(l);
        pthread_mutex_unlock(&l->lock);
        if (l->options.counts) {
            atomic_fetch_add_explicit(&l->options.counts->busy, 1, memory_order_relaxed);
            metrics_wait(l->options.counts, clock_ns() - job->came_ns);
        }
        uint64_t cpu = clock_of(CLOCK_THREAD_CPUTIME_ID), wall = clock_ns();
        answer(lane, job);
        tenants_quiescent(w->tenants, w->number);
        /* A worker process's time is not this thread's. */
        uint64_t used = l->options.group ? clock_ns() - wall : clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
        count_served(l, used);
        pthread_mutex_lock(&l->lock);
        queue_done(&l->queue, &job->item, used);
        pthread_mutex_unlock(&l->lock);
        server_post(job->server, &job->back);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    tenants_offline(w->tenants, w->number);
    return NULL;
}

/* ---- bounded waiting ---- */

static void refuse(struct job *job) {
    job->refused = ERR_OVERLOAD;
    server_post(job->server, &job->back);
}

/* Refuses what has waited for too long, whatever the lanes do meanwhile. */
static void *watch_clock(void *ctx) {
    struct lanes *l = ctx;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        struct queue_item *item;
        while ((item = queue_expired(&l->queue, clock_ns(), l->wait_ns)))
            refuse((struct job *)item);
        count_waiting(l);
        if (!l->queue.oldest) {
            pthread_cond_wait(&l->clock, &l->lock);
            continue;
        }
        uint64_t due = l->queue.oldest->since_ns + l->wait_ns + 1000000;
        struct timespec until = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
        pthread_cond_timedwait(&l->clock, &l->lock, &until);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

void lanes_take(struct lanes *l, struct job *job) {
    pthread_mutex_lock(&l->lock);
    bool first = l->queue.n == 0;
    job->came_ns = clock_ns();
    struct job *shed = l->stopping ? job : (struct job *)queue_push(&l->queue, job->tenant, &job->item, job->came_ns);
    if (l->n_idle) pthread_cond_signal(&l->work);
    if (first) pthread_cond_signal(&l->clock);
    count_waiting(l);
    pthread_mutex_unlock(&l->lock);
    if (shed) refuse(shed);
}

/* ---- life ---- */

static enum err lane_start(struct lanes *l, uint32_t i) {
    struct lane *lane = &l->lanes[i];
    const struct lanes_options *o = &l->options;
    struct worker *w = &lane->worker;
    lane->lanes = l;
    *w = *o->like;
    w->number = o->first_number + i;
    w->slice_us = 0;
    arena_init(&w->arena, o->like->arena.max_bytes);
    buf_init(&w->input, o->like->input.max);
    buf_init(&lane->body, BODY_BYTES);
    if (getrandom(w->random, sizeof w->random, 0) != sizeof w->random) return ERR_IO;
    enum err e = instances_new(o->engine, o->live_instances, &w->pool);
    if (!e) e = identifier_new(&o->setup->config, o->setup->keys, &w->identifier);
    if (!e && w->decisions && !(w->recorder = recorder_new(w->decisions))) e = ERR_MEMORY;
    if (e) return e;
    lane->setup = o->setup;
    setup_use(lane->setup);
    w->config = &lane->setup->config;
    w->log = &w->config->log;
    if (o->group) {
        struct process_options p = {.group = o->name, .memory_bytes = o->group->memory_bytes, .log = o->like->log};
        if ((e = process_new(&p, &w->remote))) return e;
    }
    if (pthread_create(&lane->id, NULL, serve, lane)) return ERR_MEMORY;
    lane->started = true;
    return OK;
}

enum err lanes_new(const struct lanes_options *o, struct lanes **out) {
    struct lanes *l = calloc(1, sizeof *l + o->threads * sizeof l->lanes[0]);
    pthread_condattr_t monotonic;
    if (!l) return ERR_MEMORY;
    l->options = *o;
    l->n = o->threads;
    l->wait_ns = o->wait_ns ? o->wait_ns : o->setup->config.queue_wait_us * 1000;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->clock, &monotonic);
    pthread_condattr_destroy(&monotonic);
    /* One lane always stays for the other tenants. */
    queue_init(&l->queue, o->max_waiting, o->threads > 1 ? o->threads - 1 : 1);
    enum err e = pthread_create(&l->clock_id, NULL, watch_clock, l) ? ERR_MEMORY : OK;
    l->clock_started = !e;
    for (uint32_t i = 0; !e && i < l->n; i++) e = lane_start(l, i);
    if (o->counts) atomic_store(&o->counts->threads, l->n);
    if (e) {
        lanes_stop(l);
        lanes_free(l);
        return e;
    }
    *out = l;
    return OK;
}

uint32_t lanes_threads(const struct lanes *l) { return l->n; }

void lanes_configure(struct lanes *l, struct setup *setup, struct identifier **identifiers) {
    pthread_mutex_lock(&l->lock);
    if (!l->options.wait_ns) l->wait_ns = setup->config.queue_wait_us * 1000;
    for (uint32_t i = 0; i < l->n; i++) {
        struct lane *lane = &l->lanes[i];
        if (lane->next_setup) {
            identifier_free(lane->next_identifier);
            setup_unuse(lane->next_setup);
        }
        lane->next_setup = setup;
        lane->next_identifier = identifiers[i];
        setup_use(setup);
    }
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
}

void lanes_stop(struct lanes *l) {
    struct queue_item *item;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    while ((item = queue_expired(&l->queue, UINT64_MAX, 0))) refuse((struct job *)item);
    pthread_cond_broadcast(&l->work);
    pthread_cond_broadcast(&l->clock);
    pthread_mutex_unlock(&l->lock);
    if (l->clock_started) pthread_join(l->clock_id, NULL);
    for (uint32_t i = 0; i < l->n; i++)
        if (l->lanes[i].started) pthread_join(l->lanes[i].id, NULL);
}

static void lane_free(struct lane *lane) {
    struct worker *w = &lane->worker;
    if (!lane->lanes) return;
    pthread_mutex_lock(&lane->lanes->lock);
    adopt(lane);
    pthread_mutex_unlock(&lane->lanes->lock);
    if (w->remote) process_free(w->remote);
    if (w->identifier) identifier_free(w->identifier);
    if (lane->setup) setup_unuse(lane->setup);
    if (w->pool) instances_free(w->pool);
    buf_deinit(&w->input);
    buf_deinit(&lane->body);
    arena_deinit(&w->arena);
}

void lanes_free(struct lanes *l) {
    for (uint32_t i = 0; i < l->n; i++) lane_free(&l->lanes[i]);
    queue_deinit(&l->queue);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->clock);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
