/* The decision path behind every door: tenant, admission, entrypoint, evaluation, metrics.
 * in: tenant id, path, JSON input. out: a decision. owns: nothing. */
#include "edge/decide.h"
#include "base/clock.h"
#include "edge/decision_log.h"
#include "edge/document.h"
#include "edge/process.h"
#include "edge/tracer.h"
#include "edge/trial.h"
#include <stdio.h>

enum { WARNINGS_A_SECOND = 100, DEFAULT_DEADLINE_US = 1000000, KEPT_AWAY = 4 };

static uint64_t next_random(
    uint64_t s[2]) { /* xorshift128+, seeded by the kernel: ids need to differ, not to be secret */
    uint64_t a = s[0], b = s[1];
    s[0] = b;
    a ^= a << 23;
    s[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return s[1] + b;
}

void decision_id(struct worker *w, char out[37]) {
    static const char hex[] = "0123456789abcdef";
    uint64_t half[2] = {next_random(w->random), next_random(w->random)};
    half[0] = (half[0] & 0xffffffffffff0fffu) | 0x4000;
    half[1] = (half[1] & 0x3fffffffffffffffu) | 0x8000000000000000u;
    for (int i = 0, at = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) out[at++] = '-';
        out[at++] = hex[half[i / 16] >> (60 - 4 * (i % 16)) & 15];
    }
    out[36] = 0;
}

const char *decision_reason(const struct decision *d) {
    switch (d->kind) {
    case DECISION_VALUE: return "policy";
    case DECISION_UNDEFINED: return "the decision is undefined";
    case DECISION_FAILED: return d->result.message[0] ? d->result.message : err_meaning(d->err);
    case DECISION_LATER: return "not decided yet";
    case DECISION_NO_TENANT: return "unknown tenant";
    case DECISION_NO_ENTRYPOINT: return "the tenant's module has no such entrypoint";
    }
    return "";
}

/* At most so many a second by each thread. */
static bool may_warn(struct worker *w) {
    uint64_t second = clock_of(CLOCK_MONOTONIC_COARSE) / 1000000000u;
    if (second != w->log_second) {
        if (w->logged > WARNINGS_A_SECOND) {
            char n[24];
            snprintf(n, sizeof n, "%llu", (unsigned long long)(w->logged - WARNINGS_A_SECOND));
            log_line(w->log, LOG_WARN, "warnings left out", "count", n, NULL);
        }
        w->log_second = second;
        w->logged = 0;
    }
    return w->logged++ < WARNINGS_A_SECOND;
}

/* The machine word of what stopped a decision: a limit's name, where it was one. */
static const char *limit_word(const struct decision *d) {
    if (d->kind != DECISION_FAILED) return "";
    return d->limit < LIMIT_COUNT ? limit_name(d->limit) : err_word(d->err);
}

/* Warns about an answer that is no ordinary one. t may be NULL. */
static void warn(struct worker *w, enum log_level level, const struct tenant_entry *t, const struct ask *ask,
                 const struct decision *d) {
    char id[TENANT_ID_BYTES], at[256];
    if (!log_takes(w->log, level)) return;
    if (t && t->limits.log_lines_per_second &&
        !quota_log(&t->tenant->quota, &t->limits, clock_of(CLOCK_MONOTONIC_COARSE))) {
        metrics_limit(&t->tenant->metrics, LIMIT_log_lines_per_second);
        return;
    }
    if (!may_warn(w)) return;
    snprintf(id, sizeof id, "%.*s", STR_FMT(ask->tenant));
    snprintf(at, sizeof at, "%.*s", STR_FMT(ask->path));
    log_line(w->log, level, "denied", "tenant_id", id, "path", at, "reason", decision_reason(d), "limit",
             limit_word(d), "decision_id", d->id, NULL);
}

static bool above_entrypoint(const struct policy *p, struct str path) {
    if (str_is(path, "/")) return policy_entrypoint_count(p) > 0;
    for (uint32_t i = 0; i < policy_entrypoint_count(p); i++) {
        struct str name = policy_entrypoint_name(p, i);
        if (str_starts(name, path) && name.len > path.len && name.ptr[path.len] == '/') return true;
    }
    return false;
}

static bool fail(struct decision *d, enum err e, const char *message) {
    d->kind = DECISION_FAILED;
    d->err = e;
    d->limit = limit_of_err(e);
    snprintf(d->result.message, sizeof d->result.message, "%s", message);
    return true;
}

/* Follows `below` ("a/b") into the result; false: nothing there. Sets are printed as arrays, so
 * that below those there is no telling what a name means. */
static bool look_below(struct worker *w, struct str below, struct decision *d) {
    struct json *v;
    bool list = false;
    if (json_parse(&w->arena, d->json, &v, NULL))
        return fail(d, ERR_LIMIT, "the result is too large to look into");
    const struct json *there = json_below(v, below, &list);
    if (list) return fail(d, ERR_UNSUPPORTED, "a path into an array or set below an entrypoint is not supported");
    if (!there) return false;
    struct buf text;
    buf_init(&text, d->json.len * 6 + 64);
    json_print(there, false, 0, &text);
    char *copy = text.err ? NULL : arena_strndup(&w->arena, (const char *)text.ptr, text.len);
    d->json = (struct str){copy, text.len};
    buf_deinit(&text);
    return copy || fail(d, ERR_MEMORY, err_meaning(ERR_MEMORY));
}

/* On an event loop: as long as a slice, and again in a lane if that was not enough. The host counts time on a core:
 * only a thread that was kept from one for several slices ends without having used its own, which says nothing of
 * the tenant. */
static void evaluate_slice(struct worker *w, const struct tenant_entry *t, struct eval_request *q,
                           struct decision *d) {
    uint64_t deadline = q->limits.deadline_us ? q->limits.deadline_us : DEFAULT_DEADLINE_US;
    bool whole = deadline <= w->slice_us;
    if (!whole) {
        q->limits.deadline_us = w->slice_us;
        q->sliced = true;
    }
    d->err = policy_eval(w->pool, q, &d->result);
    if (d->err != ERR_DEADLINE) return;
    if (d->result.eval_ns < KEPT_AWAY * 1000 * w->slice_us)
        quota_slowed(&t->tenant->quota, clock_ns());
    if (!whole) d->kind = DECISION_LATER;
}

/* In a lane: as long as the tenant may, and what is slow is asked here again. Here threads wait for a core often, so
 * that only the time on one tells. */
static void evaluate_whole(struct worker *w, const struct tenant_entry *t, const struct eval_request *q,
                           struct decision *d) {
    if (w->remote) {
        d->err = process_eval(w->remote, q, &d->result);
        return;
    }
    uint64_t start = clock_of(CLOCK_THREAD_CPUTIME_ID);
    d->err = policy_eval(w->pool, q, &d->result);
    if (clock_of(CLOCK_THREAD_CPUTIME_ID) - start > 2 * w->config->slice_us * 1000)
        quota_slowed(&t->tenant->quota, clock_ns());
}

static void evaluate(struct worker *w, const struct tenant_entry *t, const struct ask *ask,
                     struct decision *d) {
    struct str below;
    int32_t id = policy_entrypoint_at(t->policy, ask->path, &below);
    if (id < 0) {
        d->kind = DECISION_NO_ENTRYPOINT;
        d->above_entrypoint = above_entrypoint(t->policy, ask->path);
        if (!d->above_entrypoint && ask->document.ptr) document_find(w, t, ask->document, d);
        return;
    }
    struct eval_request request = {.policy = t->policy,
                                   .entrypoint = (uint32_t)id,
                                   .input = ask->input,
                                   .limits = {.deadline_us = t->limits.deadline_us,
                                              .memory_bytes = t->limits.memory_bytes,
                                              .input_bytes = t->limits.input_bytes,
                                              .result_bytes = t->limits.output_bytes},
                                   .fresh_instance = w->config->fresh_instances,
                                   .strict_builtin_errors = ask->strict_builtin_errors};
    d->kind = DECISION_FAILED;
    if (w->slice_us)
        evaluate_slice(w, t, &request, d);
    else
        evaluate_whole(w, t, &request, d);
    d->eval_ns = d->result.eval_ns;
    d->limit = limit_of_err(d->err);
    if (d->err) return;
    d->json = d->result.json;
    d->kind = d->result.defined ? DECISION_VALUE : DECISION_UNDEFINED;
    if (d->kind == DECISION_VALUE && below.ptr && !look_below(w, below, d))
        d->kind = DECISION_UNDEFINED;
}

void worker_begin(struct worker *w, uint32_t charged, struct tenant_quota *held) {
    w->charged = charged;
    w->admitted = 0;
    w->missed = false;
    w->held = held;
}

struct str request_header(const struct request_facts *f, struct str name) {
    struct str own = f->http ? http_header_get(f->http, name) : (struct str){NULL, 0};
    return own.ptr || !f->header ? own : f->header(f->header_ctx, name);
}

void worker_notes(struct worker *w, const char *door, const struct http_request *q) {
    w->requests++;
    if (!decision_log_on(w) && !tracer_on(w)) return;
    w->facts = (struct request_facts){
        .door = door, .http = q, .began_ns = clock_ns(), .number = w->requests * TENANTS_MAX_READERS + w->number};
}

const struct worker_group *worker_group_of(const struct edge_config *c, struct str tenant) {
    for (uint32_t i = 0; i < c->groups.n; i++)
        if (c->groups.items[i].tenants.n && name_list_has(&c->groups.items[i].tenants, tenant))
            return &c->groups.items[i];
    return NULL;
}

/* Does the tenant's request go to a lane without being tried here? */
static bool goes_to_lane(struct worker *w, const struct tenant_entry *t) {
    if (!w->slice_us) return false;
    if (w->config->groups.n && worker_group_of(w->config, str_of(t->tenant->id))) return true;
    return atomic_load_explicit(&t->tenant->quota.slow, memory_order_relaxed) &&
           quota_slow(&t->tenant->quota, clock_ns());
}

/* Rate and concurrency. A request that was put off has paid for its first decisions, and counts as under way. Without
 * a limit nothing is counted: the count is a word that all threads would write to. */
static enum err admit(struct worker *w, const struct tenant_entry *t, bool *counted) {
    struct tenant_quota *q = &t->tenant->quota;
    uint64_t now = t->limits.requests_per_second ? clock_ns() : 0;
    enum err e = OK;
    *counted = false;
    if (w->admitted >= w->charged) {
        *counted = !w->held && t->limits.concurrent;
        e = *counted ? quota_admit(q, &t->limits, now) : quota_rate(q, &t->limits, now);
    }
    if (!e) w->admitted++;
    return e;
}

/* Admission and evaluation for a tenant that has a policy. */
static void answer(struct worker *w, const struct tenant_entry *t, const struct ask *ask,
                   struct decision *d) {
    bool counted;
    enum err e = admit(w, t, &counted);
    if (e) {
        fail(d, e, err_meaning(e));
        return;
    }
    if (t->limits.input_bytes && ask->input.len > t->limits.input_bytes) {
        fail(d, ERR_LIMIT, "the input is larger than its limit");
        d->limit = LIMIT_input_bytes;
    } else if (goes_to_lane(w, t) || (decision_log_on(w) && decision_log_holds_up(w, t))) {
        d->kind = DECISION_LATER;
    } else {
        evaluate(w, t, ask, d);
    }
    if (counted && d->kind == DECISION_LATER)
        w->held = &t->tenant->quota; /* given back when the lane's answer is */
    else if (counted)
        quota_done(&t->tenant->quota);
}

bool decision_denies(const struct decision *d) {
    if (d->kind != DECISION_VALUE) return true;
    if (str_is(d->json, "false")) return true;
    if (d->json.len == 0 || d->json.ptr[0] != '{') return false;
    /* Keys are sorted, so `allow` and `allowed` come early: a text search that cannot be fooled by
     * strings needs only the members at depth 1. */
    int depth = 0;
    for (size_t i = 0; i < d->json.len; i++) {
        char c = d->json.ptr[i];
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        else if (c == '"') {
            struct str rest = str_from(d->json, i);
            if (depth == 1 && (str_starts(rest, STR("\"allow\":false")) ||
                               str_starts(rest, STR("\"allowed\":false"))))
                return true;
            for (i++; i < d->json.len && d->json.ptr[i] != '"'; i++) i += d->json.ptr[i] == '\\';
        }
    }
    return false;
}

int decision_status(const struct decision *d) {
    if (d->kind == DECISION_NO_TENANT) return 403;
    switch ((int)d->err) {
    case ERR_RATE:
    case ERR_CONCURRENCY: return 429;
    case ERR_WORKER:
    case ERR_OVERLOAD: return 503;
    }
    return 500;
}

void decision_refuse(struct worker *w, struct str tenant, struct str path, bool decided, enum err e,
                     const char *why, struct decision *d) {
    if (!decided) {
        *d = (struct decision){.kind = DECISION_FAILED};
        decision_id(w, d->id);
    }
    bool denied = decided && decision_denies(d);
    fail(d, e, why);
    const struct tenant_entry *t = tenants_find(w->tenants, tenant);
    if (t && decided)
        metrics_refusal(&t->tenant->metrics, denied, e);
    else if (t)
        metrics_decision(&t->tenant->metrics, 0, true, e);
    if (t) metrics_limit(&t->tenant->metrics, d->limit);
    if (t && t->trial && decided) trial_useless(t->trial);
    const struct ask ask = {.tenant = tenant, .path = path};
    warn(w, LOG_WARN, t, &ask, d);
    if (decided)
        tracer_amend(w, d);
    else if (tracer_on(w))
        tracer_decision(w, t, &ask, d);
    if (decided)
        decision_log_amend(w, d);
    else if (decision_log_on(w))
        decision_log_add(w, t, &ask, d);
}

static void decision_clear(struct decision *d) {
    d->kind = DECISION_NO_TENANT;
    d->err = OK;
    d->limit = LIMIT_COUNT;
    d->eval_ns = 0;
    d->above_entrypoint = false;
    d->result.message[0] = 0;
}

void decide_beside(struct worker *w, const struct tenant_entry *t, const struct ask *ask, struct decision *d) {
    decision_clear(d);
    d->id[0] = 0;
    d->json = (struct str){NULL, 0};
    evaluate(w, t, ask, d);
}

void decide(struct worker *w, const struct ask *ask, struct decision *d) {
    decision_clear(d);
    const struct tenant_entry *t = tenants_find(w->tenants, ask->tenant);
    if (!t && w->may_wait) {
        w->missed = true;
        d->kind = DECISION_LATER;
        return;
    }
    if (t && t->policy) policy_fetch_all(t->policy);
    decision_id(w, d->id);
    if (t && t->policy) answer(w, t, ask, d);
    if (d->kind == DECISION_LATER) return;
    if (t) metrics_decision(&t->tenant->metrics, d->eval_ns, decision_denies(d), d->err);
    if (t && t->trial) trial_note(t->trial, ask, d, decision_denies(d));
    if (t && d->limit < LIMIT_COUNT) metrics_limit(&t->tenant->metrics, d->limit);
    if (d->kind != DECISION_VALUE)
        warn(w, LOG_WARN, t, ask, d);
    else if (log_takes(w->log, LOG_DEBUG) && decision_denies(d))
        warn(w, LOG_DEBUG, t, ask, d);
    if (decision_log_on(w)) decision_log_add(w, t, ask, d);
    if (tracer_on(w)) tracer_decision(w, t, ask, d);
}
