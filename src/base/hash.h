/* SHA-256 in hex and raw form (OpenSSL), and the hash that native tables use. */
#ifndef REGENT_BASE_HASH_H
#define REGENT_BASE_HASH_H
#include "base/str.h"
#include <stdint.h>

void sha256(const void *bytes, size_t len, uint8_t out[32]);
void sha256_hex(const void *bytes, size_t len, char out[65]); /* 0-terminated */
/* FNV-1a with a final mix; not for hostile keys. */
uint64_t hash64(struct str s);

/* String-keyed table in an arena: insertion order kept, values are any pointer. */
struct table {
    struct table_entry *entries;
    uint32_t n, cap;
    uint32_t *index, index_cap;
    struct arena *arena;
};
struct table_entry {
    struct str key;
    void *value;
};
void table_init(struct table *t, struct arena *arena);
void *table_get(const struct table *t, struct str key);                /* NULL: not there */
void table_set(struct table *t, struct str key, void *value);          /* key is borrowed */
#endif
