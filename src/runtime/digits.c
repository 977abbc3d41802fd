/* Decimal digits of binary floating-point values: exact expansion, rounding, shortest form, Go's
 * layouts. in: mantissa × 2^exponent. out: text. owns: digits, on the heap. */
#include "runtime/decimal.h"

struct digits digits_of(struct bigint mantissa, int32_t exponent) {
    struct builder b = builder_new(0);
    int32_t scale = 0;
    mantissa.negative = false;
    if (mantissa.n == 0) return (struct digits){NULL, 0, 0};
    if (exponent > 0) {
        mantissa = bigint_shl(mantissa, (uint32_t)exponent);
    } else if (exponent < 0) {
        /* m / 2^k = m × 5^k / 10^k; factors of two that m has anyway are taken out first. */
        uint32_t k = (uint32_t)-exponent, even = 0;
        while (even < k && (mantissa.limbs[even / 32] >> even % 32 & 1) == 0) even++;
        mantissa = bigint_shr(mantissa, even);
        k -= even;
        if (k > 0) mantissa = bigint_mul(mantissa, bigint_power(5, k));
        scale = (int32_t)k;
    }
    builder_bigint(&b, mantissa, 10);
    struct digits d = {b.ptr, b.len, (int32_t)b.len - scale};
    while (d.n > 0 && d.d[d.n - 1] == '0') d.n--;
    return d;
}

static void trim(struct digits *d) {
    while (d->n > 0 && d->d[d->n - 1] == '0') d->n--;
    if (d->n == 0) d->point = 0;
}

static void round_down(struct digits *d, int64_t n) {
    if (n < 0 || n >= d->n) return;
    d->n = (uint32_t)n;
    trim(d);
}

static void round_up(struct digits *d, int64_t n) {
    if (n < 0 || n >= d->n) return;
    while (n > 0 && d->d[n - 1] == '9') n--;
    if (n == 0) {
        d->d[0] = '1';
        d->n = 1;
        d->point++;
        return;
    }
    d->d[n - 1]++;
    d->n = (uint32_t)n;
}

void digits_round(struct digits *d, int64_t n) {
    if (n < 0) {
        d->n = 0;
        d->point = 0;
    }
    if (n < 0 || n >= d->n) return;
    bool half = d->d[n] == '5' && n + 1 == d->n;
    bool up = half ? n > 0 && (d->d[n - 1] - '0') % 2 != 0 : d->d[n] >= '5';
    if (up)
        round_up(d, n);
    else
        round_down(d, n);
}

static uint8_t digit_at(struct digits d, int64_t i) { return i >= 0 && i < d.n ? d.d[i] : '0'; }

/* Source: Go's math/big ftoa.go and strconv ftoa.go: the first place where d can be told from the
 * middles to its neighbours, rounded to nearest when both directions are possible. */
void digits_shorten(struct digits *d, struct digits lower, struct digits upper, bool inclusive,
                    bool aligned) {
    int64_t low = aligned ? (int64_t)lower.point - d->point : 0;
    int64_t up = aligned ? (int64_t)upper.point - d->point : 0;
    for (int64_t i = up > 0 ? -up : 0; i < d->n; i++) {
        uint8_t m = digit_at(*d, i), l = digit_at(lower, i + low), u = digit_at(upper, i + up);
        bool down_ok = l != m || (inclusive && i + low + 1 == lower.n);
        bool up_ok = m != u && (inclusive || m + 1 < u || i + up + 1 < upper.n);
        if (i < 0 && (down_ok || up_ok)) i = 0;
        if (down_ok && up_ok)
            digits_round(d, i + 1);
        else if (down_ok)
            round_down(d, i + 1);
        else if (up_ok)
            round_up(d, i + 1);
        if (down_ok || up_ok) return;
    }
}

static void write_scientific(struct builder *b, struct digits d, char letter, int precision) {
    builder_put(b, digit_at(d, 0));
    if (precision > 0) builder_put(b, '.');
    for (int i = 1; i <= precision; i++) builder_put(b, digit_at(d, i));
    int32_t e = d.n > 0 ? d.point - 1 : 0;
    builder_put(b, (uint8_t)letter);
    builder_put(b, e < 0 ? '-' : '+');
    if (e < 0) e = -e;
    if (e < 10) builder_put(b, '0');
    builder_int(b, e);
}

static void write_fixed(struct builder *b, struct digits d, int precision) {
    if (d.point <= 0) builder_put(b, '0');
    for (int32_t i = 0; i < d.point; i++) builder_put(b, digit_at(d, i));
    if (precision > 0) builder_put(b, '.');
    for (int i = 0; i < precision; i++) builder_put(b, digit_at(d, (int64_t)d.point + i));
}

static int fraction_digits(struct digits d) {
    int64_t n = (int64_t)d.n - d.point;
    return n > 0 ? (int)n : 0;
}

static void write_general(struct builder *b, struct digits d, char letter, int precision) {
    bool shortest = precision < 0;
    int n = (int)d.n, threshold = shortest ? 6 : precision, e = d.point - 1;
    if (shortest) precision = n;
    if (!shortest && threshold > n && n >= d.point) threshold = n;
    if (e < -4 || e >= threshold) {
        if (precision > n) precision = n;
        write_scientific(b, d, letter, precision - 1);
        return;
    }
    write_fixed(b, d, fraction_digits(d));
}

void digits_write(struct builder *b, bool negative, struct digits d, char format, int precision) {
    if (negative) builder_put(b, '-');
    switch (format) {
    case 'e':
    case 'E': write_scientific(b, d, format, precision < 0 ? (int)d.n - 1 : precision); break;
    case 'f':
    case 'F': write_fixed(b, d, precision < 0 ? fraction_digits(d) : precision); break;
    default: write_general(b, d, format == 'G' ? 'E' : 'e', precision); break;
    }
}
