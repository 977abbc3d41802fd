/* Masking and dropping by the tenant's own policies (system.log), on background threads.
 * in: events of tenants whose module has such entrypoints. out: events masked, hidden, or none.
 * owns: threads with their sandboxes, worker processes for tenants of groups, a queue. */
#include "base/clock.h"
#include "base/json.h"
#include "edge/decision_log_private.h"
#include "edge/priority.h"
#include "edge/process.h"
#include "edge/queue.h"
#include <stdlib.h>
#include <time.h>

enum {
    THREADS = 2,
    LIVE_INSTANCES = 64,
    MAX_WAITING = 100000,
    EVENT_BYTES = 192 << 20,
    ARENA_BYTES = 512 << 20,
    KEEP_BYTES = 1 << 20,
    MAX_GROUPS = 64,
    PARTS = 2
};

struct masking {
    struct queue_item item; /* first */
    uint64_t bytes;         /* held */
    _Alignas(8) struct event_record event;
};

struct masker {
    struct maskers *all;
    pthread_t id;
    struct instances *pool;
    struct process *remotes[MAX_GROUPS]; /* one a group, made when first needed */
    struct arena arena;
    struct buf text;
    bool started;
};

struct maskers {
    struct decision_log *log;
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct queue queue;
    uint64_t bytes; /* that wait or are worked on */
    uint32_t busy, n_groups;
    bool stopping;
    struct mask_group {
        char *name;
        struct name_list tenants;
        uint64_t memory_bytes;
    } groups[MAX_GROUPS]; /* copied: they never change */
    struct arena arena;
    struct masker threads[THREADS];
};

/* ---- one event ---- */

static int group_of(const struct maskers *m, const struct tenant *t) {
    for (uint32_t i = 0; i < m->n_groups; i++)
        if (name_list_has(&m->groups[i].tenants, str_of(t->id))) return (int)i;
    return -1;
}

static enum err evaluate(struct masker *k, const struct event_record *e, int32_t entrypoint,
                         struct eval_result *result) {
    struct eval_request q = {.policy = e->policy,
                             .entrypoint = (uint32_t)entrypoint,
                             .input = buf_view(&k->text),
                             .limits = e->version->limits,
                             .now_ns = (int64_t)e->time_ns};
    int g = group_of(k->all, e->version->tenant);
    result->message[0] = 0;
    if (g < 0) return policy_eval(k->pool, &q, result);
    if (!k->remotes[g]) {
        struct process_options o = {.group = k->all->groups[g].name,
                                    .memory_bytes = k->all->groups[g].memory_bytes,
                                    .log = k->all->log->log};
        enum err err = process_new(&o, &k->remotes[g]);
        if (err) return err;
    }
    return process_eval(k->remotes[g], &q, result);
}

/* true: the policy says that the event is to be dropped. One that fails drops nothing: a decision is rather logged. */
static bool drops(struct masker *k, const struct event_record *e) {
    struct eval_result result;
    if (e->version->drop < 0) return false;
    enum err err = evaluate(k, e, e->version->drop, &result);
    return !err && result.defined && str_is(result.json, "true");
}

static enum err mask(struct masker *k, const struct event_record *e, struct json *event) {
    struct eval_result result;
    struct json *rules;
    if (e->version->mask < 0) return OK;
    enum err err = evaluate(k, e, e->version->mask, &result);
    if (err || !result.defined) return err;
    char *copy = arena_strndup(&k->arena, result.json.ptr, result.json.len);
    if (!copy) return ERR_MEMORY;
    if ((err = json_parse(&k->arena, (struct str){copy, result.json.len}, &rules, NULL))) return err;
    return mask_apply(&k->arena, rules, event);
}

/* What cannot be read again is written without anything of the request. */
static void put_bare(struct masker *k, const struct event_record *e, struct str labels) {
    buf_clear(&k->text);
    buf_str(&k->text, labels);
    buf_printf(&k->text,
               "\"decision_id\":\"%s\",\"erased\":[\"/input\",\"/result\"],\"error\":{\"code\":\"mask_failed\","
               "\"message\":\"the event is larger than its limit\"},\"custom\":{\"tenant_id\":",
               e->id);
    json_print_string(str_of(e->version->tenant->id), &k->text);
    buf_cstr(&k->text, "}}");
}

static void put_masked(struct masker *k, const struct event_record *e) {
    struct decision_log *l = k->all->log;
    struct json *event = NULL;
    struct str copy = {NULL, k->text.len}; /* text is written again, the event holds views */
    if (!k->text.err) copy.ptr = arena_strndup(&k->arena, (char *)k->text.ptr, k->text.len);
    enum err err = copy.ptr ? json_parse(&k->arena, copy, &event, NULL) : ERR_MEMORY;
    bool readable = !err;
    if (readable && (err = mask(k, e, event))) mask_hide(&k->arena, event, err_meaning(err));
    if (err) {
        atomic_fetch_add_explicit(&l->counts.mask_failed, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&e->version->tenant->metrics.events_hidden, 1, memory_order_relaxed);
    }
    buf_clear(&k->text);
    if (readable) json_print(event, false, 0, &k->text);
    if (!readable || k->text.err) {
        pthread_mutex_lock(&l->lock);
        put_bare(k, e, buf_view(&l->labels));
        pthread_mutex_unlock(&l->lock);
    }
    sinks_put(l->sinks, e->version->tenant, buf_view(&k->text));
}

static void serve(struct masker *k, const struct event_record *e) {
    struct decision_log *l = k->all->log;
    buf_clear(&k->text);
    pthread_mutex_lock(&l->lock);
    event_print(e, buf_view(&l->labels), &k->arena, &k->text);
    pthread_mutex_unlock(&l->lock);
    arena_reset(&k->arena);
    if (drops(k, e))
        atomic_fetch_add_explicit(&l->counts.by_policy, 1, memory_order_relaxed);
    else
        put_masked(k, e);
    policy_release(e->policy);
    event_done(l, event_tenant(e), e->version, e->bytes);
    arena_reset(&k->arena);
    if (k->text.cap > KEEP_BYTES) buf_deinit(&k->text), buf_init(&k->text, EVENT_BYTES);
}

/* ---- threads ---- */

static void give_back(struct maskers *m, uint64_t bytes) {
    pthread_mutex_lock(&m->lock);
    m->bytes -= bytes;
    pthread_mutex_unlock(&m->lock);
}

static void *run(void *ctx) {
    struct masker *k = ctx;
    struct maskers *m = k->all;
    priority_of_lane();
    pthread_mutex_lock(&m->lock);
    for (;;) {
        struct masking *g = (struct masking *)queue_pop(&m->queue);
        if (!g && m->stopping) break;
        if (!g) {
            pthread_cond_wait(&m->work, &m->lock);
            continue;
        }
        m->busy++;
        pthread_mutex_unlock(&m->lock);
        uint64_t start = clock_ns();
        serve(k, &g->event);
        uint64_t used = clock_ns() - start;
        pthread_mutex_lock(&m->lock);
        queue_done(&m->queue, &g->item, used);
        m->busy--;
        m->bytes -= g->bytes;
        free(g);
        if (!m->busy && !m->queue.n) pthread_cond_broadcast(&m->idle);
        pthread_cond_broadcast(&m->work); /* of this tenant another may be served now */
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

static void refuse(struct maskers *m, struct masking *g, enum drop_reason why) {
    struct decision_log *l = m->log;
    decision_log_dropped(l, event_tenant(&g->event), why);
    policy_release(g->event.policy);
    event_done(l, event_tenant(&g->event), g->event.version, g->event.bytes);
    give_back(m, g->bytes);
    free(g);
}

void maskers_take(struct maskers *m, const struct event_record *e) {
    uint64_t bytes = sizeof(struct masking) + e->bytes;
    pthread_mutex_lock(&m->lock);
    bool fits = m->bytes + bytes <= atomic_load_explicit(&m->log->limit_bytes, memory_order_relaxed) / PARTS;
    if (fits) m->bytes += bytes;
    pthread_mutex_unlock(&m->lock);
    struct masking *g = fits ? malloc(bytes) : NULL;
    if (!g) {
        if (fits) give_back(m, bytes);
        decision_log_dropped(m->log, event_tenant(e), DROPPED_BUFFER);
        policy_release(e->policy);
        event_done(m->log, event_tenant(e), e->version, e->bytes);
        return;
    }
    memset(&g->item, 0, sizeof g->item);
    g->bytes = bytes;
    memcpy((void *)&g->event, e, e->bytes);
    pthread_mutex_lock(&m->lock);
    struct masking *shed = (struct masking *)queue_push(&m->queue, event_tenant(e), &g->item, clock_ns());
    pthread_cond_signal(&m->work);
    pthread_mutex_unlock(&m->lock);
    if (shed) refuse(m, shed, DROPPED_BUFFER);
}

/* ---- life ---- */

/* Worker groups are made once, with the node. */
static void copy_groups(struct maskers *m, const struct edge_config *c) {
    for (uint32_t i = 0; i < c->groups.n && m->n_groups < MAX_GROUPS; i++) {
        const struct worker_group *from = &c->groups.items[i];
        struct mask_group *to = &m->groups[m->n_groups++];
        to->name = arena_strndup(&m->arena, from->name.ptr, from->name.len);
        to->memory_bytes = from->memory_bytes;
        for (uint32_t k = 0; k < from->tenants.n; k++) {
            struct str t = from->tenants.items[k];
            struct str copy = {arena_strndup(&m->arena, t.ptr, t.len), t.len};
            if (copy.ptr) ARENA_PUSH(&m->arena, &to->tenants, copy);
        }
    }
}

static enum err masker_start(struct maskers *m, struct masker *k) {
    k->all = m;
    arena_init(&k->arena, ARENA_BYTES);
    buf_init(&k->text, EVENT_BYTES);
    enum err e = instances_new(m->log->engine, LIVE_INSTANCES, &k->pool);
    if (!e && pthread_create(&k->id, NULL, run, k)) e = ERR_MEMORY;
    k->started = !e;
    return e;
}

enum err maskers_new(struct decision_log *l, const struct edge_config *c, struct maskers **out) {
    struct maskers *m = calloc(1, sizeof *m);
    enum err e = OK;
    if (!m) return ERR_MEMORY;
    m->log = l;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->work, NULL);
    pthread_cond_init(&m->idle, NULL);
    queue_init(&m->queue, MAX_WAITING, THREADS - 1); /* one thread stays for the other tenants */
    arena_init(&m->arena, EVENT_BYTES);
    copy_groups(m, c);
    for (uint32_t i = 0; !e && i < THREADS; i++) e = masker_start(m, &m->threads[i]);
    *out = m;
    return e;
}

void maskers_stop(struct maskers *m, uint64_t wait_ms) {
    struct timespec until;
    struct queue_item *item;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(wait_ms / 1000);
    pthread_mutex_lock(&m->lock);
    while (m->queue.n || m->busy)
        if (pthread_cond_timedwait(&m->idle, &m->lock, &until)) break;
    m->stopping = true;
    while ((item = queue_expired(&m->queue, UINT64_MAX, 0))) {
        pthread_mutex_unlock(&m->lock);
        refuse(m, (struct masking *)item, DROPPED_BUFFER);
        pthread_mutex_lock(&m->lock);
    }
    pthread_cond_broadcast(&m->work);
    pthread_mutex_unlock(&m->lock);
    for (uint32_t i = 0; i < THREADS; i++)
        if (m->threads[i].started) pthread_join(m->threads[i].id, NULL);
}

void maskers_free(struct maskers *m) {
    for (uint32_t i = 0; i < THREADS; i++) {
        struct masker *k = &m->threads[i];
        for (uint32_t g = 0; g < MAX_GROUPS; g++)
            if (k->remotes[g]) process_free(k->remotes[g]);
        if (k->pool) instances_free(k->pool);
        arena_deinit(&k->arena);
        buf_deinit(&k->text);
    }
    queue_deinit(&m->queue);
    arena_deinit(&m->arena);
    pthread_cond_destroy(&m->work);
    pthread_cond_destroy(&m->idle);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
