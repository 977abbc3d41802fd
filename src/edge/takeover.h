/* Sockets that outlive a process: a new node takes those of the running one over, or gets systemd's. */
#ifndef REGENT_EDGE_TAKEOVER_H
#define REGENT_EDGE_TAKEOVER_H
#include "base/err.h"
#include "edge/config_keys.h"
#include <poll.h>

/* Listening sockets that somebody else opened. */
struct inherited {
    struct inherited_socket {
        char address[CONFIG_SHAPE_BYTES]; /* as a listener's */
        int fd;                           /* -1: taken */
        bool shares;                      /* SO_REUSEPORT: others may listen there too */
    } * items;
    uint32_t n, cap;
};
void inherited_deinit(struct inherited *in); /* closes what nobody took */
/* Is there a socket for that address, also if it was taken? */
bool inherited_has(const struct inherited *in, const char *address);
/* A socket of that address for loop `loop` of `loops`, which deal them out in turns; -1: none (any more). */
int inherited_take(struct inherited *in, const char *address, uint32_t loop, uint32_t loops);
/* May each loop open a further socket beside those of that address (SO_REUSEPORT)? */
bool inherited_shares(const struct inherited *in, const char *address);
/* Adds what systemd's socket activation brought (LISTEN_FDS). Once, before there are threads. */
MUST_USE enum err inherited_of_systemd(struct inherited *in);

/* The side that takes: connects to a running node's "unix:PATH". ERR_NOT_FOUND: no node is there; ERR_IO, with why:
 * it refuses, or is no such node. *channel is to be closed by the caller. */
MUST_USE enum err takeover_connect(const char *address, int *channel, char *why, size_t why_bytes);
/* Gets its sockets. */
MUST_USE enum err takeover_receive(int channel, struct inherited *in, char *why, size_t why_bytes);
/* Says that this process serves; returns when the other one accepts no more. ERR_IO: it is gone. */
MUST_USE enum err takeover_ready(int channel);

/* The side that gives. */
struct handover;
struct server;
struct handover_options {
    const char *address;     /* "unix:PATH" */
    struct server **servers; /* whose sockets are given; in use */
    uint32_t n_servers;
    const struct log *log;
};
/* Listens there, in the place of whatever node did before. ERR_IO, ERR_INVALID with why. */
MUST_USE enum err handover_new(const struct handover_options *options, struct handover **out, char *why,
                               size_t why_bytes);
void handover_free(struct handover *h);
/* What to poll for: at most two; their number. */
uint32_t handover_fds(const struct handover *h, struct pollfd fds[2]);
/* Does what can be done now. true: a new node serves on our sockets, whose paths are its own from now on, and waits to
 * be told by handover_finish that we accept no more. */
bool handover_step(struct handover *h);
void handover_finish(struct handover *h);

#endif
