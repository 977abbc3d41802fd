/* Numbers what modules may import.
 *
 * in:   the runtime's module (trusted: it is part of the program).
 * out:  struct offers.
 * owns: its names. */
#include "host/offers.h"
#include "base/reader.h"
#include "runtime/layout.h"

static const char *const ENV_FUNCTIONS[] = {"opa_abort",    "opa_println",  "opa_builtin0", "opa_builtin1",
                                            "opa_builtin2", "opa_builtin3", "opa_builtin4"};
enum {
    N_ENV = sizeof ENV_FUNCTIONS / sizeof *ENV_FUNCTIONS,
    SECTION_GLOBAL = 6,
    SECTION_EXPORT = 7,
    SECTION_DATA = 11,
    OP_I32_CONST = 0x41,
    OP_END = 0x0b,
    KIND_FUNCTION = 0,
    KIND_GLOBAL = 3,
    OFFERS_ARENA_BYTES = 1 << 20
};

static enum err read_exports(struct offers *o, struct reader r, bool *stack_pointer) {
    uint32_t n = reader_leb_u32(&r);
    if (r.failed || n > MODULE_MAX_IMPORTS) return ERR_INTERNAL;
    o->names = ARENA_ARRAY(&o->arena, struct str, OFFER_ENV + N_ENV + n);
    if (!o->names) return ERR_MEMORY;
    o->names[OFFER_MEMORY] = STR("memory");
    for (uint32_t i = 0; i < N_ENV; i++) o->names[OFFER_ENV + i] = str_of(ENV_FUNCTIONS[i]);
    o->n = OFFER_ENV + N_ENV;
    for (uint32_t i = 0; i < n; i++) {
        struct str name = reader_bytes(&r, reader_leb_u32(&r));
        uint8_t kind = reader_u8(&r);
        reader_leb_u32(&r);
        if (kind == KIND_FUNCTION) o->names[o->n++] = name;
        if (kind == KIND_GLOBAL && str_is(name, "__stack_pointer")) *stack_pointer = true;
    }
    return r.failed ? ERR_INTERNAL : OK;
}

/* One active segment at a constant address is what the linker writes. */
static bool read_data(struct offers *o, struct reader r) {
    bool plain = reader_leb_u32(&r) == 1 && reader_leb_u32(&r) == 0 && reader_u8(&r) == OP_I32_CONST;
    o->data_at = (uint32_t)reader_leb_s32(&r);
    plain &= reader_u8(&r) == OP_END;
    o->data = reader_bytes(&r, reader_leb_u32(&r));
    return plain && !r.failed && (uint64_t)o->data_at + o->data.len <= HEADER_BASE;
}

enum err offers_init(struct offers *o, struct str runtime) {
    struct reader r = reader_of(runtime.ptr, runtime.len);
    bool stack_pointer = false, data = false;
    uint32_t n_globals = 0;
    enum err e = OK;
    *o = (struct offers){.n_env = N_ENV};
    arena_init(&o->arena, OFFERS_ARENA_BYTES);
    reader_bytes(&r, 8);
    while (reader_left(&r) > 0 && !e) {
        uint8_t id = reader_u8(&r);
        struct reader section = reader_sub(&r, reader_leb_u32(&r));
        if (id == SECTION_GLOBAL) n_globals = reader_leb_u32(&section);
        if (id == SECTION_DATA) data = read_data(o, section);
        if (id == SECTION_EXPORT) e = read_exports(o, section, &stack_pointer);
    }
    o->resettable = data && n_globals == 1 && stack_pointer;
    return e ? e : r.failed || !o->names ? ERR_INTERNAL : OK;
}

void offers_deinit(struct offers *o) { arena_deinit(&o->arena); }

uint16_t offers_find(const struct offers *o, const struct module_import *im) {
    if (im->memory) return OFFER_MEMORY;
    bool env = str_is(im->module, "env");
    uint32_t from = env ? OFFER_ENV : OFFER_ENV + o->n_env, to = env ? OFFER_ENV + o->n_env : o->n;
    for (uint32_t i = from; i < to; i++)
        if (str_eq(o->names[i], im->name)) return (uint16_t)i;
    return OFFER_NONE;
}
