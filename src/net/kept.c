/* Replies that outlive whoever wrote them, to be sent by another thread.
 * in: a reply with views. out: a copy with its own bytes. owns: nothing; the copy is the caller's. */
#include "net/kept.h"
#include <stdlib.h>

struct http_kept {
    struct http_reply reply;
    struct buf body;
    char text[];
};

static const char *keep_text(char **at, struct str s) {
    char *start = *at;
    if (s.len) memcpy(start, s.ptr, s.len);
    start[s.len] = 0;
    *at += s.len + 1;
    return start;
}

struct http_kept *http_keep(const struct http_reply *r) {
    struct str type = str_of(r->content_type), message = str_of(r->grpc_message);
    size_t n = type.len + message.len + r->body->len + 3;
    for (uint32_t i = 0; i < r->n_extra; i++) n += r->extra[i].name.len + r->extra[i].value.len + 2;
    struct http_kept *k = malloc(sizeof *k + n);
    if (!k) return NULL;
    char *at = k->text;
    k->reply = *r;
    if (type.ptr) k->reply.content_type = keep_text(&at, type);
    if (message.ptr) k->reply.grpc_message = keep_text(&at, message);
    for (uint32_t i = 0; i < r->n_extra; i++) {
        struct http_header h = r->extra[i];
        k->reply.extra[i].name.ptr = keep_text(&at, h.name);
        k->reply.extra[i].value.ptr = keep_text(&at, h.value);
    }
    const char *body = keep_text(&at, buf_view(r->body));
    k->body = (struct buf){.ptr = (uint8_t *)(uintptr_t)body,
                           .len = r->body->len,
                           .cap = r->body->len,
                           .max = r->body->len,
                           .err = r->body->err};
    k->reply.body = &k->body;
    return k;
}

const struct http_reply *http_kept_reply(const struct http_kept *k) { return &k->reply; }
