/* The door admin: who calls, which call it is, and whether it may be made; the calls themselves are made in a lane.
 * in: HTTP requests. out: replies, lines in the log. owns: nothing. */
#include "edge/admin.h"
#include "base/clock.h"
#include "net/logins.h"
#include <stdio.h>

enum { MOST_TOKEN_BYTES = 4096, SEGMENTS = 2 };

/* ---- who calls ---- */

void admin_error(struct admin_call *c, int status, const char *code, const char *message) {
    rest_error(&c->rest, status, code, message);
}

/* "Bearer TOKEN"; ptr NULL: none. */
static struct str bearer(const struct http_request *q) {
    struct str v = http_header_get(q, STR("authorization"));
    if (v.len < 7 || !str_eq_fold(str_head(v, 7), STR("bearer "))) return (struct str){NULL, 0};
    v = str_from(v, 7);
    while (v.len && *v.ptr == ' ') v = str_from(v, 1);
    return v;
}

static bool ask_to_wait(struct admin_call *c, uint32_t seconds) {
    char text[24], *copy;
    int n = snprintf(text, sizeof text, "%u", seconds);
    copy = arena_strndup(&c->rest.w->arena, text, (size_t)n);
    admin_error(c, 429, "too_many_requests", "too many failed logins from this address: wait before you try again");
    if (copy) rest_header(&c->rest, STR("Retry-After"), (struct str){copy, (size_t)n});
    return false;
}

static bool refuse_login(struct admin_call *c, bool tried) {
    const struct http_peer *peer = c->rest.q->peer;
    struct worker *w = c->rest.w;
    if (tried) {
        logins_failed(w->node->logins, peer, clock_ns());
        log_line(w->log, LOG_WARN, "login failed", "address", peer ? peer->address : "", "door", c->action, NULL);
    }
    admin_error(c, 401, "unauthorized",
                tried ? "this token opens nothing here" : "this needs a token: Authorization: Bearer TOKEN");
    rest_header(&c->rest, STR("WWW-Authenticate"), STR("Bearer"));
    return false;
}

bool admin_identify(struct admin_call *c, const struct admin_tokens *tokens, const struct name_list *certificates) {
    const struct http_request *q = c->rest.q;
    struct str token = bearer(q);
    if (certificates && admin_certificate(certificates, q->peer, &c->who)) return true;
    uint32_t wait = token.ptr ? logins_wait(c->rest.w->node->logins, q->peer, clock_ns()) : 0;
    if (wait) return ask_to_wait(c, wait);
    c->token = token.ptr && token.len <= MOST_TOKEN_BYTES ? admin_tokens_find(tokens, token) : NULL;
    if (!c->token) return refuse_login(c, token.ptr != NULL);
    c->who = c->token->name;
    return true;
}

bool admin_sees(const struct admin_call *c, struct str tenant) {
    const struct edge_listener *l = c->rest.q->listener;
    return name_list_has(&l->tenants, tenant) && (!c->token || name_list_has(&c->token->tenants, tenant));
}

bool admin_may(struct admin_call *c, enum admin_scope scope, struct str tenant) {
    const struct edge_listener *l = c->rest.q->listener;
    const char *why = NULL;
    if (c->token && !admin_token_may(c->token, scope, (struct str){NULL, 0}))
        why = "this token may not do this";
    else if (tenant.len && c->token && !name_list_has(&c->token->tenants, tenant))
        why = "this token may not speak of this tenant";
    else if (tenant.len && !name_list_has(&l->tenants, tenant))
        why = "this listener is not for this tenant";
    if (why) admin_error(c, 403, "forbidden", why);
    return !why;
}

bool admin_path_tenant(struct admin_call *c, struct str segment, struct str *out) {
    char *decoded = arena_alloc(&c->rest.w->arena, segment.len + 1);
    long n = decoded ? http_percent_decode(segment, false, decoded) : -1;
    *out = (struct str){decoded, n > 0 ? (size_t)n : 0};
    if (n > 0 && admin_tenant_valid(*out)) return true;
    admin_error(c, 400, "invalid_parameter",
                "the path names no tenant: up to 127 bytes, no slash, not beginning with a dot");
    return false;
}

/* ---- which call ---- */

enum { GET = 1, POST = 2, DELETE = 4 };

static const struct route {
    const char *tail; /* behind /v1/policies: "*" is a tenant */
    unsigned method;
    enum admin_scope scope;
    void (*run)(struct admin_call *c);
    bool body, names_tenant; /* its body does, not its path */
    const char *action, *allow;
} routes[] = {
    {"", GET, ADMIN_READ, admin_list, false, false, "list", "GET, HEAD"},
    {"/reload", POST, ADMIN_RELOAD, admin_reload, true, true, "reload", "POST, GET, HEAD"},
    {"/*", GET, ADMIN_READ, admin_show, false, false, "show", "GET, HEAD"},
    {"/*/rollback", POST, ADMIN_ROLLBACK, admin_rollback, true, false, "rollback", "POST"},
    {"/*/pin", POST, ADMIN_PIN, admin_pin, true, false, "pin", "POST, DELETE"},
    {"/*/pin", DELETE, ADMIN_PIN, admin_unpin, false, false, "unpin", "POST, DELETE"},
};
static const struct str base = {"/v1/policies", 12};

static unsigned method_of(struct str m) {
    if (str_is(m, "GET") || str_is(m, "HEAD")) return GET;
    return str_is(m, "POST") ? POST : str_is(m, "DELETE") ? DELETE : 0;
}

/* Does the path's rest have this form? *segment gets what stands for the "*". */
static bool fits(const char *tail, struct str rest, struct str *segment) {
    const char *star = strchr(tail, '*');
    if (!star) return str_is(rest, tail);
    struct str head = {tail, (size_t)(star - tail)}, end = str_of(star + 1);
    if (!str_starts(rest, head) || !str_ends(rest, end) || rest.len <= head.len + end.len) return false;
    *segment = (struct str){rest.ptr + head.len, rest.len - head.len - end.len};
    return !memchr(segment->ptr, '/', segment->len);
}

/* NULL: answered. */
static const struct route *find_route(struct admin_call *c) {
    struct str rest = str_from(c->rest.q->path, base.len), segment = {NULL, 0};
    unsigned method = method_of(c->rest.q->method);
    const char *allow = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!fits(routes[i].tail, rest, &segment)) continue;
        if (!allow) allow = routes[i].allow;
        if (routes[i].method != method) continue;
        if (strchr(routes[i].tail, '*') && !admin_path_tenant(c, segment, &c->id)) return NULL;
        return &routes[i];
    }
    if (allow) {
        admin_error(c, 405, "method_not_allowed", "this path has other methods: see Allow");
        rest_header(&c->rest, STR("Allow"), str_of(allow));
    } else {
        admin_error(c, 404, "resource_not_found", "there is no such call");
    }
    return NULL;
}

static bool read_body(struct admin_call *c, const struct route *route) {
    const struct http_request *q = c->rest.q;
    if (!route->body) return true;
    if (q->body.len > ADMIN_BODY_BYTES) {
        admin_error(c, 413, "invalid_parameter", "the body is larger than 64 KiB");
        return false;
    }
    const char *wrong = admin_body_read(&c->rest.w->arena, q->body, route->names_tenant, &c->body);
    if (wrong) rest_error2(&c->rest, 400, "invalid_parameter", "the body cannot be read: ", str_of(wrong));
    if (!wrong && route->names_tenant) c->id = c->body.tenant;
    return !wrong;
}

/* ---- the door ---- */

/* What was changed, or tried, and by whom; what was only looked at is of less interest. */
static void tell(struct admin_call *c, const struct route *route) {
    char id[TENANT_ID_BYTES], version[VERSION_BYTES], who[256], status[16];
    snprintf(id, sizeof id, "%.*s", STR_FMT(c->id));
    snprintf(version, sizeof version, "%.*s", STR_FMT(c->body.version));
    snprintf(who, sizeof who, "%.*s", STR_FMT(str_head(c->who, 255)));
    snprintf(status, sizeof status, "%d", c->rest.r->status);
    log_line(c->rest.w->log, route->scope == ADMIN_READ ? LOG_DEBUG : LOG_INFO, "administration", "action",
             route->action, "by", who, "tenant_id", id, "version", version, "status", status, NULL);
}

enum door_outcome admin_handle(struct worker *w, const struct http_request *q, struct http_reply *r) {
    struct admin_call c = {.rest = {.w = w, .q = q, .r = r}, .action = "admin"};
    const struct edge_config *config = w->config;
    arena_reset(&w->arena);
    if (!admin_identify(&c, config->admin_tokens, &config->admin_certificates)) return DOOR_ANSWERED;
    const struct route *route = find_route(&c);
    if (!route || !read_body(&c, route)) return DOOR_ANSWERED;
    bool forces = c.body.allow_older || c.body.at_once;
    bool may = admin_may(&c, route->scope, c.id) && (!forces || admin_may(&c, ADMIN_ROLLBACK, c.id));
    if (may && w->slice_us) return DOOR_LATER;
    if (may) route->run(&c);
    tell(&c, route);
    if (r->body->err) admin_error(&c, 500, "internal_error", "the answer does not fit its limit");
    return DOOR_ANSWERED;
}

struct str admin_tenant(struct worker *w, const struct http_request *q) {
    (void)w, (void)q;
    return (struct str){NULL, 0};
}

void admin_refuse(struct worker *w, const struct http_request *q, enum err e, struct http_reply *r) {
    struct admin_call c = {.rest = {.w = w, .q = q, .r = r}};
    arena_reset(&w->arena);
    admin_error(&c, 503, "service_unavailable", e == ERR_OVERLOAD ? "too many such calls at once" : err_meaning(e));
    rest_header(&c.rest, STR("Retry-After"), STR("1"));
}

bool admin_has_path(struct str path) {
    return str_starts(path, base) && (path.len == base.len || path.ptr[base.len] == '/');
}
