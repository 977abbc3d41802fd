/* Transform `inline`: a small function that is called in one place only moves there, and a
 * constant one everywhere.
 * in: functions. out: their blocks in the caller, with its numbering of locals. owns: nothing
 * (the plan's arena). */
#include "compiler/transform/passes.h"

enum { MAX_CALLEE = 64, MAX_CALLER = 600, MAX_DEPTH = 16 }; /* statements, levels of inlining */

struct inlining {
    struct plan *plan;
    struct unit *unit;
    uint32_t *calls, *sizes; /* by function index */
    uint32_t size, depth;    /* of the unit at hand */
    bool dynamic;
};

static void count_call(void *ctx, struct stmt *s) {
    struct inlining *j = ctx;
    if (s->kind == STMT_CALL && s->func) j->calls[s->func->index]++;
    if (s->kind == STMT_CALL_DYNAMIC) j->dynamic = true;
}

static void count_stmt(void *ctx, struct stmt *s) {
    (void)s;
    ++*(uint32_t *)ctx;
}

static void count_unit(void *ctx, struct unit *u) {
    struct inlining *j = ctx;
    walk_stmts(u->blocks, j, count_call);
    if (u->function) walk_stmts(u->blocks, &j->sizes[u->function->index], count_stmt);
}

/* Whether the unit runs once in an evaluation, so that a memo of what it calls is of no use. */
static bool runs_once(const struct unit *u) { return u->entrypoint || u->function->memoised; }

static bool can_inline(const struct inlining *j, const struct stmt *s, bool in_scan) {
    const struct function *f = s->kind == STMT_CALL ? s->func : NULL;
    if (!f || f == j->unit->function || j->calls[f->index] != 1) return false;
    if (j->dynamic && f->n_path) return false;
    if (f->memoised && (in_scan || !runs_once(j->unit))) return false;
    return j->sizes[f->index] <= MAX_CALLEE && j->size + j->sizes[f->index] <= MAX_CALLER &&
           j->depth < MAX_DEPTH;
}

/* ---- Rules that are one constant ---- */

/* The planner's (or `result` and `exit`'s) form of a rule without a body: its only statements give
 * the return value a string or boolean, and return it. */
static bool find_constant(const struct function *f, struct operand *out) {
    *out = (struct operand){OPERAND_NONE, 0};
    for (uint32_t i = 0; i < f->blocks.n; i++)
        for (uint32_t k = 0; k < f->blocks.items[i]->n; k++) {
            const struct stmt *s = f->blocks.items[i]->items[k];
            bool assign = s->kind == STMT_ASSIGN_VAR && s->target == f->return_local &&
                          (s->a.kind == OPERAND_STRING || s->a.kind == OPERAND_BOOL);
            if (s->kind == STMT_RETURN_LOCAL && i + 1 < f->blocks.n && k == 0) return false;
            if (s->kind == STMT_RETURN_LOCAL) continue;
            if (!assign || out->kind != OPERAND_NONE) return false;
            *out = s->a;
        }
    return out->kind != OPERAND_NONE;
}

static void replace_constant(void *ctx, struct stmt *s) {
    const struct operand *constants = ctx;
    if (s->kind != STMT_CALL || !s->func || constants[s->func->index].kind == OPERAND_NONE) return;
    s->a = constants[s->func->index];
    s->kind = STMT_ASSIGN_VAR;
    s->func = NULL;
    s->args.n = 0;
}

static void replace_in_unit(void *ctx, struct unit *u) {
    walk_stmts(u->blocks, ctx, replace_constant);
}

static void replace_constants(struct plan *p) {
    struct operand *constants = ARENA_ARRAY(p->arena, struct operand, p->functions.n + 1u);
    for (uint32_t i = 0; i < p->functions.n; i++)
        find_constant(p->functions.items[i], &constants[i]);
    walk_units(p, constants, replace_in_unit);
}

/* ---- Moving ---- */

static void shift_local(void *ctx, struct stmt *s, uint32_t *local, enum local_role role,
                        struct operand *operand) {
    (void)s, (void)role, (void)operand;
    if (*local > LOCAL_DATA) *local += *(uint32_t *)ctx;
}

static void shift_stmt(void *ctx, struct stmt *s) { walk_locals(s, ctx, shift_local); }

/* Returns inside become breaks out of all of the function's blocks and the one around them. */
static void break_returns(struct block_list *l, uint32_t depth) {
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; k < l->items[i]->n; k++) {
            struct stmt *s = l->items[i]->items[k];
            if (s->kind == STMT_RETURN_LOCAL) {
                s->kind = STMT_BREAK;
                s->a = (struct operand){OPERAND_NONE, 0};
                s->integer = depth + 1;
            }
            break_returns(&s->blocks, depth + 1);
        }
}

/* The planner ends a function with a block that only returns. */
static void drop_final_return(struct block_list *l) {
    struct block *last = l->n ? l->items[l->n - 1] : NULL;
    if (last && last->n == 1 && last->items[0]->kind == STMT_RETURN_LOCAL) l->n--;
}

static struct stmt *stmt_like(struct plan *p, const struct stmt *s, enum stmt_kind kind,
                              uint32_t target, struct operand a) {
    struct stmt *made = ARENA_NEW(p->arena, struct stmt);
    *made = (struct stmt){.kind = kind,
                          .a = a,
                          .target = target,
                          .file = s->file,
                          .row = s->row,
                          .col = s->col,
                          .end_row = s->end_row,
                          .end_col = s->end_col};
    return made;
}

/* Appends to `to` what does the call's work. */
static void put_function(struct inlining *j, struct block *to, const struct stmt *call) {
    struct plan *p = j->plan;
    struct function *f = call->func;
    uint32_t base = *j->unit->n_locals, result = base + f->return_local;
    struct operand none = {OPERAND_NONE, 0}, value = {OPERAND_LOCAL, result};
    struct block *around = ARENA_NEW(p->arena, struct block);
    struct stmt *outer = stmt_like(p, call, STMT_BLOCK, 0, none);
    struct stmt *inner = stmt_like(p, call, STMT_BLOCK, 0, none);
    *j->unit->n_locals += f->n_locals;
    walk_stmts(&f->blocks, &base, shift_stmt);
    drop_final_return(&f->blocks);
    break_returns(&f->blocks, 0);
    inner->blocks = f->blocks;
    f->blocks = (struct block_list){0};
    ARENA_PUSH(p->arena, around, inner);
    ARENA_PUSH(p->arena, &outer->blocks, around);
    ARENA_PUSH(p->arena, to, stmt_like(p, call, STMT_RESET_LOCAL, result, none));
    for (uint32_t i = 2; i < call->args.n; i++)
        ARENA_PUSH(p->arena, to,
                   stmt_like(p, call, STMT_ASSIGN_VAR, base + f->params[i], call->args.items[i]));
    ARENA_PUSH(p->arena, to, outer);
    ARENA_PUSH(p->arena, to, stmt_like(p, call, STMT_IS_DEFINED, 0, value));
    ARENA_PUSH(p->arena, to, stmt_like(p, call, STMT_ASSIGN_VAR, call->target, value));
}

static void inline_block(struct inlining *j, struct block *b, bool in_scan) {
    struct block out = {0};
    for (uint32_t i = 0; i < b->n; i++) {
        struct stmt *s = b->items[i];
        bool inlined = can_inline(j, s, in_scan);
        if (inlined) {
            j->size += j->sizes[s->func->index];
            put_function(j, &out, s);
            s = out.items[out.n - 3]; /* the block: it may hold more calls */
            j->depth++;
        } else {
            ARENA_PUSH(j->plan->arena, &out, s);
        }
        for (uint32_t k = 0; k < s->blocks.n; k++)
            inline_block(j, s->blocks.items[k], in_scan || s->kind == STMT_SCAN);
        j->depth -= inlined;
    }
    *b = out;
}

static void visit_unit(void *ctx, struct unit *u) {
    struct inlining *j = ctx;
    j->unit = u;
    j->size = u->function ? j->sizes[u->function->index] : 0;
    for (uint32_t i = 0; i < u->blocks->n; i++) inline_block(j, u->blocks->items[i], false);
    if (u->function) j->sizes[u->function->index] = j->size;
}

void pass_inline(struct plan *p) {
    struct inlining j = {.plan = p,
                         .calls = ARENA_ARRAY(p->arena, uint32_t, p->functions.n + 1u),
                         .sizes = ARENA_ARRAY(p->arena, uint32_t, p->functions.n + 1u)};
    replace_constants(p);
    walk_units(p, &j, count_unit);
    walk_units(p, &j, visit_unit);
}
