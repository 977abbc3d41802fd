/* What the authorization doors share: a request that is asked about, its input document, and what a decision says.
 * The shapes are opa-envoy-plugin's. */
#ifndef REGENT_EDGE_AUTHZ_H
#define REGENT_EDGE_AUTHZ_H
#include "base/json.h"
#include "edge/identify.h"

enum { AUTHZ_MAX_PAIRS = 10000 }; /* in a query or form, as in Go */

/* The request that is decided about. Views: of the CheckRequest, or of the call itself. */
struct authz_http {
    struct str method, path, host, scheme, protocol, body;
    struct str content_type, content_length, partial; /* headers; ptr NULL: not there */
};

/* ---- which parts of an input document a module reads (authz_wanted.c) ---- */
/* Parts as bits: of AttributeContext, its Request and its HttpRequest by field number, and of the document. */
enum { AUTHZ_ATTRIBUTES_SHIFT = 0, AUTHZ_REQUEST_SHIFT = 16, AUTHZ_HTTP_SHIFT = 24, AUTHZ_MEMBERS_SHIFT = 48 };
enum authz_member {
    AUTHZ_PARSED_PATH = 1,
    AUTHZ_PARSED_QUERY = 2,
    AUTHZ_PARSED_BODY = 4,
    AUTHZ_TRUNCATED_BODY = 8,
    AUTHZ_SOURCE_PRINCIPAL = 16
};
#define AUTHZ_ALL (~(uint64_t)0)
/* A module's input paths as such bits; for policy_source.input_mark. What is no list of lists of strings wants all.
 */
uint64_t authz_wanted(const struct json *paths);

/* ---- CheckRequest (authz_check.c, authz_input.c) ---- */
struct authz_check {
    struct str attributes, message; /* AttributeContext and its HttpRequest; ptr NULL: none */
    struct str principal;           /* source.principal */
    struct authz_http http;
};
/* Finds what tenant and input need. Messages that come in pieces are joined in `a`, as protobuf says. ERR_SYNTAX: not
 * a CheckRequest; ERR_MEMORY. */
MUST_USE enum err authz_check_open(struct arena *a, struct str message, struct authz_check *out);
/* A request header (name in lower case), from `headers` or from `header_map`; a context extension. ptr NULL: none. */
struct str authz_check_header(const struct authz_check *c, struct str name);
struct str authz_check_extension(const struct authz_check *c, struct str name);
/* Appends the input document: its `wanted` parts. The path, query and body are checked
 * also when they are not wanted. ERR_INPUT with *why: path, query or body cannot be parsed, or the CheckRequest is
 * broken; ERR_LIMIT, ERR_MEMORY. */
MUST_USE enum err authz_check_input(struct arena *a, const struct authz_check *c, uint64_t wanted, struct buf *out,
                                    const char **why);

/* ---- what both kinds of doors add beside the attributes (authz_parsed.c) ---- */
/* Appends `"parsed_path":…,"parsed_query":…,"parsed_body":…,"truncated_body":…,`, of these what is wanted. ERR_INPUT
 * with *why, ERR_LIMIT, ERR_MEMORY. */
MUST_USE enum err authz_parsed(struct arena *a, const struct authz_http *h, uint64_t wanted, struct buf *out,
                               const char **why);
/* Members of an object of lists: `raw` values are JSON text, others become strings. */
struct authz_pair {
    struct str key, value;
    uint32_t order;
    bool raw;
};
struct authz_pairs {
    struct authz_pair *items;
    uint32_t n, cap;
};
/* Appends {"key":[value,…],…}, values in their order. Sorts the pairs. */
void authz_pairs_write(struct authz_pairs *p, struct buf *out);
/* Parts of a multipart/form-data body by their names (authz_multipart.c), as Go's mime/multipart reads them. *found
 * false: the type names no boundary. ERR_INPUT with *why, ERR_MEMORY. */
MUST_USE enum err authz_multipart(struct arena *a, struct str content_type, struct str body, struct authz_pairs *out,
                                  bool *found, const char **why);

/* ---- decisions (authz_decision.c, authz_reply.c) ---- */
/* A decision, checked: true, false, or an object with `allowed`. */
struct authz_decision {
    bool allowed, is_object, has_body;
    int status;      /* of a denial: http_status, or 403 */
    struct str body; /* of a denial */
    const struct json *headers,
        *response_headers; /* objects or arrays of objects of strings or lists of strings; or NULL */
    const struct json *headers_to_remove, *query_to_remove; /* arrays of strings, or NULL */
    const struct json *query_to_set;                        /* object of strings or lists of strings, or NULL */
    const struct json *metadata;                            /* object, or NULL */
};
/* ERR_INVALID with *why: a type that opa-envoy-plugin refuses; ERR_MEMORY. The tree lies in `a`. */
MUST_USE enum err authz_decision_read(struct arena *a, struct str json, struct authz_decision *out, const char **why);
/* Calls `each` for every header, lists spread out; false as soon as `each` gives false. */
bool authz_headers_each(const struct json *headers, bool (*each)(void *ctx, struct str name, struct str value),
                        void *ctx);
/* CheckResponse for a decision; with dry_run a denial becomes OK. ERR_LIMIT, ERR_MEMORY. */
MUST_USE enum err authz_reply(const struct authz_decision *d, bool dry_run, const char *decision_id, struct buf *out);
/* CheckResponse that denies for a reason of our own: {"reason":…} as body. */
void authz_deny(int http_status, const char *reason, const char *decision_id, struct buf *out);

#endif
