/* Input documents of CheckRequests, for comparing them with the judge's.
 * in: frames of four bytes length (big-endian) and a CheckRequest, on standard input. out: a line for each: {"input":…},
 * {"error":"…"} or {"broken":"…"}. owns: its buffers. Built and run by test_authz_input.py. */
#include "edge/authz.h"
#include "edge/json_text.h"
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BYTES = 64 << 20 };

static bool read_frame(struct buf *frame) {
    uint8_t head[4];
    if (fread(head, 1, 4, stdin) != 4) return false;
    size_t n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    uint8_t *to = buf_reserve(frame, n + 1);
    if (!to || fread(to, 1, n, stdin) != n) return false;
    buf_commit(frame, n);
    return true;
}

static void say(const char *what, struct str text, bool quoted) {
    struct buf out;
    buf_init(&out, MAX_BYTES);
    if (quoted)
        json_text_string(&out, text);
    else
        buf_str(&out, text);
    for (size_t i = 0; i < out.len; i++)
        if (out.ptr[i] == '\n') out.ptr[i] = ' '; /* white space of a body's JSON; strings have none */
    printf("{\"%s\":%.*s}\n", what, STR_FMT(buf_view(&out)));
    buf_deinit(&out);
}

int main(void) {
    struct arena a;
    struct buf frame, out;
    struct authz_check c;
    const char *why = "";
    arena_init(&a, 4 * (size_t)MAX_BYTES);
    buf_init(&frame, MAX_BYTES);
    buf_init(&out, MAX_BYTES);
    for (; read_frame(&frame); buf_clear(&frame), buf_clear(&out)) {
        char *copy = malloc(frame.len); /* exactly as long, so that a reader past the end is found */
        if (frame.len) memcpy(copy, frame.ptr, frame.len);
        arena_reset(&a);
        if (authz_check_open(&a, (struct str){copy, frame.len}, &c))
            say("broken", STR("no CheckRequest"), true);
        else if (authz_check_input(&a, &c, AUTHZ_ALL, &out, &why))
            say("error", str_of(why), true);
        else
            say("input", buf_view(&out), false);
        free(copy);
    }
    arena_deinit(&a);
    buf_deinit(&frame);
    buf_deinit(&out);
    return 0;
}
