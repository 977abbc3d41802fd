/* regent eval: any query on policies, data and input.
 * in: flags, files. out: the result set in OPA's formats. owns: its session. */
#include "cli/session.h"
#include <stdio.h>
#include <stdlib.h>

enum { OUTPUT_BYTES = 1 << 30 };

struct eval_flags {
    struct load_options load;
    struct str_list imports;
    struct str input, format, package, timeout, target, entrypoint;
    bool stdin_input, stdin_query, v0, strict, strict_builtins, fail, fail_defined, ignored;
    int64_t optimize, pretty_limit;
};

static bool read_flags(struct arena *a, struct eval_flags *f, int argc, char **argv, struct str_list *rest,
                       int *code) {
    const struct option_spec specs[] = {
        {"bundle", 'b', OPTION_LIST, &f->load.bundles, "PATH", "bundle file or folder (repeatable)"},
        {"data", 'd', OPTION_LIST, &f->load.paths, "PATH", "policy or data file or folder (repeatable)"},
        {"input", 'i', OPTION_TEXT, &f->input, "PATH", "input file (JSON or YAML)"},
        {"stdin-input", 'I', OPTION_BOOL, &f->stdin_input, NULL, "read the input from standard input"},
        {"stdin", 0, OPTION_BOOL, &f->stdin_query, NULL, "read the query from standard input"},
        {"format", 'f', OPTION_TEXT, &f->format, "FORMAT", "json, pretty, raw, values, bindings or discard"},
        {"package", 0, OPTION_TEXT, &f->package, "PACKAGE", "package in which the query's names are looked up"},
        {"import", 0, OPTION_LIST, &f->imports, "PATH", "import for the query (repeatable)"},
        {"fail", 0, OPTION_BOOL, &f->fail, NULL, "exit 1 when the result is undefined or empty"},
        {"fail-defined", 0, OPTION_BOOL, &f->fail_defined, NULL, "exit 1 when the result is defined"},
        {"strict", 'S', OPTION_BOOL, &f->strict, NULL, "compiler strict mode"},
        {"strict-builtin-errors", 0, OPTION_BOOL, &f->strict_builtins, NULL, "the first builtin error is fatal"},
        {"timeout", 0, OPTION_TEXT, &f->timeout, "DURATION", "evaluation limit, such as 500ms or 10s"},
        {"optimize", 'O', OPTION_NUMBER, &f->optimize, "LEVEL", "optimization level (default 1)"},
        {"target", 't', OPTION_TEXT, &f->target, "TARGET", "accepted for OPA's sake: rego and wasm are one here"},
        {"pretty-limit", 0, OPTION_NUMBER, &f->pretty_limit, "N", "longest cell of a pretty table (default 80)"},
        {"ignore", 0, OPTION_LIST, &f->load.ignore, "NAME", "file and folder names to leave out"},
        {"v0-compatible", 0, OPTION_BOOL, &f->v0, NULL, "read policies as Rego v0"},
        {0},
    };
    f->load.tests = true;
    return command_options(a, "eval <query> [flags]", specs, argc, argv, rest, code);
}

/* "1h", "500ms", "10s" … in microseconds; 0 for none, -1 when it is no duration. */
static int64_t duration_us(struct str s) {
    static const struct {
        const char *unit;
        double us;
    } units[] = {{"ns", 0.001}, {"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 6e7}, {"h", 3.6e9}};
    if (s.len == 0) return 0;
    char *end;
    double n = strtod(s.ptr, &end);
    if (n == 0 && *end == 0) return 0;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0 && n > 0) return (int64_t)(n * units[i].us) + 1;
    return -1;
}

static void set(struct arena *a, struct json *o, const char *key, struct json *v) { json_set(a, o, str_of(key), v); }

/* One binding object as OPA's {"expressions":[…],"bindings":{…}}. */
static struct json *result_of(struct arena *a, const struct compile *c, const struct json *row) {
    struct json *expressions = json_array(a), *bindings = json_object(a), *o = json_object(a);
    for (uint32_t i = 0; i < c->captures.n; i++) {
        const struct capture *k = &c->captures.items[i];
        struct json *v = k->var.len ? json_get(row, k->var) : NULL, *e = json_object(a), *loc = json_object(a);
        set(a, e, "value", v ? v : json_bool(a, true));
        set(a, e, "text", json_string(a, k->text));
        set(a, loc, "row", json_int(a, k->row));
        set(a, loc, "col", json_int(a, k->col));
        set(a, e, "location", loc);
        json_push(a, expressions, e);
    }
    for (uint32_t i = 0; i < row->n; i++)
        if (row->keys[i].ptr[0] != '^') json_set(a, bindings, row->keys[i], row->items[i]);
    set(a, o, "expressions", expressions);
    if (bindings->n) set(a, o, "bindings", bindings);
    return o;
}

static struct json *values_of(struct arena *a, const struct json *result) {
    struct json *list = json_get_c(result, "expressions"), *values = json_array(a);
    for (uint32_t i = 0; i < list->n; i++) json_push(a, values, json_get_c(list->items[i], "value"));
    return values;
}

static void line(const struct json *v, int indent, struct buf *out) {
    json_print(v, true, indent, out);
    buf_byte(out, '\n');
}

static void print_raw(struct arena *a, const struct json *results, struct buf *out) {
    for (uint32_t r = 0; r < results->n; r++) {
        struct json *values = values_of(a, results->items[r]);
        for (uint32_t i = 0; i < values->n; i++) {
            if (i) buf_byte(out, ' ');
            if (values->items[i]->kind == JSON_STRING) buf_str(out, values->items[i]->text);
            else json_print(values->items[i], true, 0, out);
        }
        buf_byte(out, '\n');
    }
}

static struct str cell_text(struct arena *a, const struct json *v, int64_t limit) {
    struct buf b;
    buf_init(&b, OUTPUT_BYTES);
    json_print(v, true, 0, &b);
    size_t len = b.len;
    bool cut = limit > 0 && len > (size_t)limit;
    char *text = arena_printf(a, &len, "%.*s%s", (int)(cut ? (size_t)limit : len), (char *)b.ptr, cut ? "..." : "");
    buf_deinit(&b);
    return (struct str){text, len};
}

/* The i-th expression's value. */
static struct json *value_at(const struct json *result, uint32_t i) {
    return json_get_c(json_get_c(result, "expressions")->items[i], "value");
}

static int by_name(const void *a, const void *b) { return str_cmp(*(const struct str *)a, *(const struct str *)b); }

/* A table of bindings and of the expressions that are no plain truths, as OPA's pretty form. */
static void print_pretty(struct arena *a, const struct json *results, int64_t limit, struct buf *out) {
    if (results->n == 0) {
        buf_cstr(out, "undefined\n");
        return;
    }
    const struct json *first = results->items[0], *bindings = json_get_c(first, "bindings");
    const struct json *expressions = json_get_c(first, "expressions");
    if (results->n == 1 && expressions->n == 1 && !bindings) {
        line(json_get_c(expressions->items[0], "value"), 2, out);
        return;
    }
    struct { struct str *items; uint32_t n, cap; } names = {0}, cells = {0};
    struct { uint32_t *items; uint32_t n, cap; } shown = {0};
    for (uint32_t i = 0; bindings && i < bindings->n; i++) ARENA_PUSH(a, &names, bindings->keys[i]);
    if (names.n) qsort(names.items, names.n, sizeof *names.items, by_name);
    uint32_t bound = names.n;
    for (uint32_t i = 0; i < expressions->n; i++) {
        bool plain = true;
        for (uint32_t r = 0; r < results->n; r++) {
            const struct json *v = value_at(results->items[r], i);
            plain &= v->kind == JSON_BOOL && v->boolean;
        }
        if (plain && (bound || expressions->n > 1)) continue;
        ARENA_PUSH(a, &shown, i);
        ARENA_PUSH(a, &names, json_get_c(expressions->items[i], "text")->text);
    }
    for (uint32_t i = 0; i < names.n; i++) ARENA_PUSH(a, &cells, names.items[i]);
    for (uint32_t r = 0; r < results->n; r++) {
        const struct json *row = results->items[r];
        for (uint32_t i = 0; i < bound; i++)
            ARENA_PUSH(a, &cells, cell_text(a, json_get(json_get_c(row, "bindings"), names.items[i]), limit));
        for (uint32_t i = 0; i < shown.n; i++)
            ARENA_PUSH(a, &cells, cell_text(a, value_at(row, shown.items[i]), limit));
    }
    if (names.n == 0) buf_cstr(out, "true\n");
    else print_table(cells.items, results->n + 1, names.n, true, false, out);
}

static int print_results(struct arena *a, const struct eval_flags *f, struct json *results, struct buf *out) {
    struct json *top = json_object(a);
    if (results->n) set(a, top, "result", results);
    if (str_is(f->format, "json") || f->format.len == 0) {
        json_print(top, false, 2, out);
        buf_byte(out, '\n');
    } else if (str_is(f->format, "values")) {
        for (uint32_t i = 0; i < results->n; i++) line(values_of(a, results->items[i]), 2, out);
    } else if (str_is(f->format, "bindings")) {
        for (uint32_t i = 0; i < results->n; i++) {
            struct json *b = json_get_c(results->items[i], "bindings");
            line(b ? b : json_object(a), 2, out);
        }
    } else if (str_is(f->format, "raw")) {
        print_raw(a, results, out);
    } else if (str_is(f->format, "discard")) {
        if (results->n) set(a, top, "result", json_string(a, STR("discarded")));
        line(top, 2, out);
    } else if (str_is(f->format, "pretty")) {
        print_pretty(a, results, f->pretty_limit ? f->pretty_limit : 80, out);
    } else {
        return fail("invalid argument \"%.*s\" for --format: use json, pretty, raw, values, bindings or discard",
                    STR_FMT(f->format));
    }
    return EXIT_OK;
}

/* "eval_conflict_error: p.rego:3:1: text" as OPA's error object on standard output. */
static int report_eval_error(struct arena *a, const struct eval_flags *f, enum err e, const char *message) {
    struct str text = str_of(message), code = STR("eval_internal_error"), word = str_of(err_word(e));
    struct json *o = json_object(a), *list = json_array(a), *top = json_object(a), *loc = NULL;
    if (str_starts(word, STR("eval_"))) code = word;
    else if (e == ERR_DEADLINE) code = STR("eval_cancel_error");
    if (str_starts(text, word) && text.len > word.len + 2) text = str_from(text, word.len + 2);
    char file[256];
    unsigned row, col;
    int used = 0;
    if (sscanf(text.ptr, "%255[^:]:%u:%u: %n", file, &row, &col, &used) == 3 && used > 0) {
        loc = json_object(a);
        set(a, loc, "file", json_string(a, str_of(arena_strndup(a, file, strlen(file)))));
        set(a, loc, "row", json_int(a, row));
        set(a, loc, "col", json_int(a, col));
        text = str_from(text, (size_t)used);
    }
    set(a, o, "message", json_string(a, text.len ? text : str_of(err_meaning(e))));
    set(a, o, "code", json_string(a, code));
    if (loc) set(a, o, "location", loc);
    json_push(a, list, o);
    set(a, top, "errors", list);
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    if (str_is(f->format, "pretty") || str_is(f->format, "raw"))
        buf_printf(&out, "1 error occurred: %.*s: %.*s\n", STR_FMT(code), STR_FMT(text));
    else line(top, 2, &out);
    print_buf(str_is(f->format, "pretty") || str_is(f->format, "raw") ? 2 : 1, &out);
    buf_deinit(&out);
    return EXIT_ERRORS;
}

static int evaluate(struct arena *a, const struct eval_flags *f, struct session *s, struct str input) {
    struct eval_result r;
    struct json *rows, *results = json_array(a);
    int64_t timeout = duration_us(f->timeout);
    if (timeout < 0) return fail("--timeout takes a duration such as 500ms or 10s");
    enum err e = session_eval(s, 0, input, f->strict_builtins, (uint64_t)timeout, &r);
    if (e) return report_eval_error(a, f, e, r.message);
    if (r.defined && (e = json_parse(a, r.json, &rows, NULL)))
        return report_eval_error(a, f, e, "the result is no JSON");
    for (uint32_t i = 0; r.defined && i < rows->n; i++)
        json_push(a, results, result_of(a, &s->compile, rows->items[i]));
    struct buf out, escaped;
    buf_init(&out, OUTPUT_BYTES);
    buf_init(&escaped, OUTPUT_BYTES);
    int code = print_results(a, f, results, &out);
    bool plain = str_is(f->format, "raw") || str_is(f->format, "pretty");
    if (!plain) json_escape_html(buf_view(&out), &escaped);
    print_buf(1, plain ? &out : &escaped);
    buf_deinit(&escaped);
    buf_deinit(&out);
    if (code == EXIT_OK && f->fail && results->n == 0) return EXIT_FAILED;
    if (code == EXIT_OK && f->fail_defined && results->n) return EXIT_FAILED;
    return code;
}

int cmd_eval(struct arena *a, int argc, char **argv) {
    struct eval_flags f = {.optimize = 1};
    struct str_list rest;
    int code;
    if (!read_flags(a, &f, argc, argv, &rest, &code)) return code;
    bool as_json = f.format.len == 0 || str_is(f.format, "json");
    struct diag_list diags;
    diag_list_init(&diags, a);
    struct str query = rest.n ? rest.items[0] : (struct str){0}, input;
    if (rest.n > 1) return fail("specify one query; it got %u arguments (quote the query for the shell)", rest.n);
    if (f.stdin_query && !load_file(a, "-", &query, &diags)) return report_errors(&diags, as_json, EXIT_ERRORS);
    if (!query.ptr) return fail("specify query argument or --stdin");
    struct loaded loaded;
    if (!load_paths(a, &f.load, &loaded, &diags) || !load_input(a, f.input, f.stdin_input, &input, &diags))
        return report_errors(&diags, as_json, EXIT_ERRORS);
    struct compile_request request = {
        .sources = loaded.sources.items,
        .n_sources = loaded.sources.n,
        .parse = {.version = f.v0 || loaded.v0 ? REGO_V0 : REGO_V1},
        .query = query,
        .query_package = f.package,
        .query_imports = f.imports.items,
        .n_query_imports = f.imports.n,
        .data = loaded.data,
        .capture_values = true,
        .thin_only = true,
        .strict = f.strict,
        .optimize = (int)f.optimize,
    };
    struct session s = {.once = true};
    struct load_message message;
    enum err e = session_open(&s, &request, loaded.data, &message);
    if (e == ERR_DIAG) code = report_errors(&s.compile.diags, as_json, EXIT_ERRORS);
    else if (e) code = report_eval_error(a, &f, e, message.text);
    else code = evaluate(a, &f, &s, input);
    session_close(&s);
    return code;
}
