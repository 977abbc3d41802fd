/* Lanes: background threads that answer what would hold an event loop up, taking turns between tenants. */
#ifndef REGENT_EDGE_LANE_H
#define REGENT_EDGE_LANE_H
#include "edge/doors.h"
#include "edge/queue.h"
#include "edge/setup.h"
#include "net/kept.h"
#include "net/server.h"

/* A request that was put off: waits in the queue of a loop or of lanes, and goes back to its loop. */
struct job {
    struct queue_item item; /* first */
    struct http_pending *pending;
    struct server *server;
    const struct door *door;
    struct tenant *tenant; /* whose turn it takes; NULL: nobody's */
    uint64_t came_ns;
    uint32_t charged;      /* worker_begin's */
    struct tenant_quota *held;
    enum err refused;          /* answered without being asked */
    bool waited;               /* for its tenant to be loaded: it does not wait again */
    struct http_kept *answer; /* what a lane found */
    struct server_task back;   /* run is set by the loop */
};

struct lanes;
struct lanes_options {
    const char *name; /* of the worker group; NULL: the node's own lanes */
    uint32_t threads;
    uint32_t max_waiting;
    unsigned first_number; /* of the readers of tenants */
    const struct worker_group *group; /* NULL: evaluate here */
    const struct worker *like;        /* what each lane's worker begins as */
    struct engine *engine;
    uint32_t live_instances;
    struct setup *setup; /* one use a lane is taken */
    struct lane_counts *counts;
    uint64_t wait_ns; /* how long a request may wait for a lane; 0: the configuration's */
};
MUST_USE enum err lanes_new(const struct lanes_options *options, struct lanes **out);
/* From any loop: takes the job, which comes back by server_post of job->back, answered or refused. */
void lanes_take(struct lanes *l, struct job *job);
/* From now on lanes use that configuration: one identifier a lane is taken over. */
void lanes_configure(struct lanes *l, struct setup *setup, struct identifier **identifiers);
uint32_t lanes_threads(const struct lanes *l);
/* Ends the threads; jobs that wait come back refused. */
void lanes_stop(struct lanes *l);
void lanes_free(struct lanes *l);


#endif
