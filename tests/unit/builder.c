/* The builder: which files go in, what is asked, errors with their places, tests and checks, what
 * is taken over from the version before, limits, hostile sources, equal bytes. in: sources made
 * here. out: cmocka results. */
#include "control/builder.h"
#include "base/clock.h"
#include "bundle/bundle.h"
#include "control/builder_private.h"
#include "edge/verify.h"
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_FILES = 6000, ARENA = 512 << 20 };

static struct builder_shared *shared;
static struct builder *builder;
static struct arena memory;
static struct builder_file files[MAX_FILES];
static struct str library_of[MAX_FILES];
static struct builder_input input;
static struct builder_output output;

/* ---- what every test says ---- */

static int begin(void **state) {
    (void)state;
    arena_deinit(&memory);
    arena_init(&memory, ARENA);
    input = (struct builder_input){.tenant = STR("acme"), .files = files, .library_of = library_of};
    output = (struct builder_output){0};
    return 0;
}

static void add(const char *library, const char *name, const char *text) {
    files[input.n_files] = (struct builder_file){str_of(name), str_of(text)};
    library_of[input.n_files++] = str_of(library);
    if (!*library) input.n_own = input.n_files;
}

static const struct json *json(const char *text) {
    struct json *v = NULL;
    assert_int_equal(json_parse(&memory, str_of(text), &v, NULL), OK);
    return v;
}

static enum err build(void) { return builder_run(builder, &memory, &input, &output); }

static void built(void) {
    enum err e = build();
    struct buf text;
    buf_init(&text, 1 << 20);
    if (e && output.errors) json_print(output.errors, false, 1, &text);
    if (e) fail_msg("not built: %s %.*s", err_meaning(e), (int)text.len, (const char *)text.ptr);
    buf_deinit(&text);
}

/* The build fails, and error i is this one; place "": none. */
static void refused(uint32_t i, const char *code, const char *place, const char *message) {
    char at[256] = "";
    assert_int_equal(build(), ERR_DIAG);
    assert_true(output.errors->n > i);
    const struct json *e = output.errors->items[i], *loc = json_get_c(e, "location");
    int64_t row = 0, col = 0;
    if (loc && json_int64(json_get_c(loc, "row"), &row) && json_int64(json_get_c(loc, "col"), &col))
        snprintf(at, sizeof at, "%.*s:%d:%d", STR_FMT(json_get_c(loc, "file")->text), (int)row,
                 (int)col);
    else if (loc)
        snprintf(at, sizeof at, "%.*s", STR_FMT(json_get_c(loc, "file")->text));
    char got[1200], want[1200];
    snprintf(got, sizeof got, "%.*s %s %.*s", STR_FMT(json_get_c(e, "code")->text), at,
             STR_FMT(json_get_c(e, "message")->text));
    snprintf(want, sizeof want, "%s %s %s", code, place, message);
    assert_string_equal(got, want);
}

static struct bundle unpacked(void) {
    struct bundle b;
    struct diag_list diags;
    diag_list_init(&diags, &memory);
    assert_int_equal(bundle_read(&memory, output.bundle, &b, &diags), OK);
    return b;
}

static struct str file_of(const struct bundle *b, const char *path) {
    for (uint32_t i = 0; i < b->files.n; i++)
        if (str_is(b->files.items[i].path, path)) return b->files.items[i].bytes;
    return (struct str){NULL, 0};
}

static bool holds(struct str text, const char *part) {
    return text.len && memmem(text.ptr, text.len, part, strlen(part));
}

/* What the bundle's entrypoint gives: JSON, "undefined", or the error's word. */
static const char *answer(const char *entrypoint, const char *in) {
    struct bundle b = unpacked();
    struct policy_source source = {
        .full = b.full, .thin = b.thin, .data = b.data, .name = STR("test")};
    struct policy *p;
    struct eval_result result;
    assert_int_equal(policy_load(shared->engine, &source, &p, NULL), OK);
    int32_t id = policy_entrypoint(p, str_of(entrypoint));
    assert_true(id >= 0);
    const struct eval_request q = {.policy = p, .entrypoint = (uint32_t)id, .input = str_of(in)};
    enum err e = policy_eval(builder->instances, &q, &result);
    const char *text = e                ? err_word(e)
                       : result.defined ? arena_strndup(&memory, result.json.ptr, result.json.len)
                                        : "undefined";
    policy_release(p);
    return text;
}

static void library(const char *id, uint32_t at) {
    assert_true(at < output.n_libraries);
    assert_true(str_is(output.libraries[at], id));
}

#define SHOP "package shop\n\ndefault allow := false\n\nallow if input.user in data.users\n"

/* ---- what goes in ---- */

static void one_file(void **state) {
    (void)state;
    add("", "templates/shop/policy.rego", SHOP);
    input.data = json("{\"users\":[\"ann\"]}");
    built();
    struct bundle b = unpacked();
    assert_true(output.compiled && !output.unchanged);
    assert_int_equal(output.n_libraries, 0);
    assert_true(str_eq(file_of(&b, "/templates/shop/policy.rego"), STR(SHOP)));
    assert_true(str_eq(file_of(&b, "/data.json"), STR("{\"users\":[\"ann\"]}")));
    assert_true(str_eq(b.full, output.module));
    assert_true(b.thin.len > 0);
    assert_int_equal(b.revision.len, 12);
    assert_true(str_eq(b.revision, (struct str){output.content, 12}));
    assert_string_equal(answer("shop/allow", "{\"user\":\"ann\"}"), "true");
    assert_string_equal(answer("shop/allow", "{\"user\":\"bob\"}"), "false");
}

static void equal_bytes(void **state) {
    (void)state;
    add("", "b.rego", SHOP);
    add("", "a.rego", "package shop\n\nresult := {\"allow\": allow}\n");
    built();
    struct builder_output first = output;
    struct builder_file swap = files[0];
    files[0] = files[1];
    files[1] = swap;
    built();
    assert_true(str_eq(first.bundle, output.bundle));
    assert_string_equal(first.bundle_sha256, output.bundle_sha256);
    assert_string_equal(first.content, output.content);
    assert_string_equal(first.code, output.code);
    char sha[65];
    sha256_hex(output.bundle.ptr, output.bundle.len, sha);
    assert_string_equal(sha, output.bundle_sha256);
    sha256_hex(output.module.ptr, output.module.len, sha);
    assert_string_equal(sha, output.module_sha256);
}

static void libraries_by_use(void **state) {
    (void)state;
    add("", "policy.rego",
        "package shop\n\nimport data.shared.users\n\nallow if users.known(input.user)\n");
    add("users", "users_test.rego",
        "package shared.users\n\ntest_known if not known(\"nobody\")\n");
    add("users", "users.rego", "package shared.users\n\nknown(u) if data.shared.names.all[u]\n");
    add("names", "names.rego", "package shared.names\n\nall := {\"ann\": true}\n");
    add("times", "times.rego", "package shared.times\n\nnow := 1\n");
    built();
    struct bundle b = unpacked();
    assert_int_equal(output.n_libraries, 2);
    library("users", 0);
    library("names", 1);
    assert_true(file_of(&b, "/users.rego").len > 0);
    assert_true(file_of(&b, "/names.rego").len > 0);
    assert_null(file_of(&b, "/times.rego").ptr);
    assert_null(file_of(&b, "/users_test.rego").ptr);
    assert_string_equal(answer("shop/allow", "{\"user\":\"ann\"}"), "true");
}

static void libraries_by_dynamic_use(void **state) {
    (void)state;
    add("", "policy.rego", "package shop\n\nallow if data.shared[input.what].yes\n");
    add("one", "one.rego", "package shared.one\n\nyes := true\n");
    add("other", "other.rego", "package other\n\nyes := true\n");
    built();
    assert_int_equal(output.n_libraries, 1);
    library("one", 0);
    assert_string_equal(answer("shop/allow", "{\"what\":\"one\"}"), "true");
}

/* A library that only tests need is no part of the bundle, but the build depends on it. */
static void libraries_of_tests(void **state) {
    (void)state;
    add("", "policy.rego", "package shop\n\nallow if input.ok\n");
    add("", "policy_test.rego",
        "package shop\n\nimport data.testing\n\ntest_it if allow with input as testing.good\n");
    add("testing", "testing.rego", "package testing\n\ngood := {\"ok\": true}\n");
    built();
    struct bundle b = unpacked();
    assert_int_equal(output.n_libraries, 1);
    assert_null(file_of(&b, "/testing.rego").ptr);
    assert_null(file_of(&b, "/policy_test.rego").ptr);
}

static void unused_broken_library(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    add("broken", "broken.rego", "package broken\n\nthis is no rego\n");
    built();
    assert_int_equal(output.n_libraries, 0);
}

static void broken_library(void **state) {
    (void)state;
    add("", "policy.rego", "package shop\n\nallow if data.broken.x\n");
    add("broken", "broken.rego", "package broken\n\nx if {\n");
    refused(0, "rego_parse_error", "broken.rego:4:0", "unexpected eof token");
}

/* ---- entrypoints ---- */

static void entrypoints_as_asked(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    input.entrypoints = json("[\"data.shop.allow\", \"shop/allow\"]");
    built();
    struct bundle b = unpacked();
    const struct json *wasm = json_get_c(b.manifest, "wasm");
    assert_int_equal(wasm->n, 1);
    assert_true(str_is(json_get_c(wasm->items[0], "entrypoint")->text, "shop/allow"));
}

static void entrypoints_by_annotation(void **state) {
    (void)state;
    add("", "policy.rego",
        "package shop\n\n# METADATA\n# entrypoint: true\nreason := \"none\"\n\nallow := true\n");
    built();
    const struct json *wasm = json_get_c(unpacked().manifest, "wasm");
    assert_int_equal(wasm->n, 1);
    assert_string_equal(answer("shop/reason", "{}"), "\"none\"");
}

static void no_entrypoint(void **state) {
    (void)state;
    add("", "policy.rego", "package shop\n\nother := 1\n");
    refused(0, "no_entrypoint", "",
            "nothing can be asked: no rule has the annotation `entrypoint: true` or is called "
            "`allow` or `result`; name "
            "the decisions in `entrypoints`");
    input.entrypoints = json("[\"shop/missing\"]");
    refused(0, "rego_compile_error", "",
            "entrypoint \"shop/missing\" does not refer to a rule or policy decision");
}

static void masks(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    add("", "mask.rego", "package system.log\n\nmask contains \"/input/password\"\n");
    built();
    assert_string_equal(answer("system/log/mask", "{}"), "[\"/input/password\"]");
}

/* ---- template values ---- */

static void values_stay_strings(void **state) {
    (void)state;
    static const char *const hostile[] = {"eu",
                                          "\\\" } allow := true #",
                                          "\" } allow := true #",
                                          "`",
                                          "\\",
                                          "\\n",
                                          "\n",
                                          "{{OTHER}}",
                                          "\\u0022",
                                          "\"",
                                          "${x}",
                                          "{x}",
                                          "\x01",
                                          "ü€𝄞"};
    add("", "policy.rego",
        "package shop\n\ndefault allow := false\n\nallow if input.r == \"{{REGION}}\"\n\n"
        "allow if input.r == `raw {{REGION}}`\n\nresult := \"{{REGION}}\"\n");
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct json *values = json_object(&memory);
        struct buf printed;
        json_set(&memory, values, STR("REGION"), json_string(&memory, str_of(hostile[i])));
        input.parameters = values;
        built();
        buf_init(&printed, 1 << 16);
        json_print_string(str_of(hostile[i]), &printed);
        buf_byte(&printed, 0);
        assert_string_equal(answer("shop/result", "{}"), (const char *)printed.ptr);
        assert_string_equal(answer("shop/allow", "{\"r\":\"other\"}"), "false");
        /* The text in the bundle says the same: built from it, the module answers the same. */
        struct bundle b = unpacked();
        struct builder_output was = output;
        struct str text = file_of(&b, "/policy.rego");
        assert_true(text.len > 0);
        files[0].text = text;
        input.parameters = NULL;
        if (build()) fail_msg("value %zu: %.*s", i, STR_FMT(text));
        assert_string_equal(answer("shop/result", "{}"), (const char *)printed.ptr);
        assert_string_not_equal(was.bundle_sha256, "");
        buf_deinit(&printed);
        input.n_files = 0;
        add("", "policy.rego",
            "package shop\n\ndefault allow := false\n\nallow if input.r == \"{{REGION}}\"\n\n"
            "allow if input.r == `raw {{REGION}}`\n\nresult := \"{{REGION}}\"\n");
    }
}

static void missing_value(void **state) {
    (void)state;
    add("", "templates/shop/policy.rego", "package shop\n\nallow if input.r == \"{{REGION}}\"\n");
    input.parameters = json("{\"OTHER\":\"x\"}");
    refused(0, "rego_parse_error", "templates/shop/policy.rego:3:22",
            "no value for {{REGION}}: pass --set REGION=VALUE");
}

/* ---- errors ---- */

static void compile_errors(void **state) {
    (void)state;
    add("", "tenants/acme/policy.rego", "package shop\n\nallow if x == 1\n");
    refused(0, "rego_unsafe_var_error", "tenants/acme/policy.rego:3:10", "var x is unsafe");
    input.n_files = 0;
    add("", "p.rego", "package shop\n\nallow if {\n");
    refused(0, "rego_parse_error", "p.rego:4:0", "unexpected eof token");
}

static void failing_tests(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    add("", "policy_test.rego",
        "package shop_test\n\nimport data.shop\n\ntest_yes if shop.allow with input.user as "
        "\"ann\" with data.users as "
        "[\"ann\"]\n\ntest_no if shop.allow with input.user as \"bob\"\n\ntest_false := "
        "false\n\ntodo_test_later := "
        "false\n\ntest_conflict := 1\n\ntest_conflict := x if x := 2\n");
    refused(0, "test_failed", "policy_test.rego:7:1", "data.shop_test.test_no is undefined");
    refused(1, "test_failed", "policy_test.rego:9:1", "data.shop_test.test_false is false");
    refused(2, "test_error", "policy_test.rego:13:1",
            "data.shop_test.test_conflict: eval_conflict_error: policy_test.rego:15:1: rule "
            "data.shop_test.test_conflict "
            "produced conflicting values");
    assert_int_equal(output.errors->n, 3);
}

static void tests_see_data(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    add("", "policy_test.rego", "package shop\n\ntest_ann if allow with input.user as \"ann\"\n");
    input.data = json("{\"users\":[\"ann\"]}");
    built();
    input.data = json("{\"users\":[\"bob\"]}");
    refused(0, "test_failed", "policy_test.rego:3:1", "data.shop.test_ann is undefined");
}

static void test_that_does_not_compile(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    add("", "policy_test.rego", "package shop\n\ntest_it if nothing(1)\n");
    refused(0, "rego_type_error", "policy_test.rego:3:12", "undefined function nothing");
}

static void checks(void **state) {
    (void)state;
    add("", "policy.rego", SHOP "\nresult := {\"allow\": allow, \"n\": 1}\n");
    input.data = json("{\"users\":[\"ann\"]}");
    input.checks =
        STR("[{\"entrypoint\": \"shop/allow\", \"input\": {\"user\": \"ann\"}, \"expect\": true},"
            "{\"entrypoint\": \"/shop/result/n\", \"input\": {}, \"expect\": 1.0},"
            "{\"entrypoint\": \"shop/result/none\"}]");
    built();
    struct bundle b = unpacked();
    assert_true(str_eq(file_of(&b, "/checks.json"), input.checks));
    input.checks = STR("[{\"entrypoint\": \"shop/allow\", \"input\": {\"user\": \"bob\"}, "
                       "\"expect\": true, \"note\": "
                       "\"bob may\"}, {\"entrypoint\": \"shop/nothing\", \"expect\": true}]");
    refused(0, "check_failed", "checks.json",
            "checks.json: check 1 (bob may): shop/allow is false, not true");
    refused(1, "check_failed", "checks.json",
            "checks.json: check 2: shop/nothing is no such entrypoint, not true");
    input.checks = STR("[{\"entrypoint\": 1}]");
    refused(0, "check_failed", "checks.json",
            "checks.json: check 1: it has `entrypoint` and `note` (text), `input` and `expect`, "
            "and nothing else");
    input.checks = STR("{");
    refused(0, "checks_invalid", "checks.json", "checks.json:1:2: expected a string as object key");
}

/* As on edges, checks run under the tenant's limits; what they leave behind does not add up. */
static void checks_under_limits(void **state) {
    (void)state;
    enum { CHECKS = 3000, BYTES = 1 << 20 };
    char *text = arena_alloc(&memory, BYTES);
    int at = snprintf(text, BYTES, "[");
    add("", "policy.rego",
        "package shop\n\nresult := {\"list\": numbers.range(1, 2000), \"n\": 1}\n");
    for (int i = 0; i < CHECKS; i++)
        at += snprintf(text + at, 200, "%s{\"entrypoint\": \"shop/result/n\", \"expect\": 1}",
                       i ? "," : "");
    snprintf(text + at, 2, "]");
    input.checks = str_of(text);
    built();
    input.limits = json("{\"output\": \"1KiB\"}");
    input.checks = STR("[{\"entrypoint\": \"shop/result/n\", \"expect\": 1}]");
    assert_int_equal(build(), ERR_DIAG);
    assert_true(holds(json_get_c(output.errors->items[0], "message")->text,
                      "shop/result/n is an error (limit"));
}

/* ---- the version before ---- */

static struct builder_output before;
static int taken;
static enum err before_modules(void *ctx, struct arena *a, struct str *full, struct str *thin) {
    struct bundle b;
    struct diag_list diags;
    (void)ctx;
    taken++;
    diag_list_init(&diags, a);
    if (bundle_read(a, before.bundle, &b, &diags)) return ERR_NOT_FOUND;
    *full = b.full;
    *thin = b.thin;
    return OK;
}

static void remember(void) {
    before = output;
    input.previous_code = str_of(before.code);
    input.previous_content = str_of(before.content);
    input.previous_modules = before_modules;
    taken = 0;
}

static void unchanged(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    input.data = json("{\"users\":[\"ann\", \"bob\"]}");
    built();
    remember();
    input.data = json(" {\"users\": [\"ann\",\"bob\"]} ");
    built();
    assert_true(output.unchanged);
    assert_null(output.bundle.ptr);
    assert_int_equal(taken, 0);
    input.forced = true;
    built();
    assert_false(output.unchanged);
    assert_false(output.compiled);
    assert_int_equal(taken, 1);
    assert_true(str_eq(output.bundle, before.bundle));
    input.forced = false;
    add("", "policy_test.rego", "package shop\n\ntest_it := false\n");
    refused(0, "test_failed", "policy_test.rego:3:1", "data.shop.test_it is false");
}

static void data_alone(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    input.data = json("{\"users\":[\"ann\"]}");
    built();
    remember();
    input.data = json("{\"users\":[\"bob\"]}");
    built();
    assert_false(output.unchanged);
    assert_false(output.compiled);
    assert_int_equal(taken, 1);
    assert_string_equal(output.code, before.code);
    assert_string_equal(output.module_sha256, before.module_sha256);
    assert_string_equal(answer("shop/allow", "{\"user\":\"bob\"}"), "true");
    input.data = json("{\"shop\":{\"allow\":true}}");
    refused(0, "rego_compile_error", "policy.rego:3:1",
            "conflicting rule for data path shop/allow found");
    /* Without the modules it is compiled after all. */
    input.data = json("{\"users\":[\"bob\"]}");
    struct str bundle = output.bundle;
    before.bundle = STR("");
    built();
    assert_true(output.compiled);
    (void)bundle;
}

/* ---- limits and hostile sources ---- */

static void large_data(void **state) {
    (void)state;
    struct json *data = json_object(&memory);
    char *text = arena_alloc(&memory, 5100000);
    memset(text, 'x', 5100000);
    json_set(&memory, data, STR("text"), json_string(&memory, (struct str){text, 5100000}));
    add("", "policy.rego", SHOP);
    input.data = data;
    built();
    assert_int_equal(output.warnings->n, 1);
    assert_true(str_is(json_get_c(output.warnings->items[0], "code")->text, "data_large"));
    assert_true(holds(json_get_c(output.warnings->items[0], "message")->text, "data is 5.1 MB"));
}

static void large_module(void **state) {
    (void)state;
    size_t len = 11 * 1000 * 1000;
    char *text = arena_alloc(&memory, len + 100);
    int at = snprintf(text, 100, "package shop\n\nallow := \"");
    memset(text + at, 'x', len);
    snprintf(text + at + len, 10, "\"\n");
    add("", "policy.rego", text);
    assert_int_equal(build(), ERR_DIAG);
    assert_true(str_is(json_get_c(output.errors->items[0], "code")->text, "module_too_large"));
}

static void many_files(void **state) {
    (void)state;
    for (int i = 0; i < BUILD_MAX_FILES + 1; i++) add("", "policy.rego", "package p\n");
    refused(0, "too_large", "", "5001 files with libraries: a build takes at most 5000");
}

static void deep_nesting(void **state) {
    (void)state;
    enum { DEPTH = 200000 };
    char *text = arena_alloc(&memory, DEPTH + 100);
    int at = snprintf(text, 100, "package shop\n\nallow := ");
    memset(text + at, '[', DEPTH);
    add("", "policy.rego", text);
    assert_int_equal(build(), ERR_DIAG);
    assert_true(output.errors->n > 0);
}

/* 2^60 parts of a type, and a set that is compared element by element: an error in time. */
static void slow_to_compile(void **state) {
    (void)state;
    enum { BYTES = 1 << 20 };
    char *text = arena_alloc(&memory, BYTES);
    int at = snprintf(text, BYTES, "package shop\n\na0 := 1\n\nallow if a60.x\n");
    for (int i = 0; i < 60; i++)
        at += snprintf(text + at, 100, "\na%d := {\"x\": a%d, \"y\": a%d}\n", i + 1, i, i);
    add("", "policy.rego", text);
    uint64_t start = clock_ns();
    (void)build();
    assert_true(clock_ns() - start < 8000ull * BUILD_COMPILE_MS / 1000 * 1000000);
    at = snprintf(text, BYTES, "package shop\n\nallow if input.x in {0");
    for (int i = 1; i < 100000; i++) at += snprintf(text + at, 10, ",%d", i);
    snprintf(text + at, 10, "}\n");
    files[0].text = str_of(text);
    struct compile_source source = {STR("p.rego"), files[0].text};
    struct str entrypoint = STR("shop/allow");
    struct compile_request request = {.sources = &source,
                                      .n_sources = 1,
                                      .entrypoints = &entrypoint,
                                      .n_entrypoints = 1,
                                      .optimize = 1,
                                      .max_ms = 300};
    struct compile c;
    request.parse.version = REGO_V1;
    start = clock_of(CLOCK_THREAD_CPUTIME_ID);
    assert_int_equal(compile_run(&c, &request, NULL), ERR_DEADLINE);
    compile_end(&c);
    assert_true(clock_of(CLOCK_THREAD_CPUTIME_ID) - start < 3000000000u);
}

static void endless_test(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    add("", "policy_test.rego",
        "package shop\n\ntest_slow if {\n\tr := numbers.range(1, 5000)\n\tsome a in r\n\tsome b in "
        "r\n\tsome c in r\n\ta == "
        "b\n\tb != c\n\ta == -1\n}\n");
    refused(0, "test_error", "policy_test.rego:3:1",
            "data.shop.test_slow: the evaluation passed its deadline and was stopped");
}

static void little_memory(void **state) {
    (void)state;
    add("", "policy.rego", SHOP);
    for (size_t max = 64; max < 1 << 20; max = max * 3 / 2) {
        struct arena small;
        arena_init(&small, max);
        enum err e = builder_run(builder, &small, &input, &output);
        assert_true(e == OK || e == ERR_MEMORY || e == ERR_DIAG);
        arena_deinit(&small);
    }
    built();
}

/* ---- machine code ---- */

static uint64_t compiled(void) {
    struct engine_stats s;
    engine_stats(shared->engine, &s);
    return s.code_compiled;
}

/* Tenants of one template share the machine code of tests and checks, whatever their values. */
static void shared_code(void **state) {
    (void)state;
    uint64_t after_first = 0;
    char region[32];
    add("", "policy.rego",
        "package shop\n\ndefault allow := false\n\nallow if input.r == \"{{REGION}}\"\n");
    add("", "policy_test.rego",
        "package shop\n\ntest_no if not allow with input.r as \"nowhere\"\n");
    input.checks = STR("[{\"entrypoint\": \"shop/allow\", \"input\": {}, \"expect\": false}]");
    for (int i = 0; i < 20; i++) {
        struct json *values = json_object(&memory);
        snprintf(region, sizeof region, "region-%d", i * 7919);
        json_set(&memory, values, STR("REGION"), json_string(&memory, str_of(region)));
        input.parameters = values;
        built();
        if (i == 0) after_first = compiled();
    }
    assert_true(compiled() == after_first);
}

/* ---- signed ---- */

/* The bundle as edges verify it. tests/control/test_builder.py gives the same to OPA: BUILDER_OUT
 * names its folder. */
static void signed_bundle(void **state) {
    (void)state;
    char own[] = "/tmp/regent-builder-XXXXXX", path[256], keys[256], why[SIGN_WHY_BYTES];
    const char *out = getenv("BUILDER_OUT"), *dir = out ? out : mkdtemp(own), *key = path;
    struct signer *signer;
    struct builder *signing;
    struct buf jwks;
    assert_non_null(dir);
    snprintf(path, sizeof path, "%s/key.pem", dir);
    snprintf(keys, sizeof keys, "%s/keys.json", dir);
    assert_int_equal(signer_make_key(path, why), OK);
    assert_int_equal(signer_open(&key, 1, &signer, why), OK);
    buf_init(&jwks, 1 << 16);
    signer_jwks(signer, &jwks);
    assert_int_equal(file_write_output(keys, buf_view(&jwks)), OK);
    assert_int_equal(builder_new(shared, signer, &signing), OK);
    add("", "templates/shop/policy.rego",
        "package shop\n\nimport data.shared.users\n\n# METADATA\n# entrypoint: true\ndefault allow "
        ":= false\n\nallow if "
        "{\n\tinput.region == \"{{REGION}}\"\n\tusers.known(input.user)\n}\n\n# METADATA\n# "
        "entrypoint: true\nregion := "
        "`{{REGION}}`\n");
    add("", "templates/shop/policy_test.rego",
        "package shop\n\ntest_no if not allow with input as {}\n");
    add("users", "libraries/users/users.rego",
        "package shared.users\n\nknown(u) if u in data.users\n");
    input.parameters = json("{\"REGION\": \"eu\\\" } allow := true #`\\n\"}");
    input.data = json("{\"users\": [\"ann\"], \"n\": 1.50e2, \"text\": \"ü€\\u0001\"}");
    input.limits = json("{\"deadline\": \"50ms\"}");
    input.checks = STR("[{\"entrypoint\": \"shop/allow\", \"input\": {}, \"expect\": false}]");
    assert_int_equal(builder_run(signing, &memory, &input, &output), OK);
    struct bundle b = unpacked();
    struct verify_rules rules = {.keys_file = keys, .required = true};
    assert_int_equal(verify_keys_load(&rules, why, sizeof why), OK);
    if (verify_signature(&memory, &b, &rules, why, sizeof why)) fail_msg("%s", why);
    if (verify_roots(&memory, &b, why, sizeof why)) fail_msg("%s", why);
    const struct json *regent = json_get_c(json_get_c(b.manifest, "metadata"), "regent");
    assert_true(str_is(json_get_c(json_get_c(regent, "limits"), "deadline")->text, "50ms"));
    struct builder_output first = output;
    assert_int_equal(builder_run(signing, &memory, &input, &output), OK);
    assert_string_equal(first.content, output.content);
    assert_true(holds(file_of(&b, "/templates/shop/policy.rego"), "# entrypoint: true"));
    snprintf(path, sizeof path, "%s/bundle.tar.gz", dir);
    if (out) assert_int_equal(file_write_output(path, output.bundle), OK);
    verify_keys_free(&rules);
    builder_free(signing);
    signer_close(signer);
    buf_deinit(&jwks);
    snprintf(path, sizeof path, "rm -r %s", own);
    if (!out) assert_int_equal(system(path), 0);
}

/* ---- what compiles leave for the next ---- */

static struct str module_of(struct str file, struct str text, struct str entrypoint,
                            struct compile_cache *cache, struct str *thin) {
    struct compile_source source = {file, text};
    struct compile_request request = {.sources = &source,
                                      .n_sources = 1,
                                      .entrypoints = &entrypoint,
                                      .n_entrypoints = 1,
                                      .optimize = 1,
                                      .cache = cache};
    struct compile c;
    struct str full = {NULL, 0};
    *thin = full;
    request.parse.version = REGO_V1;
    if (compile_run(&c, &request, NULL) == OK) {
        full = (struct str){arena_copy(&memory, c.full.ptr, c.full.len), c.full.len};
        *thin = (struct str){arena_copy(&memory, c.thin.ptr, c.thin.len), c.thin.len};
    }
    compile_end(&c);
    return full;
}

/* The first rule's path, such as "p/allow"; empty: none. */
static struct str first_rule(struct str file, struct str text) {
    struct diag_list ignored;
    diag_list_init(&ignored, &memory);
    struct module *m = parse_module(&memory, file, text, NULL, &ignored);
    size_t len = 0;
    if (!m || !m->rules.n) return STR("");
    struct str package = ref_dotted(&memory, m->package);
    char *path = arena_printf(&memory, &len, "%.*s/%.*s", STR_FMT(str_from(package, 5)),
                              STR_FMT(m->rules.items[0]->head->ref->list.items[0]->text));
    for (size_t i = 0; i < len; i++)
        if (path[i] == '.') path[i] = '/';
    return (struct str){path, len};
}

/* All policies of the tests, one after the other with one cache, twice: modules are what they are
 * without. */
static void cache_changes_nothing(void **state) {
    (void)state;
    glob_t found = {0};
    struct compile_cache *cache = compile_cache_new();
    uint32_t compared = 0;
    assert_int_equal(glob("tests/*/*/policy.rego", 0, NULL, &found), 0);
    (void)glob("tests/*/*.rego", GLOB_APPEND, NULL, &found);
    (void)glob("examples/*/*.rego", GLOB_APPEND, NULL, &found);
    (void)glob("bench/*/policy.rego", GLOB_APPEND, NULL, &found);
    for (size_t i = 0; i < 2 * found.gl_pathc; i++) {
        struct buf b;
        struct str file = str_of(found.gl_pathv[i % found.gl_pathc]), thin, cached_thin;
        buf_init(&b, 1 << 24);
        assert_int_equal(buf_read_file(&b, file.ptr), OK);
        struct str entrypoint = first_rule(file, buf_view(&b));
        struct str full = module_of(file, buf_view(&b), entrypoint, NULL, &thin);
        struct str cached = module_of(file, buf_view(&b), entrypoint, cache, &cached_thin);
        assert_true(str_eq(full, cached) && str_eq(thin, cached_thin));
        compared += full.len > 0;
        buf_deinit(&b);
    }
    assert_true(compared >= 40);
    globfree(&found);
    compile_cache_free(cache);
}

/* A compile that ends in the middle of what it leaves spoils nothing. */
static void cache_survives_little_memory(void **state) {
    (void)state;
    struct compile_cache *cache = compile_cache_new();
    struct str text = STR("package p\n\nallow if startswith(input.x, \"a\")\n"),
               entrypoint = STR("p/allow"), thin, again;
    struct str full = module_of(STR("p.rego"), text, entrypoint, NULL, &thin);
    for (size_t max = 1 << 12; max < 4 << 20; max = max * 5 / 4) {
        struct compile_source source = {STR("p.rego"), text};
        struct compile_request request = {.sources = &source,
                                          .n_sources = 1,
                                          .entrypoints = &entrypoint,
                                          .n_entrypoints = 1,
                                          .optimize = 1,
                                          .max_arena_bytes = max,
                                          .cache = cache};
        struct compile c;
        request.parse.version = REGO_V1;
        enum err e = compile_run(&c, &request, NULL);
        assert_true(e == OK || e == ERR_MEMORY);
        compile_end(&c);
    }
    assert_true(str_eq(full, module_of(STR("p.rego"), text, entrypoint, cache, &again)));
    assert_true(str_eq(thin, again));
    compile_cache_free(cache);
}

static int setup(void **state) {
    (void)state;
    arena_init(&memory, ARENA);
    return builder_shared_new(&shared) || builder_new(shared, NULL, &builder);
}

static int teardown(void **state) {
    (void)state;
    builder_free(builder);
    builder_shared_free(shared);
    arena_deinit(&memory);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_file),
        TEST(equal_bytes),
        TEST(libraries_by_use),
        TEST(libraries_by_dynamic_use),
        TEST(libraries_of_tests),
        TEST(unused_broken_library),
        TEST(broken_library),
        TEST(entrypoints_as_asked),
        TEST(entrypoints_by_annotation),
        TEST(no_entrypoint),
        TEST(masks),
        TEST(values_stay_strings),
        TEST(missing_value),
        TEST(compile_errors),
        TEST(failing_tests),
        TEST(tests_see_data),
        TEST(test_that_does_not_compile),
        TEST(checks),
        TEST(checks_under_limits),
        TEST(unchanged),
        TEST(data_alone),
        TEST(large_data),
        TEST(large_module),
        TEST(many_files),
        TEST(deep_nesting),
        TEST(slow_to_compile),
        TEST(endless_test),
        TEST(little_memory),
        TEST(shared_code),
        TEST(signed_bundle),
        TEST(cache_changes_nothing),
        TEST(cache_survives_little_memory),
    };
    if (getenv("BUILDER_OUT")) cmocka_set_test_filter("signed_bundle");
    return cmocka_run_group_tests(tests, setup, teardown);
}
