/* Inside of `regent top`: what a node says of itself at one moment, the difference of two, and how that is shown. */
#ifndef REGENT_CLI_TOP_H
#define REGENT_CLI_TOP_H
#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"

/* ---- top_sample.c: one reading of /metrics ---- */

enum { TOP_BUCKETS = 40, TOP_LIMITS = 24 };

struct top_tenant {
    struct str id;
    double total, denied, errors, memory_bytes;
    double buckets[TOP_BUCKETS]; /* cumulative, by sample.bounds */
    struct {
        struct str name;
        double n;
    } limits[TOP_LIMITS];
    uint32_t n_limits;
};

struct top_sample {
    struct arena arena; /* holds all of it but the text */
    struct buf text;    /* as it came; names are views into it */
    uint64_t taken_ns;
    struct table by_id;
    struct {
        struct top_tenant **items;
        uint32_t n, cap;
    } tenants;
    double bounds[TOP_BUCKETS]; /* of the evaluation histogram, in seconds, in order */
    uint32_t n_bounds;
    struct str version;
    double n_tenants, without_policy, ready, queued, connections, shed, memory_bytes, cpu_seconds, started;
};
void top_sample_init(struct top_sample *s);
void top_sample_deinit(struct top_sample *s);
/* Forgets what it held: its text is to be filled. */
void top_sample_clear(struct top_sample *s);
/* Reads s->text. ERR_SYNTAX: that is no node's page; ERR_MEMORY. */
MUST_USE enum err top_sample_read(struct top_sample *s);

/* ---- top_view.c: what happened between two readings ---- */

struct top_row {
    struct str id;
    double rate, errors;       /* a second */
    double deny_share, p99;    /* 0 to 1, seconds; NAN: no requests */
    double limits;             /* a second, all of them; */
    struct str limit;          /* the one that was reached most; empty: none */
    double total, memory_bytes;
    struct str revision, problem; /* of /v1/status; empty: unknown, none */
};
enum top_order { TOP_BY_RATE, TOP_BY_DENIED, TOP_BY_P99, TOP_BY_ERRORS, TOP_BY_LIMITS, TOP_BY_NAME, TOP_ORDERS };
extern const char *const top_orders[TOP_ORDERS]; /* "rate", … */

struct top_view {
    double seconds; /* between the two; 0: there is but one, and what is a second is NAN */
    struct top_row *rows;
    uint32_t n;
    double rate, denied, errors, shed, cpu; /* a second, of all tenants and the node; cpu: cores */
    double p99;                             /* of all; NAN: no requests */
    const struct top_sample *now;
};
/* Rows are in a; ids, limits and the sample are `now`'s. bundles: those of /v1/status by tenant, or NULL. before NULL:
 * nothing is known a second. ERR_MEMORY. */
MUST_USE enum err top_view_make(struct arena *a, const struct top_sample *before, const struct top_sample *now,
                                const struct table *bundles, enum top_order order, struct top_view *out);

/* ---- top_screen.c: as text and as JSON ---- */

struct top_screen {
    uint32_t columns, lines; /* lines 0: no end, and no keys */
    bool color, paused;
    enum top_order order;
    const char *node;    /* what was asked for */
    const char *problem; /* why there is nothing newer; NULL: there is */
};
/* Lines end with `end`; nothing that a node sends reaches the terminal unless it can be printed. */
void top_print(const struct top_view *v, const struct top_screen *s, const char *end, struct buf *out);
void top_print_json(struct arena *a, const struct top_view *v, struct buf *out);

#endif
