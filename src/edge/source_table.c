/* The tenants that sources have, by id and by when they are due. in: configurations, lists. out: who is next.
 * owns: the records; the fetching thread alone uses them. */
#include "base/clock.h"
#include "edge/source_work.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST_BUCKETS = 64 };

uint64_t source_random(struct sources *s) {
    uint64_t a = s->random[0], b = s->random[1];
    s->random[0] = b;
    a ^= a << 23;
    s->random[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return s->random[1] + b;
}

/* ---- by id ---- */

static struct supply **bucket_of(struct sources *s, struct str id) {
    return &s->buckets[(uint32_t)hash64(id) & s->mask];
}

struct supply *supply_find(struct sources *s, struct str id) {
    struct supply *t = s->buckets ? *bucket_of(s, id) : NULL;
    while (t && !str_is(id, t->id)) t = t->chain;
    return t;
}

static enum err grow(struct sources *s) {
    uint32_t size = s->buckets ? 2 * (s->mask + 1) : FIRST_BUCKETS;
    if (s->buckets && s->n <= s->mask) return OK;
    struct supply **p = calloc(size, sizeof *p);
    if (!p) return s->buckets ? OK : ERR_MEMORY; /* longer chains, then */
    free(s->buckets);
    s->buckets = p;
    s->mask = size - 1;
    for (struct supply *t = s->all; t; t = t->next) {
        struct supply **bucket = bucket_of(s, str_of(t->id));
        t->chain = *bucket;
        *bucket = t;
    }
    return OK;
}

static enum err heap_room(struct sources *s) {
    if (s->n < s->heap_cap) return OK;
    uint32_t cap = s->heap_cap ? 2 * s->heap_cap : FIRST_BUCKETS;
    struct supply **p = realloc(s->heap, cap * sizeof(struct supply *));
    if (!p) return ERR_MEMORY;
    s->heap = p;
    s->heap_cap = cap;
    return OK;
}

enum err supply_add(struct sources *s, struct str id, struct origin *origin, struct supply **out) {
    struct supply *t = calloc(1, sizeof *t);
    if (!t || grow(s) || heap_room(s)) {
        free(t);
        return ERR_MEMORY;
    }
    snprintf(t->id, sizeof t->id, "%.*s", STR_FMT(id));
    t->origin = origin;
    t->heap_at = UINT32_MAX;
    t->chain = *bucket_of(s, id);
    *bucket_of(s, id) = t;
    if ((t->next = s->all)) s->all->before = t;
    s->all = t;
    s->n++;
    atomic_fetch_add(&origin->tenants, 1);
    *out = t;
    return OK;
}

/* ---- by when they are due: a heap ---- */

static void heap_set(struct sources *s, uint32_t at, struct supply *t) {
    s->heap[at] = t;
    t->heap_at = at;
}

static void heap_up(struct sources *s, uint32_t at, struct supply *t) {
    for (uint32_t up; at && s->heap[up = (at - 1) / 2]->due_ms > t->due_ms; at = up) heap_set(s, at, s->heap[up]);
    heap_set(s, at, t);
}

static void heap_down(struct sources *s, uint32_t at, struct supply *t) {
    for (uint32_t below; (below = 2 * at + 1) < s->heap_n; at = below) {
        if (below + 1 < s->heap_n && s->heap[below + 1]->due_ms < s->heap[below]->due_ms) below++;
        if (s->heap[below]->due_ms >= t->due_ms) break;
        heap_set(s, at, s->heap[below]);
    }
    heap_set(s, at, t);
}

static void heap_remove(struct sources *s, struct supply *t) {
    uint32_t at = t->heap_at;
    if (at == UINT32_MAX) return;
    struct supply *last = s->heap[--s->heap_n];
    t->heap_at = UINT32_MAX;
    if (last == t) return;
    if (at && s->heap[(at - 1) / 2]->due_ms > last->due_ms)
        heap_up(s, at, last);
    else
        heap_down(s, at, last);
}

void supply_due(struct sources *s, struct supply *t, int64_t at_ms) {
    heap_remove(s, t);
    t->due_ms = at_ms;
    if (at_ms != SOURCE_NEVER) heap_up(s, s->heap_n++, t);
}

int64_t supply_first_due(const struct sources *s) { return s->heap_n ? s->heap[0]->due_ms : SOURCE_NEVER; }

struct supply *supply_next(struct sources *s, int64_t now_ms) {
    struct supply *t = s->heap_n ? s->heap[0] : NULL;
    if (!t || t->due_ms > now_ms) return NULL;
    heap_remove(s, t);
    return t;
}

void supply_forget(struct sources *s, struct supply *t) {
    struct supply **link = bucket_of(s, str_of(t->id));
    while (*link != t) link = &(*link)->chain;
    *link = t->chain;
    heap_remove(s, t);
    if (t->next) t->next->before = t->before;
    if (t->before)
        t->before->next = t->next;
    else
        s->all = t->next;
    s->n--;
    s->trials -= t->trial;
    atomic_fetch_sub(&t->origin->tenants, 1);
    if (t->failures) atomic_fetch_sub(&t->origin->failing, 1);
    free(t->url);
    free(t);
}

void supply_gone(struct sources *s, const struct supply *t) {
    if (source_in_folder(s, str_of(t->id))) return; /* it is the folder's now */
    if (activator_remove(s->options.activator, str_of(t->id), t->origin->name))
        log_line(s->options.log, LOG_ERROR, "tenant not removed", "tenant_id", t->id, "source", t->origin->name, NULL);
}

/* ---- whose it is ---- */

bool origin_may_have(const struct origin *o, struct str id) { return name_list_has(&o->config->tenants, id); }

bool source_in_folder(const struct sources *s, struct str id) {
    char path[4096];
    if (!s->config->directory) return false;
    int n = snprintf(path, sizeof path, "%s/tenants/%.*s/bundle.tar.gz", s->config->directory, STR_FMT(id));
    return n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
}

static bool is_pattern(struct str name) { return memchr(name.ptr, '*', name.len) != NULL; }

/* Ids that stand in the configuration. */
static enum err give_listed(struct sources *s, struct origin *o) {
    const struct name_list *l = &o->config->tenants;
    for (uint32_t i = 0; i < l->n; i++) {
        struct supply *t;
        if (is_pattern(l->items[i]) || supply_find(s, l->items[i])) continue;
        enum err e = supply_add(s, l->items[i], o, &t);
        if (e) return e;
        t->exact = true;
        supply_due(s, t, s->now_ms);
    }
    return OK;
}

static struct origin *origin_named(struct origin *origins, uint32_t n, const char *name) {
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(origins[i].name, name) == 0) return &origins[i];
    return NULL;
}

static bool lists_exactly(const struct origin *o, struct str id) {
    const struct name_list *l = &o->config->tenants;
    for (uint32_t i = 0; i < l->n; i++)
        if (str_eq(l->items[i], id)) return true;
    return false;
}

/* The first that lists it; else, for what was discovered or asked for, the one that had it. */
static struct origin *owner_of(struct origin *origins, uint32_t n, const struct supply *t) {
    struct str id = str_of(t->id);
    for (uint32_t i = 0; i < n; i++)
        if (lists_exactly(&origins[i], id)) return &origins[i];
    struct origin *same = origin_named(origins, n, t->origin->name);
    bool still = same && (same->config->discover || same->config->on_demand) && !t->exact && origin_may_have(same, id);
    return still ? same : NULL;
}

static bool same_text(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") == 0; }

static bool same_place(const struct edge_source *a, const struct edge_source *b) {
    return a->kind == b->kind && same_text(a->url, b->url) && a->modules == b->modules && str_eq(a->path, b->path) &&
           str_eq(a->bucket, b->bucket) && str_eq(a->prefix, b->prefix);
}

/* Tenants move to the new origins; those whom nobody lists any more are gone. */
static void move(struct sources *s, struct origin *origins, uint32_t n) {
    for (struct supply *t = s->all, *next; t; t = next) {
        next = t->next;
        struct origin *o = owner_of(origins, n, t);
        struct activation stopped = {.kind = ACTIVATION_REFUSED, .err = ERR_IO, .why = "the configuration changed"};
        supply_end(s, t, &stopped);
        if (!o || t->trial) {
            supply_gone(s, t);
            supply_forget(s, t);
            continue;
        }
        if (!same_place(t->origin->config, o->config)) t->tag[0] = t->data_tag[0] = t->modified[0] = t->sha256[0] = 0;
        t->origin = o;
        t->exact = lists_exactly(o, str_of(t->id));
        t->busy = false;
        atomic_fetch_add(&o->tenants, 1);
        if (t->failures) atomic_fetch_add(&o->failing, 1);
        bool told = o->config->kind == SOURCE_CONTROL && t->loaded && !t->failures; /* its feed says what is new */
        supply_due(s, t, told ? SOURCE_NEVER : s->now_ms);                          /* what has not changed is a 304 */
    }
}

static void keep_counts(struct origin *o, struct origin *was) {
    o->fetched = was->fetched, o->unchanged = was->unchanged, o->failed = was->failed, o->refused = was->refused;
    o->bytes = was->bytes, o->redirects = was->redirects, o->lists = was->lists, o->lists_failed = was->lists_failed;
    o->reports = was->reports, o->good_s = was->good_s;
    if (same_place(o->config, was->config)) memcpy(o->cursor, was->cursor, sizeof o->cursor);
}

enum err origins_take_up(struct sources *s, const struct edge_config *config) {
    uint32_t n = config->sources.n;
    struct origin *origins = calloc(n ? n : 1, sizeof *origins);
    if (!origins) return ERR_MEMORY;
    bool on_demand = false;
    for (uint32_t i = 0; i < n; i++) {
        struct origin *o = &origins[i], *was;
        o->config = &config->sources.items[i];
        snprintf(o->name, sizeof o->name, "%.*s", STR_FMT(o->config->name));
        o->list_due_ms = o->config->discover ? s->now_ms : SOURCE_NEVER;
        o->listed = o->list_tried = !o->config->discover;
        o->report_due_ms = o->config->kind == SOURCE_CONTROL ? s->now_ms + 2000 : SOURCE_NEVER;
        o->report_all = true;
        on_demand = on_demand || o->config->on_demand;
        if ((was = origin_named(s->origins, s->n_origins, o->name))) keep_counts(o, was);
    }
    move(s, origins, n);
    pthread_mutex_lock(&s->lock); /* who prints metrics reads them under it */
    struct origin *old = s->origins;
    s->origins = origins;
    s->n_origins = n;
    s->config = config;
    pthread_mutex_unlock(&s->lock);
    free(old);
    enum err e = OK;
    for (uint32_t i = 0; !e && i < n; i++) e = give_listed(s, &s->origins[i]);
    atomic_store(&s->on_demand, on_demand);
    return e;
}

void origins_free(struct sources *s) {
    while (s->all) supply_forget(s, s->all);
    free(s->origins);
    free(s->buckets);
    free(s->heap);
}
