/* TLS on one connection, without I/O. */
#ifndef REGENT_NET_TLS_SESSION_H
#define REGENT_NET_TLS_SESSION_H
#include "base/buf.h"
#include "net/http.h"
#include "net/tls.h"

struct tls_session;

enum tls_outcome {
    TLS_OK,    /* all bytes were taken */
    TLS_END,   /* the client has said all */
    TLS_FAILED /* the connection is of no more use; `sealed` may hold the alert that says why */
};

/* NULL: no memory. Acquires the context. */
struct tls_session *tls_session_new(struct tls_context *t);
void tls_session_free(struct tls_session *s);
/* The handshake is done. */
bool tls_session_established(const struct tls_session *s);
/* Takes what the client sent: plaintext is appended to `plain`, what is to be sent to `sealed`. */
enum tls_outcome tls_session_open(struct tls_session *s, const uint8_t *bytes, size_t len, struct buf *plain,
                                  struct buf *sealed);
/* Appends records with `plain` in them. false: no more use. */
bool tls_session_seal(struct tls_session *s, struct str plain, struct buf *sealed);
/* Appends the alert that says that no more comes. */
void tls_session_end(struct tls_session *s, struct buf *sealed);
/* Who the client's certificate says it is; views live as long as the session. false: no memory. */
bool tls_session_peer(struct tls_session *s, struct http_peer *peer);

#endif
