/* Is this bundle what its source says, whole and signed by whom we trust? */
#ifndef REGENT_EDGE_VERIFY_H
#define REGENT_EDGE_VERIFY_H
#include "bundle/bundle.h"
#include "host/token.h"

/* Paths of files, with what verify_glob knows. */
struct verify_patterns {
    struct str *items;
    uint32_t n, cap;
};
/* What a source's bundles must satisfy. Lives in the configuration, immutable while in use. */
struct verify_rules {
    const char *keys_file;   /* where the keys come from: a JWKS, or PEM; NULL: none */
    struct token_keys *keys; /* who may sign; NULL: nobody. Of verify_keys_load */
    bool required;           /* refuse what is not signed */
    uint32_t algorithms;     /* enum token_algorithm; 0: whatever fits the keys */
    struct str scope; /* the payload's `scope` must be this; empty: it must have none, as in OPA */
    struct verify_patterns exclude; /* files that need not be listed, as OPA's exclude_files */
    uint64_t max_bundle_bytes; /* 0: 10 MiB */
};
/* Reads keys_file into keys. Secrets (kty oct) count when algorithms is 0 or names HS. Nothing to
 * do without keys_file. ERR_INVALID, ERR_IO with a sentence in why; ERR_MEMORY. */
MUST_USE enum err verify_keys_load(struct verify_rules *rules, char *why, size_t why_bytes);
void verify_keys_free(struct verify_rules *rules);

/* OPA's bundle signatures: .signatures.json holds a JWT over a list of files, each hashed over its
 * canonical form when it is data or manifest, else over its bytes; listed files and the bundle's
 * must be the same. ERR_INVALID with a sentence in why that names the file or claim; ERR_MEMORY. A
 * signature that is there is checked also when none is required, if there are keys; without keys an
 * unrequired signature says nothing and is ignored. rules NULL: nothing is required. */
MUST_USE enum err verify_signature(struct arena *a, const struct bundle *b,
                                   const struct verify_rules *rules, char *why, size_t why_bytes);
/* Roots of the manifest: no two overlap; data, Rego and entrypoints lie within them. A delta bundle
 * (patch.json) is refused: ERR_UNSUPPORTED. Modules are not looked at here. */
MUST_USE enum err verify_roots(struct arena *a, const struct bundle *b, char *why,
                               size_t why_bytes);
/* `text` is "HEX", or "HEX  name" as sha256sum writes it: does it name the SHA-256 of bytes? */
MUST_USE enum err verify_sha256(struct str bytes, struct str text, char *why, size_t why_bytes);

/* Go's path patterns: `*` and `?` match no slash, `[a-z]`, `[^a-z]`, `\` takes the next character
 * as it is. */
bool verify_glob(struct str pattern, struct str path);
/* NULL, or what is wrong with a pattern. */
const char *verify_glob_wrong(struct str pattern);

#endif
