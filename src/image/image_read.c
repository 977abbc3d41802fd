/* Reads values out of a module's memory, which may hold anything.
 * in: memory as the host sees it, a word. out: a JSON tree. owns: nothing; trees lie in the
 * caller's arena. */
#include "base/utf8.h"
#include "image/decimal.h"
#include "image/image.h"

/* True when [address, address + bytes) lies in memory. */
static bool inside(struct memory_view m, uint32_t address, uint64_t bytes) {
    return bytes <= m.len && address <= m.len - bytes;
}

bool memory_text(struct memory_view m, value v, struct str *out) {
    uint32_t address = value_pointer(v), len = value_length(v);
    if (value_tag(v) != TAG_STRING && value_tag(v) != TAG_NUMBER) return false;
    if (!inside(m, address, len)) return false;
    *out = (struct str){(const char *)m.bytes + address, len};
    return true;
}

static enum err read_word(struct memory_view m, value v, struct arena *a, int depth,
                          struct json **out);

/* Copies text, so that the tree does not change when the module runs on. */
static enum err copied(struct arena *a, struct str text, struct str *out) {
    const char *p = arena_copy(a, text.ptr, text.len);
    if (!p) return ERR_MEMORY;
    *out = (struct str){p, text.len};
    return OK;
}

static enum err made(struct json *made, struct json **out) {
    if (!made) return ERR_MEMORY;
    *out = made;
    return OK;
}

static enum err read_text(struct memory_view m, value v, struct arena *a, struct json **out) {
    struct str text;
    bool number = value_tag(v) == TAG_NUMBER;
    if (!memory_text(m, v, &text)) return ERR_INVALID;
    if (number ? !decimal_valid(text) : !utf8_valid(text)) return ERR_INVALID;
    enum err e = copied(a, text, &text);
    if (e) return e;
    return made(number ? json_number(a, text) : json_string(a, text), out);
}

static value word_at(struct memory_view m, uint32_t address) {
    value v;
    memcpy(&v, m.bytes + address, sizeof v);
    return v;
}

/* Arrays and sets: n words at `items`. */
static enum err read_items(struct memory_view m, uint32_t items, uint32_t n, struct arena *a,
                           int depth, struct json **out) {
    if (!inside(m, items, (uint64_t)n * sizeof(value))) return ERR_INVALID;
    struct json *list = json_array(a);
    if (!list) return ERR_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        struct json *item;
        enum err e = read_word(m, word_at(m, items + i * 8), a, depth, &item);
        if (!e && !item) e = ERR_INVALID; /* undefined inside of a collection */
        if (e) return e;
        json_push(a, list, item);
        if (list->n != i + 1) return ERR_MEMORY;
    }
    *out = list;
    return OK;
}

/* A key that is no string becomes the text of its JSON, as OPA prints objects. */
static enum err read_key(struct memory_view m, value v, struct arena *a, int depth,
                         struct str *out) {
    struct json *key;
    struct buf text;
    enum err e = read_word(m, v, a, depth, &key);
    if (e) return e;
    if (!key) return ERR_INVALID;
    if (key->kind == JSON_STRING) return *out = key->text, OK;
    buf_init(&text, STRING_MAX_BYTES);
    json_print(key, true, 0, &text);
    e = text.err ? text.err : copied(a, buf_view(&text), out);
    buf_deinit(&text);
    return e;
}

static enum err read_object(struct memory_view m, uint32_t pairs, uint32_t n, struct arena *a,
                            int depth, struct json **out) {
    if (!inside(m, pairs, (uint64_t)n * sizeof(struct pair))) return ERR_INVALID;
    struct json *object = json_object(a);
    if (!object) return ERR_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        struct str key;
        struct json *member;
        enum err e = read_key(m, word_at(m, pairs + i * 16), a, depth, &key);
        if (!e) e = read_word(m, word_at(m, pairs + i * 16 + 8), a, depth, &member);
        if (!e && !member) e = ERR_INVALID;
        if (e) return e;
        uint32_t before = object->n;
        json_set(a, object, key, member);
        if (object->n == before && !json_get(object, key)) return ERR_MEMORY;
    }
    *out = object;
    return OK;
}

static enum err read_collection(struct memory_view m, value v, struct arena *a, int depth,
                                struct json **out) {
    uint32_t head[4];
    if (depth <= 0 || !inside(m, value_pointer(v), sizeof(struct array))) return ERR_INVALID;
    memcpy(head, m.bytes + value_pointer(v), sizeof head);
    if (value_tag(v) == TAG_OBJECT) return read_object(m, head[2], head[0], a, depth - 1, out);
    return read_items(m, head[2], head[0], a, depth - 1, out);
}

static enum err read_word(struct memory_view m, value v, struct arena *a, int depth,
                          struct json **out) {
    switch (value_tag(v)) {
    case TAG_UNDEFINED:
        if (v != VALUE_UNDEFINED) return ERR_INVALID;
        *out = NULL;
        return OK;
    case TAG_NULL: return v == VALUE_NULL ? made(json_null(a), out) : ERR_INVALID;
    case TAG_BOOLEAN:
        if (v != VALUE_TRUE && v != VALUE_FALSE) return ERR_INVALID;
        return made(json_bool(a, v == VALUE_TRUE), out);
    case TAG_INTEGER: return made(json_int(a, value_integer(v)), out);
    case TAG_NUMBER:
    case TAG_STRING: return read_text(m, v, a, out);
    case TAG_ARRAY:
    case TAG_OBJECT:
    case TAG_SET: return read_collection(m, v, a, depth, out);
    }
    return ERR_INVALID;
}

enum err memory_read(struct memory_view m, value v, struct arena *a, struct json **out) {
    return read_word(m, v, a, JSON_MAX_DEPTH, out);
}
