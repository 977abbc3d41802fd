/* Terms to operands: constants, variables, literals, comprehensions.
 * in: terms without calls (the checks have hoisted them). out: an operand with the value. owns:
 * nothing (arena). */
#include "compiler/plan/plan_private.h"

static const struct operand NONE;

static struct operand plan_var(struct planner *p, const struct term *t) {
    struct operand o;
    if (var_get(p, t->text, &o)) return o;
    o = op_local(new_local(p));
    var_put(p, t->text, o);
    return o;
}

static struct operand plan_array(struct planner *p, const struct term *t) {
    uint32_t target = new_local(p);
    emit_int(p, STMT_MAKE_ARRAY, target, t->list.n);
    for (uint32_t i = 0; i < t->list.n; i++)
        emit_to(p, STMT_ARRAY_APPEND, target, plan_term(p, t->list.items[i]), NONE);
    return op_local(target);
}

static struct operand plan_object(struct planner *p, const struct term *t) {
    uint32_t target = emit_target(p, STMT_MAKE_OBJECT, NONE, NONE);
    for (uint32_t i = 0; i + 1 < t->list.n; i += 2) {
        struct operand key = plan_term(p, t->list.items[i]);
        emit_to(p, STMT_OBJECT_INSERT, target, key, plan_term(p, t->list.items[i + 1]));
    }
    return op_local(target);
}

static struct operand plan_set(struct planner *p, const struct term *t) {
    uint32_t target = emit_target(p, STMT_MAKE_SET, NONE, NONE);
    for (uint32_t i = 0; i < t->list.n; i++)
        emit_to(p, STMT_SET_ADD, target, plan_term(p, t->list.items[i]), NONE);
    return op_local(target);
}

static bool stands_before(const struct term *a, const struct term *b) {
    return a->loc.row != b->loc.row ? a->loc.row < b->loc.row : a->loc.col < b->loc.col;
}

const struct term *source_order(struct planner *p, const struct term *t) {
    if (t->kind == TERM_ARRAY || !is_templated(t)) return t;
    struct term *copy = ARENA_NEW(p->a, struct term);
    uint32_t width = t->kind == TERM_OBJECT ? 2 : 1;
    *copy = *t;
    copy->list.items = arena_copy(p->a, t->list.items, t->list.n * sizeof *t->list.items);
    for (uint32_t i = width; i + width <= t->list.n; i += width)
        for (uint32_t k = i; k > 0; k -= width) {
            struct term **x = &copy->list.items[k - width], **y = &copy->list.items[k];
            if (!stands_before(*y, *x)) break;
            for (uint32_t m = 0; m < width; m++) {
                struct term *swap = x[m];
                x[m] = y[m];
                y[m] = swap;
            }
        }
    return copy;
}

/* A literal; a ground one is marked for the const transform. */
static struct operand plan_literal(struct planner *p, const struct term *t) {
    struct block *block = p->curr;
    uint32_t first = block->n;
    t = source_order(p, t);
    struct operand o = t->kind == TERM_ARRAY    ? plan_array(p, t)
                       : t->kind == TERM_OBJECT ? plan_object(p, t)
                                                : plan_set(p, t);
    if (term_is_ground(t)) {
        block->items[first]->ground = t;
        block->items[first]->n_ground = block->n - first - 1;
    }
    return o;
}

static void add_element(struct planner *p, const struct term *t, uint32_t target) {
    if (t->kind == TERM_OBJECT_COMPR) {
        struct operand key = plan_term(p, t->key);
        emit_to(p, STMT_OBJECT_INSERT_ONCE, target, key, plan_term(p, t->value));
    } else {
        enum stmt_kind add = t->kind == TERM_SET_COMPR ? STMT_SET_ADD : STMT_ARRAY_APPEND;
        emit_to(p, add, target, plan_term(p, t->value), NONE);
    }
}

static struct operand plan_comprehension(struct planner *p, const struct term *t) {
    enum stmt_kind make = t->kind == TERM_SET_COMPR     ? STMT_MAKE_SET
                          : t->kind == TERM_ARRAY_COMPR ? STMT_MAKE_ARRAY
                                                        : STMT_MAKE_OBJECT;
    struct loc outer_loc = p->loc;
    plan_set_loc(p, t->loc);
    uint32_t target = emit_target(p, make, NONE, NONE);
    uint32_t frame = p->vars.n;
    struct block *outer = block_enter(p);
    plan_body(p, &t->body);
    add_element(p, t, target);
    p->curr = outer;
    p->vars.n = frame;
    plan_set_loc(p, outer_loc);
    return op_local(target);
}

static struct operand plan_number(struct planner *p, const struct term *t) {
    uint32_t target = new_local(p);
    emit_int(p, STMT_MAKE_NUMBER_REF, target, op_text(p, t).index);
    return op_local(target);
}

struct operand plan_term(struct planner *p, const struct term *t) {
    switch (t->kind) {
    case TERM_NULL: return op_local(emit_target(p, STMT_MAKE_NULL, NONE, NONE));
    case TERM_BOOLEAN: return op_bool(t->boolean);
    case TERM_NUMBER: return plan_number(p, t);
    case TERM_STRING: return op_text(p, t);
    case TERM_VAR: return plan_var(p, t);
    case TERM_REF: return plan_ref(p, t);
    case TERM_ARRAY:
    case TERM_OBJECT:
    case TERM_SET: return plan_literal(p, t);
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: return plan_comprehension(p, t);
    case TERM_CALL:
    case TERM_TEMPLATE_STRING: break;
    }
    plan_unsupported(p, "a call or template string in this position is not supported");
    return op_bool(false);
}
