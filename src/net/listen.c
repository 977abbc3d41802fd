/* Listeners: addresses, sockets, and taking connections from them.
 * in: addresses as text. out: accepted connections. owns: the sockets and what is bound for them. */
#include "net/conn.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 1024,
    ACCEPTS = 64,  /* taken from a socket at most, before the loop looks at connections again */
    PAUSE_MS = 200 /* without file descriptors: clients wait in the socket's queue */
};

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    };
    socklen_t len;
};

static bool is_unix(const char *address) { return strncmp(address, "unix:", 5) == 0; }

/* "unix:PATH", or "unix:@NAME" for a name without a file. */
static bool read_unix(const char *text, struct address *out, const char **why) {
    const char *path = text + 5;
    size_t n = strlen(path);
    bool abstract = *path == '@';
    if (n <= abstract) return *why = "want unix:PATH or unix:@NAME", false;
    if (n >= sizeof out->un.sun_path) return *why = "the path is too long for a socket", false;
    *out = (struct address){.un.sun_family = AF_UNIX};
    memcpy(out->un.sun_path, path, n);
    if (abstract) out->un.sun_path[0] = 0;
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + !abstract);
    return true;
}

/* "HOST:PORT" with an IP address, [brackets] around one of version 6, or nothing for all of version 4. */
static bool read_address(const char *text, struct address *out, const char **why) {
    if (is_unix(text)) return read_unix(text, out, why);
    char host[256], *end;
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtol(colon + 1, &end, 10) : -1;
    if (port < 0 || port > 65535 || *end || n >= sizeof host) return *why = "want HOST:PORT", false;
    memcpy(host, text, n);
    host[n] = 0;
    if (n > 1 && host[0] == '[' && host[n - 1] == ']')
        memmove(host, host + 1, n - 2), host[n - 2] = 0;
    bool is6 = strchr(host, ':') != NULL;
    *out = (struct address){.len = is6 ? sizeof out->v6 : sizeof out->v4};
    int bad = is6 ? uv_ip6_addr(host, (int)port, &out->v6)
                  : uv_ip4_addr(n ? host : "0.0.0.0", (int)port, &out->v4);
    if (bad) *why = "the host must be an IP address";
    return !bad;
}

static int open_socket(const struct address *a, const char **why) {
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) *why = strerror(errno);
    return fd;
}

/* Does anybody answer at a Unix socket's address? */
static bool answers(const struct address *a) {
    const char *why;
    int fd = open_socket(a, &why);
    if (fd < 0) return false;
    bool yes = connect(fd, &a->any, a->len) == 0 || errno == EAGAIN; /* EAGAIN: its queue is full */
    close(fd);
    return yes;
}

/* A socket file that a process left behind is in the way; anything else is not ours to remove. */
static bool clear_path(const struct address *a, const char **why) {
    struct stat st;
    if (!a->un.sun_path[0] || lstat(a->un.sun_path, &st)) return true;
    if (!S_ISSOCK(st.st_mode)) return *why = "the path exists and is not a socket", false;
    unlink(a->un.sun_path);
    return true;
}

static int bind_socket(const struct address *a, bool share, const char **why) {
    int one = 1, fd = open_socket(a, why);
    bool tcp = a->any.sa_family != AF_UNIX;
    if (fd < 0) return -1;
    if (tcp) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (tcp && share) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(fd, &a->any, a->len) == 0) return fd;
    *why = strerror(errno);
    close(fd);
    return -1;
}

enum err server_address_free(const char *address, const char **why) {
    struct address a;
    if (!read_address(address, &a, why)) return ERR_INVALID;
    if (a.any.sa_family == AF_UNIX)
        return answers(&a) ? (*why = "another process listens there", ERR_IO) : OK;
    int fd = bind_socket(&a, false, why); /* fails where anybody listens, whether they would share or not */
    if (fd < 0) return ERR_IO;
    close(fd);
    return OK;
}

static struct listener *find(struct server *s, const char *address) {
    for (struct listener *l = s->listeners; l; l = l->next)
        if (strcmp(l->address, address) == 0) return l;
    return NULL;
}

/* Another loop's socket for this one too. */
static int borrow(struct server *of, const char *address, const char **why) {
    pthread_mutex_lock(&of->listeners_lock);
    struct listener *l = find(of, address);
    int fd = l ? fcntl(l->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0) *why = l ? strerror(errno) : "the other loop does not listen there";
    pthread_mutex_unlock(&of->listeners_lock);
    return fd;
}

static void note_port(const struct listener *l, int fd, int *port) {
    struct address got = {.len = sizeof got.v6};
    if (!l->is_unix && port && getsockname(fd, &got.any, &got.len) == 0) *port = ntohs(got.v4.sin_port);
}

/* The file of a Unix socket that was made for us, to remove it when we are done. */
static void note_path(struct listener *l, const struct address *a) {
    struct stat st;
    l->bound = l->is_unix && a->un.sun_path[0] && lstat(a->un.sun_path, &st) == 0;
    if (l->bound) l->device = st.st_dev, l->inode = st.st_ino;
}

static int adopt(struct listener *l, int fd, const struct address *a, int *port) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    note_port(l, fd, port);
    note_path(l, a);
    return fd;
}

static int open_listener(struct listener *l, int *port, const char **why) {
    struct address a;
    if (!read_address(l->address, &a, why)) return -1;
    if (l->is_unix && !clear_path(&a, why)) return -1;
    int fd = bind_socket(&a, true, why);
    if (fd < 0) return -1;
    if (listen(fd, BACKLOG)) return *why = strerror(errno), close(fd), -1;
    note_port(l, fd, port);
    note_path(l, &a);
    return fd;
}

/* Another process may have put its own socket there meanwhile. */
static void remove_path(const struct listener *l) {
    struct stat st;
    if (l->bound && lstat(l->address + 5, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
        unlink(l->address + 5);
}

void listener_release(struct listener *l) {
    if (--l->refs) return;
    if (l->tls) tls_context_release(l->tls);
    free(l);
}

static void on_closed(uv_handle_t *handle) { listener_release(handle->data); }

static void listener_close(struct listener *l) {
    remove_path(l);
    close(l->fd);
    l->fd = -1;
    uv_close((uv_handle_t *)&l->poll, on_closed);
}

/* No file descriptors, or no memory for one: the sweep tries again. */
static void pause_accepting(struct listener *l) {
    l->paused_ms = uv_now(&l->server->loop);
    uv_poll_stop(&l->poll);
    atomic_fetch_add_explicit(&l->server->counts.paused, 1, memory_order_relaxed);
}

static bool passing(int e) { /* accept(2): errors of one connection, which is gone */
    return e == ECONNABORTED || e == EINTR || e == EPROTO || e == ENETDOWN || e == ENOPROTOOPT ||
           e == EHOSTDOWN || e == ENONET || e == EHOSTUNREACH || e == ENETUNREACH || e == EPERM;
}

static void take(struct listener *l, int most) {
    for (int i = most; i && l->fd >= 0; i--) {
        struct address from = {.len = sizeof from.un};
        int fd = accept4(l->fd, &from.any, &from.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            conn_open(l, fd, &from.any);
        else if (errno == EAGAIN)
            return;
        else if (!passing(errno)) {
            pause_accepting(l);
            return;
        }
    }
}

static void on_connection(uv_poll_t *poll, int status, int events) {
    struct listener *l = poll->data;
    (void)status, (void)events;
    /* Loops share a Unix socket: each takes one, so that the others get theirs. */
    take(l, l->is_unix ? 1 : ACCEPTS);
}

void listeners_close(struct server *s, bool take_waiting) {
    for (struct listener *l = s->listeners; l && take_waiting; l = l->next) take(l, BACKLOG);
    pthread_mutex_lock(&s->listeners_lock);
    while (s->listeners) {
        struct listener *l = s->listeners;
        s->listeners = l->next;
        uv_poll_stop(&l->poll);
        listener_close(l);
    }
    pthread_mutex_unlock(&s->listeners_lock);
}

void listeners_sweep(struct server *s, uint64_t now) {
    for (struct listener *l = s->listeners; l; l = l->next)
        if (l->paused_ms && now - l->paused_ms >= PAUSE_MS &&
            uv_poll_start(&l->poll, UV_READABLE, on_connection) == 0)
            l->paused_ms = 0;
}

static enum err start(struct listener *l, const char **why) {
    int e = uv_poll_init(&l->server->loop, &l->poll, l->fd);
    if (e) return *why = uv_strerror(e), remove_path(l), close(l->fd), listener_release(l), ERR_IO;
    l->poll.data = l;
    e = uv_poll_start(&l->poll, UV_READABLE, on_connection);
    if (e) return *why = uv_strerror(e), listener_close(l), ERR_IO;
    pthread_mutex_lock(&l->server->listeners_lock);
    l->next = l->server->listeners;
    l->server->listeners = l;
    pthread_mutex_unlock(&l->server->listeners_lock);
    return OK;
}

enum err server_listen(struct server *s, const struct listen_options *o, int *port, const char **why) {
    size_t n = strlen(o->address) + 1;
    struct listener *l = calloc(1, sizeof *l + n);
    if (!l) return *why = err_meaning(ERR_MEMORY), ERR_MEMORY;
    memcpy(l->address, o->address, n);
    l->server = s;
    l->refs = 1;
    l->ctx = o->ctx;
    l->tls = o->tls ? tls_context_acquire(o->tls) : NULL;
    l->is_unix = is_unix(o->address);
    struct address a;
    if (!read_address(o->address, &a, why)) {
        if (o->adopt > 0) close(o->adopt);
        return listener_release(l), ERR_INVALID;
    }
    l->fd = o->adopt > 0  ? adopt(l, o->adopt, &a, port)
            : o->accept_of ? borrow(o->accept_of, o->address, why)
                           : open_listener(l, port, why);
    if (l->fd < 0) return listener_release(l), ERR_IO;
    return start(l, why);
}

uint32_t server_sockets(struct server *s, struct server_socket *out, uint32_t max) {
    uint32_t n = 0;
    pthread_mutex_lock(&s->listeners_lock);
    for (struct listener *l = s->listeners; l && n < max; l = l->next) {
        int fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
        if (fd >= 0) out[n++] = (struct server_socket){l->address, fd};
    }
    pthread_mutex_unlock(&s->listeners_lock);
    return n;
}

void server_leave_paths(struct server *s) {
    pthread_mutex_lock(&s->listeners_lock);
    for (struct listener *l = s->listeners; l; l = l->next) l->bound = false;
    pthread_mutex_unlock(&s->listeners_lock);
}

/* Takes the first listener of that address off the list and closes its socket; its connections drain. */
static bool unlisten_one(struct server *s, const char *address) {
    pthread_mutex_lock(&s->listeners_lock);
    struct listener *l = find(s, address), **at = &s->listeners;
    if (l) {
        while (*at != l) at = &(*at)->next;
        *at = l->next;
        uv_poll_stop(&l->poll);
        listener_close(l);
    }
    pthread_mutex_unlock(&s->listeners_lock);
    for (struct conn *c = s->conns, *next; l && c; c = next) {
        next = c->next;
        if (c->listener == l) conn_drain(c);
    }
    return l != NULL;
}

/* A server may have adopted several sockets of one address. */
void server_unlisten(struct server *s, const char *address) {
    while (unlisten_one(s, address)) {
    }
}

void server_relisten(struct server *s, const struct listen_options *o) {
    for (struct listener *l = s->listeners; l; l = l->next) {
        if (strcmp(l->address, o->address) != 0) continue;
        struct tls_context *old = l->tls;
        l->ctx = o->ctx;
        l->tls = o->tls ? tls_context_acquire(o->tls) : NULL;
        if (old) tls_context_release(old);
    }
}
