/* `with`: replaces a part of input or data for a while.
 * in: path and value. out: slots and memos as if the document had always been so. owns: frames, on
 * the heap. */
#include "runtime/eval.h"

/* What rt_with_end puts back: followed by the saved slots and memos. */
struct with_frame {
    uint32_t before; /* older frame, or 0 */
    uint32_t is_data;
    uint32_t input_form;
    uint32_t pad;
    value input, data;
};

static uint32_t slot_count(bool is_data) {
    return is_data ? module_header()->n_data : module_header()->n_input;
}

static value *slots_of(bool is_data) { return is_data ? data_slots() : input_slots(); }

static void copy_words(value *to, const value *from, uint32_t n) {
    bytes_copy((uint8_t *)to, (const uint8_t *)from, n * 8);
}

static void push_frame(bool is_data) {
    uint32_t n = slot_count(is_data), n_memo = module_header()->n_memo;
    struct with_frame *f = rt_alloc((uint32_t)sizeof *f + (n + n_memo) * 8);
    *f = (struct with_frame){rt_state.with_frame, is_data,      rt_state.input_form, 0,
                             rt_state.input,      rt_state.data};
    value *saved = (value *)(f + 1);
    copy_words(saved, slots_of(is_data), n);
    copy_words(saved + n, memo_slots(), n_memo);
    rt_state.with_frame = addr(f);
}

RT_EXPORT void rt_with_input(value path, value v) {
    value document = rt_upsert(array_len(path) > 0 ? rt_input() : VALUE_UNDEFINED, path, v);
    push_frame(false);
    eval_input_value(document);
    memo_clear();
}

RT_EXPORT void rt_with_data(value path, value v) {
    const struct module_header *h = module_header();
    value document = rt_upsert(rt_state.data, path, v);
    push_frame(true);
    rt_state.data = document;
    bind_value(h->data_tree, document, data_slots(), h->n_data);
    memo_clear();
}

RT_EXPORT void rt_with_end(void) {
    if (rt_state.with_frame == 0)
        rt_fail("internal", "rt_with_end without rt_with_input or rt_with_data");
    const struct with_frame *f = at(rt_state.with_frame);
    const value *saved = (const value *)(f + 1);
    uint32_t n = slot_count(f->is_data);
    copy_words(slots_of(f->is_data), saved, n);
    copy_words(memo_slots(), saved + n, module_header()->n_memo);
    rt_state.input_form = f->input_form;
    rt_state.input = f->input;
    rt_state.data = f->data;
    rt_state.with_frame = f->before;
}
