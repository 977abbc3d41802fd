/* A bundle's own checks, and what a version that does not serve would answer.
 * in: checks.json, the manifest, requests. out: the first check that does not hold, as a sentence;
 * decisions. owns: a tester's sandboxes and memory. */
#include "base/clock.h"
#include "bundle/checks.h"
#include "edge/activator_private.h"
#include <stdio.h>
#include <stdlib.h>

enum { LIVE_INSTANCES = 1, ARENA_BYTES = 256 << 20, SHOWN_CHECKS = 160 };
static const uint64_t all_checks_ns = CHECKS_MAX_MS * 1000000ull, never_slow_us = 3600ull * 1000000;

/* ---- testers ---- */

struct tester {
    struct worker worker;
    struct edge_config config;
    struct tenant tenant; /* stands in for the real one, which is not to be counted */
    struct tenant_entry entry;
};

enum err tester_new(struct engine *engine, struct tester **out) {
    struct tester *t = calloc(1, sizeof *t);
    if (!t) return ERR_MEMORY;
    enum err e = instances_new(engine, LIVE_INSTANCES, &t->worker.pool);
    if (e) {
        free(t);
        return e;
    }
    t->config.slice_us = never_slow_us;
    t->worker.config = &t->config;
    arena_init(&t->worker.arena, ARENA_BYTES);
    buf_init(&t->worker.input, ARENA_BYTES);
    t->entry.tenant = &t->tenant;
    *out = t;
    return OK;
}

void tester_free(struct tester *t) {
    if (!t) return;
    instances_free(t->worker.pool);
    arena_deinit(&t->worker.arena);
    buf_deinit(&t->worker.input);
    free(t);
}

void tester_ask(struct tester *t, struct policy *policy, const struct tenant_limits *limits,
                const struct ask *ask, struct decision *d) {
    arena_reset(&t->worker.arena);
    t->entry.policy = policy;
    t->entry.limits = *limits;
    decide_beside(&t->worker, &t->entry, ask, d);
    t->entry.policy = NULL;
}

bool decision_equals(struct tester *t, const struct decision *d, struct str json) {
    return d->kind == DECISION_VALUE && check_same(&t->worker.arena, d->json, json);
}

static enum check_kind check_kind_of(enum decision_kind k) {
    switch (k) {
    case DECISION_VALUE: return CHECK_VALUE;
    case DECISION_UNDEFINED: return CHECK_UNDEFINED;
    case DECISION_FAILED: return CHECK_FAILED;
    case DECISION_NO_ENTRYPOINT: return CHECK_NO_ENTRYPOINT;
    case DECISION_NO_TENANT:
    case DECISION_LATER: return CHECK_NOTHING;
    }
    return CHECK_NOTHING;
}

void decision_show(enum decision_kind kind, enum err e, const char *message, struct str json,
                   char *out, size_t bytes) {
    struct check_answer answer = {check_kind_of(kind), e, message, json};
    check_show(&answer, out, bytes);
}

/* ---- entrypoints ---- */

/* Those that the manifest says the module has. */
static enum err check_entrypoints(struct work *w) {
    const struct json *list = json_get_c(w->bundle.manifest, "wasm");
    bool any = list && list->kind == JSON_ARRAY && list->n;
    const struct json *first = any ? json_get_c(list->items[0], "module") : NULL;
    for (uint32_t i = 0; first && i < list->n; i++) {
        const struct json *module = json_get_c(list->items[i], "module");
        const struct json *entrypoint = json_get_c(list->items[i], "entrypoint");
        if (!module || !json_equal(module, first) || !entrypoint || entrypoint->kind != JSON_STRING)
            continue;
        if (policy_entrypoint(w->kept->policy, entrypoint->text) >= 0) continue;
        snprintf(w->why, sizeof w->why,
                 ".manifest: the module has no entrypoint %.*s, which `wasm` names",
                 STR_FMT(str_head(entrypoint->text, SHOWN_CHECKS)));
        return ERR_INVALID;
    }
    return OK;
}

/* ---- checks.json ---- */

static const struct bundle_file *file_of(const struct bundle *b) {
    for (uint32_t i = 0; i < b->files.n; i++) {
        struct str path = b->files.items[i].path;
        while (path.len && path.ptr[0] == '/') path = str_from(path, 1);
        if (str_is(path, "checks.json")) return &b->files.items[i];
    }
    return NULL;
}

/* Whom a check asks. */
struct asked {
    struct tester *tester;
    struct work *w;
    const struct tenant_limits *limits;
    struct decision d;
};

static void ask_version(void *ctx, const struct check *c, struct check_answer *out) {
    struct asked *q = ctx;
    struct ask ask = {.tenant = q->w->candidate->tenant, .path = c->entrypoint, .input = c->input};
    tester_ask(q->tester, q->w->kept->policy, q->limits, &ask, &q->d);
    *out = (struct check_answer){check_kind_of(q->d.kind), q->d.err, q->d.result.message, q->d.json};
}

static enum err check_all(struct activator *a, struct work *w, const struct tenant_limits *limits,
                          const struct json *checks) {
    struct asked q = {.w = w, .limits = limits};
    uint64_t start = clock_ns();
    enum err e = tester_new(a->options.engine, &q.tester);
    if (e) {
        snprintf(w->why, sizeof w->why, "%s", err_meaning(e));
        return e;
    }
    const struct check_asker asker = {ask_version, &q, &q.tester->worker.arena};
    for (uint32_t i = 0; !e && i < checks->n; i++) {
        e = check_hold(&w->arena, i, checks->items[i], &asker, w->why, sizeof w->why);
        if (e || clock_ns() - start <= all_checks_ns) continue;
        snprintf(w->why, sizeof w->why, "checks.json: check %u: the checks take longer than 10 s in all", i + 1);
        e = ERR_INVALID;
    }
    tester_free(q.tester);
    return e;
}

static enum err check_file(struct activator *a, struct work *w,
                           const struct tenant_limits *limits) {
    const struct bundle_file *f = file_of(&w->bundle);
    const struct json *checks = NULL;
    if (!f) return OK;
    enum err e = checks_parse(&w->arena, f->bytes, &checks, w->why, sizeof w->why);
    if (!e) e = check_all(a, w, limits, checks);
    atomic_fetch_add_explicit(e ? &a->checks_failed : &a->checks_held, 1, memory_order_relaxed);
    return e;
}

enum err work_check(struct activator *a, struct work *w) {
    pthread_mutex_lock(&a->table);
    struct tenant_limits limits =
        edge_config_limits(a->options.config, w->candidate->tenant, w->kept->own);
    pthread_mutex_unlock(&a->table);
    enum err e = check_entrypoints(w);
    return e ? e : check_file(a, w, &limits);
}
