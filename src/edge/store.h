/* Last known good versions on disk: what a node restarts with when no source answers. */
#ifndef REGENT_EDGE_STORE_H
#define REGENT_EDGE_STORE_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include <stdbool.h>

struct store;

struct store_options {
    const char *directory; /* made 0700 when missing */
    uint32_t keep;         /* versions of a tenant, the active and pinned ones among them; 0: 3 */
    bool beside; /* another node that is about to leave may hold it: reads at once, writes when it
                    has left */
    const struct log *log;
};
/* Opens, and cleans up what a crash left. ERR_IO with a sentence in why: cannot be used, or another
 * node uses it. */
MUST_USE enum err store_open(const struct store_options *options, struct store **out, char *why,
                             size_t why_bytes);
/* When everything is on the disk. NULL: nothing. */
void store_close(struct store *s);
/* Another node takes the folder over: nothing is written any more. NULL: nothing. */
void store_leave(struct store *s);

/* A version's record; views. */
struct stored {
    struct str version, from; /* names: of the version, of its source */
    struct str sha256;        /* of its module, hex */
    uint64_t serial;
    int64_t stored_ns; /* since 1970 */
};
/* What the functions below write outlives the process at once, whatever ends it; the machine's
 * sudden end, a moment later (a thread syncs), but for pins, which are synced before the call
 * returns. Whenever the machine stops, a tenant has its record from before or after a call, and the
 * record names whole versions. */

/* Writes a version beside the others: its bytes first, then its record. Writing an equal version
 * again is cheap. ERR_IO (why: disk full, …), ERR_MEMORY. Any thread. */
MUST_USE enum err store_put(struct store *s, struct str tenant, const struct stored *v,
                            struct str bundle, char *why, size_t why_bytes);
/* From now on this kept version is what a restart begins with; drops versions beyond `keep`, oldest
 * first. ERR_NOT_FOUND: it is not kept. */
MUST_USE enum err store_activate(struct store *s, struct str tenant, struct str version);
/* Survives restarts; empty: unpinned. */
MUST_USE enum err store_pin(struct store *s, struct str tenant, struct str version);
/* The tenant and all its versions. */
MUST_USE enum err store_remove(struct store *s, struct str tenant);

/* A tenant's records, into the arena, newest first. A tenant that is not kept has none. */
struct store_tenant {
    struct stored *versions;
    uint32_t n;
    int32_t active, pinned; /* index, or -1 */
    uint64_t highest_serial;
};
MUST_USE enum err store_tenant(struct store *s, struct arena *a, struct str tenant,
                               struct store_tenant *out);
/* Bytes of a version, checked: ERR_INVALID when they are not what was written, ERR_IO,
 * ERR_NOT_FOUND, with why. Appends. */
MUST_USE enum err store_read(struct store *s, struct str tenant, struct str version,
                             struct buf *out, char *why, size_t why_bytes);
/* Calls back for every tenant that has an active version; the callback may call what stands above.
 */
void store_each(struct store *s, void (*tenant)(void *ctx, struct str id), void *ctx);
/* Waits until all that was written is on the disk. */
MUST_USE enum err store_sync(struct store *s);
/* Prometheus families, appended: errors, tenants, versions. */
void store_metrics(struct store *s, struct buf *out);

#endif
