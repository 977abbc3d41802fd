/* A bundle's own checks, and what a version that does not serve would answer.
 * in: checks.json, the manifest, requests. out: the first check that does not hold, as a sentence;
 * decisions. owns: a tester's sandboxes and memory. */
#include "base/clock.h"
#include "edge/activator_private.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_CHECKS = 10000,
    LIVE_INSTANCES = 1,
    ARENA_BYTES = 256 << 20,
    SHOWN_BYTES = 120, /* of a decision or note in a message */
    SHOWN_CHECKS = 160
};
static const uint64_t all_checks_ns = 10ull * 1000000000, never_slow_us = 3600ull * 1000000;

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
    struct json *a, *b;
    if (d->kind != DECISION_VALUE) return false;
    if (str_eq(d->json, json)) return true;
    struct arena *arena = &t->worker.arena;
    return json_parse(arena, d->json, &a, NULL) == OK && json_parse(arena, json, &b, NULL) == OK &&
           json_equal(a, b);
}

void decision_show(enum decision_kind kind, enum err e, const char *message, struct str json,
                   char *out, size_t bytes) {
    const char *more = json.len > SHOWN_BYTES ? "…" : "";
    struct str head = str_head(json, SHOWN_BYTES);
    while (head.len < json.len && head.len && ((unsigned char)head.ptr[head.len] & 0xc0) == 0x80)
        head.len--;
    switch (kind) {
    case DECISION_VALUE: snprintf(out, bytes, "%.*s%s", STR_FMT(head), more); break;
    case DECISION_UNDEFINED: snprintf(out, bytes, "undefined"); break;
    case DECISION_FAILED:
        snprintf(out, bytes, "an error (%s%s%.*s)", err_word(e), message[0] ? ": " : "",
                 SHOWN_BYTES, message);
        break;
    case DECISION_NO_ENTRYPOINT: snprintf(out, bytes, "no such entrypoint"); break;
    case DECISION_NO_TENANT:
    case DECISION_LATER: snprintf(out, bytes, "nothing"); break;
    }
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

static enum err wrong(struct work *w, uint32_t i, const char *what) {
    snprintf(w->why, sizeof w->why, "checks.json: check %u: %s", i + 1, what);
    return ERR_INVALID;
}

/* One check as it stands in the file. */
struct check {
    struct str entrypoint, note;
    const struct json *input, *expect;
};

static enum err check_read(struct work *w, uint32_t i, const struct json *v, struct check *out) {
    if (v->kind != JSON_OBJECT)
        return wrong(w, i,
                     "it must be an object such as {\"entrypoint\": \"a/b\", \"input\": {}, "
                     "\"expect\": true}");
    for (uint32_t k = 0; k < v->n; k++) {
        const struct json *item = v->items[k];
        bool text = item->kind == JSON_STRING;
        if (str_is(v->keys[k], "entrypoint") && text)
            out->entrypoint = item->text;
        else if (str_is(v->keys[k], "note") && text)
            out->note = item->text;
        else if (str_is(v->keys[k], "input"))
            out->input = item;
        else if (str_is(v->keys[k], "expect"))
            out->expect = item;
        else
            return wrong(
                w, i,
                "it has `entrypoint` and `note` (text), `input` and `expect`, and nothing else");
    }
    while (out->entrypoint.len && out->entrypoint.ptr[0] == '/')
        out->entrypoint = str_from(out->entrypoint, 1);
    return out->entrypoint.len
               ? OK
               : wrong(w, i, "`entrypoint` is missing: the decision's path, such as authz/allow");
}

static struct str printed(struct arena *a, const struct json *v) {
    struct buf b;
    if (!v) return (struct str){NULL, 0};
    buf_init(&b, ARENA_BYTES);
    json_print(v, false, 0, &b);
    char *copy = b.err ? NULL : arena_strndup(a, (const char *)b.ptr, b.len);
    struct str s = {copy, copy ? b.len : 0};
    buf_deinit(&b);
    return s;
}

static enum err differs(struct work *w, uint32_t i, const struct check *c, const struct decision *d,
                        struct str expect) {
    char got[2 * SHOWN_BYTES + 64], want[2 * SHOWN_BYTES + 64], note[SHOWN_BYTES + 8] = "";
    decision_show(d->kind, d->err, d->result.message, d->json, got, sizeof got);
    decision_show(c->expect ? DECISION_VALUE : DECISION_UNDEFINED, OK, "", expect, want,
                  sizeof want);
    if (c->note.len)
        snprintf(note, sizeof note, " (%.*s)", STR_FMT(str_head(c->note, SHOWN_BYTES)));
    snprintf(w->why, sizeof w->why, "checks.json: check %u%s: %.*s is %s, not %s", i + 1, note,
             STR_FMT(str_head(c->entrypoint, SHOWN_BYTES)), got, want);
    return ERR_INVALID;
}

static enum err check_one(struct tester *t, struct work *w, const struct tenant_limits *limits,
                          uint32_t i, const struct json *v) {
    struct check c = {{NULL, 0}, {NULL, 0}, NULL, NULL};
    struct decision d;
    enum err e = check_read(w, i, v, &c);
    if (e) return e;
    struct str input = printed(&w->arena, c.input), expect = printed(&w->arena, c.expect);
    if ((c.input && !input.ptr) || (c.expect && !expect.ptr)) return wrong(w, i, "it is too large");
    struct ask ask = {.tenant = w->candidate->tenant, .path = c.entrypoint, .input = input};
    tester_ask(t, w->kept->policy, limits, &ask, &d);
    bool holds = c.expect ? decision_equals(t, &d, expect) : d.kind == DECISION_UNDEFINED;
    return holds ? OK : differs(w, i, &c, &d, expect);
}

static enum err check_all(struct activator *a, struct work *w, const struct tenant_limits *limits,
                          const struct json *checks) {
    struct tester *t;
    uint64_t start = clock_ns();
    enum err e = tester_new(a->options.engine, &t);
    if (e) {
        snprintf(w->why, sizeof w->why, "%s", err_meaning(e));
        return e;
    }
    for (uint32_t i = 0; !e && i < checks->n; i++) {
        e = check_one(t, w, limits, i, checks->items[i]);
        if (!e && clock_ns() - start > all_checks_ns)
            e = wrong(w, i, "the checks take longer than 10 s in all");
    }
    tester_free(t);
    return e;
}

static enum err check_file(struct activator *a, struct work *w,
                           const struct tenant_limits *limits) {
    const struct bundle_file *f = file_of(&w->bundle);
    struct json *checks = NULL;
    struct json_error error = {0};
    if (!f) return OK;
    enum err e = json_parse(&w->arena, f->bytes, &checks, &error);
    if (e)
        snprintf(w->why, sizeof w->why, "checks.json:%u:%u: %s", error.row, error.col,
                 error.message ? error.message : err_meaning(e));
    else if (checks->kind != JSON_ARRAY || checks->n > MAX_CHECKS)
        snprintf(w->why, sizeof w->why, "checks.json: it must be a list of at most %d checks",
                 MAX_CHECKS);
    else
        e = check_all(a, w, limits, checks);
    if (!e && w->why[0]) e = ERR_INVALID;
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
