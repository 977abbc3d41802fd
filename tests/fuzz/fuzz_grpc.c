/* Fuzzes ext_authz's halves: any bytes as CheckRequest give valid JSON or an error, any bytes as
 * decision a readable CheckResponse or an error. in: libFuzzer's bytes; the first chooses the half.
 * out: crashes only. owns: an arena and buffers an input. Build: tests/fuzz/run.sh. */
#include "edge/doors.h"
#include "net/protobuf.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 16 << 20 };

static void law(bool holds) {
    if (!holds) abort();
}

static void request(struct arena *a, struct str message, struct buf *out) {
    struct authz_request info;
    struct json *v;
    struct json_error error;
    enum err e = authz_input(a, message, STR("x-tenant-id"), out, &info);
    if (e) return;
    e = json_parse(a, buf_view(out), &v, &error);
    law(e == ERR_MEMORY ||
        (e == OK && json_get_c(v, "parsed_path") && json_get_c(v, "attributes")));
}

static void decision(struct arena *a, struct str json, struct buf *out) {
    const char *why = NULL;
    struct pb_field f;
    enum err e = authz_reply(a, json, "id", out, &why);
    law(e != ERR_INVALID || why);
    if (e) return;
    struct reader r = reader_of(out->ptr, out->len);
    bool answered = false;
    while (pb_next(&r, &f)) answered |= f.number == 2 || f.number == 3;
    law(!r.failed && answered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    struct arena a;
    struct buf out;
    char *copy = malloc(size);
    memcpy(copy, data + 1, size - 1);
    arena_init(&a, MAX_BYTES);
    buf_init(&out, MAX_BYTES);
    (data[0] & 1 ? decision : request)(&a, (struct str){copy, size - 1}, &out);
    buf_deinit(&out);
    arena_deinit(&a);
    free(copy);
    return 0;
}
