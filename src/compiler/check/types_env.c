/* Keeps the types of documents and variables, and types terms by them (OPA's v1/ast/env.go).
 * in: paths with their types, terms.
 * out: types in the checker's arena.
 * owns: nothing; layers and trees lie in the arena. */
#include "compiler/check/types_env.h"
#include "compiler/ast/print.h"
#include "compiler/check/types_private.h"

/* ---- Trees ---- */

struct type_node *node_new(struct arena *a, const struct term *key) {
    struct type_node *node = ARENA_NEW(a, struct type_node);
    node->key = key;
    return node;
}

static struct table *table_for(struct type_node *node, const struct term *key) {
    if (key->kind == TERM_STRING) return &node->strings;
    return key->kind == TERM_VAR ? &node->vars : &node->others;
}

static struct str key_text(struct arena *a, const struct term *key) {
    if (key->kind == TERM_STRING || key->kind == TERM_VAR) return key->text;
    struct buf text;
    buf_init(&text, 1 << 20);
    print_term(key, &text);
    struct str copy = {arena_strndup(a, (const char *)text.ptr, text.len), text.len};
    buf_deinit(&text);
    return copy;
}

struct type_node *node_child(struct arena *a, const struct type_node *node,
                             const struct term *key) {
    const struct table *t = table_for((struct type_node *)node, key);
    return t->n ? table_get(t, key_text(a, key)) : NULL;
}

static struct type_node *node_make_child(struct arena *a, struct type_node *node,
                                         const struct term *key) {
    struct type_node *child = node_child(a, node, key);
    if (child) return child;
    struct table *t = table_for(node, key);
    if (!t->arena) table_init(t, a);
    child = node_new(a, key);
    table_set(t, key_text(a, key), child);
    return child;
}

uint32_t node_count(const struct type_node *node) {
    return node->strings.n + node->vars.n + node->others.n;
}

struct type_node *node_at(const struct type_node *node, uint32_t i) {
    if (i < node->strings.n) return node->strings.entries[i].value;
    i -= node->strings.n;
    if (i < node->vars.n) return node->vars.entries[i].value;
    return node->others.entries[i - node->vars.n].value;
}

void node_put(struct arena *a, struct type_node *node, struct term *const *path, uint32_t n,
              const struct type *t) {
    for (uint32_t i = 0; i < n; i++) node = node_make_child(a, node, path[i]);
    node->value = t;
}

/* ---- Layers ---- */

struct type_env *env_new(struct type_checker *checker, struct type_env *next) {
    struct type_env *env = ARENA_NEW(checker->arena, struct type_env);
    env->checker = checker;
    env->tree = env->vars = node_new(checker->arena, NULL);
    env->next = next;
    return env;
}

struct type_env *env_new_with(struct type_env *next) {
    struct type_env *env = env_new(next->checker, next);
    env->vars = next->vars;
    return env;
}

void env_put_var(struct type_env *env, const struct term *var, const struct type *t) {
    node_make_child(env->checker->arena, env->vars, var)->value = t;
}

/* ---- Rules' types into the tree ---- */

/* An object with one more thing in it: values of type t at path below. */
static const struct type *object_with(struct type_env *env, const struct type *object,
                                      struct term *const *path, uint32_t n, const struct type *t) {
    struct arena *a = env->checker->arena;
    if (n == 0) return object;
    const struct type *key = env_type(env, path[0]);
    if (n > 1) {
        const struct type *empty = type_object(a, NULL, 0, false, NULL, NULL);
        t = object_with(env, empty, path + 1, n - 1, t);
    }
    if (object->has_dynamic) {
        key = type_or(a, object->dynamic_key, key);
        t = type_or(a, object->dynamic, t);
    }
    return type_object(a, (struct type_property *)object->props, object->n, true, key, t);
}

/* Adds every leaf below node to the object. */
static const struct type *object_with_leaves(struct type_env *env, const struct type *object,
                                             const struct type_node *node, struct term_list *path) {
    for (uint32_t i = 0; i < node_count(node); i++) {
        struct type_node *child = node_at(node, i);
        ARENA_PUSH(env->checker->arena, path, (struct term *)child->key);
        if (child->value)
            object = object_with(env, object, path->items, path->n, child->value);
        else
            object = object_with_leaves(env, object, child, path);
        path->n--;
    }
    return object;
}

void env_insert(struct type_env *env, struct term *const *path, uint32_t n, const struct type *t) {
    struct arena *a = env->checker->arena;
    struct type_node *node = env->tree;
    for (uint32_t i = 0; i < n; i++) {
        node = node_make_child(a, node, path[i]);
        if (node->value && node->value->kind == TYPE_OBJECT && i + 1 < n)
            node->value = object_with(env, node->value, path + i + 1, n - i - 1, t);
    }
    node->value = type_merge(a, node->value, t);
    if (t->kind != TYPE_OBJECT || node_count(node) == 0) return;
    if (node->value->kind != TYPE_OBJECT) return; /* a union: its leaves stay reachable below */
    struct term_list below = {0};
    node->value = object_with_leaves(env, node->value, node, &below);
}

/* ---- Refs ---- */

bool env_is_root(const struct term *t) {
    return t->kind == TERM_VAR && (str_is(t->text, "data") || str_is(t->text, "input"));
}

static const struct type *ref_fallback(struct type_env *env, struct term *const *ref, uint32_t n) {
    if (env->next) return env_ref(env->next, ref, n);
    return env_is_root(ref[0]) ? &type_any : NULL;
}

const struct type *env_extent(struct type_env *env, const struct type_node *node) {
    if (node->value) return node->value;
    struct arena *a = env->checker->arena;
    struct type_property *props = ARENA_ARRAY(a, struct type_property, node_count(node));
    uint32_t n = 0;
    for (uint32_t i = 0; i < node_count(node); i++) {
        struct type_node *child = node_at(node, i);
        enum term_kind kind = child->key->kind;
        if (kind != TERM_STRING && kind != TERM_NUMBER && kind != TERM_BOOLEAN) continue;
        props[n++] = (struct type_property){child->key, env_extent(env, child)};
    }
    return type_object(a, props, n, true, &type_string, &type_any);
}

/* The type below t along a path; with variables in it, a union of what they may reach. */
static const struct type *select_path(struct arena *a, const struct type *t,
                                      struct term *const *path, uint32_t n) {
    for (uint32_t i = 0; i < n && t; i++) {
        const struct term *key = path[i];
        bool by_value = key->kind == TERM_VAR || key->kind == TERM_REF || key->kind == TERM_ARRAY ||
                        key->kind == TERM_OBJECT || key->kind == TERM_SET;
        if (!by_value) {
            t = term_is_constant(key) ? type_select(a, t, term_as_key(a, key)) : NULL;
        } else {
            if (type_is_empty_collection(t)) return &type_any;
            t = type_values(a, t);
        }
    }
    return t;
}

const struct type *env_ref(struct type_env *env, struct term *const *ref, uint32_t n) {
    struct arena *a = env->checker->arena;
    const struct type_node *node = node_child(a, env->tree, ref[0]);
    if (!node) return ref_fallback(env, ref, n);
    for (uint32_t i = 1; i < n; i++) {
        const struct type_node *child = NULL;
        if (node->value) {
            child = node_child(a, node, ref[i]);
            if (!child) return select_path(a, node->value, ref + i, n - i);
        } else {
            if (!term_is_constant(ref[i]))
                return select_path(a, env_extent(env, node), ref + i, n - i);
            child = node_child(a, node, ref[i]);
            if (!child) return ref_fallback(env, ref, n);
        }
        node = child;
    }
    return env_extent(env, node);
}

/* ---- Terms ---- */

static const struct type *type_of_object(struct type_env *env, const struct term *t) {
    struct arena *a = env->checker->arena;
    struct type_property *props = ARENA_ARRAY(a, struct type_property, t->list.n / 2);
    const struct type *key = NULL, *value = NULL;
    uint32_t n = 0;
    bool has_dynamic = false;
    for (uint32_t i = 0; i + 1 < t->list.n; i += 2) {
        const struct term *k = t->list.items[i], *v = t->list.items[i + 1];
        if (term_is_constant(k)) {
            props[n++] = (struct type_property){term_as_key(a, k), env_type(env, v)};
        } else {
            has_dynamic = true;
            key = env_type(env, k);
            value = env_type(env, v);
        }
    }
    return type_object(a, props, n, has_dynamic, key, value);
}

static const struct type *type_of_elements(struct type_env *env, const struct term *t) {
    struct arena *a = env->checker->arena;
    if (t->kind == TERM_SET) {
        const struct type *of = NULL;
        for (uint32_t i = 0; i < t->list.n; i++)
            of = type_or(a, of, env_type(env, t->list.items[i]));
        return type_set(a, of);
    }
    const struct type **items = ARENA_ARRAY(a, const struct type *, t->list.n);
    for (uint32_t i = 0; i < t->list.n; i++) items[i] = env_type(env, t->list.items[i]);
    return type_array(a, items, t->list.n, NULL);
}

static const struct type *type_of_comprehension(struct type_env *env, const struct term *t) {
    struct arena *a = env->checker->arena;
    struct type_env *inner = env_new(env->checker, env);
    if (!check_types_body(inner, &t->body, NULL)) return NULL;
    if (t->kind == TERM_ARRAY_COMPR) return type_array(a, NULL, 0, env_type(inner, t->value));
    if (t->kind == TERM_SET_COMPR) return type_set(a, env_type(inner, t->value));
    const struct type *key = env_type(inner, t->key);
    return type_object(a, NULL, 0, true, key, env_type(inner, t->value));
}

static const struct type *type_of_var(struct type_env *env, const struct term *t) {
    for (; env; env = env->next) {
        const struct type_node *node = node_child(env->checker->arena, env->tree, t);
        if (node) return node->value;
    }
    return NULL;
}

const struct type *env_type(struct type_env *env, const struct term *t) {
    switch (t->kind) {
    case TERM_NULL: return &type_null;
    case TERM_BOOLEAN: return &type_boolean;
    case TERM_NUMBER: return &type_number;
    case TERM_STRING:
    case TERM_TEMPLATE_STRING: return &type_string;
    case TERM_VAR: return type_of_var(env, t);
    case TERM_REF: return env_ref(env, t->list.items, t->list.n);
    case TERM_ARRAY:
    case TERM_SET: return type_of_elements(env, t);
    case TERM_OBJECT: return type_of_object(env, t);
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: return type_of_comprehension(env, t);
    case TERM_CALL: return NULL;
    }
    return NULL;
}
