/* Fetches URLs: bounded, with certificates verified. libcurl is behind it, loaded when first needed (decision 0012). */
#ifndef REGENT_NET_FETCH_H
#define REGENT_NET_FETCH_H
#include "base/err.h"
#include "net/http.h"
#include <stdatomic.h>

struct fetcher; /* keeps connections; one thread at a time uses it */

/* Loads the library. ERR_UNSUPPORTED with a sentence in why: it is not installed. */
MUST_USE enum err fetcher_new(struct fetcher **out, char *why, size_t why_bytes);
void fetcher_free(struct fetcher *f);

enum { FETCH_VALUE_BYTES = 512 };
/* A response header that the caller wants: value "" when it did not come or is too long. */
struct fetch_wanted {
    const char *name; /* any case */
    char value[FETCH_VALUE_BYTES];
};

struct fetch_request {
    const char *url;    /* https://, or http:// to this machine only, unless allow_plain */
    const char *method; /* NULL: GET, or POST with a body */
    struct str body;
    const struct http_header *headers; /* "if-none-match" makes it conditional: status 304 comes back */
    uint32_t n_headers;
    uint32_t connect_timeout_ms, timeout_ms; /* 0: 5 s, 10 s; the second for all of it */
    uint32_t max_redirects;                  /* 0: a redirect is a reply like others */
    bool allow_plain;
    const char *unix_socket; /* path, or @NAME, to which the request goes whatever the URL's host; NULL: none */
    const char *ca_file; /* PEM; NULL: $SSL_CERT_FILE, or the system's */
    const _Atomic bool *cancel; /* looked at about once a second; NULL: none */
};
struct fetch_reply {
    int status; /* any that the server gave */
    struct fetch_wanted *wanted; /* the caller's */
    uint32_t n_wanted;
};
/* One request. The reply's body is appended to `body`, whose maximum bounds it. ERR_INVALID: the URL; ERR_LIMIT: the
 * reply is too large; ERR_DEADLINE: no whole reply in time, or cancelled; ERR_IO: no reply; all with a sentence in
 * why. ERR_MEMORY.
 * A status is no error. */
MUST_USE enum err fetch(struct fetcher *f, const struct fetch_request *request, struct buf *body,
                        struct fetch_reply *reply, char *why, size_t why_bytes);

#endif
