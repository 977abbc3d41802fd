/* A configuration in use, with its keys.
 * in: what was read. out: struct setup. owns: its arena and keys. */
#include "edge/setup.h"
#include <stdlib.h>

enum { SETUP_BYTES = 64 << 20 };

enum err setup_begin(struct setup **out) {
    struct setup *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    arena_init(&s->arena, SETUP_BYTES);
    edge_config_init(&s->config, &s->arena);
    *out = s;
    return OK;
}

enum err setup_complete(struct setup *s, char *why, size_t why_bytes) {
    enum err e = verify_keys_load(&s->config.verify, why, why_bytes);
    for (uint32_t i = 0; !e && i < s->config.sources.n; i++)
        e = verify_keys_load(&s->config.sources.items[i].verify, why, why_bytes);
    return e ? e : key_sets_new(&s->config, &s->keys, why, why_bytes);
}

enum err setup_new(const struct edge_config *config, struct setup **out, char *why, size_t why_bytes) {
    struct setup *s;
    enum err e = setup_begin(&s);
    if (e) return e;
    s->config = *config;
    if ((e = setup_complete(s, why, why_bytes))) {
        setup_free(s);
        return e;
    }
    *out = s;
    return OK;
}

void setup_free(struct setup *s) {
    if (s->keys) key_sets_free(s->keys);
    verify_keys_free(&s->config.verify);
    for (uint32_t i = 0; i < s->config.sources.n; i++) verify_keys_free(&s->config.sources.items[i].verify);
    arena_deinit(&s->arena);
    free(s);
}

static bool same_text(const char *a, const char *b) { return str_eq(str_of(a ? a : ""), str_of(b ? b : "")); }

static bool same_groups(const struct edge_config *a, const struct edge_config *b) {
    if (a->groups.n != b->groups.n) return false;
    for (uint32_t i = 0; i < a->groups.n; i++) {
        const struct worker_group *x = &a->groups.items[i], *y = &b->groups.items[i];
        if (!str_eq(x->name, y->name) || x->processes != y->processes || x->memory_bytes != y->memory_bytes ||
            x->tenants.n != y->tenants.n)
            return false;
        for (uint32_t k = 0; k < x->tenants.n; k++)
            if (!str_eq(x->tenants.items[k], y->tenants.items[k])) return false;
    }
    return true;
}

static void name(struct buf *names, const char *key) {
    if (names->len) buf_cstr(names, ", ");
    buf_cstr(names, key);
}

/* The threads, their memory and their sockets' settings are made once. */
void setup_keep_fixed(struct edge_config *now, const struct edge_config *was, struct buf *names) {
#define FIXED(field, key)                                                                          \
    if (now->field != was->field) name(names, key);                                                \
    now->field = was->field;
    FIXED(threads, "node.threads")
    FIXED(store_keep, "store.keep")
    FIXED(live_instances, "node.live_instances")
    FIXED(lane_threads, "node.lane_threads")
    FIXED(queue_requests, "node.queue.requests")
    FIXED(idle_timeout_us, "timeouts.idle")
    FIXED(header_timeout_us, "timeouts.header")
    FIXED(max_connections, "node.connections")
    FIXED(head_bytes, "node.head_size")
    FIXED(body_bytes, "node.body_size")
    FIXED(share_ports, "node.share_ports")
#undef FIXED
    if (!same_text(now->cache_dir, was->cache_dir)) name(names, "node.code_cache");
    now->cache_dir = was->cache_dir;
    if (!same_text(now->store_directory, was->store_directory)) name(names, "store.directory");
    now->store_directory = was->store_directory;
    if (!same_text(now->takeover, was->takeover)) name(names, "node.takeover");
    now->takeover = was->takeover;
    if (!same_groups(now, was)) name(names, "groups");
    now->groups.items = was->groups.items;
    now->groups.n = was->groups.n;
    now->groups.cap = was->groups.cap;
}
