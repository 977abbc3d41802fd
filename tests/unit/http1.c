/* HTTP/1.1 requests whole, in pieces, several at once, and broken; replies byte for byte. */
#include "net/http1.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct http1_limits limits = {.head_bytes = 512, .body_bytes = 64};
static struct http_request request;

struct outcome {
    enum http1_state state;
    int status;
    size_t used;
};

/* Parses a copy whose end is guarded by the allocator (ASan sees a read past it). */
static char *copy;
static struct outcome parse_with(struct str text, struct http1_progress *p) {
    struct outcome o = {.status = 0};
    free(copy);
    copy = malloc(text.len ? text.len : 1);
    memcpy(copy, text.ptr, text.len);
    o.state = http1_parse(copy, text.len, &limits, p, &request, &o.used, &o.status);
    return o;
}

static struct outcome parse(const char *text) {
    struct http1_progress p = {0};
    return parse_with(str_of(text), &p);
}

static void is(struct str got, const char *want) {
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

static void whole(void **state) {
    (void)state;
    const char text[] = "POST /v1/data/a?b=c HTTP/1.1\r\nHost: x\r\nX-Tenant-ID:\t acme "
                        "\r\nContent-Length: 2\r\n\r\n{}GET";
    struct outcome o = parse(text);
    assert_int_equal(o.state, HTTP1_DONE);
    assert_int_equal(o.used, sizeof text - 4);
    is(request.method, "POST");
    is(request.target, "/v1/data/a?b=c");
    is(request.path, "/v1/data/a");
    is(request.query, "b=c");
    is(request.body, "{}");
    is(http_header_get(&request, STR("x-tenant-id")), "acme");
    assert_true(request.keep_alive);
}

static void bare_line_ends_and_blank_lines(void **state) {
    (void)state;
    assert_int_equal(parse("\r\nGET / HTTP/1.1\nhost: x\n\n").state, HTTP1_DONE);
    assert_int_equal(parse("\n\n\n\n\n\n\n\n\n\nGET / HTTP/1.1\nhost: x\n\n").status, 400);
}

static void keep_alive(void **state) {
    (void)state;
    parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n");
    assert_false(request.keep_alive);
    parse("GET / HTTP/1.0\r\n\r\n");
    assert_false(request.keep_alive);
    parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_true(request.keep_alive);
}

/* Each prefix gives MORE, and the whole the same as at once, with progress kept from prefix to
 * prefix. */
static void in_pieces(const char *text, const char *body) {
    struct http1_progress p = {0};
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(parse_with((struct str){text, i}, &p).state, HTTP1_MORE);
    struct outcome o = parse_with((struct str){text, n}, &p);
    assert_int_equal(o.state, HTTP1_DONE);
    assert_int_equal(o.used, n);
    is(request.body, body);
    assert_int_equal(p.seen, 0);
}

static void pieces(void **state) {
    (void)state;
    in_pieces("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "");
    in_pieces("GET / HTTP/1.1\nHost: x\n\n", "");
    in_pieces("\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "hello");
    in_pieces("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
              "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n01\nz\n0\r\nTrailer: x\r\n\r\n",
              "abc0123456789z");
}

static void expect(void **state) {
    (void)state;
    const char *head =
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n";
    assert_int_equal(parse(head).state, HTTP1_EXPECT);
    assert_int_equal(
        parse("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
            .state,
        HTTP1_DONE);
    assert_int_equal(
        parse("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").state,
        HTTP1_MORE);
}

#define HEAD "POST / HTTP/1.1\r\nHost: x\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"

static void broken(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"\x16\x03\x01\r\n\r\n", 400},
        {"\x16\x03", 400}, /* said before the line ends: nothing that follows can mend it */
        {" / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET  HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400},
        {HEAD "A : b\r\n\r\n", 400},
        {HEAD " folded\r\n\r\n", 400},
        {HEAD "A\r\n\r\n", 400},
        {HEAD ": b\r\n\r\n", 400},
        {HEAD "A: b\rc\r\n\r\n", 400},
        {HEAD "A: \x01\r\n\r\n", 400},
        {HEAD "Content-Length: \r\n\r\n", 400},
        {HEAD "Content-Length: +1\r\n\r\n", 400},
        {HEAD "Content-Length: 1, 1\r\n\r\n", 400},
        {HEAD "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        {HEAD "Content-Length: 9999999999999999999\r\n\r\n", 400},
        {HEAD "Content-Length: 65\r\n\r\n", 413},
        {HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
        {HEAD "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400},
        {CHUNKED "g\r\n", 400},
        {CHUNKED "\r\n", 400},
        {CHUNKED "-1\r\n", 400},
        {CHUNKED "1 \r\nx\r\n", 400},
        {CHUNKED "1\rz\r\nx\r\n", 400},
        {CHUNKED "1\r\nxy\r\n", 400},
        {CHUNKED "41\r\n", 413},
        {CHUNKED "ffffffffffffffff\r\n", 400},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome o = parse(rows[i].text);
        if (o.state != HTTP1_ERROR || o.status != rows[i].status) print_message("# row %zu\n", i);
        assert_int_equal(o.state, HTTP1_ERROR);
        assert_int_equal(o.status, rows[i].status);
    }
}

static void limits_hold(void **state) {
    (void)state;
    char text[1024];
    memset(text, 'a', sizeof text);
    struct http1_progress p = {0};
    assert_int_equal(parse_with((struct str){text, 512}, &p).state, HTTP1_MORE);
    assert_int_equal(parse_with((struct str){text, 513}, &p).status, 414);
    memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
    p = (struct http1_progress){0};
    assert_int_equal(parse_with((struct str){text, 600}, &p).status, 431);
    struct buf many;
    buf_init(&many, 1 << 16);
    buf_cstr(&many, "GET / HTTP/1.1\nhost:x\n");
    for (int i = 0; i < HTTP_MAX_HEADERS; i++) buf_cstr(&many, "a:\n");
    buf_cstr(&many, "\n");
    p = (struct http1_progress){0};
    assert_int_equal(parse_with(buf_view(&many), &p).status, 431);
    buf_deinit(&many);
}

static void replies(void **state) {
    (void)state;
    struct buf out, body;
    buf_init(&out, 1 << 16);
    buf_init(&body, 1 << 16);
    buf_cstr(&body, "{}\n");
    struct http_reply r = {.status = 200,
                           .content_type = "application/json",
                           .body = &body,
                           .extra = {{STR("A"), STR("b")}},
                           .n_extra = 1};
    http1_write(&out, &r, true, false);
    is(buf_view(&out), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: "
                       "application/json\r\nA: b\r\n\r\n{}\n");
    buf_clear(&out);
    r = (struct http_reply){.status = 405, .body = &body};
    http1_write(&out, &r, false, true);
    is(buf_view(&out),
       "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
    buf_deinit(&out);
    buf_deinit(&body);
}

static void percent(void **state) {
    (void)state;
    char out[32];
    assert_int_equal(http_percent_decode(STR("a%2Fb+%41"), false, out), 5);
    assert_memory_equal(out, "a/b+A", 5);
    assert_int_equal(http_percent_decode(STR("a+b"), true, out), 3);
    assert_memory_equal(out, "a b", 3);
    assert_int_equal(http_percent_decode(STR("%"), false, out), -1);
    assert_int_equal(http_percent_decode(STR("%4"), false, out), -1);
    assert_int_equal(http_percent_decode(STR("%4g"), false, out), -1);
}

static int teardown(void **state) {
    (void)state;
    free(copy);
    copy = NULL;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),       cmocka_unit_test(bare_line_ends_and_blank_lines),
        cmocka_unit_test(keep_alive),  cmocka_unit_test(pieces),
        cmocka_unit_test(expect),      cmocka_unit_test(broken),
        cmocka_unit_test(limits_hold), cmocka_unit_test(replies),
        cmocka_unit_test(percent),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
