/* The blob store's front: which kind it is, and keys that cannot leave it.
 *
 * in:   a URL; keys and bytes.
 * out:  objects, in a folder or a bucket.
 * owns: nothing. */
#include "control/blob_driver.h"
#include <stdio.h>

const char *const blob_parts[BLOB_PARTS] = {"bundle.tar.gz", "policy.wasm", "policy.wasm.sha256"};

enum err blobs_open(const char *url, struct blobs **out, char why[BLOB_WHY_BYTES]) {
    if (strncmp(url, "dir:", 4) == 0 && url[4]) return blob_file_open(url + 4, out, why);
    if (strncmp(url, "s3://", 5) == 0) return blob_s3_open(url, out, why);
    snprintf(why, BLOB_WHY_BYTES,
             "%s: a blob store is dir:PATH or s3://BUCKET/PREFIX?endpoint=…&region=…", url);
    return ERR_INVALID;
}

void blobs_close(struct blobs *b) {
    if (b) b->driver->close(b);
}

/* A part of a key: nothing that a file system or a URL reads otherwise. */
static bool part_ok(struct str part) {
    if (!part.len || part.len > 255 || part.ptr[0] == '.') return false;
    for (size_t i = 0; i < part.len; i++)
        if ((unsigned char)part.ptr[i] <= ' ' || part.ptr[i] == 127 ||
            strchr("\\?#%\"<>|*", part.ptr[i]))
            return false;
    return true;
}

/* The key with an end, checked part by part. */
static enum err key_text(struct str key, char out[BLOB_KEY_BYTES], char why[BLOB_WHY_BYTES]) {
    bool ok = key.len < BLOB_KEY_BYTES && str_starts(key, STR("tenants/"));
    for (size_t i = 0, start = 0; ok && i <= key.len; i++) {
        if (i < key.len && key.ptr[i] != '/') continue;
        ok = part_ok((struct str){key.ptr + start, i - start});
        start = i + 1;
    }
    if (ok) return memcpy(out, key.ptr, key.len), out[key.len] = 0, OK;
    snprintf(why, BLOB_WHY_BYTES, "\"%.*s\" cannot be the name of an object",
             STR_FMT(str_head(key, 100)));
    for (char *c = why; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    return ERR_INVALID;
}

/* A tenant's id or a version as one part of a key. */
static enum err part_text(struct str part, char out[BLOB_KEY_BYTES], char why[BLOB_WHY_BYTES]) {
    if (part_ok(part) && part.len < 200 && !memchr(part.ptr, '/', part.len))
        return memcpy(out, part.ptr, part.len), out[part.len] = 0, OK;
    snprintf(why, BLOB_WHY_BYTES, "a tenant or version cannot have this name");
    return ERR_INVALID;
}

enum err blobs_put(struct blobs *b, struct str key, struct str bytes, const struct blob_note *note,
                   char why[BLOB_WHY_BYTES]) {
    char text[BLOB_KEY_BYTES];
    enum err e = key_text(key, text, why);
    if (e) return e;
    if (bytes.len <= BLOB_OBJECT_BYTES) return b->driver->put(b, text, bytes, note, why);
    snprintf(why, BLOB_WHY_BYTES, "%s: larger than %d bytes", text, BLOB_OBJECT_BYTES);
    return ERR_LIMIT;
}

enum err blobs_get(struct blobs *b, struct str key, struct buf *out, char why[BLOB_WHY_BYTES]) {
    char text[BLOB_KEY_BYTES];
    enum err e = key_text(key, text, why);
    return e ? e : b->driver->get(b, text, out, why);
}

enum err blobs_has(struct blobs *b, struct str key, bool *out, char why[BLOB_WHY_BYTES]) {
    char text[BLOB_KEY_BYTES];
    enum err e = key_text(key, text, why);
    return e ? e : b->driver->has(b, text, out, why);
}

enum err blobs_delete(struct blobs *b, struct str key, char why[BLOB_WHY_BYTES]) {
    char text[BLOB_KEY_BYTES];
    enum err e = key_text(key, text, why);
    return e ? e : b->driver->remove(b, text, why);
}

enum err blobs_sync(struct blobs *b, char why[BLOB_WHY_BYTES]) { return b->driver->sync(b, why); }

enum err blobs_point(struct blobs *b, struct str tenant, struct str version, struct str sha256,
                     const struct blob_note *note, char why[BLOB_WHY_BYTES]) {
    char t[BLOB_KEY_BYTES], v[BLOB_KEY_BYTES];
    enum err e = part_text(tenant, t, why);
    if (!e) e = part_text(version, v, why);
    return e ? e : b->driver->point(b, t, v, sha256, note, why);
}

enum err blobs_unpoint(struct blobs *b, struct str tenant, char why[BLOB_WHY_BYTES]) {
    char t[BLOB_KEY_BYTES];
    enum err e = part_text(tenant, t, why);
    return e ? e : b->driver->unpoint(b, t, why);
}
