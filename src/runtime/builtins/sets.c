/* Set builtins: & | and their forms over a set of sets.
 * in:  sets
 * out: new sets, or an argument where nothing changes
 * owns: nothing */
#include "runtime/builtins/builtin.h"

static value set_and(value a, value b) {
    if (set_len(b) < set_len(a)) {
        value t = a;
        a = b, b = t;
    }
    value out = set_new(0);
    for (uint32_t i = 0, n = set_len(a); i < n; i++) {
        value item = set_items(a)[i];
        if (set_has(b, item)) set_put(out, item);
    }
    return out;
}
static void put_all(value out, value from) {
    for (uint32_t i = 0, n = set_len(from); i < n; i++) set_put(out, set_items(from)[i]);
}

RT_EXPORT value bi_and(value a, value b) {
    NEED_SET("and", 1, a);
    NEED_SET("and", 2, b);
    return set_and(a, b);
}

RT_EXPORT value bi_or(value a, value b) {
    NEED_SET("or", 1, a);
    NEED_SET("or", 2, b);
    if (set_len(a) == 0) return b;
    if (set_len(b) == 0) return a;
    value out = set_new(set_len(a) + set_len(b));
    put_all(out, a);
    put_all(out, b);
    return out;
}

RT_EXPORT value bi_intersection(value sets) {
    NEED_SET("intersection", 1, sets);
    uint32_t n = set_len(sets);
    const value *items = set_sorted(sets);
    for (uint32_t i = 0; i < n; i++) NEED_SET("intersection", 1, items[i]);
    if (n == 0) return set_new(0);
    value out = items[0];
    for (uint32_t i = 1; i < n; i++) out = set_and(out, items[i]);
    return out;
}

RT_EXPORT value bi_union(value sets) {
    NEED_SET("union", 1, sets);
    uint32_t n = set_len(sets);
    const value *items = set_sorted(sets);
    for (uint32_t i = 0; i < n; i++) NEED_SET("union", 1, items[i]);
    value out = set_new(0);
    for (uint32_t i = 0; i < n; i++) put_all(out, items[i]);
    return out;
}
