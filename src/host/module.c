/* Reads a module's sections: imports are checked by name, our modules' data is taken out, the rest
 * becomes the bytes that are compiled.
 *
 * in:   hostile bytes.
 * out:  struct module_info.
 * owns: module_info.code.
 * What the code section says is wasmtime's to validate. */
#include "host/module.h"
#include "base/reader.h"
#include "host/engine.h"

enum section_id {
    SECTION_CUSTOM = 0,
    SECTION_TYPE = 1,
    SECTION_IMPORT = 2,
    SECTION_FUNCTION = 3,
    SECTION_MEMORY = 5,
    SECTION_EXPORT = 7,
    SECTION_CODE = 10,
    SECTION_DATA = 11,
    SECTION_DATA_COUNT = 12,
};
enum { KIND_FUNCTION = 0, KIND_MEMORY = 2, OP_I32_CONST = 0x41, OP_END = 0x0b };

struct module_reader {
    struct arena *arena;
    struct module_info *info;
    struct load_message *message;
    struct str data, regent; /* payloads of those sections; ptr NULL: absent */
};

static const char *const ENV_FUNCTIONS[] = {"opa_abort",    "opa_println",  "opa_builtin0",
                                            "opa_builtin1", "opa_builtin2", "opa_builtin3",
                                            "opa_builtin4"};

static bool import_allowed(const struct module_import *i) {
    if (str_is(i->module, "regent")) return true; /* resolved against the runtime's exports */
    if (!str_is(i->module, "env")) return false;
    if (i->memory) return str_is(i->name, "memory");
    for (size_t k = 0; k < sizeof ENV_FUNCTIONS / sizeof *ENV_FUNCTIONS; k++)
        if (str_is(i->name, ENV_FUNCTIONS[k])) return true;
    return false;
}

/* limits := flags min [max]; the minimum in pages. */
static uint64_t read_limits(struct reader *r) {
    uint8_t flags = reader_u8(r);
    uint64_t min = reader_leb_u64(r);
    if (flags & 1) reader_leb_u64(r);
    if (flags & ~1u) r->failed = true; /* shared, 64 bits, page sizes: switched off */
    return min;
}

static struct str read_name(struct reader *r) { return reader_bytes(r, reader_leb_u32(r)); }

static enum err read_import(struct module_reader *m, struct reader *r) {
    struct module_import i = {0};
    i.module = read_name(r);
    i.name = read_name(r);
    uint8_t kind = reader_u8(r);
    if (kind == KIND_FUNCTION) {
        reader_leb_u32(r);
    } else if (kind == KIND_MEMORY) {
        i.memory = true;
        m->info->memory_pages = read_limits(r);
    }
    if (r->failed) return ERR_INVALID;
    if ((kind != KIND_FUNCTION && kind != KIND_MEMORY) || !import_allowed(&i)) {
        load_say(m->message, "import %.*s.%.*s is not offered by this host",
                 (int)(i.module.len < 100 ? i.module.len : 100), i.module.ptr,
                 (int)(i.name.len < 100 ? i.name.len : 100), i.name.ptr);
        return ERR_ABI;
    }
    uint32_t n = m->info->imports.n;
    ARENA_PUSH(m->arena, &m->info->imports, i);
    return m->info->imports.n > n ? OK : ERR_MEMORY;
}

static enum err read_imports(struct module_reader *m, struct reader r) {
    uint32_t n = reader_leb_u32(&r);
    if (r.failed) return ERR_INVALID;
    if (n > MODULE_MAX_IMPORTS) return ERR_LIMIT;
    for (uint32_t i = 0; i < n; i++) {
        enum err err = read_import(m, &r);
        if (err) return err;
    }
    return OK;
}

/* Ours are active segments of memory 0 at a constant address: all that a linker writes. */
static enum err read_segment(struct module_reader *m, struct reader *r) {
    struct module_segment s;
    uint32_t mode = reader_leb_u32(r);
    uint8_t op = reader_u8(r);
    s.address = (uint32_t)reader_leb_s32(r);
    uint8_t end = reader_u8(r);
    s.bytes = read_name(r);
    if (r->failed) return ERR_INVALID;
    if (mode != 0 || op != OP_I32_CONST || end != OP_END) {
        load_say(m->message, "data segment %u is not an active one at a constant address",
                 m->info->segments.n);
        return ERR_ABI;
    }
    uint32_t n = m->info->segments.n;
    ARENA_PUSH(m->arena, &m->info->segments, s);
    return m->info->segments.n > n ? OK : ERR_MEMORY;
}

static enum err read_data(struct module_reader *m) {
    struct reader r = reader_of(m->data.ptr, m->data.len);
    uint32_t n = reader_leb_u32(&r);
    if (r.failed) return ERR_INVALID;
    if (n > MODULE_MAX_SEGMENTS) return ERR_LIMIT;
    for (uint32_t i = 0; i < n; i++) {
        enum err err = read_segment(m, &r);
        if (err) return err;
    }
    return OK;
}

/* {"form":"full"|"thin","runtime":"<hex SHA-256>",…} */
static enum err read_regent(struct module_reader *m) {
    struct json *v = NULL;
    struct json_error error;
    if (json_parse(m->arena, m->regent, &v, &error) != OK) {
        load_say(m->message, "custom section \"regent\" is not valid JSON");
        return ERR_ABI;
    }
    const struct json *form = json_get_c(v, "form"), *runtime = json_get_c(v, "runtime");
    m->info->input_paths = json_get_c(v, "input");
    if (form && form->kind == JSON_STRING && str_is(form->text, "full")) {
        m->info->form = MODULE_FULL;
        return OK;
    }
    if (!form || form->kind != JSON_STRING || !str_is(form->text, "thin") || !runtime ||
        runtime->kind != JSON_STRING) {
        load_say(m->message, "custom section \"regent\" names no known form");
        return ERR_ABI;
    }
    m->info->form = MODULE_THIN;
    m->info->runtime_hash = runtime->text;
    return OK;
}

/* One function, by the name that the host calls. */
static bool exports_eval_only(struct reader r) {
    uint32_t n = reader_leb_u32(&r);
    struct str name = read_name(&r);
    uint8_t kind = reader_u8(&r);
    reader_leb_u32(&r);
    return !r.failed && n == 1 && kind == KIND_FUNCTION && str_is(name, "regent_eval") && reader_left(&r) == 0;
}

/* What bodies hold is wasmtime's to read; their length tells how long compiling may take. */
static enum err read_code(struct module_reader *m, struct reader r) {
    uint32_t n = reader_leb_u32(&r);
    for (uint32_t i = 0; i < n && !r.failed; i++) {
        struct str body = read_name(&r);
        if (body.len > m->info->largest_function) m->info->largest_function = (uint32_t)body.len;
    }
    return r.failed ? ERR_INVALID : OK;
}

static enum err read_section(struct module_reader *m, uint8_t id, struct str bytes) {
    struct reader r = reader_of(bytes.ptr, bytes.len);
    switch (id) {
    case SECTION_CUSTOM: {
        struct str name = read_name(&r);
        if (r.failed) return ERR_INVALID;
        if (str_is(name, "regent")) m->regent = reader_bytes(&r, reader_left(&r));
        return OK;
    }
    case SECTION_IMPORT: return read_imports(m, r);
    case SECTION_MEMORY: {
        if (reader_leb_u32(&r) == 1) m->info->memory_pages = read_limits(&r);
        m->info->stateless = false;
        return r.failed ? ERR_INVALID : OK;
    }
    case SECTION_EXPORT: m->info->stateless &= exports_eval_only(r); return OK;
    case SECTION_CODE: return read_code(m, r);
    case SECTION_DATA: m->data = bytes; return OK;
    case SECTION_TYPE:
    case SECTION_FUNCTION:
    case SECTION_DATA_COUNT: return OK;
    default: m->info->stateless = false; return OK; /* tables, globals, elements, start, tags, what comes next */
    }
}

/* Copies what is compiled. Needs to know the form, which may stand in the last section: hence a
 * second pass. */
static void write_code(struct module_reader *m, struct str wasm) {
    struct reader r = reader_of(wasm.ptr, wasm.len);
    struct buf *out = &m->info->code;
    buf_str(out, reader_bytes(&r, 8));
    while (reader_left(&r) > 0) {
        const uint8_t *start = r.at;
        uint8_t id = reader_u8(&r);
        reader_bytes(&r, reader_leb_u32(&r));
        bool data = id == SECTION_DATA || id == SECTION_DATA_COUNT;
        if (id == SECTION_CUSTOM || (data && m->info->form != MODULE_OPA)) continue;
        buf_put(out, start, (size_t)(r.at - start));
    }
}

static enum err read_sections(struct module_reader *m, struct str wasm) {
    struct reader r = reader_of(wasm.ptr, wasm.len);
    if (reader_u32le(&r) != 0x6d736100 || reader_u32le(&r) != 1) return ERR_INVALID;
    while (reader_left(&r) > 0) {
        uint8_t id = reader_u8(&r);
        struct str bytes = reader_bytes(&r, reader_leb_u32(&r));
        if (r.failed) return ERR_INVALID;
        enum err err = read_section(m, id, bytes);
        if (err) return err;
    }
    return OK;
}

/* Only the thin form may import from the runtime; it may import from env too. */
static enum err check_form(struct module_reader *m) {
    for (uint32_t i = 0; i < m->info->imports.n; i++) {
        const struct module_import *im = &m->info->imports.items[i];
        bool regent = str_is(im->module, "regent");
        if (!regent || m->info->form == MODULE_THIN) continue;
        load_say(m->message, "import %.*s.%.*s does not belong to the module's form",
                 (int)(im->module.len < 100 ? im->module.len : 100), im->module.ptr,
                 (int)(im->name.len < 100 ? im->name.len : 100), im->name.ptr);
        return ERR_ABI;
    }
    return OK;
}

enum err module_read(struct str wasm, struct arena *a, struct module_info *out,
                     struct load_message *message) {
    struct module_reader m = {.arena = a, .info = out, .message = message};
    enum err err;
    *out = (struct module_info){.stateless = true};
    buf_init(&out->code, MODULE_MAX_BYTES);
    load_say(message, "not a WebAssembly module");
    if (wasm.len > MODULE_MAX_BYTES) {
        load_say(message, "module of %zu bytes is larger than %d", wasm.len, MODULE_MAX_BYTES);
        return ERR_LIMIT;
    }
    if ((err = read_sections(&m, wasm)) != OK) return err;
    if (m.regent.ptr && (err = read_regent(&m)) != OK) return err;
    if ((err = check_form(&m)) != OK) return err;
    if (out->form != MODULE_OPA && m.data.ptr && (err = read_data(&m)) != OK) return err;
    write_code(&m, wasm);
    return out->code.err;
}

void module_info_deinit(struct module_info *m) { buf_deinit(&m->code); }
