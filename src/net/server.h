/* Server core: event loops with listeners; HTTP/1.1 and HTTP/2 on each connection, recognised by
 * its first bytes. */
#ifndef REGENT_NET_SERVER_H
#define REGENT_NET_SERVER_H
#include "base/err.h"
#include "net/http.h"
#include "net/http1.h"
#include "net/tls.h"

struct server; /* one a thread: its event loop and connections */

struct server_options {
    struct http1_limits limits; /* 0: 64 KiB head, 16 MiB body */
    uint32_t idle_timeout_ms; /* 0: 60 s: connections that send nothing, or never finish a request */
    /* 0: 10 s: a request's head, and a TLS handshake, must be whole within it; its body, and what we
     * send, must make progress of 4 KiB in each such time. */
    uint32_t header_timeout_ms;
    uint32_t max_connections; /* 0: 10,000 a loop; more are closed at once */
    /* What unanswered requests of all connections may hold; past it those that bring more of a large one are refused
     * (503). 0: any amount. */
    size_t input_bytes;
    /* A client that has closed its half of the connection while it waits for a deferred reply is gone, as most are that
     * do so: their request is known to be (http_pending_gone) some seconds later. */
    bool half_closed_is_gone;
    http_handler *handler;
    void *handler_ctx;
    /* Is there room for more requests of whom http_mark named? If not, the connection's bytes stay
     * where they are until a later turn. May be NULL. Gets handler_ctx. */
    bool (*may_read)(void *ctx, const void *whose);
    void (*on_iteration)(
        void *ctx); /* once per loop turn, between requests: a quiescent point; may be NULL */
    void *iteration_ctx;
};

MUST_USE enum err server_new(const struct server_options *options, struct server **out);
struct listen_options {
    const char *address;      /* "HOST:PORT", "[V6]:PORT", "unix:PATH", "unix:@NAME" (abstract) */
    struct tls_context *tls;  /* NULL: plain; counted */
    const void *ctx;          /* every request's `listener` */
    struct server *accept_of; /* Unix sockets cannot be bound twice: take connections from the socket
                               * that this server listens on at the same address; NULL: bind */
    int adopt;                /* > 0: a socket that listens there already, taken over, also after an error */
};
/* TCP listens with SO_REUSEPORT so that each loop may listen on the same address. Port 0 takes a free
 * one; *port gets the one in use (may be NULL). *why gets a phrase on ERR_IO, ERR_INVALID. Before
 * server_run, or on the loop's thread. */
MUST_USE enum err server_listen(struct server *s, const struct listen_options *options, int *port,
                                const char **why);
/* Accepts no more on that address. Its connections live on until their requests under way are
 * answered; no further request comes with its ctx. On the loop's thread. */
void server_unlisten(struct server *s, const char *address);
/* From now on `ctx` and `tls` (counted) are what new requests and connections of that address get.
 * On the loop's thread. */
void server_relisten(struct server *s, const struct listen_options *options);

/* Something to do on the loop's thread, soon. The caller keeps it alive until it ran. */
struct server_task {
    struct server_task *next; /* the server's */
    void (*run)(void *ctx);
    void *ctx;
};
/* From any thread. */
void server_post(struct server *s, struct server_task *task);
/* true: the loop turns without waiting for events, on_iteration once a turn. On the loop's thread. */
void server_keep_turning(struct server *s, bool on);
/* Sends what was replied to deferred requests, and goes on with their connections, which may call the handler: now,
 * instead of at the end of the turn. From on_iteration only. */
void server_send(struct server *s);
uint32_t server_connections(const struct server *s); /* open now; on the loop's thread */
/* What happened since the start, for metrics. */
struct server_counts {
    _Atomic uint64_t accepted;
    _Atomic uint64_t refused;   /* connections past max_connections */
    _Atomic uint64_t timed_out; /* connections and HTTP/2 streams that made no progress */
    _Atomic uint64_t bad;       /* requests that broke HTTP, or its limits; floods */
    _Atomic uint64_t tls_failed; /* handshakes */
    _Atomic uint64_t paused;    /* times that accepting stopped for want of file descriptors */
};
/* Any thread may read it while the server lives. */
const struct server_counts *server_counters(const struct server *s);

/* Does nobody listen on the address yet? Loops share it (SO_REUSEPORT), so without this a second
 * process of the same user would quietly take half of the connections. ERR_IO, ERR_INVALID with *why. */
MUST_USE enum err server_address_free(const char *address, const char **why);
/* Runs until server_stop or server_drain, connections are closed and deferred requests are answered, for which
 * server_stop waits three seconds. */
void server_run(struct server *s);
/* From any thread or signal handler: accepts no more, finishes what is being answered, returns from
 * server_run. */
void server_stop(struct server *s);
/* The same gently, for `ms` at most, from any thread: what a client has begun to send is answered, clients are told
 * to come elsewhere (Connection: close, GOAWAY), and a connection is closed once nothing came on it for a second. */
void server_drain(struct server *s, uint32_t ms);

/* Sockets that listen, for another process to adopt. Any thread. */
struct server_socket {
    const char *address; /* server_listen's; while the listener lives */
    int fd;              /* the caller's to close */
};
/* So many at most go to out; their number. */
uint32_t server_sockets(struct server *s, struct server_socket *out, uint32_t max);
/* From now on the files of Unix sockets are somebody else's to remove. Any thread. */
void server_leave_paths(struct server *s);
/* Runs tasks that were posted. Requests that are still pending may be answered later: that only frees
 * them. */
void server_free(struct server *s);

#endif
