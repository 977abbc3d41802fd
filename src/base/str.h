/* Borrowed text: pointer and length, no terminator, UTF-8 unless the owner says otherwise. */
#ifndef REGENT_BASE_STR_H
#define REGENT_BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_FMT(s) (int)(s).len, (s).ptr /* for "%.*s" */

static inline struct str str_of(const char *c) { return (struct str){c, c ? strlen(c) : 0}; }
static inline bool str_eq(struct str a, struct str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool str_is(struct str a, const char *c) { return str_eq(a, str_of(c)); }
static inline bool str_starts(struct str a, struct str prefix) {
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}
static inline bool str_ends(struct str a, struct str suffix) {
    return a.len >= suffix.len &&
           (suffix.len == 0 || memcmp(a.ptr + a.len - suffix.len, suffix.ptr, suffix.len) == 0);
}
static inline struct str str_from(struct str a, size_t start) {
    if (start > a.len) start = a.len;
    return start ? (struct str){a.ptr + start, a.len - start} : a;
}
static inline struct str str_head(struct str a, size_t len) {
    return (struct str){a.ptr, len < a.len ? len : a.len};
}
/* Bytewise order, shorter first: <0, 0, >0. For valid UTF-8 this is code point order. */
static inline int str_cmp(struct str a, struct str b) {
    int c = memcmp(a.ptr ? a.ptr : "", b.ptr ? b.ptr : "", a.len < b.len ? a.len : b.len);
    return c ? c : (a.len > b.len) - (a.len < b.len);
}
/* ASCII only, whatever the locale. */
static inline char char_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
/* Value of a hexadecimal digit; -1: none. */
static inline int char_hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* Equal but for the case of ASCII letters. */
static inline bool str_eq_fold(struct str a, struct str b) {
    for (size_t i = 0; i < a.len && i < b.len; i++)
        if (char_lower(a.ptr[i]) != char_lower(b.ptr[i])) return false;
    return a.len == b.len;
}

#endif
