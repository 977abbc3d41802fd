/* Bounds-checked reader for all binary input: wasm modules, protobuf, caches. */
#ifndef REGENT_BASE_READER_H
#define REGENT_BASE_READER_H
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* After the first read past the end or bad encoding `failed` stays true and reads give 0, so a
 * parser checks once per structure. */
struct reader {
    const uint8_t *at, *end, *start;
    bool failed;
};

static inline struct reader reader_of(const void *bytes, size_t len) {
    const uint8_t *p = bytes;
    return (struct reader){p, p + len, p, false};
}
static inline size_t reader_left(const struct reader *r) { return (size_t)(r->end - r->at); }
static inline size_t reader_offset(const struct reader *r) { return (size_t)(r->at - r->start); }
uint8_t reader_u8(struct reader *r);
uint32_t reader_u32le(struct reader *r);
uint64_t reader_u64le(struct reader *r);
uint32_t reader_leb_u32(struct reader *r);
uint64_t reader_leb_u64(struct reader *r);
int32_t reader_leb_s32(struct reader *r);
int64_t reader_leb_s64(struct reader *r);
struct str reader_bytes(struct reader *r, size_t len); /* view; empty on failure */
struct reader reader_sub(struct reader *r, size_t len);

#endif
