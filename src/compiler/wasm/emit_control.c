/* Emits the statements that hold blocks, and calls.
 * in: BLOCK, SCAN, NOT, WITH, CALL, CALL_DYNAMIC. out: instructions. owns: nothing.
 *
 * Each block of the plan is a level with the label that leaves it. Leaving the body of a scan goes
 * on with the next element; leaving the body of a `with` runs its ending; leaving the block of a
 * `not` means that it holds. */
#include "compiler/wasm/emit.h"

static void enter(struct emit *e, uint32_t label) {
    struct level level = {.label = label};
    ARENA_PUSH(e->arena, &e->f.levels, level);
}

static void leave(struct emit *e) { e->f.levels.n--; }

void emit_blocks(struct emit *e, const struct block_list *blocks) {
    for (uint32_t i = 0; i < blocks->n; i++) {
        enter(e, emit_open(e, OP_BLOCK));
        emit_block(e, blocks->items[i]);
        leave(e);
        emit_close(e);
    }
}

/* ---- SCAN ---- */

static void scan_element(struct emit *e, const struct stmt *s, uint32_t source, uint32_t i,
                         uint32_t target, enum rt_function f) {
    if (e->f.reads[target] == 0) return;
    if (source)
        emit_index(e, OP_LOCAL_GET, source - 1);
    else
        emit_push(e, s->a);
    emit_index(e, OP_LOCAL_GET, i);
    emit_runtime_call(e, f);
    emit_set(e, target);
}

static void increment(struct emit *e, uint32_t i) {
    emit_index(e, OP_LOCAL_GET, i);
    emit_i32(e, 1);
    emit_op(e, OP_I32_ADD);
    emit_index(e, OP_LOCAL_SET, i);
}

void emit_scan(struct emit *e, const struct stmt *s) {
    bool document = s->a.kind == OPERAND_LOCAL && s->a.index <= LOCAL_DATA;
    uint32_t source = document ? emit_temporary(e) + 1 : 0;
    uint32_t n = e->f.n_params + 2 * e->f.scan_depth, i = n + 1;
    e->f.scan_depth++;
    emit_push(e, s->a);
    if (source) emit_index(e, OP_LOCAL_TEE, source - 1);
    emit_runtime_call(e, FUNCTION_rt_scan_begin);
    emit_index(e, OP_LOCAL_SET, n);
    emit_i32(e, 0);
    emit_index(e, OP_LOCAL_SET, i);
    survey_loop(e, s);
    uint32_t end = emit_open(e, OP_BLOCK), next = emit_open(e, OP_LOOP);
    emit_index(e, OP_LOCAL_GET, i);
    emit_index(e, OP_LOCAL_GET, n);
    emit_op(e, OP_I32_GE_U);
    emit_branch(e, OP_BR_IF, end);
    scan_element(e, s, source, i, s->key, FUNCTION_rt_scan_key);
    scan_element(e, s, source, i, s->value, FUNCTION_rt_scan_value);
    increment(e, i);
    enter(e, next);
    emit_block(e, s->blocks.items[0]);
    leave(e);
    emit_branch(e, OP_BR, next);
    emit_close(e);
    emit_close(e);
    e->f.scan_depth--;
}

void emit_not(struct emit *e, const struct stmt *s) {
    enter(e, emit_open(e, OP_BLOCK));
    emit_block(e, s->blocks.items[0]);
    emit_leave(e, s, 1);
    leave(e);
    emit_close(e);
}

/* ---- WITH ---- */

static void push_path(struct emit *e, const struct operand_list *path) {
    bool constant = true;
    for (uint32_t i = 0; i < path->n; i++) constant &= path->items[i].kind == OPERAND_STRING;
    if (constant) {
        emit_load_slot(e, constant_path_slot(e, path));
        return;
    }
    uint32_t array = emit_temporary(e);
    emit_i32(e, (int32_t)path->n);
    emit_runtime_call(e, FUNCTION_rt_array_new);
    emit_index(e, OP_LOCAL_SET, array);
    for (uint32_t i = 0; i < path->n; i++) {
        emit_index(e, OP_LOCAL_GET, array);
        emit_push(e, path->items[i]);
        emit_runtime_call(e, FUNCTION_rt_array_push);
    }
    emit_index(e, OP_LOCAL_GET, array);
}

static void begin_with(struct emit *e, const struct stmt *s, struct level *level) {
    if (s->target <= LOCAL_DATA) {
        push_path(e, &s->path);
        emit_push(e, s->a);
        emit_runtime_call(e, s->target == LOCAL_INPUT ? FUNCTION_rt_with_input
                                                      : FUNCTION_rt_with_data);
        return;
    }
    level->saved = emit_temporary(e);
    emit_push_local(e, s->target);
    emit_index(e, OP_LOCAL_SET, level->saved);
    if (s->path.n) {
        emit_push_local(e, s->target);
        push_path(e, &s->path);
    }
    emit_push(e, s->a);
    if (s->path.n) emit_runtime_call(e, FUNCTION_rt_upsert);
    emit_set(e, s->target);
}

void emit_with(struct emit *e, const struct stmt *s) {
    struct level level = {.with = true, .target = s->target};
    begin_with(e, s, &level);
    uint32_t done = emit_open(e, OP_BLOCK);
    level.label = emit_open(e, OP_BLOCK);
    ARENA_PUSH(e->arena, &e->f.levels, level);
    emit_block(e, s->blocks.items[0]);
    emit_undo_withs(e, 1);
    emit_branch(e, OP_BR, done);
    emit_close(e);
    emit_undo_withs(e, 1);
    leave(e);
    emit_leave(e, s, 0);
    emit_close(e);
}

/* ---- RETURN ---- */

/* A memo slot holds 0 while its function has not run, so undefined is kept as another word. */
static void store_memo(struct emit *e, uint32_t plan_local) {
    emit_i32(e, 0);
    emit_i64(e, (int64_t)MEMO_UNDEFINED);
    emit_push_local(e, plan_local);
    emit_push_local(e, plan_local);
    emit_op(e, OP_I64_EQZ);
    emit_op(e, OP_SELECT);
    emit_store_slot_end(e, memo_slot(e, e->f.function->index));
}

void emit_return(struct emit *e, uint32_t plan_local, bool last) {
    emit_undo_withs(e, e->f.levels.n);
    if (!e->f.function) {
        emit_op(e, OP_RETURN);
        return;
    }
    if (e->f.function->memoised) store_memo(e, plan_local);
    emit_push_local(e, plan_local);
    if (!last) emit_op(e, OP_RETURN);
}

/* ---- CALL ---- */

static void set_result(struct emit *e, const struct stmt *s) {
    emit_index(e, OP_LOCAL_TEE, emit_local(e, s->target));
    emit_op(e, OP_I64_EQZ);
    emit_leave_if(e, s, 0);
}

/* The memo's word if there is one, else the function's result, which fills the memo. */
static void call_memoised(struct emit *e, const struct stmt *s, const struct function *f) {
    uint32_t target = emit_local(e, s->target);
    emit_load_slot(e, memo_slot(e, f->index));
    emit_index(e, OP_LOCAL_TEE, target);
    emit_op(e, OP_I64_EQZ);
    emit_open(e, OP_IF);
    emit_own_call(e, f->index);
    emit_index(e, OP_LOCAL_SET, target);
    emit_close(e);
    emit_i64(e, (int64_t)VALUE_UNDEFINED);
    emit_index(e, OP_LOCAL_GET, target);
    emit_index(e, OP_LOCAL_GET, target);
    emit_i64(e, (int64_t)MEMO_UNDEFINED);
    emit_op(e, OP_I64_EQ);
    emit_op(e, OP_SELECT);
}

/* The first two arguments are input and data, which are memory here. */
static void call_function(struct emit *e, const struct stmt *s, const struct function *f) {
    if (f->memoised) {
        call_memoised(e, s, f);
        return;
    }
    for (uint32_t i = 2; i < s->args.n; i++) emit_push(e, s->args.items[i]);
    emit_own_call(e, f->index);
}

static void call_host(struct emit *e, const struct stmt *s, uint32_t id) {
    static const enum rt_function by_arity[] = {FUNCTION_rt_builtin0, FUNCTION_rt_builtin1,
                                                FUNCTION_rt_builtin2, FUNCTION_rt_builtin3,
                                                FUNCTION_rt_builtin4};
    if (s->args.n > 4) {
        emit_error(e, s, DIAG_UNSUPPORTED, "a host builtin with more than four arguments");
        return;
    }
    emit_i32(e, (int32_t)id);
    for (uint32_t i = 0; i < s->args.n; i++) emit_push(e, s->args.items[i]);
    emit_runtime_call(e, by_arity[s->args.n]);
}

static void call_runtime_builtin(struct emit *e, const struct stmt *s) {
    const struct builtin *b = s->builtin;
    const char *name = arena_printf(e->arena, NULL, "bi_%s", b->identifier);
    static const char all_words[] = "llllllll";
    if (s->args.n > sizeof all_words - 1) {
        emit_error(e, s, DIAG_UNSUPPORTED, "a builtin with more than eight arguments");
        return;
    }
    for (uint32_t i = 0; i < s->args.n; i++) emit_push(e, s->args.items[i]);
    emit_import_call(e, name, all_words + sizeof all_words - 1 - s->args.n, "l");
}

static void call_builtin(struct emit *e, const struct stmt *s) {
    const struct builtin *b = s->builtin;
    uint32_t id = 0;
    switch (b->place) {
    case BUILTIN_RUNTIME: call_runtime_builtin(e, s); return;
    case BUILTIN_HOST:
        while (id < e->plan->builtins.n && e->plan->builtins.items[id] != b) id++;
        if (id < e->plan->builtins.n)
            call_host(e, s, e->builtin_ids[id] - 1);
        else
            emit_error(e, s, DIAG_COMPILE, "internal: a builtin is missing in the plan's list");
        return;
    case BUILTIN_PLAN:
    case BUILTIN_LATER:
        emit_error(e, s, DIAG_UNSUPPORTED,
                   arena_printf(e->arena, NULL, "the builtin %s is not supported yet", b->name));
        return;
    }
}

void emit_call(struct emit *e, const struct stmt *s) {
    if (s->func) {
        if (s->args.n != s->func->n_params)
            emit_error(e, s, DIAG_COMPILE,
                       "internal: a call's arguments do not match its function");
        call_function(e, s, s->func);
    } else {
        call_builtin(e, s);
    }
    if (e->failed) return;
    if (!s->func && s->builtin->is_void)
        emit_op(e, OP_DROP);
    else
        set_result(e, s);
}

/* ---- CALL_DYNAMIC ---- */

static bool may_match(const struct emit *e, const struct stmt *s, const struct function *f) {
    uint32_t n_args = s->args.n < 2 ? 2 : s->args.n;
    if (f->n_path != s->path.n || f->n_params != n_args) return false;
    for (uint32_t i = 0; i < s->path.n; i++) {
        struct operand o = s->path.items[i];
        if (o.kind == OPERAND_BOOL) return false;
        if (o.kind == OPERAND_STRING && !str_eq(e->plan->strings.items[o.index].text, f->path[i]))
            return false;
    }
    return true;
}

/* Goes to `next` unless operand o is the string `text`. */
static void match_part(struct emit *e, struct operand o, struct str text, uint32_t next) {
    uint32_t slot = constant_text_slot(e, text);
    emit_push(e, o);
    emit_load_slot(e, slot);
    emit_op(e, OP_I64_XOR);
    emit_op(e, OP_I32_WRAP_I64);
    emit_branch(e, OP_BR_IF, next);
    emit_push(e, o);
    emit_load_slot(e, slot);
    emit_runtime_call(e, FUNCTION_rt_equal);
    emit_op(e, OP_I32_EQZ);
    emit_branch(e, OP_BR_IF, next);
}

static void try_candidate(struct emit *e, const struct stmt *s, const struct function *f,
                          uint32_t found) {
    uint32_t next = emit_open(e, OP_BLOCK);
    for (uint32_t i = 0; i < s->path.n; i++)
        if (s->path.items[i].kind == OPERAND_LOCAL)
            match_part(e, s->path.items[i], f->path[i], next);
    call_function(e, s, f);
    emit_set(e, s->target);
    emit_branch(e, OP_BR, found);
    emit_close(e);
}

/* Leaves the block when no function has that path; a function's undefined result ends the whole
 * reference, three blocks further out, so that base data does not shine through (internal/planner,
 * optimizeLookup). */
void emit_call_dynamic(struct emit *e, const struct stmt *s) {
    uint32_t found = emit_open(e, OP_BLOCK);
    for (uint32_t i = 0; i < e->plan->functions.n; i++)
        if (may_match(e, s, e->plan->functions.items[i]))
            try_candidate(e, s, e->plan->functions.items[i], found);
    emit_leave(e, s, 0);
    emit_close(e);
    emit_push_local(e, s->target);
    emit_op(e, OP_I64_EQZ);
    emit_leave_if(e, s, 3);
}
