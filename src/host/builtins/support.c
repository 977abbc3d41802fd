/* What several host builtins need: refusing, building results, base64, PEM, randomness.
 *
 * in:   a call, bytes of policies (hostile).
 * out:  values in the call's arena.
 * owns: nothing. */
#include "host/builtins/support.h"
#include <errno.h>
#include <math.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

bool builtin_no_memory(struct builtin_call *c) {
    c->result = NULL;
    c->error = "out of memory";
    return false;
}

bool builtin_refuse(struct builtin_call *c, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return builtin_fail(c, "%s", text) == OK ? false : builtin_no_memory(c);
}

bool list_add(struct arena *a, struct json *list, struct json *v) {
    if (!list || !v) return false;
    uint32_t n = list->n;
    json_push(a, list, v);
    return list->n == n + 1;
}

bool object_add(struct arena *a, struct json *object, struct str key, struct json *v) {
    if (!object || !v) return false;
    uint32_t n = object->n;
    json_set(a, object, key, v);
    return object->n == n + 1;
}

struct json *text_value(struct arena *a, const char *ptr, size_t len) {
    char *copy = arena_strndup(a, ptr ? ptr : "", len);
    return copy ? json_string(a, (struct str){copy, len}) : NULL;
}

struct json *hex_value(struct arena *a, const uint8_t *bytes, size_t n) {
    static const char digits[] = "0123456789abcdef";
    char *text = arena_alloc(a, 2 * n);
    if (!text) return NULL;
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    return json_string(a, (struct str){text, 2 * n});
}

static int base64_digit(char ch, bool url) {
    if (ch >= 'A' && ch <= 'Z') return ch - 'A';
    if (ch >= 'a' && ch <= 'z') return ch - 'a' + 26;
    if (ch >= '0' && ch <= '9') return ch - '0' + 52;
    if (ch == (url ? '-' : '+')) return 62;
    return ch == (url ? '_' : '/') ? 63 : -1;
}

static size_t skip_breaks(struct str s, size_t i) {
    while (i < s.len && (s.ptr[i] == '\n' || s.ptr[i] == '\r')) i++;
    return i;
}

/* What follows the first '=' when `have` digits of a group were read: nothing but the padding. */
static bool padding_ends(struct str s, size_t i, unsigned have, size_t *at) {
    *at = i;
    if (have < 2) return false;
    i = skip_breaks(s, i + 1);
    if (have == 2) {
        *at = i;
        if (i == s.len || s.ptr[i] != '=') return false;
        i = skip_breaks(s, i + 1);
    }
    *at = i;
    return i == s.len;
}

static size_t put_group(uint8_t *out, uint32_t bits, unsigned have) {
    bits <<= 6 * (4 - have);
    for (unsigned k = 0; k + 1 < have; k++) out[k] = (uint8_t)(bits >> (16 - 8 * k));
    return have ? have - 1 : 0;
}

bool base64_decode(struct arena *a, struct str s, int flags, struct str *out, size_t *at) {
    uint8_t *bytes = arena_alloc(a, s.len / 4 * 3 + 4);
    size_t n = 0, i, group = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    *at = SIZE_MAX;
    if (!bytes) return false;
    for (i = skip_breaks(s, 0); i < s.len; i = skip_breaks(s, i + 1)) {
        int digit = base64_digit(s.ptr[i], flags & BASE64_URL);
        if (have == 0) group = i;
        if (digit < 0 && s.ptr[i] == '=' && !(flags & BASE64_NO_PADDING)) {
            if (!padding_ends(s, i, have, at)) return false;
            break;
        }
        if (digit < 0) return *at = i, false;
        bits = bits << 6 | (uint32_t)digit;
        if (++have < 4) continue;
        n += put_group(bytes + n, bits, 4);
        have = 0, bits = 0;
    }
    bool short_group = i >= s.len && have > 0;
    if (short_group && (have == 1 || !(flags & BASE64_NO_PADDING))) return *at = group, false;
    n += put_group(bytes + n, bits, have);
    *out = (struct str){(const char *)bytes, n};
    return true;
}

bool builtin_base64(struct builtin_call *c, struct str text, int flags, const char *prefix,
                    struct str *out) {
    size_t at;
    if (base64_decode(c->arena, text, flags, out, &at)) return true;
    if (at == SIZE_MAX) return builtin_no_memory(c);
    return builtin_refuse(c, "%sillegal base64 data at input byte %zu", prefix, at);
}

char *base64_encode(struct arena *a, struct str s, int flags, size_t *len) {
    static const char standard[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = arena_alloc(a, (s.len + 2) / 3 * 4 + 1);
    const uint8_t *p = (const uint8_t *)s.ptr;
    size_t n = 0;
    if (!out) return NULL;
    for (size_t i = 0; i < s.len; i += 3) {
        size_t have = s.len - i < 3 ? s.len - i : 3;
        uint32_t bits = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                        (have > 2 ? p[i + 2] : 0);
        for (size_t k = 0; k < 4; k++) {
            if (k > have && (flags & BASE64_NO_PADDING)) break;
            char ch = k > have ? '=' : standard[bits >> (18 - 6 * k) & 63];
            if (flags & BASE64_URL) ch = ch == '+' ? '-' : ch == '/' ? '_' : ch;
            out[n++] = ch;
        }
    }
    *len = n;
    return out;
}

static const char *find(struct str hay, struct str needle) {
    return hay.len ? memmem(hay.ptr, hay.len, needle.ptr, needle.len) : NULL;
}

/* The text of a block without its headers ("Key: value" lines), white space kept out. */
static struct str pem_body(struct arena *a, struct str s) {
    char *out = arena_alloc(a, s.len);
    size_t n = 0;
    while (out && s.len) {
        const char *newline = memchr(s.ptr, '\n', s.len);
        struct str line = str_head(s, newline ? (size_t)(newline - s.ptr) : s.len);
        s = str_from(s, line.len + (newline != NULL));
        if (n == 0 && line.len && memchr(line.ptr, ':', line.len)) continue;
        for (size_t i = 0; i < line.len; i++)
            if (!strchr(" \t\r", line.ptr[i]) || !line.ptr[i]) out[n++] = line.ptr[i];
    }
    return (struct str){out, out ? n : 0};
}

/* A block from its type on: false when it is none; *rest is where to look on. */
static bool pem_block(struct arena *a, struct str s, struct pem *out, struct str *rest) {
    const char *newline = s.len ? memchr(s.ptr, '\n', s.len) : NULL;
    *rest = (struct str){s.ptr + s.len, 0};
    if (!newline) return false;
    struct str line = str_head(s, (size_t)(newline - s.ptr));
    while (line.len && strchr(" \t\r", line.ptr[line.len - 1])) line.len--;
    struct str tail = str_from(s, (size_t)(newline - s.ptr));
    const char *end = find(tail, STR("\n-----END "));
    if (!end) return false;
    struct str body = {newline + 1, end > newline ? (size_t)(end - newline - 1) : 0};
    struct str after = str_from(s, (size_t)(end - s.ptr) + 10);
    *rest = after;
    if (!str_ends(line, STR("-----"))) return false;
    out->type = str_head(line, line.len - 5);
    if (!str_starts(after, out->type) || !str_starts(str_from(after, out->type.len), STR("-----")))
        return false;
    after = str_from(after, out->type.len + 5);
    newline = after.len ? memchr(after.ptr, '\n', after.len) : NULL;
    struct str left = str_head(after, newline ? (size_t)(newline - after.ptr) : after.len);
    *rest = str_from(after, left.len + (newline != NULL));
    for (size_t i = 0; i < left.len; i++)
        if (!left.ptr[i] || !strchr(" \t\r", left.ptr[i])) return false;
    size_t at;
    return base64_decode(a, pem_body(a, body), 0, &out->der, &at);
}

bool pem_next(struct arena *a, struct str *text, struct pem *out) {
    struct str s = *text, begin = STR("-----BEGIN ");
    while (s.len) {
        const char *at = find(s, begin);
        if (!at) return false;
        bool line_start = at == text->ptr || at[-1] == '\n';
        s = str_from(s, (size_t)(at - s.ptr) + begin.len);
        if (!line_start) continue;
        struct str rest;
        if (pem_block(a, s, out, &rest)) return *text = rest, true;
        s = rest;
    }
    return false;
}

struct str go_quote(struct arena *a, struct str s) {
    static const char named[] = "a\ab\bf\fn\nr\rt\tv\v\"\"\\\\";
    char *out = arena_alloc(a, 4 * s.len + 3);
    size_t n = 0;
    if (!out) return STR("\"\"");
    out[n++] = '"';
    for (size_t i = 0; i < s.len; i++) {
        uint8_t ch = (uint8_t)s.ptr[i];
        const char *name = NULL;
        for (const char *p = named; *p && !name; p += 2)
            if (p[1] == s.ptr[i]) name = p;
        if (name)
            out[n++] = '\\', out[n++] = *name;
        else if (ch < 0x20 || ch == 0x7f)
            n += (size_t)snprintf(out + n, 5, "\\x%02x", ch);
        else
            out[n++] = s.ptr[i];
    }
    out[n++] = '"';
    return (struct str){out, n};
}

bool builtin_random(struct builtin_call *c, const char *builtin, struct str key, uint8_t out[32]) {
    if (!c->seed) return false;
    if (!c->seed->drawn) {
        if (getrandom(c->seed->bytes, sizeof c->seed->bytes, 0) != sizeof c->seed->bytes)
            return false;
        c->seed->drawn = true;
    }
    unsigned n = 32;
    size_t name_len = strlen(builtin) + 1; /* its 0 parts it from the key */
    uint8_t *label = arena_alloc(c->arena, name_len + key.len);
    if (!label) return false;
    memcpy(label, builtin, name_len);
    if (key.len) memcpy(label + name_len, key.ptr, key.len);
    return HMAC(EVP_sha256(), c->seed->bytes, sizeof c->seed->bytes, label, name_len + key.len, out,
                &n) != NULL;
}

bool number_double(const struct json *v, double *out) {
    char text[512];
    if (v->kind != JSON_NUMBER || v->text.len >= sizeof text) return false;
    memcpy(text, v->text.ptr, v->text.len);
    text[v->text.len] = 0;
    *out = strtod(text, NULL);
    return isfinite(*out);
}

size_t format_double(double d, int limit, char out[32]) {
    char text[32];
    int precision = 0, exponent;
    if (d == 0) return (size_t)snprintf(out, 32, signbit(d) ? "-0" : "0");
    do snprintf(text, sizeof text, "%.*e", precision, d);
    while (strtod(text, NULL) != d && ++precision < 17);
    exponent = atoi(strchr(text, 'e') + 1);
    if (exponent < -4 || exponent >= limit) {
        int n = snprintf(out, 32, "%s", text);
        return (size_t)n;
    }
    int n = snprintf(out, 32, "%.*f", precision > exponent ? precision - exponent : 0, d);
    return (size_t)n;
}
