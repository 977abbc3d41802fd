/* Which tenant a request belongs to. What a client can write itself never decides it. */
#ifndef REGENT_EDGE_IDENTIFY_H
#define REGENT_EDGE_IDENTIFY_H
#include "edge/config.h"
#include "net/http.h"

struct key_sets;   /* one a configuration: keys of all JWT rules; a thread of its own fetches those of URLs */
struct identifier; /* one a worker: the rules, and a cache of tokens that were found valid */

/* Reads key files, starts fetching URLs (their rule refuses until keys are there). ERR_INVALID and
 * ERR_IO with a sentence in why. */
MUST_USE enum err key_sets_new(const struct edge_config *config, struct key_sets **out, char *why,
                               size_t why_bytes);
void key_sets_free(struct key_sets *k); /* after the identifiers that use it */
/* At a reload: keys of URLs that `was` has fetched serve `now` too, until it has fetched its own. Any thread. */
void key_sets_inherit(struct key_sets *now, struct key_sets *was);
MUST_USE enum err identifier_new(const struct edge_config *config, struct key_sets *keys,
                                 struct identifier **out);
void identifier_free(struct identifier *i);

/* The request that is decided about, as far as rules need it. Over REST and HTTP authz it comes with the
 * call itself; over ext_authz it is described in the CheckRequest. */
struct subject {
    const struct http_request *call; /* peer; headers that the proxy itself sent (gRPC: metadata) */
    struct str host, path;           /* path as sent, with query or without */
    struct str principal;            /* ext_authz: source.principal, which Envoy took from the certificate */
    const void *ctx;                 /* for the two functions */
    struct str (*header)(const void *ctx, struct str name);    /* of the request decided about */
    struct str (*extension)(const void *ctx, struct str name); /* ext_authz's; NULL: none at this door */
};

enum identity_kind {
    IDENTITY_FOUND,
    IDENTITY_NONE,   /* no rule found a tenant */
    IDENTITY_REFUSED /* a rule found what it looks for, but not valid; or the listener does not serve the tenant */
};
struct identity {
    struct str tenant;
    struct str path; /* what of subject.path remains behind a path rule's pattern; else subject.path */
    const char *by;  /* "jwt"; the rule's word; NULL: no rule */
    const char *why; /* a phrase when none or refused */
};
/* HTTP status of a request without tenant, at doors for authorization: 401 when its token was refused, else 403. */
int identity_status(enum identity_kind kind, const struct identity *who);
/* Rules in their order; the first that finds a tenant, or refuses, decides. Copies go to `a`. */
enum identity_kind identify(struct identifier *i, const struct subject *s, struct arena *a,
                            struct identity *out);

#endif
