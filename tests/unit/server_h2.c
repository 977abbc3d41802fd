/* The server core over HTTP/2, by frames made by hand: gRPC, deferral, floods, stalls. What comes back is written down
 * as text: "HEADERS 1 :status=200 END", "DATA 1 5 END", "RST 3 8", "GOAWAY 11". */
#include "net_server.h"
#include <nghttp2/nghttp2.h>

enum { DATA = 0, HEADERS = 1, PRIORITY = 2, RST = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW = 8, CONTINUATION = 9 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

struct h2_client {
    int fd;
    nghttp2_hd_inflater *inflater;
    struct buf out; /* frames to send */
    struct buf log;
};

static void frame(struct buf *out, int type, int flags, uint32_t id, const void *payload, size_t len) {
    uint8_t head[9] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, (uint8_t)type, (uint8_t)flags,
                       (uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    buf_put(out, head, sizeof head);
    buf_put(out, payload, len);
}

static void field(struct buf *out, const char *name, const char *value) { /* literal, without a table */
    assert_true(strlen(name) < 127 && strlen(value) < 127);
    buf_byte(out, 0);
    buf_byte(out, (uint8_t)strlen(name));
    buf_cstr(out, name);
    buf_byte(out, (uint8_t)strlen(value));
    buf_cstr(out, value);
}

static void send_frames(struct h2_client *c) {
    say_bytes(c->fd, c->out.ptr, c->out.len);
    buf_clear(&c->out);
}

static struct h2_client h2_connect(const struct node *n, uint32_t window) {
    struct h2_client c = {.fd = client(n)};
    uint8_t settings[6] = {0, 4, (uint8_t)(window >> 24), (uint8_t)(window >> 16), (uint8_t)(window >> 8), (uint8_t)window};
    nghttp2_hd_inflate_new(&c.inflater);
    buf_init(&c.out, 64 << 20);
    buf_init(&c.log, 1 << 22);
    buf_cstr(&c.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    frame(&c.out, SETTINGS, 0, 0, settings, sizeof settings);
    send_frames(&c);
    return c;
}

static void h2_end(struct h2_client *c) {
    close(c->fd);
    nghttp2_hd_inflate_del(c->inflater);
    buf_deinit(&c->out);
    buf_deinit(&c->log);
}

static void request_head(struct buf *block, const char *method, const char *path, const char *type) {
    field(block, ":method", method);
    field(block, ":scheme", "http");
    field(block, ":path", path);
    field(block, ":authority", "x");
    if (type) field(block, "content-type", type);
}

/* A request's HEADERS, and DATA when there is a body. */
static void ask(struct h2_client *c, uint32_t id, const char *method, const char *path, const char *type, struct str body) {
    struct buf block;
    buf_init(&block, 1 << 16);
    request_head(&block, method, path, type);
    frame(&c->out, HEADERS, END_HEADERS | (body.len ? 0 : END_STREAM), id, block.ptr, block.len);
    for (; body.len > 16384; body = str_from(body, 16384)) frame(&c->out, DATA, 0, id, body.ptr, 16384);
    if (body.len) frame(&c->out, DATA, END_STREAM, id, body.ptr, body.len);
    buf_deinit(&block);
    send_frames(c);
}
static void get(struct h2_client *c, uint32_t id, const char *path) { ask(c, id, "GET", path, NULL, STR("")); }
static void grpc(struct h2_client *c, uint32_t id, const char *path, struct str frame_bytes) {
    ask(c, id, "POST", path, "application/grpc", frame_bytes);
}

static bool read_exactly(int fd, uint8_t *to, size_t len, uint64_t end) {
    for (size_t at = 0; at < len;) {
        uint64_t now = now_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= end || poll(&p, 1, (int)(end - now)) <= 0) return false;
        ssize_t n = recv(fd, to + at, len - at, 0);
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

static void note_headers(struct h2_client *c, const uint8_t *p, size_t len) {
    nghttp2_nv nv;
    for (int flags = 0; !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
        ssize_t n = nghttp2_hd_inflate_hd2(c->inflater, &nv, &flags, p, len, 1);
        assert_true(n >= 0);
        p += n;
        len -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            buf_printf(&c->log, " %.*s=%.*s", (int)nv.namelen, nv.name, (int)nv.valuelen, nv.value);
        if (!(flags & (NGHTTP2_HD_INFLATE_EMIT | NGHTTP2_HD_INFLATE_FINAL)) && !len) break;
    }
    nghttp2_hd_inflate_end_headers(c->inflater);
}

static uint32_t number(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

/* Reads frames until the log holds `until`, or the connection ends (CLOSED), or time does. */
static const char *listen_for(struct h2_client *c, const char *until, unsigned ms) {
    static uint8_t payload[1 << 16];
    uint64_t end = now_ms() + ms;
    for (;;) {
        uint8_t h[9];
        if (c->log.len && strstr((char *)c->log.ptr, until)) break;
        if (!read_exactly(c->fd, h, 9, end)) {
            buf_cstr(&c->log, now_ms() >= end ? "TIME\n" : "CLOSED\n");
            buf_put(&c->log, "", 1), c->log.len--;
            break;
        }
        size_t len = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
        uint32_t id = number(h + 5);
        assert_true(len <= sizeof payload && read_exactly(c->fd, payload, len, end));
        switch (h[3]) {
        case HEADERS:
            buf_printf(&c->log, "HEADERS %u", id);
            note_headers(c, payload, len);
            break;
        case DATA: buf_printf(&c->log, "DATA %u %.*s", id, len < 64 ? (int)len : 0, payload); break;
        case RST: buf_printf(&c->log, "RST %u %u", id, number(payload)); break;
        case GOAWAY: buf_printf(&c->log, "GOAWAY %u", number(payload + 4)); break;
        default: continue;
        }
        buf_cstr(&c->log, h[3] <= HEADERS && h[4] & END_STREAM ? " END\n" : "\n");
        buf_put(&c->log, "", 1), c->log.len--;
    }
    return (char *)c->log.ptr;
}
static const char *heard(struct h2_client *c, const char *until) {
    const char *text = listen_for(c, until, WAIT_MS);
    contains(text, until);
    return text;
}

/* ---- replies ---- */

static void replies(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    struct h2_client c = h2_connect(n, 65535);
    ask(&c, 1, "POST", "/echo?x", NULL, STR("body"));
    heard(&c, "HEADERS 1 :status=200 content-length=9\nDATA 1 POST body END\n");
    ask(&c, 3, "HEAD", "/echo", NULL, STR(""));
    heard(&c, "HEADERS 3 :status=200 content-length=5 END\n");
    get(&c, 5, "/204");
    heard(&c, "HEADERS 5 :status=204 END\n");
    get(&c, 7, "/extra");
    const char *text = heard(&c, "HEADERS 7 :status=200 content-type=text/plain content-length=0 x-good=a b x-many=v x-many=v");
    lacks(text, "evil");
    lacks(text, "bad");
    get(&c, 9, "/listener");
    heard(&c, "DATA 9 first END\n");
    get(&c, 11, "/peer");
    heard(&c, "DATA 11 127.0.0.1 000  END\n");
    h2_end(&c);
    node_down(n);
}

/* Bytes that are no UTF-8 come through as they are; trailers of a request mean nothing. */
static void request_headers(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    struct h2_client c = h2_connect(n, 65535);
    struct buf block;
    buf_init(&block, 4096);
    request_head(&block, "POST", "/header", NULL);
    field(&block, "x-test", "a\xff\xc3(");
    frame(&c.out, HEADERS, END_HEADERS, 1, block.ptr, block.len);
    buf_clear(&block);
    field(&block, "x-test", "trailer");
    frame(&c.out, DATA, 0, 1, "x", 1);
    frame(&c.out, HEADERS, END_HEADERS | END_STREAM, 1, block.ptr, block.len);
    send_frames(&c);
    heard(&c, "DATA 1 a\xff\xc3( END\n");
    buf_clear(&block);
    request_head(&block, "POST", "/header", NULL);
    frame(&c.out, HEADERS, END_HEADERS, 3, block.ptr, block.len);
    buf_clear(&block);
    field(&block, "x-test", "trailer");
    frame(&c.out, HEADERS, END_HEADERS | END_STREAM, 3, block.ptr, block.len);
    send_frames(&c);
    lacks(heard(&c, "DATA 3  END\n"), "DATA 3 trailer");
    buf_deinit(&block);
    h2_end(&c);
    node_down(n);
}

static void grpc_calls(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *want;
    } rows[] = {
        {"\0\0\0\0\2hi", 7, " :status=200 content-type=application/grpc\n"},
        {"\0\0\0\0\0", 5, " :status=200 content-type=application/grpc\n"},
        {"\1\0\0\0\2hi", 7, " grpc-status=12 grpc-message=compressed messages are not supported END\n"},
        {"\0\0\0\0\3hi", 7, " grpc-status=13 grpc-message=the message is cut END\n"},
        {"\0\0\0", 3, " grpc-status=13 grpc-message=the message is cut END\n"},
        {"\0\x7f\xff\xff\xffhi", 7, " grpc-status=8 grpc-message=the message is too large END\n"},
        {"\0\0\0\0\1h\0\0\0\0\1i", 12, " grpc-status=12 grpc-message=want one message, got more END\n"},
        {"\2\0\0\0\2hi", 7, " grpc-status=13 grpc-message=bad message flags END\n"},
        {"", 0, " grpc-status=12 grpc-message=want one message, got none END\n"},
    };
    struct node *n = node_up((struct server_options){0});
    struct h2_client c = h2_connect(n, 65535);
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&c.log);
        grpc(&c, 2 * i + 1, "/echo", (struct str){rows[i].bytes, rows[i].len});
        contains(heard(&c, "END\n"), rows[i].want);
    }
    grpc(&c, 101, "/echo", (struct str){"\0\0\0\0\2hi", 7});
    heard(&c, "HEADERS 101 grpc-status=0 END\n");
    grpc(&c, 103, "/fail", (struct str){"\0\0\0\0\0", 5});
    heard(&c, "HEADERS 103 :status=200 content-type=application/grpc grpc-status=5 grpc-message=50%25 of %C3%A4%0A END\n");
    ask(&c, 105, "POST", "/echo", "application/grpc-web", STR("x"));
    heard(&c, "DATA 105 POST x END\n");
    h2_end(&c);
    node_down(n);
}

static void too_large(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){.limits = {.head_bytes = 8192, .body_bytes = 65536}});
    struct h2_client c = h2_connect(n, 65535);
    static char big[100000];
    memset(big, 'x', sizeof big);
    ask(&c, 1, "POST", "/echo", NULL, (struct str){big, sizeof big});
    heard(&c, "HEADERS 1 :status=413");
    ask(&c, 3, "POST", "/echo", "application/grpc", (struct str){big, sizeof big});
    contains(heard(&c, "HEADERS 3"), "HEADERS 3 :status=200 content-type=application/grpc grpc-status=8");
    struct buf block;
    buf_init(&block, 1 << 20);
    request_head(&block, "GET", "/echo", NULL);
    for (int i = 0; i < 100; i++) field(&block, "x-long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    frame(&c.out, HEADERS, END_HEADERS | END_STREAM, 5, block.ptr, block.len);
    send_frames(&c);
    heard(&c, "HEADERS 5 :status=431");
    buf_clear(&block);
    request_head(&block, "GET", "/echo", NULL);
    for (int i = 0; i < 140; i++) field(&block, "x", "y");
    frame(&c.out, HEADERS, END_HEADERS | END_STREAM, 7, block.ptr, block.len);
    send_frames(&c);
    heard(&c, "HEADERS 7 :status=431");
    get(&c, 9, "/echo");
    heard(&c, "DATA 9 GET  END\n");
    assert_int_equal(server_counters(n->server)->bad, 4);
    buf_deinit(&block);
    h2_end(&c);
    node_down(n);
}

/* ---- deferral ---- */

static void streams_do_not_wait(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    struct h2_client c = h2_connect(n, 65535);
    ask(&c, 1, "POST", "/later", NULL, STR("one"));
    node_wait_later(n, 1);
    grpc(&c, 3, "/later", (struct str){"\0\0\0\0\3two", 8});
    get(&c, 5, "/now");
    heard(&c, "DATA 5 GET  END\n");
    assert_true(str_is(http_pending_request(n->later[1])->body, "two"));
    node_release(n, 1);
    lacks(heard(&c, "HEADERS 3 grpc-status=0 END\n"), "HEADERS 1");
    node_release(n, 0);
    heard(&c, "DATA 1 POST one END\n");
    h2_end(&c);
    node_down(n);
}

static void await_gone(struct http_pending *p) {
    for (uint64_t end = now_ms() + WAIT_MS; !http_pending_gone(p); sleep_ms(2)) assert_true(now_ms() < end);
}

static void client_goes_away(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    struct h2_client c = h2_connect(n, 65535), d = h2_connect(n, 65535);
    ask(&c, 1, "POST", "/later", NULL, STR("one"));
    node_wait_later(n, 1);
    frame(&c.out, RST, 0, 1, "\0\0\0\x8", 4);
    send_frames(&c);
    await_gone(n->later[0]);
    assert_true(str_is(http_pending_request(n->later[0])->body, "one"));
    node_release(n, 0);
    get(&c, 3, "/now");
    lacks(heard(&c, "DATA 3 GET  END\n"), "DATA 1");
    ask(&d, 1, "POST", "/later", NULL, STR("two"));
    node_wait_later(n, 2);
    frame(&d.out, PING, 0, 0, "short", 5); /* a broken frame ends the connection */
    send_frames(&d);
    await_gone(n->later[1]);
    assert_true(str_is(http_pending_request(n->later[1])->body, "two"));
    node_release(n, 1);
    h2_end(&c), h2_end(&d);
    node_down(n);
}

static void half_closed_gets_its_replies(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    struct h2_client c = h2_connect(n, 65535);
    get(&c, 1, "/later");
    node_wait_later(n, 1);
    shutdown(c.fd, SHUT_WR);
    sleep_ms(50);
    node_release(n, 0);
    heard(&c, "DATA 1 GET  END\nCLOSED");
    h2_end(&c);
    node_down(n);
}

static void stopping(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    struct h2_client busy = h2_connect(n, 65535), idle = h2_connect(n, 65535), dead = h2_connect(n, 65535);
    get(&idle, 1, "/now");
    heard(&idle, "DATA 1 GET  END\n");
    get(&busy, 1, "/later");
    node_wait_later(n, 1);
    get(&dead, 1, "/later");
    node_wait_later(n, 2);
    server_stop(n->server);
    heard(&idle, "GOAWAY 0\nCLOSED");
    heard(&busy, "GOAWAY 0\n");
    node_release(n, 0);
    heard(&busy, "DATA 1 GET  END\nCLOSED");
    heard(&dead, "GOAWAY 0\nCLOSED");
    struct http_pending *left = n->later[1];
    h2_end(&busy), h2_end(&idle), h2_end(&dead);
    node_down(n);
    assert_true(http_pending_gone(left));
    reply_later(left);
}

/* ---- bad clients ---- */

static const struct server_options hasty = {.limits = {.head_bytes = 8192, .body_bytes = 1 << 20},
                                            .idle_timeout_ms = 1500,
                                            .header_timeout_ms = 400};

/* Sends the flood until the server ends the connection, which it must do before all was sent. */
static void flood(void (*fill)(struct buf *out, int i), int times) {
    struct node *n = node_up((struct server_options){0});
    struct h2_client c = h2_connect(n, 65535);
    for (int i = 0; i < times; i++) fill(&c.out, i);
    send_frames(&c);
    heard(&c, "CLOSED");
    assert_true(atomic_load(&n->calls) <= 4000);
    h2_end(&c);
    struct h2_client other = h2_connect(n, 65535);
    get(&other, 1, "/now");
    heard(&other, "DATA 1 GET  END\n");
    h2_end(&other);
    node_down(n);
}

static void put_request(struct buf *out, uint32_t id, const char *path, int flags) {
    struct buf block;
    buf_init(&block, 4096);
    request_head(&block, "GET", path, NULL);
    frame(out, HEADERS, flags, id, block.ptr, block.len);
    buf_deinit(&block);
}

static void open_and_reset(struct buf *out, int i) {
    put_request(out, (uint32_t)i * 2 + 1, "/now", END_HEADERS | END_STREAM);
    frame(out, RST, 0, (uint32_t)i * 2 + 1, "\0\0\0\x8", 4);
}
static void open_later_and_reset(struct buf *out, int i) {
    put_request(out, (uint32_t)i * 2 + 1, "/later", END_HEADERS | END_STREAM);
    frame(out, RST, 0, (uint32_t)i * 2 + 1, "\0\0\0\x8", 4);
}
static void open_half_and_reset(struct buf *out, int i) {
    put_request(out, (uint32_t)i * 2 + 1, "/now", END_HEADERS);
    frame(out, RST, 0, (uint32_t)i * 2 + 1, "\0\0\0\x8", 4);
}
static void ping(struct buf *out, int i) {
    (void)i;
    frame(out, PING, 0, 0, "12345678", 8);
}
static void settings(struct buf *out, int i) {
    (void)i;
    frame(out, SETTINGS, 0, 0, "\0\3\0\0\0\1", 6);
}
static void priority(struct buf *out, int i) { frame(out, PRIORITY, 0, (uint32_t)i * 2 + 1, "\0\0\0\0\1", 5); }
static void empty_data(struct buf *out, int i) {
    if (i == 0) put_request(out, 1, "/now", END_HEADERS);
    frame(out, DATA, 0, 1, "", 0);
}
static void continuation(struct buf *out, int i) {
    if (i == 0) put_request(out, 1, "/now", 0);
    frame(out, CONTINUATION, 0, 1, "\0\1a\1b", 5);
}
static void header_bomb(struct buf *out, int i) { /* one entry in the table, named again and again */
    struct buf block;
    buf_init(&block, 1 << 16);
    request_head(&block, "GET", "/now", NULL);
    buf_cstr(&block, "\x40\1a");
    buf_cstr(&block, "\x7f\x21"); /* a value of 160 bytes */
    for (int k = 0; k < 160; k++) buf_byte(&block, 'v');
    for (int k = 0; k < 16000; k++) buf_byte(&block, 0x80 | 62);
    frame(out, HEADERS, END_HEADERS | END_STREAM, (uint32_t)i * 2 + 1, block.ptr, block.len);
    buf_deinit(&block);
}

static void floods(void **state) {
    (void)state;
    flood(open_and_reset, 20000);
    flood(open_half_and_reset, 20000);
    flood(ping, 100000);
    flood(settings, 100000);
    flood(priority, 100000);
    flood(empty_data, 100000);
    flood(continuation, 100000);
    flood(header_bomb, 1);
}

static void flood_of_pending(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    struct h2_client c = h2_connect(n, 65535);
    for (int i = 0; i < 20000; i++) open_later_and_reset(&c.out, i);
    send_frames(&c);
    heard(&c, "CLOSED");
    uint32_t later = n->n_later;
    assert_true(later > 0);
    for (uint32_t i = 0; i < later; i++) node_release(n, i);
    h2_end(&c);
    node_down(n);
}

/* A steady client of many small calls is no flood. */
static void many_calls(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    struct h2_client c = h2_connect(n, 1 << 20);
    for (uint32_t i = 0; i < 3000; i++) {
        buf_clear(&c.log);
        if (i % 2) ping(&c.out, 0);
        get(&c, 2 * i + 1, "/now");
        lacks(heard(&c, "END\n"), "GOAWAY");
        if (i % 100 == 99) {
            frame(&c.out, WINDOW, 0, 0, "\0\0\x7f\xff", 4);
            send_frames(&c);
        }
    }
    h2_end(&c);
    node_down(n);
}

static void slow_requests(void **state) {
    (void)state;
    struct node *n = node_up(hasty);
    struct h2_client body = h2_connect(n, 65535), head = h2_connect(n, 65535);
    put_request(&body.out, 1, "/now", END_HEADERS);
    send_frames(&body);
    put_request(&head.out, 1, "/now", 0);
    send_frames(&head);
    uint64_t start = now_ms();
    for (int i = 0; i < 10; i++) { /* a byte now and then is no help */
        frame(&body.out, DATA, 0, 1, "b", 1);
        send_frames(&body);
        sleep_ms(60);
    }
    heard(&body, "RST 1 8\n");
    heard(&head, "CLOSED");
    assert_in_range(now_ms() - start, 300, 2000);
    get(&body, 3, "/now");
    heard(&body, "DATA 3 GET  END\n");
    heard(&body, "GOAWAY 0\nCLOSED"); /* idle at last */
    assert_int_equal(server_counters(n->server)->timed_out, 2);
    h2_end(&body), h2_end(&head);
    node_down(n);
}

/* A client that opens no window: its streams end, and not all replies are kept for it. */
static void no_window(void **state) {
    (void)state;
    struct node *n = node_up(hasty);
    struct h2_client c = h2_connect(n, 0);
    for (uint32_t i = 0; i < 10; i++) get(&c, 2 * i + 1, "/big?1000000");
    const char *text = heard(&c, "RST 19 11\n"); /* the last one is not even asked for */
    contains(text, "HEADERS 1 :status=200");
    contains(text, "HEADERS 7 :status=200");
    lacks(text, "HEADERS 17");
    assert_true(atomic_load(&n->calls) < 8);
    heard(&c, "RST 1 8\n");
    heard(&c, "RST 7 8\n");
    get(&c, 21, "/204");
    heard(&c, "HEADERS 21 :status=204 END\n");
    h2_end(&c);
    node_down(n);
}

/* Asks for pings, and never reads the answers. */
static void never_reads(void **state) {
    (void)state;
    struct node *n = node_up(hasty);
    struct h2_client c = h2_connect(n, 1 << 30);
    frame(&c.out, WINDOW, 0, 0, "\x3f\0\0\0", 4);
    for (uint32_t i = 0; i < 100; i++) get(&c, 2 * i + 1, "/big?3000000");
    assert_true(wait_for((_Atomic uint64_t *)&server_counters(n->server)->timed_out, 1));
    assert_true(atomic_load(&n->calls) < 20);
    h2_end(&c);
    node_down(n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies),
        cmocka_unit_test(request_headers),
        cmocka_unit_test(grpc_calls),
        cmocka_unit_test(too_large),
        cmocka_unit_test(streams_do_not_wait),
        cmocka_unit_test(client_goes_away),
        cmocka_unit_test(half_closed_gets_its_replies),
        cmocka_unit_test(stopping),
        cmocka_unit_test(floods),
        cmocka_unit_test(flood_of_pending),
        cmocka_unit_test(many_calls),
        cmocka_unit_test(slow_requests),
        cmocka_unit_test(no_window),
        cmocka_unit_test(never_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
