/* Keeps the last compiled patterns of a thread: a policy asks for the same few again and again.
 *
 * in:   patterns.
 * out:  compiled patterns.
 * owns: them, and a copy of each pattern's text. */
#include "host/builtins/cache.h"
#include "base/hash.h"
#include <stdlib.h>

enum { CACHE_ENTRIES = 128 };

struct cache_entry {
    uint64_t hash;
    struct str pattern;
    struct regex *regex;
};
struct builtin_cache {
    struct cache_entry entries[CACHE_ENTRIES];
    uint32_t next; /* gives way to the next new pattern */
    struct zone_files *zones; /* NULL: read from the system's files when asked for */
};

struct builtin_cache *builtin_cache_new(void) {
    return calloc(1, sizeof(struct builtin_cache));
}

static void entry_clear(struct cache_entry *e) {
    regex_free(e->regex);
    free((char *)e->pattern.ptr);
    *e = (struct cache_entry){0};
}

void builtin_cache_free(struct builtin_cache *c) {
    if (!c) return;
    for (uint32_t i = 0; i < CACHE_ENTRIES; i++) entry_clear(&c->entries[i]);
    zone_files_free(c->zones);
    free(c);
}

enum err builtin_cache_keep_zones(struct builtin_cache *c) {
    return c->zones ? OK : zone_files_new(&c->zones);
}

const struct zone_files *cache_zones(const struct builtin_cache *c) { return c ? c->zones : NULL; }

static const struct regex *cache_add(struct builtin_call *c, struct str pattern, uint64_t hash) {
    char error[256];
    char *copy = malloc(pattern.len + 1);
    struct regex *regex = copy ? regex_new(pattern, error, sizeof error) : NULL;
    if (!regex) {
        free(copy);
        if (builtin_fail(c, "%s", copy ? error : "out of memory") != OK) c->error = "out of memory";
        return NULL;
    }
    struct cache_entry *e = &c->cache->entries[c->cache->next];
    c->cache->next = (c->cache->next + 1) % CACHE_ENTRIES;
    entry_clear(e);
    if (pattern.len) memcpy(copy, pattern.ptr, pattern.len);
    *e = (struct cache_entry){hash, {copy, pattern.len}, regex};
    return regex;
}

const struct regex *cache_regex(struct builtin_call *c, struct str pattern) {
    uint64_t hash = hash64(pattern);
    for (uint32_t i = 0; i < CACHE_ENTRIES; i++) {
        const struct cache_entry *e = &c->cache->entries[i];
        if (e->regex && e->hash == hash && str_eq(e->pattern, pattern)) return e->regex;
    }
    return cache_add(c, pattern, hash);
}
