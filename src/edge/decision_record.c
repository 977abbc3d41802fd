/* Events on the threads that decide: copied into chunks that a background thread reads.
 * in: decisions with their requests. out: event records. owns: a thread's chunks and versions. */
#include "edge/decision_record.h"
#include "base/clock.h"
#include "base/json.h"
#include "edge/decision_log_private.h"
#include <stdlib.h>
#include <sys/random.h>

enum {
    BUCKETS = sizeof((struct recorder *)0)->buckets / sizeof(struct event_version *),
    MAX_VERSIONS = 16384, /* a thread keeps */
    CHUNK_BYTES = 64 << 10,
    FIRST_CHUNK_BYTES = 4096,
    ROOM_BYTES = 8192, /* of an ordinary event */
    LATE_BYTES = 256, /* room for a message that comes late */
    HEADERS_BYTES = 16 << 10,
    LIMIT_BYTES = 64 << 20, /* of one event */
    MILLION = 1000000,
    WAIT_STEP_NS = 2000000,
    WAIT_MOST_NS = 1000000000
};

#define NO_ENTRYPOINT "the policy has masks, and its module no entrypoint for them"

/* ---- versions ---- */

static void free_versions(struct event_version *v) {
    while (v) {
        struct event_version *next = v->next;
        free(v);
        v = next;
    }
}

/* Those that no event refers to any more. */
static void sweep(struct recorder *r) {
    for (struct event_version **at = &r->retired, *v; (v = *at);) {
        if (atomic_load_explicit(&v->done, memory_order_acquire) != v->added) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        r->n_versions--;
        free(v);
    }
}

static void retire(struct recorder *r, struct event_version **at) {
    struct event_version *v = *at;
    *at = v->next;
    v->next = r->retired;
    r->retired = v;
}

static void retire_all(struct recorder *r) {
    for (uint32_t i = 0; i < BUCKETS; i++)
        while (r->buckets[i]) retire(r, &r->buckets[i]);
    sweep(r);
}

static const struct event_override *override_of(const struct decision_log_config *c, struct str tenant) {
    for (uint32_t i = 0; i < c->tenants.n; i++)
        if (name_matches(c->tenants.items[i].pattern, tenant)) return &c->tenants.items[i];
    return NULL;
}

static void put_texts(const struct tenant_entry *t, bool hidden, struct buf *out, size_t *n_bundles) {
    struct str id = str_of(t->tenant->id);
    buf_cstr(out, "\"bundles\":{");
    json_print_string(id, out);
    buf_cstr(out, ":{");
    if (t->revision.len) buf_cstr(out, "\"revision\":"), json_print_string(t->revision, out);
    buf_cstr(out, "}}");
    *n_bundles = out->len;
    buf_cstr(out, "\"custom\":{\"tenant_id\":");
    json_print_string(id, out);
    buf_cstr(out, ",\"version\":");
    json_print_string(t->version, out);
    if (t->sha256.len) buf_cstr(out, ",\"module_sha256\":"), json_print_string(t->sha256, out);
    if (hidden) buf_cstr(out, ",\"mask_error\":\"" NO_ENTRYPOINT "\"");
    buf_cstr(out, ",\"door\":\"");
}

static struct event_version *version_new(const struct decision_log_config *c, const struct tenant_entry *t) {
    const struct event_override *o = override_of(c, str_of(t->tenant->id));
    struct event_version *v = NULL;
    struct buf text;
    size_t n = 0;
    int32_t mask = policy_entrypoint(t->policy, c->mask_path);
    bool hidden = mask < 0 && t->has_masks && str_is(c->mask_path, "system/log/mask");
    buf_init(&text, 16 << 10);
    put_texts(t, hidden, &text, &n);
    if (!text.err) v = malloc(sizeof *v + text.len);
    if (v) {
        *v = (struct event_version){.tenant = t->tenant,
                                    .policy = policy_number(t->policy),
                                    .enabled = !o || o->enabled,
                                    .hidden = hidden,
                                    .mask = mask,
                                    .drop = policy_entrypoint(t->policy, c->drop_path),
                                    .sample = o && o->sample != EVENTS_AS_ALL ? o->sample : c->sample,
                                    .max_per_second = o && o->max_per_second != EVENTS_AS_ALL ? o->max_per_second
                                                                                             : c->max_per_second,
                                    .limits = {.deadline_us = t->limits.deadline_us,
                                               .memory_bytes = t->limits.memory_bytes},
                                    .n_bundles = (uint32_t)n,
                                    .n_custom = (uint32_t)(text.len - n)};
        v->watched = v->mask >= 0 || v->drop >= 0;
        memcpy(v->text, text.ptr, text.len);
    }
    buf_deinit(&text);
    return v;
}

static struct event_version *version_of(struct worker *w, const struct tenant_entry *t) {
    struct recorder *r = w->recorder;
    const struct edge_config *c = w->config;
    uint32_t generation = atomic_load_explicit(&r->log->generation, memory_order_relaxed);
    if (r->config != c || r->generation != generation || r->n_versions >= MAX_VERSIONS) {
        retire_all(r);
        r->config = c;
        r->generation = generation;
    }
    uint64_t number = policy_number(t->policy);
    struct event_version **bucket = &r->buckets[((uintptr_t)t->tenant >> 6) * 0x9e3779b97f4a7c15u >> 52];
    for (struct event_version **at = bucket, *v; (v = *at);) {
        if (v->tenant == t->tenant && v->policy == number) return v;
        if (v->tenant == t->tenant)
            retire(r, at);
        else
            at = &v->next;
    }
    if (r->retired) sweep(r);
    struct event_version *v = version_new(&c->decision_log, t);
    if (!v) return NULL;
    if (v->hidden)
        log_line(r->log->log, LOG_WARN, "events are logged without input and result", "tenant_id", t->tenant->id,
                 "reason", NO_ENTRYPOINT ": build it with -e system/log/mask", NULL);
    v->next = *bucket;
    *bucket = v;
    r->n_versions++;
    return v;
}

/* ---- which decisions ---- */

static bool sampled(struct recorder *r, uint32_t share) {
    if (share >= MILLION) return true;
    r->random = r->random * 6364136223846793005u + 1442695040888963407u;
    return (r->random >> 33) % MILLION < share;
}

static bool below_rate(struct tenant_events *e, uint32_t most, uint64_t second) {
    uint64_t was = atomic_load_explicit(&e->second, memory_order_relaxed), now;
    second &= UINT32_MAX;
    do {
        if (was >> 32 == second && (uint32_t)was >= most) return false;
        now = was >> 32 == second ? was + 1 : second << 32 | 1;
    } while (!atomic_compare_exchange_weak_explicit(&e->second, &was, now, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void count(_Atomic uint64_t *at) { /* this thread alone writes it */
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void drop(struct recorder *r, struct tenant *t, enum drop_reason why) {
    count(&r->dropped[why]);
    if (t) atomic_fetch_add_explicit(&t->metrics.events_dropped, 1, memory_order_relaxed);
}

/* ---- room ---- */

/* A tenant may hold as much as is free: however many there are that log a lot, some stays for the others. */
static bool tenant_fits(const struct decision_log *l, const struct tenant *t, uint64_t bytes) {
    uint64_t limit = atomic_load_explicit(&l->limit_bytes, memory_order_relaxed);
    uint64_t held = atomic_load_explicit(&l->held_bytes, memory_order_relaxed);
    uint64_t own = t ? atomic_load_explicit(&t->events.waiting_bytes, memory_order_relaxed) : 0;
    return held < limit && own + bytes <= limit - held;
}

static struct chunk *chunk_new(struct recorder *r, uint32_t need) {
    uint32_t cap = need > CHUNK_BYTES ? need : CHUNK_BYTES;
    struct chunk *c = atomic_exchange_explicit(&r->spare, NULL, memory_order_acquire);
    if (c && c->cap != cap) free(c), c = NULL;
    if (!c) c = malloc(sizeof *c + cap);
    if (!c) return NULL;
    atomic_init(&c->next, NULL);
    atomic_init(&c->committed, 0);
    c->read = 0;
    c->cap = cap;
    return c;
}

static void *reserve(struct recorder *r, uint32_t bytes) {
    if (r->used + bytes > r->tail->cap) {
        struct chunk *c = chunk_new(r, bytes);
        if (!c) return NULL;
        atomic_store_explicit(&r->tail->next, c, memory_order_release);
        r->tail = c;
        r->used = 0;
    }
    return r->tail->data + r->used;
}

/* ---- the event ---- */

struct str event_part(const struct event_record *e, enum event_part part) {
    size_t at = 0;
    for (enum event_part i = 0; i < part; i++) at += e->len[i];
    return (struct str){e->parts + at, e->len[part]};
}

struct tenant *event_tenant(const struct event_record *e) { return e->version ? e->version->tenant : NULL; }

static void put_values(const struct request_facts *f, struct str name, struct buf *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; f->http && !f->header && i < f->http->n_headers; i++) {
        if (!str_eq(f->http->headers[i].name, name)) continue;
        buf_cstr(out, n++ ? "," : "[");
        json_print_string(f->http->headers[i].value, out);
    }
    struct str one = f->header ? f->header(f->header_ctx, name) : (struct str){NULL, 0};
    if (one.ptr) buf_byte(out, '['), json_print_string(one, out);
    buf_byte(out, ']');
}

static void put_headers(const struct request_facts *f, const struct name_list *wanted, struct buf *out) {
    for (uint32_t i = 0; i < wanted->n; i++) {
        struct str name = wanted->items[i];
        if (!(f->header ? f->header(f->header_ctx, name) : request_header(f, name)).ptr) continue;
        buf_byte(out, out->len ? ',' : '{');
        json_print_string(name, out);
        buf_byte(out, ':');
        put_values(f, name, out);
    }
    if (out->len) buf_byte(out, '}');
}

static struct str who_asks(const struct request_facts *f, char text[64]) {
    const struct http_peer *p = f->http ? f->http->peer : NULL;
    if (!p) return STR("");
    if (p->unix_socket) return STR("@");
    size_t n = strlen(p->address), at = 0;
    bool v6 = memchr(p->address, ':', n) != NULL;
    char digits[24];
    struct str port = http_number(p->port, digits);
    if (v6) text[at++] = '[';
    memcpy(text + at, p->address, n);
    at += n;
    if (v6) text[at++] = ']';
    text[at++] = ':';
    memcpy(text + at, port.ptr, port.len);
    return (struct str){text, at + port.len};
}

struct pieces {
    struct str of[N_PARTS];
    struct buf headers;
    char who[64];
};

static void gather(struct worker *w, const struct tenant_entry *t, const struct event_version *v, const struct ask *ask,
                   const struct decision *d, struct pieces *p) {
    const struct name_list *headers = &w->config->decision_log.headers;
    *p = (struct pieces){.headers = {.max = HEADERS_BYTES}};
    p->of[PART_TENANT] = t ? STR("") : ask->tenant;
    p->of[PART_PATH] = ask->document.ptr ? ask->document : ask->path;
    bool hidden = v && v->hidden;
    if (!hidden) p->of[PART_INPUT] = ask->input;
    if (!hidden && d->kind == DECISION_VALUE) p->of[PART_RESULT] = d->json;
    p->of[PART_WHO] = who_asks(&w->facts, p->who);
    p->of[PART_TRACE] = request_header(&w->facts, STR("traceparent"));
    if (headers->n) put_headers(&w->facts, headers, &p->headers);
    if (!p->headers.err) p->of[PART_HEADERS] = buf_view(&p->headers);
    if (d->kind == DECISION_FAILED || d->kind == DECISION_NO_TENANT) p->of[PART_MESSAGE] = str_of(decision_reason(d));
}

/* Hands the open event over. */
static void commit(struct recorder *r) {
    struct event_record *e = r->open;
    r->used += e->bytes;
    r->open = NULL;
    if (e->version) {
        e->version->added++;
        atomic_fetch_add_explicit(&e->version->tenant->events.waiting_bytes, e->bytes, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&r->log->held_bytes, e->bytes, memory_order_relaxed);
    count(&r->events);
    atomic_store_explicit(&r->tail->committed, r->used, memory_order_release);
}

static void write_head(struct worker *w, const struct tenant_entry *t, struct event_version *v, const struct ask *ask,
                       const struct decision *d, struct event_record *e) {
    const struct request_facts *f = &w->facts;
    *e = (struct event_record){.kind = (uint8_t)d->kind,
                               .err = (uint16_t)d->err,
                               .has_input = ask->input.ptr && !(v && v->hidden),
                               .time_ns = clock_of(CLOCK_REALTIME),
                               .eval_ns = d->eval_ns,
                               .handler_ns = f->began_ns ? clock_ns() - f->began_ns : 0,
                               .number = f->number,
                               .version = v,
                               .policy = v && v->watched ? policy_acquire(t->policy) : NULL,
                               .door = f->door ? f->door : ""};
    memcpy(e->id, d->id, sizeof e->id);
    memcpy(e->batch_id, f->batch_id, sizeof e->batch_id);
}

static void write_event(struct worker *w, const struct tenant_entry *t, struct event_version *v, const struct ask *ask,
                        const struct decision *d) {
    struct recorder *r = w->recorder;
    struct pieces p;
    size_t need = sizeof(struct event_record) + LATE_BYTES, at = 0;
    gather(w, t, v, ask, d, &p);
    for (int i = 0; i < N_PARTS; i++) need += p.of[i].len;
    struct event_record *e = NULL;
    bool fits = need < LIMIT_BYTES && tenant_fits(r->log, t ? t->tenant : NULL, need);
    if (fits) e = reserve(r, (uint32_t)(need + 7) & ~7u);
    if (e) {
        write_head(w, t, v, ask, d, e);
        for (int i = 0; i < N_PARTS; i++) {
            e->len[i] = (uint32_t)p.of[i].len;
            if (p.of[i].len) memcpy(e->parts + at, p.of[i].ptr, p.of[i].len);
            at += p.of[i].len;
        }
        e->bytes = (uint32_t)(sizeof *e + at + 7) & ~7u;
        r->open = e;
    } else {
        drop(r, t ? t->tenant : NULL, need < LIMIT_BYTES ? DROPPED_BUFFER : DROPPED_SIZE);
    }
    buf_deinit(&p.headers);
}

void decision_log_add(struct worker *w, const struct tenant_entry *t, const struct ask *ask, const struct decision *d) {
    struct recorder *r = w->recorder;
    const struct decision_log_config *c = &w->config->decision_log;
    struct event_version *v = NULL;
    if (r->open) commit(r);
    if (c->denials_only && !decision_denies(d)) return;
    if (t && t->policy) {
        if (!(v = version_of(w, t))) {
            drop(r, t->tenant, DROPPED_BUFFER);
            return;
        }
        if (!v->enabled || !sampled(r, v->sample)) return;
        if (v->max_per_second &&
            !below_rate(&t->tenant->events, v->max_per_second, clock_of(CLOCK_MONOTONIC_COARSE) / 1000000000u)) {
            drop(r, t->tenant, DROPPED_RATE);
            return;
        }
    } else if (!sampled(r, c->sample)) {
        return;
    }
    write_event(w, v ? t : NULL, v, ask, d);
}

void decision_log_amend(struct worker *w, const struct decision *d) {
    struct event_record *e = w->recorder ? w->recorder->open : NULL;
    if (!e) return;
    struct str why = str_head(str_of(decision_reason(d)), LATE_BYTES - 8);
    size_t at = 0;
    for (int i = 0; i < PART_MESSAGE; i++) at += e->len[i];
    e->kind = (uint8_t)d->kind;
    e->err = (uint16_t)d->err;
    e->len[PART_MESSAGE] = (uint32_t)why.len;
    memcpy(e->parts + at, why.ptr, why.len);
    e->bytes = (uint32_t)(sizeof *e + at + why.len + 7) & ~7u;
}

void decision_log_forget(struct worker *w) {
    struct event_record *e = w->recorder ? w->recorder->open : NULL;
    if (!e) return;
    if (e->policy) policy_release(e->policy);
    w->recorder->open = NULL;
}

void decision_log_end(struct worker *w) {
    if (w->recorder && w->recorder->open) commit(w->recorder);
}

bool decision_log_holds_up(struct worker *w, const struct tenant_entry *t) {
    if (!w->config->decision_log.wait || !w->recorder) return false;
    struct timespec step = {.tv_nsec = WAIT_STEP_NS};
    const struct decision_log *l = w->recorder->log;
    uint64_t until = clock_ns() + WAIT_MOST_NS, need = ROOM_BYTES;
    while (!tenant_fits(l, t->tenant, need) && !atomic_load_explicit(&l->stopping, memory_order_relaxed)) {
        if (w->slice_us) return true;
        if (clock_ns() > until) break;
        nanosleep(&step, NULL);
    }
    return false;
}

/* ---- the other end ---- */

const struct event_record *recorder_take(struct recorder *r) {
    for (;;) {
        struct chunk *c = r->head;
        struct chunk *next = atomic_load_explicit(&c->next, memory_order_acquire);
        uint32_t committed = atomic_load_explicit(&c->committed, memory_order_acquire);
        if (c->read < committed) {
            const struct event_record *e = (const void *)(c->data + c->read);
            c->read += e->bytes;
            return e;
        }
        if (!next) return NULL;
        r->head = next;
        free(atomic_exchange_explicit(&r->spare, c, memory_order_acq_rel));
    }
}

void event_done(struct decision_log *l, struct tenant *tenant, struct event_version *version, uint64_t bytes) {
    decision_log_release(l, bytes);
    if (tenant) atomic_fetch_sub_explicit(&tenant->events.waiting_bytes, bytes, memory_order_relaxed);
    if (version) atomic_fetch_add_explicit(&version->done, 1, memory_order_release);
}

struct recorder *recorder_new(struct decision_log *l) {
    struct recorder *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->log = l;
    r->head = r->tail = malloc(sizeof(struct chunk) + FIRST_CHUNK_BYTES);
    if (!r->head || getrandom(&r->random, sizeof r->random, 0) != sizeof r->random) {
        free(r->head);
        free(r);
        return NULL;
    }
    *r->head = (struct chunk){.cap = FIRST_CHUNK_BYTES};
    pthread_mutex_lock(&l->lock);
    r->next = l->recorders;
    l->recorders = r;
    pthread_mutex_unlock(&l->lock);
    return r;
}

void recorder_free(struct recorder *r) {
    for (struct chunk *c = r->head, *next; c; c = next) {
        next = atomic_load(&c->next);
        free(c);
    }
    free(atomic_load(&r->spare));
    for (uint32_t i = 0; i < BUCKETS; i++) free_versions(r->buckets[i]);
    free_versions(r->retired);
    free(r);
}
