/* Binary floating point with a chosen precision, rounded to nearest even after each operation (Go's
 * big.Float). in: floats, decimal text. out: floats, numbers as OPA prints them. owns: mantissas,
 * on the heap. */
#include "runtime/decimal.h"

enum { POWER_TABLE = 27, POWER_PRECISION = 64, EXPONENT_SPAN = 1 << 24 };

static struct bigfloat zero(bool negative, uint32_t precision) {
    return (struct bigfloat){{NULL, 0, false}, 0, precision, negative};
}

static bool any_bit_below(struct bigint a, uint32_t bit) {
    for (uint32_t i = 0; i < bit / 32 && i < a.n; i++)
        if (a.limbs[i] != 0) return true;
    return bit / 32 < a.n && (a.limbs[bit / 32] & (((uint32_t)1 << bit % 32) - 1)) != 0;
}

static bool bit_at(struct bigint a, uint32_t bit) {
    return bit / 32 < a.n && (a.limbs[bit / 32] >> bit % 32 & 1) != 0;
}

/* mantissa × 2^exponent, to nearest even; `more`: a little above what the mantissa says. */
static struct bigfloat rounded(struct bigint m, int64_t exponent, bool negative, uint32_t precision,
                               bool more) {
    m.negative = false;
    if (m.n == 0) return zero(negative, precision);
    uint32_t bits = bigint_bits(m);
    if (bits > precision) {
        uint32_t drop = bits - precision;
        bool half = bit_at(m, drop - 1), rest = more || any_bit_below(m, drop - 1),
             odd = bit_at(m, drop);
        m = bigint_shr(m, drop);
        if (half && (rest || odd)) m = bigint_add(m, bigint_of_uint64(1));
        exponent += drop;
    }
    if (exponent > EXPONENT_SPAN || exponent < -EXPONENT_SPAN)
        rt_fail("guest_memory", "the exponent of a number is too large");
    return (struct bigfloat){m, (int32_t)exponent, precision, negative};
}

struct bigfloat bigfloat_of_bigint(struct bigint a) {
    uint32_t bits = bigint_bits(a);
    return rounded(a, 0, a.negative, bits > 64 ? bits : 64, false);
}

struct bigfloat bigfloat_of_int64(int64_t i, uint32_t precision) {
    return rounded(bigint_of_int64(i), 0, i < 0, precision, false);
}

/* ---- arithmetic ---- */

static struct bigint signed_mantissa(struct bigfloat a) {
    a.mantissa.negative = a.negative && a.mantissa.n > 0;
    return a.mantissa;
}

/* Mantissas at the smaller of the two exponents. */
static int32_t align(struct bigfloat a, struct bigfloat b, struct bigint *x, struct bigint *y) {
    *x = signed_mantissa(a);
    *y = signed_mantissa(b);
    if (a.exponent > b.exponent) *x = bigint_shl(*x, (uint32_t)(a.exponent - b.exponent));
    if (b.exponent > a.exponent) *y = bigint_shl(*y, (uint32_t)(b.exponent - a.exponent));
    return a.exponent < b.exponent ? a.exponent : b.exponent;
}

struct bigfloat bigfloat_add(struct bigfloat a, struct bigfloat b, uint32_t precision) {
    struct bigint x, y;
    if (a.mantissa.n == 0 && b.mantissa.n == 0) return zero(a.negative && b.negative, precision);
    if (b.mantissa.n == 0) return rounded(a.mantissa, a.exponent, a.negative, precision, false);
    if (a.mantissa.n == 0) return rounded(b.mantissa, b.exponent, b.negative, precision, false);
    int32_t exponent = align(a, b, &x, &y);
    struct bigint sum = bigint_add(x, y);
    return rounded(sum, exponent, sum.negative, precision, false);
}

struct bigfloat bigfloat_sub(struct bigfloat a, struct bigfloat b, uint32_t precision) {
    b.negative = !b.negative;
    return bigfloat_add(a, b, precision);
}

struct bigfloat bigfloat_mul(struct bigfloat a, struct bigfloat b, uint32_t precision) {
    bool negative = a.negative != b.negative;
    struct bigint product = bigint_mul(a.mantissa, b.mantissa);
    return rounded(product, (int64_t)a.exponent + b.exponent, negative, precision, false);
}

struct bigfloat bigfloat_quo(struct bigfloat a, struct bigfloat b, uint32_t precision) {
    bool negative = a.negative != b.negative;
    if (a.mantissa.n == 0) return zero(negative, precision);
    /* Two bits more than the precision, and the remainder tells on which side of a half it lies. */
    int64_t shift = (int64_t)precision + 2 + bigint_bits(b.mantissa) - bigint_bits(a.mantissa);
    if (shift < 0) shift = 0;
    struct bigint q, r;
    a.mantissa.negative = b.mantissa.negative = false;
    bigint_div(bigint_shl(a.mantissa, (uint32_t)shift), b.mantissa, &q, &r);
    return rounded(q, (int64_t)a.exponent - b.exponent - shift, negative, precision, r.n > 0);
}

struct bigint bigfloat_trunc(struct bigfloat a) {
    struct bigint m = a.mantissa;
    m.negative = false;
    m = a.exponent >= 0 ? bigint_shl(m, (uint32_t)a.exponent)
                        : bigint_shr(m, (uint32_t)-a.exponent);
    m.negative = a.negative && m.n > 0;
    return m;
}

bool bigfloat_is_int(struct bigfloat a) {
    return a.mantissa.n == 0 || a.exponent >= 0 ||
           !any_bit_below(a.mantissa, (uint32_t)-a.exponent);
}

int bigfloat_compare(struct bigfloat a, struct bigfloat b) {
    struct bigint x, y;
    align(a, b, &x, &y);
    return bigint_compare(x, y);
}

/* ---- decimal text in and out ---- */

/* 5^n as Go computes it: exact to 5^27, then in floating point of the precision, by powers of more.
 */
static struct bigfloat power_of_five(uint32_t n, uint32_t precision) {
    uint32_t first = n < POWER_TABLE ? n : POWER_TABLE;
    struct bigfloat power = rounded(bigint_power(5, first), 0, false, precision, false);
    struct bigfloat factor = bigfloat_of_int64(5, precision + POWER_PRECISION);
    for (n -= first; n > 0; n >>= 1) {
        if (n & 1) power = bigfloat_mul(power, factor, precision);
        factor = bigfloat_mul(factor, factor, precision + POWER_PRECISION);
    }
    return power;
}

static struct bigfloat of_decimal(struct decimal d, struct text t, uint32_t precision) {
    struct bigint m;
    /* Go keeps the digits as they stand, zeros too: the same value, and the same rounding. */
    if (d.n == 0 || !bigint_of_text(decimal_digits(d), 10, &m))
        return zero(t.ptr[0] == '-', precision);
    if (d.exponent == 0) return rounded(m, 0, d.negative, precision, false);
    struct bigfloat exact = {m, 0, precision, d.negative};
    uint32_t n = (uint32_t)(d.exponent < 0 ? -d.exponent : d.exponent);
    exact.exponent = (int32_t)d.exponent;
    struct bigfloat power = power_of_five(n, precision + POWER_PRECISION);
    if (d.exponent < 0) return bigfloat_quo(exact, power, precision);
    return bigfloat_mul(exact, power, precision);
}

bool bigfloat_of_text(struct text t, struct bigfloat *out) {
    bool digit = false, point = false;
    uint32_t i = t.len > 0 && (t.ptr[0] == '-' || t.ptr[0] == '+');
    for (; i < t.len && (t.ptr[i] == '.' || (uint8_t)(t.ptr[i] - '0') < 10); i++) {
        if (t.ptr[i] == '.' && point) return false;
        if (t.ptr[i] == '.')
            point = true;
        else
            digit = true;
    }
    if (!digit) return false;
    if (i < t.len) {
        if ((t.ptr[i++] | 0x20) != 'e') return false;
        if (i < t.len && (t.ptr[i] == '-' || t.ptr[i] == '+')) i++;
        if (i == t.len) return false;
        for (; i < t.len; i++)
            if ((uint8_t)(t.ptr[i] - '0') >= 10) return false;
    }
    struct decimal d = decimal_of_text(t);
    if (d.exponent > EXPONENT_SPAN / 4 || d.exponent < -EXPONENT_SPAN / 4) return false;
    *out = of_decimal(d, t, 64);
    return true;
}

struct bigfloat bigfloat_of_number(value n) {
    struct bigfloat f;
    if (value_tag(n) == TAG_INTEGER) return bigfloat_of_int64(value_integer(n), 64);
    if (!bigfloat_of_text(text_of(n), &f))
        rt_fail("guest_memory", "the exponent of a number is too large");
    return f;
}

/* The mantissa with exactly precision + 1 bits, so that its lowest bit is half of the last place.
 */
static void shorten(struct digits *d, struct bigfloat a) {
    struct bigint m = a.mantissa, one = bigint_of_uint64(1);
    m.negative = false;
    uint32_t up = a.precision + 1 - bigint_bits(m);
    m = bigint_shl(m, up);
    int32_t exponent = a.exponent - (int32_t)up;
    bool even = !bit_at(m, 1);
    digits_shorten(d, digits_of(bigint_sub(m, one), exponent),
                   digits_of(bigint_add(m, one), exponent), even, false);
}

value number_of_bigfloat(struct bigfloat a) {
    struct builder b = builder_new(0);
    struct digits d = digits_of(a.mantissa, a.exponent);
    if (d.n > 0) shorten(&d, a);
    digits_write(&b, a.negative, d, bigfloat_is_int(a) ? 'f' : 'g', -1);
    return number_keep(heap_mark(), &b);
}
