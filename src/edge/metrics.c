/* Tenant metrics in Prometheus' text format. in: events. out: text. owns: nothing. */
#include "edge/metrics.h"
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

static void add(_Atomic uint64_t *at, uint64_t n) {
    atomic_fetch_add_explicit(at, n, memory_order_relaxed);
}
static uint64_t get(_Atomic uint64_t *at) { return atomic_load_explicit(at, memory_order_relaxed); }

void metrics_decision(struct tenant_metrics *m, uint64_t eval_ns, bool denied, enum err e) {
    int i = 0;
    add(&m->total, 1);
    if (denied) add(&m->deny, 1);
    if (e) add(&m->errors[e], 1);
    while (i < EVAL_BUCKETS && eval_ns > eval_bounds[i].ns) i++;
    add(&m->eval_bucket[i], 1);
    add(&m->eval_ns, eval_ns);
}

void metrics_refusal(struct tenant_metrics *m, bool was_denied, enum err e) {
    if (!was_denied) add(&m->deny, 1);
    add(&m->errors[e], 1);
}

void metrics_load(struct tenant_metrics *m, uint64_t us) {
    int i = 0;
    while (i < LOAD_BUCKETS && us > load_bounds[i].us) i++;
    add(&m->load_bucket[i], 1);
    add(&m->load_us, us);
}

/* A label value: backslash, quote and newline escaped. */
static void label(struct str id, struct buf *out) {
    for (size_t i = 0; i < id.len; i++) {
        if (id.ptr[i] == '\n')
            buf_cstr(out, "\\n");
        else if (id.ptr[i] == '"' || id.ptr[i] == '\\')
            buf_byte(out, '\\'), buf_byte(out, (uint8_t)id.ptr[i]);
        else
            buf_byte(out, (uint8_t)id.ptr[i]);
    }
}

static void line(struct buf *out, const char *name, struct str id, const char *more,
                 const char *more_value) {
    buf_printf(out, "%s{tenant_id=\"", name);
    label(id, out);
    if (more) buf_printf(out, "\",%s=\"%s", more, more_value);
    buf_cstr(out, "\"} ");
}

static void counters(const struct metrics_source *s, bool deny, struct buf *out) {
    struct tenant_metrics *m;
    struct str id;
    const char *name = deny ? "envoy_wasm_opa_deny_total" : "envoy_wasm_opa_total";
    buf_printf(out, "# HELP %s %s\n# TYPE %s counter\n", name,
               deny ? "Decisions that denied, were undefined or failed." : "Decisions.", name);
    for (uint32_t i = 0; (m = s->at(s->ctx, i, &id)); i++) {
        line(out, name, id, NULL, NULL);
        buf_printf(out, "%llu\n", (unsigned long long)get(deny ? &m->deny : &m->total));
    }
}

static void errors(const struct metrics_source *s, struct buf *out) {
    struct tenant_metrics *m;
    struct str id;
    buf_cstr(
        out,
        "# HELP regent_errors_total Decisions that ended with an error or limit, by its name.\n"
        "# TYPE regent_errors_total counter\n");
    for (uint32_t i = 0; (m = s->at(s->ctx, i, &id)); i++)
        for (int e = 1; e < ERR_COUNT; e++) {
            if (!get(&m->errors[e])) continue;
            line(out, "regent_errors_total", id, "error", err_word((enum err)e));
            buf_printf(out, "%llu\n", (unsigned long long)get(&m->errors[e]));
        }
}

static void histogram(const struct metrics_source *s, bool load, struct buf *out) {
    struct tenant_metrics *m;
    struct str id;
    const char *name = load ? "opa_policy_load_duration" : "envoy_wasm_opa_eval_duration";
    char series[64];
    buf_printf(out, "# HELP %s %s\n# TYPE %s histogram\n", name,
               load ? "Seconds to load a tenant's policy." : "Seconds of a decision's evaluation.",
               name);
    for (uint32_t i = 0; (m = s->at(s->ctx, i, &id)); i++) {
        uint64_t sum = 0;
        int n = load ? LOAD_BUCKETS : EVAL_BUCKETS;
        snprintf(series, sizeof series, "%s_bucket", name);
        for (int b = 0; b <= n; b++) {
            sum += get(load ? &m->load_bucket[b] : &m->eval_bucket[b]);
            line(out, series, id, "le",
                 b == n ? "+Inf"
                 : load ? load_bounds[b].le
                        : eval_bounds[b].le);
            buf_printf(out, "%llu\n", (unsigned long long)sum);
        }
        snprintf(series, sizeof series, "%s_sum", name);
        line(out, series, id, NULL, NULL);
        buf_printf(out, "%.9f\n",
                   load ? (double)get(&m->load_us) / 1e6 : (double)get(&m->eval_ns) / 1e9);
        snprintf(series, sizeof series, "%s_count", name);
        line(out, series, id, NULL, NULL);
        buf_printf(out, "%llu\n", (unsigned long long)sum);
    }
}

void metrics_print(const struct metrics_source *source, struct buf *out) {
    counters(source, false, out);
    counters(source, true, out);
    errors(source, out);
    histogram(source, false, out);
    histogram(source, true, out);
}
