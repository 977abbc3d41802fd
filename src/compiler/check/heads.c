/* Moves what has to be evaluated out of rule heads into bodies: `p[x.y] := f[z]` gets variables.
 * in: resolved rules. out: heads of scalars, variables and patterns. owns: nothing. */
#include "compiler/check/check_private.h"

/* Replaces *t by a variable that the body binds to it. */
static void hoist(struct check_private *k, struct rule *r, struct term **t) {
    struct expr *e = gen_equality(k, &k->gen, *t);
    *t = expr_operand(e, 0);
    body_append(k, &r->body, e);
}

void check_rule_head_refs(struct compile *c) {
    struct check_private *k = c->check->priv;
    for (uint32_t m = 0; m < c->modules.n; m++)
        for (uint32_t i = 0; i < c->modules.items[m]->rules.n; i++) {
            struct rule *r = c->modules.items[m]->rules.items[i];
            struct term_list *ref = &r->head->ref->list;
            for (uint32_t j = 1; j < ref->n; j++)
                if (ref->items[j]->kind != TERM_VAR && !term_is_scalar(ref->items[j]))
                    hoist(k, r, &ref->items[j]);
            rule_set_path(k, r);
        }
}

static void hoist_refs(void *ctx, struct rule *r) {
    struct check_private *k = ctx;
    struct head *h = r->head;
    if (term_requires_eval(h->key)) hoist(k, r, &h->key);
    if (term_requires_eval(h->value)) hoist(k, r, &h->value);
    for (uint32_t i = 0; i < h->args.n; i++)
        if (term_requires_eval(h->args.items[i])) hoist(k, r, &h->args.items[i]);
}

void check_rewrite_refs_in_head(struct compile *c) { each_rule(c, hoist_refs, c->check->priv); }
