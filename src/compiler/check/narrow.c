/* Works out constants that variables of refs can hold, so that `some r in ["a", "b"]; data[r].p`
 * does not depend on all of data. in: bodies and refs. out: narrowed refs. owns: nothing. */
#include "compiler/check/graph.h"

enum { MAX_REFS = 64 };

/* ---- Values ---- */

static bool known_values(const struct narrowed_list *l, uint32_t at, struct str var,
                         struct term_list *out) {
    for (uint32_t i = 0; i < l->n && l->items[i].at < at; i++)
        if (str_eq(l->items[i].var, var)) {
            *out = l->items[i].values;
            return true;
        }
    return false;
}

/* The member of a constant collection that a constant key selects, or NULL. */
static struct term *member_of(const struct term *xs, const struct term *key) {
    for (uint32_t i = 0; xs->kind == TERM_SET && i < xs->list.n; i++)
        if (term_equal(xs->list.items[i], key)) return xs->list.items[i];
    for (uint32_t i = 0; xs->kind == TERM_OBJECT && i + 1 < xs->list.n; i += 2)
        if (term_equal(xs->list.items[i], key)) return xs->list.items[i + 1];
    if (xs->kind != TERM_ARRAY || key->kind != TERM_NUMBER || !key->text.len || key->text.len > 9)
        return NULL;
    uint32_t index = 0;
    for (size_t i = 0; i < key->text.len; i++) {
        if (key->text.ptr[i] < '0' || key->text.ptr[i] > '9') return NULL;
        index = index * 10 + (uint32_t)(key->text.ptr[i] - '0');
    }
    return index < xs->list.n ? xs->list.items[index] : NULL;
}

static bool add_members(struct check_private *k, const struct term *xs, struct term_list *out) {
    if (xs->kind != TERM_ARRAY && xs->kind != TERM_SET && xs->kind != TERM_OBJECT) return false;
    uint32_t step = xs->kind == TERM_OBJECT ? 2 : 1;
    for (uint32_t i = step - 1; i < xs->list.n; i += step) ARENA_PUSH(k->a, out, xs->list.items[i]);
    return true;
}

static bool values_of(struct check_private *k, const struct narrowed_list *l, uint32_t at,
                      struct term *t, struct term_list *out);

static bool values_of_ref(struct check_private *k, const struct narrowed_list *l, uint32_t at,
                          const struct term *ref, struct term_list *out) {
    struct term_list values = {0};
    if (!values_of(k, l, at, ref->list.items[0], &values)) return false;
    for (uint32_t i = 1; i < ref->list.n; i++) {
        const struct term *key = ref->list.items[i];
        struct term_list next = {0};
        for (uint32_t j = 0; j < values.n; j++) {
            if (!term_is_constant(key)) {
                if (!add_members(k, values.items[j], &next)) return false;
                continue;
            }
            struct term *member = member_of(values.items[j], key);
            if (member) ARENA_PUSH(k->a, &next, member);
        }
        if (next.n > MAX_REFS) return false;
        values = next;
    }
    *out = values;
    return true;
}

/* All constants that t can be; false when that is not known. */
static bool values_of(struct check_private *k, const struct narrowed_list *l, uint32_t at,
                      struct term *t, struct term_list *out) {
    if (t->kind == TERM_VAR) return known_values(l, at, t->text, out);
    if (t->kind == TERM_REF) return values_of_ref(k, l, at, t, out);
    if (!term_is_constant(t)) return false;
    ARENA_PUSH(k->a, out, t);
    return true;
}

/* ---- Bodies ---- */

static bool binds(struct check_private *k, struct narrowed_list *l, const struct expr *e,
                  uint32_t at, uint32_t side) {
    const struct term *var = expr_operand(e, side);
    struct narrowed n = {.at = at};
    if (var->kind != TERM_VAR) return false;
    if (!values_of(k, l, at, expr_operand(e, 1 - side), &n.values)) return false;
    struct term_list known;
    n.var = var->text;
    if (!known_values(l, at, n.var, &known)) ARENA_PUSH(k->a, l, n);
    return true;
}

void narrow_body(struct check_private *k, const struct body *b, struct narrowed_list *out) {
    for (uint32_t i = 0; i < b->n; i++) {
        const struct expr *e = b->items[i];
        if (!expr_is_eq(e) || !eq_has_two_operands(e) || e->negated || e->with.n) continue;
        if (!binds(k, out, e, i, 0)) (void)binds(k, out, e, i, 1);
    }
}

/* ---- Refs ---- */

static struct term *ref_with(struct check_private *k, const struct term *ref, uint32_t at,
                             struct term *value) {
    struct term *copy = term_new(k->a, TERM_REF, ref->loc);
    for (uint32_t i = 0; i < ref->list.n; i++)
        ARENA_PUSH(k->a, &copy->list, i == at ? value : ref->list.items[i]);
    return copy;
}

void narrow_ref(struct check_private *k, const struct narrowed_list *l, uint32_t at,
                struct term *ref, struct term_list *out) {
    ARENA_PUSH(k->a, out, ref);
    if (!l->n) return;
    for (uint32_t i = 1; i < ref->list.n; i++) {
        struct term_list values = {0}, next = {0};
        if (term_is_constant(ref->list.items[i])) continue;
        if (!values_of(k, l, at, ref->list.items[i], &values) || !values.n) continue;
        if (out->n * values.n > MAX_REFS) continue;
        for (uint32_t j = 0; j < out->n; j++)
            for (uint32_t m = 0; m < values.n; m++)
                ARENA_PUSH(k->a, &next, ref_with(k, out->items[j], i, values.items[m]));
        *out = next;
    }
}

static uint32_t var_count(const struct term *ref, struct str var) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < ref->list.n; i++)
        n += ref->list.items[i]->kind == TERM_VAR && str_eq(ref->list.items[i]->text, var);
    return n;
}

bool ref_selects_rule(struct check_private *k, const struct term *ref, const struct rule *r,
                      const struct varset *bound, struct positions *positions) {
    bool certain = true;
    for (uint32_t i = 1; i < ref->list.n && i < r->path->list.n; i++) {
        const struct term *t = ref->list.items[i], *own = r->path->list.items[i];
        if (!term_is_constant(own)) continue;
        /* An unbound variable that occurs once enumerates, as a wildcard does. */
        if (t->kind == TERM_VAR && !varset_has(bound, t->text) && var_count(ref, t->text) == 1)
            continue;
        if (term_is_constant(t)) {
            if (!term_equal(t, own)) return false;
            continue;
        }
        if (!positions) return false;
        certain = false;
        ARENA_PUSH(k->a, positions, i);
    }
    return certain;
}
