/* Inside of the REST door: one call, and what its parts share. */
#ifndef REGENT_EDGE_REST_H
#define REGENT_EDGE_REST_H
#include "edge/doors.h"

/* What a query says, read as OPA does: a flag is set when its only value is empty, or one value is "true". */
struct rest_params {
    bool pretty, provenance, metrics, instrument, strict_builtin_errors;
    bool bundles, plugins, exclude_bundle, ready; /* /health */
    enum rest_explain { EXPLAIN_OFF, EXPLAIN_NOTES, EXPLAIN_FAILS, EXPLAIN_FULL, EXPLAIN_DEBUG } explain;
    struct str input; /* the last one; ptr NULL: none */
};
/* Pairs that cannot be decoded, and unknown names, are passed over. *out comes zeroed. */
void rest_query(struct arena *a, struct str query, struct rest_params *out);

struct rest_call {
    struct worker *w;
    const struct http_request *q;
    struct http_reply *r;
    uint32_t doors; /* of the listener */
    enum identity_kind identity;
    struct identity who;
    struct str path; /* behind what a path rule took */
    struct str rest; /* behind the route, without its slash: "users/alice" */
    struct rest_params params;
    const char *why; /* REST_REFUSED: in OPA's words */
    bool compact;    /* the body is compact JSON, which `pretty` indents */
    uint64_t start_ns, parsed_ns; /* when metrics are asked for */
};
static inline struct str rest_tenant_of(const struct rest_call *c) {
    return c->identity == IDENTITY_FOUND ? c->who.tenant : (struct str){NULL, 0};
}

/* ---- rest_reply.c ---- */
/* OPA's error body: indented, with <, > and & escaped. */
void rest_error(struct rest_call *c, int status, const char *code, const char *message);
/* The reply will be compact JSON. */
static inline void rest_json(struct rest_call *c, int status) {
    c->r->status = status;
    c->r->content_type = "application/json";
    c->compact = true;
}
/* `before` and `after` put together are the message. */
void rest_error2(struct rest_call *c, int status, const char *code, const char *before, struct str after);
void rest_plain(struct rest_call *c, int status, const char *text);
/* 405 as Go's router gives it (allow: "GET, HEAD"), or as OPA's own handlers do (NULL: no body). */
void rest_wrong_method(struct rest_call *c, const char *allow);
/* To another path; query stays only when keep_query. */
void rest_redirect(struct rest_call *c, int status, struct str path, bool keep_query);
/* No tenant, or not this one: 400, 403, by what identify found. */
void rest_no_tenant(struct rest_call *c);
void rest_header(struct rest_call *c, struct str name, struct str value);
/* Retry-After, where a decision's failure is one that waiting cures. */
void rest_retry_after(struct rest_call *c, const struct decision *d);
/* The answer of a failed decision. */
void rest_failure(struct rest_call *c, const struct decision *d);
/* The members code, message and errors of a failed decision, without braces; compact. */
void rest_failure_members(const struct decision *d, struct buf *out);
/* What is left to do with a compact body: indent it when asked for, replace it when it did not fit. */
void rest_finish(struct rest_call *c);
/* Compresses the reply when it is long enough and the client takes gzip. */
void rest_compress(struct rest_call *c);
/* JSON text as Go's encoder indents it: two blanks a level (the first 64), empty collections closed at once. */
void rest_indent(struct str json, struct buf *out);
/* "data.users[1][\"x-y\"]": a path as sent, as OPA prints references. */
void rest_ref(struct arena *a, struct str path, struct buf *out);

/* ---- rest_body.c ---- */
enum rest_outcome {
    REST_OK,
    REST_LATER,  /* more than an event loop should do */
    REST_REFUSED /* c->why */
};
/* The request's body, inflated when it came compressed: a view of the request or of worker.input. */
enum rest_outcome rest_body(struct rest_call *c, struct str *body);
/* The input document of POST /v1/data, and of a v0 body, which is one. ptr NULL: none. *checked: syntax is known to be
 * right, else only the module tells. */
enum rest_outcome rest_read_input(struct rest_call *c, struct str *body, struct str *input, bool *checked);
enum rest_outcome rest_read_v0(struct rest_call *c, struct str *input);
/* The value of ?input=. */
enum rest_outcome rest_read_get(struct rest_call *c, struct str *input);
bool rest_body_is_yaml(const struct rest_call *c);
/* A YAML body as JSON text, in worker.input. */
enum rest_outcome rest_yaml(struct rest_call *c, struct str yaml, struct str *json);

/* ---- The routes: c->rest is set ---- */
enum door_outcome rest_v1_data(struct rest_call *c);    /* rest_data.c */
enum door_outcome rest_v0_data(struct rest_call *c);
enum door_outcome rest_root(struct rest_call *c);       /* POST / */
enum door_outcome rest_batch(struct rest_call *c);      /* rest_batch.c */
enum door_outcome rest_health(struct rest_call *c);     /* rest_status.c */
enum door_outcome rest_health_rule(struct rest_call *c);
enum door_outcome rest_status(struct rest_call *c);
enum door_outcome rest_config(struct rest_call *c);
enum door_outcome rest_metrics(struct rest_call *c);
enum door_outcome rest_v1_write(struct rest_call *c);   /* rest_write.c: PUT, PATCH, DELETE */
enum door_outcome rest_policies(struct rest_call *c);
enum door_outcome rest_query_api(struct rest_call *c);  /* /v1/query, /v1/compile */
enum door_outcome rest_index(struct rest_call *c);      /* GET / */

/* c->rest as decide wants it: decoded, "/" for all data. false: OPA could make no reference of it; answered. */
bool rest_path(struct rest_call *c, struct str *out);
/* A JSON string with <, > and & escaped, as Go prints it. */
void rest_put_string(struct str s, struct buf *out);
/* {"metrics":…}'s value, of one decision or of a batch. */
void rest_put_metrics(struct rest_call *c, uint64_t eval_ns, struct buf *out);
void rest_put_provenance(struct rest_call *c, struct buf *out);

#endif
