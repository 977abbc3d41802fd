/* HTTP/2 and gRPC over it, on nghttp2: a session a connection, a struct stream a request.
 * in: bytes of a connection that sent the HTTP/2 preface. out: frames in the connection's buffer.
 * owns: sessions and streams. */
#include "net/pending.h"
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

enum {
    MAX_STREAMS = 256,
    WINDOW_BYTES = 1 << 20,
    GRPC_PREFIX = 5,
    HELD_BODIES = 2,           /* a connection's unfinished bodies may hold so many times the largest one */
    MAX_UNSENT_BYTES = 4 << 20, /* with more in replies that the client does not fetch, it gets no further ones */
    HEADER_OVERHEAD = 32,       /* RFC 9113, 6.5.2: what a header counts besides its bytes */
    FLOODED = 8,                /* times the limit of a head: the connection ends */
    POOLED_STREAMS = 512,
    POOLED_BODY_BYTES = 16 << 10,
    BUDGET = 1000,            /* frames that only cost us: so many at once, */
    BUDGET_PER_SECOND = 100,  /* these more each second, */
    BUDGET_PER_REQUEST = 4    /* and for each request that was answered */
};
enum { GRPC_EXHAUSTED = 8, GRPC_UNIMPLEMENTED = 12, GRPC_INTERNAL = 13 };

/* A request being received, then its reply being sent. */
struct stream {
    struct h2 *h2;
    struct stream *next, **link;  /* of h2->streams; next: of the server's pool */
    struct http_pending *pending; /* deferred */
    int32_t id;
    struct buf body;  /* request body; then the reply's, and its grpc-message behind it */
    size_t payload;   /* bytes of the reply's body */
    size_t sent;
    int grpc_status;
    uint32_t head_bytes, n_held;
    bool head_whole, head_too_large, too_large, answered, early, closed;
    uint64_t began_ms, mark_ms; /* progress is measured from mark */
    size_t mark_bytes;
    nghttp2_rcbuf *held[2 * HTTP_MAX_HEADERS + 8]; /* that the request's views are into */
    struct http_request request;
};

struct h2 {
    nghttp2_session *session;
    struct conn *conn;
    struct stream *streams;
    size_t held_bytes;   /* of all request bodies */
    size_t unsent_bytes; /* of all replies */
    int64_t budget;
    uint64_t budget_ms;
    bool goaway;
};

struct conn *h2_conn(const struct stream *s) { return s->h2->conn; }
bool h2_idle(const struct conn *c) { return !c->h2->streams; }
size_t h2_held(const struct conn *c) { return c->h2->held_bytes; }

static uint64_t now_of(const struct h2 *h) { return uv_now(&h->conn->server->loop); }

static void count(_Atomic uint64_t *n) { atomic_fetch_add_explicit(n, 1, memory_order_relaxed); }

/* ---- streams ---- */

static struct stream *take(struct server *server) {
    struct stream *s = server->streams;
    if (!s) return calloc(1, sizeof *s);
    server->streams = s->next;
    server->n_streams--;
    return s;
}

static void put(struct server *server, struct stream *s) {
    if (s->body.cap > POOLED_BODY_BYTES) buf_deinit(&s->body);
    if (!server || server->n_streams == POOLED_STREAMS) {
        buf_deinit(&s->body);
        free(s);
        return;
    }
    s->next = server->streams;
    server->streams = s;
    server->n_streams++;
}

void h2_free_pool(struct server *server) {
    for (struct stream *s = server->streams, *next; s; s = next) {
        next = s->next;
        buf_deinit(&s->body);
        free(s);
    }
    server->streams = NULL;
}

static struct stream *stream_new(struct h2 *h, int32_t id) {
    struct server *server = h->conn->server;
    struct stream *s = take(server);
    if (!s) return NULL;
    buf_clear(&s->body);
    s->body.max = server->options.limits.body_bytes;
    s->h2 = h;
    s->id = id;
    s->pending = NULL;
    s->payload = s->sent = s->mark_bytes = 0;
    s->grpc_status = -1;
    s->head_bytes = s->n_held = 0;
    s->head_whole = s->head_too_large = s->too_large = s->answered = s->early = s->closed = false;
    s->began_ms = s->mark_ms = now_of(h);
    struct http_request *q = &s->request;
    q->method = q->target = q->path = q->query = q->body = STR("");
    q->n_headers = 0;
    q->keep_alive = q->http2 = true;
    q->is_grpc = false;
    q->origin = s;
    s->link = &h->streams;
    if ((s->next = h->streams)) s->next->link = &s->next;
    h->streams = s;
    return s;
}

static void stream_free(struct stream *s) {
    struct h2 *h = s->h2;
    if (!s->answered) h->held_bytes -= s->body.len;
    if (s->answered) h->unsent_bytes -= s->payload - s->sent;
    *s->link = s->next;
    if (s->next) s->next->link = s->link;
    for (uint32_t i = 0; i < s->n_held; i++) nghttp2_rcbuf_decref(s->held[i]);
    put(h->conn->server, s);
}

static struct stream *stream_of(nghttp2_session *session, int32_t id) {
    return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- floods ---- */

static int end_session(struct h2 *h) {
    count(&h->conn->server->counts.bad);
    nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
    h->goaway = true;
    return 0;
}

/* A frame that only costs us. A client that sends nothing else is sent away. */
static int spend(struct h2 *h) {
    uint64_t now = now_of(h);
    h->budget += (int64_t)((now - h->budget_ms) * BUDGET_PER_SECOND / 1000);
    if (now - h->budget_ms >= 1000 / BUDGET_PER_SECOND) h->budget_ms = now;
    if (h->budget > BUDGET) h->budget = BUDGET;
    return --h->budget < 0 && !h->goaway ? end_session(h) : 0;
}

/* ---- replies ---- */

static nghttp2_nv constant(struct str name, struct str value) { /* both outlive the stream */
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len, value.len,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static nghttp2_nv copied(struct str name, struct str value) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len, value.len,
                        NGHTTP2_NV_FLAG_NONE};
}

struct trailers {
    char digits[2];
    nghttp2_nv nv[2];
    size_t n;
};

static void trailers_init(struct trailers *t, const struct stream *s) {
    int status = s->grpc_status;
    struct str message = {(const char *)s->body.ptr + s->payload, s->body.len - s->payload};
    struct str number = {t->digits, status < 10 ? 1 : 2};
    t->digits[0] = (char)('0' + (status < 10 ? status : status / 10 % 10));
    t->digits[1] = (char)('0' + status % 10);
    t->nv[0] = status == 0 ? constant(STR("grpc-status"), STR("0")) : copied(STR("grpc-status"), number);
    t->nv[1] = copied(STR("grpc-message"), message);
    t->n = message.len ? 2 : 1;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *ctx) {
    struct h2 *h = ctx;
    struct stream *s = source->ptr;
    size_t n = s->payload - s->sent < room ? s->payload - s->sent : room;
    if (n) memcpy(to, s->body.ptr + s->sent, n);
    s->sent += n;
    h->unsent_bytes -= n;
    if (s->sent < s->payload) return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->grpc_status >= 0) {
        struct trailers t;
        trailers_init(&t, s);
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        /* no memory: the stream is reset, since a client would wait for the end */
        if (nghttp2_submit_trailer(session, id, t.nv, t.n)) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

/* gRPC over HTTP/2: printable ASCII but '%' as it is, all else as %XX. */
static void put_message(struct buf *out, const char *message) {
    for (; message && *message; message++) {
        uint8_t c = (uint8_t)*message;
        if (c >= ' ' && c < 0x7f && c != '%') {
            buf_byte(out, c);
        } else {
            buf_byte(out, '%');
            buf_byte(out, (uint8_t)"0123456789ABCDEF"[c >> 4]);
            buf_byte(out, (uint8_t)"0123456789ABCDEF"[c & 15]);
        }
    }
}

/* The reply's body (one gRPC message when it is one) takes the request's place. */
static bool keep_body(struct stream *s, const struct http_reply *r) {
    size_t len = r->body->len;
    buf_clear(&s->body);
    s->body.max = SIZE_MAX;
    if (r->grpc_status == 0) {
        uint8_t prefix[GRPC_PREFIX] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                                       (uint8_t)len};
        buf_put(&s->body, prefix, sizeof prefix);
    }
    if (r->grpc_status <= 0) buf_str(&s->body, buf_view(r->body));
    s->payload = s->body.len;
    if (r->grpc_status >= 0) put_message(&s->body, r->grpc_message);
    return !s->body.err;
}

static nghttp2_nv status_line(int status, char digits[3]) {
    digits[0] = (char)('0' + status / 100 % 10);
    digits[1] = (char)('0' + status / 10 % 10);
    digits[2] = (char)('0' + status % 10);
    return status == 200 ? constant(STR(":status"), STR("200")) : copied(STR(":status"), (struct str){digits, 3});
}

static int submit(struct stream *s, const struct http_reply *r) {
    nghttp2_nv nv[HTTP_MAX_REPLY_HEADERS + 8];
    struct trailers trailers;
    struct h2 *h = s->h2;
    char digits[3], length[24];
    size_t n = 0;
    bool grpc = r->grpc_status >= 0;
    bool bare = str_is(s->request.method, "HEAD") || r->status == 204 || r->status == 304;
    nv[n++] = status_line(r->status, digits);
    if (grpc)
        nv[n++] = constant(STR("content-type"), STR("application/grpc"));
    else if (r->content_type)
        nv[n++] = copied(STR("content-type"), str_of(r->content_type));
    if (!grpc && r->status != 204)
        nv[n++] = copied(STR("content-length"), http_number(r->body->len, length));
    for (uint32_t i = 0; i < r->n_extra; i++)
        if (http_header_sendable(&r->extra[i])) nv[n++] = copied(r->extra[i].name, r->extra[i].value);
    if (!keep_body(s, r)) return NGHTTP2_ERR_NOMEM;
    s->answered = true;
    s->mark_bytes = 0;
    s->mark_ms = now_of(h);
    s->grpc_status = r->grpc_status;
    if (bare) s->payload = 0;
    h->unsent_bytes += s->payload;
    h->budget += BUDGET_PER_REQUEST;
    if (r->grpc_status > 0) { /* nothing but trailers */
        trailers_init(&trailers, s);
        for (size_t i = 0; i < trailers.n; i++) nv[n++] = trailers.nv[i];
    }
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_body};
    bool no_data = bare || r->grpc_status > 0;
    return nghttp2_submit_response(h->session, s->id, nv, n, no_data ? NULL : &provider);
}

/* What the handler wrote passed its maximum. */
static int submit_checked(struct stream *s, const struct http_reply *r) {
    struct http_reply failed;
    s->h2->held_bytes -= s->body.len;
    s->answered = true;
    if (!r->body->err) return submit(s, r);
    struct buf *body = &s->h2->conn->server->body;
    buf_clear(body);
    http_reply_init(&failed, body);
    if (s->request.is_grpc) {
        failed.status = 200;
        failed.grpc_status = GRPC_EXHAUSTED;
        failed.grpc_message = "the reply is too large";
    }
    return submit(s, &failed);
}

/* ---- requests ---- */

/* The one message of a unary call; else the status that says what is wrong. */
static int unwrap_grpc(struct http_request *q, size_t max, const char **why) {
    const uint8_t *p = (const uint8_t *)q->body.ptr;
    if (q->body.len == 0) return *why = "want one message, got none", GRPC_UNIMPLEMENTED;
    if (q->body.len < GRPC_PREFIX) return *why = "the message is cut", GRPC_INTERNAL;
    if (p[0] == 1) return *why = "compressed messages are not supported", GRPC_UNIMPLEMENTED;
    if (p[0] != 0) return *why = "bad message flags", GRPC_INTERNAL;
    uint32_t len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    if (len > max) return *why = "the message is too large", GRPC_EXHAUSTED;
    if (len > q->body.len - GRPC_PREFIX) return *why = "the message is cut", GRPC_INTERNAL;
    if (len < q->body.len - GRPC_PREFIX) return *why = "want one message, got more", GRPC_UNIMPLEMENTED;
    q->body = str_from(q->body, GRPC_PREFIX);
    return 0;
}

static bool says_grpc(struct str type) {
    struct str grpc = STR("application/grpc");
    if (!str_starts(type, grpc)) return false;
    return type.len == grpc.len || type.ptr[grpc.len] == '+' || type.ptr[grpc.len] == ';';
}

static void complete(struct stream *s) {
    struct http_request *q = &s->request;
    const char *mark = q->target.len ? memchr(q->target.ptr, '?', q->target.len) : NULL;
    q->path = mark ? str_head(q->target, (size_t)(mark - q->target.ptr)) : q->target;
    q->query = mark ? str_from(q->target, q->path.len + 1) : STR("");
    q->body = s->body.len ? buf_view(&s->body) : STR("");
    q->is_grpc = says_grpc(http_header_get(q, STR("content-type")));
}

static int answer(struct stream *s) {
    struct conn *c = s->h2->conn;
    struct http_request *q = &s->request;
    struct http_reply r;
    int refused = 0;
    complete(s);
    buf_clear(&c->server->body);
    http_reply_init(&r, &c->server->body);
    if (s->h2->unsent_bytes > MAX_UNSENT_BYTES) {
        count(&c->server->counts.bad);
        return nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    if (s->too_large || s->head_too_large || !q->target.len) {
        count(&c->server->counts.bad);
        r.status = q->is_grpc ? 200 : s->head_too_large ? 431 : s->too_large ? 413 : 400;
        r.grpc_status = q->is_grpc ? GRPC_EXHAUSTED : -1;
        r.grpc_message = "the request is too large";
    } else if (q->is_grpc &&
               (refused = unwrap_grpc(q, c->server->options.limits.body_bytes, &r.grpc_message))) {
        r.status = 200;
        r.grpc_status = refused;
    } else if (conn_handle(c, q, &r) == HTTP_DEFERRED && s->pending) {
        return 0;
    }
    return submit_checked(s, &r);
}

/* Too large: the rest of the request need not come. A client that goes on sending it nevertheless gets some time
 * to read why, and is then cut off. */
static int answer_early(struct stream *s) {
    s->early = true;
    return answer(s);
}

void h2_defer(struct stream *s, struct http_pending *p) { s->pending = p; }

void h2_resume(struct stream *s, const struct http_reply *reply) {
    s->pending = NULL;
    if (s->closed)
        stream_free(s);
    else if (submit_checked(s, reply))
        conn_close(s->h2->conn);
}

/* ---- nghttp2's callbacks ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    struct stream *s = stream_new(ctx, frame->hd.stream_id);
    if (!s) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    return 0;
}

static struct str hold(struct stream *s, nghttp2_rcbuf *b) {
    nghttp2_vec v = nghttp2_rcbuf_get_buf(b);
    nghttp2_rcbuf_incref(b);
    s->held[s->n_held++] = b;
    return (struct str){(const char *)v.base, v.len};
}

static void add_header(struct stream *s, struct str name, nghttp2_rcbuf *value) {
    struct http_request *q = &s->request;
    if (q->n_headers == HTTP_MAX_HEADERS) {
        s->head_too_large = true;
        return;
    }
    q->headers[q->n_headers].name = name;
    q->headers[q->n_headers++].value = hold(s, value);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *ctx) {
    (void)flags;
    struct stream *s = stream_of(session, frame->hd.stream_id);
    struct h2 *h = ctx;
    if (!s || s->head_whole) return 0; /* trailers mean nothing here */
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);
    struct str key = {(const char *)n.base, n.len};
    size_t max = h->conn->server->options.limits.head_bytes;
    s->head_bytes += (uint32_t)(n.len + v.len) + HEADER_OVERHEAD;
    if (s->head_bytes > max * FLOODED) return NGHTTP2_ERR_CALLBACK_FAILURE;
    s->head_too_large |= s->head_bytes > max;
    if (s->head_too_large) return 0;
    if (str_is(key, ":method"))
        s->request.method = hold(s, value);
    else if (str_is(key, ":path"))
        s->request.target = hold(s, value);
    else if (str_is(key, ":authority"))
        add_header(s, STR("host"), value);
    else if (key.len && key.ptr[0] != ':' && s->request.n_headers < HTTP_MAX_HEADERS)
        add_header(s, hold(s, name), value);
    else if (s->request.n_headers == HTTP_MAX_HEADERS)
        s->head_too_large = true;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *ctx) {
    (void)flags;
    struct stream *s = stream_of(session, id);
    struct h2 *h = ctx;
    if (!s || s->answered || s->pending || s->too_large) return 0;
    size_t held = s->body.len;
    if (h->held_bytes + len > HELD_BODIES * h->conn->server->options.limits.body_bytes)
        s->too_large = true;
    else
        buf_put(&s->body, data, len);
    h->held_bytes += s->body.len - held;
    if (s->body.err) s->too_large = true;
    return s->too_large && answer_early(s) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx) {
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct stream *s;
    switch (frame->hd.type) {
    case NGHTTP2_WINDOW_UPDATE: return 0;
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA: break;
    default: return spend(ctx);
    }
    if (frame->hd.type == NGHTTP2_DATA && !end && frame->hd.length == 0) return spend(ctx);
    s = stream_of(session, frame->hd.stream_id);
    if (!s || s->answered || s->pending) return 0;
    s->head_whole = true;
    return end && answer(s) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_invalid(nghttp2_session *session, const nghttp2_frame *frame, int code, void *ctx) {
    (void)session, (void)frame, (void)code;
    return spend(ctx);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *ctx) {
    (void)code, (void)ctx;
    struct stream *s = stream_of(session, id);
    nghttp2_session_set_stream_user_data(session, id, NULL);
    if (!s) return 0;
    s->closed = true;
    if (s->pending)
        pending_gone(s->pending);
    else
        stream_free(s);
    return 0;
}

/* ---- sessions ---- */

bool h2_pull(struct conn *c) {
    struct h2 *h = c->h2;
    pool_lend(&c->server->pool, &c->out);
    for (;;) {
        const uint8_t *bytes;
        if (conn_backlogged(c)) return true;
        ssize_t n = nghttp2_session_mem_send(h->session, &bytes);
        if (n < 0) return false;
        if (n == 0)
            return nghttp2_session_want_read(h->session) || nghttp2_session_want_write(h->session);
        buf_put(&c->out, bytes, (size_t)n);
        if (c->out.err) return false;
    }
}

static int session_new(struct h2 *h) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *options;
    if (nghttp2_session_callbacks_new(&callbacks)) return NGHTTP2_ERR_NOMEM;
    if (nghttp2_option_new(&options)) return nghttp2_session_callbacks_del(callbacks), NGHTTP2_ERR_NOMEM;
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    int e = nghttp2_session_server_new2(&h->session, callbacks, h, options);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    return e;
}

bool h2_start(struct conn *c) {
    struct h2 *h = calloc(1, sizeof *h);
    if (!h) return false;
    h->conn = c;
    h->budget = BUDGET;
    h->budget_ms = now_of(h);
    if (session_new(h)) {
        free(h);
        return false;
    }
    c->h2 = h;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)c->server->options.limits.head_bytes}};
    return nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) == 0 &&
           nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, 16 * WINDOW_BYTES) == 0;
}

bool h2_feed(struct conn *c, const uint8_t *bytes, size_t len) {
    return nghttp2_session_mem_recv(c->h2->session, bytes, len) >= 0;
}

void h2_goaway(struct conn *c) {
    struct h2 *h = c->h2;
    if (h->goaway) return;
    h->goaway = true;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                          NGHTTP2_NO_ERROR, NULL, 0);
}

void h2_notice(struct conn *c) {
    if (!c->h2->goaway) nghttp2_submit_shutdown_notice(c->h2->session);
}

/* Has too little moved on it since the last time that enough had? */
static bool stalled(struct stream *s, uint64_t now, uint32_t limit_ms) {
    size_t bytes = s->answered ? s->sent : s->body.len;
    if (bytes >= s->mark_bytes + PROGRESS_BYTES) {
        s->mark_bytes = bytes;
        s->mark_ms = now;
    }
    return now - s->mark_ms > limit_ms;
}

void h2_sweep(struct conn *c, uint64_t now) {
    const struct server_options *o = &c->server->options;
    struct stream *next;
    for (struct stream *s = c->h2->streams; s; s = next) {
        next = s->next;
        if (s->pending || s->closed) continue;
        bool lingered = s->early && s->answered && s->sent == s->payload && now - s->mark_ms > LINGER_MS;
        bool late = !s->answered && now - s->began_ms > o->idle_timeout_ms;
        if (!lingered && !late && !stalled(s, now, o->header_timeout_ms)) continue;
        if (!lingered) count(&c->server->counts.timed_out);
        if (!s->head_whole) { /* in the midst of a head nothing else can be said */
            conn_close(c);
            return;
        }
        nghttp2_submit_rst_stream(c->h2->session, NGHTTP2_FLAG_NONE, s->id,
                                  lingered ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
        s->mark_ms = now;
        conn_wake(c);
    }
}

void h2_close(struct h2 *h) {
    struct stream *next;
    nghttp2_session_del(h->session);
    h->session = NULL;
    for (struct stream *s = h->streams; s; s = next) {
        next = s->next;
        s->closed = true;
        if (s->pending)
            pending_gone(s->pending);
        else
            stream_free(s);
    }
}

void h2_free(struct h2 *h) { free(h); }
