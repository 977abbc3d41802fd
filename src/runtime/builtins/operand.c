/* Operand checks that several categories share.
 * in:  operand values
 * out: native values, or OPA's errors reported through bi_error
 * owns: nothing */
#include "runtime/builtins/builtin.h"

bool plain_int64(value n, int64_t *out) {
    if (number_int64(n, out)) return true;
    if (value_tag(n) != TAG_NUMBER) return false;
    struct text t = text_of(n);
    if (t.len > 20 || text_find(t, TEXT("e"), 0) >= 0 || text_find(t, TEXT("E"), 0) >= 0)
        return false;
    return number_integral_int64(n, out);
}

bool operand_int64(const char *builtin, int pos, value v, int64_t *out) {
    if (!is_number(v)) {
        bi_error_operand(builtin, pos, "number", v);
        return false;
    }
    if (plain_int64(v, out)) return true;
    struct builder b = builder_new(80);
    builder_c(&b, "operand ");
    builder_int(&b, pos);
    builder_c(&b, " must be integer number but got floating-point number");
    builder_put(&b, 0);
    bi_error(builtin, (const char *)b.ptr);
    return false;
}

value error_with_text(const char *builtin, const char *before, struct text middle,
                      const char *after) {
    if (!rt_strict()) return VALUE_UNDEFINED;
    struct builder b = builder_new(64);
    builder_c(&b, before);
    builder_text(&b, middle);
    builder_c(&b, after);
    builder_put(&b, 0);
    return bi_error(builtin, (const char *)b.ptr);
}

void check_depth(uint32_t depth) {
    if (depth > BUILTIN_MAX_DEPTH)
        rt_fail("stack", "a builtin met a value that is nested too deeply");
}
