/* Sends spans to an OpenTelemetry collector.
 * in: the rings of all deciding threads. out: OTLP requests. owns: the rings, a thread, what was not delivered yet. */
#include "edge/tracer.h"
#include "base/clock.h"
#include "edge/metrics_text.h"
#include "edge/priority.h"
#include "net/fetch.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    BATCH_SPANS = 512,
    BATCH_BYTES = 4 << 20,
    REPLY_BYTES = 64 << 10,
    RESOURCE_BYTES = 256 << 10,
    URL_BYTES = 2048,
    WHY_BYTES = 512,
    LOOK_MS = 250,         /* between two looks at the rings */
    SEND_MS = 5000,        /* for one batch */
    FIRST_PAUSE_MS = 500,  /* after a batch that was not taken; doubled up to */
    MOST_PAUSE_MS = 10000,
    TRIES = 8,             /* then it is dropped: about a minute */
    LAST_MS = 2000         /* for what waits when the node ends */
};

struct tracer {
    pthread_t id;
    bool started;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t work;
    _Atomic bool stopping; /* also ends a batch that is under way */
    char url[URL_BYTES]; /* "": off */
    char ca_file[URL_BYTES];
    struct buf resource;
    _Atomic(struct span_ring *) rings;
    /* The thread's own: */
    struct fetcher *fetcher;
    struct buf batch, reply;
    bool failing;
    char node_id[37], host_name[256];
    const struct log *log;
    _Atomic uint64_t sent, refused, failures;
};

/* ---- rings ---- */

struct span_ring *tracer_ring(struct tracer *t) {
    struct span_ring *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    struct span_ring *first = atomic_load(&t->rings);
    do r->next = first;
    while (!atomic_compare_exchange_weak(&t->rings, &first, r));
    return r;
}

/* A batch's spans, taken off the rings and printed. */
static uint32_t take(struct tracer *t, struct str resource) {
    uint32_t n = 0;
    buf_clear(&t->batch);
    span_print_head(resource, &t->batch);
    for (struct span_ring *r = atomic_load_explicit(&t->rings, memory_order_acquire); r; r = r->next) {
        uint64_t at = atomic_load_explicit(&r->read, memory_order_relaxed);
        uint64_t end = atomic_load_explicit(&r->written, memory_order_acquire);
        for (; at < end && n < BATCH_SPANS; at++) span_print(&r->items[at % SPAN_RING], n++ == 0, &t->batch);
        atomic_store_explicit(&r->read, at, memory_order_release);
    }
    span_print_end(&t->batch);
    return n;
}

/* ---- sending ---- */

struct target {
    char url[URL_BYTES], ca_file[URL_BYTES];
    struct buf resource;
};

/* What the collector made of it: taken, to be sent again, or never to be sent again. */
enum verdict { TAKEN, AGAIN, NEVER };

static enum verdict post(struct tracer *t, const struct target *to, uint32_t timeout_ms, const _Atomic bool *cancel,
                         char why[WHY_BYTES]) {
    struct http_header type = {STR("content-type"), STR("application/json")};
    struct fetch_reply reply = {0};
    struct fetch_request q = {.url = to->url, .method = "POST", .body = buf_view(&t->batch), .headers = &type,
                              .n_headers = 1, .timeout_ms = timeout_ms, .cancel = cancel,
                              .ca_file = to->ca_file[0] ? to->ca_file : NULL};
    buf_clear(&t->reply);
    enum err e = t->fetcher ? OK : fetcher_new(&t->fetcher, why, WHY_BYTES);
    if (!e) e = fetch(t->fetcher, &q, &t->reply, &reply, why, WHY_BYTES);
    if (e) return e == ERR_INVALID ? NEVER : AGAIN;
    if (reply.status >= 200 && reply.status < 300) return TAKEN;
    snprintf(why, WHY_BYTES, "the collector answers %d", reply.status);
    return reply.status == 429 || reply.status == 502 || reply.status == 503 || reply.status == 504 ? AGAIN : NEVER;
}

/* Said once when it begins and once when it ends. */
static void say(struct tracer *t, bool failing, const char *why) {
    if (failing == t->failing) return;
    t->failing = failing;
    if (failing) log_line(t->log, LOG_WARN, "traces not taken", "reason", why, NULL);
    else log_line(t->log, LOG_INFO, "traces taken again", NULL);
}

static bool wait_ms(struct tracer *t, uint64_t ms) { /* under the lock; true: it is to stop */
    uint64_t end = clock_ns() + ms * 1000000;
    struct timespec until = {(time_t)(end / 1000000000u), (long)(end % 1000000000u)};
    while (!t->stopping && pthread_cond_timedwait(&t->work, &t->lock, &until) == 0) {
    }
    return t->stopping;
}

static bool pause_between(struct tracer *t, uint64_t ms) {
    pthread_mutex_lock(&t->lock);
    bool stopping = wait_ms(t, ms);
    pthread_mutex_unlock(&t->lock);
    return stopping;
}

/* Tries until the batch is taken or given up; nothing else is sent meanwhile, and rings that run full count. */
static void deliver(struct tracer *t, const struct target *to, uint32_t spans) {
    uint64_t pause = FIRST_PAUSE_MS;
    for (int i = 0; i < TRIES; i++, pause = pause * 2 < MOST_PAUSE_MS ? pause * 2 : MOST_PAUSE_MS) {
        char why[WHY_BYTES] = "";
        enum verdict v = post(t, to, SEND_MS, &t->stopping, why);
        if (v == TAKEN) atomic_fetch_add_explicit(&t->sent, spans, memory_order_relaxed);
        else atomic_fetch_add_explicit(&t->failures, 1, memory_order_relaxed);
        say(t, v != TAKEN, why);
        if (v == TAKEN) return;
        if (v == NEVER || pause_between(t, pause)) break;
    }
    atomic_fetch_add_explicit(&t->refused, spans, memory_order_relaxed);
}

/* Copies, since the configuration may change while a batch is under way. */
static bool look(struct tracer *t, struct target *to) {
    pthread_mutex_lock(&t->lock);
    while (!t->stopping && !t->url[0] && !to->url[0]) pthread_cond_wait(&t->work, &t->lock);
    bool stopping = wait_ms(t, LOOK_MS);
    memcpy(to->url, t->url, sizeof to->url);
    memcpy(to->ca_file, t->ca_file, sizeof to->ca_file);
    buf_clear(&to->resource);
    buf_str(&to->resource, buf_view(&t->resource));
    pthread_mutex_unlock(&t->lock);
    return stopping;
}

/* The last batches: as many as go in a moment. */
static void send_rest(struct tracer *t, const struct target *to) {
    char why[WHY_BYTES];
    uint32_t n;
    int64_t end = clock_ms() + LAST_MS, left;
    while ((left = end - clock_ms()) > 0 && (n = take(t, buf_view(&to->resource)))) {
        bool taken = to->url[0] && post(t, to, (uint32_t)left, NULL, why) == TAKEN;
        atomic_fetch_add_explicit(taken ? &t->sent : &t->refused, n, memory_order_relaxed);
        if (!taken) return;
    }
}

static void *run(void *ctx) {
    struct tracer *t = ctx;
    struct target to = {0};
    priority_of_lane();
    buf_init(&to.resource, RESOURCE_BYTES);
    while (!look(t, &to)) {
        uint32_t n = BATCH_SPANS;
        while (n == BATCH_SPANS && !t->stopping && (n = take(t, buf_view(&to.resource)))) {
            if (to.url[0]) deliver(t, &to, n);
            else atomic_fetch_add_explicit(&t->refused, n, memory_order_relaxed);
        }
    }
    send_rest(t, &to);
    buf_deinit(&to.resource);
    return NULL;
}

/* ---- life ---- */

static void write_resource(struct tracer *t, const struct edge_config *c) {
    struct buf *out = &t->resource;
    buf_clear(out);
    span_attribute(out, "service.name", c->tracing.service, true);
    span_attribute(out, "service.version", STR(REGENT_VERSION), false);
    span_attribute(out, "service.instance.id", str_of(t->node_id), false);
    if (t->host_name[0]) span_attribute(out, "host.name", str_of(t->host_name), false);
    for (uint32_t i = 0; c->labels && i < c->labels->n; i++) {
        const struct json *v = c->labels->items[i];
        char key[256];
        snprintf(key, sizeof key, "%.*s", STR_FMT(c->labels->keys[i]));
        if (v->kind == JSON_STRING) span_attribute(out, key, v->text, false);
    }
    if (out->err) buf_clear(out), span_attribute(out, "service.name", c->tracing.service, true);
}

void tracer_configure(struct tracer *t, const struct edge_config *c) {
    const char *url = c->tracing.url ? c->tracing.url : "";
    struct str given = str_of(url);
    while (given.len && given.ptr[given.len - 1] == '/') given.len--;
    bool whole = str_ends(given, STR("/v1/traces"));
    pthread_mutex_lock(&t->lock);
    snprintf(t->url, sizeof t->url, "%.*s%s", STR_FMT(given), given.len && !whole ? "/v1/traces" : "");
    snprintf(t->ca_file, sizeof t->ca_file, "%s", c->tracing.ca_file ? c->tracing.ca_file : "");
    write_resource(t, c);
    pthread_cond_signal(&t->work);
    pthread_mutex_unlock(&t->lock);
}

enum err tracer_new(const struct tracer_options *o, struct tracer **out) {
    struct tracer *t = calloc(1, sizeof *t);
    pthread_condattr_t monotonic;
    if (!t) return ERR_MEMORY;
    t->log = o->log;
    snprintf(t->node_id, sizeof t->node_id, "%s", o->node_id);
    snprintf(t->host_name, sizeof t->host_name, "%s", o->host_name);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    buf_init(&t->resource, RESOURCE_BYTES);
    buf_init(&t->batch, BATCH_BYTES);
    buf_init(&t->reply, REPLY_BYTES);
    tracer_configure(t, o->config);
    t->started = pthread_create(&t->id, NULL, run, t) == 0;
    if (!t->started) {
        tracer_free(t);
        return ERR_MEMORY;
    }
    *out = t;
    return OK;
}

void tracer_free(struct tracer *t) {
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->work);
    pthread_mutex_unlock(&t->lock);
    if (t->started) pthread_join(t->id, NULL);
    for (struct span_ring *r = atomic_load(&t->rings), *next; r; r = next) {
        next = r->next;
        free(r);
    }
    fetcher_free(t->fetcher);
    buf_deinit(&t->resource);
    buf_deinit(&t->batch);
    buf_deinit(&t->reply);
    pthread_cond_destroy(&t->work);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void tracer_metrics(const struct tracer *t, struct buf *out) {
    uint64_t dropped = 0;
    for (const struct span_ring *r = atomic_load(&t->rings); r; r = r->next) dropped += metric_get(&r->dropped);
    metric_one(out, "regent_trace_spans_total", "counter", "Spans that the collector took.", metric_get(&t->sent));
    metric_family(out, "regent_trace_spans_dropped_total", "counter", "Spans that were lost, by reason.");
    buf_printf(out, "regent_trace_spans_dropped_total{reason=\"full\"} %llu\n", (unsigned long long)dropped);
    buf_printf(out, "regent_trace_spans_dropped_total{reason=\"not_taken\"} %llu\n",
               (unsigned long long)metric_get(&t->refused));
    metric_one(out, "regent_trace_exports_failed_total", "counter", "Batches of spans that were not taken, each try.",
               metric_get(&t->failures));
}
