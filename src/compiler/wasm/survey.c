/* Looks through a function before and during emission: its locals, which are read, which may be
 * defined. in: blocks of the plan. out: the lists in e->f. owns: nothing. */
#include "compiler/wasm/emit.h"

struct survey {
    uint32_t *reads; /* NULL in the first round, which counts only */
    uint32_t n_locals, scan_depth;
};

static void see_local(struct survey *v, uint32_t local, bool read) {
    if (v->n_locals <= local) v->n_locals = local + 1;
    if (v->reads && read) v->reads[local]++;
}

static void see_operand(struct survey *v, struct operand o) {
    if (o.kind == OPERAND_LOCAL) see_local(v, o.index, true);
}

static void see_operands(struct survey *v, const struct operand_list *l) {
    for (uint32_t i = 0; i < l->n; i++) see_operand(v, l->items[i]);
}

static void see_blocks(struct survey *v, const struct block_list *blocks, uint32_t depth);

static void see_stmt(struct survey *v, const struct stmt *s, uint32_t depth) {
    bool scan = s->kind == STMT_SCAN;
    see_operand(v, s->a);
    see_operand(v, s->b);
    see_local(v, s->target, s->kind == STMT_ASSIGN_VAR_ONCE || s->kind == STMT_WITH);
    see_operands(v, &s->args);
    see_operands(v, &s->path);
    if (scan) {
        see_local(v, s->key, false);
        see_local(v, s->value, false);
        if (depth + 1 > v->scan_depth) v->scan_depth = depth + 1;
    }
    see_blocks(v, &s->blocks, depth + scan);
}

static void see_blocks(struct survey *v, const struct block_list *blocks, uint32_t depth) {
    for (uint32_t i = 0; i < blocks->n; i++)
        for (uint32_t j = 0; j < blocks->items[i]->n; j++)
            see_stmt(v, blocks->items[i]->items[j], depth);
}

void survey_function(struct emit *e, const struct block_list *blocks, const struct function *f) {
    struct survey v = {0};
    uint32_t result = f ? f->return_local : e->f.entrypoint->result_local;
    for (uint32_t i = 0; f && i < f->n_params; i++) see_local(&v, f->params[i], false);
    see_local(&v, result, true);
    see_blocks(&v, blocks, 0);
    v.reads = ARENA_ARRAY(e->arena, uint32_t, v.n_locals);
    see_blocks(&v, blocks, 0);
    v.reads[result]++;
    e->f.reads = v.reads;
    e->f.n_locals = v.n_locals;
    e->f.locals = ARENA_ARRAY(e->arena, uint32_t, v.n_locals);
    e->f.maybe_defined = ARENA_ARRAY(e->arena, bool, v.n_locals);
    for (uint32_t i = 0; f && i < f->n_params; i++) e->f.maybe_defined[f->params[i]] = true;
    for (uint32_t i = 0; i <= LOCAL_DATA && i < v.n_locals; i++) e->f.maybe_defined[i] = true;
    e->f.n_i32 = 2 * v.scan_depth;
}

/* ---- definedness ---- */

static void clear(struct emit *e, uint32_t local) {
    if (local <= LOCAL_DATA || !e->f.maybe_defined[local]) return;
    e->f.maybe_defined[local] = false;
    ARENA_PUSH(e->arena, &e->f.cleared, local);
}

void survey_after(struct emit *e, const struct stmt *s) {
    if (s->kind == STMT_RESET_LOCAL)
        clear(e, s->target);
    else if (s->kind == STMT_IS_UNDEFINED && s->a.kind == OPERAND_LOCAL)
        clear(e, s->a.index);
    else
        e->f.maybe_defined[s->target] = true;
}

static void loop_blocks(struct emit *e, const struct block_list *blocks) {
    for (uint32_t i = 0; i < blocks->n; i++)
        for (uint32_t j = 0; j < blocks->items[i]->n; j++)
            survey_loop(e, blocks->items[i]->items[j]);
}

void survey_loop(struct emit *e, const struct stmt *s) {
    e->f.maybe_defined[s->target] = true;
    e->f.maybe_defined[s->key] = true;
    e->f.maybe_defined[s->value] = true;
    loop_blocks(e, &s->blocks);
}

uint32_t survey_enter(const struct emit *e) { return e->f.cleared.n; }

void survey_leave(struct emit *e, uint32_t mark) {
    while (e->f.cleared.n > mark) e->f.maybe_defined[e->f.cleared.items[--e->f.cleared.n]] = true;
}
