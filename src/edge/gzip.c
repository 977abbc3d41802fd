/* gzip on zlib.
 * in: bytes, maybe hostile. out: bytes in the caller's buffer, bounded. owns: zlib's state while it works. */
#include "edge/gzip.h"
#include <stdio.h>
#include <zlib.h>

enum { STEP_BYTES = 16 << 10, HEADER_BYTES = 10, WINDOW_GZIP = 15 + 16 };

static enum err refused(char *why, size_t why_bytes, const char *text) {
    snprintf(why, why_bytes, "%s", text);
    return ERR_SYNTAX;
}

/* What stands where a member should begin, as Go sees it: bytes that are missing come before bytes that are wrong. */
static enum err check_header(struct str in, char *why, size_t why_bytes) {
    if (in.len < HEADER_BYTES) return refused(why, why_bytes, "unexpected EOF");
    bool right = (uint8_t)in.ptr[0] == 0x1f && (uint8_t)in.ptr[1] == 0x8b && in.ptr[2] == 8;
    return right ? OK : refused(why, why_bytes, "gzip: invalid header");
}

static enum err explain(const z_stream *z, int status, char *why, size_t why_bytes) {
    if (status == Z_MEM_ERROR) return ERR_MEMORY;
    if (status != Z_DATA_ERROR) return refused(why, why_bytes, "unexpected EOF");
    const char *text = z->msg ? z->msg : "";
    if (strstr(text, "incorrect data check") || strstr(text, "incorrect length check"))
        return refused(why, why_bytes, "gzip: invalid checksum");
    if (strstr(text, "header")) return refused(why, why_bytes, "gzip: invalid header");
    snprintf(why, why_bytes, "flate: corrupt input before offset %lu", z->total_in);
    return ERR_SYNTAX;
}

/* One member from the start of *in, which moves behind it. */
static enum err inflate_member(z_stream *z, struct str *in, size_t max_bytes, struct buf *out, char *why,
                               size_t why_bytes) {
    z->next_in = (Bytef *)(uintptr_t)in->ptr;
    z->avail_in = (uInt)in->len;
    for (int status = Z_OK; status != Z_STREAM_END;) {
        size_t room = max_bytes - out->len < STEP_BYTES ? max_bytes - out->len + 1 : STEP_BYTES;
        uint8_t *to = buf_reserve(out, room);
        if (!to) return out->err;
        z->next_out = to;
        z->avail_out = (uInt)room;
        status = inflate(z, Z_NO_FLUSH);
        buf_commit(out, room - z->avail_out);
        if (out->len > max_bytes) return ERR_LIMIT;
        bool stuck = status == Z_BUF_ERROR || (status == Z_OK && z->avail_in == 0 && z->avail_out > 0);
        if ((status != Z_OK && status != Z_STREAM_END) || stuck) return explain(z, status, why, why_bytes);
    }
    *in = str_from(*in, in->len - z->avail_in);
    return OK;
}

enum err gzip_inflate(struct str in, size_t max_bytes, struct buf *out, char *why, size_t why_bytes) {
    z_stream z = {0};
    if (in.len == 0) return refused(why, why_bytes, "EOF");
    if (in.len > UINT32_MAX) return ERR_LIMIT;
    enum err e = check_header(in, why, why_bytes);
    if (e) return e;
    if (inflateInit2(&z, WINDOW_GZIP) != Z_OK) return ERR_MEMORY;
    size_t before = out->len;
    e = inflate_member(&z, &in, before + max_bytes, out, why, why_bytes);
    while (!e && in.len) {
        e = check_header(in, why, why_bytes);
        if (!e && inflateReset(&z) != Z_OK) e = ERR_INTERNAL;
        if (!e) e = inflate_member(&z, &in, before + max_bytes, out, why, why_bytes);
    }
    inflateEnd(&z);
    return e;
}

enum err gzip_deflate(struct str in, int level, struct buf *out) {
    z_stream z = {0};
    if (in.len > UINT32_MAX / 2) return ERR_LIMIT;
    if (deflateInit2(&z, level, Z_DEFLATED, WINDOW_GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK) return ERR_MEMORY;
    z.next_in = (Bytef *)(uintptr_t)in.ptr;
    z.avail_in = (uInt)in.len;
    enum err e = OK;
    for (int status = Z_OK; !e && status != Z_STREAM_END;) {
        size_t left = out->max - out->len, room = left < STEP_BYTES ? left : STEP_BYTES;
        uint8_t *to = room ? buf_reserve(out, room) : NULL;
        if (!to) {
            e = out->err ? out->err : ERR_LIMIT;
            break;
        }
        z.next_out = to;
        z.avail_out = (uInt)room;
        status = deflate(&z, Z_FINISH);
        buf_commit(out, room - z.avail_out);
        if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) e = ERR_INTERNAL;
    }
    deflateEnd(&z);
    return e;
}
