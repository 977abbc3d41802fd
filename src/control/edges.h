/* Edges as the routes of theirs share them. */
#ifndef REGENT_CONTROL_EDGES_H
#define REGENT_CONTROL_EDGES_H
#include "control/api.h"

/* A node was heard of: it stands in the table edges, or is added. Written every few seconds at
 * most. cursor: how far it has read, -1 not said; wait_ms: how long it lets the feed hold a
 * request, 0 not said. */
MUST_USE enum err edge_heard(struct api_call *c, struct str node, int64_t cursor, int64_t wait_ms);
/* Is the tenant in the caller's scopes? labels: JSON as the store has them, may be empty. */
bool edge_sees(struct api_call *c, struct str tenant, struct str labels);

#endif
