/* Which configuration a stream belongs to, and how far it is.
 * in: context ids from the proxy. out: roots and streams. owns: the table of streams, at the heap's
 * floor, and the roots. A table that has grown leaves the smaller ones behind: together less than
 * it. */
#include "runtime/proxy/filter.h"

struct filter filter;

enum { STREAMS_FIRST = 64, STREAMS_MAX = 1 << 22 };

struct root *root_find(uint32_t id) {
    for (uint32_t i = 0; i < ROOTS_MAX; i++)
        if (id != 0 && filter.roots[i].id == id) return &filter.roots[i];
    return NULL;
}

struct root *root_new(uint32_t id) {
    for (uint32_t i = 0; i < ROOTS_MAX; i++) {
        if (filter.roots[i].id != 0) continue;
        filter.roots[i] = (struct root){.id = id};
        return &filter.roots[i];
    }
    return NULL;
}

void filter_heap_reset(void) { heap_reset(filter.floor); }

static uint32_t place(uint32_t id) { return (id * 0x9e3779b1u) & filter.streams_mask; }

struct stream *stream_find(uint32_t id) {
    if (filter.streams == NULL || id == 0) return NULL;
    for (uint32_t i = place(id); filter.streams[i].id != 0; i = (i + 1) & filter.streams_mask)
        if (filter.streams[i].id == id) return &filter.streams[i];
    return NULL;
}

static struct stream *put(struct stream s) {
    uint32_t i = place(s.id);
    while (filter.streams[i].id != 0) i = (i + 1) & filter.streams_mask;
    filter.streams[i] = s;
    filter.streams_n++;
    return &filter.streams[i];
}

static bool grow(void) {
    struct stream *old = filter.streams;
    uint32_t old_size = old != NULL ? filter.streams_mask + 1 : 0;
    uint32_t size = old != NULL ? 2 * old_size : STREAMS_FIRST;
    if (size > STREAMS_MAX) return false;
    filter_heap_reset();
    struct stream *table = heap_try(size * (uint32_t)sizeof *table);
    if (table == NULL) return false;
    memset(table, 0, size * sizeof *table);
    filter.floor = heap_mark();
    filter.streams = table;
    filter.streams_mask = size - 1;
    filter.streams_n = 0;
    for (uint32_t i = 0; i < old_size; i++)
        if (old[i].id != 0) put(old[i]);
    return true;
}

struct stream *stream_new(uint32_t id, struct root *root) {
    bool full = filter.streams == NULL || 2 * (filter.streams_n + 1) > filter.streams_mask;
    if (full && !grow()) return NULL;
    return put(
        (struct stream){.id = id, .root_id = root->id, .root = (uint16_t)(root - filter.roots)});
}

struct root *stream_root(const struct stream *s) {
    struct root *root = s != NULL ? &filter.roots[s->root] : NULL;
    return root != NULL && root->id == s->root_id ? root : NULL;
}

/* Moves what follows back, so that no search meets a gap. */
void stream_delete(uint32_t id) {
    struct stream *s = stream_find(id);
    if (s == NULL) return;
    uint32_t mask = filter.streams_mask, hole = (uint32_t)(s - filter.streams);
    for (uint32_t i = (hole + 1) & mask; filter.streams[i].id != 0; i = (i + 1) & mask) {
        uint32_t home = place(filter.streams[i].id);
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        filter.streams[hole] = filter.streams[i];
        hole = i;
    }
    filter.streams[hole].id = 0;
    filter.streams_n--;
}
