/* Type tests, type_name, the deprecated casts, and to_number.
 * in:  any value
 * out: booleans, strings, the value itself, numbers
 * owns: nothing */
#include "runtime/builtins/builtin.h"

RT_EXPORT value bi_is_null(value a) { return value_of_boolean(is_null(a)); }
RT_EXPORT value bi_is_boolean(value a) { return value_of_boolean(is_boolean(a)); }
RT_EXPORT value bi_is_number(value a) { return value_of_boolean(is_number(a)); }
RT_EXPORT value bi_is_string(value a) { return value_of_boolean(is_string(a)); }
RT_EXPORT value bi_is_array(value a) { return value_of_boolean(is_array(a)); }
RT_EXPORT value bi_is_object(value a) { return value_of_boolean(is_object(a)); }
RT_EXPORT value bi_is_set(value a) { return value_of_boolean(is_set(a)); }
RT_EXPORT value bi_type_name(value a) { return string_of_c(value_type_name(a)); }

RT_EXPORT value bi_cast_null(value a) {
    NEED("cast_null", 1, a, is_null, "null");
    return a;
}
RT_EXPORT value bi_cast_boolean(value a) {
    NEED("cast_boolean", 1, a, is_boolean, "boolean");
    return a;
}
RT_EXPORT value bi_cast_string(value a) {
    NEED_STRING("cast_string", 1, a);
    return a;
}
RT_EXPORT value bi_cast_object(value a) {
    NEED_OBJECT("cast_object", 1, a);
    return a;
}
RT_EXPORT value bi_cast_array(value a) {
    if (!is_list(a)) return bi_error_operand_one_of("cast_array", 1, "array, set", a);
    return is_array(a) ? a : array_of(set_sorted(a), set_len(a));
}
RT_EXPORT value bi_cast_set(value a) {
    if (!is_list(a)) return bi_error_operand_one_of("cast_set", 1, "array, set", a);
    return is_set(a) ? a : set_of(array_items(a), array_len(a));
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static uint32_t skip_digits(struct text t, uint32_t i) {
    while (i < t.len && is_digit(t.ptr[i])) i++;
    return i;
}

/* Go's decimal floats that are no JSON numbers ("+1", ".5", "5.", "007") are rewritten as such: OPA
 * keeps the text as it is, which its arithmetic accepts, but such text can never be printed as
 * JSON. */
static value number_of_go_text(struct text t) {
    struct builder b = builder_new(t.len + 2);
    uint32_t i = 0, end;
    if (i < t.len && (t.ptr[i] == '+' || t.ptr[i] == '-')) {
        if (t.ptr[i] == '-') builder_put(&b, '-');
        i++;
    }
    end = skip_digits(t, i);
    uint32_t whole = end - i, fraction = 0;
    while (i + 1 < end && t.ptr[i] == '0') i++;
    builder_text(&b, text_slice(t, i, end));
    if (whole == 0) builder_put(&b, '0');
    if (end < t.len && t.ptr[end] == '.') {
        i = end + 1;
        end = skip_digits(t, i);
        fraction = end - i;
        if (fraction > 0) builder_put(&b, '.');
        builder_text(&b, text_slice(t, i, end));
    }
    if (whole + fraction == 0) return VALUE_UNDEFINED;
    builder_text(&b, text_slice(t, end, t.len));
    return number_of_text(builder_view(&b));
}

/* "inf", "infinity", "nan" in any case, which Go's parser takes for numbers. */
static bool is_infinite(struct text t) {
    static const char *const words[] = {"inf", "infinity", "nan"};
    while (t.len > 0 && (t.ptr[0] == '+' || t.ptr[0] == '-')) t = text_slice(t, 1, t.len);
    for (uint32_t w = 0, i; w < 3; w++) {
        for (i = 0; i < t.len && (t.ptr[i] | 32) == (uint8_t)words[w][i]; i++)
            ;
        if (t.len > 0 && i == t.len && words[w][i] == 0) return true;
    }
    return false;
}

static value string_to_number(struct text t) {
    double d;
    bool overflow = false;
    if (is_infinite(t))
        return bi_error("to_number", "operand 1 must be valid number string but got string");
    value n = number_of_text(t);
    if (!is_defined(n)) n = number_of_go_text(t);
    if (is_defined(n) && value_tag(n) == TAG_NUMBER && !double_of_text(text_of(n), &d, &overflow))
        n = VALUE_UNDEFINED;
    if (!is_defined(n))
        return error_with_text("to_number", "strconv.ParseFloat: parsing \"", t,
                               "\": invalid syntax");
    if (overflow)
        return error_with_text("to_number", "strconv.ParseFloat: parsing \"", t,
                               "\": value out of range");
    return n;
}

RT_EXPORT value bi_to_number(value a) {
    if (is_number(a)) return a;
    if (is_null(a)) return value_of_integer(0);
    if (is_boolean(a)) return value_of_integer(a == VALUE_TRUE);
    if (is_string(a)) return string_to_number(text_of(a));
    return bi_error_operand_one_of("to_number", 1, "null, boolean, number, string", a);
}
