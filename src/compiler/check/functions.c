/* Checks that every call names a function and gives it as many operands as it takes.
 * in: flat bodies and the rule tree. out: errors. owns: nothing. */
#include "compiler/check/check_private.h"

static void arity_error(struct check_private *k, const struct expr *e, uint32_t want,
                        uint32_t have) {
    struct str name = check_user_text(k, e->call.items[0]);
    if (ref_builtin(e->call.items[0]))
        diag_add(&k->c->diags, DIAG_TYPE, e->loc, "%.*s: arity mismatch", STR_FMT(name));
    else
        diag_add(&k->c->diags, DIAG_TYPE, e->loc, "function %.*s has arity %u, got %u argument%s",
                 STR_FMT(name), want, have, have == 1 ? "" : "s");
}

static bool check_call(void *ctx, struct expr *e) {
    struct check_private *k = ctx;
    if (e->kind != EXPR_CALL) return true;
    int found = ref_arity(k, e->call.items[0]);
    if (found < 0) {
        diag_add(&k->c->diags, DIAG_TYPE, e->loc, "undefined function %.*s",
                 STR_FMT(check_user_text(k, e->call.items[0])));
        return false;
    }
    uint32_t arity = (uint32_t)found, operands = e->call.n - 1;
    bool output_only = e->generated; /* the result was added as last operand */
    if (output_only ? expr_is_eq(e) || operands == arity + 1
                    : operands == arity || operands == arity + 1)
        return true;
    arity_error(k, e, arity, output_only ? operands - 1 : operands);
    return false;
}

void undefined_functions_in_body(struct check_private *k, struct body *b) {
    struct ast_visitor v = {.ctx = k, .expr = check_call};
    ast_visit_body(b, &v);
}

void check_undefined_functions(struct compile *c) {
    struct ast_visitor v = {.ctx = c->check->priv, .expr = check_call};
    visit_modules(c, &v);
}
