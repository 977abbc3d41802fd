/* What the control plane says of itself: is it well, what does it do, figures for Prometheus, its
 * own description. in: counters, a few counts of the store. out: JSON, text, a page. owns: nothing.
 */
#include "control/api_private.h"
#include "control/queue.h"
#include <stdio.h>

extern const char openapi_json_start[], openapi_json_end[];

/* ---- is it well ---- */

static void health(struct api_call *c) {
    struct db_rows rows;
    struct json *v = json_object(c->arena);
    const char *status = atomic_load(&c->control->stopping) ? "stopping"
                         : !c->db || DB_QUERY0(c->db, c->arena, &rows, "SELECT 1") != OK
                             ? "store_unavailable"
                             : "ok";
    json_set(c->arena, v, STR("status"), json_string(c->arena, str_of(status)));
    api_json(c, strcmp(status, "ok") == 0 ? 200 : 503, v);
}

/* ---- what it does ---- */

/* Each is a statement with one number, which an index answers. */
static const struct count {
    const char *name, *help, *sql;
} counts[] = {
    {"tenants", "Tenants that are not deleted.", "SELECT count(*) FROM tenants WHERE deleted = 0"},
    {"tenants_failed", "Tenants whose last build failed.",
     "SELECT count(*) FROM tenants WHERE build_state = 'failed'"},
    {"build_jobs_open", "Jobs that are queued or running.",
     "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"},
    {"unpublished", "Tenants whose pointer in the blob store is still to be moved.",
     "SELECT count(*) FROM tenants WHERE pointed <> serial"},
    {"errands", "Purges and reloads that are still to be done.", "SELECT count(*) FROM errands"},
};
enum { COUNTS = sizeof counts / sizeof *counts };

static enum err read_counts(struct api_call *c, int64_t out[COUNTS]) {
    enum err e = OK;
    for (int i = 0; !e && i < COUNTS; i++) {
        struct db_rows rows;
        e = DB_QUERY0(c->db, c->arena, &rows, counts[i].sql);
        if (!e) out[i] = rows.n ? db_row(&rows, 0)[0].i : 0;
    }
    return e;
}

static void status(struct api_call *c) {
    struct arena *a = c->arena;
    struct api_counts *counters = api_counters(c->control->api);
    struct json *v = json_object(a);
    int64_t n[COUNTS];
    enum err e = read_counts(c, n);
    if (e) {
        api_store_error(c, e);
        return;
    }
    json_set(a, v, STR("version"), json_string(a, STR(REGENT_VERSION)));
    json_set(a, v, STR("process"), json_string(a, str_of(c->control->id)));
    json_set(a, v, STR("started_at"), api_time(a, c->control->started_ms));
    json_set(a, v, STR("store"),
             json_string(a, db_is_postgres(c->control->db) ? STR("postgres") : STR("sqlite")));
    json_set(a, v, STR("waiting"), json_int(a, atomic_load(&counters->waiting)));
    for (int i = 0; i < COUNTS; i++) json_set(a, v, str_of(counts[i].name), json_int(a, n[i]));
    api_json(c, 200, v);
}

/* ---- figures ---- */

static void print_requests(struct buf *b, const struct api_counts *n) {
    buf_cstr(b, "# HELP regent_control_requests_total Requests by route and class of the status.\n"
                "# TYPE regent_control_requests_total counter\n");
    for (uint32_t i = 0; i <= API_ROUTES; i++) {
        const struct api_route *r = i < API_ROUTES ? api_route_at(i) : NULL;
        for (uint32_t class = 0; class < 5; class ++) {
            uint64_t count = atomic_load_explicit(&n->answers[i][class], memory_order_relaxed);
            if (count)
                buf_printf(b,
                           "regent_control_requests_total{method=\"%s\",route=\"%s\",status=\"%"
                           "uxx\"} %llu\n",
                           r ? r->method : "", r ? r->path : "none", class + 1,
                           (unsigned long long)count);
        }
    }
}

static void print_latency(struct buf *b, const struct api_counts *n) {
    unsigned long long sum = 0;
    buf_cstr(b, "# HELP regent_control_request_seconds How long handlers took; what a long poll "
                "waits is not counted.\n"
                "# TYPE regent_control_request_seconds histogram\n");
    for (uint32_t i = 0; i <= API_LATENCIES; i++) {
        sum += atomic_load_explicit(&n->took[i], memory_order_relaxed);
        if (i < API_LATENCIES)
            buf_printf(b, "regent_control_request_seconds_bucket{le=\"%g\"} %llu\n",
                       api_latency_us[i] / 1e6, sum);
    }
    buf_printf(b, "regent_control_request_seconds_bucket{le=\"+Inf\"} %llu\n", sum);
    buf_printf(b, "regent_control_request_seconds_sum %.6f\n",
               (double)atomic_load(&n->took_us) / 1e6);
    buf_printf(b, "regent_control_request_seconds_count %llu\n", sum);
}

static void print_one(struct buf *b, const char *name, const char *kind, const char *help,
                      unsigned long long value) {
    buf_printf(b,
               "# HELP regent_control_%s %s\n# TYPE regent_control_%s %s\nregent_control_%s %llu\n",
               name, help, name, kind, name, value);
}

static void print_builds(struct buf *b, const struct build_counts *n) {
    const struct {
        const char *outcome;
        uint64_t n;
    } of[] = {{"built", atomic_load(&n->built)},
              {"unchanged", atomic_load(&n->unchanged)},
              {"failed", atomic_load(&n->failed)},
              {"superseded", atomic_load(&n->superseded)},
              {"retried", atomic_load(&n->retried)}};
    buf_cstr(b, "# HELP regent_control_jobs_total Jobs of builds by what this process's threads "
                "made of them.\n"
                "# TYPE regent_control_jobs_total counter\n");
    for (uint32_t i = 0; i < sizeof of / sizeof *of; i++)
        buf_printf(b, "regent_control_jobs_total{outcome=\"%s\"} %llu\n", of[i].outcome,
                   (unsigned long long)of[i].n);
    print_one(b, "compiled_total", "counter", "Jobs whose modules were compiled.",
              atomic_load(&n->compiled));
    buf_printf(b,
               "# HELP regent_control_build_seconds_total Time that threads spent building.\n"
               "# TYPE regent_control_build_seconds_total "
               "counter\nregent_control_build_seconds_total %.6f\n",
               (double)atomic_load(&n->took_us) / 1e6);
}

static void metrics(struct api_call *c) {
    const struct api_counts *n = api_counters(c->control->api);
    const struct server_counts *s = api_server_counts(c->control->api);
    struct buf *b = c->r->body;
    int64_t of_store[COUNTS];
    enum err e = read_counts(c, of_store);
    buf_printf(
        b,
        "# HELP regent_control_info The program's version.\n# TYPE regent_control_info gauge\n"
        "regent_control_info{version=\"" REGENT_VERSION "\",store=\"%s\"} 1\n",
        db_is_postgres(c->control->db) ? "postgres" : "sqlite");
    print_requests(b, n);
    print_latency(b, n);
    print_one(b, "waiting", "gauge", "Long polls that are held.", atomic_load(&n->waiting));
    print_one(b, "waits_refused_total", "counter", "Long polls that were refused: too many waited.",
              atomic_load(&n->waits_refused));
    print_one(b, "wakes_total", "counter", "Times that a long poll was looked at again.",
              atomic_load(&n->wakes));
    print_one(b, "queued", "gauge", "Requests that wait for a thread.", atomic_load(&n->queued));
    print_one(b, "busy", "gauge", "Threads that answer.", atomic_load(&n->busy));
    print_one(b, "threads", "gauge", "Threads for requests.", api_workers(c->control->api));
    print_one(b, "logins_failed_total", "counter", "Requests with a token that opens nothing.",
              auth_failures(api_auth(c->control->api)));
    print_one(b, "connections_total", "counter", "Connections that were accepted.",
              atomic_load(&s->accepted));
    print_one(b, "connections_refused_total", "counter", "Connections past the most there may be.",
              atomic_load(&s->refused));
    print_one(b, "tls_failed_total", "counter", "TLS handshakes that failed.",
              atomic_load(&s->tls_failed));
    if (c->control->builds) print_builds(b, build_pool_counts(c->control->builds));
    print_one(b, "store_up", "gauge", "Does the store answer?", e == OK);
    for (int i = 0; !e && i < COUNTS; i++)
        print_one(b, counts[i].name, "gauge", counts[i].help, (unsigned long long)of_store[i]);
    c->r->status = 200;
    c->r->content_type = "text/plain; version=0.0.4; charset=utf-8";
}

/* ---- what there is ---- */

static void openapi(struct api_call *c) {
    buf_put(c->r->body, openapi_json_start, (size_t)(openapi_json_end - openapi_json_start));
    c->r->status = 200;
    c->r->content_type = "application/json";
}

static void signing_keys(struct api_call *c) {
    signer_jwks(c->control->signer, c->r->body);
    c->r->status = 200;
    c->r->content_type = "application/json";
}

static void front(struct api_call *c) {
    buf_cstr(
        c->r->body,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Regent control "
        "plane</title>\n"
        "<body style=\"font-family:sans-serif;max-width:40em;margin:3em auto;line-height:1.5\">\n"
        "<h1>Regent control plane</h1>\n<p>Version " REGENT_VERSION
        ". This control plane is used over its REST API "
        "and by the <code>regent</code> command; there is nothing to click on here yet.</p>\n"
        "<ul><li><a href=\"/v1/openapi.json\">The API, as OpenAPI 3.1</a></li>\n"
        "<li><a href=\"/health\">Is it well?</a></li></ul>\n"
        "<p>The first start printed a one-time token. It makes the first lasting one:</p>\n"
        "<pre>curl -X POST -H \"Authorization: Bearer $TOKEN\" -H \"Content-Type: "
        "application/json\" \\\n"
        "     -d '{\"name\": \"me\", \"role\": \"admin\"}' $URL/v1/tokens</pre>\n</body></html>\n");
    c->r->status = 200;
    c->r->content_type = "text/html; charset=utf-8";
    api_header(c, STR("Content-Security-Policy"),
               STR("default-src 'none'; style-src 'unsafe-inline'"));
}

const struct api_route api_status_routes[] = {
    {"GET", "/", RIGHT_NONE, front},
    {"GET", "/health", RIGHT_NONE, health},
    {"GET", "/metrics", RIGHT_READ, metrics},
    {"GET", "/v1/status", RIGHT_READ, status},
    {"GET", "/v1/openapi.json", RIGHT_NONE, openapi},
    {"GET", "/v1/signing-keys", RIGHT_NONE, signing_keys},
    {NULL, NULL, RIGHT_NONE, NULL},
};
