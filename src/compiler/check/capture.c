/* Rewrites a query so that the value of each of its expressions can be shown, as `opa eval` does.
 * in: the query after names are resolved. out: c->captures, ^termN variables. owns: nothing. */
#include "compiler/builtin.h"
#include "compiler/check/check.h"

static bool visit_iterates(void *ctx, struct term *t) {
    if (t->kind == TERM_VAR && !str_is(t->text, "data") && !str_is(t->text, "input")) *(bool *)ctx = true;
    return t->kind != TERM_ARRAY_COMPR && t->kind != TERM_SET_COMPR && t->kind != TERM_OBJECT_COMPR;
}

/* Does the query have a ref with a variable in it? Then a false value is left out instead of shown. */
static bool visit_ref(void *ctx, struct term *t) {
    if (t->kind != TERM_REF) return true;
    struct ast_visitor inner = {.ctx = ctx, .term = visit_iterates};
    for (uint32_t i = 1; i < t->list.n; i++) ast_visit_term(t->list.items[i], &inner);
    return true;
}

static bool is_call_of(const struct expr *e, struct arena *a, const char *name) {
    return e->kind == EXPR_CALL && str_is(ref_dotted(a, e->call.items[0]), name);
}

/* True when the call has a result that it does not bind itself yet. */
static bool has_open_result(struct compile *c, const struct expr *e) {
    const struct term *op = e->call.items[0];
    const struct builtin *b = builtin_find(ref_dotted(&c->arena, op));
    if (b) return !b->is_void && !b->variadic && e->call.n - 1 == b->arity;
    struct rule_node *node = c->check->rule_tree ? rule_tree_find(c->check->rule_tree, op) : NULL;
    return node && node->rules.n && node->rules.items[0]->head->args.n == e->call.n - 1;
}

static struct term *capture_var(struct compile *c, const struct expr *e, uint32_t n) {
    size_t len = 0;
    char *name = arena_printf(&c->arena, &len, "^term%u", n);
    return term_var(&c->arena, (struct str){name, len}, e->loc);
}

static struct str expr_text(const struct compile *c, const struct expr *e) {
    struct str source = c->request->query;
    return e->loc.offset + e->loc.len <= source.len ? (struct str){source.ptr + e->loc.offset, e->loc.len}
                                                    : (struct str){"", 0};
}

/* The variable that takes the expression's value, or NULL when it has none to show. */
static struct term *capture(struct compile *c, struct expr *e, uint32_t n) {
    struct arena *a = &c->arena;
    if (e->negated) return NULL;
    if (e->kind == EXPR_TERM) {
        struct term *var = capture_var(c, e, n), *args[] = {e->term, var};
        struct expr *eq = expr_call_c(a, "eq", e->loc, args, 2);
        e->kind = EXPR_CALL;
        e->call = eq->call;
        e->term = NULL;
        return var;
    }
    if (e->kind != EXPR_CALL || is_call_of(e, a, "eq") || is_call_of(e, a, "assign")) return NULL;
    if (!has_open_result(c, e)) return NULL;
    struct term *var = capture_var(c, e, n);
    ARENA_PUSH(a, &e->call, var);
    return var;
}

/* `some x` only declares; `some x in xs` asks, and its answer is shown. */
static bool is_declaration(const struct expr *e) {
    return e->kind == EXPR_SOME && e->call.n > 0 && e->call.items[0]->kind == TERM_VAR;
}

void check_capture_values(struct compile *c) {
    if (!c->request->capture_values || !c->request->query.ptr) return;
    bool iterates = c->query.n > 1;
    struct ast_visitor v = {.ctx = &iterates, .term = visit_ref};
    if (!iterates) ast_visit_body(&c->query, &v);
    for (uint32_t i = 0, n = c->query.n; i < n; i++) {
        struct expr *e = c->query.items[i];
        if (e->generated || is_declaration(e)) continue;
        struct capture shown = {.text = expr_text(c, e), .row = e->loc.row, .col = e->loc.col};
        struct term *var = capture(c, e, i + 1);
        if (var) shown.var = var->text;
        ARENA_PUSH(&c->arena, &c->captures, shown);
        if (!var || !iterates) continue;
        struct expr *holds = expr_new(&c->arena, EXPR_TERM, e->loc);
        holds->term = term_copy(&c->arena, var);
        holds->generated = true;
        ARENA_PUSH(&c->arena, &c->query, holds);
    }
}
