/* Bounds-checked reads of fixed-width and LEB128 integers.
 * in: bytes that may be hostile. out: integers and views. owns: nothing. */
#include "base/reader.h"

static uint64_t fail(struct reader *r) {
    r->failed = true;
    r->at = r->end;
    return 0;
}

uint8_t reader_u8(struct reader *r) { return r->at < r->end ? *r->at++ : (uint8_t)fail(r); }

static uint64_t little_endian(struct reader *r, size_t n) {
    if (reader_left(r) < n) return fail(r);
    uint64_t v = 0;
    for (size_t i = n; i > 0; i--) v = v << 8 | r->at[i - 1];
    r->at += n;
    return v;
}

uint32_t reader_u32le(struct reader *r) { return (uint32_t)little_endian(r, 4); }
uint64_t reader_u64le(struct reader *r) { return little_endian(r, 8); }

static uint64_t leb(struct reader *r, unsigned bits, bool is_signed) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < bits; shift += 7) {
        if (r->at == r->end) return fail(r);
        uint8_t b = *r->at++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b & 0x80) continue;
        unsigned left = bits - shift;
        if (left < 7) { /* the last byte may only carry the bits that are left */
            uint8_t extra = (uint8_t)((b & 0x7f) >> (is_signed ? left - 1 : left));
            uint8_t ones = (uint8_t)(0x7f >> (is_signed ? left - 1 : left));
            if (extra != 0 && !(is_signed && extra == ones)) return fail(r);
        }
        if (is_signed && (b & 0x40) && shift + 7 < 64) v |= ~(uint64_t)0 << (shift + 7);
        return v;
    }
    return fail(r);
}

uint32_t reader_leb_u32(struct reader *r) { return (uint32_t)leb(r, 32, false); }
uint64_t reader_leb_u64(struct reader *r) { return leb(r, 64, false); }
int32_t reader_leb_s32(struct reader *r) { return (int32_t)leb(r, 32, true); }
int64_t reader_leb_s64(struct reader *r) { return (int64_t)leb(r, 64, true); }

struct str reader_bytes(struct reader *r, size_t len) {
    if (reader_left(r) < len) return fail(r), (struct str){"", 0};
    struct str s = {(const char *)r->at, len};
    r->at += len;
    return s;
}

struct reader reader_sub(struct reader *r, size_t len) {
    struct str s = reader_bytes(r, len);
    struct reader sub = reader_of(s.ptr, s.len);
    sub.failed = r->failed;
    return sub;
}
