/* Builds one tenant and uploads what came of it.
 * in: a job with its inputs. out: objects under tenants/ID/versions/V, the job's outcome. owns:
 * nothing. */
#include "base/clock.h"
#include "bundle/bundle.h"
#include "control/build_private.h"
#include <stdarg.h>
#include <stdio.h>

enum { KEY_BYTES = BLOB_KEY_BYTES, JSON_MOST_BYTES = 64 << 20, MESSAGE_BYTES = 1024 };

struct str build_json_text(struct arena *a, const struct json *v) {
    struct buf out;
    struct str text = {NULL, 0};
    if (!v) return text;
    buf_init(&out, JSON_MOST_BYTES);
    json_print(v, true, 0, &out);
    if (!out.err) text = (struct str){arena_strndup(a, (const char *)out.ptr, out.len), out.len};
    buf_deinit(&out);
    return text;
}

struct str build_error(struct arena *a, const char *code, const char *format, ...) {
    char message[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct json *list = json_array(a), *o = json_object(a);
    json_set(a, o, STR("code"), json_string(a, str_of(code)));
    json_set(a, o, STR("message"), json_string(a, str_of(message)));
    json_push(a, list, o);
    struct str text = build_json_text(a, list);
    return text.ptr ? text : STR("[{\"code\":\"memory\",\"message\":\"no memory for the error\"}]");
}

/* ---- the version before ---- */

struct before {
    struct build_worker *worker;
    const struct job *job;
};

/* Its modules, out of its bundle. */
static enum err previous_modules(void *ctx, struct arena *a, struct str *full, struct str *thin) {
    const struct before *b = ctx;
    char key[KEY_BYTES], why[BLOB_WHY_BYTES], sum[65];
    struct bundle bundle = {0};
    struct diag_list diags;
    struct buf bytes;
    snprintf(key, sizeof key, "tenants/%.*s/versions/%.*s/bundle.tar.gz", STR_FMT(b->job->tenant),
             STR_FMT(b->job->previous_version));
    buf_init(&bytes, BLOB_OBJECT_BYTES);
    enum err e = blobs_get(b->worker->control->blobs, str_of(key), &bytes, why);
    if (e == OK) {
        sha256_hex(bytes.ptr, bytes.len, sum);
        if (!str_is(b->job->previous_sha256, sum)) e = ERR_INVALID;
    }
    struct str archive = {e ? NULL : arena_copy(a, bytes.ptr, bytes.len), bytes.len};
    if (e == OK && !archive.ptr) e = ERR_MEMORY;
    buf_deinit(&bytes);
    diag_list_init(&diags, a);
    if (e == OK) e = bundle_read(a, archive, &bundle, &diags);
    if (e) return e;
    *full = bundle.full;
    *thin = bundle.thin;
    return OK;
}

/* ---- objects ---- */

/* All at once: a bucket may be far away. */
static enum err upload(struct build_worker *w, const struct job *j, const struct builder_output *o,
                       char why[BLOB_WHY_BYTES]) {
    static const struct {
        const char *name, *type;
    } parts[] = {{"bundle.tar.gz", "application/gzip"},
                 {"policy.wasm", "application/wasm"},
                 {"policy.wasm.sha256", "text/plain"}};
    enum { PARTS = sizeof parts / sizeof *parts };
    char sum[96], keys[PARTS][KEY_BYTES];
    struct blob_note notes[PARTS];
    struct blob_object objects[PARTS];
    snprintf(sum, sizeof sum, "%s  policy.wasm\n", o->module_sha256);
    const struct str bytes[PARTS] = {o->bundle, o->module, str_of(sum)};
    for (uint32_t i = 0; i < PARTS; i++) {
        snprintf(keys[i], sizeof keys[i], "tenants/%.*s/versions/%s/%s", STR_FMT(j->tenant),
                 j->version, parts[i].name);
        notes[i] = (struct blob_note){.tenant = j->tenant,
                                      .version = str_of(j->version),
                                      .timestamp_ms = j->at_ms,
                                      .content_type = parts[i].type};
        objects[i] = (struct blob_object){str_of(keys[i]), bytes[i], &notes[i]};
    }
    return blobs_put_all(w->control->blobs, objects, PARTS, why);
}

/* ---- the job ---- */

/* The libraries' versions complete what a version says of its source. */
static enum err put_source(struct build_worker *w, struct job *j) {
    struct arena *a = w->batch.arena;
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < j->n_libraries; i++)
        for (uint32_t k = 0; k < w->libraries.n; k++) {
            const struct build_source *l = w->libraries.items[k];
            if (!str_eq(l->id, j->libraries[i])) continue;
            struct json *o = json_object(a);
            json_set(a, o, STR("id"), json_string(a, l->id));
            json_set(a, o, STR("version"), json_int(a, l->version));
            json_push(a, list, o);
        }
    json_set(a, j->source, STR("libraries"), list);
    j->source_text = build_json_text(a, j->source);
    return j->source_text.ptr ? OK : ERR_MEMORY;
}

/* What outlives the job's arena. */
static enum err keep(struct build_worker *w, struct job *j, const struct builder_output *o) {
    struct arena *a = w->batch.arena;
    j->libraries = ARENA_ARRAY(a, struct str, o->n_libraries + 1);
    if (!j->libraries) return ERR_MEMORY;
    for (uint32_t i = 0; i < o->n_libraries; i++) {
        j->libraries[i] = (struct str){arena_strndup(a, o->libraries[i].ptr, o->libraries[i].len),
                                       o->libraries[i].len};
        if (!j->libraries[i].ptr) return ERR_MEMORY;
    }
    j->n_libraries = o->n_libraries;
    j->bytes = (int64_t)o->bundle.len;
    j->compiled = o->compiled;
    memcpy(j->sha256, o->bundle_sha256, sizeof j->sha256);
    memcpy(j->module_sha256, o->module_sha256, sizeof j->module_sha256);
    memcpy(j->content, o->content, sizeof j->content);
    memcpy(j->code, o->code, sizeof j->code);
    snprintf(j->version, sizeof j->version, "%lld-%.12s", (long long)j->numbered + 1,
             o->bundle_sha256);
    return put_source(w, j);
}

static void blob_failed(struct build_worker *w, struct job *j, const char *why) {
    bool last = j->attempts >= ATTEMPTS_MOST;
    j->outcome = last ? JOB_FAILED : JOB_RETRY;
    j->errors = build_error(w->batch.arena, "blob_store", "%s%s", last ? "given up: " : "", why);
}

static void finish(struct build_worker *w, struct job *j, const struct builder_output *o) {
    char why[BLOB_WHY_BYTES] = "";
    if (o->unchanged) {
        j->outcome = JOB_UNCHANGED;
        return;
    }
    if (keep(w, j, o)) {
        j->outcome = JOB_FAILED;
        j->errors = build_error(w->batch.arena, "memory", "no memory is left");
        return;
    }
    if (upload(w, j, o, why))
        blob_failed(w, j, why);
    else
        j->outcome = JOB_BUILT;
}

void build_run(struct build_worker *w, struct job *j) {
    struct arena *a = &w->job_arena;
    struct builder_output o = {0};
    uint64_t began = clock_ns();
    struct before before = {w, j};
    if (j->previous_version.len) {
        j->input.previous_modules = previous_modules;
        j->input.previous_ctx = &before;
    }
    j->at_ms = control_now_ms();
    arena_reset(a);
    enum err e = builder_run(w->builder, a, &j->input, &o);
    if (o.warnings && o.warnings->n) j->warnings = build_json_text(w->batch.arena, o.warnings);
    if (e == OK)
        finish(w, j, &o);
    else {
        j->outcome = JOB_FAILED;
        j->errors = e == ERR_DIAG && o.errors
                        ? build_json_text(w->batch.arena, o.errors)
                        : build_error(w->batch.arena, err_word(e), "%s", err_meaning(e));
    }
    if (!j->errors.ptr || !j->warnings.ptr) j->errors = j->warnings = STR("[]");
    j->took_us = (int64_t)((clock_ns() - began) / 1000);
}
