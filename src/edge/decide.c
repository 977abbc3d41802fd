/* The decision path behind every door: tenant, entrypoint, evaluation, metrics.
 * in: tenant id, path, JSON input. out: a decision. owns: nothing. */
#include "edge/decide.h"
#include <stdio.h>
#include <time.h>

enum { WARNINGS_A_SECOND = 100 };

static uint64_t next_random(
    uint64_t s[2]) { /* xorshift128+, seeded by the kernel: ids need to differ, not to be secret */
    uint64_t a = s[0], b = s[1];
    s[0] = b;
    a ^= a << 23;
    s[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return s[1] + b;
}

static void write_id(struct worker *w, char out[37]) {
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
    case DECISION_NO_TENANT: return "unknown tenant";
    case DECISION_NO_ENTRYPOINT: return "the tenant's module has no such entrypoint";
    }
    return "";
}

/* Warns about an answer that is no ordinary one, at most so often a second. */
static void warn(struct worker *w, enum log_level level, struct str tenant, struct str path,
                 const struct decision *d) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if ((uint64_t)now.tv_sec != w->log_second) {
        if (w->logged > WARNINGS_A_SECOND) {
            char n[24];
            snprintf(n, sizeof n, "%llu", (unsigned long long)(w->logged - WARNINGS_A_SECOND));
            log_line(w->log, LOG_WARN, "warnings left out", "count", n, NULL);
        }
        w->log_second = (uint64_t)now.tv_sec;
        w->logged = 0;
    }
    if (w->logged++ >= WARNINGS_A_SECOND) return;
    char id[TENANT_ID_BYTES], at[256];
    snprintf(id, sizeof id, "%.*s", STR_FMT(tenant));
    snprintf(at, sizeof at, "%.*s", STR_FMT(path));
    log_line(w->log, level, "denied", "tenant_id", id, "path", at, "reason", decision_reason(d),
             "limit", d->kind == DECISION_FAILED ? err_word(d->err) : "", "decision_id", d->id,
             NULL);
}

/* The longest entrypoint that is `path` or a prefix of it; *below gets what remains (ptr NULL:
 * nothing). */
static int32_t find_entrypoint(const struct policy *p, struct str path, struct str *below) {
    *below = (struct str){NULL, 0};
    if (path.len == 0) return policy_entrypoint_count(p) ? 0 : -1;
    for (struct str head = path;;) {
        int32_t id = policy_entrypoint(p, head);
        if (id >= 0) {
            if (head.len < path.len) *below = str_from(path, head.len + 1);
            return id;
        }
        while (head.len && head.ptr[head.len - 1] != '/') head.len--;
        if (head.len == 0) return -1;
        head.len--;
    }
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
    snprintf(d->result.message, sizeof d->result.message, "%s", message);
    return true;
}

/* Follows `below` ("a/b") into the result; false: nothing there. Sets are printed as arrays, so
 * that below those there is no telling what a name means. */
static bool look_below(struct worker *w, struct str below, struct decision *d) {
    struct json *v;
    if (json_parse(&w->arena, d->json, &v, NULL))
        return fail(d, ERR_LIMIT, "the result is too large to look into");
    for (bool more = true; more && v;) {
        const char *slash = below.len ? memchr(below.ptr, '/', below.len) : NULL;
        struct str key = slash ? str_head(below, (size_t)(slash - below.ptr)) : below;
        if (v->kind == JSON_ARRAY)
            return fail(d, ERR_UNSUPPORTED,
                        "a path into an array or set below an entrypoint is not supported");
        v = json_get(v, key);
        below = str_from(below, key.len + 1);
        more = slash != NULL;
    }
    if (!v) return false;
    struct buf text;
    buf_init(&text, d->json.len * 6 + 64);
    json_print(v, false, 0, &text);
    char *copy = text.err ? NULL : arena_strndup(&w->arena, (const char *)text.ptr, text.len);
    d->json = (struct str){copy, text.len};
    buf_deinit(&text);
    return copy || fail(d, ERR_MEMORY, err_meaning(ERR_MEMORY));
}

static void evaluate(struct worker *w, struct policy *p, struct str path, struct str input,
                     struct decision *d) {
    struct str below;
    int32_t id = find_entrypoint(p, path, &below);
    if (id < 0) {
        d->kind = DECISION_NO_ENTRYPOINT;
        d->above_entrypoint = above_entrypoint(p, path);
        return;
    }
    struct eval_request request = {.policy = p,
                                   .entrypoint = (uint32_t)id,
                                   .input = input,
                                   .limits = w->limits,
                                   .fresh_instance = w->fresh_instances};
    d->err = policy_eval(w->pool, &request, &d->result);
    d->eval_ns = d->result.eval_ns;
    if (d->err) {
        d->kind = DECISION_FAILED;
        return;
    }
    d->json = d->result.json;
    d->kind = d->result.defined ? DECISION_VALUE : DECISION_UNDEFINED;
    if (d->kind == DECISION_VALUE && below.ptr && !look_below(w, below, d))
        d->kind = DECISION_UNDEFINED;
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

void decision_refuse(struct worker *w, struct str tenant, struct str path, bool decided, enum err e,
                     const char *why, struct decision *d) {
    if (!decided) {
        *d = (struct decision){.kind = DECISION_FAILED};
        write_id(w, d->id);
    }
    bool denied = decided && decision_denies(d);
    fail(d, e, why);
    const struct tenant_entry *t = tenants_find(w->tenants, tenant);
    if (t && decided)
        metrics_refusal(&t->tenant->metrics, denied, e);
    else if (t)
        metrics_decision(&t->tenant->metrics, 0, true, e);
    warn(w, LOG_WARN, tenant, path, d);
}

void decide(struct worker *w, struct str tenant, struct str path, struct str input,
            struct decision *d) {
    d->kind = DECISION_NO_TENANT;
    d->err = OK;
    d->eval_ns = 0;
    d->above_entrypoint = false;
    d->result.message[0] = 0;
    write_id(w, d->id);
    const struct tenant_entry *t = tenants_find(w->tenants, tenant);
    if (t && t->policy) evaluate(w, t->policy, path, input, d);
    if (t) metrics_decision(&t->tenant->metrics, d->eval_ns, decision_denies(d), d->err);
    if (d->kind != DECISION_VALUE) warn(w, LOG_WARN, tenant, path, d);
    else if (w->log->level == LOG_DEBUG && decision_denies(d)) warn(w, LOG_DEBUG, tenant, path, d);
}
