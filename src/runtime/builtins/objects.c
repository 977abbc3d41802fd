/* Object builtins: get, keys, remove, filter, union, union_n, subset.
 * in:  objects; keys as arrays, sets or objects
 * out: new objects, sets, booleans, or an argument where nothing changes
 * owns: nothing */
#include "runtime/builtins/builtin.h"

RT_EXPORT value bi_object_get(value a, value path, value otherwise) {
    NEED_OBJECT("object.get", 1, a);
    if (!is_array(path)) {
        value found = object_get(a, path);
        return is_defined(found) ? found : otherwise;
    }
    for (uint32_t i = 0, n = array_len(path); i < n && is_defined(a); i++)
        a = value_get(a, array_items(path)[i]);
    return is_defined(a) ? a : otherwise;
}

RT_EXPORT value bi_object_keys(value a) {
    NEED_OBJECT("object.keys", 1, a);
    value out = set_new(object_len(a));
    for (uint32_t i = 0, n = object_len(a); i < n; i++) set_put(out, object_pairs(a)[i].key);
    return out;
}

static bool is_keys(value v) { return is_list(v) || is_object(v); }
/* The members of keys as something that has_key answers for without a scan. */
static value key_set(value keys) {
    return is_array(keys) ? set_of(array_items(keys), array_len(keys)) : keys;
}
static bool has_key(value keys, value key) {
    return is_set(keys) ? set_has(keys, key) : is_defined(object_get(keys, key));
}
/* Members of `a` whose key is (or is not) among keys. */
static value select_keys(value a, value keys, bool wanted) {
    value out = object_new(0);
    keys = key_set(keys);
    for (uint32_t i = 0, n = object_len(a); i < n; i++) {
        struct pair p = object_pairs(a)[i];
        if (has_key(keys, p.key) == wanted) object_put(out, p.key, p.value);
    }
    return out;
}

RT_EXPORT value bi_object_remove(value a, value keys) {
    NEED_OBJECT("object.remove", 1, a);
    if (!is_keys(keys))
        return bi_error_operand_one_of("object.remove", 2, "object, set, array", keys);
    return select_keys(a, keys, false);
}
RT_EXPORT value bi_object_filter(value a, value keys) {
    NEED_OBJECT("object.filter", 1, a);
    if (!is_keys(keys))
        return bi_error_operand_one_of("object.filter", 2, "object, set, array", keys);
    return select_keys(a, keys, true);
}

/* The members of both; where both have a key and two objects there, their union, else b's value. */
static value unite(value a, value b, uint32_t depth) {
    check_depth(++depth);
    if (object_len(a) == 0) return b;
    if (object_len(b) == 0) return a;
    value out = object_copy(a);
    for (uint32_t i = 0, n = object_len(b); i < n; i++) {
        struct pair p = object_pairs(b)[i];
        value old = is_object(p.value) ? object_get(a, p.key) : VALUE_UNDEFINED;
        object_put(out, p.key, is_object(old) ? unite(old, p.value, depth) : p.value);
    }
    return out;
}

RT_EXPORT value bi_object_union(value a, value b) {
    NEED_OBJECT("object.union", 1, a);
    NEED_OBJECT("object.union", 2, b);
    return unite(a, b, 0);
}

/* What the objects say about each key, newest first, until one says that it is no object: from
 * there on older ones have no say. */
static value gather(const value *objects, uint32_t n) {
    value out = object_new(0);
    while (n-- > 0)
        for (uint32_t i = 0, m = object_len(objects[n]); i < m; i++) {
            struct pair p = object_pairs(objects[n])[i];
            value list = object_get(out, p.key);
            if (!is_defined(list)) object_put(out, p.key, list = array_new(1));
            uint32_t k = array_len(list);
            if (k == 0 || is_object(array_items(list)[k - 1])) array_push(list, p.value);
        }
    return out;
}
/* The union of all, the last first; linear in their size, which folding two at a time is not. */
static value unite_all(const value *objects, uint32_t n, uint32_t depth) {
    check_depth(++depth);
    if (n == 1) return objects[0];
    value out = gather(objects, n);
    for (uint32_t i = 0, m = object_len(out); i < m; i++) {
        struct pair *p = &object_pairs(out)[i];
        value *list = array_items(p->value);
        uint32_t k = array_len(p->value);
        if (k > 1 && !is_object(list[k - 1])) k--;
        for (uint32_t j = 0; j < k / 2; j++) {
            value t = list[j];
            list[j] = list[k - 1 - j], list[k - 1 - j] = t;
        }
        p->value = k == 1 ? list[0] : unite_all(list, k, depth);
    }
    return out;
}
RT_EXPORT value bi_object_union_n(value a) {
    NEED_ARRAY("object.union_n", 1, a);
    for (uint32_t i = 0, n = array_len(a); i < n; i++)
        if (!is_object(array_items(a)[i]))
            return bi_error_element("object.union_n", 1, a, "object", array_items(a)[i]);
    return array_len(a) == 0 ? object_new(0) : unite_all(array_items(a), array_len(a), 0);
}

static bool set_within(value sub, value super) {
    for (uint32_t i = 0, n = set_len(sub); i < n; i++)
        if (!set_has(super, set_items(sub)[i])) return false;
    return true;
}

/* Whether `sub` is a run of `super`'s items. Knuth–Morris–Pratt, so that no input makes it
 * quadratic. OPA restarts after a failed run where it began plus one, which finds the same. */
static bool array_within(value sub, value super) {
    uint32_t n = array_len(sub), m = array_len(super);
    const value *s = array_items(sub), *t = array_items(super);
    if (n > m) return false;
    if (n == 0) return true;
    uint32_t *border = rt_alloc_array(n, sizeof *border); /* of s[0..i]: longest proper one */
    border[0] = 0;
    for (uint32_t i = 1, k = 0; i < n; border[i++] = k) {
        while (k > 0 && !value_equal(s[i], s[k])) k = border[k - 1];
        if (value_equal(s[i], s[k])) k++;
    }
    for (uint32_t i = 0, k = 0; i < m; i++) {
        while (k > 0 && !value_equal(t[i], s[k])) k = border[k - 1];
        if (value_equal(t[i], s[k])) k++;
        if (k == n) return true;
    }
    return false;
}

/* Every element of the set is an item of the array; an empty set within no array, as in OPA, which
 * counts matches down from the set's size while it walks the array. */
static bool set_within_array(value sub, value super) {
    uint32_t unmatched = set_len(sub);
    for (uint32_t i = 0, n = array_len(super); i < n; i++) {
        if (set_has(sub, array_items(super)[i])) unmatched--;
        if (unmatched == 0) return true;
    }
    return false;
}

static bool object_within(value sub, value super, uint32_t depth) {
    check_depth(++depth);
    for (uint32_t i = 0, n = object_len(sub); i < n; i++) {
        struct pair p = object_pairs(sub)[i];
        value in = object_get(super, p.key);
        if (!is_defined(in)) return false;
        if (is_object(in) && is_object(p.value)) {
            if (!object_within(p.value, in, depth)) return false;
        } else if (is_set(in) && is_set(p.value)) {
            if (!set_within(p.value, in)) return false;
        } else if (is_array(in) && is_array(p.value)) {
            if (!array_within(p.value, in)) return false;
        } else if (!value_equal(in, p.value)) {
            return false;
        }
    }
    return true;
}

RT_EXPORT value bi_object_subset(value super, value sub) {
    if (is_object(super) && is_object(sub)) return value_of_boolean(object_within(sub, super, 0));
    if (is_set(super) && is_set(sub)) return value_of_boolean(set_within(sub, super));
    if (is_array(super) && is_array(sub)) return value_of_boolean(array_within(sub, super));
    if (is_array(super) && is_set(sub)) return value_of_boolean(set_within_array(sub, super));
    return bi_error("object.subset", "both arguments object.subset must be of the same type or "
                                     "array and set");
}
