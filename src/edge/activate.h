/* Brings tenants' bundles from a folder into the tenant table, and keeps them current. */
#ifndef REGENT_EDGE_ACTIVATE_H
#define REGENT_EDGE_ACTIVATE_H
#include "edge/config.h"
#include "edge/tenants.h"

struct watcher; /* remembers which file of each tenant is active */

struct watcher_options {
    const struct edge_config *config; /* directory, limits; in use until watcher_configure gives another */
    struct engine *engine;
    struct tenants *tenants;
    const struct log *log;
    uint64_t max_bundle_bytes; /* 0: 64 MiB */
};

MUST_USE enum err watcher_new(const struct watcher_options *options, struct watcher **out);
void watcher_free(struct watcher *w);
/* Between scans: the configuration was read anew. Tenants that the new directory does not hold go with
 * the next scan; limits of what is loaded already are tenants_resolve's to renew. */
void watcher_configure(struct watcher *w, const struct edge_config *config);
/* Looks once: loads new and changed bundles (the first time on all cores), removes tenants whose
 * folder is gone. A bundle that cannot be loaded is refused with a log line and a load report, and the
 * version before serves on (a tenant that never had one gets an entry without policy); it is tried
 * again when its file changes. Counts of what happened go to *loaded and *refused (may be NULL). */
void watcher_scan(struct watcher *w, uint32_t *loaded, uint32_t *refused);

#endif
