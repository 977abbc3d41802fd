/* Inside of the compiler: what one compile leaves for the next. */
#ifndef REGENT_COMPILER_COMPILE_CACHE_H
#define REGENT_COMPILER_COMPILE_CACHE_H
#include "base/hash.h"
#include "compiler/compile.h"

enum { CACHE_ARENAS = 2, CACHE_MAX_BYTES = 64 << 20, CACHE_FULL_BYTES = 32 << 20 };

struct compile_cache {
    struct arena arena;
    struct table links;               /* linked runtimes, by what is called (wasm/link_cache.c) */
    bool torn;                        /* a compile ended while it wrote here */
    struct arena spare[CACHE_ARENAS]; /* warm, empty */
    uint32_t n_spare;
};

/* Before something is added: forgets all when it is full or torn. */
void compile_cache_make_room(struct compile_cache *k);
/* An arena for a compile, and its way back. */
void compile_cache_take(struct compile_cache *k, size_t max_bytes, struct arena *out);
void compile_cache_give(struct compile_cache *k, struct arena *a);

#endif
