/* The runtime's own state: one struct at an address fixed by its build, per module instance. The
 * only mutable storage of the runtime besides the heap and the slots; rt_eval_begin and its kin
 * reset it. */
#ifndef REGENT_RUNTIME_STATE_H
#define REGENT_RUNTIME_STATE_H
#include "runtime/rt.h"

enum input_form {
    INPUT_UNDEFINED,
    INPUT_TEXT, /* raw JSON that was checked; `input` is built from it when somebody asks for it
                   whole */
    INPUT_VALUE /* `input` holds it */
};

struct runtime_state {
    uint32_t heap_next;  /* first free byte; 0: not begun */
    uint32_t heap_end;   /* end of memory */
    uint32_t strict;     /* builtin errors end the evaluation */
    uint32_t input_form; /* enum input_form */
    value input;
    value data;
    struct text input_text;
    uint32_t with_frame; /* newest struct with_frame, or 0 */
    value result;        /* decision, or array of binding objects */
    bool result_is_query;
    bool data_is_foreign; /* data slots come from another document than the header's data_root */
    uint32_t format;      /* opa_eval: 0 JSON, 1 Rego values */
    uint32_t json_depth;  /* levels that a JSON text may have; 0: JSON_DEPTH_MAX */
};
extern struct runtime_state rt_state;

/* ---- the module around the runtime ---- */
static inline struct module_header *module_header(void) { return at(HEADER_BASE); }
static inline value *const_slots(void) { return at(SLOT_BASE); }
static inline value *input_slots(void) { return const_slots() + module_header()->n_const; }
static inline value *data_slots(void) { return input_slots() + module_header()->n_input; }
static inline value *memo_slots(void) { return data_slots() + module_header()->n_data; }

/* ---- alloc.c ---- */
/* Empties the heap; what lies below `from` (and everything below heap_base) stays. */
void heap_reset(uint32_t from);
uint32_t heap_mark(void);
/* Frees everything allocated since heap_mark: nothing of it may be in use. */
void heap_release(uint32_t mark);
void *heap_grow_and_take(uint32_t n);
/* The same, but NULL when there is no room. */
void *heap_try(uint32_t n);
/* rt_alloc for hot paths; n is far below 4 GB. */
static inline void *heap_take(uint32_t n) {
    uint32_t need = (n + 7) & ~7u;
    if (RT_UNLIKELY(need > rt_state.heap_end - rt_state.heap_next)) return heap_grow_and_take(n);
    void *p = at(rt_state.heap_next);
    rt_state.heap_next += need;
    return p;
}

/* ---- bytes ---- */
static inline uint32_t load32(const uint8_t *p) {
    uint32_t w;
    __builtin_memcpy(&w, p, 4);
    return w;
}
/* 4 to 8 bytes as one word that holds each of them (some twice): equal for equal bytes. */
static inline uint64_t load_short(const uint8_t *p, uint32_t n) {
    return load32(p) | (uint64_t)load32(p + n - 4) << 32;
}
static inline bool bytes_equal(const uint8_t *a, const uint8_t *b, uint32_t n) {
    if (n >= 8) {
        for (uint32_t i = 0; i + 8 <= n; i += 8)
            if (layout_load64(a + i) != layout_load64(b + i)) return false;
        return layout_load64(a + n - 8) == layout_load64(b + n - 8);
    }
    if (n >= 4) return load_short(a, n) == load_short(b, n);
    for (uint32_t i = 0; i < n; i++)
        if (a[i] != b[i]) return false;
    return true;
}
/* The ranges do not overlap. */
static inline void bytes_copy(uint8_t *to, const uint8_t *from, uint32_t n) {
    if (n > 64) {
        memcpy(to, from, n);
    } else if (n >= 8) {
        uint64_t last = layout_load64(from + n - 8), w;
        uint8_t *end = to + n - 8;
        for (; to < end; to += 8, from += 8) {
            w = layout_load64(from);
            __builtin_memcpy(to, &w, 8);
        }
        __builtin_memcpy(end, &last, 8);
    } else if (n >= 4) {
        uint32_t first = load32(from), last = load32(from + n - 4);
        __builtin_memcpy(to, &first, 4);
        __builtin_memcpy(to + n - 4, &last, 4);
    } else {
        for (; n > 0; n--) *to++ = *from++;
    }
}

/* ---- collection.c ---- */
/* Entry number of key, or -1. */
int32_t object_find(struct object *o, value key);
int32_t set_find(struct object *s, value item); /* a struct set has the same form */
/* Takes pairs[0..n) that lie in the heap as entries; later duplicates win. */
value object_adopt(struct pair *pairs, uint32_t n);
value set_adopt(value *items, uint32_t n);
/* Sorts and indexes everything in v now. A value that outlives an evaluation must be so: what is
 * made on demand lies on the heap that the next evaluation writes over. */
void value_settle(value v);

/* ---- bind.c: documents and their slots ---- */
/* Slots of the tree at `tree` from a built document (may be undefined). */
void bind_value(uint32_t tree, value document, value *slots, uint32_t n_slots);
/* The slots at `node` and below from the value at its path. */
void bind_node(const struct path_node *node, value document, value *slots);
/* bind_value from JSON text, building only what is asked for. False when malformed. */
bool bind_text(struct text t, uint32_t tree, value *slots, uint32_t n_slots,
               struct json_problem *problem);
void memo_clear(void);

#endif
