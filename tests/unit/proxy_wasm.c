/* Filters that the compiler makes for proxies (compiler/wasm/proxy.c): what they import, export and refuse.
 * They are run in tests/edge/test_proxy_wasm.py. */
#include "base/json.h"
#include "compiler/compile.h"
#include "compiler/wasm/module.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct compile C;
static struct arena A;

static const char POLICY[] = "package t\nallow if input.parsed_path[0] in data.open\n";

static enum err compile_filter(const char *policy, const char *data, struct compile_request *q) {
    static struct compile_source source;
    static const struct str entrypoint = {"t/allow", 7};
    struct json *d = NULL;
    source = (struct compile_source){str_of("p.rego"), str_of(policy)};
    assert_int_equal(json_parse(&A, str_of(data), &d, NULL), OK);
    *q = (struct compile_request){.sources = &source,
                                  .n_sources = 1,
                                  .parse = {.version = REGO_V1},
                                  .entrypoints = &entrypoint,
                                  .n_entrypoints = 1,
                                  .data = d,
                                  .optimize = 1,
                                  .proxy_wasm = true};
    return compile_run(&C, q, NULL);
}

static int begin(void **state) {
    (void)state;
    arena_init(&A, 1 << 24);
    return 0;
}

static int end(void **state) {
    (void)state;
    arena_deinit(&A);
    return 0;
}

static bool has_export(const struct wasm_module *m, const char *name) {
    return wasm_module_function(m, str_of(name)) >= 0;
}

static void test_interface(void **state) {
    static const char *const exports[] = {
        "proxy_abi_version_0_2_1", "_initialize",           "proxy_on_memory_allocate",  "proxy_on_context_create",
        "proxy_on_vm_start",       "proxy_on_configure",    "proxy_on_request_headers",  "proxy_on_request_body",
        "proxy_on_delete",         "proxy_on_request_trailers"};
    struct compile_request q;
    struct wasm_module m;
    const char *problem;
    (void)state;
    assert_int_equal(compile_filter(POLICY, "{\"open\":[\"a\"]}", &q), OK);
    assert_int_equal(C.thin.len, 0);
    assert_true(wasm_module_read(buf_view(&C.full), &A, &m, &problem) || (print_message("%s\n", problem), false));
    for (size_t i = 0; i < sizeof exports / sizeof *exports; i++) assert_true(has_export(&m, exports[i]));
    assert_int_equal(m.exports.n, sizeof exports / sizeof *exports + 1); /* and the memory: nothing of OPA's ABI */
    for (uint32_t i = 0; i < m.imports.n; i++) {
        assert_true(str_is(m.imports.items[i].module, "env"));
        assert_true(str_starts(m.imports.items[i].name, STR("proxy_")));
    }
    compile_end(&C);
}

/* Only a policy that names them is called with responses. */
static void test_responses(void **state) {
    struct compile_request q;
    struct wasm_module m;
    const char *problem;
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *policy = i ? POLICY : "package t\nallow := {\"allowed\": true, \"response_headers_to_add\": {\"a\": \"b\"}}\n";
        const char *data = i ? "{\"open\":[\"response_headers_to_add\"]}" : "{}";
        assert_int_equal(compile_filter(policy, data, &q), OK);
        assert_true(wasm_module_read(buf_view(&C.full), &A, &m, &problem));
        assert_true(has_export(&m, "proxy_on_response_headers"));
        compile_end(&C);
    }
}

static void test_data_is_inside(void **state) {
    struct compile_request q;
    struct wasm_module m[2];
    const char *problem, *data[] = {"{\"open\":[\"some-word\"]}", "{\"open\":[\"longer-than-that\",1,null],\"x\":{}}"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(compile_filter(POLICY, data[i], &q), OK);
        struct str bytes = {arena_strndup(&A, (const char *)C.full.ptr, C.full.len), C.full.len};
        assert_true(wasm_module_read(bytes, &A, &m[i], &problem));
        compile_end(&C);
    }
    assert_non_null(memmem(m[0].data_section.ptr, m[0].data_section.len, "some-word", 9));
    assert_non_null(memmem(m[1].data_section.ptr, m[1].data_section.len, "longer-than-that", 16));
    assert_true(str_eq(m[0].code_section, m[1].code_section)); /* code does not depend on data */
}

static void test_refused_builtins(void **state) {
    struct compile_request q;
    (void)state;
    const char *policy = "package t\nallow if regex.match(\"a\", input.x)\nallow if {\n\tsome y in input.y\n\tnot f(y)\n}\n"
                         "f(y) if crypto.sha256(y) == \"1\"\nallow if time.now_ns() > 1\n";
    assert_int_equal(compile_filter(policy, "{}", &q), ERR_DIAG);
    assert_int_equal(C.diags.n, 2);
    assert_int_equal(C.diags.items[0].loc.row, 2);
    assert_non_null(strstr(C.diags.items[0].message.ptr, "regex.match"));
    assert_int_equal(C.diags.items[1].loc.row, 7);
    assert_non_null(strstr(C.diags.items[1].message.ptr, "crypto.sha256"));
    assert_int_equal(C.full.len, 0);
    compile_end(&C);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_interface, begin, end),
        cmocka_unit_test_setup_teardown(test_responses, begin, end),
        cmocka_unit_test_setup_teardown(test_data_is_inside, begin, end),
        cmocka_unit_test_setup_teardown(test_refused_builtins, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
