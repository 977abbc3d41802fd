/* HTTP/1.1 parser and writer. Strict where leniency would let two readers disagree about where a
 * request ends: no folded headers, no blanks before colons, one framing header. in: bytes of a
 * connection. out: whole requests, replies. owns: nothing. */
#include "net/http1.h"

enum { MAX_BLANKS = 8, MAX_CHUNK_LINE = 1024, MAX_TRAILER_BYTES = 8192, NEED_MORE = -1 };

struct head {
    char *at, *end; /* of the head, without the empty line */
    struct http_request *r;
    bool chunked, has_length, has_host, expect, version_1_0, close, keep;
    uint64_t length;
};

static bool is_token(char c) { return http_token_lower(c) != 0; }

/* The end of the head: index just behind its empty line, or 0 when it is not there yet. Looks from
 * `from` on. */
static size_t head_length(const char *bytes, size_t from, size_t len) {
    for (const char *p = bytes + from; (p = memchr(p, '\n', (size_t)(bytes + len - p)));) {
        p++;
        if (p >= bytes + len) return 0;
        if (*p == '\n') return (size_t)(p + 1 - bytes);
        if (p + 1 < bytes + len && p[0] == '\r' && p[1] == '\n') return (size_t)(p + 2 - bytes);
    }
    return 0;
}

/* The next line without its end; at moves behind it. */
static struct str next_line(struct head *h) {
    char *start = h->at, *nl = memchr(start, '\n', (size_t)(h->end - start));
    char *stop = nl ? nl : h->end;
    h->at = nl ? nl + 1 : h->end;
    if (stop > start && stop[-1] == '\r') stop--;
    return (struct str){start, (size_t)(stop - start)};
}

static int request_line(struct head *h) {
    struct str line = next_line(h);
    struct http_request *r = h->r;
    const char *sp = memchr(line.ptr, ' ', line.len);
    if (!sp || sp == line.ptr) return 400;
    r->method = str_head(line, (size_t)(sp - line.ptr));
    for (size_t i = 0; i < r->method.len; i++)
        if (!is_token(r->method.ptr[i])) return 400;
    struct str rest = str_from(line, r->method.len + 1);
    const char *sp2 = memchr(rest.ptr, ' ', rest.len);
    if (!sp2) return 400;
    r->target = str_head(rest, (size_t)(sp2 - rest.ptr));
    struct str version = str_from(rest, r->target.len + 1);
    if (!str_starts(version, STR("HTTP/")) || version.len != 8) return 400;
    h->version_1_0 = str_is(version, "HTTP/1.0");
    if (!h->version_1_0 && !str_is(version, "HTTP/1.1")) return 505;
    if (r->target.len == 0) return 400;
    for (size_t i = 0; i < r->target.len; i++)
        if ((unsigned char)r->target.ptr[i] <= ' ' || r->target.ptr[i] == 0x7f) return 400;
    const char *q = memchr(r->target.ptr, '?', r->target.len);
    r->path = q ? str_head(r->target, (size_t)(q - r->target.ptr)) : r->target;
    r->query = q ? str_from(r->target, r->path.len + 1) : (struct str){"", 0};
    return 0;
}

static int content_length(struct head *h, struct str v) {
    uint64_t n = 0;
    if (v.len == 0 || v.len > 18) return 400;
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9') return 400;
        n = n * 10 + (uint64_t)(v.ptr[i] - '0');
    }
    if (h->has_length && h->length != n) return 400;
    h->has_length = true;
    h->length = n;
    return 0;
}

/* Headers that frame the message or steer the connection. */
static int meaning(struct head *h, struct str name, struct str value) {
    switch (name.len) { /* few headers have one of these lengths */
    case 4:
        if (!str_is(name, "host")) return 0;
        if (h->has_host) return 400;
        h->has_host = true;
        return 0;
    case 6:
        if (str_is(name, "expect"))
            h->expect = !h->version_1_0 && str_eq_fold(value, STR("100-continue"));
        return 0;
    case 10:
        if (!str_is(name, "connection")) return 0;
        h->close |= str_eq_fold(value, STR("close"));
        h->keep |= str_eq_fold(value, STR("keep-alive"));
        return 0;
    case 14: return str_is(name, "content-length") ? content_length(h, value) : 0;
    case 17:
        if (!str_is(name, "transfer-encoding")) return 0;
        if (h->chunked || h->version_1_0 || !str_eq_fold(value, STR("chunked"))) return 501;
        h->chunked = true;
        return 0;
    }
    return 0;
}

static int header(struct head *h) {
    struct str line = next_line(h);
    char *name = (char *)(uintptr_t)line.ptr; /* the head lies in our own, writable buffer */
    size_t n = 0;
    for (char c; n < line.len && (c = http_token_lower(name[n])); n++) name[n] = c;
    if (n == 0 || n == line.len || name[n] != ':') return 400;
    struct str value = str_from(line, n + 1);
    while (value.len && (*value.ptr == ' ' || *value.ptr == '\t')) value = str_from(value, 1);
    while (value.len && (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t'))
        value.len--;
    for (size_t i = 0; i < value.len; i++)
        if (((unsigned char)value.ptr[i] < ' ' && value.ptr[i] != '\t') || value.ptr[i] == 0x7f)
            return 400;
    if (h->r->n_headers == HTTP_MAX_HEADERS) return 431;
    struct str key = {name, n};
    h->r->headers[h->r->n_headers++] = (struct http_header){key, value};
    return meaning(h, key, value);
}

/* A chunk's size line at `at`: 0, NEED_MORE or a status. *data gets the byte behind the line. */
static int size_line(char *at, char *end, size_t *size, char **data) {
    char *nl = memchr(at, '\n', (size_t)(end - at));
    if ((nl ? nl : end) - at > MAX_CHUNK_LINE) return 400;
    if (!nl) return NEED_MORE;
    char *stop = nl > at && nl[-1] == '\r' ? nl - 1 : nl, *digits = at;
    size_t n = 0;
    for (int d; at < stop && (d = char_hex(*at)) >= 0; at++) {
        if (at - digits == 15) return 400;
        n = n << 4 | (size_t)d;
    }
    if (at == digits || (at < stop && *at != ';') || memchr(at, '\r', (size_t)(stop - at)))
        return 400;
    *size = n;
    *data = nl + 1;
    return 0;
}

/* Trailers, which nobody asked for, up to the empty line. */
static int trailers(char *at, char *end, char **after) {
    for (char *start = at;;) {
        char *nl = memchr(at, '\n', (size_t)(end - at));
        if ((nl ? nl : end) - start > MAX_TRAILER_BYTES) return 431;
        if (!nl) return NEED_MORE;
        bool empty = nl == at || (nl == at + 1 && *at == '\r');
        at = nl + 1;
        if (empty) return *after = at, 0;
    }
}

/* Walks on over a chunked body from where *p left off; with `join` moves the data together at its
 * start. */
static int walk_chunks(char *start, char *end, size_t max, bool join, struct http1_progress *p,
                       char **after) {
    for (;;) {
        char *data;
        size_t n;
        int code = size_line(start + p->chunk_at, end, &n, &data);
        if (code) return code;
        if (n == 0) return trailers(data, end, after);
        if (n > max - p->chunk_bytes) return 413;
        if ((size_t)(end - data) < n + 1) return NEED_MORE;
        char *next = data + n;
        if (*next == '\r' && ++next == end) return NEED_MORE;
        if (*next != '\n') return 400;
        if (join) memmove(start + p->chunk_bytes, data, n);
        p->chunk_bytes += n;
        p->chunk_at = (size_t)(next + 1 - start);
    }
}

static enum http1_state fail(int *status, int code) {
    *status = code;
    return HTTP1_ERROR;
}

static enum http1_state not_whole(const struct head *h, bool nothing_yet) {
    return h->expect && nothing_yet ? HTTP1_EXPECT : HTTP1_MORE;
}

static enum http1_state chunked_body(struct head *h, char *start, char *end, size_t max,
                                     struct http1_progress *p, char **after, int *status) {
    struct http1_progress again = {0};
    if (h->has_length) return fail(status, 400);
    int code = walk_chunks(start, end, max, false, p, after);
    if (code == NEED_MORE) return not_whole(h, start == end);
    if (code) return fail(status, code);
    walk_chunks(start, end, max, true, &again, after);
    h->r->body = (struct str){start, again.chunk_bytes};
    return HTTP1_DONE;
}

static enum http1_state plain_body(struct head *h, char *start, char *end, size_t max,
                                   struct http1_progress *p, char **after, int *status) {
    if (h->length > max) return fail(status, 413);
    size_t there = (size_t)(end - start);
    if (there < h->length) {
        p->missing = h->length - there;
        return not_whole(h, there == 0);
    }
    h->r->body = (struct str){start, h->length};
    *after = start + h->length;
    return HTTP1_DONE;
}

static int parse_head(struct head *h) {
    int code = request_line(h);
    while (!code && h->at < h->end && *h->at != '\n' &&
           !(*h->at == '\r' && h->at + 1 < h->end && h->at[1] == '\n'))
        code = header(h);
    return code || h->has_host || h->version_1_0 ? code : 400;
}

enum http1_state http1_parse(char *bytes, size_t len, const struct http1_limits *limits,
                             struct http1_progress *p, struct http_request *request, size_t *used,
                             int *status) {
    size_t skipped = 0, seen = p->seen; /* a blank line before a request is allowed */
    if (p->missing > len - seen) return HTTP1_MORE;
    while (skipped < len && (bytes[skipped] == '\r' || bytes[skipped] == '\n'))
        if (++skipped > MAX_BLANKS) return fail(status, 400);
    size_t from = p->head_bytes ? p->head_bytes - 3 : seen > skipped + 2 ? seen - 2 : skipped;
    size_t n = head_length(bytes, from, len);
    if ((n ? n : len) - skipped > limits->head_bytes)
        return fail(status, memchr(bytes + skipped, '\n', limits->head_bytes) ? 431 : 414);
    /* What cannot begin a method will never become a request: TLS on a plain port, say. */
    if (skipped < len && (bytes[skipped] < '!' || bytes[skipped] > '~')) return fail(status, 400);
    p->seen = len;
    if (!n) return HTTP1_MORE;
    p->head_bytes = n;
    request->n_headers = 0;
    request->body = (struct str){"", 0};
    request->http2 = request->is_grpc = false;
    struct head h = {.at = bytes + skipped, .end = bytes + n, .r = request};
    char *after = NULL, *start = bytes + n, *end = bytes + len;
    int code = parse_head(&h);
    if (code) return fail(status, code);
    enum http1_state s = h.chunked
                             ? chunked_body(&h, start, end, limits->body_bytes, p, &after, status)
                             : plain_body(&h, start, end, limits->body_bytes, p, &after, status);
    if (s != HTTP1_DONE) return s;
    request->keep_alive = !h.close && (!h.version_1_0 || h.keep);
    *used = (size_t)(after - bytes);
    *p = (struct http1_progress){0};
    return HTTP1_DONE;
}

void http1_write(struct buf *out, const struct http_reply *reply, bool keep_alive, bool head_only) {
    char digits[24];
    bool bodiless = reply->status == 204 || reply->status == 304;
    buf_str(out, STR("HTTP/1.1 "));
    buf_str(out, http_number((uint64_t)reply->status, digits));
    buf_byte(out, ' ');
    buf_cstr(out, http_reason(reply->status));
    if (!bodiless) {
        buf_str(out, STR("\r\nContent-Length: "));
        buf_str(out, http_number(reply->body->len, digits));
    }
    if (reply->content_type) {
        buf_str(out, STR("\r\nContent-Type: "));
        buf_cstr(out, reply->content_type);
    }
    for (uint32_t i = 0; i < reply->n_extra; i++) {
        if (!http_header_sendable(&reply->extra[i])) continue;
        buf_str(out, STR("\r\n"));
        buf_str(out, reply->extra[i].name);
        buf_str(out, STR(": "));
        buf_str(out, reply->extra[i].value);
    }
    buf_str(out, keep_alive ? STR("\r\n\r\n") : STR("\r\nConnection: close\r\n\r\n"));
    if (!head_only && !bodiless) buf_str(out, buf_view(reply->body));
}
