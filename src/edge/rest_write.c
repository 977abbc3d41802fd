/* What a node of compiled bundles does not do: writing documents and policies, queries that are not compiled.
 * in: calls. out: refusals, as near to OPA's as there is a word for them. owns: nothing. */
#include "edge/rest.h"
#include "edge/rest_input.h"

enum { BODY_IN_LOOP = 512 << 10 };

/* OPA lets nobody write what a bundle owns. A tenant's bundle owns all of its data here. */
static enum door_outcome owned(struct rest_call *c) {
    char *text = arena_printf(&c->w->arena, NULL, "all paths owned by bundle \"%.*s\"", STR_FMT(c->who.tenant));
    rest_error(c, 400, "invalid_parameter", text ? text : "all paths owned by a bundle");
    return DOOR_ANSWERED;
}

static enum door_outcome refused(struct rest_call *c, const char *why) {
    rest_error(c, 400, "invalid_parameter", why);
    return DOOR_ANSWERED;
}

/* A body that OPA could not read either is refused for that. NULL: it can be read. */
static const char *check_body(struct rest_call *c) {
    struct arena *a = &c->w->arena;
    struct str value;
    const char *why = rest_value(a, c->q->body, &value);
    if (why) return why;
    if (!value.ptr) return "EOF";
    if (!str_is(c->q->method, "PATCH") || *value.ptr == '[' || *value.ptr == 'n') return NULL;
    why = arena_printf(a, NULL, "json: cannot unmarshal %s into Go value of type []types.PatchV1", rest_kind(value));
    return why ? why : "not an array of patches";
}

enum door_outcome rest_v1_write(struct rest_call *c) {
    if (c->w->slice_us && c->q->body.len > BODY_IN_LOOP) return DOOR_LATER;
    const char *why = str_is(c->q->method, "DELETE") ? NULL : check_body(c);
    if (why) return refused(c, why);
    if (c->rest.len == 0 && str_is(c->q->method, "PUT"))
        return refused(c, "can't write to document root with bundle roots configured");
    return owned(c);
}

enum door_outcome rest_policies(struct rest_call *c) {
    if (c->rest.len && str_is(c->q->method, "PUT")) return owned(c);
    if (c->rest.len) {
        char *text = arena_printf(&c->w->arena, NULL, "storage_not_found_error: policy id \"%.*s\"", STR_FMT(c->rest));
        rest_error(c, 404, "resource_not_found", text ? text : "storage_not_found_error");
        return DOOR_ANSWERED;
    }
    rest_json(c, 200); /* modules are kept, not their text */
    buf_cstr(c->r->body, "{\"result\":[]}\n");
    return DOOR_ANSWERED;
}

enum door_outcome rest_query_api(struct rest_call *c) {
    bool query = str_starts(c->path, STR("/v1/query"));
    rest_error(c, 501, "not_supported",
               query ? "this node runs policies that were compiled before: it evaluates no queries of its callers; ask "
                       "POST /v1/data/PATH for an entrypoint"
                     : "this node runs policies that were compiled before: it does not evaluate partially; ask POST "
                       "/v1/data/PATH for an entrypoint");
    return DOOR_ANSWERED;
}

enum door_outcome rest_index(struct rest_call *c) {
    c->r->status = 200;
    c->r->content_type = "text/plain; charset=utf-8";
    buf_cstr(c->r->body, "Regent " REGENT_VERSION "\n");
    return DOOR_ANSWERED;
}
