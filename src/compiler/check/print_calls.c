/* Void builtins must not be used as values; print() is erased, or its operands wrapped in
 * comprehensions so that an undefined one does not end the body. in: bodies without template
 * strings. out: print gone or internal.print([{…}]). owns: nothing. */
#include "compiler/check/check_private.h"

/* ---- Void calls ---- */

static bool void_call(void *ctx, struct term *t) {
    struct check_private *k = ctx;
    const struct builtin *b = t->kind == TERM_CALL ? ref_builtin(t->list.items[0]) : NULL;
    if (b && b->is_void)
        diag_add(&k->c->diags, DIAG_TYPE, t->loc, "%.*s used as value", STR_FMT(check_text(k, t)));
    return true;
}

void void_calls_in_body(struct check_private *k, struct body *b) {
    struct ast_visitor v = {.ctx = k, .term = void_call};
    ast_visit_body(b, &v);
}

void check_void_calls(struct compile *c) {
    struct ast_visitor v = {.ctx = c->check->priv, .term = void_call};
    visit_modules(c, &v);
}

/* ---- Erasing ---- */

static bool is_print(const struct expr *e) { return call_is(e, "print"); }

static void erase_in_body(struct check_private *k, struct body *b) {
    uint32_t n = 0;
    if (!b->n) return;
    struct loc loc = b->items[0]->loc;
    for (uint32_t i = 0; i < b->n; i++)
        if (!is_print(b->items[i])) b->items[n++] = b->items[i];
    b->n = n;
    if (!n) ARENA_PUSH(k->a, b, expr_true(k, loc));
}

static bool erase_in_term(void *ctx, struct term *t) {
    if (term_is_comprehension(t)) erase_in_body(ctx, &t->body);
    return true;
}

static bool erase_in_expr(void *ctx, struct expr *e) {
    switch (e->kind) {
    case EXPR_TERM:
    case EXPR_CALL:
    case EXPR_SOME: break;
    case EXPR_EVERY:
    case EXPR_NOT: erase_in_body(ctx, &e->body); break;
    case EXPR_AND:
    case EXPR_OR:
        erase_in_body(ctx, &e->lhs);
        erase_in_body(ctx, &e->rhs);
        break;
    }
    return true;
}

static void erase_in_clause(void *ctx, struct rule *r) {
    struct ast_visitor v = {.ctx = ctx, .term = erase_in_term, .expr = erase_in_expr};
    erase_in_body(ctx, &r->body);
    visit_head(r->head, &v, true);
    ast_visit_body(&r->body, &v);
}

/* ---- Wrapping ---- */

struct prints {
    struct check_private *k;
    struct local_gen *gen;
    const struct varset *globals; /* bound outside the body */
};

static void prints_in_body(struct prints *p, struct body *b);

struct nested {
    struct prints *p;
    struct varset *safe;
};

static void prints_nested(struct nested *n, struct body *b) {
    struct prints inner = {n->p->k, n->p->gen, n->safe};
    prints_in_body(&inner, b);
}

static bool nested_term(void *ctx, struct term *t) {
    struct nested *n = ctx;
    if (!term_is_comprehension(t)) return true;
    prints_nested(n, &t->body);
    return false;
}

static void prints_in_every(struct nested *n, struct expr *e) {
    struct ast_visitor v = {.ctx = n, .term = nested_term};
    ast_visit_term(e->domain, &v);
    if (e->key) vars_of_term(n->p->k, VARS_ALL, e->key, n->safe);
    vars_of_term(n->p->k, VARS_ALL, e->value, n->safe);
    prints_nested(n, &e->body);
}

static bool nested_expr(void *ctx, struct expr *e) {
    struct nested *n = ctx;
    switch (e->kind) {
    case EXPR_TERM:
    case EXPR_CALL:
    case EXPR_SOME: return true;
    case EXPR_EVERY: prints_in_every(n, e); break;
    case EXPR_NOT: prints_nested(n, &e->body); break;
    case EXPR_AND:
    case EXPR_OR:
        prints_nested(n, &e->lhs);
        prints_nested(n, &e->rhs);
        break;
    }
    return false;
}

/* What is bound before expression i; generated variables always count. */
static void bound_before(struct prints *p, const struct body *b, uint32_t i, struct varset *safe) {
    struct varset *all = varset_take(&p->k->pool);
    outputs_of_body(p->k, b, i, p->globals, safe);
    varset_update(safe, p->globals);
    for (uint32_t j = 0; j < i; j++) vars_of_expr(p->k, VARS_ALL, b->items[j], all);
    for (uint32_t j = 0; is_print(b->items[i]) && j < all->n; j++)
        if (var_is_generated(all->items[j].name)) varset_add(safe, all->items[j].name);
    varset_put(&p->k->pool, all);
}

static bool operand_is_bound(struct prints *p, const struct term *t, const struct varset *safe) {
    struct varset *vars = varset_take(&p->k->pool);
    vars_of_term(p->k, VARS_SAFETY, t, vars);
    varset_subtract(vars, safe);
    bool ok = !vars->live;
    for (uint32_t i = 0; i < vars->n; i++)
        if (vars->items[i].live)
            diag_add(&p->k->c->diags, DIAG_COMPILE, t->loc, "var %.*s is undeclared",
                     STR_FMT(shown_name(user_name(p->k, vars->items[i].name))));
    varset_put(&p->k->pool, vars);
    return ok;
}

/* print(x, y) becomes internal.print([{a | a = x}, {b | b = y}]). False when an operand is not
 * bound. */
static bool wrap_print(struct prints *p, struct expr *e, const struct varset *safe) {
    struct arena *a = p->k->a;
    bool ok = true;
    for (uint32_t i = 1; i < e->call.n; i++) ok = operand_is_bound(p, e->call.items[i], safe) && ok;
    if (!ok) return false;
    struct term *list = term_new(a, TERM_ARRAY, e->loc);
    for (uint32_t i = 1; i < e->call.n; i++) {
        struct expr *eq = gen_equality(p->k, p->gen, e->call.items[i]);
        eq->generated = false;
        struct term *set = term_new(a, TERM_SET_COMPR, eq->loc);
        set->value = term_copy(a, expr_operand(eq, 0));
        ARENA_PUSH(a, &set->body, eq);
        ARENA_PUSH(a, &list->list, set);
    }
    e->call = expr_call_c(a, "internal.print", e->loc, &list, 1)->call;
    return true;
}

/* As OPA, names the first print of a body that is in error, inner bodies before outer ones. */
static void prints_in_body(struct prints *p, struct body *b) {
    struct varset *safe = varset_take(&p->k->pool);
    uint32_t before = p->k->c->diags.n;
    bool ok = true;
    for (uint32_t i = 0; i < b->n && p->k->c->diags.n == before; i++) {
        struct nested n = {p, safe};
        struct ast_visitor v = {.ctx = &n, .term = nested_term, .expr = nested_expr};
        varset_clear(safe);
        bound_before(p, b, i, safe);
        ast_visit_expr(b->items[i], &v);
    }
    ok = p->k->c->diags.n == before;
    for (uint32_t i = 0; ok && i < b->n; i++) {
        if (!is_print(b->items[i])) continue;
        varset_clear(safe);
        bound_before(p, b, i, safe);
        ok = wrap_print(p, b->items[i], safe);
    }
    varset_put(&p->k->pool, safe);
}

static void prints_in_clause(void *ctx, struct rule *r) {
    struct check_private *k = ctx;
    struct varset *globals = varset_take(&k->pool), *safe = varset_take(&k->pool);
    varset_update(globals, &k->reserved);
    for (uint32_t i = 0; i < r->head->args.n; i++)
        vars_of_term(k, VARS_ALL, r->head->args.items[i], globals);
    varset_update(safe, globals);
    struct prints p = {k, &k->gen, globals};
    struct nested n = {&p, safe};
    struct ast_visitor v = {.ctx = &n, .term = nested_term, .expr = nested_expr};
    visit_head(r->head, &v, true);
    prints_in_body(&p, &r->body);
    varset_put(&k->pool, safe);
    varset_put(&k->pool, globals);
}

void check_rewrite_print_calls(struct compile *c) {
    each_rule(c, c->request->keep_print ? prints_in_clause : erase_in_clause, c->check->priv);
}

void rewrite_print_in_query(struct check_private *k, struct body *b) {
    if (k->c->request->keep_print) {
        struct prints p = {k, &k->query_gen, &k->reserved};
        prints_in_body(&p, b);
        return;
    }
    struct ast_visitor v = {.ctx = k, .term = erase_in_term, .expr = erase_in_expr};
    erase_in_body(k, b);
    ast_visit_body(b, &v);
}
