/* Reads WebAssembly instructions one by one.
 * in: the bytes of a function body. out: code, immediates, extent. owns: nothing. */
#include "compiler/wasm/opcode.h"

struct opcode_row {
    const char *text; /* NULL: no such instruction */
    enum immediate immediate;
};

/* One-byte codes stand at their number, those behind the prefix 0xfc (0xfc00 + n) behind them: linking reads some
 * 100,000 instructions, so finding one must not be a search. */
enum { PREFIXED = 32 };
#define ROW_OF(code) ((code) < 256 ? (code) : 256 + ((code) & (PREFIXED - 1)))

static const struct opcode_row rows[256 + PREFIXED] = {
#define OP(name, code, text, immediate) [ROW_OF(code)] = {text, IMMEDIATE_##immediate},
#include "compiler/wasm/opcode.def"
#undef OP
};

static const struct opcode_row *find(uint32_t code) {
    if (code >= 256 && (code & 0xff) >= PREFIXED) return NULL;
    const struct opcode_row *row = &rows[ROW_OF(code)];
    return row->text ? row : NULL;
}

static void read_table(struct reader *r) {
    uint32_t n = reader_leb_u32(r);
    for (uint32_t i = 0; i <= n && !r->failed; i++) reader_leb_u32(r);
}

static void read_immediate(struct reader *r, struct instruction *i) {
    switch (i->immediate) {
    case IMMEDIATE_NONE: return;
    case IMMEDIATE_INDEX:
    case IMMEDIATE_CALL:
    case IMMEDIATE_GLOBAL: i->number = reader_leb_u32(r); return;
    case IMMEDIATE_INDEX2:
    case IMMEDIATE_INDIRECT:
        i->number = reader_leb_u32(r);
        i->number2 = reader_leb_u32(r);
        return;
    case IMMEDIATE_BLOCK:
    case IMMEDIATE_I64: i->number = reader_leb_s64(r); return;
    case IMMEDIATE_I32: i->number = reader_leb_s32(r); return;
    case IMMEDIATE_TABLE: read_table(r); return;
    case IMMEDIATE_MEMORY:
        i->number2 = reader_leb_u32(r);
        i->number = reader_leb_u32(r);
        return;
    case IMMEDIATE_F32: reader_bytes(r, 4); return;
    case IMMEDIATE_F64: reader_bytes(r, 8); return;
    }
}

bool instruction_read(struct reader *r, struct instruction *out) {
    const uint8_t *start = r->at;
    if (reader_left(r) == 0) return false;
    uint32_t code = reader_u8(r);
    if (code == 0xfc) code = 0xfc00 + (reader_leb_u32(r) & 0xff);
    const struct opcode_row *row = find(code);
    if (!row) return false;
    *out = (struct instruction){
        .op = (enum opcode)code, .text = row->text, .immediate = row->immediate};
    out->immediate_at = (size_t)(r->at - start);
    read_immediate(r, out);
    out->raw = (struct str){(const char *)start, (size_t)(r->at - start)};
    return !r->failed;
}
