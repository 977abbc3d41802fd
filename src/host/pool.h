/* Inside of the host: a thread's live instances. */
#ifndef REGENT_HOST_POOL_H
#define REGENT_HOST_POOL_H
#include "host/instance.h"

struct instances {
    struct engine *engine;
    uint32_t max_live, n_live, mask;
    struct instance **buckets; /* by policy id */
    struct instance *newest, *oldest;
    struct arena scratch; /* host builtins of the evaluation under way */
    struct builtin_cache *cache;
    struct buf result; /* decision of an instance that is no more */
};

/* The live instance of p, or a new one (the one unused for longest gives way). Errors as
 * instance_new. */
MUST_USE enum err pool_take(struct instances *pool, struct policy *p, const struct limits *limits,
                            struct instance **out, char *text, size_t text_bytes);
/* Throws away an instance that pool_take gave. */
void pool_drop(struct instances *pool, struct instance *i);

#endif
