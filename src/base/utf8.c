/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, at most U+10FFFF.
 * in: bytes. out: code points. owns: nothing. */
#include "base/utf8.h"

int utf8_decode(const char *s, size_t len, uint32_t *cp) {
    if (!len) return 0;
    const uint8_t *p = (const uint8_t *)s;
    if (p[0] < 0x80) return *cp = p[0], 1;
    int n = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (!n || len < (size_t)n) return 0;
    uint32_t c = p[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff))) return 0;
    if (c >= 0xd800 && c < 0xe000) return 0;
    *cp = c;
    return n;
}

int utf8_encode(uint32_t cp, char out[4]) {
    if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)) cp = 0xfffd;
    if (cp < 0x80) return out[0] = (char)cp, 1;
    int n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)((0xf00u >> n) | cp);
    return n;
}

bool utf8_valid(struct str s) {
    for (size_t i = 0; i < s.len;) {
        if ((uint8_t)s.ptr[i] < 0x80) {
            i++;
            continue;
        }
        uint32_t cp;
        int n = utf8_decode(s.ptr + i, s.len - i, &cp);
        if (!n) return false;
        i += (size_t)n;
    }
    return true;
}
