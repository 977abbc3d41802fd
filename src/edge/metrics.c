/* Metrics of tenants, in Prometheus' text format. in: events. out: text. owns: nothing. */
#include "edge/metrics.h"
#include "edge/metrics_text.h"
#include <stddef.h>
#include <stdio.h>

/* Upper bounds in seconds: a microsecond's decision and a deadline's end both fall inside. */
static const struct {
    const char *le;
    uint64_t ns;
} eval_bounds[EVAL_BUCKETS] = {
    {"1e-06", 1000},    {"2e-06", 2000},    {"5e-06", 5000},    {"1e-05", 10000},
    {"2e-05", 20000},   {"5e-05", 50000},   {"0.0001", 100000}, {"0.0002", 200000},
    {"0.0005", 500000}, {"0.001", 1000000}, {"0.002", 2000000}, {"0.005", 5000000},
    {"0.01", 10000000}, {"0.05", 50000000}, {"0.1", 100000000}, {"1", 1000000000},
};
static const struct {
    const char *le;
    uint64_t us;
} load_bounds[LOAD_BUCKETS] = {
    {"0.0001", 100}, {"0.0005", 500}, {"0.001", 1000},  {"0.005", 5000},
    {"0.01", 10000}, {"0.05", 50000}, {"0.1", 100000},  {"0.25", 250000},
    {"0.5", 500000}, {"1", 1000000},  {"2.5", 2500000}, {"10", 10000000},
};



void metrics_decision(struct tenant_metrics *m, uint64_t eval_ns, bool denied, enum err e) {
    int i = 0;
    metric_add(&m->total, 1);
    if (denied) metric_add(&m->deny, 1);
    if (e) metric_add(&m->errors[e], 1);
    while (i < EVAL_BUCKETS && eval_ns > eval_bounds[i].ns) i++;
    metric_add(&m->eval_bucket[i], 1);
    metric_add(&m->eval_ns, eval_ns);
}

void metrics_refusal(struct tenant_metrics *m, bool was_denied, enum err e) {
    if (!was_denied) metric_add(&m->deny, 1);
    metric_add(&m->errors[e], 1);
}

void metrics_limit(struct tenant_metrics *m, enum limit_kind k) {
    if (k < LIMIT_COUNT) metric_add(&m->limits[k], 1);
}

void metrics_load(struct tenant_metrics *m, uint64_t us) {
    int i = 0;
    while (i < LOAD_BUCKETS && us > load_bounds[i].us) i++;
    metric_add(&m->load_bucket[i], 1);
    metric_add(&m->load_us, us);
}

/* ---- text ---- */

/* What a tenant's series show: its counts without those that went into "other" while it had no name. */
static uint64_t shown(const struct metrics_row *r, const _Atomic uint64_t *at) {
    const struct tenant_metrics *moved = r->naming && r->naming->moved ? &r->naming->moved[0] : NULL;
    size_t offset = (size_t)((const char *)at - (const char *)r->metrics);
    uint64_t n = metric_get(at);
    return moved ? n - metric_get((const _Atomic uint64_t *)(const void *)((const char *)moved + offset)) : n;
}

/* Calls f for each tenant with a name, then for the others. A tenant that nobody asked has no series yet: a counter
 * that is missing counts as 0. */
typedef void row_printer(const struct metrics_row *r, bool load, struct buf *out);

static void each(const struct metrics_view *v, row_printer *f, bool load, struct buf *out) {
    for (uint32_t i = 0; i < v->n; i++) f(&v->rows[i], load, out);
    if (!v->others) return;
    struct metrics_row others = {STR("other"), v->others, NULL, v->others_memory_bytes};
    f(&others, load, out);
}

static void put_counter(const struct metrics_row *r, bool deny, struct buf *out) {
    if (!shown(r, &r->metrics->total)) return;
    metric_line(out, deny ? STR("envoy_wasm_opa_deny_total") : STR("envoy_wasm_opa_total"), r->id, NULL, STR(""));
    metric_number(out, shown(r, deny ? &r->metrics->deny : &r->metrics->total));
}

static void put_errors(const struct metrics_row *r, bool unused, struct buf *out) {
    (void)unused;
    for (int e = 1; e < ERR_COUNT; e++) {
        uint64_t n = shown(r, &r->metrics->errors[e]);
        if (!n) continue;
        metric_line(out, STR("regent_errors_total"), r->id, "error", str_of(err_word((enum err)e)));
        metric_number(out, n);
    }
}

static void put_limits(const struct metrics_row *r, bool unused, struct buf *out) {
    (void)unused;
    for (int k = 0; k < LIMIT_COUNT; k++) {
        uint64_t n = shown(r, &r->metrics->limits[k]);
        if (!n) continue;
        metric_line(out, STR("regent_limit_total"), r->id, "limit", str_of(limit_name((enum limit_kind)k)));
        metric_number(out, n);
    }
}

static void put_events(const struct metrics_row *r, bool hidden, struct buf *out) {
    uint64_t n = shown(r, hidden ? &r->metrics->events_hidden : &r->metrics->events_dropped);
    if (!n) return;
    metric_line(out,
                hidden ? STR("regent_decision_log_tenant_hidden_total")
                       : STR("regent_decision_log_tenant_dropped_total"),
                r->id, NULL, STR(""));
    metric_number(out, n);
}

static void put_memory(const struct metrics_row *r, bool unused, struct buf *out) {
    (void)unused;
    if (!r->memory_bytes) return;
    metric_line(out, STR("regent_tenant_memory_bytes"), r->id, NULL, STR(""));
    metric_number(out, r->memory_bytes);
}

static void put_histogram(const struct metrics_row *r, bool load, struct buf *out) {
    static const char *const names[2][3] = {
        {"envoy_wasm_opa_eval_duration_bucket", "envoy_wasm_opa_eval_duration_sum",
         "envoy_wasm_opa_eval_duration_count"},
        {"opa_policy_load_duration_bucket", "opa_policy_load_duration_sum", "opa_policy_load_duration_count"},
    };
    const _Atomic uint64_t *buckets = load ? r->metrics->load_bucket : r->metrics->eval_bucket;
    int n = load ? LOAD_BUCKETS : EVAL_BUCKETS;
    uint64_t all = 0, sum = 0;
    for (int b = 0; b <= n; b++) all += shown(r, &buckets[b]);
    if (!all) return;
    for (int b = 0; b <= n; b++) {
        sum += shown(r, &buckets[b]);
        metric_line(out, str_of(names[load][0]), r->id, "le",
                    b == n ? STR("+Inf") : str_of(load ? load_bounds[b].le : eval_bounds[b].le));
        metric_number(out, sum);
    }
    metric_line(out, str_of(names[load][1]), r->id, NULL, STR(""));
    metric_seconds(out, load ? shown(r, &r->metrics->load_us) * 1000 : shown(r, &r->metrics->eval_ns));
    metric_line(out, str_of(names[load][2]), r->id, NULL, STR(""));
    metric_number(out, sum);
}

void metrics_view_print(const struct metrics_view *v, struct buf *out) {
    metric_family(out, "envoy_wasm_opa_total", "counter", "Decisions.");
    each(v, put_counter, false, out);
    metric_family(out, "envoy_wasm_opa_deny_total", "counter", "Decisions that denied, were undefined or failed.");
    each(v, put_counter, true, out);
    metric_family(out, "regent_errors_total", "counter", "Decisions that ended with an error or limit, by its name.");
    each(v, put_errors, false, out);
    metric_family(out, "regent_limit_total", "counter",
                  "How often a tenant reached one of its limits, by the limit's name.");
    each(v, put_limits, false, out);
    metric_family(out, "envoy_wasm_opa_eval_duration", "histogram", "Seconds of a decision's evaluation.");
    each(v, put_histogram, false, out);
    metric_family(out, "opa_policy_load_duration", "histogram", "Seconds to load a tenant's policy.");
    each(v, put_histogram, true, out);
    metric_family(out, "regent_decision_log_tenant_dropped_total", "counter", "A tenant's events that were lost.");
    each(v, put_events, false, out);
    metric_family(out, "regent_decision_log_tenant_hidden_total", "counter",
                  "A tenant's events without input and result, because it could not be masked.");
    each(v, put_events, true, out);
    metric_family(out, "regent_tenant_memory_bytes", "gauge",
                  "Memory of a tenant's policy and data, without code that tenants share.");
    each(v, put_memory, false, out);
}
