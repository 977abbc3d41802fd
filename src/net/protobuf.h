/* Protocol buffers' wire format: a field iterator over a reader, and writers. */
#ifndef REGENT_NET_PROTOBUF_H
#define REGENT_NET_PROTOBUF_H
#include "base/buf.h"
#include "base/reader.h"

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

struct pb_field {
    uint32_t number;
    enum pb_wire wire;
    uint64_t varint;  /* PB_VARINT, PB_FIXED64, PB_FIXED32 */
    struct str bytes; /* PB_BYTES: string, bytes or embedded message; a view */
};

/* The next field; false at the end or on bad bytes (then r->failed). Groups are refused. */
bool pb_next(struct reader *r, struct pb_field *f);

void pb_varint(struct buf *out, uint32_t number, uint64_t v);
void pb_string(struct buf *out, uint32_t number, struct str s);
void pb_double(struct buf *out, uint32_t number, double d);
/* Writes an embedded message: begin gives a mark, the message's fields follow, end puts its length
 * in. */
size_t pb_begin(struct buf *out, uint32_t number);
void pb_end(struct buf *out, size_t mark);

#endif
