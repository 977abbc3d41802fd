/* HTTP messages as handlers see them, whatever version carried them. */
#ifndef REGENT_NET_HTTP_H
#define REGENT_NET_HTTP_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum { HTTP_MAX_HEADERS = 128, HTTP_MAX_REPLY_HEADERS = 48, HTTP_MAX_PEER_NAMES = 8 };

struct http_header {
    struct str name, value; /* name in lower case */
};

/* Who sent a request: the other end of its connection. Lives as long as the connection. */
struct http_peer {
    char address[48]; /* "192.0.2.7", "2001:db8::1"; "" for a Unix socket */
    uint16_t port;
    uint8_t ip[16];   /* network order; version 4 as ::ffff:a.b.c.d; zeroes for a Unix socket */
    bool unix_socket, tls;
    /* The client's certificate, empty unless the listener's client_ca vouches for it. */
    bool verified;
    struct str subject;                        /* RFC 2253: "CN=edge,O=Example" */
    struct str uris[HTTP_MAX_PEER_NAMES];      /* SAN of kind URI: "spiffe://example.com/ns/a" */
    struct str dns_names[HTTP_MAX_PEER_NAMES]; /* SAN of kind DNS */
    uint32_t n_uris, n_dns_names;
};

/* A whole request: views into the connection's buffer, valid until the handler returns. */
struct http_request {
    struct str method, target; /* target as sent: "/v1/data/a?pretty" */
    struct str path, query;    /* target cut at '?'; not decoded */
    struct http_header headers[HTTP_MAX_HEADERS];
    uint32_t n_headers;
    struct str body;
    bool keep_alive, http2, is_grpc;
    const struct http_peer *peer;
    const void *listener; /* ctx of the listen_options by which it came */
    uint64_t received_ms; /* of the loop's clock, when the request was whole */
    void *origin;         /* the server's: connection or stream */
};

/* What a handler answers. body is the handler's to write; its storage belongs to the server and is
 * reused. grpc_status >= 0 adds gRPC trailers and makes body one gRPC message. */
struct http_reply {
    int status;
    const char *content_type; /* NULL: none */
    struct buf *body;
    struct http_header extra[HTTP_MAX_REPLY_HEADERS];
    uint32_t n_extra;
    int grpc_status; /* -1: no gRPC */
    const char *grpc_message;
};
/* The state in which a handler gets a reply: 500, no body written, no gRPC. */
void http_reply_init(struct http_reply *reply, struct buf *body);

enum http_outcome {
    HTTP_REPLIED, /* *reply is filled in */
    HTTP_DEFERRED /* http_defer has taken the request */
};
/* Answers one request on the loop's thread; must not block. Views in *reply must stay valid until
 * the loop's next call of the handler. */
typedef enum http_outcome http_handler(void *ctx, const struct http_request *request,
                                       struct http_reply *reply);

/* A request that outlives its handler. */
struct http_pending;
/* Called in the handler, which then returns HTTP_DEFERRED. NULL: no memory, or too many are pending
 * on the connection: answer at once. Later requests of the same HTTP/1.1 connection wait, and its
 * socket is not read meanwhile; streams of HTTP/2 do not wait for each other. */
struct http_pending *http_defer(const struct http_request *request);
/* Any thread. Its views stay valid and unchanged until http_pending_reply. */
const struct http_request *http_pending_request(const struct http_pending *p);
/* Any thread: the client is gone, so that nobody waits for the answer. */
bool http_pending_gone(const struct http_pending *p);
/* Only on the thread of the server that p came from; exactly once. Frees p. Calls no handler. */
void http_pending_reply(struct http_pending *p, const struct http_reply *reply);

/* Notes whose requests the connection of this one carries (any pointer but NULL), for server_options.may_read; once
 * there were two of them it carries several, and is always read. On the loop's thread. */
void http_mark(const struct http_request *request, const void *whose);

/* First header of that name (lower case); empty with ptr NULL when there is none. */
struct str http_header_get(const struct http_request *r, struct str name);
/* tchar of RFC 9110: the character in lower case; 0 for others. */
static inline char http_token_lower(char c) {
    if (c >= 'A' && c <= 'Z') return (char)(c + 32);
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-') return c;
    return c && strchr("!#$%&'*+.^_`|~", c) ? c : 0;
}
/* Does If-None-Match name the tag (with its quotes, not empty)? A list of tags, weak ones too, or "*". */
bool http_has_tag(const struct http_request *r, struct str tag);
const char *http_reason(int status);
/* Can the reply's header be sent as it is? Not with bytes that could end it early, and not those by which messages
 * are framed. Others are left out. */
bool http_header_sendable(const struct http_header *h);
struct str http_number(uint64_t n, char digits[24]); /* decimal; a view into digits */
/* Decodes %XX (and '+' as space when form) into out, which has room for s.len bytes; length. -1: a
 * bad escape. */
long http_percent_decode(struct str s, bool form, char *out);

#endif
