/* Reads values back out of an image that was built natively.
 * in: an image, words of it. out: members, items, JSON text. owns: nothing. */
#include "image/image.h"

static const void *at(const struct image *m, uint32_t address) {
    return m->bytes.ptr + (address - m->base);
}

/* Keys are sorted: of strings alone, as documents have them, bytewise. */
bool image_member(const struct image *m, value object, struct str key, value *out) {
    if (value_tag(object) != TAG_OBJECT) return false;
    const struct object *o = at(m, value_pointer(object));
    const struct pair *entries = o->n ? at(m, o->entries) : NULL;
    for (uint32_t low = 0, high = o->n; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (value_tag(entries[middle].key) != TAG_STRING) return false;
        int c = str_cmp(image_text(m, entries[middle].key), key);
        if (c == 0) return *out = entries[middle].value, true;
        if (c < 0) low = middle + 1;
        else high = middle;
    }
    return false;
}

bool image_item(const struct image *m, value array, int64_t index, value *out) {
    if (value_tag(array) != TAG_ARRAY) return false;
    const struct array *a = at(m, value_pointer(array));
    if (index < 0 || index >= (int64_t)a->n) return false;
    *out = ((const value *)at(m, a->items))[index];
    return true;
}

static void print_items(const struct image *m, uint32_t items, uint32_t n, struct buf *out) {
    buf_byte(out, '[');
    for (uint32_t i = 0; i < n && !out->err; i++) {
        if (i) buf_byte(out, ',');
        image_print(m, ((const value *)at(m, items))[i], out);
    }
    buf_byte(out, ']');
}

static void print_members(const struct image *m, const struct object *o, struct buf *out) {
    const struct pair *entries = o->n ? at(m, o->entries) : NULL;
    buf_byte(out, '{');
    for (uint32_t i = 0; i < o->n && !out->err; i++) {
        if (i) buf_byte(out, ',');
        image_print(m, entries[i].key, out);
        buf_byte(out, ':');
        image_print(m, entries[i].value, out);
    }
    buf_byte(out, '}');
}

static void print_collection(const struct image *m, value v, struct buf *out) {
    const void *head = at(m, value_pointer(v));
    if (value_tag(v) == TAG_OBJECT)
        print_members(m, head, out);
    else if (value_tag(v) == TAG_ARRAY)
        print_items(m, ((const struct array *)head)->items, ((const struct array *)head)->n, out);
    else
        print_items(m, ((const struct set *)head)->entries, ((const struct set *)head)->n, out);
}

void image_print(const struct image *m, value v, struct buf *out) {
    switch (value_tag(v)) {
    case TAG_BOOLEAN: buf_cstr(out, v == VALUE_TRUE ? "true" : "false"); return;
    case TAG_INTEGER: buf_printf(out, "%lld", (long long)value_integer(v)); return;
    case TAG_NUMBER: buf_str(out, image_text(m, v)); return;
    case TAG_STRING: json_print_string(image_text(m, v), out); return;
    case TAG_ARRAY:
    case TAG_OBJECT:
    case TAG_SET: print_collection(m, v, out); return;
    }
    buf_cstr(out, "null");
}
