/* Reads tar archives that may be hostile, with libarchive (docs/decisions/0011).
 * in: archive bytes. out: names and bytes of plain files in an arena. owns: libarchive's reader;
 * what was unpacked at once. */
#include "bundle/tar.h"
#include <archive.h>
#include <archive_entry.h>
#include <libdeflate.h>
#include <stdlib.h>

enum {
    GZIP_BYTES = 18,    /* header and trailer */
    MOST_PACKED = 1032, /* deflate makes nothing smaller than that */
    AT_ONCE_BYTES = 32 << 20
};

static enum err syntax(struct tar *t, const char *why) {
    t->why = why ? why : "cannot be read";
    return ERR_SYNTAX;
}

/* Unpacks a small archive at once, which is several times faster than in pieces: cold starts spend
 * half of their time there. Whatever is unusual about it is libarchive's to read or refuse. */
static struct str unpack_at_once(struct tar *t, struct str bytes) {
    const uint8_t *end = (const uint8_t *)bytes.ptr + bytes.len;
    size_t used = 0;
    if (bytes.len < GZIP_BYTES || (uint8_t)bytes.ptr[0] != 0x1f || (uint8_t)bytes.ptr[1] != 0x8b)
        return bytes;
    size_t size =
        (size_t)end[-4] | (size_t)end[-3] << 8 | (size_t)end[-2] << 16 | (size_t)end[-1] << 24;
    if (!size || size > AT_ONCE_BYTES || size / MOST_PACKED > bytes.len) return bytes;
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    char *out = d ? malloc(size) : NULL;
    bool whole = out &&
                 libdeflate_gzip_decompress_ex(d, bytes.ptr, bytes.len, out, size, &used, NULL) ==
                     LIBDEFLATE_SUCCESS &&
                 used == bytes.len;
    if (d) libdeflate_free_decompressor(d);
    if (!whole) {
        free(out);
        return bytes;
    }
    t->unpacked = out;
    return (struct str){out, size};
}

enum err tar_init(struct tar *t, struct str bytes) {
    *t = (struct tar){.archive = archive_read_new()};
    if (!t->archive) return ERR_MEMORY;
    bytes = unpack_at_once(t, bytes);
    archive_read_support_filter_gzip(t->archive);
    archive_read_support_format_tar(t->archive);
    if (bytes.len == 0) return OK; /* tar_next says that it is empty */
    if (archive_read_open_memory(t->archive, bytes.ptr, bytes.len) != ARCHIVE_OK)
        return syntax(t, archive_error_string(t->archive));
    return OK;
}

void tar_deinit(struct tar *t) {
    if (t->archive) archive_read_free(t->archive);
    free(t->unpacked);
    *t = (struct tar){0};
}

/* All bytes of the entry at hand; its size was checked. */
static enum err read_bytes(struct tar *t, struct arena *a, size_t size, struct str *out) {
    char *bytes = arena_alloc(a, size + 1);
    if (!bytes) return ERR_MEMORY;
    for (size_t at = 0; at < size;) {
        la_ssize_t n = archive_read_data(t->archive, bytes + at, size - at);
        if (n < 0) return syntax(t, archive_error_string(t->archive));
        if (n == 0) return syntax(t, "it ends inside a file");
        at += (size_t)n;
    }
    *out = (struct str){bytes, size};
    return OK;
}

static enum err read_file(struct tar *t, struct archive_entry *entry, struct arena *a,
                          uint64_t max_bytes, struct tar_file *out) {
    const char *name = archive_entry_pathname(entry);
    int64_t size = archive_entry_size(entry);
    if (!name || strlen(name) > TAR_MAX_NAME_BYTES)
        return syntax(t, "an entry has no name that can be used");
    if (!(out->name = arena_strndup(a, name, strlen(name)))) return ERR_MEMORY;
    if (size < 0 || (uint64_t)size > max_bytes) return ERR_LIMIT;
    return read_bytes(t, a, (size_t)size, &out->bytes);
}

enum err tar_next(struct tar *t, struct arena *a, uint64_t max_bytes, struct tar_file *out) {
    *out = (struct tar_file){0};
    for (;;) {
        struct archive_entry *entry;
        int status = archive_read_next_header(t->archive, &entry);
        if (status == ARCHIVE_EOF) return t->any ? OK : syntax(t, "it is empty");
        if (status < ARCHIVE_WARN) return syntax(t, archive_error_string(t->archive));
        t->any = true;
        if (archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry))
            return read_file(t, entry, a, max_bytes, out);
    }
}
