/* Fuzzes the HTTP/1.1 parser and what reads its bodies: a request gives the same in pieces as at
 * once, and views lie inside the bytes. in: libFuzzer's bytes; the first chooses the size of the
 * pieces. out: crashes only. owns: two copies an input. Build: tests/fuzz/run.sh. */
#include "edge/rest_input.h"
#include "net/http1.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 1 << 16 };

static const struct http1_limits limits = {.head_bytes = 4096, .body_bytes = 8192};

static void law(bool holds) {
    if (!holds) abort();
}

static bool inside(struct str s, const char *bytes, size_t len) {
    return s.len == 0 || (s.ptr >= bytes && s.ptr + s.len <= bytes + len);
}

static void check_views(const struct http_request *q, const char *bytes, size_t used) {
    law(inside(q->method, bytes, used) && inside(q->target, bytes, used) &&
        inside(q->body, bytes, used));
    law(inside(q->path, bytes, used) && inside(q->query, bytes, used) &&
        q->n_headers <= HTTP_MAX_HEADERS);
    for (uint32_t i = 0; i < q->n_headers; i++)
        law(inside(q->headers[i].name, bytes, used) && inside(q->headers[i].value, bytes, used));
}

static void read_body(struct str body) {
    struct arena a;
    struct str plain, input;
    arena_init(&a, 8 << 20);
    bool quick = rest_input_plain(body, &plain);
    const char *why = rest_input(&a, body, &input);
    law(why || inside(input, body.ptr, body.len));
    if (quick && !why) law(str_eq(plain, input));
    arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct http_request once, pieces;
    struct http1_progress p = {0}, q = {0};
    size_t used[2] = {0, 0};
    int status[2] = {0, 0};
    if (size < 2 || size > MAX_INPUT) return 0;
    size_t step = 1 + data[0], len = size - 1;
    char *a = malloc(len), *b = malloc(len);
    memcpy(a, data + 1, len);
    memcpy(b, data + 1, len);
    read_body((struct str){a, len});
    enum http1_state whole = http1_parse(a, len, &limits, &p, &once, &used[0], &status[0]),
                     last = HTTP1_MORE;
    for (size_t n = step; last != HTTP1_DONE && last != HTTP1_ERROR; n += step) {
        last = http1_parse(b, n < len ? n : len, &limits, &q, &pieces, &used[1], &status[1]);
        if (n >= len) break;
    }
    if (whole == HTTP1_DONE) {
        check_views(&once, a, used[0]);
        read_body(once.body);
        law(last == HTTP1_DONE && used[0] == used[1]);
        law(str_eq(once.body, pieces.body) && str_eq(once.target, pieces.target));
        law(once.n_headers == pieces.n_headers && once.keep_alive == pieces.keep_alive);
    }
    free(a);
    free(b);
    return 0;
}
