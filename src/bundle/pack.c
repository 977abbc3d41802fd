/* Writes bundles as gzipped tar with fixed times, owners and modes: equal files give equal bytes.
 * in: files. out: archive bytes. owns: the bare archive and libdeflate's state during a call. */
#include "bundle/bundle.h"
#include "bundle/tar.h"
#include <libdeflate.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_BYTES = 100,
    /* Builds are many, and each is packed once: levels above take longer than they save. */
    LEVEL = 1,
    TAR_MAX_BYTES = INT32_MAX
};
#define MAX_OCTAL_SIZE ((uint64_t)1 << 33)

static void put_padding(struct buf *b, size_t len) {
    static const uint8_t zeros[TAR_BLOCK_BYTES];
    buf_put(b, zeros, -len & (TAR_BLOCK_BYTES - 1));
}

/* A ustar header: mode 0600, owner 0, time 0. */
static void put_header(struct buf *b, struct str name, uint64_t size, char type) {
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
    buf_put(b, block, sizeof block);
}

/* A name that the header has no room for: "<length> path=<name>\n" in a pax header. */
static void put_long_name(struct buf *b, struct str name) {
    char text[TAR_MAX_NAME_BYTES + 32];
    size_t rest = name.len + strlen(" path=\n"), digits = 1;
    for (size_t n = rest + digits, limit = 10; n >= limit; limit *= 10, n = rest + digits) digits++;
    int len = snprintf(text, sizeof text, "%zu path=%.*s\n", rest + digits, STR_FMT(name));
    put_header(b, STR("pax"), (uint64_t)len, 'x');
    buf_put(b, text, (size_t)len);
    put_padding(b, (size_t)len);
}

static enum err put_file(struct buf *b, const struct bundle_file *f) {
    if (f->path.len > TAR_MAX_NAME_BYTES || f->bytes.len >= MAX_OCTAL_SIZE) return ERR_LIMIT;
    if (f->path.len > NAME_BYTES) put_long_name(b, f->path);
    put_header(b, f->path, f->bytes.len, '0');
    buf_put(b, f->bytes.ptr, f->bytes.len);
    put_padding(b, f->bytes.len);
    return b->err;
}

static enum err put_archive(const struct bundle_file *files, uint32_t n, struct buf *b) {
    static const uint8_t end[2 * TAR_BLOCK_BYTES];
    enum err e = OK;
    size_t about = sizeof end;
    for (uint32_t i = 0; i < n; i++) about += 2 * TAR_BLOCK_BYTES + files[i].bytes.len;
    if (about < TAR_MAX_BYTES) (void)buf_reserve(b, about);
    for (uint32_t i = 0; !e && i < n; i++) e = put_file(b, &files[i]);
    buf_put(b, end, sizeof end);
    return e ? e : b->err;
}

/* All at once: several times as fast as in pieces. */
static enum err compress(const struct buf *tar, struct buf *out) {
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(LEVEL);
    if (!c) return ERR_MEMORY;
    size_t most = libdeflate_gzip_compress_bound(c, tar->len), len = 0;
    uint8_t *room = buf_reserve(out, most);
    if (room) len = libdeflate_gzip_compress(c, tar->ptr, tar->len, room, most);
    libdeflate_free_compressor(c);
    if (!room) return out->err;
    if (!len) return ERR_INTERNAL;
    buf_commit(out, len);
    return OK;
}

enum err bundle_write(const struct bundle_file *files, uint32_t n, struct buf *out) {
    struct buf tar;
    buf_init(&tar, TAR_MAX_BYTES);
    enum err e = put_archive(files, n, &tar);
    if (!e) e = compress(&tar, out);
    buf_deinit(&tar);
    return e;
}
