/* What a node tells of itself: health, status of bundles, configuration, metrics.
 * in: calls. out: OPA's bodies; a tenant sees of tenants only itself. owns: nothing. */
#include "base/clock.h"
#include "edge/activator.h"
#include "edge/decision_log.h"
#include "edge/life.h"
#include "edge/metrics.h"
#include "edge/rest.h"
#include "edge/store.h"
#include "edge/sources.h"
#include "edge/tracer.h"
#include <stdio.h>
#include <time.h>

enum {
    NAMED_TENANTS = 10,  /* of those that are not activated */
    TENANTS_IN_LOOP = 64 /* lists of more are a lane's work */
};

static bool too_many_for_loop(const struct rest_call *c) {
    return c->w->slice_us && tenants_at(c->w->tenants, TENANTS_IN_LOOP) != NULL;
}

/* ---- Health ---- */

static void health(struct rest_call *c, struct str problem) {
    c->r->status = problem.len ? 500 : 200;
    c->r->content_type = "application/json";
    if (problem.len) {
        buf_cstr(c->r->body, "{\"error\":");
        rest_put_string(problem, c->r->body);
        buf_cstr(c->r->body, "}\n");
    } else {
        buf_cstr(c->r->body, "{}\n");
    }
}

/* The initial activation of every tenant; names of some that lack it go to `names`. */
static bool all_activated(const struct rest_call *c, struct buf *names) {
    const struct tenant_entry *t;
    uint32_t missing = 0;
    for (uint32_t i = 0; (t = tenants_at(c->w->tenants, i)); i++) {
        if (t->policy) continue;
        if (names && missing < NAMED_TENANTS) buf_printf(names, "%s%s", missing ? ", " : ": ", t->tenant->id);
        missing++;
    }
    if (names && missing > NAMED_TENANTS) buf_printf(names, " and %u more", missing - NAMED_TENANTS);
    return missing == 0 && atomic_load_explicit(&c->w->node->scanned, memory_order_acquire);
}

/* A node that is about to stop is ready for nothing, whatever is asked for. */
static bool draining(const struct rest_call *c) {
    return atomic_load_explicit(&c->w->node->draining, memory_order_relaxed);
}

static enum door_outcome readiness(struct rest_call *c) {
    struct buf text;
    if (c->w->slice_us && node_ready_is_long(c->w->node, c->w->config)) return DOOR_LATER;
    buf_init(&text, (NAMED_TENANTS + 2) * TENANT_ID_BYTES);
    health(c, node_ready(c->w->node, c->w->config, &text) ? STR("") : buf_view(&text));
    buf_deinit(&text);
    return DOOR_ANSWERED;
}

enum door_outcome rest_health(struct rest_call *c) {
    struct buf text;
    bool asks = c->params.bundles || (c->params.plugins && !c->params.exclude_bundle);
    if (c->params.ready || (asks && draining(c))) return readiness(c);
    if (!asks) {
        health(c, STR(""));
        return DOOR_ANSWERED;
    }
    buf_init(&text, (NAMED_TENANTS + 2) * TENANT_ID_BYTES);
    buf_cstr(&text, "one or more bundles are not activated");
    bool ready = all_activated(c, &text);
    if (ready) health(c, STR(""));
    else if (c->params.bundles) health(c, buf_view(&text));
    else health(c, STR("one or more plugins are not up"));
    buf_deinit(&text);
    return DOOR_ANSWERED;
}

/* OPA asks the policy data.system.health, which a node of many tenants has none of; this node knows itself whether it
 * is ready. */
enum door_outcome rest_health_rule(struct rest_call *c) {
    if (str_is(c->rest, "ready")) return readiness(c);
    struct str at = STR("system/health/");
    struct buf text;
    char *path = arena_alloc(&c->w->arena, at.len + c->rest.len);
    if (path) {
        memcpy(path, at.ptr, at.len);
        memcpy(path + at.len, c->rest.ptr, c->rest.len);
    }
    buf_init(&text, 64 << 10);
    buf_cstr(&text, "health check (");
    rest_ref(&c->w->arena, path ? (struct str){path, at.len + c->rest.len} : at, &text);
    buf_cstr(&text, ") was undefined");
    health(c, text.err ? STR("health check was undefined") : buf_view(&text));
    buf_deinit(&text);
    return DOOR_ANSWERED;
}

/* ---- Status ---- */

/* As Go prints times: without zeros at the end of the fraction; never is year 1. */
static void put_time(int64_t ns, struct buf *out) {
    struct tm t;
    time_t seconds = (time_t)(ns / 1000000000);
    char text[40], fraction[16] = "";
    if (ns == 0 || !gmtime_r(&seconds, &t)) {
        buf_cstr(out, "\"0001-01-01T00:00:00Z\"");
        return;
    }
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
    int n = snprintf(fraction, sizeof fraction, ".%09lld", (long long)(ns % 1000000000));
    while (n > 1 && fraction[n - 1] == '0') fraction[--n] = 0;
    buf_printf(out, "\"%s%sZ\"", text, n > 1 ? fraction : "");
}

static void put_labels(const struct rest_call *c, struct buf *out) {
    struct arena *a = &c->w->arena;
    const struct json *extra = c->w->config->labels;
    struct json *labels = json_object(a);
    for (uint32_t i = 0; extra && i < extra->n; i++) json_set(a, labels, extra->keys[i], extra->items[i]);
    json_set(a, labels, STR("id"), json_string(a, str_of(c->w->node->id)));
    json_set(a, labels, STR("version"), json_string(a, STR(REGENT_VERSION)));
    struct buf text;
    buf_init(&text, 64 << 10);
    if (labels) json_print(labels, true, 0, &text);
    if (labels && !text.err) json_escape_html(buf_view(&text), out);
    else buf_cstr(out, "{}");
    buf_deinit(&text);
}

/* One tenant as OPA describes a bundle. */
static void put_bundle(const struct rest_call *c, const struct tenant_entry *t, struct buf *out) {
    struct load_report r = {0};
    tenants_reported(c->w->tenants, t->tenant, &r);
    rest_put_string(str_of(t->tenant->id), out);
    buf_cstr(out, ":{\"name\":");
    rest_put_string(str_of(t->tenant->id), out);
    if (r.revision[0]) buf_cstr(out, ",\"active_revision\":"), rest_put_string(str_of(r.revision), out);
    buf_cstr(out, ",\"last_successful_activation\":"), put_time(r.activated_ns, out);
    if (t->policy) buf_printf(out, ",\"type\":\"snapshot\",\"size\":%llu", (unsigned long long)r.bytes);
    buf_cstr(out, ",\"last_successful_download\":"), put_time(r.download_ns, out);
    buf_cstr(out, ",\"last_successful_request\":"), put_time(r.success_ns, out);
    buf_cstr(out, ",\"last_request\":"), put_time(r.requested_ns, out);
    if (r.err) {
        buf_cstr(out, ",\"code\":\"bundle_error\",\"message\":"), rest_put_string(str_of(r.message), out);
        buf_printf(out, ",\"errors\":[{\"code\":\"%s\",\"message\":", err_word(r.err));
        rest_put_string(str_of(err_meaning(r.err)), out);
        buf_cstr(out, "}]");
    }
    buf_cstr(out, ",\"metrics\":{}}");
}

/* A counter as OPA's status carries Prometheus' metrics. */
static void put_counter(const char *name, const char *help, struct str tenant, uint64_t n, struct buf *out) {
    buf_printf(out, "\"%s\":{\"name\":\"%s\",\"help\":\"%s\",\"type\":\"COUNTER\",\"metric\":[{\"label\":[{\"name\":"
                    "\"tenant_id\",\"value\":", name, name, help);
    rest_put_string(tenant, out);
    buf_printf(out, "}],\"counter\":{\"value\":%llu}}]}", (unsigned long long)n);
}

static void put_counters(const struct tenant_entry *t, struct buf *out) {
    const struct tenant_metrics *m = &t->tenant->metrics;
    struct str id = str_of(t->tenant->id);
    uint64_t failed = 0;
    for (int e = OK + 1; e < ERR_COUNT; e++) failed += atomic_load_explicit(&m->errors[e], memory_order_relaxed);
    buf_cstr(out, ",\"metrics\":{\"prometheus\":{");
    put_counter("envoy_wasm_opa_deny_total", "Decisions that deny.", id,
                atomic_load_explicit(&m->deny, memory_order_relaxed), out);
    buf_byte(out, ',');
    put_counter("envoy_wasm_opa_total", "Decisions.", id, atomic_load_explicit(&m->total, memory_order_relaxed), out);
    buf_byte(out, ',');
    put_counter("regent_errors_total", "Decisions that ended with an error or limit.", id, failed, out);
    buf_cstr(out, "}}");
}

static void put_bundles(const struct rest_call *c, struct buf *out) {
    const struct tenant_entry *t;
    for (uint32_t i = 0; (t = tenants_at(c->w->tenants, i)); i++) {
        if (i) buf_byte(out, ',');
        put_bundle(c, t, out);
    }
}

enum door_outcome rest_status(struct rest_call *c) {
    struct str tenant = rest_tenant_of(c);
    const struct tenant_entry *t = tenant.ptr ? tenants_find(c->w->tenants, tenant) : NULL;
    if (c->identity == IDENTITY_REFUSED) {
        rest_no_tenant(c);
        return DOOR_ANSWERED;
    }
    if (tenant.ptr && !t) {
        rest_error(c, 404, "resource_not_found", "unknown tenant");
        return DOOR_ANSWERED;
    }
    if (!tenant.ptr && too_many_for_loop(c)) return DOOR_LATER;
    struct buf *out = c->r->body;
    rest_json(c, 200);
    buf_cstr(out, "{\"result\":{\"labels\":");
    put_labels(c, out);
    buf_cstr(out, ",\"bundles\":{");
    if (t) put_bundle(c, t, out);
    else put_bundles(c, out);
    buf_byte(out, '}');
    if (t) put_counters(t, out);
    if (!tenant.ptr && c->w->node->sources && c->w->config->sources.n) {
        buf_cstr(out, ",\"sources\":");
        sources_status(c->w->node->sources, out);
    }
    bool ready = t ? t->policy != NULL : all_activated(c, NULL);
    buf_printf(out, ",\"plugins\":{\"bundle\":{\"state\":\"%s\"},\"status\":{\"state\":\"OK\"}}}}\n",
               ready ? "OK" : "NOT_READY");
    return DOOR_ANSWERED;
}

/* ---- Configuration and metrics ---- */

/* The whole configuration names other tenants, so that a tenant gets what is its own. */
enum door_outcome rest_config(struct rest_call *c) {
    struct buf *out = c->r->body;
    struct str path = c->w->config->rest_path;
    if (c->identity == IDENTITY_REFUSED) {
        rest_no_tenant(c);
        return DOOR_ANSWERED;
    }
    rest_json(c, 200);
    buf_cstr(out, "{\"result\":");
    if (c->identity == IDENTITY_FOUND) {
        buf_cstr(out, "{\"default_decision\":");
        char *slashed = arena_printf(&c->w->arena, NULL, "/%.*s", STR_FMT(path));
        rest_put_string(str_of(slashed ? slashed : "/"), out);
        buf_cstr(out, ",\"labels\":");
        put_labels(c, out);
        buf_byte(out, '}');
    } else {
        edge_config_print(c->w->config, out);
    }
    buf_cstr(out, "}\n");
    return DOOR_ANSWERED;
}

static bool metrics_at(void *ctx, uint32_t i, struct metrics_row *row) {
    const struct tenant_entry *e = tenants_at(ctx, i);
    if (!e) return false;
    *row = (struct metrics_row){.id = str_of(e->tenant->id),
                                .metrics = &e->tenant->metrics,
                                .naming = &e->tenant->naming,
                                .memory_bytes = e->policy ? policy_stats(e->policy).image_bytes : 0};
    return true;
}

enum door_outcome rest_metrics(struct rest_call *c) {
    struct metrics_source source = {c->w->tenants, metrics_at};
    struct buf *out = c->r->body;
    if (c->w->slice_us) return DOOR_LATER;
    c->r->status = 200;
    c->r->content_type = "text/plain; version=0.0.4; charset=utf-8";
    enum err e = metrics_print(c->w->node->names, &source, c->w->config->metrics_tenants, clock_ms(), out);
    metrics_node(c->w->node, out);
    activator_metrics(c->w->node->activator, out);
    if (c->w->node->store) store_metrics(c->w->node->store, out);
    sources_metrics(c->w->node->sources, out);
    if (c->w->decisions) decision_log_metrics(c->w->decisions, out);
    if (c->w->tracer) tracer_metrics(c->w->tracer, out);
    if (e || out->err) rest_error(c, 500, "internal_error", "the metrics do not fit an answer");
    return DOOR_ANSWERED;
}
