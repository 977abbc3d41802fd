/* One configuration in use: what was read, the keys that go with it, and how many threads still look at it. */
#ifndef REGENT_EDGE_SETUP_H
#define REGENT_EDGE_SETUP_H
#include "edge/config.h"
#include "edge/identify.h"
#include <stdatomic.h>

struct setup {
    struct setup *next;
    struct edge_config config;
    struct arena arena;     /* holds it, when it was read again */
    struct key_sets *keys;
    _Atomic uint32_t users; /* threads; 0: may be freed */
};

/* The first one: config's arena stays the caller's. *why gets a sentence. */
MUST_USE enum err setup_new(const struct edge_config *config, struct setup **out, char *why, size_t why_bytes);
/* One that is read again: fill setup->config, which lies in setup->arena, then setup_complete. */
MUST_USE enum err setup_begin(struct setup **out);
MUST_USE enum err setup_complete(struct setup *s, char *why, size_t why_bytes);
void setup_free(struct setup *s);
static inline void setup_use(struct setup *s) { atomic_fetch_add(&s->users, 1); }
static inline void setup_unuse(struct setup *s) { atomic_fetch_sub(&s->users, 1); }

/* What a running node cannot change is set back to what `was`; the keys that differed go to names ("threads, ..."). */
void setup_keep_fixed(struct edge_config *now, const struct edge_config *was, struct buf *names);

#endif
