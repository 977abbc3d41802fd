/* The worker process: loads the policies it is sent and evaluates them, one request at a time,
 * until its parent goes. in: frames on a descriptor. out: frames. owns: an engine, instances, its
 * policies. */
#include "base/buf.h"
#include "edge/process.h"
#include "edge/sandbox.h"
#include <stdlib.h>
#include <unistd.h>

enum { LIVE_INSTANCES = 256, POLICY_BUCKETS = 1024, CHILD_TICK_US = 1000 };
#define REQUEST_MAX_BYTES ((size_t)1 << 30)

struct loaded {
    struct loaded *next;
    uint64_t number;
    struct policy *policy;
};

struct child {
    struct engine *engine;
    struct instances *pool;
    struct arena arena;
    struct buf request;
    struct loaded *buckets[POLICY_BUCKETS];
};

static bool reply(enum frame_kind kind, uint64_t policy, struct result_head *h, struct str json) {
    struct frame_head f = {.kind = kind, .policy = policy, .bytes = sizeof *h + json.len};
    return frame_write(WORKER_FD, &f, sizeof f, -1) && frame_write(WORKER_FD, h, sizeof *h, -1) &&
           frame_write(WORKER_FD, json.ptr, json.len, -1);
}

static struct loaded **find(struct child *c, uint64_t number) {
    struct loaded **at = &c->buckets[number % POLICY_BUCKETS];
    while (*at && (*at)->number != number) at = &(*at)->next;
    return at;
}

static void drop(struct child *c, uint64_t number) {
    struct loaded **at = find(c, number), *l = *at;
    if (!l) return;
    *at = l->next;
    policy_release(l->policy);
    free(l);
}

static enum err keep(struct child *c, uint64_t number, struct policy *p) {
    struct loaded **at = find(c, number), *l = *at ? NULL : calloc(1, sizeof *l);
    if (!l) return ERR_MEMORY;
    *l = (struct loaded){.number = number, .policy = p};
    *at = l;
    return OK;
}

/* The parent is trusted, but lengths are checked all the same: a broken frame must not become a
 * broken pointer. */
static bool cut(struct str *rest, uint64_t len, struct str *out) {
    if (len > rest->len) return false;
    *out = str_head(*rest, (size_t)len);
    *rest = str_from(*rest, (size_t)len);
    return true;
}

static bool load(struct child *c, uint64_t number, struct str rest) {
    struct load_head h;
    struct policy_source source = {0};
    struct str data;
    struct policy *p = NULL;
    struct json *documents = NULL;
    struct load_message message = {{0}};
    struct result_head r = {0};
    if (rest.len < sizeof h) return false;
    memcpy(&h, rest.ptr, sizeof h);
    rest = str_from(rest, sizeof h);
    if (!cut(&rest, h.name, &source.name) || !cut(&rest, h.full, &source.full) ||
        !cut(&rest, h.thin, &source.thin) || !cut(&rest, h.data, &data))
        return false;
    arena_reset(&c->arena);
    enum err e = data.len ? json_parse(&c->arena, data, &documents, NULL) : OK;
    source.data = documents;
    if (!e) e = policy_load(c->engine, &source, &p, &message);
    if (!e && (e = keep(c, number, p))) policy_release(p);
    if (!e && h.replaces) drop(c, h.replaces);
    r.err = (int32_t)e;
    memcpy(r.message, message.text, sizeof r.message - 1);
    return reply(FRAME_LOADED, number, &r, (struct str){NULL, 0});
}

static bool eval(struct child *c, uint64_t number, struct str rest) {
    struct eval_head h;
    struct eval_result result = {0};
    struct result_head r = {0};
    if (rest.len < sizeof h) return false;
    memcpy(&h, rest.ptr, sizeof h);
    rest = str_from(rest, sizeof h);
    struct loaded *l = *find(c, number);
    struct eval_request q = {.policy = l ? l->policy : NULL,
                             .entrypoint = h.entrypoint,
                             .input = h.has_input ? rest : (struct str){NULL, 0},
                             .limits = h.limits,
                             .fresh_instance = h.fresh,
                             .strict_builtin_errors = h.strict,
                             .now_ns = h.now_ns};
    if (!q.policy) return false;
    r.err = (int32_t)policy_eval(c->pool, &q, &result);
    r.eval_ns = result.eval_ns;
    r.defined = result.defined;
    memcpy(r.message, result.message, sizeof r.message);
    return reply(FRAME_RESULT, number, &r, result.json);
}

/* One frame; false: the parent is gone or talks nonsense. */
static bool serve(struct child *c) {
    struct frame_head f;
    if (!frame_read(WORKER_FD, &f, sizeof f, -1) || f.bytes > REQUEST_MAX_BYTES) return false;
    buf_clear(&c->request);
    uint8_t *at = buf_reserve(&c->request, (size_t)f.bytes + 1);
    if (!at || !frame_read(WORKER_FD, at, (size_t)f.bytes, -1)) return false;
    buf_commit(&c->request, (size_t)f.bytes);
    switch (f.kind) {
    case FRAME_LOAD: return load(c, f.policy, buf_view(&c->request));
    case FRAME_EVAL: return eval(c, f.policy, buf_view(&c->request));
    default: return false;
    }
}

static enum err prepare(struct child *c, uint64_t memory_bytes) {
    struct engine_options options = {.max_instances = LIVE_INSTANCES, .tick_us = CHILD_TICK_US};
    enum err e = sandbox_shed(WORKER_FD, memory_bytes);
    arena_init(&c->arena, REQUEST_MAX_BYTES);
    buf_init(&c->request, REQUEST_MAX_BYTES + 1);
    if (!e) e = engine_new(&options, &c->engine);
    if (!e) e = instances_new(c->engine, LIVE_INSTANCES, &c->pool);
    /* Files are out of reach from here on. */
    if (!e) e = instances_keep_zones(c->pool);
    return e ? e : sandbox_lock(WORKER_FD);
}

int process_run(uint64_t memory_bytes) {
    struct child *c = calloc(1, sizeof *c);
    if (!c || prepare(c, memory_bytes) != OK) return 1;
    while (serve(c)) {
    }
    _exit(0); /* all of it goes with the process; tearing down would only take time */
}
