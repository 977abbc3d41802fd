/* strings.any_prefix_match and strings.any_suffix_match.
 * in:  a string or list of strings, and one of prefixes or suffixes
 * out: a boolean
 * owns: nothing */
#include "runtime/builtins/builtin.h"

/* The strings of operand `pos` as an array that may be changed, reversed bytewise when `reverse`;
 * VALUE_UNDEFINED after an error. */
static value strings_of(const char *builtin, int pos, value v, bool reverse) {
    if (!is_string(v) && !is_list(v))
        return bi_error_operand_one_of(builtin, pos, "string, set, array", v);
    uint32_t n = is_string(v) ? 1 : collection_len(v);
    value out = is_string(v) ? array_of(&v, 1) : array_of(list_items(v), n);
    for (uint32_t i = 0; i < n; i++) {
        value *item = &array_items(out)[i];
        if (!is_string(*item)) return bi_error_element(builtin, pos, v, "string", *item);
        if (!reverse) continue;
        struct builder b = builder_new(value_length(*item));
        for (uint32_t k = value_length(*item); k > 0; k--)
            builder_put(&b, text_of(*item).ptr[k - 1]);
        *item = builder_string(&b);
    }
    return out;
}

/* Sorted strings with a common prefix stand together, right behind where the prefix itself would.
 */
static bool any_starts_with(const value *sorted, uint32_t n, struct text prefix) {
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (text_compare(text_of(sorted[middle]), prefix) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && text_starts_with(text_of(sorted[low]), prefix);
}

static value any_match(const char *builtin, value search, value base, bool suffix) {
    value strings = strings_of(builtin, 1, search, suffix);
    if (!is_defined(strings)) return VALUE_UNDEFINED;
    value affixes = strings_of(builtin, 2, base, suffix);
    if (!is_defined(affixes)) return VALUE_UNDEFINED;
    value_sort(array_items(strings), array_len(strings));
    for (uint32_t i = 0, n = array_len(affixes); i < n; i++)
        if (any_starts_with(array_items(strings), array_len(strings),
                            text_of(array_items(affixes)[i])))
            return VALUE_TRUE;
    return VALUE_FALSE;
}

RT_EXPORT value bi_strings_any_prefix_match(value search, value base) {
    return any_match("strings.any_prefix_match", search, base, false);
}
RT_EXPORT value bi_strings_any_suffix_match(value search, value base) {
    return any_match("strings.any_suffix_match", search, base, true);
}
