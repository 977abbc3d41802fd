/* The doors: protocols through which decisions are asked for. */
#ifndef REGENT_EDGE_DOORS_H
#define REGENT_EDGE_DOORS_H
#include "edge/decide.h"
#include "edge/node.h"
#include "net/http.h"

enum door_outcome {
    DOOR_ANSWERED, /* *reply is filled in */
    DOOR_LATER     /* a decision was DECISION_LATER: nothing was written; the same request will be given to the same
                      door again, by a worker that takes its time */
};

/* Each takes a whole request, whose `listener` is a struct edge_listener, finds the tenant (identify), asks
 * decide, and writes the reply; synchronous, on any worker's thread. */

/* OPA's REST API, batch, health, metrics, status (rest.c). All paths that are no other door's. A door bit that the
 * listener lacks: 404. */
enum door_outcome rest_handle(struct worker *w, const struct http_request *request,
                              struct http_reply *reply);
/* Envoy's /envoy.service.auth.v3.Authorization/Check (ext_authz.c). */
enum door_outcome ext_authz_handle(struct worker *w, const struct http_request *request,
                                   struct http_reply *reply);
/* Envoy's http_service, nginx auth_request, Traefik ForwardAuth: paths below config->http_authz_prefix
 * (http_authz.c). */
enum door_outcome http_authz_handle(struct worker *w, const struct http_request *request,
                                    struct http_reply *reply);

/* Versions of tenants' policies, for administrators: paths below /v1/policies where that door is open (admin.c).
 * Always put off once it is known that the call may be made. */
enum door_outcome admin_handle(struct worker *w, const struct http_request *request, struct http_reply *reply);
struct str admin_tenant(struct worker *w, const struct http_request *request);
void admin_refuse(struct worker *w, const struct http_request *request, enum err e, struct http_reply *reply);
bool admin_has_path(struct str path);
/* Files of versions that serve, for neighbours: paths below /policies and /tenants where that door is open
 * (distribution.c). */
enum door_outcome distribution_handle(struct worker *w, const struct http_request *request, struct http_reply *reply);
bool distribution_has_path(struct str path);

/* Only the tenant of a request, for fair queueing: a view, or ptr NULL when there is none (the door
 * will say why). Cheaper than the door itself. */
struct str rest_tenant(struct worker *w, const struct http_request *request);
struct str ext_authz_tenant(struct worker *w, const struct http_request *request);
struct str http_authz_tenant(struct worker *w, const struct http_request *request);

/* The answer of a node that is overloaded or a tenant over its rate, without asking the policy, in the door's own
 * form. e: ERR_OVERLOAD, ERR_RATE, ERR_CONCURRENCY. */
void rest_refuse(struct worker *w, const struct http_request *request, enum err e, struct http_reply *reply);
void ext_authz_refuse(struct worker *w, const struct http_request *request, enum err e, struct http_reply *reply);
void http_authz_refuse(struct worker *w, const struct http_request *request, enum err e, struct http_reply *reply);

/* The functions of one door. */
struct door {
    enum door_outcome (*handle)(struct worker *w, const struct http_request *request, struct http_reply *reply);
    struct str (*tenant)(struct worker *w, const struct http_request *request);
    void (*refuse)(struct worker *w, const struct http_request *request, enum err e, struct http_reply *reply);
    bool background; /* what it puts off goes to lanes of its own, which decide nothing and may wait */
};
/* gRPC at a listener with that door: ext_authz; below http_authz_prefix where that door is open: HTTP authz; the paths
 * of admin and distribution where those are open; all else: REST, which says what is not there. */
const struct door *door_of(const struct edge_config *config, const struct http_request *request);

#endif
