/* Fills a module's data slots from a data image.
 * in: the module's path tree (hostile: it came with the module), the data image. out: slot words.
 * owns: nothing. */
#include "image/image.h"

enum { BIND_MAX_DEPTH = 1000 };

struct binder {
    const struct image *module, *data;
    value *slots;
    uint32_t n;
    uint64_t nodes_left; /* a tree has no more nodes than fit in its bytes: ends graphs that are no
                            trees */
};

static const void *bytes_of(const struct image *m, uint32_t address, uint64_t len) {
    if (address < m->base || len > m->bytes.len || address - m->base > m->bytes.len - len)
        return NULL;
    return m->bytes.ptr + (address - m->base);
}

static bool string_of(const struct image *m, value v, struct str *out) {
    const char *p = bytes_of(m, value_pointer(v), value_length(v));
    if (value_tag(v) != TAG_STRING || !p) return false;
    *out = (struct str){p, value_length(v)};
    return true;
}

/* Member of a sorted object of the data image by binary search; undefined when absent. */
static value member(const struct image *data, value object, struct str key) {
    const struct object *o =
        value_tag(object) == TAG_OBJECT ? bytes_of(data, value_pointer(object), sizeof *o) : NULL;
    const struct pair *pairs =
        o ? bytes_of(data, o->entries, (uint64_t)o->n * sizeof *pairs) : NULL;
    uint32_t low = 0, high = pairs ? o->n : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct str name;
        if (!string_of(data, pairs[middle].key, &name) &&
            !(data->below && string_of(data->below, pairs[middle].key, &name)))
            return VALUE_UNDEFINED;
        int c = str_cmp(name, key);
        if (c == 0) return pairs[middle].value;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return VALUE_UNDEFINED;
}

static enum err bind(struct binder *b, uint32_t address, value v, int depth) {
    const struct path_node *node = bytes_of(b->module, address, sizeof *node);
    if (!node || address % 8 || depth > BIND_MAX_DEPTH || b->nodes_left-- == 0) return ERR_INVALID;
    if (node->slot >= 0 && (uint32_t)node->slot >= b->n) return ERR_INVALID;
    if (node->slot >= 0) b->slots[node->slot] = v;
    uint64_t bytes = (uint64_t)node->n_children * sizeof *node;
    const struct path_node *children = bytes_of(b->module, node->children, bytes);
    if (node->n_children && (!children || node->children % 8)) return ERR_INVALID;
    for (uint32_t i = 0; i < node->n_children; i++) {
        struct str key;
        if (!string_of(b->module, children[i].key, &key)) return ERR_INVALID;
        enum err e = bind(b, node->children + i * (uint32_t)sizeof *node, member(b->data, v, key),
                          depth + 1);
        if (e) return e;
    }
    return OK;
}

enum err image_bind(const struct image *module, const struct image *data, uint32_t tree, value root,
                    value *slots, uint32_t n) {
    struct binder b = {module, data, slots, n, module->bytes.len / sizeof(struct path_node) + 1};
    for (uint32_t i = 0; i < n; i++) slots[i] = VALUE_UNDEFINED;
    return tree ? bind(&b, tree, root, 0) : OK;
}
