/* What the compiler expects of a C library, for wasm32 where there is none: bytes, and 128-bit
 * products. in: addresses and lengths. out: the C library's contracts. owns: nothing. */
#include "runtime/rt.h"

#ifndef REGENT_NATIVE
/* The builtins become the bulk memory instructions, not calls of these functions. */
void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    __builtin_memcpy(to, from, n);
    return to;
}

void *memmove(void *to, const void *from, size_t n) {
    __builtin_memmove(to, from, n);
    return to;
}

void *memset(void *to, int byte, size_t n) {
    __builtin_memset(to, byte, n);
    return to;
}

int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *x = a, *y = b;
    size_t i = 0;
    while (i + 8 <= n && layout_load64(x + i) == layout_load64(y + i)) i += 8;
    for (; i < n; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

size_t strlen(const char *s) {
    size_t n = 0;
    while (s[n] != 0) n++;
    return n;
}

/* clang calls this for 128-bit products and for 64-bit ones that are checked for overflow. */
__int128 __multi3(__int128 a, __int128 b);
__int128 __multi3(__int128 a, __int128 b) {
    const uint64_t half = UINT32_MAX;
    uint64_t x = (uint64_t)a, y = (uint64_t)b;
    uint64_t low = (x & half) * (y & half), middle = (x >> 32) * (y & half) + (low >> 32);
    uint64_t other = (x & half) * (y >> 32) + (middle & half);
    uint64_t high = (x >> 32) * (y >> 32) + (middle >> 32) + (other >> 32);
    high += (uint64_t)(a >> 64) * y + x * (uint64_t)(b >> 64);
    return (__int128)((unsigned __int128)high << 64 | (other << 32 | (low & half)));
}
#endif
