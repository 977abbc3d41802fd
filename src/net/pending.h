/* Requests that outlive their handler. */
#ifndef REGENT_NET_PENDING_H
#define REGENT_NET_PENDING_H
#include "net/conn.h"

struct http_pending {
    const struct http_request *request; /* HTTP/2: the stream's; else `copy` */
    struct conn *conn;
    struct stream *stream;     /* NULL: HTTP/1.1 */
    struct http_pending *next; /* in the server's pool */
    _Atomic bool gone;
    struct http_request copy;
};

#endif
