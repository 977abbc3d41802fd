/* Sets of variable names, in insertion order, with a place for each. */
#ifndef REGENT_COMPILER_CHECK_VARSET_H
#define REGENT_COMPILER_CHECK_VARSET_H
#include "base/arena.h"
#include "base/diag.h"
#include "base/str.h"

struct varset_item {
    struct str name;
    struct loc loc;
    bool live; /* false: removed, kept so that the index stays valid */
};

/* Names are borrowed. Iterate with `for (i < s->n) if (s->items[i].live)`. */
struct varset {
    struct varset_item *items;
    uint32_t n, cap, live;
    uint32_t *index, index_cap; /* hash index, once there are more than a few names */
    struct arena *arena;
    struct varset *next_free;
};

/* Sets that are no longer needed, so that safety checks do not eat the arena. */
struct varset_pool {
    struct varset *free;
    struct arena *arena;
};
struct varset *varset_take(struct varset_pool *p); /* empty */
void varset_put(struct varset_pool *p, struct varset *s);

void varset_init(struct varset *s, struct arena *arena);
void varset_clear(struct varset *s);
bool varset_has(const struct varset *s, struct str name);
void varset_add(struct varset *s, struct str name);
void varset_add_at(struct varset *s, struct str name, struct loc loc);
void varset_remove(struct varset *s, struct str name);
void varset_update(struct varset *s, const struct varset *from);   /* s ∪= from */
void varset_subtract(struct varset *s, const struct varset *from); /* s -= from */
void varset_intersect(struct varset *s, const struct varset *with);
/* No name of s is missing in `in`. */
bool varset_within(const struct varset *s, const struct varset *in);
bool varset_equal(const struct varset *a, const struct varset *b);
/* The live names in bytewise order, in the arena; s->live of them. */
struct str *varset_sorted(const struct varset *s);

#endif
