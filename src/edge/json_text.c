/* Writes strings, numbers and bytes as JSON text, and checks JSON text, eight bytes at a step.
 * in: bytes, maybe hostile. out: JSON text. owns: nothing. */
#include "edge/json_text.h"
#include "base/utf8.h"
#include <float.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

static const uint64_t ONES = 0x0101010101010101u, HIGH = 0x8080808080808080u;

/* The high bit of each byte that a JSON string cannot hold as it is or that is no ASCII. The lowest one that is set
 * is exact; those above may be wrong. */
static inline uint64_t special(uint64_t w) {
    uint64_t quote = w ^ ONES * '"', slash = w ^ ONES * '\\';
    return (((w - ONES * 0x20) & ~w) | ((quote - ONES) & ~quote) | ((slash - ONES) & ~slash) | w) & HIGH;
}

/* The n < 8 bytes at p as the low bytes of a word. */
static inline uint64_t load_few(const char *p, size_t n) {
    const uint8_t *b = (const uint8_t *)p;
    if (n < 4) return n ? b[0] | (uint64_t)b[n / 2] << (8 * (n / 2)) | (uint64_t)b[n - 1] << (8 * (n - 1)) : 0;
    uint32_t low, high;
    memcpy(&low, p, 4);
    memcpy(&high, p + n - 4, 4);
    return low | (uint64_t)high << (8 * (n - 4));
}

/* Copies plain bytes from s[i..) to `to`; how many. `to` has room for eight bytes more than the rest of s. */
static inline size_t copy_plain(struct str s, size_t i, uint8_t *to) {
    size_t start = i;
    uint64_t w, found;
    for (; s.len - i >= 8; i += 8) {
        memcpy(&w, s.ptr + i, 8);
        memcpy(to + (i - start), &w, 8);
        found = special(w);
        if (found) return i - start + (size_t)(__builtin_ctzll(found) >> 3);
    }
    size_t few = s.len - i;
    w = load_few(s.ptr + i, few);
    memcpy(to + (i - start), &w, 8);
    found = special(w) & ((uint64_t)1 << (8 * few)) - 1;
    return i - start + (found ? (size_t)(__builtin_ctzll(found) >> 3) : few);
}

/* What stands for the special bytes at s[i]: its length in *wrote (at most 6), bytes of s used as result. */
static size_t escape(struct str s, size_t i, uint8_t *to, size_t *wrote) {
    static const char letters[] = "\bb\tt\nn\ff\rr", hex[] = "0123456789abcdef";
    uint8_t c = (uint8_t)s.ptr[i];
    uint32_t cp;
    to[0] = '\\';
    to[1] = c;
    *wrote = 2;
    if (c == '"' || c == '\\') return 1;
    if (c >= 0x80) {
        int n = utf8_decode(s.ptr + i, s.len - i, &cp);
        memcpy(to, n ? s.ptr + i : "\xef\xbf\xbd", n ? (size_t)n : 3);
        *wrote = n ? (size_t)n : 3;
        return n ? (size_t)n : 1;
    }
    for (size_t k = 0; k < sizeof letters - 1; k += 2)
        if ((uint8_t)letters[k] == c) return to[1] = (uint8_t)letters[k + 1], 1;
    memcpy(to + 1, "u00", 3);
    to[4] = (uint8_t)hex[c >> 4];
    to[5] = (uint8_t)hex[c & 15];
    *wrote = 6;
    return 1;
}

void json_text_string(struct buf *out, struct str s) {
    enum { MARGIN = 16 }; /* quotes, and what one special byte may become */
    uint8_t *to = buf_reserve(out, s.len + MARGIN), *end = to ? to + s.len + MARGIN : NULL;
    if (!to) return;
    *to++ = '"';
    for (size_t i = 0, wrote;;) {
        size_t n = copy_plain(s, i, to);
        i += n, to += n;
        if (i == s.len) break;
        i += escape(s, i, to, &wrote);
        to += wrote;
        if ((size_t)(end - to) >= s.len - i + MARGIN / 2) continue;
        buf_commit(out, (size_t)(to - (out->ptr + out->len)));
        size_t more = (s.len - i) + (s.len - i) / 4 + MARGIN; /* texts with some escapes have more of them */
        if (!(to = buf_reserve(out, more))) return;
        end = to + more;
    }
    *to++ = '"';
    buf_commit(out, (size_t)(to - (out->ptr + out->len)));
}

void json_text_base64(struct buf *out, struct str bytes) {
    uint8_t *to = buf_reserve(out, (bytes.len + 2) / 3 * 4 + 3); /* quotes and a final 0 */
    if (!to) return;
    to[0] = '"';
    size_t n = (size_t)EVP_EncodeBlock(to + 1, (const uint8_t *)bytes.ptr, (int)bytes.len);
    to[n + 1] = '"';
    buf_commit(out, n + 2);
}

void json_text_double(struct buf *out, double d) {
    char text[40];
    if (d != d || d - d != 0) {
        buf_cstr(out, d != d ? "\"NaN\"" : d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    /* 15 digits are never too many but for numbers near 0, which carry fewer. */
    for (int digits = fabs(d) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d) break;
    }
    buf_cstr(out, text);
}

/* ---- checking ---- */
struct check {
    const char *at, *end;
    uint32_t depth;
    uint8_t is_object[JSON_TEXT_MAX_DEPTH / 8 + 1]; /* a bit a level */
};

static void skip_space(struct check *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static bool take(struct check *c, char byte) {
    if (c->at == c->end || *c->at != byte) return false;
    c->at++;
    return true;
}

static bool hex_digits(struct check *c) {
    if (c->end - c->at < 4) return false;
    for (int i = 0; i < 4; i++, c->at++) {
        char x = (char)(*c->at | 0x20);
        if (!((*c->at >= '0' && *c->at <= '9') || (x >= 'a' && x <= 'f'))) return false;
    }
    return true;
}

/* The rest of a string, behind its first quote. */
static bool string(struct check *c) {
    for (;;) {
        for (uint64_t w; c->end - c->at >= 8; c->at += 8) {
            memcpy(&w, c->at, 8);
            uint64_t found = special(w) & ~(w & HIGH); /* a byte past ASCII may hide one behind it: looked at below */
            if (found || (w & HIGH)) break;
        }
        while (c->at < c->end && ((uint8_t)*c->at >= 0x20 && *c->at != '"' && *c->at != '\\')) c->at++;
        if (take(c, '"')) return true;
        if (!take(c, '\\') || c->at == c->end) return false;
        char e = *c->at++;
        if (e == 'u' ? !hex_digits(c) : !e || !strchr("bfnrt\\/\"", e)) return false;
    }
}

static bool digits(struct check *c) {
    const char *start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') c->at++;
    return c->at > start;
}

static bool number(struct check *c) {
    take(c, '-');
    if (!take(c, '0') && !digits(c)) return false;
    if (take(c, '.') && !digits(c)) return false;
    if (c->at < c->end && (*c->at | 0x20) == 'e') {
        c->at++;
        if (!take(c, '+')) take(c, '-');
        return digits(c);
    }
    return true;
}

static bool word(struct check *c, struct str text) {
    if ((size_t)(c->end - c->at) < text.len || memcmp(c->at, text.ptr, text.len) != 0) return false;
    c->at += text.len;
    return true;
}

static bool member_key(struct check *c) {
    skip_space(c);
    if (!take(c, '"') || !string(c)) return false;
    skip_space(c);
    return take(c, ':');
}

/* A scalar, or the opening of an array or object that has members, with the key of its first one; *open tells. */
static bool value(struct check *c, bool *open) {
    *open = false;
    skip_space(c);
    if (c->at == c->end) return false;
    switch (*c->at) {
    case '"': return c->at++, string(c);
    case 't': return word(c, STR("true"));
    case 'f': return word(c, STR("false"));
    case 'n': return word(c, STR("null"));
    case '{':
    case '[': {
        bool object = *c->at++ == '{';
        uint8_t bit = (uint8_t)(1u << (c->depth % 8));
        if (c->depth == JSON_TEXT_MAX_DEPTH) return false;
        skip_space(c);
        if (take(c, object ? '}' : ']')) return true;
        c->is_object[c->depth / 8] = (uint8_t)((c->is_object[c->depth / 8] & ~bit) | (object ? bit : 0));
        c->depth++;
        *open = true;
        return !object || member_key(c);
    }
    default: return number(c);
    }
}

/* Behind a value: closes what ends here, until a comma (true, *done false) or the end of the text's value. */
static bool after_value(struct check *c, bool *done) {
    for (;;) {
        if ((*done = c->depth == 0)) return true;
        bool object = c->is_object[(c->depth - 1) / 8] >> ((c->depth - 1) % 8) & 1;
        skip_space(c);
        if (take(c, ',')) return !object || member_key(c);
        if (!take(c, object ? '}' : ']')) return false;
        c->depth--;
    }
}

bool json_text_valid(struct str text) {
    struct check c;
    c.at = text.ptr, c.end = text.ptr + text.len, c.depth = 0;
    for (bool open, done = false; !done;) {
        if (!value(&c, &open)) return false;
        if (!open && !after_value(&c, &done)) return false;
    }
    skip_space(&c);
    return c.at == c.end;
}
