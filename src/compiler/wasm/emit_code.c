/* Writes single instructions, keeps track of labels and locals.
 * in: what statements want done. out: bytes in emit->body, relocations. owns: nothing. */
#include "compiler/wasm/emit.h"
#include "compiler/wasm/leb.h"

void emit_op(struct emit *e, enum opcode op) { buf_byte(&e->body, (uint8_t)op); }

void emit_index(struct emit *e, enum opcode op, uint32_t index) {
    emit_op(e, op);
    leb_u32(&e->body, index);
}

void emit_i32(struct emit *e, int32_t i) {
    emit_op(e, OP_I32_CONST);
    leb_s64(&e->body, i);
}

void emit_i64(struct emit *e, int64_t i) {
    emit_op(e, OP_I64_CONST);
    leb_s64(&e->body, i);
}

static void emit_symbol_call(struct emit *e, uint32_t symbol) {
    emit_op(e, OP_CALL);
    struct relocation r = {(uint32_t)e->body.len, symbol};
    ARENA_PUSH(e->arena, &e->body_relocations, r);
}

static uint32_t import_index(struct emit *e, const char *name, const char *params,
                             const char *result) {
    for (uint32_t i = 0; i < e->imports.n; i++)
        if (!strcmp(e->imports.items[i].name, name)) return i;
    struct runtime_function import = {name, params, result};
    ARENA_PUSH(e->arena, &e->imports, import);
    return e->imports.n - 1;
}

void emit_import_call(struct emit *e, const char *name, const char *params, const char *result) {
    emit_symbol_call(e, SYMBOL_IMPORT + import_index(e, name, params, result));
}

void emit_runtime_call(struct emit *e, enum rt_function f) {
    static const struct runtime_function rows[FUNCTION_COUNT] = {
#define RT(name, params, result, meaning) {#name, params, result},
#include "runtime/rt.def"
#undef RT
    };
    uint32_t *known = &e->runtime_import[f];
    if (!*known) *known = import_index(e, rows[f].name, rows[f].params, rows[f].result) + 1;
    emit_symbol_call(e, SYMBOL_IMPORT + *known - 1);
}

void emit_own_call(struct emit *e, uint32_t function) { emit_symbol_call(e, function); }

uint32_t emit_open(struct emit *e, enum opcode op) {
    emit_op(e, op);
    buf_byte(&e->body, BLOCK_EMPTY);
    return ++e->f.depth;
}

void emit_close(struct emit *e) {
    emit_op(e, OP_END);
    e->f.depth--;
}

void emit_branch(struct emit *e, enum opcode op, uint32_t label) {
    emit_index(e, op, e->f.depth - label);
}

static void emit_memory(struct emit *e, enum opcode op, uint32_t slot) {
    emit_op(e, op);
    leb_u32(&e->body, 3);
    leb_u32(&e->body, SLOT_BASE + 8 * slot);
}

void emit_load_slot(struct emit *e, uint32_t slot) {
    emit_i32(e, 0);
    emit_memory(e, OP_I64_LOAD, slot);
}

void emit_store_slot_end(struct emit *e, uint32_t slot) { emit_memory(e, OP_I64_STORE, slot); }

uint32_t emit_temporary(struct emit *e) { return e->f.n_params + e->f.n_i32 + e->f.n_i64++; }

uint32_t emit_local(struct emit *e, uint32_t plan_local) {
    uint32_t *known = &e->f.locals[plan_local];
    if (!*known) *known = emit_temporary(e) + 1;
    return *known - 1;
}

void emit_push_local(struct emit *e, uint32_t plan_local) {
    if (plan_local == LOCAL_INPUT) {
        e->whole_input = true;
        emit_runtime_call(e, FUNCTION_rt_input);
    } else if (plan_local == LOCAL_DATA) {
        emit_runtime_call(e, FUNCTION_rt_data);
    } else {
        emit_index(e, OP_LOCAL_GET, emit_local(e, plan_local));
    }
}

void emit_push(struct emit *e, struct operand o) {
    switch (o.kind) {
    case OPERAND_NONE: emit_i64(e, VALUE_UNDEFINED); return;
    case OPERAND_LOCAL: emit_push_local(e, o.index); return;
    case OPERAND_BOOL: emit_i64(e, (int64_t)value_of_boolean((int)o.index)); return;
    case OPERAND_STRING: emit_load_slot(e, constant_slot(e, CONSTANT_STRING, o.index)); return;
    }
}

void emit_set(struct emit *e, uint32_t plan_local) {
    emit_index(e, OP_LOCAL_SET, emit_local(e, plan_local));
}

static void undo_with(struct emit *e, const struct level *level) {
    if (level->target <= LOCAL_DATA) {
        emit_runtime_call(e, FUNCTION_rt_with_end);
        return;
    }
    emit_index(e, OP_LOCAL_GET, level->saved);
    emit_set(e, level->target);
}

void emit_undo_withs(struct emit *e, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const struct level *level = &e->f.levels.items[e->f.levels.n - 1 - i];
        if (level->with) undo_with(e, level);
    }
}

static bool crosses_with(const struct emit *e, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (e->f.levels.items[e->f.levels.n - 1 - i].with) return true;
    return false;
}

static bool has_level(struct emit *e, const struct stmt *s, uint32_t n) {
    if (n < e->f.levels.n) return true;
    emit_error(e, s, DIAG_COMPILE, "internal: a break leaves more blocks than there are");
    return false;
}

void emit_leave(struct emit *e, const struct stmt *s, uint32_t n) {
    if (!has_level(e, s, n)) return;
    emit_undo_withs(e, n);
    emit_branch(e, OP_BR, e->f.levels.items[e->f.levels.n - 1 - n].label);
}

void emit_leave_if(struct emit *e, const struct stmt *s, uint32_t n) {
    if (!has_level(e, s, n)) return;
    if (!crosses_with(e, n)) {
        emit_branch(e, OP_BR_IF, e->f.levels.items[e->f.levels.n - 1 - n].label);
        return;
    }
    emit_open(e, OP_IF);
    emit_leave(e, s, n);
    emit_close(e);
}
