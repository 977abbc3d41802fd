/* Builds small modules that speak Regent's ABI, for tests: the body of regent_eval is given as
 * bytes. */
#ifndef REGENT_TESTS_WASM_BUILDER_H
#define REGENT_TESTS_WASM_BUILDER_H
#include "base/buf.h"
#include "runtime/layout.h"

/* What differs between test modules; zeros give a module that answers undefined. */
struct wasm_test_module {
    const uint8_t *eval; /* code of regent_eval(entrypoint, input, len) -> i64, without end */
    size_t eval_len;
    const char *import_module; /* one more imported function () -> () */
    const char *import_name;
    uint32_t memory_pages; /* 0: 4 */
    bool spin_at_start;    /* start function that never ends */
    bool wrong_eval_type;  /* regent_eval takes no parameters */
    bool passive_data;
    const char *builtins; /* JSON; NULL: {} */
    uint32_t magic;       /* 0: MODULE_MAGIC */
    uint32_t image_end;   /* 0: what it is */
};
enum {
    TEST_TEXT_AT = HEADER_BASE + 256, /* "true" */
    TEST_ABORT_AT = TEST_TEXT_AT + 8, /* "eval_conflict_error: t.rego:1:1: two" */
    TEST_IMAGE_END = HEADER_BASE + 512
};
/* Function indices: 0 env.opa_abort, 1 env.opa_builtin0, then the extra import, then regent_eval.
 */
#define TEST_EVAL_FUNCTION(m) ((m)->import_name ? 3 : 2)

static inline void wasm_leb(struct buf *b, uint64_t v) {
    do {
        buf_byte(b, (uint8_t)((v & 127) | (v > 127 ? 128 : 0)));
        v >>= 7;
    } while (v);
}
static inline void wasm_sleb(struct buf *b, int64_t v) {
    for (;;) {
        uint8_t byte = v & 127;
        v >>= 7;
        bool last = (v == 0 && !(byte & 64)) || (v == -1 && (byte & 64));
        buf_byte(b, last ? byte : byte | 128);
        if (last) return;
    }
}
static inline void wasm_name(struct buf *b, const char *name) {
    wasm_leb(b, strlen(name));
    buf_cstr(b, name);
}
/* Moves the payload into out as section id and empties it. */
static inline void wasm_section(struct buf *out, uint8_t id, struct buf *payload) {
    buf_byte(out, id);
    wasm_leb(out, payload->len);
    buf_put(out, payload->ptr, payload->len);
    buf_clear(payload);
}
static inline void wasm_import(struct buf *b, const char *module, const char *name, uint8_t type) {
    wasm_name(b, module);
    wasm_name(b, name);
    buf_byte(b, 0);
    buf_byte(b, type);
}
static inline void wasm_export(struct buf *b, const char *name, uint8_t function) {
    wasm_name(b, name);
    buf_byte(b, 0);
    buf_byte(b, function);
}
static inline void wasm_body(struct buf *b, const void *code, size_t len) {
    wasm_leb(b, len + 2);
    buf_byte(b, 0);
    buf_put(b, code, len);
    buf_byte(b, 0x0b);
}
static inline void wasm_test_types(struct buf *b) {
    static const uint8_t types[] = {6,    0x60, 3,    0x7f, 0x7f, 0x7f,
                                    1,    0x7e,                         /* 0: (i32,i32,i32)->i64 */
                                    0x60, 1,    0x7f, 1,    0x7f,       /* 1: (i32)->i32 */
                                    0x60, 2,    0x7f, 0x7f, 1,    0x7f, /* 2: (i32,i32)->i32 */
                                    0x60, 1,    0x7f, 0,                /* 3: (i32)->() */
                                    0x60, 0,    0,                      /* 4: ()->() */
                                    0x60, 0,    1,    0x7e};            /* 5: ()->i64 */
    buf_put(b, types, sizeof types);
}
static inline void wasm_test_header(struct buf *b, const struct wasm_test_module *m) {
    struct {
        struct module_header header;
        char pad[256 - sizeof(struct module_header)];
        char text[8], abort[120];
        char entrypoints[64], builtins[64];
    } image = {0};
    const char *builtins = m->builtins ? m->builtins : "{}";
    uint32_t names = TEST_TEXT_AT + 128;
    memcpy(image.text, "true", 4);
    memcpy(image.abort, "eval_conflict_error: t.rego:1:1: two", 37);
    memcpy(image.entrypoints, "{\"t/allow\":0}", 13);
    memcpy(image.builtins, builtins, strlen(builtins));
    image.header.magic = m->magic ? m->magic : MODULE_MAGIC;
    image.header.layout_version = LAYOUT_VERSION;
    image.header.image_end = m->image_end ? m->image_end : TEST_IMAGE_END;
    image.header.entrypoints = value_of_view(TAG_STRING, names, 13);
    image.header.builtins = value_of_view(TAG_STRING, names + 64, (uint32_t)strlen(builtins));
    image.header.n_entrypoints = 1;
    buf_byte(b, 1);
    if (m->passive_data) {
        buf_byte(b, 1);
    } else {
        buf_byte(b, 0);
        buf_byte(b, 0x41);
        wasm_sleb(b, HEADER_BASE);
        buf_byte(b, 0x0b);
    }
    wasm_leb(b, sizeof image);
    buf_put(b, &image, sizeof image);
}
/* Appends the module to out. */
static inline void wasm_test_module(struct buf *out, const struct wasm_test_module *m) {
    static const uint8_t zero_i32[] = {0x41, 0}, zero_i64[] = {0x42, 0};
    static const uint8_t spin[] = {0x03, 0x40, 0x0c, 0, 0x0b};
    uint8_t f = TEST_EVAL_FUNCTION(m);
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_put(out, "\0asm\1\0\0\0", 8);
    wasm_test_types(&b);
    wasm_section(out, 1, &b);
    buf_byte(&b, m->import_name ? 4 : 3);
    wasm_name(&b, "env");
    wasm_name(&b, "memory");
    buf_put(&b, "\2\0", 2);
    wasm_leb(&b, m->memory_pages ? m->memory_pages : 4);
    wasm_import(&b, "env", "opa_abort", 3);
    wasm_import(&b, "env", "opa_builtin0", 2);
    if (m->import_name) wasm_import(&b, m->import_module, m->import_name, 4);
    wasm_section(out, 2, &b);
    buf_byte(&b, 5);
    buf_byte(&b, m->wrong_eval_type ? 5 : 0);
    buf_put(&b, "\1\2\1\4", 4);
    wasm_section(out, 3, &b);
    buf_byte(&b, 4);
    wasm_export(&b, "regent_eval", f);
    wasm_export(&b, "opa_malloc", f + 1);
    wasm_export(&b, "opa_json_parse", f + 2);
    wasm_export(&b, "opa_json_dump", f + 3);
    wasm_section(out, 7, &b);
    if (m->spin_at_start) {
        buf_byte(&b, f + 4);
        wasm_section(out, 8, &b);
    }
    buf_byte(&b, 5);
    if (m->eval)
        wasm_body(&b, m->eval, m->eval_len);
    else
        wasm_body(&b, zero_i64, sizeof zero_i64);
    for (int i = 0; i < 3; i++) wasm_body(&b, zero_i32, sizeof zero_i32);
    wasm_body(&b, spin, sizeof spin);
    wasm_section(out, 10, &b);
    wasm_test_header(&b, m);
    wasm_section(out, 11, &b);
    wasm_name(&b, "regent");
    buf_cstr(&b, "{\"form\":\"full\"}");
    wasm_section(out, 0, &b);
    buf_deinit(&b);
}

/* The same in the thin form, for this host's runtime: memory comes from `regent`, and nothing but regent_eval is
 * exported. Function indices: 0 regent.rt_eval_begin (i32,i32)->(), 1 regent.rt_get (i64,i64)->i64, 2 regent_eval. */
struct wasm_test_thin {
    const uint8_t *eval;
    size_t eval_len;
    uint8_t extra_section; /* one more, with this payload; 0: none */
    const char *extra;
    size_t extra_len;
    bool second_export;    /* of the same function, as "another" */
    const char *runtime;   /* hex SHA-256 */
};
enum { TEST_THIN_BEGIN = 0, TEST_THIN_GET = 1, TEST_THIN_EVAL = 2 };

static inline void wasm_test_thin_module(struct buf *out, const struct wasm_test_thin *m) {
    static const uint8_t types[] = {3,    0x60, 3, 0x7f, 0x7f, 0x7f, 1, 0x7e,  /* 0: (i32,i32,i32)->i64 */
                                    0x60, 2,    0x7f, 0x7f, 0,                 /* 1: (i32,i32)->() */
                                    0x60, 2,    0x7e, 0x7e, 1,    0x7e};       /* 2: (i64,i64)->i64 */
    static const struct wasm_test_module plain;
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_put(out, "\0asm\1\0\0\0", 8);
    buf_put(&b, types, sizeof types);
    wasm_section(out, 1, &b);
    buf_byte(&b, 3);
    wasm_name(&b, "regent");
    wasm_name(&b, "memory");
    buf_put(&b, "\2\0\4", 3);
    wasm_import(&b, "regent", "rt_eval_begin", 1);
    wasm_import(&b, "regent", "rt_get", 2);
    wasm_section(out, 2, &b);
    buf_put(&b, "\1\0", 2);
    wasm_section(out, 3, &b);
    for (uint8_t id = 4; id < 7; id++) {
        if (m->extra_section != id) continue;
        buf_put(&b, m->extra, m->extra_len);
        wasm_section(out, id, &b);
    }
    buf_byte(&b, m->second_export ? 2 : 1);
    wasm_export(&b, "regent_eval", TEST_THIN_EVAL);
    if (m->second_export) wasm_export(&b, "another", TEST_THIN_EVAL);
    wasm_section(out, 7, &b);
    for (uint8_t id = 8; id < 10; id++) {
        if (m->extra_section != id) continue;
        buf_put(&b, m->extra, m->extra_len);
        wasm_section(out, id, &b);
    }
    buf_byte(&b, 1);
    wasm_body(&b, m->eval, m->eval_len);
    wasm_section(out, 10, &b);
    wasm_test_header(&b, &plain);
    wasm_section(out, 11, &b);
    wasm_name(&b, "regent");
    buf_printf(&b, "{\"form\":\"thin\",\"runtime\":\"%s\"}", m->runtime);
    wasm_section(out, 0, &b);
    buf_deinit(&b);
}

#endif
