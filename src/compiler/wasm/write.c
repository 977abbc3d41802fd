/* Writes the module's sections: types, imports, functions, memory, tags, globals, exports, code, data, "regent".
 * in: struct emit, and the linked runtime for the full form. out: module bytes. owns: nothing.
 *
 * Thin: imports memory and runtime functions from module "regent". Full: the kept part of the
 * runtime comes first. Proxy-wasm filter: the same, with a memory of its own, and an exception (proxy.c). */
#include "compiler/wasm/leb.h"
#include "compiler/wasm/link.h"

extern const char runtime_link_start[], runtime_link_end[], runtime_sha256[];
extern const char runtime_proxy_start[], runtime_proxy_end[];

enum {
    PAGE_BYTES = 65536,
    /* A constant, so that a tenant's larger constants do not change the import section; grows in
       steps only. */
    MEMORY_PAGES = 4,
    FILTER_HEAP_PAGES = 1024, /* how far a filter's memory may grow beyond its first pages: 64 MiB */
    OPA_ABI_VERSION = 1,
    OPA_ABI_MINOR_VERSION = 3
};

struct str runtime_link_wasm(void) {
    return (struct str){runtime_link_start, (size_t)(runtime_link_end - runtime_link_start)};
}
struct str runtime_proxy_wasm(void) {
    return (struct str){runtime_proxy_start, (size_t)(runtime_proxy_end - runtime_proxy_start)};
}
const char *runtime_hash(void) { return runtime_sha256; }

/* One module being written. link is NULL for the thin form. */
struct writer {
    struct emit *e;
    const struct link *link;
    struct buf *out;
    struct {
        struct str *items;
        uint32_t n, cap;
    } types;
    bool proxy;         /* a filter */
    uint32_t n_own;     /* functions of e that this form has */
    uint32_t n_added;   /* behind them, the filter's (proxy.c) */
    uint32_t first_own; /* their first number */
};

/* ---- types ---- */

static uint32_t type_of_raw(struct writer *w, struct str raw) {
    for (uint32_t i = 0; i < w->types.n; i++)
        if (str_eq(w->types.items[i], raw)) return i;
    ARENA_PUSH(w->e->arena, &w->types, raw);
    return w->types.n - 1;
}

static size_t put_words(char *to, const char *types) {
    size_t n = 0;
    for (; types[n]; n++) to[n] = (char)(types[n] == 'l' ? TYPE_I64 : TYPE_I32);
    return n;
}

/* From rt.def's letters. Lists are shorter than 128, so one byte counts them. */
static uint32_t type_of(struct writer *w, const char *params, const char *result) {
    size_t n_params = strlen(params), at = 2;
    char *raw = arena_alloc(w->e->arena, n_params + 4);
    if (n_params > 100)
        emit_error(w->e, NULL, DIAG_UNSUPPORTED, "a function with more than 100 parameters");
    raw[0] = TYPE_FUNCTION;
    raw[1] = (char)n_params;
    at += put_words(raw + at, params);
    raw[at++] = result[0] != 'v';
    if (result[0] != 'v') at += put_words(raw + at, result);
    return type_of_raw(w, (struct str){raw, at});
}

static uint32_t runtime_type(struct writer *w, uint32_t type) {
    return type_of_raw(w, w->link->runtime.types.items[type]);
}

/* ---- sections: built in e->section, then copied with their length ---- */

static struct buf *begin(struct writer *w) {
    buf_clear(&w->e->section);
    return &w->e->section;
}

static void finish(struct writer *w, uint8_t id) {
    buf_byte(w->out, id);
    leb_bytes(w->out, buf_view(&w->e->section));
    if (w->e->section.err && !w->out->err) w->out->err = w->e->section.err;
}

static uint32_t memory_pages(const struct writer *w) {
    uint64_t end = w->e->image.base + (uint64_t)w->e->image.bytes.len, pages = MEMORY_PAGES;
    while (pages * PAGE_BYTES < end) pages *= 2;
    return (uint32_t)pages;
}

static void put_import(struct buf *b, const char *module, struct str name, uint8_t kind) {
    leb_bytes(b, str_of(module));
    leb_bytes(b, name);
    buf_byte(b, kind);
}

static void put_thin_imports(struct writer *w, struct buf *b) {
    for (uint32_t i = 0; i < w->e->n_thin_imports; i++) {
        const struct runtime_function *m = &w->e->imports.items[i];
        put_import(b, "regent", str_of(m->name), EXTERNAL_FUNCTION);
        leb_u32(b, type_of(w, m->params, m->result));
    }
}

static void put_full_imports(struct writer *w, struct buf *b) {
    for (uint32_t i = 0; i < w->link->runtime.imports.n; i++) {
        const struct wasm_import *m = &w->link->runtime.imports.items[i];
        if (!link_is_import(w->link, i)) continue;
        leb_bytes(b, w->proxy ? m->module : STR("env"));
        leb_bytes(b, m->name);
        buf_byte(b, EXTERNAL_FUNCTION);
        leb_u32(b, runtime_type(w, m->type));
    }
}

static void write_imports(struct writer *w) {
    struct buf *b = begin(w);
    leb_u32(b, !w->proxy + (w->link ? w->link->n_imports : w->e->n_thin_imports));
    if (!w->proxy) {
        put_import(b, w->link ? "env" : "regent", STR("memory"), EXTERNAL_MEMORY);
        buf_byte(b, 0); /* no maximum */
        leb_u32(b, memory_pages(w));
    }
    if (w->link)
        put_full_imports(w, b);
    else
        put_thin_imports(w, b);
    finish(w, 2);
}

/* PROXY_GUARD gives the address of a message or 0, PROXY_THROW does not return. */
static uint32_t added_type(struct writer *w, uint32_t which) {
    return type_of(w, "i", which == PROXY_GUARD ? "i" : "v");
}

static void write_functions(struct writer *w) {
    struct buf *b = begin(w);
    leb_u32(b, w->n_own + w->n_added + (w->link ? w->link->n_functions : 0));
    for (uint32_t i = 0; w->link && i < w->link->runtime.functions.n; i++)
        if (w->link->numbers[w->link->runtime.imports.n + i] != LINK_DROPPED)
            leb_u32(b, runtime_type(w, w->link->runtime.functions.items[i]));
    for (uint32_t i = 0; i < w->n_own; i++)
        leb_u32(b, type_of(w, w->e->functions.items[i].params, w->e->functions.items[i].result));
    for (uint32_t i = 0; i < w->n_added; i++) leb_u32(b, added_type(w, i));
    finish(w, 3);
}

/* A filter's memory, and the exception that carries the address of a message. */
static void write_memory_and_tag(struct writer *w) {
    struct buf *b = begin(w);
    leb_u32(b, 1);
    buf_byte(b, 1); /* with a maximum */
    leb_u32(b, memory_pages(w));
    leb_u32(b, memory_pages(w) + FILTER_HEAP_PAGES);
    finish(w, 5);
    b = begin(w);
    leb_u32(b, 1);
    buf_byte(b, 0); /* an exception */
    leb_u32(b, added_type(w, PROXY_THROW));
    finish(w, 13);
}

static void put_abi_global(struct buf *b, int64_t value) {
    buf_byte(b, TYPE_I32);
    buf_byte(b, 0); /* immutable */
    buf_byte(b, OP_I32_CONST);
    leb_s64(b, value);
    buf_byte(b, OP_END);
}

static void write_globals(struct writer *w) {
    if (!w->link) return;
    struct buf *b = begin(w);
    leb_u32(b, w->link->n_globals + (w->proxy ? 0 : 2));
    for (uint32_t i = 0; i < w->link->runtime.globals.n; i++)
        if (w->link->globals[i] != LINK_DROPPED) buf_str(b, w->link->runtime.globals.items[i].raw);
    if (!w->proxy) {
        put_abi_global(b, OPA_ABI_VERSION);
        put_abi_global(b, OPA_ABI_MINOR_VERSION);
    }
    finish(w, 6);
}

/* ---- exports ---- */

static uint32_t put_export(struct buf *b, struct str name, enum external_kind kind,
                           uint32_t index) {
    leb_bytes(b, name);
    buf_byte(b, (uint8_t)kind);
    leb_u32(b, index);
    return 1;
}

static uint32_t put_exports(struct writer *w, struct buf *b) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n_own; i++) {
        const char *name = w->e->functions.items[i].export_name;
        if (name) n += put_export(b, str_of(name), EXTERNAL_FUNCTION, w->first_own + i);
    }
    if (!w->link) return n;
    n += put_export(b, STR("memory"), EXTERNAL_MEMORY, 0);
    if (!w->proxy) {
        n += put_export(b, STR("opa_wasm_abi_version"), EXTERNAL_GLOBAL, w->link->n_globals);
        n += put_export(b, STR("opa_wasm_abi_minor_version"), EXTERNAL_GLOBAL, w->link->n_globals + 1);
    }
    for (uint32_t i = 0; i < w->link->runtime.exports.n; i++) {
        const struct wasm_export *x = &w->link->runtime.exports.items[i];
        if (x->kind == EXTERNAL_FUNCTION && link_is_interface(w->e, x->name))
            n += put_export(b, x->name, EXTERNAL_FUNCTION, w->link->numbers[x->index]);
    }
    return n;
}

static void write_exports(struct writer *w) {
    struct buf *list = &w->e->scratch, *b;
    buf_clear(list);
    uint32_t n = put_exports(w, list);
    b = begin(w);
    leb_u32(b, n);
    buf_str(b, buf_view(list));
    finish(w, 7);
}

/* ---- code ---- */

static uint32_t symbol_number(const struct writer *w, uint32_t symbol) {
    if (!(symbol & SYMBOL_IMPORT)) return w->first_own + symbol;
    uint32_t import = symbol - SYMBOL_IMPORT;
    return w->link ? w->link->numbers[w->link->import_functions[import]] : import;
}

/* The function's bytes with the numbers of called functions put in. */
static void put_own_body(struct writer *w, const struct emitted *f, struct buf *b) {
    const uint8_t *code = w->e->code.ptr;
    uint32_t at = f->start;
    for (uint32_t i = f->first_relocation; i < f->end_relocation; i++) {
        const struct relocation *r = &w->e->relocations.items[i];
        buf_put(b, code + at, r->at - at);
        leb_u32(b, symbol_number(w, r->symbol));
        at = r->at;
    }
    buf_put(b, code + at, f->end - at);
}

static void write_code(struct writer *w) {
    struct buf *one = &w->e->scratch, *b = begin(w);
    leb_u32(b, w->n_own + w->n_added + (w->link ? w->link->n_functions : 0));
    if (w->link && w->link->code.ptr)
        buf_str(b, w->link->code);
    else if (w->link)
        link_code(w->link, b, one);
    for (uint32_t i = 0; i < w->n_own; i++) {
        buf_clear(one);
        put_own_body(w, &w->e->functions.items[i], one);
        leb_bytes(b, buf_view(one));
    }
    for (uint32_t i = 0; i < w->n_added; i++) {
        buf_clear(one);
        proxy_body(w->link, i, one);
        leb_bytes(b, buf_view(one));
    }
    finish(w, 10);
}

/* ---- data, custom section ---- */

static void put_segment(struct buf *b, uint32_t address, struct str bytes) {
    leb_u32(b, 0);
    buf_byte(b, OP_I32_CONST);
    leb_s64(b, (int32_t)address);
    buf_byte(b, OP_END);
    leb_bytes(b, bytes);
}

static void write_data(struct writer *w) {
    struct buf *b = begin(w);
    uint32_t n = w->link ? w->link->data.n : 0;
    leb_u32(b, n + 1);
    for (uint32_t i = 0; i < n; i++)
        put_segment(b, w->link->data.items[i].address, w->link->data.items[i].bytes);
    put_segment(b, w->e->image.base, buf_view(&w->e->image.bytes));
    finish(w, 11);
}

static void write_custom(struct writer *w, enum module_form form) {
    struct buf *b = begin(w);
    leb_bytes(b, STR("regent"));
    meta_section(w->e, form, b);
    finish(w, 0);
}

static void write_types(struct writer *w) {
    struct buf *b = begin(w);
    leb_u32(b, w->types.n);
    for (uint32_t i = 0; i < w->types.n; i++) buf_str(b, w->types.items[i]);
    finish(w, 1);
}

/* The sections that name types come after them, so those are collected first. */
static void collect_types(struct writer *w) {
    struct buf *unused = begin(w);
    if (w->link)
        put_full_imports(w, unused);
    else
        put_thin_imports(w, unused);
    for (uint32_t i = 0; w->link && i < w->link->runtime.functions.n; i++)
        if (w->link->numbers[w->link->runtime.imports.n + i] != LINK_DROPPED)
            runtime_type(w, w->link->runtime.functions.items[i]);
    for (uint32_t i = 0; i < w->n_own; i++)
        type_of(w, w->e->functions.items[i].params, w->e->functions.items[i].result);
    for (uint32_t i = 0; i < w->n_added; i++) added_type(w, i);
}

void write_module(struct emit *e, enum module_form form, struct buf *out) {
    struct link own;
    struct writer w = {
        .e = e, .out = out, .n_own = e->n_thin_functions, .first_own = e->n_thin_imports};
    if (form != FORM_THIN) {
        w.link = link_find(e, &own);
        if (!w.link) return;
        w.proxy = form == FORM_PROXY;
        w.n_added = w.proxy ? PROXY_FUNCTIONS : 0;
        w.n_own = e->functions.n;
        w.first_own = w.link->n_imports + w.link->n_functions;
    }
    collect_types(&w);
    buf_put(out, "\0asm\1\0\0\0", 8);
    write_types(&w);
    write_imports(&w);
    write_functions(&w);
    if (w.proxy) write_memory_and_tag(&w);
    write_globals(&w);
    write_exports(&w);
    write_code(&w);
    write_data(&w);
    write_custom(&w, form);
}
