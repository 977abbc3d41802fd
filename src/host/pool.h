/* Inside of the host: a thread's live instances. */
#ifndef REGENT_HOST_POOL_H
#define REGENT_HOST_POOL_H
#include "host/shared.h"

enum { HEAT_SLOTS = 1024 };

struct instances {
    struct engine *engine;
    uint32_t max_live, n_live, mask;
    uint64_t max_bytes, live_bytes; /* of live instances' memory, estimated from above */
    struct instance **buckets;      /* by policy id */
    struct instance *newest, *oldest;
    struct shared *shared; /* for policies without an instance of their own; NULL: not made yet */
    struct heat {
        uint64_t id;
        uint64_t turns; /* in the shared sandbox, less the turns of others with this slot */
        uint64_t since; /* clock */
    } heat[HEAT_SLOTS];
    uint64_t clock; /* evaluations so far */
    uint64_t retired_seen;
    struct arena scratch; /* host builtins of the evaluation under way */
    struct builtin_cache *cache;
    struct buf result; /* decision of an instance that is no more */
};

/* What is asked of an instance. */
struct wish {
    struct policy *policy;
    const struct limits *limits;
    size_t input_len;
    bool own; /* not the shared one */
};
/* The policy's live instance; else the shared sandbox, when the policy may use it and is not asked for often; else a
 * new live one (those unused for longest give way). Errors as instance_new. */
MUST_USE enum err pool_take(struct instances *pool, const struct wish *wish, struct instance **out, char *text,
                            size_t text_bytes);
/* After an evaluation. `failed`: what it left behind must not be met again. true: the instance has to go by pool_drop,
 * and the memory that the result lies in with it. */
bool pool_must_drop(struct instance *i, bool failed);
void pool_drop(struct instances *pool, struct instance *i);
/* Else it stays. */
void pool_put(struct instances *pool, struct instance *i, bool failed);

#endif
