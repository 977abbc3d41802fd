/* Releases: which version of a tenant is current, and everybody who has to hear of it. */
#ifndef REGENT_CONTROL_RELEASE_H
#define REGENT_CONTROL_RELEASE_H
#include "base/json.h"
#include "control/db.h"

struct release_ask {
    struct str tenant, version; /* version "": the tenant has none any more (suspended, deleted) */
    const char
        *cause; /* "build", "request", "rollback", "rollout", "suspend", "delete", "activate" */
    struct str rollout, who;
};
/* In the caller's transaction: the tenant's serial, its current version, a row of releases, the
 * feed (counts `feed`), notifies "feed" with the tenant's id. Nothing when it is current already
 * (*serial 0). ERR_NOT_FOUND: no such version. The caller adds to the audit log. `feed_seq` 0:
 * takes the next number itself; else uses it (for callers that counted many). */
MUST_USE enum err release_set(struct db_conn *c, struct arena *a, const struct release_ask *ask,
                              int64_t feed_seq, int64_t *serial);

struct control;
/* Moves the blob store's pointers to what was released, then purges CDNs and tells edges: whatever
 * the store says is not done yet, by any process, under leases, tried again until it works. */
struct publisher;
MUST_USE enum err publisher_new(struct control *control, struct publisher **out,
                                char why[DB_WHY_BYTES]);
void publisher_wake(struct publisher *p); /* "feed" was heard */
void publisher_free(struct publisher *p);

struct rollouts;
MUST_USE enum err rollouts_new(struct control *control, struct rollouts **out,
                               char why[DB_WHY_BYTES]);
void rollouts_wake(struct rollouts *r);
void rollouts_free(struct rollouts *r);

#endif
