/* TLS of the server core against OpenSSL's client: versions, ALPN, client certificates, resumption, what is wrong with
 * files, and connections that do not finish their handshake. Certificates are made for the run. */
#include "net_server.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>

static char folder[] = "/tmp/regent-tls-XXXXXX";

static const char *path(const char *name) {
    static char texts[4][128];
    static int at;
    char *text = texts[at++ % 4];
    snprintf(text, 128, "%s/%s", folder, name);
    return text;
}

static int shell(const char *command) {
    char line[2048];
    snprintf(line, sizeof line, "cd %s && { %s; } >log 2>&1", folder, command);
    return system(line);
}

#define EC "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
#define SIGN " -days 2 -CAcreateserial "

static int certificates(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    return shell("openssl req -x509 " EC "-keyout ca.key -out ca.pem -days 2 -subj /CN=ca && "
                 "openssl req -x509 " EC "-keyout other.key -out other.pem -days 2 -subj /CN=other && "
                 "openssl req " EC "-keyout server.key -out s.csr -subj /CN=localhost && "
                 "echo subjectAltName=DNS:localhost >s.ext && "
                 "openssl x509 -req -in s.csr -CA ca.pem -CAkey ca.key" SIGN "-extfile s.ext -out server.pem && "
                 "openssl req " EC "-keyout client.key -out c.csr -subj /O=Example/CN=edge && "
                 "echo subjectAltName=URI:spiffe://example.com/ns/a,DNS:a.example.com,URI:spiffe://b >c.ext && "
                 "openssl x509 -req -in c.csr -CA ca.pem -CAkey ca.key" SIGN "-extfile c.ext -out client.pem && "
                 "openssl x509 -req -in c.csr -CA other.pem -CAkey other.key" SIGN "-extfile c.ext -out foreign.pem && "
                 "openssl x509 -req -in c.csr -CA ca.pem -CAkey ca.key -days -1 -CAcreateserial -out ended.pem && "
                 "openssl ec -in server.key -aes256 -passout pass:x -out locked.key && "
                 "echo nonsense >nonsense.pem && : >empty.pem");
}

static int tidy(void **state) {
    (void)state;
    return shell("rm -f *") || rmdir(folder);
}

static struct tls_context *context(const char *client_ca, bool require) {
    char why[512] = "", certificate[128], key[128], ca[128];
    snprintf(certificate, sizeof certificate, "%s", path("server.pem"));
    snprintf(key, sizeof key, "%s", path("server.key"));
    snprintf(ca, sizeof ca, "%s", path(client_ca ? client_ca : ""));
    struct tls_options o = {certificate, key, client_ca ? ca : NULL, require};
    struct tls_context *t = NULL;
    enum err e = tls_context_new(&o, &t, why, sizeof why);
    if (e) print_message("# %s\n", why);
    assert_int_equal(e, OK);
    return t;
}

static struct node *tls_node(struct tls_context *t, struct server_options options) {
    struct node *n = node_new(options);
    node_listen(n, "127.0.0.1:0", t, NULL);
    tls_context_release(t); /* the listener has its own */
    node_start(n);
    return n;
}

/* ---- a client ---- */

struct tls_client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    bool up;
};

static struct tls_client tls_connect(const struct node *n, const char *certificate, int version, const char *alpn,
                                     SSL_SESSION *session) {
    struct tls_client c = {.fd = client(n), .ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_load_verify_file(c.ctx, path("ca.pem"));
    SSL_CTX_set_verify(c.ctx, SSL_VERIFY_PEER, NULL);
    if (version) SSL_CTX_set_max_proto_version(c.ctx, version);
    if (certificate) {
        assert_int_equal(SSL_CTX_use_certificate_file(c.ctx, path(certificate), SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(c.ctx, path("client.key"), SSL_FILETYPE_PEM), 1);
    }
    c.ssl = SSL_new(c.ctx);
    if (alpn) SSL_set_alpn_protos(c.ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    if (session) SSL_set_session(c.ssl, session);
    SSL_set_tlsext_host_name(c.ssl, "localhost");
    SSL_set1_host(c.ssl, "localhost");
    SSL_set_fd(c.ssl, c.fd);
    c.up = SSL_connect(c.ssl) == 1;
    return c;
}

static void tls_end(struct tls_client *c) {
    if (c->up) SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
    ERR_clear_error();
}

/* Asks; what comes until `until`, or the end. */
static const char *tls_ask(struct tls_client *c, const char *text, const char *until) {
    static char got[1 << 16];
    size_t len = 0;
    got[0] = 0;
    if (*text && SSL_write(c->ssl, text, (int)strlen(text)) <= 0) return got;
    while (len + 1 < sizeof got && !strstr(got, until)) {
        int n = SSL_read(c->ssl, got + len, (int)(sizeof got - 1 - len));
        if (n <= 0) break;
        got[len += (size_t)n] = 0;
    }
    return got;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void versions_and_protocols(void **state) {
    (void)state;
    static const struct {
        int version;
        const char *alpn, *want;
    } rows[] = {
        {TLS1_3_VERSION, "\x08http/1.1\x02h2", "h2"},
        {TLS1_3_VERSION, "\x08http/1.1", "http/1.1"},
        {TLS1_2_VERSION, "\x02h2\x08http/1.1", "h2"},
        {TLS1_2_VERSION, NULL, ""},
        {TLS1_3_VERSION, "\x03xyz", NULL},
        {TLS1_1_VERSION, NULL, NULL},
    };
    struct node *n = tls_node(context(NULL, false), (struct server_options){0});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tls_client c = tls_connect(n, NULL, rows[i].version, rows[i].alpn, NULL);
        const unsigned char *chosen = NULL;
        unsigned len = 0;
        if (c.up) SSL_get0_alpn_selected(c.ssl, &chosen, &len);
        assert_int_equal(c.up, rows[i].want != NULL);
        if (c.up) assert_true(len == strlen(rows[i].want) && memcmp(chosen ? (const char *)chosen : "", rows[i].want, len) == 0);
        if (c.up) contains(tls_ask(&c, GET("/peer"), "010"), "\r\n\r\n127.0.0.1 010 ");
        tls_end(&c);
    }
    assert_int_equal(server_counters(n->server)->tls_failed, 2);
    node_down(n);
}

static void client_certificates(void **state) {
    (void)state;
    static const char full[] = "127.0.0.1 011 CN=edge,O=Example spiffe://example.com/ns/a spiffe://b a.example.com";
    static const struct {
        const char *certificate;
        bool require;
        const char *want; /* NULL: no connection */
    } rows[] = {
        {"client.pem", true, full},    {"client.pem", false, full}, {NULL, false, "127.0.0.1 010 "}, {NULL, true, NULL},
        {"foreign.pem", false, NULL}, {"foreign.pem", true, NULL}, {"ended.pem", false, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node *n = tls_node(context("ca.pem", rows[i].require), (struct server_options){0});
        struct tls_client c = tls_connect(n, rows[i].certificate, i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION, NULL, NULL);
        const char *text = c.up ? tls_ask(&c, GET("/peer"), rows[i].want ? rows[i].want : "never") : "";
        if (rows[i].want)
            contains(text, rows[i].want);
        else
            assert_string_equal(text, "");
        assert_int_equal(atomic_load(&n->calls), rows[i].want != NULL);
        tls_end(&c);
        node_down(n);
    }
}

/* Without client_ca a certificate that the client offers proves nothing. */
static void certificate_nobody_asked_for(void **state) {
    (void)state;
    struct node *n = tls_node(context(NULL, false), (struct server_options){0});
    struct tls_client c = tls_connect(n, "client.pem", 0, NULL, NULL);
    contains(tls_ask(&c, GET("/peer"), "010"), "\r\n\r\n127.0.0.1 010 ");
    tls_end(&c);
    node_down(n);
}

static void swap_context(struct node *n, void *ctx) {
    server_relisten(n->server, &(struct listen_options){.address = "127.0.0.1:0", .tls = ctx, .ctx = n->listener});
}

static void resumption(void **state) {
    (void)state;
    struct node *n = tls_node(context("ca.pem", true), (struct server_options){0});
    struct tls_client c = tls_connect(n, "client.pem", 0, NULL, NULL);
    contains(tls_ask(&c, GET("/peer"), "spiffe"), "011 CN=edge");
    SSL_SESSION *session = SSL_get1_session(c.ssl);
    tls_end(&c);
    c = tls_connect(n, NULL, 0, NULL, session); /* the session remembers who it was */
    assert_true(c.up && SSL_session_reused(c.ssl));
    contains(tls_ask(&c, GET("/peer"), "spiffe"), "011 CN=edge");
    tls_end(&c);
    struct tls_context *stricter = context("other.pem", true);
    node_post(n, swap_context, stricter);
    tls_context_release(stricter);
    c = tls_connect(n, "client.pem", 0, NULL, session); /* its tickets are worth nothing any more */
    assert_string_equal(c.up ? tls_ask(&c, GET("/peer"), "spiffe") : "", "");
    tls_end(&c);
    SSL_SESSION_free(session);
    node_down(n);
}

static void no_renegotiation(void **state) {
    (void)state;
    struct node *n = tls_node(context(NULL, false), (struct server_options){0});
    struct tls_client c = tls_connect(n, NULL, TLS1_2_VERSION, NULL, NULL);
    contains(tls_ask(&c, GET("/a"), "GET "), "GET ");
    SSL_renegotiate(c.ssl);
    assert_true(SSL_do_handshake(c.ssl) <= 0 || strcmp(tls_ask(&c, GET("/b"), "GET "), "") == 0);
    tls_end(&c);
    node_down(n);
}

/* Requests and replies of many records, several at once, deferred, and a whole conversation at the end. */
static void data_both_ways(void **state) {
    (void)state;
    struct node *n = tls_node(context(NULL, false), (struct server_options){0});
    struct tls_client c = tls_connect(n, NULL, 0, NULL, NULL);
    static char body[200000];
    memset(body, 'y', sizeof body - 1);
    SSL_write(c.ssl, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 199999\r\n\r\n", 57);
    assert_int_equal(SSL_write(c.ssl, body, sizeof body - 1), sizeof body - 1);
    node_wait_later(n, 1);
    assert_int_equal(http_pending_request(n->later[0])->body.len, sizeof body - 1);
    assert_true(http_pending_request(n->later[0])->peer->tls);
    node_release(n, 0);
    size_t got = 0, total = strlen("HTTP/1.1 200 OK\r\nContent-Length: 200004\r\n\r\nPOST ") + sizeof body - 1;
    for (int k; got < total && (k = SSL_read(c.ssl, body, sizeof body)) > 0;) got += (size_t)k;
    assert_int_equal(got, total);
    contains(tls_ask(&c, GET("/a") GET("/b") "GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "nothing"), "Connection: close");
    assert_int_equal(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    tls_end(&c);
    c = tls_connect(n, NULL, 0, NULL, NULL); /* it says its end, and still gets its reply */
    SSL_write(c.ssl, GET("/later"), (int)strlen(GET("/later")));
    node_wait_later(n, 2);
    SSL_shutdown(c.ssl);
    node_release(n, 1);
    contains(tls_ask(&c, "", "GET "), "200 OK");
    tls_end(&c);
    node_down(n);
}

static void never_reads(void **state) {
    (void)state;
    struct node *n = tls_node(context(NULL, false), (struct server_options){.idle_timeout_ms = 1500, .header_timeout_ms = 400});
    struct tls_client c = tls_connect(n, NULL, 0, NULL, NULL);
    for (int i = 0; i < 300; i++)
        if (SSL_write(c.ssl, GET("/big?200000"), (int)strlen(GET("/big?200000"))) <= 0) break;
    assert_true(wait_for((_Atomic uint64_t *)&server_counters(n->server)->timed_out, 1));
    assert_true(atomic_load(&n->calls) < 100);
    tls_end(&c);
    node_down(n);
}

static void bad_handshakes(void **state) {
    (void)state;
    struct node *n = tls_node(context(NULL, false), (struct server_options){.header_timeout_ms = 400});
    int plain = client(n), silent = client(n), half = client(n);
    uint64_t start = now_ms();
    say(plain, GET("/a"));
    say_bytes(half, "\x16\x03\x01\x02\x00\x01\x00", 7);
    lacks(hear_end(plain), "200 OK");
    hear_end(silent);
    hear_end(half);
    assert_in_range(now_ms() - start, 300, 2500);
    assert_int_equal(server_counters(n->server)->tls_failed, 1);
    assert_int_equal(server_counters(n->server)->timed_out, 2);
    assert_int_equal(atomic_load(&n->calls), 0);
    close(plain), close(silent), close(half);
    node_down(n);
}

static void bad_files(void **state) {
    (void)state;
    static const struct {
        const char *certificate, *key, *ca, *want;
        enum err err;
    } rows[] = {
        {"none.pem", "server.key", NULL, "/none.pem: No such file", ERR_IO},
        {"server.pem", "none.key", NULL, "/none.key: No such file", ERR_IO},
        {"server.pem", "server.key", "none.pem", "/none.pem: No such file", ERR_IO},
        {"", "server.key", NULL, "Is a directory", ERR_IO},
        {"empty.pem", "server.key", NULL, "/empty.pem: the file is empty", ERR_INVALID},
        {"nonsense.pem", "server.key", NULL, "/nonsense.pem: no start line", ERR_INVALID},
        {"server.pem", "nonsense.pem", NULL, "/nonsense.pem: ", ERR_INVALID},
        {"server.pem", "client.key", NULL, "/client.key: does not belong to the certificate ", ERR_INVALID},
        {"server.pem", "locked.key", NULL, "/locked.key: ", ERR_INVALID},
        {"server.pem", "server.key", "nonsense.pem", "client_ca ", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char why[512] = "", ca[128];
        snprintf(ca, sizeof ca, "%s", path(rows[i].ca ? rows[i].ca : ""));
        struct tls_options o = {path(rows[i].certificate), path(rows[i].key), rows[i].ca ? ca : NULL, false};
        struct tls_context *t = NULL;
        assert_int_equal(tls_context_new(&o, &t, why, sizeof why), rows[i].err);
        contains(why, rows[i].want);
        assert_null(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_and_protocols),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(certificate_nobody_asked_for),
        cmocka_unit_test(resumption),
        cmocka_unit_test(no_renegotiation),
        cmocka_unit_test(data_both_ways),
        cmocka_unit_test(never_reads),
        cmocka_unit_test(bad_handshakes),
        cmocka_unit_test(bad_files),
    };
    signal(SIGPIPE, SIG_IGN); /* the client's */
    return cmocka_run_group_tests(tests, certificates, tidy);
}
