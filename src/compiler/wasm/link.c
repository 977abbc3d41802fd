/* Finds the part of the runtime that a module needs, by walking calls; renumbers it.
 * in: the embedded runtime module, the functions that the plan's code calls. out: what is kept, new
 * numbers. owns: nothing. The runtime has no function pointers, so the call graph is exact. */
#include "compiler/wasm/link.h"
#include "compiler/wasm/leb.h"

/* What OPA's ABI 1.3 wants exported and the runtime defines (its wasm.md). */
static const char *const required[] = {"builtins",
                                       "entrypoints",
                                       "opa_eval_ctx_new",
                                       "opa_eval_ctx_set_input",
                                       "opa_eval_ctx_set_data",
                                       "opa_eval_ctx_set_entrypoint",
                                       "opa_eval_ctx_get_result",
                                       "opa_malloc",
                                       "opa_free",
                                       "opa_json_parse",
                                       "opa_json_dump",
                                       "opa_value_parse",
                                       "opa_value_dump",
                                       "opa_value_free",
                                       "opa_value_add_path",
                                       "opa_value_remove_path",
                                       "opa_heap_ptr_get",
                                       "opa_heap_ptr_set",
                                       "opa_heap_blocks_stash",
                                       "opa_heap_blocks_restore",
                                       "opa_heap_stash_clear"};

bool link_is_interface(const struct emit *e, struct str name) {
    if (e->proxy && str_is(name, "proxy_on_response_headers")) return e->proxy_responses;
    if (e->proxy) return str_starts(name, STR("proxy_")) || str_is(name, "_initialize");
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++)
        if (str_is(name, required[i])) return true;
    return str_starts(name, STR("regent_"));
}

static void problem(struct emit *e, const char *what, struct str name) {
    emit_error(e, NULL, DIAG_COMPILE,
               arena_printf(e->arena, NULL, "internal: the runtime %s%.*s", what, STR_FMT(name)));
}

/* Marks a function as kept and queues it; its number is given later. */
void link_keep(struct link *l, uint32_t function) {
    if (l->numbers[function] != LINK_DROPPED) return;
    l->numbers[function] = 0;
    l->worklist[l->n_worklist++] = function;
}

static void scan_instruction(struct emit *e, struct link *l, const struct instruction *i) {
    uint32_t n_functions = l->runtime.imports.n + l->runtime.functions.n;
    switch (i->immediate) {
    case IMMEDIATE_CALL:
        if (i->number < n_functions)
            link_keep(l, (uint32_t)i->number);
        else
            problem(e, "calls a function that is not there", STR(""));
        return;
    case IMMEDIATE_GLOBAL:
        if (i->number < l->runtime.globals.n)
            l->globals[i->number] = 0;
        else
            problem(e, "names a global that is not there", STR(""));
        return;
    case IMMEDIATE_INDIRECT: problem(e, "calls through a function pointer", STR("")); return;
    case IMMEDIATE_BLOCK:
        if (i->number >= 0) problem(e, "has a block with parameters", STR(""));
        return;
    default: return;
    }
}

static void scan_function(struct emit *e, struct link *l, uint32_t function) {
    if (function < l->runtime.imports.n) return;
    struct str body = l->runtime.bodies.items[function - l->runtime.imports.n];
    struct reader r = wasm_body_code(body);
    struct instruction i;
    link_data_keep(l, body);
    while (!e->failed && instruction_read(&r, &i)) scan_instruction(e, l, &i);
    if (!e->failed && reader_left(&r))
        problem(e, "uses an instruction that opcode.def lacks", STR(""));
}

static void keep_imported(struct emit *e, struct link *l) {
    for (uint32_t i = 0; i < e->imports.n; i++) {
        struct str name = str_of(e->imports.items[i].name);
        int64_t function = wasm_module_function(&l->runtime, name);
        if (function < 0) {
            problem(e, "lacks the function ", name);
            continue;
        }
        l->import_functions[i] = (uint32_t)function;
        link_keep(l, (uint32_t)function);
    }
}

static void keep_interface(struct emit *e, struct link *l) {
    for (size_t i = 0; !e->proxy && i < sizeof required / sizeof required[0]; i++)
        if (wasm_module_function(&l->runtime, str_of(required[i])) < 0)
            problem(e, "lacks the function ", str_of(required[i]));
    for (uint32_t i = 0; i < l->runtime.exports.n; i++) {
        const struct wasm_export *x = &l->runtime.exports.items[i];
        if (x->kind == EXTERNAL_FUNCTION && link_is_interface(e, x->name)) link_keep(l, x->index);
    }
}

/* A filter's runtime imports what the writer puts behind the module's own functions. */
static bool is_own(const struct link *l, uint32_t import) {
    return str_is(l->runtime.imports.items[import].module, "regent");
}

/* Imports first, then functions, each in the runtime's order. */
static void number(struct emit *e, struct link *l) {
    uint32_t n_imports = l->runtime.imports.n, n = n_imports + l->runtime.functions.n;
    for (uint32_t i = 0; i < n_imports; i++)
        if (l->numbers[i] != LINK_DROPPED && !is_own(l, i)) l->numbers[i] = l->n_imports++;
    for (uint32_t i = n_imports; i < n; i++)
        if (l->numbers[i] != LINK_DROPPED) l->numbers[i] = l->n_imports + l->n_functions++;
    for (uint32_t i = 0; i < l->runtime.globals.n; i++)
        if (l->globals[i] != LINK_DROPPED) l->globals[i] = l->n_globals++;
    for (uint32_t i = 0; i < n_imports; i++) {
        if (l->numbers[i] == LINK_DROPPED || !is_own(l, i)) continue;
        l->numbers[i] = proxy_function(e, l, l->runtime.imports.items[i].name);
        if (l->numbers[i] == LINK_DROPPED)
            problem(e, "imports the function ", l->runtime.imports.items[i].name);
    }
}

static uint32_t *dropped(struct emit *e, uint32_t n) {
    uint32_t *list = ARENA_ARRAY(e->arena, uint32_t, n + 1u);
    for (uint32_t i = 0; i < n; i++) list[i] = LINK_DROPPED;
    return list;
}

void link_runtime(struct emit *e, struct link *l) {
    const char *what;
    *l = (struct link){0};
    struct str runtime = e->proxy ? runtime_proxy_wasm() : runtime_link_wasm();
    if (!wasm_module_read(runtime, e->arena, &l->runtime, &what)) {
        problem(e, "cannot be read: ", str_of(what));
        return;
    }
    if (l->runtime.has_elements || l->runtime.has_start) {
        problem(e, "has a function table or a start function", STR(""));
        return;
    }
    if (!link_data_read(l, e->arena)) {
        problem(e, "has relocations that cannot be read", STR(""));
        return;
    }
    uint32_t n = l->runtime.imports.n + l->runtime.functions.n;
    l->numbers = dropped(e, n);
    l->worklist = dropped(e, n);
    l->globals = dropped(e, l->runtime.globals.n);
    l->import_functions = dropped(e, e->imports.n);
    keep_imported(e, l);
    keep_interface(e, l);
    if (e->proxy) proxy_keep(e, l);
    for (uint32_t i = 0; i < l->n_worklist && !e->failed; i++) scan_function(e, l, l->worklist[i]);
    number(e, l);
    link_data_collect(l, e->arena);
}

bool link_is_import(const struct link *l, uint32_t import) {
    return l->numbers[import] != LINK_DROPPED && !is_own(l, import);
}

static void put_code(struct buf *out, const struct instruction *i) {
    buf_str(out, str_head(i->raw, i->immediate_at));
}

/* wasm-ld leaves room for the longest numbers at relocations: written again, they shrink. */
static void put_instruction(const struct link *l, const struct instruction *i, struct buf *out) {
    switch (i->immediate) {
    case IMMEDIATE_CALL:
        put_code(out, i);
        leb_u32(out, l->numbers[i->number]);
        return;
    case IMMEDIATE_GLOBAL:
        put_code(out, i);
        leb_u32(out, l->globals[i->number]);
        return;
    case IMMEDIATE_I32:
        put_code(out, i);
        leb_s64(out, i->number);
        return;
    case IMMEDIATE_MEMORY:
        put_code(out, i);
        leb_u32(out, (uint32_t)i->number2);
        leb_u32(out, (uint32_t)i->number);
        return;
    default: return;
    }
}

static bool is_rewritten(const struct instruction *i) {
    return i->immediate == IMMEDIATE_CALL || i->immediate == IMMEDIATE_GLOBAL ||
           i->immediate == IMMEDIATE_I32 || i->immediate == IMMEDIATE_MEMORY;
}

void link_body(const struct link *l, struct str body, struct buf *out) {
    struct reader r = wasm_body_code(body);
    struct instruction i;
    const uint8_t *rest = r.start; /* not copied yet */
    while (instruction_read(&r, &i)) {
        if (!is_rewritten(&i)) continue;
        buf_put(out, rest, (size_t)((const uint8_t *)i.raw.ptr - rest));
        put_instruction(l, &i, out);
        rest = r.at;
    }
    buf_put(out, rest, (size_t)(r.at - rest));
}

void link_code(const struct link *l, struct buf *out, struct buf *scratch) {
    for (uint32_t i = 0; i < l->runtime.functions.n; i++) {
        if (l->numbers[l->runtime.imports.n + i] == LINK_DROPPED) continue;
        buf_clear(scratch);
        link_body(l, l->runtime.bodies.items[i], scratch);
        leb_bytes(out, buf_view(scratch));
    }
}
