/* Inside of the emitter: LEB128 numbers and length-prefixed bytes. */
#ifndef REGENT_COMPILER_WASM_LEB_H
#define REGENT_COMPILER_WASM_LEB_H
#include "base/buf.h"

static inline void leb_u32(struct buf *b, uint32_t n) {
    while (n >= 0x80) {
        buf_byte(b, (uint8_t)(n | 0x80));
        n >>= 7;
    }
    buf_byte(b, (uint8_t)n);
}
static inline void leb_s64(struct buf *b, int64_t n) {
    while (n < -64 || n > 63) {
        buf_byte(b, (uint8_t)(n | 0x80));
        n >>= 7;
    }
    buf_byte(b, (uint8_t)(n & 0x7f));
}
static inline void leb_bytes(struct buf *b, struct str s) {
    leb_u32(b, (uint32_t)s.len);
    buf_str(b, s);
}

#endif
