/* The decision log: its thread reads what all recorders hand over, and prints it.
 * in: event records. out: lines, to the sinks. owns: recorders, sinks, the threads behind them. */
#include "base/clock.h"
#include "base/json.h"
#include "edge/decision_log_private.h"
#include "edge/priority.h"
#include <stdlib.h>
#include <time.h>

enum {
    PAUSE_NS = 5000000,
    LABELS_BYTES = 1 << 20,
    EVENT_BYTES = 192 << 20,
    ARENA_BYTES = 512 << 20,
    KEEP_BYTES = 1 << 20,
    BATCH_EVENTS = 4096,
    STOP_MS = 2000
};

bool decision_log_pass_on(struct decision_log *l, uint64_t has, uint64_t bytes, uint64_t parts) {
    if (has + bytes > atomic_load_explicit(&l->limit_bytes, memory_order_relaxed) / parts) return false;
    atomic_fetch_add_explicit(&l->held_bytes, bytes, memory_order_relaxed);
    return true;
}

void decision_log_dropped(struct decision_log *l, struct tenant *t, enum drop_reason why) {
    atomic_fetch_add_explicit(&l->counts.dropped[why], 1, memory_order_relaxed);
    if (t) atomic_fetch_add_explicit(&t->metrics.events_dropped, 1, memory_order_relaxed);
}

/* ---- the thread ---- */

struct printer {
    struct arena arena;
    struct buf line;
};

static void print(struct decision_log *l, struct printer *p, const struct event_record *e) {
    buf_clear(&p->line);
    if (e->version && e->version->hidden) {
        atomic_fetch_add_explicit(&l->counts.mask_failed, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&e->version->tenant->metrics.events_hidden, 1, memory_order_relaxed);
    }
    event_print(e, buf_view(&l->labels), &p->arena, &p->line);
    if (p->line.err)
        decision_log_dropped(l, event_tenant(e), DROPPED_SIZE);
    else
        sinks_put(l->sinks, event_tenant(e), buf_view(&p->line));
    event_done(l, event_tenant(e), e->version, e->bytes);
    if (p->line.cap <= KEEP_BYTES) return;
    buf_deinit(&p->line);
    buf_init(&p->line, EVENT_BYTES);
}

/* With when_full: wait, what cannot be passed on stays where requests feel it. */
static bool may_take(struct decision_log *l) {
    return !atomic_load_explicit(&l->wait, memory_order_relaxed) || sinks_have_room(l->sinks);
}

/* true: there was something. */
static bool pass(struct decision_log *l, struct printer *p) {
    bool any = false;
    pthread_mutex_lock(&l->lock);
    for (struct recorder *r = l->recorders; r; r = r->next) {
        const struct event_record *e;
        for (uint32_t n = 0; n < BATCH_EVENTS && may_take(l) && (e = recorder_take(r)); n++) {
            any = true;
            if (e->policy)
                maskers_take(l->maskers, e);
            else
                print(l, p, e);
        }
    }
    pthread_mutex_unlock(&l->lock);
    sinks_flush(l->sinks);
    return any;
}

static void *run(void *ctx) {
    struct decision_log *l = ctx;
    struct printer p;
    struct timespec pause = {.tv_nsec = PAUSE_NS};
    arena_init(&p.arena, ARENA_BYTES);
    buf_init(&p.line, EVENT_BYTES);
    while (!atomic_load_explicit(&l->stopping, memory_order_acquire))
        if (!pass(l, &p)) nanosleep(&pause, NULL);
    while (pass(l, &p)) {}
    arena_deinit(&p.arena);
    buf_deinit(&p.line);
    return NULL;
}

/* ---- life ---- */

static void write_labels(struct decision_log *l, const struct edge_config *c) {
    struct arena a;
    arena_init(&a, 4 * LABELS_BYTES);
    struct json *labels = json_object(&a);
    for (uint32_t i = 0; c->labels && i < c->labels->n; i++)
        json_set(&a, labels, c->labels->keys[i], c->labels->items[i]);
    json_set(&a, labels, STR("id"), json_string(&a, str_of(l->node_id)));
    json_set(&a, labels, STR("version"), json_string(&a, STR(REGENT_VERSION)));
    buf_clear(&l->labels);
    buf_cstr(&l->labels, "{\"labels\":");
    if (labels) json_print(labels, true, 0, &l->labels);
    buf_byte(&l->labels, ',');
    arena_deinit(&a);
}

void decision_log_configure(struct decision_log *l, const struct edge_config *c) {
    atomic_store(&l->limit_bytes, c->decision_log.buffer_bytes);
    atomic_store(&l->wait, c->decision_log.wait);
    atomic_fetch_add(&l->generation, 1);
    pthread_mutex_lock(&l->lock);
    write_labels(l, c);
    pthread_mutex_unlock(&l->lock);
    sinks_configure(l->sinks, &c->decision_log);
}

void decision_log_reopen(struct decision_log *l) { sinks_reopen(l->sinks); }

enum err decision_log_new(const struct decision_log_options *o, struct decision_log **out) {
    struct decision_log *l = calloc(1, sizeof *l);
    if (!l) return ERR_MEMORY;
    l->log = o->log;
    l->engine = o->engine;
    memcpy(l->node_id, o->node_id, sizeof l->node_id - 1);
    pthread_mutex_init(&l->lock, NULL);
    buf_init(&l->labels, LABELS_BYTES);
    enum err e = sinks_new(l, &l->sinks);
    if (!e) e = maskers_new(l, o->config, &l->maskers);
    if (!e) decision_log_configure(l, o->config);
    if (!e && pthread_create(&l->writer, NULL, run, l)) e = ERR_MEMORY;
    l->started = !e;
    if (e) {
        decision_log_free(l);
        return e;
    }
    *out = l;
    return OK;
}

void decision_log_free(struct decision_log *l) {
    atomic_store(&l->stopping, true);
    if (l->started) pthread_join(l->writer, NULL);
    if (l->maskers) maskers_stop(l->maskers, STOP_MS);
    if (l->sinks) sinks_stop(l->sinks);
    while (l->recorders) {
        struct recorder *r = l->recorders;
        l->recorders = r->next;
        recorder_free(r);
    }
    if (l->maskers) maskers_free(l->maskers);
    if (l->sinks) sinks_free(l->sinks);
    buf_deinit(&l->labels);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- metrics ---- */

static void family(struct buf *out, const char *name, const char *kind, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static uint64_t get(const _Atomic uint64_t *at) { return atomic_load_explicit(at, memory_order_relaxed); }

static void single(struct buf *out, const char *name, const char *kind, const char *help, uint64_t value) {
    family(out, name, kind, help);
    buf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

void decision_log_metrics(const struct decision_log *l, struct buf *out) {
    static const char *const reasons[] = {"buffer_full", "rate", "size", "sink"};
    uint64_t events = 0, dropped[DROPPED_REASONS];
    for (int i = 0; i < DROPPED_REASONS; i++) dropped[i] = get(&l->counts.dropped[i]);
    /* Recorders are added while the node starts only. */
    for (const struct recorder *r = l->recorders; r; r = r->next) {
        events += get(&r->events);
        for (int i = 0; i < DROPPED_REASONS; i++) dropped[i] += get(&r->dropped[i]);
    }
    single(out, "regent_decision_log_events_total", "counter", "Decisions handed to the decision log.", events);
    family(out, "regent_decision_log_dropped_total", "counter", "Events that were lost, by reason.");
    for (int i = 0; i < DROPPED_REASONS; i++)
        buf_printf(out, "regent_decision_log_dropped_total{reason=\"%s\"} %llu\n", reasons[i],
                   (unsigned long long)dropped[i]);
    single(out, "regent_decision_log_dropped_by_policy_total", "counter", "Events that a tenant's policy dropped.",
           get(&l->counts.by_policy));
    single(out, "regent_decision_log_mask_failed_total", "counter", "Events hidden because their mask failed.",
           get(&l->counts.mask_failed));
    single(out, "regent_decision_log_uploads_total", "counter", "Batches taken by the log service.",
           get(&l->counts.uploads));
    single(out, "regent_decision_log_uploads_failed_total", "counter", "Batches that were not, and are sent again.",
           get(&l->counts.uploads_failed));
    single(out, "regent_decision_log_buffer_bytes", "gauge", "What waits to be written or sent.", get(&l->held_bytes));
}
