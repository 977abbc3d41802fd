/* Bodies and expressions other than calls and `with`.
 * in: checked, safely ordered bodies. out: statements that break where an expression does not
 * hold. owns: nothing (arena). */
#include "compiler/plan/plan_private.h"

static const struct operand NONE;

void plan_body(struct planner *p, const struct body *b) {
    struct loc outer = p->loc;
    for (uint32_t i = 0; i < b->n; i++) {
        plan_set_loc(p, b->items[i]->loc);
        plan_expr(p, b->items[i]);
    }
    plan_set_loc(p, outer);
}

/* Only false and undefined do not hold; other constants need no check. */
static void plan_bare_term(struct planner *p, const struct term *t) {
    if (t->kind == TERM_BOOLEAN && !t->boolean) {
        emit_break(p, 0);
    } else if (t->kind == TERM_REF || t->kind == TERM_VAR) {
        struct operand value = plan_term(p, t);
        emit_check(p, STMT_NOT_EQUAL, value, op_bool(false));
    }
}

static void set_true(struct planner *p, uint32_t local) {
    emit_to(p, STMT_ASSIGN_VAR, local, op_bool(true), NONE);
}

static void reset(struct planner *p, uint32_t local) {
    emit_to(p, STMT_RESET_LOCAL, local, NONE, NONE);
}

/* A block that sets `holds` when the body holds; its variables end with it. */
static void plan_condition(struct planner *p, const struct body *b, uint32_t holds) {
    uint32_t frame = p->vars.n;
    struct block *outer = block_enter(p);
    plan_body(p, b);
    set_true(p, holds);
    p->curr = outer;
    p->vars.n = frame;
}

static void plan_and(struct planner *p, const struct expr *e) {
    uint32_t holds = new_local(p);
    reset(p, holds);
    plan_condition(p, &e->lhs, holds);
    emit_check(p, STMT_IS_DEFINED, op_local(holds), NONE);
    reset(p, holds);
    plan_condition(p, &e->rhs, holds);
    emit_check(p, STMT_IS_DEFINED, op_local(holds), NONE);
}

static void plan_or(struct planner *p, const struct expr *e) {
    uint32_t holds = new_local(p);
    reset(p, holds);
    plan_condition(p, &e->lhs, holds);
    struct block *outer = block_enter(p);
    emit_check(p, STMT_IS_UNDEFINED, op_local(holds), NONE);
    plan_condition(p, &e->rhs, holds);
    p->curr = outer;
    emit_check(p, STMT_IS_DEFINED, op_local(holds), NONE);
}

/* Leaves the block unless the value is an array, object or set. */
static void check_collection(struct planner *p, struct operand value) {
    static const enum stmt_kind kinds[] = {STMT_IS_ARRAY, STMT_IS_OBJECT, STMT_IS_SET};
    struct block *outer = block_enter(p);
    struct block *choice = p->curr;
    struct stmt *s = emit(p, STMT_BLOCK);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        p->curr = block_new(p);
        ARENA_PUSH(p->a, &s->blocks, p->curr);
        emit_check(p, kinds[i], value, NONE);
        emit_break(p, 1);
    }
    p->curr = choice;
    emit_break(p, 1);
    p->curr = outer;
}

/* every holds when no element fails: `failed` is set by an element for which `holds` is not. */
static void plan_every(struct planner *p, const struct expr *e) {
    uint32_t failed = new_local(p), holds = new_local(p), frame = p->vars.n;
    reset(p, failed);
    struct operand domain = to_local(p, plan_term(p, e->domain));
    check_collection(p, domain);
    struct block *outer = block_enter(p);
    struct operand value = plan_scan(p, domain, e->key, NULL);
    reset(p, holds);
    struct block *element = block_enter(p);
    plan_unify_local(p, value, e->value);
    plan_body(p, &e->body);
    set_true(p, holds);
    p->curr = element;
    emit_check(p, STMT_IS_UNDEFINED, op_local(holds), NONE);
    set_true(p, failed);
    p->curr = outer;
    p->vars.n = frame;
    emit_check(p, STMT_IS_UNDEFINED, op_local(failed), NONE);
}

static void plan_positive(struct planner *p, const struct expr *e);

/* What is negated becomes the block of a NOT, or, where it iterates, sets a local that must stay
 * undefined (the end of a scan is not the same as success). */
static void plan_not(struct planner *p, const struct expr *e) {
    struct block *outer = p->curr, *inner = block_new(p);
    uint32_t frame = p->vars.n;
    p->curr = inner;
    if (e->negated)
        plan_positive(p, e);
    else
        plan_body(p, &e->body);
    bool iterates = p->curr != inner;
    uint32_t holds = iterates ? new_local(p) : 0;
    if (iterates) set_true(p, holds);
    p->curr = outer;
    p->vars.n = frame;
    if (iterates) reset(p, holds);
    struct stmt *s = emit(p, iterates ? STMT_BLOCK : STMT_NOT);
    ARENA_PUSH(p->a, &s->blocks, inner);
    if (iterates) emit_check(p, STMT_IS_UNDEFINED, op_local(holds), NONE);
}

static void plan_positive(struct planner *p, const struct expr *e) {
    switch (e->kind) {
    case EXPR_TERM: plan_bare_term(p, e->term); return;
    case EXPR_CALL: plan_call(p, e); return;
    case EXPR_SOME: return; /* declarations; `some … in` was rewritten */
    case EXPR_EVERY: plan_every(p, e); return;
    case EXPR_AND: plan_and(p, e); return;
    case EXPR_OR: plan_or(p, e); return;
    case EXPR_NOT: {
        struct expr positive = *e;
        positive.negated = false;
        plan_not(p, &positive);
        return;
    }
    }
}

void plan_expr(struct planner *p, const struct expr *e) {
    if (e->with.n)
        plan_with(p, e);
    else if (e->negated)
        plan_not(p, e);
    else
        plan_positive(p, e);
}
