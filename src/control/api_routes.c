/* The REST API's table of contents: one line a kind of thing; and which route a request asks for.
 * in: a request's method and path. out: the route, what stands for its {…}; or an answer. owns:
 * nothing. */
#include "base/utf8.h"
#include "control/api_private.h"

extern const struct api_route api_status_routes[];
extern const struct api_route api_token_routes[];
extern const struct api_route api_audit_routes[];
extern const struct api_route api_feed_routes[];
extern const struct api_route api_edges_routes[];
extern const struct api_route api_rollouts_routes[];
extern const struct api_route api_bundles_routes[];
extern const struct api_route api_template_routes[];
extern const struct api_route api_tenant_routes[];
extern const struct api_route api_builds_routes[];
extern const struct api_route api_versions_routes[];
extern const struct api_route api_releases_routes[];
extern const struct api_route api_apply_routes[];
extern const struct api_route api_try_routes[];
extern const struct api_route api_errands_routes[];

/* clang-format off */
const struct api_route *const api_routes[] = {
    api_status_routes,
    api_token_routes,
    api_audit_routes,
    api_feed_routes,
    api_edges_routes,
    api_rollouts_routes,
    api_bundles_routes,
    api_template_routes,
    api_tenant_routes,
    api_builds_routes,
    api_versions_routes,
    api_releases_routes,
    api_apply_routes,
    api_try_routes,
    api_errands_routes,
    NULL,
};
/* clang-format on */

const struct api_route *api_route_at(uint32_t n) {
    for (const struct api_route *const *table = api_routes; *table; table++)
        for (const struct api_route *r = *table; r->method; r++)
            if (!n--) return r;
    return NULL;
}

/* ---- a path against a route's ---- */

struct raw_args {
    struct str items[API_ARGS];
    bool id[API_ARGS], rest[API_ARGS];
    uint32_t n;
};

/* Takes what stands before the next slash, and the slash. */
static struct str cut_segment(struct str *rest) {
    const char *slash = rest->len ? memchr(rest->ptr, '/', rest->len) : NULL;
    struct str segment = str_head(*rest, slash ? (size_t)(slash - rest->ptr) : rest->len);
    *rest = str_from(*rest, segment.len + (slash != NULL));
    return segment;
}

static bool fits(const char *pattern, struct str path, struct raw_args *out) {
    struct str want = str_of(pattern);
    bool slash = path.len && path.ptr[path.len - 1] == '/', wanted = want.ptr[want.len - 1] == '/';
    out->n = 0;
    if (slash != wanted && !str_ends(want, STR("*}"))) return false;
    want = str_from(want, 1);
    if (!path.len || *path.ptr != '/') return false;
    path = str_from(path, 1);
    while (want.len) {
        struct str part = cut_segment(&want);
        if (*part.ptr != '{') {
            if (!path.len || !str_eq(cut_segment(&path), part)) return false;
            continue;
        }
        if (out->n == API_ARGS || !path.len) return false;
        out->id[out->n] = str_is(part, "{id}");
        out->rest[out->n] = str_ends(part, STR("*}"));
        out->items[out->n] = out->rest[out->n] ? path : cut_segment(&path);
        if (out->rest[out->n++]) return true;
    }
    return !path.len;
}

/* ---- what stands for the {…} ---- */

/* No way out of a folder, and nothing that a terminal or a store would stumble over. */
static const char *text_wrong(struct str s, bool rest) {
    if (!s.len) return "it is empty";
    if (!utf8_valid(s)) return "it is not UTF-8";
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 127 || s.ptr[i] == '\\' ||
            (!rest && s.ptr[i] == '/'))
            return "it has characters that no name has";
    while (rest && s.len) {
        bool last = !memchr(s.ptr, '/', s.len);
        struct str part = cut_segment(&s);
        if (!part.len || str_is(part, ".") || str_is(part, ".."))
            return "a part of it is empty, . or ..";
        if (!last && !s.len) return "it ends with a slash";
    }
    return NULL;
}

static bool decode_args(struct api_call *c, const struct raw_args *raw) {
    for (uint32_t i = 0; i < raw->n; i++) {
        char *decoded = arena_alloc(c->arena, raw->items[i].len + 1);
        long n = decoded ? http_percent_decode(raw->items[i], false, decoded) : -1;
        struct str s = {decoded, n > 0 ? (size_t)n : 0};
        const char *wrong = n < 0        ? "its escapes are wrong"
                            : raw->id[i] ? control_id_wrong(s)
                                         : text_wrong(s, raw->rest[i]);
        if (wrong) {
            api_error(c, 400, "invalid_id", "the path names nothing that can be there: %s", wrong);
            return false;
        }
        c->args[i] = s;
    }
    return true;
}

/* ---- which route ---- */

static void refuse_method(struct api_call *c, const char *allow) {
    api_error(c, 405, "method_not_allowed", "this path has other methods: %s", allow);
    api_header(c, STR("Allow"), str_of(allow));
}

static const char *add_method(struct api_call *c, const char *allow, const char *method) {
    const char *more = strcmp(method, "GET") == 0 ? "GET, HEAD" : method;
    char *both = allow ? arena_printf(c->arena, NULL, "%s, %s", allow, more) : NULL;
    return both ? both : more;
}

/* Routes whose path is fixed win over those with {…} that are listed before them. */
const struct api_route *api_route_find(struct api_call *c, uint32_t *number) {
    struct str method = str_is(c->q->method, "HEAD") ? STR("GET") : c->q->method;
    const struct api_route *found = NULL;
    const char *allow = NULL;
    struct raw_args raw, args = {.n = 0};
    uint32_t n = 0;
    for (const struct api_route *const *table = api_routes; *table; table++)
        for (const struct api_route *r = *table; r->method; r++, n++) {
            if (!fits(r->path, c->q->path, &raw)) continue;
            if (!str_is(method, r->method)) {
                allow = add_method(c, allow, r->method);
            } else if (!found || raw.n < args.n) {
                found = r;
                args = raw;
                *number = n;
            }
        }
    if (found) return decode_args(c, &args) ? found : NULL;
    if (allow)
        refuse_method(c, allow);
    else
        api_error(c, 404, "no_such_route",
                  "there is no such call: GET /v1/openapi.json describes them all");
    return NULL;
}
