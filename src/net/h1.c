/* The HTTP/1.1 half of a connection: one request after the other, in order.
 * in: bytes in the connection's buffer. out: replies in its other one. owns: nothing. */
#include "net/conn.h"

void h1_refuse(struct conn *c, int status) {
    struct buf *body = &c->server->body;
    struct http_reply reply;
    buf_clear(body);
    buf_printf(body, "{\n  \"code\": \"invalid_parameter\",\n  \"message\": \"%s\"\n}\n",
               http_reason(status));
    http_reply_init(&reply, body);
    reply.status = status;
    reply.content_type = "application/json";
    pool_lend(&c->server->pool, &c->out);
    http1_write(&c->out, &reply, false, false);
    c->close_after_write = c->refused = true;
    if (status != 408) atomic_fetch_add_explicit(&c->server->counts.bad, 1, memory_order_relaxed);
}

static void write_reply(struct conn *c, const struct http_request *q, const struct http_reply *reply) {
    bool keep = q->keep_alive && !c->draining && !c->retiring;
    struct http_reply failed;
    if (reply->body->err) { /* what the handler wrote passed its maximum */
        buf_clear(&c->server->body);
        http_reply_init(&failed, &c->server->body);
        reply = &failed;
    }
    http1_write(&c->out, reply, keep, str_is(q->method, "HEAD"));
    c->close_after_write = !keep;
    c->continued = false;
}

static void serve_request(struct conn *c, size_t used) {
    struct http_request *q = &c->server->request;
    struct http_reply reply;
    q->origin = c;
    c->pending_bytes = used;
    if (conn_handle(c, q, &reply) == HTTP_DEFERRED && c->pending) {
        if (!c->out.len) pool_return(&c->server->pool, &c->out); /* thousands may wait */
        return;
    }
    write_reply(c, q, &reply);
    c->in_at += used;
}

void h1_serve(struct conn *c) {
    struct server *s = c->server;
    pool_lend(&s->pool, &c->out);
    while (!c->close_after_write && !c->pending && c->in_at < c->in.len) {
        size_t used = 0;
        int status = 0;
        if (conn_backlogged(c)) {
            c->held = true;
            return;
        }
        char *at = (char *)c->in.ptr + c->in_at;
        switch (http1_parse(at, c->in.len - c->in_at, &s->options.limits, &c->progress, &s->request, &used,
                            &status)) {
        case HTTP1_MORE: return;
        case HTTP1_EXPECT:
            if (!c->continued) buf_cstr(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
            c->continued = true;
            return;
        case HTTP1_ERROR: h1_refuse(c, status); return;
        case HTTP1_DONE: serve_request(c, used);
        }
    }
}

void h1_resume(struct conn *c, const struct http_reply *reply) {
    pool_lend(&c->server->pool, &c->out);
    write_reply(c, http_pending_request(c->pending), reply);
    c->in_at += c->pending_bytes;
    c->pending = NULL;
}
