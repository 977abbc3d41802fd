/* Fuzzes what is verified of a bundle before anything of it is used. in: libFuzzer's bytes; the
 * first chooses: an archive; a .signatures.json; a payload, which is signed here, and a data.json;
 * a manifest with roots and a Rego file; a pattern and a path. out: crashes only; a file that was
 * changed after signing is never accepted. owns: an arena an input. Build: tests/fuzz/run.sh. */
#include "base/hash.h"
#include "edge/verify.h"
#include "host/builtins/builtin.h"
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_BYTES = 64 << 20, WHY_BYTES = 512 };
static const char secret[] = "0123456789abcdef0123456789abcdef";
static const char jwks[] =
    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}]}";

/* The table of builtins is not linked in; only its errors are called for. */
enum err builtin_fail(struct builtin_call *c, const char *format, ...) {
    c->error = format;
    return OK;
}

static void law(bool holds) {
    if (!holds) abort();
}

static void checked(enum err e, const char *why) {
    law(e == OK || e == ERR_MEMORY ||
        ((e == ERR_INVALID || e == ERR_UNSUPPORTED) && why[0] && strlen(why) < WHY_BYTES));
}

static void base64url(struct buf *out, struct str s) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        uint32_t v = (uint32_t)(uint8_t)s.ptr[i] << 16;
        if (left > 1) v |= (uint32_t)(uint8_t)s.ptr[i + 1] << 8;
        if (left > 2) v |= (uint8_t)s.ptr[i + 2];
        for (size_t k = 0; k < (left > 2 ? 4 : left + 1); k++)
            buf_byte(out, (uint8_t)digits[v >> (18 - 6 * k) & 63]);
    }
}

static void sign(struct buf *out, struct str payload) {
    struct buf text;
    uint8_t mac[32];
    unsigned n = sizeof mac;
    buf_init(&text, ARENA_BYTES);
    base64url(&text, STR("{\"alg\":\"HS256\"}"));
    buf_byte(&text, '.');
    base64url(&text, payload);
    law(HMAC(EVP_sha256(), secret, sizeof secret - 1, text.ptr, text.len, mac, &n) != NULL);
    buf_cstr(out, "{\"signatures\":[\"");
    buf_str(out, buf_view(&text));
    buf_byte(out, '.');
    base64url(out, (struct str){(char *)mac, n});
    buf_cstr(out, "\"]}");
    buf_deinit(&text);
}

static enum err verify(struct arena *a, const struct bundle *b, const struct verify_rules *r) {
    char why[WHY_BYTES] = "";
    enum err e = verify_signature(a, b, r, why, sizeof why);
    checked(e, why);
    why[0] = 0;
    checked(verify_roots(a, b, why, sizeof why), why);
    return e;
}

/* `text` up to its first 0, and what is behind. */
static struct str cut(struct str *text) {
    const char *end = text->len ? memchr(text->ptr, 0, text->len) : NULL;
    size_t n = end ? (size_t)(end - text->ptr) : text->len;
    struct str head = str_head(*text, n);
    *text = str_from(*text, n + 1);
    return head;
}

static void signed_payload(struct arena *a, struct bundle *b, const struct verify_rules *r,
                           struct str text) {
    struct buf payload, signatures, canonical;
    struct json *v;
    char hex[65] = "";
    struct str more = cut(&text);
    buf_init(&payload, ARENA_BYTES);
    buf_init(&signatures, ARENA_BYTES);
    buf_init(&canonical, ARENA_BYTES);
    if (json_parse(a, text, &v, NULL) == OK) {
        json_print(v, true, 0, &canonical);
        sha256_hex(canonical.ptr, canonical.len, hex);
    }
    buf_printf(
        &payload,
        "{\"files\":[{\"name\":\"data.json\",\"hash\":\"%s\",\"algorithm\":\"SHA-256\"}]%.*s}", hex,
        (int)more.len, more.ptr);
    sign(&signatures, buf_view(&payload));
    struct bundle_file files[] = {{STR("/data.json"), text},
                                  {STR("/.signatures.json"), buf_view(&signatures)}};
    b->files.items = files;
    b->files.n = 2;
    enum err e = verify(a, b, r);
    law(more.len || !hex[0] || e == OK || e == ERR_MEMORY || !text.len);
    if (!e) {
        files[0].bytes = STR("[\"something else\"]");
        law(verify(a, b, r) != OK);
    }
    buf_deinit(&payload);
    buf_deinit(&signatures);
    buf_deinit(&canonical);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena a;
    struct diag_list diags;
    struct verify_rules r = {.required = true};
    char why[WHY_BYTES] = "";
    if (!size) return 0;
    arena_init(&a, ARENA_BYTES);
    diag_list_init(&diags, &a);
    struct str text = {(const char *)data + 1, size - 1}, pattern;
    struct bundle b = {.manifest = json_object(&a), .data = json_object(&a)};
    struct bundle_file files[] = {{STR("/p.rego"), STR("")}, {STR("/.signatures.json"), text}};
    law(token_keys_new(STR(jwks), true, &r.keys, why, sizeof why) == OK);
    switch (data[0] % 5) {
    case 0:
        if (bundle_read(&a, text, &b, &diags) == OK) (void)!verify(&a, &b, &r);
        break;
    case 1:
        b.files.items = files;
        b.files.n = 2;
        law(verify(&a, &b, &r) != OK);
        break;
    case 2: signed_payload(&a, &b, &r, text); break;
    case 3:
        pattern = cut(&text);
        if (json_parse(&a, pattern, &b.manifest, NULL) != OK) b.manifest = json_object(&a);
        files[0].bytes = text;
        if (b.manifest && b.manifest->kind == JSON_OBJECT && json_get_c(b.manifest, "data"))
            b.data = json_get_c(b.manifest, "data");
        b.files.items = files;
        b.files.n = 1;
        checked(verify_roots(&a, &b, why, sizeof why), why);
        break;
    case 4:
        pattern = cut(&text);
        if (!verify_glob_wrong(pattern)) (void)verify_glob(pattern, text);
        checked(verify_sha256(pattern, text, why, sizeof why), why);
        break;
    }
    verify_keys_free(&r);
    arena_deinit(&a);
    return 0;
}
