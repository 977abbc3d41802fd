/* regent build: policies to a bundle (rego, plan or wasm), to a bare module, or to a proxy-wasm filter.
 * in: flags, files. out: the bundle, a .sha256 file beside it, or a stage's dump. owns: its compile. */
#include "base/hash.h"
#include "bundle/bundle.h"
#include "cli/cli.h"
#include "compiler/plan/ir.h"
#include "compiler/source.h"
#include "compiler/template.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { OUTPUT_BYTES = 1 << 30, DEFAULT_MAX_SIZE = 10 * 1000 * 1000 };

struct build_flags {
    struct load_options load;
    struct str_list entrypoints, set;
    struct str target, output, dump, revision, max_size, set_file, disable, form, format;
    bool bundle, v0, raw, strict, wasm_include_print, debug;
    int64_t optimize;
};

static bool read_flags(struct arena *a, struct build_flags *f, int argc, char **argv, struct str_list *rest,
                       int *code) {
    const struct option_spec specs[] = {
        {"target", 't', OPTION_TEXT, &f->target, "TARGET", "rego (default), wasm, plan or proxy-wasm"},
        {"entrypoint", 'e', OPTION_LIST, &f->entrypoints, "PATH", "slash separated entrypoint (repeatable)"},
        {"output", 'o', OPTION_TEXT, &f->output, "FILE", "output (default bundle.tar.gz, policy.wasm, filter.wasm)"},
        {"bundle", 'b', OPTION_BOOL, &f->bundle, NULL, "load paths as bundle files or root folders"},
        {"data", 'd', OPTION_LIST, &f->load.paths, "PATH", "further policy or data file or folder (repeatable)"},
        {"set", 0, OPTION_LIST, &f->set, "NAME=VALUE", "value for {{NAME}} in string literals (repeatable)"},
        {"set-file", 0, OPTION_TEXT, &f->set_file, "FILE", "JSON or YAML object of such values"},
        {"revision", 'r', OPTION_TEXT, &f->revision, "TEXT", "revision written into the manifest"},
        {"raw", 0, OPTION_BOOL, &f->raw, NULL, "write the bare module instead of a bundle"},
        {"form", 0, OPTION_TEXT, &f->form, "FORM", "with --raw: full (default) or thin"},
        {"max-size", 0, OPTION_TEXT, &f->max_size, "BYTES", "largest module allowed: 500KB, 10MB … (default 10MB)"},
        {"optimize", 'O', OPTION_NUMBER, &f->optimize, "LEVEL", "optimization level (default 1)"},
        {"disable-transform", 0, OPTION_TEXT, &f->disable, "NAMES", "transforms to leave out, comma separated"},
        {"dump", 0, OPTION_TEXT, &f->dump, "STAGE", "print a stage's output and stop; `list` names the stages"},
        {"strict", 'S', OPTION_BOOL, &f->strict, NULL, "compiler strict mode"},
        {"wasm-include-print", 0, OPTION_BOOL, &f->wasm_include_print, NULL, "keep print() calls"},
        {"ignore", 0, OPTION_LIST, &f->load.ignore, "NAME", "file and folder names to leave out"},
        {"format", 0, OPTION_TEXT, &f->format, "FORMAT", "errors as pretty (default) or json"},
        {"v0-compatible", 0, OPTION_BOOL, &f->v0, NULL, "read policies as Rego v0"},
        {"debug", 0, OPTION_BOOL, &f->debug, NULL, "accepted for OPA's sake"},
        {0},
    };
    return command_options(a, "build <path> [<path> [...]] [flags]", specs, argc, argv, rest, code);
}

/* "10MB", "500KB", "1048576": bytes; -1 when it is no size. */
static int64_t size_of(struct str s) {
    static const struct {
        const char *unit;
        int64_t bytes;
    } units[] = {{"", 1}, {"B", 1}, {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000},
                 {"KiB", 1024}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
    char *end;
    if (s.len == 0) return DEFAULT_MAX_SIZE;
    double n = strtod(s.ptr, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0 && n > 0 && n < 1e9) return (int64_t)(n * (double)units[i].bytes);
    return -1;
}

static struct str copy(struct arena *a, const struct buf *b) {
    return (struct str){arena_strndup(a, (const char *)b->ptr, b->len), b->len};
}

static struct str print_to(struct arena *a, const struct json *v) {
    struct buf b;
    buf_init(&b, OUTPUT_BYTES);
    json_print(v, false, 0, &b);
    struct str s = copy(a, &b);
    buf_deinit(&b);
    return s;
}

/* `from`: the manifest of the bundle that is built anew (NULL: none), whose revision, roots and metadata stay, as with
 * `opa build -b`. */
static struct str manifest(struct arena *a, const struct build_flags *f, const struct compile *c,
                           const struct json *from) {
    struct json *m = json_object(a), *wasm = json_array(a);
    struct json *roots = from ? json_get_c(from, "roots") : NULL;
    struct json *revision = from ? json_get_c(from, "revision") : NULL;
    if (!roots || roots->kind != JSON_ARRAY) {
        roots = json_array(a);
        json_push(a, roots, json_string(a, STR("")));
    }
    if (f->revision.ptr || !revision || revision->kind != JSON_STRING)
        revision = json_string(a, f->revision.ptr ? f->revision : STR(""));
    json_set(a, m, STR("revision"), revision);
    json_set(a, m, STR("roots"), roots);
    for (uint32_t i = 0; c->full.len && i < c->plan->entrypoints.n; i++) {
        struct json *e = json_object(a);
        json_set(a, e, STR("entrypoint"), json_string(a, c->plan->entrypoints.items[i]->name));
        json_set(a, e, STR("module"), json_string(a, STR("/policy.wasm")));
        json_push(a, wasm, e);
    }
    if (wasm->n) json_set(a, m, STR("wasm"), wasm);
    json_set(a, m, STR("rego_version"), json_int(a, f->v0 ? 0 : 1));
    if (from && json_get_c(from, "metadata")) json_set(a, m, STR("metadata"), json_get_c(from, "metadata"));
    return print_to(a, m);
}

struct file_list {
    struct bundle_file *items;
    uint32_t n, cap;
};

static void add(struct arena *a, struct file_list *l, struct str path, struct str bytes) {
    ARENA_PUSH(a, l, ((struct bundle_file){path, bytes}));
}

static void add_sources(struct arena *a, const struct compile_request *r, struct file_list *l) {
    struct buf scratch;
    buf_init(&scratch, OUTPUT_BYTES);
    for (uint32_t i = 0; i < r->n_sources; i++)
        add(a, l, source_path(a, r->sources[i].file),
            source_text(a, &r->sources[i], &r->parse, &scratch));
    buf_deinit(&scratch);
}

static int write_output(struct arena *a, const char *path, struct str bytes) {
    if (strcmp(path, "-") == 0) {
        fwrite(bytes.ptr, 1, bytes.len, stdout);
        return EXIT_OK;
    }
    if (file_write_output(path, bytes)) return fail("cannot write %s: %s", path, strerror(errno));
    char hex[65];
    size_t len = 0;
    sha256_hex(bytes.ptr, bytes.len, hex);
    const char *slash = strrchr(path, '/');
    char *line = arena_printf(a, &len, "%s  %s\n", hex, slash ? slash + 1 : path);
    char *beside = arena_printf(a, NULL, "%s.sha256", path);
    if (file_write_output(beside, (struct str){line, len})) return fail("cannot write %s: %s", beside, strerror(errno));
    return EXIT_OK;
}

static int write_bundle(struct arena *a, const struct build_flags *f, const struct compile *c,
                        const struct loaded *from, const char *output) {
    struct file_list files = {0};
    struct buf out;
    add(a, &files, STR("/data.json"), print_to(a, from->data));
    add_sources(a, c->request, &files);
    if (str_is(f->target, "plan")) {
        struct buf json;
        buf_init(&json, OUTPUT_BYTES);
        plan_print_json(c->plan, &json);
        add(a, &files, STR("/plan.json"), copy(a, &json));
        buf_deinit(&json);
    }
    if (c->full.len) add(a, &files, STR("/policy.wasm"), buf_view(&c->full));
    if (c->thin.len) add(a, &files, STR("/policy.thin.wasm"), buf_view(&c->thin));
    if (from->checks.len) add(a, &files, STR("/checks.json"), from->checks);
    add(a, &files, STR("/.manifest"), manifest(a, f, c, from->manifest));
    buf_init(&out, OUTPUT_BYTES);
    enum err e = bundle_write(files.items, files.n, &out);
    int code = e ? fail("cannot pack the bundle: %s", err_meaning(e)) : write_output(a, output, buf_view(&out));
    buf_deinit(&out);
    return code;
}

static bool is_filter(const struct build_flags *f) { return str_is(f->target, "proxy-wasm"); }

static int finish(struct arena *a, const struct build_flags *f, const struct compile *c, const struct loaded *from) {
    int64_t max = size_of(f->max_size);
    if (max < 0) return fail("--max-size takes bytes or a size such as 500KB or 10MB");
    const struct buf *module = str_is(f->form, "thin") ? &c->thin : &c->full;
    if ((int64_t)c->full.len > max)
        return fail("the module is %zu bytes, above the limit of %lld: move large constants into data, "
                    "split the policy, or raise --max-size", c->full.len, (long long)max);
    const char *name = is_filter(f) ? "filter.wasm" : f->raw ? "policy.wasm" : "bundle.tar.gz";
    const char *output = f->output.len ? arena_strndup(a, f->output.ptr, f->output.len) : name;
    return f->raw || is_filter(f) ? write_output(a, output, buf_view(module)) : write_bundle(a, f, c, from, output);
}

static int dump(const struct build_flags *f, const struct compile *c, enum err e, bool json_errors) {
    struct buf out;
    char stage[64];
    snprintf(stage, sizeof stage, "%.*s", STR_FMT(f->dump));
    buf_init(&out, OUTPUT_BYTES);
    bool ok = !e && compile_dump(c, stage, &out);
    print_buf(1, &out);
    buf_deinit(&out);
    if (e == ERR_DIAG) return report_errors(&c->diags, json_errors, EXIT_FAILED);
    return ok ? EXIT_OK : fail("no output of stage \"%s\"; `--dump list` names the stages", stage);
}

static int list_stages(void) {
    for (const char *const *s = compile_stage_names(); *s; s++) puts(*s);
    return EXIT_OK;
}

/* The last stage that a target needs; NULL: all. */
static const char *last_stage(const struct build_flags *f, struct arena *a) {
    if (f->dump.len) return arena_strndup(a, f->dump.ptr, f->dump.len);
    if (str_is(f->target, "plan")) return "plan";
    if (str_is(f->target, "rego") || f->target.len == 0) return "check";
    return NULL;
}

/* Without --set nothing is put in, as in OPA: tell who may have forgotten it. */
static void warn_of_placeholders(struct str file, struct str text) {
    struct placeholder p;
    unsigned row = 1;
    bool comment = false;
    for (size_t from = 0, at = 0; template_next(text, from, &p); from = p.end) {
        for (; at < p.start; at++) {
            row += text.ptr[at] == '\n';
            comment = text.ptr[at] != '\n' && (comment || text.ptr[at] == '#');
        }
        if (comment) continue;
        fprintf(stderr, "warning: %.*s:%u: {{%.*s}} stays as it is: pass --set %.*s=VALUE to put a value in\n",
                STR_FMT(file), row, STR_FMT(p.name), STR_FMT(p.name));
    }
}

/* Masks that the module does not answer for mask nothing. */
static void warn_of_masks(struct arena *a, const struct compile *c) {
    static const char *const names[] = {"mask", "drop"};
    for (uint32_t i = 0; i < c->modules.n; i++) {
        const struct module *m = c->modules.items[i];
        if (!str_is(ref_dotted(a, m->package), "data.system.log")) continue;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            const char *path = arena_printf(a, NULL, "system/log/%s", names[k]);
            bool there = false, asked = false;
            for (uint32_t r = 0; r < m->rules.n; r++) {
                struct str rule = ref_dotted(a, m->rules.items[r]->path);
                there = there || str_is(rule, arena_printf(a, NULL, "data.system.log.%s", names[k]));
            }
            for (uint32_t e = 0; e < c->request->n_entrypoints; e++)
                asked = asked || str_is(c->request->entrypoints[e], path) ||
                        str_is(c->request->entrypoints[e], arena_printf(a, NULL, "data.system.log.%s", names[k]));
            if (there && !asked)
                fprintf(stderr, "warning: %.*s: nodes ask %s only as an entrypoint: pass -e %s\n",
                        STR_FMT(m->file), path, path);
        }
    }
}

static int build(struct arena *a, struct build_flags *f, const struct loaded *loaded, const struct json *values) {
    bool json_errors = str_is(f->format, "json");
    struct compile_request request = {
        .sources = loaded->sources.items,
        .n_sources = loaded->sources.n,
        .parse = {.version = f->v0 || loaded->v0 ? REGO_V0 : REGO_V1, .template_values = values},
        .entrypoints = f->entrypoints.items,
        .n_entrypoints = f->entrypoints.n,
        .data = loaded->data,
        .strict = f->strict,
        .keep_print = f->wasm_include_print,
        .proxy_wasm = is_filter(f),
        .optimize = (int)f->optimize,
        .disabled_transforms = f->disable.ptr,
    };
    struct compile c;
    int code;
    enum err e = compile_run(&c, &request, last_stage(f, a));
    if (f->dump.len) code = dump(f, &c, e, json_errors);
    else if (e == ERR_DIAG) code = report_errors(&c.diags, json_errors, EXIT_FAILED);
    else if (e) code = fail("%s", err_meaning(e));
    else code = finish(a, f, &c, loaded);
    if (!e && !f->dump.len && str_is(f->target, "wasm")) warn_of_masks(a, &c);
    compile_end(&c);
    return code;
}

int cmd_build(struct arena *a, int argc, char **argv) {
    struct build_flags f = {.optimize = 1};
    struct str_list rest;
    int code;
    if (!read_flags(a, &f, argc, argv, &rest, &code)) return code;
    if (str_is(f.dump, "list")) return list_stages();
    if (f.raw && f.target.len == 0) f.target = STR("wasm");
    bool wasm = str_is(f.target, "wasm"), plan = str_is(f.target, "plan"), filter = is_filter(&f);
    if (!wasm && !plan && !filter && f.target.len && !str_is(f.target, "rego"))
        return fail("invalid argument \"%.*s\" for --target: use rego, wasm, plan or proxy-wasm", STR_FMT(f.target));
    if (f.raw && !wasm) return fail("--raw writes a WebAssembly module: use it with -t wasm");
    if ((wasm || plan || filter) && f.entrypoints.n == 0 && !f.dump.len)
        return fail("%.*s compilation requires at least one entrypoint: pass -e PATH", STR_FMT(f.target));
    for (uint32_t i = 0; i < rest.n; i++) {
        struct str_list *to = f.bundle ? &f.load.bundles : &f.load.paths;
        ARENA_PUSH(a, to, rest.items[i]);
    }
    if (f.load.bundles.n + f.load.paths.n == 0) return fail("specify at least one path");
    struct diag_list diags;
    struct loaded loaded;
    const struct json *values;
    diag_list_init(&diags, a);
    if (!load_paths(a, &f.load, &loaded, &diags) ||
        !load_template_values(a, &f.set, f.set_file, &values, &diags))
        return report_errors(&diags, str_is(f.format, "json"), EXIT_FAILED);
    for (uint32_t i = 0; !values && i < loaded.sources.n; i++)
        warn_of_placeholders(loaded.sources.items[i].file, loaded.sources.items[i].text);
    return build(a, &f, &loaded, values);
}
