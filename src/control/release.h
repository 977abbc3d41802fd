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
 * feed (counts `feed`), notifies "feed" with the tenant's id. Nothing when it is current already,
 * or when a version is to go to a tenant that is suspended or deleted (*serial 0; set its status
 * first). ERR_NOT_FOUND: no such tenant or version. The caller adds to the audit log. `feed_seq` 0:
 * takes the next number itself; else uses it (for callers that counted many). Locks the tenant's
 * row, then `feed`: who releases many goes by ascending ids, so that two do not wait for each
 * other. */
MUST_USE enum err release_set(struct db_conn *c, struct arena *a, const struct release_ask *ask,
                              int64_t feed_seq, int64_t *serial);

/* The version to which a rollback of the tenant leads: of those that were ever released, the one
 * with the highest number below the current one's, so that doing it again leads further back.
 * ERR_NOT_FOUND: there is none. */
MUST_USE enum err release_before(struct db_conn *c, struct arena *a, struct str tenant,
                                 struct str *version);

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
