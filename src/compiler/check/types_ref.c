/* Checks that what refs name can be there, and infers their variables' types (refChecker in
 * OPA's v1/ast/check.go).
 * in: expressions, the layer of names.
 * out: errors; types of variables in the layer.
 * owns: nothing. */
#include "compiler/ast/print.h"
#include "compiler/check/types_private.h"
#include <stdlib.h>

/* One ref under examination. */
struct ref_check {
    struct type_env *env;
    struct type_errors *errors;
    struct term *const *ref;
    uint32_t n;
    struct loc loc;
    bool silent; /* infer only */
};

/* ---- Errors ---- */

static int compare_keys(const void *a, const void *b) {
    const struct term *const *left = a, *const *right = b;
    return term_compare(*left, *right);
}

static void collect_type_keys(struct arena *a, const struct type *t, struct term_list *keys) {
    if (!t) return;
    if (t->kind == TYPE_OBJECT)
        for (uint32_t i = 0; i < t->n; i++) ARENA_PUSH(a, keys, (struct term *)t->props[i].key);
    if (t->kind == TYPE_ANY)
        for (uint32_t i = 0; i < t->n; i++) collect_type_keys(a, t->items[i], keys);
}

/* ["a" "b"], sorted, each once */
static void put_keys(struct buf *out, struct term_list *keys) {
    if (keys->n > 1) qsort(keys->items, keys->n, sizeof(keys->items[0]), compare_keys);
    buf_byte(out, '[');
    for (uint32_t i = 0; i < keys->n; i++) {
        if (i && term_equal(keys->items[i], keys->items[i - 1])) continue;
        if (i) buf_byte(out, ' ');
        print_term(keys->items[i], out);
    }
    buf_byte(out, ']');
}

static void put_want(struct buf *out, struct arena *a, const struct type *want,
                     struct term_list *one_of) {
    if (one_of->n) {
        buf_cstr(out, "want (one of): ");
        put_keys(out, one_of);
    } else if (!want) {
        buf_cstr(out, "want (one of): []");
    } else {
        buf_printf(out, "want (type): %.*s", STR_FMT(type_text(a, want)));
    }
}

/* The element at `at` cannot be there. have NULL: it is a constant and shown itself. */
static bool error_invalid(struct ref_check *c, uint32_t at, const struct type *have,
                          const struct type *want, struct term_list *one_of) {
    if (c->silent) return false;
    struct arena *a = c->env->checker->arena;
    struct str ref = type_ref_text(c->env, c->ref, c->n);
    int pad = (int)type_ref_text(c->env, c->ref, at).len + 1;
    struct buf have_text, want_text;
    buf_init(&have_text, 1 << 20);
    buf_init(&want_text, 1 << 20);
    if (have)
        buf_printf(&have_text, "have (type): %.*s", STR_FMT(type_text(a, have)));
    else {
        buf_cstr(&have_text, "have: ");
        print_term(c->ref[at], &have_text);
    }
    put_want(&want_text, a, want, one_of);
    type_error_add(c->errors, a, c->loc, false,
                   "undefined ref: %.*s\n\t%.*s\n\t%*s^\n\t%*s%.*s\n\t%*s%.*s", STR_FMT(ref),
                   STR_FMT(ref), pad, "", pad, "", STR_FMT(buf_view(&have_text)), pad, "",
                   STR_FMT(buf_view(&want_text)));
    buf_deinit(&have_text);
    buf_deinit(&want_text);
    return false;
}

static bool is_generated_local(const struct term *t) {
    return t->kind == TERM_VAR && str_starts(t->text, STR("__local"));
}

/* What lies before the element after `at` has no elements at all. */
static bool error_unsupported(struct ref_check *c, uint32_t at, const struct type *have) {
    if (c->silent) return false;
    struct arena *a = c->env->checker->arena;
    struct str ref = type_ref_text(c->env, c->ref, c->n);
    int carets = (int)type_ref_text(c->env, c->ref, at + 1).len;
    char *line = arena_alloc(a, (size_t)carets + 1);
    memset(line, '^', (size_t)carets);
    struct str text = have ? type_text(a, have) : STR("<nil>");
    if (have && have->kind == TYPE_FUNCTION) {
        uint32_t n = c->n > 1 && is_generated_local(c->ref[c->n - 1]) ? c->n - 1 : c->n;
        struct str name = type_ref_text(c->env, c->ref, n);
        type_error_add(c->errors, a, c->loc, false,
                       "function %.*s used as reference, not called\n\t%.*s\n\t%s\n\thave: %.*s",
                       STR_FMT(name), STR_FMT(ref), line, STR_FMT(text));
    } else {
        type_error_add(c->errors, a, c->loc, false,
                       "undefined ref: %.*s\n\t%.*s\n\t%s\n\thave: %.*s", STR_FMT(ref),
                       STR_FMT(ref), line, STR_FMT(text));
    }
    return false;
}

static bool error_invalid_for_type(struct ref_check *c, uint32_t at, const struct type *have,
                                   const struct type *want, const struct type *of) {
    struct term_list one_of = {0};
    collect_type_keys(c->env->checker->arena, of, &one_of);
    return error_invalid(c, at, have, want, &one_of);
}

static bool error_invalid_for_node(struct ref_check *c, uint32_t at, const struct type *have,
                                   const struct type *want, const struct type_node *node) {
    struct term_list one_of = {0};
    for (uint32_t i = 0; i < node_count(node); i++)
        ARENA_PUSH(c->env->checker->arena, &one_of, (struct term *)node_at(node, i)->key);
    return error_invalid(c, at, have, want, &one_of);
}

/* ---- Below a known type ---- */

static bool check_empty(struct ref_check *c, const struct type *t, uint32_t at) {
    const struct term *key = c->ref[at];
    struct term_list none = {0};
    if (term_is_scalar(key)) return error_invalid(c, at, NULL, NULL, &none);
    if (key->kind != TERM_VAR) return true;
    const struct type *known = env_type(c->env, key);
    const struct type *keys = type_keys(c->env->checker->arena, t);
    if (!known)
        env_put_var(c->env, key, &type_any);
    else if (keys && !type_unifies(known, keys))
        return error_invalid(c, at, known, keys, &none);
    return true;
}

/* Checks element `at` against the keys of t; *below becomes the type it selects. */
static bool check_element(struct ref_check *c, const struct type *t, const struct type *keys,
                          uint32_t at, const struct type **below) {
    struct arena *a = c->env->checker->arena;
    const struct term *key = c->ref[at];
    *below = type_values(a, t);
    if (key->kind == TERM_VAR || key->kind == TERM_REF) {
        const struct type *known = env_type(c->env, key);
        if (!known && key->kind == TERM_VAR) env_put_var(c->env, key, keys);
        if (known && !type_unifies(known, keys))
            return error_invalid_for_type(c, at, known, keys, t);
        return true;
    }
    if (key->kind == TERM_ARRAY || key->kind == TERM_OBJECT || key->kind == TERM_SET) {
        struct term_list none = {0};
        if (unify_term(c->env, key, keys, false)) return true;
        const struct type *have = env_type(c->env, key);
        return error_invalid(c, at, have, keys, &none);
    }
    if (!term_is_constant(key)) return true;
    *below = type_select(a, t, key);
    return *below ? true : error_invalid_for_type(c, at, NULL, keys, t);
}

static bool check_leaf(struct ref_check *c, const struct type *t, uint32_t at) {
    for (; at < c->n; at++) {
        if (type_is_empty_collection(t)) return check_empty(c, t, at);
        const struct type *keys = type_keys(c->env->checker->arena, t), *below;
        if (!keys) return error_unsupported(c, at ? at - 1 : 0, t);
        if (!check_element(c, t, keys, at, &below)) return false;
        t = below;
    }
    return true;
}

/* ---- In the tree of documents ---- */

/* data.a and data.a.b must be named by strings: every rule's path has at least three elements. */
static bool check_path_element(struct ref_check *c, const struct type_node *node, uint32_t at) {
    const struct term *key = c->ref[at];
    if ((at == 1 || at == 2) && key->kind != TERM_VAR && key->kind != TERM_STRING)
        return error_invalid_for_node(c, at, env_type(c->env, key), &type_string, node);
    if (key->kind != TERM_VAR || at == 0) return true;
    const struct type *keys = type_keys(c->env->checker->arena, env_extent(c->env, node));
    const struct type *known = env_type(c->env, key);
    if (!known)
        env_put_var(c->env, key, keys);
    else if (!type_unifies(keys, known))
        return error_invalid_for_node(c, at, known, keys, node);
    return true;
}

static bool check_tree(struct ref_check *c, struct type_env *layer, const struct type_node *node,
                       uint32_t at);

/* Element `at` is no child of the node. */
static bool check_no_child(struct ref_check *c, struct type_env *layer,
                           const struct type_node *node, uint32_t at) {
    if (layer->next) return check_tree(c, layer->next, layer->next->tree, 0);
    if (!env_is_root(c->ref[0])) return check_leaf(c, &type_any, 0);
    if (at == 0) return check_leaf(c, &type_any, 1);
    struct ref_check inner = *c;
    inner.silent = true;
    for (uint32_t i = 0; i < node_count(node); i++)
        check_tree(&inner, layer, node_at(node, i), at + 1);
    return true;
}

static bool check_tree(struct ref_check *c, struct type_env *layer, const struct type_node *node,
                       uint32_t at) {
    while (at < c->n) {
        if (!check_path_element(c, node, at)) return false;
        const struct type_node *child = node_child(c->env->checker->arena, node, c->ref[at]);
        if (!child) return check_no_child(c, layer, node, at);
        if (child->value) return check_leaf(c, child->value, at + 1);
        node = child;
        at++;
    }
    return true;
}

static bool check_ref(struct type_env *env, const struct term *t, struct type_errors *errors) {
    struct term *const *ref = t->list.items;
    struct loc loc = ref[0]->loc.row ? ref[0]->loc : t->loc;
    struct ref_check c = {env, errors, ref, t->list.n, loc, false};
    const struct type *whole = env_ref(env, ref, t->list.n);
    if (whole && whole->kind == TYPE_FUNCTION) return error_unsupported(&c, c.n - 1, whole);
    check_tree(&c, env, env->tree, 0);
    return true;
}

/* ---- Expressions ---- */

static void walk_body(struct type_env *env, const struct body *body, struct type_errors *errors) {
    for (uint32_t i = 0; i < body->n; i++) type_check_refs(env, body->items[i], errors);
}

static void walk_term(struct type_env *env, struct term *t, struct type_errors *errors) {
    if (t->kind == TERM_ARRAY_COMPR || t->kind == TERM_SET_COMPR || t->kind == TERM_OBJECT_COMPR)
        return;
    if (t->kind == TERM_REF && t->list.n > 0 && !check_ref(env, t, errors)) return;
    for (uint32_t i = t->kind == TERM_CALL ? 1 : 0; i < t->list.n; i++)
        walk_term(env, t->list.items[i], errors);
    walk_body(env, &t->parts, errors);
}

void type_check_refs(struct type_env *env, struct expr *e, struct type_errors *errors) {
    switch (e->kind) {
    case EXPR_CALL:
        for (uint32_t i = 1; i < e->call.n; i++) walk_term(env, e->call.items[i], errors);
        return;
    case EXPR_TERM: walk_term(env, e->term, errors); return;
    case EXPR_NOT: walk_body(env, &e->body, errors); return;
    case EXPR_SOME: return;
    case EXPR_EVERY:
        walk_term(env, e->domain, errors);
        walk_body(env, &e->body, errors);
        break;
    case EXPR_AND:
    case EXPR_OR:
        walk_body(env, &e->lhs, errors);
        walk_body(env, &e->rhs, errors);
        break;
    }
    for (uint32_t i = 0; i < e->with.n; i++) {
        walk_term(env, e->with.items[i].target, errors);
        walk_term(env, e->with.items[i].value, errors);
    }
}
