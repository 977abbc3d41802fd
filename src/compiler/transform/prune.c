/* Transform `prune`: drops what can have no effect.
 * in: any plan. out: the same without functions that nothing calls, statements behind a jump,
 * values that nothing reads. owns: nothing (the plan's arena). */
#include "compiler/transform/passes.h"

/* ---- Statements ---- */

/* Only gives its target a value: cannot break, stop or change anything. */
static bool is_pure(const struct stmt *s) {
    switch (s->kind) {
    case STMT_ASSIGN_VAR:
    case STMT_MAKE_ARRAY:
    case STMT_MAKE_NULL:
    case STMT_MAKE_NUMBER_INT:
    case STMT_MAKE_NUMBER_REF:
    case STMT_MAKE_OBJECT:
    case STMT_MAKE_SET:
    case STMT_MAKE_CONST:
    case STMT_RESET_LOCAL: return true;
    default: return false;
    }
}

struct pruning {
    struct unit *unit;
    struct local_use *uses;
    bool changed;
};

static bool is_unread(const struct pruning *j, uint32_t local) {
    const struct local_use *u = &j->uses[local];
    return local > LOCAL_DATA && u->reads == 0 && u->modifies == 0;
}

static bool is_empty(const struct stmt *s) {
    for (uint32_t i = 0; i < s->blocks.n; i++)
        if (s->blocks.items[i]->n) return false;
    return s->kind == STMT_BLOCK;
}

static bool keep(void *ctx, struct stmt *s) {
    struct pruning *j = ctx;
    bool dead = s->kind == STMT_NOP || is_empty(s) || (is_pure(s) && is_unread(j, s->target));
    if (dead) j->changed = true;
    return !dead;
}

/* What follows a jump is never reached. */
static void cut(struct pruning *j, struct block *b) {
    for (uint32_t i = 0; i + 1 < b->n; i++) {
        if (b->items[i]->kind != STMT_BREAK && b->items[i]->kind != STMT_RETURN_LOCAL) continue;
        b->n = i + 1;
        j->changed = true;
    }
}

static void drop_empty_blocks(struct block_list *l) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i]->n) l->items[n++] = l->items[i];
    l->n = n;
}

static void prune_block(void *ctx, struct block *b) {
    cut(ctx, b);
    block_filter(b, ctx, keep);
    for (uint32_t i = 0; i < b->n; i++)
        if (b->items[i]->kind == STMT_BLOCK) drop_empty_blocks(&b->items[i]->blocks);
}

static void visit_unit(void *ctx, struct unit *u) {
    struct pruning j = {u, NULL, true};
    (void)ctx;
    for (uint32_t round = 0; j.changed && round < 8; round++) {
        j.changed = false;
        j.uses = walk_uses(u);
        walk_blocks(u->blocks, &j, prune_block);
    }
    drop_empty_blocks(u->blocks);
}

/* ---- Functions ---- */

struct reach {
    struct plan *plan;
    bool *reached;
    bool dynamic; /* a call at run time: any function with a path may be meant */
};

static void reach_function(struct reach *r, struct function *f);

static void reach_stmt(void *ctx, struct stmt *s) {
    struct reach *r = ctx;
    if (s->kind == STMT_CALL && s->func) reach_function(r, s->func);
    if (s->kind != STMT_CALL_DYNAMIC || r->dynamic) return;
    r->dynamic = true;
    for (uint32_t i = 0; i < r->plan->functions.n; i++)
        if (r->plan->functions.items[i]->n_path) reach_function(r, r->plan->functions.items[i]);
}

static void reach_function(struct reach *r, struct function *f) { r->reached[f->index] = true; }

/* Marks until nothing is added; a chain of calls may be long, so no recursion. */
static void reach_all(struct reach *r, bool *walked) {
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < r->plan->functions.n; i++) {
            if (!r->reached[i] || walked[i]) continue;
            walked[i] = more = true;
            walk_stmts(&r->plan->functions.items[i]->blocks, r, reach_stmt);
        }
    }
}

static void prune_functions(struct plan *p) {
    struct reach r = {p, ARENA_ARRAY(p->arena, bool, p->functions.n + 1u), false};
    bool *walked = ARENA_ARRAY(p->arena, bool, p->functions.n + 1u);
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->entrypoints.n; i++)
        walk_stmts(&p->entrypoints.items[i]->blocks, &r, reach_stmt);
    reach_all(&r, walked);
    for (uint32_t i = 0; i < p->functions.n; i++) {
        struct function *f = p->functions.items[i];
        if (!r.reached[i]) continue;
        f->index = n;
        p->functions.items[n++] = f;
    }
    p->functions.n = n;
}

void pass_prune(struct plan *p) {
    walk_units(p, NULL, visit_unit);
    prune_functions(p);
}
