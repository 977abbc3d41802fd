/* HTTP/1.1 request parser (RFC 9112), without I/O. */
#ifndef REGENT_NET_HTTP1_H
#define REGENT_NET_HTTP1_H
#include "net/http.h"

struct http1_limits {
    size_t head_bytes; /* request line and headers */
    size_t body_bytes;
};

/* What is known of a request that has come in part, so that reading it in small pieces costs no
 * more than at once. Zero before each request; the same bytes, and more, must be given until it is
 * whole. */
struct http1_progress {
    size_t seen;                  /* bytes looked at */
    size_t head_bytes;            /* 0: the head is not whole */
    size_t missing;               /* body bytes that were missing then */
    size_t chunk_at, chunk_bytes; /* chunked body: where the walk stands, data before that */
};

enum http1_state {
    HTTP1_MORE,  /* not whole yet */
    HTTP1_DONE,  /* *request is filled in; *used bytes belong to it */
    HTTP1_ERROR, /* answer *status and close */
    HTTP1_EXPECT /* headers are whole, the client waits for 100 Continue before it sends the body */
};

/* Reads one request from the start of bytes[0..len), which may hold less or more than one. Header
 * names are lowered and chunked bodies joined in place, once the request is whole. Errors: 400 for
 * syntax, 413 and 431 past limits, 414 for a request line past the head's limit, 501 for other
 * transfer codings, 505 for other versions. */
enum http1_state http1_parse(char *bytes, size_t len, const struct http1_limits *limits,
                             struct http1_progress *progress, struct http_request *request,
                             size_t *used, int *status);
/* Status line, headers and body of a reply. */
void http1_write(struct buf *out, const struct http_reply *reply, bool keep_alive, bool head_only);

#endif
