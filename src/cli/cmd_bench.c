/* regent bench: times one decision, JSON bytes in to JSON bytes out, on source, a bundle or a module.
 * in: flags, files. out: OPA's table or JSON (N, T, Extra). owns: its session. */
#include "cli/session.h"
#include "base/clock.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { OUTPUT_BYTES = 1 << 20, MAX_SAMPLES = 1 << 20, MIN_RUN_MS = 1000 };

struct bench_flags {
    struct load_options load;
    struct str_list imports;
    struct str input, format, package;
    bool stdin_input, v0, may_be_undefined, ignored;
    int64_t count;
};

struct measured {
    uint64_t n, total_ns;
    uint32_t n_samples;
    uint64_t *samples; /* evaluation alone, sorted */
};

static bool read_flags(struct arena *a, struct bench_flags *f, int argc, char **argv, struct str_list *rest,
                       int *code) {
    bool fail_undefined = true;
    const struct option_spec specs[] = {
        {"bundle", 'b', OPTION_LIST, &f->load.bundles, "PATH", "bundle file or folder (repeatable)"},
        {"data", 'd', OPTION_LIST, &f->load.paths, "PATH", "policy, data or .wasm file, or folder (repeatable)"},
        {"input", 'i', OPTION_TEXT, &f->input, "PATH", "input file (JSON or YAML)"},
        {"stdin-input", 'I', OPTION_BOOL, &f->stdin_input, NULL, "read the input from standard input"},
        {"format", 'f', OPTION_TEXT, &f->format, "FORMAT", "pretty (default), json or gobench"},
        {"count", 0, OPTION_NUMBER, &f->count, "N", "times to repeat the benchmark (default 1)"},
        {"package", 0, OPTION_TEXT, &f->package, "PACKAGE", "package in which the query's names are looked up"},
        {"import", 0, OPTION_LIST, &f->imports, "PATH", "import for the query (repeatable)"},
        {"fail", 0, OPTION_BOOL, &fail_undefined, NULL, "exit 1 when the result is undefined (default true)"},
        {"benchmem", 0, OPTION_BOOL, &f->ignored, NULL, "accepted for OPA's sake: allocations are not counted"},
        {"metrics", 0, OPTION_BOOL, &f->ignored, NULL, "accepted for OPA's sake: always reported"},
        {"v0-compatible", 0, OPTION_BOOL, &f->v0, NULL, "read policies as Rego v0"},
        {0},
    };
    bool ok = command_options(a, "bench <query> [flags]", specs, argc, argv, rest, code);
    f->may_be_undefined = !fail_undefined;
    return ok;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Runs for about a second in batches of growing size, as Go's benchmarks do; the last batch counts. */
static enum err measure(struct session *s, uint32_t entrypoint, struct str input, struct measured *m,
                        struct eval_result *r) {
    for (uint64_t n = 1;;) {
        m->n_samples = 0;
        uint64_t start = clock_ns();
        for (uint64_t i = 0; i < n; i++) {
            enum err e = session_eval(s, entrypoint, input, false, 0, r);
            if (e) return e;
            if (m->n_samples < MAX_SAMPLES) m->samples[m->n_samples++] = r->eval_ns;
        }
        m->n = n;
        m->total_ns = clock_ns() - start;
        if (m->total_ns >= MIN_RUN_MS * 1000000ull || n >= 1000000000) break;
        uint64_t per = m->total_ns / n ? m->total_ns / n : 1, want = MIN_RUN_MS * 1200000ull / per;
        n = want > n * 100 ? n * 100 : want <= n ? n + 1 : want;
    }
    qsort(m->samples, m->n_samples, sizeof *m->samples, by_size);
    return OK;
}

/* Linear interpolation between the two nearest samples. */
static double percentile(const struct measured *m, double p) {
    double at = p * (double)(m->n_samples + 1);
    if (at < 1) return (double)m->samples[0];
    if (at >= m->n_samples) return (double)m->samples[m->n_samples - 1];
    uint64_t low = m->samples[(uint32_t)at - 1], high = m->samples[(uint32_t)at];
    return (double)low + (at - floor(at)) * (double)(high - low);
}

struct figure {
    const char *name;
    double value;
};
enum { N_FIGURES = 11 };

static void figures(const struct measured *m, struct figure out[N_FIGURES]) {
    double sum = 0;
    for (uint32_t i = 0; i < m->n_samples; i++) sum += (double)m->samples[i];
    double mean = sum / m->n_samples;
    const struct figure all[N_FIGURES] = {
        {"75%", percentile(m, .75)},     {"90%", percentile(m, .90)},
        {"95%", percentile(m, .95)},     {"99%", percentile(m, .99)},
        {"99.9%", percentile(m, .999)},  {"99.99%", percentile(m, .9999)},
        {"count", m->n_samples},         {"max", (double)m->samples[m->n_samples - 1]},
        {"mean", mean},                  {"median", percentile(m, .5)},
        {"min", (double)m->samples[0]},
    };
    memcpy(out, all, sizeof all);
}

static double stddev(const struct measured *m, double mean) {
    double squares = 0;
    for (uint32_t i = 0; i < m->n_samples; i++) {
        double d = (double)m->samples[i] - mean;
        squares += d * d;
    }
    return sqrt(squares / m->n_samples);
}

static void print_json(struct arena *a, const struct measured *m, struct buf *out) {
    struct figure all[N_FIGURES];
    struct json *o = json_object(a), *extra = json_object(a);
    figures(m, all);
    json_set(a, o, STR("N"), json_int(a, (int64_t)m->n));
    json_set(a, o, STR("T"), json_int(a, (int64_t)m->total_ns));
    json_set(a, o, STR("Bytes"), json_int(a, 0));
    json_set(a, o, STR("MemAllocs"), json_int(a, 0));
    json_set(a, o, STR("MemBytes"), json_int(a, 0));
    for (int i = 0; i <= N_FIGURES; i++) {
        size_t len = 0, vlen = 0;
        const char *name = i < N_FIGURES ? all[i].name : "stddev";
        double value = i < N_FIGURES ? all[i].value : stddev(m, all[8].value);
        char *key = arena_printf(a, &len, "histogram_timer_rego_query_eval_ns_%s", name);
        char *text = arena_printf(a, &vlen, "%.15g", value);
        json_set(a, extra, (struct str){key, len}, json_number(a, (struct str){text, vlen}));
    }
    json_set(a, o, STR("Extra"), extra);
    json_print(o, false, 2, out);
    buf_byte(out, '\n');
}

static void print_pretty(struct arena *a, const struct measured *m, struct buf *out) {
    struct figure all[N_FIGURES];
    struct { struct str *items; uint32_t n, cap; } cells = {0};
    figures(m, all);
    for (int i = -2; i <= N_FIGURES; i++) {
        size_t len = 0, vlen = 0;
        double value = i == -2 ? (double)m->n : i == -1 ? (double)m->total_ns / (double)m->n
                       : i < N_FIGURES ? all[i].value : stddev(m, all[8].value);
        const char *name = i < 0 ? NULL : i < N_FIGURES ? all[i].name : "stddev";
        char *key = name ? arena_printf(a, &len, "histogram_timer_rego_query_eval_ns_%s", name)
                         : arena_printf(a, &len, "%s", i == -2 ? "samples" : "ns/op");
        char *text = arena_printf(a, &vlen, "%.0f", value);
        ARENA_PUSH(a, &cells, ((struct str){key, len}));
        ARENA_PUSH(a, &cells, ((struct str){text, vlen}));
    }
    print_table(cells.items, cells.n / 2, 2, false, true, out);
}

static int report(struct arena *a, const struct bench_flags *f, struct session *s, uint32_t entrypoint,
                  struct str input) {
    struct measured m = {.samples = ARENA_ARRAY(a, uint64_t, MAX_SAMPLES)};
    struct eval_result r;
    struct buf out;
    if (!m.samples) return fail("%s", err_meaning(ERR_MEMORY));
    for (int64_t k = 0; k < (f->count > 1 ? f->count : 1); k++) {
        enum err e = measure(s, entrypoint, input, &m, &r);
        if (e) return fail("%s", r.message[0] ? r.message : err_meaning(e));
        bool empty = !r.defined || (s->compiled && str_is(r.json, "[]"));
        if (empty && !f->may_be_undefined) return fail("undefined result: pass --fail=false to time it all the same");
        buf_init(&out, OUTPUT_BYTES);
        if (str_is(f->format, "json")) print_json(a, &m, &out);
        else if (str_is(f->format, "gobench"))
            buf_printf(&out, "BenchmarkRegentEval\t%llu\t%.1f ns/op\n", (unsigned long long)m.n,
                       (double)m.total_ns / (double)m.n);
        else print_pretty(a, &m, &out);
        print_buf(1, &out);
        buf_deinit(&out);
    }
    return EXIT_OK;
}

/* data.a.b or a/b as an entrypoint's name. */
static struct str entrypoint_name(struct arena *a, struct str query) {
    char *name = arena_strndup(a, query.ptr, query.len);
    if (str_starts(query, STR("data."))) name += 5, query.len -= 5;
    for (size_t i = 0; i < query.len; i++)
        if (name[i] == '.') name[i] = '/';
    return (struct str){name, query.len};
}

static int bench_module(struct arena *a, const struct bench_flags *f, const struct loaded *l, struct str query,
                        struct str input) {
    struct session s = {0};
    struct load_message message;
    enum err e = session_open_wasm(&s, l->wasm, l->thin, l->data, &message);
    struct str name = entrypoint_name(a, query);
    int32_t id = e ? -1 : policy_entrypoint(s.policy, name);
    int code = e        ? fail("%s", message.text[0] ? message.text : err_meaning(e))
               : id < 0 ? fail("the module has no entrypoint %.*s; `regent inspect` lists them", STR_FMT(name))
                        : report(a, f, &s, (uint32_t)id, input);
    session_close(&s);
    return code;
}

/* A query that is just a ref becomes a path entrypoint: what an edge would run. */
static bool is_path(struct str q) {
    if (!str_starts(q, STR("data."))) return false;
    for (size_t i = 0; i < q.len; i++) {
        char c = q.ptr[i];
        if (!(c == '.' || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

static int bench_source(struct arena *a, const struct bench_flags *f, const struct loaded *l, struct str query,
                        struct str input) {
    struct compile_request request = {
        .thin_only = true,
        .sources = l->sources.items,
        .n_sources = l->sources.n,
        .parse = {.version = f->v0 || l->v0 ? REGO_V0 : REGO_V1},
        .query_package = f->package,
        .query_imports = f->imports.items,
        .n_query_imports = f->imports.n,
        .data = l->data,
        .optimize = 1,
    };
    if (is_path(query)) request.entrypoints = &query, request.n_entrypoints = 1;
    else request.query = query;
    struct session s = {0};
    struct load_message message;
    int code;
    enum err e = session_open(&s, &request, l->data, &message);
    if (e == ERR_DIAG) code = report_errors(&s.compile.diags, str_is(f->format, "json"), EXIT_FAILED);
    else if (e) code = fail("%s", message.text[0] ? message.text : err_meaning(e));
    else code = report(a, f, &s, 0, input);
    session_close(&s);
    return code;
}

int cmd_bench(struct arena *a, int argc, char **argv) {
    struct bench_flags f = {.load.tests = true};
    struct str_list rest;
    int code;
    if (!read_flags(a, &f, argc, argv, &rest, &code)) return code;
    if (rest.n != 1) return fail("specify one query");
    struct diag_list diags;
    struct loaded loaded;
    struct str input;
    diag_list_init(&diags, a);
    if (!load_paths(a, &f.load, &loaded, &diags) || !load_input(a, f.input, f.stdin_input, &input, &diags))
        return report_errors(&diags, str_is(f.format, "json"), EXIT_FAILED);
    return loaded.wasm.len ? bench_module(a, &f, &loaded, rest.items[0], input)
                           : bench_source(a, &f, &loaded, rest.items[0], input);
}
