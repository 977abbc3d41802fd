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
#include "base/node_key.h"
#include "host/engine.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAGIC_BYTES = 8,
    MAC_BYTES = NODE_MAC_BYTES,
    MAC_AT = MAGIC_BYTES + CODE_KEY_BYTES,
    PAYLOAD_AT = MAC_AT + MAC_BYTES
};
#define MAX_FILE_BYTES ((size_t)1 << 30)

bool disk_open(struct engine *e) {
    char path[4096];
    if (mkdir(e->options.cache_dir, 0700) != 0 && errno != EEXIST) goto refused;
    if (snprintf(path, sizeof path, "%s/node.key", e->options.cache_dir) >= (int)sizeof path)
        return false;
    if (node_key_open(path, e->mac_key) == OK) return true;
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

static void code_mac(const struct engine *e, const uint8_t *key, const uint8_t *payload, size_t len,
                     uint8_t mac[MAC_BYTES]) {
    const struct str parts[] = {{(const char *)key, CODE_KEY_BYTES}, {(const char *)payload, len}};
    node_mac(e->mac_key, parts, 2, mac);
}

static bool file_genuine(const struct engine *e, const uint8_t *key, const struct buf *b) {
    uint8_t mac[MAC_BYTES];
    if (b->len < PAYLOAD_AT || memcmp(b->ptr, "RGNTCOD1", MAGIC_BYTES) != 0) return false;
    if (memcmp(b->ptr + MAGIC_BYTES, key, CODE_KEY_BYTES) != 0) return false;
    code_mac(e, key, b->ptr + PAYLOAD_AT, b->len - PAYLOAD_AT, mac);
    return node_mac_equal(mac, b->ptr + MAC_AT);
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
    code_mac(e, key, (const uint8_t *)bytes.data, bytes.size, mac);
    buf_put(&b, "RGNTCOD1", MAGIC_BYTES);
    buf_put(&b, key, CODE_KEY_BYTES);
    buf_put(&b, mac, MAC_BYTES);
    buf_put(&b, bytes.data, bytes.size);
    if ((b.err != OK || file_write_atomic(path, buf_view(&b)) != OK) && e->options.log)
        log_line(e->options.log, LOG_WARN, "compiled code not stored", "file", path, NULL);
    buf_deinit(&b);
    wasm_byte_vec_delete(&bytes);
}
