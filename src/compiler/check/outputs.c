/* Which variables an expression binds, given those that are bound: OPA's rules for safety.
 * in: expressions and sets of safe variables. out: variable sets. owns: nothing. */
#include "compiler/check/check_private.h"

enum {
    VARS_PATTERN = VARS_SKIP_CLOSURES | VARS_SKIP_SETS | VARS_SKIP_OBJECT_KEYS | VARS_SKIP_REF_HEAD,
    VARS_UNIFIED = VARS_SKIP_CLOSURES | VARS_SKIP_OBJECT_KEYS | VARS_SKIP_REF_HEAD,
};

static bool term_is_safe(struct check_private *k, const struct term *t, const struct varset *safe) {
    struct varset *vars = varset_take(&k->pool);
    vars_of_term(k, VARS_SAFETY, t, vars);
    bool ok = varset_within(vars, safe);
    varset_put(&k->pool, vars);
    return ok;
}

/* What a ref starts from is bound. */
static bool ref_is_safe(struct check_private *k, const struct term *ref,
                        const struct varset *safe) {
    const struct term *head = ref->list.items[0];
    return head->kind == TERM_VAR ? varset_has(safe, head->text) : term_is_safe(k, head, safe);
}

/* ---- Unification ---- */

/* `var` becomes safe when all of `needs` are; all of `needs` become safe when var does. */
struct link {
    struct str var;
    struct varset *needs;
    bool done;
};

struct unifier {
    struct check_private *k;
    const struct varset *safe;
    struct varset *unified;
    uint32_t followed; /* of unified */
    struct {
        struct link *items;
        uint32_t n, cap;
    } links;
};

static bool is_safe(const struct unifier *u, struct str v) {
    return varset_has(u->safe, v) || varset_has(u->unified, v);
}

/* Follows the links of one variable that has become safe. */
static void follow_links(struct unifier *u, struct str v) {
    for (uint32_t i = 0; i < u->links.n; i++) {
        struct link *l = &u->links.items[i];
        if (l->done) continue;
        if (str_eq(l->var, v)) {
            l->done = true;
            for (uint32_t j = 0; j < l->needs->n; j++)
                if (l->needs->items[j].live) varset_add(u->unified, l->needs->items[j].name);
        } else if (varset_has(l->needs, v)) {
            varset_remove(l->needs, v);
            if (l->needs->live) continue;
            l->done = true;
            varset_add(u->unified, l->var);
        }
    }
}

/* The set keeps insertion order, so it is the list of variables still to be followed as well. */
static void mark_safe(struct unifier *u, struct str v) {
    varset_add(u->unified, v);
    while (u->followed < u->unified->n) follow_links(u, u->unified->items[u->followed++].name);
}

static void mark_all_safe(struct unifier *u, const struct term *t) {
    struct varset *vars = varset_take(&u->k->pool);
    vars_of_term(u->k, VARS_UNIFIED, t, vars);
    for (uint32_t i = 0; i < vars->n; i++) mark_safe(u, vars->items[i].name);
    varset_put(&u->k->pool, vars);
}

static void mark_unknown(struct unifier *u, struct str var, struct str needs) {
    for (uint32_t i = 0; i < u->links.n; i++) {
        struct link *l = &u->links.items[i];
        if (l->done || !str_eq(l->var, var)) continue;
        varset_add(l->needs, needs);
        return;
    }
    struct link l = {var, varset_take(&u->k->pool), false};
    varset_add(l.needs, needs);
    ARENA_PUSH(u->k->a, &u->links, l);
}

static void unify_var_with_all(struct unifier *u, const struct term *var, const struct term *t) {
    if (is_safe(u, var->text)) {
        mark_all_safe(u, t);
        return;
    }
    struct varset *vars = varset_take(&u->k->pool);
    vars_of_term(u->k, VARS_UNIFIED, t, vars);
    varset_subtract(vars, u->safe);
    varset_subtract(vars, u->unified);
    if (!vars->live) mark_safe(u, var->text);
    for (uint32_t i = 0; i < vars->n; i++)
        if (vars->items[i].live) mark_unknown(u, var->text, vars->items[i].name);
    varset_put(&u->k->pool, vars);
}

static void unify_vars(struct unifier *u, struct str a, struct str b) {
    if (is_safe(u, b)) {
        mark_safe(u, a);
    } else if (is_safe(u, a)) {
        mark_safe(u, b);
    } else {
        mark_unknown(u, a, b);
        mark_unknown(u, b, a);
    }
}

/* A ref or call that is safe itself, or a comprehension. */
static bool is_source(struct unifier *u, const struct term *t) {
    if (t->kind == TERM_REF) return ref_is_safe(u->k, t, u->safe);
    if (t->kind == TERM_CALL) return term_is_safe(u->k, t, u->safe);
    return term_is_comprehension(t);
}

static void unify_var(struct unifier *u, const struct term *a, const struct term *b) {
    if (b->kind == TERM_VAR)
        unify_vars(u, a->text, b->text);
    else if (b->kind == TERM_ARRAY || b->kind == TERM_OBJECT)
        unify_var_with_all(u, a, b);
    else if (b->kind == TERM_REF || b->kind == TERM_CALL) {
        if (is_source(u, b)) mark_safe(u, a->text);
    } else {
        mark_safe(u, a->text);
    }
}

static void unify(struct unifier *u, const struct term *a, const struct term *b);

static void unify_objects(struct unifier *u, const struct term *a, const struct term *b) {
    if (a->list.n != b->list.n) return;
    for (uint32_t i = 0; i + 1 < a->list.n; i += 2)
        for (uint32_t j = 0; j + 1 < b->list.n; j += 2)
            if (term_equal(a->list.items[i], b->list.items[j]))
                unify(u, a->list.items[i + 1], b->list.items[j + 1]);
}

static void unify(struct unifier *u, const struct term *a, const struct term *b) {
    if (a->kind == TERM_VAR) {
        unify_var(u, a, b);
    } else if (b->kind == TERM_VAR) {
        unify_var(u, b, a);
    } else if (a->kind == TERM_ARRAY && b->kind == TERM_ARRAY) {
        for (uint32_t i = 0; a->list.n == b->list.n && i < a->list.n; i++)
            unify(u, a->list.items[i], b->list.items[i]);
    } else if (a->kind == TERM_OBJECT && b->kind == TERM_OBJECT) {
        unify_objects(u, a, b);
    } else if (a->kind == TERM_ARRAY || a->kind == TERM_OBJECT) {
        if (is_source(u, b)) mark_all_safe(u, a);
    } else if (b->kind == TERM_ARRAY || b->kind == TERM_OBJECT) {
        if (is_source(u, a)) mark_all_safe(u, b);
    }
}

static void unified_vars(struct check_private *k, const struct varset *safe, const struct term *a,
                         const struct term *b, struct varset *into) {
    struct unifier u = {.k = k, .safe = safe, .unified = into};
    unify(&u, a, b);
    for (uint32_t i = 0; i < u.links.n; i++) varset_put(&k->pool, u.links.items[i].needs);
}

/* ---- Outputs ---- */

static void outputs_of_list(struct check_private *k, const struct term_list *l,
                            const struct varset *safe, struct varset *into);

/* Variables in the operands of refs whose start is bound. */
static void outputs_of_term(struct check_private *k, const struct term *t,
                            const struct varset *safe, struct varset *into) {
    if (term_is_comprehension(t) || t->kind == TERM_TEMPLATE_STRING) return;
    if (t->kind == TERM_REF) {
        if (!ref_is_safe(k, t, safe)) return;
        if (!term_is_ground(t)) vars_of_term(k, VARS_SKIP_REF_HEAD, t, into);
    }
    outputs_of_list(k, &t->list, safe, into);
}

static void outputs_of_list(struct check_private *k, const struct term_list *l,
                            const struct varset *safe, struct varset *into) {
    for (uint32_t i = 0; i < l->n; i++) outputs_of_term(k, l->items[i], safe, into);
}

static void outputs_of_withs(struct check_private *k, const struct expr *e,
                             const struct varset *safe, struct varset *into) {
    for (uint32_t i = 0; i < e->with.n; i++) {
        outputs_of_term(k, e->with.items[i].target, safe, into);
        outputs_of_term(k, e->with.items[i].value, safe, into);
    }
}

/* The safe ones among the variables that e mentions: all of `safe` that matters to it, however large a body grows. */
static void add_mentioned(struct check_private *k, const struct expr *e, const struct varset *safe,
                          struct varset *into) {
    struct varset *mentioned = varset_take(&k->pool);
    vars_of_expr(k, VARS_ALL, e, mentioned);
    varset_intersect(mentioned, safe);
    varset_update(into, mentioned);
    varset_put(&k->pool, mentioned);
}

void outputs_of_eq(struct check_private *k, const struct expr *e, const struct varset *safe,
                   struct varset *into) {
    if (!eq_has_two_operands(e)) return;
    struct varset *basis = varset_take(&k->pool), *left = varset_take(&k->pool);
    struct varset *found = varset_take(&k->pool);
    outputs_of_list(k, &e->call, safe, basis);
    outputs_of_withs(k, e, safe, basis);
    add_mentioned(k, e, safe, basis);
    if (e->from_assignment) {
        /* The left side of := is output only: it must not make the right side safe. */
        vars_of_term(k, VARS_ALL, expr_operand(e, 0), left);
        varset_subtract(basis, left);
    }
    unified_vars(k, basis, expr_operand(e, 0), expr_operand(e, 1), found);
    varset_update(found, basis);
    varset_subtract(found, safe);
    varset_update(into, found);
    varset_put(&k->pool, found);
    varset_put(&k->pool, left);
    varset_put(&k->pool, basis);
}

static void outputs_of_call(struct check_private *k, const struct expr *e,
                            const struct varset *safe, struct varset *into) {
    int arity = ref_arity(k, e->call.items[0]);
    if (arity < 0) return;
    struct varset *out = varset_take(&k->pool), *inputs = varset_take(&k->pool);
    outputs_of_list(k, &e->call, safe, out);
    outputs_of_withs(k, e, safe, out);
    uint32_t n_input = (uint32_t)arity + 1;
    bool bound = true;
    if (n_input < e->call.n) {
        for (uint32_t i = 0; i < n_input; i++)
            vars_of_term(k, VARS_PATTERN, e->call.items[i], inputs);
        varset_subtract(inputs, out);
        varset_subtract(inputs, safe);
        bound = !inputs->live;
        for (uint32_t i = n_input; bound && i < e->call.n; i++)
            vars_of_term(k, VARS_PATTERN, e->call.items[i], out);
    }
    if (bound) varset_update(into, out);
    varset_put(&k->pool, inputs);
    varset_put(&k->pool, out);
}

static bool withs_are_safe(struct check_private *k, const struct expr *e,
                           const struct varset *safe) {
    struct varset *vars = varset_take(&k->pool);
    for (uint32_t i = 0; i < e->with.n; i++) vars_of_with(k, VARS_SAFETY, &e->with.items[i], vars);
    bool ok = varset_within(vars, safe);
    varset_put(&k->pool, vars);
    return ok;
}

void outputs_of_expr(struct check_private *k, const struct expr *e, const struct varset *safe,
                     struct varset *into) {
    if (e->negated || (e->with.n && !withs_are_safe(k, e, safe))) return;
    switch (e->kind) {
    case EXPR_TERM:
        outputs_of_term(k, e->term, safe, into);
        outputs_of_withs(k, e, safe, into);
        return;
    case EXPR_CALL:
        if (expr_is_eq(e))
            outputs_of_eq(k, e, safe, into);
        else
            outputs_of_call(k, e, safe, into);
        return;
    case EXPR_EVERY: outputs_of_term(k, e->domain, safe, into); return;
    case EXPR_SOME:
    case EXPR_NOT:
    case EXPR_AND:
    case EXPR_OR: return;
    }
}

void outputs_of_body(struct check_private *k, const struct body *b, uint32_t n,
                     const struct varset *safe, struct varset *into) {
    struct varset *bound = varset_take(&k->pool), *out = varset_take(&k->pool);
    varset_update(bound, safe);
    for (uint32_t i = 0; i < n; i++) {
        varset_clear(out);
        outputs_of_expr(k, b->items[i], bound, out);
        varset_update(bound, out);
        varset_update(into, out);
    }
    varset_subtract(into, safe);
    varset_put(&k->pool, out);
    varset_put(&k->pool, bound);
}
