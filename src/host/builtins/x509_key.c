/* crypto.x509.parse_rsa_private_key: a private key in PEM as a JWK.
 *
 * in:   PEM, or PEM in base64 (hostile; sizes are bounded).
 * out:  the first key's members as RFC 7518 section 6 and RFC 8037 name them; null without a key.
 * owns: OpenSSL's objects while it reads them.
 * Rules: OPA's v1/topdown/crypto.go: blocks of other types are passed over. */
#include "host/builtins/jwk.h"
#include "host/builtins/support.h"
#include "host/builtins/table.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>

static bool add_bytes(struct arena *a, struct json *o, const char *name, struct str bytes) {
    size_t n;
    char *text = base64_encode(a, bytes, BASE64_URL | BASE64_NO_PADDING, &n);
    return text && object_add(a, o, str_of(name), json_string(a, (struct str){text, n}));
}

/* A number of the key, filled up to `size` bytes (0: as long as it is). */
static bool add_number(struct arena *a, struct json *o, const char *name, const EVP_PKEY *key,
                       const char *param, size_t size) {
    BIGNUM *n = NULL;
    if (EVP_PKEY_get_bn_param(key, param, &n) != 1) return false;
    if (!size) size = (size_t)BN_num_bytes(n);
    uint8_t *bytes = arena_alloc(a, size);
    bool ok = bytes && BN_bn2binpad(n, bytes, (int)size) >= 0 &&
              add_bytes(a, o, name, (struct str){(char *)bytes, size});
    BN_clear_free(n);
    return ok;
}

static bool add_rsa(struct arena *a, struct json *o, const EVP_PKEY *key) {
    static const char *const names[][2] = {
        {"n", OSSL_PKEY_PARAM_RSA_N},          {"e", OSSL_PKEY_PARAM_RSA_E},
        {"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
        {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
        {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}};
    bool ok = object_add(a, o, STR("kty"), json_string(a, STR("RSA")));
    for (size_t i = 0; ok && i < sizeof names / sizeof *names; i++)
        ok = add_number(a, o, names[i][0], key, names[i][1], 0);
    return ok;
}

static bool add_ec(struct arena *a, struct json *o, const EVP_PKEY *key) {
    size_t size = ((size_t)EVP_PKEY_get_bits(key) + 7) / 8;
    const char *curve = size == 32 ? "P-256" : size == 48 ? "P-384" : size == 66 ? "P-521" : NULL;
    char group[32] = "";
    size_t n;
    if (!curve || EVP_PKEY_get_group_name(key, group, sizeof group, &n) != 1) return false;
    if (strcmp(group, "prime256v1") && strcmp(group, "secp384r1") && strcmp(group, "secp521r1"))
        return false;
    return object_add(a, o, STR("kty"), json_string(a, STR("EC"))) &&
           object_add(a, o, STR("crv"), json_string(a, str_of(curve))) &&
           add_number(a, o, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, size) &&
           add_number(a, o, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, size) &&
           add_number(a, o, "d", key, OSSL_PKEY_PARAM_PRIV_KEY, size);
}

static bool add_ed25519(struct arena *a, struct json *o, const EVP_PKEY *key) {
    uint8_t x[32], d[32];
    size_t n = sizeof x, m = sizeof d;
    return EVP_PKEY_get_raw_public_key(key, x, &n) == 1 &&
           EVP_PKEY_get_raw_private_key(key, d, &m) == 1 &&
           object_add(a, o, STR("kty"), json_string(a, STR("OKP"))) &&
           object_add(a, o, STR("crv"), json_string(a, STR("Ed25519"))) &&
           add_bytes(a, o, "x", (struct str){(char *)x, n}) &&
           add_bytes(a, o, "d", (struct str){(char *)d, m});
}

/* NULL: the kind has no JWK, or no memory. */
static struct json *jwk_of(struct arena *a, const EVP_PKEY *key) {
    struct json *o = json_object(a);
    int kind = EVP_PKEY_get_base_id(key);
    bool ok = o && (kind == EVP_PKEY_RSA       ? add_rsa(a, o, key)
                    : kind == EVP_PKEY_EC      ? add_ec(a, o, key)
                    : kind == EVP_PKEY_ED25519 ? add_ed25519(a, o, key)
                                               : false);
    return ok ? o : NULL;
}

/* The type of EVP_PKEY that the block must hold; 0: not a private key; -1: any (PKCS #8). */
static int block_kind(struct str type) {
    if (str_is(type, "RSA PRIVATE KEY")) return EVP_PKEY_RSA;
    if (str_is(type, "EC PRIVATE KEY")) return EVP_PKEY_EC;
    return str_is(type, "PRIVATE KEY") ? -1 : 0;
}

static EVP_PKEY *parse_block(const struct pem *pem, int kind) {
    const uint8_t *p = (const uint8_t *)pem->der.ptr;
    if (kind > 0) return d2i_PrivateKey(kind, NULL, &p, (long)pem->der.len);
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)pem->der.len);
    EVP_PKEY *key = info ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    return key;
}

static enum err return_key(struct builtin_call *c, const struct pem *pem, int kind) {
    EVP_PKEY *key = parse_block(pem, kind);
    ERR_clear_error();
    if (!key) return builtin_fail(c, "x509: failed to parse private key");
    bool small = EVP_PKEY_get_bits(key) <= RSA_MAX_BITS;
    struct json *jwk = small ? jwk_of(c->arena, key) : NULL;
    EVP_PKEY_free(key);
    ERR_clear_error();
    return jwk ? builtin_return(c, jwk) : builtin_fail(c, "the key has no form as JWK");
}

enum err hb_crypto_x509_parse_rsa_private_key(struct builtin_call *c) {
    struct str text, decoded;
    struct pem pem;
    size_t at;
    if (!builtin_string(c, 0, &text)) return OK;
    if (!text.len) return builtin_fail(c, "input PEM data was empty");
    if (text.len > KEY_TEXT_MAX) return builtin_fail(c, "a key of more than 256 KiB");
    if (!str_starts(text, STR("-----BEGIN"))) {
        if (!builtin_base64(c, text, 0, "", &text)) return OK;
    }
    if (base64_decode(c->arena, text, 0, &decoded, &at)) text = decoded;
    while (pem_next(c->arena, &text, &pem)) {
        int kind = block_kind(pem.type);
        if (kind) return return_key(c, &pem, kind);
    }
    return builtin_return(c, json_null(c->arena));
}
