/* Which files a tenant's bundle is made of, what is asked of it, and what tests it: found by
 * reading outlines. in: files of template, tenant and libraries. out: lists in the run. owns:
 * outlines in the builder's arena. */
#include "compiler/ast/parser.h"
#include "compiler/template.h"
#include "control/builder_private.h"
#include <string.h>

enum {
    MAX_NAMES = 16, /* of a use that are looked at */
    MAX_PLACEHOLDERS = 1000,
    KNOWN_BYTES = 32 << 20
};

/* ---- outlines ---- */

struct scan {
    struct arena *known, *work;
    struct outline *o;
    struct table uses; /* in work: what o->uses has */
};

static struct str keep(struct scan *s, struct str text) {
    return (struct str){arena_strndup(s->known, text.ptr, text.len), text.len};
}

static void add_use(struct scan *s, const struct term *ref) {
    struct str names[MAX_NAMES];
    uint32_t n = 0;
    size_t len = 0;
    const struct term *head = ref->list.items[0];
    if (head->kind != TERM_VAR || !str_is(head->text, "data")) return;
    for (; n < MAX_NAMES && n + 1 < ref->list.n && ref->list.items[n + 1]->kind == TERM_STRING;
         n++) {
        names[n] = ref->list.items[n + 1]->text;
        len += names[n].len + 1;
    }
    if (n == 0) return;
    char *key = arena_alloc(s->work, len), *at = key;
    for (uint32_t i = 0; i < n; i++) {
        if (names[i].len) memcpy(at, names[i].ptr, names[i].len);
        at += names[i].len;
        *at++ = 0;
    }
    if (table_get(&s->uses, (struct str){key, len})) return;
    table_set(&s->uses, (struct str){key, len}, key);
    struct name_path use = {0};
    for (uint32_t i = 0; i < n; i++) ARENA_PUSH(s->known, &use, keep(s, names[i]));
    ARENA_PUSH(s->known, &s->o->uses, use);
}

static bool visit_term(void *ctx, struct term *t) {
    if (t->kind == TERM_REF && t->list.n) add_use(ctx, t);
    return true;
}

/* "shop/allow" of data.shop.allow, as far as names are constant. */
static struct str slashed(struct scan *s, const struct term *package, const struct term *ref) {
    char *path = arena_printf(s->known, NULL, "%s", "");
    size_t len = 0;
    for (uint32_t i = 1; i < package->list.n; i++)
        path = arena_printf(s->known, &len, "%s%s%.*s", path, i > 1 ? "/" : "",
                            STR_FMT(package->list.items[i]->text));
    for (uint32_t i = 0; ref && i < ref->list.n; i++) {
        const struct term *t = ref->list.items[i];
        if (i > 0 && t->kind != TERM_STRING) break;
        path = arena_printf(s->known, &len, "%s/%.*s", path, STR_FMT(t->text));
    }
    return (struct str){path, len};
}

static void add_entrypoint(struct scan *s, const struct annotation *note, struct str path) {
    struct json *yaml = NULL;
    struct json_error error;
    if (yaml_parse(s->work, note->yaml, &yaml, &error) != OK) return;
    const struct json *v = json_get_c(yaml, "entrypoint");
    if (v && v->kind == JSON_BOOL && v->boolean) ARENA_PUSH(s->known, &s->o->entrypoints, path);
}

static void scan_rule(struct scan *s, const struct module *m, struct rule *r) {
    const struct ast_visitor visitor = {.ctx = s, .term = visit_term};
    const struct term *ref = r->head->ref;
    struct str name = ref->list.items[0]->text;
    bool single = ref->list.n == 1;
    if (str_starts(name, STR("test_"))) {
        struct outline_test t = {keep(s, name), r->loc.row, r->loc.col};
        ARENA_PUSH(s->known, &s->o->tests, t);
    }
    s->o->allow |= single && !r->head->is_function && str_is(name, "allow");
    s->o->result |= single && !r->head->is_function && str_is(name, "result");
    s->o->mask |= str_is(name, "mask");
    s->o->drop |= str_is(name, "drop");
    for (uint32_t i = 0; i < r->n_annotations; i++)
        add_entrypoint(s, r->annotations[i], slashed(s, m->package, ref));
    ast_visit_rule(r, &visitor);
}

static void scan_module(struct scan *s, const struct module *m) {
    for (uint32_t i = 1; i < m->package->list.n; i++)
        ARENA_PUSH(s->known, &s->o->package, keep(s, m->package->list.items[i]->text));
    for (uint32_t i = 0; i < m->imports.n; i++) add_use(s, m->imports.items[i].path);
    for (uint32_t i = 0; i < m->rules.n; i++) scan_rule(s, m, m->rules.items[i]);
    for (uint32_t i = 0; i < m->annotations.n; i++)
        if (str_is(m->annotations.items[i]->scope, "package"))
            add_entrypoint(s, m->annotations.items[i], slashed(s, m->package, NULL));
}

/* Some value for each placeholder: outlines do not depend on which. */
static const struct json *any_values(struct arena *a, struct str text) {
    struct json *values = json_object(a);
    struct placeholder p;
    for (size_t at = 0; template_next(text, at, &p) && values->n < MAX_PLACEHOLDERS; at = p.end)
        json_set(a, values, p.name, json_string(a, p.name));
    return values;
}

/* Of a file that does not parse the package still tells whose errors these are: the compile says
 * them. */
static struct module *package_alone(struct scan *s, const struct builder_file *f,
                                    const struct parse_options *options,
                                    struct diag_list *ignored) {
    struct str rest = f->text;
    while (rest.len && !str_starts(rest, STR("package "))) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        rest = str_from(rest, end ? (size_t)(end - rest.ptr) + 1 : rest.len);
    }
    const char *end = rest.len ? memchr(rest.ptr, '\n', rest.len) : NULL;
    return parse_module(s->work, f->name, end ? str_head(rest, (size_t)(end - rest.ptr)) : rest,
                        options, ignored);
}

static struct outline *outline_new(struct run *r, const struct builder_file *f) {
    struct scan s = {
        .known = &r->b->known, .work = &r->b->work, .o = ARENA_NEW(&r->b->known, struct outline)};
    struct parse_options options = {.version = REGO_V1,
                                    .template_values = any_values(s.work, f->text)};
    struct diag_list ignored;
    table_init(&s.uses, s.work);
    diag_list_init(&ignored, s.work);
    struct module *m = parse_module(s.work, f->name, f->text, &options, &ignored);
    s.o->broken = !m;
    s.o->many_values = options.template_values->n >= MAX_PLACEHOLDERS;
    if (!m) m = package_alone(&s, f, &options, &ignored);
    if (m) scan_module(&s, m);
    if (m && !s.o->broken) source_find_holes(s.known, m, &s.o->holes);
    return s.o;
}

void run_scan(struct run *r) {
    struct builder *b = r->b;
    const struct builder_input *in = r->in;
    if (b->known.used_bytes > KNOWN_BYTES) {
        arena_deinit(&b->known);
        table_init(&b->outlines, &b->known);
    }
    r->outlines = ARENA_ARRAY(&b->work, struct outline *, in->n_files);
    for (uint32_t i = 0; i < in->n_files; i++) {
        uint8_t sha[32];
        sha256(in->files[i].text.ptr, in->files[i].text.len, sha);
        struct outline *o = table_get(&b->outlines, (struct str){(const char *)sha, sizeof sha});
        if (!o) {
            o = outline_new(r, &in->files[i]);
            memcpy(o->sha256, sha, sizeof sha);
            table_set(&b->outlines, (struct str){(const char *)o->sha256, sizeof o->sha256}, o);
        }
        r->outlines[i] = o;
    }
}

/* ---- which files ---- */

bool is_test_file(struct str name) { return str_ends(name, STR("_test.rego")); }

/* One leads to the other: data.lib.users.find to package lib.users, and data.lib[x] too. */
static bool meets(const struct name_path *use, const struct name_path *package) {
    uint32_t n = use->n < package->n ? use->n : package->n;
    for (uint32_t i = 0; i < n; i++)
        if (!str_eq(use->items[i], package->items[i])) return false;
    return n > 0;
}

/* A library's files stand side by side. */
struct library {
    uint32_t from, to;
    bool taken;
};
struct libraries {
    struct library *items;
    uint32_t n, cap;
};

static struct libraries libraries_of(struct run *r) {
    struct libraries list = {0};
    for (uint32_t i = r->in->n_own; i < r->in->n_files; i++) {
        struct library *last = list.n ? &list.items[list.n - 1] : NULL;
        if (last && str_eq(r->in->library_of[i], r->in->library_of[last->from]))
            last->to = i + 1;
        else
            ARENA_PUSH(&r->b->work, &list, ((struct library){.from = i, .to = i + 1}));
    }
    return list;
}

static bool uses_library(const struct run *r, const struct outline *o, const struct library *l) {
    for (uint32_t i = l->from; i < l->to; i++) {
        if (is_test_file(r->in->files[i].name)) continue;
        for (uint32_t k = 0; k < o->uses.n; k++)
            if (meets(&o->uses.items[k], &r->outlines[i]->package)) return true;
    }
    return false;
}

/* All files of a library go along, but for its tests, which only go into the module of tests. */
static void take_library(struct run *r, struct library *l, bool *chosen, bool tests) {
    l->taken = true;
    for (uint32_t i = l->from; i < l->to; i++)
        chosen[i] = tests || !is_test_file(r->in->files[i].name);
}

/* Each chosen file is looked at once, also those that come with a library. */
static void close_over(struct run *r, bool *chosen, bool tests) {
    bool *looked = ARENA_ARRAY(&r->b->work, bool, r->in->n_files), more = true;
    struct libraries all = libraries_of(r);
    while (more) {
        more = false;
        for (uint32_t i = 0; i < r->in->n_files; i++) {
            if (!chosen[i] || looked[i]) continue;
            looked[i] = true;
            for (uint32_t k = 0; k < all.n; k++) {
                if (all.items[k].taken || !uses_library(r, r->outlines[i], &all.items[k])) continue;
                take_library(r, &all.items[k], chosen, tests);
                more = true;
            }
        }
    }
}

static void list_libraries(struct run *r) {
    struct str_list list = {0};
    for (uint32_t i = r->in->n_own; i < r->in->n_files; i++) {
        bool there = !r->tested[i];
        for (uint32_t k = 0; k < list.n; k++)
            there = there || str_eq(list.items[k], r->in->library_of[i]);
        if (!there) ARENA_PUSH(r->a, &list, r->in->library_of[i]);
    }
    r->out.libraries = list.items;
    r->out.n_libraries = list.n;
}

void run_choose_files(struct run *r) {
    r->shipped = ARENA_ARRAY(&r->b->work, bool, r->in->n_files);
    r->tested = ARENA_ARRAY(&r->b->work, bool, r->in->n_files);
    for (uint32_t i = 0; i < r->in->n_own; i++) {
        r->shipped[i] = !is_test_file(r->in->files[i].name);
        r->tested[i] = true;
    }
    close_over(r, r->shipped, false);
    close_over(r, r->tested, true);
    list_libraries(r);
    for (uint32_t i = 0; i < r->in->n_files; i++)
        if (r->tested[i] && r->outlines[i]->many_values)
            run_error(r, "too_large", (struct loc){.file = r->in->files[i].name},
                      "%d or more template values in one file", MAX_PLACEHOLDERS);
}

/* ---- what is asked ---- */

static void ask_for(struct run *r, struct str path) {
    for (uint32_t i = 0; i < r->entrypoints.n; i++)
        if (str_eq(r->entrypoints.items[i], path)) return;
    ARENA_PUSH(&r->b->work, &r->entrypoints, path);
}

static struct str below_package(struct run *r, const struct name_path *package, struct str name) {
    size_t len = 0;
    char *path = arena_printf(&r->b->work, NULL, "%s", "");
    for (uint32_t i = 0; i < package->n; i++)
        path = arena_printf(&r->b->work, NULL, "%s%.*s/", path, STR_FMT(package->items[i]));
    path = arena_printf(&r->b->work, &len, "%s%.*s", path, STR_FMT(name));
    return (struct str){path, len};
}

/* "data.shop.allow" as "shop/allow". */
static struct str entrypoint_path(struct run *r, struct str s) {
    if (!str_starts(s, STR("data."))) return s;
    char *path = arena_strndup(&r->b->work, s.ptr + 5, s.len - 5);
    for (size_t i = 0; i < s.len - 5; i++)
        if (path[i] == '.') path[i] = '/';
    return (struct str){path, s.len - 5};
}

static bool is_mask_package(const struct name_path *p) {
    return p->n == 2 && str_is(p->items[0], "system") && str_is(p->items[1], "log");
}

static void ask_by_annotation(struct run *r) {
    for (uint32_t i = 0; i < r->in->n_files; i++) {
        uint32_t f = r->order[i];
        const struct outline *o = r->outlines[f];
        for (uint32_t k = 0; r->shipped[f] && k < o->entrypoints.n; k++)
            ask_for(r, o->entrypoints.items[k]);
    }
}

static void ask_by_name(struct run *r) {
    for (uint32_t i = 0; i < r->in->n_files; i++) {
        uint32_t f = r->order[i];
        const struct outline *o = r->outlines[f];
        if (!r->shipped[f] || f >= r->in->n_own || is_mask_package(&o->package)) continue;
        if (o->allow) ask_for(r, below_package(r, &o->package, STR("allow")));
        if (o->result) ask_for(r, below_package(r, &o->package, STR("result")));
    }
}

/* Masks that the module does not answer for mask nothing. */
static void ask_masks(struct run *r) {
    for (uint32_t i = 0; i < r->in->n_files; i++) {
        const struct outline *o = r->outlines[r->order[i]];
        if (!r->shipped[r->order[i]] || !is_mask_package(&o->package)) continue;
        if (o->mask) ask_for(r, STR("system/log/mask"));
        if (o->drop) ask_for(r, STR("system/log/drop"));
    }
}

static bool any_broken(const struct run *r) {
    for (uint32_t i = 0; i < r->in->n_files; i++)
        if (r->shipped[i] && r->outlines[i]->broken) return true;
    return false;
}

void run_choose_entrypoints(struct run *r) {
    const struct json *asked = r->in->entrypoints;
    for (uint32_t i = 0; asked && asked->kind == JSON_ARRAY && i < asked->n; i++)
        if (asked->items[i]->kind == JSON_STRING)
            ask_for(r, entrypoint_path(r, asked->items[i]->text));
    if (r->entrypoints.n == 0) ask_by_annotation(r);
    if (r->entrypoints.n == 0) ask_by_name(r);
    if (r->entrypoints.n == 0 && !any_broken(r))
        run_error(r, "no_entrypoint", (struct loc){0},
                  "nothing can be asked: no rule has the annotation `entrypoint: true` or is "
                  "called `allow` or "
                  "`result`; name the decisions in `entrypoints`");
    ask_masks(r);
}

/* ---- tests ---- */

void run_find_tests(struct run *r) {
    struct table seen;
    table_init(&seen, &r->b->work);
    for (uint32_t i = 0; i < r->in->n_files; i++) {
        uint32_t f = r->order[i];
        const struct outline *o = r->outlines[f];
        for (uint32_t k = 0; r->tested[f] && k < o->tests.n; k++) {
            const struct outline_test *t = &o->tests.items[k];
            struct build_test test = {
                .path = below_package(r, &o->package, t->name),
                .loc = {.file = r->in->files[f].name, .row = t->row, .col = t->col}};
            if (table_get(&seen, test.path)) continue;
            size_t len = 0;
            char *dotted = arena_printf(&r->b->work, &len, "data.%.*s", STR_FMT(test.path));
            for (size_t c = 0; c < len; c++)
                if (dotted[c] == '/') dotted[c] = '.';
            test.name = (struct str){dotted, len};
            table_set(&seen, test.path, (void *)(uintptr_t)1);
            ARENA_PUSH(&r->b->work, &r->tests, test);
        }
    }
}
