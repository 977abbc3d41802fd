/* SHA-256 through OpenSSL, and an insertion-ordered string table.
 * in: bytes. out: digests, lookups. owns: nothing; tables live in their arena. */
/* SHA256_Init and its kin need no set-up of the library, which takes a millisecond. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/hash.h"
#include "base/arena.h"
#include <openssl/sha.h>

void sha256(const void *bytes, size_t len, uint8_t out[32]) {
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, bytes, len);
    SHA256_Final(out, &context);
}

void sha256_hex(const void *bytes, size_t len, char out[65]) {
    uint8_t raw[32];
    sha256(bytes, len, raw);
    for (int i = 0; i < 32; i++) {
        out[2 * i] = "0123456789abcdef"[raw[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[raw[i] & 15];
    }
    out[64] = 0;
}

uint64_t hash64(struct str s) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.len; i++) h = (h ^ (uint8_t)s.ptr[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

void table_init(struct table *t, struct arena *arena) { *t = (struct table){.arena = arena}; }

/* The index slot that holds `key`, or the free one where it belongs. */
static uint32_t *slot_of(const struct table *t, struct str key) {
    uint32_t mask = t->index_cap - 1, i = (uint32_t)hash64(key) & mask;
    while (t->index[i] && !str_eq(t->entries[t->index[i] - 1].key, key)) i = (i + 1) & mask;
    return &t->index[i];
}

void *table_get(const struct table *t, struct str key) {
    uint32_t *slot = t->index_cap ? slot_of(t, key) : NULL;
    return slot && *slot ? t->entries[*slot - 1].value : NULL;
}

static bool reindex(struct table *t) {
    uint32_t cap = t->index_cap ? t->index_cap * 2 : 16;
    uint32_t *index = arena_alloc_array(t->arena, sizeof *index, cap);
    if (!index) return false;
    t->index = index;
    t->index_cap = cap;
    for (uint32_t i = 0; i < t->n; i++) *slot_of(t, t->entries[i].key) = i + 1;
    return true;
}

void table_set(struct table *t, struct str key, void *value) {
    if (t->n * 2 >= t->index_cap && !reindex(t)) return;
    uint32_t *slot = slot_of(t, key);
    if (*slot) {
        t->entries[*slot - 1].value = value;
        return;
    }
    if (t->n == t->cap) {
        void *entries = t->entries;
        arena_grow(t->arena, &entries, &t->cap, sizeof *t->entries);
        t->entries = entries;
        if (t->n == t->cap) return;
    }
    t->entries[t->n++] = (struct table_entry){key, value};
    *slot = t->n;
}
