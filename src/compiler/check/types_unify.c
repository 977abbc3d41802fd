/* Decides whether types can meet, and infers variables' types from what they meet (unify in
 * OPA's v1/ast/check.go).
 * in: terms, types, the layer of names.
 * out: a verdict; types of variables in the layer.
 * owns: nothing. */
#include "compiler/check/types_private.h"

/* ---- Two types ---- */

static bool any_unifies(const struct type *any, const struct type *t) {
    if (t->kind == TYPE_FUNCTION) return false;
    for (uint32_t i = 0; i < any->n; i++)
        if (type_unifies(any->items[i], t)) return true;
    return any->n == 0;
}

static const struct type *array_at(const struct type *array, uint32_t i) {
    return i < array->n ? array->items[i] : array->dynamic;
}

static bool arrays_unify(const struct type *a, const struct type *b) {
    for (uint32_t i = 0; i < a->n || i < b->n; i++)
        if (!type_unifies(array_at(a, i), array_at(b, i))) return false;
    return !a->dynamic || !b->dynamic || type_unifies(a->dynamic, b->dynamic);
}

static const struct type *known_property(const struct type *object, const struct term *key) {
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
    return NULL;
}

/* The value of b that key of a would meet: known, or under b's other keys; NULL: none. */
static const struct type *property_for(const struct type *b, const struct term *key) {
    const struct type *value = known_property(b, key);
    if (value || !b->has_dynamic) return value;
    if (type_is_any(b->dynamic_key)) return b->dynamic;
    if (!term_is_scalar(key)) return NULL;
    static const struct type *const by_kind[] = {&type_null, &type_boolean, &type_number,
                                                 &type_string};
    return type_contains(b->dynamic_key, by_kind[key->kind]) ? b->dynamic : NULL;
}

static bool properties_unify(const struct type *a, const struct type *b) {
    for (uint32_t i = 0; i < a->n; i++) {
        const struct type *other = property_for(b, a->props[i].key);
        if (!other) {
            if (a->dynamic || b->dynamic) continue;
            return false;
        }
        if (!type_unifies(a->props[i].value, other)) return false;
    }
    return true;
}

static bool objects_unify(const struct type *a, const struct type *b) {
    if (!properties_unify(a, b) || !properties_unify(b, a)) return false;
    return !a->dynamic || !b->dynamic || type_unifies(a->dynamic, b->dynamic);
}

static bool functions_unify(const struct type *a, const struct type *b) {
    if (a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!type_unifies(a->items[i], b->items[i])) return false;
    return true;
}

bool type_unifies(const struct type *a, const struct type *b) {
    if (!a || !b) return false;
    if (a->kind == TYPE_ANY && any_unifies(a, b)) return true;
    if (b->kind == TYPE_ANY && any_unifies(b, a)) return true;
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case TYPE_NULL:
    case TYPE_BOOLEAN:
    case TYPE_NUMBER:
    case TYPE_STRING: return true;
    case TYPE_ANY: return false;
    case TYPE_ARRAY: return arrays_unify(a, b);
    case TYPE_OBJECT: return objects_unify(a, b);
    case TYPE_SET: return !a->dynamic || !b->dynamic || type_unifies(a->dynamic, b->dynamic);
    case TYPE_FUNCTION: return functions_unify(a, b);
    }
    return false;
}

/* ---- A term and a type ---- */

static bool unify_array(struct type_env *env, const struct term *t, const struct type *type,
                        bool join) {
    if (t->list.n != type->n && !type->dynamic) return false;
    for (uint32_t i = 0; i < t->list.n; i++)
        if (!unify_term(env, t->list.items[i], array_at(type, i), join)) return false;
    return true;
}

static bool unify_object(struct type_env *env, const struct term *t, const struct type *type,
                         bool join) {
    struct arena *a = env->checker->arena;
    if (t->list.n / 2 != type->n && !type->dynamic) return false;
    for (uint32_t i = 0; i + 1 < t->list.n; i += 2) {
        const struct term *key = t->list.items[i], *value = t->list.items[i + 1];
        if (!term_is_constant(key)) {
            unify_term(env, value, &type_any, join);
            continue;
        }
        const struct type *child = type_select(a, type, term_as_key(a, key));
        if (!child || !unify_term(env, value, child, join)) return false;
    }
    return true;
}

static bool unify_set(struct type_env *env, const struct term *t, const struct type *type,
                      bool join) {
    for (uint32_t i = 0; i < t->list.n; i++)
        if (!unify_term(env, t->list.items[i], type->dynamic, join)) return false;
    return true;
}

static bool unify_composite(struct type_env *env, const struct term *t, const struct type *type,
                            bool join) {
    if (!type) return false;
    if (type_is_any(type)) {
        for (uint32_t i = 0; i < t->list.n; i++) unify_term(env, t->list.items[i], &type_any, true);
        return true;
    }
    if (type->kind == TYPE_ANY) {
        bool some = false;
        for (uint32_t i = 0; i < type->n; i++)
            some = unify_term(env, t, type->items[i], true) || some;
        return some;
    }
    if (t->kind == TERM_ARRAY && type->kind == TYPE_ARRAY) return unify_array(env, t, type, join);
    if (t->kind == TERM_OBJECT && type->kind == TYPE_OBJECT)
        return unify_object(env, t, type, join);
    return t->kind == TERM_SET && type->kind == TYPE_SET && unify_set(env, t, type, join);
}

static bool unify_var(struct type_env *env, const struct term *t, const struct type *type,
                      bool join) {
    const struct type *known = env_type(env, t);
    if (join)
        type = type_or(env->checker->arena, known, type);
    else if (known)
        return type_unifies(known, type);
    env_put_var(env, t, type);
    return true;
}

bool unify_term(struct type_env *env, const struct term *t, const struct type *type, bool join) {
    switch (t->kind) {
    case TERM_ARRAY:
    case TERM_OBJECT:
    case TERM_SET: return unify_composite(env, t, type, join);
    case TERM_VAR: return unify_var(env, t, type, join);
    case TERM_CALL: return true; /* calls are expressions of their own by now */
    case TERM_NULL:
    case TERM_BOOLEAN:
    case TERM_NUMBER:
    case TERM_STRING:
    case TERM_TEMPLATE_STRING:
    case TERM_REF:
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: return type_unifies(env_type(env, t), type);
    }
    return true;
}

/* ---- Two terms ---- */

static bool unify_both(struct type_env *env, const struct term *x, const struct term *y) {
    return unify_terms(env, x, env_type(env, x), y, env_type(env, y));
}

static const struct term *object_value(const struct term *object, const struct term *key) {
    for (uint32_t i = 0; i + 1 < object->list.n; i += 2)
        if (term_equal(object->list.items[i], key)) return object->list.items[i + 1];
    return NULL;
}

static bool unify_two_arrays(struct type_env *env, const struct term *x, const struct term *y) {
    if (x->list.n != y->list.n) return false;
    for (uint32_t i = 0; i < x->list.n; i++)
        if (!unify_both(env, x->list.items[i], y->list.items[i])) return false;
    return true;
}

static bool unify_two_objects(struct type_env *env, const struct term *x, const struct term *y) {
    if (x->list.n != y->list.n) return false;
    for (uint32_t i = 0; i + 1 < x->list.n; i += 2)
        if (!object_value(y, x->list.items[i])) return false;
    for (uint32_t i = 0; i + 1 < x->list.n; i += 2)
        if (!unify_both(env, x->list.items[i + 1], object_value(y, x->list.items[i]))) return false;
    return true;
}

/* A composite of unknown parts and a variable: the parts become any, the variable their whole. */
static bool unify_parts_with_var(struct type_env *env, const struct term *composite,
                                 const struct term *var) {
    return unify_term(env, composite, &type_any, false) &&
           unify_term(env, var, env_type(env, composite), false);
}

/* Neither side's type is wholly known; true in *done when the pair of kinds decides. */
static bool unify_unknown(struct type_env *env, const struct term *x, const struct term *y,
                          bool *done) {
    *done = true;
    bool var_y = y->kind == TERM_VAR;
    if (x->kind == TERM_ARRAY && y->kind == TERM_ARRAY) return unify_two_arrays(env, x, y);
    if (x->kind == TERM_OBJECT && y->kind == TERM_OBJECT) return unify_two_objects(env, x, y);
    if (x->kind == TERM_ARRAY || x->kind == TERM_OBJECT)
        return var_y && unify_parts_with_var(env, x, y);
    if (x->kind == TERM_VAR && var_y)
        return unify_term(env, x, &type_any, false) && unify_term(env, y, env_type(env, x), false);
    if (x->kind == TERM_VAR && (y->kind == TERM_ARRAY || y->kind == TERM_OBJECT))
        return unify_parts_with_var(env, y, x);
    if (x->kind == TERM_VAR && y->kind == TERM_REF) return unify_term(env, x, &type_any, false);
    if (x->kind == TERM_REF && var_y) return unify_term(env, y, &type_any, false);
    *done = false;
    return false;
}

bool unify_terms(struct type_env *env, const struct term *x, const struct type *type_x,
                 const struct term *y, const struct type *type_y) {
    bool unknown_x = type_has_unknown(type_x), unknown_y = type_has_unknown(type_y);
    if (unknown_x && !unknown_y) return unify_term(env, x, type_y, false);
    if (unknown_y && !unknown_x) return unify_term(env, y, type_x, false);
    if (!unknown_x && !unknown_y) return type_unifies(type_x, type_y);
    bool done, verdict = unify_unknown(env, x, y, &done);
    if (done) return verdict;
    if (x->kind == TERM_VAR && !type_x && type_y) return unify_term(env, x, type_y, false);
    if (y->kind == TERM_VAR && !type_y && type_x) return unify_term(env, y, type_x, false);
    return false;
}
