/* JSON's tokens, eight bytes at a step.
 * in: a byte range. out: token ends, words. owns: the scanner's state. */
#include "runtime/json_scan.h"

struct json_scanner json_scanner;

void json_begin(struct text t) {
    json_scanner.begin = t.ptr;
    json_scanner.end = t.ptr + t.len;
    json_scanner.scratch = NULL;
    json_scanner.scratch_n = json_scanner.scratch_cap = 0;
    json_scanner.problem = (struct json_problem){NULL, 0};
}

const uint8_t *json_fail(const uint8_t *p, const char *message) {
    json_scanner.problem.message = p >= json_scanner.end ? "unexpected end of JSON input" : message;
    json_scanner.problem.offset = (uint32_t)(p - json_scanner.begin);
    return NULL;
}

bool json_finish(const uint8_t *p) {
    if (p == NULL) return false;
    p = json_space(p);
    if (p == json_scanner.end) return true;
    json_fail(p, "invalid character after top-level value");
    return false;
}

/* ---- strings ---- */

static bool is_hex(uint32_t c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static const uint8_t *check_escape(const uint8_t *p) {
    switch (json_peek(p + 1)) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't': return p + 2;
    case 'u':
        for (int i = 2; i < 6; i++)
            if (!is_hex(json_peek(p + i))) return json_fail(p + i, "invalid \\u escape in string");
        return p + 6;
    default: return json_fail(p + 1, "invalid escape in string");
    }
}

const uint8_t *json_string_any(const uint8_t *p) {
    const uint8_t *end = json_scanner.end;
    uint32_t flags = 0;
    for (;;) {
        while (end - p >= 8) {
            uint64_t found = json_special(layout_load64(p));
            if (found != 0) {
                p += __builtin_ctzll(found) >> 3;
                break;
            }
            p += 8;
        }
        while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') p++;
        if (p >= end) return json_fail(end, "");
        if (*p == '"') break;
        if (*p >= 0x80) {
            flags |= JSON_NON_ASCII;
            p++;
        } else if (*p == '\\') {
            flags |= JSON_ESCAPED;
            p = check_escape(p);
            if (p == NULL) return NULL;
        } else {
            return json_fail(p, "invalid control character in string");
        }
    }
    json_scanner.string_flags = flags;
    return p;
}

static uint32_t hex4(const uint8_t *p) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) v = v << 4 | (p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10u);
    return v;
}

/* p is at "\uXXXX" (checked); two of them may be one code point. A lone surrogate becomes U+FFFD.
 */
static const uint8_t *unescape_unicode(const uint8_t *p, const uint8_t *quote,
                                       uint32_t *code_point) {
    uint32_t c = hex4(p + 2);
    *code_point = c;
    if (c < 0xd800 || c >= 0xe000) return p + 6;
    *code_point = 0xfffd;
    if (c >= 0xdc00 || quote - p < 12 || p[6] != '\\' || p[7] != 'u') return p + 6;
    uint32_t low = hex4(p + 8);
    if (low < 0xdc00 || low >= 0xe000) return p + 6;
    *code_point = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    return p + 12;
}

static uint8_t unescape_byte(uint8_t c) {
    switch (c) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return c;
    }
}

static struct text unescape(const uint8_t *p, const uint8_t *quote) {
    /* No escape grows; an invalid byte grows to three. */
    struct builder b = builder_new((uint32_t)(quote - p));
    struct text rest = {p, (uint32_t)(quote - p)};
    for (uint32_t i = 0, c; i < rest.len;) {
        if (p[i] == '\\' && p[i + 1] == 'u') {
            i = (uint32_t)(unescape_unicode(p + i, quote, &c) - p);
            builder_code_point(&b, c);
        } else if (p[i] == '\\') {
            builder_put(&b, unescape_byte(p[i + 1]));
            i += 2;
        } else if (p[i] < 0x80) {
            builder_put(&b, p[i++]);
        } else {
            builder_code_point(&b, utf8_decode(rest, &i));
        }
    }
    return builder_view(&b);
}

struct text json_string_decoded(const uint8_t *from, const uint8_t *quote) {
    struct text t = {from, (uint32_t)(quote - from)};
    if (json_scanner.string_flags == JSON_NON_ASCII && utf8_valid(t)) return t;
    return unescape(from, quote);
}

/* ---- numbers and literals ---- */

static bool is_digit(uint32_t c) { return c - '0' < 10; }

static const uint8_t *digits(const uint8_t *p) {
    if (!is_digit(json_peek(p))) return json_fail(p, "invalid character in numeric literal");
    do p++;
    while (is_digit(json_peek(p)));
    return p;
}

enum { EXPONENT_MAX = 30103 }; /* OPA's bound of 2^100000, as a power of ten */

/* OPA refuses numbers so large or small that computing with them would take for ever. */
static bool exponent_in_range(const uint8_t *exponent, const uint8_t *end, int64_t leading) {
    bool negative = *exponent == '-';
    int64_t e = 0;
    for (const uint8_t *p = exponent + (*exponent == '-' || *exponent == '+'); p < end; p++)
        if (e < 1000000000) e = e * 10 + (*p - '0');
    e = (negative ? -e : e) + leading;
    return e >= -EXPONENT_MAX && e <= EXPONENT_MAX;
}

static bool is_zero(const uint8_t *p, const uint8_t *end) {
    for (; p < end; p++)
        if (*p >= '1' && *p <= '9') return false;
    return true;
}

/* p is behind the integer part that begins at `from`. */
static const uint8_t *fraction_and_exponent(const uint8_t *from, const uint8_t *p) {
    int64_t leading = p - from;
    if (json_peek(p) == '.') {
        const uint8_t *first = p + 1;
        p = digits(first);
        if (p == NULL) return NULL;
        if (leading == 1 && *from == '0')
            for (leading = 0; first < p && *first == '0'; first++) leading--;
    }
    if ((json_peek(p) | 0x20) != 'e') return p;
    const uint8_t *mantissa_end = p++, *exponent = p;
    if (json_peek(p) == '+' || json_peek(p) == '-') p++;
    p = digits(p);
    if (p == NULL || exponent_in_range(exponent, p, leading) || is_zero(from, mantissa_end))
        return p;
    return json_fail(from, "number too big");
}

const uint8_t *json_number(const uint8_t *p, value *out) {
    const uint8_t *begin = p, *end = json_scanner.end;
    bool negative = *p == '-';
    p += negative;
    const uint8_t *first = p;
    uint64_t u = 0;
    for (; p < end && is_digit(*p); p++) u = u * 10 + (*p - '0'); /* may wrap: then it is long */
    if (p == first) return json_fail(p, "invalid character in numeric literal");
    if (*first == '0' && p - first > 1)
        return json_fail(first + 1, "invalid character after leading zero");
    uint32_t next = json_peek(p);
    if (RT_UNLIKELY(next == '.' || (next | 0x20) == 'e')) {
        p = fraction_and_exponent(first, p);
        if (p == NULL) return NULL;
    } else if (p - first <= 18 && u <= (uint64_t)INTEGER_MAX + negative && !(negative && u == 0)) {
        *out = value_of_integer(negative ? -(int64_t)u : (int64_t)u);
        return p;
    }
    if (p - begin > (int64_t)STRING_MAX_BYTES) return json_fail(begin, "number too big");
    *out = value_of_view(TAG_NUMBER, addr(begin), (uint32_t)(p - begin));
    return p;
}

const uint8_t *json_literal(const uint8_t *p, value *out) {
    uint32_t n = *p == 'f' ? 5 : 4;
    const char *word = *p == 'n' ? "null" : *p == 't' ? "true" : "false";
    *out = *p == 'n' ? VALUE_NULL : value_of_boolean(*p == 't');
    for (uint32_t i = 0; i < n; i++)
        if (json_peek(p + i) != (uint8_t)word[i])
            return json_fail(p + i, "invalid character in literal");
    return p + n;
}
