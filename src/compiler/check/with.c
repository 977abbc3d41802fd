/* Checks `with` targets and hoists values that have to be evaluated.
 * in: flat bodies. out: with values that are variables, constants or function names. owns: nothing.
 */
#include "compiler/check/check_private.h"

struct withs {
    struct check_private *k;
    struct local_gen *gen;
};

static bool node_is_function(const struct rule_node *n) {
    for (uint32_t i = 0; n && i < n->rules.n; i++)
        if (n->rules.items[i]->head->args.n) return true;
    return false;
}

static bool is_plain_name(const struct term *t) {
    return t->kind == TERM_VAR || t->kind == TERM_REF;
}

/* A function may be replaced by a rule, a function or a builtin, none of which is evaluated here.
 */
static bool names_function(struct withs *w, const struct term *value) {
    if (value->kind == TERM_REF && rule_tree_find(w->k->c->check->rule_tree, value)) return true;
    return is_plain_name(value) && ref_builtin(value);
}

/* A builtin's name alone is parsed as a variable; calls and replacements name it by a ref. */
static void var_to_ref(struct withs *w, struct term *t) {
    if (t->kind != TERM_VAR || !builtin_find(t->text)) return;
    struct term *ref = term_new(w->k->a, TERM_REF, t->loc);
    ARENA_PUSH(w->k->a, &ref->list, term_copy(w->k->a, t));
    *t = *ref;
}

static bool builtin_target_is_sound(struct withs *w, const struct builtin *b,
                                    const struct term *target) {
    struct diag_list *diags = &w->k->c->diags;
    const char *lead = "with keyword replacing built-in function:";
    struct str name = str_of(b->name);
    if (str_is(name, "eq") || str_is(name, "rego.metadata.chain") ||
        str_is(name, "rego.metadata.rule"))
        diag_add(diags, DIAG_COMPILE, target->loc, "%s replacement of \"%s\" invalid", lead,
                 b->name);
    else if (str_starts(name, STR("internal.")))
        diag_add(diags, DIAG_COMPILE, target->loc,
                 "%s replacement of internal function \"%s\" invalid", lead, b->name);
    else if (b->flags & BUILTIN_RELATION)
        diag_add(diags, DIAG_COMPILE, target->loc, "%s target must not be a relation", lead);
    else if (b->is_void)
        diag_add(diags, DIAG_COMPILE, target->loc, "%s target must not be a void function", lead);
    else
        return true;
    return false;
}

/* False: the target lies inside the value of a rule. */
static bool data_target_is_sound(struct withs *w, const struct term *target,
                                 const struct rule_node **node) {
    const struct rule_node *n = w->k->c->check->rule_tree;
    for (uint32_t i = 1; n && i < target->list.n; i++) {
        n = rule_node_child(n, target->list.items[i]);
        if (n && n->rules.n && i + 1 < target->list.n) {
            diag_add(&w->k->c->diags, DIAG_COMPILE, target->loc,
                     "with keyword cannot partially replace virtual document(s)");
            return false;
        }
    }
    *node = n;
    return true;
}

/* True when the modifier's value has to be evaluated ahead. *ok: no error was found. */
static bool with_needs_eval(struct withs *w, struct with *m, bool *ok) {
    struct term *target = m->target, *value = m->value;
    var_to_ref(w, value);
    if (ref_has_root(target, "data")) {
        const struct rule_node *node = NULL;
        *ok = data_target_is_sound(w, target, &node);
        if (!*ok || (node_is_function(node) && names_function(w, value))) return false;
        if (value->kind == TERM_REF &&
            node_is_function(rule_tree_find(w->k->c->check->rule_tree, value)))
            return false;
    } else if (!ref_has_root(target, "input")) {
        const struct builtin *b = is_plain_name(target) ? ref_builtin(target) : NULL;
        if (!b) {
            *ok = false;
            diag_add(&w->k->c->diags, DIAG_TYPE, target->loc,
                     "with keyword target must reference existing input, data, or a function");
            return false;
        }
        var_to_ref(w, target);
        *ok = builtin_target_is_sound(w, b, target);
        if (!*ok || names_function(w, value)) return false;
    }
    return term_requires_eval(value);
}

static bool hoist_withs(struct withs *w, struct expr *e, struct body *out) {
    bool ok = true;
    for (uint32_t i = 0; ok && i < e->with.n; i++) {
        struct with *m = &e->with.items[i];
        if (!with_needs_eval(w, m, &ok)) continue;
        struct expr *eq = gen_equality(w->k, w->gen, m->value);
        m->value = term_copy(w->k->a, expr_operand(eq, 0));
        ARENA_PUSH(w->k->a, out, eq);
    }
    ARENA_PUSH(w->k->a, out, e);
    return ok;
}

static bool body_has_with(const struct body *b) {
    for (uint32_t i = 0; i < b->n; i++)
        if (b->items[i]->with.n) return true;
    return false;
}

static void withs_in_body(struct withs *w, struct body *b) {
    struct body out = {0};
    if (!body_has_with(b)) return;
    for (uint32_t i = 0; i < b->n; i++)
        if (!hoist_withs(w, b->items[i], &out)) return;
    *b = out;
}

/* ---- Walk: outer bodies first ---- */

static bool withs_in_term(void *ctx, struct term *t) {
    if (term_is_comprehension(t)) withs_in_body(ctx, &t->body);
    return true;
}

static bool withs_in_expr(void *ctx, struct expr *e) {
    switch (e->kind) {
    case EXPR_TERM:
    case EXPR_CALL:
    case EXPR_SOME: break;
    case EXPR_EVERY:
    case EXPR_NOT: withs_in_body(ctx, &e->body); break;
    case EXPR_AND:
    case EXPR_OR:
        withs_in_body(ctx, &e->lhs);
        withs_in_body(ctx, &e->rhs);
        break;
    }
    return true;
}

static void withs_in_clause(void *ctx, struct rule *r) {
    struct ast_visitor v = {.ctx = ctx, .term = withs_in_term, .expr = withs_in_expr};
    withs_in_body(ctx, &r->body);
    visit_head(r->head, &v, true);
    ast_visit_body(&r->body, &v);
}

void check_rewrite_with_values(struct compile *c) {
    struct check_private *k = c->check->priv;
    struct withs w = {k, &k->gen};
    each_rule(c, withs_in_clause, &w);
}

void rewrite_with_in_body(struct check_private *k, struct local_gen *g, struct body *b) {
    struct withs w = {k, g};
    struct ast_visitor v = {.ctx = &w, .term = withs_in_term, .expr = withs_in_expr};
    withs_in_body(&w, b);
    ast_visit_body(b, &v);
}
