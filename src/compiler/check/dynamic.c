/* Binds refs and comprehensions inside terms to variables ahead of the expression: f(data.a) = 1
 * becomes v = data.a; f(v) = 1. Also turns == of checked bodies into =. in: safe bodies. out:
 * bodies whose operands are variables, constants and collections of these. owns: nothing. */
#include "compiler/check/check_private.h"

struct dynamics {
    struct check_private *k;
    struct local_gen *gen;
};

/* Where the generated expressions of one expression go. */
struct hoist {
    struct dynamics *d;
    const struct expr *from;
    struct body *out;
};

static void dynamics_in_body(struct dynamics *d, struct body *b);
static struct term *hoist_term(struct hoist *h, struct term *t);

static void hoist_list(struct hoist *h, struct term_list *l, uint32_t from) {
    for (uint32_t i = from; i < l->n; i++) l->items[i] = hoist_term(h, l->items[i]);
}

static struct term *bind(struct hoist *h, struct term *t) {
    struct arena *a = h->d->k->a;
    struct expr *eq = gen_equality(h->d->k, h->d->gen, t);
    eq->with = h->from->with;
    ARENA_PUSH(a, h->out, eq);
    return term_copy(a, expr_operand(eq, 0));
}

/* The term to use in place of t, which is bound ahead when it has to be evaluated. */
static struct term *hoist_term(struct hoist *h, struct term *t) {
    switch (t->kind) {
    case TERM_NULL:
    case TERM_BOOLEAN:
    case TERM_NUMBER:
    case TERM_STRING:
    case TERM_VAR:
    case TERM_CALL:
    case TERM_TEMPLATE_STRING: return t;
    case TERM_REF: hoist_list(h, &t->list, 1); return bind(h, t);
    case TERM_ARRAY:
    case TERM_OBJECT:
    case TERM_SET: hoist_list(h, &t->list, 0); return t;
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: dynamics_in_body(h->d, &t->body); return bind(h, t);
    }
    return t;
}

/* As hoist_term for a whole operand of = or a whole expression: a ref or comprehension may stay. */
static struct term *hoist_inside(struct hoist *h, struct term *t) {
    if (t->kind == TERM_REF) {
        hoist_list(h, &t->list, 1);
    } else if (term_is_comprehension(t)) {
        dynamics_in_body(h->d, &t->body);
    } else {
        return hoist_term(h, t);
    }
    return t;
}

static void dynamics_in_expr(struct dynamics *d, struct expr *e, struct body *out) {
    struct hoist h = {d, e, out};
    switch (e->kind) {
    case EXPR_TERM: e->term = hoist_inside(&h, e->term); break;
    case EXPR_CALL:
        if (!expr_is_eq(e)) {
            hoist_list(&h, &e->call, 1);
        } else if (eq_has_two_operands(e)) {
            e->call.items[1] = hoist_inside(&h, e->call.items[1]);
            e->call.items[2] = hoist_inside(&h, e->call.items[2]);
        }
        break;
    case EXPR_SOME: break;
    case EXPR_EVERY:
        e->domain = hoist_term(&h, e->domain);
        dynamics_in_body(d, &e->body);
        break;
    case EXPR_NOT: dynamics_in_body(d, &e->body); break;
    case EXPR_AND:
    case EXPR_OR:
        dynamics_in_body(d, &e->lhs);
        dynamics_in_body(d, &e->rhs);
        break;
    }
    ARENA_PUSH(d->k->a, out, e);
}

static void dynamics_in_body(struct dynamics *d, struct body *b) {
    struct body out = {0};
    for (uint32_t i = 0; i < b->n; i++) dynamics_in_expr(d, b->items[i], &out);
    *b = out;
}

static void dynamics_in_clause(void *ctx, struct rule *r) { dynamics_in_body(ctx, &r->body); }

void check_rewrite_dynamic_terms(struct compile *c) {
    struct check_private *k = c->check->priv;
    struct dynamics d = {k, &k->gen};
    each_rule(c, dynamics_in_clause, &d);
}

void rewrite_dynamics_in_body(struct check_private *k, struct local_gen *g, struct body *b) {
    struct dynamics d = {k, g};
    dynamics_in_body(&d, b);
}

/* ---- == ---- */

static bool equal_to_eq(void *ctx, struct expr *e) {
    if (call_is(e, "equal") && eq_has_two_operands(e)) call_set_operator(ctx, e, "eq");
    return true;
}

void check_rewrite_equals(struct compile *c) {
    struct ast_visitor v = {.ctx = c->check->priv, .expr = equal_to_eq};
    visit_modules(c, &v);
}
