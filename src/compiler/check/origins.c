/* Works out where the variables of a ref get their values, for errors about possible recursion.
 * in: flat rules. out: origins. owns: nothing. */
#include "compiler/check/graph.h"

/* The expressions of a rule that are read ahead of a ref. */
struct source {
    struct check_private *k;
    const struct rule *rule;
    uint32_t n_before;
};

/* Negated expressions and those under a modifier say nothing about what follows. */
static const struct expr *plain_call(const struct source *s, uint32_t i) {
    const struct expr *e = s->rule->body.items[i];
    return e->kind == EXPR_CALL && !e->negated && !e->with.n ? e : NULL;
}

static bool is_var(const struct term *t, struct str var) {
    return t && t->kind == TERM_VAR && str_eq(t->text, var);
}

/* What the first equality with the variable as a side has on the other side, or NULL. */
static struct term *binding_of(const struct source *s, struct str var) {
    for (uint32_t i = 0; i < s->n_before; i++) {
        const struct expr *e = plain_call(s, i);
        if (!e || !expr_is_eq(e) || !eq_has_two_operands(e)) continue;
        if (is_var(expr_operand(e, 0), var)) return expr_operand(e, 1);
        if (is_var(expr_operand(e, 1), var)) return expr_operand(e, 0);
    }
    return NULL;
}

static const struct builtin *producer_of(const struct source *s, struct str var) {
    for (uint32_t i = s->n_before; i-- > 0;) {
        const struct expr *e = plain_call(s, i);
        if (!e || expr_is_eq(e)) continue;
        const struct builtin *b = ref_builtin(e->call.items[0]);
        if (b && e->call.n == b->arity + 2 && is_var(e->call.items[e->call.n - 1], var)) return b;
    }
    return NULL;
}

/* t, or what a chain of variables leads to, when that is a constant collection. */
static struct term *collection_of(const struct source *s, struct term *t) {
    for (uint32_t i = 0; t && t->kind == TERM_VAR && i <= s->n_before; i++)
        t = binding_of(s, t->text);
    bool collection = t && (t->kind == TERM_ARRAY || t->kind == TERM_SET || t->kind == TERM_OBJECT);
    return collection && term_is_constant(t) ? t : NULL;
}

static struct term *constant_prefix(const struct source *s, const struct term *ref) {
    struct term *copy = term_copy(s->k->a, ref);
    uint32_t n = 1;
    while (n < ref->list.n && term_is_constant(ref->list.items[n])) n++;
    copy->list.n = n;
    return copy;
}

static bool origin_of_ref(const struct source *s, const struct term *ref, struct origin *out) {
    if (ref_has_root(ref, "input") || ref_has_root(ref, "data")) {
        out->kind = ref_has_root(ref, "input") ? ORIGIN_INPUT : ORIGIN_RULE;
        out->term = constant_prefix(s, ref);
        return true;
    }
    if (ref->list.n != 2 || term_is_constant(ref->list.items[1])) return false;
    struct term *xs = collection_of(s, ref->list.items[0]);
    if (!xs) return false;
    out->kind = ORIGIN_COLLECTION;
    out->term = term_copy(s->k->a, xs);
    return true;
}

static bool origin_in_head(const struct rule *r, struct str var, struct origin *out) {
    const struct head *h = r->head;
    for (uint32_t i = 0; i < h->args.n; i++)
        if (is_var(h->args.items[i], var)) {
            out->kind = ORIGIN_HEAD_ARG;
            return true;
        }
    out->kind = ORIGIN_HEAD_KEY;
    for (uint32_t i = 1; i < h->ref->list.n; i++)
        if (is_var(h->ref->list.items[i], var)) return true;
    return is_var(h->key, var);
}

static bool origin_of(const struct source *s, struct str var, struct origin *out) {
    for (uint32_t depth = 0; depth <= s->rule->body.n; depth++) {
        if ((out->builtin = producer_of(s, var))) {
            out->kind = ORIGIN_BUILTIN;
            return true;
        }
        const struct term *bound = binding_of(s, var);
        if (bound && bound->kind == TERM_VAR) {
            var = bound->text;
            continue;
        }
        if (bound && bound->kind == TERM_REF && origin_of_ref(s, bound, out)) return true;
        return origin_in_head(s->rule, var, out);
    }
    return false;
}

void origins_of(struct check_private *k, const struct rule *r, uint32_t at, const struct term *ref,
                struct origin_list *out) {
    struct source s = {k, r, at < r->body.n ? at : r->body.n};
    for (uint32_t i = 1; i < ref->list.n; i++) {
        struct origin o = {0};
        if (ref->list.items[i]->kind != TERM_VAR) continue;
        if (!origin_of(&s, ref->list.items[i]->text, &o)) continue;
        o.var = ref->list.items[i]->text;
        ARENA_PUSH(k->a, out, o);
    }
}
