/* gzip (RFC 1952), both ways, into buffers with a maximum. */
#ifndef REGENT_EDGE_GZIP_H
#define REGENT_EDGE_GZIP_H
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Appends at most max_bytes of plain bytes. Several members are one text. ERR_LIMIT past them (or past the buffer's
 * maximum), ERR_MEMORY, ERR_SYNTAX with `why` in the words of Go's reader: "unexpected EOF", "gzip: invalid header",
 * "gzip: invalid checksum", "EOF" for no bytes at all, "flate: corrupt input before offset N". */
MUST_USE enum err gzip_inflate(struct str in, size_t max_bytes, struct buf *out, char *why, size_t why_bytes);
/* Appends a gzip member of `in`. level: zlib's 1 to 9. ERR_MEMORY, ERR_LIMIT. */
MUST_USE enum err gzip_deflate(struct str in, int level, struct buf *out);

#endif
