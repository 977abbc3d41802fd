/* Takes a query through the stages that bodies of rules go through, and OPA's in its order.
 * in: the parsed query, checked modules. out: c->query ready for types and planning. owns: nothing.
 */
#include "compiler/check/check_private.h"

static void resolve(struct check_private *k, struct body *b) {
    resolve_query(k, b);
    check_capture_values(k->c);
}
static void overrides(struct check_private *k, struct body *b) {
    if (k->c->request->strict) keyword_overrides_in_body(k, b);
}
static void expr_terms(struct check_private *k, struct body *b) {
    rewrite_expr_terms_in_body(k, &k->query_gen, b);
}
static void comprehension_terms(struct check_private *k, struct body *b) {
    rewrite_comprehension_terms_in_body(k, &k->query_gen, b);
}
static void with_values(struct check_private *k, struct body *b) {
    rewrite_with_in_body(k, &k->query_gen, b);
}
static void dynamic_terms(struct check_private *k, struct body *b) {
    rewrite_dynamics_in_body(k, &k->query_gen, b);
}

static bool take_local_name(void *ctx, struct term *t) {
    struct check_private *k = ctx;
    if (t->kind == TERM_VAR && var_is_generated(t->text)) varset_add(&k->query_gen.taken, t->text);
    return true;
}

void check_query(struct compile *c) {
    static void (*const stages[])(struct check_private *, struct body *) = {
        overrides,
        resolve,
        rewrite_locals_in_query,
        rewrite_templates_in_query,
        void_calls_in_body,
        rewrite_print_in_query,
        expr_terms,
        comprehension_terms,
        with_values,
        undefined_functions_in_body,
        safety_of_query,
        dynamic_terms,
    };
    struct check_private *k = c->check->priv;
    if (!c->request->query.ptr) return;
    struct ast_visitor v = {.ctx = k, .term = take_local_name};
    ast_visit_body(&c->query, &v);
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        stages[i](k, &c->query);
        if (c->diags.n) return;
    }
}
