/* Counters and histograms of one tenant, and their Prometheus text. */
#ifndef REGENT_EDGE_METRICS_H
#define REGENT_EDGE_METRICS_H
#include "base/buf.h"
#include "edge/limits.h"
#include <stdatomic.h>
#include <stdbool.h>

enum { EVAL_BUCKETS = 16, LOAD_BUCKETS = 12 };

/* Relaxed atomics: threads add, a scrape reads; a scrape may be a few events behind. */
struct tenant_metrics {
    _Atomic uint64_t total, deny, eval_ns, eval_bucket[EVAL_BUCKETS + 1]; /* each decision's: side by side */
    _Atomic uint64_t errors[ERR_COUNT];
    _Atomic uint64_t limits[LIMIT_COUNT]; /* how often each was reached */
    _Atomic uint64_t load_bucket[LOAD_BUCKETS + 1], load_us;
};

void metrics_decision(struct tenant_metrics *m, uint64_t eval_ns, bool denied, enum err e);
/* A decision that was counted already turned out to be useless: it is a denial, with this error. */
void metrics_refusal(struct tenant_metrics *m, bool was_denied, enum err e);
void metrics_limit(struct tenant_metrics *m, enum limit_kind k);
void metrics_load(struct tenant_metrics *m, uint64_t us);

/* Prometheus text exposition of all tenants: calls next(ctx, &id) until it gives NULL, for each
 * metric family anew. */
struct metrics_source {
    void *ctx;
    struct tenant_metrics *(*at)(void *ctx, uint32_t i, struct str *id); /* NULL past the end */
};
void metrics_print(const struct metrics_source *source, struct buf *out);

/* The node's own: loops, lanes, queues, what was shed. */
struct node;
struct loop_counts;
struct lane_counts;
void metrics_node(const struct node *node, struct buf *out);
void metrics_turn(struct loop_counts *c, uint64_t ns);
void metrics_wait(struct lane_counts *c, uint64_t ns);

#endif
