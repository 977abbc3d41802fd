/* Growing byte buffer, whole-file reading and crash-safe writing.
 * in: bytes. out: a contiguous buffer. owns: its storage, until buf_deinit. */
#include "base/buf.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void buf_init(struct buf *b, size_t max_bytes) { *b = (struct buf){.max = max_bytes}; }

void buf_deinit(struct buf *b) {
    free(b->ptr);
    b->ptr = NULL;
    b->len = b->cap = 0;
}

void buf_clear(struct buf *b) {
    b->len = 0;
    b->err = OK;
}

uint8_t *buf_reserve(struct buf *b, size_t len) {
    if (b->err) return NULL;
    if (len > b->max - b->len || b->len > b->max) {
        b->err = ERR_LIMIT;
        return NULL;
    }
    if (b->cap - b->len >= len && b->ptr) return b->ptr + b->len;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < b->len + len) cap = cap > b->max / 2 ? b->max : cap * 2;
    uint8_t *p = realloc(b->ptr, cap);
    if (!p) {
        b->err = ERR_MEMORY;
        return NULL;
    }
    b->ptr = p;
    b->cap = cap;
    return p + b->len;
}

void buf_commit(struct buf *b, size_t len) { b->len += len; }

void buf_put(struct buf *b, const void *bytes, size_t len) {
    uint8_t *p = len ? buf_reserve(b, len) : NULL;
    if (!p) return;
    memcpy(p, bytes, len);
    b->len += len;
}

void buf_byte(struct buf *b, uint8_t byte) { buf_put(b, &byte, 1); }
void buf_str(struct buf *b, struct str s) { buf_put(b, s.ptr, s.len); }
void buf_cstr(struct buf *b, const char *s) { buf_put(b, s, strlen(s)); }

void buf_printf(struct buf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    uint8_t *p = n < 0 ? NULL : buf_reserve(b, (size_t)n + 1);
    if (!p) return;
    va_start(args, format);
    vsnprintf((char *)p, (size_t)n + 1, format, args);
    va_end(args);
    b->len += (size_t)n;
}

static enum err read_all(struct buf *b, int fd) {
    for (;;) {
        size_t want = b->max - b->len < 65536 ? b->max - b->len + 1 : 65536;
        uint8_t spill, *p = b->len == b->max ? &spill : buf_reserve(b, want > b->max - b->len ? b->max - b->len : want);
        if (!p) return b->err;
        ssize_t n = read(fd, p, p == &spill ? 1 : (want > b->max - b->len ? b->max - b->len : want));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ERR_IO;
        if (n == 0) return OK;
        if (p == &spill) return b->err = ERR_LIMIT;
        b->len += (size_t)n;
    }
}

enum err buf_read_file(struct buf *b, const char *path) {
    if (strcmp(path, "-") == 0) return read_all(b, 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ERR_IO;
    enum err e = read_all(b, fd);
    int saved = errno;
    close(fd);
    errno = saved;
    return e;
}

static enum err write_all(int fd, struct str bytes) {
    for (size_t at = 0; at < bytes.len;) {
        ssize_t n = write(fd, bytes.ptr + at, bytes.len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return ERR_IO;
        at += (size_t)n;
    }
    return OK;
}

static enum err replace(const char *path, struct str bytes, bool sync) {
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.tmp.%ld", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof temporary) return errno = ENAMETOOLONG, ERR_IO;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return ERR_IO;
    enum err e = write_all(fd, bytes);
    if (e == OK && sync && fsync(fd) != 0) e = ERR_IO;
    if (close(fd) != 0 && e == OK) e = ERR_IO;
    if (e == OK && rename(temporary, path) != 0) e = ERR_IO;
    if (e != OK) {
        int saved = errno;
        unlink(temporary);
        errno = saved;
    }
    return e;
}

enum err file_write_atomic(const char *path, struct str bytes) { return replace(path, bytes, true); }
enum err file_write_output(const char *path, struct str bytes) { return replace(path, bytes, false); }
