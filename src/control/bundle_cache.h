/* Bundles and modules that were asked for lately, by their SHA-256: a flood of requests for one
 * reads it once. */
#ifndef REGENT_CONTROL_BUNDLE_CACHE_H
#define REGENT_CONTROL_BUNDLE_CACHE_H
#include "base/buf.h"
#include "control/blob.h"

struct bundle_cache; /* any thread */

enum { BUNDLE_CACHE_BYTES = 64 << 20 };

MUST_USE enum err bundle_cache_new(size_t max_bytes, struct bundle_cache **out);
void bundle_cache_free(struct bundle_cache *c); /* NULL: nothing */
/* Appends the object `key`, whose bytes have that sum (hex), to out: from memory, or from `blobs`.
 * What was read and is not what the sum says is ERR_INVALID, with a sentence in why; other errors
 * as blobs_get. c NULL: always reads. */
MUST_USE enum err bundle_cache_get(struct bundle_cache *c, struct blobs *blobs, struct str key,
                                   struct str sha256, struct buf *out, char why[BLOB_WHY_BYTES]);

#endif
