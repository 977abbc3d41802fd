/* Helpers on HTTP messages. in: requests. out: header values, decoded text. owns: nothing. */
#include "net/http.h"

struct str http_header_get(const struct http_request *r, struct str name) {
    for (uint32_t i = 0; i < r->n_headers; i++)
        if (str_eq(r->headers[i].name, name)) return r->headers[i].value;
    return (struct str){NULL, 0};
}

void http_reply_init(struct http_reply *reply, struct buf *body) {
    reply->status = 500;
    reply->content_type = NULL;
    reply->body = body;
    reply->n_extra = 0;
    reply->grpc_status = -1;
    reply->grpc_message = NULL;
}

struct str http_number(uint64_t n, char digits[24]) {
    size_t at = 24;
    do digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    return (struct str){digits + at, 24 - at};
}

/* Names that belong to the connection, or that the server writes itself. */
static bool is_framing(struct str name) {
    static const char *const names[] = {"connection", "content-length", "transfer-encoding", "keep-alive", "upgrade"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq_fold(name, str_of(names[i]))) return true;
    return false;
}

bool http_header_sendable(const struct http_header *h) {
    for (size_t i = 0; i < h->name.len; i++)
        if (!http_token_lower(h->name.ptr[i])) return false;
    for (size_t i = 0; i < h->value.len; i++) {
        unsigned char c = (unsigned char)h->value.ptr[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) return false;
    }
    return h->name.len && !is_framing(h->name);
}

const char *http_reason(int status) {
    switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 204: return "No Content";
    case 207: return "Multi-Status";
    case 301: return "Moved Permanently";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 411: return "Length Required";
    case 413: return "Request Entity Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
    }
}

bool http_has_tag(const struct http_request *r, struct str tag) {
    struct str v = http_header_get(r, STR("if-none-match"));
    if (str_is(v, "*")) return true;
    for (size_t i = 0; tag.len && i + tag.len <= v.len; i++)
        if (memcmp(v.ptr + i, tag.ptr, tag.len) == 0) return true;
    return false;
}

long http_percent_decode(struct str s, bool form, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '%') {
            if (s.len - i < 3) return -1;
            int high = char_hex(s.ptr[i + 1]), low = char_hex(s.ptr[i + 2]);
            if (high < 0 || low < 0) return -1;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        out[n++] = c;
    }
    return (long)n;
}
