/* HTTP messages as handlers see them, whatever version carried them. */
#ifndef REGENT_NET_HTTP_H
#define REGENT_NET_HTTP_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum { HTTP_MAX_HEADERS = 128 };

struct http_header {
    struct str name, value; /* name in lower case */
};

/* A whole request: views into the connection's buffer, valid until the handler returns. */
struct http_request {
    struct str method, target; /* target as sent: "/v1/data/a?pretty" */
    struct str path, query;    /* target cut at '?'; not decoded */
    struct http_header headers[HTTP_MAX_HEADERS];
    uint32_t n_headers;
    struct str body;
    bool keep_alive, http2, is_grpc;
};

/* What a handler answers. body is the handler's to write; its storage belongs to the server and is
 * reused. grpc_status >= 0 adds gRPC trailers and makes body one gRPC message. */
struct http_reply {
    int status;
    const char *content_type; /* NULL: none */
    struct buf *body;
    struct http_header extra[4];
    uint32_t n_extra;
    int grpc_status; /* -1: no gRPC */
    const char *grpc_message;
};

/* Answers one request on the loop's thread; must not block. */
typedef void http_handler(void *ctx, const struct http_request *request, struct http_reply *reply);

/* First header of that name (lower case); empty with ptr NULL when there is none. */
struct str http_header_get(const struct http_request *r, struct str name);
const char *http_reason(int status);
/* Decodes %XX (and '+' as space when form) into out, which has room for s.len bytes; length. -1: a
 * bad escape. */
long http_percent_decode(struct str s, bool form, char *out);

#endif
