/* One connection: shared by the HTTP/1.1 and HTTP/2 halves of the server. */
#ifndef REGENT_NET_CONN_H
#define REGENT_NET_CONN_H
#include "net/server.h"
#include <uv.h>

struct h2;

struct server {
    uv_loop_t loop;
    uv_async_t stop;
    uv_check_t check;
    uv_timer_t sweep;
    struct server_options options;
    struct listener *listeners;
    struct conn *conns; /* doubly linked */
    uint32_t n_conns;
    struct buf body;             /* reply bodies, reused */
    struct http_request request; /* being parsed; large, so not on the stack */
    uint64_t stopped_ms;
    bool stopping;
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct server *server;
    struct conn *next, **link;
    struct buf in, out;             /* unread bytes; bytes to send */
    size_t in_at;                   /* bytes of `in` that were consumed */
    uint64_t active_ms;             /* last time a request began or was answered */
    struct h2 *h2;                  /* NULL: HTTP/1.1, or not known yet */
    struct http1_progress progress; /* of the request at in_at */
    uint32_t n_writes;              /* writes under way */
    bool decided, closing, continued;
    bool close_after_write; /* no more requests */
    bool refused;           /* the last reply refuses a request that may still be coming */
    bool lingering;         /* all is sent; the client's bytes are thrown away */
};

void conn_close(struct conn *c);
/* Sends c->out as far as the socket takes it, the rest in the background. */
void conn_flush(struct conn *c);
/* Calls the handler with the server's reusable body. */
void conn_handle(struct conn *c, const struct http_request *request, struct http_reply *reply);

/* HTTP/2 (h2.c): takes bytes, gives frames into c->out. false: the connection is to be closed. */
bool h2_start(struct conn *c);
bool h2_feed(struct conn *c, const uint8_t *bytes, size_t len);
void h2_free(struct h2 *h);

#endif
