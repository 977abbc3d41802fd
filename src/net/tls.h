/* TLS for listeners: certificates, client certificates, ALPN. OpenSSL is behind it. */
#ifndef REGENT_NET_TLS_H
#define REGENT_NET_TLS_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

struct tls_context; /* counted; immutable, so that a reload makes another one */

struct tls_options {
    const char *certificate, *key; /* PEM files: chain, private key */
    const char *client_ca;         /* PEM file: who may vouch for clients; NULL: clients are not asked */
    bool require_client;           /* refuse connections without a client certificate */
};
/* TLS 1.2 and 1.3, ALPN h2 and http/1.1. why gets a sentence that names the file and what is wrong
 * with it. ERR_IO, ERR_INVALID, ERR_MEMORY. */
MUST_USE enum err tls_context_new(const struct tls_options *options, struct tls_context **out, char *why,
                                  size_t why_bytes);
struct tls_context *tls_context_acquire(struct tls_context *t);
void tls_context_release(struct tls_context *t);

#endif
