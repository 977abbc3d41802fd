/* Compiled code on disk: one file a key under cache_dir, authenticated by HMAC-SHA256 with a key
 * that was drawn on this node. A file that fails any check is as good as none: its code is compiled
 * anew.
 *
 * in:   engine.options.cache_dir (created 0700 when missing).
 * out:  wasmtime modules.
 * owns: nothing that outlives a call.
 *
 *   bytes 0..8 "RGNTCOD1", 8..40 code key, 40..72 MAC of key and payload, 72.. payload (wasmtime's
 * form) */
#include "base/buf.h"
#include "host/engine.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAGIC_BYTES = 8,
    MAC_BYTES = 32,
    MAC_AT = MAGIC_BYTES + CODE_KEY_BYTES,
    PAYLOAD_AT = MAC_AT + MAC_BYTES,
    KEY_FILE_BYTES = 32
};
#define MAX_FILE_BYTES ((size_t)1 << 30)

static bool read_exactly(int fd, uint8_t *to, size_t len) {
    size_t done = 0;
    while (done < len) {
        ssize_t n = read(fd, to + done, len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* The key counts only when it is a plain file of ours that nobody else may read or write. */
static bool key_read(const char *path, uint8_t key[KEY_FILE_BYTES]) {
    struct stat s;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return false;
    bool ok = fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid() &&
              (s.st_mode & 077) == 0 && s.st_size == KEY_FILE_BYTES &&
              read_exactly(fd, key, KEY_FILE_BYTES);
    close(fd);
    return ok;
}

/* Draws a key beside `path` and links it there, so that of two processes one wins and no reader
 * sees half. */
static void key_create(const char *path) {
    char temp[4096];
    uint8_t key[KEY_FILE_BYTES];
    if (snprintf(temp, sizeof temp, "%s.%ld", path, (long)getpid()) >= (int)sizeof temp) return;
    if (RAND_bytes(key, sizeof key) != 1) return;
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return;
    bool ok = write(fd, key, sizeof key) == sizeof key && fsync(fd) == 0;
    close(fd);
    if (ok && link(temp, path) != 0) ok = false;
    unlink(temp);
    OPENSSL_cleanse(key, sizeof key);
}

bool disk_open(struct engine *e) {
    char path[4096];
    if (mkdir(e->options.cache_dir, 0700) != 0 && errno != EEXIST) goto refused;
    if (snprintf(path, sizeof path, "%s/node.key", e->options.cache_dir) >= (int)sizeof path)
        return false;
    if (key_read(path, e->mac_key)) return true;
    if (access(path, F_OK) != 0) {
        key_create(path);
        if (key_read(path, e->mac_key)) return true;
    }
refused:
    if (e->options.log)
        log_line(e->options.log, LOG_WARN, "code cache not usable", "dir", e->options.cache_dir,
                 NULL);
    return false;
}

static bool code_path(const struct engine *e, const uint8_t *key, char *path, size_t size) {
    int n = snprintf(path, size, "%s/", e->options.cache_dir);
    if (n < 0 || (size_t)n + 2 * CODE_KEY_BYTES + 6 > size) return false;
    for (int i = 0; i < CODE_KEY_BYTES; i++) n += snprintf(path + n, 3, "%02x", key[i]);
    snprintf(path + n, 6, ".code");
    return true;
}

static bool code_mac(const struct engine *e, const uint8_t *key, const uint8_t *payload, size_t len,
                     uint8_t mac[MAC_BYTES]) {
    size_t mac_len = 0;
    bool ok = false;
    EVP_PKEY *pkey =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, e->mac_key, sizeof e->mac_key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!pkey || !ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey) != 1) goto out;
    if (EVP_DigestSignUpdate(ctx, key, CODE_KEY_BYTES) != 1) goto out;
    if (EVP_DigestSignUpdate(ctx, payload, len) != 1) goto out;
    mac_len = MAC_BYTES;
    ok = EVP_DigestSignFinal(ctx, mac, &mac_len) == 1 && mac_len == MAC_BYTES;
out:
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return ok;
}

static bool file_genuine(const struct engine *e, const uint8_t *key, const struct buf *b) {
    uint8_t mac[MAC_BYTES];
    if (b->len < PAYLOAD_AT || memcmp(b->ptr, "RGNTCOD1", MAGIC_BYTES) != 0) return false;
    if (memcmp(b->ptr + MAGIC_BYTES, key, CODE_KEY_BYTES) != 0) return false;
    if (!code_mac(e, key, b->ptr + PAYLOAD_AT, b->len - PAYLOAD_AT, mac)) return false;
    return CRYPTO_memcmp(mac, b->ptr + MAC_AT, MAC_BYTES) == 0;
}

wasmtime_module_t *disk_load(struct engine *e, const uint8_t key[CODE_KEY_BYTES]) {
    char path[4096];
    struct buf b;
    wasmtime_module_t *module = NULL;
    wasmtime_error_t *error;
    if (!e->has_disk || !code_path(e, key, path, sizeof path)) return NULL;
    buf_init(&b, MAX_FILE_BYTES);
    if (buf_read_file(&b, path) != OK) goto out;
    if (!file_genuine(e, key, &b)) {
        if (e->options.log)
            log_line(e->options.log, LOG_WARN, "compiled code refused: wrong MAC", "file", path,
                     NULL);
        goto out;
    }
    error = wasmtime_module_deserialize(e->wasm, b.ptr + PAYLOAD_AT, b.len - PAYLOAD_AT, &module);
    if (error) { /* another build of wasmtime, or another CPU */
        wasmtime_error_delete(error);
        module = NULL;
    }
out:
    buf_deinit(&b);
    return module;
}

void disk_store(struct engine *e, const uint8_t key[CODE_KEY_BYTES], const wasmtime_module_t *m) {
    char path[4096];
    uint8_t mac[MAC_BYTES];
    wasm_byte_vec_t bytes;
    wasmtime_error_t *error;
    struct buf b;
    if (!e->has_disk || !code_path(e, key, path, sizeof path)) return;
    error = wasmtime_module_serialize(m, &bytes);
    if (error) {
        wasmtime_error_delete(error);
        return;
    }
    buf_init(&b, MAX_FILE_BYTES);
    if (code_mac(e, key, (const uint8_t *)bytes.data, bytes.size, mac)) {
        buf_put(&b, "RGNTCOD1", MAGIC_BYTES);
        buf_put(&b, key, CODE_KEY_BYTES);
        buf_put(&b, mac, MAC_BYTES);
        buf_put(&b, bytes.data, bytes.size);
        if ((b.err != OK || file_write_atomic(path, buf_view(&b)) != OK) && e->options.log)
            log_line(e->options.log, LOG_WARN, "compiled code not stored", "file", path, NULL);
    }
    buf_deinit(&b);
    wasm_byte_vec_delete(&bytes);
}
