/* Signs and verifies by JWS algorithm names (OpenSSL).
 *
 * in:   keys, texts, signatures (hostile).
 * out:  booleans, signatures in the arena.
 * owns: OpenSSL's contexts while it works.
 * Rules: RFC 7518 section 3, RFC 8037 section 3.1. */
#include "host/builtins/jwk.h"
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

static const char *const ALGORITHMS[] = {"RS256", "RS384", "RS512", "PS256", "PS384",
                                         "PS512", "ES256", "ES384", "ES512", "HS256",
                                         "HS384", "HS512", "EdDSA"};

bool jws_known(struct str alg) {
    for (size_t i = 0; i < sizeof ALGORITHMS / sizeof *ALGORITHMS; i++)
        if (str_is(alg, ALGORITHMS[i])) return true;
    return false;
}

static const EVP_MD *digest_of(struct str alg) {
    if (str_ends(alg, STR("256"))) return EVP_sha256();
    if (str_ends(alg, STR("384"))) return EVP_sha384();
    return str_ends(alg, STR("512")) ? EVP_sha512() : NULL; /* EdDSA has none */
}

static bool hmac_text(const struct jwk *key, struct str alg, struct str text, uint8_t *out,
                      unsigned *n) {
    return key->secret.len <= KEY_TEXT_MAX &&
           HMAC(digest_of(alg), key->secret.ptr, (int)key->secret.len, (const uint8_t *)text.ptr,
                text.len, out, n);
}

/* Whether the key's kind is the algorithm's. */
static bool fits(const struct jwk *key, struct str alg) {
    if (!jws_known(alg)) return false;
    bool mac = alg.ptr[0] == 'H';
    if (!key->pkey) return mac;
    int kind = EVP_PKEY_get_base_id(key->pkey);
    if (alg.ptr[0] == 'R') return kind == EVP_PKEY_RSA;
    if (alg.ptr[0] == 'P') return kind == EVP_PKEY_RSA || kind == EVP_PKEY_RSA_PSS;
    if (str_is(alg, "EdDSA")) return kind == EVP_PKEY_ED25519;
    return !mac && kind == EVP_PKEY_EC;
}

static bool set_padding(EVP_PKEY_CTX *ctx, struct str alg, bool sign) {
    if (alg.ptr[0] != 'P') return true;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, sign ? RSA_PSS_SALTLEN_DIGEST
                                                      : RSA_PSS_SALTLEN_AUTO) == 1;
}

/* JWS writes r and s one behind the other, OpenSSL wants them in DER. */
static bool ecdsa_to_der(struct arena *a, struct str raw, struct str *der) {
    size_t half = raw.len / 2;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn((const uint8_t *)raw.ptr, (int)half, NULL);
    BIGNUM *s = BN_bin2bn((const uint8_t *)raw.ptr + half, (int)(raw.len - half), NULL);
    bool ok = sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1;
    if (!ok) BN_free(r), BN_free(s);
    int n = ok ? i2d_ECDSA_SIG(sig, NULL) : 0;
    uint8_t *bytes = n > 0 ? arena_alloc(a, (size_t)n) : NULL;
    uint8_t *at = bytes;
    if (bytes) i2d_ECDSA_SIG(sig, &at);
    ECDSA_SIG_free(sig);
    *der = (struct str){(char *)bytes, bytes ? (size_t)n : 0};
    return bytes != NULL;
}

static bool ecdsa_from_der(struct arena *a, const EVP_PKEY *key, struct str der, struct str *raw) {
    size_t half = ((size_t)EVP_PKEY_get_bits(key) + 7) / 8;
    const uint8_t *p = (const uint8_t *)der.ptr;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der.len);
    uint8_t *bytes = arena_alloc(a, 2 * half);
    bool ok = sig && bytes && BN_bn2binpad(ECDSA_SIG_get0_r(sig), bytes, (int)half) >= 0 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), bytes + half, (int)half) >= 0;
    ECDSA_SIG_free(sig);
    *raw = (struct str){(char *)bytes, 2 * half};
    return ok;
}

static bool verify_pkey(struct arena *a, EVP_PKEY *key, struct str alg, struct str text,
                        struct str signature) {
    EVP_PKEY_CTX *inner;
    if (signature.len > RSA_MAX_BITS / 8) return false;
    if (alg.ptr[0] == 'E' && alg.ptr[1] == 'S' &&
        (!signature.len || !ecdsa_to_der(a, signature, &signature)))
        return false;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestVerifyInit(ctx, &inner, digest_of(alg), NULL, key) == 1 &&
              set_padding(inner, alg, false) &&
              EVP_DigestVerify(ctx, (const uint8_t *)signature.ptr, signature.len,
                               (const uint8_t *)text.ptr, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

bool jws_verify(struct arena *a, const struct jwk *key, struct str alg, struct str text,
                struct str signature) {
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!fits(key, alg)) return false;
    if (key->pkey) return verify_pkey(a, key->pkey, alg, text, signature);
    return hmac_text(key, alg, text, mac, &n) && n == signature.len &&
           CRYPTO_memcmp(mac, signature.ptr, n) == 0;
}

static bool sign_pkey(struct arena *a, EVP_PKEY *key, struct str alg, struct str text,
                      struct str *out) {
    EVP_PKEY_CTX *inner;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = (size_t)EVP_PKEY_get_size(key);
    uint8_t *bytes = arena_alloc(a, n);
    bool ok = ctx && bytes && EVP_DigestSignInit(ctx, &inner, digest_of(alg), NULL, key) == 1 &&
              set_padding(inner, alg, true) &&
              EVP_DigestSign(ctx, bytes, &n, (const uint8_t *)text.ptr, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    *out = (struct str){(char *)bytes, n};
    if (ok && alg.ptr[0] == 'E' && alg.ptr[1] == 'S') ok = ecdsa_from_der(a, key, *out, out);
    return ok;
}

bool jws_sign(struct arena *a, const struct jwk *key, struct str alg, struct str text,
              struct str *signature) {
    unsigned n = 0;
    if (!fits(key, alg)) return false;
    if (key->pkey) return sign_pkey(a, key->pkey, alg, text, signature);
    uint8_t *mac = arena_alloc(a, EVP_MAX_MD_SIZE);
    if (!mac || !hmac_text(key, alg, text, mac, &n)) return false;
    *signature = (struct str){(char *)mac, n};
    return true;
}
