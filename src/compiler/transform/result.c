/* Transform `result`: rules assign to their function's return value directly.
 * in: functions as the planner makes them: each rule's own result local, copied by a block at
 * its end. out: the same without that local, and plain assignments where only one rule can
 * assign. owns: nothing. */
#include "compiler/transform/passes.h"

struct results {
    struct function *f;
    uint32_t result; /* the rules' local */
    uint32_t chains; /* blocks that copy it */
    bool found, has_else, used_otherwise;
};

static bool is_copy_block(const struct function *f, const struct block *b) {
    return b->n == 2 && b->items[0]->kind == STMT_IS_DEFINED &&
           b->items[1]->kind == STMT_ASSIGN_VAR_ONCE && b->items[1]->target == f->return_local &&
           b->items[1]->a.kind == OPERAND_LOCAL && b->items[1]->a.index == b->items[0]->a.index;
}

static void find_copy_block(void *ctx, struct block *b) {
    struct results *r = ctx;
    if (!is_copy_block(r->f, b)) return;
    uint32_t local = b->items[0]->a.index;
    if (r->found && local != r->result) r->used_otherwise = true;
    r->found = true;
    r->result = local;
    r->chains++;
}

/* Other statements than the planner's own on the local make it something else. */
static void check_stmt(void *ctx, struct stmt *s) {
    struct results *r = ctx;
    bool target = stmt_has_target(s->kind) && s->target == r->result;
    if (s->kind == STMT_IS_UNDEFINED && s->a.index == r->result) r->has_else = true;
    if (target && s->kind != STMT_RESET_LOCAL && s->kind != STMT_ASSIGN_VAR_ONCE)
        r->used_otherwise = true;
}

static bool keep(void *ctx, struct stmt *s) {
    const struct results *r = ctx;
    return s->kind != STMT_RESET_LOCAL || s->target != r->result;
}

static void rename_stmt(void *ctx, struct stmt *s) {
    const struct results *r = ctx;
    if (s->kind == STMT_ASSIGN_VAR_ONCE && s->target == r->result) s->target = r->f->return_local;
    if (s->kind == STMT_IS_UNDEFINED && s->a.index == r->result) s->a.index = r->f->return_local;
}

static void rename_block(void *ctx, struct block *b) {
    struct results *r = ctx;
    if (is_copy_block(r->f, b))
        b->n = 0;
    else
        block_filter(b, r, keep);
}

/* Only one rule, whose bodies exclude each other: outside of scans it assigns once at most. */
static void assign_plainly(const struct results *r, struct block_list *l) {
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; k < l->items[i]->n; k++) {
            struct stmt *s = l->items[i]->items[k];
            if (s->kind == STMT_ASSIGN_VAR_ONCE && s->target == r->f->return_local)
                s->kind = STMT_ASSIGN_VAR;
            if (s->kind != STMT_SCAN) assign_plainly(r, &s->blocks);
        }
}

static void visit_unit(void *ctx, struct unit *u) {
    struct results r = {.f = u->function};
    (void)ctx;
    if (!u->function) return;
    walk_blocks(u->blocks, &r, find_copy_block);
    if (!r.found) return;
    walk_stmts(u->blocks, &r, check_stmt);
    if (r.used_otherwise || (r.has_else && r.chains > 1)) return;
    walk_blocks(u->blocks, &r, rename_block);
    walk_stmts(u->blocks, &r, rename_stmt);
    if (r.chains == 1) assign_plainly(&r, u->blocks);
}

void pass_result(struct plan *p) { walk_units(p, NULL, visit_unit); }
