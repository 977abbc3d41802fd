/* OPA's WebAssembly ABI 1.3: contexts, parsing and dumping, the heap pointer, updates of data.
 * in: addresses from the host. out: addresses. owns: nothing: cells and texts lie on the heap.
 * The heap only grows, so freeing and stashing have nothing to do: opa_heap_ptr_set gives memory
 * back. */
#include "runtime/eval.h"

enum { OPA_OK = 0, OPA_INVALID_TYPE = 2, OPA_INVALID_PATH = 3 };

struct eval_ctx {
    uint32_t input, data, result; /* cells, or 0 */
    uint32_t entrypoint;
};

static uint32_t cell_of(value v) {
    value *cell = rt_alloc(sizeof *cell);
    *cell = v;
    return addr(cell);
}

static value of_cell(uint32_t cell) {
    return cell == 0 ? VALUE_UNDEFINED : *(const value *)at(cell);
}

/* ---- contexts ---- */

RT_EXPORT uint32_t opa_eval_ctx_new(void) {
    struct eval_ctx *ctx = rt_alloc(sizeof *ctx);
    *ctx = (struct eval_ctx){0, 0, 0, 0};
    return addr(ctx);
}

RT_EXPORT void opa_eval_ctx_set_input(uint32_t ctx, uint32_t cell) {
    ((struct eval_ctx *)at(ctx))->input = cell;
}
RT_EXPORT void opa_eval_ctx_set_data(uint32_t ctx, uint32_t cell) {
    ((struct eval_ctx *)at(ctx))->data = cell;
}

RT_EXPORT void opa_eval_ctx_set_entrypoint(uint32_t ctx, uint32_t entrypoint) {
    ((struct eval_ctx *)at(ctx))->entrypoint = entrypoint;
}

RT_EXPORT uint32_t opa_eval_ctx_get_result(uint32_t ctx) {
    return ((struct eval_ctx *)at(ctx))->result;
}

RT_EXPORT uint32_t rt_ctx_begin(uint32_t address) {
    const struct eval_ctx *ctx = at(address);
    eval_reset();
    eval_data(of_cell(ctx->data));
    eval_input_value(of_cell(ctx->input));
    return ctx->entrypoint;
}

RT_EXPORT void rt_ctx_end(uint32_t ctx) {
    ((struct eval_ctx *)at(ctx))->result = cell_of(eval_result_set());
}

/* ---- opa_eval ---- */

RT_EXPORT void rt_opa_begin(uint32_t data, uint32_t input, uint32_t input_len, uint32_t heap_ptr,
                            uint32_t format, uint32_t entrypoint) {
    struct json_problem problem;
    struct text t = {at(input), input_len};
    (void)entrypoint; /* the caller chooses the plan */
    if (input_len > UINT32_MAX - 8 - input) rt_fail("input", "the input does not lie in memory");
    heap_reset(heap_ptr > input + input_len ? heap_ptr : input + input_len);
    rt_state.format = format;
    eval_reset();
    eval_data(of_cell(data));
    if (input == 0 || input_len == 0) {
        eval_no_input();
    } else if (!eval_input_text(t, &problem)) {
        /* OPA reads it as a Rego value, and takes what is none for no input. */
        value v = VALUE_UNDEFINED;
        json_read(t, true, &v, NULL);
        eval_input_value(v);
    }
}

static uint32_t terminated(value v, uint32_t form) {
    struct builder b = builder_new(64);
    json_write(&b, v, form);
    builder_put(&b, 0);
    return addr(b.ptr);
}

RT_EXPORT uint32_t rt_opa_end(void) {
    return terminated(eval_result_set(), rt_state.format == 1 ? JSON_REGO : JSON_PLAIN);
}

/* ---- parsing and dumping ---- */

/* The text is copied: hosts free it while the value, which views it, lives on. */
static uint32_t parse(uint32_t text, uint32_t len, bool rego) {
    uint8_t *copy = rt_alloc(len);
    bytes_copy(copy, at(text), len);
    value v;
    if (!json_read((struct text){copy, len}, rego, &v, NULL)) return 0;
    value_settle(v);
    return cell_of(v);
}

RT_EXPORT uint32_t opa_json_parse(uint32_t text, uint32_t len) { return parse(text, len, false); }
RT_EXPORT uint32_t opa_value_parse(uint32_t text, uint32_t len) { return parse(text, len, true); }
RT_EXPORT uint32_t opa_json_dump(uint32_t cell) { return terminated(of_cell(cell), JSON_PLAIN); }
RT_EXPORT uint32_t opa_value_dump(uint32_t cell) { return terminated(of_cell(cell), JSON_REGO); }

/* A header field: text of a JSON object. */
static uint32_t header_mapping(value text) {
    value v = VALUE_UNDEFINED;
    if (!is_string(text) || !json_read(text_of(text), false, &v, NULL)) v = object_new(0);
    return cell_of(v);
}

RT_EXPORT uint32_t builtins(void) { return header_mapping(module_header()->builtins); }
RT_EXPORT uint32_t entrypoints(void) { return header_mapping(module_header()->entrypoints); }

/* ---- memory ---- */

RT_EXPORT uint32_t opa_malloc(uint32_t n) { return addr(rt_alloc(n)); }
RT_EXPORT void opa_free(uint32_t p) { (void)p; }
RT_EXPORT void opa_value_free(uint32_t cell) { (void)cell; }
RT_EXPORT uint32_t opa_heap_ptr_get(void) { return heap_mark(); }
RT_EXPORT void opa_heap_ptr_set(uint32_t p) { heap_reset(p); }
RT_EXPORT void opa_heap_blocks_stash(void) {}
RT_EXPORT void opa_heap_blocks_restore(void) {}
RT_EXPORT void opa_heap_stash_clear(void) {}

/* ---- updates of data: copies of the objects along the path, put into the base's cell at the end
 * ---- */

static bool is_path(value path) {
    if (!is_array(path) || array_len(path) == 0) return false;
    for (uint32_t i = 0; i < array_len(path); i++)
        if (!is_string(array_items(path)[i])) return false;
    return true;
}

RT_EXPORT uint32_t opa_value_add_path(uint32_t base, uint32_t path_cell, uint32_t cell) {
    value path = of_cell(path_cell), document = of_cell(base);
    if (!is_path(path)) return OPA_INVALID_PATH;
    for (uint32_t i = 0; i < array_len(path) && is_defined(document); i++) {
        if (!is_object(document)) return OPA_INVALID_TYPE;
        document = object_get(document, array_items(path)[i]);
    }
    value updated = rt_upsert(of_cell(base), path, of_cell(cell));
    value_settle(updated);
    *(value *)at(base) = updated;
    return OPA_OK;
}

static value object_without(value object, value key) {
    value copy = object_new(object_len(object));
    const struct pair *pairs = object_pairs(object);
    for (uint32_t i = 0; i < object_len(object); i++)
        if (!value_equal(pairs[i].key, key)) object_put(copy, pairs[i].key, pairs[i].value);
    return copy;
}

static value remove_path(value document, const value *path, uint32_t n) {
    if (!is_object(document)) return document;
    if (n == 1) return object_without(document, path[0]);
    value old = object_get(document, path[0]);
    if (!is_defined(old)) return document;
    value copy = object_copy(document);
    object_put(copy, path[0], remove_path(old, path + 1, n - 1));
    return copy;
}

RT_EXPORT uint32_t opa_value_remove_path(uint32_t base, uint32_t path_cell) {
    value path = of_cell(path_cell);
    if (!is_path(path)) return OPA_INVALID_PATH;
    value updated = remove_path(of_cell(base), array_items(path), array_len(path));
    value_settle(updated);
    *(value *)at(base) = updated;
    return OPA_OK;
}

/* ---- host builtins ---- */

RT_EXPORT value rt_builtin0(uint32_t id) { return of_cell(opa_builtin0(id, 0)); }
RT_EXPORT value rt_builtin1(uint32_t id, value a) {
    return of_cell(opa_builtin1(id, 0, cell_of(a)));
}

RT_EXPORT value rt_builtin2(uint32_t id, value a, value b) {
    return of_cell(opa_builtin2(id, 0, cell_of(a), cell_of(b)));
}

RT_EXPORT value rt_builtin3(uint32_t id, value a, value b, value c) {
    return of_cell(opa_builtin3(id, 0, cell_of(a), cell_of(b), cell_of(c)));
}

RT_EXPORT value rt_builtin4(uint32_t id, value a, value b, value c, value d) {
    return of_cell(opa_builtin4(id, 0, cell_of(a), cell_of(b), cell_of(c), cell_of(d)));
}
