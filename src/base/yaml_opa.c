/* What OPA makes of YAML's scalars, where it differs from YAML 1.1: Go reads the booleans of YAML 1.2, and floats.
 * in: trees of yaml_read. out: the same trees. owns: nothing. */
#include "base/yaml.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* YAML 1.2's booleans; the words of 1.1 ("yes", "off") are strings to OPA. */
static bool is_boolean(struct str s) {
    return (str_eq_fold(s, STR("true"))) || (str_eq_fold(s, STR("false")));
}

/* A number as Go prints a float64: the shortest digits that give it back. Past its range it is text to Go. */
static void as_float(struct arena *a, struct json *v) {
    char digits[40] = "", *copy = arena_strndup(a, v->text.ptr, v->text.len);
    double d = copy ? strtod(copy, NULL) : 0;
    if (!copy || !isfinite(d)) {
        v->kind = JSON_STRING;
        return;
    }
    double size = fabs(d);
    bool plain = size == 0 || (size >= 1e-6 && size < 1e21);
    for (int n = 1; n <= 17; n++) {
        snprintf(digits, sizeof digits, "%.*e", n - 1, d);
        if (strtod(digits, NULL) == d) break;
    }
    char *e = strchr(digits, 'e');
    int mantissa = e ? (int)(e - digits) - (digits[0] == '-') : 0, exponent = e ? atoi(e + 1) : 0;
    int places = (mantissa > 2 ? mantissa - 2 : 0) - exponent;
    if (places < 0) places = 0;
    size_t len = 0;
    char *out = !plain && e ? arena_printf(a, &len, "%.*se%+03d", (int)(e - digits), digits, exponent)
                            : arena_printf(a, &len, "%.*f", places, d);
    if (out && !plain && e && len > 4 && out[len - 2] == '0' && out[len - 3] == '-')
        out[len - 2] = out[len - 1], len--; /* e-09 is e-9 to Go */
    if (out) v->text = (struct str){out, len};
}

/* Does the text stand for an integer that 64 bits hold, signed or not? Others are floats to Go's reader of YAML. */
static bool is_integer(struct str s) {
    static const char most[] = "18446744073709551615", least[] = "9223372036854775808";
    bool negative = s.len && s.ptr[0] == '-';
    struct str digits = str_from(s, negative), bound = str_of(negative ? least : most);
    for (size_t i = 0; i < digits.len; i++)
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9') return false;
    while (digits.len > 1 && *digits.ptr == '0') digits = str_from(digits, 1);
    return digits.len < bound.len || (digits.len == bound.len && str_cmp(digits, bound) <= 0);
}

void yaml_as_opa(struct arena *a, struct json *v) {
    if (v->kind == JSON_BOOL && v->text.len && !is_boolean(v->text)) v->kind = JSON_STRING;
    if (v->kind == JSON_NUMBER && !is_integer(v->text)) as_float(a, v);
    if (v->kind == JSON_NUMBER && str_is(v->text, "-0")) v->text = STR("0");
    for (uint32_t i = 0; i < v->n; i++) yaml_as_opa(a, v->items[i]);
}
