/* Who is told of a release: CDNs, which forget what they keep of a tenant, and edges, which fetch
 * it anew. */
#ifndef REGENT_CONTROL_PURGE_H
#define REGENT_CONTROL_PURGE_H
#include "base/arena.h"
#include "base/err.h"
#include "net/aws.h"
#include "net/fetch.h"

enum {
    PURGE_WHY_BYTES = 512,
    PURGE_NAME_BYTES = 512,
    PURGE_METHOD_BYTES = 16,
    PURGE_PATHS = 4,
    PURGE_HEADERS = 4
};

enum purge_kind { PURGE_CLOUDFRONT, PURGE_VARNISH, PURGE_NGINX, PURGE_HTTP, PURGE_RELOAD };
struct purge_target {
    enum purge_kind kind;
    char
        name[PURGE_NAME_BYTES]; /* as it was given, "reload:URL" for an edge: its rows in errands */
    char url[PURGE_NAME_BYTES];
    char method[PURGE_METHOD_BYTES];
    char prefix[PURGE_NAME_BYTES]; /* path before /tenants/ at the CDN: "", "/eu" */
    bool by_version;               /* the URL has {version} */
    uint32_t calls;                /* requests for each tenant; 0: one for many tenants */
};

/* text: "cloudfront:ID", "varnish:URL", "nginx:URL", "http:METHOD:URL"; of an edge: the URL of its
 * admin door. cdn_url: where bundles are fetched, may be NULL. ERR_INVALID with a sentence in why.
 */
MUST_USE enum err purge_read(const char *text, bool edge, const char *cdn_url,
                             struct purge_target *out, char why[PURGE_WHY_BYTES]);

/* What is asked for: tenants (one, unless the target takes many at once). Everything in the arena.
 */
struct purge_ask {
    const struct str *tenants;
    uint32_t n, call; /* call: from 0 to target->calls - 1 */
    struct str version;
    struct str token;            /* of edges, may be empty */
    const struct aws_keys *keys; /* of CloudFront */
};
struct purge_request {
    struct fetch_request fetch;
    struct http_header headers[PURGE_HEADERS];
};
MUST_USE enum err purge_request(struct arena *a, const struct purge_target *t,
                                const struct purge_ask *ask, struct purge_request *out);

/* What a status means. */
enum purge_outcome {
    PURGE_DONE,
    PURGE_REFUSED, /* another time will not help: an edge refused the policy itself */
    PURGE_AGAIN,
};
enum purge_outcome purge_outcome(const struct purge_target *t, int status);

#endif
