/* What one compile leaves for the next: warm memory, and a place for parts that come out the same
 * each time. in: compiles that have ended. out: arenas. owns: the cache with its arenas. */
#include "compiler/compile_cache.h"
#include <stdlib.h>

enum { WARM_BYTES = 1 << 20 };

static void begin(struct compile_cache *k) {
    arena_init(&k->arena, CACHE_MAX_BYTES);
    table_init(&k->links, &k->arena);
    k->torn = false;
}

struct compile_cache *compile_cache_new(void) {
    struct compile_cache *k = calloc(1, sizeof *k);
    if (k) begin(k);
    return k;
}

void compile_cache_free(struct compile_cache *k) {
    if (!k) return;
    for (uint32_t i = 0; i < k->n_spare; i++) arena_deinit(&k->spare[i]);
    arena_deinit(&k->arena);
    free(k);
}

void compile_cache_make_room(struct compile_cache *k) {
    if (!k->torn && k->arena.used_bytes <= CACHE_FULL_BYTES) return;
    arena_deinit(&k->arena);
    begin(k);
}

void compile_cache_take(struct compile_cache *k, size_t max_bytes, struct arena *out) {
    if (k->n_spare) {
        *out = k->spare[--k->n_spare];
        out->max_bytes = max_bytes;
        return;
    }
    arena_init(out, max_bytes);
    if (max_bytes >= WARM_BYTES) arena_reserve(out, WARM_BYTES);
}

void compile_cache_give(struct compile_cache *k, struct arena *a) {
    if (k->n_spare == CACHE_ARENAS) {
        arena_deinit(a);
        return;
    }
    arena_reset(a);
    a->exhausted = NULL;
    a->deadline_ns = 0;
    k->spare[k->n_spare++] = *a;
    *a = (struct arena){0};
}
