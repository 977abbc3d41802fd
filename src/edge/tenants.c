/* Tenant table with quiescent-state reclamation: writers publish a new table with one pointer
 * store; an old table and the version it replaced are released when every reader has said that it
 * stands between requests. in: policies. out: lookups. owns: tables, tenant records, one count of
 * each policy. */
#include "edge/tenants.h"
#include "base/hash.h"
#include <stdatomic.h>
#include <stdlib.h>

struct table_of_tenants {
    uint32_t n, mask;
    uint32_t *index; /* entry + 1 by hash of id */
    struct tenant_entry entries[];
};

struct retired {
    struct retired *next;
    uint64_t version;
    struct table_of_tenants *table;
    struct policy *policy;
};

struct tenants {
    _Atomic(struct table_of_tenants *) current;
    _Atomic uint64_t version;
    struct {
        _Alignas(64) _Atomic uint64_t seen; /* UINT64_MAX: offline */
    } readers[TENANTS_MAX_READERS];
    struct retired *retired;
    struct tenant **records; /* writer's; never freed before the end */
    uint32_t n_records, cap_records;
};

static struct table_of_tenants *table_new(uint32_t n) {
    struct table_of_tenants *t = calloc(1, sizeof *t + n * sizeof t->entries[0]);
    uint32_t size = 8;
    while (size < n * 2) size *= 2;
    if (!t || !(t->index = calloc(size, sizeof *t->index))) {
        free(t);
        return NULL;
    }
    t->n = n;
    t->mask = size - 1;
    return t;
}

static void table_free(struct table_of_tenants *t) {
    if (t) free(t->index);
    free(t);
}

static struct str id_of(const struct tenant *t) { return str_of(t->id); }

static void table_index(struct table_of_tenants *t) {
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t at = (uint32_t)hash64(id_of(t->entries[i].tenant)) & t->mask;
        while (t->index[at]) at = (at + 1) & t->mask;
        t->index[at] = i + 1;
    }
}

static const struct tenant_entry *find_in(const struct table_of_tenants *t, struct str id) {
    uint32_t at = (uint32_t)hash64(id) & t->mask;
    for (; t->index[at]; at = (at + 1) & t->mask)
        if (str_eq(id_of(t->entries[t->index[at] - 1].tenant), id))
            return &t->entries[t->index[at] - 1];
    return NULL;
}

enum err tenants_new(struct tenants **out) {
    struct tenants *t = NULL;
    if (posix_memalign((void **)&t, 64, sizeof *t)) return ERR_MEMORY;
    memset((void *)t, 0, sizeof *t);
    struct table_of_tenants *empty = table_new(0);
    if (!empty) {
        free(t);
        return ERR_MEMORY;
    }
    atomic_store(&t->current, empty);
    atomic_store(&t->version, 1);
    for (int i = 0; i < TENANTS_MAX_READERS; i++) atomic_store(&t->readers[i].seen, UINT64_MAX);
    *out = t;
    return OK;
}

void tenants_online(struct tenants *t, unsigned reader) {
    atomic_store(&t->readers[reader].seen, atomic_load(&t->version));
}
void tenants_offline(struct tenants *t, unsigned reader) {
    atomic_store(&t->readers[reader].seen, UINT64_MAX);
}
void tenants_quiescent(struct tenants *t, unsigned reader) {
    uint64_t v = atomic_load_explicit(&t->version, memory_order_acquire);
    if (atomic_load_explicit(&t->readers[reader].seen, memory_order_relaxed) != v)
        atomic_store(&t->readers[reader].seen, v);
}

const struct tenant_entry *tenants_find(const struct tenants *t, struct str id) {
    return find_in(atomic_load_explicit(&t->current, memory_order_acquire), id);
}

const struct tenant_entry *tenants_at(const struct tenants *t, uint32_t i) {
    const struct table_of_tenants *table = atomic_load_explicit(&t->current, memory_order_acquire);
    return i < table->n ? &table->entries[i] : NULL;
}

struct tenant *tenants_record(struct tenants *t, struct str id) {
    for (uint32_t i = 0; i < t->n_records; i++)
        if (str_eq(id_of(t->records[i]), id)) return t->records[i];
    if (id.len == 0 || id.len >= TENANT_ID_BYTES) return NULL;
    if (t->n_records == t->cap_records) {
        uint32_t cap = t->cap_records ? t->cap_records * 2 : 64;
        struct tenant **records = realloc(t->records, cap * sizeof *records);
        if (!records) return NULL;
        t->records = records;
        t->cap_records = cap;
    }
    struct tenant *record = calloc(1, sizeof *record);
    if (!record) return NULL;
    memcpy(record->id, id.ptr, id.len);
    return t->records[t->n_records++] = record;
}

static enum err publish(struct tenants *t, struct table_of_tenants *next, struct policy *replaced) {
    struct retired *r = calloc(1, sizeof *r);
    if (!r) return ERR_MEMORY;
    table_index(next);
    r->table = atomic_exchange(&t->current, next);
    r->policy = replaced;
    r->version = atomic_fetch_add(&t->version, 1) + 1;
    r->next = t->retired;
    t->retired = r;
    return OK;
}

enum err tenants_set(struct tenants *t, struct str id, struct policy *policy) {
    struct table_of_tenants *now = atomic_load(&t->current);
    const struct tenant_entry *there = find_in(now, id);
    if (!there && !policy) return OK;
    struct tenant *record = tenants_record(t, id);
    struct table_of_tenants *next = record ? table_new(now->n + !there - !policy) : NULL;
    if (!next) return ERR_MEMORY;
    uint32_t n = 0;
    for (uint32_t i = 0; i < now->n; i++) {
        if (&now->entries[i] != there)
            next->entries[n++] = now->entries[i];
        else if (policy)
            next->entries[n++] = (struct tenant_entry){record, policy};
    }
    if (!there) next->entries[n++] = (struct tenant_entry){record, policy};
    enum err e = publish(t, next, there ? there->policy : NULL);
    if (e) table_free(next);
    return e;
}

static uint64_t oldest_reader(struct tenants *t) {
    uint64_t oldest = UINT64_MAX;
    for (int i = 0; i < TENANTS_MAX_READERS; i++) {
        uint64_t seen = atomic_load(&t->readers[i].seen);
        if (seen < oldest) oldest = seen;
    }
    return oldest;
}

void tenants_reclaim(struct tenants *t) {
    uint64_t oldest = t->retired ? oldest_reader(t) : 0;
    for (struct retired **at = &t->retired; *at;) {
        struct retired *r = *at;
        if (r->version > oldest) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        table_free(r->table);
        if (r->policy) policy_release(r->policy);
        free(r);
    }
}

void tenants_free(struct tenants *t) {
    for (int i = 0; i < TENANTS_MAX_READERS; i++) atomic_store(&t->readers[i].seen, UINT64_MAX);
    tenants_reclaim(t);
    struct table_of_tenants *table = atomic_load(&t->current);
    for (uint32_t i = 0; i < table->n; i++)
        if (table->entries[i].policy) policy_release(table->entries[i].policy);
    table_free(table);
    for (uint32_t i = 0; i < t->n_records; i++) free(t->records[i]);
    free(t->records);
    free(t);
}
