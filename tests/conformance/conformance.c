/* Runs OPA's YAML conformance cases in both module forms and prints TAP.
 * in: conformance [--v0] [--shard I/N] [--exceptions FILE] [--only TEXT] [--print-failing] CASES_DIR
 * out: one TAP line a case, a table of categories on standard error. owns: everything until exit.
 *
 * A case passes when the thin and the full form both give the wanted result or error. Cases in the exceptions file are
 * skipped, with their reason, as long as they end in an error that names what is missing; one that passes must be taken
 * off the list, and a wrong answer is a failure whether listed or not. */
#include "base/hash.h"
#include "compiler/compile.h"
#include "host/host.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_BYTES = 1 << 30 };
enum verdict { PASS, UNSUPPORTED, ERROR, WRONG };

struct files {
    struct str *items;
    uint32_t n, cap;
};

struct category {
    uint32_t pass, unsupported, error, wrong;
};

struct runner {
    struct arena all;
    struct engine *engine;
    struct instances *pool;
    struct table exceptions, categories;
    enum rego_version version;
    const char *prefix, *only;
    uint32_t shard, shards, number, seen;
    uint32_t pass, skip, fail;
    bool print_failing;
    char why[1024];
};

static void die(const char *what, const char *why) {
    fprintf(stderr, "conformance: %s: %s\n", what, why);
    exit(2);
}

static struct str read_file(struct arena *a, const char *path) {
    struct buf b;
    buf_init(&b, MAX_BYTES);
    if (buf_read_file(&b, path)) die(path, "cannot be read");
    struct str s = {arena_strndup(a, (const char *)b.ptr, b.len), b.len};
    buf_deinit(&b);
    return s;
}

static void find_cases(struct arena *a, const char *dir, struct files *out) {
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort);
    if (n < 0) die(dir, "cannot be read");
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        if (name[0] == '.') continue;
        char *path = arena_printf(a, NULL, "%s/%s", dir, name);
        struct stat st;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) find_cases(a, path, out);
        else if (str_ends(str_of(name), STR(".yaml"))) ARENA_PUSH(a, out, str_of(path));
    }
}

static bool has(const struct json *list, const struct json *item) {
    for (uint32_t i = 0; i < list->n; i++)
        if (json_equal(list->items[i], item)) return true;
    return false;
}

static bool same_sets(const struct json *a, const struct json *b) {
    for (uint32_t i = 0; i < a->n; i++)
        if (!has(b, a->items[i])) return false;
    for (uint32_t i = 0; i < b->n; i++)
        if (!has(a, b->items[i])) return false;
    return true;
}

/* sort_bindings: arrays are compared without regard to order. */
static bool same_unordered(const struct json *want, const struct json *got) {
    if (want->n != got->n) return false;
    for (uint32_t r = 0; r < want->n; r++) {
        const struct json *w = want->items[r], *g = got->items[r];
        if (w->n != g->n) return false;
        for (uint32_t i = 0; i < w->n; i++) {
            const struct json *x = w->items[i], *y = json_get(g, w->keys[i]);
            if (!y) return false;
            bool lists = x->kind == JSON_ARRAY && y->kind == JSON_ARRAY;
            if (lists ? x->n != y->n || !same_sets(x, y) : !json_equal(x, y)) return false;
        }
    }
    return true;
}

static bool flag(const struct json *c, const char *key) {
    const struct json *v = json_get_c(c, key);
    return v && v->kind == JSON_BOOL && v->boolean;
}

static struct str text(const struct json *c, const char *key) {
    const struct json *v = json_get_c(c, key);
    return v && v->kind == JSON_STRING ? v->text : (struct str){NULL, 0};
}

static enum verdict say(struct runner *r, enum verdict v, const char *what, struct str detail) {
    snprintf(r->why, sizeof r->why, "%s%.*s", what, detail.len > 600 ? 600 : (int)detail.len, detail.ptr);
    for (char *p = r->why; *p; p++)
        if (*p == '\n' || *p == '#') *p = ' ';
    return v;
}

static enum verdict judge_compile_error(struct runner *r, const struct compile *c, const struct json *tc) {
    struct buf b;
    buf_init(&b, 1 << 20);
    diag_print(&c->diags, &b);
    struct str code = text(tc, "want_error_code");
    enum verdict v = ERROR;
    for (uint32_t i = 0; i < c->diags.n; i++) {
        if (c->diags.items[i].code == DIAG_UNSUPPORTED) v = UNSUPPORTED;
        if (code.ptr && str_is(code, diag_code_word(c->diags.items[i].code))) v = PASS;
    }
    say(r, v, "compile: ", buf_view(&b));
    buf_deinit(&b);
    return v;
}

static bool contains(struct str hay, struct str needle) {
    for (size_t i = 0; i + needle.len <= hay.len; i++)
        if (memcmp(hay.ptr + i, needle.ptr, needle.len) == 0) return true;
    return needle.len == 0;
}

static enum verdict judge_error(struct runner *r, const struct json *tc, enum err e, const char *message) {
    struct str code = text(tc, "want_error_code"), want = text(tc, "want_error"), got = str_of(message);
    if (!code.ptr && !want.ptr) return say(r, ERROR, "unexpected error: ", got);
    const char *word = err_word(e);
    if (code.ptr && !str_is(code, word) && !str_starts(got, code)) {
        char note[200];
        snprintf(note, sizeof note, "want error %.*s, got %s: ", STR_FMT(code), word);
        return say(r, WRONG, note, got);
    }
    /* OPA's builtin errors begin with the place of the call, which our modules do not carry yet. */
    const char *place = want.ptr ? memmem(want.ptr, want.len, ": eval_", 7) : NULL;
    if (place) want = str_from(want, (size_t)(place - want.ptr) + 2);
    if (want.ptr && !contains(got, want)) return say(r, WRONG, "want other error text, got ", got);
    return PASS;
}

static enum verdict judge_result(struct runner *r, struct arena *a, const struct json *tc,
                                 const struct eval_result *got) {
    struct json *want = json_get_c(tc, "want_result"), *have = json_array(a);
    if (!want) return say(r, WRONG, "want an error, got ", got->defined ? got->json : STR("undefined"));
    if (got->defined && json_parse(a, got->json, &have, NULL)) return say(r, WRONG, "no JSON: ", got->json);
    bool same = flag(tc, "sort_bindings") ? same_unordered(want, have) : same_sets(want, have);
    if (same) return PASS;
    struct buf b;
    buf_init(&b, 1 << 20);
    json_print(want, true, 0, &b);
    buf_cstr(&b, " got ");
    json_print(have, true, 0, &b);
    say(r, WRONG, "want ", buf_view(&b));
    buf_deinit(&b);
    return WRONG;
}

static enum verdict eval_form(struct runner *r, struct arena *a, const struct compile *c, const struct json *tc,
                              struct str input, bool full) {
    struct policy *p;
    struct load_message m = {{0}};
    struct json *data = json_get_c(tc, "data");
    struct policy_source s = {.full = buf_view(&c->full), .thin = buf_view(&c->thin), .data = data, .name = STR("case"),
                              .require_full = full};
    if (full) s.thin = (struct str){"", 0};
    if (policy_load(r->engine, &s, &p, &m)) return say(r, ERROR, "load: ", str_of(m.text));
    struct eval_request q = {.policy = p, .entrypoint = 0, .input = input, .strict_builtin_errors = flag(tc, "strict_error"),
                             .limits = {.deadline_us = 10000000, .memory_bytes = 1ull << 30}};
    struct eval_result got;
    enum err e = policy_eval(r->pool, &q, &got);
    enum verdict v = e ? judge_error(r, tc, e, got.message) : judge_result(r, a, tc, &got);
    policy_release(p);
    if (v != PASS) {
        char note[1024];
        snprintf(note, sizeof note, "[%s] %.1000s", full ? "full" : "thin", r->why);
        memcpy(r->why, note, sizeof note);
    }
    return v;
}

static enum verdict run_compiled(struct runner *r, struct arena *a, const struct compile *c, const struct json *tc) {
    struct json *input_json = json_get_c(tc, "input");
    struct str input = {NULL, 0};
    struct buf b;
    buf_init(&b, MAX_BYTES);
    if (input_json) {
        json_print(input_json, false, 0, &b);
        input = buf_view(&b);
    }
    enum verdict v = eval_form(r, a, c, tc, input, false);
    if (v == PASS) v = eval_form(r, a, c, tc, input, true);
    buf_deinit(&b);
    return v;
}

static enum verdict run_case(struct runner *r, struct arena *a, const struct json *tc) {
    struct json *modules = json_get_c(tc, "modules"), *env = json_get_c(tc, "env");
    struct str query = text(tc, "query"), term = text(tc, "input_term");
    uint32_t n = modules ? modules->n : 0;
    struct compile_source *sources = ARENA_ARRAY(a, struct compile_source, n);
    for (uint32_t i = 0; i < n; i++) {
        size_t len = 0;
        char *name = arena_printf(a, &len, "test-%u.rego", i);
        sources[i] = (struct compile_source){{name, len}, modules->items[i]->text};
    }
    for (uint32_t i = 0; env && i < env->n; i++)
        setenv(arena_strndup(a, env->keys[i].ptr, env->keys[i].len),
               arena_strndup(a, env->items[i]->text.ptr, env->items[i]->text.len), 1);
    if (term.ptr) {
        size_t len = 0;
        char *q = arena_printf(a, &len, "%.*s with input as %.*s", STR_FMT(query), STR_FMT(term));
        query = (struct str){q, len};
    }
    struct compile_request request = {
        .sources = sources,
        .n_sources = n,
        .parse = {.version = r->version, .experimental_keywords = flag(tc, "experimental_keywords")},
        .query = query,
        .optimize = 1,
    };
    struct compile c;
    enum err e = compile_run(&c, &request, NULL);
    enum verdict v = e == ERR_DIAG ? judge_compile_error(r, &c, tc)
                     : e           ? say(r, ERROR, "compile: ", str_of(err_meaning(e)))
                                   : run_compiled(r, a, &c, tc);
    compile_end(&c);
    return v;
}

static struct category *category_of(struct runner *r, struct str path) {
    size_t end = path.len;
    while (end && path.ptr[end - 1] != '/') end--;
    size_t start = end ? end - 1 : 0;
    while (start && path.ptr[start - 1] != '/') start--;
    struct str name = {path.ptr + start, end ? end - 1 - start : 0};
    struct category *c = table_get(&r->categories, name);
    if (!c) table_set(&r->categories, name, c = ARENA_NEW(&r->all, struct category));
    return c;
}

static void report(struct runner *r, enum verdict v, struct str name, struct category *c) {
    const char *listed = table_get(&r->exceptions, name);
    uint32_t *counts[] = {&c->pass, &c->unsupported, &c->error, &c->wrong};
    ++*counts[v];
    r->number++;
    if (v == PASS && !listed) {
        r->pass++;
        printf("ok %u - %.*s\n", r->number, STR_FMT(name));
    } else if (v == PASS) {
        r->fail++;
        printf("not ok %u - %.*s: passes now, take it off the list of exceptions\n", r->number, STR_FMT(name));
    } else if (listed && v != WRONG) {
        r->skip++;
        printf("ok %u - %.*s # SKIP %s\n", r->number, STR_FMT(name), r->why);
    } else {
        r->fail++;
        static const char *const words[] = {"", "unsupported", "error", "WRONG"};
        printf("not ok %u - %.*s: %s: %s\n", r->number, STR_FMT(name), words[v], r->why);
    }
}

static void run_file(struct runner *r, struct str path) {
    struct arena a;
    struct json *top;
    struct json_error error;
    arena_init(&a, MAX_BYTES);
    if (yaml_parse(&a, read_file(&a, path.ptr), &top, &error)) die(path.ptr, error.message);
    struct json *cases = json_get_c(top, "cases");
    struct category *c = category_of(r, path);
    for (uint32_t i = 0; cases && i < cases->n; i++) {
        size_t len = 0;
        struct str note = text(cases->items[i], "note");
        char *name = arena_printf(&a, &len, "%s/%.*s", r->prefix, STR_FMT(note));
        if (r->seen++ % r->shards != r->shard) continue;
        if (r->only && !strstr(name, r->only)) continue;
        r->why[0] = 0;
        if (r->print_failing) fprintf(stderr, "%s\n", name);
        report(r, run_case(r, &a, cases->items[i]), (struct str){name, len}, c);
        fflush(stdout);
    }
    arena_deinit(&a);
}

static void read_exceptions(struct runner *r, const char *path) {
    struct str all = read_file(&r->all, path);
    for (size_t i = 0; i < all.len; i++) {
        size_t start = i;
        while (i < all.len && all.ptr[i] != '\n') i++;
        struct str line = {all.ptr + start, i - start};
        if (line.len && line.ptr[0] != '#') table_set(&r->exceptions, line, (void *)"listed");
    }
}

static void summary(struct runner *r) {
    uint32_t total = r->pass + r->skip + r->fail;
    fprintf(stderr, "%-32s %6s %6s %6s %6s\n", "category", "pass", "unsup.", "error", "wrong");
    for (uint32_t i = 0; i < r->categories.n; i++) {
        struct category *c = r->categories.entries[i].value;
        if (c->pass + c->unsupported + c->error + c->wrong)
            fprintf(stderr, "%-32.*s %6u %6u %6u %6u\n", STR_FMT(r->categories.entries[i].key), c->pass, c->unsupported,
                    c->error, c->wrong);
    }
    fprintf(stderr, "%s: %u of %u cases pass, %u skipped, %u failed\n", r->prefix, r->pass, total, r->skip, r->fail);
}

int main(int argc, char **argv) {
    struct runner r = {.version = REGO_V1, .prefix = "v1", .shards = 1};
    const char *dir = NULL, *exceptions = NULL;
    arena_init(&r.all, MAX_BYTES);
    table_init(&r.exceptions, &r.all);
    table_init(&r.categories, &r.all);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--v0")) r.version = REGO_V0, r.prefix = "v0";
        else if (!strcmp(argv[i], "--print-failing")) r.print_failing = true;
        else if (!strcmp(argv[i], "--shard") && i + 1 < argc) sscanf(argv[++i], "%u/%u", &r.shard, &r.shards);
        else if (!strcmp(argv[i], "--exceptions") && i + 1 < argc) exceptions = argv[++i];
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) r.only = argv[++i];
        else dir = argv[i];
    }
    if (!dir) die("usage", "conformance [--v0] [--shard I/N] [--exceptions FILE] [--only TEXT] CASES_DIR");
    if (exceptions) read_exceptions(&r, exceptions);
    struct engine_options o = {.max_instances = 64, .quick_compile = true};
    if (engine_new(&o, &r.engine) || instances_new(r.engine, 1, &r.pool)) die("engine", "cannot start");
    struct files files = {0};
    find_cases(&r.all, dir, &files);
    for (uint32_t i = 0; i < files.n; i++) run_file(&r, files.items[i]);
    printf("1..%u\n", r.number);
    summary(&r);
    instances_free(r.pool);
    engine_free(r.engine);
    arena_deinit(&r.all);
    return r.fail ? 1 : 0;
}
