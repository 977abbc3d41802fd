/* Fuzzes ext_authz's halves: any bytes as CheckRequest, or as path and body, give valid JSON or an error, any bytes as
 * decision a readable CheckResponse or an error. in: libFuzzer's bytes; the first chooses what is fuzzed.
 * out: crashes only. owns: an arena and buffers an input. Build: tests/fuzz/run.sh. */
#include "edge/authz.h"
#include "net/protobuf.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 16 << 20 };

static void law(bool holds) {
    if (!holds) abort();
}

static void is_document(struct arena *a, struct buf *out, const char *member) {
    struct json *v;
    struct json_error error;
    enum err e = json_parse(a, buf_view(out), &v, &error);
    law(e == ERR_MEMORY || (e == OK && v->kind == JSON_OBJECT && json_get_c(v, member)));
}

static void request(struct arena *a, struct str message, struct buf *out) {
    struct authz_check c;
    const char *why = NULL;
    if (authz_check_open(a, message, &c)) return;
    authz_check_header(&c, STR("x-tenant-id"));
    authz_check_extension(&c, STR("tenant_id"));
    enum err e = authz_check_input(a, &c, AUTHZ_ALL, out, &why);
    law(e != ERR_INPUT || why);
    if (!e) is_document(a, out, "parsed_path");
}

/* A body and its type, split at the first line feed, as if they came with a request. */
static void body(struct arena *a, struct str bytes, struct buf *out) {
    const char *feed = bytes.len ? memchr(bytes.ptr, '\n', bytes.len) : NULL;
    struct authz_http h = {.path = STR("/p"), .body = feed ? str_from(bytes, (size_t)(feed - bytes.ptr) + 1) : STR("")};
    const char *why = NULL;
    h.content_type = feed ? str_head(bytes, (size_t)(feed - bytes.ptr)) : bytes;
    buf_byte(out, '{');
    enum err e = authz_parsed(a, &h, AUTHZ_ALL, out, &why);
    buf_cstr(out, "\"end\":0}");
    law(e != ERR_INPUT || why);
    if (!e) is_document(a, out, "parsed_body");
    h.path = h.content_type;
    buf_clear(out);
    buf_byte(out, '{');
    e = authz_parsed(a, &h, AUTHZ_ALL, out, &why);
    buf_cstr(out, "\"end\":0}");
    if (!e) is_document(a, out, "parsed_query");
}

static void decision(struct arena *a, struct str json, struct buf *out) {
    const char *why = NULL;
    struct pb_field f;
    struct authz_decision d;
    enum err e = authz_decision_read(a, json, &d, &why);
    law(e != ERR_INVALID || why);
    if (e || authz_reply(&d, false, "id", out)) return;
    struct reader r = reader_of(out->ptr, out->len);
    bool answered = false;
    while (pb_next(&r, &f)) answered |= f.number == 1;
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
    (data[0] % 3 == 1 ? decision : data[0] % 3 == 2 ? body : request)(&a, (struct str){copy, size - 1}, &out);
    buf_deinit(&out);
    arena_deinit(&a);
    free(copy);
    return 0;
}
