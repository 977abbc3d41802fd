/* Finds which read-only data of the runtime the kept functions refer to.
 * in: the symbol table and relocations that wasm-ld --emit-relocs left in the runtime. out: the
 * data that is kept. owns: nothing. Formats: WebAssembly tool conventions, Linking.md. */
#include "compiler/wasm/link.h"
#include <stdlib.h>

enum { SUBSECTION_SYMBOLS = 8, LINKING_VERSION = 2 };
enum symbol_kind {
    SYMBOL_FUNCTION,
    SYMBOL_DATA,
    SYMBOL_GLOBAL,
    SYMBOL_SECTION,
    SYMBOL_EVENT,
    SYMBOL_TABLE
};
enum symbol_flag { SYMBOL_UNDEFINED = 0x10, SYMBOL_EXPLICIT_NAME = 0x40 };
enum relocation_kind {
    RELOCATION_FUNCTION = 0,
    RELOCATION_TABLE_SLEB = 1,
    RELOCATION_TABLE_I32 = 2,
    RELOCATION_ADDRESS_LEB = 3,
    RELOCATION_ADDRESS_SLEB = 4,
    RELOCATION_ADDRESS_I32 = 5,
    RELOCATION_TYPE = 6,
    RELOCATION_GLOBAL = 7,
    RELOCATION_EVENT = 10
};
enum { GAP_BYTES = 8 }; /* a segment's head costs about as much */

static void skip_name(struct reader *r) { reader_bytes(r, reader_leb_u32(r)); }

static void read_symbol(struct reader *r, struct arena *a, struct link *l) {
    struct data_symbol s = {.segment = UINT32_MAX};
    uint8_t kind = reader_u8(r);
    uint32_t flags = reader_leb_u32(r);
    bool named = !(flags & SYMBOL_UNDEFINED) || (flags & SYMBOL_EXPLICIT_NAME);
    if (kind == SYMBOL_DATA) {
        skip_name(r);
        if (!(flags & SYMBOL_UNDEFINED)) {
            s.segment = reader_leb_u32(r);
            s.offset = reader_leb_u32(r);
            s.size = reader_leb_u32(r);
        }
    } else {
        reader_leb_u32(r);
        if (named && kind != SYMBOL_SECTION) skip_name(r);
    }
    ARENA_PUSH(a, &l->symbols, s);
}

static bool read_symbols(struct link *l, struct arena *a) {
    struct reader r = reader_of(l->runtime.linking.ptr, l->runtime.linking.len);
    if (reader_leb_u32(&r) != LINKING_VERSION) return false;
    while (reader_left(&r) && !r.failed) {
        uint8_t id = reader_u8(&r);
        struct reader s = reader_sub(&r, reader_leb_u32(&r));
        uint32_t n = id == SUBSECTION_SYMBOLS ? reader_leb_u32(&s) : 0;
        for (uint32_t i = 0; i < n && !s.failed; i++) read_symbol(&s, a, l);
        r.failed |= s.failed;
    }
    return !r.failed;
}

static int by_place(const void *a, const void *b) {
    const struct data_reference *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static void read_relocation(struct reader *r, struct arena *a, struct data_references *out) {
    uint8_t kind = reader_u8(r);
    struct data_reference d;
    d.at = reader_leb_u32(r);
    d.symbol = reader_leb_u32(r);
    switch (kind) {
    case RELOCATION_FUNCTION:
    case RELOCATION_TYPE:
    case RELOCATION_GLOBAL:
    case RELOCATION_EVENT: return;
    case RELOCATION_ADDRESS_LEB:
    case RELOCATION_ADDRESS_SLEB:
    case RELOCATION_ADDRESS_I32:
        reader_leb_s32(r); /* addend */
        ARENA_PUSH(a, out, d);
        return;
    default:
        r->failed = true; /* function pointers, and what clang does not write for static code */
    }
}

static bool read_relocations(struct str section, struct link *l, struct arena *a,
                             struct data_references *out) {
    struct reader r = reader_of(section.ptr, section.len);
    if (section.len == 0) return true;
    reader_leb_u32(&r); /* the section they belong to */
    uint32_t n = reader_leb_u32(&r);
    for (uint32_t i = 0; i < n && !r.failed; i++) read_relocation(&r, a, out);
    for (uint32_t i = 0; i < out->n; i++)
        if (out->items[i].symbol >= l->symbols.n) return false;
    if (out->n) qsort(out->items, out->n, sizeof *out->items, by_place);
    return !r.failed;
}

bool link_data_read(struct link *l, struct arena *a) {
    if (l->runtime.linking.len == 0) return true;
    return read_symbols(l, a) &&
           read_relocations(l->runtime.reloc_code, l, a, &l->code_references) &&
           read_relocations(l->runtime.reloc_data, l, a, &l->data_references);
}

/* First reference at or after `at`. */
static uint32_t first_reference(const struct data_references *d, uint32_t at) {
    uint32_t low = 0, high = d->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (d->items[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct str bytes_of(const struct link *l, const struct data_symbol *s) {
    if (s->segment >= l->runtime.data.n)
        return (struct str){NULL, 0}; /* zeros: no segment holds them */
    return str_head(str_from(l->runtime.data.items[s->segment].bytes, s->offset), s->size);
}

static void keep_references(struct link *l, const struct data_references *d, struct str section,
                            struct str bytes);

static void keep_symbol(struct link *l, struct data_symbol *s) {
    struct str bytes = bytes_of(l, s);
    if (s->kept) return;
    s->kept = true;
    if (bytes.len) keep_references(l, &l->data_references, l->runtime.data_section, bytes);
}

static void keep_references(struct link *l, const struct data_references *d, struct str section,
                            struct str bytes) {
    uint32_t at = (uint32_t)(bytes.ptr - section.ptr), end = at + (uint32_t)bytes.len;
    for (uint32_t i = first_reference(d, at); i < d->n && d->items[i].at < end; i++)
        keep_symbol(l, &l->symbols.items[d->items[i].symbol]);
}

void link_data_keep(struct link *l, struct str body) {
    if (l->symbols.n) keep_references(l, &l->code_references, l->runtime.code_section, body);
}

static int by_address(const void *a, const void *b) {
    const struct wasm_data *x = a, *y = b;
    if (x->address != y->address) return x->address < y->address ? -1 : 1;
    return (x->bytes.len > y->bytes.len) - (x->bytes.len < y->bytes.len);
}

/* Appends a piece, or lengthens the last one when they overlap or almost touch: both are views of
 * one segment. */
static void put_piece(struct link *l, uint32_t *n, struct wasm_data piece) {
    struct wasm_data *last = *n ? &l->data.items[*n - 1] : NULL;
    uint64_t end = last ? last->address + (uint64_t)last->bytes.len : 0;
    uint64_t new_end = piece.address + (uint64_t)piece.bytes.len;
    if (last && piece.address <= end + GAP_BYTES &&
        piece.bytes.ptr - last->bytes.ptr == (ptrdiff_t)(piece.address - last->address)) {
        if (new_end > end) last->bytes.len = (size_t)(new_end - last->address);
        return;
    }
    l->data.items[(*n)++] = piece;
}

void link_data_collect(struct link *l, struct arena *a) {
    uint32_t n = 0;
    for (uint32_t i = 0; l->symbols.n == 0 && i < l->runtime.data.n; i++)
        ARENA_PUSH(a, &l->data, l->runtime.data.items[i]);
    for (uint32_t i = 0; i < l->symbols.n; i++) {
        const struct data_symbol *s = &l->symbols.items[i];
        struct str bytes = bytes_of(l, s);
        if (!s->kept || bytes.len == 0) continue;
        struct wasm_data piece = {l->runtime.data.items[s->segment].address + s->offset, bytes};
        ARENA_PUSH(a, &l->data, piece);
    }
    if (l->data.n) qsort(l->data.items, l->data.n, sizeof *l->data.items, by_address);
    for (uint32_t i = 0; i < l->data.n; i++) put_piece(l, &n, l->data.items[i]);
    l->data.n = n;
}
