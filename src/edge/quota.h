/* Counts of one tenant that limits are held against: token bucket, requests under way. */
#ifndef REGENT_EDGE_QUOTA_H
#define REGENT_EDGE_QUOTA_H
#include "base/err.h"
#include "bundle/limits.h"
#include <stdatomic.h>

struct tenant_quota {
    _Atomic uint64_t bucket;      /* token bucket: the time (ns) at which it would be full again */
    _Atomic uint32_t under_way;   /* requests admitted and not answered */
    _Atomic uint64_t log_second;  /* second << 32 | lines in it */
    _Atomic uint32_t slow;        /* recent evaluations went past the slice, see quota_slow */
};

/* Admits a request at now_ns (monotonic), or says which limit it passes: ERR_RATE, ERR_CONCURRENCY. Each admitted
 * request is to be given back by quota_done. */
MUST_USE enum err quota_admit(struct tenant_quota *q, const struct tenant_limits *l, uint64_t now_ns);
void quota_done(struct tenant_quota *q);
/* The rate alone, for further decisions of a request that is under way: ERR_RATE. */
MUST_USE enum err quota_rate(struct tenant_quota *q, const struct tenant_limits *l, uint64_t now_ns);
/* May the tenant cause one more log line? */
bool quota_log(struct tenant_quota *q, const struct tenant_limits *l, uint64_t now_ns);

/* An evaluation went past the slice. From the second time in short order on the tenant is asked in lanes, for 33 to
 * 50 ms, and for twice as long after each further time, at most 2 s; as long without another forgets them all. */
void quota_slowed(struct tenant_quota *q, uint64_t now_ns);
/* Is the tenant to be asked in a lane at once? */
bool quota_slow(const struct tenant_quota *q, uint64_t now_ns);

#endif
