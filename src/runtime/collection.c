/* Arrays, objects and sets: building, finding, ordering (layout.h has their form).
 * in: values. out: collections. owns: their entries and indexes, on the heap.
 * Objects and sets differ only in the size of an entry, whose first word is the key: STEP words. */
#include "runtime/state.h"

enum { OBJECT_STEP = 2, SET_STEP = 1, FIRST_CAPACITY = 4, CAPACITY_MAX = 1 << 26 };
_Static_assert(sizeof(struct set) == sizeof(struct object), "one code for both");

/* ---- arrays ---- */

value array_new(uint32_t capacity) {
    struct array *a = heap_take(sizeof *a);
    *a = (struct array){0, capacity, 0, 0};
    if (capacity > 0) a->items = addr(rt_alloc_array(capacity, sizeof(value)));
    return value_of_pointer(TAG_ARRAY, addr(a));
}

static uint32_t grown(uint32_t cap) {
    if (cap >= CAPACITY_MAX) rt_fail("guest_memory", "a collection has too many elements");
    return cap < FIRST_CAPACITY ? FIRST_CAPACITY : cap * 2;
}

void array_push(value array, value item) {
    struct array *a = at(value_pointer(array));
    if (RT_UNLIKELY(a->n == a->cap)) {
        uint32_t cap = grown(a->cap);
        a->items = addr(rt_realloc(at(a->items), a->cap * 8, cap * 8));
        a->cap = cap;
    }
    ((value *)at(a->items))[a->n++] = item;
}

value array_of(const value *items, uint32_t n) {
    value v = array_new(n);
    struct array *a = at(value_pointer(v));
    bytes_copy(at(a->items), (const uint8_t *)items, n * 8);
    a->n = n;
    return v;
}

/* ---- what objects and sets share ---- */

static value *entry(const struct object *o, uint32_t step, uint32_t i) {
    return (value *)at(o->entries) + (size_t)i * step;
}

static bool key_equal(value a, value b) {
    if (a == b) return true;
    if (is_string(a))
        return (uint32_t)a == (uint32_t)b &&
               bytes_equal(at(value_pointer(a)), at(value_pointer(b)), value_length(a));
    return value_equal(a, b);
}

static void index_place(struct object *o, uint32_t hash, uint32_t i) {
    uint32_t *index = at(o->index), slot = hash & o->mask;
    while (index[slot] != 0) slot = (slot + 1) & o->mask;
    index[slot] = i + 1;
}

static void index_new(struct object *o, uint32_t room) {
    uint32_t size = 2 * COLLECTION_LINEAR;
    while (size < 2 * room) size *= 2;
    o->mask = size - 1;
    o->index = addr(rt_alloc_array(size, 4));
    memset(at(o->index), 0, (size_t)size * 4);
}

static void index_build(struct object *o, uint32_t step) {
    index_new(o, o->n < o->cap ? o->cap : o->n);
    for (uint32_t i = 0; i < o->n; i++) index_place(o, value_hash(*entry(o, step, i)), i);
}

static int32_t index_find(const struct object *o, uint32_t step, value key, uint32_t hash) {
    const uint32_t *index = at(o->index);
    for (uint32_t slot = hash & o->mask; index[slot] != 0; slot = (slot + 1) & o->mask)
        if (key_equal(*entry(o, step, index[slot] - 1), key)) return (int32_t)(index[slot] - 1);
    return -1;
}

static inline int32_t find(struct object *o, uint32_t step, value key) {
    if (o->n > COLLECTION_LINEAR) {
        if (o->index == 0) index_build(o, step);
        return index_find(o, step, key, value_hash(key));
    }
    const value *e = at(o->entries);
    /* Equal strings of the image are one word. */
    for (uint32_t i = 0; i < o->n; i++)
        if (e[(size_t)i * step] == key) return (int32_t)i;
    for (uint32_t i = 0; i < o->n; i++, e += step)
        if (key_equal(*e, key)) return (int32_t)i;
    return -1;
}

int32_t object_find(struct object *o, value key) { return find(o, OBJECT_STEP, key); }
int32_t set_find(struct object *s, value item) { return find(s, SET_STEP, item); }

/* Room for one more entry at the end, counted but not filled in. */
static value *append(struct object *o, uint32_t step, value key) {
    if (RT_UNLIKELY(o->n == o->cap)) {
        uint32_t cap = grown(o->cap);
        o->entries = addr(rt_realloc(at(o->entries), o->cap * step * 8, cap * step * 8));
        o->cap = cap;
    }
    value *e = entry(o, step, o->n);
    *e = key;
    o->n++;
    o->flags &= ~(uint32_t)COLLECTION_SORTED;
    if (o->index != 0 && 2 * o->n > o->mask) o->index = 0;
    if (o->index != 0) index_place(o, value_hash(key), o->n - 1);
    return e;
}

static struct object *table_new(uint32_t step, uint32_t capacity) {
    struct object *o = heap_take(sizeof *o);
    *o = (struct object){0, capacity, 0, 0, 0, 0};
    if (capacity > 0) o->entries = addr(rt_alloc_array(capacity, step * 8));
    return o;
}

static struct object *table_copy(value v, uint32_t step) {
    const struct object *from = at(value_pointer(v));
    struct object *to = table_new(step, from->n + 1);
    bytes_copy(at(to->entries), at(from->entries), from->n * step * 8);
    to->n = from->n;
    to->flags = from->flags;
    return to;
}

/* Drops later duplicates' places: their values move to the first. */
static struct object *table_adopt(value *entries, uint32_t n, uint32_t step) {
    struct object *o = heap_take(sizeof *o);
    *o = (struct object){0, n, addr(entries), 0, 0, 0};
    if (n > COLLECTION_LINEAR) index_new(o, n);
    for (uint32_t i = 0; i < n; i++) {
        value key = entries[(size_t)i * step], v = entries[(size_t)i * step + step - 1];
        uint32_t hash = o->index != 0 ? value_hash(key) : 0;
        int32_t found = o->index != 0 ? index_find(o, step, key, hash) : find(o, step, key);
        value *e = entry(o, step, found >= 0 ? (uint32_t)found : o->n);
        if (found < 0) e[0] = key;
        if (step == OBJECT_STEP) e[1] = v;
        if (found >= 0) continue;
        if (o->index != 0) index_place(o, hash, o->n);
        o->n++;
    }
    return o;
}

/* ---- order: a stable merge sort over entries of `step` words ---- */

static void move(value *to, const value *from, uint32_t step) {
    to[0] = from[0];
    to[step - 1] = from[step - 1];
}

static bool is_sorted(const value *w, uint32_t n, uint32_t step) {
    for (uint32_t i = 1; i < n; i++)
        if (value_compare(w[(size_t)(i - 1) * step], w[(size_t)i * step]) > 0) return false;
    return true;
}

static RT_COLD void insertion_sort(value *w, uint32_t n, uint32_t step) {
    for (uint32_t i = 1; i < n; i++) {
        value key = w[(size_t)i * step], v = w[(size_t)i * step + step - 1];
        uint32_t j = i;
        for (; j > 0 && value_compare(w[(size_t)(j - 1) * step], key) > 0; j--)
            move(w + (size_t)j * step, w + (size_t)(j - 1) * step, step);
        w[(size_t)j * step + step - 1] = v;
        w[(size_t)j * step] = key;
    }
}

static RT_COLD void merge_sort(value *w, value *spare, uint32_t n, uint32_t step) {
    if (n <= 8) {
        insertion_sort(w, n, step);
        return;
    }
    uint32_t half = n / 2;
    merge_sort(w, spare, half, step);
    merge_sort(w + (size_t)half * step, spare, n - half, step);
    memcpy(spare, w, (size_t)half * step * 8);
    uint32_t i = 0, j = half, k = 0;
    while (i < half && j < n) {
        bool right = value_compare(spare[(size_t)i * step], w[(size_t)j * step]) > 0;
        move(w + (size_t)k++ * step, right ? w + (size_t)j * step : spare + (size_t)i * step, step);
        if (right)
            j++;
        else
            i++;
    }
    for (; i < half; i++) move(w + (size_t)k++ * step, spare + (size_t)i * step, step);
}

static void sort_entries(value *w, uint32_t n, uint32_t step) {
    uint32_t mark = heap_mark();
    value *spare = n > 8 ? rt_alloc_array(n / 2, step * 8) : NULL;
    merge_sort(w, spare, n, step);
    /* Comparing may have built an index behind the spare room: then that stays allocated. */
    if (spare != NULL && heap_mark() == addr(spare) + (n / 2) * step * 8) heap_release(mark);
}

static void table_sort(struct object *o, uint32_t step) {
    if (o->flags & COLLECTION_SORTED) return;
    if (!is_sorted(at(o->entries), o->n, step)) {
        sort_entries(at(o->entries), o->n, step);
        o->index = 0;
    }
    o->flags |= COLLECTION_SORTED;
}

void value_sort(value *items, uint32_t n) { sort_entries(items, n, SET_STEP); }

/* ---- objects ---- */

value object_new(uint32_t capacity) {
    return value_of_pointer(TAG_OBJECT, addr(table_new(OBJECT_STEP, capacity)));
}

void object_put(value object, value key, value v) {
    struct object *o = at(value_pointer(object));
    int32_t i = object_find(o, key);
    value *e = i >= 0 ? entry(o, OBJECT_STEP, (uint32_t)i) : append(o, OBJECT_STEP, key);
    e[1] = v;
}

value object_get(value object, value key) {
    struct object *o = at(value_pointer(object));
    int32_t i = object_find(o, key);
    return i < 0 ? VALUE_UNDEFINED : entry(o, OBJECT_STEP, (uint32_t)i)[1];
}

value object_get_text(value object, struct text key) {
    struct object *o = at(value_pointer(object));
    if (o->n > COLLECTION_LINEAR) {
        if (o->index == 0) index_build(o, OBJECT_STEP);
        const uint32_t *index = at(o->index);
        uint32_t slot = layout_hash_bytes(key.ptr, key.len) & o->mask;
        for (; index[slot] != 0; slot = (slot + 1) & o->mask) {
            const value *e = entry(o, OBJECT_STEP, index[slot] - 1);
            if (is_string(e[0]) && text_equal(text_of(e[0]), key)) return e[1];
        }
        return VALUE_UNDEFINED;
    }
    const struct pair *p = at(o->entries);
    for (uint32_t i = 0; i < o->n; i++)
        if (is_string(p[i].key) && text_equal(text_of(p[i].key), key)) return p[i].value;
    return VALUE_UNDEFINED;
}

struct pair *object_sorted(value object) {
    struct object *o = at(value_pointer(object));
    table_sort(o, OBJECT_STEP);
    return at(o->entries);
}

value object_copy(value object) {
    return value_of_pointer(TAG_OBJECT, addr(table_copy(object, OBJECT_STEP)));
}

value object_adopt(struct pair *pairs, uint32_t n) {
    return value_of_pointer(TAG_OBJECT, addr(table_adopt((value *)pairs, n, OBJECT_STEP)));
}

/* ---- sets ---- */

value set_new(uint32_t capacity) {
    return value_of_pointer(TAG_SET, addr(table_new(SET_STEP, capacity)));
}

void set_put(value set, value item) {
    struct object *s = at(value_pointer(set));
    if (set_find(s, item) < 0) append(s, SET_STEP, item);
}

bool set_has(value set, value item) { return set_find(at(value_pointer(set)), item) >= 0; }

value *set_sorted(value set) {
    struct object *s = at(value_pointer(set));
    table_sort(s, SET_STEP);
    return at(s->entries);
}

value set_copy(value set) { return value_of_pointer(TAG_SET, addr(table_copy(set, SET_STEP))); }

value set_adopt(value *items, uint32_t n) {
    return value_of_pointer(TAG_SET, addr(table_adopt(items, n, SET_STEP)));
}

value set_of(const value *items, uint32_t n) {
    value *copy = rt_alloc_array(n, sizeof(value));
    bytes_copy((uint8_t *)copy, (const uint8_t *)items, n * 8);
    return set_adopt(copy, n);
}

/* ---- any collection ---- */

uint32_t collection_len(value v) {
    if (is_array(v)) return array_len(v);
    return is_object(v) || is_set(v) ? object_len(v) : 0;
}

value collection_at(value v, uint32_t i) {
    if (is_array(v)) return array_items(v)[i];
    return is_object(v) ? object_sorted(v)[i].value : set_sorted(v)[i];
}

static void settle_table(struct object *o, uint32_t step) {
    table_sort(o, step);
    if (o->n > COLLECTION_LINEAR && o->index == 0) index_build(o, step);
    const value *words = at(o->entries);
    for (uint32_t i = 0; i < o->n * step; i++) value_settle(words[i]);
}

void value_settle(value v) {
    if (is_object(v)) settle_table(at(value_pointer(v)), OBJECT_STEP);
    if (is_set(v)) settle_table(at(value_pointer(v)), SET_STEP);
    if (!is_array(v)) return;
    for (uint32_t i = 0; i < array_len(v); i++) value_settle(array_items(v)[i]);
}
