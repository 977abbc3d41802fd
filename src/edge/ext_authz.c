/* Envoy's external authorization over gRPC: Check.
 * in: CheckRequest messages. out: CheckResponse messages, or a gRPC error where opa-envoy-plugin gives one. owns:
 * nothing. */
#include "edge/authz.h"
#include "edge/doors.h"

enum { GRPC_UNKNOWN = 2, GRPC_UNIMPLEMENTED = 12 };

static void grpc_error(struct http_reply *r, int status, const char *message) {
    r->status = 200;
    r->grpc_status = status;
    r->grpc_message = message;
    buf_clear(r->body);
}

/* Limits, traps and requests that cannot be read are denied here, so that no failure mode of Envoy's can let them
 * through. What opa-envoy-plugin answers with a gRPC error (undefined, a conflict, a builtin's error) stays one. */
static bool is_evaluation_error(enum err e) { return e == ERR_CONFLICT || e == ERR_BUILTIN || e == ERR_TYPE; }

/* status 0: the decision's own, but never 500, which a client would take for a fault of the service behind Envoy. */
static void deny(int status, const struct decision *d, struct http_reply *r) {
    if (!status) status = decision_status(d);
    r->status = 200;
    r->grpc_status = 0;
    authz_deny(status == 500 ? 403 : status, decision_reason(d), d->id, r->body);
}

/* The phrase in the arena: gRPC messages must outlive this call. */
static const char *kept(struct worker *w, const char *text) {
    const char *copy = arena_strndup(&w->arena, text, strlen(text));
    return copy ? copy : "";
}

static void refuse(struct worker *w, struct str tenant, enum err e, const char *why, int status,
                   struct http_reply *r) {
    struct decision d;
    decision_refuse(w, tenant, w->config->authz_path, false, e, why, &d);
    deny(status, &d, r);
}

static void value_answer(struct worker *w, struct str tenant, struct decision *d, struct http_reply *r) {
    struct authz_decision said;
    const char *why = NULL;
    r->status = 200;
    r->grpc_status = 0;
    enum err e = authz_decision_read(&w->arena, d->json, &said, &why);
    if (!e) e = authz_reply(&said, w->config->authz_dry_run, d->id, r->body);
    if (!e) return;
    decision_refuse(w, tenant, w->config->authz_path, true, e, why ? why : "the reply is too large", d);
    if (e == ERR_INVALID)
        grpc_error(r, GRPC_UNKNOWN, why);
    else
        deny(0, d, r);
}

static void answer(struct worker *w, struct str tenant, struct decision *d, struct http_reply *r) {
    switch (d->kind) {
    case DECISION_VALUE: value_answer(w, tenant, d, r); return;
    case DECISION_NO_TENANT: deny(0, d, r); return;
    case DECISION_FAILED:
        if (is_evaluation_error(d->err))
            grpc_error(r, GRPC_UNKNOWN, kept(w, decision_reason(d)));
        else
            deny(0, d, r);
        return;
    case DECISION_UNDEFINED:
    case DECISION_NO_ENTRYPOINT: grpc_error(r, GRPC_UNKNOWN, decision_reason(d)); return;
    case DECISION_LATER: return;
    }
}

static struct str subject_header(const void *ctx, struct str name) { return authz_check_header(ctx, name); }
static struct str subject_extension(const void *ctx, struct str name) { return authz_check_extension(ctx, name); }

static enum identity_kind whose(struct worker *w, const struct http_request *q, const struct authz_check *c,
                                struct identity *out) {
    struct subject s = {.call = q,
                        .host = c->http.host,
                        .path = c->http.path,
                        .principal = c->principal,
                        .ctx = c,
                        .header = subject_header,
                        .extension = subject_extension};
    enum identity_kind found = identify(w->identifier, &s, &w->arena, out);
    if (found == IDENTITY_FOUND) tenants_expect(w->tenants, out->tenant);
    return found;
}

/* The parts of the input that the tenant's module reads: no others are written. */
static uint64_t wanted_by(struct worker *w, struct str tenant) {
    const struct tenant_entry *t = tenants_find(w->tenants, tenant);
    return t && t->policy ? policy_input_mark(t->policy) : AUTHZ_ALL;
}

static enum door_outcome check(struct worker *w, const struct http_request *q, struct http_reply *r) {
    struct authz_check c;
    struct identity who = {.tenant = {"", 0}};
    struct decision d;
    const char *why = NULL;
    enum err e = authz_check_open(&w->arena, q->body, &c);
    if (e) return refuse(w, STR(""), ERR_INPUT, "no CheckRequest", 400, r), DOOR_ANSWERED;
    enum identity_kind found = whose(w, q, &c, &who);
    if (found != IDENTITY_FOUND) {
        refuse(w, STR(""), ERR_NOT_FOUND, who.why ? who.why : "no tenant", identity_status(found, &who), r);
        return DOOR_ANSWERED;
    }
    buf_clear(&w->input);
    e = authz_check_input(&w->arena, &c, wanted_by(w, who.tenant), &w->input, &why);
    if (e) {
        refuse(w, who.tenant, e, why ? why : "the input document is too large", e == ERR_INPUT ? 400 : 0, r);
        return DOOR_ANSWERED;
    }
    struct ask ask = {.tenant = who.tenant, .path = w->config->authz_path, .input = buf_view(&w->input)};
    w->facts.header = subject_header;
    w->facts.header_ctx = &c;
    decide(w, &ask, &d);
    if (d.kind == DECISION_LATER) return DOOR_LATER;
    answer(w, who.tenant, &d, r);
    w->facts.header = NULL;
    return DOOR_ANSWERED;
}

static bool is_check(const struct http_request *q) {
    return str_is(q->path, "/envoy.service.auth.v3.Authorization/Check");
}

enum door_outcome ext_authz_handle(struct worker *w, const struct http_request *q, struct http_reply *r) {
    const struct edge_listener *listener = q->listener;
    arena_reset(&w->arena);
    worker_notes(w, "ext_authz", q);
    if (listener && !(listener->doors & DOOR_EXT_AUTHZ)) {
        grpc_error(r, GRPC_UNIMPLEMENTED, "no such service on this listener");
        return DOOR_ANSWERED;
    }
    if (is_check(q)) return check(w, q, r);
    grpc_error(r, GRPC_UNIMPLEMENTED, "unknown method");
    return DOOR_ANSWERED;
}

struct str ext_authz_tenant(struct worker *w, const struct http_request *q) {
    struct authz_check c;
    struct identity who;
    arena_reset(&w->arena);
    if (!is_check(q) || authz_check_open(&w->arena, q->body, &c) || whose(w, q, &c, &who) != IDENTITY_FOUND)
        return (struct str){NULL, 0};
    return who.tenant;
}

void ext_authz_refuse(struct worker *w, const struct http_request *q, enum err e, struct http_reply *r) {
    struct str tenant = ext_authz_tenant(w, q);
    worker_notes(w, "ext_authz", q);
    refuse(w, tenant.ptr ? tenant : STR(""), e, err_meaning(e), 0, r);
}
