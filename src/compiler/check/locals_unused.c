/* Reports variables that are declared, or in strict mode assigned, and never used.
 * in: a scope and its rewritten body. out: recoverable errors. owns: nothing. */
#include "compiler/check/locals.h"

static void report(struct locals *l, const struct local *v, const char *how) {
    l->n_unused++;
    check_recoverable(l->k, DIAG_COMPILE, v->statement, "%s var %.*s unused", how,
                      STR_FMT(v->name));
}

static bool is_used(const struct locals *l, const struct local *v, const struct varset *used) {
    const struct local *seen = locals_find(l, v->name);
    return varset_has(used, v->generated) || (varset_has(used, v->name) && seen == v);
}

static void check_assigned(struct locals *l, const struct varset *used) {
    const struct table *t = &l->scope->locals;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct local *v = t->entries[i].value;
        if (v->occurrence != VAR_ASSIGNED || v->count > 1 || var_is_wildcard(v->name)) continue;
        if (!is_used(l, v, used)) report(l, v, "assigned");
    }
}

static bool has_declared(const struct locals *l) {
    const struct table *t = &l->scope->locals;
    for (uint32_t i = 0; i < t->n; i++)
        if (((const struct local *)t->entries[i].value)->occurrence == VAR_DECLARED) return true;
    return false;
}

static void check_declared(struct locals *l, const struct body *b, const struct varset *used) {
    const struct table *t = &l->scope->locals;
    struct varset *in_body = varset_take(&l->k->pool);
    vars_of_body(l->k, VARS_ALL, b, in_body);
    for (uint32_t i = 0; i < t->n; i++) {
        const struct local *v = t->entries[i].value;
        if (v->occurrence != VAR_DECLARED || var_is_generated(v->name)) continue;
        if (!varset_has(in_body, v->generated) && !is_used(l, v, used)) report(l, v, "declared");
    }
    varset_put(&l->k->pool, in_body);
}

void locals_check_unused(struct locals *l, const struct body *b, const struct varset *used) {
    if (l->strict && !l->n_errors && !l->n_unused) check_assigned(l, used);
    if (!l->n_errors && !l->n_unused && has_declared(l)) check_declared(l, b, used);
}
