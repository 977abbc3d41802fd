/* Walks over a plan for the transforms: units, and how each local is used. */
#ifndef REGENT_COMPILER_TRANSFORM_WALK_H
#define REGENT_COMPILER_TRANSFORM_WALK_H
#include "compiler/plan/ir.h"

/* A function or an entrypoint: what owns a numbering of locals. */
struct unit {
    struct plan *plan;
    struct block_list *blocks;
    uint32_t *n_locals;
    struct function *function;     /* or NULL */
    struct entrypoint *entrypoint; /* or NULL */
};
void walk_units(struct plan *p, void *ctx, void (*visit)(void *ctx, struct unit *u));

/* Every statement, outer ones first, in order. */
void walk_stmts(struct block_list *blocks, void *ctx, void (*visit)(void *ctx, struct stmt *s));
/* Every block, outer ones first. */
void walk_blocks(struct block_list *blocks, void *ctx, void (*visit)(void *ctx, struct block *b));

enum local_role {
    ROLE_READ,   /* an operand that may as well be a constant */
    ROLE_SOURCE, /* a read that must stay a local */
    ROLE_MODIFY, /* a collection that is added to */
    ROLE_WRITE   /* gets a value, or is reset */
};
/* Every local that a statement itself names (not those in its blocks), as a place to change. Input
 * and data among a call's first two arguments are left out: they are passed to all functions. */
void walk_locals(struct stmt *s, void *ctx,
                 void (*visit)(void *ctx, struct stmt *s, uint32_t *local, enum local_role role,
                               struct operand *operand));

struct local_use {
    uint32_t reads, sources, modifies, writes; /* parameters count as written once */
    struct stmt *writer; /* the only one, if writes is 1 and it is no parameter */
};
/* One row for each local of the unit. */
struct local_use *walk_uses(struct unit *u);

bool stmt_has_target(enum stmt_kind kind); /* writes `target` and does not only modify it */
/* Drops the statements that `keep` refuses. */
void block_filter(struct block *b, void *ctx, bool (*keep)(void *ctx, struct stmt *s));
#endif
