/* Whose request it is: each rule on what it is meant for, and on what only looks like it. */
#include "edge/identify.h"
#include "host/builtins/jwk.h"
#include "host/builtins/support.h"
#include "host/token.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena arena;
static struct edge_config config;
static struct http_request call;
static struct http_peer peer;
static struct edge_listener listener;
static struct subject subject;
static struct identity who;
static struct key_sets *keys;
static struct identifier *identifier;

static struct str own_header(const void *ctx, struct str name) { return http_header_get(ctx, name); }

static int begin(void **state) {
    (void)state;
    arena_init(&arena, 64 << 20);
    edge_config_init(&config, &arena);
    config.log.fd = -1;
    memset((void *)&call, 0, sizeof call);
    memset((void *)&peer, 0, sizeof peer);
    memset((void *)&listener, 0, sizeof listener);
    call.peer = &peer;
    call.listener = &listener;
    subject = (struct subject){.call = &call, .path = STR("/v1/data/x"), .ctx = &call, .header = own_header};
    keys = NULL, identifier = NULL;
    return 0;
}

static int end(void **state) {
    (void)state;
    identifier_free(identifier);
    key_sets_free(keys);
    arena_deinit(&arena);
    return 0;
}

static struct tenant_rule *rule(enum tenant_rule_kind kind) {
    struct tenant_rule r = {.kind = kind, .header = STR("authorization")};
    ARENA_PUSH(&arena, &config.tenant_from, r);
    return &config.tenant_from.items[config.tenant_from.n - 1];
}

static void ready(void) {
    char why[256] = "";
    identifier_free(identifier);
    key_sets_free(keys);
    enum err e = key_sets_new(&config, &keys, why, sizeof why);
    if (e) print_message("# %s\n", why);
    assert_int_equal(e, OK);
    assert_int_equal(identifier_new(&config, keys, &identifier), OK);
}

static enum identity_kind ask(void) { return identify(identifier, &subject, &arena, &who); }

static void header(const char *name, const char *value) {
    call.headers[call.n_headers++] = (struct http_header){str_of(name), str_of(value)};
}

static void address(const char *text) {
    struct in_addr v4;
    memset((void *)&peer, 0, sizeof peer);
    if (inet_pton(AF_INET, text, &v4) == 1) {
        peer.ip[10] = peer.ip[11] = 0xff;
        memcpy(peer.ip + 12, &v4, 4);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, peer.ip), 1);
    }
}

static void trust(struct tenant_rule *r, const char *ip, uint8_t bits) {
    struct address_range range = {.bits = bits};
    address(ip);
    memcpy(range.ip, peer.ip, 16);
    ARENA_PUSH(&arena, &r->trusted, range);
}

/* What a case gives: "tenant", "tenant rest", "-" (none) or "!" (refused). */
static void gives(const char *input, const char *want) {
    char got[512];
    switch (ask()) {
    case IDENTITY_NONE: snprintf(got, sizeof got, "-"); break;
    case IDENTITY_REFUSED: snprintf(got, sizeof got, "!"); break;
    case IDENTITY_FOUND:
        snprintf(got, sizeof got, "%.*s%s%.*s", STR_FMT(who.tenant), strchr(want, ' ') ? " " : "",
                 strchr(want, ' ') ? (int)who.path.len : 0, who.path.ptr);
    }
    if (strcmp(got, want) != 0) print_message("# %s: got %s (%s), want %s\n", input, got, who.why ? who.why : "", want);
    assert_string_equal(got, want);
    if (want[0] == '!' || want[0] == '-') assert_true(who.why && !who.tenant.ptr);
}

/* ---- header ---- */

static void headers(void **state) {
    (void)state;
    struct tenant_rule *r = rule(TENANT_BY_HEADER);
    r->name = STR("x-tenant-id");
    trust(r, "10.1.0.0", 112);
    trust(r, "2001:db8::", 32);
    trust(r, "192.168.7.4", 126);
    ready();
    address("10.1.2.3");
    gives("no header", "-");
    header("x_tenant_id", "evil");
    header("x-tenant", "evil");
    header("x-forwarded-for", "evil");
    gives("other names", "-");
    header("x-tenant-id", "acme");
    gives("a listed address", "acme");
    assert_string_equal(who.by, "header");
    address("10.2.2.3");
    gives("beside the range", "!");
    address("192.168.7.7");
    gives("last of a range of four", "acme");
    address("192.168.7.8");
    gives("one past it", "!");
    address("2001:db8:ffff::1");
    gives("version 6", "acme");
    address("2001:db9::1");
    gives("another version 6", "!");
    memset((void *)&peer, 0, sizeof peer);
    peer.unix_socket = true;
    gives("a Unix socket that is not listed", "!");
    struct address_range sockets = {.unix_socket = true};
    ARENA_PUSH(&arena, &config.tenant_from.items[0].trusted, sockets);
    gives("a Unix socket that is listed", "acme");
    header("x-tenant-id", "acme");
    gives("twice the same", "!");
    call.n_headers--;
    call.headers[3].value = STR("acme, globex");
    gives("a list", "!");
    call.headers[3].value = STR("");
    gives("empty", "!");
    peer.unix_socket = false;
    gives("all zeroes is no Unix socket", "!");
    call.peer = NULL;
    gives("no peer", "!");
}

static void ids(void **state) {
    (void)state;
    static char longest[129];
    struct tenant_rule *r = rule(TENANT_BY_HEADER);
    struct address_range sockets = {.unix_socket = true};
    r->name = STR("x-tenant-id");
    ARENA_PUSH(&arena, &r->trusted, sockets);
    peer.unix_socket = true;
    ready();
    memset(longest, 'a', 128);
    static const char *const bad[] = {"", ".", "..", ".hidden", "a/b", "/", "a\x01", "a\nb", "a\x7f", "\xff\xfe", "a\xc3"};
    header("x-tenant-id", "");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        call.headers[0].value = str_of(bad[i]);
        gives(bad[i], "!");
    }
    call.headers[0].value = (struct str){"a\0b", 3};
    gives("nul", "!");
    call.headers[0].value = str_of(longest);
    gives("128 bytes", "!");
    call.headers[0].value.len = 127;
    gives("127 bytes", longest + (longest[127] = 0));
    call.headers[0].value = STR("größe");
    gives("UTF-8", "größe");
}

static void listeners(void **state) {
    (void)state;
    struct tenant_rule *r = rule(TENANT_BY_HOST);
    r->pattern = STR("{tenant}.example.com");
    ready();
    ARENA_PUSH(&arena, &listener.tenants, STR("free-*"));
    ARENA_PUSH(&arena, &listener.tenants, STR("acme"));
    subject.host = STR("acme.example.com");
    gives("listed", "acme");
    subject.host = STR("free-7.example.com");
    gives("by pattern", "free-7");
    subject.host = STR("acme2.example.com");
    gives("not listed", "!");
}

/* ---- host ---- */

static void hosts(void **state) {
    (void)state;
    static const struct {
        const char *host, *want;
    } cases[] = {
        {"acme.example.com", "acme"}, {"ACME.Example.COM", "acme"}, {"acme.example.com:8443", "acme"},
        {"acme.example.com.", "acme"}, {"acme.example.com.:443", "acme"}, {"acme.example.com:", "acme"},
        {"", "-"}, {"example.com", "-"}, {".example.com", "!"}, {"a.b.example.com", "-"},
        {"evilexample.com", "-"}, {"acme.example.com.evil.com", "-"}, {"acme.example.com..", "-"},
        {"user@acme.example.com", "!"}, {"evil.com:80@acme.example.com", "!"}, {"http://acme.example.com", "!"},
        {"acme.example.com/", "!"}, {"acme.example.com,b.example.com", "!"}, {"acme .example.com", "!"},
        {"acme.example.com:80:90", "!"}, {"acme.example.com:http", "!"}, {"acme.example.com:1234567", "!"},
        {"*.example.com", "!"}, {"%61cme.example.com", "!"}, {"[::1]", "-"}, {"[::1", "!"}, {"[::1]evil", "!"},
        {"acme.example.com\xc0\x80", "!"}, {"ac\xc3\xa4.example.com", "!"}, {":80", "!"},
    };
    rule(TENANT_BY_HOST)->pattern = STR("{tenant}.Example.com");
    ready();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        subject.host = str_of(cases[i].host);
        gives(cases[i].host, cases[i].want);
    }
    subject.host = (struct str){"acme\0.example.com", 17};
    gives("nul", "!");
    subject.host = STR("acme.example.com");
    header("host", "acme.example.com");
    header("host", "acme.example.com");
    gives("the same as authority and host", "acme");
    call.headers[1].value = STR("globex.example.com");
    gives("authority and host differ", "!");
}

static void host_map(void **state) {
    (void)state;
    struct tenant_rule *r = rule(TENANT_BY_HOST);
    struct tenant_host one = {STR("Shop.Example.com"), STR("acme")}, two = {STR("globex.test."), STR("globex")};
    ARENA_PUSH(&arena, &r->map, one);
    ARENA_PUSH(&arena, &r->map, two);
    ready();
    static const char *const cases[][2] = {{"shop.example.com", "acme"}, {"SHOP.EXAMPLE.COM.:443", "acme"},
                                           {"globex.test", "globex"}, {"x.shop.example.com", "-"}, {"shop.example.co", "-"},
                                           {"shop.example.com@globex.test", "!"}, {"", "-"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        subject.host = str_of(cases[i][0]);
        gives(cases[i][0], cases[i][1]);
    }
}

/* ---- path ---- */

static void paths(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"/t/acme/v1/data/x", "acme /v1/data/x"}, {"/t/acme", "acme /"}, {"/t/acme/", "acme /"},
        {"/t/acme?q=/../b", "acme /?q=/../b"}, {"/t/acme/a?x", "acme /a?x"}, {"/t/%61cme/x", "acme /x"},
        {"/%74/acme/x", "acme /x"}, {"/t/acme/a%2fb", "acme /a%2fb"}, {"/t/acme//x", "acme //x"},
        {"/t/a.b/x", "a.b /x"}, {"/t/...", "!"},
        {"/", "-"}, {"", "-"}, {"/t", "-"}, {"/x/acme", "-"}, {"/T/acme", "-"}, {"/tt/acme", "-"},
        {"/t/", "!"}, {"/t//x", "!"}, {"//t/acme", "!"}, {"/t/a/../b", "!"}, {"/t/./b", "!"}, {"/t/../b", "!"}, {"/x/../t/b", "!"},
        {"/t/a/%2e%2e/b", "!"}, {"/t/a/.%2E/b", "!"}, {"/t/%2e%2e", "!"}, {"/t/a%2fb/x", "!"}, {"/t/a%2Fb", "!"},
        {"/t%2facme", "!"}, {"/t/a%5cb", "!"}, {"/t/a\\..\\b", "!"}, {"/t\\acme", "!"}, {"/t/a/..%2f..%2ft/b", "!"},
        {"/t/a/..;/b", "!"}, {"/t/a/..;x=1/b", "!"}, {"/t/a;x=1/b", "!"}, {"/t;x/acme", "!"}, {"/t/a%00/x", "!"},
        {"/t/%", "!"}, {"/t/%6", "!"}, {"/t/%zz", "!"}, {"/t/a%252e", "!"}, {"/t/%0aacme", "!"}, {"/t/.hidden/x", "!"},
        {"/t/a/x%7f", "!"}, {"http://evil/t/acme", "!"}, {"t/acme", "!"}, {"*", "!"}, {"/t/a#b", "!"},
        {"/t/a/x#/../../b", "!"}, {"/t/a/x?#/../", "a /x?#/../"}, {"/t/a/x%23", "a /x%23"},
        {"/t/a/..", "!"}, {"/t/a/.", "!"}, {"/t/a/.x/..y/x..", "a /.x/..y/x.."},
    };
    rule(TENANT_BY_PATH)->pattern = STR("/t/{tenant}");
    ready();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        subject.path = str_of(cases[i][0]);
        gives(cases[i][0], cases[i][1]);
        if (cases[i][1][0] == '!' || cases[i][1][0] == '-') assert_true(str_eq(who.path, subject.path));
    }
    config.tenant_from.items[0].pattern = STR("/api/{tenant}/opa/");
    ready();
    static const char *const more[][2] = {{"/api/acme/opa/v1/data", "acme /v1/data"}, {"/api/acme/opa", "acme /"},
                                          {"/api/acme/opax", "-"}, {"/api/acme", "-"}, {"/api/acme//opa", "!"}};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        subject.path = str_of(more[i][0]);
        gives(more[i][0], more[i][1]);
    }
}

/* ---- context extension ---- */

static struct str extension_value;
static struct str extension(const void *ctx, struct str name) {
    (void)ctx;
    return str_is(name, "tenant_id") ? extension_value : (struct str){NULL, 0};
}
static struct str described_header(const void *ctx, struct str name) {
    (void)ctx;
    return str_is(name, "x-tenant-id") ? STR("described") : (struct str){NULL, 0};
}

static void extensions(void **state) {
    (void)state;
    struct tenant_rule *r;
    rule(TENANT_BY_EXTENSION)->name = STR("tenant_id");
    r = rule(TENANT_BY_HEADER);
    r->name = STR("x-tenant-id");
    struct address_range sockets = {.unix_socket = true};
    ARENA_PUSH(&arena, &r->trusted, sockets);
    peer.unix_socket = true;
    ready();
    gives("no such thing at this door", "-");
    subject.extension = extension;
    subject.header = described_header;
    gives("missing; the described request's header is no metadata", "-");
    header("x-tenant-id", "metadata");
    gives("gRPC metadata", "metadata");
    extension_value = STR("acme");
    gives("before the header", "acme");
    assert_string_equal(who.by, "context_extension");
    static const char *const bad[] = {"", "a/b", "../acme", "acme\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        extension_value = str_of(bad[i]);
        gives(bad[i], "!");
    }
    extension_value = (struct str){NULL, 0};
    config.tenant_from.items[1].of_subject = true;
    gives("of_subject", "described");
    peer.unix_socket = false;
    gives("of_subject, from an address that is not listed", "!");
}

/* ---- certificates ---- */

static void certificates(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"spiffe://example.com/tenant/acme", "acme"}, {"spiffe://example.com/tenant/a.b-c_1", "a.b-c_1"},
        {"spiffe://example.com/tenant/", "!"}, {"spiffe://example.com/tenant/a/b", "-"},
        {"spiffe://example.com.evil.com/tenant/acme", "-"}, {"spiffe://evil.com/spiffe://example.com/tenant/acme", "-"},
        {"SPIFFE://example.com/tenant/acme", "-"}, {"spiffe://example.com/tenant/acme?x", "!"},
        {"spiffe://example.com/tenant/acme%2f", "!"}, {"spiffe://example.com/tenant/*", "!"},
        {"spiffe://example.com/tenant/..", "!"}, {"", "-"}, {"example.com", "-"},
    };
    rule(TENANT_BY_CERTIFICATE)->pattern = STR("spiffe://example.com/tenant/{tenant}");
    ready();
    peer.tls = true;
    peer.n_uris = 1;
    peer.uris[0] = str_of(cases[0][0]);
    gives("not verified", "-");
    peer.verified = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer.uris[0] = str_of(cases[i][0]);
        gives(cases[i][0], cases[i][1]);
    }
    peer.uris[0] = (struct str){"spiffe://example.com/tenant/acme\0.evil", 38};
    gives("nul", "!");
    peer.uris[0] = str_of(cases[0][0]);
    peer.uris[1] = str_of(cases[1][0]);
    peer.n_uris = 2;
    gives("two tenants", "!");
    peer.uris[1] = str_of("spiffe://example.com/node/7");
    gives("one and something else", "acme");
    peer.n_uris = 0;
    peer.n_dns_names = 1;
    peer.dns_names[0] = str_of(cases[0][0]);
    gives("of the wrong kind", "-");
    subject.extension = extension;
    extension_value = (struct str){NULL, 0};
    peer.n_uris = 1;
    gives("over ext_authz the peer is Envoy", "-");
    subject.principal = STR("spiffe://example.com/tenant/globex");
    gives("principal", "globex");
    subject.principal = STR("CN=spiffe://example.com/tenant/globex");
    gives("a subject that looks like it", "-");
}

static void dns_names(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"acme.tenants.example.com", "acme"}, {"ACME.Tenants.example.com", "acme"}, {"*.tenants.example.com", "!"},
        {"a.b.tenants.example.com", "-"}, {"acme.tenants.example.com.evil.com", "-"}, {"tenants.example.com", "-"},
        {"eviltenants.example.com", "-"}, {".tenants.example.com", "!"}, {"a b.tenants.example.com", "!"}};
    rule(TENANT_BY_CERTIFICATE)->pattern = STR("dns:{tenant}.tenants.example.com");
    ready();
    peer.tls = peer.verified = true;
    peer.n_dns_names = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer.dns_names[0] = str_of(cases[i][0]);
        gives(cases[i][0], cases[i][1]);
    }
    peer.dns_names[0] = (struct str){"acme.tenants.example.com\0.evil.com", 34};
    gives("nul", "-");
}

/* ---- tokens ---- */

static EVP_PKEY *rsa, *rsa2, *ec, *ec384, *ed;
static char key_path[] = "/tmp/regent-identify-XXXXXX";

static struct str b64(const char *bytes, size_t len) {
    size_t n;
    char *text = base64_encode(&arena, (struct str){bytes, len}, BASE64_URL | BASE64_NO_PADDING, &n);
    return (struct str){text, n};
}

static struct str number_of(EVP_PKEY *key, const char *name) {
    BIGNUM *n = NULL;
    uint8_t bytes[1024];
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &n), 1);
    int len = BN_bn2bin(n, bytes);
    BN_free(n);
    return b64((char *)bytes, (size_t)len);
}

static void put_rsa(struct buf *out, EVP_PKEY *key, const char *more) {
    struct str n = number_of(key, "n"), e = number_of(key, "e");
    buf_printf(out, "{\"kty\":\"RSA\",\"n\":\"%.*s\",\"e\":\"%.*s\"%s}", STR_FMT(n), STR_FMT(e), more);
}

static void put_ec(struct buf *out, EVP_PKEY *key, const char *crv, const char *more) {
    struct str x = number_of(key, "qx"), y = number_of(key, "qy");
    buf_printf(out, "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%.*s\",\"y\":\"%.*s\"%s}", crv, STR_FMT(x), STR_FMT(y), more);
}

static const char secret[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void write_keys(struct str text) {
    FILE *f = fopen(key_path, "w");
    assert_non_null(f);
    fwrite(text.ptr, 1, text.len, f);
    fclose(f);
}

static struct str jwks(void) {
    static struct buf out;
    uint8_t raw[32];
    size_t n = sizeof raw;
    buf_deinit(&out);
    buf_init(&out, 1 << 16);
    buf_cstr(&out, "{\"keys\":[{\"kty\":\"nonsense\"},");
    put_rsa(&out, rsa, ",\"kid\":\"r1\",\"use\":\"sig\"");
    buf_byte(&out, ',');
    put_rsa(&out, rsa2, ",\"kid\":\"enc\",\"use\":\"enc\"");
    buf_byte(&out, ',');
    put_ec(&out, ec, "P-256", ",\"kid\":\"e1\",\"alg\":\"ES256\"");
    buf_byte(&out, ',');
    put_ec(&out, ec384, "P-384", ",\"kid\":\"e3\"");
    EVP_PKEY_get_raw_public_key(ed, raw, &n);
    struct str x = b64((char *)raw, n), k = b64(secret, 64);
    buf_printf(&out, ",{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"d1\",\"x\":\"%.*s\"}", STR_FMT(x));
    buf_printf(&out, ",{\"kty\":\"oct\",\"kid\":\"s1\",\"k\":\"%.*s\"}]}", STR_FMT(k));
    return buf_view(&out);
}

/* A token in the arena: header, payload, signed by the key with the algorithm. */
static struct str token(const char *head, const char *body, const struct jwk *key, const char *alg) {
    size_t n, m;
    struct str h = b64(head, strlen(head)), p = b64(body, strlen(body)), sig = {"", 0};
    char *text = arena_printf(&arena, &n, "%.*s.%.*s", STR_FMT(h), STR_FMT(p));
    if (alg) assert_true(jws_sign(&arena, key, str_of(alg), (struct str){text, n}, &sig));
    struct str s = b64(sig.ptr, sig.len);
    char *all = arena_printf(&arena, &m, "Bearer %s.%.*s", text, STR_FMT(s));
    return (struct str){all, m};
}

static void shows(const char *name, struct str value, const char *want) {
    call.n_headers = 1;
    call.headers[0] = (struct http_header){STR("authorization"), value};
    gives(name, want);
}

static char *body(const char *tenant, long exp_in, const char *more) {
    return arena_printf(&arena, NULL, "{\"iss\":\"https://id\",\"aud\":[\"x\",\"edge\"],\"tenant\":\"%s\",\"exp\":%ld%s}", tenant,
                        (long)time(NULL) + exp_in, more);
}

static int keys_made(void **state) {
    (void)state;
    rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    rsa2 = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    ec384 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    int fd = mkstemp(key_path);
    if (fd >= 0) close(fd);
    return rsa && rsa2 && ec && ec384 && ed && fd >= 0 ? 0 : -1;
}

static int keys_gone(void **state) {
    (void)state;
    EVP_PKEY *all[] = {rsa, rsa2, ec, ec384, ed};
    for (size_t i = 0; i < 5; i++) EVP_PKEY_free(all[i]);
    return unlink(key_path);
}

static struct tenant_rule *token_rule(void) {
    struct tenant_rule *r = rule(TENANT_BY_JWT);
    r->name = STR("tenant");
    r->keys_file = key_path;
    r->issuer = STR("https://id");
    r->audience = STR("edge");
    return r;
}

static void tokens(void **state) {
    (void)state;
    struct jwk r1 = {.pkey = rsa}, r2 = {.pkey = rsa2}, e1 = {.pkey = ec}, e3 = {.pkey = ec384}, d1 = {.pkey = ed};
    struct jwk oct = {.secret = {secret, 64}};
    write_keys(jwks());
    token_rule();
    rule(TENANT_BY_HOST)->pattern = STR("{tenant}.example.com");
    subject.host = STR("fallen-through.example.com");
    ready();
    char *fine = body("acme", 60, "");
    gives("no token", "fallen-through");
    shows("another scheme", STR("Basic dTpw"), "fallen-through");
    shows("RS256", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", fine, &r1, "RS256"), "acme");
    assert_string_equal(who.by, "jwt");
    shows("PS384", token("{\"alg\":\"PS384\",\"kid\":\"r1\"}", fine, &r1, "PS384"), "acme");
    shows("RS512 without kid", token("{\"alg\":\"RS512\"}", fine, &r1, "RS512"), "acme");
    shows("ES256", token("{\"alg\":\"ES256\",\"kid\":\"e1\"}", fine, &e1, "ES256"), "acme");
    shows("ES384", token("{\"alg\":\"ES384\",\"kid\":\"e3\"}", fine, &e3, "ES384"), "acme");
    shows("EdDSA", token("{\"alg\":\"EdDSA\",\"kid\":\"d1\"}", fine, &d1, "EdDSA"), "acme");
    struct str raw = token("{\"alg\":\"EdDSA\",\"kid\":\"d1\"}", fine, &d1, "EdDSA");
    shows("without scheme", str_from(raw, 7), "acme");
    /* What is there but not valid never falls through. */
    shows("empty", STR("Bearer"), "!");
    shows("garbage", STR("Bearer x"), "!");
    shows("none", token("{\"alg\":\"none\"}", fine, NULL, NULL), "!");
    shows("None", token("{\"alg\":\"None\",\"kid\":\"r1\"}", fine, &r1, "RS256"), "!");
    shows("no alg", token("{\"kid\":\"r1\"}", fine, &r1, "RS256"), "!");
    shows("HS256 not listed", token("{\"alg\":\"HS256\",\"kid\":\"s1\"}", fine, &oct, "HS256"), "!");
    struct jwk confused = {.secret = jwks()};
    shows("HS256 with the public key", token("{\"alg\":\"HS256\",\"kid\":\"r1\"}", fine, &confused, "HS256"), "!");
    shows("said RS256, signed RS512", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", fine, &r1, "RS512"), "!");
    shows("ES256 by a P-384 key", token("{\"alg\":\"ES256\",\"kid\":\"e3\"}", fine, &e3, "ES256"), "!");
    shows("ES384 by an ES256 key", token("{\"alg\":\"ES384\",\"kid\":\"e1\"}", fine, &e1, "ES384"), "!");
    shows("RS256 by kid of an EC key", token("{\"alg\":\"RS256\",\"kid\":\"e1\"}", fine, &r1, "RS256"), "!");
    shows("another key", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", fine, &r2, "RS256"), "!");
    shows("a key for encryption", token("{\"alg\":\"RS256\",\"kid\":\"enc\"}", fine, &r2, "RS256"), "!");
    assert_string_equal(who.why, "no key is known for the token");
    shows("unknown kid", token("{\"alg\":\"RS256\",\"kid\":\"zz\"}", fine, &r1, "RS256"), "!");
    shows("key in the header", token("{\"alg\":\"RS256\",\"jwk\":{},\"jku\":\"http://x\",\"kid\":\"zz\"}", fine, &r2, "RS256"), "!");
    shows("critical", token("{\"alg\":\"RS256\",\"kid\":\"r1\",\"crit\":[\"x\"],\"x\":1}", fine, &r1, "RS256"), "!");
    shows("kid is a number", token("{\"alg\":\"RS256\",\"kid\":1}", fine, &r1, "RS256"), "!");
    shows("expired", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", body("acme", -60, ""), &r1, "RS256"), "!");
    assert_string_equal(who.why, "the token has expired");
    shows("expired within the leeway", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", body("acme", -3, ""), &r1, "RS256"), "acme");
    shows("expiry is text", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}",
                                  "{\"iss\":\"https://id\",\"aud\":\"edge\",\"tenant\":\"a\",\"exp\":\"9999999999\"}", &r1, "RS256"), "!");
    shows("not yet", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", body("acme", 60, ",\"nbf\":9999999999"), &r1, "RS256"), "!");
    shows("wrong issuer", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", body("acme", 60, ",\"iss\":\"https://id.evil\""), &r1, "RS256"), "!");
    assert_string_equal(who.why, "the token's issuer is not the expected one");
    shows("wrong audience", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", body("acme", 60, ",\"aud\":\"edge2\""), &r1, "RS256"), "!");
    shows("no claim", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", body("acme", 60, ",\"tenant\":null"), &r1, "RS256"), "!");
    shows("claim with a slash", token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", body("a/b", 60, ""), &r1, "RS256"), "!");
    shows("cut", str_head(raw, raw.len - 4), "!");
    shows("cut to two parts", str_head(raw, 60), "!");
    char *changed = arena_strndup(&arena, raw.ptr, raw.len);
    changed[raw.len - 10] ^= 1;
    shows("a changed signature", (struct str){changed, raw.len}, "!");
    char *padded = arena_printf(&arena, NULL, "%.*s==", STR_FMT(raw));
    shows("padded", str_of(padded), "!");
    char *broken = arena_printf(&arena, NULL, "%.*s\n", STR_FMT(raw));
    shows("a line break", str_of(broken), "!");
    header("authorization", "Bearer x");
    call.headers[0].value = raw;
    gives("two tokens", "!");
}

static void cache(void **state) {
    (void)state;
    struct jwk d1 = {.pkey = ed}, r2 = {.pkey = rsa2};
    write_keys(jwks());
    token_rule();
    ready();
    const char *head = "{\"alg\":\"EdDSA\",\"kid\":\"d1\"}";
    struct str soon = token(head, body("acme", -8, ""), &d1, "EdDSA"), kept = token(head, body("b", 600, ""), &d1, "EdDSA");
    shows("about to end", soon, "acme");
    shows("again, from the cache", soon, "acme");
    sleep(3);
    shows("in the cache past its end", soon, "!");
    for (int i = 0; i < 5000; i++) { /* more than fit */
        char tenant[16];
        snprintf(tenant, sizeof tenant, "t%d", i);
        struct str t = token(head, body(tenant, 600, ""), &d1, "EdDSA");
        shows(tenant, t, tenant);
        shows(tenant, t, tenant);
    }
    shows("kept", kept, "b");
    /* A reload without that key. */
    struct buf text;
    buf_init(&text, 1 << 16);
    put_rsa(&text, rsa2, "");
    write_keys(buf_view(&text));
    buf_deinit(&text);
    ready();
    shows("its key is gone", kept, "!");
    shows("the new key", token("{\"alg\":\"RS256\",\"kid\":\"new\"}", body("acme", 60, ""), &r2, "RS256"), "acme");
}

static void token_rules_in_order(void **state) {
    (void)state;
    struct jwk r1 = {.pkey = rsa}, oct = {.secret = {secret, 64}};
    write_keys(jwks());
    token_rule()->issuer = STR("https://other");
    struct tenant_rule *two = token_rule();
    two->name = STR("org.id");
    ARENA_PUSH(&arena, &two->algorithms, STR("HS256"));
    ARENA_PUSH(&arena, &two->algorithms, STR("RS256"));
    rule(TENANT_BY_HOST)->pattern = STR("{tenant}.example.com");
    subject.host = STR("fallen-through.example.com");
    ready();
    char *nested = body("x", 60, ",\"org\":{\"id\":\"acme\"}");
    shows("the second rule's issuer", token("{\"alg\":\"RS256\"}", nested, &r1, "RS256"), "acme");
    shows("a secret that is listed", token("{\"alg\":\"HS256\",\"kid\":\"s1\"}", nested, &oct, "HS256"), "acme");
    shows("an algorithm that is not", token("{\"alg\":\"RS384\"}", nested, &r1, "RS384"), "!");
    shows("nobody's issuer", token("{\"alg\":\"RS256\"}", body("x", 60, ",\"iss\":\"https://evil\""), &r1, "RS256"), "!");
    struct jwk confused = {.secret = jwks()};
    shows("HS256 with the public key", token("{\"alg\":\"HS256\",\"kid\":\"r1\"}", nested, &confused, "HS256"), "!");
    shows("dots in a name", token("{\"alg\":\"RS256\"}", body("x", 60, ",\"org.id\":\"dotted\""), &r1, "RS256"), "dotted");
}

static void key_files(void **state) {
    (void)state;
    static const char *const bad[] = {"", "garbage", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}]}",
                                      "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                                      "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"};
    char why[256];
    struct key_sets *none;
    token_rule();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_keys(str_of(bad[i]));
        why[0] = 0;
        assert_int_equal(key_sets_new(&config, &none, why, sizeof why), ERR_INVALID);
        assert_non_null(strstr(why, key_path));
    }
    config.tenant_from.items[0].keys_file = "/nowhere/keys.json";
    assert_int_equal(key_sets_new(&config, &none, why, sizeof why), ERR_IO);
    assert_non_null(strstr(why, "No such file"));
}

/* ---- what each way costs ---- */

static void cost(const char *name) {
    enum { N = 200000 };
    struct timespec a, b;
    assert_int_equal(ask(), IDENTITY_FOUND);
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < N; i++) {
        if (i % 64 == 0) arena_reset(&arena);
        if (ask() != IDENTITY_FOUND) fail();
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    print_message("# %s: %.0f ns\n", name, ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / N);
}

static void costs(void **state) {
    (void)state;
    static char value[4096];
    struct jwk r1 = {.pkey = rsa};
    write_keys(jwks());
    struct str t = token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", body("acme", 600, ",\"name\":\"A person\",\"scope\":\"read write\""), &r1, "RS256");
    assert_true(t.len < sizeof value);
    memcpy(value, t.ptr, t.len);
    print_message("# a token of %zu bytes\n", t.len);
    struct tenant_rule all[6] = {
        {.kind = TENANT_BY_EXTENSION, .name = STR("tenant_id")},
        {.kind = TENANT_BY_CERTIFICATE, .pattern = STR("spiffe://example.com/tenant/{tenant}")},
        {.kind = TENANT_BY_JWT, .name = STR("tenant"), .header = STR("authorization"), .keys_file = key_path,
         .issuer = STR("https://id"), .audience = STR("edge")},
        {.kind = TENANT_BY_HOST, .pattern = STR("{tenant}.example.com")},
        {.kind = TENANT_BY_PATH, .pattern = STR("/t/{tenant}")},
        {.kind = TENANT_BY_HEADER, .name = STR("x-tenant-id")}};
    static struct address_range sockets = {.unix_socket = true};
    all[5].trusted.items = &sockets, all[5].trusted.n = 1;
    static const char *const names[] = {"host", "user-agent", "accept", "content-type", "content-length", "x-request-id"};
    for (size_t i = 0; i < 6; i++) header(names[i], "value");
    header("authorization", "");
    call.headers[6].value = (struct str){value, t.len};
    header("x-tenant-id", "acme");
    peer.unix_socket = peer.tls = peer.verified = true;
    peer.uris[0] = STR("spiffe://example.com/tenant/acme"), peer.n_uris = 1;
    subject.host = STR("acme.example.com:8443");
    subject.path = STR("/t/acme/v1/data/tenant/authz/allow");
    extension_value = STR("acme");
    for (size_t i = 0; i < 6; i++) {
        config.tenant_from.items = &all[i], config.tenant_from.n = 1;
        subject.extension = i == 0 ? extension : NULL;
        ready();
        static const char *const words[] = {"context extension", "certificate", "JWT, cached", "host", "path", "header"};
        cost(words[i]);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
        T(headers), T(ids), T(listeners), T(hosts), T(host_map), T(paths), T(extensions), T(certificates), T(dns_names),
        T(tokens), T(cache), T(token_rules_in_order), T(key_files), T(costs),
#undef T
    };
    return cmocka_run_group_tests(tests, keys_made, keys_gone);
}
