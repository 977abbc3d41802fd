/* AWS credentials, as Amazon's own tools find them. */
#ifndef REGENT_NET_AWS_H
#define REGENT_NET_AWS_H
#include "base/err.h"
#include "base/str.h"

struct aws_keys {
    char pair[512];     /* "ID:SECRET" */
    char session[2048]; /* "": none */
};
/* The file if given, else AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, else
 * AWS_SHARED_CREDENTIALS_FILE or
 * ~/.aws/credentials; profile AWS_PROFILE, or default. ERR_NOT_FOUND with why. */
MUST_USE enum err aws_keys_read(const char *file, struct aws_keys *out, char *why,
                                size_t why_bytes);
/* The keys of a profile in such a file's text. */
bool aws_profile(struct str text, struct str profile, struct aws_keys *out);

#endif
