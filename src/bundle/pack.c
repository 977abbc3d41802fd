/* Writes bundles as gzipped tar with fixed times, owners and modes: equal files give equal bytes.
 * in: files. out: archive bytes. owns: zlib's state during a call. */
#include "bundle/bundle.h"
#include "bundle/tar.h"
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { NAME_BYTES = 100, GZIP_WINDOW_BITS = 15 + 16, MEMORY_LEVEL = 8, CHUNK_BYTES = 64 * 1024 };
#define MAX_OCTAL_SIZE ((uint64_t)1 << 33)

struct packer {
    z_stream z;
    struct buf *out;
};

/* flush: Z_NO_FLUSH, or Z_FINISH for the end. */
static enum err put(struct packer *p, const void *bytes, size_t len, int flush) {
    if (len > UINT32_MAX) return ERR_LIMIT;
    p->z.next_in = (Bytef *)(uintptr_t)bytes;
    p->z.avail_in = (uInt)len;
    do {
        uint8_t *room = buf_reserve(p->out, CHUNK_BYTES);
        if (!room) return p->out->err;
        p->z.next_out = room;
        p->z.avail_out = CHUNK_BYTES;
        if (deflate(&p->z, flush) == Z_STREAM_ERROR) return ERR_INTERNAL;
        buf_commit(p->out, CHUNK_BYTES - p->z.avail_out);
    } while (p->z.avail_out == 0);
    return OK;
}

static enum err put_padding(struct packer *p, size_t len) {
    static const uint8_t zeros[TAR_BLOCK_BYTES];
    return put(p, zeros, -len & (TAR_BLOCK_BYTES - 1), Z_NO_FLUSH);
}

/* A ustar header: mode 0600, owner 0, time 0. */
static enum err put_header(struct packer *p, struct str name, uint64_t size, char type) {
    char block[TAR_BLOCK_BYTES] = {0}, sum_text[8];
    unsigned sum = 0;
    memcpy(block, name.ptr, name.len < NAME_BYTES ? name.len : NAME_BYTES);
    memcpy(block + 100, "0000600\0000000000\0000000000", 24);
    snprintf(block + 124, 12, "%011llo", (unsigned long long)size);
    memcpy(block + 136, "00000000000\0        ", 20);
    block[156] = type;
    memcpy(block + 257, "ustar\00000", 8);
    for (int i = 0; i < TAR_BLOCK_BYTES; i++) sum += (uint8_t)block[i];
    snprintf(sum_text, sizeof sum_text, "%06o", sum);
    memcpy(block + 148, sum_text, 7);
    return put(p, block, sizeof block, Z_NO_FLUSH);
}

/* A name that the header has no room for: "<length> path=<name>\n" in a pax header. */
static enum err put_long_name(struct packer *p, struct str name) {
    char text[TAR_MAX_NAME_BYTES + 32];
    size_t rest = name.len + strlen(" path=\n"), digits = 1;
    for (size_t n = rest + digits, limit = 10; n >= limit; limit *= 10, n = rest + digits) digits++;
    int len = snprintf(text, sizeof text, "%zu path=%.*s\n", rest + digits, STR_FMT(name));
    enum err e = put_header(p, STR("pax"), (uint64_t)len, 'x');
    if (!e) e = put(p, text, (size_t)len, Z_NO_FLUSH);
    return e ? e : put_padding(p, (size_t)len);
}

static enum err put_file(struct packer *p, const struct bundle_file *f) {
    if (f->path.len > TAR_MAX_NAME_BYTES || f->bytes.len >= MAX_OCTAL_SIZE) return ERR_LIMIT;
    enum err e = f->path.len > NAME_BYTES ? put_long_name(p, f->path) : OK;
    if (!e) e = put_header(p, f->path, f->bytes.len, '0');
    if (!e) e = put(p, f->bytes.ptr, f->bytes.len, Z_NO_FLUSH);
    return e ? e : put_padding(p, f->bytes.len);
}

enum err bundle_write(const struct bundle_file *files, uint32_t n, struct buf *out) {
    static const uint8_t end[2 * TAR_BLOCK_BYTES];
    struct packer p = {.out = out};
    enum err e = OK;
    /* The fastest level: a tenth larger, and builds are not mostly spent on packing. */
    if (deflateInit2(&p.z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW_BITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return ERR_MEMORY;
    for (uint32_t i = 0; !e && i < n; i++) e = put_file(&p, &files[i]);
    if (!e) e = put(&p, end, sizeof end, Z_FINISH);
    deflateEnd(&p.z);
    return e;
}
