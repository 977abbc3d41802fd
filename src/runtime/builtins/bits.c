/* Bit operations on integers of any size, in two's complement of unlimited width.
 * in:  integers
 * out: integers
 * owns: nothing */
#include "runtime/builtins/builtin.h"

/* False after an error: no number, or a fraction. OPA words both as below. */
static bool operand(const char *builtin, int pos, value v, struct bigint *out) {
    if (!is_number(v)) {
        bi_error_operand(builtin, pos, "integer", v);
        return false;
    }
    if (bigint_of_number(v, out)) return true;
    int64_t unused;
    return operand_int64(builtin, pos, v, &unused);
}
static bool operands(const char *builtin, value a, value b, struct bigint out[2]) {
    return operand(builtin, 1, a, &out[0]) && operand(builtin, 2, b, &out[1]);
}
static bool both_small(value a, value b) {
    return value_tag(a) == TAG_INTEGER && value_tag(b) == TAG_INTEGER;
}

RT_EXPORT value bi_bits_and(value a, value b) {
    struct bigint v[2];
    if (both_small(a, b)) return value_of_integer(value_integer(a) & value_integer(b));
    if (!operands("bits.and", a, b, v)) return VALUE_UNDEFINED;
    return number_of_bigint(bigint_and(v[0], v[1]));
}
RT_EXPORT value bi_bits_or(value a, value b) {
    struct bigint v[2];
    if (both_small(a, b)) return value_of_integer(value_integer(a) | value_integer(b));
    if (!operands("bits.or", a, b, v)) return VALUE_UNDEFINED;
    return number_of_bigint(bigint_or(v[0], v[1]));
}
RT_EXPORT value bi_bits_xor(value a, value b) {
    struct bigint v[2];
    if (both_small(a, b)) return value_of_integer(value_integer(a) ^ value_integer(b));
    if (!operands("bits.xor", a, b, v)) return VALUE_UNDEFINED;
    return number_of_bigint(bigint_xor(v[0], v[1]));
}
RT_EXPORT value bi_bits_negate(value a) {
    struct bigint v;
    if (value_tag(a) == TAG_INTEGER) return value_of_integer(~value_integer(a));
    if (!operand("bits.negate", 1, a, &v)) return VALUE_UNDEFINED;
    return number_of_bigint(bigint_not(v));
}

enum { NEGATIVE_SHIFT = -1 };
/* The shift as a count of bits, UINT32_MAX when it is larger; NEGATIVE_SHIFT after an error. */
static int64_t shift_count(const char *builtin, struct bigint b) {
    int64_t count;
    if (b.negative) {
        bi_error(builtin,
                 "operand 2 must be an unsigned integer number but got a negative integer");
        return NEGATIVE_SHIFT;
    }
    return bigint_int64(b, &count) && count < UINT32_MAX ? count : UINT32_MAX;
}
RT_EXPORT value bi_bits_lsh(value a, value b) {
    struct bigint v[2];
    if (!operands("bits.lsh", a, b, v)) return VALUE_UNDEFINED;
    int64_t count = shift_count("bits.lsh", v[1]);
    if (count == NEGATIVE_SHIFT) return VALUE_UNDEFINED;
    return v[0].n == 0 ? value_of_integer(0) : number_of_bigint(bigint_shl(v[0], (uint32_t)count));
}
RT_EXPORT value bi_bits_rsh(value a, value b) {
    struct bigint v[2];
    if (!operands("bits.rsh", a, b, v)) return VALUE_UNDEFINED;
    int64_t count = shift_count("bits.rsh", v[1]);
    if (count == NEGATIVE_SHIFT) return VALUE_UNDEFINED;
    return number_of_bigint(bigint_shr(v[0], (uint32_t)count));
}
