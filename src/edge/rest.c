/* OPA's REST API as far as the first edge has it: data, health, metrics.
 * in: HTTP requests. out: OPA's bodies, byte for byte (contracts.md §1). owns: nothing. */
#include "edge/doors.h"
#include <stdio.h>

static void error(struct http_reply *r, int status, const char *code, const char *message) {
    r->status = status;
    r->content_type = "application/json";
    buf_clear(r->body);
    buf_printf(r->body, "{\n  \"code\": \"%s\",\n  \"message\": ", code);
    json_print_string(str_of(message), r->body);
    buf_cstr(r->body, "\n}\n");
}

static const char malformed[] = "body contains malformed input document: ";

static void bad_body(struct door *d, struct http_reply *r, const char *why) {
    char *text = arena_printf(&d->worker->arena, NULL, "%s%s", malformed, why);
    error(r, 400, "invalid_parameter", text ? text : malformed);
}

static const char *skip_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
    return p;
}

/* The end of the JSON value at p, by brackets and strings alone: the module checks the rest when it reads it. */
static const char *value_end(const char *p, const char *end) {
    int depth = 0;
    do {
        if (p == end) return NULL;
        char c = *p;
        if (c == '"') {
            for (p++; p < end && *p != '"'; p++) p += *p == '\\';
            if (p >= end) return NULL;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (depth == 0) {
            while (p < end && *p != ',' && *p != '}' && *p != ']' && (unsigned char)*p > ' ') p++;
            return p;
        }
        p++;
    } while (depth > 0);
    return p;
}

/* Finds the member "input" of the body. *input gets its bytes (ptr NULL: not there, or null). Members beside it are
 * parsed and thrown away, so that a broken body is refused. A body that is not plain enough is parsed whole. */
static const char *find_input(struct arena *a, struct str body, struct str *input) {
    const char *end = body.ptr + body.len, *p = skip_space(body.ptr, end);
    struct json *v;
    struct json_error e = {.message = "unexpected EOF"};
    *input = (struct str){NULL, 0};
    if (p == end) return NULL;
    if (*p != '{') {
        if (json_parse(a, body, &v, &e)) return e.message;
        return v->kind == JSON_NULL ? NULL : "json: the body must be an object with the key input";
    }
    p = skip_space(p + 1, end);
    if (p < end && *p == '}') return skip_space(p + 1, end) == end ? NULL : "invalid character after top-level value";
    for (;;) {
        if (p == end || *p != '"') return p == end ? "unexpected EOF" : "invalid character looking for beginning of object key string";
        const char *key = p, *key_end = value_end(p, end);
        p = key_end ? skip_space(key_end, end) : end;
        if (p == end || *p != ':') return p == end ? "unexpected EOF" : "invalid character after object key";
        p = skip_space(p + 1, end);
        const char *stop = p < end ? value_end(p, end) : NULL;
        if (!stop || stop == p) return stop ? "invalid character looking for beginning of value" : "unexpected EOF";
        struct str value = {p, (size_t)(stop - p)};
        if (key_end - key == 7 && memcmp(key, "\"input\"", 7) == 0) *input = value;
        else if (memchr(key, '\\', (size_t)(key_end - key)) || json_parse(a, value, &v, &e)) {
            struct json *whole, *member;
            if (json_parse(a, body, &whole, &e)) return e.message;
            if ((member = json_get_c(whole, "input"))) return "json: escapes in the key input are not supported";
        }
        p = skip_space(stop, end);
        if (p == end) return "unexpected EOF";
        if (*p == '}') break;
        if (*p != ',') return "invalid character after object key:value pair";
        p = skip_space(p + 1, end);
    }
    if (skip_space(p + 1, end) != end) return "invalid character after top-level value";
    if (str_is(*input, "null")) *input = (struct str){NULL, 0};
    return NULL;
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
        buf_cstr(r->body, "\"warning\":{\"code\":\"api_usage_warning\",\"message\":\"'input' key missing from the request\"}");
    }
    buf_cstr(r->body, "}\n");
}

static void failure_reply(struct door *d, const struct decision *decision, struct http_reply *r) {
    if (decision->err == ERR_INPUT) {
        struct str text = str_of(decision->result.message);
        if (str_starts(text, STR("input: "))) text = str_from(text, 7);
        bad_body(d, r, text.len ? text.ptr : err_meaning(ERR_INPUT));
        return;
    }
    error(r, 500, "internal_error", decision_reason(decision));
}

static void data(struct door *d, struct str path, const struct http_request *q, struct http_reply *r) {
    struct worker *w = d->worker;
    struct str tenant = http_header_get(q, d->tenant_header), input;
    struct decision decision;
    char *decoded = arena_alloc(&w->arena, path.len + 1);
    long n = decoded ? http_percent_decode(path, false, decoded) : -1;
    if (n < 0) {
        error(r, 400, "invalid_parameter", "the path has a bad percent escape");
        return;
    }
    const char *why = find_input(&w->arena, q->body, &input);
    if (why) {
        bad_body(d, r, why);
        return;
    }
    while (n > 0 && decoded[n - 1] == '/') n--;
    decide(w, tenant, n ? (struct str){decoded, (size_t)n} : STR("/"), input, &decision);
    switch (decision.kind) {
    case DECISION_VALUE:
    case DECISION_UNDEFINED:
    case DECISION_NO_ENTRYPOINT: value_reply(&decision, input.ptr != NULL, r); return;
    case DECISION_FAILED: failure_reply(d, &decision, r); return;
    case DECISION_NO_TENANT:
        if (tenant.ptr) error(r, 404, "resource_not_found", "unknown tenant");
        else {
            char *text = arena_printf(&w->arena, NULL, "the tenant is missing: send it in the header %.*s", STR_FMT(d->tenant_header));
            error(r, 400, "invalid_parameter", text ? text : "the tenant is missing");
        }
        return;
    }
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
    bool get = str_is(q->method, "GET"), post = str_is(q->method, "POST");
    bool is_data = str_starts(q->path, STR("/v1/data/")) || str_is(q->path, "/v1/data");
    arena_reset(&d->worker->arena);
    if (is_data && post) {
        data(d, str_from(q->path, q->path.len > 8 ? 9 : 8), q, r);
    } else if (is_data) {
        r->status = 405;
    } else if (get && str_is(q->path, "/health")) {
        r->status = 200;
        r->content_type = "application/json";
        buf_cstr(r->body, "{}\n");
    } else if (get && str_is(q->path, "/metrics")) {
        metrics(d, r);
    } else {
        r->status = 404;
        r->content_type = "text/plain; charset=utf-8";
        buf_cstr(r->body, "404 page not found\n");
    }
}
