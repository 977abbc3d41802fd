/* Transform `exit`: evaluation stops where it has found what it looks for.
 * in: functions whose rules all give one constant; conditions that are set inside scans. out:
 * returns and breaks behind the first success. owns: nothing (the plan's arena). */
#include "compiler/transform/passes.h"

/* ---- Functions whose rules all assign the same constant ---- */

struct constant {
    struct function *f;
    struct operand value;
    bool differs;
};

static bool is_default_block(const struct function *f, const struct block *b) {
    return b->n && b->items[0]->kind == STMT_IS_UNDEFINED &&
           b->items[0]->a.index == f->return_local;
}

static void check_assign(void *ctx, struct stmt *s) {
    struct constant *c = ctx;
    if (!stmt_has_target(s->kind) || s->target != c->f->return_local) return;
    bool assign = s->kind == STMT_ASSIGN_VAR_ONCE || s->kind == STMT_ASSIGN_VAR;
    bool constant = s->a.kind == OPERAND_BOOL || s->a.kind == OPERAND_STRING;
    if (!assign || !constant)
        c->differs = true;
    else if (c->value.kind == OPERAND_NONE)
        c->value = s->a;
    else if (c->value.kind != s->a.kind || c->value.index != s->a.index)
        c->differs = true;
}

static void add_return(struct unit *u, struct block *b) {
    struct stmt *last = b->n ? b->items[b->n - 1] : NULL;
    uint32_t local = u->function->return_local;
    if (!last || !stmt_has_target(last->kind) || last->target != local) return;
    struct stmt *s = ARENA_NEW(u->plan->arena, struct stmt);
    *s = (struct stmt){.kind = STMT_RETURN_LOCAL, .a = {OPERAND_LOCAL, local}};
    s->file = last->file, s->row = last->row, s->col = last->col;
    last->kind = STMT_ASSIGN_VAR;
    ARENA_PUSH(u->plan->arena, b, s);
}

static void visit_return(void *ctx, struct block *b) { add_return(ctx, b); }

static bool has_scan(const struct block_list *l) {
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; k < l->items[i]->n; k++)
            if (l->items[i]->items[k]->kind == STMT_SCAN ||
                has_scan(&l->items[i]->items[k]->blocks))
                return true;
    return false;
}

static void visit_function(struct unit *u) {
    struct constant c = {.f = u->function};
    struct block_list rules = {0};
    for (uint32_t i = 0; i < u->blocks->n; i++)
        if (!is_default_block(u->function, u->blocks->items[i]))
            ARENA_PUSH(u->plan->arena, &rules, u->blocks->items[i]);
    walk_stmts(&rules, &c, check_assign);
    if (c.differs || c.value.kind == OPERAND_NONE) return;
    if (rules.n > 2 || has_scan(&rules)) walk_blocks(&rules, u, visit_return);
}

/* ---- Conditions ---- */

static bool sets_true(const struct stmt *s) {
    return s->kind == STMT_ASSIGN_VAR && s->a.kind == OPERAND_BOOL;
}

/* The block at the end of a chain of scans, each the last statement of its block; *n counts them.
 */
static struct block *innermost(struct block *b, uint32_t *n) {
    for (*n = 0; b->n && b->items[b->n - 1]->kind == STMT_SCAN; ++*n)
        b = b->items[b->n - 1]->blocks.items[0];
    return b;
}

struct effects {
    struct arena *arena;
    struct {
        uint32_t *items;
        uint32_t n, cap;
    } made;
    bool outside; /* a collection from outside of the block is added to */
};

static void find_made(void *ctx, struct stmt *s) {
    struct effects *e = ctx;
    if (s->kind == STMT_MAKE_ARRAY || s->kind == STMT_MAKE_OBJECT || s->kind == STMT_MAKE_SET)
        ARENA_PUSH(e->arena, &e->made, s->target);
}

static void check_modified(void *ctx, struct stmt *s, uint32_t *local, enum local_role role,
                           struct operand *operand) {
    struct effects *e = ctx;
    (void)s, (void)operand;
    if (role != ROLE_MODIFY) return;
    for (uint32_t i = 0; i < e->made.n; i++)
        if (e->made.items[i] == *local) return;
    e->outside = true;
}

static void find_modified(void *ctx, struct stmt *s) {
    struct effects *e = ctx;
    if (s->kind == STMT_ASSIGN_VAR_ONCE || s->kind == STMT_RESULT_SET_ADD) e->outside = true;
    walk_locals(s, e, check_modified);
}

static bool has_effects(struct arena *a, struct block *b) {
    struct block_list one = {&b, 1, 1};
    struct effects e = {.arena = a};
    walk_stmts(&one, &e, find_made);
    walk_stmts(&one, &e, find_modified);
    return e.outside;
}

/* Once the condition is set, the other elements could only set it again. */
static void exit_block(struct plan *p, struct block *b) {
    uint32_t n;
    struct block *inner = innermost(b, &n);
    if (!n || !inner->n || !sets_true(inner->items[inner->n - 1]) || has_effects(p->arena, b))
        return;
    struct stmt *s = ARENA_NEW(p->arena, struct stmt);
    *s = (struct stmt){.kind = STMT_BREAK, .integer = n};
    ARENA_PUSH(p->arena, inner, s);
}

static void visit_stmt(void *ctx, struct stmt *s) {
    if (s->kind != STMT_BLOCK) return;
    for (uint32_t i = 0; i < s->blocks.n; i++) exit_block(ctx, s->blocks.items[i]);
}

static void visit_unit(void *ctx, struct unit *u) {
    if (u->function) visit_function(u);
    walk_stmts(u->blocks, ctx, visit_stmt);
}

void pass_exit(struct plan *p) { walk_units(p, p, visit_unit); }
