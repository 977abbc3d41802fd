/* units.parse ("10Ki", "500m") and units.parse_bytes ("10KiB").
 * in:  a string: number and unit
 * out: a number
 * owns: nothing */
#include "runtime/builtins/builtin.h"
#include "runtime/builtins/unicode.h"

enum { MAX_EXPONENT_DIGITS = 6 };

/* t without quotation marks, in lower case when asked. */
static struct text cleaned(struct text t, bool lower) {
    struct builder b = builder_new(t.len + 1);
    for (uint32_t i = 0; i < t.len;) {
        uint32_t cp = utf8_decode(t, &i);
        if (cp != '"') builder_code_point(&b, lower ? rune_lower(cp) : cp);
    }
    return builder_view(&b);
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static uint8_t byte_at(struct text t, uint32_t i) { return i < t.len ? t.ptr[i] : 0; }

/* Where the unit begins: "e" belongs to the number when a digit or sign follows. False: an exponent
 * of too many digits. */
static bool find_unit(struct text t, uint32_t *out) {
    uint32_t i = 0;
    for (; i < t.len; i++) {
        uint8_t c = t.ptr[i], next = byte_at(t, i + 1);
        if ((c | 32) == 'e') {
            if (!is_digit(next) && next != '+' && next != '-') break;
            if (!is_digit(next)) i++;
            uint32_t digits = 0;
            while (is_digit(byte_at(t, i + 1 + digits))) digits++;
            if (digits > MAX_EXPONENT_DIGITS) return false;
        } else if (!is_digit(c) && c != '.' && c != '+' && c != '-') {
            break;
        }
    }
    *out = i;
    return true;
}

/* A power of 1000 or 1024 by its letter (k m g t p e) and what follows; 0 when there is none. */
static uint64_t unit_factor(uint8_t letter, struct text rest, bool bytes) {
    int64_t power = text_find(TEXT("kmgtpe"), (struct text){&letter, 1}, 0);
    bool binary = rest.len > 0 && rest.ptr[0] == 'i';
    struct text tail = binary ? text_slice(rest, 1, rest.len) : rest;
    if (power < 0 || (tail.len > 0 && !(bytes && text_equal(tail, TEXT("b"))))) return 0;
    uint64_t factor = 1;
    for (int64_t i = 0; i <= power; i++) factor *= binary ? 1024 : 1000;
    return factor;
}

/* What both builtins begin with: the operand's number and unit. False after an error. */
static bool split_operand(const char *builtin, value a, bool lower, struct text parts[2]) {
    struct text t = cleaned(text_of(a), lower);
    const char *wrong = NULL;
    uint32_t unit = 0;
    if (text_find(t, TEXT(" "), 0) >= 0)
        wrong = "spaces not allowed in resource strings";
    else if (!find_unit(t, &unit))
        wrong = "exponent too large";
    else if (unit == 0)
        wrong = lower ? "no byte amount provided" : "no amount provided";
    if (wrong) error_with_text(builtin, builtin, TEXT(": "), wrong);
    parts[0] = text_slice(t, 0, unit);
    parts[1] = text_slice(t, unit, t.len);
    return wrong == NULL;
}

RT_EXPORT value bi_units_parse_bytes(value a) {
    static const char name[] = "units.parse_bytes";
    NEED_STRING(name, 1, a);
    struct text parts[2];
    if (!split_operand(name, a, true, parts)) return VALUE_UNDEFINED;
    struct text unit = parts[1];
    uint64_t factor =
        unit.len == 0 ? 1 : unit_factor(unit.ptr[0], text_slice(unit, 1, unit.len), true);
    if (factor == 0)
        return error_with_text(name, "units.parse_bytes: byte unit ", unit, " not recognized");
    struct bigfloat number;
    if (!bigfloat_of_text(parts[0], &number))
        return bi_error(name, "units.parse_bytes: could not parse byte amount to a number");
    struct bigfloat by = bigfloat_of_bigint(bigint_of_uint64(factor));
    return number_of_bigint(bigfloat_trunc(bigfloat_mul(number, by, 64)));
}

/* ---- units.parse: exact fractions ---- */

static struct bigint power_of_ten(uint32_t n) {
    struct bigint out = bigint_of_int64(1), ten = bigint_of_int64(10);
    for (uint32_t bit = 1u << 20; bit > 0; bit >>= 1) {
        out = bigint_mul(out, out);
        if (n & bit) out = bigint_mul(out, ten);
    }
    return out;
}

/* Decimal text as numerator / denominator; false when it is none. Exponents have six digits at
 * most. */
static bool fraction_of_text(struct text t, struct bigint *numerator, struct bigint *denominator) {
    struct builder digits = builder_new(t.len);
    uint32_t i = 0, places = 0;
    bool point = false;
    if (byte_at(t, 0) == '+' || byte_at(t, 0) == '-') builder_put(&digits, t.ptr[i++]);
    uint32_t sign_bytes = i;
    for (; is_digit(byte_at(t, i)) || (byte_at(t, i) == '.' && !point); i++) {
        if (t.ptr[i] == '.') {
            point = true;
            continue;
        }
        builder_put(&digits, t.ptr[i]);
        places += point;
    }
    int64_t exponent = 0, sign = 1;
    if (digits.len == sign_bytes) return false;
    if ((byte_at(t, i) | 32) == 'e') {
        i++;
        if (byte_at(t, i) == '-' || byte_at(t, i) == '+') sign = t.ptr[i++] == '-' ? -1 : 1;
        if (!is_digit(byte_at(t, i))) return false;
        while (is_digit(byte_at(t, i))) exponent = exponent * 10 + (t.ptr[i++] - '0');
    }
    if (i < t.len || !bigint_of_text(builder_view(&digits), 10, numerator)) return false;
    exponent = exponent * sign - places;
    *denominator = bigint_of_int64(1);
    if (exponent < 0)
        *denominator = power_of_ten((uint32_t)-exponent);
    else
        *numerator = bigint_mul(*numerator, power_of_ten((uint32_t)exponent));
    return true;
}

/* An integer, or ten decimal places, half away from zero (big.Rat.FloatString). */
static value number_of_fraction(struct bigint n, struct bigint d) {
    enum { PLACES = 10 };
    struct bigint q, r;
    struct builder b = builder_new(32), places = builder_new(16);
    bigint_div(n, d, &q, &r);
    if (r.n == 0) return number_of_bigint(q);
    bool negative = n.negative;
    n.negative = false;
    n = bigint_mul(n, power_of_ten(PLACES));
    bigint_div(bigint_add(bigint_add(n, n), d), bigint_add(d, d), &q, NULL);
    bigint_div(q, power_of_ten(PLACES), &q, &r);
    if (negative) builder_put(&b, '-');
    builder_bigint(&b, q, 10);
    builder_put(&b, '.');
    builder_bigint(&places, r, 10);
    builder_repeat(&b, '0', PLACES - places.len);
    builder_text(&b, builder_view(&places));
    return number_of_text(builder_view(&b));
}

/* The letter's case tells m (milli) from M (mega); what follows it may have any. */
RT_EXPORT value bi_units_parse(value a) {
    static const char name[] = "units.parse";
    NEED_STRING(name, 1, a);
    struct text parts[2];
    if (!split_operand(name, a, false, parts)) return VALUE_UNDEFINED;
    struct text unit = parts[1], rest = {unit.ptr, 0};
    if (unit.len > 1) rest = cleaned(text_slice(unit, 1, unit.len), true);
    bool milli = text_equal(unit, TEXT("m"));
    uint64_t factor = unit.len == 0 || milli ? 1 : unit_factor(unit.ptr[0] | 32, rest, false);
    if (factor == 0) {
        struct builder b = builder_new(unit.len);
        builder_put(&b, unit.ptr[0]);
        builder_text(&b, rest);
        return error_with_text(name, "units.parse: unit ", builder_view(&b), " not recognized");
    }
    struct bigint n, d;
    if (!fraction_of_text(parts[0], &n, &d))
        return bi_error(name, "units.parse: could not parse amount to a number");
    n = bigint_mul(n, bigint_of_uint64(factor));
    if (milli) { /* the double next to 0.001, as in OPA */
        n = bigint_mul(n, bigint_of_int64(1152921504606847));
        d = bigint_mul(d, bigint_shl(bigint_of_int64(1), 60));
    }
    return number_of_fraction(n, d);
}
