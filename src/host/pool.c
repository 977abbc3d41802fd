/* A thread's instances: those that policies have for themselves, found by policy, kept in order of last use and within
 * a budget; and a shared sandbox for all other policies. No locks: a pool belongs to one thread.
 *
 * in:   policies.
 * out:  instances, ready to evaluate.
 * owns: the instances, the scratch arena, the result buffer. */
#include "host/pool.h"
#include <stdlib.h>

enum {
    SCRATCH_BYTES = 64 << 20,
    MOST_LIVE = 4096,
    LIVE_BYTES = 16 << 20,
    INSTANCE_BYTES = 48 << 10,   /* store, instances, pages that any evaluation touches */
    KEEP_GROWN_BYTES = 4 << 20,  /* an instance that grew by more gives its memory back */
    HOT_TURNS = 8                /* in the shared sandbox before an instance of its own is worth its making */
};
#define RESULT_MAX_BYTES ((size_t)1 << 30)

enum err instances_new(struct engine *e, uint32_t max_live, struct instances **out) {
    struct instances *pool = calloc(1, sizeof *pool);
    uint32_t buckets = 16;
    if (!pool) return ERR_MEMORY;
    pool->engine = e;
    pool->max_live = max_live ? max_live : MOST_LIVE;
    pool->max_bytes = LIVE_BYTES + (uint64_t)max_live * INSTANCE_BYTES;
    if (pool->max_live > e->options.max_instances) pool->max_live = e->options.max_instances;
    pool->retired_seen = atomic_load(&e->retired);
    while (buckets < pool->max_bytes / INSTANCE_BYTES && buckets < pool->max_live) buckets *= 2;
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

enum err instances_keep_zones(struct instances *pool) { return builtin_cache_keep_zones(pool->cache); }

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
    pool->live_bytes -= i->bytes;
    instance_free(i);
}

void instances_free(struct instances *pool) {
    if (!pool) return;
    while (pool->oldest) pool_drop(pool, pool->oldest);
    shared_free(pool->shared);
    builtin_cache_free(pool->cache);
    buf_deinit(&pool->result);
    arena_deinit(&pool->scratch);
    free(pool->buckets);
    free(pool);
}

/* ---- instances of policies' own ---- */

/* From above: pages of the memory that were never touched count too. */
static uint64_t bytes_of(struct instance *i) {
    uint64_t size = wasmtime_memory_data_size(i->context, &i->memory);
    return INSTANCE_BYTES + i->policy->stats.image_bytes + (size - i->base_bytes);
}

/* Policies that were replaced since the pool last looked take their memory with them. */
static void drop_retired(struct instances *pool) {
    uint64_t retired = atomic_load_explicit(&pool->engine->retired, memory_order_relaxed);
    if (retired == pool->retired_seen) return;
    pool->retired_seen = retired;
    for (struct instance *i = pool->oldest, *newer; i; i = newer) {
        newer = i->newer;
        if (policy_retired(i->policy)) pool_drop(pool, i);
    }
}

static bool is_full(const struct instances *pool) {
    return pool->n_live >= pool->max_live || pool->live_bytes + INSTANCE_BYTES > pool->max_bytes;
}

/* Memory does not shrink: an instance that holds more than a new limit allows is made anew. */
static bool fits(struct instance *i, const struct limits *limits) {
    if (i->memory_limit == limits->memory_bytes) return true;
    if (wasmtime_memory_data_size(i->context, &i->memory) > limits->memory_bytes) return false;
    instance_limit_memory(i, limits->memory_bytes);
    return true;
}

static void evict_oldest(struct instances *pool) {
    atomic_fetch_add_explicit(&pool->engine->counts.instances_evicted, 1, memory_order_relaxed);
    pool_drop(pool, pool->oldest);
}

static enum err pool_add(struct instances *pool, const struct wish *w, struct instance **out, char *text,
                         size_t text_bytes) {
    while (pool->oldest && is_full(pool)) evict_oldest(pool);
    enum err err = instance_new(w->policy, w->limits, true, out, text, text_bytes);
    if (err == ERR_MEMORY && pool->oldest) { /* other threads may hold the engine's last slots */
        evict_oldest(pool);
        err = instance_new(w->policy, w->limits, true, out, text, text_bytes);
    }
    if (err) return err;
    struct instance **bucket = bucket_of(pool, w->policy), *i = *out;
    i->chain = *bucket;
    *bucket = i;
    i->scratch = &pool->scratch;
    i->cache = pool->cache;
    i->bytes = bytes_of(i);
    i->used_at = pool->clock;
    list_push(pool, i);
    pool->n_live++;
    pool->live_bytes += i->bytes;
    return OK;
}

static struct instance *find_own(struct instances *pool, const struct wish *w) {
    struct instance *i = *bucket_of(pool, w->policy);
    while (i && i->policy != w->policy) i = i->chain;
    if (!i) return NULL;
    if (!fits(i, w->limits)) {
        pool_drop(pool, i);
        return NULL;
    }
    i->used_at = pool->clock;
    if (i != pool->newest) {
        list_unlink(pool, i);
        list_push(pool, i);
    }
    return i;
}

/* ---- the shared one ---- */

/* Is p's turn here so often that it should have an instance of its own, and more often than that of the policy whose
 * instance would have to go for it? Two policies with the same slot wear each other's count down. */
static bool is_hot(struct instances *pool, const struct policy *p) {
    struct heat *h = &pool->heat[(uint32_t)(p->id * 0x9e3779b97f4a7c15u >> 40) % HEAT_SLOTS];
    if (h->id != p->id && h->turns > 0) {
        h->turns--;
        return false;
    }
    if (h->id != p->id || h->turns == 0) *h = (struct heat){p->id, 0, pool->clock};
    if (++h->turns < HOT_TURNS) return false;
    uint64_t interval = (pool->clock - h->since) / h->turns;
    h->turns = 0;
    return !is_full(pool) || !pool->oldest || 2 * interval < pool->clock - pool->oldest->used_at;
}

static void shared_gone(struct instances *pool) {
    shared_free(pool->shared);
    pool->shared = NULL;
}

static enum err take_shared(struct instances *pool, struct policy *p, struct instance **out, char *text,
                            size_t text_bytes) {
    if (pool->shared && shared_policy(pool->shared) != p && shared_worn(pool->shared)) shared_gone(pool);
    if (!pool->shared) {
        enum err err = shared_new(pool->engine, &pool->shared, text, text_bytes);
        if (err) return err;
    }
    enum err err = shared_bind(pool->shared, p, out, text, text_bytes);
    if (err) {
        shared_gone(pool);
        return err;
    }
    (*out)->scratch = &pool->scratch;
    (*out)->cache = pool->cache;
    return OK;
}

enum err pool_take(struct instances *pool, const struct wish *w, struct instance **out, char *text,
                   size_t text_bytes) {
    pool->clock++;
    if ((*out = find_own(pool, w))) return OK;
    bool may_share = !w->own && shared_takes(w->policy, w->limits, w->input_len);
    bool there = pool->shared && shared_policy(pool->shared) == w->policy;
    if (may_share && there) return take_shared(pool, w->policy, out, text, text_bytes);
    drop_retired(pool);
    if (may_share && !is_hot(pool, w->policy) &&
        take_shared(pool, w->policy, out, text, text_bytes) == OK)
        return OK;
    return pool_add(pool, w, out, text, text_bytes);
}

bool pool_must_drop(struct instance *i, bool failed) {
    if (i->shared) return false;
    return failed || wasmtime_memory_data_size(i->context, &i->memory) > i->base_bytes + KEEP_GROWN_BYTES;
}

void pool_put(struct instances *pool, struct instance *i, bool failed) {
    if (i->shared) {
        if (failed) shared_spoil(pool->shared);
        return;
    }
    uint64_t bytes = bytes_of(i);
    pool->live_bytes += bytes - i->bytes;
    i->bytes = bytes;
}
