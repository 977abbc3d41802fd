/* The runtime's internal API: what its own files and builtins/ build upon. Compiled to wasm32
 * (freestanding, no libc, no function pointers) and, with -DREGENT_NATIVE, natively for tests.
 *
 * Memory: everything is allocated from a heap that only grows and is reset before the next
 * evaluation; nothing is freed. An allocation never returns NULL: running out ends the evaluation
 * (rt_fail "guest_memory"). Values are words (layout.h). A collection may be changed only by the
 * function that has just made it; everything that came in as an argument is shared and read-only.
 * Natively no value may point to the stack (addresses are 32 bits wide): put bytes that a value
 * names on the heap or into static const data. VALUE_UNDEFINED as a result means undefined; no
 * function takes it as an argument unless it says so. */
#ifndef REGENT_RUNTIME_RT_H
#define REGENT_RUNTIME_RT_H
#include "runtime/layout.h"
#include <stdbool.h>
#include <stddef.h>

/* Marks functions that plan code or a host calls: exported under their C name. */
#define RT_EXPORT __attribute__((visibility("default"), used))
/* Rare code inside hot files: small instead of fast. */
#define RT_COLD __attribute__((noinline, minsize))
#define RT_NORETURN __attribute__((noreturn))
#define RT_LIKELY(x) __builtin_expect(!!(x), 1)
#define RT_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* ---- addresses ---- */
static inline void *at(uint32_t address) { return (void *)(uintptr_t)address; }
static inline uint32_t addr(const void *p) { return (uint32_t)(uintptr_t)p; }

/* ---- memory.c: bytes ---- */
#ifndef REGENT_NATIVE
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
#else
#include <string.h>
#endif

/* ---- alloc.c: the heap ---- */
/* n bytes, 8-aligned, not zeroed; n == 0 gives a valid address. */
void *rt_alloc(uint32_t n);
/* Room for `count` elements of `size` bytes; a product that does not fit fails like any allocation.
 */
void *rt_alloc_array(uint32_t count, uint32_t size);
/* Grows p (made with old_n bytes) to new_n >= old_n bytes: in place when p is the newest
 * allocation. */
void *rt_realloc(void *p, uint32_t old_n, uint32_t new_n);

/* ---- fail.c: errors ---- */
/* Ends the evaluation: opa_abort("<word>: <text>"), then a trap. `word` is one of
 * src/base/err.def's. */
RT_NORETURN void rt_fail(const char *word, const char *text);
/* A builtin failed: undefined; in strict mode it ends the evaluation with
 * "eval_builtin_error: <builtin>: <message>". builtin is Rego's name ("object.get"). Usage: return
 * bi_error(…). */
value bi_error(const char *builtin, const char *message);
/* OPA's operand errors, with bi_error's result: "operand <pos> must be <expected> but got <type of
 * got>". */
value bi_error_operand(const char *builtin, int pos, const char *expected, value got);
/* The same with "must be one of {<expected>} but got …"; expected is "array, set". */
value bi_error_operand_one_of(const char *builtin, int pos, const char *expected, value got);
/* "operand <pos> must be <collection> of <element>s but got <collection> containing <type of got>".
 */
value bi_error_element(const char *builtin, int pos, value collection, const char *element,
                       value got);
/* True after regent_set_strict(1). */
bool rt_strict(void);

/* ---- inspecting values ---- */
static inline bool is_defined(value v) { return v != VALUE_UNDEFINED; }
static inline bool is_null(value v) { return v == VALUE_NULL; }
static inline bool is_boolean(value v) { return value_tag(v) == TAG_BOOLEAN; }
static inline bool is_number(value v) {
    return value_tag(v) == TAG_INTEGER || value_tag(v) == TAG_NUMBER;
}
static inline bool is_string(value v) { return value_tag(v) == TAG_STRING; }
static inline bool is_array(value v) { return value_tag(v) == TAG_ARRAY; }
static inline bool is_object(value v) { return value_tag(v) == TAG_OBJECT; }
static inline bool is_set(value v) { return value_tag(v) == TAG_SET; }
/* Static text: "null", "boolean", "number", "string", "array", "object", "set". */
const char *value_type_name(value v);

/* ---- value.c ---- */
bool value_equal(value a, value b);        /* Rego's ==: 1 == 1.0 */
int value_compare(value a, value b);       /* OPA's total order: -1, 0, 1 */
uint32_t value_hash(value v);              /* layout.h's rule; equal values hash alike */
void value_sort(value *items, uint32_t n); /* in OPA's order, stable, in place */

/* ---- string.c: strings ---- */
/* A borrowed byte range. Strings are valid UTF-8 and not terminated. */
struct text {
    const uint8_t *ptr;
    uint32_t len;
};
#define TEXT(literal) ((struct text){(const uint8_t *)(literal), sizeof(literal) - 1})
static inline struct text text_of(value v) { /* TAG_STRING (or TAG_NUMBER: its digits) */
    return (struct text){at(value_pointer(v)), value_length(v)};
}
/* String values: viewing bytes that live on the heap or in static data, or copying them. Neither
 * checks UTF-8. Longer than STRING_MAX_BYTES ends the evaluation. */
value string_view(struct text t);
value string_copy(struct text t);
#define STRING(literal) string_view(TEXT(literal))
value string_of_c(const char *s); /* view of a static, terminated text */
bool text_equal(struct text a, struct text b);
int text_compare(struct text a, struct text b); /* bytewise: -1, 0, 1 */
/* Offset of the first occurrence of `needle` at or after `from`; -1 when there is none. Empty
 * needle: `from`. */
int64_t text_find(struct text t, struct text needle, uint32_t from);
int64_t text_find_last(struct text t, struct text needle);
bool text_starts_with(struct text t, struct text prefix);
bool text_ends_with(struct text t, struct text suffix);
/* Part of t; the caller keeps from <= to <= t.len. */
static inline struct text text_slice(struct text t, uint32_t from, uint32_t to) {
    return (struct text){t.ptr + from, to - from};
}

/* ---- utf8.c ---- */
/* The code point at t.ptr[*i], with *i moved past it; *i < t.len. An invalid byte gives U+FFFD, one
 * byte long (as Go's range loop). utf8_decode_checked tells that case from a real U+FFFD. */
uint32_t utf8_decode(struct text t, uint32_t *i);
bool utf8_decode_checked(struct text t, uint32_t *i, uint32_t *code_point);
/* The code point that ends before t.ptr[*i], with *i moved back to its start; *i > 0. */
uint32_t utf8_decode_back(struct text t, uint32_t *i);
uint32_t utf8_encode(uint32_t code_point,
                     uint8_t out[4]); /* bytes written; surrogates become U+FFFD */
uint32_t utf8_count(struct text t);   /* code points */
bool utf8_valid(struct text t);
/* Byte offset of the n-th code point (t.len when there are not that many). */
uint32_t utf8_offset(struct text t, uint32_t n);
/* Simple case mapping, white space and digit classes live with the builtins that need them. */

/* ---- builder.c: growing byte strings on the heap ---- */
struct builder {
    uint8_t *ptr;
    uint32_t len, cap;
};
/* Does not allocate when hint is 0. */
struct builder builder_new(uint32_t hint);
void builder_reserve(struct builder *b, uint32_t n); /* room for n more bytes */
void builder_put_slow(struct builder *b, uint8_t c);
static inline void builder_put(struct builder *b, uint8_t c) {
    if (RT_LIKELY(b->len < b->cap))
        b->ptr[b->len++] = c;
    else
        builder_put_slow(b, c);
}
void builder_text(struct builder *b, struct text t);
void builder_c(struct builder *b, const char *s);
void builder_code_point(struct builder *b, uint32_t code_point);
void builder_int(struct builder *b, int64_t i);
void builder_repeat(struct builder *b, uint8_t c, uint32_t n);
static inline struct text builder_view(const struct builder *b) {
    return (struct text){b->ptr, b->len};
}
value builder_string(struct builder *b); /* takes the bytes; b is not used any more */

/* ---- collection.c: arrays, objects, sets ---- */
/* Getters want a value of that type. array_items and the like are valid until the next change. */
value array_new(uint32_t capacity);
void array_push(value array, value item);
value array_of(const value *items, uint32_t n); /* copies */
static inline uint32_t array_len(value v) { return ((struct array *)at(value_pointer(v)))->n; }
static inline value *array_items(value v) {
    return at(((struct array *)at(value_pointer(v)))->items);
}

value object_new(uint32_t capacity);
void object_put(value object, value key, value v); /* replaces */
/* VALUE_UNDEFINED when absent. */
value object_get(value object, value key);
value object_get_text(value object, struct text key);
static inline uint32_t object_len(value v) { return ((struct object *)at(value_pointer(v)))->n; }
/* Pairs in whatever order they lie in: for work whose result does not depend on order. */
static inline struct pair *object_pairs(value v) {
    return at(((struct object *)at(value_pointer(v)))->entries);
}
/* Pairs in OPA's order of keys; sorts the object itself the first time. */
struct pair *object_sorted(value object);
value object_copy(value object); /* shallow, may be changed */

value set_new(uint32_t capacity);
void set_put(value set, value item);
bool set_has(value set, value item);
static inline uint32_t set_len(value v) { return ((struct set *)at(value_pointer(v)))->n; }
static inline value *set_items(value v) {
    return at(((struct set *)at(value_pointer(v)))->entries);
}
value *set_sorted(value set); /* as object_sorted */
value set_copy(value set);
value set_of(const value *items, uint32_t n);

/* Any collection: number of elements (0 for other values). */
uint32_t collection_len(value v);
/* i-th element in OPA's order: array item, object value, set element (sorts first when needed). */
value collection_at(value v, uint32_t i);
/* v[key] as rt_get. */
value value_get(value v, value key);

/* ---- json_read.c, json_write.c ---- */
/* One JSON document with white space around it; false when it is malformed: *error (may be NULL)
 * then is a static text. rego: also Rego's sets ({1, 2}, set()) and composite object keys. Strings
 * without escapes are views into t, which must live on. Nothing is allocated but the value. */
struct json_problem {
    const char *message;
    uint32_t offset;
};
bool json_read(struct text t, bool rego, value *out, struct json_problem *error);
/* Compact JSON with sorted objects; sets as arrays; keys that are no strings as strings of their
 * JSON. */
enum json_form {
    JSON_PLAIN = 0,
    JSON_REGO = 1, /* sets and keys in Rego's syntax */
    JSON_HTML =
        2 /* also escape < > & (what Go's json.Marshal does and OPA's json.marshal therefore) */
};
void json_write(struct builder *b, value v, uint32_t form);
/* A quoted, escaped string. */
void json_write_string(struct builder *b, struct text t);
/* Go's json.MarshalIndent: each line but the first starts with prefix, then depth × indent. Empty
 * collections stay compact. */
void json_write_indented(struct builder *b, value v, uint32_t form, struct text prefix,
                         struct text indent);

/* ---- every function of rt.def, under its own name ---- */
#include "runtime/rt_functions.h"

#endif
