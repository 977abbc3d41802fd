/* A published bundle without its modules.
 * in: a bundle's bytes. out: those of another one, with its own signature. owns: nothing. */
#include "control/bundle_rego.h"

enum { MANIFEST_BYTES = 4 << 20 };

static bool is_for_rego(struct str path) {
    return !str_ends(path, STR(".wasm")) && !str_is(path, "/.signatures.json") &&
           !str_is(path, "/checks.json") && !str_is(path, "/.manifest");
}

static enum err print_manifest(struct arena *a, const struct json *manifest, struct str *out) {
    struct json *without = json_object(a);
    struct buf text;
    if (!without) return ERR_MEMORY;
    for (uint32_t i = 0; i < manifest->n; i++)
        if (!str_is(manifest->keys[i], "wasm"))
            json_append(a, without, manifest->keys[i], manifest->items[i]);
    buf_init(&text, MANIFEST_BYTES);
    json_print(without, true, 0, &text);
    enum err e = text.err;
    char *copy = e ? NULL : arena_strndup(a, (const char *)text.ptr, text.len);
    if (!e && !copy) e = ERR_MEMORY;
    if (!e) *out = (struct str){copy, text.len};
    buf_deinit(&text);
    return e;
}

enum err bundle_rego(struct arena *a, const struct signer *signer, struct str bytes,
                     struct buf *out) {
    struct diag_list diags;
    struct bundle b;
    struct {
        struct bundle_file *items;
        uint32_t n, cap;
    } files = {0};
    struct bundle_file manifest = {STR("/.manifest"), STR("{}")},
                       signatures = {STR("/.signatures.json"), STR("")};
    diag_list_init(&diags, a);
    enum err e = bundle_read(a, bytes, &b, &diags);
    if (!e) e = print_manifest(a, b.manifest, &manifest.bytes);
    if (e) return e;
    uint32_t wanted = 1;
    for (uint32_t i = 0; i < b.files.n; i++) {
        if (!is_for_rego(b.files.items[i].path)) continue;
        ARENA_PUSH(a, &files, b.files.items[i]);
        wanted++;
    }
    ARENA_PUSH(a, &files, manifest);
    if (signer && !(e = signer_sign(signer, a, files.items, files.n, &signatures.bytes))) {
        ARENA_PUSH(a, &files, signatures);
        wanted++;
    }
    if (!e && files.n != wanted) e = ERR_MEMORY;
    return e ? e : bundle_write(files.items, files.n, out);
}
