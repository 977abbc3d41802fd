/* What happened between two readings of a node, tenant by tenant.
 * in: two samples, /v1/status. out: rows in the wanted order. owns: nothing. */
#include "cli/top.h"
#include <math.h>
#include <stdlib.h>

const char *const top_orders[TOP_ORDERS] = {"rate", "denied", "p99", "errors", "limits", "name"};

/* A counter that fell began anew: the node was started again. */
static double grown(double before, double now) { return now >= before ? now - before : now; }

/* Within its bucket a decision may have taken any time: so linear, as Prometheus' histogram_quantile. */
static double quantile(const struct top_sample *s, const double *counts, double q) {
    double all = s->n_bounds ? counts[s->n_bounds - 1] : 0;
    if (all <= 0) return NAN;
    for (uint32_t i = 0; i < s->n_bounds; i++) {
        if (counts[i] < q * all) continue;
        double low = i ? s->bounds[i - 1] : 0, under = i ? counts[i - 1] : 0;
        if (isinf(s->bounds[i])) return low;
        return counts[i] > under ? low + (s->bounds[i] - low) * (q * all - under) / (counts[i] - under) : s->bounds[i];
    }
    return NAN;
}

static void limits_between(const struct top_tenant *before, const struct top_tenant *now, double seconds,
                           struct top_row *r) {
    double most = 0;
    r->limits = 0;
    for (uint32_t i = 0; i < now->n_limits; i++) {
        double was = 0;
        for (uint32_t k = 0; before && k < before->n_limits; k++)
            if (str_eq(before->limits[k].name, now->limits[i].name)) was = before->limits[k].n;
        double n = grown(was, now->limits[i].n);
        r->limits += n / seconds;
        if (n <= most) continue;
        most = n;
        r->limit = now->limits[i].name;
    }
}

/* buckets: of the time between, cumulative. */
static void between(const struct top_tenant *before, const struct top_tenant *now, double seconds, struct top_row *r,
                    double buckets[TOP_BUCKETS]) {
    static const struct top_tenant nothing;
    const struct top_tenant *b = before ? before : &nothing;
    double asked = grown(b->total, now->total);
    r->rate = asked / seconds;
    r->errors = grown(b->errors, now->errors) / seconds;
    r->deny_share = asked > 0 ? fmin(1, grown(b->denied, now->denied) / asked) : NAN;
    for (uint32_t i = 0; i < TOP_BUCKETS; i++) buckets[i] = grown(b->buckets[i], now->buckets[i]);
    limits_between(before, now, seconds, r);
}

static void take_status(const struct table *bundles, struct top_row *r) {
    const struct json *bundle = bundles ? table_get(bundles, r->id) : NULL;
    const struct json *revision = json_get_c(bundle, "active_revision"), *problem = json_get_c(bundle, "message");
    if (revision && revision->kind == JSON_STRING) r->revision = revision->text;
    if (problem && problem->kind == JSON_STRING) r->problem = problem->text;
}

/* ---- order ---- */

/* What is unknown comes last. */
static int falling(double a, double b) {
    if (isnan(a) || isnan(b)) return (int)isnan(a) - (int)isnan(b);
    return (a < b) - (a > b);
}

/* Equal ones: who asks more, then by name, so that rows do not jump. */
static int by_rest(const struct top_row *a, const struct top_row *b, int first) {
    if (first) return first;
    int c = falling(a->rate, b->rate);
    return c ? c : str_cmp(a->id, b->id);
}

#define BY(name, compared)                                                                         \
    static int by_##name(const void *x, const void *y) {                                           \
        const struct top_row *a = x, *b = y;                                                       \
        return by_rest(a, b, compared);                                                            \
    }
BY(rate, falling(a->rate, b->rate))
BY(denied, falling(a->rate * a->deny_share, b->rate * b->deny_share))
BY(p99, falling(a->p99, b->p99))
BY(errors, falling(a->errors, b->errors))
BY(limits, falling(a->limits, b->limits))
BY(name, str_cmp(a->id, b->id))

static void sort_rows(struct top_row *rows, uint32_t n, enum top_order order) {
    static int (*const compare[TOP_ORDERS])(const void *, const void *) = {by_rate,   by_denied, by_p99,
                                                                           by_errors, by_limits, by_name};
    if (n) qsort(rows, n, sizeof *rows, compare[order]);
}

enum err top_view_make(struct arena *a, const struct top_sample *before, const struct top_sample *now,
                       const struct table *bundles, enum top_order order, struct top_view *out) {
    double all[TOP_BUCKETS] = {0}, denied = 0;
    *out = (struct top_view){.now = now, .n = now->tenants.n, .p99 = NAN};
    out->rows = ARENA_ARRAY(a, struct top_row, out->n + 1);
    if (!out->rows) return ERR_MEMORY;
    if (before) out->seconds = (double)(now->taken_ns - before->taken_ns) / 1e9;
    for (uint32_t i = 0; i < out->n; i++) {
        const struct top_tenant *t = now->tenants.items[i];
        struct top_row *r = &out->rows[i];
        double buckets[TOP_BUCKETS];
        *r = (struct top_row){.id = t->id, .total = t->total, .memory_bytes = t->memory_bytes, .deny_share = NAN,
                              .p99 = NAN, .rate = NAN, .errors = NAN, .limits = NAN};
        take_status(bundles, r);
        if (out->seconds <= 0) continue;
        between(table_get(&before->by_id, t->id), t, out->seconds, r, buckets);
        r->p99 = quantile(now, buckets, 0.99);
        for (uint32_t b = 0; b < now->n_bounds; b++) all[b] += buckets[b];
        out->rate += r->rate;
        out->errors += r->errors;
        denied += r->rate > 0 ? r->rate * r->deny_share : 0;
    }
    if (out->seconds <= 0) out->rate = out->errors = out->shed = out->cpu = denied = NAN;
    out->denied = denied;
    out->p99 = quantile(now, all, 0.99);
    if (out->seconds > 0) {
        out->shed = grown(before->shed, now->shed) / out->seconds;
        out->cpu = grown(before->cpu_seconds, now->cpu_seconds) / out->seconds;
    }
    sort_rows(out->rows, out->n, order);
    return OK;
}
