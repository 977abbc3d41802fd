/* String builtins that take characters off the ends.
 * in:  strings
 * out: views of the first argument
 * owns: nothing */
#include "runtime/builtins/builtin.h"
#include "runtime/builtins/unicode.h"

enum { LEFT = 1, RIGHT = 2 };

static bool in_cutset(struct text cutset, uint32_t cp) {
    for (uint32_t i = 0; i < cutset.len;)
        if (utf8_decode(cutset, &i) == cp) return true;
    return false;
}

/* Takes code points off while they are in the cutset; a cutset without bytes (ptr NULL): white
 * space. */
static value trim(value a, struct text cutset, unsigned sides) {
    struct text t = text_of(a);
    uint32_t from = 0, to = t.len, next, cp;
    while ((sides & LEFT) && from < to) {
        next = from;
        cp = utf8_decode(t, &next);
        if (cutset.ptr ? !in_cutset(cutset, cp) : !rune_is_space(cp)) break;
        from = next;
    }
    while ((sides & RIGHT) && to > from) {
        next = to;
        cp = utf8_decode_back(t, &next);
        if (cutset.ptr ? !in_cutset(cutset, cp) : !rune_is_space(cp)) break;
        to = next;
    }
    return string_view(text_slice(t, from, to));
}
/* An empty string's address may be anything: never NULL here. */
static struct text cutset_of(value v) { return value_length(v) ? text_of(v) : TEXT(""); }

RT_EXPORT value bi_trim(value a, value cutset) {
    NEED_STRING("trim", 1, a);
    NEED_STRING("trim", 2, cutset);
    return trim(a, cutset_of(cutset), LEFT | RIGHT);
}
RT_EXPORT value bi_trim_left(value a, value cutset) {
    NEED_STRING("trim_left", 1, a);
    NEED_STRING("trim_left", 2, cutset);
    return trim(a, cutset_of(cutset), LEFT);
}
RT_EXPORT value bi_trim_right(value a, value cutset) {
    NEED_STRING("trim_right", 1, a);
    NEED_STRING("trim_right", 2, cutset);
    return trim(a, cutset_of(cutset), RIGHT);
}
RT_EXPORT value bi_trim_space(value a) {
    NEED_STRING("trim_space", 1, a);
    return trim(a, (struct text){NULL, 0}, LEFT | RIGHT);
}
RT_EXPORT value bi_trim_prefix(value a, value prefix) {
    NEED_STRING("trim_prefix", 1, a);
    NEED_STRING("trim_prefix", 2, prefix);
    struct text t = text_of(a), p = text_of(prefix);
    return text_starts_with(t, p) ? string_view(text_slice(t, p.len, t.len)) : a;
}
RT_EXPORT value bi_trim_suffix(value a, value suffix) {
    NEED_STRING("trim_suffix", 1, a);
    NEED_STRING("trim_suffix", 2, suffix);
    struct text t = text_of(a), s = text_of(suffix);
    return text_ends_with(t, s) ? string_view(text_slice(t, 0, t.len - s.len)) : a;
}
