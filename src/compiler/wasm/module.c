/* Reads a WebAssembly module into lists of its parts.
 * in: module bytes. out: struct wasm_module, views into them. owns: nothing. */
#include "compiler/wasm/module.h"

enum section {
    SECTION_CUSTOM = 0,
    SECTION_TYPE = 1,
    SECTION_IMPORT = 2,
    SECTION_FUNCTION = 3,
    SECTION_GLOBAL = 6,
    SECTION_EXPORT = 7,
    SECTION_START = 8,
    SECTION_ELEMENT = 9,
    SECTION_CODE = 10,
    SECTION_DATA = 11
};

static struct str name_of(struct reader *r) { return reader_bytes(r, reader_leb_u32(r)); }

static struct str since(const struct reader *r, const uint8_t *start) {
    return (struct str){(const char *)start, (size_t)(r->at - start)};
}

static void read_type(struct reader *r, struct arena *a, struct wasm_module *m) {
    const uint8_t *start = r->at;
    if (reader_u8(r) != TYPE_FUNCTION) r->failed = true;
    reader_bytes(r, reader_leb_u32(r));
    reader_bytes(r, reader_leb_u32(r));
    ARENA_PUSH(a, &m->types, since(r, start));
}

static void skip_limits(struct reader *r) {
    bool has_maximum = reader_u8(r) & 1;
    reader_leb_u32(r);
    if (has_maximum) reader_leb_u32(r);
}

static void read_import(struct reader *r, struct arena *a, struct wasm_module *m) {
    struct wasm_import i = {0};
    i.module = name_of(r);
    i.name = name_of(r);
    uint8_t kind = reader_u8(r);
    if (kind == EXTERNAL_FUNCTION) {
        i.type = reader_leb_u32(r);
        ARENA_PUSH(a, &m->imports, i);
    } else if (kind == EXTERNAL_MEMORY) {
        skip_limits(r);
    } else {
        r->failed = true;
    }
}

static void read_function(struct reader *r, struct arena *a, struct wasm_module *m) {
    ARENA_PUSH(a, &m->functions, reader_leb_u32(r));
}

/* A constant of one instruction and its end. */
static int64_t read_constant(struct reader *r) {
    struct instruction i, end;
    if (!instruction_read(r, &i) || !instruction_read(r, &end) || end.op != OP_END)
        r->failed = true;
    return r->failed ? 0 : i.number;
}

static void read_global(struct reader *r, struct arena *a, struct wasm_module *m) {
    struct wasm_global g;
    const uint8_t *start = r->at;
    reader_bytes(r, 2);
    read_constant(r);
    g.raw = since(r, start);
    ARENA_PUSH(a, &m->globals, g);
}

static void read_export(struct reader *r, struct arena *a, struct wasm_module *m) {
    struct wasm_export x;
    x.name = name_of(r);
    x.kind = (enum external_kind)reader_u8(r);
    x.index = reader_leb_u32(r);
    ARENA_PUSH(a, &m->exports, x);
}

static void read_body(struct reader *r, struct arena *a, struct wasm_module *m) {
    struct str body = reader_bytes(r, reader_leb_u32(r));
    ARENA_PUSH(a, &m->bodies, body);
}

static void read_data(struct reader *r, struct arena *a, struct wasm_module *m) {
    struct wasm_data d;
    if (reader_leb_u32(r) != 0) r->failed = true; /* active, memory 0 */
    d.address = (uint32_t)read_constant(r);
    d.bytes = name_of(r);
    ARENA_PUSH(a, &m->data, d);
}

static void read_list(struct reader *r, struct arena *a, struct wasm_module *m,
                      void (*read)(struct reader *, struct arena *, struct wasm_module *)) {
    uint32_t n = reader_leb_u32(r);
    for (uint32_t i = 0; i < n && !r->failed; i++) read(r, a, m);
}

static void read_custom(struct reader *r, struct wasm_module *m) {
    struct str name = name_of(r), content = {(const char *)r->at, reader_left(r)};
    if (str_is(name, "linking")) m->linking = content;
    if (str_is(name, "reloc.CODE")) m->reloc_code = content;
    if (str_is(name, "reloc.DATA")) m->reloc_data = content;
}

static void read_section(uint8_t id, struct reader *r, struct arena *a, struct wasm_module *m) {
    struct str content = {(const char *)r->at, reader_left(r)};
    if (id == SECTION_CODE) m->code_section = content;
    if (id == SECTION_DATA) m->data_section = content;
    switch (id) {
    case SECTION_CUSTOM: read_custom(r, m); return;
    case SECTION_TYPE: read_list(r, a, m, read_type); return;
    case SECTION_IMPORT: read_list(r, a, m, read_import); return;
    case SECTION_FUNCTION: read_list(r, a, m, read_function); return;
    case SECTION_GLOBAL: read_list(r, a, m, read_global); return;
    case SECTION_EXPORT: read_list(r, a, m, read_export); return;
    case SECTION_START: m->has_start = true; return;
    case SECTION_ELEMENT: m->has_elements = reader_leb_u32(r) > 0; return;
    case SECTION_CODE: read_list(r, a, m, read_body); return;
    case SECTION_DATA: read_list(r, a, m, read_data); return;
    }
}

static bool in_range(const struct wasm_module *m) {
    uint32_t n = m->imports.n + m->functions.n;
    if (m->functions.n != m->bodies.n) return false;
    for (uint32_t i = 0; i < m->imports.n; i++)
        if (m->imports.items[i].type >= m->types.n) return false;
    for (uint32_t i = 0; i < m->functions.n; i++)
        if (m->functions.items[i] >= m->types.n) return false;
    for (uint32_t i = 0; i < m->exports.n; i++)
        if (m->exports.items[i].kind == EXTERNAL_FUNCTION && m->exports.items[i].index >= n)
            return false;
    return true;
}

bool wasm_module_read(struct str bytes, struct arena *a, struct wasm_module *out,
                      const char **problem) {
    struct reader r = reader_of(bytes.ptr, bytes.len);
    *out = (struct wasm_module){0};
    *problem = "it is no WebAssembly module of version 1";
    if (reader_u32le(&r) != 0x6d736100 || reader_u32le(&r) != 1) return false;
    *problem = "a section is malformed";
    while (reader_left(&r) && !r.failed) {
        uint8_t id = reader_u8(&r);
        struct reader section = reader_sub(&r, reader_leb_u32(&r));
        read_section(id, &section, a, out);
        r.failed |= section.failed;
    }
    if (r.failed) return false;
    *problem = "a number in it is out of range";
    return in_range(out);
}

int64_t wasm_module_function(const struct wasm_module *m, struct str name) {
    for (uint32_t i = 0; i < m->exports.n; i++)
        if (m->exports.items[i].kind == EXTERNAL_FUNCTION && str_eq(m->exports.items[i].name, name))
            return m->exports.items[i].index;
    return -1;
}

struct reader wasm_body_code(struct str body) {
    struct reader r = reader_of(body.ptr, body.len);
    uint32_t n = reader_leb_u32(&r);
    for (uint32_t i = 0; i < n && !r.failed; i++) {
        reader_leb_u32(&r);
        reader_u8(&r);
    }
    return r;
}
