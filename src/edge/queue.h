/* A fair queue of requests: whoever has used the least time is served next. */
#ifndef REGENT_EDGE_QUEUE_H
#define REGENT_EDGE_QUEUE_H
#include <stdbool.h>
#include <stdint.h>

struct queue_flow;

/* What waits; part of the caller's own struct. All fields are the queue's. */
struct queue_item {
    struct queue_item *next, *prev;   /* of its flow, in order of arrival */
    struct queue_item *newer, *older; /* of all */
    struct queue_flow *flow;
    uint64_t since_ns;
};

/* One flow a key (a tenant). Each flow's use is counted in nanoseconds, and the flow with the least is served next; one
 * that comes back after a pause starts at what the least of the busy ones has used, so that nobody saves time up, and a
 * debt is kept. (Start-time fair queueing: Goyal, Vin, Cheng 1996.) Not for several threads at once. */
struct queue {
    struct queue_flow **heap; /* flows that have something to serve, by use */
    uint32_t n_heap, heap_cap;
    struct queue_flow **buckets; /* all flows by key */
    uint32_t n_flows, n_buckets;
    struct queue_flow *longest; /* a flow that was the longest when it had longest_n */
    uint32_t longest_n;
    struct queue_item *oldest, *newest;
    uint64_t floor_ns; /* the least use of a busy flow */
    uint32_t n, max;   /* items */
    uint32_t most;     /* of one flow served at once; 0: any number */
};

void queue_init(struct queue *q, uint32_t max, uint32_t most);
void queue_deinit(struct queue *q); /* items that still wait are forgotten */

/* Puts an item in. Returns what does not fit: NULL, or the newest item of the longest flow, which may be `item` itself
 * (also when there is no memory); that one is out of the queue. */
struct queue_item *queue_push(struct queue *q, const void *key, struct queue_item *item, uint64_t now_ns);
/* The next to serve, or NULL. Its flow is charged with what it usually uses until queue_done tells what this used. */
struct queue_item *queue_pop(struct queue *q);
void queue_done(struct queue *q, struct queue_item *item, uint64_t used_ns);
/* An item that has waited for longer than wait_ns, taken out; NULL: there is none. */
struct queue_item *queue_expired(struct queue *q, uint64_t now_ns, uint64_t wait_ns);
uint32_t queue_waiting(const struct queue *q, const void *key);
/* Would an item of that key be served before all that wait? Then it may as well be served without being put in:
 * queue_charge counts its time. */
bool queue_is_first(struct queue *q, const void *key);
void queue_charge(struct queue *q, const void *key, uint64_t used_ns);

#endif
