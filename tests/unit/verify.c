/* Bundle signatures, roots, checksums, patterns. The digests in `hashes` were made by `opa
 * sign` 1.22.2; real OPA signs in tests/edge/test_signatures.py. */
#include "edge/verify.h"
#include "base/hash.h"
#include "host/builtins/jwk.h"
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WHY_BYTES = 512, MAX_FILES = 16 };

struct signer {
    const char *name, *kid, *alg;
    struct jwk key;
};

static struct arena A;
static char why[WHY_BYTES];
static struct signer signers[4]; /* rsa1, rsa2, ec, secret */
enum { RSA1, RSA2, EC, SECRET, N_SIGNERS };
static const char secret[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/* ---- making bundles ---- */

static struct str base64url(struct str s) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char *out = arena_alloc(&A, s.len * 4 / 3 + 4);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i += 3) {
        uint32_t v = (uint32_t)(uint8_t)s.ptr[i] << 16, left = (uint32_t)(s.len - i);
        if (left > 1) v |= (uint32_t)(uint8_t)s.ptr[i + 1] << 8;
        if (left > 2) v |= (uint8_t)s.ptr[i + 2];
        for (uint32_t k = 0; k < (left > 2 ? 4 : left + 1); k++)
            out[n++] = digits[v >> (18 - 6 * k) & 63];
    }
    return (struct str){out, n};
}

static struct str text(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *out = NULL;
    int n = vasprintf(&out, format, args);
    va_end(args);
    assert_true(n >= 0);
    struct str s = {arena_strndup(&A, out, (size_t)n), (size_t)n};
    free(out);
    return s;
}

static struct str jwt(const struct signer *s, const char *header, struct str payload) {
    struct str h =
        header ? str_of(header) : text("{\"alg\":\"%s\",\"kid\":\"%s\"}", s->alg, s->kid);
    struct str h64 = base64url(h), p64 = base64url(payload), sig;
    struct str input = text("%.*s.%.*s", STR_FMT(h64), STR_FMT(p64));
    assert_true(jws_sign(&A, &s->key, str_of(s->alg), input, &sig));
    sig = base64url(sig);
    return text("%.*s.%.*s", STR_FMT(input), STR_FMT(sig));
}

static struct str hex_of(struct str bytes) {
    char *hex = arena_alloc(&A, 65);
    sha256_hex(bytes.ptr, bytes.len, hex);
    return (struct str){hex, 64};
}

static void add(struct bundle *b, const char *path, struct str bytes) {
    struct bundle_file f = {str_of(path), bytes};
    ARENA_PUSH(&A, &b->files, f);
}

/* policy.wasm and a.rego with a signature by `s` over them; `more` goes into the payload behind
 * files. */
static struct bundle signed_bundle(const struct signer *s, const char *header, const char *more) {
    struct bundle b = {.manifest = json_object(&A), .data = json_object(&A)};
    struct str wasm = STR("module"), rego = STR("package a\n"), w = hex_of(wasm), r = hex_of(rego);
    add(&b, "/policy.wasm", wasm);
    add(&b, "/a/a.rego", rego);
    struct str payload =
        text("{\"files\":[{\"name\":\"policy.wasm\",\"hash\":\"%.*s\",\"algorithm\":\"SHA-256\"},"
             "{\"name\":\"a/a.rego\",\"hash\":\"%.*s\",\"algorithm\":\"SHA-256\"}]%s}",
             STR_FMT(w), STR_FMT(r), more);
    struct str token = jwt(s, header, payload);
    add(&b, "/.signatures.json",
        text("{\"signatures\":[\"%.*s\"],\"plugin\":\"_default\"}", STR_FMT(token)));
    return b;
}

static struct str *file_bytes(struct bundle *b, const char *path) {
    for (uint32_t i = 0; i < b->files.n; i++)
        if (str_is(b->files.items[i].path, path)) return &b->files.items[i].bytes;
    return NULL;
}

/* ---- keys ---- */

static struct str pem_of(EVP_PKEY *key) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    long n = BIO_get_mem_data(bio, &bytes);
    struct str s = {arena_strndup(&A, bytes, (size_t)n), (size_t)n};
    BIO_free(bio);
    return s;
}

static struct token_keys *keys_of(struct str keys, bool secrets) {
    struct token_keys *k = NULL;
    assert_int_equal(token_keys_new(keys, secrets, &k, why, sizeof why), OK);
    return k;
}

static struct token_keys *public_keys(const struct signer *s) {
    return keys_of(pem_of(s->key.pkey), false);
}

static int setup(void **state) {
    (void)state;
    arena_init(&A, 1 << 26);
    signers[RSA1] = (struct signer){"rsa1", "k1", "RS256", {.pkey = EVP_RSA_gen(2048)}};
    signers[RSA2] = (struct signer){"rsa2", "k2", "RS256", {.pkey = EVP_RSA_gen(2048)}};
    signers[EC] = (struct signer){"ec", "k3", "ES256", {.pkey = EVP_EC_gen("P-256")}};
    signers[SECRET] = (struct signer){"secret", "k4", "HS256", {.secret = STR(secret)}};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < N_SIGNERS; i++) EVP_PKEY_free(signers[i].key.pkey);
    arena_deinit(&A);
    return 0;
}

static enum err verify(const struct bundle *b, const struct verify_rules *r) {
    why[0] = 0;
    return verify_signature(&A, b, r, why, sizeof why);
}

static void refused(const struct bundle *b, const struct verify_rules *r, const char *sentence) {
    enum err e = verify(b, r);
    if (e != ERR_INVALID || !strstr(why, sentence))
        print_message("%d \"%s\", want \"%s\"\n", e, why, sentence);
    assert_int_equal(e, ERR_INVALID);
    assert_non_null(strstr(why, sentence));
}

/* ---- signatures ---- */

static void accepts_what_is_signed(void **state) {
    (void)state;
    for (int i = RSA1; i <= EC; i++) {
        struct verify_rules r = {.keys = public_keys(&signers[i]), .required = true};
        struct bundle b = signed_bundle(&signers[i], NULL, "");
        assert_int_equal(verify(&b, &r), OK);
        verify_keys_free(&r);
    }
    struct str k = base64url(STR(secret));
    struct verify_rules r = {.required = true};
    r.keys = keys_of(
        text("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"k4\",\"k\":\"%.*s\"}]}", STR_FMT(k)), true);
    struct bundle b =
        signed_bundle(&signers[SECRET], NULL, ",\"iat\":1592248027,\"iss\":\"x\",\"keyid\":\"k4\"");
    assert_int_equal(verify(&b, &r), OK);
    r.algorithms = TOKEN_ASYMMETRIC;
    refused(&b, &r, "alg is \"HS256\"");
    verify_keys_free(&r);
}

static void unsigned_bundles(void **state) {
    (void)state;
    struct bundle b = signed_bundle(&signers[RSA1], NULL, "");
    struct verify_rules none = {0}, required = {.required = true};
    assert_int_equal(verify_signature(&A, &b, NULL, why, sizeof why), OK);
    assert_int_equal(verify(&b, &none), OK); /* nobody to ask */
    refused(&b, &required, "there are no keys");
    struct verify_rules optional = {.keys = public_keys(&signers[RSA2])};
    refused(&b, &optional, "signature is wrong"); /* there, so it counts */
    b.files.n--;                                  /* stripped */
    assert_int_equal(verify(&b, &optional), OK);
    optional.required = true;
    refused(&b, &optional, "no .signatures.json");
    verify_keys_free(&optional);
}

static void files_must_match(void **state) {
    (void)state;
    struct verify_rules r = {.keys = public_keys(&signers[RSA1]), .required = true};
    struct bundle b = signed_bundle(&signers[RSA1], NULL, "");
    *file_bytes(&b, "/policy.wasm") = STR("modulE");
    refused(&b, &r, "policy.wasm is not the file that was signed");
    b = signed_bundle(&signers[RSA1], NULL, "");
    add(&b, "/more/data.json", STR("{}"));
    refused(&b, &r, "more/data.json is not in the bundle's signature");
    struct str pattern = STR("more/*");
    r.exclude.items = &pattern;
    r.exclude.n = 1;
    assert_int_equal(verify(&b, &r), OK);
    pattern = STR("mor*");
    refused(&b, &r, "more/data.json"); /* a star takes no slash */
    r.exclude.n = 0;
    b = signed_bundle(&signers[RSA1], NULL, "");
    b.files.items[1] = b.files.items[2];
    b.files.n--;
    refused(&b, &r, "a/a.rego is signed, but not in the bundle");
    b = signed_bundle(&signers[RSA1], NULL, "");
    add(&b, "/policy.wasm", STR("module"));
    refused(&b, &r, "policy.wasm is in the bundle twice");
    b = signed_bundle(&signers[RSA1], NULL, "");
    add(&b, "/x/.signatures.json", *file_bytes(&b, "/.signatures.json"));
    refused(&b, &r, "two signature files");
    verify_keys_free(&r);
}

static void claims(void **state) {
    (void)state;
    struct verify_rules r = {
        .keys = public_keys(&signers[RSA1]), .required = true, .scope = STR("write")};
    long now = (long)time(NULL);
    struct bundle b = signed_bundle(&signers[RSA1], NULL, ",\"scope\":\"write\"");
    assert_int_equal(verify(&b, &r), OK);
    b = signed_bundle(&signers[RSA1], NULL, ",\"scope\":\"read\"");
    refused(&b, &r, "scope is \"read\", and \"write\" is wanted");
    b = signed_bundle(&signers[RSA1], NULL, "");
    refused(&b, &r, "scope is \"\"");
    r.scope = STR("");
    b = signed_bundle(&signers[RSA1], NULL, ",\"scope\":\"write\"");
    refused(&b, &r, "scope is \"write\", and \"\" is wanted"); /* as OPA has it */
    b = signed_bundle(&signers[RSA1], NULL, text(",\"exp\":%ld", now - 3600).ptr);
    refused(&b, &r, "expired (claim exp)");
    b = signed_bundle(&signers[RSA1], NULL,
                      text(",\"exp\":%ld,\"nbf\":%ld", now + 3600, now - 5).ptr);
    assert_int_equal(verify(&b, &r), OK);
    b = signed_bundle(&signers[RSA1], NULL, text(",\"nbf\":%ld", now + 3600).ptr);
    refused(&b, &r, "not valid yet (claim nbf)");
    static const struct {
        const char *more, *sentence;
    } wrong[] = {
        {",\"iat\":\"soon\"", "iat"},  {",\"scope\":1", "scope"},
        {",\"keyid\":[]", "keyid"},    {",\"files\":{}", "files is no list"},
        {",\"files\":[1]", "entry 0"}, {",\"files\":[{\"name\":\"x\",\"hash\":1}]", "entry 0"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        b = signed_bundle(&signers[RSA1], NULL, wrong[i].more);
        refused(&b, &r, wrong[i].sentence);
    }
    verify_keys_free(&r);
}

static void keys_and_algorithms(void **state) {
    (void)state;
    struct str pem1 = pem_of(signers[RSA1].key.pkey), pem2 = pem_of(signers[RSA2].key.pkey);
    struct verify_rules both = {
        .keys = keys_of(text("%.*s%.*s", STR_FMT(pem1), STR_FMT(pem2)), false), .required = true};
    struct verify_rules one = {.keys = public_keys(&signers[RSA1]), .required = true};
    struct bundle b = signed_bundle(&signers[RSA2], NULL, "");
    assert_int_equal(verify(&b, &both), OK); /* both are trusted while keys change */
    refused(&b, &one, "signature is wrong (kid is \"k2\", alg is \"RS256\")");
    /* The public key as a secret. */
    struct signer confused = {"x", "k1", "HS256", {.secret = pem1}};
    b = signed_bundle(&confused, NULL, "");
    refused(&b, &one, "alg is \"HS256\"");
    b = signed_bundle(&signers[RSA1], "{\"alg\":\"none\"}", "");
    refused(&b, &one, "alg is \"none\"");
    b = signed_bundle(&signers[RSA1], "{\"alg\":\"RS512\"}", "");
    refused(&b, &one, "signature is wrong");
    b = signed_bundle(&signers[RSA1], "{\"alg\":\"RS256\",\"crit\":[\"x\"]}", "");
    refused(&b, &one, "no signed JWT");
    b = signed_bundle(&signers[RSA1], "{\"alg\":\"RS256\",\"kid\":\"\"}", "");
    assert_int_equal(verify(&b, &one), OK);
    one.algorithms = TOKEN_ES256 | TOKEN_PS256;
    refused(&b, &one, "alg is \"RS256\"");
    verify_keys_free(&one);
    verify_keys_free(&both);
}

/* A key set's kid decides; without one in the header the claim keyid does, as in OPA. */
static void key_ids(void **state) {
    (void)state;
    struct str k = base64url(STR(secret)),
               other = base64url(STR("another secret of thirty-two bytes and more"));
    struct verify_rules r = {.required = true};
    r.keys = keys_of(text("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"old\",\"k\":\"%.*s\"},"
                          "{\"kty\":\"oct\",\"kid\":\"new\",\"k\":\"%.*s\"}]}",
                          STR_FMT(other), STR_FMT(k)),
                     true);
    static const struct {
        const char *header, *more, *sentence;
    } cases[] = {
        {"{\"alg\":\"HS256\",\"kid\":\"new\"}", "", NULL},
        {"{\"alg\":\"HS256\",\"kid\":\"old\"}", "", "signature is wrong (kid is \"old\""},
        {"{\"alg\":\"HS256\",\"kid\":\"lost\"}", "",
         "no key is known for the token (kid is \"lost\""},
        {"{\"alg\":\"HS256\"}", ",\"keyid\":\"new\"", NULL},
        {"{\"alg\":\"HS256\"}", ",\"keyid\":\"old\"", "signature is wrong (kid is \"old\""},
        {"{\"alg\":\"HS256\",\"kid\":\"new\"}", ",\"keyid\":\"old\"", NULL},
        {"{\"alg\":\"HS256\"}", "", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bundle b = signed_bundle(&signers[SECRET], cases[i].header, cases[i].more);
        if (cases[i].sentence)
            refused(&b, &r, cases[i].sentence);
        else
            assert_int_equal(verify(&b, &r), OK);
    }
    verify_keys_free(&r);
}

static void broken_signature_files(void **state) {
    (void)state;
    struct verify_rules r = {.keys = public_keys(&signers[RSA1])};
    static const struct {
        const char *text, *sentence;
    } cases[] = {{"", ".signatures.json:1:1"},
                 {"{", ".signatures.json:1:"},
                 {"{}", "holds no JWT"},
                 {"[]", "holds no JWT"},
                 {"{\"signatures\":[]}", "holds no JWT"},
                 {"{\"signatures\":[1]}", "holds no text"},
                 {"{\"signatures\":[\"a\",\"b\"]}", "holds 2 JWTs"},
                 {"{\"signatures\":[\"a\"]}", "no signed JWT"},
                 {"{\"signatures\":[\"a.b.c\"]}", "no signed JWT"},
                 {"{\"signatures\":[\"a\"],\"plugin\":\"mine\"}", "`plugin`"},
                 {"{\"signatures\":[\"a\"],\"plugin\":1}", "`plugin`"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bundle b = signed_bundle(&signers[RSA1], NULL, "");
        *file_bytes(&b, "/.signatures.json") = str_of(cases[i].text);
        refused(&b, &r, cases[i].sentence);
    }
    verify_keys_free(&r);
}

/* Many files make a long token. */
static void many_files(void **state) {
    (void)state;
    enum { MANY = 3000 };
    struct verify_rules r = {.keys = public_keys(&signers[EC]), .required = true};
    struct bundle b = {.manifest = json_object(&A), .data = json_object(&A)};
    struct buf payload;
    buf_init(&payload, 1 << 22);
    buf_cstr(&payload, "{\"files\":[");
    for (int i = 0; i < MANY; i++) {
        struct str bytes = text("package p%d\n", i), hex = hex_of(bytes);
        add(&b, text("/d/p%d.rego", i).ptr, bytes);
        buf_printf(&payload,
                   "%s{\"name\":\"d/p%d.rego\",\"hash\":\"%.*s\",\"algorithm\":\"SHA-256\"}",
                   i ? "," : "", i, STR_FMT(hex));
    }
    buf_cstr(&payload, "]}");
    struct str token = jwt(&signers[EC], NULL, buf_view(&payload));
    add(&b, "/.signatures.json", text("{\"signatures\":[\"%.*s\"]}", STR_FMT(token)));
    assert_int_equal(verify(&b, &r), OK);
    buf_deinit(&payload);
    verify_keys_free(&r);
}

/* ---- hashes ---- */

static const struct {
    const char *name, *bytes, *sha256;
} hashes[] = {
    {"data.json", "{\"b\":1,\"a\":{\"y\":[1,2,{\"k\":null}],\"x\":true}}",
     "d58eb0d9423f9fe9d1cb03c7e1c9742e6a289d3f6bcacee4c72ee5af3ef42b81"},
    {"data.json",
     "{\"n\":[1e400,1.0,-0,12345678901234567890,1E5,0.10,-0.0,1e-7,123456789.123456789]}",
     "228a5d574b659f952342eda3d0a4962a0642f095253d8d606403f5e06b389055"},
    {"data.json",
     " {\"a\" : \"x<y>&z\\u2028\\u0001\\u0008\\t\\/\\ud800 \xc3\xa9 \\u00e9 \\ud83d\\ude00\"}\n",
     "674aee895281d18f76af4ee5fbcf03955834e61cce913a934f2db1709736ac0c"},
    {"data.json", "{\"a\":1,\"a\":2,\"\xc3\xa9\":3,\"z\":4,\"Z\":5,\"\":6}",
     "2a385f6ac047c5db4640c9a310c666b59039ff5eb7a18b2b8dc6032497dab17f"},
    {"data.json", "\xef\xbb\xbf{\"a\":1}",
     "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"},
    {"data.json", "a: 1\nb: [x, yes]\n",
     "e774ae187ecd055e09d0fc9ac1b2f56bb7fef8a5788a414d350e69550968a537"},
    {"data.json", "{\"bad\":\"\xff\xfe\"}",
     "8bb226214b7a209db1e1f68e297dbfa67ec2b40914e7ee6ee6a9a7b0196f136c"},
    {"data.json", "[]", "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"},
    {"data.json", "\"\\u007f\\u0080\\u2029\"",
     "3ae087a59e5cdb62b809c7359039a58eedb4d4f991ac1f085b3d483e104507e3"},
    {"data.yaml",
     "k: [1, two, 1.50, 1e3, yes, off, ~, \"x\", 0x10, 010, 1_000, .5, -0, 2001-01-01]\nb: {<<: "
     "{c: 1}, d: 2}\n",
     "a10eb8cda42809e6212110256d03573c3aad256f6d6e3f23baf02de1e9ef4f9e"},
    {"data.yaml", "{\"x\":1.0,\"y\":1e400}",
     "e4e1c4b18ded4ead55d2f5d41293ca7d323343a76e52168955e6593752463783"},
    {"data.yml",
     "a: 12345678901234567890\nb: 123456789012345678901234567890\nc: 1.0\nd: \"<>&\"\n1: int "
     "key\ntrue: bool key\n",
     "4df0e2b24774afaeaa3397bc2f6b103ecd5dcd69d774d50375d6a4bf36f1cd15"},
    {".manifest", "{\"revision\":\"r\",\"roots\":[\"a\"],\"metadata\":{\"z\":1.0,\"a\":[]}}",
     "3e9575206390be8ac3799cd034f01bbd2cd86b634696d7a3c6dfc202a8420266"},
    {"x/data.json",
     "{\"deep\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
     "]]]]]]]]]]]]]]]]]}",
     "3b4a28cbbed08dd17c37a9e7cb006b673114f1e01be0e642e235d8df58e60d55"},
    {"a.json", "{\"b\":1, \"a\":2}",
     "33db8429ddd2845f953de6f9a296f8afa06f440476be963ea38d5beb8f8e9117"},
};

static struct bundle one_file(const char *name, struct str bytes, const char *algorithm,
                              const char *hash) {
    struct bundle b = {.manifest = json_object(&A), .data = json_object(&A)};
    add(&b, name, bytes);
    struct str payload =
        text("{\"files\":[{\"name\":\"%s\",\"hash\":\"%s\",\"algorithm\":\"%s\"}]}", name, hash,
             algorithm);
    struct str token = jwt(&signers[EC], NULL, payload);
    add(&b, ".signatures.json", text("{\"signatures\":[\"%.*s\"]}", STR_FMT(token)));
    return b;
}

static void hashes_are_opas(void **state) {
    (void)state;
    struct verify_rules r = {.keys = public_keys(&signers[EC]), .required = true};
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        struct bundle b =
            one_file(hashes[i].name, str_of(hashes[i].bytes), "SHA-256", hashes[i].sha256);
        if (verify(&b, &r)) print_message("case %zu (%s): %s\n", i, hashes[i].name, why);
        assert_int_equal(verify(&b, &r), OK);
    }
    verify_keys_free(&r);
}

static void hash_algorithms(void **state) {
    (void)state;
    struct verify_rules r = {.keys = public_keys(&signers[EC]), .required = true};
    static const struct {
        const char *algorithm, *openssl, *sentence;
    } cases[] = {{"SHA-224", "sha224", NULL},
                 {"SHA-384", "sha384", NULL},
                 {"SHA-512", "sha512", NULL},
                 {"SHA-512-224", "sha512-224", NULL},
                 {"SHA-512-256", "sha512-256", NULL},
                 {"MD5", "md5", "which can be forged"},
                 {"SHA-1", "sha1", "which can be forged"},
                 {"", "sha256", "the hash algorithm \"\""},
                 {"sha-256", "sha256", "the hash algorithm \"sha-256\""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t digest[EVP_MAX_MD_SIZE];
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        unsigned n = 0;
        assert_int_equal(
            EVP_Digest("bytes", 5, digest, &n, EVP_get_digestbyname(cases[i].openssl), NULL), 1);
        for (unsigned k = 0; k < n; k++) snprintf(hex + 2 * k, 3, "%02X", digest[k]);
        struct bundle b = one_file("p.rego", STR("bytes"), cases[i].algorithm, hex);
        if (cases[i].sentence)
            refused(&b, &r, cases[i].sentence);
        else
            assert_int_equal(verify(&b, &r), OK);
    }
    struct bundle b = one_file("p.rego", STR("bytes"), "SHA-256", "xyz");
    refused(&b, &r, "its SHA-256 differs");
    verify_keys_free(&r);
}

/* ---- the rest ---- */

static void key_files(void **state) {
    (void)state;
    char path[] = "/tmp/regent-verify-XXXXXX";
    int fd = mkstemp(path);
    struct str pem = pem_of(signers[RSA1].key.pkey);
    struct verify_rules r = {.keys_file = path, .required = true};
    struct bundle b = signed_bundle(&signers[RSA1], NULL, "");
    assert_int_equal(write(fd, pem.ptr, pem.len), pem.len);
    close(fd);
    assert_int_equal(verify_keys_load(&r, why, sizeof why), OK);
    assert_int_equal(verify(&b, &r), OK);
    assert_int_equal(truncate(path, 40), 0);
    assert_int_equal(verify_keys_load(&r, why, sizeof why), ERR_INVALID);
    assert_non_null(strstr(why, path));
    assert_int_equal(verify(&b, &r), OK); /* with the keys before */
    unlink(path);
    assert_int_equal(verify_keys_load(&r, why, sizeof why), ERR_IO);
    verify_keys_free(&r);
    r.keys_file = NULL;
    assert_int_equal(verify_keys_load(&r, why, sizeof why), OK);
    assert_null(r.keys);
}

static void roots(void **state) {
    (void)state;
    static const struct {
        const char *manifest, *data, *rego, *sentence;
    } cases[] = {
        {"{}", "{\"x\":1}", "package anything", NULL},
        {"{\"roots\":null}", "{\"x\":1}", "no rego", NULL},
        {"{\"roots\":[\"\"]}", "{\"x\":1}", "no rego", NULL},
        {"{\"roots\":[\"a\",\"/b/c/\"]}", "{\"a\":1,\"b\":{\"c\":[]}}", "package b.c.d", NULL},
        {"{\"roots\":[\"a\"]}", "{}", "# a comment\n\n  package\ta[\"x\"]\nimport y", NULL},
        {"{\"roots\":[\"a/b-c\"]}", "{}", "package a[\"b-c\"].d", NULL},
        {"{\"roots\":[\"a\",\"ab\"]}", "{\"ab\":{\"x\":1}}", "package a", NULL},
        {"{\"roots\":[\"a\",\"a/b\"]}", "{}", "package a", "\"a\" and \"a/b\" overlap"},
        {"{\"roots\":[\"\",\"b\"]}", "{}", "package a", "overlap"},
        {"{\"roots\":[\"a\",\"a\"]}", "{}", "package a", "overlap"},
        {"{\"roots\":[\"a\"]}", "{\"b\":1}", "package a", "data at /b lies outside"},
        {"{\"roots\":[\"a/b\"]}", "{\"a\":1}", "package a.b", "data at /a lies outside"},
        {"{\"roots\":[\"a/b\"]}", "{\"a\":{\"b\":1,\"c\":2}}", "package a.b",
         "data at /a/c lies outside"},
        {"{\"roots\":[\"a\"]}", "{}", "package b", "the package of /p.rego lies outside"},
        {"{\"roots\":[\"a\"]}", "{}", "package ab", "lies outside"},
        {"{\"roots\":[\"a/b\"]}", "{}", "package a", "lies outside"},
        {"{\"roots\":[\"a\"]}", "{}", "allow = true", "/p.rego: its package is not found"},
        {"{\"roots\":\"a\"}", "{}", "package a", "`roots` is no list"},
        {"{\"roots\":[1]}", "{}", "package a", "no path"},
        {"{\"roots\":[\"a\"],\"wasm\":[{\"entrypoint\":\"a/x\"},{\"entrypoint\":\"b/x\"}]}", "{}",
         "package a", "the entrypoint b/x lies outside"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bundle b = {0};
        add(&b, "/p.rego", str_of(cases[i].rego));
        assert_int_equal(json_parse(&A, str_of(cases[i].manifest), &b.manifest, NULL), OK);
        assert_int_equal(json_parse(&A, str_of(cases[i].data), &b.data, NULL), OK);
        why[0] = 0;
        enum err e = verify_roots(&A, &b, why, sizeof why),
                 want = cases[i].sentence ? ERR_INVALID : OK;
        if (e != want || (e && !strstr(why, cases[i].sentence)))
            print_message("case %zu: %d \"%s\"\n", i, e, why);
        assert_int_equal(e, want);
        assert_true(!e || strstr(why, cases[i].sentence));
    }
    struct bundle delta = {.manifest = json_object(&A), .data = json_object(&A)};
    add(&delta, "/patch.json", STR("{\"data\":[]}"));
    assert_int_equal(verify_roots(&A, &delta, why, sizeof why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "snapshots"));
}

static void checksums(void **state) {
    (void)state;
    char hex[65];
    sha256_hex("module", 6, hex);
    struct str module = STR("module");
    assert_int_equal(verify_sha256(module, str_of(hex), why, sizeof why), OK);
    assert_int_equal(verify_sha256(module, text("%s  policy.wasm\n", hex), why, sizeof why), OK);
    assert_int_equal(verify_sha256(module, text("\\%s  pol\\nicy\n", hex), why, sizeof why), OK);
    assert_int_equal(verify_sha256(STR("modulE"), str_of(hex), why, sizeof why), ERR_INVALID);
    assert_int_equal(verify_sha256(module, str_of(hex + 1), why, sizeof why), ERR_INVALID);
    assert_int_equal(verify_sha256(module, text("%s0", hex), why, sizeof why), ERR_INVALID);
    assert_int_equal(verify_sha256(module, STR(""), why, sizeof why), ERR_INVALID);
    hex[0] = hex[0] == 'a' ? 'b' : 'a';
    assert_int_equal(verify_sha256(module, str_of(hex), why, sizeof why), ERR_INVALID);
}

static void patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool match;
    } cases[] = {{"a", "a", true},         {"a", "b", false},          {"*", "a.rego", true},
                 {"*", "a/b", false},      {"*/b", "a/b", true},       {"a/*", "a/b", true},
                 {"a/*", "a/b/c", false},  {"*.json", "x.json", true}, {"*.json", "x.jso", false},
                 {"?", "\xc3\xa9", true},  {"?", "/", false},          {"[a-c]x", "bx", true},
                 {"[^a-c]x", "bx", false}, {"[^a-c]x", "dx", true},    {"\\*", "*", true},
                 {"\\*", "a", false},      {"a*b*c", "axxbyyc", true}, {"a*b*c", "axxbyy", false},
                 {"", "", true},           {"", "a", false},           {"a*", "a", true},
                 {"[\\]]", "]", true},     {"**", "ab", true},         {"a[", "a", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (verify_glob(str_of(cases[i].pattern), str_of(cases[i].path)) != cases[i].match)
            print_message("%s on %s\n", cases[i].pattern, cases[i].path);
        assert_int_equal(verify_glob(str_of(cases[i].pattern), str_of(cases[i].path)),
                         cases[i].match);
    }
    static const char *const wrong[] = {"", "[", "[]", "[a", "[a-", "[a-]", "\\", "a[^", "[-a]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_non_null(verify_glob_wrong(str_of(wrong[i])));
    assert_null(verify_glob_wrong(STR("a/*/[a-z]?\\[x")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_is_signed),
        cmocka_unit_test(unsigned_bundles),
        cmocka_unit_test(files_must_match),
        cmocka_unit_test(claims),
        cmocka_unit_test(keys_and_algorithms),
        cmocka_unit_test(key_ids),
        cmocka_unit_test(broken_signature_files),
        cmocka_unit_test(many_files),
        cmocka_unit_test(hashes_are_opas),
        cmocka_unit_test(hash_algorithms),
        cmocka_unit_test(key_files),
        cmocka_unit_test(roots),
        cmocka_unit_test(checksums),
        cmocka_unit_test(patterns),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
