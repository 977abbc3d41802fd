/* Reads tar archives: POSIX.1-1988 and 2001 (pax) and GNU's long names, through gzip or bare.
 *
 * in:   archive bytes (hostile). out: plain files, one at a time. owns: zlib's state.
 * Nothing is unpacked that was not asked for: a file's bytes go straight to their place in the arena. */
#include "bundle/tar.h"
#include <string.h>

enum { GZIP_WINDOW_BITS = 15 + 16, MAX_EXTENDED_BYTES = 64 * 1024 };

/* Byte ranges of a header block. */
enum {
    NAME_AT = 0, NAME_BYTES = 100,
    SIZE_AT = 124, SIZE_BYTES = 12,
    SUM_AT = 148, SUM_BYTES = 8,
    TYPE_AT = 156,
    MAGIC_AT = 257,
    PREFIX_AT = 345, PREFIX_BYTES = 155,
};

/* What headers before a file's own said of it. */
struct extended {
    char *name; /* NULL: nothing */
    bool has_size;
    uint64_t size;
};

static enum err wrong(struct tar *t, const char *why) {
    t->why = why;
    return ERR_SYNTAX;
}

enum err tar_init(struct tar *t, struct str bytes) {
    *t = (struct tar){.in = bytes};
    t->gzip = bytes.len >= 2 && (uint8_t)bytes.ptr[0] == 0x1f && (uint8_t)bytes.ptr[1] == 0x8b;
    if (!t->gzip) return OK;
    if (bytes.len > UINT32_MAX) return ERR_LIMIT;
    t->z.next_in = (Bytef *)(uintptr_t)bytes.ptr;
    t->z.avail_in = (uInt)bytes.len;
    return inflateInit2(&t->z, GZIP_WINDOW_BITS) == Z_OK ? OK : ERR_MEMORY;
}

void tar_deinit(struct tar *t) {
    if (t->gzip) inflateEnd(&t->z);
}

/* ---- bytes ---- */

/* One step of unpacking; a gzip file may be several one after another. */
static enum err unpack(struct tar *t) {
    int status = inflate(&t->z, Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
        t->done = t->z.avail_in == 0 || t->z.next_in[0] != 0x1f;
        return t->done || inflateReset(&t->z) == Z_OK ? OK : ERR_MEMORY;
    }
    if (status == Z_MEM_ERROR) return ERR_MEMORY;
    if (status == Z_BUF_ERROR) return wrong(t, "the archive ends early");
    return status == Z_OK ? OK : wrong(t, t->z.msg ? t->z.msg : "gzip data is damaged");
}

/* Up to n bytes; *got is less at the archive's end only. */
static enum err take(struct tar *t, void *to, uint64_t n, uint64_t *got) {
    *got = 0;
    if (!t->gzip) {
        *got = n < t->in.len ? n : t->in.len;
        if (*got) memcpy(to, t->in.ptr, *got);
        t->in = str_from(t->in, *got);
        return OK;
    }
    while (*got < n && !t->done) {
        uint32_t room = n - *got < (1u << 30) ? (uint32_t)(n - *got) : 1u << 30;
        t->z.next_out = (Bytef *)to + *got;
        t->z.avail_out = room;
        enum err e = unpack(t);
        if (e) return e;
        *got += room - t->z.avail_out;
    }
    return OK;
}

static enum err take_all(struct tar *t, void *to, uint64_t n) {
    uint64_t got;
    enum err e = take(t, to, n, &got);
    return e ? e : got == n ? OK : wrong(t, "the archive ends inside a file");
}

static enum err skip(struct tar *t, uint64_t n) {
    uint8_t scrap[8192];
    enum err e = OK;
    for (uint64_t part; !e && n > 0; n -= part) {
        part = n < sizeof scrap ? n : sizeof scrap;
        e = take_all(t, scrap, part);
    }
    return e;
}

/* From the end of a file's bytes to the next block; archives may end without it. */
static enum err skip_padding(struct tar *t, uint64_t size) {
    uint8_t scrap[TAR_BLOCK_BYTES];
    uint64_t got;
    return take(t, scrap, -size & (TAR_BLOCK_BYTES - 1), &got);
}

/* ---- headers ---- */

/* Octal digits with blanks around them, or GNU's big-endian number behind a set top bit. */
static bool read_number(const uint8_t *p, uint32_t n, uint64_t *out) {
    uint64_t v = 0;
    uint32_t i = 0;
    if (*p == 0x80) {
        for (i = 1; i < n; i++) {
            if (v >> 55) return false;
            v = v << 8 | p[i];
        }
        *out = v;
        return true;
    }
    while (i < n && p[i] == ' ') i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) v = v << 3 | (uint64_t)(p[i] - '0');
    *out = v;
    return i == n || p[i] == ' ' || p[i] == 0;
}

static bool is_zero(const uint8_t *block) {
    for (uint32_t i = 0; i < TAR_BLOCK_BYTES; i++)
        if (block[i]) return false;
    return true;
}

static bool sum_matches(const uint8_t *block) {
    uint64_t wanted, sum = 0;
    for (uint32_t i = 0; i < TAR_BLOCK_BYTES; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_BYTES ? ' ' : block[i];
    return read_number(block + SUM_AT, SUM_BYTES, &wanted) && wanted == sum;
}

static size_t field_length(const uint8_t *p, size_t n) {
    const uint8_t *end = memchr(p, 0, n);
    return end ? (size_t)(end - p) : n;
}

static char *header_name(const uint8_t *block, struct arena *a) {
    bool has_prefix = memcmp(block + MAGIC_AT, "ustar\0", 6) == 0 && block[PREFIX_AT];
    int prefix = has_prefix ? (int)field_length(block + PREFIX_AT, PREFIX_BYTES) : 0;
    return arena_printf(a, NULL, "%.*s%s%.*s", prefix, (const char *)block + PREFIX_AT,
                        has_prefix ? "/" : "", (int)field_length(block + NAME_AT, NAME_BYTES),
                        (const char *)block + NAME_AT);
}

/* "<length> <key>=<value>\n", length counting all of it. */
static enum err read_record(struct tar *t, struct str *text, struct arena *a, struct extended *x) {
    size_t len = 0, i = 0;
    for (; i < text->len && text->ptr[i] >= '0' && text->ptr[i] <= '9' && len < MAX_EXTENDED_BYTES; i++)
        len = len * 10 + (size_t)(text->ptr[i] - '0');
    if (i == 0 || i >= text->len || text->ptr[i] != ' ' || len <= i + 1 || len > text->len ||
        text->ptr[len - 1] != '\n')
        return wrong(t, "a pax header is damaged");
    struct str record = {text->ptr + i + 1, len - i - 2};
    *text = str_from(*text, len);
    if (str_starts(record, STR("path="))) {
        struct str name = str_from(record, 5);
        if (memchr(name.ptr, 0, name.len)) return wrong(t, "a file's name holds a zero byte");
        x->name = arena_strndup(a, name.ptr, name.len);
        return x->name ? OK : ERR_MEMORY;
    }
    if (!str_starts(record, STR("size="))) return OK;
    x->has_size = true;
    x->size = 0;
    for (i = 5; i < record.len; i++) {
        if (record.ptr[i] < '0' || record.ptr[i] > '9' || x->size >> 55)
            return wrong(t, "a pax header has no valid size");
        x->size = x->size * 10 + (uint64_t)(record.ptr[i] - '0');
    }
    return OK;
}

/* A pax header ('x') or a GNU long name ('L') of the file that follows. */
static enum err read_extended(struct tar *t, struct arena *a, uint64_t size, char type,
                              struct extended *x) {
    if (size > MAX_EXTENDED_BYTES) return wrong(t, "an extended header is too long");
    char *bytes = arena_alloc(a, (size_t)size + 1);
    if (!bytes) return ERR_MEMORY;
    enum err e = take_all(t, bytes, size);
    if (!e) e = skip_padding(t, size);
    if (type == 'L') {
        if (!e) x->name = bytes; /* ends at its zero byte */
        return e;
    }
    struct str text = {bytes, (size_t)size};
    while (!e && text.len > 0) e = read_record(t, &text, a, x);
    return e;
}

static enum err read_file(struct tar *t, struct arena *a, uint64_t size, uint64_t max_bytes,
                          struct tar_file *out) {
    if (size > max_bytes) return ERR_LIMIT;
    char *bytes = arena_alloc(a, (size_t)size + 1);
    if (!bytes) return ERR_MEMORY;
    enum err e = take_all(t, bytes, size);
    out->bytes = (struct str){bytes, (size_t)size};
    return e ? e : skip_padding(t, size);
}

/* Links, devices, folders and pipes have no bytes, whatever their size says. */
static bool has_bytes(char type) { return type < '1' || type > '6'; }

/* *found: out is a plain file. Otherwise x was filled in, or an entry was passed over. */
static enum err read_entry(struct tar *t, struct arena *a, const uint8_t *block, uint64_t max_bytes,
                           struct extended *x, struct tar_file *out, bool *found) {
    uint64_t size;
    char type = (char)block[TYPE_AT];
    if (!sum_matches(block)) return wrong(t, "a header's checksum is wrong");
    if (!read_number(block + SIZE_AT, SIZE_BYTES, &size)) return wrong(t, "a header has no valid size");
    if (type == 'x' || type == 'L') return read_extended(t, a, size, type, x);
    if (type == 'S') return wrong(t, "sparse files are not supported");
    if (x->has_size) size = x->size;
    out->name = x->name ? x->name : header_name(block, a);
    *x = (struct extended){0};
    if (!out->name) return ERR_MEMORY;
    size_t len = strlen(out->name);
    bool folder = len > 0 && out->name[len - 1] == '/';
    if ((type == '0' || type == '7' || type == 0) && !folder) {
        *found = true;
        return len > TAR_MAX_NAME_BYTES ? wrong(t, "a file's name is too long")
                                        : read_file(t, a, size, max_bytes, out);
    }
    if (!has_bytes(type)) return OK;
    if (size > max_bytes) return ERR_LIMIT;
    enum err e = skip(t, size);
    return e ? e : skip_padding(t, size);
}

enum err tar_next(struct tar *t, struct arena *a, uint64_t max_bytes, struct tar_file *out) {
    struct extended x = {0};
    bool found = false;
    enum err e = OK;
    while (!e && !found) {
        uint8_t block[TAR_BLOCK_BYTES];
        uint64_t got;
        *out = (struct tar_file){0};
        if ((e = take(t, block, sizeof block, &got)) != OK) return e;
        if (got == 0 || (got == sizeof block && is_zero(block))) return OK;
        if (got < sizeof block) return wrong(t, "the archive ends inside a header");
        e = read_entry(t, a, block, max_bytes, &x, out, &found);
    }
    return e;
}
