/* Arena of chunks that double in size up to a maximum.
 * in: sizes. out: zeroed, 16-byte aligned memory. owns: its chunks, until arena_deinit. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t bytes;
    _Alignas(16) uint8_t data[];
};

enum { LOOK_EVERY = 1000 };
#ifdef REGENT_STRESS /* tests shrink every table and arena to meet each growth path early */
enum { FIRST_CHUNK = 64 };
#else
enum { FIRST_CHUNK = 4096 };
#endif

void arena_init(struct arena *a, size_t max_bytes) { *a = (struct arena){.max_bytes = max_bytes}; }

void arena_deinit(struct arena *a) {
    for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    a->chunks = NULL;
    a->at = a->end = NULL;
    a->used_bytes = 0;
}

void arena_reset(struct arena *a) {
    if (!a->chunks) return;
    bool one = !a->chunks->next; /* then all that was written lies before `at` */
    while (a->chunks->next) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->next;
        free(c);
    }
    struct arena_chunk *first = a->chunks;
    memset(first->data, 0, one ? (size_t)(a->at - first->data) : first->bytes);
    a->used_bytes = first->bytes;
    a->at = first->data;
    a->end = first->data + first->bytes;
}

static void *exhausted(struct arena *a) {
    if (a->exhausted) longjmp(*a->exhausted, 1);
    return NULL;
}

static int add_chunk(struct arena *a, size_t need) {
    size_t bytes = a->chunks ? a->chunks->bytes * 2 : FIRST_CHUNK;
    if (bytes > (1u << 20)) bytes = 1u << 20;
    if (bytes < need) bytes = need;
    if (bytes > a->max_bytes - a->used_bytes) bytes = need;
    if (need > a->max_bytes - a->used_bytes) return 0;
    struct arena_chunk *c = calloc(1, sizeof *c + bytes);
    if (!c) return 0;
    c->bytes = bytes;
    c->next = a->chunks;
    a->chunks = c;
    a->used_bytes += bytes;
    a->at = c->data;
    a->end = c->data + bytes;
    return 1;
}

void arena_reserve(struct arena *a, size_t bytes) {
    if (!a->chunks) (void)add_chunk(a, bytes);
}

bool arena_is_late(const struct arena *a) {
    return a->deadline_ns && clock_of(CLOCK_THREAD_CPUTIME_ID) > a->deadline_ns;
}

void *arena_alloc(struct arena *a, size_t bytes) {
    if (bytes > SIZE_MAX - 15) return exhausted(a);
    size_t need = bytes ? (bytes + 15) & ~(size_t)15 : 16;
    if (a->deadline_ns && a->countdown-- == 0) {
        a->countdown = LOOK_EVERY;
        if (arena_is_late(a)) return exhausted(a);
    }
    if ((size_t)(a->end - a->at) < need && !add_chunk(a, need)) return exhausted(a);
    void *p = a->at;
    a->at += need;
    return p;
}

void *arena_alloc_array(struct arena *a, size_t item_bytes, size_t n) {
    if (item_bytes && n > SIZE_MAX / item_bytes) return exhausted(a);
    return arena_alloc(a, item_bytes * n);
}

void *arena_copy(struct arena *a, const void *from, size_t bytes) {
    void *p = arena_alloc(a, bytes);
    if (p && bytes) memcpy(p, from, bytes);
    return p;
}

char *arena_strndup(struct arena *a, const char *from, size_t len) {
    if (len == SIZE_MAX) return exhausted(a);
    char *p = arena_alloc(a, len + 1);
    if (p && len) memcpy(p, from, len);
    return p;
}

char *arena_strlower(struct arena *a, const char *from, size_t len) {
    char *copy = arena_strndup(a, from, len);
    for (size_t i = 0; copy && i < len; i++) copy[i] = char_lower(copy[i]);
    return copy;
}

char *arena_printf(struct arena *a, size_t *len_out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) return exhausted(a);
    char *p = arena_alloc(a, (size_t)n + 1);
    if (!p) return NULL;
    va_start(args, format);
    vsnprintf(p, (size_t)n + 1, format, args);
    va_end(args);
    if (len_out) *len_out = (size_t)n;
    return p;
}

void arena_grow(struct arena *a, void **items, uint32_t *cap, size_t item_bytes) {
    uint32_t more = *cap ? *cap * 2 : 4;
    if (more < *cap) {
        exhausted(a);
        return;
    }
    void *p = arena_alloc_array(a, item_bytes, more);
    if (!p) return;
    if (*cap) memcpy(p, *items, item_bytes * *cap);
    *items = p;
    *cap = more;
}
