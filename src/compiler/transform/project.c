/* Transform `project`: static paths into input and data become slots, which the reader of the
 * document fills, so that nothing else of it is built.
 * in: DOT chains from locals 0 and 1. out: INPUT_SLOT and DATA_SLOT statements, the plan's path
 * trees. owns: nothing (the plan's arena). */
#include "compiler/transform/passes.h"

/* A local that holds what is at a static path. */
struct step {
    struct stmt *dot;        /* NULL: the local is none */
    const struct stmt *with; /* innermost WITH around it */
    uint32_t children;       /* reads that are static steps themselves */
    bool covered;            /* a child follows, which breaks where this one would */
    bool is_path;
    struct path_tree *node;
};

struct projection {
    struct unit *unit;
    struct local_use *uses;
    struct step *steps;
};

static struct path_tree *tree_new(struct arena *a, uint32_t key) {
    struct path_tree *t = ARENA_NEW(a, struct path_tree);
    t->key = key;
    t->slot = -1;
    return t;
}

static struct path_tree *tree_child(struct arena *a, struct path_tree *t, uint32_t key) {
    for (uint32_t i = 0; i < t->n; i++)
        if (t->items[i]->key == key) return t->items[i];
    struct path_tree *child = tree_new(a, key);
    ARENA_PUSH(a, t, child);
    return child;
}

static void need_slot(struct plan *p, struct path_tree *t, bool input) {
    if (t->slot < 0) t->slot = (int32_t)(input ? p->n_input_slots++ : p->n_data_slots++);
}

/* ---- Which locals are static paths ---- */

static bool has_static_key(const struct plan *p, const struct stmt *s) {
    /* A templated key differs by tenant and could name the same member as another key. */
    return s->kind == STMT_DOT && s->a.kind == OPERAND_LOCAL && s->b.kind == OPERAND_STRING &&
           !p->strings.items[s->b.index].template_text.ptr;
}

static void find_step(struct projection *j, struct stmt *s, const struct stmt *with) {
    if (!has_static_key(j->unit->plan, s)) return;
    const struct local_use *t = &j->uses[s->target];
    if (t->writes != 1 || t->modifies) return;
    if (s->a.index > LOCAL_DATA) {
        /* Under another `with` the slots show another document than the one this value is of. */
        struct step *parent = &j->steps[s->a.index];
        if (!parent->dot || parent->with != with) return;
        parent->children++;
    }
    j->steps[s->target] = (struct step){.dot = s, .with = with};
}

static void find_steps(struct projection *j, struct block_list *l, const struct stmt *with) {
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; k < l->items[i]->n; k++) {
            struct stmt *s = l->items[i]->items[k];
            find_step(j, s, with);
            find_steps(j, &s->blocks, s->kind == STMT_WITH ? s : with);
        }
}

/* Whether a child of `local` stands where its being undefined ends the same things: later in the
 * block, or in the scan that the rest of the block is. */
static bool is_covered(const struct projection *j, const struct block *b, uint32_t from,
                       uint32_t local) {
    for (uint32_t i = from; i < b->n; i++) {
        const struct stmt *s = b->items[i];
        if (s->kind == STMT_DOT && s->a.kind == OPERAND_LOCAL && s->a.index == local)
            return j->steps[s->target].dot == s;
        if (s->kind == STMT_SCAN)
            return i + 1 == b->n && is_covered(j, s->blocks.items[0], 0, local);
    }
    return false;
}

static void find_cover(void *ctx, struct block *b) {
    struct projection *j = ctx;
    for (uint32_t i = 0; i < b->n; i++) {
        struct stmt *s = b->items[i];
        if (s->kind == STMT_DOT && j->steps[s->target].dot == s)
            j->steps[s->target].covered = is_covered(j, b, i + 1, s->target);
    }
}

/* ---- Rewriting ---- */

static bool reads_input(const struct projection *j, const struct stmt *s) {
    while (s->a.index > LOCAL_DATA) s = j->steps[s->a.index].dot;
    return s->a.index == LOCAL_INPUT;
}

static bool rewrite(void *ctx, struct stmt *s) {
    struct projection *j = ctx;
    struct plan *p = j->unit->plan;
    struct step *step = s->kind == STMT_DOT ? &j->steps[s->target] : NULL;
    if (!step || step->dot != s) return true;
    bool input = reads_input(j, s), passed_on = j->uses[s->target].reads > step->children;
    struct path_tree *parent = s->a.index > LOCAL_DATA ? j->steps[s->a.index].node
                               : input                 ? p->input_tree
                                                       : p->data_tree;
    step->node = tree_child(p->arena, parent, s->b.index);
    step->is_path = !passed_on && step->children && step->covered;
    if (step->is_path) return false;
    need_slot(p, step->node, input);
    return true;
}

static void rewrite_block(void *ctx, struct block *b) { block_filter(b, ctx, rewrite); }

/* Second step, since reads_input needs the chains as they were. */
static void make_slot(void *ctx, struct stmt *s) {
    struct projection *j = ctx;
    struct step *step = s->kind == STMT_DOT ? &j->steps[s->target] : NULL;
    if (!step || step->dot != s) return;
    bool input = reads_input(j, s);
    s->kind = input ? STMT_INPUT_SLOT : STMT_DATA_SLOT;
    s->integer = step->node->slot;
}

static void clear_operands(void *ctx, struct stmt *s) {
    (void)ctx;
    if (s->kind == STMT_INPUT_SLOT || s->kind == STMT_DATA_SLOT)
        s->a = s->b = (struct operand){OPERAND_NONE, 0};
}

static void whole_document(void *ctx, struct stmt *s, uint32_t *local, enum local_role role,
                           struct operand *operand) {
    struct plan *p = ctx;
    (void)s, (void)operand;
    if (role == ROLE_WRITE || *local > LOCAL_DATA) return;
    bool input = *local == LOCAL_INPUT;
    need_slot(p, input ? p->input_tree : p->data_tree, input);
}

static void find_whole(void *ctx, struct stmt *s) {
    struct plan *p = ctx;
    walk_locals(s, p, whole_document);
    /* Changing a part of a document needs the rest of it. */
    if (s->kind == STMT_WITH && s->target <= LOCAL_DATA && s->path.n)
        need_slot(p, s->target == LOCAL_INPUT ? p->input_tree : p->data_tree,
                  s->target == LOCAL_INPUT);
}

static void visit_unit(void *ctx, struct unit *u) {
    struct plan *p = u->plan;
    struct projection j = {u, walk_uses(u), ARENA_ARRAY(p->arena, struct step, *u->n_locals + 2u)};
    (void)ctx;
    find_steps(&j, u->blocks, NULL);
    walk_blocks(u->blocks, &j, find_cover);
    walk_blocks(u->blocks, &j, rewrite_block);
    walk_stmts(u->blocks, &j, make_slot);
    walk_stmts(u->blocks, &j, clear_operands);
    walk_stmts(u->blocks, p, find_whole);
}

void pass_project(struct plan *p) {
    p->input_tree = tree_new(p->arena, 0);
    p->data_tree = tree_new(p->arena, 0);
    walk_units(p, NULL, visit_unit);
}
