/* What the API's own files share: serving, routing, who calls, counters. */
#ifndef REGENT_CONTROL_API_PRIVATE_H
#define REGENT_CONTROL_API_PRIVATE_H
#include "control/api.h"
#include "net/server.h"

enum {
    API_ROUTES = 192, /* at most, in all tables */
    API_LATENCIES = 14,
    AUTH_TOKEN_BYTES = 4096, /* longer ones are nobody's */
    AUTH_ONCE_MS = 24 * 3600 * 1000
};

/* ---- api_routes.c ---- */
/* The request's route, with c->args filled in; *number counts it through all tables. NULL: answered
 * (400, 404, 405). */
const struct api_route *api_route_find(struct api_call *c, uint32_t *number);
/* The n-th of all tables; NULL past the last. */
const struct api_route *api_route_at(uint32_t n);

/* ---- api_auth.c ---- */
struct auth; /* tokens that were seen lately, and who failed; any thread */
MUST_USE enum err auth_new(struct auth **out);
void auth_free(struct auth *a);
/* Who calls, into c->who. false: answered (401, 429, 503). */
bool auth_identify(struct api_call *c);
/* What is known of tokens is looked up again: "tokens" was heard. */
void auth_forget(struct auth *a);
uint64_t auth_failures(const struct auth *a);
/* Draws a token: "rgt_" and 64 hexadecimal digits. ERR_IO: no random numbers. */
enum { AUTH_DRAWN_BYTES = 4 + 64 + 1 };
MUST_USE enum err auth_draw(char out[AUTH_DRAWN_BYTES]);
/* Adds a one-time admin token in a transaction of its own. `first`: only if no token opens anything
 * yet; else *out is empty, and *pending says whether a one-time token is still to be used. */
MUST_USE enum err auth_make_once(struct db_conn *c, struct arena *a, bool first,
                                 char out[AUTH_DRAWN_BYTES], bool *pending);

/* ---- api_serve.c ---- */
struct api_counts {
    _Atomic uint64_t answers[API_ROUTES + 1]
                            [5]; /* by route (the last: none) and class of the status, 1xx first */
    _Atomic uint64_t took[API_LATENCIES + 1]; /* by api_latency_us; the last: longer */
    _Atomic uint64_t took_us, waits_refused, wakes, keyed;
    _Atomic uint32_t waiting, queued, busy;
};
extern const uint32_t api_latency_us[API_LATENCIES];
struct api_counts *api_counters(struct api *a);
struct auth *api_auth(struct api *a);
uint32_t api_workers(const struct api *a);
const struct server_counts *api_server_counts(const struct api *a);

/* ---- answers ---- */
/* Retry-After: seconds. */
void api_retry_after(struct api_call *c, uint32_t seconds);
/* As if nothing had been answered yet. */
void api_unanswer(struct api_call *c);

#endif
