/* The blob store's front: which kind it is, and keys that cannot leave it.
 *
 * in:   a URL; keys and bytes.
 * out:  objects, in a folder or a bucket.
 * owns: nothing. */
#include "control/blob_driver.h"
#include <stdio.h>

enum { NAME_BYTES = 200 }; /* a tenant's id, a version */

const char *const blob_parts[BLOB_PARTS] = {"bundle.tar.gz", "policy.wasm", "policy.wasm.sha256"};
const char *const blob_part_types[BLOB_PARTS] = {"application/gzip", "application/wasm",
                                                 "text/plain"};

enum err blobs_open(const char *url, struct blobs **out, char why[BLOB_WHY_BYTES]) {
    if (strncmp(url, "dir:", 4) == 0 && url[4]) return blob_file_open(url + 4, out, why);
    if (strncmp(url, "s3://", 5) == 0) return blob_s3_open(url, out, why);
    snprintf(why, BLOB_WHY_BYTES,
             "%s: a blob store is dir:PATH or s3://BUCKET/PREFIX?endpoint=…&region=…", url);
    return ERR_INVALID;
}

void blobs_stop(struct blobs *b) {
    if (b && b->driver->stop) b->driver->stop(b);
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

enum err blobs_put_all(struct blobs *b, const struct blob_object *objects, uint32_t n,
                       char why[BLOB_WHY_BYTES]) {
    char text[BLOB_KEY_BYTES];
    for (uint32_t i = 0; i < n; i++) {
        enum err e = key_text(objects[i].key, text, why);
        if (e) return e;
        if (objects[i].bytes.len <= BLOB_OBJECT_BYTES) continue;
        snprintf(why, BLOB_WHY_BYTES, "%s: larger than %d bytes", text, BLOB_OBJECT_BYTES);
        return ERR_LIMIT;
    }
    return n ? b->driver->put(b, objects, n, why) : OK;
}

enum err blobs_put(struct blobs *b, struct str key, struct str bytes, const struct blob_note *note,
                   char why[BLOB_WHY_BYTES]) {
    return blobs_put_all(b, &(struct blob_object){key, bytes, note}, 1, why);
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

static bool name_ok(struct str name) {
    return part_ok(name) && name.len < NAME_BYTES && !memchr(name.ptr, '/', name.len);
}

void blobs_point_all(struct blobs *b, struct blob_pointer *items, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        struct blob_pointer *p = &items[i];
        bool ok = name_ok(p->tenant) && (!p->version.len || name_ok(p->version));
        p->err = ok ? OK : ERR_INVALID;
        snprintf(p->why, sizeof p->why, "%s",
                 ok ? "" : "a tenant or version cannot have this name");
    }
    if (n) b->driver->point(b, items, n);
}

static enum err point_one(struct blobs *b, struct blob_pointer *p, char why[BLOB_WHY_BYTES]) {
    blobs_point_all(b, p, 1);
    if (p->err) snprintf(why, BLOB_WHY_BYTES, "%s", p->why);
    return p->err;
}

enum err blobs_point(struct blobs *b, struct str tenant, struct str version, struct str sha256,
                     const struct blob_note *note, char why[BLOB_WHY_BYTES]) {
    struct blob_pointer p = {.tenant = tenant, .version = version, .sha256 = sha256, .note = *note};
    if (version.len) return point_one(b, &p, why);
    snprintf(why, BLOB_WHY_BYTES, "there is no version to point at");
    return ERR_INVALID;
}

enum err blobs_unpoint(struct blobs *b, struct str tenant, char why[BLOB_WHY_BYTES]) {
    struct blob_pointer p = {.tenant = tenant, .version = STR("")};
    return point_one(b, &p, why);
}
