/* What a bundle's signature says of a file: its name, and the digest by which it is known. */
#ifndef REGENT_BUNDLE_DIGEST_H
#define REGENT_BUNDLE_DIGEST_H
#include "bundle/bundle.h"
#include <openssl/evp.h>

/* The signature itself (.signatures.json), which no signature lists. */
bool bundle_is_signatures(struct str path);
/* The name by which a signature lists a file: "tenant/policy.rego". A view. */
struct str bundle_listed_name(struct str path);
enum { BUNDLE_DIGEST_WHY_BYTES = 256 };
/* A file's digest as OPA takes it: data documents and the manifest by value (canonical JSON,
 * without regard to white space and the order of members), others byte by byte. max_bytes bounds
 * the memory of one file. ERR_SYNTAX or ERR_LIMIT with "row:col: what is wrong" in why: a document
 * that is neither JSON nor YAML, or too deep; ERR_MEMORY. */
MUST_USE enum err bundle_file_digest(const struct bundle_file *f, const EVP_MD *md,
                                     size_t max_bytes, uint8_t digest[EVP_MAX_MD_SIZE],
                                     char why[BUNDLE_DIGEST_WHY_BYTES]);

#endif
