/* Gives constants their slots and builds the image that becomes the module's data segment.
 * in: the plan's strings, numbers, ground terms and path trees. out: e->image, from HEADER_BASE on.
 * owns: nothing; the image belongs to struct emit. */
#include "compiler/wasm/emit.h"

static uint32_t new_slot(struct emit *e, struct constant constant) {
    ARENA_PUSH(e->arena, &e->constants, constant);
    return e->constants.n - 1;
}

uint32_t constant_slot(struct emit *e, enum constant_kind kind, uint32_t index) {
    uint32_t *known = &e->constant_of[kind][index];
    if (!*known) *known = new_slot(e, (struct constant){.kind = kind, .index = index}) + 1;
    return *known - 1;
}

static bool same_path(const struct operand_list *a, const struct operand_list *b) {
    if (a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (a->items[i].index != b->items[i].index) return false;
    return true;
}

uint32_t constant_path_slot(struct emit *e, const struct operand_list *path) {
    for (uint32_t i = 0; i < e->constants.n; i++) {
        const struct constant *c = &e->constants.items[i];
        if (c->kind == CONSTANT_PATH && same_path(c->path, path)) return i;
    }
    return new_slot(e, (struct constant){.kind = CONSTANT_PATH, .path = path});
}

uint32_t constant_text_slot(struct emit *e, struct str text) {
    for (uint32_t i = 0; i < e->constants.n; i++) {
        const struct constant *c = &e->constants.items[i];
        if (c->kind == CONSTANT_TEXT && str_eq(c->text, text)) return i;
    }
    return new_slot(e, (struct constant){.kind = CONSTANT_TEXT, .text = text});
}

uint32_t input_slot(const struct emit *e, int64_t i) { return e->n_constants + (uint32_t)i; }

uint32_t data_slot(const struct emit *e, int64_t i) {
    return e->n_constants + e->n_input + (uint32_t)i;
}

uint32_t memo_slot(const struct emit *e, uint32_t function_index) {
    return e->n_constants + e->n_input + e->n_data + e->memo_of[function_index] - 1;
}

/* ---- words of constants ---- */

static value term_word(struct emit *e, const struct term *t);

static value *term_words(struct emit *e, const struct term *t) {
    value *items = ARENA_ARRAY(e->arena, value, t->list.n + 1u);
    for (uint32_t i = 0; i < t->list.n; i++) items[i] = term_word(e, t->list.items[i]);
    return items;
}

/* Keys and values alternate in the term as in an array of pairs. */
static value object_word(struct emit *e, const struct term *t) {
    value *items = term_words(e, t);
    struct pair *pairs = ARENA_ARRAY(e->arena, struct pair, t->list.n / 2 + 1u);
    for (uint32_t i = 0; i < t->list.n / 2; i++)
        pairs[i] = (struct pair){items[2 * i], items[2 * i + 1]};
    return image_object(&e->image, pairs, t->list.n / 2);
}

static value term_word(struct emit *e, const struct term *t) {
    switch ((int)t->kind) {
    case TERM_NULL: return VALUE_NULL;
    case TERM_BOOLEAN: return value_of_boolean(t->boolean);
    case TERM_NUMBER: return image_number(&e->image, t->text);
    case TERM_STRING: return image_string(&e->image, t->text);
    case TERM_ARRAY: return image_array(&e->image, term_words(e, t), t->list.n);
    case TERM_OBJECT: return object_word(e, t);
    case TERM_SET: return image_set(&e->image, term_words(e, t), t->list.n);
    }
    emit_error(e, NULL, DIAG_COMPILE, "internal: a composite constant is not ground");
    return VALUE_UNDEFINED;
}

static value path_word(struct emit *e, const struct operand_list *path) {
    value *items = ARENA_ARRAY(e->arena, value, path->n + 1u);
    for (uint32_t i = 0; i < path->n; i++)
        items[i] = image_string(&e->image, e->plan->strings.items[path->items[i].index].text);
    return image_array(&e->image, items, path->n);
}

static value constant_word(struct emit *e, const struct constant *c) {
    switch (c->kind) {
    case CONSTANT_STRING: return image_string(&e->image, e->plan->strings.items[c->index].text);
    case CONSTANT_NUMBER: return image_number(&e->image, e->plan->strings.items[c->index].text);
    case CONSTANT_TERM: return term_word(e, e->plan->consts.items[c->index].term);
    case CONSTANT_FILE: return image_string(&e->image, e->plan->files.items[c->index]);
    case CONSTANT_PATH: return path_word(e, c->path);
    case CONSTANT_TEXT: return image_string(&e->image, c->text);
    }
    return VALUE_UNDEFINED;
}

/* ---- path trees ---- */

static struct str key_of(const struct emit *e, const struct path_tree *t) {
    return e->plan->strings.items[t->key].text;
}

/* The children's order in the image: by key. */
static struct path_tree **sorted_children(struct emit *e, const struct path_tree *t) {
    struct path_tree **items = ARENA_ARRAY(e->arena, struct path_tree *, t->n + 1u);
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t j = i;
        for (; j > 0 && str_cmp(key_of(e, items[j - 1]), key_of(e, t->items[i])) > 0; j--)
            items[j] = items[j - 1];
        items[j] = t->items[i];
    }
    return items;
}

static void write_node(struct emit *e, uint32_t at, value key, const struct path_tree *t) {
    struct path_tree **items = sorted_children(e, t);
    struct path_node node = {.key = key, .slot = t->slot, .n_children = t->n};
    node.children = image_reserve(&e->image, t->n * (uint32_t)sizeof node);
    for (uint32_t i = 0; i < t->n && !e->image.bytes.err; i++)
        write_node(e, node.children + i * (uint32_t)sizeof node,
                   image_string(&e->image, key_of(e, items[i])), items[i]);
    if (!e->image.bytes.err) *(struct path_node *)image_at(&e->image, at) = node;
}

/* `whole`: the root gets the last slot, of n, when it has none. */
static uint32_t write_tree(struct emit *e, const struct path_tree *tree, bool whole, uint32_t n) {
    struct path_tree root = {.slot = -1};
    if (!tree && !whole) return 0;
    if (tree) root = *tree;
    if (whole && root.slot < 0) root.slot = (int32_t)n - 1;
    uint32_t at = image_reserve(&e->image, sizeof(struct path_node));
    if (!e->image.bytes.err) write_node(e, at, VALUE_UNDEFINED, &root);
    return at;
}

/* ---- all of it ---- */

static value json_word(struct emit *e, void (*print)(const struct emit *, struct buf *)) {
    buf_clear(&e->scratch);
    print(e, &e->scratch);
    return image_string(&e->image, buf_view(&e->scratch));
}

static void write_slots(struct emit *e, uint32_t at) {
    for (uint32_t i = 0; i < e->constants.n; i++) {
        value word = constant_word(e, &e->constants.items[i]);
        if (e->image.bytes.err) return;
        memcpy(image_at(&e->image, at + 8 * i), &word, sizeof word);
    }
}

void constants_build(struct emit *e) {
    struct module_header h = {.magic = MODULE_MAGIC, .layout_version = LAYOUT_VERSION};
    struct pair none;
    uint32_t header = image_reserve(&e->image, HEADER_BYTES);
    uint32_t slots = e->constants.n + e->n_input + e->n_data + e->n_memo;
    uint32_t at = image_reserve(&e->image, 8 * slots);
    _Static_assert(sizeof h <= HEADER_BYTES, "the header fits its room");
    if (e->image.bytes.err) return;
    write_slots(e, at);
    h.n_const = e->constants.n;
    h.n_input = e->n_input;
    h.n_data = e->n_data;
    h.n_memo = e->n_memo;
    h.input_tree = write_tree(e, e->plan->input_tree, e->whole_input, e->n_input);
    h.data_tree = write_tree(e, e->plan->data_tree, false, e->n_data);
    h.data_root = image_object(&e->image, &none, 0);
    h.entrypoints = json_word(e, meta_entrypoints);
    h.builtins = json_word(e, meta_builtins);
    h.n_entrypoints = e->plan->entrypoints.n;
    h.image_end = h.heap_base = image_end(&e->image);
    if (!e->image.bytes.err) *(struct module_header *)image_at(&e->image, header) = h;
}
