/* One event loop of the node: answers inline what is short, puts off what is not, and takes turns between tenants when
 * there is more to do than time. */
#ifndef REGENT_EDGE_LOOP_H
#define REGENT_EDGE_LOOP_H
#include "edge/lane.h"

struct loop;

/* Where requests go that are put off: items[0] are the node's own, items[1 + i] those of config.groups[i], the last
 * ones `background`, for doors that decide nothing. */
struct lane_sets {
    struct lanes **items, *background;
    uint32_t n;
};
struct loop_options {
    const struct worker *like; /* what the loop's worker begins as */
    struct engine *engine;
    uint32_t live_instances;
    unsigned number;
    struct setup *setup;
    const struct lane_sets *lanes;
    struct node *node;
};
MUST_USE enum err loop_new(const struct loop_options *options, struct loop **out);
struct server *loop_server(struct loop *l);
MUST_USE enum err loop_start(struct loop *l);
void loop_stop(struct loop *l); /* asks it to */
void loop_drain(struct loop *l, uint32_t ms); /* the same gently: server_drain */
bool loop_running(const struct loop *l);
void loop_join(struct loop *l); /* returns when its requests are answered */
void loop_free(struct loop *l);

/* What changes at a loop's listeners. */
enum listener_change_kind { LISTENER_ADD, LISTENER_CHANGE, LISTENER_REMOVE };
struct listener_change {
    enum listener_change_kind kind;
    struct listen_options options;
};
struct loop_change {
    struct setup *setup;           /* one use is taken over */
    struct identifier *identifier; /* taken over */
    const struct listener_change *listeners;
    uint32_t n_listeners;
    const struct log *log;
};
/* Applies it on the loop's thread between requests, and returns when that is done. */
void loop_apply(struct loop *l, const struct loop_change *change);

#endif
