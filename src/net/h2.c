/* HTTP/2 and gRPC over it, on nghttp2.
 * in: bytes of a connection that sent the HTTP/2 preface. out: frames in the connection's buffer.
 * owns: streams. */
#include "net/conn.h"
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

enum {
    MAX_STREAMS = 256,
    WINDOW_BYTES = 1 << 20,
    STREAM_ARENA_BYTES = 64 << 10,
    GRPC_PREFIX = 5,
    HELD_BODIES = 2 /* a connection's unfinished bodies may hold so many times the largest one */
};

/* A request being received, then its reply being sent. */
struct stream {
    struct h2 *h2;
    struct stream *next, **link; /* of h2->streams */
    struct arena arena;          /* header text */
    struct buf body;             /* request body, then reply body */
    size_t sent;
    int grpc_status;
    const char *grpc_message;
    bool too_large, head_too_large, answered;
    uint32_t n_headers;
    struct str method, target;
    struct http_header headers[HTTP_MAX_HEADERS];
};

struct h2 {
    nghttp2_session *session;
    struct conn *conn;
    struct stream *streams;
    size_t held_bytes; /* of all request bodies */
};

static struct stream *stream_of(nghttp2_session *session, int32_t id) {
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx) {
    struct h2 *h = ctx;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    struct stream *s = calloc(1, sizeof *s);
    if (!s) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    s->h2 = h;
    s->link = &h->streams;
    if ((s->next = h->streams)) s->next->link = &s->next;
    h->streams = s;
    s->grpc_status = -1;
    arena_init(&s->arena, STREAM_ARENA_BYTES);
    buf_init(&s->body, h->conn->server->options.limits.body_bytes);
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *ctx) {
    (void)flags, (void)ctx;
    struct stream *s = stream_of(session, frame->hd.stream_id);
    if (!s) return 0;
    struct str n = {arena_strndup(&s->arena, (const char *)name, name_len), name_len};
    struct str v = {arena_strndup(&s->arena, (const char *)value, value_len), value_len};
    if (!n.ptr || !v.ptr || s->n_headers == HTTP_MAX_HEADERS) {
        s->too_large = s->head_too_large = true;
        return 0;
    }
    if (str_is(n, ":method"))
        s->method = v;
    else if (str_is(n, ":path"))
        s->target = v;
    else if (str_is(n, ":authority"))
        s->headers[s->n_headers++] = (struct http_header){STR("host"), v};
    else if (n.len && n.ptr[0] != ':')
        s->headers[s->n_headers++] = (struct http_header){n, v};
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *ctx) {
    (void)flags;
    struct stream *s = stream_of(session, id);
    struct h2 *h = ctx;
    if (!s || s->too_large) return 0;
    if (h->held_bytes + len > HELD_BODIES * h->conn->server->options.limits.body_bytes)
        s->too_large = true;
    else
        buf_put(&s->body, data, len);
    if (s->body.err) s->too_large = true;
    h->held_bytes += s->too_large ? 0 : len;
    return 0;
}

static void submit_trailers(nghttp2_session *session, int32_t id, const struct stream *s) {
    char status[4];
    int n = s->grpc_status;
    status[0] = (char)('0' + n / 10 % 10);
    status[1] = (char)('0' + n % 10);
    bool two = n >= 10;
    nghttp2_nv nv[2] = {
        {(uint8_t *)"grpc-status", (uint8_t *)status + !two, 11, two ? 2 : 1, NGHTTP2_NV_FLAG_NONE},
        {(uint8_t *)"grpc-message", (uint8_t *)s->grpc_message, 12,
         s->grpc_message ? strlen(s->grpc_message) : 0, NGHTTP2_NV_FLAG_NONE},
    };
    nghttp2_submit_trailer(session, id, nv, s->grpc_message ? 2 : 1);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *ctx) {
    (void)ctx;
    struct stream *s = source->ptr;
    size_t n = s->body.len - s->sent < room ? s->body.len - s->sent : room;
    if (n) memcpy(to, s->body.ptr + s->sent, n);
    s->sent += n;
    if (s->sent < s->body.len) return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->grpc_status >= 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        submit_trailers(session, id, s);
    }
    return (ssize_t)n;
}

/* Moves the reply into the stream (as one gRPC message when it is one) and submits it. */
static int submit(nghttp2_session *session, int32_t id, struct stream *s,
                  const struct http_reply *r) {
    nghttp2_nv nv[8];
    size_t n = 0;
    char status[4] = {(char)('0' + r->status / 100), (char)('0' + r->status / 10 % 10),
                      (char)('0' + r->status % 10), 0};
    const char *type = r->grpc_status >= 0 ? "application/grpc" : r->content_type;
    nv[n++] =
        (nghttp2_nv){(uint8_t *)":status", (uint8_t *)status, 7, 3, NGHTTP2_NV_FLAG_NO_COPY_NAME};
    if (type)
        nv[n++] = (nghttp2_nv){(uint8_t *)"content-type", (uint8_t *)type, 12, strlen(type),
                               NGHTTP2_NV_FLAG_NO_COPY_NAME};
    for (uint32_t i = 0; i < r->n_extra; i++)
        nv[n++] = (nghttp2_nv){(uint8_t *)r->extra[i].name.ptr, (uint8_t *)r->extra[i].value.ptr,
                               r->extra[i].name.len, r->extra[i].value.len, NGHTTP2_NV_FLAG_NONE};
    buf_clear(&s->body);
    s->body.max = r->body->len + GRPC_PREFIX;
    if (r->grpc_status == 0) {
        uint32_t len = (uint32_t)r->body->len;
        uint8_t prefix[GRPC_PREFIX] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                       (uint8_t)(len >> 8), (uint8_t)len};
        buf_put(&s->body, prefix, sizeof prefix);
    }
    if (r->grpc_status <= 0) buf_str(&s->body, buf_view(r->body));
    s->grpc_status = r->grpc_status;
    s->grpc_message = r->grpc_message;
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_body};
    return nghttp2_submit_response(session, id, nv, n, &provider);
}

/* The one message of a unary call: false when the frame is cut, compressed or not alone. */
static bool unwrap_grpc(struct http_request *q) {
    const uint8_t *p = (const uint8_t *)q->body.ptr;
    if (q->body.len < GRPC_PREFIX || p[0] != 0) return false;
    uint32_t len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    if (len != q->body.len - GRPC_PREFIX) return false;
    q->body = str_from(q->body, GRPC_PREFIX);
    return true;
}

static int answer(nghttp2_session *session, int32_t id, struct stream *s) {
    struct conn *c = s->h2->conn;
    struct http_request *q = &c->server->request;
    *q = (struct http_request){
        .method = s->method, .target = s->target, .keep_alive = true, .http2 = true};
    memcpy(q->headers, s->headers, s->n_headers * sizeof *s->headers);
    q->n_headers = s->n_headers;
    q->body = s->body.ptr ? buf_view(&s->body) : (struct str){"", 0};
    const char *mark = q->target.len ? memchr(q->target.ptr, '?', q->target.len) : NULL;
    q->path = mark ? str_head(q->target, (size_t)(mark - q->target.ptr)) : q->target;
    q->query = mark ? str_from(q->target, q->path.len + 1) : (struct str){"", 0};
    q->is_grpc = str_starts(http_header_get(q, STR("content-type")), STR("application/grpc"));
    struct http_reply r = {.status = 200, .body = &c->server->body, .grpc_status = -1};
    buf_clear(&c->server->body);
    s->h2->held_bytes -= s->body.len;
    s->answered = true;
    if (s->too_large) {
        r.status = q->is_grpc ? 200 : s->head_too_large ? 431 : 413;
        r.grpc_status = q->is_grpc ? 8 : -1;
    } else if (q->is_grpc && !unwrap_grpc(q)) {
        r.grpc_status = 12;
        r.grpc_message = "want one uncompressed message";
    } else {
        conn_handle(c, q, &r);
    }
    return submit(session, id, s, &r);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx) {
    (void)ctx;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
    struct stream *s = stream_of(session, frame->hd.stream_id);
    return s && answer(session, frame->hd.stream_id, s) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void stream_free(struct stream *s) {
    if (!s->answered) s->h2->held_bytes -= s->body.len;
    *s->link = s->next;
    if (s->next) s->next->link = s->link;
    arena_deinit(&s->arena);
    buf_deinit(&s->body);
    free(s);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *ctx) {
    (void)code, (void)ctx;
    struct stream *s = stream_of(session, id);
    if (s) stream_free(s);
    nghttp2_session_set_stream_user_data(session, id, NULL);
    return 0;
}

static bool pull(struct h2 *h) {
    for (;;) {
        const uint8_t *bytes;
        ssize_t n = nghttp2_session_mem_send(h->session, &bytes);
        if (n < 0) return false;
        if (n == 0)
            return nghttp2_session_want_read(h->session) || nghttp2_session_want_write(h->session);
        buf_put(&h->conn->out, bytes, (size_t)n);
        if (h->conn->out.err) return false;
    }
}

bool h2_start(struct conn *c) {
    struct h2 *h = calloc(1, sizeof *h);
    nghttp2_session_callbacks *callbacks;
    if (!h || nghttp2_session_callbacks_new(&callbacks)) {
        free(h);
        return false;
    }
    h->conn = c;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    int e = nghttp2_session_server_new(&h->session, callbacks, h);
    nghttp2_session_callbacks_del(callbacks);
    if (e) {
        free(h);
        return false;
    }
    c->h2 = h;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, STREAM_ARENA_BYTES / 2}};
    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, 3);
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, 16 * WINDOW_BYTES);
    return true;
}

bool h2_feed(struct conn *c, const uint8_t *bytes, size_t len) {
    ssize_t n = nghttp2_session_mem_recv(c->h2->session, bytes, len);
    bool alive = pull(c->h2);
    return n >= 0 && alive;
}

void h2_free(struct h2 *h) {
    nghttp2_session_del(h->session);
    while (h->streams) stream_free(h->streams);
    free(h);
}
