/* OPA's total order and the index hash of values that lie in an image.
 * in: words of an image. out: order, hash (the rules stand in runtime/layout.h). owns: nothing. */
#include "image/decimal.h"
#include "image/image.h"
#include <stdio.h>

static const void *at(const struct image *m, uint32_t address) {
    return m->bytes.ptr + (address - m->base);
}

static struct str text_at(const struct image *m, value v) {
    return image_text(m, v);
}

static struct decimal decimal_at(const struct image *m, value v, char scratch[24]) {
    if (value_tag(v) == TAG_NUMBER) return decimal_of(text_at(m, v));
    int n = snprintf(scratch, 24, "%lld", (long long)value_integer(v));
    return decimal_of((struct str){scratch, (size_t)n});
}

static int compare_numbers(const struct image *m, value a, value b) {
    char scratch_a[24], scratch_b[24];
    if (value_tag(a) == TAG_INTEGER && value_tag(b) == TAG_INTEGER)
        return (value_integer(a) > value_integer(b)) - (value_integer(a) < value_integer(b));
    return decimal_compare(decimal_at(m, a, scratch_a), decimal_at(m, b, scratch_b));
}

static int compare_words(const struct image *m, const value *a, uint32_t n_a, const value *b,
                         uint32_t n_b) {
    for (uint32_t i = 0; i < n_a && i < n_b; i++) {
        int c = image_compare(m, a[i], b[i]);
        if (c) return c;
    }
    return (n_a > n_b) - (n_a < n_b);
}

static int compare_arrays(const struct image *m, value a, value b) {
    const struct array *x = at(m, value_pointer(a)), *y = at(m, value_pointer(b));
    return compare_words(m, at(m, x->items), x->n, at(m, y->items), y->n);
}

/* Pairs are two words, key first: the order of words is the order of pairs, but for a shorter
 * object. */
static int compare_collections(const struct image *m, value a, value b, uint32_t words) {
    const struct set *x = at(m, value_pointer(a)), *y = at(m, value_pointer(b));
    return compare_words(m, at(m, x->entries), x->n * words, at(m, y->entries), y->n * words);
}

/* Numbers have two tags but are one type. */
static unsigned type_of(value v) {
    return value_tag(v) == TAG_NUMBER ? (unsigned)TAG_INTEGER : value_tag(v);
}

int image_compare(const struct image *m, value a, value b) {
    int c;
    if (a == b) return 0;
    if (type_of(a) != type_of(b)) return type_of(a) < type_of(b) ? -1 : 1;
    switch (type_of(a)) {
    case TAG_BOOLEAN: return a < b ? -1 : 1;
    case TAG_INTEGER: return compare_numbers(m, a, b);
    case TAG_STRING: c = str_cmp(text_at(m, a), text_at(m, b)); return (c > 0) - (c < 0);
    case TAG_ARRAY: return compare_arrays(m, a, b);
    case TAG_OBJECT: return compare_collections(m, a, b, 2);
    case TAG_SET: return compare_collections(m, a, b, 1);
    }
    return 0;
}

static uint32_t hash_number(const struct image *m, value v) {
    struct decimal d = decimal_of(text_at(m, v));
    int64_t i;
    if (decimal_integer(d, &i) && i >= INTEGER_MIN && i <= INTEGER_MAX)
        return layout_mix(value_of_integer(i));
    return decimal_hash(d);
}

static uint32_t hash_array(const struct image *m, value v) {
    const struct array *a = at(m, value_pointer(v));
    const value *items = at(m, a->items);
    uint32_t h = TAG_ARRAY;
    for (uint32_t i = 0; i < a->n; i++) h = layout_mix((uint64_t)h << 32 | image_hash(m, items[i]));
    return h;
}

static uint32_t hash_object(const struct image *m, value v) {
    const struct object *o = at(m, value_pointer(v));
    const struct pair *pairs = at(m, o->entries);
    uint32_t h = TAG_OBJECT;
    for (uint32_t i = 0; i < o->n; i++)
        h +=
            layout_mix((uint64_t)image_hash(m, pairs[i].key) << 32 | image_hash(m, pairs[i].value));
    return h;
}

static uint32_t hash_set(const struct image *m, value v) {
    const struct set *s = at(m, value_pointer(v));
    const value *items = at(m, s->entries);
    uint32_t h = TAG_SET;
    for (uint32_t i = 0; i < s->n; i++) h += layout_mix(image_hash(m, items[i]));
    return h;
}

uint32_t image_hash(const struct image *m, value v) {
    struct str text;
    switch (value_tag(v)) {
    case TAG_NUMBER: return hash_number(m, v);
    case TAG_STRING:
        text = text_at(m, v);
        return layout_hash_bytes((const uint8_t *)text.ptr, (uint32_t)text.len);
    case TAG_ARRAY: return hash_array(m, v);
    case TAG_OBJECT: return hash_object(m, v);
    case TAG_SET: return hash_set(m, v);
    }
    return layout_mix(v);
}
