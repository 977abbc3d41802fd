/* Results of alternatives as tuples in an array, scanned by what follows.
 * in: blocks that bind variables. out: one scan that binds them again. owns: nothing (arena). */
#include "compiler/plan/plan_private.h"

void gather_begin(struct planner *p, struct gather *g) {
    *g = (struct gather){.block = p->curr, .at = p->curr->n, .array = new_local(p)};
    table_init(&g->names, p->a);
}

static void insert_make_array(struct planner *p, const struct gather *g) {
    struct stmt *make = stmt_make(p, STMT_MAKE_ARRAY);
    make->target = g->array;
    ARENA_PUSH(p->a, g->block, make);
    for (uint32_t i = g->block->n - 1; i > g->at; i--) g->block->items[i] = g->block->items[i - 1];
    g->block->items[g->at] = make;
}

/* A variable that no statement bound (its alternative cannot succeed) is carried as false. */
static struct operand name_value(const struct planner *p, struct str name) {
    struct operand o;
    return var_get(p, name, &o) ? o : op_bool(false);
}

void gather_add(struct planner *p, const struct gather *g, struct operand value) {
    uint32_t n = g->names.n + (value.kind != OPERAND_NONE);
    if (n == 1) {
        struct operand only = g->names.n ? name_value(p, g->names.entries[0].key) : value;
        emit_to(p, STMT_ARRAY_APPEND, g->array, only, (struct operand){0});
        return;
    }
    uint32_t tuple = new_local(p);
    emit_int(p, STMT_MAKE_ARRAY, tuple, n);
    for (uint32_t i = 0; i < g->names.n; i++)
        emit_to(p, STMT_ARRAY_APPEND, tuple, name_value(p, g->names.entries[i].key),
                (struct operand){0});
    if (value.kind != OPERAND_NONE)
        emit_to(p, STMT_ARRAY_APPEND, tuple, value, (struct operand){0});
    emit_to(p, STMT_ARRAY_APPEND, g->array, op_local(tuple), (struct operand){0});
}

static struct operand tuple_item(struct planner *p, struct operand tuple, uint32_t i) {
    uint32_t index = new_local(p);
    emit_int(p, STMT_MAKE_NUMBER_INT, index, i);
    return op_local(emit_target(p, STMT_DOT, tuple, op_local(index)));
}

struct operand gather_end(struct planner *p, const struct gather *g, bool has_value) {
    insert_make_array(p, g);
    uint32_t n = g->names.n + has_value;
    struct operand tuple = plan_scan(p, op_local(g->array), NULL, NULL);
    if (n == 1) {
        if (has_value) return tuple;
        var_put(p, g->names.entries[0].key, tuple);
        return (struct operand){0};
    }
    for (uint32_t i = 0; i < g->names.n; i++)
        var_put(p, g->names.entries[i].key, tuple_item(p, tuple, i));
    return has_value ? tuple_item(p, tuple, n - 1) : (struct operand){0};
}
