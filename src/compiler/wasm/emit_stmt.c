/* Emits single statements of the plan; those that hold blocks or call are in emit_control.c.
 * in: statements (plan/stmt.def). out: instructions. owns: nothing. */
#include "compiler/wasm/emit.h"

static void break_unless_defined(struct emit *e, const struct stmt *s) {
    emit_op(e, OP_I64_EQZ);
    emit_leave_if(e, s, 0);
}

/* Stores the word on the stack in the target; undefined leaves the block. */
static void set_or_break(struct emit *e, const struct stmt *s) {
    emit_index(e, OP_LOCAL_TEE, emit_local(e, s->target));
    break_unless_defined(e, s);
}

static void set_slot(struct emit *e, const struct stmt *s, uint32_t slot) {
    emit_load_slot(e, slot);
    emit_set(e, s->target);
}

static void push_both(struct emit *e, const struct stmt *s) {
    emit_push(e, s->a);
    emit_push(e, s->b);
}

void emit_conflict(struct emit *e, const struct stmt *s, enum conflict kind) {
    emit_i32(e, (int32_t)kind);
    if (kind == KEY_CONFLICT) emit_i64(e, (int64_t)VALUE_UNDEFINED);
    else emit_load_slot(e, constant_slot(e, CONSTANT_STRING, (uint32_t)s->integer));
    emit_load_slot(e, constant_slot(e, CONSTANT_FILE, s->file));
    emit_i32(e, (int32_t)s->row);
    emit_i32(e, (int32_t)s->col);
    emit_runtime_call(e, FUNCTION_rt_conflict);
    emit_op(e, OP_UNREACHABLE);
}

/* ---- equality: three ways to know the answer without a call come first ---- */

/* A boolean has one word. */
static void equal_to_boolean(struct emit *e, const struct stmt *s, bool wanted) {
    push_both(e, s);
    emit_op(e, wanted ? OP_I64_NE : OP_I64_EQ);
    emit_leave_if(e, s, 0);
}

/* 1 on the stack when the low halves of the words differ: tag or length, when one is a string. */
static void low_words_differ(struct emit *e, const struct stmt *s) {
    push_both(e, s);
    emit_op(e, OP_I64_XOR);
    emit_op(e, OP_I32_WRAP_I64);
}

static void equal_to_string(struct emit *e, const struct stmt *s, bool wanted) {
    uint32_t skip = wanted ? 0 : emit_open(e, OP_BLOCK);
    low_words_differ(e, s);
    if (wanted)
        emit_leave_if(e, s, 0);
    else
        emit_branch(e, OP_BR_IF, skip);
    push_both(e, s);
    emit_runtime_call(e, FUNCTION_rt_equal);
    if (wanted) emit_op(e, OP_I32_EQZ);
    emit_leave_if(e, s, 0);
    if (!wanted) emit_close(e);
}

/* 1 on the stack when both are null, boolean or integer: then different words are different values.
 */
static void both_are_words(struct emit *e, const struct stmt *s) {
    push_both(e, s);
    emit_op(e, OP_I64_OR);
    emit_i64(e, 12);
    emit_op(e, OP_I64_AND);
    emit_op(e, OP_I64_EQZ);
}

static void equal_values(struct emit *e, const struct stmt *s, bool wanted) {
    uint32_t skip = wanted ? emit_open(e, OP_BLOCK) : 0;
    push_both(e, s);
    emit_op(e, OP_I64_EQ);
    if (wanted)
        emit_branch(e, OP_BR_IF, skip);
    else
        emit_leave_if(e, s, 0);
    if (!wanted) skip = emit_open(e, OP_BLOCK);
    both_are_words(e, s);
    if (wanted)
        emit_leave_if(e, s, 0);
    else
        emit_branch(e, OP_BR_IF, skip);
    push_both(e, s);
    emit_runtime_call(e, FUNCTION_rt_equal);
    if (wanted) emit_op(e, OP_I32_EQZ);
    emit_leave_if(e, s, 0);
    emit_close(e);
}

static void emit_equal(struct emit *e, const struct stmt *s, bool wanted) {
    if (s->a.kind == OPERAND_BOOL || s->b.kind == OPERAND_BOOL)
        equal_to_boolean(e, s, wanted);
    else if (s->a.kind == OPERAND_STRING || s->b.kind == OPERAND_STRING)
        equal_to_string(e, s, wanted);
    else
        equal_values(e, s, wanted);
}

/* ---- the others ---- */

static void emit_type_test(struct emit *e, const struct stmt *s, enum value_tag tag) {
    emit_push(e, s->a);
    emit_op(e, OP_I32_WRAP_I64);
    emit_i32(e, 15);
    emit_op(e, OP_I32_AND);
    emit_i32(e, (int32_t)tag);
    emit_op(e, OP_I32_NE);
    emit_leave_if(e, s, 0);
}

/* Goes to `keep` when the target holds an equal value already; a conflict when it holds another. */
static void check_assigned(struct emit *e, const struct stmt *s, uint32_t keep) {
    uint32_t undefined = emit_open(e, OP_BLOCK);
    emit_push_local(e, s->target);
    emit_op(e, OP_I64_EQZ);
    emit_branch(e, OP_BR_IF, undefined);
    emit_push_local(e, s->target);
    emit_push(e, s->a);
    emit_op(e, OP_I64_EQ);
    emit_branch(e, OP_BR_IF, keep);
    if (s->a.kind != OPERAND_BOOL) { /* a boolean has one word */
        emit_push_local(e, s->target);
        emit_push(e, s->a);
        emit_runtime_call(e, FUNCTION_rt_equal);
        emit_branch(e, OP_BR_IF, keep);
    }
    emit_conflict(e, s, s->key ? CALL_CONFLICT : RULE_CONFLICT);
    emit_close(e);
}

/* The first value stays: equal numbers may have several texts. */
static void emit_assign_once(struct emit *e, const struct stmt *s) {
    bool checked = e->f.maybe_defined[s->target];
    if (checked) check_assigned(e, s, emit_open(e, OP_BLOCK));
    emit_push(e, s->a);
    emit_set(e, s->target);
    if (checked) emit_close(e);
}

static void emit_insert(struct emit *e, const struct stmt *s, enum rt_function f) {
    emit_push_local(e, s->target);
    push_both(e, s);
    emit_runtime_call(e, f);
}

static void emit_insert_once(struct emit *e, const struct stmt *s) {
    emit_insert(e, s, FUNCTION_rt_object_insert_once);
    emit_open(e, OP_IF);
    emit_conflict(e, s, KEY_CONFLICT);
    emit_close(e);
}

static void emit_add(struct emit *e, const struct stmt *s, enum rt_function f) {
    emit_push_local(e, s->target);
    emit_push(e, s->a);
    emit_runtime_call(e, f);
}

static void emit_new(struct emit *e, const struct stmt *s, enum rt_function f, int64_t capacity) {
    emit_i32(e, capacity < 0 || capacity > 1 << 20 ? 0 : (int32_t)capacity);
    emit_runtime_call(e, f);
    emit_set(e, s->target);
}

static void emit_integer(struct emit *e, const struct stmt *s) {
    if (s->integer < INTEGER_MIN || s->integer > INTEGER_MAX)
        emit_error(e, s, DIAG_COMPILE, "internal: an integer of the planner passes 60 bits");
    emit_i64(e, (int64_t)value_of_integer(s->integer));
    emit_set(e, s->target);
}

static void emit_dot(struct emit *e, const struct stmt *s) {
    push_both(e, s);
    emit_runtime_call(e, FUNCTION_rt_get);
    set_or_break(e, s);
}

static void emit_result(struct emit *e, const struct stmt *s) {
    uint32_t decision = e->f.entrypoint ? e->f.entrypoint->result_local : 0;
    if (decision)
        emit_push_local(e, decision);
    else
        emit_push(e, s->a);
    emit_runtime_call(e, decision ? FUNCTION_rt_result_path : FUNCTION_rt_result_add);
}

/* A local that is undefined for certain needs no test and no reset. */
static bool is_redundant(const struct emit *e, const struct stmt *s) {
    if (s->kind == STMT_RESET_LOCAL) return !e->f.maybe_defined[s->target];
    return s->kind == STMT_IS_UNDEFINED && s->a.kind == OPERAND_LOCAL && s->a.index > LOCAL_DATA &&
           !e->f.maybe_defined[s->a.index];
}

static void emit_is_defined(struct emit *e, const struct stmt *s, bool wanted) {
    emit_push(e, s->a);
    emit_op(e, OP_I64_EQZ);
    if (!wanted) emit_op(e, OP_I32_EQZ);
    emit_leave_if(e, s, 0);
}

/* target = a value that is on the stack after pushing one operand or calling one function. */
static void emit_simple(struct emit *e, const struct stmt *s) {
    switch ((int)s->kind) {
    case STMT_ASSIGN_VAR: emit_push(e, s->a); break;
    case STMT_MAKE_NULL: emit_i64(e, (int64_t)VALUE_NULL); break;
    case STMT_RESET_LOCAL: emit_i64(e, (int64_t)VALUE_UNDEFINED); break;
    case STMT_LEN:
        emit_push(e, s->a);
        emit_runtime_call(e, FUNCTION_rt_len);
        break;
    case STMT_OBJECT_MERGE:
        push_both(e, s);
        emit_runtime_call(e, FUNCTION_rt_object_merge);
        break;
    }
    emit_set(e, s->target);
}

/* An entrypoint's {"result": …} is left out: rt_result_path takes the bare decision. */
static bool is_wrapping(const struct emit *e, const struct stmt *s) {
    return e->f.wrapper && s->target == e->f.wrapper &&
           (s->kind == STMT_MAKE_OBJECT || s->kind == STMT_OBJECT_INSERT);
}

static void emit_one(struct emit *e, const struct stmt *s) {
    if (is_wrapping(e, s) || is_redundant(e, s)) return;
    switch (s->kind) {
    case STMT_ARRAY_APPEND: emit_add(e, s, FUNCTION_rt_array_push); return;
    case STMT_ASSIGN_INT: emit_integer(e, s); return;
    case STMT_ASSIGN_VAR_ONCE: emit_assign_once(e, s); return;
    case STMT_ASSIGN_VAR:
    case STMT_LEN:
    case STMT_MAKE_NULL:
    case STMT_OBJECT_MERGE:
    case STMT_RESET_LOCAL: emit_simple(e, s); return;
    case STMT_BLOCK: emit_blocks(e, &s->blocks); return;
    case STMT_BREAK: emit_leave(e, s, (uint32_t)s->integer); return;
    case STMT_CALL: emit_call(e, s); return;
    case STMT_CALL_DYNAMIC: emit_call_dynamic(e, s); return;
    case STMT_DOT: emit_dot(e, s); return;
    case STMT_EQUAL: emit_equal(e, s, true); return;
    case STMT_IS_ARRAY: emit_type_test(e, s, TAG_ARRAY); return;
    case STMT_IS_DEFINED: emit_is_defined(e, s, true); return;
    case STMT_IS_OBJECT: emit_type_test(e, s, TAG_OBJECT); return;
    case STMT_IS_SET: emit_type_test(e, s, TAG_SET); return;
    case STMT_IS_UNDEFINED: emit_is_defined(e, s, false); return;
    case STMT_MAKE_ARRAY: emit_new(e, s, FUNCTION_rt_array_new, s->integer); return;
    case STMT_MAKE_NUMBER_INT: emit_integer(e, s); return;
    case STMT_MAKE_NUMBER_REF:
        set_slot(e, s, constant_slot(e, CONSTANT_NUMBER, (uint32_t)s->integer));
        return;
    case STMT_MAKE_OBJECT: emit_new(e, s, FUNCTION_rt_object_new, 0); return;
    case STMT_MAKE_SET: emit_new(e, s, FUNCTION_rt_set_new, 0); return;
    case STMT_NOP: return;
    case STMT_NOT: emit_not(e, s); return;
    case STMT_NOT_EQUAL: emit_equal(e, s, false); return;
    case STMT_OBJECT_INSERT_ONCE: emit_insert_once(e, s); return;
    case STMT_OBJECT_INSERT: emit_insert(e, s, FUNCTION_rt_object_insert); return;
    case STMT_RESULT_SET_ADD: emit_result(e, s); return;
    case STMT_RETURN_LOCAL: emit_return(e, s->a.index, false); return;
    case STMT_SCAN: emit_scan(e, s); return;
    case STMT_SET_ADD: emit_add(e, s, FUNCTION_rt_set_add); return;
    case STMT_WITH: emit_with(e, s); return;
    case STMT_INPUT_SLOT:
        emit_load_slot(e, input_slot(e, s->integer));
        set_or_break(e, s);
        return;
    case STMT_DATA_SLOT:
        emit_load_slot(e, data_slot(e, s->integer));
        set_or_break(e, s);
        return;
    case STMT_MAKE_CONST:
        set_slot(e, s, constant_slot(e, CONSTANT_TERM, (uint32_t)s->integer));
        return;
    }
}

void emit_block(struct emit *e, const struct block *b) {
    uint32_t mark = survey_enter(e);
    for (uint32_t i = 0; i < b->n && !e->failed; i++) {
        emit_one(e, b->items[i]);
        survey_after(e, b->items[i]);
    }
    survey_leave(e, mark);
}
