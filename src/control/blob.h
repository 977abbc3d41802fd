/* Where bundles lie: a folder, or a bucket of S3. Objects are whole or not there. */
#ifndef REGENT_CONTROL_BLOB_H
#define REGENT_CONTROL_BLOB_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include <stdbool.h>

struct blobs; /* any thread */

enum { BLOB_WHY_BYTES = 512, BLOB_KEY_BYTES = 512, BLOB_OBJECT_BYTES = 64 << 20 };

/* url: "dir:PATH" (made when it is not there), or
 * "s3://BUCKET[/PREFIX]?endpoint=URL&region=NAME", which takes path_style=true|false,
 * allow_plain=true, ca_file=FILE and timeout_ms=N too, with credentials from AWS_ACCESS_KEY_ID,
 * AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the profile ($AWS_PROFILE) of
 * $AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials. ERR_INVALID, ERR_IO, ERR_UNSUPPORTED with a
 * sentence in why. A server that does not answer is no error yet: it may do so later. */
MUST_USE enum err blobs_open(const char *url, struct blobs **out, char why[BLOB_WHY_BYTES]);
/* The process is to end: what is under way has 5 s more, nothing is tried again. Any thread. NULL:
 * nothing. */
void blobs_stop(struct blobs *b);
void blobs_close(struct blobs *b);

/* What goes with an object. On S3 they become x-amz-meta-tenant-id, -version, -timestamp, -serial
 * (0: none). */
struct blob_note {
    struct str tenant, version;
    int64_t timestamp_ms, serial;
    const char *content_type;
};
/* Key: "tenants/ID/…" relative to the store. Replaces an object of that key at once; a reader sees
 * old or new bytes, whole. ERR_LIMIT: the store is full; ERR_IO: it failed, or is not there; with a
 * sentence in why that names the key. */
MUST_USE enum err blobs_put(struct blobs *b, struct str key, struct str bytes,
                            const struct blob_note *note, char why[BLOB_WHY_BYTES]);
/* Several, at once where the store is far away. Not OK: some may be there. */
struct blob_object {
    struct str key, bytes;
    const struct blob_note *note;
};
MUST_USE enum err blobs_put_all(struct blobs *b, const struct blob_object *objects, uint32_t n,
                                char why[BLOB_WHY_BYTES]);
/* Appends the object to out. ERR_NOT_FOUND; ERR_LIMIT: larger than out may be. */
MUST_USE enum err blobs_get(struct blobs *b, struct str key, struct buf *out,
                            char why[BLOB_WHY_BYTES]);
MUST_USE enum err blobs_has(struct blobs *b, struct str key, bool *out, char why[BLOB_WHY_BYTES]);
MUST_USE enum err blobs_delete(struct blobs *b, struct str key,
                               char why[BLOB_WHY_BYTES]); /* not there: OK */
/* Returns when what was put before it survives a power cut. */
MUST_USE enum err blobs_sync(struct blobs *b, char why[BLOB_WHY_BYTES]);

/* Makes tenants/ID/{bundle.tar.gz,policy.wasm,policy.wasm.sha256} those of tenants/ID/versions/V/,
 * whose three objects are there. Last and at once: in a folder one rename of tenants/ID/current; on
 * S3 the bundle first, and current.json
 * ({"version","serial","sha256"}) last. Doing it again is harmless. */
MUST_USE enum err blobs_point(struct blobs *b, struct str tenant, struct str version,
                              struct str sha256, const struct blob_note *note,
                              char why[BLOB_WHY_BYTES]);
/* Takes the pointer away: the tenant's versions stay. */
MUST_USE enum err blobs_unpoint(struct blobs *b, struct str tenant, char why[BLOB_WHY_BYTES]);
/* Many, at once where the store is far away; each says how it ended. version "": unpoint. */
struct blob_pointer {
    struct str tenant, version, sha256;
    struct blob_note note;
    enum err err;
    char why[BLOB_WHY_BYTES];
};
void blobs_point_all(struct blobs *b, struct blob_pointer *items, uint32_t n);

#endif
