/* Lists the thin module's functions for --dump wasm: instructions, with names and constants beside
 * them. in: c->thin, c->plan. out: text. owns: an arena for the lists of the module's parts. */
#include "compiler/wasm/module.h"
#include "compiler/wasm/wasm.h"
#include "runtime/layout.h"

struct listing {
    const struct compile *c;
    struct wasm_module m;
    struct wasm_data image; /* the segment at HEADER_BASE */
    struct module_header header;
    struct buf *out;
};

static struct str function_name(const struct listing *l, uint32_t number) {
    const struct plan *p = l->c->plan;
    if (number < l->m.imports.n) return l->m.imports.items[number].name;
    number -= l->m.imports.n;
    if (number < p->functions.n) return p->functions.items[number]->name;
    number -= p->functions.n;
    if (number < p->entrypoints.n) return p->entrypoints.items[number]->name;
    return number == p->entrypoints.n ? STR("dispatch") : STR("regent_eval");
}

/* ---- slots ---- */

static bool read_image(const struct listing *l, uint32_t address, void *to, uint32_t n) {
    uint64_t at = (uint64_t)address - l->image.address;
    if (address < l->image.address || at + n > l->image.bytes.len) return false;
    memcpy(to, l->image.bytes.ptr + at, n);
    return true;
}

static void print_text(const struct listing *l, value v) {
    uint64_t at = (uint64_t)value_pointer(v) - l->image.address;
    if (value_pointer(v) < l->image.address || at + value_length(v) > l->image.bytes.len) return;
    struct str text = {l->image.bytes.ptr + at, value_length(v)};
    if (value_tag(v) == TAG_NUMBER)
        buf_str(l->out, text);
    else
        json_print_string(text, l->out);
}

static void print_constant(const struct listing *l, uint32_t slot) {
    static const char *const kinds[] = {
        [TAG_ARRAY] = "array", [TAG_OBJECT] = "object", [TAG_SET] = "set"};
    value v = VALUE_UNDEFINED;
    unsigned tag;
    if (!read_image(l, SLOT_BASE + 8 * slot, &v, sizeof v)) return;
    tag = value_tag(v);
    if (tag == TAG_INTEGER)
        buf_printf(l->out, "%lld", (long long)value_integer(v));
    else if (tag == TAG_STRING || tag == TAG_NUMBER)
        print_text(l, v);
    else if (tag >= TAG_ARRAY && tag <= TAG_SET)
        buf_cstr(l->out, kinds[tag]);
}

static void print_slot(const struct listing *l, int64_t address) {
    int64_t slot = (address - SLOT_BASE) / 8;
    const struct module_header *h = &l->header;
    const struct {
        const char *word;
        uint32_t n;
    } kinds[] = {
        {"constant", h->n_const}, {"input", h->n_input}, {"data", h->n_data}, {"memo", h->n_memo}};
    if (address < SLOT_BASE) return;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; slot -= kinds[i++].n) {
        if (slot >= kinds[i].n) continue;
        buf_printf(l->out, "  ; %s %lld ", kinds[i].word, (long long)slot);
        if (i == 0) print_constant(l, (uint32_t)slot);
        return;
    }
}

/* ---- instructions ---- */

static void print_table(const struct instruction *i, struct buf *out) {
    struct reader r = reader_of(i->raw.ptr + i->immediate_at, i->raw.len - i->immediate_at);
    uint32_t n = reader_leb_u32(&r);
    for (uint32_t k = 0; k <= n && !r.failed; k++) buf_printf(out, " %u", reader_leb_u32(&r));
}

static void print_immediate(const struct listing *l, const struct instruction *i) {
    switch (i->immediate) {
    case IMMEDIATE_NONE:
    case IMMEDIATE_BLOCK:
    case IMMEDIATE_F32:
    case IMMEDIATE_F64: return;
    case IMMEDIATE_INDEX:
    case IMMEDIATE_GLOBAL:
    case IMMEDIATE_I32:
    case IMMEDIATE_I64: buf_printf(l->out, " %lld", (long long)i->number); return;
    case IMMEDIATE_INDEX2:
    case IMMEDIATE_INDIRECT:
        buf_printf(l->out, " %lld %lld", (long long)i->number, (long long)i->number2);
        return;
    case IMMEDIATE_CALL:
        buf_byte(l->out, ' ');
        buf_str(l->out, function_name(l, (uint32_t)i->number));
        return;
    case IMMEDIATE_TABLE: print_table(i, l->out); return;
    case IMMEDIATE_MEMORY:
        buf_printf(l->out, " %lld", (long long)i->number);
        print_slot(l, i->number);
        return;
    }
}

static void print_body(const struct listing *l, struct str body) {
    struct reader r = wasm_body_code(body);
    struct instruction i;
    int depth = 1;
    while (instruction_read(&r, &i)) {
        if (i.op == OP_END || i.op == OP_ELSE) depth--;
        if (depth > 0) {
            buf_printf(l->out, "%*s%s", 2 * depth, "", i.text);
            print_immediate(l, &i);
            buf_byte(l->out, '\n');
        }
        if (i.immediate == IMMEDIATE_BLOCK || i.op == OP_ELSE) depth++;
    }
}

static void print_types(struct reader *r, struct buf *out) {
    uint32_t n = reader_leb_u32(r);
    for (uint32_t i = 0; i < n && !r->failed; i++)
        buf_cstr(out, reader_u8(r) == TYPE_I64 ? " i64" : " i32");
}

static void print_function(const struct listing *l, uint32_t i) {
    struct str type = l->m.types.items[l->m.functions.items[i]];
    struct reader r = reader_of(type.ptr, type.len);
    reader_u8(&r);
    buf_cstr(l->out, "func ");
    buf_str(l->out, function_name(l, l->m.imports.n + i));
    buf_cstr(l->out, " (");
    print_types(&r, l->out);
    buf_cstr(l->out, " ) -> (");
    print_types(&r, l->out);
    buf_printf(l->out, " ), %zu bytes\n", l->m.bodies.items[i].len);
    print_body(l, l->m.bodies.items[i]);
}

void wasm_print(const struct compile *c, struct buf *out) {
    struct listing l = {.c = c, .out = out};
    struct arena arena;
    const char *problem;
    if (c->thin.len == 0 || !c->plan) return;
    arena_init(&arena, (size_t)256 << 20);
    if (wasm_module_read(buf_view(&c->thin), &arena, &l.m, &problem) && l.m.data.n) {
        l.image = l.m.data.items[l.m.data.n - 1];
        read_image(&l, HEADER_BASE, &l.header, sizeof l.header);
        buf_printf(out, "; thin %zu bytes, full %zu bytes, %u constants\n", c->thin.len,
                   c->full.len, l.header.n_const);
        for (uint32_t i = 0; i < l.m.functions.n; i++) print_function(&l, i);
    }
    arena_deinit(&arena);
}
