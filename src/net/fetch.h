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

enum { FETCH_VALUE_BYTES = 512, FETCH_URL_BYTES = 4096 };
/* A response header that the caller wants: value "" when it did not come or is too long. */
struct fetch_wanted {
    const char *name; /* any case */
    char value[FETCH_VALUE_BYTES];
};

struct fetch_request {
    const char *url;    /* https://, or http:// to this machine only, unless allow_plain */
    const char *method; /* NULL: GET, or POST with a body; "HEAD", "PUT", "DELETE" … */
    struct str body;
    const struct http_header *headers; /* "if-none-match" makes it conditional: status 304 comes back */
    uint32_t n_headers;
    uint32_t connect_timeout_ms, timeout_ms; /* 0: 5 s, 10 s; the second for all of it */
    uint32_t max_redirects;                  /* 0: a redirect is a reply like others */
    bool allow_plain;
    const char *unix_socket; /* path, or @NAME, to which the request goes whatever the URL's host; NULL: none */
    const char *certificate, *key; /* PEM files, shown to the server; NULL: none */
    const char *aws_region;  /* signed for a service of this region (SigV4), with */
    const char *aws_keys;    /* "ACCESS_KEY_ID:SECRET" */
    const char *aws_service; /* NULL: "s3". All headers are signed; of two, neither name may begin with the other */
    const char *ca_file; /* PEM; NULL: $SSL_CERT_FILE, or the system's */
    const _Atomic bool *cancel; /* looked at about once a second; NULL: none */
};
struct fetch_reply {
    int status; /* any that the server gave */
    char redirect[FETCH_URL_BYTES]; /* where a redirect that was not followed leads, absolute; "" */
    struct fetch_wanted *wanted; /* the caller's */
    uint32_t n_wanted;
};
/* One request. The reply's body is appended to `body`, whose maximum bounds it. ERR_INVALID: the URL; ERR_LIMIT: the
 * reply is too large; ERR_DEADLINE: no whole reply in time, or cancelled; ERR_IO: no reply; all with a sentence in
 * why. ERR_MEMORY.
 * A status is no error. */
MUST_USE enum err fetch(struct fetcher *f, const struct fetch_request *request, struct buf *body,
                        struct fetch_reply *reply, char *why, size_t why_bytes);

/* Many requests at once on one thread, over kept connections, of which HTTP/2 needs one a server. */
struct fetch_set;
struct fetch_call {
    struct buf body; /* the caller's; its maximum bounds the reply */
    struct fetch_reply reply;
    /* Called once, by fetch_set_wait, with what fetch would return. The call is the caller's again. */
    void (*done)(struct fetch_call *call, enum err e, const char *why);
    struct fetch_transfer *transfer; /* the set's */
};
MUST_USE enum err fetch_set_new(uint32_t max_connections, struct fetch_set **out, char *why, size_t why_bytes);
/* Drops what is under way: `done` is not called. */
void fetch_set_free(struct fetch_set *s);
/* The request is used during this call only, but its body until the call is done. Errors as fetch's, after which `done`
 * is not called. */
MUST_USE enum err fetch_set_start(struct fetch_set *s, const struct fetch_request *request, struct fetch_call *call,
                                  char *why, size_t why_bytes);
/* `done` is not called any more. */
void fetch_set_cancel(struct fetch_set *s, struct fetch_call *call);
struct fetch_call *fetch_set_first(struct fetch_set *s); /* any that is under way; NULL: none is */
/* Moves bytes until something is done, fetch_set_wake was called, or the time is over; calls `done`. */
void fetch_set_wait(struct fetch_set *s, uint32_t timeout_ms);
void fetch_set_wake(struct fetch_set *s); /* from any thread */

#endif
