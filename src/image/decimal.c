/* Exact decimal numbers: parsing, comparing and hashing without converting them.
 * in: number text in JSON syntax. out: order, hash, integer value.
 * owns: nothing; digits are views of the text. */
#include "image/decimal.h"
#include "runtime/layout.h"
#include <stdio.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static int64_t exponent_of(struct str text, size_t i) {
    int64_t e = 0;
    bool negative = i < text.len && text.ptr[i] == '-';
    if (i < text.len && !is_digit(text.ptr[i])) i++;
    for (; i < text.len; i++)
        if (e < DECIMAL_EXPONENT_MAX) e = e * 10 + (text.ptr[i] - '0');
    if (e > DECIMAL_EXPONENT_MAX) e = DECIMAL_EXPONENT_MAX;
    return negative ? -e : e;
}

struct decimal decimal_of(struct str text) {
    struct decimal d = {0};
    uint32_t zeros = 0, fraction = 0;
    bool point = false;
    size_t i = 0;
    if (i < text.len && text.ptr[i] == '-') d.negative = true, i++;
    for (; i < text.len && (is_digit(text.ptr[i]) || text.ptr[i] == '.'); i++) {
        char c = text.ptr[i];
        if (c == '.') {
            point = true;
            continue;
        }
        fraction += point;
        if (c == '0') {
            zeros += d.n > 0;
        } else {
            if (d.n == 0) d.digits = text.ptr + i;
            d.n += zeros + 1;
            zeros = 0;
        }
    }
    if (d.n == 0) return (struct decimal){0};
    d.exponent = (i < text.len ? exponent_of(text, i + 1) : 0) - fraction + zeros;
    return d;
}

/* The next significant digit as a character; '0' past the last. */
static char next_digit(struct decimal *d) {
    if (d->n == 0) return '0';
    if (*d->digits == '.') d->digits++;
    d->n--;
    return *d->digits++;
}

static int compare_magnitude(struct decimal a, struct decimal b) {
    int64_t top_a = a.exponent + a.n, top_b = b.exponent + b.n;
    if (top_a != top_b) return top_a < top_b ? -1 : 1;
    while (a.n || b.n) {
        char x = next_digit(&a), y = next_digit(&b);
        if (x != y) return x < y ? -1 : 1;
    }
    return 0;
}

int decimal_compare(struct decimal a, struct decimal b) {
    int sign_a = a.n == 0 ? 0 : a.negative ? -1 : 1, sign_b = b.n == 0 ? 0 : b.negative ? -1 : 1;
    if (sign_a != sign_b) return sign_a < sign_b ? -1 : 1;
    if (sign_a == 0) return 0;
    return sign_a * compare_magnitude(a, b);
}

bool decimal_integer(struct decimal d, int64_t *out) {
    int64_t i = 0, zeros = d.exponent;
    if (d.n == 0) return *out = 0, true;
    if (zeros < 0 || zeros > 18 || d.n > 18 || d.n + zeros > 18) return false;
    while (d.n) i = i * 10 + (next_digit(&d) - '0');
    while (zeros--) i *= 10;
    *out = d.negative ? -i : i;
    return true;
}

/* layout_hash_bytes over bytes that come one by one. */
struct byte_hash {
    uint64_t h, word;
    unsigned filled;
};

static void hash_byte(struct byte_hash *s, char c) {
    s->word |= (uint64_t)(uint8_t)c << (8 * s->filled++);
    if (s->filled < 8) return;
    s->h = (s->h ^ s->word) * 0xd6e8feb86659fd93u;
    s->h ^= s->h >> 29;
    s->word = 0;
    s->filled = 0;
}

uint32_t decimal_hash(struct decimal d) {
    char tail[32];
    int tail_len = snprintf(tail, sizeof tail, "e%lld", (long long)d.exponent);
    uint32_t len = d.negative + d.n + (uint32_t)tail_len;
    struct byte_hash s = {0x9e3779b97f4a7c15u ^ len, 0, 0};
    if (d.negative) hash_byte(&s, '-');
    while (d.n) hash_byte(&s, next_digit(&d));
    for (int i = 0; i < tail_len; i++) hash_byte(&s, tail[i]);
    return layout_mix(s.h ^ s.word);
}

static size_t skip_digits(struct str t, size_t i) {
    while (i < t.len && is_digit(t.ptr[i])) i++;
    return i;
}

bool decimal_valid(struct str t) {
    size_t i = t.len && t.ptr[0] == '-', start = i;
    i = skip_digits(t, i);
    if (i == start || (t.ptr[start] == '0' && i > start + 1)) return false;
    if (i < t.len && t.ptr[i] == '.') {
        start = ++i;
        if ((i = skip_digits(t, i)) == start) return false;
    }
    if (i < t.len && (t.ptr[i] == 'e' || t.ptr[i] == 'E')) {
        i++;
        if (i < t.len && (t.ptr[i] == '+' || t.ptr[i] == '-')) i++;
        start = i;
        if ((i = skip_digits(t, i)) == start) return false;
    }
    return i == t.len;
}

bool decimal_plain_integer(struct str t, int64_t *out) {
    bool negative = t.len && t.ptr[0] == '-';
    size_t i = negative, digits = t.len - negative;
    int64_t v = 0;
    if (digits == 0 || digits > 18) return false;
    if (t.ptr[i] == '0' && (digits > 1 || negative)) return false;
    for (; i < t.len; i++) {
        if (!is_digit(t.ptr[i])) return false;
        v = v * 10 + (t.ptr[i] - '0');
    }
    if (negative) v = -v;
    if (v < INTEGER_MIN || v > INTEGER_MAX) return false;
    *out = v;
    return true;
}
