/* The heap: a pointer that moves up through linear memory and is set back before the next
 * evaluation. in: sizes. out: 8-aligned addresses. owns: memory from the header's heap_base to the
 * end. */
#include "runtime/rt_native.h"
#include "runtime/state.h"

struct runtime_state rt_state;

enum { PAGE_BYTES = 65536, GROW_BYTES = 262144 };

#ifndef REGENT_NATIVE
static uint32_t memory_end(void) {
    uint32_t pages = (uint32_t)__builtin_wasm_memory_size(0);
    return pages >= 65535 ? 65535u * PAGE_BYTES : pages * PAGE_BYTES;
}

static bool memory_grow(uint32_t bytes) {
    uint32_t pages = bytes / PAGE_BYTES + (bytes % PAGE_BYTES != 0);
    return __builtin_wasm_memory_grow(0, pages) != (size_t)-1;
}
#else
static uint32_t memory_end(void) { return native_memory_end(); }
static bool memory_grow(uint32_t bytes) { return native_memory_grow(bytes); }
#endif

static void heap_begin(void) {
    const struct module_header *h = module_header();
    uint32_t base = h->heap_base != 0 ? h->heap_base : h->image_end;
    rt_state.heap_next = (base + 7) & ~7u;
    rt_state.heap_end = memory_end();
    if (rt_state.heap_end < rt_state.heap_next) rt_state.heap_end = rt_state.heap_next;
}

void *heap_try(uint32_t n) {
    if (rt_state.heap_next == 0) heap_begin();
    if (n > UINT32_MAX - 7) return NULL;
    uint32_t need = (n + 7) & ~7u;
    rt_state.heap_end = memory_end() > rt_state.heap_end ? memory_end() : rt_state.heap_end;
    uint32_t room = rt_state.heap_end - rt_state.heap_next;
    if (need > room) {
        /* Some extra saves calls to the host; exactly enough is the last try. */
        bool grown =
            (need - room < GROW_BYTES && memory_grow(GROW_BYTES)) || memory_grow(need - room);
        if (!grown) return NULL;
        rt_state.heap_end = memory_end();
        if (need > rt_state.heap_end - rt_state.heap_next) return NULL;
    }
    void *p = at(rt_state.heap_next);
    rt_state.heap_next += need;
    return p;
}

void *heap_grow_and_take(uint32_t n) {
    void *p = heap_try(n);
    if (p != NULL) return p;
    rt_fail("guest_memory", n > UINT32_MAX - 7 ? "an allocation is too large"
                                               : "the memory limit is reached");
}

void *rt_alloc(uint32_t n) {
    return RT_LIKELY(n <= UINT32_MAX - 7) ? heap_take(n) : heap_grow_and_take(n);
}

void *rt_alloc_array(uint32_t count, uint32_t size) {
    uint64_t n = (uint64_t)count * size;
    if (n > UINT32_MAX - 7) rt_fail("guest_memory", "an allocation is too large");
    return heap_take((uint32_t)n);
}

void *rt_realloc(void *p, uint32_t old_n, uint32_t new_n) {
    uint32_t old_end = addr(p) + ((old_n + 7) & ~7u);
    if (p != NULL && old_end == rt_state.heap_next && new_n <= UINT32_MAX - 7) {
        uint32_t more = ((new_n + 7) & ~7u) - ((old_n + 7) & ~7u);
        heap_take(more);
        return p;
    }
    void *q = rt_alloc(new_n);
    if (old_n > 0) bytes_copy(q, p, old_n);
    return q;
}

void heap_reset(uint32_t from) {
    if (rt_state.heap_next == 0) heap_begin();
    const struct module_header *h = module_header();
    uint32_t base = h->heap_base != 0 ? h->heap_base : h->image_end;
    if (from < base) from = base;
    rt_state.heap_next = (from + 7) & ~7u;
    if (rt_state.heap_end < rt_state.heap_next) {
        rt_state.heap_end = memory_end();
        if (rt_state.heap_end < rt_state.heap_next)
            rt_fail("internal", "the heap pointer lies outside the memory");
    }
}

uint32_t heap_mark(void) {
    if (rt_state.heap_next == 0) heap_begin();
    return rt_state.heap_next;
}

void heap_release(uint32_t mark) { rt_state.heap_next = mark; }
