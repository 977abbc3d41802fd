/* Signs bundles: one JWT that lists every file with its hash, by keys out of PEM files.
 *
 * in:   private keys; a bundle's files.
 * out:  .signatures.json, a JWK set of the public keys.
 * owns: the keys, until signer_close. */
#include "control/sign.h"
#include "base/hash.h"
#include "bundle/digest.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KEY_FILE_BYTES = 1 << 20, SHARED_BYTES = 1 << 20, RSA_BITS_MIN = 2048, KEYS_MOST = 64 };

struct signing_key {
    EVP_PKEY *pkey;
    const char *alg; /* ES256, EdDSA, RS256 */
    char kid[SIGN_KEY_ID_BYTES];
    struct str jwk;    /* with kid, alg and use */
    struct str header; /* of its tokens, encoded */
};

struct signer {
    struct arena arena; /* texts of the keys */
    struct signing_key *keys;
    uint32_t n;
};

/* Without padding; in the arena. ptr NULL: no memory. */
static struct str base64url(struct arena *a, struct str bytes) {
    if (bytes.len > INT32_MAX / 2) return (struct str){0};
    unsigned char *out = arena_alloc(a, bytes.len / 3 * 4 + 5);
    if (!out) return (struct str){0};
    int n =
        EVP_EncodeBlock(out, (const unsigned char *)(bytes.ptr ? bytes.ptr : ""), (int)bytes.len);
    while (n > 0 && out[n - 1] == '=') n--;
    for (int i = 0; i < n; i++) out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    return (struct str){(char *)out, (size_t)n};
}

/* ---- public keys ---- */

/* A number of the key, big-endian, padded to width (0: as short as it is), encoded. ptr NULL: it
 * has none. */
static struct str number_of(struct arena *a, const EVP_PKEY *key, const char *param, int width) {
    BIGNUM *n = NULL;
    struct str out = {0};
    if (EVP_PKEY_get_bn_param(key, param, &n) != 1) return out;
    int bytes = width ? width : BN_num_bytes(n);
    unsigned char *raw = arena_alloc(a, (size_t)bytes + 1);
    if (raw && BN_bn2binpad(n, raw, bytes) == bytes)
        out = base64url(a, (struct str){(char *)raw, (size_t)bytes});
    BN_free(n);
    return out;
}

/* The members that the thumbprint of RFC 7638 is taken of, in its order and without spaces, or
 * NULL: not a key that can sign here. */
static const char *thumbprint_members(struct arena *a, struct signing_key *k) {
    char group[64] = "";
    unsigned char raw[32];
    size_t n = sizeof raw;
    struct str x = {0}, y = {0};
    if (EVP_PKEY_is_a(k->pkey, "EC")) {
        if (EVP_PKEY_get_utf8_string_param(k->pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                           NULL) != 1 ||
            strcmp(group, "prime256v1") != 0)
            return NULL;
        k->alg = "ES256";
        x = number_of(a, k->pkey, OSSL_PKEY_PARAM_EC_PUB_X, 32);
        y = number_of(a, k->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
        if (!x.ptr || !y.ptr) return NULL;
        return arena_printf(a, NULL,
                            "\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%.*s\",\"y\":\"%.*s\"",
                            STR_FMT(x), STR_FMT(y));
    }
    if (EVP_PKEY_is_a(k->pkey, "ED25519")) {
        if (EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) != 1) return NULL;
        k->alg = "EdDSA";
        x = base64url(a, (struct str){(char *)raw, n});
        return arena_printf(a, NULL, "\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%.*s\"",
                            STR_FMT(x));
    }
    if (!EVP_PKEY_is_a(k->pkey, "RSA") || EVP_PKEY_get_bits(k->pkey) < RSA_BITS_MIN) return NULL;
    k->alg = "RS256";
    x = number_of(a, k->pkey, OSSL_PKEY_PARAM_RSA_E, 0);
    y = number_of(a, k->pkey, OSSL_PKEY_PARAM_RSA_N, 0);
    if (!x.ptr || !y.ptr) return NULL;
    return arena_printf(a, NULL, "\"e\":\"%.*s\",\"kty\":\"RSA\",\"n\":\"%.*s\"", STR_FMT(x),
                        STR_FMT(y));
}

/* Names the key and writes what is said of it. false: it cannot sign here. */
static bool describe(struct arena *a, struct signing_key *k) {
    uint8_t digest[32];
    size_t n = 0;
    const char *members = thumbprint_members(a, k);
    const char *object = members ? arena_printf(a, &n, "{%s}", members) : NULL;
    if (!object) return false;
    sha256(object, n, digest);
    struct str kid = base64url(a, (struct str){(char *)digest, sizeof digest});
    if (!kid.ptr || kid.len >= sizeof k->kid) return false;
    snprintf(k->kid, sizeof k->kid, "%.*s", STR_FMT(kid));
    k->jwk.ptr = arena_printf(a, &k->jwk.len, "{%s,\"kid\":\"%s\",\"alg\":\"%s\",\"use\":\"sig\"}",
                              members, k->kid, k->alg);
    const char *header = arena_printf(a, &n, "{\"alg\":\"%s\",\"kid\":\"%s\"}", k->alg, k->kid);
    if (header) k->header = base64url(a, (struct str){header, n});
    return k->jwk.ptr && k->header.ptr;
}

/* ---- key files ---- */

/* OpenSSL would ask the terminal for a password. */
static int no_password(char *out, int size, int writing, void *asked) {
    (void)out, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static enum err read_key(const char *file, EVP_PKEY **out, char why[SIGN_WHY_BYTES]) {
    struct buf text;
    bool encrypted = false;
    buf_init(&text, KEY_FILE_BYTES);
    enum err e = buf_read_file(&text, file);
    if (e)
        snprintf(why, SIGN_WHY_BYTES, "signing key %s: %s", file,
                 e == ERR_IO ? strerror(errno) : err_meaning(e));
    BIO *in = e ? NULL : BIO_new_mem_buf(text.ptr ? (const void *)text.ptr : "", (int)text.len);
    *out = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, &encrypted) : NULL;
    BIO_free(in);
    if (text.ptr) explicit_bzero(text.ptr, text.len);
    buf_deinit(&text);
    ERR_clear_error();
    if (e || *out) return e;
    snprintf(why, SIGN_WHY_BYTES, "signing key %s: %s", file,
             encrypted ? "it is locked by a password" : "it holds no private key in PEM form");
    return ERR_INVALID;
}

static enum err add_key(struct signer *s, const char *file, char why[SIGN_WHY_BYTES]) {
    struct signing_key *k = &s->keys[s->n];
    enum err e = read_key(file, &k->pkey, why);
    if (e) return e;
    s->n++; /* from here on signer_close frees it */
    if (!describe(&s->arena, k)) {
        snprintf(
            why, SIGN_WHY_BYTES,
            "signing key %s: it is of another kind: use EC P-256, Ed25519, or RSA from 2048 bits",
            file);
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i + 1 < s->n; i++) {
        if (strcmp(s->keys[i].kid, k->kid) != 0) continue;
        snprintf(why, SIGN_WHY_BYTES, "signing key %s: the same key is given twice", file);
        return ERR_INVALID;
    }
    return OK;
}

enum err signer_open(const char *const *files, uint32_t n, struct signer **out,
                     char why[SIGN_WHY_BYTES]) {
    if (!n || n > KEYS_MOST) {
        snprintf(why, SIGN_WHY_BYTES, n ? "more than %d signing keys" : "there is no signing key",
                 KEYS_MOST);
        return ERR_INVALID;
    }
    struct signer *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    arena_init(&s->arena, SHARED_BYTES);
    s->keys = ARENA_ARRAY(&s->arena, struct signing_key, n);
    enum err e = s->keys ? OK : ERR_MEMORY;
    for (uint32_t i = 0; i < n && !e; i++) e = add_key(s, files[i], why);
    if (!e) return *out = s, OK;
    signer_close(s);
    return e;
}

void signer_close(struct signer *s) {
    if (!s) return;
    for (uint32_t i = 0; i < s->n; i++) EVP_PKEY_free(s->keys[i].pkey);
    arena_deinit(&s->arena);
    free(s);
}

/* Under a name of its own first, so that of two processes one wins and both find a whole key. */
static enum err write_key(EVP_PKEY *key, const char *file, const char *temporary) {
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out && fd >= 0) close(fd);
    if (!out) return ERR_IO;
    bool ok = PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1 && fflush(out) == 0 &&
              fsync(fd) == 0;
    int error = errno;
    ok = fclose(out) == 0 && ok;
    if (ok && link(temporary, file) && (error = errno) != EEXIST) ok = false;
    unlink(temporary);
    errno = error;
    return ok ? OK : ERR_IO;
}

enum err signer_make_key(const char *file, char why[SIGN_WHY_BYTES]) {
    char temporary[4096];
    if (access(file, F_OK) == 0) return OK;
    int n = snprintf(temporary, sizeof temporary, "%s.new-%ld", file, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof temporary) return ERR_LIMIT;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!key) return ERR_MEMORY;
    unlink(temporary);
    enum err e = write_key(key, file, temporary);
    if (e) snprintf(why, SIGN_WHY_BYTES, "signing key %s: %s", file, strerror(errno));
    EVP_PKEY_free(key);
    ERR_clear_error();
    return e;
}

const char *signer_key_id(const struct signer *s) { return s->keys[0].kid; }

void signer_jwks(const struct signer *s, struct buf *out) {
    buf_cstr(out, "{\"keys\":[");
    for (uint32_t i = 0; i < s->n; i++) {
        if (i) buf_byte(out, ',');
        buf_str(out, s->keys[i].jwk);
    }
    buf_cstr(out, "]}");
}

/* ---- signatures ---- */

static enum err list_file(const struct bundle_file *f, size_t max_bytes, bool first,
                          struct buf *out) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    char wrong[BUNDLE_DIGEST_WHY_BYTES];
    enum err e = bundle_file_digest(f, EVP_sha256(), max_bytes, digest, wrong);
    if (e) return e == ERR_MEMORY ? e : ERR_INVALID;
    buf_cstr(out, first ? "{\"name\":" : ",{\"name\":");
    json_print_string(bundle_listed_name(f->path), out);
    buf_cstr(out, ",\"hash\":\"");
    for (int i = 0; i < 32; i++) buf_printf(out, "%02x", digest[i]);
    buf_cstr(out, "\",\"algorithm\":\"SHA-256\"}");
    return out->err;
}

/* JOSE wants the two numbers of an ECDSA signature side by side, OpenSSL gives them in DER. */
static bool to_raw(const unsigned char *der, size_t n, unsigned char raw[64]) {
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32;
    ECDSA_SIG_free(sig);
    return ok;
}

static enum err sign_bytes(const struct signing_key *k, struct arena *a, struct str text,
                           struct str *out) {
    bool ec = strcmp(k->alg, "ES256") == 0;
    const EVP_MD *md = strcmp(k->alg, "EdDSA") == 0 ? NULL : EVP_sha256();
    size_t n = (size_t)EVP_PKEY_get_size(k->pkey);
    unsigned char *sig = arena_alloc(a, n), *raw = arena_alloc(a, 64);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    enum err e = sig && raw && ctx ? OK : ERR_MEMORY;
    if (!e && (EVP_DigestSignInit(ctx, NULL, md, NULL, k->pkey) != 1 ||
               EVP_DigestSign(ctx, sig, &n, (const unsigned char *)text.ptr, text.len) != 1 ||
               (ec && !to_raw(sig, n, raw))))
        e = ERR_INTERNAL;
    if (!e) *out = ec ? (struct str){(char *)raw, 64} : (struct str){(char *)sig, n};
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return e;
}

enum err signer_sign(const struct signer *s, struct arena *a, const struct bundle_file *files,
                     uint32_t n, struct str *out) {
    const struct signing_key *k = &s->keys[0];
    struct str sig = {0}, payload, input;
    struct buf claims;
    enum err e = OK;
    bool first = true;
    buf_init(&claims, a->max_bytes);
    buf_cstr(&claims, "{\"files\":[");
    for (uint32_t i = 0; i < n && !e; i++) {
        if (bundle_is_signatures(files[i].path)) continue;
        e = list_file(&files[i], a->max_bytes, first, &claims);
        first = false;
    }
    buf_cstr(&claims, "]}");
    if (!e) e = claims.err;
    payload = e ? (struct str){0} : base64url(a, buf_view(&claims));
    buf_deinit(&claims);
    if (e) return e;
    input.ptr = payload.ptr
                    ? arena_printf(a, &input.len, "%.*s.%.*s", STR_FMT(k->header), STR_FMT(payload))
                    : NULL;
    if (!input.ptr) return ERR_MEMORY;
    e = sign_bytes(k, a, input, &sig);
    if (e) return e;
    sig = base64url(a, sig);
    const char *text = sig.ptr ? arena_printf(a, &out->len, "{\"signatures\":[\"%.*s.%.*s\"]}",
                                              STR_FMT(input), STR_FMT(sig))
                               : NULL;
    if (!text) return ERR_MEMORY;
    out->ptr = text;
    return OK;
}
