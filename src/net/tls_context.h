/* What TLS sessions need of their context. */
#ifndef REGENT_NET_TLS_CONTEXT_H
#define REGENT_NET_TLS_CONTEXT_H
#include "base/buf.h"
#include "net/tls.h"
#include <openssl/ssl.h>
#include <stdatomic.h>

struct tls_context {
    SSL_CTX *ctx;
    BIO_METHOD *wire; /* BIOs whose data is a struct tls_wire */
    _Atomic uint32_t refs;
};

/* What OpenSSL may read, and where it may write, during one call; NULL between calls. */
struct tls_wire {
    const uint8_t *bytes;
    size_t len;
    struct buf *sealed;
};

#endif
