/* One evaluation from its input to its result: Regent's own ABI, and what both ABIs share.
 * in: JSON text or documents. out: the decision as JSON. owns: slots, between begin and end. */
#include "runtime/eval.h"

/* ---- documents ---- */

RT_NORETURN static void fail_input(const struct json_problem *problem) {
    struct builder b = builder_new(128);
    builder_c(&b, problem->message);
    builder_c(&b, " at byte ");
    builder_int(&b, problem->offset);
    builder_put(&b, 0);
    rt_fail("input", (const char *)b.ptr);
}

void eval_reset(void) {
    rt_state.with_frame = 0;
    rt_state.result = VALUE_UNDEFINED;
    rt_state.result_is_query = false;
    memo_clear();
}

void eval_no_input(void) {
    rt_state.input_form = INPUT_UNDEFINED;
    rt_state.input = VALUE_UNDEFINED;
    bind_value(0, VALUE_UNDEFINED, input_slots(), module_header()->n_input);
}

void eval_input_value(value v) {
    if (!is_defined(v)) {
        eval_no_input();
        return;
    }
    rt_state.input_form = INPUT_VALUE;
    rt_state.input = v;
    bind_value(module_header()->input_tree, v, input_slots(), module_header()->n_input);
}

bool eval_input_text(struct text t, struct json_problem *problem) {
    const struct module_header *h = module_header();
    if (!bind_text(t, h->input_tree, input_slots(), h->n_input, problem)) return false;
    const struct path_node *root = at(h->input_tree);
    bool whole = h->input_tree != 0 && root->slot >= 0;
    rt_state.input_form = whole ? INPUT_VALUE : INPUT_TEXT;
    rt_state.input = whole ? input_slots()[root->slot] : VALUE_UNDEFINED;
    rt_state.input_text = t;
    return true;
}

static value loaded_data(void) {
    value root = module_header()->data_root;
    return is_object(root) ? root : object_new(0);
}

void eval_data(value document) {
    const struct module_header *h = module_header();
    bool own = !is_defined(document);
    rt_state.data = own ? loaded_data() : document;
    if (own && !rt_state.data_is_foreign)
        return; /* whoever loaded the module has bound its slots */
    rt_state.data_is_foreign = !own;
    bind_value(h->data_tree, rt_state.data, data_slots(), h->n_data);
}

RT_EXPORT value rt_input(void) {
    if (rt_state.input_form != INPUT_TEXT) return rt_state.input;
    struct json_problem problem;
    if (!json_read(rt_state.input_text, false, &rt_state.input, &problem)) fail_input(&problem);
    rt_state.input_form = INPUT_VALUE;
    return rt_state.input;
}

RT_EXPORT value rt_data(void) { return rt_state.data; }

/* ---- results ---- */

RT_EXPORT void rt_result_path(value decision) { rt_state.result = decision; }

RT_EXPORT void rt_result_add(value bindings) {
    if (!rt_state.result_is_query) rt_state.result = array_new(1);
    rt_state.result_is_query = true;
    array_push(rt_state.result, bindings);
}

value eval_result_set(void) {
    value result = rt_state.result;
    if (rt_state.result_is_query) return set_of(array_items(result), array_len(result));
    value set = set_new(1);
    if (!is_defined(result)) return set;
    value bindings = object_new(1);
    object_put(bindings, STRING("result"), result);
    set_put(set, bindings);
    return set;
}

/* ---- Regent's ABI ---- */

RT_EXPORT void rt_eval_begin(uint32_t input, uint32_t input_len) {
    struct json_problem problem;
    if (input_len > UINT32_MAX - 8 - input) rt_fail("input", "the input does not lie in memory");
    heap_reset(input + input_len); /* wherever the host has put the input, it stays */
    eval_reset();
    eval_data(VALUE_UNDEFINED);
    if (input_len == 0)
        eval_no_input();
    else if (!eval_input_text((struct text){at(input), input_len}, &problem))
        fail_input(&problem);
}

RT_EXPORT uint64_t rt_eval_end(void) {
    if (!is_defined(rt_state.result)) return 0;
    struct builder b = builder_new(64);
    json_write(&b, rt_state.result, JSON_PLAIN);
    return (uint64_t)addr(b.ptr) | (uint64_t)b.len << 32;
}
