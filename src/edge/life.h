/* How a node begins beside the one before it, becomes ready, and ends without losing a request. */
#ifndef REGENT_EDGE_LIFE_H
#define REGENT_EDGE_LIFE_H
#include "edge/node.h"
#include "edge/takeover.h"

/* Can requests be sent here: is it not about to stop, and is there a version of each tenant in node.required (each
 * pattern needs one tenant, and all that match it)? If not, what is missing goes to `missing` (may be NULL), as a
 * sentence. For readers of the tenants' table. */
bool node_ready(const struct node *n, const struct edge_config *c, struct buf *missing);
/* Does asking take long: are there patterns to hold against many tenants? */
bool node_ready_is_long(const struct node *n, const struct edge_config *c);

struct life {
    struct inherited inherited;
    int channel; /* to the running node that gives way; -1: there is none, or no more */
    struct handover *handover;
};
void life_init(struct life *l);
/* First of all: finds out whether there is a node to take over from, or systemd to get sockets from. */
MUST_USE enum err life_begin(struct life *l, const struct edge_config *c, char *why, size_t why_bytes);
/* All is loaded: gets the running node's sockets. */
MUST_USE enum err life_receive(struct life *l, char *why, size_t why_bytes);
/* This node serves: the one before may go, and the next may come. A failure only means that none can. */
void life_serve(struct life *l, const struct edge_config *c, struct server **servers, uint32_t n,
                const struct log *log);
/* No node can take over from this one any more. */
void life_end_handover(struct life *l);
void life_deinit(struct life *l);

#endif
