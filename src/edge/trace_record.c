/* Records spans on the thread that decides.
 * in: decisions with what their doors told of the request. out: spans in the thread's ring. owns: nothing. */
#include "base/clock.h"
#include "edge/tracer.h"
#include <stdio.h>

enum { MILLIONTHS = 1000000, WAITED_NS = 2000000 };

static struct span_ring *ring_of(struct worker *w) {
    if (!w->spans) w->spans = tracer_ring(w->tracer);
    return w->spans;
}

static void copy(struct str from, char *out, size_t out_bytes) {
    if (from.len >= out_bytes) from.len = out_bytes - 1;
    if (from.len) memcpy(out, from.ptr, from.len);
    out[from.len] = 0;
}

static void push(struct span_ring *r, const struct span *s) {
    uint64_t at = atomic_load_explicit(&r->written, memory_order_relaxed);
    if (at - atomic_load_explicit(&r->read, memory_order_acquire) == SPAN_RING) {
        atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
        return;
    }
    r->items[at % SPAN_RING] = *s;
    atomic_store_explicit(&r->written, at + 1, memory_order_release);
}

/* The digits of a random UUID: 32; the last 16 make a span's id. */
static void random_digits(struct worker *w, char out[33]) {
    char id[37];
    size_t n = 0;
    decision_id(w, id);
    for (size_t i = 0; i < 36; i++)
        if (id[i] != '-') out[n++] = id[i];
    out[32] = 0;
}

static void new_span_id(struct worker *w, char out[17]) {
    char digits[33];
    random_digits(w, digits);
    memcpy(out, digits + 16, 17);
}

static uint32_t last_digits(const char digits[33]) {
    uint32_t n = 0;
    for (size_t i = 24; i < 32; i++) n = n << 4 | (uint32_t)char_hex(digits[i]);
    return n;
}

/* Who asks says whether the trace is kept; who says nothing is drawn by lot. */
static bool is_sampled(struct worker *w, struct trace_context *context) {
    struct str parent = request_header(&w->facts, STR("traceparent"));
    if (trace_parse(parent, context)) return context->sampled;
    random_digits(w, context->trace_id);
    return last_digits(context->trace_id) % MILLIONTHS < w->config->tracing.sample;
}

static void put_peer(const struct http_peer *p, char out[SPAN_PEER_BYTES]) {
    if (!p) out[0] = 0;
    else snprintf(out, SPAN_PEER_BYTES, "%s", p->unix_socket ? "unix" : p->address);
}

/* A request that had to wait for its turn began when it was whole: known to a millisecond. */
static int64_t began(const struct request_facts *f, int64_t now_ns, uint64_t mono_ns) {
    uint64_t began_ns = f->began_ns, received_ns = f->http ? f->http->received_ms * 1000000 : 0;
    if (received_ns && received_ns + WAITED_NS < began_ns) began_ns = received_ns;
    return now_ns - (int64_t)(began_ns ? mono_ns - began_ns : 0);
}

static void open_span(struct worker *w, struct span_ring *r, int64_t now_ns) {
    struct trace_context context;
    r->state = is_sampled(w, &context) ? SPAN_OPEN : SPAN_SKIPPED;
    if (r->state == SPAN_SKIPPED) return;
    const struct request_facts *f = &w->facts;
    r->open = (struct span){.context = context, .door = f->door ? f->door : "", .grpc_status = -1};
    r->open.start_ns = began(f, now_ns, clock_ns());
    new_span_id(w, r->open.id);
    if (!f->http) return;
    copy(f->http->method, r->open.method, sizeof r->open.method);
    put_peer(f->http->peer, r->open.peer);
}

static void describe(const struct decision *d, struct span *s) {
    bool failed = d->kind != DECISION_VALUE && d->kind != DECISION_UNDEFINED;
    s->outcome = failed                          ? "error"
                 : d->kind == DECISION_UNDEFINED ? "undefined"
                 : decision_denies(d)            ? "deny"
                                                 : "allow";
    s->error = NULL;
    s->message[0] = 0;
    if (!failed) return;
    s->error = d->limit < LIMIT_COUNT            ? limit_name(d->limit)
               : d->err                          ? err_word(d->err)
               : d->kind == DECISION_NO_TENANT   ? "no_tenant"
                                                 : "no_entrypoint";
    copy(str_of(decision_reason(d)), s->message, sizeof s->message);
}

/* The evaluation alone, as the request's child. */
static void push_evaluation(struct worker *w, struct span_ring *r, const struct decision *d, int64_t now_ns) {
    struct span s = r->open;
    memcpy(s.context.span_id, r->open.id, sizeof s.context.span_id);
    new_span_id(w, s.id);
    s.is_evaluation = true;
    s.end_ns = now_ns;
    s.start_ns = now_ns - (int64_t)d->eval_ns;
    push(r, &s);
}

void tracer_decision(struct worker *w, const struct tenant_entry *t, const struct ask *ask, const struct decision *d) {
    struct span_ring *r = ring_of(w);
    if (!r || r->state == SPAN_SKIPPED) return;
    int64_t now_ns = (int64_t)clock_of(CLOCK_REALTIME);
    if (r->state == SPAN_UNKNOWN) open_span(w, r, now_ns);
    if (r->state == SPAN_SKIPPED) return;
    struct span *s = &r->open;
    copy(t ? str_of(t->tenant->id) : ask->tenant, s->tenant, sizeof s->tenant);
    copy(ask->document.ptr ? ask->document : ask->path, s->path, sizeof s->path);
    copy(t ? t->revision : STR(""), s->revision, sizeof s->revision);
    memcpy(s->decision_id, d->id, sizeof s->decision_id);
    describe(d, s);
    s->decisions++;
    if (d->eval_ns) push_evaluation(w, r, d, now_ns);
}

void tracer_amend(struct worker *w, const struct decision *d) {
    if (w->spans && w->spans->state == SPAN_OPEN) describe(d, &w->spans->open);
}

void tracer_end(struct worker *w, const struct http_reply *reply) {
    struct span_ring *r = w->spans;
    if (!r || r->state == SPAN_UNKNOWN) return;
    bool open = r->state == SPAN_OPEN && reply;
    r->state = SPAN_UNKNOWN;
    if (!open) return;
    r->open.end_ns = (int64_t)clock_of(CLOCK_REALTIME);
    r->open.status = reply->grpc_status < 0 ? reply->status : 0;
    r->open.grpc_status = reply->grpc_status;
    push(r, &r->open);
}
