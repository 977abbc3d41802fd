/* Keys of JWT rules, as identifiers see them. */
#ifndef REGENT_EDGE_KEY_SETS_H
#define REGENT_EDGE_KEY_SETS_H
#include "edge/identify.h"
#include "host/token.h"
#include <stdatomic.h>

/* Keys of one rule. */
struct key_set;
struct key_set *key_sets_of(struct key_sets *k, uint32_t rule); /* NULL: no JWT rule, or no keys at all */
/* Counts up with every change of the keys; 0: there are none yet. One relaxed load. */
uint64_t key_set_version(const struct key_set *s);
/* The keys of now, counted, and their version; NULL: none yet. */
struct token_keys *key_set_acquire(struct key_set *s, uint64_t *version);
/* A token names a key that is not there: they are fetched again, unless that was done a moment ago. Does not wait. */
void key_set_miss(struct key_set *s);

#endif
