/* HTTP/1.1 parser and writer. Strict where leniency would let two readers disagree about where a request ends:
 * no folded headers, no blanks before colons, one framing header.
 * in: bytes of a connection. out: whole requests, replies. owns: nothing. */
#include "net/http1.h"

struct head {
    char *at, *end; /* of the head, without the empty line */
    struct http_request *r;
    bool chunked, has_length, expect, version_1_0, close, keep;
    uint64_t length;
};

static bool is_token(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool equals_lower(struct str s, const char *lower) {
    size_t n = strlen(lower);
    if (s.len != n) return false;
    for (size_t i = 0; i < n; i++) {
        char c = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + 32) : s.ptr[i];
        if (c != lower[i]) return false;
    }
    return true;
}

/* The end of the head: index just behind its empty line, or 0 when it is not there yet. */
static size_t head_length(const char *bytes, size_t len) {
    for (const char *p = bytes; (p = memchr(p, '\n', (size_t)(bytes + len - p)));) {
        p++;
        if (p < bytes + len && *p == '\n') return (size_t)(p + 1 - bytes);
        if (p + 1 < bytes + len && p[0] == '\r' && p[1] == '\n') return (size_t)(p + 2 - bytes);
        if (p >= bytes + len) return 0;
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
    if (str_is(name, "content-length")) return content_length(h, value);
    if (str_is(name, "transfer-encoding")) {
        if (h->chunked || !equals_lower(value, "chunked")) return 501;
        h->chunked = true;
    } else if (str_is(name, "connection")) {
        h->close |= equals_lower(value, "close");
        h->keep |= equals_lower(value, "keep-alive");
    } else if (str_is(name, "expect")) {
        h->expect = equals_lower(value, "100-continue");
    }
    return 0;
}

static int header(struct head *h) {
    struct str line = next_line(h);
    const char *colon = memchr(line.ptr, ':', line.len);
    if (!colon || colon == line.ptr) return 400;
    struct str name = str_head(line, (size_t)(colon - line.ptr)), value = str_from(line, name.len + 1);
    for (size_t i = 0; i < name.len; i++)
        if (!is_token(name.ptr[i])) return 400;
    while (value.len && (*value.ptr == ' ' || *value.ptr == '\t')) value = str_from(value, 1);
    while (value.len && (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t')) value.len--;
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] < ' ' && value.ptr[i] != '\t') return 400;
    char *lower = (char *)(uintptr_t)name.ptr; /* the head lies in our own, writable buffer */
    for (size_t i = 0; i < name.len; i++)
        if (lower[i] >= 'A' && lower[i] <= 'Z') lower[i] = (char)(lower[i] + 32);
    if (h->r->n_headers == HTTP_MAX_HEADERS) return 431;
    h->r->headers[h->r->n_headers++] = (struct http_header){name, value};
    return meaning(h, name, value);
}

/* Walks chunks from at; with `join` moves their data together at `to`. Returns the end, NULL when not whole, and a
 * status in *status for bad ones. */
static char *chunks(char *at, char *end, bool join, size_t max, char *to, size_t *total, int *status) {
    for (*total = 0;;) {
        char *nl = memchr(at, '\n', (size_t)(end - at));
        if (!nl) return end - at > 1024 ? (*status = 400, (char *)NULL) : NULL;
        size_t n = 0, digits = 0;
        for (; at < nl; at++, digits++) {
            char c = *at;
            int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
            if (d < 0) break;
            if (digits == 15) return *status = 400, NULL;
            n = n << 4 | (size_t)d;
        }
        if (digits == 0 || (*at != ';' && *at != '\r' && *at != '\n')) return *status = 400, NULL;
        at = nl + 1;
        if (n == 0) break;
        if (n > max - *total) return *status = 413, NULL;
        if ((size_t)(end - at) < n + 1) return NULL;
        if (join) memmove(to + *total, at, n);
        *total += n;
        at += n;
        if (*at == '\r') at++;
        if (at >= end) return NULL;
        if (*at++ != '\n') return *status = 400, NULL;
    }
    for (;;) { /* trailers, which nobody asked for, up to the empty line */
        char *nl = memchr(at, '\n', (size_t)(end - at));
        if (!nl) return end - at > 8192 ? (*status = 431, (char *)NULL) : NULL;
        bool empty = nl == at || (nl == at + 1 && *at == '\r');
        at = nl + 1;
        if (empty) return at;
    }
}

static enum http1_state fail(int *status, int code) {
    *status = code;
    return HTTP1_ERROR;
}

static enum http1_state body(struct head *h, char *start, char *end, const struct http1_limits *limits,
                             char **after, int *status) {
    size_t total = 0;
    *status = 0;
    if (h->chunked) {
        if (h->has_length) return fail(status, 400);
        char *stop = chunks(start, end, false, limits->body_bytes, NULL, &total, status);
        if (*status) return HTTP1_ERROR;
        if (!stop) return h->expect && start == end ? HTTP1_EXPECT : HTTP1_MORE;
        chunks(start, end, true, limits->body_bytes, start, &total, status);
        h->r->body = (struct str){start, total};
        *after = stop;
        return HTTP1_DONE;
    }
    if (h->length > limits->body_bytes) return fail(status, 413);
    if ((uint64_t)(end - start) < h->length) return h->expect && start == end ? HTTP1_EXPECT : HTTP1_MORE;
    h->r->body = (struct str){start, h->length};
    *after = start + h->length;
    return HTTP1_DONE;
}

enum http1_state http1_parse(char *bytes, size_t len, const struct http1_limits *limits,
                             struct http_request *request, size_t *used, int *status) {
    size_t skipped = 0; /* empty lines before a request are allowed */
    while (skipped < len && (bytes[skipped] == '\r' || bytes[skipped] == '\n')) skipped++;
    size_t n = head_length(bytes + skipped, len - skipped);
    if (n > limits->head_bytes || (!n && len - skipped > limits->head_bytes)) return fail(status, 431);
    if (!n) return HTTP1_MORE;
    *request = (struct http_request){.body = {"", 0}};
    request->n_headers = 0;
    struct head h = {.at = bytes + skipped, .end = bytes + skipped + n, .r = request};
    int code = request_line(&h);
    while (!code && h.at < h.end && *h.at != '\n' && !(*h.at == '\r' && h.at + 1 < h.end && h.at[1] == '\n'))
        code = header(&h);
    if (code) return fail(status, code);
    char *after = NULL;
    enum http1_state s = body(&h, bytes + skipped + n, bytes + len, limits, &after, status);
    if (s != HTTP1_DONE) return s;
    request->keep_alive = !h.close && (!h.version_1_0 || h.keep);
    *used = (size_t)(after - bytes);
    return HTTP1_DONE;
}

void http1_write(struct buf *out, const struct http_reply *reply, bool keep_alive, bool head_only) {
    buf_printf(out, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n", reply->status, http_reason(reply->status),
               reply->body->len);
    if (reply->content_type) buf_printf(out, "Content-Type: %s\r\n", reply->content_type);
    for (uint32_t i = 0; i < reply->n_extra; i++)
        buf_printf(out, "%.*s: %.*s\r\n", STR_FMT(reply->extra[i].name), STR_FMT(reply->extra[i].value));
    buf_cstr(out, keep_alive ? "\r\n" : "Connection: close\r\n\r\n");
    if (!head_only) buf_str(out, buf_view(reply->body));
}
