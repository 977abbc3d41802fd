/* Fuzzes what finds a request's tenant: hosts, paths, names of certificates, tokens and key sets. in: libFuzzer's bytes;
 * the first chooses what the rest is. out: crashes only. owns: an arena and an identifier an input. Laws: a tenant that
 * is found is a valid id; a path that is found for a tenant has no other reading; a token is never accepted without its
 * signature. Build: tests/fuzz/run.sh. */
#include "edge/identify.h"
#include "host/builtins/builtin.h"
#include "host/token.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 1 << 15 };

/* The table of builtins is not linked in; only its errors are called for. */
enum err builtin_fail(struct builtin_call *c, const char *format, ...) {
    c->error = format;
    return OK;
}

static void law(bool holds) {
    if (!holds) abort();
}

static struct str own_header(const void *ctx, struct str name) { return http_header_get(ctx, name); }
static struct str extension(const void *ctx, struct str name) {
    (void)ctx, (void)name;
    return (struct str){NULL, 0};
}

static void check_id(struct str id) {
    law(id.len > 0 && id.len <= 127 && id.ptr[0] != '.');
    for (size_t i = 0; i < id.len; i++) law((uint8_t)id.ptr[i] >= 0x20 && id.ptr[i] != 0x7f && id.ptr[i] != '/');
}

static void check_path(struct str sent, struct str rest) {
    const char *end = memchr(sent.ptr, '?', sent.len);
    size_t n = end ? (size_t)(end - sent.ptr) : sent.len;
    law(rest.len && rest.ptr[0] == '/');
    law(!memmem(sent.ptr, n, "/../", 4) && !memmem(sent.ptr, n, "/./", 3) && sent.ptr[0] == '/' && sent.ptr[1] != '/');
}

static void ask(const struct tenant_rule *rule, const struct subject *s) {
    struct tenant_rule copy = *rule;
    struct edge_config config = {.tenant_from = {&copy, 1, 1}, .log = {.fd = -1}};
    struct identifier *i;
    struct identity who;
    struct arena a;
    law(identifier_new(&config, NULL, &i) == OK);
    arena_init(&a, 4 << 20);
    enum identity_kind k = identify(i, s, &a, &who);
    if (k == IDENTITY_FOUND) check_id(who.tenant);
    else law(who.why != NULL && !who.tenant.ptr);
    if (k == IDENTITY_FOUND && rule->kind == TENANT_BY_PATH) check_path(s->path, who.path);
    arena_deinit(&a);
    identifier_free(i);
}

static void names(uint8_t kind, struct str text) {
    static struct http_request call;
    static struct http_peer peer;
    peer = (struct http_peer){.tls = true, .verified = true, .uris = {text}, .dns_names = {text}, .n_uris = 1, .n_dns_names = 1};
    call.n_headers = 1;
    call.headers[0] = (struct http_header){STR("x-tenant-id"), text};
    call.peer = &peer;
    struct subject s = {.call = &call, .host = text, .path = text, .principal = text, .ctx = &call, .header = own_header,
                        .extension = kind & 8 ? extension : NULL};
    struct address_range all = {.bits = 0};
    const struct tenant_rule rules[] = {
        {.kind = TENANT_BY_HOST, .pattern = STR("{tenant}.ex")},
        {.kind = TENANT_BY_PATH, .pattern = STR("/t/{tenant}")},
        {.kind = TENANT_BY_CERTIFICATE, .pattern = STR("spiffe://ex/{tenant}")},
        {.kind = TENANT_BY_CERTIFICATE, .pattern = STR("dns:{tenant}.ex")},
        {.kind = TENANT_BY_HEADER, .name = STR("x-tenant-id"), .trusted = {&all, 1, 1}},
        {.kind = TENANT_BY_PATH, .pattern = STR("/{tenant}/x")},
        {.kind = TENANT_BY_JWT, .name = STR("tenant"), .header = STR("x-tenant-id")},
        {.kind = TENANT_BY_HOST, .pattern = STR("a{tenant}b.ex")}};
    ask(&rules[kind & 7], &s);
}

/* A published test key (RFC 7517, appendix A.1): nobody here can sign with it. */
static const char key[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\"y\":"
    "\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\",\"kid\":\"1\"}]}";

static void token(struct str text) {
    struct token_rules rules = {.algorithms = TOKEN_ASYMMETRIC, .now_s = 1000, .leeway_s = 10};
    struct token_keys *keys;
    struct token t;
    struct arena a;
    char why[256];
    law(token_keys_new(STR(key), false, &keys, why, sizeof why) == OK);
    arena_init(&a, 4 << 20);
    law(token_verify(&a, keys, text, &rules, &t) != TOKEN_VALID);
    law(token_verify(&a, NULL, text, &rules, &t) != TOKEN_VALID);
    arena_deinit(&a);
    token_keys_release(keys);
}

static void key_set(struct str text) {
    struct token_keys *keys;
    char why[256] = "";
    enum err e = token_keys_new(text, true, &keys, why, sizeof why);
    law(e != OK || token_keys_count(keys) > 0);
    law(e != ERR_INVALID || why[0]);
    if (!e) token_keys_release(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > MAX_INPUT) return 0;
    char *copy = malloc(size); /* views past its end show */
    memcpy(copy, data + 1, size - 1);
    struct str text = {copy, size - 1};
    if (data[0] < 0xc0) names(data[0], text);
    else if (data[0] < 0xe0) token(text);
    else key_set(text);
    free(copy);
    return 0;
}
