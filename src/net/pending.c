/* Requests that outlive their handler: kept until their reply, though the client may be gone.
 * in: a request from its handler. out: a handle that any thread may read. owns: the handles. */
#include "net/pending.h"
#include <stdlib.h>

enum { POOLED_PENDINGS = 256 };

/* All but the headers that are not there. */
static void copy_request(struct http_request *to, const struct http_request *from) {
    size_t end = offsetof(struct http_request, headers) + from->n_headers * sizeof *from->headers;
    size_t rest = offsetof(struct http_request, n_headers);
    memcpy(to, from, end);
    memcpy((char *)to + rest, (const char *)from + rest, sizeof *to - rest);
}

static struct http_pending *take(struct server *s) {
    struct http_pending *p = s->pendings;
    if (!p) return malloc(sizeof *p);
    s->pendings = p->next;
    s->n_pendings--;
    return p;
}

static void put(struct server *s, struct http_pending *p) {
    if (!s || s->n_pendings == POOLED_PENDINGS) {
        free(p);
        return;
    }
    p->next = s->pendings;
    s->pendings = p;
    s->n_pendings++;
}

void pending_free_pool(struct server *s) {
    for (struct http_pending *p = s->pendings, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    s->pendings = NULL;
}

struct http_pending *http_defer(const struct http_request *q) {
    struct stream *stream = q->http2 ? q->origin : NULL;
    struct conn *c = stream ? h2_conn(stream) : q->origin;
    if (c->pending) return NULL;
    struct http_pending *p = take(c->server);
    if (!p) return NULL;
    p->conn = c;
    p->stream = stream;
    p->request = q;
    atomic_init(&p->gone, false);
    c->n_pending++;
    c->server->n_pending++;
    if (stream) {
        h2_defer(stream, p);
    } else {
        copy_request(&p->copy, q);
        p->request = &p->copy;
        c->pending = p;
    }
    return p;
}

const struct http_request *http_pending_request(const struct http_pending *p) { return p->request; }
bool http_pending_gone(const struct http_pending *p) { return atomic_load(&p->gone); }
void pending_gone(struct http_pending *p) { atomic_store(&p->gone, true); }

void http_pending_reply(struct http_pending *p, const struct http_reply *reply) {
    struct conn *c = p->conn;
    struct server *s = c->server;
    if (p->stream)
        h2_resume(p->stream, reply);
    else if (!atomic_load(&p->gone))
        h1_resume(c, reply);
    if (!c->closing) {
        c->active_ms = uv_now(&s->loop);
        conn_wake(c);
    }
    put(s, p);
    conn_pending_done(c);
}
