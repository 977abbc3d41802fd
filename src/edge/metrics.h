/* Counters and histograms of tenants and of the node, and their Prometheus text. */
#ifndef REGENT_EDGE_METRICS_H
#define REGENT_EDGE_METRICS_H
#include "base/buf.h"
#include "bundle/limits.h"
#include <stdatomic.h>
#include <stdbool.h>

enum { EVAL_BUCKETS = 16, LOAD_BUCKETS = 12 };

/* Relaxed atomics: threads add, a scrape reads; a scrape may be a few events behind. Nothing but counters, all of one
 * type: they are also gone through as an array. */
struct tenant_metrics {
    _Atomic uint64_t total, deny, eval_ns, eval_bucket[EVAL_BUCKETS + 1]; /* each decision's: side by side */
    _Atomic uint64_t errors[ERR_COUNT];
    _Atomic uint64_t limits[LIMIT_COUNT]; /* how often each was reached */
    _Atomic uint64_t load_bucket[LOAD_BUCKETS + 1], load_us;
    _Atomic uint64_t events_dropped, events_hidden; /* of the decision log: lost; written without input and result */
};

/* Whether a tenant's series bear its name; scrapes alone look at it, one at a time (metrics_names.c). */
struct tenant_naming {
    bool named;
    uint64_t asked;   /* decisions at the scrape that saw a new one last */
    int64_t asked_ms; /* when that was, by clock_ms; 0: never */
    struct tenant_metrics *moved; /* two: [0] what "other" counts for it, [1] its counters then; NULL: nothing yet */
};

void metrics_decision(struct tenant_metrics *m, uint64_t eval_ns, bool denied, enum err e);
/* A decision that was counted already turned out to be useless: it is a denial, with this error. */
void metrics_refusal(struct tenant_metrics *m, bool was_denied, enum err e);
void metrics_limit(struct tenant_metrics *m, enum limit_kind k);
void metrics_load(struct tenant_metrics *m, uint64_t us);

/* A tenant as a scrape meets it. */
struct metrics_row {
    struct str id;
    const struct tenant_metrics *metrics;
    struct tenant_naming *naming;
    uint64_t memory_bytes; /* of its policy and data */
};
/* All tenants that are present: at() gives false past the end. */
struct metrics_source {
    void *ctx;
    bool (*at)(void *ctx, uint32_t i, struct metrics_row *row);
};

/* Prometheus text exposition: `most` tenants at most under their names, the others as tenant_id="other". Whoever has a
 * name keeps it as long as it is asked now and then, and no series ever counts backwards, whatever names change hands.
 * Any thread; one scrape waits for another, so not a loop's. ERR_MEMORY: out is not to be used. */
struct metrics_names;
MUST_USE enum err metrics_names_new(struct metrics_names **out);
void metrics_names_free(struct metrics_names *n);
MUST_USE enum err metrics_print(struct metrics_names *n, const struct metrics_source *source, uint32_t most,
                                int64_t now_ms, struct buf *out);

/* The node's own: loops, lanes, queues, what was shed, sandboxes, compiled code, the process. */
struct node;
struct loop_counts;
struct lane_counts;
void metrics_node(const struct node *node, struct buf *out);
void metrics_turn(struct loop_counts *c, uint64_t ns);
void metrics_wait(struct lane_counts *c, uint64_t ns);
void metrics_process(int64_t started_ns, struct buf *out);

/* Between metrics_names.c and metrics.c: the tenants that have a name, and the sum of the others. */
struct metrics_view {
    const struct metrics_row *rows;
    uint32_t n;
    const struct tenant_metrics *others; /* NULL: everybody has a name */
    uint64_t others_memory_bytes;
};
void metrics_view_print(const struct metrics_view *v, struct buf *out);

#endif
