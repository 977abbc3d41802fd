/* A watched folder: brings what it holds of each tenant to the activator, and keeps it current. */
#ifndef REGENT_EDGE_FOLDER_H
#define REGENT_EDGE_FOLDER_H
#include "edge/activator.h"

#define FOLDER_NAME "folder" /* as a source */

struct folder; /* remembers which files of each tenant were offered */

struct folder_options {
    const struct edge_config *config; /* directory; in use until folder_configure gives another */
    struct activator *activator;
    const struct log *log;
    uint64_t max_bytes; /* of a tenant's files; 0: 64 MiB */
};

MUST_USE enum err folder_new(const struct folder_options *options, struct folder **out);
void folder_free(struct folder *f);
/* Between scans: the configuration was read anew. Tenants that the new directory does not hold go
 * with the next scan. */
void folder_configure(struct folder *f, const struct edge_config *config);
/* Looks once at DIR/tenants/ID/bundle.tar.gz, or policy.wasm with data.json and policy.wasm.sha256
 * where there is no bundle: offers what is new or has changed (the first time on all cores),
 * removes tenants whose files are gone. What is refused is offered again when its files change, or
 * after a while when the machine failed and not the files. Counts of what happened go to *loaded
 * and *refused (may be NULL). */
void folder_scan(struct folder *f, uint32_t *loaded, uint32_t *refused);
/* Looks at one tenant's files now and offers them, whatever scans go on; of options only config, activator, log and
 * max_bytes count. false: there are none. Any thread. */
bool folder_offer_now(const struct folder_options *options, struct str tenant, bool allow_older, bool at_once,
                      struct activation *out);

#endif
