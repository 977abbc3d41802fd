/* Sets of variable names: small ones are scanned, larger ones hashed.
 * in: borrowed names. out: membership and set algebra. owns: nothing; storage lies in the arena. */
#include "compiler/check/varset.h"
#include "base/hash.h"
#include <stdlib.h>

enum { SCAN_MAX = 12, NOT_THERE = UINT32_MAX };

void varset_init(struct varset *s, struct arena *arena) { *s = (struct varset){.arena = arena}; }

struct varset *varset_take(struct varset_pool *p) {
    struct varset *s = p->free;
    if (s) {
        p->free = s->next_free;
        s->next_free = NULL;
        return s;
    }
    s = ARENA_NEW(p->arena, struct varset);
    varset_init(s, p->arena);
    return s;
}

void varset_put(struct varset_pool *p, struct varset *s) {
    varset_clear(s);
    s->next_free = p->free;
    p->free = s;
}

void varset_clear(struct varset *s) {
    if (s->n && s->index_cap) memset(s->index, 0, s->index_cap * sizeof *s->index);
    s->n = s->live = 0;
}

static uint32_t *slot_of(const struct varset *s, struct str name) {
    uint32_t mask = s->index_cap - 1, i = (uint32_t)hash64(name) & mask;
    while (s->index[i] && !str_eq(s->items[s->index[i] - 1].name, name)) i = (i + 1) & mask;
    return &s->index[i];
}

static uint32_t find(const struct varset *s, struct str name) {
    if (s->index_cap) return *slot_of(s, name) ? *slot_of(s, name) - 1 : NOT_THERE;
    for (uint32_t i = 0; i < s->n; i++)
        if (str_eq(s->items[i].name, name)) return i;
    return NOT_THERE;
}

static void reindex(struct varset *s) {
    uint32_t cap = s->index_cap ? s->index_cap * 2 : 64;
    s->index = ARENA_ARRAY(s->arena, uint32_t, cap);
    s->index_cap = cap;
    for (uint32_t i = 0; i < s->n; i++) *slot_of(s, s->items[i].name) = i + 1;
}

bool varset_has(const struct varset *s, struct str name) {
    uint32_t at = find(s, name);
    return at != NOT_THERE && s->items[at].live;
}

static struct varset_item *insert(struct varset *s, struct str name) {
    uint32_t at = find(s, name);
    if (at == NOT_THERE) {
        struct varset_item item = {.name = name};
        ARENA_PUSH(s->arena, s, item);
        at = s->n - 1;
        if (s->n > SCAN_MAX && s->n * 2 > s->index_cap)
            reindex(s);
        else if (s->index_cap)
            *slot_of(s, name) = s->n;
    }
    if (!s->items[at].live) {
        s->items[at].live = true;
        s->live++;
    }
    return &s->items[at];
}

void varset_add(struct varset *s, struct str name) { insert(s, name); }

void varset_add_at(struct varset *s, struct str name, struct loc loc) {
    insert(s, name)->loc = loc;
}

void varset_remove(struct varset *s, struct str name) {
    uint32_t at = find(s, name);
    if (at == NOT_THERE || !s->items[at].live) return;
    s->items[at].live = false;
    s->live--;
}

void varset_update(struct varset *s, const struct varset *from) {
    for (uint32_t i = 0; i < from->n; i++)
        if (from->items[i].live) varset_add_at(s, from->items[i].name, from->items[i].loc);
}

void varset_subtract(struct varset *s, const struct varset *from) {
    for (uint32_t i = 0; i < s->n; i++)
        if (s->items[i].live && varset_has(from, s->items[i].name)) {
            s->items[i].live = false;
            s->live--;
        }
}

void varset_intersect(struct varset *s, const struct varset *with) {
    for (uint32_t i = 0; i < s->n; i++)
        if (s->items[i].live && !varset_has(with, s->items[i].name)) {
            s->items[i].live = false;
            s->live--;
        }
}

bool varset_within(const struct varset *s, const struct varset *in) {
    for (uint32_t i = 0; i < s->n; i++)
        if (s->items[i].live && !varset_has(in, s->items[i].name)) return false;
    return true;
}

bool varset_equal(const struct varset *a, const struct varset *b) {
    return a->live == b->live && varset_within(a, b);
}

static int by_name(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct str *varset_sorted(const struct varset *s) {
    struct str *names = ARENA_ARRAY(s->arena, struct str, s->live);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->items[i].live) names[n++] = s->items[i].name;
    qsort(names, n, sizeof *names, by_name);
    return names;
}
