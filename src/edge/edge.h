/* The edge node: event loops, lanes, doors and the watcher, put together. */
#ifndef REGENT_EDGE_EDGE_H
#define REGENT_EDGE_EDGE_H
#include "edge/config.h"

/* How SIGHUP gets a configuration: whatever the first one was made of (file, environment, flags), read again into
 * *c, which edge_config_init has filled. Problems go to diags; the node logs them and serves on as before. */
struct edge_reload {
    void *ctx;
    enum err (*read)(void *ctx, struct edge_config *c, struct diag_list *diags); /* NULL: nothing can change */
};

/* Serves until SIGINT or SIGTERM. SIGHUP reads the configuration again; what can change while serving does.
 * Returns OK, or why it could not start (logged). */
MUST_USE enum err edge_run(const struct edge_config *config, const struct edge_reload *reload);

#endif
