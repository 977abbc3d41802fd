/* The runtime's surroundings in native builds: memory below 4 GB, and a host whose builtins are
 * undefined. in: what the runtime imports. out: memory, caught aborts. owns: the two mappings,
 * until the program ends. */
#ifdef REGENT_NATIVE
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mmap's flags */
#endif
#include "runtime/rt_native.h"
#include "runtime/state.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    NATIVE_HEADER_BYTES = 0x100000,
    NATIVE_HEAP_BASE = 0x60000000,
    NATIVE_HEAP_BYTES = 0x1f000000, /* ends below the shadow memory of AddressSanitizer */
    NATIVE_FIRST_BYTES = 0x10000
};

static struct {
    jmp_buf catch;
    bool mapped, catching;
    uint32_t end, limit;
    char message[1024];
} native;

static void map_fixed(uintptr_t address, size_t n) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *p = mmap((void *)address, n, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p != (void *)address) {
        perror("mmap of the runtime's memory");
        exit(2);
    }
}

void native_setup(uint32_t max_bytes) {
    if (!native.mapped) {
        map_fixed(HEADER_BASE, NATIVE_HEADER_BYTES);
        map_fixed(NATIVE_HEAP_BASE, NATIVE_HEAP_BYTES);
        native.mapped = true;
    }
    memset(at(HEADER_BASE), 0, NATIVE_HEADER_BYTES);
    if (max_bytes == 0 || max_bytes > NATIVE_HEAP_BYTES) max_bytes = NATIVE_HEAP_BYTES;
    native.limit = NATIVE_HEAP_BASE + max_bytes;
    native.end =
        NATIVE_HEAP_BASE + (max_bytes < NATIVE_FIRST_BYTES ? max_bytes : NATIVE_FIRST_BYTES);
    memset(&rt_state, 0, sizeof rt_state);
    module_header()->heap_base = NATIVE_HEAP_BASE;
    module_header()->image_end = NATIVE_HEAP_BASE;
    module_header()->data_root = object_new(0);
    module_header()->heap_base = heap_mark();
}

uint32_t native_memory_end(void) { return native.end; }

bool native_memory_grow(uint32_t bytes) {
    uint64_t end = (uint64_t)native.end + ((bytes + 0xffffull) & ~0xffffull);
    if (end > native.limit) return false;
    native.end = (uint32_t)end;
    return true;
}

jmp_buf *native_catch(void) {
    native.catching = true;
    return &native.catch;
}

void native_catch_end(void) { native.catching = false; }
const char *native_message(void) { return native.message; }

void opa_abort(uint32_t message) {
    snprintf(native.message, sizeof native.message, "%s", (const char *)at(message));
    if (native.catching) {
        native.catching = false;
        longjmp(native.catch, 1);
    }
    fprintf(stderr, "opa_abort: %s\n", native.message);
    abort();
}

uint32_t opa_builtin0(uint32_t id, uint32_t ctx) { return id & ctx & 0; }
/* Returns its argument's cell: enough to see that arguments arrive. */
uint32_t opa_builtin1(uint32_t id, uint32_t ctx, uint32_t a) { return id == 1 ? a : ctx & 0; }
uint32_t opa_builtin2(uint32_t id, uint32_t ctx, uint32_t a, uint32_t b) {
    return id == 1 ? a : id == 2 ? b : ctx & 0;
}
uint32_t opa_builtin3(uint32_t id, uint32_t ctx, uint32_t a, uint32_t b, uint32_t c) {
    return id == 3 ? c : opa_builtin2(id, ctx, a, b);
}
uint32_t opa_builtin4(uint32_t id, uint32_t ctx, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return id == 4 ? d : opa_builtin3(id, ctx, a, b, c);
}
#endif
