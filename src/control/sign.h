/* Keys that sign bundles, as OPA's bundle signatures want them (.signatures.json). */
#ifndef REGENT_CONTROL_SIGN_H
#define REGENT_CONTROL_SIGN_H
#include "base/arena.h"
#include "base/err.h"
#include "bundle/bundle.h"

struct signer; /* any thread; immutable */

enum { SIGN_WHY_BYTES = 512, SIGN_KEY_ID_BYTES = 44 };

/* Private keys in PEM files: EC P-256 (ES256), Ed25519 (EdDSA), RSA from 2048 bits (RS256). The
 * first signs; all are published, so that edges know the next one before it signs and the last one
 * until nothing is signed by it. */
MUST_USE enum err signer_open(const char *const *files, uint32_t n, struct signer **out,
                              char why[SIGN_WHY_BYTES]);
void signer_close(struct signer *s);
/* Draws an ES256 key into `file` (mode 0600), unless it is there. */
MUST_USE enum err signer_make_key(const char *file, char why[SIGN_WHY_BYTES]);
/* RFC 7638 thumbprint of the key that signs: its kid. */
const char *signer_key_id(const struct signer *s);
/* {"keys":[…]}: JWKS of all public keys, kid and alg with each, the one that signs first. */
void signer_jwks(const struct signer *s, struct buf *out);
/* The bytes of .signatures.json for a bundle's other files: data and manifest are hashed by value,
 * others byte by byte. In the arena. Equal files give the same payload; ES256 draws a signature
 * anew each time. ERR_INVALID: a document that is neither JSON nor YAML; ERR_MEMORY. */
MUST_USE enum err signer_sign(const struct signer *s, struct arena *a,
                              const struct bundle_file *files, uint32_t n, struct str *out);

#endif
