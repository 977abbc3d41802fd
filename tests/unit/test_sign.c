/* Signing keys and signatures: what control/sign.c writes, edge/verify.c accepts, and nothing that
 * was changed. Keys that cannot sign are refused; the thumbprint is RFC 7638's. Real OPA reads the
 * signatures in tests/control/test_publish.py. */
#include "base/json.h"
#include "control/sign.h"
#include "edge/verify.h"
#include "host/token.h"
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena A;
static char dir[] = "/tmp/regent-sign-XXXXXX", why[SIGN_WHY_BYTES];

static char *path_of(const char *name) { return arena_printf(&A, NULL, "%s/%s", dir, name); }

static char *write_pem(const char *name, EVP_PKEY *key, const char *password) {
    char *path = path_of(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_non_null(key);
    assert_int_equal(PEM_write_PrivateKey(f, key, password ? EVP_aes_128_cbc() : NULL,
                                          (const unsigned char *)password,
                                          password ? (int)strlen(password) : 0, NULL, NULL),
                     1);
    fclose(f);
    EVP_PKEY_free(key);
    return path;
}

static char *write_text(const char *name, const char *text) {
    char *path = path_of(name);
    assert_int_equal(file_write_output(path, str_of(text)), OK);
    return path;
}

#define TEXT(literal) {(literal), sizeof(literal) - 1}
static struct bundle_file files[] = {
    {TEXT("/.manifest"), TEXT("{\"roots\":[]}")},
    {TEXT("/data.json"), TEXT("{ \"b\" : 1.0,\n \"a\": [1e3, \"x<y\"] }")},
    {TEXT("/policy.wasm"), TEXT("\0asm")},
    {TEXT("/shop/p.rego"), TEXT("package shop")},
};
enum { N_FILES = sizeof files / sizeof *files };

static struct token_keys *keys_of(const struct signer *s) {
    struct buf b;
    struct token_keys *keys = NULL;
    char wrong[256] = "";
    buf_init(&b, 1 << 16);
    signer_jwks(s, &b);
    assert_int_equal(token_keys_new(buf_view(&b), false, &keys, wrong, sizeof wrong), OK);
    buf_deinit(&b);
    return keys;
}

static enum err check(const struct token_keys *keys, struct str signature, int changed) {
    struct bundle b = {0};
    struct verify_rules rules = {.keys = (struct token_keys *)(uintptr_t)keys, .required = true};
    for (int i = 0; i < N_FILES; i++) {
        struct bundle_file f = files[i];
        if (i == changed) f.bytes.len--;
        ARENA_PUSH(&A, &b.files, f);
    }
    struct bundle_file f = {STR("/.signatures.json"), signature};
    ARENA_PUSH(&A, &b.files, f);
    return verify_signature(&A, &b, &rules, why, sizeof why);
}

static void round_trip(const char *const *paths, uint32_t n, const char *alg) {
    struct signer *s = NULL;
    struct str signature = {0};
    assert_int_equal(signer_open(paths, n, &s, why), OK);
    assert_int_equal(strlen(signer_key_id(s)), 43);
    struct token_keys *keys = keys_of(s);
    assert_int_equal(token_keys_count(keys), n);
    for (int i = 0; i < 20; i++) { /* numbers that begin with zeros among them */
        assert_int_equal(signer_sign(s, &A, files, N_FILES, &signature), OK);
        assert_int_equal(check(keys, signature, -1), OK);
    }
    for (int i = 0; i < N_FILES; i++) assert_int_not_equal(check(keys, signature, i), OK);
    struct json *v = NULL;
    struct json_error error;
    struct buf b;
    buf_init(&b, 1 << 16);
    signer_jwks(s, &b);
    assert_int_equal(json_parse(&A, buf_view(&b), &v, &error), OK);
    const struct json *first = json_get_c(v, "keys")->items[0];
    assert_true(str_is(json_get_c(first, "alg")->text, alg));
    assert_true(str_is(json_get_c(first, "kid")->text, signer_key_id(s)));
    assert_true(str_is(json_get_c(first, "use")->text, "sig"));
    assert_null(json_get_c(first, "d"));
    token_keys_release(keys);
    signer_close(s);
    buf_deinit(&b);
}

static void every_algorithm(void **state) {
    (void)state;
    const char *ec = write_pem("ec.pem", EVP_EC_gen("P-256"), NULL),
               *ed = write_pem("ed.pem", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL),
               *rsa = write_pem("rsa.pem", EVP_RSA_gen(2048), NULL);
    round_trip(&ec, 1, "ES256");
    round_trip(&ed, 1, "EdDSA");
    round_trip(&rsa, 1, "RS256");
    round_trip((const char *[]){ed, ec, rsa}, 3, "EdDSA");
}

/* Keys change: nodes that know both take what either signed. */
static void rotation(void **state) {
    (void)state;
    const char *a = path_of("ec.pem"), *b = write_pem("next.pem", EVP_EC_gen("P-256"), NULL);
    struct signer *old = NULL, *both = NULL, *new = NULL;
    struct str by_old, by_new;
    assert_int_equal(signer_open(&a, 1, &old, why), OK);
    assert_int_equal(signer_open((const char *[]){b, a}, 2, &both, why), OK);
    assert_int_equal(signer_open(&b, 1, &new, why), OK);
    struct token_keys *known[3] = {keys_of(old), keys_of(both), keys_of(new)};
    assert_int_equal(signer_sign(old, &A, files, N_FILES, &by_old), OK);
    assert_int_equal(signer_sign(both, &A, files, N_FILES, &by_new), OK);
    assert_int_equal(check(known[0], by_old, -1), OK);
    assert_int_equal(check(known[0], by_new, -1), ERR_INVALID);
    assert_int_equal(check(known[1], by_old, -1), OK);
    assert_int_equal(check(known[1], by_new, -1), OK);
    assert_int_equal(check(known[2], by_old, -1), ERR_INVALID);
    assert_int_equal(check(known[2], by_new, -1), OK);
    for (int i = 0; i < 3; i++) token_keys_release(known[i]);
    signer_close(old), signer_close(both), signer_close(new);
}

static void refused(const char *file, const char *reason) {
    struct signer *s = NULL;
    assert_int_not_equal(signer_open(&file, 1, &s, why), OK);
    assert_null(s);
    assert_non_null(strstr(why, reason));
    assert_non_null(strstr(why, file));
}

static void keys_that_cannot_sign(void **state) {
    (void)state;
    struct signer *s = NULL;
    const char *ec = path_of("ec.pem"), *twice[] = {ec, ec};
    refused(path_of("none.pem"), "No such file");
    refused(write_text("empty.pem", ""), "no private key");
    refused(
        write_text("noise.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        "no private key");
    refused(write_pem("p384.pem", EVP_EC_gen("P-384"), NULL), "another kind");
    refused(write_pem("short.pem", EVP_RSA_gen(1024), NULL), "another kind");
    refused(write_pem("x.pem", EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), NULL), "another kind");
    refused(write_pem("locked.pem", EVP_EC_gen("P-256"), "secret"), "password");
    assert_int_equal(signer_open(twice, 2, &s, why), ERR_INVALID);
    assert_non_null(strstr(why, "twice"));
    assert_int_equal(signer_open(NULL, 0, &s, why), ERR_INVALID);
}

static void made_key(void **state) {
    (void)state;
    const char *file = path_of("made.pem");
    struct signer *a = NULL, *b = NULL;
    struct stat st;
    assert_int_equal(signer_make_key(file, why), OK);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(signer_open(&file, 1, &a, why), OK);
    assert_int_equal(signer_make_key(file, why), OK); /* it stays */
    assert_int_equal(signer_open(&file, 1, &b, why), OK);
    assert_string_equal(signer_key_id(a), signer_key_id(b));
    signer_close(a), signer_close(b);
    assert_int_equal(signer_make_key(path_of("no/such/folder.pem"), why), ERR_IO);
    assert_non_null(strstr(why, "No such file"));
}

/* The key of RFC 8037, appendix A, and the thumbprint that stands there. */
static void thumbprint(void **state) {
    (void)state;
    const char *file = write_text(
        "rfc8037.pem", "-----BEGIN PRIVATE KEY-----\n"
                       "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                       "-----END PRIVATE KEY-----\n");
    struct signer *s = NULL;
    assert_int_equal(signer_open(&file, 1, &s, why), OK);
    assert_string_equal(signer_key_id(s), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    signer_close(s);
}

/* A signature file among the files, and documents that are none. */
static void odd_files(void **state) {
    (void)state;
    const char *file = path_of("ed.pem");
    struct signer *s = NULL;
    struct str with, without;
    struct bundle_file old[] = {files[2], {STR("/.signatures.json"), STR("{}")}},
                       broken[] = {{STR("/a/data.json"), STR("{\"a\":")}};
    assert_int_equal(signer_open(&file, 1, &s, why), OK);
    assert_int_equal(signer_sign(s, &A, old, 2, &with), OK);
    assert_int_equal(signer_sign(s, &A, old, 1, &without), OK);
    assert_true(str_eq(with, without)); /* Ed25519 draws nothing */
    assert_int_equal(signer_sign(s, &A, broken, 1, &with), ERR_INVALID);
    assert_int_equal(signer_sign(s, &A, NULL, 0, &with), OK);
    signer_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm),
        cmocka_unit_test(rotation),
        cmocka_unit_test(keys_that_cannot_sign),
        cmocka_unit_test(made_key),
        cmocka_unit_test(thumbprint),
        cmocka_unit_test(odd_files),
    };
    arena_init(&A, 64 << 20);
    if (!mkdtemp(dir)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    if (system(command)) failed++;
    arena_deinit(&A);
    return failed;
}
