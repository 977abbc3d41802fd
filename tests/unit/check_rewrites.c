/* The checks' rewritten trees: bodies after a stage, names, order, sets of variables.
 * in: small policies below. out: TAP. owns: its compiles. */
#include "compiler/ast/print.h"
#include "compiler/check/check.h"
#include "compiler/check/varset.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct rewrite {
    const char *stage, *policy, *body; /* body of the first rule after the stage */
};

static const struct rewrite rewrites[] = {
    {"resolve_refs", "package a\nimport data.lib.f\np if { f(q); x := q }\nq := 1",
     "data.lib.f(data.a.q); assign(x, data.a.q)"},
    {"rewrite_local_vars", "package a\np if { x := 1; y = x; some z in [x]; z == y }",
     "__local0__ = 1; y = __local0__; __local3__ = [__local0__][__local2__]; equal(__local3__, y)"},
    {"rewrite_print_calls", "package a\np if { print(input.x) }", "true"},
    {"rewrite_expr_terms", "package a\np if { count([1, 2]) + 1 == 3 }",
     "count([1, 2], __local0__); plus(__local0__, 1, __local1__); equal(__local1__, 3)"},
    {"check_safety", "package a\np if { x > y; y = z[0]; x = z[1]; z = input.pair }",
     "z = input.pair; y = z[0]; x = z[1]; gt(x, y)"},
    {"rewrite_dynamic_terms", "package a\np if { startswith(input.x, data.y) }",
     "__local0__ = input.x; __local1__ = data.y; startswith(__local0__, __local1__)"},
};

static void print_first_body(const struct rewrite *r, struct buf *out) {
    struct compile_source source = {STR("t.rego"), str_of(r->policy)};
    struct compile_request request = {
        .sources = &source, .n_sources = 1, .parse = {.version = REGO_V1}};
    struct compile c;
    assert_int_equal(compile_run(&c, &request, r->stage), OK);
    print_body(&c.modules.items[0]->rules.items[0]->body, out);
    compile_end(&c);
}

static void test_rewrites(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rewrites / sizeof *rewrites; i++) {
        struct buf out;
        buf_init(&out, 1 << 16);
        print_first_body(&rewrites[i], &out);
        buf_byte(&out, 0);
        assert_string_equal((const char *)out.ptr, rewrites[i].body);
        buf_deinit(&out);
    }
}

/* Memory that ends is an error value, at whatever allocation it ends. */
static void test_memory_ends(void **state) {
    (void)state;
    struct compile_source source = {STR("t.rego"), STR("package a\np if { x := 1; x > input.y }")};
    for (uint64_t max = 1; max < (1 << 20); max = max * 3 / 2 + 1) {
        struct compile_request request = {.sources = &source,
                                          .n_sources = 1,
                                          .parse = {.version = REGO_V1},
                                          .max_arena_bytes = max};
        struct compile c;
        enum err e = compile_run(&c, &request, "query");
        assert_true(e == OK || e == ERR_MEMORY);
        compile_end(&c);
    }
}

/* Names of a query resolve in its package, and results go by the user's names. */
static void test_query_sees_package(void **state) {
    (void)state;
    struct compile_source source = {STR("t.rego"), STR("package a\np := 1\n")};
    struct compile_request request = {.sources = &source,
                                      .n_sources = 1,
                                      .parse = {.version = REGO_V1},
                                      .query = STR("x := p + 1"),
                                      .query_package = STR("a")};
    struct compile c;
    assert_int_equal(compile_run(&c, &request, "query"), OK);
    const struct term *x = c.query.items[c.query.n - 1]->call.items[1];
    const struct str *name = table_get(&c.check->rewritten_vars, x->text);
    assert_non_null(name);
    assert_true(str_is(*name, "x"));
    compile_end(&c);
}

static void test_varset(void **state) {
    (void)state;
    struct arena a;
    struct varset s, t;
    char names[40][4];
    arena_init(&a, 1 << 20);
    varset_init(&s, &a);
    varset_init(&t, &a);
    for (int i = 0; i < 40; i++) {
        names[i][0] = 'v';
        names[i][1] = (char)('0' + i / 10);
        names[i][2] = (char)('0' + i % 10);
        names[i][3] = 0;
        varset_add(&s, str_of(names[i]));
        if (i % 2) varset_add(&t, str_of(names[i]));
    }
    assert_int_equal(s.live, 40);
    assert_true(varset_within(&t, &s));
    varset_subtract(&s, &t);
    assert_int_equal(s.live, 20);
    assert_false(varset_has(&s, STR("v01")));
    varset_add(&s, STR("v01"));
    assert_true(varset_has(&s, STR("v01")));
    varset_clear(&s);
    assert_false(varset_has(&s, STR("v00")));
    arena_deinit(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewrites),
        cmocka_unit_test(test_memory_ends),
        cmocka_unit_test(test_query_sees_package),
        cmocka_unit_test(test_varset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
