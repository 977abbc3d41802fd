/* OPA's data API: GET and POST /v1/data, POST /v0/data, POST /.
 * in: a call whose route is known. out: OPA's bodies. owns: nothing. */
#include "base/utf8.h"
#include "base/clock.h"
#include "edge/decision_log.h"
#include "edge/document.h"
#include "edge/rest.h"
#include "edge/rest_input.h"

enum { REF_BYTES = 16 << 10 };

/* ---- Paths ---- */

/* Most paths are words between slashes: neither escapes nor what OPA's query parser stumbles over. */
static bool is_plain(struct str path) {
    for (size_t i = 0; i < path.len; i++) {
        unsigned char b = (unsigned char)path.ptr[i];
        if (b <= ' ' || b >= 0x7f || b == '%' || b == '"') return false;
    }
    return true;
}

/* Why OPA can make no reference of a path; NULL: it can. *deep: a name holds a slash. */
static const char *check_steps(struct arena *a, struct str path, bool *deep) {
    struct document_key step;
    while (document_step(a, &path, &step)) {
        if (memchr(step.name.ptr, '"', step.name.len)) {
            const char *why = arena_printf(a, NULL, "invalid ref term '%.*s'", STR_FMT(step.name));
            return why ? why : "invalid ref term";
        }
        *deep |= memchr(step.name.ptr, '/', step.name.len) != NULL;
        for (size_t i = 0; i < step.name.len; i++) {
            unsigned char b = (unsigned char)step.name.ptr[i];
            if ((b < ' ' && (b == 0 || !strchr("\b\f\n\r\t", b))) || b == 0x7f) return "failed to parse query";
        }
        if (!utf8_valid(step.name)) return "failed to parse query";
    }
    return NULL;
}

bool rest_path(struct rest_call *c, struct str *out) {
    struct arena *a = &c->w->arena;
    bool deep = false;
    *out = c->rest.len ? c->rest : STR("/");
    if (is_plain(c->rest)) return true;
    char *decoded = arena_alloc(a, c->rest.len + 1);
    long n = decoded ? http_percent_decode(c->rest, false, decoded) : -1;
    if (n < 0) {
        c->r->status = 400;
        c->r->content_type = "text/plain; charset=utf-8";
        buf_cstr(c->r->body, "400 Bad Request");
        return false;
    }
    const char *why = check_steps(a, c->rest, &deep);
    if (why) {
        rest_error2(c, 500, "internal_error", "invalid_parameter: invalid path: ", str_of(why));
        return false;
    }
    if (!deep) *out = (struct str){decoded, (size_t)n}; /* no entrypoint has a slash in a name */
    return true;
}

/* ---- Members of an answer ---- */

void rest_put_metrics(struct rest_call *c, uint64_t eval_ns, struct buf *out) {
    buf_printf(out,
               "{\"counter_server_query_cache_hit\":1,\"timer_rego_input_parse_ns\":%llu,"
               "\"timer_rego_query_eval_ns\":%llu,\"timer_server_handler_ns\":%llu}",
               (unsigned long long)(c->parsed_ns - c->start_ns), (unsigned long long)eval_ns,
               (unsigned long long)(clock_ns() - c->start_ns));
}

void rest_put_provenance(struct rest_call *c, struct buf *out) {
    const struct tenant_entry *t = tenants_find(c->w->tenants, rest_tenant_of(c));
    buf_cstr(out, "{\"version\":\"" REGENT_VERSION "\",\"build_commit\":\"\",\"build_timestamp\":\"\","
                  "\"build_hostname\":\"\"");
    if (t && t->policy) {
        buf_cstr(out, ",\"bundles\":{");
        rest_put_string(rest_tenant_of(c), out);
        buf_cstr(out, ":{\"revision\":");
        rest_put_string(t->revision, out);
        buf_cstr(out, "}}");
    }
    buf_byte(out, '}');
}

/* Members in OPA's order, those before the result. No traces are kept, so that explanations are empty. */
static void put_extras(struct rest_call *c, const struct decision *d, struct buf *out) {
    const struct rest_params *p = &c->params;
    bool value = d->kind == DECISION_VALUE;
    if (p->provenance) {
        buf_cstr(out, "\"provenance\":");
        rest_put_provenance(c, out);
        buf_byte(out, ',');
    }
    if (p->explain == EXPLAIN_FULL || (value && p->explain != EXPLAIN_OFF))
        buf_cstr(out, p->pretty ? "\"explanation\":[\"\"]," : "\"explanation\":[],"); /* as OPA prints no lines */
    if (p->metrics || p->instrument) {
        buf_cstr(out, "\"metrics\":");
        rest_put_metrics(c, d->eval_ns, out);
        buf_byte(out, ',');
    }
}

/* A last comma is taken back. */
static void close_object(struct buf *out) {
    if (!out->err && out->len && out->ptr[out->len - 1] == ',') out->len--;
    buf_cstr(out, "}\n");
}

static void answer_value(struct rest_call *c, const struct decision *d, bool warn) {
    struct buf *out = c->r->body;
    rest_json(c, 200);
    buf_byte(out, '{');
    if (decision_log_on(c->w)) buf_printf(out, "\"decision_id\":\"%s\",", d->id);
    if (c->q->query.len) put_extras(c, d, out);
    if (d->kind == DECISION_VALUE) {
        buf_cstr(out, "\"result\":");
        json_escape_html(d->json, out);
        buf_byte(out, ',');
    }
    if (warn)
        buf_cstr(out, "\"warning\":{\"code\":\"api_usage_warning\",\"message\":\"'input' key "
                      "missing from the request\"}");
    close_object(out);
}

/* ---- Outcomes without a value ---- */

static enum door_outcome refused(struct rest_call *c) {
    rest_error(c, 400, "invalid_parameter", c->why);
    return DOOR_ANSWERED;
}

/* A part of a document whose other part is an entrypoint may well have a value, which this node does not know. */
static void above_entrypoint(struct rest_call *c) {
    char *text = arena_printf(&c->w->arena, NULL,
                              "data/%.*s is no entrypoint of the tenant's module: only entrypoints, what lies below "
                              "them, and base documents can be asked for",
                              STR_FMT(c->rest));
    rest_error(c, 400, "invalid_parameter", text ? text : "no entrypoint");
}

/* true: answered, or not to be answered now (*outcome). */
static bool no_decision(struct rest_call *c, const struct decision *d, enum door_outcome *outcome) {
    *outcome = DOOR_ANSWERED;
    switch (d->kind) {
    case DECISION_VALUE:
    case DECISION_UNDEFINED: return false;
    case DECISION_LATER: *outcome = DOOR_LATER; return true;
    case DECISION_NO_ENTRYPOINT:
        if (d->above_entrypoint) above_entrypoint(c);
        return d->above_entrypoint;
    case DECISION_FAILED: rest_failure(c, d); return true;
    case DECISION_NO_TENANT: rest_error(c, 404, "resource_not_found", "unknown tenant"); return true;
    }
    return true;
}

/* ---- /v1/data ---- */

static void ask(struct rest_call *c, struct str path, struct str input, struct decision *d) {
    const struct ask ask = {.tenant = c->who.tenant,
                            .path = path,
                            .input = input,
                            .document = c->rest,
                            .strict_builtin_errors = c->params.strict_builtin_errors};
    if (c->params.metrics || c->params.instrument) c->parsed_ns = clock_ns();
    decide(c->w, &ask, d);
}

static enum door_outcome v1_get(struct rest_call *c) {
    struct str path, input;
    struct decision d;
    enum door_outcome outcome;
    if (rest_read_get(c, &input)) return refused(c);
    if (!rest_path(c, &path)) return DOOR_ANSWERED;
    ask(c, path, input, &d);
    if (no_decision(c, &d, &outcome)) return outcome;
    answer_value(c, &d, false);
    return DOOR_ANSWERED;
}

static enum door_outcome v1_post(struct rest_call *c) {
    struct str path, body, input;
    struct decision d;
    bool checked;
    enum door_outcome outcome;
    enum rest_outcome o = rest_read_input(c, &body, &input, &checked);
    if (o == REST_LATER) return DOOR_LATER;
    if (o == REST_REFUSED) return refused(c);
    if (!rest_path(c, &path)) return DOOR_ANSWERED;
    ask(c, path, input, &d);
    /* Only a module that ran has read the input; a plain body that failed is read again for OPA's words. */
    bool document = d.kind == DECISION_VALUE && d.json.ptr == (const char *)c->w->input.ptr;
    bool unread = document || d.kind == DECISION_NO_TENANT || d.kind == DECISION_NO_ENTRYPOINT;
    if (!checked && (unread || (d.kind == DECISION_FAILED && d.err == ERR_INPUT)) &&
        (c->why = rest_input(&c->w->arena, body, &input))) {
        decision_log_forget(c->w);
        rest_error2(c, 400, "invalid_parameter", "body contains malformed input document: ", str_of(c->why));
        return DOOR_ANSWERED;
    }
    if (no_decision(c, &d, &outcome)) return outcome;
    answer_value(c, &d, input.ptr == NULL);
    return DOOR_ANSWERED;
}

enum door_outcome rest_v1_data(struct rest_call *c) {
    if (c->params.metrics || c->params.instrument) c->parsed_ns = c->start_ns = clock_ns();
    return str_is(c->q->method, "GET") ? v1_get(c) : v1_post(c);
}

/* ---- /v0/data and / ---- */

/* 404: OPA tells rules without a value from paths where there is nothing. */
static void v0_undefined(struct rest_call *c, const struct decision *d) {
    struct buf ref;
    buf_init(&ref, REF_BYTES);
    rest_ref(&c->w->arena, c->rest, &ref);
    rest_error2(c, 404, "undefined_document",
                d->kind == DECISION_UNDEFINED ? "document undefined: " : "document missing: ",
                ref.err ? STR("data") : buf_view(&ref));
    buf_deinit(&ref);
}

enum door_outcome rest_v0_data(struct rest_call *c) {
    struct str path, input;
    struct decision d;
    enum door_outcome outcome;
    enum rest_outcome o = rest_read_v0(c, &input);
    if (o == REST_LATER) return DOOR_LATER;
    if (o == REST_REFUSED) return refused(c);
    if (!rest_path(c, &path)) return DOOR_ANSWERED;
    ask(c, path, input, &d);
    if (no_decision(c, &d, &outcome)) return outcome;
    if (d.kind != DECISION_VALUE) {
        v0_undefined(c, &d);
        return DOOR_ANSWERED;
    }
    rest_json(c, 200);
    json_escape_html(d.json, c->r->body);
    buf_byte(c->r->body, '\n');
    return DOOR_ANSWERED;
}

enum door_outcome rest_root(struct rest_call *c) {
    c->rest = c->w->config->rest_path;
    while (c->rest.len && *c->rest.ptr == '/') c->rest = str_from(c->rest, 1);
    return rest_v0_data(c);
}
