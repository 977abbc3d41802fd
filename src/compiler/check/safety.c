/* Orders bodies so that every expression's inputs are bound before it, and reports variables that
 * nothing can bind. in: flat bodies. out: reordered bodies, rego_unsafe_var_error. owns: nothing.
 */
#include "compiler/check/check_private.h"
#include <stdlib.h>

/* Variables of an expression that are not bound where it stands. */
struct unsafe {
    struct expr *expr;
    struct varset *vars;
};
struct unsafe_list {
    struct unsafe *items;
    uint32_t n, cap;
};

static void reorder(struct check_private *k, const struct varset *globals, struct body *b,
                    struct unsafe_list *unsafe);

static struct varset *unsafe_of(struct check_private *k, struct unsafe_list *l, struct expr *e) {
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i].expr == e) return l->items[i].vars;
    struct unsafe u = {e, varset_take(&k->pool)};
    ARENA_PUSH(k->a, l, u);
    return u.vars;
}

static bool any_unsafe(const struct unsafe_list *l) {
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i].vars->live) return true;
    return false;
}

static void unsafe_free(struct check_private *k, struct unsafe_list *l) {
    for (uint32_t i = 0; i < l->n; i++) varset_put(&k->pool, l->items[i].vars);
    l->n = 0;
}

/* ---- Ordering one body ---- */

struct ordering {
    struct check_private *k;
    const struct varset *globals;
    struct varset *all;        /* variables of the body outside closures */
    struct varset *safe;       /* bound so far */
    struct unsafe_list *lists; /* entry i belongs to expression i */
};

/* Variables bound by the body itself that closures in e mention; false: e would close over what
 * only e binds, so it has to wait. */
static bool closure_needs(struct ordering *o, const struct expr *e, const struct varset *outputs,
                          struct varset *needs) {
    struct varset *closed = varset_take(&o->k->pool);
    vars_in_closures(o->k, e, closed);
    varset_intersect(closed, o->all);
    varset_subtract(closed, o->globals);
    bool waits = closed->live && varset_equal(closed, outputs);
    if (closed->live && !waits) varset_update(needs, closed);
    varset_put(&o->k->pool, closed);
    return !waits;
}

/* True when expression i can come next. */
static bool can_be_next(struct ordering *o, struct expr *e, struct varset *missing) {
    struct varset *outputs = varset_take(&o->k->pool);
    outputs_of_expr(o->k, e, o->safe, outputs);
    bool ok = closure_needs(o, e, outputs, missing);
    if (ok) {
        varset_subtract(missing, outputs);
        varset_subtract(missing, o->safe);
        ok = missing->live == 0;
    }
    if (ok) varset_update(o->safe, outputs);
    varset_put(&o->k->pool, outputs);
    return ok;
}

static void find_missing(struct ordering *o, const struct body *b) {
    for (uint32_t i = 0; i < b->n; i++) {
        struct unsafe u = {b->items[i], varset_take(&o->k->pool)};
        vars_of_expr(o->k, VARS_SAFETY_PROMOTE, b->items[i], u.vars);
        varset_update(o->all, u.vars);
        ARENA_PUSH(o->k->a, o->lists, u);
    }
    varset_update(o->safe, o->all);
    varset_intersect(o->safe, o->globals);
    for (uint32_t i = 0; i < b->n; i++) varset_subtract(o->lists->items[i].vars, o->safe);
}

/* Puts expressions in front as soon as they are safe, otherwise keeping their order. */
static void order(struct ordering *o, const struct body *b, struct body *out) {
    bool *done = ARENA_ARRAY(o->k->a, bool, b->n);
    for (uint32_t before = UINT32_MAX; before != out->n;) {
        before = out->n;
        for (uint32_t i = 0; i < b->n; i++) {
            if (done[i] || !can_be_next(o, b->items[i], o->lists->items[i].vars)) continue;
            done[i] = true;
            ARENA_PUSH(o->k->a, out, b->items[i]);
        }
    }
}

/* ---- Closures ---- */

struct closures {
    struct check_private *k;
    struct varset *globals; /* bound before the current expression */
    struct expr *current;
    struct unsafe_list *unsafe;
};

static void reorder_closure(struct closures *c, const struct varset *terms, struct body *b) {
    if (terms) {
        struct varset *bound = varset_take(&c->k->pool), *missing = varset_take(&c->k->pool);
        vars_of_body(c->k, VARS_SAFETY_PROMOTE, b, bound);
        varset_update(bound, c->globals);
        varset_update(missing, terms);
        varset_subtract(missing, bound);
        if (missing->live) varset_update(unsafe_of(c->k, c->unsafe, c->current), missing);
        varset_put(&c->k->pool, missing);
        varset_put(&c->k->pool, bound);
    }
    reorder(c->k, c->globals, b, c->unsafe);
}

static bool closure_in_term(void *ctx, struct term *t) {
    struct closures *c = ctx;
    if (!term_is_comprehension(t)) return true;
    struct varset *terms = varset_take(&c->k->pool);
    if (t->key) vars_of_term(c->k, VARS_ALL, t->key, terms);
    vars_of_term(c->k, VARS_ALL, t->value, terms);
    reorder_closure(c, terms, &t->body);
    varset_put(&c->k->pool, terms);
    return false;
}

static bool closure_in_expr(void *ctx, struct expr *e) {
    struct closures *c = ctx;
    switch (e->kind) {
    case EXPR_TERM:
    case EXPR_CALL:
    case EXPR_SOME: return true;
    case EXPR_EVERY:
        if (e->key) vars_of_term(c->k, VARS_ALL, e->key, c->globals);
        vars_of_term(c->k, VARS_ALL, e->value, c->globals);
        reorder_closure(c, NULL, &e->body);
        break;
    case EXPR_NOT: reorder_closure(c, NULL, &e->body); break;
    case EXPR_AND:
    case EXPR_OR:
        reorder_closure(c, NULL, &e->lhs);
        reorder_closure(c, NULL, &e->rhs);
        break;
    }
    return false;
}

static void reorder_closures(struct check_private *k, const struct varset *globals,
                             const struct body *b, struct unsafe_list *unsafe) {
    struct closures c = {k, varset_take(&k->pool), NULL, unsafe};
    struct ast_visitor v = {.ctx = &c, .term = closure_in_term, .expr = closure_in_expr};
    varset_update(c.globals, globals);
    for (uint32_t i = 0; i < b->n; i++) {
        if (i) vars_of_expr(k, VARS_SAFETY_PROMOTE, b->items[i - 1], c.globals);
        c.current = b->items[i];
        ast_visit_expr(b->items[i], &v);
    }
    varset_put(&k->pool, c.globals);
}

/* Reorders *b and its closures; what cannot be made safe is added to `unsafe` and *b stays as it
 * is. */
static void reorder(struct check_private *k, const struct varset *globals, struct body *b,
                    struct unsafe_list *unsafe) {
    struct unsafe_list own = {0};
    struct ordering o = {k, globals, varset_take(&k->pool), varset_take(&k->pool), &own};
    struct body out = {0};
    find_missing(&o, b);
    order(&o, b, &out);
    reorder_closures(k, globals, &out, &own);
    if (!any_unsafe(&own)) *b = out;
    for (uint32_t i = 0; i < own.n; i++)
        if (own.items[i].vars->live)
            varset_update(unsafe_of(k, unsafe, own.items[i].expr), own.items[i].vars);
    unsafe_free(k, &own);
    varset_put(&k->pool, o.safe);
    varset_put(&k->pool, o.all);
}

/* ---- Reports ---- */

static int loc_cmp(struct loc a, struct loc b) {
    if (a.row != b.row) return a.row < b.row ? -1 : 1;
    return (a.col > b.col) - (a.col < b.col);
}

/* Every unsafe variable with the first place where it occurs, in order of places. */
static void unsafe_places(const struct unsafe_list *l, struct varset *out) {
    for (uint32_t i = 0; i < l->n; i++) {
        const struct varset *vars = l->items[i].vars;
        for (uint32_t j = 0; j < vars->n; j++) {
            struct varset_item *v = &vars->items[j];
            if (!v->live) continue;
            bool known = varset_has(out, v->name);
            struct loc loc = l->items[i].expr->loc;
            for (uint32_t m = 0; known && m < out->n; m++)
                if (str_eq(out->items[m].name, v->name) && loc_cmp(out->items[m].loc, loc) <= 0)
                    loc = out->items[m].loc;
            varset_add_at(out, v->name, loc);
        }
    }
}

/* Variables, generated and as written, that unsafe assignments would have bound. */
static void assigned_vars(struct check_private *k, const struct unsafe_list *l,
                          struct varset *out) {
    struct varset *lhs = varset_take(&k->pool);
    for (uint32_t i = 0; i < l->n; i++) {
        const struct expr *e = l->items[i].expr;
        if (l->items[i].vars->live && e->from_assignment && eq_has_two_operands(e))
            vars_of_term(k, VARS_ALL, expr_operand(e, 0), lhs);
    }
    for (uint32_t i = 0; i < lhs->n; i++) {
        varset_add(out, lhs->items[i].name);
        varset_add(out, user_name(k, lhs->items[i].name));
    }
    varset_put(&k->pool, lhs);
}

static bool is_future_keyword(struct str name) {
    static const char *const words[] = {"in", "every", "contains", "if", "not", "and", "or"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_is(name, words[i])) return true;
    return false;
}

static void report_var(struct check_private *k, struct str name, struct loc loc, struct str scope) {
    if (is_future_keyword(name))
        diag_add(&k->c->diags, DIAG_UNSAFE, loc,
                 "var %.*s is unsafe%.*s (hint: `import future.keywords.%.*s` to import a future "
                 "keyword)",
                 STR_FMT(name), STR_FMT(scope), STR_FMT(name));
    else
        diag_add(&k->c->diags, DIAG_UNSAFE, loc, "var %.*s is unsafe%.*s",
                 STR_FMT(shown_name(name)), STR_FMT(scope));
}

/* True when a variable of the user's was reported. */
static bool report_vars(struct check_private *k, const struct unsafe_list *l, struct str scope) {
    struct varset *places = varset_take(&k->pool), *assigned = varset_take(&k->pool);
    bool other = false, reported = false;
    unsafe_places(l, places);
    assigned_vars(k, l, assigned);
    for (uint32_t i = 0; i < places->n; i++) {
        struct str name = user_name(k, places->items[i].name);
        other |= !var_is_generated(name) && !varset_has(assigned, name) &&
                 !varset_has(assigned, places->items[i].name);
    }
    for (uint32_t i = 0; i < places->n; i++) {
        struct str name = user_name(k, places->items[i].name);
        if (var_is_generated(name)) continue;
        reported = true;
        /* What an assignment would have bound is only a consequence. */
        if (other && (varset_has(assigned, name) || varset_has(assigned, places->items[i].name)))
            continue;
        report_var(k, name, places->items[i].loc, scope);
    }
    varset_put(&k->pool, assigned);
    varset_put(&k->pool, places);
    return reported;
}

static int by_place(const void *a, const void *b) {
    return loc_cmp(((const struct unsafe *)a)->expr->loc, ((const struct unsafe *)b)->expr->loc);
}

/* When only generated variables are unsafe, the expressions are named instead. */
static void report_exprs(struct check_private *k, struct unsafe_list *l, struct str scope) {
    struct varset *seen = varset_take(&k->pool);
    if (l->n) qsort(l->items, l->n, sizeof *l->items, by_place);
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t before = seen->live;
        const struct varset *vars = l->items[i].vars;
        for (uint32_t j = 0; j < vars->n; j++)
            if (vars->items[j].live && var_is_generated(vars->items[j].name))
                varset_add(seen, vars->items[j].name);
        if (seen->live == before) continue;
        diag_add(&k->c->diags, DIAG_UNSAFE, l->items[i].expr->loc, "expression is unsafe%.*s",
                 STR_FMT(scope));
    }
    varset_put(&k->pool, seen);
}

/* ---- Rules ---- */

static bool same_ground_ref(const struct rule *a, const struct rule *b) {
    const struct term *x = a->head->ref, *y = b->head->ref;
    uint32_t n = ref_ground_len(x);
    if (n != ref_ground_len(y)) return false;
    for (uint32_t i = 0; i < n; i++)
        if (!term_equal(x->list.items[i], y->list.items[i])) return false;
    return true;
}

/* " in rule NAME" where the row holds rules of several names, else "". */
static struct str scope_of(struct check_private *k, const struct rule *r) {
    const struct rule_list *rules = &r->module->rules;
    bool shared = false;
    for (uint32_t i = 0; i < rules->n && !shared; i++)
        for (const struct rule *e = rules->items[i]; e; e = e->else_rule)
            shared |= e->loc.row == r->loc.row && !same_ground_ref(e, r);
    if (!shared) return STR("");
    struct term *name = term_copy(k->a, r->head->ref);
    name->list.n = ref_ground_len(name);
    struct str text = check_text(k, name);
    size_t len;
    const char *scope = arena_printf(k->a, &len, " in rule %.*s", STR_FMT(text));
    return (struct str){scope, len};
}

/* Of rule r, or of the query when r is NULL. */
static void check_body(struct check_private *k, const struct varset *globals, struct body *b,
                       const struct rule *r) {
    struct unsafe_list unsafe = {0};
    reorder(k, globals, b, &unsafe);
    if (any_unsafe(&unsafe)) {
        struct str scope = r ? scope_of(k, r) : STR("");
        if (!report_vars(k, &unsafe, scope)) report_exprs(k, &unsafe, scope);
    }
    unsafe_free(k, &unsafe);
}

static void head_vars(struct check_private *k, const struct head *h, struct varset *into) {
    for (uint32_t i = 0; i < h->args.n; i++) vars_of_term(k, VARS_ALL, h->args.items[i], into);
    if (h->key) vars_of_term(k, VARS_ALL, h->key, into);
    if (h->value) vars_of_term(k, VARS_ALL, h->value, into);
    for (uint32_t i = 1; i < h->ref->list.n; i++)
        vars_of_term(k, VARS_ALL, h->ref->list.items[i], into);
}

static void check_head(void *ctx, struct rule *r) {
    struct check_private *k = ctx;
    struct varset *bound = varset_take(&k->pool), *vars = varset_take(&k->pool);
    head_vars(k, r->head, vars);
    if (vars->live) {
        vars_of_body(k, VARS_SAFETY, &r->body, bound);
        for (uint32_t i = 0; i < r->head->args.n; i++)
            vars_of_term(k, VARS_ALL, r->head->args.items[i], bound);
        varset_subtract(vars, bound);
    }
    for (uint32_t i = 0; i < vars->n; i++) {
        struct str name = user_name(k, vars->items[i].name);
        if (!vars->items[i].live || var_is_generated(name)) continue;
        diag_add(&k->c->diags, DIAG_UNSAFE, vars->items[i].loc, "var %.*s is unsafe%.*s",
                 STR_FMT(shown_name(name)), STR_FMT(scope_of(k, r)));
    }
    varset_put(&k->pool, vars);
    varset_put(&k->pool, bound);
}

static void check_rule_body(void *ctx, struct rule *r) {
    struct check_private *k = ctx;
    struct varset *globals = varset_take(&k->pool);
    varset_update(globals, &k->reserved);
    for (uint32_t i = 0; i < r->head->args.n; i++)
        vars_of_term(k, VARS_ALL, r->head->args.items[i], globals);
    check_body(k, globals, &r->body, r);
    varset_put(&k->pool, globals);
}

void check_safety(struct compile *c) {
    uint32_t before = c->diags.n + c->diags.dropped;
    each_rule(c, check_head, c->check->priv);
    if (c->diags.n + c->diags.dropped == before) each_rule(c, check_rule_body, c->check->priv);
}

void safety_of_query(struct check_private *k, struct body *b) {
    check_body(k, &k->reserved, b, NULL);
}
