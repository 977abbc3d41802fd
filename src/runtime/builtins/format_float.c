/* A floating-point argument of sprintf under one directive, by the rules of Go's fmt and strconv.
 * in:  a double, flags, width, precision, verb
 * out: text appended to a builder
 * owns: nothing */
#include "runtime/builtins/format.h"

enum { FRACTION_BITS = 52, EXPONENT_BIAS = 1023, TOP_BIT = 60 };

/* value = mantissa × 2^exponent, exactly. */
struct parts {
    uint64_t mantissa;
    int exponent;
    bool negative;
};
static struct parts parts_of(double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    int field = (int)(bits >> FRACTION_BITS & 2047);
    uint64_t fraction = bits & (((uint64_t)1 << FRACTION_BITS) - 1);
    if (field == 0) return (struct parts){fraction, 1 - EXPONENT_BIAS - FRACTION_BITS, bits >> 63};
    fraction |= (uint64_t)1 << FRACTION_BITS;
    return (struct parts){fraction, field - EXPONENT_BIAS - FRACTION_BITS, bits >> 63};
}

/* "p-52"; at least `digits` digits. */
static void put_exponent(struct builder *b, char letter, int exponent, int digits) {
    builder_put(b, (uint8_t)letter);
    builder_put(b, exponent < 0 ? '-' : '+');
    if (exponent < 0) exponent = -exponent;
    if (digits > 1 && exponent < 10) builder_put(b, '0');
    builder_int(b, exponent);
}

/* %b: mantissa and binary exponent as integers. */
static void put_binary(struct builder *b, double number) {
    struct parts p = parts_of(number);
    if (p.negative) builder_put(b, '-');
    builder_int(b, (int64_t)p.mantissa);
    put_exponent(b, 'p', p.exponent, 1);
}

/* The leading 1 moved to TOP_BIT, rounded to `precision` hexadecimal places if that is not
 * negative. */
static void normalise(struct parts *p, int precision) {
    const uint64_t top = (uint64_t)1 << TOP_BIT;
    p->exponent += TOP_BIT;
    if (p->mantissa == 0) p->exponent = 0;
    while (p->mantissa != 0 && !(p->mantissa & top)) p->mantissa <<= 1, p->exponent--;
    if (precision < 0 || precision >= TOP_BIT / 4) return;
    int dropped = TOP_BIT - precision * 4;
    uint64_t extra = p->mantissa << (precision * 4) & (top - 1), kept = p->mantissa >> dropped;
    if ((extra | (kept & 1)) > top / 2) kept++;
    p->mantissa = kept << dropped;
    if (p->mantissa & top * 2) p->mantissa >>= 1, p->exponent++;
}
/* %x and %X: 0x1.8p+00. */
static void put_hex(struct builder *b, double number, bool upper, int precision) {
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    struct parts p = parts_of(number);
    normalise(&p, precision);
    if (p.negative) builder_put(b, '-');
    builder_c(b, upper ? "0X" : "0x");
    builder_put(b, (uint8_t)('0' + (p.mantissa >> TOP_BIT & 1)));
    uint64_t rest = p.mantissa << 4;
    if (precision < 0 ? rest != 0 : precision > 0) builder_put(b, '.');
    for (int i = 0; precision < 0 ? rest != 0 : i < precision; i++, rest <<= 4)
        builder_put(b, (uint8_t)digits[rest >> TOP_BIT & 15]);
    put_exponent(b, upper ? 'P' : 'p', p.exponent, 2);
}

/* The flag #: always a decimal point, and trailing zeros to make up `digits` significant digits. */
static struct builder sharpened(struct text t, char format, int precision) {
    struct builder out = builder_new(t.len + 32);
    bool hex = format == 'x' || format == 'X', general = (format | 32) == 'g' || format == 'x';
    int digits = !general ? 0 : precision < 0 ? 6 : precision;
    bool point = false, nonzero = false;
    uint32_t i = 0;
    for (; i < t.len; i++) {
        uint8_t c = t.ptr[i];
        if ((c | 32) == 'p' || ((c | 32) == 'e' && !hex)) break;
        builder_put(&out, c);
        if (i == 0) continue; /* the sign */
        if (c == '.')
            point = true;
        else if (c != '0')
            nonzero = true;
        if (c != '.' && nonzero) digits--;
    }
    if (!point && i == 2 && t.ptr[1] == '0') digits--;
    if (!point) builder_put(&out, '.');
    if (digits > 0) builder_repeat(&out, '0', (uint32_t)digits);
    builder_text(&out, text_slice(t, i, t.len));
    return out;
}

static void format_double(struct builder *b, const struct directive *d, double number, char format,
                          int precision) {
    struct builder out = builder_new(32);
    if (d->has_precision) precision = (int)d->precision;
    builder_put(&out, '+');
    if (format == 'b')
        put_binary(&out, number);
    else if ((format | 32) == 'x')
        put_hex(&out, number, format == 'X', precision);
    else
        builder_double(&out, number, format, precision);
    struct text t = builder_view(&out);
    if (t.ptr[1] == '-')
        t = text_slice(t, 1, t.len);
    else if (d->space && !d->plus)
        out.ptr[0] = ' ';
    if (d->sharp && format != 'b') {
        out = sharpened(t, format, precision);
        t = builder_view(&out);
    }
    if (!d->plus && t.ptr[0] == '+') {
        format_padded(b, d, text_slice(t, 1, t.len));
    } else if (d->zero && !d->minus && d->has_width && d->width > t.len) {
        builder_put(b, t.ptr[0]); /* the sign stands before the zeros */
        format_padding(b, d, t.len);
        builder_text(b, text_slice(t, 1, t.len));
    } else {
        format_padded(b, d, t);
    }
}

void format_float(struct builder *b, const struct directive *d, const struct argument *a,
                  uint32_t verb) {
    switch (verb) {
    case 'v': format_double(b, d, a->number, 'g', -1); break;
    case 'b':
    case 'g':
    case 'G':
    case 'x':
    case 'X': format_double(b, d, a->number, (char)verb, -1); break;
    case 'e':
    case 'E': format_double(b, d, a->number, (char)verb, 6); break;
    case 'f':
    case 'F': format_double(b, d, a->number, 'f', 6); break;
    default: format_bad_verb(b, d, a, verb);
    }
}
