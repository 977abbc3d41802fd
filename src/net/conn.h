/* Inside the server: loops, listeners, connections. Shared by this directory's files. */
#ifndef REGENT_NET_CONN_H
#define REGENT_NET_CONN_H
#include "net/server.h"
#include "net/tls_session.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <uv.h>

enum {
    SWEEP_MS = 250,            /* between two looks at all connections */
    READ_BYTES = 16 << 10,     /* a connection's buffer at least */
    POOLED_BYTES = 256 << 10,  /* larger buffers are not kept */
    POOLED_BUFFERS = 64,
    MAX_OUT_BYTES = 64 << 20,  /* one reply and what waits before it */
    BACKLOG_BYTES = 256 << 10, /* with so much unsent a connection is not read */
    LINGER_MS = 2000,          /* how long a refused client may go on sending, so that it gets to read why */
    GRACE_MS = 3000,           /* how long replies may take to leave once the server stops */
    QUIET_MS = 1000,           /* of a connection's silence, after which a server that drains closes it */
    LARGE_BYTES = 1 << 20,     /* a request that is refused when too much is held */
    PROGRESS_BYTES = 4 << 10   /* that must come, or go, in header_timeout_ms */
};

struct h2;
struct stream;
struct conn;

/* Storage of buffers that hold nothing, so that idle connections need none and busy ones do not ask
 * malloc; what was used last is taken first, and still in the processor's cache. */
struct buf_pool {
    struct {
        uint8_t *ptr;
        size_t cap;
    } free[POOLED_BUFFERS];
    uint32_t n;
};

struct server {
    uv_loop_t loop;
    uv_async_t stop, wake;
    uv_check_t check;
    uv_idle_t turn;
    uv_timer_t sweep;
    struct server_options options;
    pthread_mutex_t listeners_lock; /* of the list and its sockets; other loops take sockets from it */
    struct listener *listeners;
    struct conn *conns;   /* open ones, doubly linked */
    struct conn *woken;   /* to be looked at before this turn of the loop ends */
    struct conn *closed;  /* gone, but for requests that are pending */
    _Atomic(struct server_task *) tasks; /* newest first */
    uint32_t n_conns, n_pending;
    size_t held_bytes;           /* of requests that are not answered, for input_bytes */
    struct buf body;             /* reply bodies, reused */
    struct buf sealed;           /* TLS records on their way out, reused */
    struct http_request request; /* HTTP/1.1's, being parsed; large, so not on the stack */
    struct buf_pool pool;
    struct http_pending *pendings; /* unused ones */
    uint32_t n_pendings;
    struct stream *streams; /* unused ones */
    uint32_t n_streams;
    struct server_counts counts;
    _Atomic uint32_t drain_ms; /* 0: stop at once */
    uint64_t stopped_ms, grace_ms;
    bool stopping, draining;
    uint8_t cipher[2 * READ_BYTES]; /* what came by TLS, before it is opened */
};

struct listener {
    uv_poll_t poll;
    struct server *server;
    struct listener *next;
    const void *ctx;
    struct tls_context *tls;
    uint32_t refs;  /* the open socket, and connections */
    int fd;         /* -1: closed */
    bool is_unix, bound; /* bound: the file is ours to remove */
    uint64_t paused_ms;  /* 0: accepting */
    dev_t device;
    ino_t inode;
    char address[];
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct server *server; /* NULL: freed before the last pending request was answered */
    struct listener *listener;
    struct conn *next, **link;
    struct conn *woken_next;
    struct buf in, out;             /* unread bytes; bytes to send. Their storage is the pool's when empty */
    size_t in_at;                   /* bytes of `in` that were consumed */
    size_t charged;                 /* its part of the server's held_bytes */
    struct tls_session *tls;        /* NULL: plain */
    struct buf waiting;             /* TLS records that wait for others to be sent */
    struct h2 *h2;                  /* NULL: HTTP/1.1, or not known yet */
    struct http1_progress progress; /* of the request at in_at */
    struct http_pending *pending;   /* HTTP/1.1: the one at in_at */
    size_t pending_bytes;           /* of `in`, which belong to it */
    uint64_t active_ms;             /* last time a request began or was answered */
    uint64_t began_ms;              /* first byte of the request that is being received */
    uint64_t mark_ms;               /* progress is measured from here: */
    size_t mark_bytes;
    uint64_t write_ms; /* last time the socket took something of what waits */
    size_t write_bytes;
    uint32_t n_pending; /* requests deferred */
    const void *whose;  /* http_mark's */
    bool of_several;    /* it named two */
    bool skipped;       /* not read for server_options.may_read */
    bool decided, closing, gone, continued, woken, reading, established;
    bool writing;           /* libuv sends the rest of something */
    bool held;              /* requests in `in` wait because too much is unsent */
    bool draining;          /* the server stops, or the listener is gone: no further requests */
    bool retiring;          /* the server drains: one more request of HTTP/1.1 */
    bool eof;               /* the client has said all */
    bool close_after_write; /* no more requests */
    bool refused;           /* the last reply refuses a request that may still be coming */
    bool lingering;         /* all is sent; the client's bytes are thrown away */
    struct http_peer peer;
};

/* conn.c */
void conn_open(struct listener *l, int fd, const struct sockaddr *from);
void conn_close(struct conn *c);
/* Lets what is under way be answered, then closes. */
void conn_drain(struct conn *c);
/* The server drains: the next reply is the last, unless the client falls silent before. */
void conn_retire(struct conn *c);
/* Looks at the connection again before this turn ends: sends what lies in `out` or in h2, reads on. */
void conn_wake(struct conn *c);
void conn_run_woken(struct server *s);
/* Calls the handler with the server's reusable body. */
enum http_outcome conn_handle(struct conn *c, struct http_request *request, struct http_reply *reply);
/* Closes it if it has been silent, or busy sending one request, for too long. */
void conn_sweep(struct conn *c, uint64_t now);
/* A request was answered that had been deferred. May free c. */
void conn_pending_done(struct conn *c);
bool conn_backlogged(const struct conn *c);

/* h1.c: answers every whole request in c->in. */
void h1_serve(struct conn *c);
void h1_refuse(struct conn *c, int status);
void h1_resume(struct conn *c, const struct http_reply *reply); /* the pending request's reply */

/* HTTP/2 (h2.c): takes bytes, gives frames into c->out. false: the connection is to be closed. */
bool h2_start(struct conn *c);
bool h2_feed(struct conn *c, const uint8_t *bytes, size_t len);
bool h2_pull(struct conn *c); /* frames that wait to be sent */
void h2_goaway(struct conn *c);
void h2_notice(struct conn *c); /* a GOAWAY will follow: begin no new streams */
bool h2_idle(const struct conn *c); /* no stream is open */
size_t h2_held(const struct conn *c); /* bytes of its requests' bodies */
void h2_sweep(struct conn *c, uint64_t now);
void h2_close(struct h2 *h); /* the connection is gone: only pending requests stay */
void h2_free(struct h2 *h);
void h2_free_pool(struct server *s);
void h2_resume(struct stream *s, const struct http_reply *reply);
void h2_defer(struct stream *s, struct http_pending *p);
struct conn *h2_conn(const struct stream *s);

/* pending.c */
void pending_gone(struct http_pending *p);
void pending_free_pool(struct server *s);

/* listen.c */
void listener_release(struct listener *l);
void listeners_close(struct server *s, bool take_waiting); /* also the connections that wait in sockets' queues */
void listeners_sweep(struct server *s, uint64_t now);

/* server.c */
void pool_lend(struct buf_pool *p, struct buf *b);   /* gives storage to a buffer that has none */
void pool_return(struct buf_pool *p, struct buf *b); /* takes an empty buffer's storage back */
void server_done_if_empty(struct server *s);

#endif
