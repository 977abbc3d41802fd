/* A thread's instances: found by policy, kept in order of last use, dropped when too many or when
 * their policy was replaced. No locks: a pool belongs to one thread.
 *
 * in:   policies.
 * out:  instances, ready to evaluate.
 * owns: the instances, the scratch arena, the result buffer. */
#include "host/pool.h"
#include <stdlib.h>

enum { SCRATCH_BYTES = 64 << 20, DEFAULT_LIVE = 256 };
#define RESULT_MAX_BYTES ((size_t)1 << 30)

enum err instances_new(struct engine *e, uint32_t max_live, struct instances **out) {
    struct instances *pool = calloc(1, sizeof *pool);
    uint32_t buckets = 16;
    if (!pool) return ERR_MEMORY;
    pool->engine = e;
    pool->max_live = max_live ? max_live : DEFAULT_LIVE;
    if (pool->max_live > e->options.max_instances) pool->max_live = e->options.max_instances;
    while (buckets < 2 * (uint64_t)pool->max_live) buckets *= 2;
    pool->mask = buckets - 1;
    pool->buckets = calloc(buckets, sizeof *pool->buckets);
    pool->cache = builtin_cache_new();
    if (!pool->buckets || !pool->cache) {
        builtin_cache_free(pool->cache);
        free(pool->buckets);
        free(pool);
        return ERR_MEMORY;
    }
    arena_init(&pool->scratch, SCRATCH_BYTES);
    buf_init(&pool->result, RESULT_MAX_BYTES);
    *out = pool;
    return OK;
}

static void list_unlink(struct instances *pool, struct instance *i) {
    *(i->newer ? &i->newer->older : &pool->newest) = i->older;
    *(i->older ? &i->older->newer : &pool->oldest) = i->newer;
    i->newer = i->older = NULL;
}

static void list_push(struct instances *pool, struct instance *i) {
    i->older = pool->newest;
    *(pool->newest ? &pool->newest->newer : &pool->oldest) = i;
    pool->newest = i;
}

static struct instance **bucket_of(struct instances *pool, const struct policy *p) {
    return &pool->buckets[(p->id * 0x9e3779b97f4a7c15u >> 32) & pool->mask];
}

void pool_drop(struct instances *pool, struct instance *i) {
    struct instance **at = bucket_of(pool, i->policy);
    while (*at != i) at = &(*at)->chain;
    *at = i->chain;
    list_unlink(pool, i);
    pool->n_live--;
    instance_free(i);
}

void instances_free(struct instances *pool) {
    if (!pool) return;
    while (pool->oldest) pool_drop(pool, pool->oldest);
    builtin_cache_free(pool->cache);
    buf_deinit(&pool->result);
    arena_deinit(&pool->scratch);
    free(pool->buckets);
    free(pool);
}

/* Room for one more: replaced policies go first, then the least recently used. */
static void pool_make_room(struct instances *pool) {
    for (struct instance *i = pool->oldest, *newer; i; i = newer) {
        newer = i->newer;
        if (policy_retired(i->policy)) pool_drop(pool, i);
    }
    while (pool->oldest && pool->n_live >= pool->max_live) pool_drop(pool, pool->oldest);
}

/* Memory does not shrink: an instance that holds more than a new limit allows is made anew. */
static bool fits(struct instance *i, const struct limits *limits) {
    if (i->memory_limit == limits->memory_bytes) return true;
    if (wasmtime_memory_data_size(i->context, &i->memory) > limits->memory_bytes) return false;
    instance_limit_memory(i, limits->memory_bytes);
    return true;
}

static enum err pool_add(struct instances *pool, struct policy *p, const struct limits *limits,
                         struct instance **out, char *text, size_t text_bytes) {
    pool_make_room(pool);
    enum err err = instance_new(p, limits, out, text, text_bytes);
    if (err == ERR_MEMORY && pool->oldest) { /* other threads may hold the engine's last slots */
        pool_drop(pool, pool->oldest);
        err = instance_new(p, limits, out, text, text_bytes);
    }
    if (err) return err;
    struct instance **bucket = bucket_of(pool, p), *i = *out;
    i->chain = *bucket;
    *bucket = i;
    i->scratch = &pool->scratch;
    i->cache = pool->cache;
    list_push(pool, i);
    pool->n_live++;
    return OK;
}

enum err pool_take(struct instances *pool, struct policy *p, const struct limits *limits,
                   struct instance **out, char *text, size_t text_bytes) {
    struct instance *i = *bucket_of(pool, p);
    while (i && i->policy != p) i = i->chain;
    if (i && !fits(i, limits)) {
        pool_drop(pool, i);
        i = NULL;
    }
    if (!i) return pool_add(pool, p, limits, out, text, text_bytes);
    if (i != pool->newest) {
        list_unlink(pool, i);
        list_push(pool, i);
    }
    *out = i;
    return OK;
}
