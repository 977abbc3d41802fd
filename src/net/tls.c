/* TLS contexts: certificates, keys and rules that a listener's connections share.
 * in: PEM files. out: a context, or a sentence that names the file and what is wrong with it.
 * owns: OpenSSL's context. */
#include "net/tls_context.h"
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICKET_SECONDS = 3600 };

static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20"; /* of TLS 1.2; 1.3 has no others */

/* ---- what sessions call ---- */

static int bio_read(BIO *b, char *to, int room) {
    struct tls_wire *w = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (!w || w->len == 0) return BIO_set_retry_read(b), -1;
    size_t n = w->len < (size_t)room ? w->len : (size_t)room;
    memcpy(to, w->bytes, n);
    w->bytes += n;
    w->len -= n;
    return (int)n;
}

static int bio_write(BIO *b, const char *bytes, int len) {
    struct tls_wire *w = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (!w || !w->sealed || len < 0) return -1;
    buf_put(w->sealed, bytes, (size_t)len);
    return w->sealed->err ? -1 : len;
}

static long bio_ctrl(BIO *b, int command, long n, void *p) {
    (void)b, (void)n, (void)p;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *wire_method(void) {
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wire");
    if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) && BIO_meth_set_ctrl(m, bio_ctrl))
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* The first of the client's protocols that we speak, HTTP/2 before HTTP/1.1. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                           unsigned in_len, void *ctx) {
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    (void)ssl, (void)ctx;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int no_password(char *to, int room, int writing, void *ctx) { /* nobody is there to be asked */
    (void)to, (void)room, (void)writing, (void)ctx;
    return -1;
}

/* ---- files ---- */

struct problem {
    char *why;
    size_t bytes;
};

static enum err complain(struct problem *p, const char *what, const char *file) {
    unsigned long code = ERR_peek_error(); /* the first: the last only says where */
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(p->why, p->bytes, "%s %s: %s", what, file, reason ? reason : "not usable");
    ERR_clear_error();
    return ERR_INVALID;
}

/* What OpenSSL says about files that are not there is hard to read. */
static enum err readable(struct problem *p, const char *what, const char *file) {
    FILE *f = fopen(file, "rb");
    int c = f ? fgetc(f) : EOF, e = errno;
    bool empty = f && c == EOF && !ferror(f);
    if (f) fclose(f);
    if (c != EOF) return OK;
    snprintf(p->why, p->bytes, "%s %s: %s", what, file, empty ? "the file is empty" : strerror(e));
    return empty ? ERR_INVALID : ERR_IO;
}

static enum err load_certificate(SSL_CTX *ctx, const struct tls_options *o, struct problem *p) {
    enum err e = readable(p, "certificate", o->certificate);
    if (!e) e = readable(p, "key", o->key);
    if (e) return e;
    if (SSL_CTX_use_certificate_chain_file(ctx, o->certificate) != 1)
        return complain(p, "certificate", o->certificate);
    if (SSL_CTX_use_PrivateKey_file(ctx, o->key, SSL_FILETYPE_PEM) != 1) {
        if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH) {
            snprintf(p->why, p->bytes, "key %s: does not belong to the certificate %s", o->key, o->certificate);
            ERR_clear_error();
            return ERR_INVALID;
        }
        return complain(p, "key", o->key);
    }
    if (SSL_CTX_check_private_key(ctx) != 1) return complain(p, "key", o->key);
    return OK;
}

static enum err load_client_ca(SSL_CTX *ctx, const struct tls_options *o, struct problem *p) {
    static const unsigned char session_context[] = "regent";
    if (!o->client_ca) return OK;
    enum err e = readable(p, "client_ca", o->client_ca);
    if (e) return e;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(o->client_ca);
    if (!names || SSL_CTX_load_verify_file(ctx, o->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return complain(p, "client_ca", o->client_ca);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (o->require_client ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1);
    return OK;
}

static bool set_rules(SSL_CTX *ctx) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    /* Idle connections keep no records' buffers. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets carry all: loops share nothing */
    SSL_CTX_set_timeout(ctx, TICKET_SECONDS);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 && SSL_CTX_set_cipher_list(ctx, ciphers) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 1) == 1;
}

enum err tls_context_new(const struct tls_options *o, struct tls_context **out, char *why, size_t why_bytes) {
    struct problem p = {why, why_bytes};
    struct tls_context *t = calloc(1, sizeof *t);
    if (!t) return snprintf(why, why_bytes, "%s", err_meaning(ERR_MEMORY)), ERR_MEMORY;
    ERR_clear_error();
    atomic_init(&t->refs, 1);
    t->ctx = SSL_CTX_new(TLS_server_method());
    t->wire = wire_method();
    enum err e = t->ctx && t->wire && set_rules(t->ctx) ? OK : complain(&p, "OpenSSL", "context");
    if (!e) e = load_certificate(t->ctx, o, &p);
    if (!e) e = load_client_ca(t->ctx, o, &p);
    if (e)
        tls_context_release(t);
    else
        *out = t;
    return e;
}

struct tls_context *tls_context_acquire(struct tls_context *t) {
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void tls_context_release(struct tls_context *t) {
    if (atomic_fetch_sub(&t->refs, 1) != 1) return;
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->wire);
    free(t);
}
