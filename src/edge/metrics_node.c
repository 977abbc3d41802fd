/* Metrics of the node, in Prometheus' text format. in: counts of loops, lanes and the
 * engine. out: text. owns: nothing. */
#include "edge/metrics.h"
#include "edge/metrics_text.h"
#include "edge/node.h"
#include <stdio.h>

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

/* The loop alone writes its counts. */
void metrics_turn(struct loop_counts *c, uint64_t ns) {
    int i = 0;
    while (i < TURN_BUCKETS && ns > turn_bounds[i].ns) i++;
    atomic_store_explicit(&c->turn_bucket[i], metric_get(&c->turn_bucket[i]) + 1, memory_order_relaxed);
    atomic_store_explicit(&c->turn_ns, metric_get(&c->turn_ns) + ns, memory_order_relaxed);
}

void metrics_wait(struct lane_counts *c, uint64_t ns) {
    int i = 0;
    while (i < WAIT_BUCKETS && ns > wait_bounds[i].ns) i++;
    metric_add(&c->wait_bucket[i], 1);
    metric_add(&c->wait_ns, ns);
}


/* ---- text ---- */

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
            sum += metric_get((const _Atomic uint64_t *)(const void *)((const char *)&n->loops[i] + rows[r].offset));
        metric_one(out, rows[r].name, "counter", rows[r].help, sum);
    }
}

static void loop_gauges(const struct node *n, struct buf *out) {
    uint64_t connections = 0, waiting = 0;
    for (uint32_t i = 0; i < n->n_loops; i++) {
        connections += atomic_load_explicit(&n->loops[i].connections, memory_order_relaxed);
        waiting += atomic_load_explicit(&n->loops[i].waiting, memory_order_relaxed);
    }
    metric_one(out, "regent_connections", "gauge", "Open connections.", connections);
    metric_family(out, "regent_queue_requests", "gauge", "Requests that wait, for a turn on a loop or for a lane.");
    buf_printf(out, "regent_queue_requests{queue=\"loop\"} %llu\n", (unsigned long long)waiting);
    buf_printf(out, "regent_queue_requests{queue=\"lane\"} %u\n",
               atomic_load_explicit(&n->lanes.waiting, memory_order_relaxed));
    metric_one(out, "regent_lanes", "gauge", "Lanes.", atomic_load_explicit(&n->lanes.threads, memory_order_relaxed));
    metric_one(out, "regent_lanes_busy", "gauge", "Lanes that answer a request now.",
        atomic_load_explicit(&n->lanes.busy, memory_order_relaxed));
}

static void turns(const struct node *n, struct buf *out) {
    uint64_t sum = 0, ns = 0;
    metric_family(out, "regent_loop_turn_seconds", "histogram",
                  "How long an event loop was busy without looking for news.");
    for (int b = 0; b <= TURN_BUCKETS; b++) {
        for (uint32_t i = 0; i < n->n_loops; i++) sum += metric_get(&n->loops[i].turn_bucket[b]);
        buf_printf(out, "regent_loop_turn_seconds_bucket{le=\"%s\"} %llu\n",
                   b == TURN_BUCKETS ? "+Inf" : turn_bounds[b].le, (unsigned long long)sum);
    }
    for (uint32_t i = 0; i < n->n_loops; i++) ns += metric_get(&n->loops[i].turn_ns);
    buf_cstr(out, "regent_loop_turn_seconds_sum ");
    metric_seconds(out, ns);
    buf_printf(out, "regent_loop_turn_seconds_count %llu\n", (unsigned long long)sum);
}

static void waits(const struct lane_counts *c, struct buf *out) {
    uint64_t sum = 0;
    metric_family(out, "regent_lane_wait_seconds", "histogram", "How long requests waited for a lane.");
    for (int b = 0; b <= WAIT_BUCKETS; b++) {
        sum += metric_get(&c->wait_bucket[b]);
        buf_printf(out, "regent_lane_wait_seconds_bucket{le=\"%s\"} %llu\n",
                   b == WAIT_BUCKETS ? "+Inf" : wait_bounds[b].le, (unsigned long long)sum);
    }
    buf_cstr(out, "regent_lane_wait_seconds_sum ");
    metric_seconds(out, metric_get(&c->wait_ns));
    buf_printf(out, "regent_lane_wait_seconds_count %llu\n", (unsigned long long)sum);
    metric_family(out, "regent_lane_busy_seconds_total", "counter", "Processor time of the lanes' evaluations.");
    buf_cstr(out, "regent_lane_busy_seconds_total ");
    metric_seconds(out, metric_get(&c->busy_ns));
}

static void engine_metrics(const struct node *n, struct buf *out) {
    struct engine_stats s;
    if (!n->engine) return;
    engine_stats(n->engine, &s);
    metric_one(out, "regent_instances", "gauge", "Sandboxes that policies have for themselves.", s.instances);
    metric_one(out, "regent_instances_created_total", "counter", "Sandboxes made for one policy.", s.instances_created);
    metric_one(out, "regent_instances_evicted_total", "counter", "Sandboxes that gave way to those of other policies.",
               s.instances_evicted);
    metric_family(out, "regent_code_total", "counter", "Machine code that policies needed, by where it came from.");
    buf_printf(out, "regent_code_total{from=\"memory\"} %llu\n", (unsigned long long)s.code_from_memory);
    buf_printf(out, "regent_code_total{from=\"disk\"} %llu\n", (unsigned long long)s.code_from_disk);
    buf_printf(out, "regent_code_total{from=\"compiler\"} %llu\n", (unsigned long long)s.code_compiled);
    metric_one(out, "regent_code_modules", "gauge", "Modules whose machine code is in memory.", s.code_modules);
    metric_one(out, "regent_code_bytes", "gauge", "Machine code in memory.", s.code_bytes);
}

static void tenant_metrics(const struct node *n, struct buf *out) {
    const struct tenant_entry *t;
    uint64_t tenants = 0, without = 0, memory = 0;
    for (uint32_t i = 0; n->tenants && (t = tenants_at(n->tenants, i)); i++) {
        tenants++;
        without += !t->policy;
        memory += t->policy ? policy_stats(t->policy).image_bytes : 0;
    }
    metric_one(out, "regent_tenants", "gauge", "Tenants that the node knows.", tenants);
    metric_one(out, "regent_tenants_without_policy", "gauge",
               "Of these, tenants none of whose versions could be loaded.",
               without);
    metric_one(out, "regent_policy_memory_bytes", "gauge", "Memory of all tenants' policies and data, without code.",
               memory);
}

void metrics_node(const struct node *n, struct buf *out) {
    metric_family(out, "regent_build_info", "gauge", "Always 1; its label is Regent's version.");
    buf_cstr(out, "regent_build_info{version=\"" REGENT_VERSION "\"} 1\n");
    metric_one(out, "regent_ready", "gauge", "1 once every tenant that was there at the start has been tried.",
               atomic_load_explicit(&n->scanned, memory_order_relaxed));
    tenant_metrics(n, out);
    metric_one(out, "regent_requests_shed_total", "counter", "Requests refused because the node was overloaded.",
               metric_get(&n->shed));
    metric_one(out, "regent_reloads_total", "counter", "Configurations taken over while running.",
               metric_get(&n->reloads));
    metric_one(out, "regent_reloads_refused_total", "counter", "Configurations refused while running.",
               metric_get(&n->reloads_refused));
    loop_gauges(n, out);
    loop_counters(n, out);
    turns(n, out);
    waits(&n->lanes, out);
    engine_metrics(n, out);
    metrics_process(n->started_ns, out);
}
