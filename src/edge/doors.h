/* The doors: protocols through which decisions are asked for. */
#ifndef REGENT_EDGE_DOORS_H
#define REGENT_EDGE_DOORS_H
#include "edge/decide.h"
#include "net/http.h"

struct door {
    struct worker *worker;
    struct str tenant_header; /* lower case */
    struct str authz_path;    /* decision for ext_authz; empty: the bundle's first entrypoint */
};

/* OPA's REST API (rest.c): POST /v1/data/PATH, GET /health, GET /metrics. */
void rest_handle(struct door *door, const struct http_request *request, struct http_reply *reply);
/* Envoy's /envoy.service.auth.v3.Authorization/Check (ext_authz.c). */
void ext_authz_handle(struct door *door, const struct http_request *request,
                      struct http_reply *reply);

/* ext_authz's halves, separate for tests and fuzzing. A CheckRequest's bytes to the input document
 * of opa-envoy-plugin: JSON in out. info->tenant gets the context extension tenant_id (a view into
 * the message, empty without one), info->header_tenant the header tenant_header. ERR_SYNTAX for no
 * CheckRequest; ERR_INPUT when it has no HTTP request, or that one's path or body cannot be
 * parsed (info->why says which). *info is always written. */
struct authz_request {
    struct str tenant, header_tenant;
    const char *why;
};
MUST_USE enum err authz_input(struct arena *a, struct str message, struct str tenant_header,
                              struct buf *out, struct authz_request *info);
/* A decision's JSON to a CheckResponse: a bool, or an object with `allowed`. ERR_INVALID when it is
 * neither (*why says what). */
MUST_USE enum err authz_reply(struct arena *a, struct str json, const char *decision_id,
                              struct buf *out, const char **why);
/* A denial of our own: status, and a JSON body with the reason. */
void authz_deny(struct arena *a, int http_status, const char *reason, const char *decision_id,
                struct buf *out);

#endif
