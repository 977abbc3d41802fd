/* The public API's half that compiles: regent.h's options into a compile_request.
 *
 * in:   sources, entrypoints, template values.
 * out:  the module's two forms, or the errors as JSON.
 * owns: struct regent_module: copies of both forms. */
#include "base/public_err.h"
#include "compiler/compile.h"
#include <regent.h>
#include <stdlib.h>

#define VALUES_ARENA_BYTES ((size_t)16 << 20)
#define ERRORS_MAX_BYTES ((size_t)64 << 20)

struct regent_module {
    uint8_t *full, *thin;
    size_t full_len, thin_len;
};

/* A compile_request's arrays, in one arena. */
struct lists {
    struct arena arena;
    struct compile_source *sources;
    struct str *entrypoints;
    struct json *values;
};

static enum err lists_init(struct lists *l, const struct regent_compile_options *o) {
    struct json_error error;
    arena_init(&l->arena, VALUES_ARENA_BYTES);
    l->sources = ARENA_ARRAY(&l->arena, struct compile_source, o->n_sources);
    l->entrypoints = ARENA_ARRAY(&l->arena, struct str, o->n_entrypoints);
    l->values = NULL;
    if (!l->sources || !l->entrypoints) return ERR_MEMORY;
    for (size_t i = 0; i < o->n_sources; i++) {
        const struct regent_source *s = &o->sources[i];
        l->sources[i] = (struct compile_source){str_of(s->file), {s->text, s->text_len}};
    }
    for (size_t i = 0; i < o->n_entrypoints; i++) l->entrypoints[i] = str_of(o->entrypoints[i]);
    if (!o->template_values) return OK;
    enum err err = json_parse(&l->arena, str_of(o->template_values), &l->values, &error);
    return !err && l->values->kind != JSON_OBJECT ? ERR_INVALID : err;
}

static uint8_t *copy(const struct buf *b, size_t *len) {
    uint8_t *bytes = malloc(b->len ? b->len : 1);
    if (bytes && b->len) memcpy(bytes, b->ptr, b->len);
    *len = b->len;
    return bytes;
}

static enum err module_of(const struct compile *c, struct regent_module **out) {
    struct regent_module *m = calloc(1, sizeof *m);
    if (!m) return ERR_MEMORY;
    m->full = copy(&c->full, &m->full_len);
    m->thin = copy(&c->thin, &m->thin_len);
    if (!m->full || !m->thin) {
        regent_module_free(m);
        return ERR_MEMORY;
    }
    *out = m;
    return OK;
}

/* NULL when there is no memory for it. */
static char *errors_of(const struct compile *c) {
    struct buf b;
    buf_init(&b, ERRORS_MAX_BYTES);
    diag_print_json(&c->diags, &b);
    buf_byte(&b, 0);
    char *text = b.err == OK ? strdup((const char *)b.ptr) : NULL;
    buf_deinit(&b);
    return text;
}

enum regent_error regent_compile(const struct regent_compile_options *options,
                                 struct regent_module **module, char **errors) {
    struct regent_compile_options o = {0};
    struct compile c = {0};
    struct lists l;
    memcpy(&o, options, options->struct_size < sizeof o ? options->struct_size : sizeof o);
    if (errors) *errors = NULL;
    if (o.n_sources > UINT32_MAX || o.n_entrypoints > UINT32_MAX) return REGENT_LIMIT;
    enum err err = lists_init(&l, &o);
    if (!err) {
        struct compile_request request = {
            .sources = l.sources,
            .n_sources = (uint32_t)o.n_sources,
            .parse = {.version = o.rego_v0 ? REGO_V0 : REGO_V1, .template_values = l.values},
            .entrypoints = l.entrypoints,
            .n_entrypoints = (uint32_t)o.n_entrypoints,
            .strict = o.strict != 0,
            .optimize = o.optimize,
            .max_arena_bytes = o.max_memory_bytes};
        err = compile_run(&c, &request, NULL);
        if (!err)
            err = module_of(&c, module);
        else if (err == ERR_DIAG && errors)
            *errors = errors_of(&c);
        compile_end(&c);
    }
    arena_deinit(&l.arena);
    return public_err(err);
}

const uint8_t *regent_module_full(const struct regent_module *m, size_t *len) {
    *len = m->full_len;
    return m->full;
}
const uint8_t *regent_module_thin(const struct regent_module *m, size_t *len) {
    *len = m->thin_len;
    return m->thin;
}
void regent_module_free(struct regent_module *m) {
    if (!m) return;
    free(m->full);
    free(m->thin);
    free(m);
}
