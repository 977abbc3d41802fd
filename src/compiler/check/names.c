/* Checks that names do not hide input and data, and that no two imports share one.
 * in: resolved modules. out: errors; imports are dropped. owns: nothing. */
#include "compiler/check/check_private.h"

static bool name_is_root(struct str name) { return str_is(name, "data") || str_is(name, "input"); }

static bool override_in_expr(void *ctx, struct expr *e) {
    struct check_private *k = ctx;
    if (!expr_is_assign(e)) return true;
    const struct term *t = expr_operand(e, 0);
    if (!t || !(term_is_root_document(t) || (t->kind == TERM_VAR && name_is_root(t->text))))
        return true;
    check_recoverable(k, DIAG_COMPILE, e->loc,
                      "variables must not shadow %.*s (use a different variable name)",
                      STR_FMT(check_text(k, t)));
    return true;
}

void keyword_overrides_in_body(struct check_private *k, struct body *b) {
    struct ast_visitor v = {.ctx = k, .expr = override_in_expr};
    ast_visit_body(b, &v);
}

static void override_in_head(struct check_private *k, const struct rule *r) {
    struct str name = r->head->ref->list.items[0]->text;
    if (name_is_root(name))
        check_recoverable(k, DIAG_COMPILE, r->loc,
                          "rules must not shadow %.*s (use a different rule name)", STR_FMT(name));
    for (uint32_t i = 0; i < r->head->args.n; i++) {
        const struct term *arg = r->head->args.items[i];
        if (term_is_root_document(arg))
            check_recoverable(k, DIAG_COMPILE, arg->loc,
                              "args must not shadow %.*s (use a different variable name)",
                              STR_FMT(check_text(k, arg)));
    }
}

/* These rules hold from Rego v1 on; strict mode applies them to older modules too. */
static bool is_checked(const struct compile *c, const struct module *m) {
    return c->request->strict || m->version != REGO_V0;
}

void check_keyword_overrides(struct compile *c) {
    struct check_private *k = c->check->priv;
    struct ast_visitor v = {.ctx = k, .expr = override_in_expr};
    for (uint32_t m = 0; m < c->modules.n; m++) {
        struct module *mod = c->modules.items[m];
        for (uint32_t i = 0; is_checked(c, mod) && i < mod->rules.n; i++) {
            override_in_head(k, mod->rules.items[i]);
            visit_rule(mod->rules.items[i], &v);
        }
    }
}

/* ---- Imports ---- */

static struct str import_name(const struct import *i) {
    return i->alias.ptr ? i->alias : i->path->list.items[i->path->list.n - 1]->text;
}

static void check_import(struct check_private *k, const struct import_list *l, uint32_t at) {
    for (uint32_t i = 0; i < at; i++) {
        if (!str_eq(import_name(&l->items[i]), import_name(&l->items[at]))) continue;
        struct str alias = l->items[i].alias;
        check_recoverable(
            k, DIAG_COMPILE, l->items[at].loc, "import must not shadow import %.*s%s%.*s",
            STR_FMT(check_text(k, l->items[i].path)), alias.ptr ? " as " : "", STR_FMT(alias));
        return;
    }
}

void check_duplicate_imports(struct compile *c) {
    for (uint32_t m = 0; m < c->modules.n; m++) {
        const struct module *mod = c->modules.items[m];
        for (uint32_t i = 1; is_checked(c, mod) && i < mod->imports.n; i++)
            check_import(c->check->priv, &mod->imports, i);
    }
}
