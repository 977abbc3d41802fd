/* Doubles: decimal text to the nearest one, and back by Go's rules.
 * in: text or doubles. out: doubles or text. owns: nothing that outlives a call but the text. */
#include "runtime/decimal.h"

enum { MANTISSA_BITS = 53, EXPONENT_MIN = -1074, EXPONENT_BIAS = 1075, DIGITS_ENOUGH = 800 };

static uint64_t bits_of(double d) {
    uint64_t bits;
    __builtin_memcpy(&bits, &d, 8);
    return bits;
}

static double of_bits(uint64_t bits) {
    double d;
    __builtin_memcpy(&d, &bits, 8);
    return d;
}

/* d = mantissa × 2^*exponent for finite d */
static uint64_t split(double d, int32_t *exponent) {
    uint64_t bits = bits_of(d), mantissa = bits & ((1ull << 52) - 1);
    int32_t e = (int32_t)(bits >> 52 & 2047);
    *exponent = e == 0 ? EXPONENT_MIN : e - EXPONENT_BIAS;
    return e == 0 ? mantissa : mantissa | 1ull << 52;
}

static struct digits shortest(uint64_t mantissa, int32_t exponent) {
    struct digits d = digits_of(bigint_of_uint64(mantissa), exponent);
    if (mantissa == 0) return d;
    /* Below a power of two the neighbour is nearer. */
    bool uneven = mantissa == 1ull << 52 && exponent > EXPONENT_MIN;
    struct digits upper = digits_of(bigint_of_uint64(mantissa * 2 + 1), exponent - 1);
    struct digits lower = uneven ? digits_of(bigint_of_uint64(mantissa * 4 - 1), exponent - 2)
                                 : digits_of(bigint_of_uint64(mantissa * 2 - 1), exponent - 1);
    digits_shorten(&d, lower, upper, mantissa % 2 == 0, true);
    return d;
}

void builder_double(struct builder *b, double d, char format, int precision) {
    uint64_t bits = bits_of(d);
    bool negative = bits >> 63 != 0;
    if ((bits >> 52 & 2047) == 2047) {
        builder_c(b, bits << 12 != 0 ? "NaN" : negative ? "-Inf" : "+Inf");
        return;
    }
    int32_t exponent;
    uint64_t mantissa = split(d, &exponent);
    if (precision < 0) {
        digits_write(b, negative, shortest(mantissa, exponent), format, -1);
        return;
    }
    struct digits digits = digits_of(bigint_of_uint64(mantissa), exponent);
    bool general = format == 'g' || format == 'G';
    if (general && precision == 0) precision = 1;
    if (format == 'f' || format == 'F')
        digits_round(&digits, (int64_t)digits.point + precision);
    else
        digits_round(&digits, general ? precision : (int64_t)precision + 1);
    digits_write(b, negative, digits, format, precision);
}

value number_of_double(double d) {
    uint32_t mark = heap_mark();
    if ((bits_of(d) >> 52 & 2047) == 2047) return VALUE_UNDEFINED;
    struct builder b = builder_new(0);
    builder_double(&b, d, 'g', -1);
    return number_keep(mark, &b);
}

/* ---- text to double ---- */

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Both operands are exact, so one rounding is the right one. */
static bool convert_fast(struct text digits, int64_t exponent, double *out) {
    if (digits.len > 15 || exponent < -22 || exponent > 22) return false;
    uint64_t u = 0;
    for (uint32_t i = 0; i < digits.len; i++) u = u * 10 + (digits.ptr[i] - '0');
    double power = powers_of_ten[exponent < 0 ? -exponent : exponent];
    *out = exponent < 0 ? (double)u / power : (double)u * power;
    return true;
}

/* num / den × 2^exponent to the nearest double, subnormals and infinity included. */
static double divide(struct bigint num, struct bigint den, int64_t exponent) {
    int64_t shift = MANTISSA_BITS + 2 + (int64_t)bigint_bits(den) - bigint_bits(num);
    if (shift > 0)
        num = bigint_shl(num, (uint32_t)shift);
    else
        shift = 0;
    exponent -= shift;
    struct bigint q, r;
    bigint_div(num, den, &q, &r);
    int64_t drop = (int64_t)bigint_bits(q) - MANTISSA_BITS;
    if (exponent + drop < EXPONENT_MIN) drop = EXPONENT_MIN - exponent;
    if (drop > (int64_t)bigint_bits(q) + 1) return 0;
    bool rest = r.n > 0;
    struct bigint kept = bigint_shr(q, (uint32_t)drop);
    struct bigint lost = bigint_sub(q, bigint_shl(kept, (uint32_t)drop));
    struct bigint half = bigint_shl(bigint_of_uint64(1), (uint32_t)drop - 1);
    int c = bigint_compare(lost, half);
    int64_t mantissa;
    if (!bigint_int64(kept, &mantissa)) return 0;
    if (c > 0 || (c == 0 && (rest || mantissa % 2 != 0))) mantissa++;
    exponent += drop;
    if (mantissa == 1ll << MANTISSA_BITS) {
        mantissa >>= 1;
        exponent++;
    }
    if (mantissa < 1ll << 52) return of_bits((uint64_t)mantissa);
    if (exponent + EXPONENT_BIAS >= 2047) return of_bits(2047ull << 52);
    return of_bits((uint64_t)(exponent + EXPONENT_BIAS) << 52 |
                   ((uint64_t)mantissa & ((1ull << 52) - 1)));
}

static double convert(struct text digits, int64_t exponent) {
    double d;
    int64_t top = exponent + digits.len;
    if (top > 310) return of_bits(2047ull << 52);
    if (top < -330) return 0;
    if (convert_fast(digits, exponent, &d)) return d;
    struct bigint m, one = bigint_of_uint64(1);
    uint32_t used = digits.len > DIGITS_ENOUGH ? DIGITS_ENOUGH : digits.len;
    bigint_of_text(text_slice(digits, 0, used), 10, &m);
    exponent += digits.len - used;
    if (used <
        digits.len) { /* more digits: somewhere above, which one more digit says well enough */
        m = bigint_add(bigint_mul(m, bigint_of_uint64(10)), one);
        exponent--;
    }
    if (exponent >= 0) return divide(bigint_mul(m, bigint_power(10, (uint32_t)exponent)), one, 0);
    return divide(m, bigint_power(10, (uint32_t)-exponent), 0);
}

bool double_of_text(struct text t, double *out, bool *overflow) {
    struct bigfloat checked;
    uint32_t mark = heap_mark();
    struct decimal d = decimal_of_text(t);
    bool small = d.exponent > -100000 && d.exponent < 100000;
    if (small && !bigfloat_of_text(t, &checked)) return false;
    double magnitude = d.n == 0 ? 0 : convert(decimal_digits(d), d.exponent);
    heap_release(mark);
    *overflow = bits_of(magnitude) == 2047ull << 52;
    *out = d.negative ? -magnitude : magnitude;
    return true;
}

bool number_double(value n, double *out) {
    bool overflow = false;
    if (value_tag(n) == TAG_INTEGER) return *out = (double)value_integer(n), true;
    uint32_t mark = heap_mark();
    struct decimal d = decimal_of_text(text_of(n));
    double magnitude = d.n == 0 ? 0 : convert(decimal_digits(d), d.exponent);
    heap_release(mark);
    overflow = bits_of(magnitude) == 2047ull << 52;
    *out = d.negative ? -magnitude : magnitude;
    return !overflow;
}
