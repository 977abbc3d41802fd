/* The REST door: which route a request takes, by OPA's table and Go's manners (redirects, 405, 404).
 * in: HTTP requests. out: replies. owns: nothing. */
#include "edge/rest.h"

enum method { GET = 1, HEAD = 2, POST = 4, PUT = 8, PATCH = 16, DELETE = 32, OTHER = 64 };

enum { KEEP_BYTES = 1 << 20 };

typedef enum door_outcome handler(struct rest_call *c);

/* A path, and what may be done with it and with what lies below it. */
struct place {
    struct str path;
    uint32_t door;
    bool below;          /* the place goes on below its path */
    bool needs_tenant;
    bool slash_redirect; /* a slash at the end is taken off by a redirect */
    const char *allow;   /* of a refusal in Go's form; NULL: a bare 405 */
    struct {
        unsigned methods;
        bool at, below; /* the path itself; what is below it */
        handler *run;
    } handlers[3];
};

#define PATH(literal) {literal, sizeof(literal) - 1}

static const struct place places[] = {
    {PATH("/v1/data"), DOOR_REST, true, true, true, NULL,
     {{GET | POST, true, true, rest_v1_data}, {PUT | PATCH, true, true, rest_v1_write},
      {DELETE, false, true, rest_v1_write}}},
    {PATH("/v1/batch/data"), DOOR_REST, true, true, true, "POST", {{POST, true, true, rest_batch}}},
    {PATH("/v0/data"), DOOR_REST, true, true, true, NULL, {{POST, true, true, rest_v0_data}}},
    {PATH("/health"), DOOR_HEALTH, true, false, true, "GET, HEAD",
     {{GET, true, false, rest_health}, {GET, false, true, rest_health_rule}}},
    {PATH("/metrics"), DOOR_METRICS, false, false, false, "GET, HEAD", {{GET | HEAD, true, false, rest_metrics}}},
    {PATH("/v1/status"), DOOR_STATUS, false, false, false, "GET, HEAD", {{GET, true, false, rest_status}}},
    {PATH("/v1/config"), DOOR_STATUS, false, false, false, "GET, HEAD", {{GET, true, false, rest_config}}},
    {PATH("/v1/policies"), DOOR_REST, true, true, true, NULL,
     {{GET, true, true, rest_policies}, {PUT | DELETE, false, true, rest_policies}}},
    {PATH("/v1/query"), DOOR_REST, true, true, true, NULL, {{GET | POST, true, false, rest_query_api}}},
    {PATH("/v1/compile"), DOOR_REST, true, true, false, "GET, HEAD, POST", {{GET | POST, true, true, rest_query_api}}},
    {PATH("/"), DOOR_REST, false, true, false, "GET, HEAD, POST",
     {{POST, true, false, rest_root}, {GET, true, false, rest_index}}},
};

static enum method method_of(struct str m) {
    static const struct {
        struct str name;
        enum method method;
    } names[] = {{PATH("POST"), POST}, {PATH("GET"), GET},     {PATH("HEAD"), HEAD},
                 {PATH("PUT"), PUT},   {PATH("PATCH"), PATCH}, {PATH("DELETE"), DELETE}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(m, names[i].name)) return names[i].method;
    return OTHER;
}

static const struct place *find_place(struct str path) {
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const struct place *p = &places[i];
        if (!str_starts(path, p->path)) continue;
        if (path.len == p->path.len || (p->below && path.ptr[p->path.len] == '/')) return p;
    }
    return NULL;
}

/* ---- Paths that are not clean ---- */

static bool maybe_unclean(struct str path) {
    for (size_t i = 0; i + 1 < path.len; i++)
        if (path.ptr[i] == '/' && (path.ptr[i + 1] == '/' || path.ptr[i + 1] == '.')) return true;
    return path.len == 0 || path.ptr[0] != '/';
}

/* Without empty steps, "." and ".."; a slash at the end stays. Never leads above the root. */
static struct str clean(struct arena *a, struct str path) {
    char *out = arena_alloc(a, path.len + 2);
    size_t n = 0;
    if (!out) return (struct str){NULL, 0};
    for (size_t i = 0; i < path.len;) {
        const char *slash = memchr(path.ptr + i, '/', path.len - i);
        size_t len = slash ? (size_t)(slash - path.ptr) - i : path.len - i;
        struct str step = {path.ptr + i, len};
        i += len + 1;
        if (len == 0 || str_is(step, ".")) continue;
        if (str_is(step, "..")) {
            while (n && out[--n] != '/') {}
            continue;
        }
        out[n++] = '/';
        memcpy(out + n, step.ptr, len);
        n += len;
    }
    if (n == 0 || path.ptr[path.len - 1] == '/') out[n++] = '/';
    return (struct str){out, n};
}

/* What a path rule took off the path's start. */
static struct str prefix_of(const struct rest_call *c) {
    return str_head(c->q->path, c->q->path.len > c->path.len ? c->q->path.len - c->path.len : 0);
}

/* The same below the path rule's prefix, so that no redirect leads to another tenant. */
static struct str behind_prefix(struct rest_call *c, struct str path) {
    struct str prefix = prefix_of(c);
    char *whole = arena_alloc(&c->w->arena, prefix.len + path.len);
    if (!whole) return (struct str){"/", 1};
    if (prefix.len) memcpy(whole, prefix.ptr, prefix.len);
    memcpy(whole + prefix.len, path.ptr, path.len);
    return (struct str){whole, prefix.len + path.len};
}

static bool redirect_to_clean(struct rest_call *c) {
    if (!maybe_unclean(c->path)) return false;
    struct str to = clean(&c->w->arena, c->path);
    if (!to.ptr || str_eq(to, c->path)) return false;
    rest_redirect(c, 307, behind_prefix(c, to), true);
    return true;
}

static bool redirect_slash(struct rest_call *c, const struct place *p) {
    if (!p->slash_redirect || c->path.ptr[c->path.len - 1] != '/') return false;
    rest_redirect(c, 301, behind_prefix(c, str_head(c->path, c->path.len - 1)), false);
    return true;
}

/* ---- The way of a call ---- */

static struct str own_header(const void *ctx, struct str name) { return http_header_get(ctx, name); }

static void find_tenant(struct rest_call *c) {
    const struct subject s = {.call = c->q,
                              .host = http_header_get(c->q, STR("host")),
                              .path = c->q->path,
                              .ctx = c->q,
                              .header = own_header};
    c->identity = identify(c->w->identifier, &s, &c->w->arena, &c->who);
    if (c->identity == IDENTITY_FOUND) tenants_expect(c->w->tenants, c->who.tenant);
    if (c->who.path.ptr) c->path = c->who.path;
    if (c->path.len == 0) c->path = STR("/");
}

/* Health and metrics are the node's own: asked for often, of no tenant. */
static bool is_nodes_own(struct str path) { return str_is(path, "/health") || str_is(path, "/metrics"); }

static void begin(struct rest_call *c) {
    const struct edge_listener *l = c->q->listener;
    arena_reset(&c->w->arena);
    c->doors = l->doors;
    c->path = c->q->path;
    c->identity = IDENTITY_NONE;
    if (!is_nodes_own(c->path)) find_tenant(c);
    if (c->q->query.len) rest_query(&c->w->arena, c->q->query, &c->params);
}

static enum door_outcome run(struct rest_call *c, const struct place *p, enum method m) {
    bool at = c->path.len == p->path.len;
    if (m == HEAD && !(p->handlers[0].methods & HEAD)) {
        rest_wrong_method(c, NULL);
        return DOOR_ANSWERED;
    }
    for (size_t i = 0; i < sizeof p->handlers / sizeof *p->handlers; i++) {
        if (!(p->handlers[i].methods & m) || !(at ? p->handlers[i].at : p->handlers[i].below)) continue;
        if (redirect_slash(c, p)) return DOOR_ANSWERED;
        if (p->needs_tenant && c->identity != IDENTITY_FOUND) {
            rest_no_tenant(c);
            return DOOR_ANSWERED;
        }
        c->rest = at ? STR("") : str_from(c->path, p->path.len + 1);
        return p->handlers[i].run(c);
    }
    if (p->allow || !redirect_slash(c, p)) rest_wrong_method(c, p->allow);
    return DOOR_ANSWERED;
}

/* OPA's middleware looks at the path's start only. Metrics are a lane's work, and shrink to a twentieth. */
static bool may_compress(const struct rest_call *c, enum method m) {
    struct str data = STR("/data"), head = str_head(c->path, 8);
    if (str_is(c->path, "/metrics")) return m == GET;
    if (str_starts(c->path, STR("/v1/batch/data"))) return m == POST;
    if (str_starts(c->path, STR("/v1/compile"))) return m == POST;
    return (m == POST || m == GET) && head.len == 8 && str_ends(head, data) &&
           (str_starts(head, STR("/v1")) || str_starts(head, STR("/v0")));
}

/* A large document or body is rare: its room is given back. */
static void give_back(struct buf *b) {
    size_t max = b->max;
    if (b->cap <= KEEP_BYTES) return;
    buf_deinit(b);
    buf_init(b, max);
}

static enum door_outcome answer(struct rest_call *c, enum method m) {
    begin(c);
    bool compress = may_compress(c, m);
    if (compress) rest_header(c, STR("Vary"), STR("Accept-Encoding"));
    if (redirect_to_clean(c)) return DOOR_ANSWERED;
    const struct place *p = find_place(c->path);
    if (!p || !(p->door & c->doors)) {
        rest_plain(c, 404, "404 page not found\n");
        return DOOR_ANSWERED;
    }
    if (run(c, p, m) == DOOR_LATER) return DOOR_LATER;
    if (c->compact) rest_finish(c);
    if (compress) rest_compress(c);
    return DOOR_ANSWERED;
}

enum door_outcome rest_handle(struct worker *w, const struct http_request *q, struct http_reply *r) {
    struct rest_call c = {.w = w, .q = q, .r = r};
    worker_notes(w, "rest", q);
    enum door_outcome outcome = answer(&c, method_of(q->method));
    give_back(&w->input);
    return outcome;
}

struct str rest_tenant(struct worker *w, const struct http_request *q) {
    struct rest_call c = {.w = w, .q = q};
    arena_reset(&w->arena);
    c.path = q->path;
    if (is_nodes_own(c.path)) return (struct str){NULL, 0};
    find_tenant(&c);
    return rest_tenant_of(&c);
}

void rest_refuse(struct worker *w, const struct http_request *q, enum err e, struct http_reply *r) {
    struct rest_call c = {.w = w, .q = q, .r = r};
    struct decision d = {.kind = DECISION_FAILED, .err = e};
    rest_failure(&c, &d);
}
