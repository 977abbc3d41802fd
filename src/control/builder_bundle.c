/* What goes into a tenant's bundle besides modules, the digests that tell whether anything changed,
 * and the archive. in: a run with its files and entrypoints chosen. out: bundle.tar.gz. owns: the
 * archive's buffer during a call. */
#include "control/builder_private.h"
#include <stdio.h>
#include <string.h>

enum { OUTPUT_BYTES = 1 << 30, REVISION_DIGITS = 12, FILES_BESIDES = 6 };

static struct str work_copy(struct run *r, struct str s) {
    return (struct str){arena_strndup(&r->b->work, s.ptr, s.len), s.len};
}

static struct str printed(struct run *r, const struct json *v) {
    buf_clear(&r->text);
    json_print(v, true, 0, &r->text);
    return work_copy(r, buf_view(&r->text));
}

/* ---- manifest ---- */

static struct str manifest(struct run *r, struct str revision) {
    struct arena *a = &r->b->work;
    struct json *m = json_object(a), *roots = json_array(a), *wasm = json_array(a);
    json_push(a, roots, json_string(a, STR("")));
    for (uint32_t i = 0; i < r->entrypoints.n; i++) {
        struct json *e = json_object(a);
        json_append(a, e, STR("entrypoint"), json_string(a, r->entrypoints.items[i]));
        json_append(a, e, STR("module"), json_string(a, STR("/policy.wasm")));
        json_push(a, wasm, e);
    }
    json_append(a, m, STR("revision"), json_string(a, revision));
    json_append(a, m, STR("roots"), roots);
    json_append(a, m, STR("wasm"), wasm);
    json_append(a, m, STR("rego_version"), json_int(a, 1));
    if (r->in->limits && r->in->limits->kind == JSON_OBJECT && r->in->limits->n) {
        struct json *metadata = json_object(a), *regent = json_object(a);
        struct json *limits = arena_copy(a, r->in->limits, sizeof *r->in->limits);
        json_append(a, regent, STR("limits"), limits);
        json_append(a, metadata, STR("regent"), regent);
        json_append(a, m, STR("metadata"), metadata);
    }
    return printed(r, m);
}

/* ---- digests ---- */

static void put_part(struct buf *b, struct str s) {
    buf_printf(b, "%zu:", s.len);
    buf_str(b, s);
    buf_byte(b, '\n');
}

/* Of all that modules are made from. */
static void digest_code(struct run *r, struct str compiler) {
    struct buf *b = &r->text;
    buf_clear(b);
    buf_str(b, compiler);
    for (uint32_t i = 0; i < r->in->n_files; i++) {
        uint32_t f = r->order[i];
        if (!r->shipped[f]) continue;
        put_part(b, r->in->files[f].name);
        buf_put(b, r->outlines[f]->sha256, sizeof r->outlines[f]->sha256);
    }
    for (uint32_t i = 0; i < r->entrypoints.n; i++) put_part(b, r->entrypoints.items[i]);
    buf_byte(b, '{');
    if (r->in->parameters) json_print(r->in->parameters, true, 0, b);
    sha256_hex(b->ptr, b->len, r->out.code);
}

static void add_file(struct run *r, struct str path, struct str bytes) {
    r->files[r->n_files++] = (struct bundle_file){path, bytes};
}

static void put_digest(struct buf *b, struct str path, struct str bytes) {
    uint8_t sha[32];
    put_part(b, path);
    sha256(bytes.ptr, bytes.len, sha);
    buf_put(b, sha, sizeof sha);
}

/* Of all that the bundle says, modules by what they are made from: they need not be there to tell.
 */
static void digest_content(struct run *r, struct str manifest) {
    struct buf *b = &r->text;
    buf_clear(b);
    buf_put(b, r->out.code, 64);
    for (uint32_t i = 0; i < r->n_files; i++) put_digest(b, r->files[i].path, r->files[i].bytes);
    put_digest(b, STR("/.manifest"), manifest);
    if (r->b->signer) buf_cstr(b, signer_key_id(r->b->signer));
    sha256_hex(b->ptr, b->len, r->out.content);
}

static void add_sources(struct run *r) {
    for (uint32_t i = 0; i < r->in->n_files; i++) {
        uint32_t f = r->order[i];
        if (!r->shipped[f]) continue;
        add_file(r, source_path(&r->b->work, r->in->files[f].name),
                 source_fill(&r->b->work, r->in->files[f].text, &r->outlines[f]->holes,
                             r->in->parameters, &r->text));
    }
}

/* The revision names the content, so that equal content has equal bytes. */
void run_digests(struct run *r, struct str compiler) {
    r->files = ARENA_ARRAY(&r->b->work, struct bundle_file, r->in->n_files + FILES_BESIDES);
    add_file(r, STR("/data.json"), r->in->data ? printed(r, r->in->data) : STR("{}"));
    if (r->files[0].bytes.len > BUILDER_DATA_WARN_BYTES) {
        struct json *w = json_object(r->a);
        size_t len = 0;
        char *text =
            arena_printf(r->a, &len,
                         "data is %.1f MB: edges hold it in memory for each tenant; above %d MB "
                         "consider splitting it",
                         (double)r->files[0].bytes.len / 1e6, BUILDER_DATA_WARN_BYTES / 1000000);
        json_append(r->a, w, STR("code"), json_string(r->a, STR("data_large")));
        json_append(r->a, w, STR("message"), json_string(r->a, (struct str){text, len}));
        json_push(r->a, r->out.warnings, w);
    }
    add_sources(r);
    if (r->in->checks.len) add_file(r, STR("/checks.json"), r->in->checks);
    digest_code(r, compiler);
    digest_content(r, manifest(r, STR("")));
    add_file(r, STR("/.manifest"),
             manifest(r, work_copy(r, (struct str){r->out.content, REVISION_DIGITS})));
}

/* ---- the archive ---- */

static enum err sign(struct run *r) {
    struct str signature;
    if (!r->b->signer) return OK;
    jmp_buf *exhausted = r->a->exhausted;
    r->a->exhausted = NULL; /* who signs owns more than memory of the arena */
    enum err e = signer_sign(r->b->signer, r->a, r->files, r->n_files, &signature);
    r->a->exhausted = exhausted;
    if (!e) add_file(r, STR("/.signatures.json"), signature);
    return e;
}

enum err run_pack(struct run *r) {
    add_file(r, STR("/policy.wasm"), r->full);
    add_file(r, STR("/policy.thin.wasm"), r->thin);
    enum err e = sign(r);
    if (e) return e;
    buf_clear(&r->text);
    if ((e = bundle_write(r->files, r->n_files, &r->text))) return e;
    r->out.bundle = (struct str){arena_copy(r->a, r->text.ptr, r->text.len), r->text.len};
    r->out.module = (struct str){arena_copy(r->a, r->full.ptr, r->full.len), r->full.len};
    sha256_hex(r->out.bundle.ptr, r->out.bundle.len, r->out.bundle_sha256);
    sha256_hex(r->full.ptr, r->full.len, r->out.module_sha256);
    return OK;
}
