/* The builder: from a tenant's sources to its signed bundle, step by step.
 * in: files, template values, data, checks. out: bundle and module, or errors with their places.
 * owns: an engine (shared); sandboxes, arenas, and what one run makes on its way (each thread's).
 */
#include "compiler/wasm/wasm.h"
#include "control/builder_private.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LIVE_SANDBOXES = 4,
    MAX_SANDBOXES = 256,
    TEXT_BYTES = 1 << 30,
    TEXT_KEPT_BYTES = 8 << 20,
    ERRORS_MAX = 50
};

/* ---- beginning and end ---- */

enum err builder_shared_new(struct builder_shared **out) {
    struct builder_shared *s = calloc(1, sizeof *s);
    const struct engine_options options = {
        .max_instances = MAX_SANDBOXES, .quick_compile = true, .one_thread_compile = true};
    char linked[65];
    if (!s) return ERR_MEMORY;
    struct str runtime = runtime_link_wasm();
    sha256_hex(runtime.ptr, runtime.len, linked);
    snprintf(s->compiler, sizeof s->compiler, "regent %s %s %s\n", REGENT_VERSION, runtime_hash(),
             linked);
    enum err e = engine_new(&options, &s->engine);
    if (e) {
        free(s);
        return e;
    }
    *out = s;
    return OK;
}

void builder_shared_free(struct builder_shared *s) {
    if (!s) return;
    engine_free(s->engine);
    free(s);
}

enum err builder_new(struct builder_shared *s, const struct signer *signer, struct builder **out) {
    struct builder *b = calloc(1, sizeof *b);
    if (!b) return ERR_MEMORY;
    b->cache = compile_cache_new();
    enum err e = b->cache ? instances_new(s->engine, LIVE_SANDBOXES, &b->instances) : ERR_MEMORY;
    if (e) {
        compile_cache_free(b->cache);
        free(b);
        return e;
    }
    b->shared = s;
    b->signer = signer;
    arena_init(&b->work, BUILD_ARENA_BYTES);
    arena_init(&b->known, BUILD_ARENA_BYTES);
    arena_init(&b->answers, BUILD_ARENA_BYTES);
    table_init(&b->outlines, &b->known);
    buf_init(&b->run.text, TEXT_BYTES);
    *out = b;
    return OK;
}

void builder_free(struct builder *b) {
    if (!b) return;
    for (uint32_t i = 0; i < BUILD_KEPT_CODE; i++) policy_release(b->kept[i]);
    instances_free(b->instances);
    compile_cache_free(b->cache);
    arena_deinit(&b->work);
    arena_deinit(&b->known);
    arena_deinit(&b->answers);
    buf_deinit(&b->run.text);
    free(b);
}

/* ---- errors ---- */

static struct json *place(struct arena *a, struct loc loc) {
    struct json *o = json_object(a);
    json_set(a, o, STR("file"), json_string(a, loc.file));
    if (!loc.row) return o;
    json_set(a, o, STR("row"), json_int(a, loc.row));
    json_set(a, o, STR("col"), json_int(a, loc.col));
    return o;
}

void run_error(struct run *r, const char *code, struct loc loc, const char *format, ...) {
    char text[1024];
    va_list args;
    if (r->out.errors->n >= ERRORS_MAX) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct json *o = json_object(r->a);
    char *message = arena_strndup(r->a, text, strlen(text)),
         *word = arena_strndup(r->a, code, strlen(code));
    json_set(r->a, o, STR("code"), json_string(r->a, str_of(word)));
    json_set(r->a, o, STR("message"), json_string(r->a, str_of(message)));
    if (loc.file.len) json_set(r->a, o, STR("location"), place(r->a, loc));
    json_push(r->a, r->out.errors, o);
}

void run_diags(struct run *r, const struct diag_list *diags) {
    for (uint32_t i = 0; i < diags->n; i++) {
        const struct diag *d = &diags->items[i];
        struct loc loc = d->loc;
        loc.file = (struct str){arena_strndup(r->a, loc.file.ptr, loc.file.len), loc.file.len};
        run_error(r, diag_code_word(d->code), loc, "%.*s", STR_FMT(d->message));
    }
    if (diags->dropped) run_error(r, "more", (struct loc){0}, "%u more errors", diags->dropped);
}

/* ---- steps ---- */

static enum err check_sizes(struct run *r) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < r->in->n_files && i < BUILD_MAX_FILES; i++)
        bytes += r->in->files[i].text.len;
    if (r->in->n_files > BUILD_MAX_FILES)
        run_error(r, "too_large", (struct loc){0},
                  "%u files with libraries: a build takes at most %d", r->in->n_files,
                  BUILD_MAX_FILES);
    else if (bytes > BUILD_MAX_SOURCE_BYTES)
        run_error(r, "too_large", (struct loc){0},
                  "%zu bytes of Rego with libraries: a build takes at most %d", bytes,
                  BUILD_MAX_SOURCE_BYTES);
    return run_failed(r) ? ERR_DIAG : OK;
}

static int by_name(const void *a, const void *b, void *files) {
    const struct builder_file *f = files;
    const uint32_t *x = a, *y = b;
    return str_cmp(f[*x].name, f[*y].name);
}

/* The order in which files are given changes nothing. */
static void sort_files(struct run *r) {
    r->order = ARENA_ARRAY(&r->b->work, uint32_t, r->in->n_files);
    for (uint32_t i = 0; i < r->in->n_files; i++) r->order[i] = i;
    if (r->in->n_files)
        qsort_r(r->order, r->in->n_files, sizeof *r->order, by_name,
                (void *)(uintptr_t)r->in->files);
}

struct compile_request run_request(struct run *r, const bool *chosen) {
    struct compile_source *sources =
        ARENA_ARRAY(&r->b->work, struct compile_source, r->in->n_files);
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->in->n_files; i++)
        if (chosen[i])
            sources[n++] = (struct compile_source){r->in->files[i].name, r->in->files[i].text};
    return (struct compile_request){
        .sources = sources,
        .n_sources = n,
        .parse = r->parse,
        .entrypoints = r->entrypoints.items,
        .n_entrypoints = r->entrypoints.n,
        .data = r->in->data,
        .optimize = 1,
        .max_arena_bytes = BUILD_ARENA_BYTES,
        .max_ms = BUILD_COMPILE_MS,
        .cache = r->b->cache,
    };
}

enum err run_compile(struct run *r, struct compile *c, const struct compile_request *q,
                     const char *until) {
    struct compile_request *request = arena_copy(&r->b->work, q, sizeof *q);
    enum err e = compile_run(c, request, until);
    if (e == ERR_DIAG) run_diags(r, &c->diags);
    if (e != ERR_DEADLINE) return e;
    run_error(r, "too_large", (struct loc){0},
              "compiling takes longer than %d s: split the policy or simplify it",
              BUILD_COMPILE_MS / 1000);
    return ERR_DIAG;
}

static enum err compile(struct run *r, const char *until) {
    struct compile_request q = run_request(r, r->shipped);
    r->compiled = true;
    return run_compile(r, &r->compile, &q, until);
}

/* The modules of the version before, if that was made from the same. */
static bool take_modules(struct run *r) {
    if (!r->in->previous_modules || !str_is(r->in->previous_code, r->out.code)) return false;
    jmp_buf *exhausted = r->a->exhausted;
    r->a->exhausted = NULL; /* who reads them owns more than memory of the arena */
    enum err e = r->in->previous_modules(r->in->previous_ctx, r->a, &r->full, &r->thin);
    r->a->exhausted = exhausted;
    return !e && r->full.len && r->thin.len;
}

static bool is_unchanged(const struct run *r) {
    return !r->in->forced && r->in->previous_content.len &&
           str_is(r->in->previous_content, r->out.content);
}

/* Without new modules data still must not stand where rules do. */
static enum err make_modules(struct run *r) {
    r->out.unchanged = is_unchanged(r);
    if (r->out.unchanged) return OK;
    if (take_modules(r)) return r->tests.n ? OK : compile(r, "check_rule_conflicts");
    enum err e = compile(r, NULL);
    if (e) return e;
    r->out.compiled = true;
    r->full = buf_view(&r->compile.full);
    r->thin = buf_view(&r->compile.thin);
    return OK;
}

static enum err check_module(struct run *r) {
    if (r->full.len <= BUILDER_MODULE_MAX_BYTES) return OK;
    run_error(r, "module_too_large", (struct loc){0},
              "the module is %zu bytes, above the limit of %d: move large constants into data, or "
              "split the policy",
              r->full.len, BUILDER_MODULE_MAX_BYTES);
    return ERR_DIAG;
}

static enum err run_steps(struct run *r) {
    enum err e = check_sizes(r);
    if (e) return e;
    sort_files(r);
    run_scan(r);
    run_choose_files(r);
    run_choose_entrypoints(r);
    if (run_failed(r)) return ERR_DIAG;
    run_find_tests(r);
    run_digests(r, str_of(r->b->shared->compiler));
    if ((e = make_modules(r))) return e;
    if ((e = run_tests(r))) return e;
    if (!r->out.unchanged && ((e = check_module(r)) || (e = run_checks(r)))) return e;
    if (run_failed(r)) return ERR_DIAG;
    return r->out.unchanged ? OK : run_pack(r);
}

/* ---- a run ---- */

static void run_end(struct run *r) {
    if (r->compiled) compile_end(&r->compile);
    if (r->test_compiled) compile_end(&r->test_compile);
    policy_release(r->policy);
    r->compiled = r->test_compiled = false;
    r->policy = NULL;
    /* One large bundle is no reason to hold as much ever after. */
    if (r->text.cap > TEXT_KEPT_BYTES) {
        buf_deinit(&r->text);
        buf_init(&r->text, TEXT_BYTES);
    }
    r->a->exhausted = r->b->work.exhausted = r->b->known.exhausted = NULL;
    arena_reset(&r->b->work);
}

/* Sources that need more than a build may have are their author's to change, not ours to try again.
 */
static enum err run_too_large(struct run *r) {
    if (!r->out.errors) return ERR_MEMORY;
    r->a->exhausted = NULL;
    run_error(r, "too_large", (struct loc){0}, "the build needs more than %d MiB of memory",
              BUILD_ARENA_BYTES >> 20);
    return run_failed(r) ? ERR_DIAG : ERR_MEMORY;
}

static enum err run_all(struct run *r, jmp_buf *exhausted) {
    if (setjmp(*exhausted)) return run_too_large(r);
    r->a->exhausted = r->b->work.exhausted = r->b->known.exhausted = exhausted;
    r->out.errors = json_array(r->a);
    r->out.warnings = json_array(r->a);
    enum err e = run_steps(r);
    return e == ERR_MEMORY ? run_too_large(r) : e;
}

enum err builder_run(struct builder *b, struct arena *a, const struct builder_input *in,
                     struct builder_output *out) {
    struct run *r = &b->run;
    jmp_buf exhausted;
    struct buf text = r->text;
    *r = (struct run){.b = b,
                      .a = a,
                      .in = in,
                      .text = text,
                      .parse = {.version = REGO_V1, .template_values = in->parameters}};
    enum err e = run_all(r, &exhausted);
    run_end(r);
    if (!e || e == ERR_DIAG) *out = r->out;
    return e;
}
