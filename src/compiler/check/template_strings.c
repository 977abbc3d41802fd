/* Rewrites $"…{x}…" into internal.template_string(["…", {x}, "…"]): undefined parts become empty
 * sets. in: bodies with renamed locals. out: no template string is left. owns: nothing. */
#include "compiler/check/check_private.h"

struct templates {
    struct check_private *k;
    struct local_gen *gen;
    const struct varset *safe; /* variables that are bound where the template stands */
};

static void templates_in_body(struct templates *t, struct body *b);
static void templates_in_term(struct templates *t, struct term *x);

/* A rule without arguments that always has a value: a default, a partial set, or one constant. */
static bool is_known_defined(struct check_private *k, const struct term *ref) {
    const struct rule_node *n = rule_tree_find(k->c->check->rule_tree, ref);
    if (ref->list.n < 2 || !n || !n->rules.n) return false;
    const struct rule *first = n->rules.items[0];
    if (first->head->args.n) return false;
    if (rule_is_multi_value(first)) return true;
    for (uint32_t i = 0; i < n->rules.n; i++)
        if (n->rules.items[i]->is_default) return true;
    const struct term *v = first->head->value;
    return n->rules.n == 1 && body_is_true(&first->body) &&
           (term_is_constant(v) || v->kind == TERM_VAR);
}

static void check_part_vars(struct templates *t, const struct term *x) {
    struct varset *vars = varset_take(&t->k->pool);
    vars_of_term(t->k, VARS_SAFETY, x, vars);
    varset_subtract(vars, t->safe);
    for (uint32_t i = 0; i < vars->n; i++)
        if (vars->items[i].live)
            diag_add(&t->k->c->diags, DIAG_COMPILE, x->loc, "var %.*s is undeclared",
                     STR_FMT(shown_name(user_name(t->k, vars->items[i].name))));
    varset_put(&t->k->pool, vars);
}

static struct term *set_of(struct check_private *k, struct term *x) {
    struct term *set = term_new(k->a, TERM_SET, x->loc);
    ARENA_PUSH(k->a, &set->list, x);
    return set;
}

/* {v | v = x}: empty when x is undefined. */
static struct term *capture_part(struct templates *t, struct term *x, const struct expr *part) {
    struct check_private *k = t->k;
    struct expr *eq = gen_equality(k, t->gen, x);
    eq->generated = false;
    eq->with = part->with;
    struct term *set = term_new(k->a, TERM_SET_COMPR, x->loc);
    set->value = term_copy(k->a, expr_operand(eq, 0));
    ARENA_PUSH(k->a, &set->body, eq);
    return set;
}

/* The value that a {…} part stands for, or NULL after an error. */
static struct term *part_term(struct templates *t, struct expr *part) {
    if (part->kind == EXPR_TERM) return part->term;
    if (part->kind != EXPR_CALL) {
        diag_add(&t->k->c->diags, DIAG_COMPILE, part->loc, "unexpected template-string expression");
        return NULL;
    }
    const struct builtin *b = ref_builtin(part->call.items[0]);
    if (b && (b->flags & BUILTIN_RELATION)) {
        diag_add(&t->k->c->diags, DIAG_COMPILE, part->loc,
                 "illegal call to relation built-in '%s' that may cause multiple outputs", b->name);
        return NULL;
    }
    struct term *call = term_new(t->k->a, TERM_CALL, part->loc);
    call->list = part->call;
    return call;
}

static struct term *rewrite_part(struct templates *t, struct expr *part) {
    struct term *x = part_term(t, part);
    if (!x || (term_is_scalar(x) && !part->with.n)) return x;
    bool defined = x->kind == TERM_VAR || (x->kind == TERM_REF && is_known_defined(t->k, x));
    if (defined && !part->with.n) return set_of(t->k, x);
    check_part_vars(t, x);
    templates_in_term(t, x);
    return capture_part(t, x, part);
}

static void rewrite_template(struct templates *t, struct term *x) {
    struct arena *a = t->k->a;
    struct term *parts = term_new(a, TERM_ARRAY, x->loc);
    for (uint32_t i = 0; i < x->parts.n; i++) {
        struct term *part = rewrite_part(t, x->parts.items[i]);
        if (part) ARENA_PUSH(a, &parts->list, part);
    }
    if (!x->parts.n) ARENA_PUSH(a, &parts->list, term_string(a, STR(""), x->loc));
    struct term *call = term_new(a, TERM_CALL, x->loc);
    ARENA_PUSH(a, &call->list, term_ref_c(a, "internal.template_string", x->loc));
    ARENA_PUSH(a, &call->list, parts);
    *x = *call;
}

/* ---- Walk ---- */

static void templates_in_comprehension(struct templates *t, struct term *x) {
    struct varset *safe = varset_take(&t->k->pool);
    outputs_of_body(t->k, &x->body, x->body.n, t->safe, safe);
    varset_update(safe, t->safe);
    struct templates inner = {t->k, t->gen, safe};
    if (x->key) templates_in_term(&inner, x->key);
    templates_in_term(&inner, x->value);
    templates_in_body(t, &x->body);
    varset_put(&t->k->pool, safe);
}

static void templates_in_term(struct templates *t, struct term *x) {
    if (x->kind == TERM_TEMPLATE_STRING) {
        rewrite_template(t, x);
    } else if (term_is_comprehension(x)) {
        templates_in_comprehension(t, x);
    } else {
        for (uint32_t i = 0; i < x->list.n; i++) templates_in_term(t, x->list.items[i]);
    }
}

static void templates_in_every(struct templates *t, struct expr *e) {
    struct varset *safe = varset_take(&t->k->pool);
    templates_in_term(t, e->domain);
    varset_update(safe, t->safe);
    if (e->key) vars_of_term(t->k, VARS_ALL, e->key, safe);
    vars_of_term(t->k, VARS_ALL, e->value, safe);
    struct templates inner = {t->k, t->gen, safe};
    templates_in_body(&inner, &e->body);
    varset_put(&t->k->pool, safe);
}

static void templates_in_expr(struct templates *t, struct expr *e) {
    switch (e->kind) {
    case EXPR_TERM: templates_in_term(t, e->term); break;
    case EXPR_CALL:
    case EXPR_SOME:
        for (uint32_t i = 0; i < e->call.n; i++) templates_in_term(t, e->call.items[i]);
        break;
    case EXPR_EVERY: templates_in_every(t, e); break;
    case EXPR_NOT: templates_in_body(t, &e->body); break;
    case EXPR_AND:
    case EXPR_OR:
        templates_in_body(t, &e->lhs);
        templates_in_body(t, &e->rhs);
        break;
    }
    for (uint32_t i = 0; i < e->with.n; i++) templates_in_term(t, e->with.items[i].value);
}

/* All that the body binds, wherever, counts as bound. */
static void templates_in_body(struct templates *t, struct body *b) {
    struct varset *safe = varset_take(&t->k->pool);
    outputs_of_body(t->k, b, b->n, t->safe, safe);
    varset_update(safe, t->safe);
    struct templates inner = {t->k, t->gen, safe};
    for (uint32_t i = 0; i < b->n; i++) templates_in_expr(&inner, b->items[i]);
    varset_put(&t->k->pool, safe);
}

/* ---- Rules ---- */

static bool find_template(void *ctx, struct term *t) {
    bool *found = ctx;
    if (t->kind == TERM_TEMPLATE_STRING) *found = true;
    return !*found;
}

static bool clause_has_template(struct rule *r) {
    bool found = false;
    struct ast_visitor v = {.ctx = &found, .term = find_template};
    visit_head(r->head, &v, true);
    if (!found) ast_visit_body(&r->body, &v);
    return found;
}

static void rewrite_clause(void *ctx, struct rule *r) {
    struct check_private *k = ctx;
    if (!clause_has_template(r)) return;
    struct varset *safe = varset_take(&k->pool), *bound = varset_take(&k->pool);
    struct head *h = r->head;
    varset_update(safe, &k->reserved);
    for (uint32_t i = 0; i < h->args.n; i++) vars_of_term(k, VARS_ALL, h->args.items[i], safe);
    struct templates t = {k, &k->gen, safe};
    templates_in_body(&t, &r->body);
    outputs_of_body(k, &r->body, r->body.n, safe, bound);
    varset_update(bound, safe);
    t.safe = bound;
    for (uint32_t i = 0; i < h->args.n; i++) templates_in_term(&t, h->args.items[i]);
    if (h->key) templates_in_term(&t, h->key);
    if (h->value) templates_in_term(&t, h->value);
    varset_put(&k->pool, bound);
    varset_put(&k->pool, safe);
}

void check_rewrite_template_strings(struct compile *c) {
    each_rule(c, rewrite_clause, c->check->priv);
}

void rewrite_templates_in_query(struct check_private *k, struct body *b) {
    struct templates t = {k, &k->query_gen, &k->reserved};
    templates_in_body(&t, b);
}
