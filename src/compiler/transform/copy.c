/* Transform `copy`: a local that only holds what another local or a constant holds is replaced
 * by it.
 * in: ASSIGN_VAR statements. out: fewer of them. owns: nothing. */
#include "compiler/transform/passes.h"

struct copies {
    struct unit *unit;
    struct local_use *uses;
    struct operand *instead; /* for each local: what replaces it, or OPERAND_NONE */
};

static bool is_fixed(const struct copies *c, uint32_t local) {
    /* Input and data are other documents under `with`, so a copy of them is not the same as they.
     */
    return local > LOCAL_DATA && c->uses[local].writes == 1;
}

static bool is_return(const struct unit *u, uint32_t local) {
    return u->function && u->function->return_local == local;
}

static bool is_copy(const struct copies *c, const struct stmt *s) {
    if (s->kind != STMT_ASSIGN_VAR) return false;
    const struct local_use *t = &c->uses[s->target];
    if (t->writes != 1 || t->modifies || is_return(c->unit, s->target)) return false;
    if (c->unit->entrypoint && c->unit->entrypoint->result_local == s->target) return false;
    if (s->a.kind == OPERAND_LOCAL)
        return is_fixed(c, s->a.index) && !is_return(c->unit, s->a.index);
    return t->sources == 0;
}

static void find_copy(void *ctx, struct stmt *s) {
    struct copies *c = ctx;
    if (is_copy(c, s)) c->instead[s->target] = s->a;
}

static struct operand resolve(const struct copies *c, struct operand o) {
    while (o.kind == OPERAND_LOCAL && c->instead[o.index].kind != OPERAND_NONE)
        o = c->instead[o.index];
    return o;
}

static void replace_use(void *ctx, struct stmt *s, uint32_t *local, enum local_role role,
                        struct operand *operand) {
    struct copies *c = ctx;
    (void)s;
    if (role == ROLE_WRITE || c->instead[*local].kind == OPERAND_NONE) return;
    struct operand o = resolve(c, (struct operand){OPERAND_LOCAL, *local});
    if (operand)
        *operand = o;
    else
        *local = o.index;
}

static void replace_uses(void *ctx, struct stmt *s) { walk_locals(s, ctx, replace_use); }

static bool keep(void *ctx, struct stmt *s) {
    const struct copies *c = ctx;
    return s->kind != STMT_ASSIGN_VAR || c->instead[s->target].kind == OPERAND_NONE;
}

static void filter(void *ctx, struct block *b) { block_filter(b, ctx, keep); }

/* A constant must not come to stand where a local is wanted by way of another copy. */
static void check_chain(struct copies *c, uint32_t local) {
    if (c->instead[local].kind == OPERAND_NONE || c->uses[local].sources == 0) return;
    if (resolve(c, (struct operand){OPERAND_LOCAL, local}).kind != OPERAND_LOCAL)
        c->instead[local] = (struct operand){OPERAND_NONE, 0};
}

static void visit_unit(void *ctx, struct unit *u) {
    struct copies c = {u, walk_uses(u),
                       ARENA_ARRAY(u->plan->arena, struct operand, *u->n_locals + 2u)};
    (void)ctx;
    walk_stmts(u->blocks, &c, find_copy);
    for (uint32_t i = 0; i < *u->n_locals; i++) check_chain(&c, i);
    walk_stmts(u->blocks, &c, replace_uses);
    walk_blocks(u->blocks, &c, filter);
}

void pass_copy(struct plan *p) { walk_units(p, NULL, visit_unit); }
