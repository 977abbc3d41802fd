/* What a kind of blob store can do. blob.c checks keys and calls; blob_file.c and blob_s3.c are the
 * kinds. */
#ifndef REGENT_CONTROL_BLOB_DRIVER_H
#define REGENT_CONTROL_BLOB_DRIVER_H
#include "control/blob.h"

/* Each as the function of blob.h of that name; keys are valid. */
struct blob_driver {
    void (*close)(struct blobs *b);
    enum err (*put)(struct blobs *b, const char *key, struct str bytes,
                    const struct blob_note *note, char *why);
    enum err (*get)(struct blobs *b, const char *key, struct buf *out, char *why);
    enum err (*has)(struct blobs *b, const char *key, bool *out, char *why);
    enum err (*remove)(struct blobs *b, const char *key, char *why);
    enum err (*sync)(struct blobs *b, char *why);
    enum err (*point)(struct blobs *b, const char *tenant, const char *version, struct str sha256,
                      const struct blob_note *note, char *why);
    enum err (*unpoint)(struct blobs *b, const char *tenant, char *why);
};
struct blobs { /* the first member of each kind's own */
    const struct blob_driver *driver;
};

/* The objects of a version, the bundle first. */
enum { BLOB_PARTS = 3 };
extern const char *const blob_parts[BLOB_PARTS];

MUST_USE enum err blob_file_open(const char *path, struct blobs **out, char why[BLOB_WHY_BYTES]);
MUST_USE enum err blob_s3_open(const char *url, struct blobs **out, char why[BLOB_WHY_BYTES]);

#endif
