/* A server on a thread of its own, with a handler that tests steer by the path, and clients of raw bytes. */
#ifndef TESTS_NET_SERVER_H
#define TESTS_NET_SERVER_H
#include "net/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_LATER = 300, WAIT_MS = 10000 };

struct node {
    struct server *server;
    struct server_options options;
    pthread_t thread;
    bool runs;
    int port;
    pthread_mutex_t lock;
    struct http_pending *later[MAX_LATER]; /* requests for /later, in order */
    uint32_t n_later;
    _Atomic uint32_t calls, turns;
    char listener[8]; /* the ctx of its listener */
};

static inline uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline void sleep_ms(unsigned ms) { usleep(ms * 1000); }

/* Waits until *n is `want` at least; false: it took too long. */
static inline bool wait_for(_Atomic uint64_t *n, uint64_t want) {
    for (uint64_t end = now_ms() + WAIT_MS; atomic_load(n) < want; sleep_ms(2))
        if (now_ms() > end) return false;
    return true;
}

static inline void describe(const struct http_peer *p, struct buf *out) {
    buf_printf(out, "%s %d%d%d %.*s", p->address, p->unix_socket, p->tls, p->verified, STR_FMT(p->subject));
    for (uint32_t i = 0; i < p->n_uris; i++) buf_printf(out, " %.*s", STR_FMT(p->uris[i]));
    for (uint32_t i = 0; i < p->n_dns_names; i++) buf_printf(out, " %.*s", STR_FMT(p->dns_names[i]));
}

/* What the handler answers to a path; /later is answered so too, once it is released. */
static inline void node_answer(const struct http_request *q, struct http_reply *r) {
    r->status = 200;
    if (q->is_grpc) {
        r->grpc_status = str_is(q->path, "/fail") ? 5 : 0;
        r->grpc_message = r->grpc_status ? "50% of \xc3\xa4\n" : NULL;
        buf_str(r->body, q->body);
    } else if (str_is(q->path, "/big")) {
        size_t n = strtoul(q->query.ptr, NULL, 10);
        uint8_t *p = buf_reserve(r->body, n);
        if (p) memset(p, 'x', n), buf_commit(r->body, n);
    } else if (str_is(q->path, "/peer")) {
        describe(q->peer, r->body);
    } else if (str_is(q->path, "/listener")) {
        buf_cstr(r->body, q->listener);
    } else if (str_is(q->path, "/extra")) {
        r->content_type = "text/plain";
        r->extra[r->n_extra++] = (struct http_header){STR("X-Good"), STR("a b")};
        r->extra[r->n_extra++] = (struct http_header){STR("X-Split"), STR("a\r\nX-Evil: b")};
        r->extra[r->n_extra++] = (struct http_header){STR("X Bad"), STR("c")};
        r->extra[r->n_extra++] = (struct http_header){STR("Content-Length"), STR("7")};
        for (int i = 0; i < 40; i++) r->extra[r->n_extra++] = (struct http_header){STR("X-Many"), STR("v")};
    } else if (str_is(q->path, "/204")) {
        r->status = 204;
        buf_cstr(r->body, "never sent");
    } else if (str_is(q->path, "/header")) {
        buf_str(r->body, http_header_get(q, STR("x-test")));
    } else {
        buf_printf(r->body, "%.*s %.*s", STR_FMT(q->method), STR_FMT(q->body));
    }
}

static inline enum http_outcome node_handle(void *ctx, const struct http_request *q, struct http_reply *r) {
    struct node *n = ctx;
    atomic_fetch_add(&n->calls, 1);
    if (str_starts(q->path, STR("/later"))) {
        pthread_mutex_lock(&n->lock);
        struct http_pending *p = n->n_later < MAX_LATER ? http_defer(q) : NULL;
        if (p) n->later[n->n_later++] = p;
        pthread_mutex_unlock(&n->lock);
        if (p) return HTTP_DEFERRED;
    }
    node_answer(q, r);
    return HTTP_REPLIED;
}

static inline void node_turn(void *ctx) { atomic_fetch_add(&((struct node *)ctx)->turns, 1); }

static inline void *node_run(void *ctx) {
    server_run(((struct node *)ctx)->server);
    return NULL;
}

static inline struct node *node_new(struct server_options options) {
    struct node *n = calloc(1, sizeof *n);
    assert_non_null(n);
    n->options = options;
    n->options.handler = node_handle;
    n->options.handler_ctx = n;
    n->options.on_iteration = node_turn;
    n->options.iteration_ctx = n;
    memcpy(n->listener, "first", 6);
    pthread_mutex_init(&n->lock, NULL);
    assert_int_equal(server_new(&n->options, &n->server), OK);
    return n;
}

static inline void node_listen(struct node *n, const char *address, struct tls_context *tls, struct server *of) {
    const char *why = "";
    struct listen_options o = {.address = address, .tls = tls, .ctx = n->listener, .accept_of = of};
    enum err e = server_listen(n->server, &o, &n->port, &why);
    if (e) print_message("# %s: %s\n", address, why);
    assert_int_equal(e, OK);
}

static inline void node_start(struct node *n) {
    assert_int_equal(pthread_create(&n->thread, NULL, node_run, n), 0);
    n->runs = true;
}

static inline struct node *node_up(struct server_options options) {
    struct node *n = node_new(options);
    node_listen(n, "127.0.0.1:0", NULL, NULL);
    node_start(n);
    return n;
}

static inline void node_stop(struct node *n) {
    server_stop(n->server);
    pthread_join(n->thread, NULL);
    n->runs = false;
}

static inline void node_down(struct node *n) {
    if (n->runs) node_stop(n);
    server_free(n->server);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

/* Waits for `count` requests for /later. */
static inline void node_wait_later(struct node *n, uint32_t count) {
    for (uint64_t end = now_ms() + WAIT_MS;; sleep_ms(2)) {
        pthread_mutex_lock(&n->lock);
        bool there = n->n_later >= count;
        pthread_mutex_unlock(&n->lock);
        if (there) return;
        assert_true(now_ms() < end);
    }
}

/* A function to run on the loop's thread; returns once it ran. */
struct posted {
    struct server_task task;
    void (*run)(struct node *n, void *ctx);
    struct node *node;
    void *ctx;
    _Atomic uint64_t done;
};
static inline void posted_run(void *ctx) {
    struct posted *p = ctx;
    p->run(p->node, p->ctx);
    atomic_store(&p->done, 1);
}
static inline void node_post(struct node *n, void (*run)(struct node *, void *), void *ctx) {
    struct posted p = {.run = run, .node = n, .ctx = ctx};
    p.task = (struct server_task){.run = posted_run, .ctx = &p};
    server_post(n->server, &p.task);
    assert_true(wait_for(&p.done, 1));
}

static inline void reply_later(struct http_pending *p) {
    struct buf body;
    struct http_reply r;
    buf_init(&body, 1 << 20);
    http_reply_init(&r, &body);
    node_answer(http_pending_request(p), &r);
    http_pending_reply(p, &r);
    buf_deinit(&body);
}
static inline void release_one(struct node *n, void *ctx) {
    (void)n;
    reply_later(ctx);
}
/* Answers the i-th request for /later, on the loop's thread. */
static inline void node_release(struct node *n, uint32_t i) {
    pthread_mutex_lock(&n->lock);
    struct http_pending *p = n->later[i];
    n->later[i] = NULL;
    pthread_mutex_unlock(&n->lock);
    node_post(n, release_one, p);
}

/* ---- clients ---- */

static inline int client_fd(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static inline int client(const struct node *n) { return client_fd(n->port); }

static inline void say_bytes(int fd, const void *bytes, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)bytes + at, len - at, MSG_NOSIGNAL);
        if (n < 0) return; /* the server closed; what it said before is looked at by the caller */
        at += (size_t)n;
    }
}
static inline void say(int fd, const char *text) { say_bytes(fd, text, strlen(text)); }

/* What comes within ms, at most until `until` was read (NULL: the end); the text is static. *ended: the
 * server closed. */
static inline const char *hear_for(int fd, const char *until, unsigned ms, bool *ended) {
    static char text[1 << 18];
    size_t len = 0;
    uint64_t end = now_ms() + ms;
    *ended = false;
    for (;;) {
        text[len] = 0;
        if (until && strstr(text, until)) return text;
        uint64_t now = now_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= end || len + 1 == sizeof text || poll(&p, 1, (int)(end - now)) <= 0) return text;
        ssize_t n = recv(fd, text + len, until ? 1 : sizeof text - 1 - len, 0);
        if (n <= 0) return *ended = true, text;
        len += (size_t)n;
    }
}
static inline const char *hear(int fd, const char *until) {
    bool ended;
    return hear_for(fd, until, WAIT_MS, &ended);
}
/* Everything up to the server's end. */
static inline const char *hear_end(int fd) {
    bool ended;
    const char *text = hear_for(fd, NULL, WAIT_MS, &ended);
    assert_true(ended);
    return text;
}

static inline void contains(const char *text, const char *part) {
    if (!strstr(text, part)) print_message("# want: %s\n# in: %s\n", part, text);
    assert_non_null(strstr(text, part));
}
static inline void lacks(const char *text, const char *part) {
    if (strstr(text, part)) print_message("# do not want: %s\n# in: %s\n", part, text);
    assert_null(strstr(text, part));
}

#endif
