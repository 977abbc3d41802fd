/* Tenant table with quiescent-state reclamation: a writer changes one pointer; what it replaced is
 * released when every reader has said that it stands between requests.
 *
 * in:   versions of tenants' policies.
 * out:  lookups without locks.
 * owns: a cell a tenant (never freed before the end), its current version with one count of its
 *       policy, the index over cells and the list of present ones. */
#include "edge/tenants.h"
#include "base/hash.h"
#include "edge/trial.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { FIRST_CAP = 64, RETIRED_AT_ONCE = 64, LINE_BYTES = 64, DECISION_LINES = 3 };

/* First member of all that readers may still be looking at after it was replaced. */
struct retired {
    struct retired *next;
    uint64_t version; /* readers that have seen this one do not see it any more */
    struct policy *policy;
    struct trial *trial;
};

/* What a cell points to: tenants_find gives a view of `entry`. */
struct version {
    struct retired retired;
    struct tenant_entry entry;
    char texts[]; /* revision, version, sha256 */
};

struct cell {
    _Alignas(LINE_BYTES) _Atomic(struct version *) version; /* NULL: not present */
    struct tenant tenant;
    struct load_report report;         /* under report_lock */
    uint32_t position;                 /* in the list, when present */
};

/* The hash decides without a look at the cell whether it can be the one. version and policy are where it led when
 * they were last set: good for fetching early, and never followed. */
struct slot {
    _Atomic(struct cell *) cell;
    uint64_t hash; /* written before cell */
    _Atomic(const void *) version, policy;
};

/* Cells by hash of id, each in the first free slot from there; cells are added and stay. */
struct cell_index {
    struct retired retired;
    uint32_t mask;
    struct slot slots[];
};

/* Present tenants in the order in which they came. Only its end is written in place. */
struct cell_list {
    struct retired retired;
    uint32_t cap;
    _Atomic uint32_t n;
    struct cell *items[];
};

struct tenants {
    _Atomic(struct cell_index *) index;
    _Atomic(struct cell_list *) present;
    _Atomic uint64_t version;
    struct {
        _Alignas(64) _Atomic uint64_t seen; /* UINT64_MAX: offline */
    } readers[TENANTS_MAX_READERS];
    pthread_mutex_t report_lock;
    /* Writer's. */
    struct retired *retired;
    uint32_t n_retired, n_cells;
    struct limits_source source;
};

/* ---- readers ---- */

void tenants_online(struct tenants *t, unsigned reader) {
    atomic_store(&t->readers[reader].seen, atomic_load(&t->version));
    atomic_thread_fence(memory_order_seq_cst); /* no look at the table before a writer knows of us */
}
void tenants_offline(struct tenants *t, unsigned reader) {
    atomic_store(&t->readers[reader].seen, UINT64_MAX);
}
void tenants_quiescent(struct tenants *t, unsigned reader) {
    uint64_t v = atomic_load_explicit(&t->version, memory_order_acquire);
    if (atomic_load_explicit(&t->readers[reader].seen, memory_order_relaxed) != v)
        atomic_store(&t->readers[reader].seen, v);
}

static struct cell *cell_find(const struct tenants *t, struct str id, uint64_t hash) {
    const struct cell_index *x = atomic_load_explicit(&t->index, memory_order_acquire);
    struct cell *c;
    for (uint32_t at = (uint32_t)hash & x->mask;; at = (at + 1) & x->mask) {
        c = atomic_load_explicit(&x->slots[at].cell, memory_order_acquire);
        if (!c || (x->slots[at].hash == hash && str_is(id, c->tenant.id))) return c;
    }
}

/* The slot of the first cell with this hash, or a free one. */
static const struct slot *slot_of(const struct cell_index *x, uint64_t hash) {
    uint32_t at = (uint32_t)hash & x->mask;
    while (atomic_load_explicit(&x->slots[at].cell, memory_order_acquire) && x->slots[at].hash != hash)
        at = (at + 1) & x->mask;
    return &x->slots[at];
}

static void fetch(const void *at, int lines) {
    for (int i = 0; at && i < lines; i++) __builtin_prefetch((const char *)at + i * LINE_BYTES);
}

void tenants_expect(const struct tenants *t, struct str id) {
    const struct slot *s = slot_of(atomic_load_explicit(&t->index, memory_order_acquire), hash64(id));
    const struct cell *c = atomic_load_explicit(&s->cell, memory_order_relaxed);
    if (!c) return;
    fetch(c, 2);
    fetch(c->tenant.id, 1);
    fetch(atomic_load_explicit(&s->version, memory_order_relaxed), DECISION_LINES);
    policy_fetch(atomic_load_explicit(&s->policy, memory_order_relaxed));
}

static const struct tenant_entry *entry_of(const struct cell *c) {
    struct version *v = c ? atomic_load_explicit(&c->version, memory_order_acquire) : NULL;
    return v ? &v->entry : NULL;
}

const struct tenant_entry *tenants_find(const struct tenants *t, struct str id) {
    return entry_of(cell_find(t, id, hash64(id)));
}

const struct tenant_entry *tenants_at(const struct tenants *t, uint32_t i) {
    const struct tenant_entry *e = NULL;
    const struct cell_list *l = atomic_load_explicit(&t->present, memory_order_acquire);
    uint32_t n = atomic_load_explicit(&l->n, memory_order_acquire);
    while (i < n && !(e = entry_of(l->items[i]))) i++; /* one that is being removed */
    return e;
}

/* ---- what readers have passed ---- */

static void retire(struct tenants *t, struct retired *r) {
    if (!r) return;
    r->version = atomic_fetch_add(&t->version, 1) + 1;
    r->next = t->retired;
    t->retired = r;
    if (++t->n_retired % RETIRED_AT_ONCE == 0) tenants_reclaim(t);
}

static uint64_t oldest_reader(struct tenants *t) {
    uint64_t oldest = UINT64_MAX;
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < TENANTS_MAX_READERS; i++) {
        uint64_t seen = atomic_load(&t->readers[i].seen);
        if (seen < oldest) oldest = seen;
    }
    return oldest;
}

static void retired_free(struct retired *r) {
    if (r->policy) policy_release(r->policy);
    if (r->trial) trial_release(r->trial);
    free(r);
}

void tenants_reclaim(struct tenants *t) {
    uint64_t oldest = t->retired ? oldest_reader(t) : 0;
    for (struct retired **at = &t->retired, *r; (r = *at);) {
        if (r->version > oldest) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        t->n_retired--;
        retired_free(r);
    }
}

/* ---- cells ---- */

static struct cell_index *index_new(uint32_t slots) {
    struct cell_index *x = calloc(1, sizeof *x + slots * sizeof x->slots[0]);
    if (x) x->mask = slots - 1;
    return x;
}

static void index_add(struct cell_index *x, struct cell *c, uint64_t hash) {
    uint32_t at = (uint32_t)hash & x->mask;
    while (atomic_load_explicit(&x->slots[at].cell, memory_order_relaxed)) at = (at + 1) & x->mask;
    struct version *v = atomic_load_explicit(&c->version, memory_order_relaxed);
    atomic_store_explicit(&x->slots[at].version, v, memory_order_relaxed);
    atomic_store_explicit(&x->slots[at].policy, v ? v->entry.policy : NULL, memory_order_relaxed);
    x->slots[at].hash = hash;
    atomic_store_explicit(&x->slots[at].cell, c, memory_order_release);
}

/* Where tenants_expect looks for the cell's version. */
static void index_lead(const struct tenants *t, const struct cell *c, struct version *v) {
    struct cell_index *x = atomic_load(&t->index);
    uint32_t at = (uint32_t)hash64(str_of(c->tenant.id)) & x->mask;
    while (atomic_load_explicit(&x->slots[at].cell, memory_order_relaxed) != c) at = (at + 1) & x->mask;
    atomic_store_explicit(&x->slots[at].version, v, memory_order_relaxed);
    atomic_store_explicit(&x->slots[at].policy, v->entry.policy, memory_order_relaxed);
}

/* Twice as many slots as cells at least. */
static bool index_room(struct tenants *t) {
    struct cell_index *x = atomic_load(&t->index);
    if (2 * ((uint64_t)t->n_cells + 1) <= (uint64_t)x->mask + 1) return true;
    struct cell_index *next = index_new(2 * (x->mask + 1));
    if (!next) return false;
    for (uint32_t i = 0; i <= x->mask; i++) {
        struct cell *c = atomic_load(&x->slots[i].cell);
        if (c) index_add(next, c, x->slots[i].hash);
    }
    atomic_store(&t->index, next);
    retire(t, &x->retired);
    return true;
}

static struct cell *cell_of(struct tenants *t, struct str id) {
    if (id.len == 0 || id.len >= TENANT_ID_BYTES || memchr(id.ptr, 0, id.len)) return NULL;
    uint64_t hash = hash64(id);
    struct cell *c = cell_find(t, id, hash);
    if (c || !index_room(t) || posix_memalign((void **)&c, LINE_BYTES, sizeof *c)) return c;
    memset((void *)c, 0, sizeof *c);
    memcpy(c->tenant.id, id.ptr, id.len);
    index_add(atomic_load(&t->index), c, hash);
    t->n_cells++;
    return c;
}

struct tenant *tenants_record(struct tenants *t, struct str id) {
    struct cell *c = cell_of(t, id);
    return c ? &c->tenant : NULL;
}

/* ---- the list ---- */

static struct cell_list *list_new(uint32_t cap) {
    struct cell_list *l = calloc(1, sizeof *l + cap * sizeof l->items[0]);
    if (l) l->cap = cap;
    return l;
}

/* A list of room for one more, holding what the present one holds. */
static struct cell_list *list_room(struct tenants *t) {
    struct cell_list *l = atomic_load(&t->present), *next;
    uint32_t n = atomic_load(&l->n);
    if (n < l->cap) return l;
    if (!(next = list_new(2 * l->cap))) return NULL;
    memcpy(next->items, l->items, n * sizeof l->items[0]);
    atomic_store(&next->n, n);
    atomic_store(&t->present, next);
    retire(t, &l->retired);
    return next;
}

static void list_add(struct cell_list *l, struct cell *c) {
    uint32_t n = atomic_load(&l->n);
    c->position = n;
    l->items[n] = c;
    atomic_store_explicit(&l->n, n + 1, memory_order_release);
}

/* In a copy, so that a reader who goes through the list meets nobody twice. */
static enum err list_remove(struct tenants *t, struct cell *c) {
    struct cell_list *l = atomic_load(&t->present), *next = list_new(l->cap);
    if (!next) return ERR_MEMORY;
    uint32_t n = atomic_load(&l->n), at = c->position;
    memcpy(next->items, l->items, at * sizeof l->items[0]);
    memcpy(next->items + at, l->items + at + 1, (n - at - 1) * sizeof l->items[0]);
    for (uint32_t i = at; i < n - 1; i++) next->items[i]->position = i;
    atomic_store(&next->n, n - 1);
    atomic_store(&t->present, next);
    retire(t, &l->retired);
    return OK;
}

/* ---- versions ---- */

static struct tenant_limits limits_of(const struct tenants *t, const struct cell *c,
                                      struct tenant_limits own) {
    return t->source.of ? t->source.of(t->source.ctx, str_of(c->tenant.id), own) : own;
}

static struct str put_text(char **at, struct str s) {
    struct str copy = {*at, s.len};
    if (s.len) memcpy(*at, s.ptr, s.len);
    (*at)[s.len] = 0;
    *at += s.len + 1;
    return copy;
}

static struct version *version_new(const struct tenants *t, struct cell *c,
                                   const struct tenant_version *from) {
    size_t texts = from->revision.len + from->version.len + from->sha256.len + 3;
    struct version *v = malloc(sizeof *v + texts);
    if (!v) return NULL;
    char *at = v->texts;
    *v = (struct version){.retired = {.policy = from->policy, .trial = from->trial}};
    v->entry = (struct tenant_entry){.tenant = &c->tenant,
                                     .policy = from->policy,
                                     .trial = from->trial,
                                     .own = from->own,
                                     .has_masks = from->has_masks,
                                     .limits = limits_of(t, c, from->own)};
    v->entry.revision = put_text(&at, from->revision);
    v->entry.version = put_text(&at, from->version);
    v->entry.sha256 = put_text(&at, from->sha256);
    return v;
}

static enum err tenants_remove(struct tenants *t, struct str id) {
    struct cell *c = cell_find(t, id, hash64(id));
    if (!c || !atomic_load(&c->version)) return OK;
    enum err e = list_remove(t, c);
    if (e) return e;
    struct version *old = atomic_exchange(&c->version, NULL);
    retire(t, &old->retired);
    return OK;
}

enum err tenants_set(struct tenants *t, struct str id, const struct tenant_version *version) {
    if (!version) return tenants_remove(t, id);
    struct cell *c = cell_of(t, id);
    struct cell_list *room = c ? list_room(t) : NULL;
    struct version *v = room ? version_new(t, c, version) : NULL;
    if (!v) return ERR_MEMORY;
    struct version *old = atomic_exchange(&c->version, v);
    index_lead(t, c, v);
    if (!old)
        list_add(room, c);
    else
        retire(t, &old->retired);
    return OK;
}

static void resolve(struct tenants *t, struct cell *c) {
    struct version *old = atomic_load(&c->version);
    struct tenant_version same = {.policy = old->entry.policy,
                                  .revision = old->entry.revision,
                                  .own = old->entry.own,
                                  .version = old->entry.version,
                                  .sha256 = old->entry.sha256,
                                  .has_masks = old->entry.has_masks,
                                  .trial = old->entry.trial};
    struct version *v = version_new(t, c, &same);
    if (!v) return;
    old->retired.policy = NULL; /* its counts are the new one's */
    old->retired.trial = NULL;
    atomic_store(&c->version, v);
    index_lead(t, c, v);
    retire(t, &old->retired);
}

void tenants_resolve(struct tenants *t, struct limits_source source) {
    struct cell_list *l = atomic_load(&t->present);
    uint32_t n = atomic_load(&l->n);
    t->source = source;
    for (uint32_t i = 0; i < n; i++) resolve(t, l->items[i]);
}

/* ---- reports ---- */

void tenants_report(struct tenants *t, struct tenant *tenant, const struct load_report *report) {
    pthread_mutex_lock(&t->report_lock);
    ((struct cell *)((char *)tenant - offsetof(struct cell, tenant)))->report = *report;
    pthread_mutex_unlock(&t->report_lock);
}

void tenants_reported(struct tenants *t, const struct tenant *tenant, struct load_report *out) {
    pthread_mutex_lock(&t->report_lock);
    *out = ((const struct cell *)((const char *)tenant - offsetof(struct cell, tenant)))->report;
    pthread_mutex_unlock(&t->report_lock);
}

/* ---- birth and death ---- */

enum err tenants_new(struct tenants **out) {
    struct tenants *t = NULL;
    if (posix_memalign((void **)&t, 64, sizeof *t)) return ERR_MEMORY;
    memset((void *)t, 0, sizeof *t);
    struct cell_index *index = index_new(2 * FIRST_CAP);
    struct cell_list *list = list_new(FIRST_CAP);
    if (!index || !list) {
        free(index);
        free(list);
        free(t);
        return ERR_MEMORY;
    }
    pthread_mutex_init(&t->report_lock, NULL);
    atomic_store(&t->index, index);
    atomic_store(&t->present, list);
    atomic_store(&t->version, 1);
    for (int i = 0; i < TENANTS_MAX_READERS; i++) atomic_store(&t->readers[i].seen, UINT64_MAX);
    *out = t;
    return OK;
}

void tenants_free(struct tenants *t) {
    struct cell_index *x = atomic_load(&t->index);
    for (int i = 0; i < TENANTS_MAX_READERS; i++) atomic_store(&t->readers[i].seen, UINT64_MAX);
    tenants_reclaim(t);
    for (uint32_t i = 0; i <= x->mask; i++) {
        struct cell *c = atomic_load(&x->slots[i].cell);
        struct version *v = c ? atomic_load(&c->version) : NULL;
        if (v) retired_free(&v->retired);
        if (c) free(c->tenant.naming.moved);
        free(c);
    }
    free(x);
    free(atomic_load(&t->present));
    pthread_mutex_destroy(&t->report_lock);
    free(t);
}
