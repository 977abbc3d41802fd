/* What plan code calls to make, scan and merge collections (rt.def).
 * in: words from plan code. out: words. owns: nothing. */
#include "runtime/state.h"

RT_EXPORT value rt_array_new(uint32_t capacity) { return array_new(capacity); }
RT_EXPORT void rt_array_push(value array, value item) { array_push(array, item); }
RT_EXPORT value rt_object_new(uint32_t capacity) { return object_new(capacity); }
RT_EXPORT void rt_object_insert(value object, value key, value v) { object_put(object, key, v); }
RT_EXPORT value rt_set_new(uint32_t capacity) { return set_new(capacity); }
RT_EXPORT void rt_set_add(value set, value item) { set_put(set, item); }

RT_EXPORT int32_t rt_object_insert_once(value object, value key, value v) {
    value old = object_get(object, key);
    if (is_defined(old)) return !value_equal(old, v);
    object_put(object, key, v);
    return 0;
}

RT_EXPORT value rt_object_merge(value a, value b) {
    if (!is_object(a) || !is_object(b)) return a;
    value merged = object_copy(a);
    const struct pair *pairs = object_pairs(b);
    for (uint32_t i = 0; i < object_len(b); i++) {
        value mine = object_get(a, pairs[i].key);
        if (!is_defined(mine))
            object_put(merged, pairs[i].key, pairs[i].value);
        else if (is_object(mine) && is_object(pairs[i].value))
            object_put(merged, pairs[i].key, rt_object_merge(mine, pairs[i].value));
    }
    return merged;
}

RT_EXPORT uint32_t rt_scan_begin(value v) {
    if (is_array(v)) return array_len(v);
    if (is_object(v))
        object_sorted(v);
    else if (is_set(v))
        set_sorted(v);
    return collection_len(v);
}

RT_EXPORT value rt_scan_key(value v, uint32_t i) {
    if (is_object(v)) return object_pairs(v)[i].key;
    return is_set(v) ? set_items(v)[i] : value_of_integer(i);
}

RT_EXPORT value rt_scan_value(value v, uint32_t i) {
    if (is_object(v)) return object_pairs(v)[i].value;
    return is_set(v) ? set_items(v)[i] : array_items(v)[i];
}

static value upsert(value document, const value *path, uint32_t n, value v) {
    if (n == 0) return v;
    bool object = is_object(document);
    value copy = object ? object_copy(document) : object_new(1);
    value old = object ? object_get(document, path[0]) : VALUE_UNDEFINED;
    object_put(copy, path[0], upsert(old, path + 1, n - 1, v));
    return copy;
}

RT_EXPORT value rt_upsert(value document, value path, value v) {
    return upsert(document, array_items(path), array_len(path), v);
}
