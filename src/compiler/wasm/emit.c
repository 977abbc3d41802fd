/* Plan to WebAssembly: every function and entrypoint, and the exported functions around them.
 * in: c->plan. out: c->thin, c->full. owns: the buffers of struct emit, freed on every way out.
 *
 * Emission runs twice: the first pass finds which constants the code names, hence where the slots
 * behind them lie. */
#include "compiler/wasm/emit.h"
#include "compiler/wasm/leb.h"
#include <setjmp.h>

enum { CODE_MAX_BYTES = 256 << 20 };

void emit_error(struct emit *e, const struct stmt *s, enum diag_code code, const char *message) {
    struct loc loc = {0};
    if (s && s->file < e->plan->files.n) {
        loc.file = e->plan->files.items[s->file];
        loc.row = s->row;
        loc.col = s->col;
    }
    diag_add(&e->c->diags, code, loc, "%s", message);
    e->failed = true;
}

/* ---- framing a body ---- */

static void put_locals(struct emit *e) {
    leb_u32(&e->code, (e->f.n_i32 > 0) + (e->f.n_i64 > 0));
    if (e->f.n_i32) {
        leb_u32(&e->code, e->f.n_i32);
        buf_byte(&e->code, TYPE_I32);
    }
    if (e->f.n_i64) {
        leb_u32(&e->code, e->f.n_i64);
        buf_byte(&e->code, TYPE_I64);
    }
}

static void begin(struct emit *e) {
    uint32_t cap = e->f.levels.cap;
    struct level *levels = e->f.levels.items;
    e->f = (struct function_state){.levels = {levels, 0, cap}};
    buf_clear(&e->body);
    e->body_relocations.n = 0;
}

static void finish(struct emit *e, struct emitted out) {
    emit_op(e, OP_END);
    out.start = (uint32_t)e->code.len;
    put_locals(e);
    uint32_t shift = (uint32_t)e->code.len;
    out.first_relocation = e->relocations.n;
    for (uint32_t i = 0; i < e->body_relocations.n; i++) {
        struct relocation r = e->body_relocations.items[i];
        r.at += shift;
        ARENA_PUSH(e->arena, &e->relocations, r);
    }
    out.end_relocation = e->relocations.n;
    buf_str(&e->code, buf_view(&e->body));
    out.end = (uint32_t)e->code.len;
    if (e->body.err && !e->code.err) e->code.err = e->body.err;
    ARENA_PUSH(e->arena, &e->functions, out);
}

/* ---- functions and entrypoints ---- */

static const char *words(uint32_t n, struct arena *a) {
    char *p = arena_alloc(a, n + 1);
    memset(p, 'l', n);
    return p;
}

static bool is_return_only(const struct block *b) {
    return b->n == 1 && b->items[0]->kind == STMT_RETURN_LOCAL;
}

static void undefined_result(struct emit *e, const struct function *f) {
    if (f->memoised) {
        emit_i32(e, 0);
        emit_i64(e, (int64_t)MEMO_UNDEFINED);
        emit_store_slot_end(e, memo_slot(e, f->index));
    }
    emit_i64(e, (int64_t)VALUE_UNDEFINED);
}

static void emit_function(struct emit *e, const struct function *f) {
    struct block_list blocks = f->blocks;
    begin(e);
    e->f.function = f;
    survey_function(e, &blocks, f);
    for (uint32_t i = 2; i < f->n_params; i++) e->f.locals[f->params[i]] = i - 1;
    e->f.n_params = f->n_params > 2 ? f->n_params - 2 : 0;
    bool plain = blocks.n && is_return_only(blocks.items[blocks.n - 1]);
    if (plain) blocks.n--;
    emit_blocks(e, &blocks);
    if (plain)
        emit_return(e, f->blocks.items[blocks.n]->items[0]->a.index, true);
    else
        undefined_result(e, f);
    finish(e, (struct emitted){
                  .params = words(e->f.n_params, e->arena), .result = "l", .name = f->name});
}

/* The local that an entrypoint's decision is wrapped into before RESULT_SET_ADD. */
static uint32_t wrapper_of(const struct block_list *blocks) {
    for (uint32_t i = 0; i < blocks->n; i++)
        for (uint32_t j = 0; j < blocks->items[i]->n; j++) {
            const struct stmt *s = blocks->items[i]->items[j];
            uint32_t inner = wrapper_of(&s->blocks);
            if (s->kind == STMT_RESULT_SET_ADD) return s->a.index;
            if (inner) return inner;
        }
    return 0;
}

static void emit_entrypoint(struct emit *e, const struct entrypoint *p) {
    begin(e);
    e->f.entrypoint = p;
    survey_function(e, &p->blocks, NULL);
    uint32_t wrapper = p->result_local ? wrapper_of(&p->blocks) : 0;
    e->f.wrapper = wrapper == p->result_local ? 0 : wrapper;
    emit_blocks(e, &p->blocks);
    finish(e, (struct emitted){.params = "", .result = "v", .name = p->name});
}

/* ---- around them ---- */

/* One block an entrypoint, opened all at once; br_table leaves the one whose call follows. */
static void emit_dispatch(struct emit *e) {
    uint32_t n = e->plan->entrypoints.n, first = e->plan->functions.n;
    begin(e);
    for (uint32_t i = 0; i <= n; i++) emit_open(e, OP_BLOCK);
    emit_index(e, OP_LOCAL_GET, 0);
    emit_index(e, OP_BR_TABLE, n);
    for (uint32_t i = 0; i <= n; i++) leb_u32(&e->body, i);
    for (uint32_t i = 0; i < n; i++) {
        emit_close(e);
        emit_own_call(e, first + i);
        emit_op(e, OP_RETURN);
    }
    emit_close(e);
    emit_index(e, OP_LOCAL_GET, 0);
    emit_runtime_call(e, FUNCTION_rt_bad_entrypoint);
    finish(e, (struct emitted){.params = "i", .result = "v", .name = STR("dispatch")});
}

static void push_params(struct emit *e, const uint8_t *params, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) emit_index(e, OP_LOCAL_GET, params[i]);
}

static void emit_regent_eval(struct emit *e, uint32_t dispatch) {
    static const uint8_t input[] = {1, 2}, entrypoint[] = {0};
    begin(e);
    push_params(e, input, sizeof input);
    emit_runtime_call(e, FUNCTION_rt_eval_begin);
    push_params(e, entrypoint, sizeof entrypoint);
    emit_own_call(e, dispatch);
    emit_runtime_call(e, FUNCTION_rt_eval_end);
    finish(e, (struct emitted){"iii", "l", "regent_eval", STR("regent_eval"), 0, 0, 0, 0});
}

static void emit_opa_eval(struct emit *e, uint32_t dispatch) {
    static const uint8_t order[] = {2, 3, 4, 5, 6, 1}, entrypoint[] = {1};
    begin(e);
    push_params(e, order, sizeof order);
    emit_runtime_call(e, FUNCTION_rt_opa_begin);
    push_params(e, entrypoint, sizeof entrypoint);
    emit_own_call(e, dispatch);
    emit_runtime_call(e, FUNCTION_rt_opa_end);
    finish(e, (struct emitted){"iiiiiii", "i", "opa_eval", STR("opa_eval"), 0, 0, 0, 0});
}

static void emit_eval(struct emit *e, uint32_t dispatch) {
    static const uint8_t ctx[] = {0};
    begin(e);
    push_params(e, ctx, sizeof ctx);
    emit_runtime_call(e, FUNCTION_rt_ctx_begin);
    emit_own_call(e, dispatch);
    push_params(e, ctx, sizeof ctx);
    emit_runtime_call(e, FUNCTION_rt_ctx_end);
    emit_i32(e, 0);
    finish(e, (struct emitted){"i", "i", "eval", STR("eval"), 0, 0, 0, 0});
}

void emit_module(struct emit *e) {
    uint32_t dispatch = e->plan->functions.n + e->plan->entrypoints.n;
    buf_clear(&e->code);
    e->relocations.n = e->functions.n = e->imports.n = 0;
    memset(e->runtime_import, 0, FUNCTION_COUNT * sizeof *e->runtime_import);
    for (uint32_t i = 0; i < e->plan->functions.n && !e->failed; i++)
        emit_function(e, e->plan->functions.items[i]);
    for (uint32_t i = 0; i < e->plan->entrypoints.n && !e->failed; i++)
        emit_entrypoint(e, e->plan->entrypoints.items[i]);
    if (e->failed) return;
    emit_dispatch(e);
    e->n_thin_functions = e->functions.n;
    e->n_thin_imports = e->imports.n;
    if (e->proxy) return; /* src/runtime/proxy calls the dispatcher itself */
    emit_regent_eval(e, dispatch);
    e->n_thin_functions = e->functions.n;
    e->n_thin_imports = e->imports.n;
    emit_opa_eval(e, dispatch);
    emit_eval(e, dispatch);
}

/* ---- the stage ---- */

static uint32_t *zeros(struct emit *e, uint32_t n) {
    return ARENA_ARRAY(e->arena, uint32_t, n + 1u);
}

static struct emit *emit_new_state(struct compile *c) {
    struct emit *e = ARENA_NEW(&c->arena, struct emit);
    e->c = c;
    e->plan = c->plan;
    e->proxy = c->request && c->request->proxy_wasm;
    e->arena = &c->arena;
    e->runtime_import = zeros(e, FUNCTION_COUNT);
    e->memo_of = zeros(e, c->plan->functions.n);
    e->builtin_ids = zeros(e, c->plan->builtins.n);
    e->constant_of[CONSTANT_STRING] = zeros(e, c->plan->strings.n);
    e->constant_of[CONSTANT_NUMBER] = zeros(e, c->plan->strings.n);
    e->constant_of[CONSTANT_TERM] = zeros(e, c->plan->consts.n);
    e->constant_of[CONSTANT_FILE] = zeros(e, c->plan->files.n);
    for (uint32_t i = 0; i < c->plan->functions.n; i++)
        if (c->plan->functions.items[i]->memoised) e->memo_of[i] = ++e->n_memo;
    for (uint32_t i = 0; i < c->plan->builtins.n && !e->proxy; i++)
        if (c->plan->builtins.items[i]->place == BUILTIN_HOST)
            e->builtin_ids[i] = ++e->n_host_builtins;
    buf_init(&e->code, CODE_MAX_BYTES);
    buf_init(&e->body, CODE_MAX_BYTES);
    buf_init(&e->section, CODE_MAX_BYTES);
    buf_init(&e->scratch, CODE_MAX_BYTES);
    image_init(&e->image, HEADER_BASE, CODE_MAX_BYTES);
    if (e->proxy) image_share_strings(&e->image, NULL); /* those of constants and data */
    return e;
}

static void free_state(struct emit *e) {
    buf_deinit(&e->code);
    buf_deinit(&e->body);
    buf_deinit(&e->section);
    buf_deinit(&e->scratch);
    image_deinit(&e->image);
}

static void run(struct emit *e) {
    if (e->proxy) proxy_builtins(e);
    if (e->failed) return;
    emit_module(e);
    if (e->failed) return;
    e->n_constants = e->constants.n;
    e->n_input = e->plan->input_tree ? e->plan->n_input_slots : 0;
    e->n_data = e->plan->data_tree ? e->plan->n_data_slots : 0;
    if (e->whole_input && (!e->plan->input_tree || e->plan->input_tree->slot < 0)) e->n_input++;
    emit_module(e);
    constants_build(e);
    if (e->proxy) {
        proxy_data(e);
        if (!e->failed) write_module(e, FORM_PROXY, &e->c->full);
        return;
    }
    write_module(e, FORM_THIN, &e->c->thin);
    if (!e->failed && !(e->c->request && e->c->request->thin_only))
        write_module(e, FORM_FULL, &e->c->full);
}

static void report_memory(struct emit *e) {
    const struct buf *bufs[] = {&e->code,    &e->image.bytes, &e->section,
                                &e->scratch, &e->c->thin,     &e->c->full};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        if (bufs[i]->err && !e->failed)
            emit_error(e, NULL, DIAG_COMPILE,
                       bufs[i]->err == ERR_LIMIT ? "the module passes its largest size"
                                                 : "out of memory");
}

void wasm_emit(struct compile *c) {
    struct emit *e = emit_new_state(c);
    jmp_buf *outer = c->arena.exhausted, mine;
    buf_init(&c->thin, CODE_MAX_BYTES);
    buf_init(&c->full, CODE_MAX_BYTES);
    /* The buffers must be freed before the jump out of the compile goes on. */
    c->arena.exhausted = &mine;
    if (setjmp(mine)) {
        c->arena.exhausted = outer;
        free_state(e);
        if (outer) longjmp(*outer, 1);
        return;
    }
    run(e);
    report_memory(e);
    c->arena.exhausted = outer;
    free_state(e);
}
