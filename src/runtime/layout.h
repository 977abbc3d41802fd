/* The byte format of values and of a module's memory: compiled by the runtime, the image builder and
 * the host alike, so there is one truth. Includes nothing but stdint. */
#ifndef REGENT_RUNTIME_LAYOUT_H
#define REGENT_RUNTIME_LAYOUT_H
#include <stdint.h>

/* ---- A value is one 64-bit word ------------------------------------------------------------
 *
 *   63            32 31             4 3   0
 *  +----------------+----------------+-----+
 *  |    pointer     |     length     | tag |   string, number: a view of `length` bytes
 *  |    pointer     |       0        | tag |   array, object, set: struct below
 *  |        signed 60-bit integer    |  3  |   integer
 *  |        0               | 0 or 1 |  2  |   boolean
 *  |        0                        | 0/1 |   undefined (the word 0), null (the word 1)
 *  +----------------+----------------+-----+
 *
 * Tags are in OPA's order of types (null < boolean < number < string < array < object < set), so
 * values of two types compare by tag, once both number tags are taken as one.
 * Pointers are addresses in the module's linear memory. Strings are valid UTF-8.
 * An integer that is written plainly ("0", "-17": no sign but '-', no leading 0, no "-0", fraction
 * or exponent) and fits 60 bits is ALWAYS TAG_INTEGER; any other number is TAG_NUMBER and keeps the
 * text it was written in, which is valid JSON number syntax. */
typedef uint64_t value;

enum value_tag {
    TAG_UNDEFINED = 0,
    TAG_NULL = 1,
    TAG_BOOLEAN = 2,
    TAG_INTEGER = 3,
    TAG_NUMBER = 4,
    TAG_STRING = 5,
    TAG_ARRAY = 6,
    TAG_OBJECT = 7,
    TAG_SET = 8,
    TAG_UNCOMPUTED = 15 /* only in memo slots: not evaluated yet is the word 0 there, and this
                           word says "evaluated, undefined" */
};

#define VALUE_UNDEFINED ((value)0)
#define VALUE_NULL ((value)TAG_NULL)
#define VALUE_FALSE ((value)TAG_BOOLEAN)
#define VALUE_TRUE ((value)TAG_BOOLEAN | 16)
#define MEMO_UNDEFINED ((value)TAG_UNCOMPUTED)

#define INTEGER_MIN (-((int64_t)1 << 59))
#define INTEGER_MAX (((int64_t)1 << 59) - 1)
#define STRING_MAX_BYTES ((1u << 28) - 1)

static inline unsigned value_tag(value v) { return (unsigned)(v & 15); }
static inline uint32_t value_pointer(value v) { return (uint32_t)(v >> 32); }
static inline uint32_t value_length(value v) { return (uint32_t)v >> 4; }
static inline int64_t value_integer(value v) { return (int64_t)v >> 4; }
static inline value value_of_boolean(int b) { return b ? VALUE_TRUE : VALUE_FALSE; }
static inline value value_of_integer(int64_t i) { return ((value)i << 4) | TAG_INTEGER; }
static inline value value_of_view(unsigned tag, uint32_t pointer, uint32_t length) {
    return (value)pointer << 32 | length << 4 | tag;
}
static inline value value_of_pointer(unsigned tag, uint32_t pointer) {
    return (value)pointer << 32 | tag;
}

/* ---- Collections: 8-byte aligned, pointers are linear memory addresses ---------------------- */

struct array {
    uint32_t n, cap;
    uint32_t items; /* value[cap] */
    uint32_t pad;
};

/* Objects and sets: entries in insertion order until first iterated or printed, then sorted in
 * OPA's order (COLLECTION_SORTED) and never changed again. Up to COLLECTION_LINEAR entries are
 * searched one by one; above that `index` is an open-addressing table (linear probing) of
 * mask + 1 words, each entry number + 1 or 0, placed by value_hash. index == 0 with more entries
 * than COLLECTION_LINEAR means: build it first (after sorting). Image values come sorted and indexed. */
struct object {
    uint32_t n, cap;
    uint32_t entries; /* struct pair[cap] */
    uint32_t index;   /* uint32_t[mask + 1], or 0 */
    uint32_t mask;
    uint32_t flags;
};
struct pair {
    value key, value;
};
struct set {
    uint32_t n, cap;
    uint32_t entries; /* value[cap] */
    uint32_t index;
    uint32_t mask;
    uint32_t flags;
};
enum { COLLECTION_SORTED = 1, COLLECTION_LINEAR = 8 };

/* Hash of bytes, the same here and natively: strings in every hash index. Not keyed: an index never
 * outlives one tenant's data or one evaluation, whose time is bounded by its deadline. Reads whole
 * little-endian words. */
static inline uint64_t layout_load64(const uint8_t *p) {
    uint64_t w;
    __builtin_memcpy(&w, p, 8);
    return w;
}
static inline uint32_t layout_mix(uint64_t h) {
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    return (uint32_t)h;
}
static inline uint32_t layout_hash_bytes(const uint8_t *p, uint32_t n) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ n, w;
    for (; n >= 8; p += 8, n -= 8) h = (h ^ layout_load64(p)) * 0xd6e8feb86659fd93u, h ^= h >> 29;
    for (w = 0; n > 0; n--) w = w << 8 | p[n - 1];
    return layout_mix(h ^ w);
}
/* value_hash (runtime/value.c and image/image.c, which must agree):
 *   null, boolean: layout_mix(word)
 *   number: layout_mix(word) for TAG_INTEGER; a TAG_NUMBER equal in value to such an integer hashes as
 *     that integer; other numbers hash the bytes of their canonical form "<digits>e<exponent>" (digits
 *     without leading or trailing zeros, '-' in front of negatives)
 *   string: layout_hash_bytes
 *   array: h = 6; for each item h = layout_mix((uint64_t)h << 32 | hash(item))
 *   object, set: tag + sum over entries of layout_mix(hash(key) << 32 | hash(value)), for sets of hash */

/* ---- A module's memory ----------------------------------------------------------------------
 *
 *   0            shadow stack, growing down: overflow traps          } fixed by the runtime's build:
 *   STACK_BYTES  runtime's read-only data and state                  } must end below HEADER_BASE
 *   HEADER_BASE  struct module_header
 *   SLOT_BASE    slots: value[n_const] value[n_input] value[n_data] value[n_memo]
 *                                                                    fixed by the template
 *   then         constants, path trees                               differs by tenant (data segments)
 *   image_end    the tenant's data documents (built natively when it is loaded)
 *   heap_base    heap, reset after each evaluation
 *
 * Code names slots by absolute address (SLOT_BASE + 8 * i); everything else is reached from a slot or
 * the header. */
enum {
    STACK_BYTES = 65536,
    HEADER_BASE = 0x20000,
    HEADER_BYTES = 128,
    SLOT_BASE = HEADER_BASE + HEADER_BYTES,
    MODULE_MAGIC = 0x746e6752, /* "Rgnt" */
    LAYOUT_VERSION = 1
};

struct module_header {
    uint32_t magic, layout_version;
    uint32_t n_const, n_input, n_data, n_memo; /* slots, in this order */
    uint32_t input_tree, data_tree;            /* struct path_node addresses, 0: nothing is read */
    uint32_t image_end;                        /* first byte after the segments, 8-aligned */
    uint32_t heap_base;                        /* first byte of the heap, 8-aligned; set at load */
    value data_root;                           /* object; set at load, else empty object */
    value entrypoints, builtins;               /* strings: JSON objects {"path":id}, {"name":id} */
    uint32_t n_entrypoints, flags; /* enum module_flag */
    uint32_t reserved[12];
};
enum module_flag {
    MODULE_RESPONSE_HEADERS = 1, /* a filter that is called with each response's headers too */
    MODULE_INPUT_DOCUMENT = 2    /* a filter whose code wants the input as a document, not only in slots */
};

/* What is read of a document (input or data): a trie of string keys. A node with slot >= 0 puts the
 * value at its path into that slot (an index into the input or data slots; VALUE_UNDEFINED when
 * absent) and therefore builds it whole. Children are sorted by key, and may be present below a node
 * with a slot. The JSON reader skips what no node asks for, after checking it. */
struct path_node {
    value key; /* TAG_STRING; VALUE_UNDEFINED for the root */
    int32_t slot;
    uint32_t n_children;
    uint32_t children; /* struct path_node[n_children] */
    uint32_t part;     /* 0; for src/runtime/proxy to mark */
};

#endif
