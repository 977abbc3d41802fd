/* Types every rule and the query, and reports what cannot hold (OPA's v1/ast/check.go).
 * in: rules with resolved refs, flat calls and bodies in order of safety.
 * out: rego_type_error diagnostics, sorted by place.
 * owns: nothing; all lies in the compile's arena. */
#include "compiler/ast/print.h"
#include "compiler/builtin.h"
#include "compiler/check/types_private.h"
#include <stdlib.h>

/* Comprehensions are typed anew wherever their type is asked for, so nesting multiplies the work.
 * After this many bodies comprehensions count as collections of anything. */
enum { MAX_BODY_CHECKS = 100000 };

/* ---- `with` ---- */

/* The rules that replacing `target` affects, each widened to any; made once for a target. */
static struct type_node *widened_rules(struct type_env *env, const struct term *target,
                                       bool is_function) {
    struct type_checker *tc = env->checker;
    struct str text = type_ref_text(env, target->list.items, target->list.n);
    size_t len;
    char *key = arena_printf(tc->arena, &len, "%s%.*s", is_function ? "f:" : "", STR_FMT(text));
    struct type_node *tree = table_get(&tc->with_trees, (struct str){key, len});
    if (tree) return tree;
    tree = node_new(tc->arena, NULL);
    struct term_list paths = {0};
    type_graph_dependents(tc->graph, target, &paths);
    for (uint32_t i = 0; i < paths.n; i++) {
        uint32_t n = ref_ground_prefix(paths.items[i]);
        if (is_function && term_equal(paths.items[i], target)) continue;
        node_put(tc->arena, tree, paths.items[i]->list.items, n, &type_any);
    }
    table_set(&tc->with_trees, (struct str){key, len}, tree);
    return tree;
}

/* What a replaced document can be: as it was, or the replacement. */
static const struct type *replaced_type(struct type_env *env, const struct with *w,
                                        const struct type *was) {
    if (!was || ref_ground_prefix(w->target) < w->target->list.n) return &type_any;
    const struct type *value = env_type(env, w->value);
    const struct type *either = value ? type_or(env->checker->arena, was, value) : NULL;
    return either ? either : &type_any;
}

/* The layer in which an expression with modifiers is checked. */
static struct type_env *env_for_with(struct type_env *env, const struct expr *e) {
    struct arena *a = env->checker->arena;
    struct type_env *layer = env;
    struct type_node *replaced = node_new(a, NULL);
    for (uint32_t i = 0; i < e->with.n; i++) {
        const struct with *w = &e->with.items[i];
        if (w->target->kind != TERM_REF || w->target->list.n == 0) continue;
        const struct type *was = env_ref(env, w->target->list.items, w->target->list.n);
        bool is_function = was && was->kind == TYPE_FUNCTION;
        struct type_node *widened = widened_rules(env, w->target, is_function);
        if (node_count(widened)) {
            layer = env_new_with(layer);
            layer->tree = widened;
        }
        if (!is_function)
            node_put(a, replaced, w->target->list.items, ref_ground_prefix(w->target),
                     replaced_type(env, w, was));
    }
    if (node_count(replaced) == 0) return layer;
    layer = env_new_with(layer);
    layer->tree = replaced;
    return layer;
}

/* A function may only be replaced by one that takes the same arguments. */
static bool check_withs(struct type_env *env, const struct expr *e, struct type_errors *errors) {
    for (uint32_t i = 0; i < e->with.n; i++) {
        const struct with *w = &e->with.items[i];
        const struct type *was = env_type(env, w->target), *now = env_type(env, w->value);
        if (!was || !now || was->kind != TYPE_FUNCTION || now->kind != TYPE_FUNCTION) continue;
        if (type_unifies(was, now)) continue;
        struct loc loc = w->loc.row ? w->loc : w->target->loc;
        type_error_args(env, errors, loc, w->target, "arity mismatch",
                        (const struct type **)now->items, now->n, was, false);
        return false;
    }
    return true;
}

/* ---- Calls ---- */

static const struct type **types_of_args(struct type_env *env, const struct expr *e) {
    uint32_t n = e->call.n - 1;
    const struct type **have = ARENA_ARRAY(env->checker->arena, const struct type *, n);
    for (uint32_t i = 0; i < n; i++) have[i] = env_type(env, e->call.items[i + 1]);
    return have;
}

static bool check_equality(struct type_env *env, const struct expr *e, struct type_errors *errors) {
    if (e->call.n != 3) return true; /* arity was checked before */
    const struct term *x = e->call.items[1], *y = e->call.items[2];
    const struct type *type_x = env_type(env, x), *type_y = env_type(env, y);
    if (unify_terms(env, x, type_x, y, type_y)) return true;
    type_error_match(env, errors, e->loc, type_x, type_y);
    return false;
}

/* One operand of `in` against what the collection can hold. */
static bool check_member_operand(struct type_env *env, const struct expr *e, const struct term *t,
                                 const struct type *of, struct type_errors *errors) {
    if (type_has_unknown(of)) return true;
    const struct type *have = env_type(env, t);
    bool meet = type_has_unknown(have) || type_unifies(have, of);
    if (meet && unify_term(env, t, of, false)) return true;
    type_error_match(env, errors, e->loc, have, of);
    return false;
}

static bool check_member(struct type_env *env, const struct expr *e, bool with_key,
                         struct type_errors *errors) {
    struct arena *a = env->checker->arena;
    uint32_t arity = with_key ? 3 : 2;
    if (e->call.n - 1 < arity) return true;
    struct term *const *args = e->call.items + 1;
    const struct type *collection = env_type(env, args[arity - 1]);
    const struct type *values = type_values(a, collection);
    if (!values) return true;
    if (with_key && !check_member_operand(env, e, args[0], type_keys(a, collection), errors))
        return false;
    return check_member_operand(env, e, args[arity - 2], values, errors);
}

static const struct type *argument_type(const struct type *function, uint32_t i) {
    if (i < function->n) return function->items[i];
    if (i == function->n && function->result) return function->result;
    return function->variadic;
}

static bool check_arguments(struct type_env *env, const struct expr *e, const struct type *function,
                            struct type_errors *errors) {
    uint32_t n = e->call.n - 1, most = function->n + (function->result ? 1 : 0);
    const struct term *op = e->call.items[0];
    const struct type **have = types_of_args(env, e);
    const char *wrong = NULL;
    if (n > most && !function->variadic)
        wrong = "too many arguments";
    else if (n < function->n)
        wrong = "too few arguments";
    for (uint32_t i = 0; i < n && !wrong; i++) {
        const struct type *want = argument_type(function, i);
        if (!type_has_unknown(have[i]) && !type_unifies(have[i], want)) {
            wrong = "invalid argument(s)";
        } else if (!unify_term(env, e->call.items[i + 1], want, false)) {
            wrong = "invalid argument(s)";
            have = types_of_args(env, e);
        }
    }
    if (!wrong) return true;
    type_error_args(env, errors, e->loc, op, wrong, have, n, function, true);
    return false;
}

static bool check_call(struct type_env *env, const struct expr *e, struct type_errors *errors) {
    const struct term *op = e->call.items[0];
    struct arena *a = env->checker->arena;
    struct str name = ref_dotted(a, op);
    if (str_is(name, "eq")) return check_equality(env, e, errors);
    bool with_key = str_is(name, "internal.member_3");
    if ((with_key || str_is(name, "internal.member_2")) && !check_member(env, e, with_key, errors))
        return false;
    const struct type *function = env_ref(env, op->list.items, op->list.n);
    if (type_is_any(function)) return true;
    if (function && function->kind == TYPE_FUNCTION)
        return check_arguments(env, e, function, errors);
    struct str shown = type_ref_text(env, op->list.items, op->list.n);
    type_error_add(errors, a, e->loc, false, "undefined function %.*s", STR_FMT(shown));
    return false;
}

/* ---- Bodies ---- */

struct closure_walk {
    struct type_env *env;
    struct type_errors errors; /* of the last comprehension that had any, as in OPA */
};

static bool visit_closure(void *ctx, struct term *t) {
    struct closure_walk *w = ctx;
    if (t->kind != TERM_ARRAY_COMPR && t->kind != TERM_SET_COMPR && t->kind != TERM_OBJECT_COMPR)
        return true;
    struct type_errors errors = {0};
    if (!check_types_body(env_new(w->env->checker, w->env), &t->body, &errors)) {
        w->errors = errors;
        return false;
    }
    return true;
}

static bool check_call_and_withs(struct type_env *env, const struct expr *e,
                                 struct type_errors *errors) {
    if (!check_withs(env, e, errors)) return false;
    if (e->kind != EXPR_CALL || e->call.n == 0 || e->call.items[0]->kind != TERM_REF) return true;
    return check_call(env, e, errors);
}

static void append_errors(struct arena *a, struct type_errors *to, const struct type_errors *from) {
    for (uint32_t i = 0; i < from->n; i++) ARENA_PUSH(a, to, from->items[i]);
}

static void check_types_expr(struct type_env *env, struct expr *e, struct type_errors *errors) {
    struct arena *a = env->checker->arena;
    if (e->with.n) env = env_for_with(env, e);
    struct closure_walk closures = {.env = env};
    struct ast_visitor v = {.ctx = &closures, .term = visit_closure};
    ast_visit_expr(e, &v);
    struct type_errors refs = {0}, own = {0};
    type_check_refs(env, e, &refs);
    check_call_and_withs(env, e, &own);
    append_errors(a, errors, &closures.errors);
    append_errors(a, errors, &refs);
    bool explained = closures.errors.n || refs.n;
    if (own.n && !(explained && own.items[0].unknown)) append_errors(a, errors, &own);
}

bool check_types_body(struct type_env *env, const struct body *body, struct type_errors *errors) {
    struct type_errors local = {0};
    struct type_errors *found = errors ? errors : &local;
    uint32_t before = found->n;
    if (++env->checker->body_checks > MAX_BODY_CHECKS) return true;
    for (uint32_t i = 0; i < body->n; i++) check_types_expr(env, body->items[i], found);
    return found->n == before;
}

/* ---- Rules ---- */

static bool visit_argument(void *ctx, struct term *t) {
    struct type_env *env = ctx;
    if (t->kind == TERM_VAR && !env_type(env, t)) env_put_var(env, t, &type_any);
    return true;
}

static const struct type *type_of_function(struct type_env *env, const struct head *head) {
    struct arena *a = env->checker->arena;
    const struct type **args = ARENA_ARRAY(a, const struct type *, head->args.n);
    struct ast_visitor v = {.ctx = env, .term = visit_argument};
    for (uint32_t i = 0; i < head->args.n; i++) ast_visit_term(head->args.items[i], &v);
    for (uint32_t i = 0; i < head->args.n; i++) args[i] = env_type(env, head->args.items[i]);
    const struct type *result = head->value ? env_type(env, head->value) : NULL;
    return type_function(a, args, head->args.n, result ? result : &type_any, NULL);
}

/* Objects around t, one for each element of the path; NULL when a key's type is not known. */
static const struct type *nested_object(struct type_env *env, struct term *const *path, uint32_t n,
                                        const struct type *t) {
    for (uint32_t i = n; i-- > 0 && t;) {
        const struct type *key = env_type(env, path[i]);
        t = key ? type_object(env->checker->arena, NULL, 0, true, key, t) : NULL;
    }
    return t;
}

static const struct type *type_of_document(struct type_env *env, const struct head *head) {
    if (head->value) return env_type(env, head->value);
    const struct type *of = head->key ? env_type(env, head->key) : NULL;
    return of ? type_set(env->checker->arena, of) : NULL;
}

static void check_types_rule(struct type_checker *tc, const struct rule *rule,
                             struct type_errors *errors) {
    const struct term *path = type_rule_path(rule);
    uint32_t ground = ref_ground_prefix(path);
    struct type_env *env = env_new(tc, tc->global);
    tc->body = &rule->body;
    if (!check_types_body(env, &rule->body, errors)) {
        node_put(tc->arena, tc->global->tree, path->list.items, path->list.n, &type_any);
        return;
    }
    const struct type *t;
    if (rule->head->args.n)
        t = type_of_function(env, rule->head);
    else
        t = nested_object(env, path->list.items + ground, path->list.n - ground,
                          type_of_document(env, rule->head));
    if (t) env_insert(tc->global, path->list.items, ground, t);
}

/* ---- The stage ---- */

static void put_builtins(struct type_checker *tc, struct type_env *env) {
    for (uint32_t i = 0; builtin_at(i); i++) {
        const struct builtin *b = builtin_at(i);
        const struct term *ref = term_ref_c(tc->arena, b->name, (struct loc){0});
        const struct type *t = type_parse(tc->arena, b->type);
        node_put(tc->arena, env->tree, ref->list.items, ref->list.n, t ? t : &type_any);
    }
}

static int compare_errors(const void *a, const void *b) {
    const struct type_error *x = a, *y = b;
    int order = str_cmp(x->loc.file, y->loc.file);
    if (order) return order;
    if (x->loc.row != y->loc.row) return x->loc.row < y->loc.row ? -1 : 1;
    if (x->loc.col != y->loc.col) return x->loc.col < y->loc.col ? -1 : 1;
    return str_cmp(x->message, y->message);
}

static void report(struct compile *c, struct type_errors *errors) {
    uint32_t before = c->diags.n + c->diags.dropped;
    if (errors->n > 1) qsort(errors->items, errors->n, sizeof(errors->items[0]), compare_errors);
    for (uint32_t i = 0; i < errors->n; i++)
        diag_add(&c->diags, DIAG_TYPE, errors->items[i].loc, "%.*s",
                 STR_FMT(errors->items[i].message));
    c->check->priv->n_recoverable += c->diags.n + c->diags.dropped - before;
}

void check_types(struct compile *c) {
    struct type_checker tc = {.compile = c, .arena = &c->arena, .graph = type_graph_new(c)};
    struct type_errors errors = {0};
    table_init(&tc.with_trees, tc.arena);
    struct type_env *builtins = env_new(&tc, NULL);
    put_builtins(&tc, builtins);
    tc.global = env_new(&tc, builtins);
    const struct rule_list *order = type_graph_order(tc.graph);
    for (uint32_t i = 0; i < order->n; i++) check_types_rule(&tc, order->items[i], &errors);
    tc.body = &c->query;
    if (c->query.n) check_types_body(env_new(&tc, tc.global), &c->query, &errors);
    report(c, &errors);
}
