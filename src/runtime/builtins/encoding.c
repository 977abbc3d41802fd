/* Base64 (standard and URL alphabets) and hexadecimal.
 * in:  strings; decoded bytes need not be UTF-8
 * out: strings, booleans
 * owns: nothing */
#include "runtime/builtins/builtin.h"

static uint8_t sextet_letter(uint32_t v, bool url) {
    if (v < 26) return (uint8_t)('A' + v);
    if (v < 52) return (uint8_t)('a' + v - 26);
    if (v < 62) return (uint8_t)('0' + v - 52);
    return v == 62 ? (url ? '-' : '+') : (url ? '_' : '/');
}
static int letter_sextet(uint8_t c, bool url) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == (url ? '-' : '+')) return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

static value base64_encode(struct text t, bool url, bool pad) {
    struct builder b = builder_new(0);
    builder_reserve(&b, (t.len + 2) / 3 * 4);
    for (uint32_t i = 0; i < t.len; i += 3) {
        uint32_t left = t.len - i, group = (uint32_t)t.ptr[i] << 16;
        if (left > 1) group |= (uint32_t)t.ptr[i + 1] << 8;
        if (left > 2) group |= t.ptr[i + 2];
        builder_put(&b, sextet_letter(group >> 18, url));
        builder_put(&b, sextet_letter(group >> 12 & 63, url));
        if (left > 1 || pad) builder_put(&b, left > 1 ? sextet_letter(group >> 6 & 63, url) : '=');
        if (left > 2 || pad) builder_put(&b, left > 2 ? sextet_letter(group & 63, url) : '=');
    }
    return builder_string(&b);
}

/* The next byte that is no line break, or -1; Go's decoder skips line breaks anywhere. */
static int next_letter(struct text t, uint32_t *i) {
    while (*i < t.len && (t.ptr[*i] == '\n' || t.ptr[*i] == '\r')) ++*i;
    return *i < t.len ? t.ptr[(*i)++] : -1;
}

/* Decodes into b (which may be NULL: only a check); padding is required. Returns -1, or the offset
 * of the byte that is wrong. */
static int64_t base64_decode(struct builder *b, struct text t, bool url) {
    uint32_t i = 0, last = 0;
    for (;;) {
        uint32_t group = 0, n = 0;
        for (int c; n < 4 && (c = next_letter(t, &i)) != -1; n++) {
            last = i - 1;
            int v = letter_sextet((uint8_t)c, url);
            if (v < 0 && (c != '=' || n < 2)) return last;
            if (v < 0) break;
            group |= (uint32_t)v << (18 - 6 * n);
        }
        if (n == 0) return -1;
        bool ended = n == 4 || t.ptr[last] == '=';
        if (!ended) return i - n;
        int second = n == 2 ? next_letter(t, &i) : '=';
        if (second != '=') return second < 0 ? (int64_t)t.len : (int64_t)i - 2;
        for (uint32_t k = 0; b && k + 1 < n; k++) builder_put(b, (uint8_t)(group >> (16 - 8 * k)));
        if (n < 4) return next_letter(t, &i) == -1 ? -1 : (int64_t)i - 1;
    }
}

static value base64_failed(const char *builtin, int64_t offset) {
    struct builder b = builder_new(64);
    builder_c(&b, "illegal base64 data at input byte ");
    builder_int(&b, offset);
    builder_put(&b, 0);
    return bi_error(builtin, (const char *)b.ptr);
}

RT_EXPORT value bi_base64_encode(value a) {
    NEED_STRING("base64.encode", 1, a);
    return base64_encode(text_of(a), false, true);
}
RT_EXPORT value bi_base64_decode(value a) {
    NEED_STRING("base64.decode", 1, a);
    struct builder b = builder_new(value_length(a) / 4 * 3);
    int64_t failed = base64_decode(&b, text_of(a), false);
    return failed >= 0 ? base64_failed("base64.decode", failed) : builder_string(&b);
}
RT_EXPORT value bi_base64_is_valid(value a) {
    return value_of_boolean(is_string(a) && base64_decode(NULL, text_of(a), false) < 0);
}
RT_EXPORT value bi_base64url_encode(value a) {
    NEED_STRING("base64url.encode", 1, a);
    return base64_encode(text_of(a), true, true);
}
RT_EXPORT value bi_base64url_encode_no_pad(value a) {
    NEED_STRING("base64url.encode_no_pad", 1, a);
    return base64_encode(text_of(a), true, false);
}
/* Padding may be missing (RFC 7515, appendix C). */
RT_EXPORT value bi_base64url_decode(value a) {
    NEED_STRING("base64url.decode", 1, a);
    struct text t = text_of(a);
    struct builder padded = builder_new(t.len + 2), b = builder_new(t.len / 4 * 3 + 3);
    builder_text(&padded, t);
    if (t.len % 4 != 0 && t.ptr[t.len - 1] != '=') {
        if (t.len % 4 == 1)
            return error_with_text("base64url.decode", "illegal base64url string: ", t, "");
        builder_repeat(&padded, '=', 4 - t.len % 4);
    }
    int64_t failed = base64_decode(&b, builder_view(&padded), true);
    return failed >= 0 ? base64_failed("base64url.decode", failed) : builder_string(&b);
}

RT_EXPORT value bi_hex_encode(value a) {
    NEED_STRING("hex.encode", 1, a);
    struct text t = text_of(a);
    struct builder b = builder_new(0);
    builder_reserve(&b, t.len * 2);
    for (uint32_t i = 0; i < t.len; i++) {
        builder_put(&b, (uint8_t) "0123456789abcdef"[t.ptr[i] >> 4]);
        builder_put(&b, (uint8_t) "0123456789abcdef"[t.ptr[i] & 15]);
    }
    return builder_string(&b);
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
static value bad_hex(uint8_t c) {
    struct builder b = builder_new(16);
    builder_c(&b, "U+00");
    builder_put(&b, (uint8_t) "0123456789ABCDEF"[c >> 4]);
    builder_put(&b, (uint8_t) "0123456789ABCDEF"[c & 15]);
    builder_c(&b, " '");
    builder_code_point(&b, c);
    return error_with_text("hex.decode", "encoding/hex: invalid byte: ", builder_view(&b), "'");
}
RT_EXPORT value bi_hex_decode(value a) {
    NEED_STRING("hex.decode", 1, a);
    struct text t = text_of(a);
    struct builder b = builder_new(t.len / 2);
    for (uint32_t i = 0; i < t.len; i++)
        if (hex_digit(t.ptr[i]) < 0) return bad_hex(t.ptr[i]);
    if (t.len % 2 != 0) return bi_error("hex.decode", "encoding/hex: odd length hex string");
    for (uint32_t i = 0; i < t.len; i += 2)
        builder_put(&b, (uint8_t)(hex_digit(t.ptr[i]) << 4 | hex_digit(t.ptr[i + 1])));
    return builder_string(&b);
}
