/* What a kind of blob store can do. blob.c checks keys and calls; blob_file.c and blob_s3.c are the
 * kinds. */
#ifndef REGENT_CONTROL_BLOB_DRIVER_H
#define REGENT_CONTROL_BLOB_DRIVER_H
#include "control/blob.h"

/* Each as the function of blob.h of that name (put, point: as put_all, point_all); keys are valid.
 */
struct blob_driver {
    void (*close)(struct blobs *b);
    void (*stop)(struct blobs *b); /* NULL: it never waits */
    enum err (*put)(struct blobs *b, const struct blob_object *objects, uint32_t n, char *why);
    enum err (*get)(struct blobs *b, const char *key, struct buf *out, char *why);
    enum err (*has)(struct blobs *b, const char *key, bool *out, char *why);
    enum err (*remove)(struct blobs *b, const char *key, char *why);
    enum err (*sync)(struct blobs *b, char *why);
    void (*point)(struct blobs *b, struct blob_pointer *items,
                  uint32_t n); /* but those whose err is set */
};
struct blobs { /* the first member of each kind's own */
    const struct blob_driver *driver;
};

/* The objects of a version, the bundle first. */
enum { BLOB_PARTS = 3 };
extern const char *const blob_parts[BLOB_PARTS];

extern const char *const blob_part_types[BLOB_PARTS]; /* Content-Type */

MUST_USE enum err blob_file_open(const char *path, struct blobs **out, char why[BLOB_WHY_BYTES]);
MUST_USE enum err blob_s3_open(const char *url, struct blobs **out, char why[BLOB_WHY_BYTES]);

#endif
