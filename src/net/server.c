/* Event loop, listeners, connections and the HTTP/1.1 half.
 * in: bytes of clients. out: replies from the handler. owns: the loop, its connections and their
 * buffers. */
#include "net/server.h"
#include "net/conn.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    DEFAULT_HEAD_BYTES = 64 << 10,
    DEFAULT_BODY_BYTES = 16 << 20,
    DEFAULT_IDLE_MS = 60000,
    DEFAULT_CONNECTIONS = 10000,
    READ_BYTES = 16 << 10,
    MAX_OUT_BYTES = 64 << 20, /* a client that reads no replies is closed past this */
    BACKLOG = 1024,
    LINGER_MS = 2000, /* how long a refused client may go on sending, so that it gets to read why */
    GRACE_MS = 3000   /* how long replies may take to leave once the server stops */
};

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct server *server;
    struct listener *next;
    bool is_pipe;
};

struct write {
    uv_write_t req;
    struct conn *conn;
    uint8_t *bytes;
};

static void on_closed(uv_handle_t *handle) {
    struct conn *c = handle->data;
    if (c->h2) h2_free(c->h2);
    buf_deinit(&c->in);
    buf_deinit(&c->out);
    free(c);
}

void conn_close(struct conn *c) {
    if (c->closing) return;
    c->closing = true;
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    c->server->n_conns--;
    uv_close(&c->uv.handle, on_closed);
}

/* All is sent. Closing while a refused client still sends would reset the connection before it has
 * read the reply: such a one gets the end of our side first, and its bytes are thrown away for a
 * while. */
static void finish(struct conn *c) {
    int fd;
    if (c->n_writes || c->closing || c->lingering) return;
    if (!c->refused || uv_fileno(&c->uv.handle, &fd) || shutdown(fd, SHUT_WR)) {
        conn_close(c);
        return;
    }
    c->lingering = true;
    c->active_ms = uv_now(&c->server->loop);
}

static void on_written(uv_write_t *req, int status) {
    struct write *w = req->data;
    struct conn *c = w->conn;
    free(w->bytes);
    free(w);
    c->n_writes--;
    if (status < 0)
        conn_close(c);
    else if (c->close_after_write)
        finish(c);
}

/* Hands the rest of c->out over to libuv. */
static void write_later(struct conn *c, size_t sent) {
    struct write *w = calloc(1, sizeof *w);
    if (!w) {
        conn_close(c);
        return;
    }
    *w = (struct write){.conn = c, .bytes = c->out.ptr};
    w->req.data = w;
    uv_buf_t b = uv_buf_init((char *)c->out.ptr + sent, (unsigned)(c->out.len - sent));
    c->out.ptr = NULL;
    c->out.len = c->out.cap = 0;
    c->n_writes++;
    if (uv_write(&w->req, &c->uv.stream, &b, 1, on_written) != 0) {
        c->n_writes--;
        free(w->bytes);
        free(w);
        conn_close(c);
    }
}

void conn_flush(struct conn *c) {
    if (c->closing) return;
    if (c->out.err) {
        conn_close(c);
        return;
    }
    size_t sent = 0;
    if (c->out.len && c->n_writes == 0) {
        uv_buf_t b = uv_buf_init((char *)c->out.ptr, (unsigned)c->out.len);
        int n = uv_try_write(&c->uv.stream, &b, 1);
        if (n > 0)
            sent = (size_t)n;
        else if (n != UV_EAGAIN) {
            conn_close(c);
            return;
        }
    }
    if (sent < c->out.len) {
        if (uv_stream_get_write_queue_size(&c->uv.stream) > MAX_OUT_BYTES)
            conn_close(c);
        else
            write_later(c, sent);
        return;
    }
    c->out.len = 0;
    if (c->close_after_write) finish(c);
}

void conn_handle(struct conn *c, const struct http_request *request, struct http_reply *reply) {
    struct server *s = c->server;
    buf_clear(&s->body);
    *reply = (struct http_reply){.status = 500, .body = &s->body, .grpc_status = -1};
    s->options.handler(s->options.handler_ctx, request, reply);
    if (s->body.err) {
        buf_clear(&s->body);
        *reply = (struct http_reply){
            .status = 500, .body = &s->body, .grpc_status = request->is_grpc ? 8 : -1};
    }
    c->active_ms = uv_now(&s->loop);
}

static void refuse(struct conn *c, int status) {
    struct buf *body = &c->server->body;
    buf_clear(body);
    buf_printf(body, "{\n  \"code\": \"invalid_parameter\",\n  \"message\": \"%s\"\n}\n",
               http_reason(status));
    struct http_reply reply = {
        .status = status, .content_type = "application/json", .body = body, .grpc_status = -1};
    http1_write(&c->out, &reply, false, false);
    c->close_after_write = c->refused = true;
}

/* Answers every whole request in c->in. */
static void serve_http1(struct conn *c) {
    struct server *s = c->server;
    while (!c->close_after_write) {
        size_t used = 0;
        int status = 0;
        char *at = (char *)c->in.ptr + c->in_at;
        enum http1_state state = http1_parse(at, c->in.len - c->in_at, &s->options.limits,
                                             &c->progress, &s->request, &used, &status);
        if (state == HTTP1_MORE) return;
        if (state == HTTP1_EXPECT) {
            if (!c->continued) buf_cstr(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
            c->continued = true;
            return;
        }
        if (state == HTTP1_ERROR) {
            refuse(c, status);
            return;
        }
        struct http_reply reply;
        bool keep = s->request.keep_alive && !s->stopping;
        conn_handle(c, &s->request, &reply);
        http1_write(&c->out, &reply, keep, str_is(s->request.method, "HEAD"));
        c->close_after_write = !keep;
        c->continued = false;
        c->in_at += used;
    }
}

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* Which protocol the first bytes speak: true once it is known. */
static bool decide_protocol(struct conn *c) {
    size_t n = c->in.len < sizeof preface - 1 ? c->in.len : sizeof preface - 1;
    bool same = memcmp(c->in.ptr, preface, n) == 0;
    if (same && n < sizeof preface - 1) return false;
    c->decided = true;
    if (same && !h2_start(c)) conn_close(c);
    return !c->closing;
}

static void serve(struct conn *c) {
    if (c->close_after_write) {
        c->in.len = c->in_at = 0;
        return;
    }
    if (!c->decided && !decide_protocol(c)) return;
    if (c->h2) {
        bool ok = h2_feed(c, c->in.ptr, c->in.len);
        c->in.len = 0;
        if (!ok) c->close_after_write = true;
    } else {
        serve_http1(c);
        if (c->in_at == c->in.len) {
            c->in.len = c->in_at = 0;
        } else if (c->in_at) {
            memmove(c->in.ptr, c->in.ptr + c->in_at, c->in.len - c->in_at);
            c->in.len -= c->in_at;
            c->in_at = 0;
        }
    }
    conn_flush(c);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *b) {
    (void)suggested;
    struct conn *c = handle->data;
    size_t room = c->in.cap > c->in.len + READ_BYTES ? c->in.cap - c->in.len : READ_BYTES;
    uint8_t *p = buf_reserve(&c->in, room);
    *b = uv_buf_init((char *)p, p ? (unsigned)room : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b) {
    (void)b;
    struct conn *c = stream->data;
    if (n == 0 || c->closing) return;
    if (n < 0) { /* a client that has said all may still wait for its replies */
        c->close_after_write = true;
        uv_read_stop(stream);
        if (n != UV_EOF || c->n_writes == 0) conn_close(c);
        return;
    }
    if (c->in.len == 0 && !c->lingering) c->active_ms = uv_now(&c->server->loop);
    buf_commit(&c->in, (size_t)n);
    serve(c);
}

static void on_connection(uv_stream_t *stream, int status) {
    struct listener *l = stream->data;
    struct server *s = l->server;
    struct conn *c = status < 0 ? NULL : calloc(1, sizeof *c);
    if (!c) return;
    int e = l->is_pipe ? uv_pipe_init(&s->loop, &c->uv.pipe, 0) : uv_tcp_init(&s->loop, &c->uv.tcp);
    if (e) {
        free(c);
        return;
    }
    c->server = s;
    c->uv.handle.data = c;
    c->active_ms = uv_now(&s->loop);
    buf_init(&c->in, s->options.limits.head_bytes + s->options.limits.body_bytes * 2 + READ_BYTES);
    buf_init(&c->out, MAX_OUT_BYTES);
    c->link = &s->conns;
    if ((c->next = s->conns)) c->next->link = &c->next;
    s->conns = c;
    s->n_conns++;
    if (uv_accept(stream, &c->uv.stream) || s->n_conns > s->options.max_connections ||
        s->stopping) {
        conn_close(c);
        return;
    }
    if (!l->is_pipe) uv_tcp_nodelay(&c->uv.tcp, 1);
    if (uv_read_start(&c->uv.stream, on_alloc, on_read)) conn_close(c);
}

/* Closes connections that have been silent, or busy sending one request, for too long. */
static void on_sweep(uv_timer_t *timer) {
    struct server *s = timer->data;
    uint64_t now = uv_now(&s->loop);
    bool late = s->stopping && now - s->stopped_ms > GRACE_MS;
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (late || now - c->active_ms > (c->lingering ? LINGER_MS : s->options.idle_timeout_ms))
            conn_close(c);
    }
}

static void on_check(uv_check_t *check) {
    struct server *s = check->data;
    if (s->options.on_iteration) s->options.on_iteration(s->options.iteration_ctx);
}

static void on_listener_closed(uv_handle_t *handle) { free(handle->data); }

static void on_stop(uv_async_t *async) {
    struct server *s = async->data;
    s->stopping = true;
    s->stopped_ms = uv_now(&s->loop);
    while (s->listeners) {
        struct listener *l = s->listeners;
        s->listeners = l->next;
        uv_close(&l->uv.handle, on_listener_closed);
    }
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (c->n_writes == 0)
            conn_close(c);
        else
            c->close_after_write = true;
    }
    uv_unref((uv_handle_t *)&s->sweep); /* goes on while there are connections */
    uv_close((uv_handle_t *)&s->check, NULL);
    uv_close((uv_handle_t *)&s->stop, NULL);
}

enum err server_new(const struct server_options *options, struct server **out) {
    struct server *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->options = *options;
    struct server_options *o = &s->options;
    if (!o->limits.head_bytes) o->limits.head_bytes = DEFAULT_HEAD_BYTES;
    if (!o->limits.body_bytes) o->limits.body_bytes = DEFAULT_BODY_BYTES;
    if (!o->idle_timeout_ms) o->idle_timeout_ms = DEFAULT_IDLE_MS;
    if (!o->max_connections) o->max_connections = DEFAULT_CONNECTIONS;
    buf_init(&s->body, MAX_OUT_BYTES);
    if (uv_loop_init(&s->loop)) {
        free(s);
        return ERR_IO;
    }
    uv_async_init(&s->loop, &s->stop, on_stop);
    uv_check_init(&s->loop, &s->check);
    uv_timer_init(&s->loop, &s->sweep);
    s->stop.data = s->check.data = s->sweep.data = s;
    uv_check_start(&s->check, on_check);
    uv_timer_start(&s->sweep, on_sweep, 1000, 1000);
    *out = s;
    return OK;
}

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t len;
};

/* "HOST:PORT" with an IP address, [brackets] around one of version 6, or nothing for all of version 4. */
static bool read_address(const char *text, struct address *out, const char **why) {
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

static int bind_tcp(const struct address *a, bool share, const char **why) {
    int one = 1, fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return *why = strerror(errno), -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (share) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(fd, &a->any, a->len) == 0) return fd;
    *why = strerror(errno);
    close(fd);
    return -1;
}

enum err server_address_free(const char *address, const char **why) {
    struct address a;
    if (strncmp(address, "unix:", 5) == 0) return OK;
    if (!read_address(address, &a, why)) return ERR_INVALID;
    int fd = bind_tcp(&a, false, why); /* fails where anybody listens, whether they would share or not */
    if (fd < 0) return ERR_IO;
    close(fd);
    return OK;
}

static int open_tcp(const char *address, int *port, const char **why) {
    struct address a, got = {.len = sizeof got.v6};
    int fd = read_address(address, &a, why) ? bind_tcp(&a, true, why) : -1;
    if (fd >= 0 && port && getsockname(fd, &got.any, &got.len) == 0) *port = ntohs(got.v4.sin_port);
    return fd;
}

static enum err listen_on(struct server *s, struct listener *l, const char *address, int *port,
                          const char **why) {
    if (l->is_pipe) {
        unlink(address + 5);
        int e = uv_pipe_init(&s->loop, &l->uv.pipe, 0);
        if (!e) e = uv_pipe_bind(&l->uv.pipe, address + 5);
        if (e) return *why = uv_strerror(e), ERR_IO;
    } else {
        int fd = open_tcp(address, port, why);
        if (fd < 0) return ERR_IO;
        uv_tcp_init(&s->loop, &l->uv.tcp);
        if (uv_tcp_open(&l->uv.tcp, fd)) return *why = "cannot use the socket", close(fd), ERR_IO;
    }
    l->uv.handle.data = l;
    int e = uv_listen(&l->uv.stream, BACKLOG, on_connection);
    if (e) return *why = uv_strerror(e), ERR_IO;
    return OK;
}

enum err server_listen(struct server *s, const char *address, int *port, const char **why) {
    struct listener *l = calloc(1, sizeof *l);
    if (!l) return *why = err_meaning(ERR_MEMORY), ERR_MEMORY;
    l->server = s;
    l->is_pipe = strncmp(address, "unix:", 5) == 0;
    enum err e = listen_on(s, l, address, port, why);
    if (e && !l->uv.handle.data) {
        free(l);
        return e;
    }
    l->next = s->listeners;
    s->listeners = l;
    return e;
}

void server_run(struct server *s) { uv_run(&s->loop, UV_RUN_DEFAULT); }
void server_stop(struct server *s) { uv_async_send(&s->stop); }

void server_free(struct server *s) {
    if (!s->stopping) on_stop(&s->stop);
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        conn_close(c);
    }
    uv_close((uv_handle_t *)&s->sweep, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    buf_deinit(&s->body);
    free(s);
}
