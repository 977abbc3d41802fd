/* Documents to slots: puts what a path tree asks for into input or data slots.
 * in: JSON text or a built document, and the tree (struct path_node). out: slots. owns: nothing. */
#include "runtime/json_scan.h"

enum { CHILDREN_LINEAR = 8 };

static const struct path_node *children(const struct path_node *node) { return at(node->children); }

static int32_t find_child(const struct path_node *node, struct text key) {
    const struct path_node *child = children(node);
    uint32_t low = 0, high = node->n_children;
    while (high - low > CHILDREN_LINEAR) {
        uint32_t middle = low + (high - low) / 2;
        if (text_compare(text_of(child[middle].key), key) <= 0)
            low = middle;
        else
            high = middle;
    }
    for (; low < high; low++) {
        value k = child[low].key;
        if (value_length(k) == key.len && bytes_equal(at(value_pointer(k)), key.ptr, key.len))
            return (int32_t)low;
    }
    return -1;
}

static void clear(const struct path_node *node, value *slots) {
    if (node->slot >= 0) slots[node->slot] = VALUE_UNDEFINED;
    const struct path_node *child = children(node);
    for (uint32_t i = 0; i < node->n_children; i++) clear(child + i, slots);
}

void bind_node(const struct path_node *node, value document, value *slots) {
    if (node->slot >= 0) slots[node->slot] = document;
    const struct path_node *child = children(node);
    for (uint32_t i = 0; i < node->n_children; i++) {
        value v = is_object(document) ? object_get(document, child[i].key) : VALUE_UNDEFINED;
        bind_node(child + i, v, slots);
    }
}

static const uint8_t *read_node(const uint8_t *p, const struct path_node *node, value *slots);

/* p is at the first key. The last of equal keys wins, so what an earlier one left is cleared. */
static const uint8_t *read_members(const uint8_t *p, const struct path_node *node, value *slots) {
    uint64_t seen = 0;
    for (;;) {
        if (json_peek(p) != '"')
            return json_fail(p, "invalid character looking for object key string");
        const uint8_t *quote = json_string(p + 1);
        if (quote == NULL) return NULL;
        int32_t i = find_child(node, json_string_text(p + 1, quote));
        p = json_space(quote + 1);
        if (json_peek(p) != ':') return json_fail(p, "invalid character after object key");
        p = json_space(p + 1);
        if (i < 0) {
            p = json_skip(p);
        } else {
            if (i >= 64 || (seen >> i & 1) != 0) clear(children(node) + i, slots);
            seen |= i < 64 ? (uint64_t)1 << i : 0;
            p = read_node(p, children(node) + i, slots);
        }
        if (p == NULL) return NULL;
        p = json_space(p);
        if (json_peek(p) == '}') return p + 1;
        if (json_peek(p) != ',')
            return json_fail(p, "invalid character after object key:value pair");
        p = json_space(p + 1);
    }
}

static const uint8_t *read_node(const uint8_t *p, const struct path_node *node, value *slots) {
    if (node->slot >= 0) {
        value v;
        p = json_value(p, false, &v);
        if (p != NULL) bind_node(node, v, slots);
        return p;
    }
    if (json_peek(p) != '{') return json_skip(p);
    p = json_space(p + 1);
    return json_peek(p) == '}' ? p + 1 : read_members(p, node, slots);
}

static void clear_all(value *slots, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) slots[i] = VALUE_UNDEFINED;
}

void bind_value(uint32_t tree, value document, value *slots, uint32_t n_slots) {
    clear_all(slots, n_slots);
    if (tree != 0) bind_node(at(tree), document, slots);
}

bool bind_text(struct text t, uint32_t tree, value *slots, uint32_t n_slots,
               struct json_problem *problem) {
    clear_all(slots, n_slots);
    json_begin(t);
    const uint8_t *p = json_space(t.ptr);
    p = tree != 0 ? read_node(p, at(tree), slots) : json_skip(p);
    if (json_finish(p)) return true;
    *problem = json_scanner.problem;
    return false;
}

void memo_clear(void) { clear_all(memo_slots(), module_header()->n_memo); }
