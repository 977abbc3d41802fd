/* The store's files: names, whole writes, records with their MAC.
 *
 * in:   tenants' records; bytes from disk (whatever a crash, a bad disk or a stranger left there).
 * out:  files, records.
 * owns: nothing that outlives a call.
 *
 *   record: "RGNTREC1", MAC of the rest, sequence u64, highest serial u64, next, active, pinned, n
 * u32, tenant, then n times number u32, serial u64, stored_ns u64, digest 32, version, from,
 * sha256. Numbers little-endian; texts with length u32. */
#include "base/hash.h"
#include "base/reader.h"
#include "edge/store_private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAGIC_BYTES = 8, BODY_AT = MAGIC_BYTES + NODE_MAC_BYTES, MAX_TEXT_BYTES = 4096 };
static const char magic[] = "RGNTREC1";

/* ---- names ---- */

static bool plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Letters, digits, - and _ stand for themselves, other bytes as %XX; names that are too long are
 * hashed, behind a `~`. The record says whose it is. */
void store_name(struct str id, char out[STORE_NAME_BYTES]) {
    size_t n = 0;
    for (size_t i = 0; i < id.len && n + 4 < STORE_NAME_BYTES; i++)
        if (plain(id.ptr[i]))
            out[n++] = id.ptr[i];
        else
            n += (size_t)snprintf(out + n, 4, "%%%02X", (unsigned char)id.ptr[i]);
    out[n] = 0;
    if (n + 4 < STORE_NAME_BYTES) return;
    out[0] = '~';
    sha256_hex(id.ptr, id.len, out + 1);
}

bool store_path(const struct store *s, char out[STORE_PATH_BYTES], const char *format, ...) {
    va_list args;
    int n = snprintf(out, STORE_PATH_BYTES, "%s/", s->directory);
    va_start(args, format);
    int more = vsnprintf(out + n, STORE_PATH_BYTES - (size_t)n, format, args);
    va_end(args);
    return more >= 0 && n + more < STORE_PATH_BYTES;
}

/* ---- files ---- */

static bool write_all(int fd, struct str bytes) {
    for (size_t at = 0; at < bytes.len;) {
        ssize_t n = write(fd, bytes.ptr + at, bytes.len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC;
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

enum err store_write(struct store *s, const char *path, struct str bytes, char *why,
                     size_t why_bytes) {
    char temp[STORE_PATH_BYTES];
    unsigned long long number = atomic_fetch_add(&s->temporary, 1);
    if (!store_path(s, temp, "tmp/%llu", number)) return ERR_IO;
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool written = fd >= 0 && write_all(fd, bytes);
    int saved = errno;
    if (fd >= 0 && close(fd) != 0 && written) written = false, saved = errno;
    if (written && rename(temp, path) == 0) {
        atomic_fetch_add(&s->bytes_written, bytes.len);
        return OK;
    }
    if (written) saved = errno;
    if (fd >= 0) unlink(temp);
    snprintf(why, why_bytes, "cannot write %.256s: %s", path, strerror(saved));
    return ERR_IO;
}

enum err store_fsync(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return ERR_IO;
    bool synced = fsync(fd) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return synced ? OK : ERR_IO;
}

void store_delete_folder(const char *path) {
    char inner[STORE_PATH_BYTES];
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        int n = snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (n > 0 && (size_t)n < sizeof inner && strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            unlink(inner);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

static bool names(const struct held *h, unsigned long number) {
    for (uint32_t i = 0; i < h->n; i++)
        if (h->versions[i].number == number) return true;
    for (uint32_t i = 0; i < h->doomed.n; i++)
        if (h->doomed.items[i].number == number) return true;
    return false;
}

void store_sweep(struct store *s, struct held *h) {
    char folder[STORE_PATH_BYTES], path[STORE_PATH_BYTES];
    DIR *dir = store_path(s, folder, "tenants/%s", h->name) ? opendir(folder) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *end;
        unsigned long number = strtoul(e->d_name, &end, 10);
        if (end == e->d_name || strcmp(end, ".bundle") != 0 || names(h, number)) continue;
        if (store_path(s, path, "tenants/%s/%lu.bundle", h->name, number)) unlink(path);
    }
    if (dir) closedir(dir);
    h->swept = true;
}

/* ---- records ---- */

static void put_u32(struct buf *b, uint32_t v) {
    for (int i = 0; i < 32; i += 8) buf_byte(b, (uint8_t)(v >> i));
}

static void put_u64(struct buf *b, uint64_t v) {
    put_u32(b, (uint32_t)v);
    put_u32(b, (uint32_t)(v >> 32));
}

static void put_text(struct buf *b, struct str s) {
    put_u32(b, (uint32_t)s.len);
    buf_str(b, s);
}

static void print_record(const struct held *h, struct buf *out) {
    put_u64(out, h->sequence);
    put_u64(out, h->highest_serial);
    put_u32(out, h->next);
    put_u32(out, h->active);
    put_u32(out, h->pinned);
    put_u32(out, h->n);
    put_text(out, h->id);
    for (uint32_t i = 0; i < h->n; i++) {
        const struct store_version *v = &h->versions[i];
        put_u32(out, v->number);
        put_u64(out, v->is.serial);
        put_u64(out, (uint64_t)v->is.stored_ns);
        buf_put(out, v->digest, sizeof v->digest);
        put_text(out, v->is.version);
        put_text(out, v->is.from);
        put_text(out, v->is.sha256);
    }
}

static void sign(const struct store *s, struct str body, uint8_t mac[NODE_MAC_BYTES]) {
    const struct str parts[] = {STR("record"), body};
    node_mac(s->key, parts, 2, mac);
}

enum err store_record_write(struct store *s, struct held *h, char *why, size_t why_bytes) {
    char path[STORE_PATH_BYTES];
    uint8_t mac[NODE_MAC_BYTES] = {0};
    struct buf b;
    int slot = h->slot < 0 ? 0 : h->durable ? 1 - h->slot : h->slot;
    buf_init(&b, STORE_RECORD_BYTES);
    buf_put(&b, magic, MAGIC_BYTES);
    buf_put(&b, mac, sizeof mac);
    h->sequence++;
    print_record(h, &b);
    enum err e = b.err                                                        ? b.err
                 : store_path(s, path, "tenants/%s/record.%d", h->name, slot) ? OK
                                                                              : ERR_IO;
    if (!e) {
        sign(s, str_from(buf_view(&b), BODY_AT), mac);
        memcpy(b.ptr + MAGIC_BYTES, mac, sizeof mac);
        e = store_write(s, path, buf_view(&b), why, why_bytes);
    } else {
        snprintf(why, why_bytes, "the record of its versions is too long");
    }
    buf_deinit(&b);
    if (e) return h->sequence--, e;
    h->slot = slot;
    h->durable = false;
    return OK;
}

void store_record_clear(struct held *h) {
    for (uint32_t i = 0; i < h->n; i++) free(h->versions[i].text);
    free(h->versions);
    free(h->doomed.items);
    h->versions = NULL;
    h->doomed = (struct store_doomed){0};
    h->n = h->cap = h->next = h->active = h->pinned = 0;
    h->highest_serial = h->sequence = 0;
    h->slot = -1;
    h->durable = false;
}

char *store_version_text(struct stored *v) {
    struct str *texts[] = {&v->version, &v->from, &v->sha256};
    char *copy = malloc(v->version.len + v->from.len + v->sha256.len + 1), *at = copy;
    for (int i = 0; copy && i < 3; i++) {
        if (texts[i]->len) memcpy(at, texts[i]->ptr, texts[i]->len);
        texts[i]->ptr = at;
        at += texts[i]->len;
    }
    return copy;
}

static struct str read_text(struct reader *r) {
    uint32_t n = reader_u32le(r);
    if (n > MAX_TEXT_BYTES) r->failed = true;
    return r->failed ? STR("") : reader_bytes(r, n);
}

static bool read_version(struct reader *r, struct store_version *v) {
    v->number = reader_u32le(r);
    v->is.serial = reader_u64le(r);
    v->is.stored_ns = (int64_t)reader_u64le(r);
    struct str digest = reader_bytes(r, sizeof v->digest),
               *texts[] = {&v->is.version, &v->is.from, &v->is.sha256};
    for (int i = 0; i < 3; i++) *texts[i] = read_text(r);
    if (r->failed || !v->number) return false;
    memcpy(v->digest, digest.ptr, digest.len);
    return (v->text = store_version_text(&v->is)) != NULL;
}

enum err store_record_parse(struct str bytes, struct held *h) {
    struct reader r = reader_of(bytes.ptr, bytes.len);
    h->sequence = reader_u64le(&r);
    h->highest_serial = reader_u64le(&r);
    h->next = reader_u32le(&r);
    h->active = reader_u32le(&r);
    h->pinned = reader_u32le(&r);
    uint32_t n = reader_u32le(&r);
    struct str id = read_text(&r);
    if (r.failed || n > STORE_MAX_VERSIONS) return ERR_INVALID;
    if (!h->id.ptr) {
        char *copy = malloc(id.len + 1);
        if (!copy) return ERR_MEMORY;
        memcpy(copy, id.ptr, id.len);
        copy[id.len] = 0;
        h->id = (struct str){copy, id.len};
    }
    if (!str_eq(id, h->id)) return ERR_INVALID;
    if (n && !(h->versions = calloc(n, sizeof *h->versions))) return ERR_MEMORY;
    for (h->cap = n; h->n < n; h->n++)
        if (!read_version(&r, &h->versions[h->n])) return r.failed ? ERR_INVALID : ERR_MEMORY;
    return reader_left(&r) ? ERR_INVALID : OK;
}

/* One slot into h, whose id may be set by it. ERR_NOT_FOUND: there is no file. */
static enum err read_slot(struct store *s, struct held *h, int slot) {
    char path[STORE_PATH_BYTES], name[STORE_NAME_BYTES];
    uint8_t mac[NODE_MAC_BYTES];
    struct buf b;
    if (!store_path(s, path, "tenants/%s/record.%d", h->name, slot)) return ERR_IO;
    buf_init(&b, STORE_RECORD_BYTES);
    errno = 0;
    enum err e = buf_read_file(&b, path);
    if (e == ERR_IO) e = errno == ENOENT ? ERR_NOT_FOUND : ERR_INVALID;
    if (!e && (b.len < BODY_AT || memcmp(b.ptr, magic, MAGIC_BYTES) != 0)) e = ERR_INVALID;
    if (!e) {
        sign(s, str_from(buf_view(&b), BODY_AT), mac);
        if (!node_mac_equal(mac, b.ptr + MAGIC_BYTES)) e = ERR_INVALID;
    }
    if (!e) e = store_record_parse(str_from(buf_view(&b), BODY_AT), h);
    buf_deinit(&b);
    if (!e) {
        store_name(h->id, name); /* a record in another tenant's folder */
        if (strcmp(name, h->name) != 0) e = ERR_INVALID;
    }
    if (!e) h->slot = slot;
    return e;
}

enum err store_record_read(struct store *s, struct held *h, bool *damaged) {
    struct held read[2];
    enum err e = OK;
    int best = -1;
    *damaged = false;
    for (int i = 0; i < 2 && e != ERR_MEMORY; i++) {
        read[i] = (struct held){.slot = -1};
        memcpy(read[i].name, h->name, sizeof h->name);
        e = read_slot(s, &read[i], i);
        if (e == ERR_INVALID || e == ERR_LIMIT) *damaged = true;
        if (!e && (best < 0 || read[i].sequence > read[best].sequence)) best = i;
        if (e == ERR_MEMORY && i == 0) read[1] = (struct held){.slot = -1};
    }
    for (int i = 0; i < 2; i++) {
        if (i == best && e != ERR_MEMORY) continue;
        store_record_clear(&read[i]);
        free((void *)read[i].id.ptr);
    }
    if (e == ERR_MEMORY) return e;
    if (best < 0) return OK;
    h->versions = read[best].versions;
    h->n = h->cap = read[best].n;
    h->next = read[best].next;
    h->active = read[best].active;
    h->pinned = read[best].pinned;
    h->highest_serial = read[best].highest_serial;
    h->sequence = read[best].sequence;
    h->slot = best;
    h->id = read[best].id;
    return OK;
}
