/* What the proxy knows of a request: headers in one call, properties one by one.
 * in: the proxy's buffers. out: texts and values that view them. owns: nothing.
 *
 * Header pairs come as: count, then the lengths of every name and value, then the bytes of each
 * with a zero behind it; numbers are 32-bit little-endian words. */
#include "runtime/proxy/filter.h"

enum { WORD = 4, HEADERS_MAX = 100000 };

RT_NORETURN static void fail_headers(void) {
    rt_fail("input", "the proxy's list of headers is malformed");
}

static struct text piece(struct text *rest, uint32_t len) {
    if (len >= rest->len) fail_headers(); /* a zero follows */
    struct text t = text_slice(*rest, 0, len);
    *rest = text_slice(*rest, len + 1, rest->len);
    return t;
}

static void note_pseudo_header(struct text name, struct text v) {
    struct request *q = &filter.request;
    if (text_equal(name, TEXT(":path"))) q->path = v;
    if (text_equal(name, TEXT(":method"))) q->method = v;
    if (text_equal(name, TEXT(":authority"))) q->host = v;
    if (text_equal(name, TEXT(":scheme"))) q->scheme = v;
}

static void read_pairs(struct text pairs) {
    uint32_t n = pairs.len >= WORD ? load32(pairs.ptr) : 0;
    if (n > HEADERS_MAX || (uint64_t)n * 2 * WORD + WORD > pairs.len) fail_headers();
    const uint8_t *lengths = pairs.ptr + WORD;
    struct text rest = text_slice(pairs, WORD + n * 2 * WORD, pairs.len);
    struct text *out = rt_alloc_array(2 * n, sizeof *out);
    for (uint32_t i = 0; i < 2 * n; i++) out[i] = piece(&rest, load32(lengths + i * WORD));
    for (uint32_t i = 0; i < n; i++)
        if (out[2 * i].len > 0 && out[2 * i].ptr[0] == ':')
            note_pseudo_header(out[2 * i], out[2 * i + 1]);
    filter.request.headers = out;
    filter.request.n_headers = n;
}

static void read_body(void) {
    struct request *q = &filter.request;
    uint32_t data = 0, len = 0, max = filter.root->body_max;
    uint32_t status = proxy_get_buffer_bytes(BUFFER_REQUEST_BODY, 0, max, addr(&data), addr(&len));
    q->body = status == HOST_OK ? (struct text){at(data), len} : (struct text){NULL, 0};
    q->body_cut = !filter.body_complete ||
                  (filter.body_bytes != UINT32_MAX ? filter.body_bytes > len : len == max);
}

void request_clear(void) {
    struct request *q = &filter.request;
    struct text none = {NULL, 0};
    q->method = q->path = q->host = q->scheme = q->body = none;
    q->body_cut = q->is_upgrade;
    q->n_headers = 0;
    filter.request_mark = 0;
}

void request_read(void) {
    struct request *q = &filter.request;
    uint32_t data = 0, len = 0;
    request_clear();
    if (proxy_get_header_map_pairs(MAP_REQUEST_HEADERS, addr(&data), addr(&len)) != HOST_OK)
        rt_fail("input", "the proxy does not give the request's headers");
    read_pairs((struct text){at(data), len});
    if (q->has_body) read_body();
    filter.request_mark = heap_mark();
}

struct text request_header(struct text name) {
    const struct request *q = &filter.request;
    for (uint32_t i = 0; i < q->n_headers; i++)
        if (text_equal(q->headers[2 * i], name)) return q->headers[2 * i + 1];
    return (struct text){NULL, 0};
}

static bool header_now(struct text name, struct text *out) {
    uint32_t data = 0, len = 0, status;
    status = proxy_get_header_map_value(MAP_REQUEST_HEADERS, addr(name.ptr), name.len, addr(&data),
                                        addr(&len));
    *out = (struct text){at(data), status == HOST_OK ? len : 0};
    return out->len > 0;
}

bool request_is_upgrade(void) {
    struct text t;
    if (header_now(TEXT("upgrade"), &t)) return true;
    return header_now(TEXT(":method"), &t) && text_equal(t, TEXT("CONNECT"));
}

/* ---- properties ---- */

static struct text property(struct text path) {
    uint32_t data = 0, len = 0;
    if (proxy_get_property(addr(path.ptr), path.len, addr(&data), addr(&len)) != HOST_OK) len = 0;
    return (struct text){at(data), len};
}

value request_property(struct text path) {
    struct text t = property(path);
    return t.len > 0 ? string_view(request_clean(t)) : VALUE_UNDEFINED;
}

/* Integers and times come as 64-bit words. */
bool request_property_integer(struct text path, int64_t *out) {
    struct text t = property(path);
    if (t.len != 8) return false;
    *out = (int64_t)layout_load64(t.ptr);
    return true;
}

/* ---- UTF-8 ---- */

static bool is_ascii(struct text t) {
    uint32_t i = 0;
    for (; i + 8 <= t.len; i += 8)
        if (layout_load64(t.ptr + i) & 0x8080808080808080u) return false;
    for (; i < t.len; i++)
        if (t.ptr[i] >= 0x80) return false;
    return true;
}

struct text request_clean(struct text t) {
    if (RT_LIKELY(is_ascii(t)) || utf8_valid(t)) return t;
    uint8_t *copy = rt_alloc(t.len);
    bytes_copy(copy, t.ptr, t.len);
    for (uint32_t i = 0; i < t.len;) {
        uint32_t start = i, code_point;
        if (!utf8_decode_checked(t, &i, &code_point)) copy[start] = '!';
    }
    return (struct text){copy, t.len};
}
