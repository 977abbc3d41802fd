/* UTF-8: decoding with replacement as Go does it, encoding, counting.
 * in: byte ranges. out: code points, offsets. owns: nothing. */
#include "runtime/rt.h"

enum { REPLACEMENT = 0xfffd };

/* Length of the valid sequence at p (n > 0 bytes left), 0 when there is none. */
static uint32_t sequence(const uint8_t *p, uint32_t n, uint32_t *code_point) {
    uint32_t c = p[0];
    if (c < 0x80) return *code_point = c, 1;
    if (c < 0xc2 || c > 0xf4) return 0;
    uint32_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (n < len) return 0;
    uint32_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint32_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return 0;
    uint32_t v = c & (0x7fu >> len);
    for (uint32_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        v = v << 6 | (p[i] & 0x3f);
    }
    *code_point = v;
    return len;
}

bool utf8_decode_checked(struct text t, uint32_t *i, uint32_t *code_point) {
    uint32_t n = sequence(t.ptr + *i, t.len - *i, code_point);
    if (n == 0) {
        *code_point = REPLACEMENT;
        *i += 1;
        return false;
    }
    *i += n;
    return true;
}

uint32_t utf8_decode(struct text t, uint32_t *i) {
    uint32_t c;
    utf8_decode_checked(t, i, &c);
    return c;
}

uint32_t utf8_decode_back(struct text t, uint32_t *i) {
    uint32_t c, end = *i;
    for (uint32_t back = 1; back <= 4 && back <= end; back++) {
        if ((t.ptr[end - back] & 0xc0) == 0x80) continue;
        if (sequence(t.ptr + end - back, back, &c) != back) break;
        *i = end - back;
        return c;
    }
    *i = end - 1;
    return REPLACEMENT;
}

uint32_t utf8_encode(uint32_t c, uint8_t out[4]) {
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) c = REPLACEMENT;
    if (c < 0x80) return out[0] = (uint8_t)c, 1;
    uint32_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (uint32_t i = n; i-- > 1; c >>= 6) out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(0xf00u >> n | c);
    return n;
}

uint32_t utf8_count(struct text t) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < t.len; n++) {
        if (t.ptr[i] < 0x80) i++;
        else utf8_decode(t, &i);
    }
    return n;
}

bool utf8_valid(struct text t) {
    uint32_t i = 0, c;
    while (i < t.len) {
        if (i + 8 <= t.len && (layout_load64(t.ptr + i) & 0x8080808080808080u) == 0)
            i += 8;
        else if (!utf8_decode_checked(t, &i, &c))
            return false;
    }
    return true;
}

uint32_t utf8_offset(struct text t, uint32_t n) {
    uint32_t i = 0;
    while (i < t.len && (n > 0 || (t.ptr[i] & 0xc0) == 0x80)) {
        n -= (t.ptr[i] & 0xc0) != 0x80;
        i++;
        while (i < t.len && (t.ptr[i] & 0xc0) == 0x80) i++;
    }
    return i;
}
