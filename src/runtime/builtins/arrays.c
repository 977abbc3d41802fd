/* Array builtins: concat, flatten, reverse, slice.
 * in:  arrays, indexes
 * out: new arrays, or an argument where nothing changes
 * owns: nothing */
#include "runtime/builtins/builtin.h"

static void push_all(value out, value from) {
    for (uint32_t i = 0, n = array_len(from); i < n; i++) array_push(out, array_items(from)[i]);
}

RT_EXPORT value bi_array_concat(value a, value b) {
    NEED_ARRAY("array.concat", 1, a);
    NEED_ARRAY("array.concat", 2, b);
    if (array_len(a) == 0) return b;
    if (array_len(b) == 0) return a;
    value out = array_new(array_len(a) + array_len(b));
    push_all(out, a);
    push_all(out, b);
    return out;
}

/* One level only. */
RT_EXPORT value bi_array_flatten(value a) {
    NEED_ARRAY("array.flatten", 1, a);
    value out = array_new(array_len(a));
    for (uint32_t i = 0, n = array_len(a); i < n; i++) {
        value item = array_items(a)[i];
        if (is_array(item))
            push_all(out, item);
        else
            array_push(out, item);
    }
    return out;
}

RT_EXPORT value bi_array_reverse(value a) {
    NEED_ARRAY("array.reverse", 1, a);
    value out = array_new(array_len(a));
    for (uint32_t i = array_len(a); i > 0; i--) array_push(out, array_items(a)[i - 1]);
    return out;
}

/* Indexes outside are moved to the nearest end. */
RT_EXPORT value bi_array_slice(value a, value from, value to) {
    int64_t start, stop;
    NEED_ARRAY("array.slice", 1, a);
    if (!operand_int64("array.slice", 2, from, &start)) return VALUE_UNDEFINED;
    if (!operand_int64("array.slice", 3, to, &stop)) return VALUE_UNDEFINED;
    int64_t n = array_len(a);
    stop = stop < 0 ? 0 : stop > n ? n : stop;
    start = start < 0 ? 0 : start > stop ? stop : start;
    if (start == 0 && stop == n) return a;
    return array_of(array_items(a) + start, (uint32_t)(stop - start));
}
