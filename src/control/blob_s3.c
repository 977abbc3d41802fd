/* A blob store in a bucket of S3.
 *
 * in:   objects. out: requests. owns: nothing yet. */
#include "control/blob_driver.h"
#include <stdio.h>

enum err blob_s3_open(const char *url, struct blobs **out, char why[BLOB_WHY_BYTES]) {
    (void)out;
    snprintf(why, BLOB_WHY_BYTES, "%s: this build has no S3", url);
    return ERR_UNSUPPORTED;
}
