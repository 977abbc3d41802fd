/* Collects the variables below a node, with switches for what is left out.
 * in: terms, expressions, bodies. out: variable sets. owns: nothing. */
#include "compiler/check/check_private.h"

static void promoted_vars(struct check_private *k, const struct body *b, struct varset *into);

static void vars_of_list(struct check_private *k, unsigned flags, const struct term_list *l,
                         uint32_t from, struct varset *into) {
    for (uint32_t i = from; i < l->n; i++) vars_of_term(k, flags, l->items[i], into);
}

/* Operator and operands of a call, as term or expression. */
static void vars_of_call(struct check_private *k, unsigned flags, const struct term_list *call,
                         struct varset *into) {
    const struct term *op = call->items[0];
    if (!(flags & VARS_SKIP_CALL_HEAD))
        vars_of_term(k, flags, op, into);
    else if (op->kind == TERM_REF)
        vars_of_list(k, flags, &op->list, 1, into);
    vars_of_list(k, flags, call, 1, into);
}

static void vars_of_object(struct check_private *k, unsigned flags, const struct term *t,
                           struct varset *into) {
    bool keys = !(flags & VARS_SKIP_OBJECT_KEYS);
    for (uint32_t i = 0; i + 1 < t->list.n; i += 2) {
        if (keys) vars_of_term(k, flags, t->list.items[i], into);
        vars_of_term(k, flags, t->list.items[i + 1], into);
    }
}

void vars_of_term(struct check_private *k, unsigned flags, const struct term *t,
                  struct varset *into) {
    switch (t->kind) {
    case TERM_NULL:
    case TERM_BOOLEAN:
    case TERM_NUMBER:
    case TERM_STRING: return;
    case TERM_VAR: varset_add_at(into, t->text, t->loc); return;
    case TERM_REF:
        vars_of_list(k, flags, &t->list, flags & VARS_SKIP_REF_HEAD ? 1 : 0, into);
        return;
    case TERM_ARRAY: vars_of_list(k, flags, &t->list, 0, into); return;
    case TERM_SET:
        if (!(flags & VARS_SKIP_SETS)) vars_of_list(k, flags, &t->list, 0, into);
        return;
    case TERM_OBJECT: vars_of_object(k, flags, t, into); return;
    case TERM_CALL: vars_of_call(k, flags, &t->list, into); return;
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR:
        if (flags & VARS_SKIP_CLOSURES) return;
        if (t->key) vars_of_term(k, flags, t->key, into);
        vars_of_term(k, flags, t->value, into);
        vars_of_body(k, flags, &t->body, into);
        return;
    case TERM_TEMPLATE_STRING:
        if (!(flags & VARS_SKIP_CLOSURES)) vars_of_body(k, flags, &t->parts, into);
        return;
    }
}

void vars_of_with(struct check_private *k, unsigned flags, const struct with *w,
                  struct varset *into) {
    if (!(flags & VARS_SKIP_CALL_HEAD)) {
        vars_of_term(k, flags, w->target, into);
        vars_of_term(k, flags, w->value, into);
        return;
    }
    if (w->target->kind == TERM_REF) vars_of_list(k, flags, &w->target->list, 1, into);
    if (w->value->kind == TERM_REF)
        vars_of_list(k, flags, &w->value->list, 1, into);
    else
        vars_of_term(k, flags, w->value, into);
}

/* The bodies of not, and, or: promoted, skipped or entered. */
static void vars_of_operand(struct check_private *k, unsigned flags, const struct body *b,
                            bool explicit_body, struct varset *into) {
    if (flags & VARS_PROMOTE) {
        if (!explicit_body) promoted_vars(k, b, into);
    } else if (!(flags & VARS_SKIP_CLOSURES)) {
        vars_of_body(k, flags, b, into);
    }
}

static void vars_of_every(struct check_private *k, unsigned flags, const struct expr *e,
                          struct varset *into) {
    if (e->key) vars_of_term(k, flags, e->key, into);
    vars_of_term(k, flags, e->value, into);
    vars_of_term(k, flags, e->domain, into);
    vars_of_body(k, flags, &e->body, into);
}

void vars_of_expr(struct check_private *k, unsigned flags, const struct expr *e,
                  struct varset *into) {
    switch (e->kind) {
    case EXPR_TERM: vars_of_term(k, flags, e->term, into); break;
    case EXPR_CALL: vars_of_call(k, flags, &e->call, into); break;
    case EXPR_SOME: vars_of_list(k, flags, &e->call, 0, into); break;
    case EXPR_EVERY:
        if (flags & VARS_SKIP_CLOSURES) {
            vars_of_term(k, flags, e->domain, into);
            return;
        }
        vars_of_every(k, flags, e, into);
        break;
    case EXPR_NOT: vars_of_operand(k, flags, &e->body, e->explicit_lhs, into); break;
    case EXPR_AND:
    case EXPR_OR:
        vars_of_operand(k, flags, &e->lhs, e->explicit_lhs, into);
        vars_of_operand(k, flags, &e->rhs, e->explicit_rhs, into);
        break;
    }
    for (uint32_t i = 0; i < e->with.n; i++) vars_of_with(k, flags, &e->with.items[i], into);
}

void vars_of_body(struct check_private *k, unsigned flags, const struct body *b,
                  struct varset *into) {
    for (uint32_t i = 0; i < b->n; i++) vars_of_expr(k, flags, b->items[i], into);
}

/* ---- Closures ---- */

struct closure_walk {
    struct check_private *k;
    struct varset *into;
};

static bool closure_term(void *ctx, struct term *t) {
    struct closure_walk *w = ctx;
    if (!term_is_comprehension(t)) return true;
    vars_of_term(w->k, VARS_ALL, t, w->into);
    return false;
}

static bool closure_expr(void *ctx, struct expr *e) {
    struct closure_walk *w = ctx;
    switch (e->kind) {
    case EXPR_TERM:
    case EXPR_CALL:
    case EXPR_SOME: return true;
    case EXPR_EVERY:
    case EXPR_NOT: vars_of_body(w->k, VARS_ALL, &e->body, w->into); break;
    case EXPR_AND:
    case EXPR_OR:
        vars_of_body(w->k, VARS_ALL, &e->lhs, w->into);
        vars_of_body(w->k, VARS_ALL, &e->rhs, w->into);
        break;
    }
    return false;
}

void vars_in_closures(struct check_private *k, const struct expr *e, struct varset *into) {
    struct closure_walk w = {k, into};
    struct ast_visitor v = {.ctx = &w, .term = closure_term, .expr = closure_expr};
    ast_visit_expr((struct expr *)e, &v);
}

/* ---- Declared variables ---- */

static void declared_by_some(struct check_private *k, const struct expr *e, struct varset *into) {
    for (uint32_t i = 0; i < e->call.n; i++) {
        const struct term *t = e->call.items[i];
        if (t->kind == TERM_VAR) varset_add(into, t->text);
        if (t->kind != TERM_CALL) continue;
        for (uint32_t j = 1; j + 1 < t->list.n; j++)
            vars_of_term(k, VARS_ALL, t->list.items[j], into);
    }
}

static bool declaring_term(void *ctx, struct term *t) {
    (void)ctx;
    return !term_is_comprehension(t);
}

static bool declaring_expr(void *ctx, struct expr *e) {
    struct closure_walk *w = ctx;
    if (expr_is_assign(e) && eq_has_two_operands(e))
        vars_of_term(w->k, VARS_ALL, expr_operand(e, 0), w->into);
    else if (e->kind == EXPR_SOME)
        declared_by_some(w->k, e, w->into);
    return true;
}

void vars_declared_by_expr(struct check_private *k, const struct expr *e, struct varset *into) {
    struct closure_walk w = {k, into};
    struct ast_visitor v = {.ctx = &w, .term = declaring_term, .expr = declaring_expr};
    ast_visit_expr((struct expr *)e, &v);
}

void vars_declared(struct check_private *k, const struct body *b, struct varset *into) {
    for (uint32_t i = 0; i < b->n; i++) vars_declared_by_expr(k, b->items[i], into);
}

/* ---- Variables that an implicit operand takes from the enclosing body ---- */

/* Bound by an equality of the body, given that what no equality has as a side comes from outside.
 */
static void bound_by_equalities(struct check_private *k, const struct body *b,
                                const struct varset *all, struct varset *bound) {
    struct varset *safe = varset_take(&k->pool), *out = varset_take(&k->pool);
    varset_update(safe, &k->reserved);
    varset_update(safe, all);
    for (uint32_t i = 0; i < b->n; i++)
        for (uint32_t j = 0; expr_is_eq(b->items[i]) && j < 2; j++) {
            struct term *t = expr_operand(b->items[i], j);
            if (t && t->kind == TERM_VAR) varset_remove(safe, t->text);
        }
    for (uint32_t before = UINT32_MAX; before != bound->live;) {
        before = bound->live;
        for (uint32_t i = 0; i < b->n; i++) {
            if (!expr_is_eq(b->items[i])) continue;
            varset_clear(out);
            outputs_of_eq(k, b->items[i], safe, out);
            varset_update(bound, out);
            varset_update(safe, out);
        }
    }
    varset_put(&k->pool, out);
    varset_put(&k->pool, safe);
}

static void bound_by_calls(struct check_private *k, const struct body *b, struct varset *bound) {
    const unsigned flags =
        VARS_SKIP_CLOSURES | VARS_SKIP_SETS | VARS_SKIP_OBJECT_KEYS | VARS_SKIP_REF_HEAD;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct expr *e = b->items[i];
        if (e->kind != EXPR_CALL || expr_is_eq(e)) continue;
        int arity = ref_arity(k, e->call.items[0]);
        if (arity >= 0) vars_of_list(k, flags, &e->call, (uint32_t)arity + 1, bound);
    }
}

/* Variables that occur in one expression only, or that nothing in the body binds. */
static void promoted_vars(struct check_private *k, const struct body *b, struct varset *into) {
    struct varset *once = varset_take(&k->pool), *all = varset_take(&k->pool);
    struct varset *here = varset_take(&k->pool), *bound = varset_take(&k->pool);
    for (uint32_t i = 0; i < b->n; i++) {
        varset_clear(here);
        vars_of_expr(k, VARS_SAFETY, b->items[i], here);
        for (uint32_t j = 0; j < here->n; j++) {
            struct str name = here->items[j].name;
            if (varset_has(all, name))
                varset_remove(once, name);
            else
                varset_add(once, name);
            varset_add(all, name);
        }
    }
    if (b->n > 1) {
        bound_by_equalities(k, b, all, bound);
        bound_by_calls(k, b, bound);
    }
    for (uint32_t i = 0; i < all->n; i++) {
        struct str name = all->items[i].name;
        if (varset_has(once, name) || !varset_has(bound, name)) varset_add(into, name);
    }
    varset_put(&k->pool, bound);
    varset_put(&k->pool, here);
    varset_put(&k->pool, all);
    varset_put(&k->pool, once);
}
