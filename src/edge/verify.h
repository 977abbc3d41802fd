/* Is this bundle what its source says, whole and signed by whom we trust? */
#ifndef REGENT_EDGE_VERIFY_H
#define REGENT_EDGE_VERIFY_H
#include "bundle/bundle.h"
#include "host/token.h"

/* What a source's bundles must satisfy. Lives in the configuration, immutable while in use. */
struct verify_rules {
    struct token_keys *keys; /* who may sign; NULL: nobody */
    bool required;           /* refuse what is not signed */
    uint32_t algorithms; /* enum token_algorithm; 0: every asymmetric one, and HS when the keys hold
                            secrets */
    struct str scope;    /* the payload's `scope` must be this; empty: any */
    const char *exclude[16]; /* files that need not be listed, as OPA's --exclude-files-verify; NULL
                                at the end */
    uint64_t max_bundle_bytes; /* 0: 10 MiB */
};
/* OPA's bundle signatures (.signatures.json, contracts: JWT over a list of files, hashed over their
 * canonical form when they are JSON or YAML, else over their bytes; listed files and the bundle's
 * must be the same). ERR_INVALID with a sentence in why that names the file or claim; ERR_MEMORY. A
 * signature that is there is checked also when none is required, if there are keys; without keys an
 * unrequired signature is ignored, as OPA does. */
MUST_USE enum err verify_signature(struct arena *a, const struct bundle *b,
                                   const struct verify_rules *rules, char *why, size_t why_bytes);
/* Roots of the manifest: no two overlap, and data and Rego lie within them. Modules are not looked
 * at here. */
MUST_USE enum err verify_roots(struct arena *a, const struct bundle *b, char *why,
                               size_t why_bytes);
/* `text` is "HEX", or "HEX  name" as sha256sum writes it: does it name the SHA-256 of bytes? */
MUST_USE enum err verify_sha256(struct str bytes, struct str text, char *why, size_t why_bytes);

#endif
