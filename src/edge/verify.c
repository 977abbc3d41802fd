/* OPA's bundle signatures: one JWT that lists every file of the bundle with its hash.
 *
 * in:   a bundle as it was read, rules with keys.
 * out:  yes, or a sentence that names the file or claim.
 * owns: nothing that outlives a call, and the keys of rules that verify_keys_load filled.
 * Beyond what OPA asks: the token's exp and nbf count, hashes that can be forged are refused, a key
 * fits its algorithm. */
#include "edge/verify.h"
#include "base/clock.h"
#include "base/hash.h"
#include "bundle/digest.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>

enum { LEEWAY_S = 60, SHOWN_BYTES = 128 };

__attribute__((format(printf, 3, 4))) static enum err refuse(char *why, size_t why_bytes,
                                                             const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, why_bytes, format, args);
    va_end(args);
    for (char *c = why; why_bytes && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    return ERR_INVALID;
}

/* ---- keys ---- */

enum err verify_keys_load(struct verify_rules *rules, char *why, size_t why_bytes) {
    char wrong[256] = "";
    struct token_keys *keys = NULL;
    struct buf text;
    bool secrets = !rules->algorithms || (rules->algorithms & TOKEN_SHARED_SECRET);
    if (!rules->keys_file) return OK;
    buf_init(&text, TOKEN_KEYS_BYTES);
    enum err e = buf_read_file(&text, rules->keys_file);
    if (e == ERR_IO) snprintf(wrong, sizeof wrong, "%s", strerror(errno));
    if (!e) e = token_keys_new(buf_view(&text), secrets, &keys, wrong, sizeof wrong);
    if (text.ptr) explicit_bzero(text.ptr, text.len);
    buf_deinit(&text);
    if (e) {
        snprintf(why, why_bytes, "keys_file %s: %s", rules->keys_file,
                 wrong[0] ? wrong : err_meaning(e));
        return e;
    }
    token_keys_release(rules->keys);
    rules->keys = keys;
    return OK;
}

void verify_keys_free(struct verify_rules *rules) {
    token_keys_release(rules->keys);
    rules->keys = NULL;
}

/* ---- .signatures.json ---- */

static enum err find_signatures(const struct bundle *b, const struct bundle_file **out, char *why,
                                size_t why_bytes) {
    const struct bundle_file *found = NULL;
    for (uint32_t i = 0; i < b->files.n; i++) {
        if (!bundle_is_signatures(b->files.items[i].path)) continue;
        if (found)
            return refuse(why, why_bytes, "the bundle has two signature files: %.*s and %.*s",
                          STR_FMT(str_head(found->path, SHOWN_BYTES)),
                          STR_FMT(str_head(b->files.items[i].path, SHOWN_BYTES)));
        found = &b->files.items[i];
    }
    *out = found;
    return OK;
}

/* The file's one JWT. */
static enum err read_signatures(struct arena *a, const struct bundle_file *f, struct str *jwt,
                                char *why, size_t why_bytes) {
    struct json_error error = {0};
    struct json *v = NULL;
    enum err e = json_parse(a, f->bytes, &v, &error);
    if (e == ERR_MEMORY) return e;
    if (e)
        return refuse(why, why_bytes, ".signatures.json:%u:%u: %s", error.row, error.col,
                      error.message);
    const struct json *list = json_get_c(v, "signatures"), *plugin = json_get_c(v, "plugin");
    if (plugin && plugin->kind != JSON_NULL &&
        (plugin->kind != JSON_STRING || (plugin->text.len && !str_is(plugin->text, "_default"))))
        return refuse(why, why_bytes,
                      ".signatures.json: `plugin` names a verifier that is not there: \"%.*s\"",
                      STR_FMT(str_head(plugin->text, SHOWN_BYTES)));
    if (!list || list->kind != JSON_ARRAY || !list->n)
        return refuse(why, why_bytes, ".signatures.json: `signatures` holds no JWT: it wants one");
    if (list->n > 1)
        return refuse(why, why_bytes, ".signatures.json: `signatures` holds %u JWTs: it wants one",
                      list->n);
    if (list->items[0]->kind != JSON_STRING)
        return refuse(why, why_bytes, ".signatures.json: `signatures` holds no text");
    *jwt = list->items[0]->text;
    return OK;
}

static enum err check_token(struct arena *a, struct str jwt, const struct verify_rules *r,
                            struct token *t, char *why, size_t why_bytes) {
    struct token_rules rules = {
        .algorithms = r->algorithms ? r->algorithms : TOKEN_ASYMMETRIC | TOKEN_SHARED_SECRET,
        .now_s = (int64_t)(clock_of(CLOCK_REALTIME) / 1000000000u),
        .leeway_s = LEEWAY_S,
        .max_bytes = jwt.len,
        .kid_claim = STR("keyid")};
    enum token_fault f = token_verify(a, r->keys, jwt, &rules, t);
    const char *text = token_fault_text(f), *claim = "";
    struct str kid = str_head(t->kid, SHOWN_BYTES), alg = str_head(t->alg, SHOWN_BYTES);
    switch (f) {
    case TOKEN_VALID: return OK;
    case TOKEN_NO_MEMORY: return ERR_MEMORY;
    case TOKEN_WRONG_ALGORITHM:
        return refuse(why, why_bytes, ".signatures.json: %s (alg is \"%.*s\")", text, STR_FMT(alg));
    case TOKEN_UNKNOWN_KEY:
    case TOKEN_WRONG_SIGNATURE:
        if (!kid.len)
            return refuse(why, why_bytes, ".signatures.json: %s (alg is \"%.*s\")", text,
                          STR_FMT(alg));
        return refuse(why, why_bytes, ".signatures.json: %s (kid is \"%.*s\", alg is \"%.*s\")",
                      text, STR_FMT(kid), STR_FMT(alg));
    case TOKEN_EXPIRED: claim = " (claim exp)"; break;
    case TOKEN_TOO_EARLY: claim = " (claim nbf)"; break;
    case TOKEN_MALFORMED:
    case TOKEN_WRONG_ISSUER:
    case TOKEN_WRONG_AUDIENCE: break;
    }
    return refuse(why, why_bytes, ".signatures.json: %s%s", text, claim);
}

/* ---- the payload ---- */

struct listed {
    struct str name, hash, algorithm;
    bool found;
};

static bool claim_text(const struct json *object, const char *name, struct str *out) {
    const struct json *v = json_get_c(object, name);
    bool none = !v || v->kind == JSON_NULL;
    *out = none || v->kind != JSON_STRING ? STR("") : v->text;
    return none || v->kind == JSON_STRING;
}

static enum err check_claims(const struct json *payload, const struct verify_rules *r, char *why,
                             size_t why_bytes) {
    static const char *const texts[] = {"scope", "keyid", "iss"};
    const struct json *iat = json_get_c(payload, "iat");
    struct str scope, unused;
    int64_t at;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!claim_text(payload, texts[i], &unused))
            return refuse(why, why_bytes, ".signatures.json: the claim %s is no text", texts[i]);
    if (iat && iat->kind != JSON_NULL && !json_int64(iat, &at))
        return refuse(why, why_bytes,
                      ".signatures.json: the claim iat is no whole number of seconds");
    (void)claim_text(payload, "scope", &scope);
    if (str_eq(scope, r->scope)) return OK;
    return refuse(why, why_bytes,
                  ".signatures.json: the claim scope is \"%.*s\", and \"%.*s\" is wanted",
                  STR_FMT(str_head(scope, SHOWN_BYTES)), STR_FMT(str_head(r->scope, SHOWN_BYTES)));
}

/* The payload's files by name; the last of two entries counts, as in OPA. */
static enum err list_files(struct arena *a, const struct json *payload, struct table *out,
                           char *why, size_t why_bytes) {
    const struct json *files = json_get_c(payload, "files");
    if (!files || files->kind == JSON_NULL) return OK;
    if (files->kind != JSON_ARRAY)
        return refuse(why, why_bytes, ".signatures.json: the claim files is no list");
    for (uint32_t i = 0; i < files->n; i++) {
        struct listed *l = ARENA_NEW(a, struct listed);
        if (!l) return ERR_MEMORY;
        if (files->items[i]->kind != JSON_OBJECT ||
            !claim_text(files->items[i], "name", &l->name) ||
            !claim_text(files->items[i], "hash", &l->hash) ||
            !claim_text(files->items[i], "algorithm", &l->algorithm))
            return refuse(
                why, why_bytes,
                ".signatures.json: entry %u of the claim files has no name, hash and algorithm", i);
        table_set(out, l->name, l);
        if (table_get(out, l->name) != l) return ERR_MEMORY;
    }
    return OK;
}

/* ---- hashes ---- */

static const EVP_MD *digest_of(struct str name) {
    static const struct {
        const char *name;
        const EVP_MD *(*digest)(void);
    } digests[] = {{"SHA-256", EVP_sha256}, {"SHA-384", EVP_sha384},
                   {"SHA-512", EVP_sha512}, {"SHA-512-256", EVP_sha512_256},
                   {"SHA-224", EVP_sha224}, {"SHA-512-224", EVP_sha512_224}};
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++)
        if (str_is(name, digests[i].name)) return digests[i].digest();
    return NULL;
}

static enum err file_digest(const struct arena *like, const struct bundle_file *f, const EVP_MD *md,
                            uint8_t digest[EVP_MAX_MD_SIZE], char *why, size_t why_bytes) {
    char wrong[BUNDLE_DIGEST_WHY_BYTES] = "";
    enum err e = bundle_file_digest(f, md, like->max_bytes, digest, wrong);
    if (!e || e == ERR_MEMORY) return e;
    return refuse(why, why_bytes, "%.*s:%s",
                  STR_FMT(str_head(bundle_listed_name(f->path), SHOWN_BYTES)), wrong);
}

static bool hex_is(struct str hex, const uint8_t *bytes, size_t n) {
    if (hex.len != 2 * n) return false;
    for (size_t i = 0; i < n; i++) {
        int high = char_hex(hex.ptr[2 * i]), low = char_hex(hex.ptr[2 * i + 1]);
        if (high < 0 || low < 0 || high * 16 + low != bytes[i]) return false;
    }
    return true;
}

static enum err check_file(struct arena *a, const struct bundle_file *f, struct listed *l,
                           char *why, size_t why_bytes) {
    struct str name = str_head(bundle_listed_name(f->path), SHOWN_BYTES);
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (!l) return refuse(why, why_bytes, "%.*s is not in the bundle's signature", STR_FMT(name));
    if (l->found) return refuse(why, why_bytes, "%.*s is in the bundle twice", STR_FMT(name));
    l->found = true;
    const EVP_MD *md = digest_of(l->algorithm);
    if (!md && (str_is(l->algorithm, "MD5") || str_is(l->algorithm, "SHA-1")))
        return refuse(
            why, why_bytes,
            "%.*s is signed by its %.*s, which can be forged: sign with SHA-256 or better",
            STR_FMT(name), STR_FMT(l->algorithm));
    if (!md)
        return refuse(why, why_bytes,
                      "%.*s: the signature names the hash algorithm \"%.*s\", which is not known",
                      STR_FMT(name), STR_FMT(str_head(l->algorithm, SHOWN_BYTES)));
    enum err e = file_digest(a, f, md, digest, why, why_bytes);
    if (e) return e;
    if (hex_is(l->hash, digest, (size_t)EVP_MD_get_size(md))) return OK;
    return refuse(why, why_bytes, "%.*s is not the file that was signed: its %.*s differs",
                  STR_FMT(name), STR_FMT(l->algorithm));
}

/* ---- all of it ---- */

static bool is_excluded(const struct verify_rules *r, struct str name) {
    for (uint32_t i = 0; i < r->exclude.n; i++)
        if (verify_glob(r->exclude.items[i], name)) return true;
    return false;
}

static enum err check_files(struct arena *a, const struct bundle *b, const struct verify_rules *r,
                            const struct table *listed, char *why, size_t why_bytes) {
    for (uint32_t i = 0; i < b->files.n; i++) {
        const struct bundle_file *f = &b->files.items[i];
        struct str name = bundle_listed_name(f->path);
        struct listed *l = table_get(listed, name);
        if (bundle_is_signatures(f->path)) continue;
        enum err e = OK;
        if (!is_excluded(r, name))
            e = check_file(a, f, l, why, why_bytes);
        else if (l)
            l->found = true;
        if (e) return e;
    }
    for (uint32_t i = 0; i < listed->n; i++) {
        const struct listed *l = listed->entries[i].value;
        if (!l->found)
            return refuse(why, why_bytes, "%.*s is signed, but not in the bundle",
                          STR_FMT(str_head(l->name, SHOWN_BYTES)));
    }
    return OK;
}

static enum err check_signatures(struct arena *a, const struct bundle *b,
                                 const struct verify_rules *rules, const struct bundle_file *f,
                                 char *why, size_t why_bytes) {
    struct token t = {0};
    struct table listed;
    struct str jwt;
    table_init(&listed, a);
    enum err e = read_signatures(a, f, &jwt, why, why_bytes);
    if (!e) e = check_token(a, jwt, rules, &t, why, why_bytes);
    if (!e) e = check_claims(t.payload, rules, why, why_bytes);
    if (!e) e = list_files(a, t.payload, &listed, why, why_bytes);
    return e ? e : check_files(a, b, rules, &listed, why, why_bytes);
}

enum err verify_signature(struct arena *a, const struct bundle *b, const struct verify_rules *rules,
                          char *why, size_t why_bytes) {
    const struct bundle_file *f = NULL;
    if (!rules || (!rules->keys && !rules->required)) return OK;
    enum err e = find_signatures(b, &f, why, why_bytes);
    if (e) return e;
    if (!f && !rules->required) return OK;
    if (!f)
        return refuse(
            why, why_bytes,
            "the bundle is not signed, as its source requires: it has no .signatures.json");
    if (!rules->keys)
        return refuse(why, why_bytes, ".signatures.json cannot be checked: there are no keys");
    e = check_signatures(a, b, rules, f, why, why_bytes);
    ERR_clear_error();
    return e;
}

/* ---- SHA-256 beside a file ---- */

enum err verify_sha256(struct str bytes, struct str text, char *why, size_t why_bytes) {
    uint8_t digest[32];
    size_t n = 0;
    while (text.len && (*text.ptr == ' ' || *text.ptr == '\\')) text = str_from(text, 1);
    while (n < text.len && char_hex(text.ptr[n]) >= 0) n++;
    bool ends = n == text.len || text.ptr[n] == ' ' || text.ptr[n] == '\t' || text.ptr[n] == '\r' ||
                text.ptr[n] == '\n';
    if (n != 64 || !ends)
        return refuse(
            why, why_bytes,
            "the checksum is no SHA-256: 64 hexadecimal digits, as sha256sum writes them");
    sha256(bytes.ptr ? bytes.ptr : "", bytes.len, digest);
    if (hex_is(str_head(text, n), digest, sizeof digest)) return OK;
    return refuse(why, why_bytes, "the bytes do not have the SHA-256 that is given for them (%.*s)",
                  (int)n, text.ptr);
}
