/* Builds values in the runtime's memory layout, natively.
 * in: strings, numbers, words, JSON trees. out: bytes that lie at a fixed address of a module's
 * memory. owns: the image's byte buffer, until image_deinit. */
#include "image/image.h"
#include "image/decimal.h"
#include <stdlib.h>

void image_init(struct image *m, uint32_t base, size_t max_bytes) {
    size_t room = (size_t)UINT32_MAX - 65536 - base;
    buf_init(&m->bytes, max_bytes < room ? max_bytes : room);
    m->base = base;
    m->strings.slots = NULL;
    m->strings.n = m->strings.cap = 0;
    m->below = NULL;
}

void image_deinit(struct image *m) {
    free(m->strings.slots);
    buf_deinit(&m->bytes);
}

void image_seal(struct image *m) {
    free(m->strings.slots);
    m->strings.slots = NULL;
    m->strings.n = m->strings.cap = 0;
    uint8_t *p = m->bytes.len ? realloc(m->bytes.ptr, m->bytes.len) : NULL;
    if (!p) return;
    m->bytes.ptr = p;
    m->bytes.cap = m->bytes.len;
}

static void fail(struct image *m, enum err e) {
    if (!m->bytes.err) m->bytes.err = e;
}

uint32_t image_end(struct image *m) {
    static const uint8_t zeros[8];
    buf_put(&m->bytes, zeros, -m->bytes.len & 7);
    return m->base + (uint32_t)m->bytes.len;
}

uint32_t image_reserve(struct image *m, uint32_t n) {
    uint32_t address = image_end(m);
    uint8_t *p = buf_reserve(&m->bytes, n);
    if (!p) return 0;
    memset(p, 0, n);
    buf_commit(&m->bytes, n);
    return address;
}

void *image_at(struct image *m, uint32_t address) { return m->bytes.ptr + (address - m->base); }

/* Room for n elements of `size` bytes; 0 when there is none. */
static uint32_t reserve_array(struct image *m, uint32_t n, uint32_t size) {
    if (n > UINT32_MAX / size) fail(m, ERR_LIMIT);
    return m->bytes.err ? 0 : image_reserve(m, n * size);
}

static value text_word(struct image *m, unsigned tag, struct str s) {
    if (s.len > STRING_MAX_BYTES) fail(m, ERR_LIMIT);
    uint32_t address = m->base + (uint32_t)m->bytes.len;
    buf_put(&m->bytes, s.ptr, s.len);
    return value_of_view(tag, address, (uint32_t)s.len);
}

/* ---- strings that were written already ---- */

enum { STRINGS_FIRST = 64, STRINGS_LONGEST = 64 };

struct str image_text(const struct image *m, value v) {
    uint32_t address = value_pointer(v), len = value_length(v);
    if (len == 0) return STR("");
    if (address < m->base && m->below) return image_text(m->below, v);
    return (struct str){(const char *)m->bytes.ptr + (address - m->base), len};
}

static value *string_slot(const struct image *m, struct str s) {
    uint32_t mask = m->strings.cap - 1;
    uint32_t i = layout_hash_bytes((const uint8_t *)s.ptr, (uint32_t)s.len) & mask;
    while (m->strings.slots[i] && !str_eq(image_text(m, m->strings.slots[i]), s))
        i = (i + 1) & mask;
    return &m->strings.slots[i];
}

static bool strings_grow(struct image *m, uint32_t cap) {
    value *old = m->strings.slots, *slots = calloc(cap, sizeof *slots);
    uint32_t old_cap = m->strings.cap;
    if (!slots) return false;
    m->strings.slots = slots;
    m->strings.cap = cap;
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i]) *string_slot(m, image_text(m, old[i])) = old[i];
    free(old);
    return true;
}

static bool is_shared(const struct image *m, struct str s) {
    return m->strings.cap && s.len > 0 && s.len <= STRINGS_LONGEST;
}

static void string_add(struct image *m, struct str s, value word) {
    if (m->strings.n * 2 >= m->strings.cap && !strings_grow(m, m->strings.cap * 2)) return;
    *string_slot(m, s) = word;
    m->strings.n++;
}

void image_share_strings(struct image *m, const struct image *below) {
    m->below = below;
    (void)strings_grow(m, STRINGS_FIRST);
}

void image_know(struct image *m, value word) {
    const struct image *from = m->below;
    uint64_t at = value_pointer(word), len = value_length(word);
    if (value_tag(word) != TAG_STRING || at < from->base || at + len > from->base + from->bytes.len)
        return;
    struct str s = image_text(from, word);
    if (is_shared(m, s) && !*string_slot(m, s)) string_add(m, s, word);
}

value image_string(struct image *m, struct str s) {
    if (!is_shared(m, s)) return text_word(m, TAG_STRING, s);
    value word = *string_slot(m, s);
    if (word) return word;
    word = text_word(m, TAG_STRING, s);
    if (!m->bytes.err) string_add(m, s, word);
    return word;
}

value image_number(struct image *m, struct str text) {
    int64_t i;
    if (decimal_plain_integer(text, &i)) return value_of_integer(i);
    return text_word(m, TAG_NUMBER, text);
}

value image_array(struct image *m, const value *items, uint32_t n) {
    uint32_t head = image_reserve(m, sizeof(struct array));
    uint32_t at = reserve_array(m, n, sizeof(value));
    if (m->bytes.err) return VALUE_UNDEFINED;
    if (n) memcpy(image_at(m, at), items, n * sizeof(value));
    *(struct array *)image_at(m, head) = (struct array){n, n, at, 0};
    return value_of_pointer(TAG_ARRAY, head);
}

/* ---- sorting: elements are structs that begin with their key ---- */

/* Merges the sorted runs from[0..mid) and from[mid..n) into to; equal keys keep their order. */
static void merge_runs(const struct image *m, const uint8_t *from, uint8_t *to, uint32_t mid,
                       uint32_t n, size_t size) {
    uint32_t i = 0, j = mid;
    for (uint32_t k = 0; k < n; k++, to += size) {
        bool left = i < mid;
        if (left && j < n) {
            value a, b;
            memcpy(&a, from + i * size, sizeof a);
            memcpy(&b, from + j * size, sizeof b);
            left = image_compare(m, a, b) <= 0;
        }
        memcpy(to, from + (left ? i++ : j++) * size, size);
    }
}

static bool is_ascending(const struct image *m, const uint8_t *items, uint32_t n, size_t size) {
    for (uint32_t i = 1; i < n; i++) {
        value a, b;
        memcpy(&a, items + (i - 1) * size, sizeof a);
        memcpy(&b, items + i * size, sizeof b);
        if (image_compare(m, a, b) >= 0) return false;
    }
    return true;
}

/* Stable bottom-up merge sort. */
static void sort(struct image *m, uint8_t *items, uint32_t n, size_t size) {
    uint8_t *other = malloc(n * size), *from = items, *to = other;
    if (!other) {
        fail(m, ERR_MEMORY);
        return;
    }
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t i = 0; i < n; i += 2 * run) {
            uint32_t left = (uint32_t)(n - i), mid = left < run ? left : (uint32_t)run;
            merge_runs(m, from + i * size, to + i * size, mid,
                       left < 2 * run ? left : (uint32_t)(2 * run), size);
        }
        uint8_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, n * size);
    free(other);
}

/* Sorts and drops duplicates: of equal keys the first stays, with the last one's value, as where
 * they are inserted one by one. */
static uint32_t sort_unique(struct image *m, void *items, uint32_t n, size_t size) {
    uint8_t *p = items;
    uint32_t kept = 0;
    if (is_ascending(m, p, n, size)) return n;
    sort(m, p, n, size);
    if (m->bytes.err) return 0;
    for (uint32_t i = 0; i < n; i++) {
        value a = VALUE_UNDEFINED, b;
        uint8_t *last = p + (kept - (kept > 0)) * size, *next = p + i * size;
        if (kept) memcpy(&a, last, sizeof a);
        memcpy(&b, next, sizeof b);
        if (kept && image_compare(m, a, b) == 0)
            memmove(last + sizeof a, next + sizeof a, size - sizeof a);
        else
            memmove(p + kept++ * size, next, size);
    }
    return kept;
}

/* The hash index over n entries at `entries`; sets *index and *mask. */
static void build_index(struct image *m, uint32_t entries, uint32_t n, size_t size, uint32_t *index,
                        uint32_t *mask) {
    uint64_t slots = 16;
    *index = *mask = 0;
    if (n <= COLLECTION_LINEAR) return;
    while (slots < (uint64_t)n + n / 2) slots *= 2;
    uint32_t at = slots > UINT32_MAX / 4 ? 0 : reserve_array(m, (uint32_t)slots, 4);
    if (!at) {
        fail(m, ERR_LIMIT);
        return;
    }
    const uint8_t *items = image_at(m, entries);
    uint32_t *table = image_at(m, at);
    *index = at;
    *mask = (uint32_t)slots - 1;
    for (uint32_t i = 0; i < n; i++) {
        value key;
        memcpy(&key, items + i * size, sizeof key);
        uint32_t h = image_hash(m, key) & *mask;
        while (table[h]) h = (h + 1) & *mask;
        table[h] = i + 1;
    }
}

/* struct object and struct set have one shape. */
static value collection(struct image *m, unsigned tag, void *items, uint32_t n, size_t size) {
    struct set head = {.flags = COLLECTION_SORTED};
    head.n = head.cap = sort_unique(m, items, n, size);
    uint32_t at = image_reserve(m, sizeof head);
    head.entries = reserve_array(m, head.n, (uint32_t)size);
    if (m->bytes.err) return VALUE_UNDEFINED;
    if (head.n) memcpy(image_at(m, head.entries), items, head.n * size);
    build_index(m, head.entries, head.n, size, &head.index, &head.mask);
    if (m->bytes.err) return VALUE_UNDEFINED;
    *(struct set *)image_at(m, at) = head;
    return value_of_pointer(tag, at);
}

value image_object(struct image *m, struct pair *pairs, uint32_t n) {
    _Static_assert(sizeof(struct object) == sizeof(struct set), "objects and sets have one head");
    return m->bytes.err ? VALUE_UNDEFINED : collection(m, TAG_OBJECT, pairs, n, sizeof *pairs);
}

value image_set(struct image *m, value *items, uint32_t n) {
    return m->bytes.err ? VALUE_UNDEFINED : collection(m, TAG_SET, items, n, sizeof *items);
}

static value json_array_word(struct image *m, const struct json *v) {
    value *items = malloc((v->n + (size_t)1) * sizeof *items), word = VALUE_UNDEFINED;
    if (!items) fail(m, ERR_MEMORY);
    for (uint32_t i = 0; i < v->n && !m->bytes.err; i++) items[i] = image_json(m, v->items[i]);
    if (!m->bytes.err) word = image_array(m, items, v->n);
    free(items);
    return word;
}

static value json_object_word(struct image *m, const struct json *v) {
    struct pair *pairs = malloc((v->n + (size_t)1) * sizeof *pairs);
    value word = VALUE_UNDEFINED;
    if (!pairs) fail(m, ERR_MEMORY);
    for (uint32_t i = 0; i < v->n && !m->bytes.err; i++) {
        pairs[i].key = image_string(m, v->keys[i]);
        pairs[i].value = image_json(m, v->items[i]);
    }
    if (!m->bytes.err) word = image_object(m, pairs, v->n);
    free(pairs);
    return word;
}

value image_json(struct image *m, const struct json *v) {
    switch (v->kind) {
    case JSON_NULL: return VALUE_NULL;
    case JSON_BOOL: return value_of_boolean(v->boolean);
    case JSON_NUMBER: return image_number(m, v->text);
    case JSON_STRING: return image_string(m, v->text);
    case JSON_ARRAY: return json_array_word(m, v);
    case JSON_OBJECT: return json_object_word(m, v);
    }
    return VALUE_UNDEFINED;
}
