/* Bytes of a candidate to a loaded policy: name, read, verify, limits, machine code.
 * in: a candidate (hostile). out: struct kept, or a sentence that says what is wrong with it.
 * owns: an arena and the packed bundle while a candidate is on its way. */
#include "base/clock.h"
#include "base/hash.h"
#include "edge/activator_private.h"
#include "edge/decision_log.h"
#include "edge/authz.h"
#include "edge/decide.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    FOLDER_BUNDLE_BYTES = 64 << 20,
    STORED_BYTES = 1 << 30, /* it was small enough when it came */
    SOURCE_BUNDLE_BYTES = 10 << 20,
    ARENA_FACTOR = 8, /* a bundle's arena to its file: what is unpacked counts */
    NAME_DIGITS = 12  /* of the hash, as a version's name */
};

void text_put(char *to, size_t bytes, struct str s) {
    size_t n = s.len < bytes - 1 ? s.len : bytes - 1;
    if (n) memcpy(to, s.ptr, n);
    to[n] = 0;
}

void kept_free(struct kept *k) {
    if (k && k->policy) policy_release(k->policy);
    free(k);
}

static uint64_t max_bytes(const struct candidate *c) {
    if (c->from_store) return STORED_BYTES;
    uint64_t own = c->verify ? c->verify->max_bundle_bytes : FOLDER_BUNDLE_BYTES;
    return own ? own : SOURCE_BUNDLE_BYTES;
}

enum err work_begin(struct work *w, const struct candidate *c) {
    *w = (struct work){
        .candidate = c, .began_ns = clock_ns(), .kept = calloc(1, sizeof(struct kept))};
    arena_init(&w->arena, max_bytes(c) * ARENA_FACTOR);
    buf_init(&w->packed, 2 * max_bytes(c) + 4096);
    return w->kept ? OK : ERR_MEMORY;
}

void work_end(struct work *w) {
    kept_free(w->kept);
    buf_deinit(&w->packed);
    arena_deinit(&w->arena);
}

static enum err say(struct work *w, enum err e, const char *why) {
    if (!w->why[0]) snprintf(w->why, sizeof w->why, "%s", why);
    return e;
}

enum err work_name(struct work *w) {
    const struct candidate *c = w->candidate;
    struct kept *k = w->kept;
    char parts[2 * SHA256_HEX_BYTES];
    if (c->bundle.len + c->module.len + c->data.len > max_bytes(c)) {
        snprintf(w->why, sizeof w->why, "the bundle has more than %llu bytes",
                 (unsigned long long)max_bytes(c));
        return ERR_LIMIT;
    }
    struct str first = c->bundle.len ? c->bundle : c->module;
    sha256_hex(first.ptr, first.len, k->content);
    if (!c->bundle.len && c->module.len) {
        memcpy(parts, k->content, SHA256_HEX_BYTES);
        sha256_hex(c->data.ptr, c->data.len, parts + SHA256_HEX_BYTES);
        sha256_hex(parts, sizeof parts, k->content);
    }
    k->serial = c->serial;
    k->bytes = c->bundle.len + c->module.len + c->data.len;
    text_put(k->from, sizeof k->from, str_of(c->from ? c->from : ""));
    return OK;
}

/* ---- reading ---- */

static enum err first_problem(struct work *w, const struct diag_list *diags, enum err e) {
    const char *what = diags->n ? diags->items[0].message.ptr : err_meaning(e);
    struct str file = diags->n ? diags->items[0].loc.file : STR("");
    snprintf(w->why, sizeof w->why, "%.*s%s%s", STR_FMT(file), file.len ? ": " : "", what);
    return e;
}

static enum err read_bare(struct work *w) {
    const struct candidate *c = w->candidate;
    struct bundle *b = &w->bundle;
    struct json_error error = {0};
    *b = (struct bundle){
        .manifest = json_object(&w->arena), .data = json_object(&w->arena), .full = c->module};
    if (!b->manifest || !b->data) return say(w, ERR_MEMORY, err_meaning(ERR_MEMORY));
    enum err e = c->data.len ? json_parse(&w->arena, c->data, &b->data, &error) : OK;
    if (e) {
        snprintf(w->why, sizeof w->why, "data.json:%u:%u: %s", error.row, error.col,
                 error.message ? error.message : err_meaning(e));
        return e;
    }
    return b->data->kind == JSON_OBJECT ? OK
                                        : say(w, ERR_INVALID, "data.json: it must be an object");
}

static enum err read_bundle(struct work *w) {
    struct diag_list diags;
    diag_list_init(&diags, &w->arena);
    enum err e = bundle_read(&w->arena, w->candidate->bundle, &w->bundle, &diags);
    if (e) return first_problem(w, &diags, e);
    if (w->bundle.full.len || w->bundle.thin.len) return OK;
    return say(
        w, ERR_INVALID,
        "the bundle holds no WebAssembly module: build it with `regent build -t wasm -e PATH`");
}

static const struct json *regent_metadata(const struct bundle *b) {
    return json_get_c(json_get_c(b->manifest, "metadata"), "regent");
}

/* metadata.regent.limits of the manifest. */
static enum err read_limits(struct work *w) {
    const struct json *limits = json_get_c(regent_metadata(&w->bundle), "limits");
    char why[256] = "";
    if (!limits) return OK;
    enum err e = limits_read(limits, &w->kept->own, why, sizeof why);
    if (e) snprintf(w->why, sizeof w->why, ".manifest: metadata.regent.limits: %s", why);
    return e;
}

/* metadata.regent.serial, where the source does not count versions itself. */
static enum err read_serial(struct work *w) {
    const struct json *serial = json_get_c(regent_metadata(&w->bundle), "serial");
    int64_t n = 0;
    if (!serial || w->kept->serial) return OK;
    if (!json_int64(serial, &n) || n <= 0)
        return say(w, ERR_INVALID,
                   ".manifest: metadata.regent.serial: it must be a whole number above 0");
    w->kept->serial = (uint64_t)n;
    return OK;
}

static void name_version(struct work *w) {
    struct kept *k = w->kept;
    struct str given = w->candidate->version.len ? w->candidate->version : w->bundle.revision;
    text_put(k->revision, sizeof k->revision, w->bundle.revision);
    if (!given.len || given.len >= VERSION_BYTES || memchr(given.ptr, 0, given.len))
        given = (struct str){k->content, NAME_DIGITS};
    text_put(k->version, sizeof k->version, given);
}

enum err work_read(struct work *w) {
    const struct candidate *c = w->candidate;
    if (!c->bundle.len && !c->module.len)
        return say(w, ERR_INVALID, "bundle is no gzipped tar archive: it is empty");
    enum err e = c->bundle.len ? read_bundle(w) : read_bare(w);
    if (!e && !c->from_store)
        e = verify_signature(&w->arena, &w->bundle, c->verify, w->why, sizeof w->why);
    if (!e && !c->from_store) e = verify_roots(&w->arena, &w->bundle, w->why, sizeof w->why);
    if (!e) e = read_limits(w);
    if (!e) e = read_serial(w);
    if (!e) name_version(w);
    return e;
}

/* ---- loading ---- */

enum err work_load(struct activator *a, struct work *w) {
    const struct bundle *b = &w->bundle;
    struct str id = w->candidate->tenant;
    struct load_message message = {""};
    pthread_mutex_lock(&a->table);
    struct tenant_limits l = edge_config_limits(a->options.config, id, w->kept->own);
    bool keep = worker_group_of(a->options.config, id) != NULL;
    pthread_mutex_unlock(&a->table);
    struct policy_source source = {.full = b->full,
                                   .input_mark = authz_wanted,
                                   .thin = b->thin,
                                   .data = b->data,
                                   .name = id,
                                   .keep = keep,
                                   .max_module_bytes = l.module_bytes,
                                   .max_compile_us = l.compile_us};
    struct str module = b->full.len ? b->full : b->thin;
    if (w->sha256.len == SHA256_HEX_BYTES - 1)
        text_put(w->kept->sha256, sizeof w->kept->sha256, w->sha256);
    else
        sha256_hex(module.ptr, module.len, w->kept->sha256);
    w->kept->has_masks = decision_log_has_masks(b);
    enum err e = policy_load(a->options.engine, &source, &w->kept->policy, &message);
    return e ? say(w, e, message.text[0] ? message.text : err_meaning(e)) : OK;
}

enum err work_bytes(struct work *w, struct str *out) {
    const struct candidate *c = w->candidate;
    if (!c->bundle.len) {
        struct bundle_file files[] = {{STR("/data.json"), c->data.len ? c->data : STR("{}")},
                                      {STR("/policy.wasm"), c->module}};
        enum err e = bundle_write(files, 2, &w->packed);
        if (e) return e;
    }
    *out = c->bundle.len ? c->bundle : buf_view(&w->packed);
    return OK;
}
