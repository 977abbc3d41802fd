/* Number builtins: arithmetic (minus is also set difference), rounding, ranges.
 * in:  numbers (minus: or sets)
 * out: numbers, exact for integers, else 64-bit mantissas as OPA's
 * owns: nothing */
#include "runtime/builtins/builtin.h"

/* Both in the 60-bit range: their sum and difference fit int64. */
static bool both_small(value a, value b) {
    return value_tag(a) == TAG_INTEGER && value_tag(b) == TAG_INTEGER;
}

RT_EXPORT value bi_plus(value a, value b) {
    if (RT_LIKELY(both_small(a, b))) return number_of_int64(value_integer(a) + value_integer(b));
    NEED_NUMBER("plus", 1, a);
    NEED_NUMBER("plus", 2, b);
    return number_add(a, b);
}

static value set_minus(value a, value b) {
    uint32_t n = set_len(a);
    value out = set_new(0);
    for (uint32_t i = 0; i < n; i++) {
        value item = set_items(a)[i];
        if (!set_has(b, item)) set_put(out, item);
    }
    return out;
}

RT_EXPORT value bi_minus(value a, value b) {
    if (RT_LIKELY(both_small(a, b))) return number_of_int64(value_integer(a) - value_integer(b));
    if (is_number(a) && is_number(b)) return number_sub(a, b);
    if (is_set(a) && is_set(b)) return set_minus(a, b);
    if (!is_number(a) && !is_set(a)) return bi_error_operand_one_of("minus", 1, "number, set", a);
    return bi_error_operand("minus", 2, is_number(b) ? "set" : "number", b);
}
RT_EXPORT value bi_set_diff(value a, value b) {
    NEED_SET("set_diff", 1, a);
    NEED_SET("set_diff", 2, b);
    return set_minus(a, b);
}

RT_EXPORT value bi_mul(value a, value b) {
    NEED_NUMBER("mul", 1, a);
    NEED_NUMBER("mul", 2, b);
    return number_mul(a, b);
}

RT_EXPORT value bi_div(value a, value b) {
    NEED_NUMBER("div", 1, a);
    NEED_NUMBER("div", 2, b);
    value out;
    if (number_div(a, b, &out) == NUMBER_OK) return out;
    return bi_error("div", "divide by zero");
}

RT_EXPORT value bi_rem(value a, value b) {
    NEED_NUMBER("rem", 1, a);
    NEED_NUMBER("rem", 2, b);
    value out;
    switch (number_rem(a, b, &out)) {
    case NUMBER_OK: return out;
    case NUMBER_DIVIDE_BY_ZERO:
    case NUMBER_MODULO_BY_ZERO: return bi_error("rem", "modulo by zero");
    case NUMBER_NOT_INTEGER: break;
    }
    return bi_error("rem", "modulo on floating-point number");
}

RT_EXPORT value bi_abs(value a) {
    NEED_NUMBER("abs", 1, a);
    return number_abs(a);
}
RT_EXPORT value bi_round(value a) {
    NEED_NUMBER("round", 1, a);
    return number_round(a);
}
RT_EXPORT value bi_ceil(value a) {
    NEED_NUMBER("ceil", 1, a);
    return number_ceil(a);
}
RT_EXPORT value bi_floor(value a) {
    NEED_NUMBER("floor", 1, a);
    return number_floor(a);
}

/* OPA's BigIntOperand: the wrong type asks for an integer, whatever the position. */
static bool operand_bigint(const char *builtin, int pos, value v, struct bigint *out) {
    if (!is_number(v)) {
        bi_error_operand(builtin, pos, "integer", v);
        return false;
    }
    if (bigint_of_number(v, out)) return true;
    int64_t unused;
    return operand_int64(builtin, pos, v, &unused);
}

/* a, a ± step, … to b at most. The array's growth is what bounds it. */
static value range(struct bigint a, struct bigint b, struct bigint step) {
    bool down = bigint_compare(a, b) > 0;
    int64_t i, end, by;
    value out = array_new(0);
    if (bigint_int64(a, &i) && bigint_int64(b, &end) && bigint_int64(step, &by)) {
        while (down ? i >= end : i <= end) {
            array_push(out, number_of_int64(i));
            if (down ? __builtin_sub_overflow(i, by, &i) : __builtin_add_overflow(i, by, &i)) break;
        }
        return out;
    }
    if (down) step = bigint_neg(step);
    while (down ? bigint_compare(a, b) >= 0 : bigint_compare(a, b) <= 0) {
        array_push(out, number_of_bigint(a));
        a = bigint_add(a, step);
    }
    return out;
}

RT_EXPORT value bi_numbers_range(value a, value b) {
    struct bigint from, to;
    if (!operand_bigint("numbers.range", 1, a, &from)) return VALUE_UNDEFINED;
    if (!operand_bigint("numbers.range", 2, b, &to)) return VALUE_UNDEFINED;
    return range(from, to, bigint_of_int64(1));
}

RT_EXPORT value bi_numbers_range_step(value a, value b, value c) {
    struct bigint from, to, step;
    if (!operand_bigint("numbers.range_step", 1, a, &from)) return VALUE_UNDEFINED;
    if (!operand_bigint("numbers.range_step", 2, b, &to)) return VALUE_UNDEFINED;
    if (!operand_bigint("numbers.range_step", 3, c, &step)) return VALUE_UNDEFINED;
    if (number_sign(c) <= 0)
        return bi_error("numbers.range_step",
                        "numbers.range_step: step must be a positive integer");
    return range(from, to, step);
}
