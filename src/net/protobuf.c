/* Wire format of protocol buffers. in: bytes, maybe hostile. out: fields. owns: nothing. */
#include "net/protobuf.h"

bool pb_next(struct reader *r, struct pb_field *f) {
    if (r->failed || reader_left(r) == 0) return false;
    uint64_t tag = reader_leb_u64(r);
    *f = (struct pb_field){.number = (uint32_t)(tag >> 3), .wire = (enum pb_wire)(tag & 7)};
    if (tag >> 3 == 0 || tag >> 32) r->failed = true;
    switch (f->wire) {
    case PB_VARINT: f->varint = reader_leb_u64(r); break;
    case PB_FIXED64: f->varint = reader_u64le(r); break;
    case PB_FIXED32: f->varint = reader_u32le(r); break;
    case PB_BYTES: f->bytes = reader_bytes(r, (size_t)reader_leb_u64(r)); break;
    default: r->failed = true;
    }
    return !r->failed;
}

static void raw_varint(struct buf *out, uint64_t v) {
    for (; v >= 0x80; v >>= 7) buf_byte(out, (uint8_t)(v | 0x80));
    buf_byte(out, (uint8_t)v);
}

void pb_varint(struct buf *out, uint32_t number, uint64_t v) {
    raw_varint(out, (uint64_t)number << 3 | PB_VARINT);
    raw_varint(out, v);
}

void pb_string(struct buf *out, uint32_t number, struct str s) {
    raw_varint(out, (uint64_t)number << 3 | PB_BYTES);
    raw_varint(out, s.len);
    buf_str(out, s);
}

void pb_double(struct buf *out, uint32_t number, double d) {
    uint8_t bytes[8];
    raw_varint(out, (uint64_t)number << 3 | PB_FIXED64);
    memcpy(bytes, &d, 8); /* little-endian hosts only, as the whole host is */
    buf_put(out, bytes, 8);
}

enum { LENGTH_BYTES = 5 };

size_t pb_begin(struct buf *out, uint32_t number) {
    raw_varint(out, (uint64_t)number << 3 | PB_BYTES);
    size_t mark = out->len;
    buf_put(out, "\0\0\0\0\0", LENGTH_BYTES);
    return mark;
}

void pb_end(struct buf *out, size_t mark) {
    if (out->err) return;
    uint64_t n = out->len - mark - LENGTH_BYTES;
    for (int i = 0; i < LENGTH_BYTES; i++, n >>= 7)
        out->ptr[mark + (size_t)i] = (uint8_t)((n & 0x7f) | (i < LENGTH_BYTES - 1 ? 0x80 : 0));
}
