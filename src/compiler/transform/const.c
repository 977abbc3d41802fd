/* Transform `const`: ground literals are built once, into the image, instead of in every
 * evaluation.
 * in: statements that the planner has marked as building a literal. out: MAKE_CONST in their
 * place. owns: nothing. */
#include "compiler/transform/passes.h"

static void replace(struct plan *p, struct stmt *s) {
    ARENA_PUSH(p->arena, &p->consts, ((struct plan_const){(struct term *)s->ground}));
    s->kind = STMT_MAKE_CONST;
    s->integer = p->consts.n - 1;
}

static void visit_block(void *ctx, struct block *b) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct stmt *s = b->items[i];
        b->items[n++] = s;
        if (!s->ground) continue;
        i += s->n_ground;
        replace(ctx, s);
        s->ground = NULL;
    }
    b->n = n;
}

static void visit_unit(void *ctx, struct unit *u) { walk_blocks(u->blocks, ctx, visit_block); }

void pass_const(struct plan *p) { walk_units(p, p, visit_unit); }
