/* Writes bundles as gzipped tar with fixed times, owners and modes: equal files give equal bytes.
 * in: files. out: archive bytes. owns: libarchive's writer. */
#include "bundle/bundle.h"
#include <archive.h>
#include <archive_entry.h>
#include <sys/types.h>

static la_ssize_t append(struct archive *ar, void *ctx, const void *bytes, size_t len) {
    (void)ar;
    struct buf *out = ctx;
    buf_put(out, bytes, len);
    return out->err ? -1 : (la_ssize_t)len;
}

static bool write_file(struct archive *ar, struct archive_entry *entry, const struct bundle_file *f) {
    char name[4096];
    if (f->path.len >= sizeof name) return false;
    memcpy(name, f->path.ptr, f->path.len);
    name[f->path.len] = 0;
    archive_entry_clear(entry);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (la_int64_t)f->bytes.len);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0600);
    archive_entry_set_mtime(entry, 0, 0);
    return archive_write_header(ar, entry) == ARCHIVE_OK &&
           archive_write_data(ar, f->bytes.ptr, f->bytes.len) == (la_ssize_t)f->bytes.len;
}

enum err bundle_write(const struct bundle_file *files, uint32_t n, struct buf *out) {
    struct archive *ar = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    bool ok = ar && entry && archive_write_add_filter_gzip(ar) == ARCHIVE_OK &&
              archive_write_set_filter_option(ar, "gzip", "timestamp", NULL) == ARCHIVE_OK &&
              archive_write_set_format_pax_restricted(ar) == ARCHIVE_OK &&
              archive_write_set_bytes_in_last_block(ar, 1) == ARCHIVE_OK &&
              archive_write_open(ar, out, NULL, append, NULL) == ARCHIVE_OK;
    for (uint32_t i = 0; ok && i < n; i++) ok = write_file(ar, entry, &files[i]);
    if (ok) ok = archive_write_close(ar) == ARCHIVE_OK;
    if (entry) archive_entry_free(entry);
    if (ar) archive_write_free(ar);
    return ok ? OK : out->err ? out->err : ERR_IO;
}
