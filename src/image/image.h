/* Values in the runtime's memory layout, built and read natively. */
#ifndef REGENT_IMAGE_IMAGE_H
#define REGENT_IMAGE_IMAGE_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "runtime/layout.h"

/* An image under construction: bytes that will lie at address `base` of a module's memory. */
struct image {
    struct buf bytes;   /* bytes.ptr[i] lies at base + i */
    uint32_t base;      /* 8-aligned */
    /* Short strings known so far, so that equal ones are one word; cap 0: not kept. */
    struct {
        value *slots;
        uint32_t n, cap;
    } strings;
    const struct image *below; /* where known strings may lie that this image did not write, or NULL */
};

void image_init(struct image *m, uint32_t base, size_t max_bytes);
void image_deinit(struct image *m);
/* Address just past what was written, 8-aligned. */
uint32_t image_end(struct image *m);
/* 8-aligned room of n bytes, zeroed: its address (0 after m->bytes.err was set). image_at gives the bytes. */
uint32_t image_reserve(struct image *m, uint32_t n);
void *image_at(struct image *m, uint32_t address);

/* From now on equal short strings become one word. `below` (may be NULL) is an image at lower
 * addresses, of the same module, whose strings image_know adds (others it ignores); it must outlive
 * this one's use. Without memory nothing is shared. */
void image_share_strings(struct image *m, const struct image *below);
void image_know(struct image *m, value word);
/* The bytes of a string or number of this image or the one below. */
struct str image_text(const struct image *m, value v);
/* Nothing more will be written: gives back what only writing needs. */
void image_seal(struct image *m);
/* Words. After a failure (memory, limit) m->bytes.err is set and words are undefined. */
value image_string(struct image *m, struct str s);
value image_number(struct image *m, struct str text); /* TAG_INTEGER when it fits, else text */
value image_array(struct image *m, const value *items, uint32_t n);
/* Sorts, drops duplicates (the first of equal keys stays, with the last one's value), indexes.
 * pairs/items are reordered in place. */
value image_object(struct image *m, struct pair *pairs, uint32_t n);
value image_set(struct image *m, value *items, uint32_t n);
value image_json(struct image *m, const struct json *v);
/* OPA's total order, on words whose pointers lie in `m`. */
int image_compare(const struct image *m, value a, value b);
uint32_t image_hash(const struct image *m, value v);

/* Reading back: words of an image that was written natively (not of a module's memory, which memory_read is for).
 * Member of an object, item of an array; false: none there. */
bool image_member(const struct image *m, value object, struct str key, value *out);
bool image_item(const struct image *m, value array, int64_t index, value *out);
/* As compact JSON, members in order. */
void image_print(const struct image *m, value v, struct buf *out);

/* A module's memory as the host sees it; every read is bounds-checked, since its content is hostile. */
struct memory_view {
    const uint8_t *bytes;
    uint64_t len;
};
/* A value out of memory as a tree (sets become arrays in order; undefined gives NULL in *out). ERR_INVALID for
 * pointers outside the memory, cycles (depth), invalid tags or UTF-8. */
MUST_USE enum err memory_read(struct memory_view m, value v, struct arena *a, struct json **out);
/* View of a string or number's text; false when it is none or lies outside. */
bool memory_text(struct memory_view m, value v, struct str *out);

/* Fills data slots: walks `tree` (struct path_node address inside `module`, the module's own segments) over the
 * document `root` in `data`, and writes words into slots[0..n). */
MUST_USE enum err image_bind(const struct image *module, const struct image *data, uint32_t tree, value root,
                             value *slots, uint32_t n);

#endif
