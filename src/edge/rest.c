/* OPA's REST API as far as the first edge has it: data, health, metrics.
 * in: HTTP requests. out: OPA's bodies, byte for byte. owns: nothing. */
#include "edge/doors.h"
#include "edge/rest_input.h"

enum { MESSAGE_BYTES = 64 << 10 };

/* An error body as Go prints it: indented, with <, > and & escaped. */
static void error(struct http_reply *r, int status, const char *code, const char *message) {
    struct buf text;
    r->status = status;
    r->content_type = "application/json";
    buf_init(&text, MESSAGE_BYTES);
    json_print_string(str_of(message), &text);
    buf_clear(r->body);
    buf_printf(r->body, "{\n  \"code\": \"%s\",\n  \"message\": ", code);
    if (text.err)
        buf_cstr(r->body, "\"\"");
    else
        json_escape_html(buf_view(&text), r->body);
    buf_cstr(r->body, "\n}\n");
    buf_deinit(&text);
}

static void plain_text(struct http_reply *r, int status, const char *text) {
    r->status = status;
    r->content_type = "text/plain; charset=utf-8";
    r->extra[r->n_extra++] = (struct http_header){STR("X-Content-Type-Options"), STR("nosniff")};
    buf_cstr(r->body, text);
}

static const char malformed[] = "body contains malformed input document: ";

static void bad_body(struct door *d, struct http_reply *r, const char *why) {
    char *text = arena_printf(&d->worker->arena, NULL, "%s%s", malformed, why);
    error(r, 400, "invalid_parameter", text ? text : malformed);
}

static void value_reply(const struct decision *d, bool has_input, struct http_reply *r) {
    r->status = 200;
    r->content_type = "application/json";
    buf_byte(r->body, '{');
    if (d->kind == DECISION_VALUE) {
        buf_cstr(r->body, "\"result\":");
        json_escape_html(d->json, r->body);
    }
    if (!has_input) {
        if (d->kind == DECISION_VALUE) buf_byte(r->body, ',');
        buf_cstr(r->body, "\"warning\":{\"code\":\"api_usage_warning\",\"message\":\"'input' key "
                          "missing from the request\"}");
    }
    buf_cstr(r->body, "}\n");
}

static void no_tenant(struct door *d, bool named, struct http_reply *r) {
    if (named) {
        error(r, 404, "resource_not_found", "unknown tenant");
        return;
    }
    char *text =
        arena_printf(&d->worker->arena, NULL, "the tenant is missing: send it in the header %.*s",
                     STR_FMT(d->tenant_header));
    error(r, 400, "invalid_parameter", text ? text : "the tenant is missing");
}

static void failure_reply(struct door *d, const struct decision *decision, struct http_reply *r) {
    if (decision->err == ERR_INPUT)
        bad_body(d, r, decision_reason(decision));
    else
        error(r, 500, "internal_error", decision_reason(decision));
}

/* A part of a document whose other part is an entrypoint may well have a value, which this node
 * does not know. */
static void no_entrypoint(struct door *d, struct str path, const struct decision *decision,
                          bool has_input, struct http_reply *r) {
    if (!decision->above_entrypoint) {
        value_reply(decision, has_input, r);
        return;
    }
    char *text = arena_printf(
        &d->worker->arena, NULL,
        "data/%.*s is no entrypoint of the tenant's module: only entrypoints, and what lies "
        "below them, can be asked for",
        STR_FMT(path));
    error(r, 400, "invalid_parameter", text ? text : "no entrypoint");
}

static void decision_reply(struct door *d, struct str path, const struct decision *decision,
                           struct str tenant, bool has_input, struct http_reply *r) {
    switch (decision->kind) {
    case DECISION_VALUE:
    case DECISION_UNDEFINED: value_reply(decision, has_input, r); return;
    case DECISION_NO_ENTRYPOINT: no_entrypoint(d, path, decision, has_input, r); return;
    case DECISION_FAILED: failure_reply(d, decision, r); return;
    case DECISION_NO_TENANT: no_tenant(d, tenant.ptr != NULL, r); return;
    }
}

static size_t slashes(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) n += s.ptr[i] == '/';
    return n;
}

static void data(struct door *d, struct str path, const struct http_request *q,
                 struct http_reply *r) {
    struct worker *w = d->worker;
    struct str tenant = http_header_get(q, d->tenant_header), input;
    struct decision decision;
    const char *why = NULL;
    char *decoded = arena_alloc(&w->arena, path.len + 1);
    long n = decoded ? http_percent_decode(path, false, decoded) : -1;
    if (n < 0) {
        r->status = 400;
        r->content_type = "text/plain; charset=utf-8";
        buf_cstr(r->body, "400 Bad Request");
        return;
    }
    struct str wanted = n ? (struct str){decoded, (size_t)n} : STR("/");
    if (n && slashes(wanted) > slashes(path))
        wanted = path; /* a slash inside a name: no entrypoint has one */
    bool checked = !rest_input_plain(q->body, &input);
    if (checked && (why = rest_input(&w->arena, q->body, &input))) {
        bad_body(d, r, why);
        return;
    }
    decide(w, tenant, wanted, input, &decision);
    /* Only a module that ran has read the input; a plain body that failed is read again for OPA's
     * words. */
    bool unread = decision.kind == DECISION_NO_TENANT || decision.kind == DECISION_NO_ENTRYPOINT;
    if (!checked && (unread || decision.err == ERR_INPUT))
        why = rest_input(&w->arena, q->body, &input);
    if (why)
        bad_body(d, r, why);
    else
        decision_reply(d, wanted, &decision, tenant, input.ptr != NULL, r);
}

static struct tenant_metrics *metrics_at(void *ctx, uint32_t i, struct str *id) {
    const struct tenant_entry *e = tenants_at(ctx, i);
    if (!e) return NULL;
    *id = str_of(e->tenant->id);
    return &e->tenant->metrics;
}

static void metrics(struct door *d, struct http_reply *r) {
    struct metrics_source source = {d->worker->tenants, metrics_at};
    r->status = 200;
    r->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_print(&source, r->body);
}

void rest_handle(struct door *d, const struct http_request *q, struct http_reply *r) {
    bool get = str_is(q->method, "GET") || str_is(q->method, "HEAD"),
         post = str_is(q->method, "POST");
    bool is_health = str_is(q->path, "/health"), is_metrics = str_is(q->path, "/metrics");
    bool is_data = str_starts(q->path, STR("/v1/data/")) || str_is(q->path, "/v1/data");
    arena_reset(&d->worker->arena);
    if (is_data && post) {
        data(d, str_from(q->path, q->path.len > 8 ? 9 : 8), q, r);
    } else if (is_data) {
        r->status = 405;
    } else if (is_health && get) {
        r->status = 200;
        r->content_type = "application/json";
        buf_cstr(r->body, "{}\n");
    } else if (is_metrics && get) {
        metrics(d, r);
    } else if (is_health || is_metrics) {
        r->extra[r->n_extra++] = (struct http_header){STR("Allow"), STR("GET, HEAD")};
        plain_text(r, 405, "Method Not Allowed\n");
    } else {
        plain_text(r, 404, "404 page not found\n");
    }
}
