/* What all threads of a node share. */
#ifndef REGENT_EDGE_NODE_H
#define REGENT_EDGE_NODE_H
#include "edge/tenants.h"
#include <stdatomic.h>

enum { NODE_MAX_THREADS = 64, TURN_BUCKETS = 8, WAIT_BUCKETS = 10 };

/* What one event loop did; it alone writes. */
struct loop_counts {
    _Alignas(64) _Atomic uint32_t connections, waiting; /* now */
    _Atomic uint64_t turn_bucket[TURN_BUCKETS + 1], turn_ns; /* turns of the loop in which something was answered */
    _Atomic uint64_t put_off;  /* requests that were put into the loop's queue */
    _Atomic uint64_t overruns; /* evaluations that went past the slice */
    _Atomic uint64_t refused_connections, timed_out, bad_requests, tls_failed;
};

/* What a set of lanes did; under their lock, or by its holder. */
struct lane_counts {
    _Atomic uint32_t threads, busy, waiting; /* now */
    _Atomic uint64_t wait_bucket[WAIT_BUCKETS + 1], wait_ns; /* how long requests waited for a lane */
    _Atomic uint64_t busy_ns;
};

struct activator;
struct store;
struct sources;
struct logins; /* net/logins.h */

struct node {
    struct tenants *tenants;
    struct activator *activator;
    struct store *store; /* NULL: no versions are kept on disk */
    struct sources *sources;
    struct logins *logins; /* who guessed tokens */
    struct engine *engine;
    struct metrics_names *names; /* of tenants in metrics */
    char id[37];               /* UUID of this run */
    char host_name[256];
    int64_t started_ns;        /* since 1970 */
    _Atomic bool scanned;      /* every bundle that was there at the start has been tried once */
    _Atomic bool draining;     /* it is about to stop: not ready any more */
    _Atomic uint64_t shed;     /* requests refused because the node was overloaded */
    _Atomic uint64_t reloads, reloads_refused;
    uint32_t n_loops;
    struct loop_counts loops[NODE_MAX_THREADS];
    struct lane_counts lanes;
};

#endif
