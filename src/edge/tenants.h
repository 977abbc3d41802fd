/* The tenants of a node: a table that threads read without locks. */
#ifndef REGENT_EDGE_TENANTS_H
#define REGENT_EDGE_TENANTS_H
#include "bundle/limits.h"
#include "edge/metrics.h"
#include "edge/quota.h"
#include "host/host.h"

enum { TENANTS_MAX_READERS = 256, TENANT_ID_BYTES = 128 };

/* How the last attempt to load a tenant's bundle went. Times since 1970; 0: never. */
struct load_report {
    int64_t requested_ns, activated_ns;
    enum err err;      /* of the last attempt */
    char message[256]; /* why, when err */
    char revision[128]; /* that serves; "" when the manifest names none */
    uint64_t bytes;    /* of the bundle that serves */
    char version[129], sha256[65]; /* that serves: its name, and the SHA-256 of its module in hex; "": none */
    char from[64];         /* the source that was asked last */
    int http_status;       /* of its answer; 0: there was none, or it was OK */
    int64_t success_ns, download_ns; /* when a source last answered, and last gave bytes */
};

struct trial; /* trial.h */

/* Events of the tenant that wait in the decision log. */
struct tenant_events {
    _Atomic uint64_t waiting_bytes;
    _Atomic uint64_t second; /* second << 32 | events in it */
};

/* What lives as long as the node knows the tenant's id. What each decision touches comes first. */
struct tenant {
    struct tenant_quota quota;
    struct tenant_metrics metrics;
    struct tenant_events events;
    char id[TENANT_ID_BYTES];
    struct tenant_naming naming; /* scrapes' */
};

/* One tenant's snapshot: which version answers, under which limits. Immutable. */
struct tenant_entry {
    struct tenant *tenant;
    struct policy *policy;       /* NULL: none could be loaded yet */
    struct trial *trial;         /* a version is tried out or watched; NULL: none, nearly always */
    struct tenant_limits limits; /* that hold */
    struct str revision;         /* may be empty */
    struct tenant_limits own;    /* the bundle's */
    struct str version, sha256;  /* its name; of its module, in hex; end with 0 */
    bool has_masks;              /* its Rego says what its decision log is to mask */
};

struct tenants;

MUST_USE enum err tenants_new(struct tenants **out);
void tenants_free(struct tenants *t);
/* Readers: each thread has a number below TENANTS_MAX_READERS, calls tenants_quiescent between
 * requests, and may use what tenants_find gave until then. NULL: unknown tenant. */
void tenants_online(struct tenants *t, unsigned reader);
void tenants_offline(struct tenants *t, unsigned reader);
void tenants_quiescent(struct tenants *t, unsigned reader);
const struct tenant_entry *tenants_find(const struct tenants *t, struct str id);
/* tenants_find will be asked for id soon: with thousands of tenants what it gives is in no cache, and comes
 * meanwhile. */
void tenants_expect(const struct tenants *t, struct str id);
/* i-th tenant, for metrics and lists; NULL past the end. Same rules as tenants_find. Counting up meets
 * each tenant once that stays as it is meanwhile. */
const struct tenant_entry *tenants_at(const struct tenants *t, uint32_t i);
/* Writers (any one thread at a time: the activator sees to it): makes `version` answer for id (its policy and trial are
 * taken over, counted; texts are copied), adding the tenant when it is new; NULL removes the tenant. The replaced
 * version is released once no reader can still use it. Costs the same with 5,000 tenants as with one. */
struct tenant_version {
    struct policy *policy;
    struct str revision;
    struct tenant_limits own;
    struct str version, sha256;
    struct trial *trial;
    bool has_masks;
};
MUST_USE enum err tenants_set(struct tenants *t, struct str id, const struct tenant_version *version);
/* How a tenant's limits follow from its bundle's: asked at each change, and for all tenants by
 * tenants_resolve, which a writer calls after the configuration changed (ctx stays in use until the next
 * call; without memory for it a tenant keeps the limits it had). */
struct limits_source {
    const void *ctx;
    struct tenant_limits (*of)(const void *ctx, struct str id, struct tenant_limits own);
};
void tenants_resolve(struct tenants *t, struct limits_source source);
/* Writer: notes how loading went. Any thread: a copy of it. */
void tenants_report(struct tenants *t, struct tenant *tenant, const struct load_report *report);
void tenants_reported(struct tenants *t, const struct tenant *tenant, struct load_report *out);
/* The tenant's lasting record, made on first use, also before it has a version. */
struct tenant *tenants_record(struct tenants *t, struct str id);
/* Releases what readers have passed; called by the writer now and then. */
void tenants_reclaim(struct tenants *t);

#endif
