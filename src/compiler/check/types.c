/* Makes, compares and combines types as OPA's v1/types does.
 * in: types and constant terms.
 * out: types in the caller's arena.
 * owns: nothing. */
#include "compiler/check/types.h"
#include "compiler/check/check_private.h"
#include <stdlib.h>

const struct type type_null = {.kind = TYPE_NULL};
const struct type type_boolean = {.kind = TYPE_BOOLEAN};
const struct type type_number = {.kind = TYPE_NUMBER};
const struct type type_string = {.kind = TYPE_STRING};
const struct type type_any = {.kind = TYPE_ANY};

/* ---- Terms as keys ---- */

static int compare_term_slots(const void *a, const void *b) {
    const struct term *const *left = a, *const *right = b;
    return term_compare(*left, *right);
}

const struct term *term_as_key(struct arena *a, const struct term *t) {
    if (term_is_scalar(t)) return t;
    struct term *key = term_new(a, t->kind == TERM_OBJECT ? TERM_OBJECT : TERM_ARRAY, t->loc);
    for (uint32_t i = 0; i < t->list.n; i++)
        ARENA_PUSH(a, &key->list, (struct term *)term_as_key(a, t->list.items[i]));
    if (t->kind == TERM_SET && key->list.n > 1)
        qsort(key->list.items, key->list.n, sizeof(key->list.items[0]), compare_term_slots);
    return key;
}

/* ---- Makers ---- */

/* Types share parts, so that a few lines of Rego can describe one of 2^40 parts, and all that walks it would never end:
 * what is heavier is known as `any`. */
enum { MAX_WEIGHT = 1 << 18 };

static uint32_t weight_of(const struct type *t) { return t ? t->weight + 1 : 0; }

static const struct type *weighed(struct type *t) {
    uint64_t weight = (uint64_t)weight_of(t->dynamic) + weight_of(t->dynamic_key);
    for (uint32_t i = 0; i < t->n; i++)
        weight += weight_of(t->kind == TYPE_OBJECT ? t->props[i].value : t->items[i]);
    if (weight > MAX_WEIGHT) return &type_any;
    t->weight = (uint32_t)weight;
    return t;
}

static struct type *type_new(struct arena *a, enum type_kind kind) {
    struct type *t = ARENA_NEW(a, struct type);
    t->kind = kind;
    return t;
}

const struct type *type_array(struct arena *a, const struct type **items, uint32_t n,
                              const struct type *dynamic) {
    struct type *t = type_new(a, TYPE_ARRAY);
    t->items = items;
    t->n = n;
    t->dynamic = dynamic;
    return weighed(t);
}

const struct type *type_set(struct arena *a, const struct type *of) {
    struct type *t = type_new(a, TYPE_SET);
    t->dynamic = of;
    return weighed(t);
}

static int compare_properties(const void *a, const void *b) {
    const struct type_property *left = a, *right = b;
    return term_compare(left->key, right->key);
}

const struct type *type_object(struct arena *a, struct type_property *props, uint32_t n,
                               bool has_dynamic, const struct type *dynamic_key,
                               const struct type *dynamic) {
    struct type *t = type_new(a, TYPE_OBJECT);
    if (n > 1) qsort(props, n, sizeof(props[0]), compare_properties);
    t->props = props;
    t->n = n;
    t->has_dynamic = has_dynamic;
    t->dynamic_key = has_dynamic ? dynamic_key : NULL;
    t->dynamic = has_dynamic ? dynamic : NULL;
    return weighed(t);
}

const struct type *type_function(struct arena *a, const struct type **args, uint32_t n,
                                 const struct type *result, const struct type *variadic) {
    struct type *t = type_new(a, TYPE_FUNCTION);
    t->items = args;
    t->n = n;
    t->result = result;
    t->variadic = variadic;
    return t;
}

static const struct type *type_any_of(struct arena *a, const struct type **members, uint32_t n) {
    struct type *t = type_new(a, TYPE_ANY);
    t->items = members;
    t->n = n;
    return weighed(t);
}

/* ---- Order ---- */

static int compare_items(const struct type *a, const struct type *b) {
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        int order = type_compare(a->items[i], b->items[i]);
        if (order) return order;
    }
    return (a->n > b->n) - (a->n < b->n);
}

static int compare_arrays(const struct type *a, const struct type *b) {
    int order = (a->dynamic != NULL) - (b->dynamic != NULL);
    if (order == 0) order = type_compare(a->dynamic, b->dynamic);
    return order ? order : compare_items(a, b);
}

static int compare_objects(const struct type *a, const struct type *b) {
    int order = (int)a->has_dynamic - (int)b->has_dynamic;
    if (order == 0) order = type_compare(a->dynamic_key, b->dynamic_key);
    if (order == 0) order = type_compare(a->dynamic, b->dynamic);
    for (uint32_t i = 0; order == 0 && i < a->n && i < b->n; i++) {
        order = term_compare(a->props[i].key, b->props[i].key);
        if (order == 0) order = type_compare(a->props[i].value, b->props[i].value);
    }
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static int compare_functions(const struct type *a, const struct type *b) {
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    int order = compare_items(a, b);
    if (order == 0) order = type_compare(a->result, b->result);
    return order ? order : type_compare(a->variadic, b->variadic);
}

int type_compare(const struct type *a, const struct type *b) {
    if (a == b) return 0;
    if (!a || !b) return a ? 1 : -1;
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    switch (a->kind) {
    case TYPE_NULL:
    case TYPE_BOOLEAN:
    case TYPE_NUMBER:
    case TYPE_STRING: return 0;
    case TYPE_ARRAY: return compare_arrays(a, b);
    case TYPE_OBJECT: return compare_objects(a, b);
    case TYPE_SET: return type_compare(a->dynamic, b->dynamic);
    case TYPE_ANY: return compare_items(a, b);
    case TYPE_FUNCTION: return compare_functions(a, b);
    }
    return 0;
}

/* ---- Unions ---- */

/* Place of t among the sorted members; *found tells whether it is there. */
static uint32_t any_position(const struct type *any, const struct type *t, bool *found) {
    uint32_t low = 0, high = any->n;
    *found = false;
    while (low < high && !*found) {
        uint32_t middle = (low + high) / 2;
        int order = type_compare(any->items[middle], t);
        *found = order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

static bool any_contains(const struct type *any, const struct type *t) {
    if (t && t->kind == TYPE_FUNCTION) return false;
    bool found;
    any_position(any, t, &found);
    return found || any->n == 0;
}

bool type_contains(const struct type *a, const struct type *b) {
    if (a && a->kind == TYPE_ANY) return any_contains(a, b);
    return type_compare(a, b) == 0;
}

static const struct type *any_union(struct arena *a, const struct type *x, const struct type *y) {
    if (x->n == 0) return x;
    if (y->n == 0) return y;
    const struct type **members = ARENA_ARRAY(a, const struct type *, (size_t)x->n + y->n);
    uint32_t n = 0, i = 0, j = 0;
    while (i < x->n || j < y->n) {
        int order = i == x->n ? 1 : j == y->n ? -1 : type_compare(x->items[i], y->items[j]);
        members[n++] = order <= 0 ? x->items[i] : y->items[j];
        if (order <= 0) i++;
        if (order >= 0) j++;
    }
    return type_any_of(a, members, n);
}

static const struct type *any_with(struct arena *a, const struct type *any, const struct type *t) {
    if (t->kind == TYPE_ANY) return any_union(a, any, t);
    if (any_contains(any, t)) return any;
    bool found;
    uint32_t at = any_position(any, t, &found);
    const struct type **members = ARENA_ARRAY(a, const struct type *, (size_t)any->n + 1);
    for (uint32_t i = 0; i < any->n; i++) members[i < at ? i : i + 1] = any->items[i];
    members[at] = t;
    return type_any_of(a, members, any->n + 1);
}

static const struct type *function_union(struct arena *a, const struct type *x,
                                         const struct type *y) {
    if (x->n != y->n || (x->variadic != NULL) != (y->variadic != NULL)) return NULL;
    const struct type **args = ARENA_ARRAY(a, const struct type *, x->n);
    for (uint32_t i = 0; i < x->n; i++) args[i] = type_or(a, x->items[i], y->items[i]);
    return type_function(a, args, x->n, type_or(a, x->result, y->result),
                         type_or(a, x->variadic, y->variadic));
}

const struct type *type_or(struct arena *a, const struct type *x, const struct type *y) {
    if (!x) return y;
    if (!y) return x;
    bool function_x = x->kind == TYPE_FUNCTION, function_y = y->kind == TYPE_FUNCTION;
    if (function_x && function_y) return function_union(a, x, y);
    if (function_x || function_y) return NULL;
    if (x->kind == TYPE_ANY) return any_with(a, x, y);
    if (y->kind == TYPE_ANY) return any_with(a, y, x);
    int order = type_compare(x, y);
    if (order == 0) return x;
    const struct type **members = ARENA_ARRAY(a, const struct type *, 2);
    members[order < 0 ? 0 : 1] = x;
    members[order < 0 ? 1 : 0] = y;
    return type_any_of(a, members, 2);
}

/* ---- Parts ---- */

const struct type *type_of_key(struct arena *a, const struct term *key) {
    switch (key->kind) {
    case TERM_NULL: return &type_null;
    case TERM_BOOLEAN: return &type_boolean;
    case TERM_NUMBER: return &type_number;
    case TERM_STRING: return &type_string;
    case TERM_ARRAY: {
        const struct type **items = ARENA_ARRAY(a, const struct type *, key->list.n);
        for (uint32_t i = 0; i < key->list.n; i++) items[i] = type_of_key(a, key->list.items[i]);
        return type_array(a, items, key->list.n, NULL);
    }
    case TERM_OBJECT: {
        uint32_t n = key->list.n / 2;
        struct type_property *props = ARENA_ARRAY(a, struct type_property, n);
        for (uint32_t i = 0; i < n; i++)
            props[i] = (struct type_property){key->list.items[2 * i],
                                              type_of_key(a, key->list.items[2 * i + 1])};
        return type_object(a, props, n, false, NULL, NULL);
    }
    case TERM_SET:
    case TERM_VAR:
    case TERM_REF:
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR:
    case TERM_CALL:
    case TERM_TEMPLATE_STRING: break;
    }
    return &type_any;
}

/* The index that a number term stands for (UINT32_MAX for huge ones); false: no whole number. */
static bool array_index(const struct term *key, uint32_t *index) {
    if (key->kind != TERM_NUMBER || key->text.len == 0) return false;
    uint32_t value = 0;
    for (size_t i = 0; i < key->text.len; i++) {
        if (key->text.ptr[i] < '0' || key->text.ptr[i] > '9') return false;
        value = value * 10 + (uint32_t)(key->text.ptr[i] - '0');
    }
    *index = key->text.len > 9 ? UINT32_MAX : value;
    return true;
}

static const struct type *select_element(const struct type *array, const struct term *key) {
    uint32_t index;
    if (!array_index(key, &index)) return NULL;
    return index < array->n ? array->items[index] : array->dynamic;
}

static const struct type *select_property(struct arena *a, const struct type *object,
                                          const struct term *key) {
    uint32_t low = 0, high = object->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = term_compare(object->props[middle].key, key);
        if (order == 0) return object->props[middle].value;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool fits = object->has_dynamic && type_contains(object->dynamic_key, type_of_key(a, key));
    return fits ? object->dynamic : NULL;
}

static const struct type *select_member(struct arena *a, const struct type *set,
                                        const struct term *key) {
    const struct type *t = type_of_key(a, key);
    if (type_compare(set->dynamic, t) == 0) return set->dynamic;
    bool covered = set->dynamic && set->dynamic->kind == TYPE_ANY && any_contains(set->dynamic, t);
    return covered ? t : NULL;
}

const struct type *type_select(struct arena *a, const struct type *t, const struct term *key) {
    if (!t) return NULL;
    if (t->kind == TYPE_ARRAY) return select_element(t, key);
    if (t->kind == TYPE_OBJECT) return select_property(a, t, key);
    if (t->kind == TYPE_SET) return select_member(a, t, key);
    if (t->kind != TYPE_ANY || t->n == 0) return t->kind == TYPE_ANY ? t : NULL;
    const struct type *all = NULL;
    for (uint32_t i = 0; i < t->n; i++) all = type_or(a, type_select(a, t->items[i], key), all);
    return all;
}

const struct type *type_keys(struct arena *a, const struct type *t) {
    if (!t) return NULL;
    if (t->kind == TYPE_ARRAY) return &type_number;
    if (t->kind == TYPE_SET) return t->dynamic;
    if (type_is_any(t)) return t;
    const struct type *all = NULL;
    if (t->kind == TYPE_OBJECT) {
        for (uint32_t i = 0; i < t->n; i++) all = type_or(a, all, type_of_key(a, t->props[i].key));
        if (t->has_dynamic) all = type_or(a, all, t->dynamic_key);
    } else if (t->kind == TYPE_ANY) {
        for (uint32_t i = 0; i < t->n; i++) all = type_or(a, type_keys(a, t->items[i]), all);
    }
    return all;
}

const struct type *type_values(struct arena *a, const struct type *t) {
    if (!t) return NULL;
    if (t->kind == TYPE_SET) return t->dynamic;
    if (type_is_any(t)) return t;
    const struct type *all = NULL;
    if (t->kind == TYPE_ARRAY) {
        for (uint32_t i = 0; i < t->n; i++) all = type_or(a, all, t->items[i]);
        all = type_or(a, all, t->dynamic);
    } else if (t->kind == TYPE_OBJECT) {
        for (uint32_t i = 0; i < t->n; i++) all = type_or(a, all, t->props[i].value);
        if (t->has_dynamic) all = type_or(a, all, t->dynamic);
    } else if (t->kind == TYPE_ANY) {
        for (uint32_t i = 0; i < t->n; i++) all = type_or(a, type_values(a, t->items[i]), all);
    }
    return all;
}

/* ---- Questions ---- */

bool type_has_unknown(const struct type *t) {
    if (!t) return true;
    if (t->kind == TYPE_FUNCTION || t->kind == TYPE_ARRAY)
        for (uint32_t i = 0; i < t->n; i++)
            if (type_has_unknown(t->items[i])) return true;
    if (t->kind == TYPE_OBJECT)
        for (uint32_t i = 0; i < t->n; i++)
            if (type_has_unknown(t->props[i].value)) return true;
    if (t->kind == TYPE_FUNCTION) return type_has_unknown(t->result);
    if (t->kind == TYPE_ARRAY) return t->dynamic && type_has_unknown(t->dynamic);
    if (t->kind == TYPE_OBJECT)
        return t->has_dynamic && (type_has_unknown(t->dynamic_key) || type_has_unknown(t->dynamic));
    return t->kind == TYPE_SET && type_has_unknown(t->dynamic);
}

bool type_is_empty_collection(const struct type *t) {
    if (!t) return false;
    if (t->kind == TYPE_OBJECT) return t->n == 0 && !t->has_dynamic;
    if (t->kind == TYPE_ARRAY) return t->n == 0 && !t->dynamic;
    return t->kind == TYPE_SET && !t->dynamic;
}

static const struct type *merge_dynamic(struct arena *a, const struct type *x,
                                        const struct type *y) {
    if (!x->has_dynamic) return y;
    if (!y->has_dynamic) return x;
    return type_object(a, NULL, 0, true, type_or(a, x->dynamic_key, y->dynamic_key),
                       type_merge(a, x->dynamic, y->dynamic));
}

/* Object x without known keys into the first such object of a union; NULL: there is none. */
static const struct type *merge_into_any(struct arena *a, const struct type *x,
                                         const struct type *any) {
    for (uint32_t i = 0; i < any->n; i++) {
        const struct type *o = any->items[i];
        if (o->kind != TYPE_OBJECT || o->n || !o->has_dynamic) continue;
        const struct type **members = ARENA_ARRAY(a, const struct type *, any->n);
        for (uint32_t j = 0; j < any->n; j++) members[j] = any->items[j];
        members[i] = type_object(a, NULL, 0, true, type_or(a, o->dynamic_key, x->dynamic_key),
                                 type_or(a, o->dynamic, x->dynamic));
        return type_any_of(a, members, any->n);
    }
    return NULL;
}

const struct type *type_merge(struct arena *a, const struct type *x, const struct type *y) {
    if (!x) return y;
    if (!y) return x;
    if (x->kind == TYPE_ANY && y->kind != TYPE_ANY) return type_merge(a, y, x);
    if (x->kind == TYPE_SET && y->kind == TYPE_SET)
        return type_set(a, type_or(a, x->dynamic, y->dynamic));
    if (x->kind == TYPE_OBJECT && x->n == 0) {
        if (y->kind == TYPE_OBJECT && y->n == 0) return merge_dynamic(a, x, y);
        const struct type *merged = NULL;
        if (y->kind == TYPE_ANY && x->has_dynamic) merged = merge_into_any(a, x, y);
        if (merged) return merged;
    }
    return type_or(a, x, y);
}
