/* A connection's life: reading, writing, timeouts; which protocol it speaks is found out here.
 * in: a socket's bytes. out: the protocols' bytes. owns: connections and their buffers. */
#include "net/conn.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct write {
    uv_write_t req;
    struct conn *conn;
    uint8_t *bytes;
};

static void conn_serve(struct conn *c);

static void count(_Atomic uint64_t *n) { atomic_fetch_add_explicit(n, 1, memory_order_relaxed); }

/* ---- beginning and end ---- */

static void unlink_conn(struct conn *c) {
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
}

static void link_conn(struct conn *c, struct conn **list) {
    c->link = list;
    if ((c->next = *list)) c->next->link = &c->next;
    *list = c;
}

static void conn_free(struct conn *c) {
    if (c->h2) h2_free(c->h2);
    if (c->server) {
        pool_return(&c->server->pool, &c->in);
        pool_return(&c->server->pool, &c->out);
    }
    if (c->tls) tls_session_free(c->tls);
    buf_deinit(&c->waiting);
    buf_deinit(&c->in);
    buf_deinit(&c->out);
    listener_release(c->listener);
    free(c);
}

static void on_closed(uv_handle_t *handle) {
    struct conn *c = handle->data;
    c->gone = true;
    for (struct conn **at = &c->server->woken; c->woken && *at; at = &(*at)->woken_next)
        if (*at == c) {
            *at = c->woken_next;
            break;
        }
    if (c->h2) h2_close(c->h2);
    if (c->n_pending)
        link_conn(c, &c->server->closed); /* their views are into its buffers */
    else
        conn_free(c);
}

void conn_close(struct conn *c) {
    if (c->closing) return;
    c->closing = true;
    unlink_conn(c);
    c->server->n_conns--;
    c->server->held_bytes -= c->charged;
    c->charged = 0;
    if (c->pending) pending_gone(c->pending);
    uv_close(&c->uv.handle, on_closed);
}

void conn_pending_done(struct conn *c) {
    c->n_pending--;
    if (c->server) c->server->n_pending--;
    if (!c->gone || c->n_pending) return;
    if (c->server) unlink_conn(c);
    conn_free(c);
}

void conn_drain(struct conn *c) {
    c->draining = true;
    if (c->h2)
        h2_goaway(c);
    else if (!c->pending)
        c->close_after_write = true;
    conn_wake(c);
}

void conn_retire(struct conn *c) {
    c->retiring = true;
    if (c->h2) h2_notice(c);
    conn_wake(c);
}

static void read_peer(struct http_peer *p, const struct sockaddr *from) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(p->ip, mapped, sizeof mapped);
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
        memcpy(p->ip + 12, &v4->sin_addr, 4);
        p->port = ntohs(v4->sin_port);
    } else if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;
        memcpy(p->ip, &v6->sin6_addr, 16);
        p->port = ntohs(v6->sin6_port);
    } else {
        memset(p->ip, 0, sizeof p->ip);
        p->unix_socket = true;
        return;
    }
    if (memcmp(p->ip, mapped, sizeof mapped) == 0)
        inet_ntop(AF_INET, p->ip + 12, p->address, sizeof p->address);
    else
        inet_ntop(AF_INET6, p->ip, p->address, sizeof p->address);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *b);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b);

static void start_reading(struct conn *c) {
    c->reading = true;
    if (uv_read_start(&c->uv.stream, on_alloc, on_read)) conn_close(c);
}

static int adopt(struct conn *c, int fd) {
    uv_loop_t *loop = &c->server->loop;
    int e = c->listener->is_unix ? uv_pipe_init(loop, &c->uv.pipe, 0) : uv_tcp_init(loop, &c->uv.tcp);
    if (!e) e = c->listener->is_unix ? uv_pipe_open(&c->uv.pipe, fd) : uv_tcp_open(&c->uv.tcp, fd);
    if (e)
        close(fd);
    else if (!c->listener->is_unix)
        uv_tcp_nodelay(&c->uv.tcp, 1);
    c->uv.handle.data = c;
    return e;
}

void conn_open(struct listener *l, int fd, const struct sockaddr *from) {
    struct server *s = l->server;
    bool full = s->n_conns >= s->options.max_connections;
    struct conn *c = full ? NULL : calloc(1, sizeof *c);
    count(c ? &s->counts.accepted : &s->counts.refused);
    if (!c) {
        close(fd);
        return;
    }
    c->server = s;
    c->listener = l;
    l->refs++;
    c->active_ms = c->began_ms = uv_now(&s->loop);
    buf_init(&c->in, s->options.limits.head_bytes + s->options.limits.body_bytes * 2 + READ_BYTES);
    buf_init(&c->out, MAX_OUT_BYTES);
    buf_init(&c->waiting, MAX_OUT_BYTES);
    read_peer(&c->peer, from);
    if (l->tls && !(c->tls = tls_session_new(l->tls))) {
        close(fd);
        l->refs--;
        free(c);
        return;
    }
    link_conn(c, &s->conns);
    s->n_conns++;
    if (adopt(c, fd))
        conn_close(c);
    else
        start_reading(c);
}

/* ---- writing ---- */

/* The TLS alert, if the socket takes it. */
static void say_end(struct conn *c) {
    struct buf *sealed = &c->server->sealed;
    if (!c->tls) return;
    buf_clear(sealed);
    tls_session_end(c->tls, sealed);
    uv_buf_t all = uv_buf_init((char *)sealed->ptr, (unsigned)sealed->len);
    if (sealed->len) (void)uv_try_write(&c->uv.stream, &all, 1);
}

/* All is sent. Closing while a refused client still sends would reset the connection before it has
 * read the reply: such a one gets the end of our side first, and its bytes are thrown away for a
 * while. */
static void finish(struct conn *c) {
    int fd;
    if (c->closing || c->lingering) return;
    say_end(c);
    if (!c->refused || c->eof || uv_fileno(&c->uv.handle, &fd) || shutdown(fd, SHUT_WR)) {
        conn_close(c);
        return;
    }
    c->lingering = true;
    c->active_ms = uv_now(&c->server->loop);
    if (!c->reading) start_reading(c);
}

static void on_written(uv_write_t *req, int status) {
    struct write *w = req->data;
    struct conn *c = w->conn;
    free(w->bytes);
    free(w);
    c->writing = false;
    if (status < 0)
        conn_close(c);
    else
        conn_wake(c);
}

/* Hands the rest of b over to libuv, with its storage. */
static void write_later(struct conn *c, struct buf *b, size_t sent) {
    struct write *w = calloc(1, sizeof *w);
    if (!w) {
        conn_close(c);
        return;
    }
    *w = (struct write){.conn = c, .bytes = b->ptr};
    w->req.data = w;
    uv_buf_t rest = uv_buf_init((char *)b->ptr + sent, (unsigned)(b->len - sent));
    b->ptr = NULL;
    b->len = b->cap = 0;
    c->writing = true;
    c->write_ms = uv_now(&c->server->loop);
    c->write_bytes = rest.len;
    if (uv_write(&w->req, &c->uv.stream, &rest, 1, on_written) != 0) {
        c->writing = false;
        free(w->bytes);
        free(w);
        conn_close(c);
    }
}

/* Sends as far as the socket takes it, the rest in the background. */
static void send_bytes(struct conn *c, struct buf *b) {
    uv_buf_t all = uv_buf_init((char *)b->ptr, (unsigned)b->len);
    int n = uv_try_write(&c->uv.stream, &all, 1);
    if (n < 0 && n != UV_EAGAIN)
        conn_close(c);
    else if (n < 0 || (size_t)n < b->len)
        write_later(c, b, n > 0 ? (size_t)n : 0);
    else
        b->len = 0;
}

static void seal(struct conn *c) {
    struct buf *sealed = &c->server->sealed;
    buf_clear(sealed);
    if (!tls_session_seal(c->tls, buf_view(&c->out), sealed)) conn_close(c);
    c->out.len = 0;
    if (!c->closing) send_bytes(c, sealed);
}

static void flush(struct conn *c) {
    if (c->out.err || c->waiting.err) conn_close(c);
    if (c->closing || c->writing) return;
    if (c->waiting.len) send_bytes(c, &c->waiting);
    if (c->closing || c->writing) return;
    if (c->out.len && c->tls)
        seal(c);
    else if (c->out.len)
        send_bytes(c, &c->out);
    if (!c->closing && !c->out.len) pool_return(&c->server->pool, &c->out);
}

bool conn_backlogged(const struct conn *c) {
    size_t unsent = c->writing ? uv_stream_get_write_queue_size(&c->uv.stream) : 0;
    return unsent + c->out.len + c->waiting.len > BACKLOG_BYTES;
}

/* ---- waking ---- */

void conn_wake(struct conn *c) {
    if (c->woken || c->closing) return;
    c->woken = true;
    c->woken_next = c->server->woken;
    c->server->woken = c;
}

void conn_run_woken(struct server *s) {
    while (s->woken) {
        struct conn *c = s->woken;
        s->woken = c->woken_next;
        c->woken = false;
        if (!c->closing) conn_serve(c);
    }
}

/* ---- requests ---- */

enum http_outcome conn_handle(struct conn *c, struct http_request *q, struct http_reply *reply) {
    struct server *s = c->server;
    buf_clear(&s->body);
    http_reply_init(reply, &s->body);
    q->peer = &c->peer;
    q->listener = c->listener->ctx;
    q->received_ms = c->active_ms = uv_now(&s->loop);
    return s->options.handler(s->options.handler_ctx, q, reply);
}

void http_mark(const struct http_request *q, const void *whose) {
    struct conn *c = q->http2 ? h2_conn(q->origin) : q->origin;
    if (!c->whose) c->whose = whose;
    c->of_several |= c->whose != whose;
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

/* What is left of `in` moves to its start; an empty one gives its storage back. */
static void compact(struct conn *c) {
    if (c->pending) return; /* it has views into it */
    size_t rest = c->in.len - c->in_at;
    if (c->in_at && rest) memmove(c->in.ptr, c->in.ptr + c->in_at, rest);
    if (c->in_at) c->began_ms = uv_now(&c->server->loop);
    c->in.len = rest;
    c->in_at = 0;
    if (!rest) pool_return(&c->server->pool, &c->in);
}

static void serve_h2(struct conn *c) {
    bool ok = !c->in.len || h2_feed(c, c->in.ptr, c->in.len);
    c->in.len = 0;
    pool_return(&c->server->pool, &c->in);
    if (!h2_pull(c) || !ok) c->close_after_write = true;
    flush(c);
}

static void serve_h1(struct conn *c) {
    do {
        c->held = false;
        h1_serve(c);
        flush(c);
    } while (c->held && !c->closing && !conn_backlogged(c));
    if (!c->closing) compact(c);
}

/* Reading pauses while a request of HTTP/1.1 is pending, or too much is unsent. */
static bool paused(const struct conn *c) { return c->pending || c->held || conn_backlogged(c); }

static void settle(struct conn *c) {
    if (c->closing) return;
    if (c->eof && !c->n_pending && !c->held) c->close_after_write = true;
    if (c->draining && c->h2 && h2_idle(c)) c->close_after_write = true;
    if (c->close_after_write && !c->writing && !c->out.len && !c->waiting.len)
        finish(c);
    else if (!c->reading && !c->eof && !paused(c))
        start_reading(c);
}

/* Counts what the connection's requests hold; too much in all ends the one that brings more of a large one. */
static void charge(struct conn *c) {
    struct server *s = c->server;
    size_t held = c->closing ? 0 : c->h2 ? h2_held(c) : c->in.len, before = c->charged;
    s->held_bytes += held - before;
    c->charged = held;
    if (!s->options.input_bytes || s->held_bytes <= s->options.input_bytes) return;
    if (held < LARGE_BYTES || held <= before || c->pending || c->refused) return;
    count(&s->counts.bad);
    if (c->h2) {
        conn_close(c);
        return;
    }
    h1_refuse(c, 503);
    conn_wake(c);
}

/* Goes on with what is there: bytes to read, replies to send. */
static void conn_serve(struct conn *c) {
    if (c->close_after_write && !c->pending) {
        c->in.len = c->in_at = 0;
        pool_return(&c->server->pool, &c->in);
        if (c->h2) h2_pull(c);
        flush(c);
    } else if (c->decided || (c->in.len && decide_protocol(c))) {
        if (c->h2)
            serve_h2(c);
        else
            serve_h1(c);
    }
    settle(c);
    charge(c);
}

/* ---- reading ---- */

/* Whose requests these are has enough of them waiting: a later turn reads on. */
static bool must_wait(const struct conn *c) {
    const struct server_options *o = &c->server->options;
    return c->whose && !c->of_several && o->may_read && !o->may_read(o->handler_ctx, c->whose);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *b) {
    (void)suggested;
    struct conn *c = handle->data;
    *b = uv_buf_init(NULL, 0);
    c->skipped = !paused(c) && must_wait(c);
    if (paused(c) || c->skipped) return;
    if (c->tls) {
        *b = uv_buf_init((char *)c->server->cipher, sizeof c->server->cipher);
        return;
    }
    pool_lend(&c->server->pool, &c->in);
    size_t room = c->in.cap > c->in.len + READ_BYTES ? c->in.cap - c->in.len : READ_BYTES;
    uint8_t *p = buf_reserve(&c->in, room);
    if (p) *b = uv_buf_init((char *)p, (unsigned)room);
}

/* Bytes came, or the end, while we do not read. */
static void pause_reading(struct conn *c) {
    char byte;
    int fd;
    uv_read_stop(&c->uv.stream);
    c->reading = false;
    if (uv_fileno(&c->uv.handle, &fd)) return;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0) c->eof = true;
    if (n < 0 && errno != EAGAIN && errno != EINTR) conn_close(c);
}

static void received(struct conn *c, size_t before) {
    if (before || !c->in.len || c->lingering) return;
    c->began_ms = c->active_ms = uv_now(&c->server->loop);
}

/* Records: their plaintext goes to `in`; what TLS itself has to say is sent at once. */
static void open_records(struct conn *c, const uint8_t *bytes, size_t len) {
    struct server *s = c->server;
    size_t before = c->in.len;
    buf_clear(&s->sealed);
    pool_lend(&s->pool, &c->in);
    enum tls_outcome outcome = tls_session_open(c->tls, bytes, len, &c->in, &s->sealed);
    if (c->writing || c->waiting.len)
        buf_str(&c->waiting, buf_view(&s->sealed));
    else if (s->sealed.len)
        send_bytes(c, &s->sealed);
    if (outcome == TLS_FAILED) {
        if (!c->established) count(&s->counts.tls_failed);
        conn_close(c);
    } else if (outcome == TLS_END) {
        c->eof = true;
    }
    if (c->closing) return;
    if (!c->established && tls_session_established(c->tls)) {
        c->established = true;
        c->active_ms = uv_now(&s->loop);
        if (!tls_session_peer(c->tls, &c->peer)) conn_close(c);
    }
    received(c, before);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b) {
    struct conn *c = stream->data;
    if (n == 0 || c->closing || (n == UV_ENOBUFS && c->skipped)) return;
    if (n == UV_ENOBUFS && !b->base && paused(c)) {
        pause_reading(c);
    } else if (n == UV_ENOBUFS && c->in.err == ERR_LIMIT && !c->h2) { /* more chunks' sizes than chunks */
        h1_refuse(c, 413);
        buf_clear(&c->in);
        c->in_at = 0;
    } else if (n == UV_EOF) { /* a client that has said all may still wait for its replies */
        uv_read_stop(stream);
        c->reading = false;
        c->eof = true;
        bool gone = c->n_pending && c->server->options.half_closed_is_gone;
        if (gone || c->lingering || (c->tls && !c->established)) conn_close(c);
    } else if (n < 0) {
        conn_close(c);
    } else if (c->tls) {
        if (!c->lingering) open_records(c, (const uint8_t *)b->base, (size_t)n);
    } else {
        buf_commit(&c->in, (size_t)n);
        received(c, c->in.len - (size_t)n);
    }
    if (!c->closing) conn_serve(c);
}

/* ---- timeouts ---- */

/* Has too little moved since the last time that enough had? `bytes` only grows, as long as it goes on. */
static bool stalled(struct conn *c, size_t bytes, uint64_t now) {
    if (c->mark_ms < c->began_ms || bytes >= c->mark_bytes + PROGRESS_BYTES) {
        c->mark_ms = now;
        c->mark_bytes = bytes;
    }
    return now - c->mark_ms > c->server->options.header_timeout_ms;
}

/* What the client has not taken yet. The socket's own queue counts: it is megabytes, and asks for more only when a
 * third of it is free. */
static size_t untaken(struct conn *c) {
    int fd, queued = 0;
    if (uv_fileno(&c->uv.handle, &fd) == 0 && ioctl(fd, SIOCOUTQ, &queued)) queued = 0;
    return uv_stream_get_write_queue_size(&c->uv.stream) + (size_t)queued;
}

static bool write_stalled(struct conn *c, uint64_t now) {
    size_t left = untaken(c);
    if (left > c->write_bytes) c->write_bytes = left;
    if (left + PROGRESS_BYTES <= c->write_bytes) {
        c->write_bytes = left;
        c->write_ms = now;
    }
    return now - c->write_ms > c->server->options.header_timeout_ms;
}

static bool request_late(struct conn *c, uint64_t now) {
    if (now - c->began_ms > c->server->options.idle_timeout_ms) return true;
    return c->progress.head_bytes ? stalled(c, c->in.len, now)
                                  : now - c->began_ms > c->server->options.header_timeout_ms;
}

static bool has_unread(struct conn *c) {
    int fd, waiting = 0;
    return uv_fileno(&c->uv.handle, &fd) == 0 && ioctl(fd, FIONREAD, &waiting) == 0 && waiting > 0;
}

/* Closes a connection of a server that drains between two requests: what would come now comes too late. */
static void retire_quiet(struct conn *c, uint64_t now) {
    uint64_t since = c->server->stopped_ms > c->active_ms ? c->server->stopped_ms : c->active_ms;
    bool busy = c->pending || c->n_pending || c->writing || c->in.len || c->out.len || (c->tls && !c->established);
    if (c->h2 && now - c->server->stopped_ms >= QUIET_MS) {
        conn_drain(c);
    } else if (!c->h2 && !busy && now - since >= QUIET_MS && !has_unread(c)) {
        c->close_after_write = true;
        conn_wake(c);
    }
}

/* While a reply is awaited the socket is not read, so that its end has to be asked for: every eighth time. */
static bool hung_up(const struct conn *c, uint64_t now) {
    struct pollfd p = {.events = POLLRDHUP};
    if (!c->pending || !c->server->options.half_closed_is_gone) return false;
    if ((((uintptr_t)c >> 8) + now / SWEEP_MS) % 8) return false;
    if (uv_fileno(&c->uv.handle, &p.fd)) return false;
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

void conn_sweep(struct conn *c, uint64_t now) {
    struct server *s = c->server;
    if (c->retiring && !c->draining && !c->lingering) retire_quiet(c, now);
    if (c->lingering ? now - c->active_ms > LINGER_MS : c->writing && write_stalled(c, now)) {
        if (!c->lingering) count(&s->counts.timed_out);
        conn_close(c);
    } else if (c->lingering || c->writing || c->pending) {
        if (hung_up(c, now)) conn_close(c);
    } else if (c->tls && !c->established) {
        if (now - c->began_ms <= s->options.header_timeout_ms) return;
        count(&s->counts.timed_out);
        conn_close(c);
    } else if (c->h2) {
        h2_sweep(c, now);
        if (h2_idle(c) && now - c->active_ms > s->options.idle_timeout_ms) conn_drain(c);
    } else if (c->in.len) {
        if (!request_late(c, now)) return;
        count(&s->counts.timed_out);
        h1_refuse(c, 408);
        conn_wake(c);
    } else if (now - c->active_ms > s->options.idle_timeout_ms) {
        c->close_after_write = true;
        conn_wake(c);
    }
}
