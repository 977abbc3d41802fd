/* Envoy's external authorization over gRPC: Check.
 * in: CheckRequest messages. out: CheckResponse messages, or a gRPC error where the contract names one. owns: nothing. */
#include "edge/doors.h"

enum { GRPC_UNKNOWN = 2, GRPC_INVALID_ARGUMENT = 3, GRPC_UNIMPLEMENTED = 12 };

static void grpc_error(struct http_reply *r, int status, const char *message) {
    r->status = 200;
    r->grpc_status = status;
    r->grpc_message = message;
    buf_clear(r->body);
}

/* A message lives until the reply is sent: copy it into static words or name the kind. */
static const char *failure_name(const struct decision *d) {
    return d->kind == DECISION_FAILED ? err_meaning(d->err) : decision_reason(d);
}

static void answer(struct door *door, const struct decision *d, struct http_reply *r) {
    const char *why = NULL;
    switch (d->kind) {
    case DECISION_VALUE:
        r->status = 200;
        r->grpc_status = 0;
        if (authz_reply(&door->worker->arena, d->json, d->id, r->body, &why))
            grpc_error(r, GRPC_UNKNOWN, why ? why : "the reply is too large");
        return;
    case DECISION_NO_TENANT:
        r->status = 200;
        r->grpc_status = 0;
        authz_deny(&door->worker->arena, 403, decision_reason(d), d->id, r->body);
        return;
    case DECISION_UNDEFINED:
    case DECISION_FAILED:
    case DECISION_NO_ENTRYPOINT: grpc_error(r, GRPC_UNKNOWN, failure_name(d)); return;
    }
}

static void check(struct door *door, const struct http_request *q, struct http_reply *r) {
    struct worker *w = door->worker;
    struct authz_request info;
    struct decision d;
    arena_reset(&w->arena);
    buf_clear(&w->input);
    enum err e = authz_input(&w->arena, q->body, door->tenant_header, &w->input, &info);
    if (e == ERR_INPUT) {
        r->status = 200;
        r->grpc_status = 0;
        authz_deny(&w->arena, 400, info.why, "", r->body);
    } else if (e) {
        grpc_error(r, GRPC_INVALID_ARGUMENT, info.why ? info.why : err_meaning(e));
    } else {
        struct str tenant = info.tenant.len ? info.tenant : info.header_tenant;
        decide(w, tenant.ptr ? tenant : STR(""), door->authz_path, buf_view(&w->input), &d);
        answer(door, &d, r);
    }
}

void ext_authz_handle(struct door *door, const struct http_request *q, struct http_reply *r) {
    if (str_is(q->path, "/envoy.service.auth.v3.Authorization/Check")) check(door, q, r);
    else grpc_error(r, GRPC_UNIMPLEMENTED, "unknown method");
}
