/* Verifies JSON Web Tokens for the node itself, more strictly than OPA's builtins, with the same keys and signatures.
 *
 * in:   texts of key sets (from an operator or a key server), tokens (hostile).
 * out:  a payload, or what is wrong.
 * owns: key sets, counted.
 * Rules: RFC 7515, 7517, 7518, 7519, 8037, and the advice of RFC 8725. */
#include "host/token.h"
#include "host/builtins/jwk.h"
#include "host/builtins/support.h"
#include <math.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEY_ARENA_BYTES = 32 << 20, RSA_MIN_BITS = 2048, SECRET_MIN_BYTES = 32 };

struct key {
    struct jwk jwk;
    uint32_t algorithms; /* that it may be used with */
};

struct token_keys {
    _Atomic uint32_t users;
    struct arena arena;
    struct {
        struct key *items;
        uint32_t n, cap;
    } keys;
};

static const struct {
    const char *name;
    enum token_algorithm bit;
} algorithms[] = {{"RS256", TOKEN_RS256}, {"RS384", TOKEN_RS384}, {"RS512", TOKEN_RS512}, {"PS256", TOKEN_PS256},
                  {"PS384", TOKEN_PS384}, {"PS512", TOKEN_PS512}, {"ES256", TOKEN_ES256}, {"ES384", TOKEN_ES384},
                  {"ES512", TOKEN_ES512}, {"EdDSA", TOKEN_EDDSA}, {"HS256", TOKEN_HS256}, {"HS384", TOKEN_HS384},
                  {"HS512", TOKEN_HS512}};

uint32_t token_algorithm(struct str name) {
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
        if (str_is(name, algorithms[i].name)) return algorithms[i].bit;
    return 0;
}

const char *token_fault_text(enum token_fault f) {
    switch (f) {
    case TOKEN_VALID: return "the token is valid";
    case TOKEN_MALFORMED: return "the token is no signed JWT";
    case TOKEN_WRONG_ALGORITHM: return "the token's algorithm is not accepted";
    case TOKEN_WRONG_ISSUER: return "the token's issuer is not the expected one";
    case TOKEN_UNKNOWN_KEY: return "no key is known for the token";
    case TOKEN_WRONG_SIGNATURE: return "the token's signature is wrong";
    case TOKEN_EXPIRED: return "the token has expired";
    case TOKEN_TOO_EARLY: return "the token is not valid yet";
    case TOKEN_WRONG_AUDIENCE: return "the token is meant for another audience";
    case TOKEN_NO_MEMORY: return "out of memory";
    }
    return "";
}

/* ---- keys ---- */

static uint32_t curve_algorithm(const EVP_PKEY *key) {
    char group[64];
    size_t n;
    if (EVP_PKEY_get_group_name(key, group, sizeof group, &n) != 1) return 0;
    if (strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0) return TOKEN_ES256;
    if (strcmp(group, "secp384r1") == 0 || strcmp(group, "P-384") == 0) return TOKEN_ES384;
    return strcmp(group, "secp521r1") == 0 || strcmp(group, "P-521") == 0 ? TOKEN_ES512 : 0;
}

static uint32_t kind_algorithms(const struct jwk *key) {
    enum { RS = TOKEN_RS256 | TOKEN_RS384 | TOKEN_RS512, PS = TOKEN_PS256 | TOKEN_PS384 | TOKEN_PS512 };
    if (!key->pkey) {
        uint32_t fits = key->secret.len >= SECRET_MIN_BYTES ? TOKEN_HS256 : 0;
        if (key->secret.len >= 48) fits |= TOKEN_HS384;
        return key->secret.len >= 64 ? fits | TOKEN_HS512 : fits;
    }
    int bits = EVP_PKEY_get_bits(key->pkey);
    bool sound = bits >= RSA_MIN_BITS && bits <= RSA_MAX_BITS;
    switch (EVP_PKEY_get_base_id(key->pkey)) {
    case EVP_PKEY_RSA: return sound ? RS | PS : 0;
    case EVP_PKEY_RSA_PSS: return sound ? PS : 0;
    case EVP_PKEY_EC: return curve_algorithm(key->pkey);
    case EVP_PKEY_ED25519: return TOKEN_EDDSA;
    default: return 0;
    }
}

/* RFC 7517 sections 4.2 and 4.3. */
static bool is_for_signatures(const struct json *jwk) {
    const struct json *use = json_get_c(jwk, "use"), *ops = json_get_c(jwk, "key_ops");
    if (use && (use->kind != JSON_STRING || !str_is(use->text, "sig"))) return false;
    if (!ops) return true;
    for (uint32_t i = 0; ops->kind == JSON_ARRAY && i < ops->n; i++)
        if (ops->items[i]->kind == JSON_STRING && str_is(ops->items[i]->text, "verify")) return true;
    return false;
}

static void add(struct token_keys *k, struct jwk jwk) {
    struct key key = {jwk, kind_algorithms(&jwk)};
    uint32_t n = k->keys.n;
    if (jwk.alg.ptr) key.algorithms &= token_algorithm(jwk.alg);
    if (key.algorithms && n < TOKEN_KEYS_MAX) ARENA_PUSH(&k->arena, &k->keys, key);
    if (k->keys.n == n) EVP_PKEY_free(jwk.pkey);
}

static const char *read_jwks(struct token_keys *k, struct str text, bool secrets) {
    struct json *v = NULL;
    struct json_error error;
    if (json_parse(&k->arena, text, &v, &error) || v->kind != JSON_OBJECT)
        return "neither PEM nor a JSON Web Key set";
    const struct json *list = json_get_c(v, "keys");
    if (list && list->kind != JSON_ARRAY) return "`keys` is no list";
    if (!list && !json_get_c(v, "kty")) return "a JSON object, but no JSON Web Key set: it has no `keys`";
    for (uint32_t i = 0; i < (list ? list->n : 1); i++) {
        const struct json *item = list ? list->items[i] : v;
        struct jwk jwk;
        if (item->kind != JSON_OBJECT || !is_for_signatures(item) || !jwk_read(&k->arena, item, &jwk)) continue;
        if (!jwk.pkey && !secrets) continue;
        add(k, jwk);
    }
    return NULL;
}

static const char *read_keys(struct token_keys *k, struct str text, bool secrets) {
    struct pem pem;
    struct str rest = text;
    bool any = false;
    while (pem_next(&k->arena, &rest, &pem)) {
        struct jwk jwk;
        any = true;
        if (jwk_read_pem(&pem, &jwk)) return "a PEM block in it is no valid PUBLIC KEY or CERTIFICATE";
        add(k, jwk);
    }
    return any ? NULL : read_jwks(k, text, secrets);
}

static void free_keys(struct token_keys *k) {
    for (uint32_t i = 0; i < k->keys.n; i++) EVP_PKEY_free(k->keys.items[i].jwk.pkey);
    arena_deinit(&k->arena);
    free(k);
}

enum err token_keys_new(struct str text, bool secrets, struct token_keys **out, char *why, size_t why_bytes) {
    struct token_keys *k = calloc(1, sizeof *k);
    if (!k) return ERR_MEMORY;
    k->users = 1;
    arena_init(&k->arena, KEY_ARENA_BYTES);
    const char *copy = arena_copy(&k->arena, text.ptr, text.len);
    const char *wrong = text.len > TOKEN_KEYS_BYTES ? "more than 1 MiB" : NULL;
    if (copy && !wrong) wrong = read_keys(k, (struct str){copy, text.len}, secrets);
    ERR_clear_error();
    if (!wrong && !k->keys.n) wrong = "no key in it can verify tokens";
    if (copy && !wrong) return *out = k, OK;
    free_keys(k);
    if (wrong) snprintf(why, why_bytes, "%s", wrong);
    return wrong ? ERR_INVALID : ERR_MEMORY;
}

struct token_keys *token_keys_acquire(struct token_keys *k) {
    atomic_fetch_add_explicit(&k->users, 1, memory_order_relaxed);
    return k;
}

void token_keys_release(struct token_keys *k) {
    if (k && atomic_fetch_sub_explicit(&k->users, 1, memory_order_acq_rel) == 1) free_keys(k);
}

uint32_t token_keys_count(const struct token_keys *k) { return k->keys.n; }

/* ---- tokens ---- */

struct parts {
    struct str header, payload, signature; /* decoded */
    struct str signed_text;
};

static bool is_base64url(char ch) {
    return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_';
}

/* RFC 7515 section 2: no padding, no line breaks. */
static bool next_part(struct arena *a, struct str *rest, bool last, struct str *out) {
    size_t n = 0, at;
    while (n < rest->len && is_base64url(rest->ptr[n])) n++;
    if (last ? n != rest->len : n == rest->len || rest->ptr[n] != '.') return false;
    struct str text = str_head(*rest, n);
    *rest = str_from(*rest, n + !last);
    return n > 0 && base64_decode(a, text, BASE64_URL | BASE64_NO_PADDING, out, &at);
}

static bool split(struct arena *a, struct str text, size_t max_bytes, struct parts *p) {
    struct str rest = text;
    if (text.len > (max_bytes ? max_bytes : TOKEN_MAX_BYTES) || !next_part(a, &rest, false, &p->header)) return false;
    if (!next_part(a, &rest, false, &p->payload)) return false;
    p->signed_text = str_head(text, text.len - rest.len - 1);
    return next_part(a, &rest, true, &p->signature);
}

static const struct json *object_of(struct arena *a, struct str text) {
    struct json *v;
    struct json_error error;
    return json_parse(a, text, &v, &error) == OK && v->kind == JSON_OBJECT ? v : NULL;
}

static bool text_of(const struct json *object, const char *name, struct str *out) {
    const struct json *v = json_get_c(object, name);
    *out = v && v->kind == JSON_STRING ? v->text : (struct str){NULL, 0};
    return !v || v->kind == JSON_STRING;
}

static size_t ecdsa_bytes(uint32_t algorithm) {
    return algorithm == TOKEN_ES256 ? 64 : algorithm == TOKEN_ES384 ? 96 : algorithm == TOKEN_ES512 ? 132 : 0;
}

static enum token_fault check_signature(struct arena *a, const struct token_keys *keys, const struct parts *p,
                                        struct str alg, struct str kid) {
    uint32_t bit = token_algorithm(alg), tried = 0;
    size_t bytes = ecdsa_bytes(bit);
    bool named = false;
    if (bytes && p->signature.len != bytes) return TOKEN_WRONG_SIGNATURE;
    for (uint32_t i = 0; kid.ptr && keys && i < keys->keys.n; i++)
        named = named || str_eq(keys->keys.items[i].jwk.kid, kid);
    for (uint32_t i = 0; keys && i < keys->keys.n && tried < TOKEN_KEYS_TRIED; i++) {
        const struct key *key = &keys->keys.items[i];
        bool meant = named ? str_eq(key->jwk.kid, kid) : !kid.ptr || !key->jwk.kid.ptr;
        if (!meant || !(key->algorithms & bit)) continue;
        if (jws_verify(a, &key->jwk, alg, p->signed_text, p->signature)) return TOKEN_VALID;
        tried++;
    }
    return named || tried ? TOKEN_WRONG_SIGNATURE : TOKEN_UNKNOWN_KEY;
}

static bool audience_holds(const struct json *aud, struct str wanted) {
    if (!aud) return false;
    if (aud->kind == JSON_STRING) return str_eq(aud->text, wanted);
    for (uint32_t i = 0; aud->kind == JSON_ARRAY && i < aud->n; i++)
        if (aud->items[i]->kind == JSON_STRING && str_eq(aud->items[i]->text, wanted)) return true;
    return false;
}

/* Seconds since 1970 of a claim; false: it is there, but no date. */
static bool date_of(const struct json *payload, const char *name, int64_t none, int64_t *out) {
    const struct json *v = json_get_c(payload, name);
    double d;
    *out = none;
    if (!v) return true;
    if (!number_double(v, &d) || isnan(d)) return false;
    *out = d > 1e15 ? (int64_t)1e15 : d < -1e15 ? (int64_t)-1e15 : (int64_t)(none < 0 ? ceil(d) : floor(d));
    return true;
}

static enum token_fault check_claims(const struct token_rules *r, struct token *t) {
    int64_t exp, nbf;
    if (!date_of(t->payload, "exp", INT64_MAX, &exp) || !date_of(t->payload, "nbf", INT64_MIN, &nbf))
        return TOKEN_MALFORMED;
    t->until_s = exp == INT64_MAX ? exp : exp + r->leeway_s;
    t->from_s = nbf == INT64_MIN ? nbf : nbf - r->leeway_s;
    if (r->now_s >= t->until_s) return TOKEN_EXPIRED;
    if (r->now_s < t->from_s) return TOKEN_TOO_EARLY;
    bool meant = !r->audience.len || audience_holds(json_get_c(t->payload, "aud"), r->audience);
    return meant ? TOKEN_VALID : TOKEN_WRONG_AUDIENCE;
}

enum token_fault token_verify(struct arena *a, const struct token_keys *keys, struct str text,
                              const struct token_rules *rules, struct token *out) {
    struct parts p;
    struct str alg, kid, iss;
    out->alg = out->kid = (struct str){NULL, 0};
    if (!split(a, text, rules->max_bytes, &p)) return TOKEN_MALFORMED;
    const struct json *header = object_of(a, p.header);
    struct token t = {.payload = header ? object_of(a, p.payload) : NULL};
    /* crit: nothing that could stand there is understood here. enc: encrypted. */
    if (!t.payload || json_get_c(header, "crit") || json_get_c(header, "enc")) return TOKEN_MALFORMED;
    if (!text_of(header, "alg", &alg) || !text_of(header, "kid", &kid)) return TOKEN_MALFORMED;
    if (!kid.len && rules->kid_claim.len) /* an empty one names no key */
        if (!text_of(t.payload, rules->kid_claim.ptr, &kid) || !kid.len) kid = (struct str){NULL, 0};
    out->alg = t.alg = alg;
    out->kid = t.kid = kid;
    bool issued = text_of(t.payload, "iss", &iss) && (!rules->issuer.len || str_eq(iss, rules->issuer));
    if (!issued) return TOKEN_WRONG_ISSUER;
    if (!(token_algorithm(alg) & rules->algorithms)) return TOKEN_WRONG_ALGORITHM;
    enum token_fault f = check_signature(a, keys, &p, alg, kid);
    if (!f) f = check_claims(rules, &t);
    ERR_clear_error();
    if (!f) *out = t;
    return f;
}
