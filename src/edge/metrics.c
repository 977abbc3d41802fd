/* Metrics of tenants and of the node, in Prometheus' text format. in: events. out: text. owns: nothing. */
#include "edge/metrics.h"
#include "edge/node.h"
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

static const struct {
    const char *le;
    uint64_t ns;
} turn_bounds[TURN_BUCKETS] = {
    {"0.0001", 100000}, {"0.00025", 250000}, {"0.0005", 500000}, {"0.001", 1000000},
    {"0.002", 2000000}, {"0.005", 5000000},  {"0.01", 10000000}, {"0.05", 50000000},
}, wait_bounds[WAIT_BUCKETS] = {
    {"0.0001", 100000}, {"0.0005", 500000}, {"0.001", 1000000},  {"0.005", 5000000},  {"0.01", 10000000},
    {"0.025", 25000000}, {"0.05", 50000000}, {"0.1", 100000000}, {"0.25", 250000000}, {"1", 1000000000},
};

static void add(_Atomic uint64_t *at, uint64_t n) {
    atomic_fetch_add_explicit(at, n, memory_order_relaxed);
}
static uint64_t get(const _Atomic uint64_t *at) { return atomic_load_explicit(at, memory_order_relaxed); }

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

void metrics_limit(struct tenant_metrics *m, enum limit_kind k) {
    if (k < LIMIT_COUNT) add(&m->limits[k], 1);
}

void metrics_load(struct tenant_metrics *m, uint64_t us) {
    int i = 0;
    while (i < LOAD_BUCKETS && us > load_bounds[i].us) i++;
    add(&m->load_bucket[i], 1);
    add(&m->load_us, us);
}

/* The loop alone writes its counts. */
void metrics_turn(struct loop_counts *c, uint64_t ns) {
    int i = 0;
    while (i < TURN_BUCKETS && ns > turn_bounds[i].ns) i++;
    atomic_store_explicit(&c->turn_bucket[i], get(&c->turn_bucket[i]) + 1, memory_order_relaxed);
    atomic_store_explicit(&c->turn_ns, get(&c->turn_ns) + ns, memory_order_relaxed);
}

void metrics_wait(struct lane_counts *c, uint64_t ns) {
    int i = 0;
    while (i < WAIT_BUCKETS && ns > wait_bounds[i].ns) i++;
    add(&c->wait_bucket[i], 1);
    add(&c->wait_ns, ns);
}

/* ---- text: a scrape of thousands of tenants is a hundred thousand lines, so nothing is formatted by printf that need
 * not be ---- */

static void put_number(uint64_t n, struct buf *out) {
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    buf_put(out, digits + at, sizeof digits - at);
}

static void end_line(uint64_t n, struct buf *out) {
    put_number(n, out);
    buf_byte(out, '\n');
}

/* Nanoseconds as seconds, whole to the last digit. */
static void end_seconds(uint64_t ns, struct buf *out) {
    char part[10];
    put_number(ns / 1000000000u, out);
    ns %= 1000000000u;
    part[0] = '.';
    for (int i = 9; i > 0; i--, ns /= 10) part[i] = (char)('0' + ns % 10);
    buf_put(out, part, sizeof part);
    buf_byte(out, '\n');
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

static void line(struct buf *out, struct str name, struct str id, const char *more,
                 const char *more_value) {
    buf_str(out, name);
    buf_str(out, STR("{tenant_id=\""));
    label(id, out);
    if (more) {
        buf_str(out, STR("\","));
        buf_cstr(out, more);
        buf_str(out, STR("=\""));
        buf_cstr(out, more_value);
    }
    buf_str(out, STR("\"} "));
}

static void family(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A tenant that nobody has asked anything has no series yet: a counter that is missing counts as 0. */
static void counters(const struct metrics_source *s, bool deny, struct buf *out) {
    struct tenant_metrics *m;
    struct str id, name = deny ? STR("envoy_wasm_opa_deny_total") : STR("envoy_wasm_opa_total");
    family(out, name.ptr, "counter", deny ? "Decisions that denied, were undefined or failed." : "Decisions.");
    for (uint32_t i = 0; (m = s->at(s->ctx, i, &id)); i++) {
        if (!get(&m->total)) continue;
        line(out, name, id, NULL, NULL);
        end_line(get(deny ? &m->deny : &m->total), out);
    }
}

static void errors(const struct metrics_source *s, struct buf *out) {
    struct tenant_metrics *m;
    struct str id;
    family(out, "regent_errors_total", "counter", "Decisions that ended with an error or limit, by its name.");
    for (uint32_t i = 0; (m = s->at(s->ctx, i, &id)); i++)
        for (int e = 1; e < ERR_COUNT; e++) {
            if (!get(&m->errors[e])) continue;
            line(out, STR("regent_errors_total"), id, "error", err_word((enum err)e));
            end_line(get(&m->errors[e]), out);
        }
}

static void limits(const struct metrics_source *s, struct buf *out) {
    struct tenant_metrics *m;
    struct str id;
    family(out, "regent_limit_total", "counter", "How often a tenant reached one of its limits, by the limit's name.");
    for (uint32_t i = 0; (m = s->at(s->ctx, i, &id)); i++)
        for (int k = 0; k < LIMIT_COUNT; k++) {
            if (!get(&m->limits[k])) continue;
            line(out, STR("regent_limit_total"), id, "limit", limit_name((enum limit_kind)k));
            end_line(get(&m->limits[k]), out);
        }
}

static void histogram(const struct metrics_source *s, bool load, struct buf *out) {
    struct tenant_metrics *m;
    struct str id;
    const char *name = load ? "opa_policy_load_duration" : "envoy_wasm_opa_eval_duration";
    char bucket[64], sum_name[64], count_name[64];
    int n = load ? LOAD_BUCKETS : EVAL_BUCKETS;
    snprintf(bucket, sizeof bucket, "%s_bucket", name);
    snprintf(sum_name, sizeof sum_name, "%s_sum", name);
    snprintf(count_name, sizeof count_name, "%s_count", name);
    family(out, name, "histogram", load ? "Seconds to load a tenant's policy." : "Seconds of a decision's evaluation.");
    for (uint32_t i = 0; (m = s->at(s->ctx, i, &id)); i++) {
        const _Atomic uint64_t *buckets = load ? m->load_bucket : m->eval_bucket;
        uint64_t sum = 0;
        for (int b = 0; b <= n; b++) sum += get(&buckets[b]);
        if (!sum) continue;
        sum = 0;
        for (int b = 0; b <= n; b++) {
            sum += get(&buckets[b]);
            line(out, str_of(bucket), id, "le", b == n ? "+Inf" : load ? load_bounds[b].le : eval_bounds[b].le);
            end_line(sum, out);
        }
        line(out, str_of(sum_name), id, NULL, NULL);
        end_seconds(load ? get(&m->load_us) * 1000 : get(&m->eval_ns), out);
        line(out, str_of(count_name), id, NULL, NULL);
        end_line(sum, out);
    }
}

void metrics_print(const struct metrics_source *source, struct buf *out) {
    counters(source, false, out);
    counters(source, true, out);
    errors(source, out);
    limits(source, out);
    histogram(source, false, out);
    histogram(source, true, out);
}

/* ---- the node ---- */

static void one(struct buf *out, const char *name, const char *type, const char *help, uint64_t n) {
    family(out, name, type, help);
    buf_printf(out, "%s ", name);
    end_line(n, out);
}

static void loop_counters(const struct node *n, struct buf *out) {
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
        {"regent_requests_queued_total", "Requests that waited for their tenant's turn on a loop.",
         offsetof(struct loop_counts, put_off)},
        {"regent_slice_overruns_total", "Requests that were handed to a lane.", offsetof(struct loop_counts, overruns)},
        {"regent_connections_refused_total", "Connections past the maximum.",
         offsetof(struct loop_counts, refused_connections)},
        {"regent_connections_timed_out_total", "Connections and streams that made no progress.",
         offsetof(struct loop_counts, timed_out)},
        {"regent_bad_requests_total", "Requests that broke HTTP or its limits.",
         offsetof(struct loop_counts, bad_requests)},
        {"regent_tls_handshakes_failed_total", "TLS handshakes that failed.", offsetof(struct loop_counts, tls_failed)},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < n->n_loops; i++)
            sum += get((const _Atomic uint64_t *)(const void *)((const char *)&n->loops[i] + rows[r].offset));
        one(out, rows[r].name, "counter", rows[r].help, sum);
    }
}

static void loop_gauges(const struct node *n, struct buf *out) {
    uint64_t connections = 0, waiting = 0;
    for (uint32_t i = 0; i < n->n_loops; i++) {
        connections += atomic_load_explicit(&n->loops[i].connections, memory_order_relaxed);
        waiting += atomic_load_explicit(&n->loops[i].waiting, memory_order_relaxed);
    }
    one(out, "regent_connections", "gauge", "Open connections.", connections);
    family(out, "regent_queue_requests", "gauge", "Requests that wait, for a turn on a loop or for a lane.");
    buf_printf(out, "regent_queue_requests{queue=\"loop\"} %llu\n", (unsigned long long)waiting);
    buf_printf(out, "regent_queue_requests{queue=\"lane\"} %u\n",
               atomic_load_explicit(&n->lanes.waiting, memory_order_relaxed));
    one(out, "regent_lanes", "gauge", "Lanes.", atomic_load_explicit(&n->lanes.threads, memory_order_relaxed));
    one(out, "regent_lanes_busy", "gauge", "Lanes that answer a request now.",
        atomic_load_explicit(&n->lanes.busy, memory_order_relaxed));
}

static void turns(const struct node *n, struct buf *out) {
    uint64_t sum = 0, ns = 0;
    family(out, "regent_loop_turn_seconds", "histogram", "How long an event loop was busy without looking for news.");
    for (int b = 0; b <= TURN_BUCKETS; b++) {
        for (uint32_t i = 0; i < n->n_loops; i++) sum += get(&n->loops[i].turn_bucket[b]);
        buf_printf(out, "regent_loop_turn_seconds_bucket{le=\"%s\"} %llu\n",
                   b == TURN_BUCKETS ? "+Inf" : turn_bounds[b].le, (unsigned long long)sum);
    }
    for (uint32_t i = 0; i < n->n_loops; i++) ns += get(&n->loops[i].turn_ns);
    buf_cstr(out, "regent_loop_turn_seconds_sum ");
    end_seconds(ns, out);
    buf_printf(out, "regent_loop_turn_seconds_count %llu\n", (unsigned long long)sum);
}

static void waits(const struct lane_counts *c, struct buf *out) {
    uint64_t sum = 0;
    family(out, "regent_lane_wait_seconds", "histogram", "How long requests waited for a lane.");
    for (int b = 0; b <= WAIT_BUCKETS; b++) {
        sum += get(&c->wait_bucket[b]);
        buf_printf(out, "regent_lane_wait_seconds_bucket{le=\"%s\"} %llu\n",
                   b == WAIT_BUCKETS ? "+Inf" : wait_bounds[b].le, (unsigned long long)sum);
    }
    buf_cstr(out, "regent_lane_wait_seconds_sum ");
    end_seconds(get(&c->wait_ns), out);
    buf_printf(out, "regent_lane_wait_seconds_count %llu\n", (unsigned long long)sum);
    family(out, "regent_lane_busy_seconds_total", "counter", "Processor time of the lanes' evaluations.");
    buf_cstr(out, "regent_lane_busy_seconds_total ");
    end_seconds(get(&c->busy_ns), out);
}

void metrics_node(const struct node *n, struct buf *out) {
    one(out, "regent_requests_shed_total", "counter", "Requests refused because the node was overloaded.",
        get(&n->shed));
    one(out, "regent_reloads_total", "counter", "Configurations taken over while running.", get(&n->reloads));
    one(out, "regent_reloads_refused_total", "counter", "Configurations refused while running.",
        get(&n->reloads_refused));
    loop_gauges(n, out);
    loop_counters(n, out);
    turns(n, out);
    waits(&n->lanes, out);
}
