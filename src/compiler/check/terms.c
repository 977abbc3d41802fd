/* Flattens expressions: calls inside terms, collections that refs start from and comprehension
 * heads get variables of their own. in: bodies without := and template strings. out: flat bodies.
 * owns: nothing. */
#include "compiler/check/check_private.h"

struct flatten {
    struct check_private *k;
    struct local_gen *gen;
};

static void flatten_body(struct flatten *f, struct body *b);
static struct term *flatten_term(struct flatten *f, struct term *t, struct body *support);

static void flatten_list(struct flatten *f, struct term_list *l, uint32_t from,
                         struct body *support) {
    for (uint32_t i = from; i < l->n; i++) l->items[i] = flatten_term(f, l->items[i], support);
}

static struct term *flatten_call(struct flatten *f, struct term *t, struct body *support) {
    struct arena *a = f->k->a;
    flatten_list(f, &t->list, 1, support);
    struct term *out = gen_var(f->k, f->gen, t->loc);
    struct expr *e = expr_new(a, EXPR_CALL, t->loc);
    e->call = t->list;
    ARENA_PUSH(a, &e->call, out);
    e->generated = true;
    ARENA_PUSH(a, support, e);
    return term_copy(a, out);
}

/* [1, 2][i] cannot be planned as a ref: its collection gets a variable. */
static void flatten_ref(struct flatten *f, struct term *t, struct body *support) {
    flatten_list(f, &t->list, 0, support);
    struct term *head = t->list.items[0];
    if (head->kind == TERM_VAR || head->kind == TERM_REF || term_is_scalar(head)) return;
    struct expr *eq = gen_equality(f->k, f->gen, head);
    ARENA_PUSH(f->k->a, support, eq);
    t->list.items[0] = term_copy(f->k->a, expr_operand(eq, 0));
}

static void append_all(struct flatten *f, struct body *to, const struct body *from) {
    for (uint32_t i = 0; i < from->n; i++) body_append(f->k, to, from->items[i]);
}

static void flatten_comprehension(struct flatten *f, struct term *t) {
    struct body support = {0};
    if (t->key) t->key = flatten_term(f, t->key, &support);
    t->value = flatten_term(f, t->value, &support);
    append_all(f, &t->body, &support);
    flatten_body(f, &t->body);
}

static struct term *flatten_term(struct flatten *f, struct term *t, struct body *support) {
    switch (t->kind) {
    case TERM_NULL:
    case TERM_BOOLEAN:
    case TERM_NUMBER:
    case TERM_STRING:
    case TERM_VAR:
    case TERM_TEMPLATE_STRING: break;
    case TERM_CALL: return flatten_call(f, t, support);
    case TERM_REF: flatten_ref(f, t, support); break;
    case TERM_ARRAY:
    case TERM_OBJECT:
    case TERM_SET: flatten_list(f, &t->list, 0, support); break;
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: flatten_comprehension(f, t); break;
    }
    return t;
}

/* ---- Expressions ---- */

/* Generated expressions run under the modifiers of the one they come from. The list is shared on
 * purpose: a modifier's value is then hoisted once (check_rewrite_with_values). */
static void share_with(const struct expr *e, struct body *generated) {
    for (uint32_t i = 0; e->with.n && i < generated->n; i++) generated->items[i]->with = e->with;
}

static void flatten_domain(struct flatten *f, struct expr *e, struct body *out) {
    struct expr *eq = gen_equality(f->k, f->gen, e->domain);
    struct body support = {0};
    e->domain = term_copy(f->k->a, expr_operand(eq, 0));
    eq->with = e->with;
    eq->call.items[2] = flatten_term(f, eq->call.items[2], &support);
    share_with(eq, &support);
    for (uint32_t i = 0; i < support.n; i++) ARENA_PUSH(f->k->a, out, support.items[i]);
    ARENA_PUSH(f->k->a, out, eq);
}

static void flatten_expr(struct flatten *f, struct expr *e, struct body *out) {
    struct arena *a = f->k->a;
    struct body support = {0};
    for (uint32_t i = 0; i < e->with.n; i++)
        e->with.items[i].value = flatten_term(f, e->with.items[i].value, out);
    switch (e->kind) {
    case EXPR_TERM: e->term = flatten_term(f, e->term, &support); break;
    case EXPR_CALL: flatten_list(f, &e->call, 1, &support); break;
    case EXPR_SOME: break;
    case EXPR_EVERY:
        flatten_domain(f, e, out);
        flatten_body(f, &e->body);
        break;
    case EXPR_NOT: flatten_body(f, &e->body); break;
    case EXPR_AND:
    case EXPR_OR:
        flatten_body(f, &e->lhs);
        flatten_body(f, &e->rhs);
        break;
    }
    share_with(e, &support);
    for (uint32_t i = 0; i < support.n; i++) ARENA_PUSH(a, out, support.items[i]);
    ARENA_PUSH(a, out, e);
}

static void flatten_body(struct flatten *f, struct body *b) {
    struct body out = {0};
    for (uint32_t i = 0; i < b->n; i++) flatten_expr(f, b->items[i], &out);
    *b = out;
}

static void flatten_clause(void *ctx, struct rule *r) {
    struct check_private *k = ctx;
    struct flatten f = {k, &k->gen};
    struct head *h = r->head;
    struct body support = {0};
    flatten_list(&f, &h->args, 0, &support);
    if (h->key) h->key = flatten_term(&f, h->key, &support);
    if (h->value) h->value = flatten_term(&f, h->value, &support);
    append_all(&f, &r->body, &support);
    flatten_body(&f, &r->body);
}

void check_rewrite_expr_terms(struct compile *c) { each_rule(c, flatten_clause, c->check->priv); }

void rewrite_expr_terms_in_body(struct check_private *k, struct local_gen *g, struct body *b) {
    struct flatten f = {k, g};
    flatten_body(&f, b);
}

/* ---- Comprehension heads ---- */

static void hoist_head(struct flatten *f, struct term **t, struct body *b) {
    if (!term_requires_eval(*t)) return;
    struct expr *eq = gen_equality(f->k, f->gen, *t);
    *t = term_copy(f->k->a, expr_operand(eq, 0));
    body_append(f->k, b, eq);
}

static bool hoist_comprehension(void *ctx, struct term *t) {
    if (!term_is_comprehension(t)) return true;
    if (t->key) hoist_head(ctx, &t->key, &t->body);
    hoist_head(ctx, &t->value, &t->body);
    return true;
}

void check_rewrite_comprehension_terms(struct compile *c) {
    struct check_private *k = c->check->priv;
    struct flatten f = {k, &k->gen};
    struct ast_visitor v = {.ctx = &f, .term = hoist_comprehension};
    visit_modules(c, &v);
}

void rewrite_comprehension_terms_in_body(struct check_private *k, struct local_gen *g,
                                         struct body *b) {
    struct flatten f = {k, g};
    struct ast_visitor v = {.ctx = &f, .term = hoist_comprehension};
    ast_visit_body(b, &v);
}
