/* Brings tenants' bundles from a folder into the tenant table, and keeps them current. */
#ifndef REGENT_EDGE_ACTIVATE_H
#define REGENT_EDGE_ACTIVATE_H
#include "edge/tenants.h"

struct watcher; /* remembers which file of each tenant is active */

struct watcher_options {
    const char *directory; /* holds tenants/ID/bundle.tar.gz */
    struct engine *engine;
    struct tenants *tenants;
    const struct log *log;
    uint64_t max_bundle_bytes; /* 0: 64 MiB */
};

MUST_USE enum err watcher_new(const struct watcher_options *options, struct watcher **out);
void watcher_free(struct watcher *w);
/* Looks once: loads new and changed bundles, removes tenants whose folder is gone. A bundle that
 * cannot be loaded is refused with a log line and its old version serves on; it is tried again when
 * its file changes. Counts of what happened go to *loaded and *refused (may be NULL). */
void watcher_scan(struct watcher *w, uint32_t *loaded, uint32_t *refused);

#endif
