/* The feed of changes as edges read it (docs/edge-protocol.md), and what is known of edges. */
#ifndef REGENT_CONTROL_FEED_H
#define REGENT_CONTROL_FEED_H
#include "base/json.h"
#include "control/db.h"

enum {
    EDGE_WAIT_MS = 60000, /* of a node that never said how long it waits */
    EDGE_GONE_WAITS = 3,
    EDGE_KEPT_MS = 24 * 3600 * 1000
};

/* In the caller's transaction: readers of the feed look at the tenant again, because its labels,
 * and with them the edges that serve it, have changed. Counts `feed`, notifies. A tenant that was
 * never released: nothing. */
MUST_USE enum err feed_touch(struct db_conn *c, struct arena *a, struct str tenant);
/* The store's id, drawn when it is asked for the first time: a cursor of another store's feed is
 * told by it. In any state but a failed transaction. */
MUST_USE enum err feed_store_id(struct db_conn *c, struct arena *a, struct str *out);
/* Forgets nodes that were not heard of for EDGE_KEPT_MS, a few at a time. */
MUST_USE enum err edges_prune(struct db_conn *c, struct arena *a, int64_t now_ms);

#endif
