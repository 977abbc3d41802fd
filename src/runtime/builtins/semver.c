/* Semantic versions: semver.compare, semver.is_valid (SemVer 2.0.0, with an optional "v" in front).
 * in:  strings
 * out: -1, 0, 1; booleans
 * owns: nothing */
#include "runtime/builtins/builtin.h"

struct version {
    int64_t numbers[3];
    struct text pre_release; /* without the '-'; empty: none */
};

static bool is_digits(struct text t) {
    for (uint32_t i = 0; i < t.len; i++)
        if (t.ptr[i] < '0' || t.ptr[i] > '9') return false;
    return t.len > 0;
}
/* Cuts at the first `at`: what stands before it is returned, *t keeps the rest, empty without one.
 */
static struct text cut(struct text *t, const char *at, bool *found) {
    int64_t i = text_find(*t, text_of(string_of_c(at)), 0);
    uint32_t end = i < 0 ? t->len : (uint32_t)i;
    struct text before = text_slice(*t, 0, end);
    *found = i >= 0;
    *t = text_slice(*t, i < 0 ? end : end + 1, t->len);
    return before;
}

static bool is_identifier(struct text t) {
    for (uint32_t i = 0; i < t.len; i++) {
        uint8_t c = t.ptr[i], lower = c | 32;
        if (!(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'z') && c != '-') return false;
    }
    return t.len > 0;
}
/* Identifiers between dots; those that are numbers have no leading zero in a pre-release. */
static bool are_identifiers(struct text t, bool pre_release) {
    bool more = true;
    while (more) {
        struct text each = cut(&t, ".", &more);
        if (!is_identifier(each)) return false;
        if (pre_release && each.len > 1 && each.ptr[0] == '0' && is_digits(each)) return false;
    }
    return true;
}

static bool read_number(struct text t, int64_t *out) {
    if (!is_digits(t) || (t.len > 1 && t.ptr[0] == '0')) return false;
    *out = 0;
    for (uint32_t i = 0; i < t.len; i++)
        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, t.ptr[i] - '0', out))
            return false;
    return true;
}

static bool parse(struct text t, struct version *out) {
    bool has_metadata, has_pre_release, more = true;
    if (t.len > 0 && t.ptr[0] == 'v') t = text_slice(t, 1, t.len);
    struct text version = cut(&t, "+", &has_metadata);
    if (has_metadata && !are_identifiers(t, false)) return false;
    struct text numbers = cut(&version, "-", &has_pre_release);
    out->pre_release = version;
    if (has_pre_release && !are_identifiers(version, true)) return false;
    for (int i = 0; i < 3; i++)
        if (!more || !read_number(cut(&numbers, ".", &more), &out->numbers[i])) return false;
    return !more;
}

static int sign_of(int64_t i) { return (i > 0) - (i < 0); }
/* Numbers before words; numbers by value, words bytewise. */
static int compare_identifiers(struct text a, struct text b) {
    int64_t x, y;
    bool a_number = is_digits(a), b_number = is_digits(b);
    if (a_number != b_number) return a_number ? -1 : 1;
    if (!a_number) return text_compare(a, b);
    if (a.len != b.len) return a.len < b.len ? -1 : 1;
    return read_number(a, &x) && read_number(b, &y) ? sign_of((x > y) - (x < y))
                                                    : text_compare(a, b);
}
static int compare_pre_release(struct text a, struct text b) {
    if (a.len == 0 || b.len == 0) return (a.len == 0) - (b.len == 0);
    for (bool more_a = true, more_b = true; more_a || more_b;) {
        if (!more_a || !more_b) return more_a ? 1 : -1;
        struct text x = cut(&a, ".", &more_a);
        int order = compare_identifiers(x, cut(&b, ".", &more_b));
        if (order != 0) return order;
    }
    return 0;
}

RT_EXPORT value bi_semver_compare(value a, value b) {
    struct version v, w;
    NEED_STRING("semver.compare", 1, a);
    NEED_STRING("semver.compare", 2, b);
    if (!parse(text_of(a), &v))
        return error_with_text("semver.compare", "operand 1: string \"", text_of(a),
                               "\" is not a valid SemVer");
    if (!parse(text_of(b), &w))
        return error_with_text("semver.compare", "operand 2: string \"", text_of(b),
                               "\" is not a valid SemVer");
    for (int i = 0; i < 3; i++)
        if (v.numbers[i] != w.numbers[i])
            return value_of_integer(v.numbers[i] < w.numbers[i] ? -1 : 1);
    return value_of_integer(compare_pre_release(v.pre_release, w.pre_release));
}
RT_EXPORT value bi_semver_is_valid(value a) {
    struct version v;
    return value_of_boolean(is_string(a) && parse(text_of(a), &v));
}
