/* Sources as bundles carry them: names as absolute paths, texts with their template values put in.
 * in: sources. out: paths and texts in an arena. owns: nothing. */
#include "compiler/source.h"
#include "compiler/template.h"
#include <stdlib.h>

struct finder {
    struct arena *a;
    struct source_holes *out;
};

static bool find_hole(void *ctx, struct term *t) {
    struct finder *f = ctx;
    if (t->kind == TERM_STRING && t->template_text.ptr && t->loc.len)
        ARENA_PUSH(f->a, f->out, ((struct source_hole){t->loc.offset, t->loc.len}));
    return true;
}

static int by_offset(const void *a, const void *b) {
    const struct source_hole *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

void source_find_holes(struct arena *a, const struct module *m, struct source_holes *out) {
    struct finder f = {a, out};
    const struct ast_visitor v = {.ctx = &f, .term = find_hole};
    *out = (struct source_holes){0};
    ast_visit_term(m->package, &v);
    for (uint32_t i = 0; i < m->imports.n; i++) ast_visit_term(m->imports.items[i].path, &v);
    for (uint32_t i = 0; i < m->rules.n; i++) ast_visit_rule(m->rules.items[i], &v);
    if (out->n) qsort(out->items, out->n, sizeof *out->items, by_offset);
    uint32_t n = 0; /* trees may hold a literal twice */
    for (uint32_t i = 0; i < out->n; i++)
        if (n == 0 || out->items[n - 1].offset != out->items[i].offset)
            out->items[n++] = out->items[i];
    out->n = n;
}

/* The value without the quotes that json_print_string gives it. */
static void put_value(struct str value, struct buf *b) {
    size_t at = b->len;
    json_print_string(value, b);
    if (b->err) return;
    memmove(b->ptr + at, b->ptr + at + 1, b->len - at - 2);
    b->len -= 2;
}

/* Rego's escapes are JSON's. A literal in backquotes has none, so that it becomes one in quotes. */
static void put_literal(struct arena *a, struct str literal, const struct json *values,
                        struct buf *b) {
    struct placeholder p;
    struct str inner = {literal.ptr + 1, literal.len - 2}, text;
    if (literal.ptr[0] == '`') {
        if (template_fill(a, inner, true, values, &text, &p) != TEMPLATE_FILLED) text = inner;
        json_print_string(text, b);
        return;
    }
    buf_byte(b, '"');
    size_t at = 0;
    for (; template_next(inner, at, &p); at = p.end) {
        const struct json *value = json_get(values, p.name);
        buf_put(b, inner.ptr + at, p.start - at);
        if (value && value->kind == JSON_STRING) put_value(value->text, b);
    }
    buf_put(b, inner.ptr + at, inner.len - at);
    buf_byte(b, '"');
}

struct str source_fill(struct arena *a, struct str text, const struct source_holes *holes,
                       const struct json *values, struct buf *scratch) {
    size_t at = 0;
    if (holes->n == 0 || !values) return text;
    buf_clear(scratch);
    for (uint32_t i = 0; i < holes->n; i++) {
        const struct source_hole *h = &holes->items[i];
        buf_put(scratch, text.ptr + at, h->offset - at);
        put_literal(a, (struct str){text.ptr + h->offset, h->len}, values, scratch);
        at = h->offset + h->len;
    }
    buf_put(scratch, text.ptr + at, text.len - at);
    char *copy = scratch->err ? NULL : arena_strndup(a, (const char *)scratch->ptr, scratch->len);
    return copy ? (struct str){copy, scratch->len} : text;
}

struct str source_text(struct arena *a, const struct compile_source *source,
                       const struct parse_options *parse, struct buf *scratch) {
    struct placeholder p;
    struct source_holes holes;
    struct diag_list ignored;
    if (!parse->template_values || !template_next(source->text, 0, &p)) return source->text;
    diag_list_init(&ignored, a);
    struct module *m = parse_module(a, source->file, source->text, parse, &ignored);
    if (!m) return source->text;
    source_find_holes(a, m, &holes);
    return source_fill(a, source->text, &holes, parse->template_values, scratch);
}

struct str source_path(struct arena *a, struct str file) {
    size_t len = 0;
    while (str_starts(file, STR("./"))) file = str_from(file, 2);
    while (file.len && (file.ptr[0] == '/' || file.ptr[0] == '.')) file = str_from(file, 1);
    char *path = arena_printf(a, &len, "/%.*s", STR_FMT(file));
    return (struct str){path, path ? len : 0};
}
