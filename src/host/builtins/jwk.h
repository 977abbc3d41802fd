/* Keys for signatures: PEM certificates and public keys, JWK and JWK sets (RFC 7517, 7518, 8037).
 */
#ifndef REGENT_HOST_BUILTINS_JWK_H
#define REGENT_HOST_BUILTINS_JWK_H
#include "host/builtins/builtin.h"
#include <openssl/evp.h>

/* One key: an OpenSSL key, or a secret. */
struct jwk {
    EVP_PKEY *pkey;    /* NULL: a secret */
    struct str secret; /* kty "oct" */
    struct str alg, kid;
};
/* All strings lie in the call's arena; jwks_free releases the OpenSSL keys. */
struct jwks {
    struct jwk *items;
    uint32_t n, cap;
};

enum { JWKS_MAX = 64, KEY_TEXT_MAX = 1 << 18, RSA_MAX_BITS = 8192 };

/* A certificate or public key as PEM, or a JWK (set) whose keys of unknown algorithms are left out.
 * False after builtin_fail with OPA's text; `out` needs no jwks_free then. */
bool keys_read(struct builtin_call *c, struct str text, struct jwks *out);
/* A JWK or JWK set only; with private halves when they are there. */
bool jwks_read(struct builtin_call *c, struct str text, struct jwks *out);
void jwks_free(struct jwks *keys);
/* One JWK; one PEM block: NULL, or why not. The caller frees out->pkey. */
bool jwk_read(struct arena *a, const struct json *v, struct jwk *out);
struct pem;
const char *jwk_read_pem(const struct pem *pem, struct jwk *out);

/* Whether the name is one of the algorithms that io.jwt knows ("RS256"). */
bool jws_known(struct str alg);
/* Whether the signature (raw bytes) of text verifies. Keys that do not fit the algorithm do not. */
bool jws_verify(struct arena *a, const struct jwk *key, struct str alg, struct str text,
                struct str signature);
/* Signs: false when the key does not fit or OpenSSL fails. */
bool jws_sign(struct arena *a, const struct jwk *key, struct str alg, struct str text,
              struct str *signature);

#endif
