/* The tenants of a node: a table that threads read without locks, replaced whole at each change. */
#ifndef REGENT_EDGE_TENANTS_H
#define REGENT_EDGE_TENANTS_H
#include "edge/metrics.h"
#include "host/host.h"

enum { TENANTS_MAX_READERS = 256, TENANT_ID_BYTES = 128 };

/* What lives as long as the node knows the tenant's id. */
struct tenant {
    char id[TENANT_ID_BYTES];
    struct tenant_metrics metrics;
};

/* One tenant's snapshot: which version answers. Immutable. */
struct tenant_entry {
    struct tenant *tenant;
    struct policy *policy; /* NULL: none could be loaded yet */
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
/* i-th tenant, for metrics and lists; NULL past the end. Same rules as tenants_find. */
const struct tenant_entry *tenants_at(const struct tenants *t, uint32_t i);
/* Writers (any one thread at a time): makes `policy` (taken over, counted) answer for id, adding
 * the tenant when it is new; NULL policy removes the tenant. The replaced version is released once
 * no reader can still use it. */
MUST_USE enum err tenants_set(struct tenants *t, struct str id, struct policy *policy);
/* The tenant's lasting record, made on first use, also before it has a version. */
struct tenant *tenants_record(struct tenants *t, struct str id);
/* Releases what readers have passed; called by the writer now and then. */
void tenants_reclaim(struct tenants *t);

#endif
