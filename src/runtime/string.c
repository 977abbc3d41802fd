/* Strings: words for byte ranges, search and comparison.
 * in: valid UTF-8. out: string values, offsets. owns: copies, on the heap. */
#include "runtime/state.h"

value string_view(struct text t) {
    if (t.len > STRING_MAX_BYTES)
        rt_fail("guest_memory", "a string is longer than 268435455 bytes");
    return value_of_view(TAG_STRING, addr(t.ptr), t.len);
}

value string_copy(struct text t) {
    uint8_t *p = rt_alloc(t.len);
    bytes_copy(p, t.ptr, t.len);
    return string_view((struct text){p, t.len});
}

value string_of_c(const char *s) {
    return string_view((struct text){(const uint8_t *)s, (uint32_t)strlen(s)});
}

bool text_equal(struct text a, struct text b) {
    return a.len == b.len && bytes_equal(a.ptr, b.ptr, a.len);
}

int text_compare(struct text a, struct text b) {
    uint32_t n = a.len < b.len ? a.len : b.len, i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t differ = layout_load64(a.ptr + i) ^ layout_load64(b.ptr + i);
        if (differ == 0) continue;
        i += (uint32_t)__builtin_ctzll(differ) >> 3;
        break;
    }
    for (; i < n; i++)
        if (a.ptr[i] != b.ptr[i]) return a.ptr[i] < b.ptr[i] ? -1 : 1;
    return a.len < b.len ? -1 : a.len > b.len;
}

int64_t text_find(struct text t, struct text needle, uint32_t from) {
    if (needle.len == 0) return from <= t.len ? (int64_t)from : -1;
    if (needle.len > t.len) return -1;
    for (uint32_t i = from; i <= t.len - needle.len; i++)
        if (t.ptr[i] == needle.ptr[0] && bytes_equal(t.ptr + i, needle.ptr, needle.len)) return i;
    return -1;
}

int64_t text_find_last(struct text t, struct text needle) {
    if (needle.len > t.len) return -1;
    for (uint32_t i = t.len - needle.len + 1; i-- > 0;)
        if (bytes_equal(t.ptr + i, needle.ptr, needle.len)) return i;
    return -1;
}

bool text_starts_with(struct text t, struct text prefix) {
    return t.len >= prefix.len && bytes_equal(t.ptr, prefix.ptr, prefix.len);
}

bool text_ends_with(struct text t, struct text suffix) {
    return t.len >= suffix.len && bytes_equal(t.ptr + t.len - suffix.len, suffix.ptr, suffix.len);
}
