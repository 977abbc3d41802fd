/* Which door a request came to.
 * in: requests with their listener. out: a door. owns: nothing. */
#include "edge/doors.h"

static const struct door rest = {rest_handle, rest_tenant, rest_refuse, false};
static const struct door ext_authz = {ext_authz_handle, ext_authz_tenant, ext_authz_refuse, false};
static const struct door http_authz = {http_authz_handle, http_authz_tenant, http_authz_refuse, false};
static const struct door admin = {admin_handle, admin_tenant, admin_refuse, true};
static const struct door distribution = {distribution_handle, admin_tenant, admin_refuse, true};

static bool is_below(struct str path, struct str prefix) {
    return prefix.len && str_starts(path, prefix) &&
           (path.len == prefix.len || path.ptr[prefix.len] == '/' || prefix.ptr[prefix.len - 1] == '/');
}

const struct door *door_of(const struct edge_config *config, const struct http_request *q) {
    const struct edge_listener *l = q->listener;
    if (q->is_grpc && l->doors & DOOR_EXT_AUTHZ) return &ext_authz;
    if (l->doors & DOOR_HTTP_AUTHZ && is_below(q->path, config->http_authz_prefix)) return &http_authz;
    if (l->doors & DOOR_ADMIN && admin_has_path(q->path)) return &admin;
    if (l->doors & DOOR_DISTRIBUTION && distribution_has_path(q->path)) return &distribution;
    return &rest;
}
