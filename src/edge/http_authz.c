/* Authorization over plain HTTP: Envoy's http_service, nginx auth_request, Traefik ForwardAuth.
 * in: a request that describes, or is, the one to decide about. out: 200, or a denial in the words that the proxy
 * understands; never 2xx by error. owns: nothing. */
#include "base/utf8.h"
#include "edge/authz.h"
#include "edge/doors.h"
#include "edge/json_text.h"
#include <stdio.h>
#include <time.h>

/* How a proxy tells what it was asked, below which path, and which answers it understands. Headers named here are set
 * by the proxy: they must be there, once. NULL: the call itself tells. */
struct dialect {
    const char *path;
    const char *method, *uri, *host, *scheme, *address;
    int lowest, highest;  /* statuses of a denial that reach the client; others become 403 */
    bool errors;          /* 500 denies too: the proxy has no way to let it pass */
    bool removes_headers; /* it can take headers off the request */
};
static const struct dialect dialects[] = {
    /* A 5xx makes Envoy ask its failure mode, which may let the request pass. */
    {.path = "/envoy", .lowest = 300, .highest = 499, .removes_headers = true},
    /* nginx knows 2xx, 401 and 403 only. */
    {"/nginx", "x-original-method", "x-original-uri", NULL, "x-original-scheme", "x-original-address", 401, 403, true,
     false},
    {"/traefik", "x-forwarded-method", "x-forwarded-uri", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-for",
     300, 599, true, false}};
enum { N_DIALECTS = sizeof dialects / sizeof *dialects };

/* The request that is decided about. */
struct asked {
    const struct http_request *call;
    const struct dialect *dialect;
    struct authz_http http;
    struct str address; /* of the client; ptr NULL: not told */
    const char *why;    /* it cannot be made out */
};

/* The one value of a header that the proxy sets. */
static bool told(struct asked *a, const char *name, struct str *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->call->n_headers; i++)
        if (str_is(a->call->headers[i].name, name)) *out = a->call->headers[i].value, n++;
    if (n == 1 && out->len) return true;
    a->why = n > 1 ? "a header that describes the request came twice"
                   : "a header that describes the request is missing: the proxy must set it";
    return false;
}

static bool below(struct str path, const char *head, struct str *rest) {
    if (!str_starts(path, str_of(head))) return false;
    struct str after = str_from(path, strlen(head));
    if (after.len && after.ptr[0] != '/' && after.ptr[0] != '?') return false;
    *rest = after;
    return true;
}

/* "a, b" → "b": what the proxy itself has seen; what stands before it a client may have written. */
static struct str last_of_list(struct str list) {
    const char *comma = memrchr(list.ptr, ',', list.len);
    if (comma) list = str_from(list, (size_t)(comma - list.ptr) + 1);
    while (list.len && list.ptr[0] == ' ') list = str_from(list, 1);
    return list;
}

/* What the proxy says about the request, or with Envoy the call itself, whose path follows the door's. */
static bool describe(struct asked *a, struct str rest) {
    const struct dialect *d = a->dialect;
    struct authz_http *h = &a->http;
    struct str list;
    h->method = a->call->method;
    h->path = rest;
    h->host = http_header_get(a->call, STR("host"));
    if (d->method && !told(a, d->method, &h->method)) return false;
    if (d->uri && !told(a, d->uri, &h->path)) return false;
    if (d->host && !told(a, d->host, &h->host)) return false;
    if (d->scheme && !told(a, d->scheme, &h->scheme)) return false;
    if (d->address) {
        if (!told(a, d->address, &list)) return false;
        a->address = last_of_list(list);
    }
    if (!d->uri) h->partial = http_header_get(a->call, STR("x-envoy-auth-partial-body"));
    if (!d->uri && (!rest.len || rest.ptr[0] != '/')) return a->why = "the path of the request is missing", false;
    return true;
}

/* Makes out who asks and about what. false: *a says why not. */
static bool understand(const struct edge_config *config, const struct http_request *q, struct asked *a) {
    struct str rest;
    *a = (struct asked){.call = q, .address = {NULL, 0}};
    a->http =
        (struct authz_http){.method = {"", 0}, .path = {"", 0}, .host = {"", 0}, .scheme = {"", 0}, .body = q->body};
    if (!a->http.body.ptr) a->http.body = STR("");
    a->http.content_type = http_header_get(q, STR("content-type"));
    rest = str_from(q->target, str_starts(q->target, config->http_authz_prefix) ? config->http_authz_prefix.len : 0);
    for (int i = 0; i < N_DIALECTS; i++)
        if (below(rest, dialects[i].path, &rest)) return a->dialect = &dialects[i], describe(a, rest);
    a->why = "the path must name the proxy that asks: envoy, nginx or traefik";
    return false;
}

/* ---- the input document: as ext_authz's ---- */
static void text_member(struct buf *out, const char *name, struct str value) {
    if (!value.len) return;
    buf_byte(out, ',');
    json_text_string(out, str_of(name));
    buf_byte(out, ':');
    json_text_string(out, value);
}

/* Headers that belong to the call and not to the request that it is about. */
static bool is_of_call(const struct asked *a, struct str name) {
    const struct dialect *d = a->dialect;
    if (str_is(name, "host") || str_is(name, "connection")) return true;
    if (str_is(name, "content-length") || str_is(name, "transfer-encoding")) return a->http.body.len == 0;
    if (!d->method || !str_starts(name, STR("x-original-"))) return false;
    return str_is(name, d->method) || str_is(name, d->uri) || str_is(name, d->scheme) || str_is(name, d->address);
}

/* The values of a header that comes more than once joined, as Envoy joins them. */
static bool joined_value(struct arena *arena, const struct http_request *q, uint32_t first, struct str *out) {
    struct str separator = str_is(q->headers[first].name, "cookie") ? STR("; ") : STR(",");
    size_t len = 0, at = 0;
    uint32_t n = 0;
    for (uint32_t i = first; i < q->n_headers; i++)
        if (str_eq(q->headers[i].name, q->headers[first].name)) len += q->headers[i].value.len + separator.len, n++;
    *out = q->headers[first].value;
    if (n == 1) return true;
    char *text = arena_alloc(arena, len);
    if (!text) return false;
    for (uint32_t i = first; i < q->n_headers; i++) {
        if (!str_eq(q->headers[i].name, q->headers[first].name)) continue;
        if (i > first) memcpy(text + at, separator.ptr, separator.len), at += separator.len;
        memcpy(text + at, q->headers[i].value.ptr, q->headers[i].value.len);
        at += q->headers[i].value.len;
    }
    *out = (struct str){text, at};
    return true;
}

static bool came_before(const struct http_request *q, uint32_t i) {
    for (uint32_t k = 0; k < i; k++)
        if (str_eq(q->headers[k].name, q->headers[i].name)) return true;
    return false;
}

static bool headers_member(struct arena *arena, const struct asked *a, struct buf *out) {
    const struct http_request *q = a->call;
    buf_cstr(out, ",\"headers\":{\":method\":");
    json_text_string(out, a->http.method);
    text_member(out, ":path", a->http.path);
    text_member(out, ":authority", a->http.host);
    text_member(out, ":scheme", a->http.scheme);
    for (uint32_t i = 0; i < q->n_headers; i++) {
        struct str value;
        if (is_of_call(a, q->headers[i].name) || came_before(q, i)) continue;
        if (!joined_value(arena, q, i, &value)) return false;
        buf_byte(out, ',');
        json_text_string(out, q->headers[i].name);
        buf_byte(out, ':');
        json_text_string(out, value);
    }
    buf_byte(out, '}');
    return true;
}

static void body_member(struct buf *out, struct str body) {
    if (!body.len) return;
    if (utf8_valid(body)) {
        text_member(out, "body", body);
        return;
    }
    buf_cstr(out, ",\"rawBody\":");
    json_text_base64(out, body);
}

static enum err write_input(struct arena *arena, const struct asked *a, struct buf *out, const char **why) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    buf_cstr(out, "{\"attributes\":{");
    if (a->address.len) {
        buf_cstr(out, "\"source\":{\"address\":{\"socketAddress\":{\"address\":");
        json_text_string(out, a->address);
        buf_cstr(out, "}}},");
    }
    buf_printf(out,
               "\"request\":{\"time\":{\"seconds\":%lld,\"nanos\":%ld},\"http\":{\"method\":", (long long)now.tv_sec,
               now.tv_nsec);
    json_text_string(out, a->http.method);
    text_member(out, "path", a->http.path);
    text_member(out, "host", a->http.host);
    text_member(out, "scheme", a->http.scheme);
    if (!headers_member(arena, a, out)) return ERR_MEMORY;
    body_member(out, a->http.body);
    buf_cstr(out, "}}},");
    enum err e = authz_parsed(arena, &a->http, AUTHZ_ALL, out, why);
    buf_cstr(out, "\"version\":{\"ext_authz\":\"v3\",\"encoding\":\"protojson\"}}");
    return e ? e : out->err;
}

/* ---- replies ---- */
struct answer {
    struct worker *w;
    struct http_reply *reply;
    const char *why; /* a header that no reply may have */
};

static bool is_framing(struct str name) {
    static const char *const names[] = {"content-length",
                                        "transfer-encoding",
                                        "connection",
                                        "keep-alive",
                                        "upgrade",
                                        "te",
                                        "trailer",
                                        "proxy-connection",
                                        "date",
                                        "x-regent-status",
                                        "x-regent-decision-id"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(name, names[i])) return true;
    return false;
}

/* A name in lower case, of bytes that names are made of; ptr NULL: it is none. */
static struct str header_name(struct arena *a, struct str name) {
    char *copy = name.len ? arena_strndup(a, name.ptr, name.len) : NULL;
    for (size_t i = 0; copy && i < name.len; i++) {
        char c = name.ptr[i];
        if (c >= 'A' && c <= 'Z')
            copy[i] = (char)(c | 0x20);
        else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c))))
            copy = NULL;
    }
    return (struct str){copy, copy ? name.len : 0};
}

static bool is_header_value(struct str v) {
    for (size_t i = 0; i < v.len; i++)
        if (((uint8_t)v.ptr[i] < 0x20 && v.ptr[i] != '\t') || v.ptr[i] == 0x7f) return false;
    return true;
}

static bool add_header(void *ctx, struct str name, struct str value) {
    struct answer *a = ctx;
    struct http_reply *r = a->reply;
    struct str lower = header_name(&a->w->arena, name);
    if (!lower.ptr || !is_header_value(value))
        a->why = "the decision has a header that HTTP cannot carry";
    else if (is_framing(lower))
        a->why = "the decision has a header that is not its own to set";
    else if (r->n_extra == HTTP_MAX_REPLY_HEADERS)
        a->why = "the decision has too many headers";
    if (a->why) return false;
    if (str_is(lower, "content-type")) {
        r->content_type = arena_strndup(&a->w->arena, value.ptr, value.len);
        return r->content_type != NULL;
    }
    r->extra[r->n_extra++] = (struct http_header){lower, value};
    return true;
}

static void begin(struct answer *a, int status, const char *decision_id) {
    struct http_reply *r = a->reply;
    const char *id = arena_strndup(&a->w->arena, decision_id, strlen(decision_id));
    buf_clear(r->body);
    r->status = status;
    r->content_type = NULL;
    r->grpc_status = -1;
    r->n_extra = 0;
    if (id) r->extra[r->n_extra++] = (struct http_header){STR("x-regent-decision-id"), str_of(id)};
}

/* Opens a denial: the status that the proxy understands, and the real one in a header. */
static void begin_denial(struct answer *a, const struct dialect *d, int status, const char *decision_id) {
    bool sayable = status >= d->lowest && status <= d->highest && !(d->highest == 403 && status == 402);
    char *real = arena_alloc(&a->w->arena, 16);
    begin(a, sayable || (status == 500 && d->errors) ? status : 403, decision_id);
    if (!real) return;
    snprintf(real, 16, "%d", status);
    a->reply->extra[a->reply->n_extra++] = (struct http_header){STR("x-regent-status"), str_of(real)};
}

static void deny(struct answer *a, const struct dialect *d, int status, const struct decision *decision) {
    begin_denial(a, d ? d : &dialects[0], status, decision->id);
    a->reply->content_type = "application/json";
    buf_cstr(a->reply->body, "{\"reason\":");
    json_text_string(a->reply->body, str_of(decision_reason(decision)));
    buf_cstr(a->reply->body, "}\n");
}

/* Names for Envoy's x-envoy-auth-headers-to-remove. */
static bool add_removed(struct answer *a, const struct json *names) {
    struct buf list;
    struct str name;
    buf_init(&list, 16 << 10);
    for (uint32_t i = 0; names && i < names->n; i++) {
        name = header_name(&a->w->arena, names->items[i]->text);
        if (!name.ptr) list.err = ERR_INVALID;
        if (i) buf_byte(&list, ',');
        buf_str(&list, name);
    }
    char *copy = list.err || !list.len ? NULL : arena_strndup(&a->w->arena, (const char *)list.ptr, list.len);
    bool ok = !names || !names->n || copy;
    buf_deinit(&list);
    if (!ok) a->why = "the decision removes a header that HTTP cannot carry";
    return ok && (!copy || add_header(a, STR("x-envoy-auth-headers-to-remove"), str_of(copy)));
}

static bool has_items(const struct json *v) { return v && v->n; }

static bool allow(struct answer *a, const struct dialect *dialect, const struct authz_decision *d, const char *id) {
    begin(a, 200, id);
    if (!d->allowed) return true; /* dry run */
    if (has_items(d->query_to_set) || has_items(d->query_to_remove))
        return a->why = "the decision changes the query, which no proxy lets an HTTP reply do", false;
    if (has_items(d->headers_to_remove) && !dialect->removes_headers)
        return a->why = "the decision removes request headers, which this proxy lets no reply do", false;
    return authz_headers_each(d->headers, add_header, a) && authz_headers_each(d->response_headers, add_header, a) &&
           add_removed(a, d->headers_to_remove);
}

static void value_answer(struct answer *a, struct str tenant, const struct dialect *dialect, struct decision *d) {
    struct authz_decision said;
    const char *why = NULL;
    bool ok;
    enum err e = authz_decision_read(&a->w->arena, d->json, &said, &why);
    if (!e && (said.allowed || a->w->config->authz_dry_run)) {
        ok = allow(a, dialect, &said, d->id);
    } else if (!e) {
        begin_denial(a, dialect, said.status, d->id);
        ok = authz_headers_each(said.headers, add_header, a);
        if (!a->reply->content_type && said.has_body) a->reply->content_type = "text/plain; charset=utf-8";
        buf_str(a->reply->body, said.body);
        ok = ok && !a->reply->body->err;
    } else {
        ok = false;
    }
    if (ok) return;
    if (!why) why = a->why ? a->why : "the reply is too large";
    decision_refuse(a->w, tenant, a->w->config->authz_path, true, e ? e : ERR_INVALID, why, d);
    deny(a, dialect, 500, d);
}

static struct str subject_header(const void *ctx, struct str name) {
    const struct asked *a = ctx;
    return http_header_get(a->call, name);
}

static enum identity_kind whose(struct worker *w, const struct asked *a, struct identity *out) {
    struct subject s = {.call = a->call,
                        .host = a->http.host,
                        .path = a->http.path,
                        .principal = {"", 0},
                        .ctx = a,
                        .header = subject_header};
    enum identity_kind found = identify(w->identifier, &s, &w->arena, out);
    if (found == IDENTITY_FOUND) tenants_expect(w->tenants, out->tenant);
    return found;
}

static void refuse(struct answer *a, struct str tenant, const struct dialect *dialect, enum err e, const char *why,
                   int status) {
    struct decision d;
    decision_refuse(a->w, tenant, a->w->config->authz_path, false, e, why, &d);
    deny(a, dialect, status ? status : decision_status(&d), &d);
}

static enum door_outcome decide_about(struct answer *a, const struct asked *asked, struct str tenant) {
    struct worker *w = a->w;
    struct decision d;
    const char *why = NULL;
    buf_clear(&w->input);
    enum err e = write_input(&w->arena, asked, &w->input, &why);
    if (e) {
        refuse(a, tenant, asked->dialect, e, why ? why : "the input document is too large", e == ERR_INPUT ? 400 : 0);
        return DOOR_ANSWERED;
    }
    struct ask ask = {.tenant = tenant, .path = w->config->authz_path, .input = buf_view(&w->input)};
    decide(w, &ask, &d);
    switch (d.kind) {
    case DECISION_LATER: return DOOR_LATER;
    case DECISION_VALUE: value_answer(a, tenant, asked->dialect, &d); break;
    case DECISION_UNDEFINED:
    case DECISION_NO_ENTRYPOINT:
    case DECISION_NO_TENANT: deny(a, asked->dialect, 403, &d); break;
    case DECISION_FAILED: deny(a, asked->dialect, decision_status(&d), &d); break;
    }
    return DOOR_ANSWERED;
}

enum door_outcome http_authz_handle(struct worker *w, const struct http_request *q, struct http_reply *r) {
    struct answer a = {.w = w, .reply = r};
    struct asked asked;
    struct identity who = {.tenant = {"", 0}};
    const struct edge_listener *listener = q->listener;
    arena_reset(&w->arena);
    worker_notes(w, "http_authz", q);
    bool open = !listener || listener->doors & DOOR_HTTP_AUTHZ;
    if (!open || !understand(w->config, q, &asked)) {
        refuse(&a, STR(""), open ? asked.dialect : NULL, ERR_INPUT,
               open ? asked.why : "no such door on this listener", 403);
        return DOOR_ANSWERED;
    }
    enum identity_kind found = whose(w, &asked, &who);
    if (found == IDENTITY_FOUND) return decide_about(&a, &asked, who.tenant);
    refuse(&a, STR(""), asked.dialect, ERR_NOT_FOUND, who.why ? who.why : "no tenant", identity_status(found, &who));
    return DOOR_ANSWERED;
}

struct str http_authz_tenant(struct worker *w, const struct http_request *q) {
    struct asked asked;
    struct identity who;
    arena_reset(&w->arena);
    if (!understand(w->config, q, &asked) || whose(w, &asked, &who) != IDENTITY_FOUND) return (struct str){NULL, 0};
    return who.tenant;
}

void http_authz_refuse(struct worker *w, const struct http_request *q, enum err e, struct http_reply *r) {
    struct answer a = {.w = w, .reply = r};
    struct asked asked;
    struct str tenant = http_authz_tenant(w, q);
    understand(w->config, q, &asked);
    worker_notes(w, "http_authz", q);
    refuse(&a, tenant.ptr ? tenant : STR(""), asked.dialect, e, err_meaning(e), 0);
}
