/* Machine code: found in memory by key (counted), else made at build time (the runtime), else read
 * from disk, else compiled; once for all threads.
 *
 * in:   module bytes without data and custom sections.
 * out:  struct code, shared by every policy with the same key.
 * owns: the entries of engine.buckets. Key = SHA-256 of engine settings and module hash. */
#include "base/hash.h"
#include "host/engine.h"
#include <elf.h>
#include <stdlib.h>

enum { FETCH_BYTES = 8192, LINE_BYTES = 64 };

extern const uint8_t runtime_wasm_start[], runtime_wasm_end[];
extern const char runtime_sha256[]; /* of these bytes, in hex */
/* The runtime's machine code, made at build time for the default settings; may be empty. */
extern const uint8_t runtime_code_start[], runtime_code_end[];

static uint8_t hex_value(char c) { return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10); }

/* The runtime's hash is known since it was built; it is long, and asked for with each thin module. */
static void code_key(const struct engine *e, struct str wasm, uint8_t key[CODE_KEY_BYTES]) {
    uint8_t text[sizeof e->settings + 32], *hash = text + sizeof e->settings;
    memcpy(text, e->settings, sizeof e->settings);
    if (wasm.ptr == (const char *)runtime_wasm_start)
        for (int i = 0; i < 32; i++)
            hash[i] = (uint8_t)(hex_value(runtime_sha256[2 * i]) << 4 | hex_value(runtime_sha256[2 * i + 1]));
    else
        sha256(wasm.ptr, wasm.len, hash);
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
    if (c) {
        c->refs++;
        atomic_fetch_add(&c->policies, 1);
    }
    pthread_mutex_unlock(&e->code_lock);
    return c;
}

void code_free(struct code *c) {
    if (c->pre) wasmtime_instance_pre_delete(c->pre);
    if (c->module) wasmtime_module_delete(c->module);
    free(c->imports);
    free(c);
}

static void code_unlink(struct engine *e, struct code *c) {
    struct code **slot = code_slot(e, c->key);
    *slot = c->next;
    code_free(c);
}

/* Publishes the outcome: ready for waiters, or gone, so that one of them tries again. */
static void code_settle(struct engine *e, struct code *c, bool ok) {
    pthread_mutex_lock(&e->code_lock);
    c->ready = true;
    if (!ok) code_unlink(e, c);
    pthread_cond_broadcast(&e->code_ready);
    pthread_mutex_unlock(&e->code_lock);
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

/* Numbers of what the module imports; checked before anything is compiled. */
static enum err number_imports(struct engine *e, struct code *c, const struct module_info *info,
                               struct load_message *message) {
    c->stateless = info->stateless;
    c->n_imports = info->imports.n;
    c->imports = calloc(info->imports.n + 1, sizeof *c->imports);
    if (!c->imports) return ERR_MEMORY;
    for (uint32_t i = 0; i < info->imports.n; i++) {
        const struct module_import *im = &info->imports.items[i];
        c->imports[i] = offers_find(&e->offers, im);
        if (c->imports[i] != OFFER_NONE) continue;
        load_say(message, "import %.*s.%.*s is not offered by this host",
                 (int)(im->module.len < 100 ? im->module.len : 100), im->module.ptr,
                 (int)(im->name.len < 100 ? im->name.len : 100), im->name.ptr);
        return ERR_ABI;
    }
    return OK;
}

/* What code_obtain is given. */
struct code_wanted {
    const struct module_info *info;
    struct str wasm, ready; /* ready: trusted machine code of wasm, tried before all else; may be empty */
    uint64_t max_compile_us;
};

/* wasmtime's image is an ELF file in memory: its executable section. */
static void find_text(struct code *c, const uint8_t *image) {
    Elf64_Ehdr head;
    if (c->bytes < sizeof head) return;
    memcpy(&head, image, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return;
    for (uint64_t i = 0, at = head.e_shoff; i < head.e_shnum; i++, at += sizeof(Elf64_Shdr)) {
        Elf64_Shdr section;
        if (at > c->bytes - sizeof section) return;
        memcpy(&section, image + at, sizeof section);
        if (!(section.sh_flags & SHF_EXECINSTR) || section.sh_offset > c->bytes) continue;
        if (section.sh_size > c->bytes - section.sh_offset) continue;
        c->text = image + section.sh_offset;
        c->text_bytes = section.sh_size;
    }
}

static enum err code_fill(struct engine *e, struct code *c, const struct code_wanted *w, struct code_origin *origin,
                          struct load_message *message) {
    void *from, *to;
    enum err err = number_imports(e, c, w->info, message);
    if (err) return err;
    origin->from = CODE_FROM_DISK;
    c->module = code_ready_made(e, w->ready);
    if (!c->module) c->module = disk_load(e, c->key);
    if (!c->module) {
        origin->from = CODE_COMPILED;
        if ((err = code_compile(e, w->wasm, w->max_compile_us, &c->module, message))) return err;
        disk_store(e, c->key, c->module);
    }
    wasmtime_module_image_range(c->module, &from, &to);
    c->bytes = (uint64_t)((uint8_t *)to - (uint8_t *)from);
    find_text(c, from);
    return OK;
}

void code_fetch(const struct code *c) {
    size_t most = c->text_bytes < FETCH_BYTES ? c->text_bytes : FETCH_BYTES;
    for (size_t i = 0; i < most; i += LINE_BYTES) __builtin_prefetch(c->text + i);
}

static enum err code_obtain(struct engine *e, const struct code_wanted *w, struct code **out,
                            struct code_origin *origin, struct load_message *message) {
    uint8_t key[CODE_KEY_BYTES];
    uint64_t start = clock_ns();
    bool mine;
    code_key(e, w->wasm, key);
    struct code *c = code_enter(e, key, &mine);
    if (!c) return ERR_MEMORY;
    *origin = (struct code_origin){CODE_FROM_MEMORY, 0};
    if (mine) {
        enum err err = code_fill(e, c, w, origin, message);
        code_settle(e, c, !err);
        if (err) return err;
        origin->compile_us = (clock_ns() - start) / 1000;
    }
    atomic_fetch_add_explicit(&e->counts.code_from[origin->from], 1, memory_order_relaxed);
    *out = c;
    return OK;
}

enum err code_acquire(struct engine *e, const struct module_info *info, uint64_t max_compile_us,
                      struct code **out, struct code_origin *origin, struct load_message *message) {
    struct code_wanted w = {info, buf_view(&info->code), STR(""), max_compile_us};
    return code_obtain(e, &w, out, origin, message);
}

void code_hold(struct engine *e, struct code *c) {
    pthread_mutex_lock(&e->code_lock);
    c->refs++;
    pthread_mutex_unlock(&e->code_lock);
}

void code_drop(struct engine *e, struct code *c) {
    pthread_mutex_lock(&e->code_lock);
    if (--c->refs == 0) code_unlink(e, c);
    pthread_mutex_unlock(&e->code_lock);
}

void code_release(struct engine *e, struct code *c) {
    if (!c) return;
    atomic_fetch_sub(&c->policies, 1);
    code_drop(e, c);
}

/* Its imports, which are env's, are met once for all instances. */
static enum err code_base(struct engine *e, const struct code_wanted *w, struct code **out,
                          struct load_message *message) {
    struct code_origin origin;
    enum err err = code_obtain(e, w, out, &origin, message);
    if (err) return err;
    pthread_mutex_lock(&e->code_lock);
    wasmtime_error_t *error =
        (*out)->pre ? NULL : wasmtime_linker_instantiate_pre(e->linker, (*out)->module, &(*out)->pre);
    pthread_mutex_unlock(&e->code_lock);
    if (!error) return OK;
    load_say_error(message, "the runtime cannot be linked", error);
    code_release(e, *out);
    *out = NULL;
    return ERR_INTERNAL;
}

struct str runtime_module(void) {
    return (struct str){(const char *)runtime_wasm_start, (size_t)(runtime_wasm_end - runtime_wasm_start)};
}

enum err code_runtime(struct engine *e, struct code **out, struct load_message *message) {
    static const struct module_info info = {.form = MODULE_FULL};
    struct code_wanted w = {&info, runtime_module(), {(const char *)runtime_code_start, 0}, 0};
    w.ready.len = (size_t)(runtime_code_end - runtime_code_start);
    return code_base(e, &w, out, message);
}

enum err code_memory(struct engine *e, struct code **out, struct load_message *message) {
    /* (module (memory (export "memory") 1)) */
    static const char wasm[] = "\0asm\1\0\0\0"
                               "\5\3\1\0\1"
                               "\7\12\1\6memory\2\0";
    static const struct module_info info = {.form = MODULE_FULL};
    struct code_wanted w = {&info, {wasm, sizeof wasm - 1}, STR(""), 0};
    return code_base(e, &w, out, message);
}
