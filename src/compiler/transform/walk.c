/* Walks over a plan: units, statements, uses of locals.
 * in: a plan. out: calls of visitors, tables of uses. owns: nothing (the plan's arena). */
#include "compiler/transform/walk.h"

void walk_units(struct plan *p, void *ctx, void (*visit)(void *ctx, struct unit *u)) {
    for (uint32_t i = 0; i < p->entrypoints.n; i++) {
        struct entrypoint *e = p->entrypoints.items[i];
        struct unit u = {p, &e->blocks, &e->n_locals, NULL, e};
        visit(ctx, &u);
    }
    for (uint32_t i = 0; i < p->functions.n; i++) {
        struct function *f = p->functions.items[i];
        struct unit u = {p, &f->blocks, &f->n_locals, f, NULL};
        visit(ctx, &u);
    }
}

void walk_stmts(struct block_list *blocks, void *ctx, void (*visit)(void *ctx, struct stmt *s)) {
    for (uint32_t i = 0; i < blocks->n; i++)
        for (uint32_t k = 0; k < blocks->items[i]->n; k++) {
            struct stmt *s = blocks->items[i]->items[k];
            visit(ctx, s);
            walk_stmts(&s->blocks, ctx, visit);
        }
}

void walk_blocks(struct block_list *blocks, void *ctx, void (*visit)(void *ctx, struct block *b)) {
    for (uint32_t i = 0; i < blocks->n; i++) {
        struct block *b = blocks->items[i];
        visit(ctx, b);
        for (uint32_t k = 0; k < b->n; k++) walk_blocks(&b->items[k]->blocks, ctx, visit);
    }
}

static enum local_role target_role(enum stmt_kind kind, bool *none) {
    *none = false;
    switch (kind) {
    case STMT_ARRAY_APPEND:
    case STMT_SET_ADD:
    case STMT_OBJECT_INSERT:
    case STMT_OBJECT_INSERT_ONCE: return ROLE_MODIFY;
    case STMT_ASSIGN_VAR_ONCE:
    case STMT_ASSIGN_INT:
    case STMT_ASSIGN_VAR:
    case STMT_CALL:
    case STMT_CALL_DYNAMIC:
    case STMT_DOT:
    case STMT_LEN:
    case STMT_MAKE_ARRAY:
    case STMT_MAKE_NULL:
    case STMT_MAKE_NUMBER_INT:
    case STMT_MAKE_NUMBER_REF:
    case STMT_MAKE_OBJECT:
    case STMT_MAKE_SET:
    case STMT_OBJECT_MERGE:
    case STMT_RESET_LOCAL:
    case STMT_INPUT_SLOT:
    case STMT_DATA_SLOT:
    case STMT_MAKE_CONST: return ROLE_WRITE;
    case STMT_BLOCK:
    case STMT_BREAK:
    case STMT_EQUAL:
    case STMT_IS_ARRAY:
    case STMT_IS_DEFINED:
    case STMT_IS_OBJECT:
    case STMT_IS_SET:
    case STMT_IS_UNDEFINED:
    case STMT_NOP:
    case STMT_NOT:
    case STMT_NOT_EQUAL:
    case STMT_RESULT_SET_ADD:
    case STMT_RETURN_LOCAL:
    case STMT_SCAN:
    case STMT_WITH: break;
    }
    *none = true;
    return ROLE_READ;
}

bool stmt_has_target(enum stmt_kind kind) {
    bool none;
    return target_role(kind, &none) == ROLE_WRITE && !none;
}

/* Statements whose operands must stay locals. */
static bool wants_local(enum stmt_kind kind) {
    return kind == STMT_SCAN || kind == STMT_IS_DEFINED || kind == STMT_IS_UNDEFINED ||
           kind == STMT_OBJECT_MERGE || kind == STMT_RESULT_SET_ADD || kind == STMT_RETURN_LOCAL ||
           kind == STMT_LEN || kind == STMT_IS_ARRAY || kind == STMT_IS_OBJECT ||
           kind == STMT_IS_SET;
}

void walk_locals(struct stmt *s, void *ctx,
                 void (*visit)(void *ctx, struct stmt *s, uint32_t *local, enum local_role role,
                               struct operand *operand)) {
    enum local_role read = wants_local(s->kind) ? ROLE_SOURCE : ROLE_READ;
    bool none;
    if (s->a.kind == OPERAND_LOCAL)
        visit(ctx, s, &s->a.index, s->kind == STMT_DOT ? ROLE_SOURCE : read, &s->a);
    if (s->b.kind == OPERAND_LOCAL) visit(ctx, s, &s->b.index, read, &s->b);
    uint32_t first = s->func || s->kind == STMT_CALL_DYNAMIC ? 2 : 0;
    for (uint32_t i = first; i < s->args.n; i++)
        if (s->args.items[i].kind == OPERAND_LOCAL)
            visit(ctx, s, &s->args.items[i].index, ROLE_READ, &s->args.items[i]);
    for (uint32_t i = 0; i < s->path.n; i++)
        if (s->path.items[i].kind == OPERAND_LOCAL)
            visit(ctx, s, &s->path.items[i].index, ROLE_READ, &s->path.items[i]);
    if (s->kind == STMT_SCAN) {
        visit(ctx, s, &s->key, ROLE_WRITE, NULL);
        visit(ctx, s, &s->value, ROLE_WRITE, NULL);
    }
    enum local_role role = target_role(s->kind, &none);
    if (!none) visit(ctx, s, &s->target, role, NULL);
}

static void count_use(void *ctx, struct stmt *s, uint32_t *local, enum local_role role,
                      struct operand *operand) {
    struct local_use *u = (struct local_use *)ctx + *local;
    (void)operand;
    if (role == ROLE_READ) u->reads++;
    if (role == ROLE_SOURCE) u->reads++, u->sources++;
    if (role == ROLE_MODIFY) u->modifies++;
    if (role != ROLE_WRITE) return;
    u->writer = u->writes++ ? NULL : s;
}

static void count_stmt(void *ctx, struct stmt *s) { walk_locals(s, ctx, count_use); }

struct local_use *walk_uses(struct unit *u) {
    struct local_use *uses = ARENA_ARRAY(u->plan->arena, struct local_use, *u->n_locals + 2u);
    if (u->function)
        for (uint32_t i = 0; i < u->function->n_params; i++)
            uses[u->function->params[i]].writes = 1;
    walk_stmts(u->blocks, uses, count_stmt);
    /* The function's result is read by its callers even where no statement names it. */
    if (u->entrypoint && u->entrypoint->result_local)
        uses[u->entrypoint->result_local].sources++, uses[u->entrypoint->result_local].reads++;
    return uses;
}

void block_filter(struct block *b, void *ctx, bool (*keep)(void *ctx, struct stmt *s)) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++)
        if (keep(ctx, b->items[i])) b->items[n++] = b->items[i];
    b->n = n;
}
