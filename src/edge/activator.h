/* Brings versions of tenants' policies to life: verify, load, check, try out, swap, watch, roll
 * back. */
#ifndef REGENT_EDGE_ACTIVATOR_H
#define REGENT_EDGE_ACTIVATOR_H
#include "edge/config.h"
#include "edge/tenants.h"
#include "edge/verify.h"

struct activator;
struct store;

enum { VERSION_BYTES = 129, SHA256_HEX_BYTES = 65, WHY_BYTES = 512 };

struct activator_options {
    const struct edge_config *config; /* in use until activator_configure gives another */
    struct engine *engine;
    struct tenants *tenants;
    struct store *store; /* last known good versions; NULL: none are kept on disk */
    const struct log *log;
};
MUST_USE enum err activator_new(const struct activator_options *options, struct activator **out);
void activator_free(struct activator *a);
void activator_configure(struct activator *a, const struct edge_config *config);

/* A version that a source brings. Views, for the duration of the call. */
struct candidate {
    struct str tenant;
    struct str bundle;       /* bundle.tar.gz; empty when it comes as */
    struct str module, data; /* policy.wasm and data.json (empty: {}) */
    struct str version; /* what the source calls it; empty: the manifest's revision, else the head
                           of its SHA-256 */
    uint64_t
        serial; /* counts up with each of the tenant's versions at its source; 0: it has none */
    const struct verify_rules *verify; /* NULL: nothing is required */
    const char *from;                  /* the source's name, for log lines and status */
    bool from_store;  /* a last known good one: verified when it came, and not stored again */
    bool allow_older; /* an operator says so: a serial below the highest one seen is no reason to
                         refuse */
    bool at_once;     /* no shadow before it serves */
    bool quiet;       /* one of very many: what goes well is logged at level debug */
    int64_t requested_ns; /* since 1970: when the source was asked */
};

enum activation_kind {
    ACTIVATION_ACTIVE,    /* it answers */
    ACTIVATION_UNCHANGED, /* it did already */
    ACTIVATION_SHADOW,    /* it is tried beside the one that answers */
    ACTIVATION_PINNED,    /* kept, but the tenant is pinned to another */
    ACTIVATION_REFUSED    /* err and why say it; the version before serves on */
};
struct activation {
    enum activation_kind kind;
    enum err err;
    char version[VERSION_BYTES],
        sha256[SHA256_HEX_BYTES]; /* of the candidate; sha256 of its module, lower case hex */
    char active[VERSION_BYTES];   /* what answers now; "": nothing */
    char why[WHY_BYTES];
};
/* All of the way up to the swap (or the start of a trial), on the caller's thread. Any thread;
 * several tenants at once; of one tenant one after the other. Logs, counts and reports what
 * happened. */
void activator_offer(struct activator *a, const struct candidate *c, struct activation *out);
/* A source could not bring a version: counted, reported and logged (repeats at level debug); the
 * tenant keeps what it has. status: HTTP's, 0 when there was none. */
void activator_failed(struct activator *a, struct str tenant, const char *from, enum err e,
                      int status, const char *why);
/* The source was asked and says that nothing is new. */
void activator_checked(struct activator *a, struct str tenant, const char *from);
/* The tenant is gone from its source: with it go its versions, unless another source brought the
 * one that answers. ERR_MEMORY, ERR_IO: it stays, and the source asks again. */
enum err activator_remove(struct activator *a, struct str tenant, const char *from);
/* The source knows all of its tenants now: those that it brought once and `has` does not name are
 * gone. */
void activator_sweep(struct activator *a, const char *from,
                     bool (*has)(void *ctx, struct str tenant), void *ctx);

/* To a kept version; empty: the one before the active one. ERR_NOT_FOUND: it is not kept. */
void activator_rollback(struct activator *a, struct str tenant, struct str version, const char *by,
                        struct activation *out);
/* Stays at a kept version until unpinned (version empty), whatever sources bring. */
void activator_pin(struct activator *a, struct str tenant, struct str version, const char *by,
                   struct activation *out);

/* The bundle's full module as it serves, appended to out (for neighbours and Envoy); sha256: its
 * hex. ERR_NOT_FOUND, ERR_UNSUPPORTED when nothing keeps it on disk. Any thread. */
MUST_USE enum err activator_module(struct activator *a, struct str tenant, struct buf *out,
                                   char sha256[SHA256_HEX_BYTES]);

/* What is known of a tenant (pin, trial, kept versions), as further members of a JSON object that
 * out holds the beginning of. false: nothing is. Any thread that may wait. */
bool activator_describe(struct activator *a, struct str tenant, struct buf *out);
/* The bundle that serves, its version and serial. ERR_NOT_FOUND, ERR_UNSUPPORTED as activator_module. */
MUST_USE enum err activator_bundle(struct activator *a, struct str tenant, struct buf *out,
                                   char version[VERSION_BYTES], uint64_t *serial);

/* Compares what trials sampled, and ends trials and watch windows that are due: about ten times a
 * second, by one thread, which activator_start makes (activator_free ends it). */
MUST_USE enum err activator_start(struct activator *a);
void activator_tick(struct activator *a);
/* Loads all last known good versions from the store, on all cores. */
void activator_restore(struct activator *a, uint32_t *loaded, uint32_t *refused);
/* Prometheus families of swaps, rollbacks, shadows and checks, appended. */
void activator_metrics(struct activator *a, struct buf *out);

#endif
