/* Any value: equality, OPA's total order, hashing, types, access by key.
 * in: defined values. out: answers; sorting inside collections is not visible outside. owns:
 * nothing. */
#include "runtime/number.h"
#include "runtime/state.h"

const char *value_type_name(value v) {
    switch ((enum value_tag)value_tag(v)) {
    case TAG_NULL: return "null";
    case TAG_BOOLEAN: return "boolean";
    case TAG_INTEGER:
    case TAG_NUMBER: return "number";
    case TAG_STRING: return "string";
    case TAG_ARRAY: return "array";
    case TAG_OBJECT: return "object";
    case TAG_SET: return "set";
    case TAG_UNDEFINED:
    case TAG_UNCOMPUTED: break;
    }
    return "undefined";
}

static bool array_equal(value a, value b) {
    uint32_t n = array_len(a);
    if (n != array_len(b)) return false;
    const value *x = array_items(a), *y = array_items(b);
    for (uint32_t i = 0; i < n; i++)
        if (!value_equal(x[i], y[i])) return false;
    return true;
}

static bool object_equal(value a, value b) {
    uint32_t n = object_len(a);
    if (n != object_len(b)) return false;
    const struct pair *x = object_pairs(a);
    for (uint32_t i = 0; i < n; i++) {
        value other = object_get(b, x[i].key);
        if (!is_defined(other) || !value_equal(x[i].value, other)) return false;
    }
    return true;
}

static bool set_equal(value a, value b) {
    uint32_t n = set_len(a);
    if (n != set_len(b)) return false;
    const value *x = set_items(a);
    for (uint32_t i = 0; i < n; i++)
        if (!set_has(b, x[i])) return false;
    return true;
}

bool value_equal(value a, value b) {
    if (a == b) return true;
    unsigned tag = value_tag(a);
    if (tag != value_tag(b)) return is_number(a) && is_number(b) && number_equal(a, b);
    switch ((enum value_tag)tag) {
    case TAG_NUMBER: return number_equal(a, b);
    case TAG_STRING: return text_equal(text_of(a), text_of(b));
    case TAG_ARRAY: return array_equal(a, b);
    case TAG_OBJECT: return object_equal(a, b);
    case TAG_SET: return set_equal(a, b);
    case TAG_UNDEFINED:
    case TAG_NULL:
    case TAG_BOOLEAN:
    case TAG_INTEGER:
    case TAG_UNCOMPUTED: break;
    }
    return false;
}

static int compare_items(const value *x, uint32_t nx, const value *y, uint32_t ny) {
    for (uint32_t i = 0; i < nx && i < ny; i++) {
        int c = value_compare(x[i], y[i]);
        if (c != 0) return c;
    }
    return nx < ny ? -1 : nx > ny;
}

static int compare_objects(value a, value b) {
    uint32_t na = object_len(a), nb = object_len(b);
    const struct pair *x = object_sorted(a), *y = object_sorted(b);
    for (uint32_t i = 0; i < na && i < nb; i++) {
        int c = value_compare(x[i].key, y[i].key);
        if (c == 0) c = value_compare(x[i].value, y[i].value);
        if (c != 0) return c;
    }
    return na < nb ? -1 : na > nb;
}

int value_compare(value a, value b) {
    if (a == b) return 0;
    if (is_number(a) && is_number(b)) return number_compare(a, b);
    unsigned tag = value_tag(a);
    if (tag != value_tag(b)) return tag < value_tag(b) ? -1 : 1;
    switch ((enum value_tag)tag) {
    case TAG_STRING: return text_compare(text_of(a), text_of(b));
    case TAG_ARRAY:
        return compare_items(array_items(a), array_len(a), array_items(b), array_len(b));
    case TAG_OBJECT: return compare_objects(a, b);
    case TAG_SET: return compare_items(set_sorted(a), set_len(a), set_sorted(b), set_len(b));
    case TAG_UNDEFINED:
    case TAG_NULL:
    case TAG_BOOLEAN:
    case TAG_INTEGER:
    case TAG_NUMBER:
    case TAG_UNCOMPUTED: break;
    }
    return a < b ? -1 : 1; /* booleans: false first */
}

static uint32_t hash_array(value v) {
    uint32_t h = TAG_ARRAY;
    const value *items = array_items(v);
    for (uint32_t i = 0; i < array_len(v); i++)
        h = layout_mix((uint64_t)h << 32 | value_hash(items[i]));
    return h;
}

static uint32_t hash_object(value v) {
    uint32_t h = TAG_OBJECT;
    const struct pair *pairs = object_pairs(v);
    for (uint32_t i = 0; i < object_len(v); i++)
        h += layout_mix((uint64_t)value_hash(pairs[i].key) << 32 | value_hash(pairs[i].value));
    return h;
}

static uint32_t hash_set(value v) {
    uint32_t h = TAG_SET;
    const value *items = set_items(v);
    for (uint32_t i = 0; i < set_len(v); i++) h += layout_mix(value_hash(items[i]));
    return h;
}

uint32_t value_hash(value v) {
    switch ((enum value_tag)value_tag(v)) {
    case TAG_STRING: return layout_hash_bytes(at(value_pointer(v)), value_length(v));
    case TAG_NUMBER: return number_hash(v);
    case TAG_ARRAY: return hash_array(v);
    case TAG_OBJECT: return hash_object(v);
    case TAG_SET: return hash_set(v);
    case TAG_UNDEFINED:
    case TAG_NULL:
    case TAG_BOOLEAN:
    case TAG_INTEGER:
    case TAG_UNCOMPUTED: break;
    }
    return layout_mix(v);
}

value value_get(value v, value key) {
    switch ((enum value_tag)value_tag(v)) {
    case TAG_OBJECT: return object_get(v, key);
    case TAG_SET: {
        int32_t i = set_find(at(value_pointer(v)), key);
        return i < 0 ? VALUE_UNDEFINED : set_items(v)[i];
    }
    case TAG_ARRAY:
        if (value_tag(key) != TAG_INTEGER || (uint64_t)value_integer(key) >= array_len(v))
            return VALUE_UNDEFINED;
        return array_items(v)[value_integer(key)];
    case TAG_UNDEFINED:
    case TAG_NULL:
    case TAG_BOOLEAN:
    case TAG_INTEGER:
    case TAG_NUMBER:
    case TAG_STRING:
    case TAG_UNCOMPUTED: break;
    }
    return VALUE_UNDEFINED;
}

/* The commonest case here, so that it costs one call: a small object and the very word of its key. */
RT_EXPORT value rt_get(value v, value key) {
    if (is_object(v) && object_len(v) <= COLLECTION_LINEAR) {
        const struct pair *p = object_pairs(v), *end = p + object_len(v);
        for (; p < end; p++)
            if (p->key == key) return p->value;
    }
    return value_get(v, key);
}

RT_EXPORT int32_t rt_equal(value a, value b) {
    if (a == b) return 1;
    if (!is_string(a)) return value_equal(a, b);
    return (uint32_t)a == (uint32_t)b &&
           bytes_equal(at(value_pointer(a)), at(value_pointer(b)), value_length(a));
}
RT_EXPORT int32_t rt_compare(value a, value b) { return value_compare(a, b); }

RT_EXPORT value rt_len(value v) {
    if (is_string(v)) return value_of_integer(utf8_count(text_of(v)));
    if (value_tag(v) < TAG_ARRAY || value_tag(v) > TAG_SET) return VALUE_UNDEFINED;
    return value_of_integer(collection_len(v));
}
