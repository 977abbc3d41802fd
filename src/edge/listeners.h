/* The node's listeners: what a configuration asks for, compared with what is open. */
#ifndef REGENT_EDGE_LISTENERS_H
#define REGENT_EDGE_LISTENERS_H
#include "edge/loop.h"
#include "edge/takeover.h"

/* What requests get as their `listener`, in memory of the node's own: it outlives the configuration that it came from,
 * because requests that were put off still look at it. A changed listener gets a new record; old ones stay until the
 * node ends, a few hundred bytes each. */
struct listeners;

/* inherited: sockets whose addresses need not be free (in use). */
MUST_USE enum err listeners_new(const struct inherited *inherited, struct listeners **out);
void listeners_free(struct listeners *l);
/* What is to be done at each loop so that config's listeners are open, `ask`: only if nobody listens on a new address.
 * TLS files are read anew. ERR_INVALID and ERR_IO with a sentence in why: nothing has changed then. */
struct listener_changes {
    struct listener_change *items;
    uint32_t n;
};
MUST_USE enum err listeners_plan(struct listeners *l, const struct edge_config *config, bool ask,
                                 struct listener_changes *out, char *why, size_t why_bytes);
/* The same changes as loop number `i` makes them: Unix sockets belong to the first loop, and the others accept from
 * it. */
void listeners_for_loop(struct listener_changes *changes, struct server *first, bool is_first);
/* After all loops made them, or none (`done` false). */
void listeners_settle(struct listeners *l, struct listener_changes *changes, bool done);

#endif
