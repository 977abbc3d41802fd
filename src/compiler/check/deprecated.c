/* Reports calls of builtins that OPA has deprecated.
 * in: modules whose calls are resolved and flat.
 * out: rego_type_error diagnostics, for Rego v1 modules and in strict mode.
 * owns: nothing. */
#include "compiler/check/check_private.h"

struct deprecated_walk {
    struct check_private *k;
};

static void check_operator(struct check_private *k, const struct term *op, struct loc loc) {
    if (op->kind != TERM_REF) return;
    const struct builtin *b = builtin_find(ref_dotted(k->a, op));
    if (b && (b->flags & BUILTIN_DEPRECATED))
        check_recoverable(k, DIAG_TYPE, loc, "deprecated built-in function calls in expression: %s",
                          b->name);
}

static bool visit_expr(void *ctx, struct expr *e) {
    struct deprecated_walk *w = ctx;
    if (e->kind == EXPR_CALL && e->call.n) check_operator(w->k, e->call.items[0], e->loc);
    return true;
}

static bool visit_term(void *ctx, struct term *t) {
    struct deprecated_walk *w = ctx;
    if (t->kind == TERM_CALL && t->list.n)
        check_operator(w->k, t->list.items[0], t->list.items[0]->loc);
    return true;
}

void check_deprecated_builtins(struct compile *c) {
    struct deprecated_walk w = {c->check->priv};
    struct ast_visitor v = {.ctx = &w, .term = visit_term, .expr = visit_expr};
    for (uint32_t i = 0; i < c->modules.n; i++) {
        const struct module *m = c->modules.items[i];
        if (!c->request->strict && m->version == REGO_V0) continue;
        for (uint32_t j = 0; j < m->rules.n; j++) visit_rule(m->rules.items[j], &v);
    }
    if (c->request->strict) ast_visit_body(&c->query, &v);
}
