/* Keys for signatures out of PEM and JWK.
 *
 * in:   texts of policies (hostile); sizes and numbers of keys are bounded.
 * out:  OpenSSL keys and secrets.
 * owns: the OpenSSL objects while it builds them.
 * Rules: RFC 7517 (JWK), RFC 7518 section 6 (parameters), RFC 8037 (Ed25519). */
#include "host/builtins/jwk.h"
#include "host/builtins/support.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

void jwks_free(struct jwks *keys) {
    for (uint32_t i = 0; i < keys->n; i++) EVP_PKEY_free(keys->items[i].pkey);
    keys->n = 0;
}

static struct str member(const struct json *jwk, const char *name) {
    const struct json *v = json_get_c(jwk, name);
    return v && v->kind == JSON_STRING ? v->text : (struct str){NULL, 0};
}

/* A member in base64url. */
static bool bytes_of(struct arena *a, const struct json *jwk, const char *name, struct str *out) {
    size_t at;
    struct str text = member(jwk, name);
    while (text.len && text.ptr[text.len - 1] == '=') text.len--;
    return text.len && text.len <= KEY_TEXT_MAX &&
           base64_decode(a, text, BASE64_URL | BASE64_NO_PADDING, out, &at) && out->len;
}

/* What EVP_PKEY_fromdata wants: a builder and the numbers that it refers to. */
struct key_parts {
    OSSL_PARAM_BLD *builder;
    BIGNUM *numbers[8];
    uint32_t n;
};

static bool push_number(struct arena *a, struct key_parts *p, const struct json *jwk,
                        const char *name, const char *param) {
    struct str bytes;
    if (!bytes_of(a, jwk, name, &bytes) || bytes.len > RSA_MAX_BITS / 8 + 1) return false;
    BIGNUM *n = BN_bin2bn((const uint8_t *)bytes.ptr, (int)bytes.len, NULL);
    if (!n) return false;
    p->numbers[p->n++] = n;
    return OSSL_PARAM_BLD_push_BN(p->builder, param, n) == 1;
}

static bool push_rsa(struct arena *a, struct key_parts *p, const struct json *jwk, bool private) {
    static const char *const names[][2] = {{"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
                                           {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},
                                           {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
                                           {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2},
                                           {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}};
    if (!push_number(a, p, jwk, "n", OSSL_PKEY_PARAM_RSA_N) ||
        !push_number(a, p, jwk, "e", OSSL_PKEY_PARAM_RSA_E))
        return false;
    if (BN_num_bits(p->numbers[0]) > RSA_MAX_BITS || BN_num_bits(p->numbers[1]) > 64) return false;
    if (!private) return true;
    if (!push_number(a, p, jwk, "d", OSSL_PKEY_PARAM_RSA_D)) return false;
    for (size_t i = 0; i < 5; i++)
        if (!json_get_c(jwk, names[i][0]))
            return i == 0;
        else if (!push_number(a, p, jwk, names[i][0], names[i][1]))
            return false;
    return true;
}

static const char *curve_group(struct str crv, size_t *bytes) {
    *bytes = str_is(crv, "P-256") ? 32 : str_is(crv, "P-384") ? 48 : 66;
    if (str_is(crv, "P-256")) return "prime256v1";
    if (str_is(crv, "P-384")) return "secp384r1";
    return str_is(crv, "P-521") ? "secp521r1" : NULL;
}

/* The point as 04 X Y, each filled up to the curve's size. */
static bool push_ec(struct arena *a, struct key_parts *p, const struct json *jwk, bool private) {
    size_t size;
    struct str x, y;
    const char *group = curve_group(member(jwk, "crv"), &size);
    if (!group || !bytes_of(a, jwk, "x", &x) || !bytes_of(a, jwk, "y", &y)) return false;
    if (x.len > size || y.len > size) return false;
    uint8_t *point = arena_alloc(a, 2 * size + 1);
    if (!point) return false;
    point[0] = 4;
    memcpy(point + 1 + size - x.len, x.ptr, x.len);
    memcpy(point + 1 + 2 * size - y.len, y.ptr, y.len);
    if (OSSL_PARAM_BLD_push_utf8_string(p->builder, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(p->builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         2 * size + 1) != 1)
        return false;
    return !private || push_number(a, p, jwk, "d", OSSL_PKEY_PARAM_PRIV_KEY);
}

static EVP_PKEY *build_key(struct arena *a, const struct json *jwk, const char *type) {
    bool private = json_get_c(jwk, "d") != NULL;
    struct key_parts p = {.builder = OSSL_PARAM_BLD_new()};
    OSSL_PARAM *params = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;
    bool ok = p.builder && ctx &&
              (type[0] == 'R' ? push_rsa(a, &p, jwk, private) : push_ec(a, &p, jwk, private));
    if (ok) params = OSSL_PARAM_BLD_to_param(p.builder);
    if (!params || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    for (uint32_t i = 0; i < p.n; i++) BN_clear_free(p.numbers[i]);
    OSSL_PARAM_BLD_free(p.builder);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *build_ed25519(struct arena *a, const struct json *jwk) {
    struct str x, d;
    if (!str_is(member(jwk, "crv"), "Ed25519")) return NULL;
    if (json_get_c(jwk, "d"))
        return bytes_of(a, jwk, "d", &d)
                   ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const uint8_t *)d.ptr,
                                                  d.len)
                   : NULL;
    return bytes_of(a, jwk, "x", &x)
               ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const uint8_t *)x.ptr, x.len)
               : NULL;
}

bool jwk_read(struct arena *a, const struct json *v, struct jwk *out) {
    *out = (struct jwk){.alg = member(v, "alg"), .kid = member(v, "kid")};
    struct str kty = member(v, "kty");
    if (str_is(kty, "oct")) return bytes_of(a, v, "k", &out->secret);
    if (str_is(kty, "RSA")) out->pkey = build_key(a, v, "RSA");
    if (str_is(kty, "EC")) out->pkey = build_key(a, v, "EC");
    if (str_is(kty, "OKP")) out->pkey = build_ed25519(a, v);
    return out->pkey != NULL;
}

static bool add_key(struct arena *a, struct jwks *keys, struct jwk key) {
    uint32_t n = keys->n;
    ARENA_PUSH(a, keys, key);
    if (keys->n > n) return true;
    EVP_PKEY_free(key.pkey);
    return false;
}

bool jwks_read(struct builtin_call *c, struct str text, struct jwks *out) {
    struct json *v = NULL;
    struct json_error error;
    *out = (struct jwks){0};
    if (text.len > KEY_TEXT_MAX || json_parse(c->arena, text, &v, &error) != OK ||
        v->kind != JSON_OBJECT)
        return builtin_refuse(c, "failed to parse a JWK key (set): no JSON object");
    struct json *list = json_get_c(v, "keys");
    struct json *const *items = list && list->kind == JSON_ARRAY ? list->items : &v;
    uint32_t n = list && list->kind == JSON_ARRAY ? list->n : 1;
    if (n > JWKS_MAX) return builtin_refuse(c, "more than %d keys in a JWK set", JWKS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        struct jwk key;
        if (!jwk_read(c->arena, items[i], &key)) {
            jwks_free(out);
            return builtin_refuse(c, "failed to parse a JWK key (set): key %u is invalid", i);
        }
        if (!add_key(c->arena, out, key)) {
            jwks_free(out);
            return builtin_no_memory(c);
        }
    }
    return true;
}

const char *jwk_read_pem(const struct pem *pem, struct jwk *out) {
    const uint8_t *p = (const uint8_t *)pem->der.ptr;
    EVP_PKEY *key = NULL;
    if (str_is(pem->type, "CERTIFICATE")) {
        X509 *cert = d2i_X509(NULL, &p, (long)pem->der.len);
        if (!cert) return "failed to parse a PEM certificate: malformed";
        key = X509_get_pubkey(cert);
        X509_free(cert);
        if (!key) return "failed to parse a PEM certificate: its key";
    } else if (str_is(pem->type, "PUBLIC KEY")) {
        key = d2i_PUBKEY(NULL, &p, (long)pem->der.len);
        if (!key) return "failed to parse a PEM public key: malformed";
    } else {
        return "failed to extract a Key from the PEM certificate";
    }
    *out = (struct jwk){.pkey = key};
    return NULL;
}

static bool read_pem_key(struct builtin_call *c, const struct pem *pem, struct jwks *out) {
    struct jwk key;
    const char *wrong = jwk_read_pem(pem, &key);
    if (wrong) return builtin_refuse(c, "%s", wrong);
    if (EVP_PKEY_get_bits(key.pkey) > RSA_MAX_BITS) {
        EVP_PKEY_free(key.pkey);
        return builtin_refuse(c, "a key of more than %d bits", RSA_MAX_BITS);
    }
    return add_key(c->arena, out, key) || builtin_no_memory(c);
}

bool keys_read(struct builtin_call *c, struct str text, struct jwks *out) {
    struct pem pem;
    struct str rest = text;
    *out = (struct jwks){0};
    if (text.len > KEY_TEXT_MAX) return builtin_refuse(c, "a key set of more than 256 KiB");
    if (pem_next(c->arena, &rest, &pem)) {
        if (rest.len) return builtin_refuse(c, "extra data after a PEM certificate block");
        return read_pem_key(c, &pem, out);
    }
    if (!jwks_read(c, text, out)) return false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < out->n; i++) {
        if (!out->items[i].alg.len || jws_known(out->items[i].alg))
            out->items[n++] = out->items[i];
        else
            EVP_PKEY_free(out->items[i].pkey);
    }
    out->n = n;
    return true;
}
