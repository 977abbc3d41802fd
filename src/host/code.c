/* Compiled code: found in memory by key (counted), else made at build time (the runtime), else read
 * from disk, else compiled; once for all threads.
 *
 * in:   module bytes without data and custom sections.
 * out:  struct code, shared by every policy with the same key.
 * owns: the entries of engine.buckets. Key = SHA-256 of engine settings and module hash. */
#include "base/hash.h"
#include "host/engine.h"
#include <stdlib.h>

extern const uint8_t runtime_wasm_start[], runtime_wasm_end[];
/* The runtime's machine code, made at build time for the default settings; may be empty. */
extern const uint8_t runtime_code_start[], runtime_code_end[];

static void code_key(const struct engine *e, struct str wasm, uint8_t key[CODE_KEY_BYTES]) {
    uint8_t text[sizeof e->settings + 32];
    memcpy(text, e->settings, sizeof e->settings);
    sha256(wasm.ptr, wasm.len, text + sizeof e->settings);
    sha256(text, sizeof text, key);
}

static struct code **code_slot(struct engine *e, const uint8_t key[CODE_KEY_BYTES]) {
    struct code **at = &e->buckets[(key[0] | key[1] << 8) % CODE_BUCKETS];
    while (*at && memcmp((*at)->key, key, CODE_KEY_BYTES) != 0) at = &(*at)->next;
    return at;
}

/* The entry for key, with one more count; *mine when the caller is to fill it. NULL: no memory. */
static struct code *code_enter(struct engine *e, const uint8_t key[CODE_KEY_BYTES], bool *mine) {
    struct code **slot, *c;
    pthread_mutex_lock(&e->code_lock);
    while ((c = *(slot = code_slot(e, key))) && !c->ready)
        pthread_cond_wait(&e->code_ready, &e->code_lock);
    *mine = !c;
    if (!c && (c = calloc(1, sizeof *c))) {
        memcpy(c->key, key, CODE_KEY_BYTES);
        *slot = c;
    }
    if (c) c->refs++;
    pthread_mutex_unlock(&e->code_lock);
    return c;
}

static void code_unlink(struct engine *e, struct code *c) {
    struct code **slot = code_slot(e, c->key);
    *slot = c->next;
    if (c->module) wasmtime_module_delete(c->module);
    free(c);
}

/* Publishes the outcome: ready for waiters, or gone, so that one of them tries again. */
static void code_settle(struct engine *e, struct code *c, wasmtime_module_t *module) {
    pthread_mutex_lock(&e->code_lock);
    c->module = module;
    c->ready = true;
    if (!module) code_unlink(e, c);
    pthread_cond_broadcast(&e->code_ready);
    pthread_mutex_unlock(&e->code_lock);
}

static wasmtime_module_t *code_compile(struct engine *e, struct str wasm,
                                       struct load_message *message) {
    wasmtime_module_t *module = NULL;
    wasmtime_error_t *error =
        wasmtime_module_new(e->wasm, (const uint8_t *)wasm.ptr, wasm.len, &module);
    if (!error) return module;
    load_say_error(message, "module does not validate", error);
    return NULL;
}

/* NULL when the code was made for other settings, another wasmtime or a better CPU. */
static wasmtime_module_t *code_ready_made(struct engine *e, struct str ready) {
    wasmtime_module_t *module = NULL;
    if (!ready.len) return NULL;
    wasmtime_error_t *error =
        wasmtime_module_deserialize(e->wasm, (const uint8_t *)ready.ptr, ready.len, &module);
    if (!error) return module;
    wasmtime_error_delete(error);
    return NULL;
}

/* As code_acquire; `ready` is trusted machine code of `wasm`, tried before all else. */
static enum err code_obtain(struct engine *e, struct str wasm, struct str ready, struct code **out,
                            struct code_origin *origin, struct load_message *message) {
    uint8_t key[CODE_KEY_BYTES];
    uint64_t start = clock_ns();
    bool mine;
    void *from, *to;
    wasmtime_module_t *module;
    code_key(e, wasm, key);
    struct code *c = code_enter(e, key, &mine);
    if (!c) return ERR_MEMORY;
    *origin = (struct code_origin){CODE_FROM_MEMORY, 0};
    if (!mine) {
        *out = c;
        return OK;
    }
    origin->from = CODE_FROM_DISK;
    module = code_ready_made(e, ready);
    if (!module) module = disk_load(e, key);
    if (!module) {
        origin->from = CODE_COMPILED;
        module = code_compile(e, wasm, message);
        if (module) disk_store(e, key, module);
    }
    if (module) {
        wasmtime_module_image_range(module, &from, &to);
        c->bytes = (uint64_t)((uint8_t *)to - (uint8_t *)from);
    }
    code_settle(e, c, module);
    if (!module) return ERR_INVALID;
    origin->compile_us = (clock_ns() - start) / 1000;
    *out = c;
    return OK;
}

enum err code_acquire(struct engine *e, struct str wasm, struct code **out,
                      struct code_origin *origin, struct load_message *message) {
    return code_obtain(e, wasm, STR(""), out, origin, message);
}

void code_release(struct engine *e, struct code *c) {
    if (!c) return;
    pthread_mutex_lock(&e->code_lock);
    if (--c->refs == 0) code_unlink(e, c);
    pthread_mutex_unlock(&e->code_lock);
}

enum err code_runtime(struct engine *e, struct code **out, struct load_message *message) {
    struct code_origin origin;
    struct str wasm = {(const char *)runtime_wasm_start,
                       (size_t)(runtime_wasm_end - runtime_wasm_start)};
    struct str ready = {(const char *)runtime_code_start,
                        (size_t)(runtime_code_end - runtime_code_start)};
    return code_obtain(e, wasm, ready, out, &origin, message);
}

enum err code_memory(struct engine *e, struct code **out, struct load_message *message) {
    /* (module (memory (export "memory") 1)) */
    static const char wasm[] = "\0asm\1\0\0\0"
                               "\5\3\1\0\1"
                               "\7\12\1\6memory\2\0";
    struct code_origin origin;
    return code_acquire(e, (struct str){wasm, sizeof wasm - 1}, out, &origin, message);
}
