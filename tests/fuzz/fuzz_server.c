/* Fuzzes whole connections: any bytes, in any pieces, over HTTP/1.1 or HTTP/2, with requests that are answered at once or
 * later, and clients that stay, say their end, or go. in: libFuzzer's bytes; the first two choose. out: crashes, hangs and
 * requests that got no answer. owns: a server, kept from input to input, and a socket pair an input.
 * Build: tests/fuzz/run.sh. */
#include "net/conn.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_LATER = 1024, TURNS = 64 };

struct fuzz {
    struct server *server;
    struct listener *listener;
    struct http_pending *later[MAX_LATER];
    uint32_t n_later, asked, answered;
    bool defer;
};

static void law(bool holds) {
    if (!holds) abort();
}

static void fill(const struct http_request *q, struct http_reply *r) {
    r->status = 200;
    r->grpc_status = q->is_grpc ? 0 : -1;
    buf_str(r->body, q->body);
    if (q->n_headers) r->extra[r->n_extra++] = q->headers[0]; /* hostile bytes in a reply's header */
}

static enum http_outcome handle(void *ctx, const struct http_request *q, struct http_reply *r) {
    struct fuzz *f = ctx;
    f->asked++;
    struct http_pending *p = f->defer && f->n_later < MAX_LATER ? http_defer(q) : NULL;
    if (p) {
        f->later[f->n_later++] = p;
        return HTTP_DEFERRED;
    }
    fill(q, r);
    f->answered++;
    return HTTP_REPLIED;
}

static void answer_all(struct fuzz *f) {
    struct buf body;
    struct http_reply r;
    buf_init(&body, 1 << 20);
    while (f->n_later) {
        struct http_pending *p = f->later[--f->n_later];
        buf_clear(&body);
        http_reply_init(&r, &body);
        fill(http_pending_request(p), &r);
        http_pending_reply(p, &r);
        f->answered++;
    }
    buf_deinit(&body);
}

static void start(struct fuzz *f) {
    signal(SIGPIPE, SIG_IGN); /* server_run would see to it */
    struct server_options o = {.limits = {.head_bytes = 4096, .body_bytes = 16384}, .handler = handle, .handler_ctx = f};
    law(server_new(&o, &f->server) == OK);
    law((f->listener = calloc(1, sizeof *f->listener + 1)) != NULL);
    *f->listener = (struct listener){.server = f->server, .refs = 1, .fd = 0, .is_unix = true};
}

static void turn(struct fuzz *f, int client) {
    char bytes[4096];
    uv_run(&f->server->loop, UV_RUN_NOWAIT);
    while (client >= 0 && recv(client, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct fuzz f;
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    int pair[2];
    if (size < 2) return 0;
    if (!f.server) start(&f);
    law(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    uint8_t how = data[0], piece = data[1];
    f.defer = how & 2;
    f.asked = f.answered = 0;
    conn_open(f.listener, pair[0], &(struct sockaddr){.sa_family = AF_UNIX});
    if (how & 1) law(write(pair[1], preface, sizeof preface) == sizeof preface);
    for (size_t at = 2, n; at < size; at += n) {
        n = piece && size - at > piece ? piece : size - at;
        ssize_t sent = send(pair[1], data + at, n, MSG_NOSIGNAL);
        if (sent <= 0) break;
        n = (size_t)sent;
        turn(&f, pair[1]);
        if (how & 4) answer_all(&f);
    }
    if (how & 8) shutdown(pair[1], SHUT_WR);
    if (how & 16) close(pair[1]), pair[1] = -1;
    turn(&f, pair[1]);
    answer_all(&f);
    turn(&f, pair[1]);
    if (pair[1] >= 0) close(pair[1]);
    for (int i = 0; i < TURNS && (f.server->conns || f.n_later); i++) {
        turn(&f, -1);
        answer_all(&f);
    }
    while (f.server->conns) conn_close(f.server->conns); /* refused ones linger */
    for (int i = 0; i < 2; i++) turn(&f, -1);
    law(!f.server->n_conns && !f.server->n_pending && !f.server->closed && f.listener->refs == 1);
    law(f.asked == f.answered);
    return 0;
}
