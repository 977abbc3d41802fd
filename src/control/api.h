/* The REST API: routes, who calls, bodies, errors, long polls.
 *
 * A route's handler runs on a worker thread with a store connection and an arena of its own and may
 * wait for both. Each file api_NAME.c has the routes of one kind of thing and is listed in
 * api_routes.c. docs/openapi.json describes every route, and tests/control/test_openapi.py
 * compares. */
#ifndef REGENT_CONTROL_API_H
#define REGENT_CONTROL_API_H
#include "base/arena.h"
#include "base/diag.h"
#include "base/json.h"
#include "control/control.h"
#include "net/http.h"

enum {
    API_ARGS = 4,
    API_PAGE = 100,
    API_PAGE_MOST = 1000,
    API_BODY_BYTES = 64 << 20,
    API_ARENA_BYTES = 1 << 30
};

/* What a role may do; a route asks for one. */
enum api_right {
    RIGHT_NONE,    /* anybody, without a token */
    RIGHT_READ,    /* viewer, author, releaser, admin */
    RIGHT_AUTHOR,  /* author, admin: templates, libraries, tenants, builds */
    RIGHT_RELEASE, /* releaser, admin */
    RIGHT_EDGE,    /* edge, admin: feed, bundles, status */
    RIGHT_ADMIN,   /* admin: tokens, audit, settings */
    RIGHT_KNOWN,   /* whoever has a token or a certificate */
};

/* Who calls. */
struct principal {
    struct str token; /* id of the token, or "" */
    struct str name;  /* for audit and logs: the token's name, the certificate's subject */
    struct str role;  /* admin, author, releaser, viewer, edge */
    const struct json
        *scopes; /* {"tenants": ["eu-*"], "labels": {"region": "eu"}}; NULL or {}: everything */
    bool once; /* the first token: good for making another one, and nothing else */
};

struct api_call {
    struct control *control;
    struct db_conn *db; /* outside of a transaction when a handler begins */
    struct arena *arena;
    const struct http_request *q;
    struct http_reply *r;
    void *ctx; /* what a handler gives to the body of its change */
    struct str args[API_ARGS]; /* of the path's {…}, decoded, valid ids where the route says {id} */
    struct principal who;
    bool last; /* of a long poll: its time is over, or it is cut short: answer now */
    bool secret; /* set by the body of a change: its answer is not kept for its Idempotency-Key */
    /* set by api_wait */
    bool waits;
    struct str topic;
    uint32_t wait_ms;
};
typedef void api_handler(struct api_call *c);

struct api_route {
    const char *method, *path; /* "GET", "/v1/tenants/{id}"; {…} stands for one segment, {…*} at the
                                  end for all the rest */
    enum api_right right;
    api_handler *run;
};
extern const struct api_route
    *const api_routes[]; /* tables, each ended by method NULL; ended by NULL */

/* ---- who may (api_auth.c) ---- */
bool api_may(const struct principal *p, enum api_right right);
/* Is the tenant in the caller's scopes? labels: the tenant's, may be NULL. */
bool api_sees(const struct principal *p, struct str tenant, const struct json *labels);
bool api_unscoped(const struct principal *p);
/* false, and an answer (403): a scoped token may not change what all tenants share. */
bool api_need_unscoped(struct api_call *c);
/* A condition for WHERE on the tenants `t` that the caller sees, with further parameters appended:
 * "" for everything. */
struct sql_filter {
    char sql[2048];
    struct db_value params[DB_MAX_PARAMS];
    uint32_t n;
};
/* Adds " AND (…)" for the caller's scopes to a filter that numbers its parameters from $1. false:
 * does not fit. */
bool api_scope_filter(const struct api_call *c, struct sql_filter *f);

/* ---- what is asked (api_call.c) ---- */
/* A parameter of the query, decoded, in the arena; ptr NULL: not given. */
struct str api_param(struct api_call *c, const char *name);
/* The same of a parameter that may be given several times: the first is 0. */
struct str api_param_at(struct api_call *c, const char *name, uint32_t at);
/* As a number from 0 to most; false, and an answer (400), when it is none. Not given: *out stays.
 */
bool api_param_number(struct api_call *c, const char *name, int64_t most, int64_t *out);
/* The body as a JSON value: nothing in it may mean two things (json_parse_strict). false, and an
 * answer (400, 413, 415). */
bool api_value(struct api_call *c, struct json **out);
/* The body as a JSON object with no members but those named (NULL ends; NULL list: any). false, and
 * an answer (400, 413, 415). */
bool api_body(struct api_call *c, const char *const *members, struct json **out);
/* If-Match: "*" or the ETag of rev. false, and an answer (412), when another rev is meant.
 * required: 428 without one. */
bool api_if_match(struct api_call *c, int64_t rev, bool required);

/* ---- answers (api_reply.c) ---- */
void api_json(struct api_call *c, int status, const struct json *body);
/* {"code": "not_found", "message": "…", "errors": […]}; errors may be NULL. */
void api_error(struct api_call *c, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void api_error_list(struct api_call *c, int status, const char *code, const char *message,
                    const struct json *errors);
/* Answers for an error of the store: 409 for EXISTS, 503 with Retry-After for OVERLOAD and IO, else
 * 500, logged. */
void api_store_error(struct api_call *c, enum err e);
struct json *api_diags(struct arena *a,
                       const struct diag_list *diags); /* [{"code","message","location":{…}}] */
void api_etag(struct api_call *c, int64_t rev);
void api_header(struct api_call *c, struct str name,
                struct str value); /* both in the arena, or static */
/* {"items": […], "next": "…"}: next is the cursor of the following page, left out on the last one.
 */
void api_page(struct api_call *c, struct json *items, struct str next);
/* limit and after of a list's query; after is the caller's own cursor text. false: answered. */
struct api_page_request {
    int64_t limit;
    struct str after; /* "": from the beginning */
};
bool api_page_read(struct api_call *c, struct api_page_request *out);
struct json *api_time(struct arena *a, int64_t ms); /* "2026-11-29T06:08:50.123Z", or null for 0 */

/* ---- changes ---- */
/* Runs body in a transaction (db_transact) with idempotency: a request with Idempotency-Key that
 * was answered before gets the same answer (422 if it was another request), and the answer of body
 * is kept with what it changed. body answers; when it returns an error, nothing is kept and *it*
 * must not have answered unless it returns ERR_DIAG (refused: answered, rolled back). Takes care of
 * all errors. */
typedef enum err api_change_body(struct api_call *c);
void api_change(struct api_call *c, api_change_body *body);

/* ---- long polls (api_serve.c) ---- */
/* In a handler, instead of answering: hold the request for `ms` at most and run the handler again
 * when `topic` is heard (a tenant's id or a build's, or "" for any change of the feed), or with c->last. false:
 * too many wait; answered (429, 503). */
bool api_wait(struct api_call *c, struct str topic, uint32_t ms);

struct api;
MUST_USE enum err api_new(struct control *control, struct api **out, int *port,
                          char why[CONTROL_WHY_BYTES]);
void api_run(struct api *a);  /* the loop, on this thread, until api_stop */
void api_stop(struct api *a); /* any thread */
/* Reads certificate, key and CA again for new connections; what is wrong with them is logged, and
 * nothing changes. Any thread. */
void api_renew_tls(struct api *a);
void api_free(struct api *a);
/* What was heard from the store. */
void api_hear(struct api *a, const char *topic, struct str payload);

#endif
