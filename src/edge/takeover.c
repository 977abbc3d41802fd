/* Handing listening sockets from one process to the next.
 * in: a Unix socket of packets, sockets beside them. out: the same sockets in a new process. owns: what it received
 * and nobody took; the control socket.
 *
 *   new                          running
 *   "regent takeover 1"   ->     (connect; refused when another is at it, or a stranger asks)
 *   "sockets"             ->     "socket ADDRESS" with the socket, for each; "end N"
 *   "ready"               ->     stops accepting: "yours"
 *
 * Whoever falls silent before "ready" has changed nothing: the running node serves on. */
#include "edge/takeover.h"
#include "net/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    MESSAGE_BYTES = CONFIG_SHAPE_BYTES + 16,
    MAX_SOCKETS = 65536,
    ANSWER_S = 30,        /* for each message of the other side, where it is waited for */
    SYSTEMD_FIRST_FD = 3, /* sd_listen_fds(3) */
    SERVER_SOCKETS = 1024
};

static const char HELLO[] = "regent takeover 1";

/* ---- what was inherited ---- */

static bool same_address(const char *a, const char *b) {
    char shapes[2][CONFIG_SHAPE_BYTES];
    if (strcmp(a, b) == 0) return true;
    return !config_address_wrong(a, shapes[0]) && !config_address_wrong(b, shapes[1]) && shapes[0][0] &&
           strcmp(shapes[0], shapes[1]) == 0;
}

static enum err add(struct inherited *in, const char *address, int fd) {
    int shares = 0;
    socklen_t len = sizeof shares;
    if (in->n == in->cap) {
        uint32_t cap = in->cap ? 2 * in->cap : 16;
        struct inherited_socket *items = realloc(in->items, cap * sizeof *items);
        if (!items) return ERR_MEMORY;
        in->items = items;
        in->cap = cap;
    }
    struct inherited_socket *s = &in->items[in->n++];
    snprintf(s->address, sizeof s->address, "%s", address);
    s->fd = fd;
    s->shares = getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &shares, &len) == 0 && shares;
    return OK;
}

void inherited_deinit(struct inherited *in) {
    for (uint32_t i = 0; i < in->n; i++)
        if (in->items[i].fd >= 0) close(in->items[i].fd);
    free(in->items);
    *in = (struct inherited){0};
}

bool inherited_has(const struct inherited *in, const char *address) {
    for (uint32_t i = 0; i < in->n; i++)
        if (same_address(in->items[i].address, address)) return true;
    return false;
}

int inherited_take(struct inherited *in, const char *address, uint32_t loop, uint32_t loops) {
    uint32_t turn = 0;
    for (uint32_t i = 0; i < in->n; i++) {
        struct inherited_socket *s = &in->items[i];
        if (!same_address(s->address, address) || turn++ % loops != loop || s->fd < 0) continue;
        int fd = s->fd;
        s->fd = -1;
        return fd;
    }
    return -1;
}

bool inherited_shares(const struct inherited *in, const char *address) {
    bool all = strncmp(address, "unix:", 5) != 0;
    for (uint32_t i = 0; i < in->n; i++)
        if (same_address(in->items[i].address, address)) all = all && in->items[i].shares;
    return all;
}

/* A listening socket's own address, as a listener's; false: of a kind that no listener has. */
static bool address_of(int fd, char out[CONFIG_SHAPE_BYTES]) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } a = {0};
    socklen_t n = sizeof a;
    char host[INET6_ADDRSTRLEN];
    if (getsockname(fd, &a.any, &n)) return false;
    switch (a.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a.v4.sin_addr, host, sizeof host);
        snprintf(out, CONFIG_SHAPE_BYTES, "%s:%u", host, ntohs(a.v4.sin_port));
        return true;
    case AF_INET6:
        inet_ntop(AF_INET6, &a.v6.sin6_addr, host, sizeof host);
        snprintf(out, CONFIG_SHAPE_BYTES, "[%s]:%u", host, ntohs(a.v6.sin6_port));
        return true;
    case AF_UNIX:
        if (n <= offsetof(struct sockaddr_un, sun_path)) return false;
        snprintf(out, CONFIG_SHAPE_BYTES, "unix:%s%.*s", a.un.sun_path[0] ? "" : "@",
                 (int)(n - offsetof(struct sockaddr_un, sun_path) - !a.un.sun_path[0]),
                 a.un.sun_path + !a.un.sun_path[0]);
        return true;
    }
    return false;
}

enum err inherited_of_systemd(struct inherited *in) {
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    char address[CONFIG_SHAPE_BYTES];
    long n = pid && count && strtol(pid, NULL, 10) == getpid() ? strtol(count, NULL, 10) : 0;
    for (long i = 0; i < n && i < MAX_SOCKETS; i++) {
        int fd = SYSTEMD_FIRST_FD + (int)i;
        if (!address_of(fd, address)) continue;
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        enum err e = add(in, address, fd);
        if (e) return e;
    }
    return OK;
}

/* ---- messages ---- */

union control {
    struct cmsghdr head;
    char space[CMSG_SPACE(sizeof(int))];
};

static bool send_message(int channel, const char *text, int fd) {
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
    union control control = {.space = {0}};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control.space;
        m.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n;
    do n = sendmsg(channel, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)part.iov_len;
}

/* One message, 0-terminated, with the socket that came along, or -1. false: the end, or too late. */
static bool receive_message(int channel, char text[MESSAGE_BYTES], int *fd, int flags) {
    struct iovec part = {text, MESSAGE_BYTES - 1};
    union control control;
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t n;
    *fd = -1;
    do n = recvmsg(channel, &m, MSG_CMSG_CLOEXEC | flags);
    while (n < 0 && errno == EINTR);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof *fd))
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

static void wait_seconds(int channel, int seconds) {
    struct timeval t = {.tv_sec = seconds};
    setsockopt(channel, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(channel, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static bool unix_address(const char *address, struct sockaddr_un *out) {
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strncmp(address, "unix:/", 6) != 0 || strlen(address + 5) >= sizeof out->sun_path) return false;
    memcpy(out->sun_path, address + 5, strlen(address + 5));
    return true;
}

/* ---- the side that takes ---- */

enum err takeover_connect(const char *address, int *channel, char *why, size_t why_bytes) {
    struct sockaddr_un a;
    if (!unix_address(address, &a)) {
        snprintf(why, why_bytes, "%s: want unix:/PATH", address);
        return ERR_INVALID;
    }
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) return ERR_IO;
    wait_seconds(fd, ANSWER_S);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        int e = errno;
        close(fd);
        if (e == ENOENT || e == ECONNREFUSED) return ERR_NOT_FOUND;
        snprintf(why, why_bytes, "%s: %s", address, strerror(e));
        return ERR_IO;
    }
    char text[MESSAGE_BYTES];
    int none = -1;
    bool fine = send_message(fd, HELLO, -1) && receive_message(fd, text, &none, 0);
    if (none >= 0) close(none);
    if (!fine || strcmp(text, HELLO) != 0) {
        snprintf(why, why_bytes, "%s: %s", address, fine ? text : "the node there does not answer");
        close(fd);
        return ERR_IO;
    }
    *channel = fd;
    return OK;
}

enum err takeover_receive(int channel, struct inherited *in, char *why, size_t why_bytes) {
    char text[MESSAGE_BYTES];
    int fd;
    if (send_message(channel, "sockets", -1))
        while (receive_message(channel, text, &fd, 0)) {
            bool is_socket = strncmp(text, "socket ", 7) == 0 && fd >= 0;
            enum err e = is_socket ? add(in, text + 7, fd) : OK;
            if (fd >= 0 && (!is_socket || e)) close(fd);
            if (e) return e;
            if (!is_socket && strncmp(text, "end ", 4) == 0) {
                if (strtoul(text + 4, NULL, 10) == in->n) return OK;
                snprintf(why, why_bytes, "not all of the running node's sockets came");
                return ERR_IO;
            }
        }
    snprintf(why, why_bytes, "the running node did not give its sockets");
    return ERR_IO;
}

enum err takeover_ready(int channel) {
    char text[MESSAGE_BYTES];
    int none = -1;
    bool fine = send_message(channel, "ready", -1) && receive_message(channel, text, &none, 0);
    if (none >= 0) close(none);
    return fine && strcmp(text, "yours") == 0 ? OK : ERR_IO;
}

/* ---- the side that gives ---- */

struct handover {
    struct handover_options options;
    int listening, peer; /* peer -1: nobody */
    dev_t device;        /* of the socket's file, to remove only our own */
    ino_t inode;
    bool finished;
};

/* Under a name of its own first, so that at no moment nobody can be asked there. */
static int listen_at(const char *address, char *why, size_t why_bytes) {
    struct sockaddr_un a, final;
    char suffix[32];
    if (!unix_address(address, &final)) return snprintf(why, why_bytes, "%s: want unix:/PATH", address), -1;
    a = final;
    snprintf(suffix, sizeof suffix, ".%d", (int)getpid());
    size_t n = strlen(a.sun_path);
    if (n + strlen(suffix) >= sizeof a.sun_path) return snprintf(why, why_bytes, "%s: too long", address), -1;
    memcpy(a.sun_path + n, suffix, strlen(suffix));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(a.sun_path);
    if (fd >= 0 && fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
        chmod(a.sun_path, 0600) == 0 && listen(fd, 4) == 0 && rename(a.sun_path, final.sun_path) == 0)
        return fd;
    snprintf(why, why_bytes, "%s: %s", address, strerror(errno));
    if (fd >= 0) close(fd);
    unlink(a.sun_path);
    return -1;
}

enum err handover_new(const struct handover_options *o, struct handover **out, char *why, size_t why_bytes) {
    struct handover *h = calloc(1, sizeof *h);
    struct stat st;
    if (!h) return ERR_MEMORY;
    h->options = *o;
    h->peer = -1;
    h->listening = listen_at(o->address, why, why_bytes);
    if (h->listening < 0) {
        free(h);
        return ERR_IO;
    }
    if (lstat(o->address + 5, &st) == 0) h->device = st.st_dev, h->inode = st.st_ino;
    *out = h;
    return OK;
}

void handover_free(struct handover *h) {
    struct stat st;
    if (!h) return;
    const char *path = h->options.address + 5;
    if (!h->finished && lstat(path, &st) == 0 && st.st_dev == h->device && st.st_ino == h->inode) unlink(path);
    if (h->peer >= 0) close(h->peer);
    if (h->listening >= 0) close(h->listening);
    free(h);
}

uint32_t handover_fds(const struct handover *h, struct pollfd fds[2]) {
    if (!h || h->finished) return 0;
    fds[0] = (struct pollfd){.fd = h->listening, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = h->peer, .events = POLLIN};
    return h->peer >= 0 ? 2 : 1;
}

/* Only who runs this node, or the machine, may have its sockets. */
static bool is_ours(int fd) {
    struct ucred who;
    socklen_t n = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && (who.uid == geteuid() || who.uid == 0);
}

static void greet(struct handover *h) {
    int fd = accept4(h->listening, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    wait_seconds(fd, ANSWER_S);
    const char *no = !is_ours(fd) ? "this node belongs to another user" : h->peer >= 0 ? "another node is at it" : NULL;
    if (no) { /* what it said is read first: closing with it unread would take our answer away */
        char text[MESSAGE_BYTES];
        int none;
        wait_seconds(fd, 1);
        (void)receive_message(fd, text, &none, 0);
        (void)send_message(fd, no, -1);
        if (none >= 0) close(none);
        close(fd);
        return;
    }
    h->peer = fd;
}

static void drop(struct handover *h, const char *reason) {
    log_line(h->options.log, LOG_WARN, "takeover given up", "reason", reason, "serving", "this process", NULL);
    close(h->peer);
    h->peer = -1;
}

/* Sockets that several loops share go once: their inode tells. */
struct given {
    ino_t *inodes;
    uint32_t n;
};

static bool give(struct handover *h, const struct server_socket *s, struct given *given) {
    char text[MESSAGE_BYTES];
    struct stat st;
    if (fstat(s->fd, &st)) return false;
    for (uint32_t i = 0; i < given->n; i++)
        if (given->inodes[i] == st.st_ino) return true;
    if (given->n == MAX_SOCKETS) return false;
    given->inodes[given->n++] = st.st_ino;
    snprintf(text, sizeof text, "socket %s", s->address);
    return send_message(h->peer, text, s->fd);
}

static bool give_all(struct handover *h) {
    struct given given = {calloc(MAX_SOCKETS, sizeof(ino_t)), 0};
    struct server_socket *sockets = calloc(SERVER_SOCKETS, sizeof *sockets);
    char text[MESSAGE_BYTES];
    bool fine = given.inodes && sockets;
    for (uint32_t i = 0; fine && i < h->options.n_servers; i++) {
        uint32_t n = server_sockets(h->options.servers[i], sockets, SERVER_SOCKETS);
        for (uint32_t k = 0; k < n; k++) {
            fine = fine && give(h, &sockets[k], &given);
            close(sockets[k].fd);
        }
    }
    snprintf(text, sizeof text, "end %u", given.n);
    fine = fine && send_message(h->peer, text, -1);
    free(given.inodes);
    free(sockets);
    return fine;
}

bool handover_step(struct handover *h) {
    char text[MESSAGE_BYTES];
    int fd;
    struct pollfd fds[2];
    uint32_t n = handover_fds(h, fds);
    if (!n || poll(fds, n, 0) <= 0) return false;
    if (n > 1 && fds[1].revents) {
        bool said = receive_message(h->peer, text, &fd, MSG_DONTWAIT);
        if (fd >= 0) close(fd);
        if (said && strcmp(text, "ready") == 0) {
            for (uint32_t i = 0; i < h->options.n_servers; i++) server_leave_paths(h->options.servers[i]);
            return true;
        }
        if (!said)
            drop(h, "the new process is gone");
        else if (strcmp(text, HELLO) == 0 ? !send_message(h->peer, HELLO, -1)
                                          : strcmp(text, "sockets") != 0 || !give_all(h))
            drop(h, "the new process does not speak as it should");
    }
    if (fds[0].revents) greet(h);
    return false;
}

void handover_finish(struct handover *h) {
    h->finished = true;
    (void)send_message(h->peer, "yours", -1);
}
