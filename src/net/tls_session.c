/* TLS on one connection: records in and out of memory, and who the client proved to be.
 * in: bytes of the wire, plaintext to send. out: plaintext, bytes for the wire. owns: OpenSSL's session, the names. */
#include "net/tls_session.h"
#include "net/tls_context.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

enum { RECORD_BYTES = 16 << 10, MAX_NAME_BYTES = 2048, MAX_NAMES_BYTES = 16 << 10 };

struct tls_session {
    struct tls_context *context;
    SSL *ssl;
    struct tls_wire wire;
    struct buf names;
};

struct tls_session *tls_session_new(struct tls_context *t) {
    struct tls_session *s = calloc(1, sizeof *s);
    SSL *ssl = s ? SSL_new(t->ctx) : NULL;
    BIO *wire = ssl ? BIO_new(t->wire) : NULL;
    if (!wire) {
        SSL_free(ssl);
        free(s);
        return NULL;
    }
    BIO_set_init(wire, 1);
    BIO_set_data(wire, &s->wire);
    SSL_set_bio(ssl, wire, wire);
    SSL_set_accept_state(ssl);
    s->context = tls_context_acquire(t);
    s->ssl = ssl;
    buf_init(&s->names, MAX_NAMES_BYTES);
    return s;
}

void tls_session_free(struct tls_session *s) {
    SSL_free(s->ssl);
    tls_context_release(s->context);
    buf_deinit(&s->names);
    free(s);
}

bool tls_session_established(const struct tls_session *s) { return SSL_is_init_finished(s->ssl); }

enum tls_outcome tls_session_open(struct tls_session *s, const uint8_t *bytes, size_t len, struct buf *plain,
                                  struct buf *sealed) {
    enum tls_outcome outcome = TLS_OK;
    s->wire = (struct tls_wire){bytes, len, sealed};
    ERR_clear_error(); /* the thread's queue: what others left would be taken for ours */
    for (;;) {
        uint8_t *to = buf_reserve(plain, RECORD_BYTES);
        if (!to) {
            outcome = TLS_FAILED;
            break;
        }
        int n = SSL_read(s->ssl, to, RECORD_BYTES);
        if (n > 0) {
            buf_commit(plain, (size_t)n);
            continue;
        }
        int e = SSL_get_error(s->ssl, n);
        if (e == SSL_ERROR_ZERO_RETURN)
            outcome = TLS_END;
        else if (e != SSL_ERROR_WANT_READ)
            outcome = TLS_FAILED;
        break;
    }
    if (outcome == TLS_FAILED) ERR_clear_error();
    s->wire = (struct tls_wire){0};
    return outcome;
}

bool tls_session_seal(struct tls_session *s, struct str plain, struct buf *sealed) {
    bool good = true;
    s->wire.sealed = sealed;
    while (good && plain.len) {
        size_t n = plain.len < RECORD_BYTES ? plain.len : RECORD_BYTES;
        int sent = SSL_write(s->ssl, plain.ptr, (int)n);
        good = sent > 0;
        if (good) plain = str_from(plain, (size_t)sent);
    }
    if (!good) ERR_clear_error();
    s->wire.sealed = NULL;
    return good && !sealed->err;
}

void tls_session_end(struct tls_session *s, struct buf *sealed) {
    if (!SSL_is_init_finished(s->ssl)) return;
    s->wire.sealed = sealed;
    SSL_shutdown(s->ssl);
    ERR_clear_error();
    s->wire.sealed = NULL;
}

/* ---- who the client is ---- */

/* Appends a name; views are made once all are there. A name with a zero or another control byte in it could be
 * taken for a shorter one: it is left out. */
static bool put_name(struct tls_session *s, const unsigned char *bytes, int len, size_t *at) {
    if (len <= 0 || len > MAX_NAME_BYTES) return false;
    for (int i = 0; i < len; i++)
        if (bytes[i] < ' ' || bytes[i] == 0x7f) return false;
    *at = s->names.len;
    buf_put(&s->names, bytes, (size_t)len);
    return !s->names.err;
}

static void put_subject(struct tls_session *s, X509 *cert, struct http_peer *peer) {
    BIO *text = BIO_new(BIO_s_mem());
    char *bytes;
    size_t at;
    if (text && X509_NAME_print_ex(text, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
        long n = BIO_get_mem_data(text, &bytes);
        if (n > 0 && n <= MAX_NAME_BYTES && put_name(s, (const unsigned char *)bytes, (int)n, &at))
            peer->subject.len = (size_t)n;
    }
    BIO_free(text);
}

struct places {
    size_t at[HTTP_MAX_PEER_NAMES];
};

static void put_alternative(struct tls_session *s, const ASN1_STRING *name, struct str *list, uint32_t *n,
                            struct places *places) {
    int len = ASN1_STRING_length(name);
    if (*n == HTTP_MAX_PEER_NAMES || !put_name(s, ASN1_STRING_get0_data(name), len, &places->at[*n])) return;
    list[(*n)++].len = (size_t)len;
}

static void put_alternatives(struct tls_session *s, X509 *cert, struct http_peer *peer, struct places *uris,
                             struct places *dns) {
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        if (g->type == GEN_URI)
            put_alternative(s, g->d.uniformResourceIdentifier, peer->uris, &peer->n_uris, uris);
        else if (g->type == GEN_DNS)
            put_alternative(s, g->d.dNSName, peer->dns_names, &peer->n_dns_names, dns);
    }
    GENERAL_NAMES_free(all);
}

/* A resumed session shows the certificate that it began with, which may have ended since. */
static bool in_time(const X509 *cert) {
    return X509_cmp_current_time(X509_get0_notBefore(cert)) < 0 && X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
}

bool tls_session_peer(struct tls_session *s, struct http_peer *peer) {
    struct places uris, dns;
    X509 *cert = SSL_get1_peer_certificate(s->ssl);
    peer->tls = true;
    if (cert && SSL_get_verify_result(s->ssl) == X509_V_OK && in_time(cert)) {
        put_subject(s, cert, peer);
        put_alternatives(s, cert, peer, &uris, &dns);
        const char *names = (const char *)s->names.ptr;
        peer->subject.ptr = names; /* first, or empty */
        for (uint32_t i = 0; i < peer->n_uris; i++) peer->uris[i].ptr = names + uris.at[i];
        for (uint32_t i = 0; i < peer->n_dns_names; i++) peer->dns_names[i].ptr = names + dns.at[i];
        peer->verified = true;
    }
    X509_free(cert);
    ERR_clear_error();
    return !s->names.err;
}
