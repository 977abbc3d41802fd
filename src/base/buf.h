/* Growing byte buffer with a maximum that it is born with. */
#ifndef REGENT_BASE_BUF_H
#define REGENT_BASE_BUF_H
#include "base/err.h"
#include "base/str.h"
#include <stdint.h>

/* After the first failed append `err` stays set (ERR_MEMORY or ERR_LIMIT) and further appends do
 * nothing, so a writer checks once at the end. */
struct buf {
    uint8_t *ptr;
    size_t len, cap, max;
    enum err err;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_deinit(struct buf *b);
void buf_clear(struct buf *b); /* len = 0, err = OK, keeps storage */
void buf_put(struct buf *b, const void *bytes, size_t len);
void buf_byte(struct buf *b, uint8_t byte);
void buf_str(struct buf *b, struct str s);
void buf_cstr(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for `len` more bytes: a pointer to write to, or NULL; buf_commit says how many were used. */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);
static inline struct str buf_view(const struct buf *b) {
    return (struct str){(const char *)b->ptr, b->len};
}
/* The whole of a file, or of standard input for path "-". ERR_IO (errno tells), ERR_LIMIT past the
 * buffer's maximum, ERR_MEMORY. Appends. */
MUST_USE enum err buf_read_file(struct buf *b, const char *path);
/* Writes under a temporary name beside `path`, syncs, renames: readers see old or new, never half. */
MUST_USE enum err file_write_atomic(const char *path, struct str bytes);
/* The same without waiting for the disk: for what a command can make again after a power cut. */
MUST_USE enum err file_write_output(const char *path, struct str bytes);

#endif
