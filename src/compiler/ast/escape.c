/* Decodes the escapes of string literals.
 * in: the text between the delimiters
 * out: its characters: a view when nothing was escaped, else a copy in the arena
 * owns: nothing */
#include "compiler/ast/escape.h"
#include "base/utf8.h"
#include <stdint.h>

static bool read_hex4(struct str s, size_t at, uint32_t *out) {
    if (at + 4 > s.len) return false;
    uint32_t v = 0;
    for (size_t i = at; i < at + 4; i++) {
        char c = s.ptr[i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A' + 10);
        else
            return false;
        v = v << 4 | digit;
    }
    *out = v;
    return true;
}

/* \uXXXX with *at on its first digit; a following low surrogate is joined. */
static bool decode_unicode(struct str s, size_t *at, char *out, size_t *n) {
    uint32_t cp, low;
    if (!read_hex4(s, *at, &cp)) return false;
    *at += 4;
    bool high = cp >= 0xD800 && cp < 0xDC00;
    if (high && *at + 6 <= s.len && s.ptr[*at] == '\\' && s.ptr[*at + 1] == 'u' &&
        read_hex4(s, *at + 2, &low) && low >= 0xDC00 && low < 0xE000) {
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
        *at += 6;
    }
    *n += (size_t)utf8_encode(cp, out + *n);
    return true;
}

static int simple_escape(char c) {
    switch (c) {
    case '"':
    case '\\':
    case '/': return c;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    }
    return -1;
}

static bool decode_one(struct str s, size_t *at, bool braces, char *out, size_t *n) {
    if (*at == s.len) return false;
    char c = s.ptr[(*at)++];
    if (c == 'u') return decode_unicode(s, at, out, n);
    int plain = c == '{' && braces ? '{' : simple_escape(c);
    if (plain < 0) return false;
    out[(*n)++] = (char)plain;
    return true;
}

bool escape_decode(struct arena *a, struct str text, bool braces, struct str *out) {
    if (text.len == 0 || !memchr(text.ptr, '\\', text.len)) {
        *out = text;
        return true;
    }
    char *bytes = arena_alloc(a, text.len); /* no escape is shorter than what it stands for */
    size_t n = 0;
    for (size_t i = 0; i < text.len;) {
        char c = text.ptr[i++];
        if ((unsigned char)c < 0x20 || c == '"') return false;
        if (c != '\\')
            bytes[n++] = c;
        else if (!decode_one(text, &i, braces, bytes, &n))
            return false;
    }
    *out = (struct str){bytes, n};
    return true;
}

struct str escape_decode_raw(struct arena *a, struct str text, bool braces) {
    if (!braces || text.len == 0 || !memchr(text.ptr, '\\', text.len)) return text;
    char *bytes = arena_alloc(a, text.len);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\\' && i + 1 < text.len && text.ptr[i + 1] == '{') i++;
        bytes[n++] = text.ptr[i];
    }
    return (struct str){bytes, n};
}
