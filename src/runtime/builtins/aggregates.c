/* Aggregates (count, sum, product, max, min, sort, all, any) and membership (x in xs).
 * in:  arrays, sets; count also strings and objects, membership any value
 * out: numbers, booleans, an item, a sorted array
 * owns: nothing */
#include "runtime/builtins/builtin.h"

RT_EXPORT value bi_count(value a) {
    value n = rt_len(a);
    if (is_defined(n)) return n;
    return bi_error_operand_one_of("count", 1, "array, object, set, string", a);
}

/* Whether `a` is a list of numbers; reports the error if not. An empty list may have no items at all, so that a
 * pointer to them could not tell. */
static bool is_number_list(const char *builtin, value a) {
    if (!is_list(a)) {
        bi_error_operand_one_of(builtin, 1, "set, array", a);
        return false;
    }
    const value *items = list_items(a);
    for (uint32_t i = 0, n = collection_len(a); i < n; i++) {
        if (is_number(items[i])) continue;
        bi_error_element(builtin, 1, a, "number", items[i]);
        return false;
    }
    return true;
}

RT_EXPORT value bi_sum(value a) {
    return is_number_list("sum", a) ? number_sum(list_items(a), collection_len(a)) : VALUE_UNDEFINED;
}
RT_EXPORT value bi_product(value a) {
    return is_number_list("product", a) ? number_product(list_items(a), collection_len(a)) : VALUE_UNDEFINED;
}

/* The greatest item (sign 1) or the least (-1); the last of equal ones. */
static value extreme(const char *builtin, value a, int sign) {
    if (!is_list(a)) return bi_error_operand_one_of(builtin, 1, "set, array", a);
    uint32_t n = collection_len(a);
    if (n == 0) return VALUE_UNDEFINED;
    const value *items = is_set(a) ? set_items(a) : array_items(a);
    value best = items[0];
    for (uint32_t i = 1; i < n; i++)
        if (value_compare(items[i], best) * sign >= 0) best = items[i];
    return best;
}
RT_EXPORT value bi_max(value a) { return extreme("max", a, 1); }
RT_EXPORT value bi_min(value a) { return extreme("min", a, -1); }

RT_EXPORT value bi_sort(value a) {
    if (!is_list(a)) return bi_error_operand_one_of("sort", 1, "set, array", a);
    value out = array_of(list_items(a), collection_len(a));
    if (is_array(a)) value_sort(array_items(out), array_len(out));
    return out;
}

/* Whether an item's being `true` equals `wanted` for some item. */
static bool some_item(value a, bool wanted) {
    const value *items = is_set(a) ? set_items(a) : array_items(a);
    for (uint32_t i = 0, n = collection_len(a); i < n; i++)
        if ((items[i] == VALUE_TRUE) == wanted) return true;
    return false;
}
RT_EXPORT value bi_all(value a) {
    if (!is_list(a)) return bi_error_operand_one_of("all", 1, "array, set", a);
    return value_of_boolean(!some_item(a, false));
}
RT_EXPORT value bi_any(value a) {
    if (!is_list(a)) return bi_error_operand_one_of("any", 1, "array, set", a);
    return value_of_boolean(some_item(a, true));
}

RT_EXPORT value bi_internal_member_2(value item, value in) {
    if (is_set(in)) return value_of_boolean(set_has(in, item));
    uint32_t n = is_array(in) || is_object(in) ? collection_len(in) : 0;
    for (uint32_t i = 0; i < n; i++) {
        value each = is_array(in) ? array_items(in)[i] : object_pairs(in)[i].value;
        if (value_equal(each, item)) return VALUE_TRUE;
    }
    return VALUE_FALSE;
}
RT_EXPORT value bi_internal_member_3(value key, value item, value in) {
    if (is_set(in)) return value_of_boolean(set_has(in, key) && value_equal(key, item));
    if (!is_array(in) && !is_object(in)) return VALUE_FALSE;
    value found = value_get(in, key);
    return value_of_boolean(is_defined(found) && value_equal(found, item));
}
