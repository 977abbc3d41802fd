/* Event loop of the node: requests to doors, in fair turns when saturated, to lanes when long.
 * in: requests of one server. out: replies. owns: server, worker, the loop's queue, its thread. */
#include "edge/loop.h"
#include "base/clock.h"
#include "edge/decision_log.h"
#include "edge/metrics.h"
#include "edge/priority.h"
#include "edge/sources.h"
#include "edge/tracer.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    BODY_BYTES = 64 << 20,
    /* Of a turn may be spent: */
    TURN_NS = 400000,       /* on requests as they come, before any has to wait */
    FIRST_TURN_NS = 500000, /* on those whose tenant has used less than all that wait */
    READ_TURN_NS = 150000,  /* on reading from who has ENOUGH_WAITING */
    QUEUE_TURN_NS = 600000, /* on those that wait, with sending */
    /* The same while others come whose turn it is at once: who asks again only when answered loses a turn. */
    SHORT_READ_TURN_NS = 50000,
    SHORT_QUEUE_TURN_NS = 100000,
    OTHERS_NS = 20000000,   /* since one came */
    STALL_NS = 10000000,    /* more, between two looks at the clock: perhaps the thread had no core */
    ENOUGH_WAITING = 32     /* requests, more than a turn serves */
};

struct loop {
    pthread_t id;
    struct worker worker;
    struct server *server;
    struct setup *setup;
    const struct lane_sets *lanes;
    struct node *node;
    struct loop_counts *counts;
    struct queue queue;
    struct buf body;
    uint64_t turn_ns;   /* when the first request of this turn came; 0: none yet */
    uint64_t others_ns; /* when one came last that went before those that wait */
    uint64_t send_ns;   /* sending a reply takes: moving average */
    uint64_t looked_ns, used_ns; /* when we looked at the clock last, while requests wait; what the thread had used */
    uint64_t stalled_ns;         /* without a core while requests waited, in all: not counted as their waiting */
    bool turning, started;
    _Atomic bool ended;
};

/* The loop alone writes its counts. */
static void count(_Atomic uint64_t *at) {
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* ---- putting requests off ---- */

static void give_back(struct tenant_quota *held) {
    if (held) quota_done(held);
}

static void refuse(struct loop *l, const struct door *door, const struct http_request *q, enum err e,
                   struct http_reply *r) {
    atomic_fetch_add_explicit(&l->node->shed, 1, memory_order_relaxed);
    worker_begin(&l->worker, 0, NULL);
    door->refuse(&l->worker, q, e, r);
    decision_log_end(&l->worker);
    if (l->worker.spans) tracer_end(&l->worker, r);
}

static void finish(struct job *job, const struct http_reply *reply) {
    http_pending_reply(job->pending, reply);
    give_back(job->held);
    free(job->answer);
    free(job);
}

static void finish_refused(struct loop *l, struct job *job, enum err e) {
    struct http_reply reply;
    buf_clear(&l->body);
    http_reply_init(&reply, &l->body);
    refuse(l, job->door, http_pending_request(job->pending), e, &reply);
    finish(job, &reply);
}

struct job_of {
    struct job job;
    struct loop *loop;
};

/* A job that lanes had, back on its loop's thread. */
static void come_back(void *ctx) {
    struct job_of *j = ctx;
    if (j->job.answer)
        finish(&j->job, http_kept_reply(j->job.answer));
    else
        finish_refused(j->loop, &j->job, j->job.refused ? j->job.refused : ERR_OVERLOAD);
}

static struct job *job_new(struct loop *l, const struct door *door, const struct http_request *q,
                           struct tenant *tenant) {
    struct job_of *j = calloc(1, sizeof *j);
    if (!j) return NULL;
    j->job = (struct job){.server = l->server, .door = door, .tenant = tenant, .back = {.run = come_back, .ctx = j}};
    j->loop = l;
    if ((j->job.pending = http_defer(q))) return &j->job;
    free(j);
    return NULL;
}

static struct tenant *tenant_of(struct loop *l, const struct door *door, const struct http_request *q) {
    struct str id = door->tenant(&l->worker, q);
    const struct tenant_entry *t = id.ptr ? tenants_find(l->worker.tenants, id) : NULL;
    return t ? t->tenant : NULL;
}

static void to_lanes(struct loop *l, struct job *job) {
    const struct edge_config *c = l->worker.config;
    if (job->door->background) {
        lanes_take(l->lanes->background, job);
        return;
    }
    const struct worker_group *g = c->groups.n && job->tenant ? worker_group_of(c, str_of(job->tenant->id)) : NULL;
    lanes_take(l->lanes->items[g ? 1 + (g - c->groups.items) : 0], job);
}

/* Takes the request under way off the handler's hands: a job, or NULL and *r is an answer. */
static struct job *put_off(struct loop *l, const struct door *door, const struct http_request *q,
                           struct tenant *tenant, struct http_reply *r) {
    struct job *job = job_new(l, door, q, tenant);
    if (job) return job;
    buf_clear(r->body);
    http_reply_init(r, r->body);
    refuse(l, door, q, ERR_OVERLOAD, r);
    return NULL;
}

/* ---- answering ---- */

/* What a scrape prints grows with the tenants, and it waits for other scrapes and files: not on a loop. */
static bool is_long_page(const struct http_request *q) { return q->path.len == 8 && str_is(q->path, "/metrics"); }

/* ---- waiting for a tenant ---- */

static void serve_job(struct loop *l, struct job *job);

/* It is there, or nobody has it: on its loop's thread. */
static void waited_for(void *ctx) {
    struct job_of *j = ctx;
    j->job.back.run = come_back;
    j->job.waited = true;
    serve_job(j->loop, &j->job);
}

static void wake(void *ctx) {
    struct job_of *j = ctx;
    server_post(j->loop->server, &j->job.back);
}

/* true: the job has to wait until its tenant is loaded. */
static bool wait_for_tenant(struct loop *l, struct job *job, struct str id, enum sources_answer *answer) {
    struct job_of *j = (struct job_of *)job;
    job->back.run = waited_for;
    *answer = sources_want(l->node->sources, id, wake, j);
    if (*answer == SOURCES_LOADING) return true;
    job->back.run = come_back;
    job->waited = true;
    return false;
}

/* The request names a tenant that the table does not hold; a source may have it. Ids that are known to be unknown are
 * answered at once. */
static enum http_outcome answer_when_loaded(struct loop *l, const struct door *door, const struct http_request *q,
                                            struct http_reply *r) {
    struct worker *w = &l->worker;
    struct str id = door->tenant(w, q);
    enum sources_answer answer = id.ptr ? sources_want(l->node->sources, id, NULL, NULL) : SOURCES_UNKNOWN;
    struct job *job = answer == SOURCES_LOADING ? put_off(l, door, q, NULL, r) : NULL;
    if (answer == SOURCES_LOADING && !job) return HTTP_REPLIED;
    if (job && wait_for_tenant(l, job, id, &answer)) return HTTP_DEFERRED;
    if (job) {
        job->refused = answer == SOURCES_BUSY ? ERR_OVERLOAD : OK;
        if (answer == SOURCES_UNKNOWN) job->back.run = waited_for;
        server_post(l->server, &job->back); /* not from within the handler */
        return HTTP_DEFERRED;
    }
    buf_clear(r->body);
    http_reply_init(r, r->body);
    if (answer == SOURCES_BUSY) {
        refuse(l, door, q, ERR_OVERLOAD, r);
        return HTTP_REPLIED;
    }
    worker_begin(w, 0, NULL);
    w->may_wait = false;
    enum door_outcome outcome = door->handle(w, q, r);
    decision_log_end(w);
    if (outcome == DOOR_ANSWERED) return HTTP_REPLIED;
    if ((job = put_off(l, door, q, NULL, r))) to_lanes(l, job);
    return job ? HTTP_DEFERRED : HTTP_REPLIED;
}

/* The decision took longer than a slice, or will: a lane makes it. */
static enum http_outcome answer_later(struct loop *l, const struct door *door, const struct http_request *q,
                                      struct tenant *tenant, struct http_reply *r) {
    struct worker *w = &l->worker;
    struct tenant_quota *held = w->held;
    uint32_t charged = w->admitted;
    w->held = NULL;
    if (!tenant && !w->missed) tenant = tenant_of(l, door, q);
    if (!door->background && (w->missed || (!tenant && !held && w->may_wait))) {
        give_back(held);
        return answer_when_loaded(l, door, q, r);
    }
    if (!door->background) count(&l->counts->overruns);
    struct job *job = put_off(l, door, q, tenant, r);
    if (!job) {
        give_back(held);
        return HTTP_REPLIED;
    }
    job->held = held;
    job->charged = charged;
    to_lanes(l, job);
    return HTTP_DEFERRED;
}

static enum http_outcome answer(struct loop *l, const struct door *door, const struct http_request *q,
                                struct tenant *tenant, struct http_reply *r) {
    worker_begin(&l->worker, 0, NULL);
    l->worker.may_wait = sources_on_demand(l->node->sources);
    enum door_outcome outcome = door->handle(&l->worker, q, r);
    decision_log_end(&l->worker);
    if (l->worker.spans) tracer_end(&l->worker, outcome == DOOR_LATER ? NULL : r);
    if (outcome == DOOR_ANSWERED) return HTTP_REPLIED;
    return answer_later(l, door, q, tenant, r);
}

/* There is more to do than this turn has time for: whose turn is it? */
static enum http_outcome answer_in_turn(struct loop *l, const struct door *door, const struct http_request *q,
                                        uint64_t now, struct http_reply *r) {
    struct tenant *tenant = tenant_of(l, door, q);
    if (tenant) http_mark(q, tenant);
    if (l->queue.n && now - l->turn_ns < FIRST_TURN_NS && queue_is_first(&l->queue, tenant)) {
        enum http_outcome outcome = answer(l, door, q, tenant, r);
        queue_charge(&l->queue, tenant, clock_ns() - now + l->send_ns);
        l->others_ns = now;
        return outcome;
    }
    struct job *job = put_off(l, door, q, tenant, r);
    if (!job) return HTTP_REPLIED;
    count(&l->counts->put_off);
    struct job *shed = (struct job *)queue_push(&l->queue, tenant, &job->item, now - l->stalled_ns);
    if (shed) {
        shed->refused = ERR_OVERLOAD;
        server_post(l->server, &shed->back); /* not from within the handler */
    }
    return HTTP_DEFERRED;
}

static enum http_outcome handle(void *ctx, const struct http_request *q, struct http_reply *r) {
    struct loop *l = ctx;
    const struct door *door = door_of(l->worker.config, q);
    uint64_t now = clock_ns();
    if (!l->turn_ns) l->turn_ns = now;
    if (is_long_page(q)) {
        struct job *job = put_off(l, door, q, NULL, r);
        if (job) to_lanes(l, job);
        return job ? HTTP_DEFERRED : HTTP_REPLIED;
    }
    if (l->queue.n || now - l->turn_ns > TURN_NS) return answer_in_turn(l, door, q, now, r);
    return answer(l, door, q, NULL, r);
}

static bool others_come(const struct loop *l, uint64_t now) { return now - l->others_ns < OTHERS_NS; }

/* Reading costs as much as answering: who has enough requests waiting is not read from for the rest of the turn. */
static bool may_read(void *ctx, const void *whose) {
    struct loop *l = ctx;
    if (l->queue.n < ENOUGH_WAITING || !l->turn_ns || queue_waiting(&l->queue, whose) < ENOUGH_WAITING) return true;
    uint64_t now = clock_ns();
    return now - l->turn_ns < (others_come(l, now) ? SHORT_READ_TURN_NS : READ_TURN_NS);
}

/* ---- the loop's own queue ---- */

/* Sending costs more than deciding, so it has its part in the turn and in the tenant's account. HTTP/2 sends the
 * replies of a connection together, when the turn ends. */
static void send_reply(struct loop *l) {
    uint64_t start = clock_ns();
    server_send(l->server);
    l->send_ns = l->send_ns - l->send_ns / 8 + (clock_ns() - start) / 8;
}

/* Answers a job of the queue; how long that took goes to its tenant's account. */
static void serve_job(struct loop *l, struct job *job) {
    struct worker *w = &l->worker;
    bool send = !http_pending_request(job->pending)->http2 && !job->waited; /* those come back as tasks */
    struct http_reply reply;
    buf_clear(&l->body);
    http_reply_init(&reply, &l->body);
    worker_begin(w, 0, NULL);
    w->may_wait = !job->waited && sources_on_demand(l->node->sources);
    enum door_outcome outcome = DOOR_ANSWERED;
    if (!http_pending_gone(job->pending)) outcome = job->door->handle(w, http_pending_request(job->pending), &reply);
    decision_log_end(w);
    if (w->spans) tracer_end(w, outcome == DOOR_LATER ? NULL : &reply);
    job->held = w->held;
    job->charged = w->admitted;
    w->held = NULL;
    if (outcome == DOOR_ANSWERED) {
        finish(job, &reply);
        if (send) send_reply(l);
        return;
    }
    enum sources_answer answer = SOURCES_UNKNOWN;
    if (w->missed) {
        struct str id = job->door->tenant(w, http_pending_request(job->pending));
        if (id.ptr && wait_for_tenant(l, job, id, &answer)) return;
        job->waited = true;
        if (answer == SOURCES_BUSY) finish_refused(l, job, ERR_OVERLOAD);
        else serve_job(l, job); /* once more: it does not wait again */
        return;
    }
    if (!job->door->background) count(&l->counts->overruns);
    to_lanes(l, job);
}

/* A loop without a core falls behind with all that wait, most of whom it would have answered: none is refused for
 * it. */
static uint64_t look_at_clock(struct loop *l) {
    uint64_t now = clock_ns(), gap = now - l->looked_ns;
    if (gap > STALL_NS) {
        uint64_t used = clock_of(CLOCK_THREAD_CPUTIME_ID);
        if (gap > used - l->used_ns) l->stalled_ns += gap - (used - l->used_ns);
        l->used_ns = used;
    }
    l->looked_ns = now;
    return now;
}

static void serve_queue(struct loop *l) {
    if (!l->turning) l->looked_ns = clock_ns();
    uint64_t start = look_at_clock(l), now = start;
    l->used_ns = clock_of(CLOCK_THREAD_CPUTIME_ID);
    uint64_t wait_ns = l->worker.config->queue_wait_us * 1000;
    uint64_t turn = others_come(l, now) ? SHORT_QUEUE_TURN_NS : QUEUE_TURN_NS;
    struct queue_item *item;
    if (!l->turn_ns) l->turn_ns = now;
    while (now - start < turn && (item = queue_pop(&l->queue))) {
        struct queue_item served = *item;
        serve_job(l, (struct job *)item);
        uint64_t end = look_at_clock(l);
        queue_done(&l->queue, &served, end - now);
        now = end;
    }
    for (start = now; now - start < turn && (item = queue_expired(&l->queue, now - l->stalled_ns, wait_ns));
         now = look_at_clock(l))
        finish_refused(l, (struct job *)item, ERR_OVERLOAD);
}

static void copy_counts(struct loop *l) {
    const struct server_counts *s = server_counters(l->server);
    struct loop_counts *c = l->counts;
#define COPY(to, from)                                                                             \
    atomic_store_explicit(&c->to, atomic_load_explicit(&s->from, memory_order_relaxed), memory_order_relaxed)
    COPY(refused_connections, refused);
    COPY(timed_out, timed_out);
    COPY(bad_requests, bad);
    COPY(tls_failed, tls_failed);
#undef COPY
    atomic_store_explicit(&c->connections, server_connections(l->server), memory_order_relaxed);
    atomic_store_explicit(&c->waiting, l->queue.n, memory_order_relaxed);
}

/* Between requests: nothing that the table of tenants gave is in use. */
static void turn_ends(void *ctx) {
    struct loop *l = ctx;
    if (l->queue.n) serve_queue(l);
    tenants_quiescent(l->worker.tenants, l->worker.number);
    if (l->turning != (l->queue.n > 0)) {
        l->turning = l->queue.n > 0;
        server_keep_turning(l->server, l->turning);
    }
    copy_counts(l);
    if (!l->turn_ns) return;
    metrics_turn(l->counts, clock_ns() - l->turn_ns);
    l->turn_ns = 0;
}

/* ---- changes ---- */

struct change_task {
    struct server_task task;
    struct loop *loop;
    const struct loop_change *change;
    sem_t done;
};

static void change_listener(struct loop *l, const struct listener_change *c, const struct log *log) {
    const char *why = "";
    enum err e = OK;
    switch (c->kind) {
    case LISTENER_ADD: e = server_listen(l->server, &c->options, NULL, &why); break;
    case LISTENER_CHANGE: server_relisten(l->server, &c->options); break;
    case LISTENER_REMOVE: server_unlisten(l->server, c->options.address); break;
    }
    if (e) log_line(log, LOG_ERROR, "cannot listen", "address", c->options.address, "reason", why, NULL);
    if (e || l->worker.number || c->kind == LISTENER_CHANGE) return; /* one loop speaks for all */
    log_line(log, LOG_INFO, c->kind == LISTENER_ADD ? "listening" : "listening no more", "address", c->options.address,
             NULL);
}

static void apply(void *ctx) {
    struct change_task *t = ctx;
    struct loop *l = t->loop;
    const struct loop_change *c = t->change;
    identifier_free(l->worker.identifier);
    setup_unuse(l->setup);
    l->worker.identifier = c->identifier;
    l->setup = c->setup;
    l->worker.config = &l->setup->config;
    l->worker.log = &l->setup->config.log;
    l->worker.slice_us = l->setup->config.slice_us;
    for (uint32_t i = 0; i < c->n_listeners; i++) change_listener(l, &c->listeners[i], c->log);
    sem_post(&t->done);
}

void loop_apply(struct loop *l, const struct loop_change *change) {
    struct change_task t = {.task = {.run = apply}, .loop = l, .change = change};
    t.task.ctx = &t;
    sem_init(&t.done, 0, 0);
    server_post(l->server, &t.task);
    while (sem_wait(&t.done)) {
    }
    sem_destroy(&t.done);
}

/* ---- life ---- */

enum err loop_new(const struct loop_options *o, struct loop **out) {
    struct loop *l = calloc(1, sizeof *l);
    if (!l) return ERR_MEMORY;
    const struct edge_config *c = &o->setup->config;
    struct worker *w = &l->worker;
    *w = *o->like;
    w->number = o->number;
    w->slice_us = c->slice_us;
    w->config = c;
    w->log = &c->log;
    l->lanes = o->lanes;
    l->node = o->node;
    l->counts = &o->node->loops[o->number];
    arena_init(&w->arena, o->like->arena.max_bytes);
    buf_init(&w->input, o->like->input.max);
    buf_init(&l->body, BODY_BYTES);
    queue_init(&l->queue, c->queue_requests, 0);
    struct server_options options = {
        .limits = {.head_bytes = c->head_bytes, .body_bytes = c->body_bytes},
        .idle_timeout_ms = (uint32_t)(c->idle_timeout_us / 1000),
        .header_timeout_ms = (uint32_t)(c->header_timeout_us / 1000),
        .max_connections = c->max_connections,
        .handler = handle, .handler_ctx = l, .may_read = may_read, .on_iteration = turn_ends, .iteration_ctx = l};
    enum err e = getrandom(w->random, sizeof w->random, 0) == sizeof w->random ? OK : ERR_IO;
    if (!e) e = instances_new(o->engine, o->live_instances, &w->pool);
    if (!e) e = identifier_new(c, o->setup->keys, &w->identifier);
    if (!e && w->decisions && !(w->recorder = recorder_new(w->decisions))) e = ERR_MEMORY;
    if (!e) e = server_new(&options, &l->server);
    if (e) {
        loop_free(l);
        return e;
    }
    l->setup = o->setup;
    setup_use(l->setup);
    *out = l;
    return OK;
}

struct server *loop_server(struct loop *l) { return l->server; }

static void *serve(void *ctx) {
    struct loop *l = ctx;
    priority_of_loop();
    tenants_online(l->worker.tenants, l->worker.number);
    server_run(l->server);
    struct queue_item *item; /* the server no longer waits for these */
    while ((item = queue_pop(&l->queue))) finish_refused(l, (struct job *)item, ERR_OVERLOAD);
    tenants_offline(l->worker.tenants, l->worker.number);
    atomic_store(&l->ended, true);
    return NULL;
}

enum err loop_start(struct loop *l) {
    if (pthread_create(&l->id, NULL, serve, l)) return ERR_MEMORY;
    l->started = true;
    return OK;
}

void loop_stop(struct loop *l) {
    if (l->started) server_stop(l->server);
}

void loop_drain(struct loop *l, uint32_t ms) {
    if (l->started) server_drain(l->server, ms);
}

bool loop_running(const struct loop *l) { return l->started && !atomic_load(&l->ended); }

void loop_join(struct loop *l) {
    if (l->started) pthread_join(l->id, NULL);
    l->started = false;
}

void loop_free(struct loop *l) {
    struct worker *w = &l->worker;
    if (l->server) server_free(l->server); /* runs what lanes posted last */
    if (w->identifier) identifier_free(w->identifier);
    if (l->setup) setup_unuse(l->setup);
    if (w->pool) instances_free(w->pool);
    queue_deinit(&l->queue);
    buf_deinit(&l->body);
    buf_deinit(&w->input);
    arena_deinit(&w->arena);
    free(l);
}
