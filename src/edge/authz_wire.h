/* Reading protobuf on the hot path: the reader of net/protobuf.h with its common case inlined. */
#ifndef REGENT_EDGE_AUTHZ_WIRE_H
#define REGENT_EDGE_AUTHZ_WIRE_H
#include "net/protobuf.h"

/* pb_next. Nearly all fields of a CheckRequest have a tag and a length of one byte each. */
static inline bool wire_next(struct reader *r, struct pb_field *f) {
    const uint8_t *p = r->at;
    size_t left = (size_t)(r->end - p);
    if (left >= 2 && (p[0] & 0x87) == PB_BYTES && p[0] >= 8 && p[1] < 0x80 && left - 2 >= p[1] && !r->failed) {
        f->number = p[0] >> 3;
        f->wire = PB_BYTES;
        f->varint = 0;
        f->bytes = (struct str){(const char *)p + 2, p[1]};
        r->at = p + 2 + p[1];
        return true;
    }
    return pb_next(r, f);
}

/* A reader over a view that may be absent. */
static inline struct reader wire_reader(struct str message) {
    return reader_of(message.ptr ? message.ptr : "", message.len);
}

/* Key and value of a map entry, and whether the bytes were fields at all. */
static inline bool wire_entry(struct str message, struct str *key, struct str *value) {
    struct reader r = wire_reader(message);
    struct pb_field f;
    *key = *value = (struct str){"", 0};
    while (wire_next(&r, &f)) {
        if (f.wire != PB_BYTES) continue;
        if (f.number == 1) *key = f.bytes;
        if (f.number == 2) *value = f.bytes;
    }
    return !r.failed;
}

/* Occurrences of field `number` in a message, joined: that is how protobuf merges the pieces of an embedded message.
 * One occurrence is a view, more are copied to `a`. *found gets ptr NULL when there is none. false: bad bytes, no
 * memory. */
bool wire_embedded(struct arena *a, struct str message, uint32_t number, struct str *found);

#endif
