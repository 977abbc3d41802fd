/* Byte strings that grow on the heap.
 * in: bytes, texts, numbers. out: a view, or a string value. owns: its buffer, until the heap is
 * reset. */
#include "runtime/state.h"

struct builder builder_new(uint32_t hint) {
    return (struct builder){hint > 0 ? rt_alloc(hint) : NULL, 0, hint};
}

void builder_reserve(struct builder *b, uint32_t n) {
    if (n <= b->cap - b->len) return;
    if (n > UINT32_MAX / 2 - b->len) rt_fail("guest_memory", "a text is too long");
    uint32_t cap = b->cap < 32 ? 64 : b->cap * 2;
    if (cap < b->len + n) cap = b->len + n;
    if (cap > UINT32_MAX / 2) cap = UINT32_MAX / 2;
    b->ptr = rt_realloc(b->ptr, b->cap, cap);
    b->cap = cap;
}

void builder_put_slow(struct builder *b, uint8_t c) {
    builder_reserve(b, 1);
    b->ptr[b->len++] = c;
}

void builder_text(struct builder *b, struct text t) {
    if (t.len == 0) return;
    builder_reserve(b, t.len);
    bytes_copy(b->ptr + b->len, t.ptr, t.len);
    b->len += t.len;
}

void builder_c(struct builder *b, const char *s) {
    builder_text(b, (struct text){(const uint8_t *)s, (uint32_t)strlen(s)});
}

void builder_code_point(struct builder *b, uint32_t code_point) {
    builder_reserve(b, 4);
    b->len += utf8_encode(code_point, b->ptr + b->len);
}

void builder_int(struct builder *b, int64_t i) {
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    uint32_t digits = 1;
    for (uint64_t rest = u; rest >= 10; rest /= 10) digits++;
    builder_reserve(b, digits + 1);
    if (i < 0) b->ptr[b->len++] = '-';
    b->len += digits;
    for (uint32_t at_digit = b->len; digits > 0; digits--, u /= 10)
        b->ptr[--at_digit] = (uint8_t)('0' + u % 10);
}

void builder_repeat(struct builder *b, uint8_t c, uint32_t n) {
    builder_reserve(b, n);
    if (n > 0) memset(b->ptr + b->len, c, n);
    b->len += n;
}

value builder_string(struct builder *b) { return string_view(builder_view(b)); }
