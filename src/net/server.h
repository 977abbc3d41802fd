/* Server core: event loops with listeners; HTTP/1.1 and HTTP/2 on each connection, recognised by
 * its first bytes. */
#ifndef REGENT_NET_SERVER_H
#define REGENT_NET_SERVER_H
#include "base/err.h"
#include "net/http.h"
#include "net/http1.h"

struct server; /* one a thread: its event loop and connections */

struct server_options {
    struct http1_limits limits; /* 0: 64 KiB head, 16 MiB body */
    uint32_t
        idle_timeout_ms; /* 0: 60 s: connections that send nothing, or never finish a request */
    uint32_t max_connections; /* 0: 10,000 a loop; more are closed at once */
    http_handler *handler;
    void *handler_ctx;
    void (*on_iteration)(
        void *ctx); /* once per loop turn, between requests: a quiescent point; may be NULL */
    void *iteration_ctx;
};

MUST_USE enum err server_new(const struct server_options *options, struct server **out);
/* Listens on "host:port" (or "unix:PATH"), SO_REUSEPORT so that each loop may listen on the same
 * address. Port 0 takes a free one; *port gets the one in use (may be NULL). *why gets a phrase on
 * ERR_IO. */
MUST_USE enum err server_listen(struct server *s, const char *address, int *port, const char **why);
/* Does nobody listen on the address yet? Loops share it (SO_REUSEPORT), so without this a second
 * process of the same user would quietly take half of the connections. ERR_IO, ERR_INVALID with *why. */
MUST_USE enum err server_address_free(const char *address, const char **why);
/* Runs until server_stop. */
void server_run(struct server *s);
/* From any thread or signal handler: accepts no more, finishes what is being answered, returns from
 * server_run. */
void server_stop(struct server *s);
void server_free(struct server *s);

#endif
