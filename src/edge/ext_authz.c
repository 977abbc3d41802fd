/* Envoy's external authorization over gRPC: Check.
 * in: CheckRequest messages. out: CheckResponse messages, or a gRPC error where the contract names
 * one. owns: nothing. */
#include "edge/doors.h"

enum { GRPC_UNKNOWN = 2, GRPC_INVALID_ARGUMENT = 3, GRPC_UNIMPLEMENTED = 12 };

static void grpc_error(struct http_reply *r, int status, const char *message) {
    r->status = 200;
    r->grpc_status = status;
    r->grpc_message = message;
    buf_clear(r->body);
}

/* Limits and traps are denied here, so that no failure mode of Envoy's can let them through. What
 * opa-envoy-plugin answers with a gRPC error (undefined, a conflict, a builtin's error) stays one.
 */
static bool is_limit(enum err e) { return e != ERR_CONFLICT && e != ERR_BUILTIN; }

static void deny(struct door *door, int status, const struct decision *d, struct http_reply *r) {
    r->status = 200;
    r->grpc_status = 0;
    authz_deny(&door->worker->arena, status, decision_reason(d), d->id, r->body);
}

static void value_answer(struct door *door, struct str tenant, struct decision *d,
                         struct http_reply *r) {
    struct worker *w = door->worker;
    const char *why = NULL;
    r->status = 200;
    r->grpc_status = 0;
    enum err e = authz_reply(&w->arena, d->json, d->id, r->body, &why);
    if (!e) return;
    if (!why) why = "the reply is too large";
    decision_refuse(w, tenant, door->authz_path, true, e, why, d);
    grpc_error(r, GRPC_UNKNOWN, why);
}

static void answer(struct door *door, struct str tenant, struct decision *d, struct http_reply *r) {
    switch (d->kind) {
    case DECISION_VALUE: value_answer(door, tenant, d, r); return;
    case DECISION_NO_TENANT: deny(door, 403, d, r); return;
    case DECISION_FAILED:
        if (is_limit(d->err))
            deny(door, 403, d, r);
        else
            grpc_error(r, GRPC_UNKNOWN,
                       err_meaning(d->err)); /* static: it must outlive this call */
        return;
    case DECISION_UNDEFINED:
    case DECISION_NO_ENTRYPOINT: grpc_error(r, GRPC_UNKNOWN, decision_reason(d)); return;
    }
}

static void check(struct door *door, const struct http_request *q, struct http_reply *r) {
    struct worker *w = door->worker;
    struct authz_request info;
    struct decision d;
    arena_reset(&w->arena);
    buf_clear(&w->input);
    enum err e = authz_input(&w->arena, q->body, door->tenant_header, &w->input, &info);
    struct str tenant = info.tenant.len          ? info.tenant
                        : info.header_tenant.len ? info.header_tenant
                                                 : STR("");
    if (e == ERR_INPUT) {
        decision_refuse(w, tenant, door->authz_path, false, e, info.why, &d);
        deny(door, 400, &d, r);
    } else if (e) {
        decision_refuse(w, tenant, door->authz_path, false, e, info.why ? info.why : err_meaning(e),
                        &d);
        grpc_error(r, GRPC_INVALID_ARGUMENT, info.why ? info.why : err_meaning(e));
    } else {
        decide(w, tenant, door->authz_path, buf_view(&w->input), &d);
        answer(door, tenant, &d, r);
    }
}

void ext_authz_handle(struct door *door, const struct http_request *q, struct http_reply *r) {
    if (str_is(q->path, "/envoy.service.auth.v3.Authorization/Check"))
        check(door, q, r);
    else
        grpc_error(r, GRPC_UNIMPLEMENTED, "unknown method");
}
