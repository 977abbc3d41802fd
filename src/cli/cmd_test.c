/* regent test: runs every test_ rule of the given policies, each in the compiled module.
 * in: flags, files. out: results in OPA's forms, exit 2 when a test fails. owns: its session. */
#include "cli/session.h"
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { OUTPUT_BYTES = 1 << 30, TEST_DEADLINE_US = 5000000 };

enum outcome { TEST_PASS, TEST_FAIL, TEST_SKIP, TEST_ERROR };

struct test_case {
    struct str package, name, path; /* "data.t_test", "test_ok", "t_test/test_ok" */
    struct loc loc;
    enum outcome outcome;
    uint64_t duration_ns;
    struct str message;
};
struct test_list {
    struct test_case *items;
    uint32_t n, cap;
};

struct test_flags {
    struct load_options load;
    struct str run, format, timeout, set_file;
    struct str_list set;
    bool bundle, verbose, v0, zero_on_skipped, fail_on_empty;
    int64_t count;
};

static bool read_flags(struct arena *a, struct test_flags *f, int argc, char **argv, struct str_list *rest,
                       int *code) {
    const struct option_spec specs[] = {
        {"bundle", 'b', OPTION_BOOL, &f->bundle, NULL, "load paths as bundle files or root folders"},
        {"verbose", 'v', OPTION_BOOL, &f->verbose, NULL, "show every test"},
        {"run", 'r', OPTION_TEXT, &f->run, "REGEX", "run only tests whose data.package.name matches"},
        {"format", 'f', OPTION_TEXT, &f->format, "FORMAT", "pretty (default) or json"},
        {"count", 0, OPTION_NUMBER, &f->count, "N", "times to repeat each test (default 1)"},
        {"exit-zero-on-skipped", 'z', OPTION_BOOL, &f->zero_on_skipped, NULL, "skipped tests do not count as failed"},
        {"fail-on-empty", 0, OPTION_BOOL, &f->fail_on_empty, NULL, "fail when no test was run"},
        {"set", 0, OPTION_LIST, &f->set, "NAME=VALUE", "value for {{NAME}} in string literals (repeatable)"},
        {"set-file", 0, OPTION_TEXT, &f->set_file, "FILE", "JSON or YAML object of such values"},
        {"ignore", 0, OPTION_LIST, &f->load.ignore, "NAME", "file and folder names to leave out"},
        {"v0-compatible", 0, OPTION_BOOL, &f->v0, NULL, "read policies as Rego v0"},
        {0},
    };
    f->load.tests = true;
    return command_options(a, "test <path> [path [...]] [flags]", specs, argc, argv, rest, code);
}

static bool listed(const struct test_list *l, struct str path) {
    for (uint32_t i = 0; i < l->n; i++)
        if (str_eq(l->items[i].path, path)) return true;
    return false;
}

/* "data.a.b" of a package ref, and its slashed form without data. */
static void add_test(struct arena *a, struct test_list *l, const struct module *m, const struct rule *r) {
    struct str package = ref_dotted(a, m->package), name = r->head->ref->list.items[0]->text;
    bool skip = str_starts(name, STR("todo_test_"));
    if (!skip && !str_starts(name, STR("test_"))) return;
    size_t len = 0;
    char *path = arena_printf(a, &len, "%.*s/%.*s", STR_FMT(str_from(package, 5)), STR_FMT(name));
    for (size_t i = 0; i < len; i++)
        if (path[i] == '.') path[i] = '/';
    struct test_case t = {package, name, {path, len}, r->loc, skip ? TEST_SKIP : TEST_PASS, 0, {"", 0}};
    if (!listed(l, t.path)) ARENA_PUSH(a, l, t);
}

static bool find_tests(struct arena *a, const struct compile_request *r, struct test_list *l,
                       struct diag_list *diags) {
    for (uint32_t i = 0; i < r->n_sources; i++) {
        struct module *m = parse_module(a, r->sources[i].file, r->sources[i].text, &r->parse, diags);
        for (uint32_t k = 0; m && k < m->rules.n; k++) add_test(a, l, m, m->rules.items[k]);
    }
    diag_sort(diags);
    return diags->n == 0;
}

/* Keeps the tests whose full name matches; false: the expression is wrong. */
static bool filter(struct arena *a, struct test_list *l, struct str expression) {
    regex_t re;
    if (expression.len == 0) return true;
    if (regcomp(&re, arena_strndup(a, expression.ptr, expression.len), REG_EXTENDED | REG_NOSUB)) return false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        char *name = arena_printf(a, NULL, "%.*s.%.*s", STR_FMT(l->items[i].package), STR_FMT(l->items[i].name));
        if (regexec(&re, name, 0, NULL, 0) == 0) l->items[kept++] = l->items[i];
    }
    regfree(&re);
    l->n = kept;
    return true;
}

static void run_one(struct arena *a, struct session *s, struct test_case *t) {
    struct eval_result r;
    if (t->outcome == TEST_SKIP) return;
    int32_t id = policy_entrypoint(s->policy, t->path);
    enum err e = id < 0 ? ERR_NOT_FOUND
                        : session_eval(s, (uint32_t)id, (struct str){NULL, 0}, false, TEST_DEADLINE_US, &r);
    if (e) {
        t->outcome = TEST_ERROR;
        const char *why = id < 0 ? "no such test in the module" : r.message[0] ? r.message : err_meaning(e);
        t->message = str_of(arena_strndup(a, why, strlen(why)));
        return;
    }
    t->duration_ns = r.eval_ns;
    t->outcome = r.defined && !str_is(r.json, "false") ? TEST_PASS : TEST_FAIL;
}

static const char *word(enum outcome o) {
    switch (o) {
    case TEST_PASS: return "PASS";
    case TEST_FAIL: return "FAIL";
    case TEST_SKIP: return "SKIPPED";
    case TEST_ERROR: return "ERROR";
    }
    return "";
}

static void duration(uint64_t ns, char out[32]) {
    if (ns < 1000) snprintf(out, 32, "%lluns", (unsigned long long)ns);
    else if (ns < 1000000) snprintf(out, 32, "%.6gµs", (double)ns / 1e3);
    else snprintf(out, 32, "%.8gms", (double)ns / 1e6);
}

static void print_pretty(const struct test_flags *f, const struct test_list *l) {
    uint32_t n[4] = {0};
    for (uint32_t i = 0; i < l->n; i++) {
        const struct test_case *t = &l->items[i];
        char time[32];
        n[t->outcome]++;
        if (t->outcome == TEST_PASS && !f->verbose) continue;
        printf("%.*s:%u:\n", STR_FMT(t->loc.file), (unsigned)t->loc.row);
        duration(t->duration_ns, time);
        printf("%.*s.%.*s: %s", STR_FMT(t->package), STR_FMT(t->name), word(t->outcome));
        if (t->outcome != TEST_SKIP) printf(" (%s)", time);
        putchar('\n');
        if (t->message.len) printf("  %.*s\n", STR_FMT(t->message));
    }
    if (l->n > n[TEST_PASS] || f->verbose)
        puts("--------------------------------------------------------------------------------");
    for (int o = 0; o < 4; o++)
        if (n[o]) printf("%s: %u/%u\n", word((enum outcome)o), n[o], l->n);
}

static void print_json(struct arena *a, const struct test_list *l) {
    struct json *list = json_array(a);
    struct buf out;
    for (uint32_t i = 0; i < l->n; i++) {
        const struct test_case *t = &l->items[i];
        struct json *o = json_object(a), *loc = json_object(a);
        json_set(a, loc, STR("file"), json_string(a, t->loc.file));
        json_set(a, loc, STR("row"), json_int(a, t->loc.row));
        json_set(a, loc, STR("col"), json_int(a, t->loc.col));
        json_set(a, o, STR("location"), loc);
        json_set(a, o, STR("package"), json_string(a, t->package));
        json_set(a, o, STR("name"), json_string(a, t->name));
        if (t->outcome == TEST_FAIL) json_set(a, o, STR("fail"), json_bool(a, true));
        if (t->outcome == TEST_SKIP) json_set(a, o, STR("skip"), json_bool(a, true));
        if (t->outcome == TEST_ERROR) json_set(a, o, STR("error"), json_string(a, t->message));
        json_set(a, o, STR("duration"), json_int(a, (int64_t)t->duration_ns));
        json_push(a, list, o);
    }
    buf_init(&out, OUTPUT_BYTES);
    json_print(list, false, 2, &out);
    buf_byte(&out, '\n');
    print_buf(1, &out);
    buf_deinit(&out);
}

static int exit_code(const struct test_flags *f, const struct test_list *l) {
    if (l->n == 0) return f->fail_on_empty ? EXIT_ERRORS : EXIT_OK;
    for (uint32_t i = 0; i < l->n; i++) {
        enum outcome o = l->items[i].outcome;
        if (o == TEST_FAIL || o == TEST_ERROR || (o == TEST_SKIP && !f->zero_on_skipped)) return EXIT_ERRORS;
    }
    return EXIT_OK;
}

/* Without a test there is nothing to load, but policies are checked all the same. */
static enum err open_tests(struct session *s, const struct compile_request *request, const struct json *data,
                           struct load_message *message) {
    if (request->n_entrypoints) return session_open(s, request, data, message);
    message->text[0] = 0;
    s->compiled = true;
    return compile_run(&s->compile, request, "check");
}

static int run(struct arena *a, const struct test_flags *f, const struct loaded *loaded, const struct json *values) {
    struct compile_request request = {
        .thin_only = true,
        .sources = loaded->sources.items,
        .n_sources = loaded->sources.n,
        .parse = {.version = f->v0 || loaded->v0 ? REGO_V0 : REGO_V1, .template_values = values},
        .data = loaded->data,
        .optimize = 1,
    };
    struct test_list tests = {0};
    struct diag_list diags;
    struct { struct str *items; uint32_t n, cap; } paths = {0};
    bool json = str_is(f->format, "json");
    diag_list_init(&diags, a);
    if (!find_tests(a, &request, &tests, &diags)) return report_errors(&diags, json, EXIT_FAILED);
    if (!filter(a, &tests, f->run)) return fail("--run: not a regular expression");
    for (uint32_t i = 0; i < tests.n; i++)
        if (tests.items[i].outcome != TEST_SKIP) ARENA_PUSH(a, &paths, tests.items[i].path);
    request.entrypoints = paths.items;
    request.n_entrypoints = paths.n;
    struct session s = {.once = true};
    struct load_message message;
    enum err e = open_tests(&s, &request, loaded->data, &message);
    int code = EXIT_OK;
    if (e == ERR_DIAG) code = report_errors(&s.compile.diags, json, EXIT_FAILED);
    else if (e) code = fail("%s", message.text[0] ? message.text : err_meaning(e));
    for (int64_t k = 0; !e && k < (f->count > 1 ? f->count : 1); k++)
        for (uint32_t i = 0; i < tests.n; i++)
            if (k == 0 || tests.items[i].outcome == TEST_PASS) run_one(a, &s, &tests.items[i]);
    if (!e && json) print_json(a, &tests);
    else if (!e) print_pretty(f, &tests);
    if (!e) code = exit_code(f, &tests);
    session_close(&s);
    return code;
}

int cmd_test(struct arena *a, int argc, char **argv) {
    struct test_flags f = {0};
    struct str_list rest;
    int code;
    if (!read_flags(a, &f, argc, argv, &rest, &code)) return code;
    if (rest.n == 0) return fail("specify at least one file");
    for (uint32_t i = 0; i < rest.n; i++) {
        struct str_list *to = f.bundle ? &f.load.bundles : &f.load.paths;
        ARENA_PUSH(a, to, rest.items[i]);
    }
    struct diag_list diags;
    struct loaded loaded;
    const struct json *values;
    diag_list_init(&diags, a);
    if (!load_paths(a, &f.load, &loaded, &diags) || !load_template_values(a, &f.set, f.set_file, &values, &diags))
        return report_errors(&diags, str_is(f.format, "json"), EXIT_FAILED);
    return run(a, &f, &loaded, values);
}
