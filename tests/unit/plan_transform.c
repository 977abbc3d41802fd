/* Tests of the transforms: what each takes out of a plan, and what it must leave.
 * in: tables of policy, disabled transforms, and statements that the plan must or must not have
 * out: TAP lines
 * owns: a compile and a buffer a case */
#include "compiler/compile.h"
#include "compiler/plan/ir.h"
#include "compiler/transform/transform.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MAX_BYTES = 64 << 20, MAX_PARTS = 5 };

struct transform_case {
    int level;
    const char *disabled, *source;
    const char *has[MAX_PARTS], *lacks[MAX_PARTS]; /* parts of the printed plan of data.t.p */
};

static void print_transformed(struct buf *out, const struct transform_case *k,
                              const struct json *values) {
    struct compile_source source = {STR("t.rego"), str_of(k->source)};
    struct str entrypoint = STR("t/p");
    struct compile_request q = {.sources = &source,
                                .n_sources = 1,
                                .entrypoints = &entrypoint,
                                .n_entrypoints = 1,
                                .optimize = k->level,
                                .disabled_transforms = k->disabled};
    struct compile c;
    q.parse.version = REGO_V1;
    q.parse.template_values = values;
    enum err err = compile_run(&c, &q, "transform");
    if (err)
        diag_print(&c.diags, out);
    else
        plan_print(c.plan, out);
    buf_byte(out, 0);
    compile_end(&c);
}

static void check(const struct transform_case *k) {
    struct buf out;
    buf_init(&out, MAX_BYTES);
    print_transformed(&out, k, NULL);
    const char *text = (const char *)out.ptr;
    for (int i = 0; i < MAX_PARTS && k->has[i]; i++)
        if (!strstr(text, k->has[i])) fail_msg("no \"%s\" in\n%s", k->has[i], text);
    for (int i = 0; i < MAX_PARTS && k->lacks[i]; i++)
        if (strstr(text, k->lacks[i])) fail_msg("\"%s\" in\n%s", k->lacks[i], text);
    buf_deinit(&out);
}
#define CHECK_ALL(cases)                                                                           \
    for (size_t i = 0; i < sizeof(cases) / sizeof *(cases); i++) check(&(cases)[i])

static void project(void **state) {
    (void)state;
    static const struct transform_case cases[] = {
        {0,
         NULL,
         "package t\np := input.a.b.c",
         {"InputSlot 0", "\"c\" slot 0"},
         {"Dot", "\"a\" slot", "\"b\" slot"}},
        {0,
         NULL,
         "package t\np := data.a.b[input.k]",
         {"DataSlot 0", "\"b\" slot 0", "\"k\" slot 0"},
         {0}},
        {0, NULL, "package t\np := count(input)", {"input   slot 0"}, {"InputSlot"}},
        {0, NULL, "package t\np := input[data.k]", {"input   slot 0"}, {"InputSlot"}},
        {0, "project", "package t\np := input.a", {"Dot %0 \"a\""}, {"InputSlot"}},
        /* Changing a part of the input needs the rest of it. */
        {0,
         NULL,
         "package t\np := x if x := q with input.a as 1\nq := input.b",
         {"input   slot", "InputSlot"},
         {0}},
        {0,
         NULL,
         "package t\np := x if x := q with input as {}\nq := input.b",
         {"InputSlot"},
         {"input   slot"}},
        /* The value is of the input outside of the `with`. */
        {1,
         "inline",
         "package t\np := x if { u := input.u; x := f(u.a) with input as {} }\nf(x) := [x, input]",
         {"Dot"},
         {"\"a\" slot"}},
        /* One object for several members is not built. */
        {1,
         NULL,
         "package t\np := [x, y] if { u := input.u; x := u.a; y := u.b }",
         {"\"a\" slot", "\"b\" slot"},
         {"\"u\" slot"}},
        /* But where it is passed on it is. */
        {1,
         NULL,
         "package t\np := [x, u] if { u := input.u; x := u.a }",
         {"\"u\" slot", "\"a\" slot"},
         {0}},
    };
    CHECK_ALL(cases);
}

static void constants(void **state) {
    (void)state;
    static const struct transform_case cases[] = {
        {1,
         NULL,
         "package t\np := {\"a\": [1, 2], \"b\": {3}}",
         {"MakeConst 0"},
         {"MakeObject\n    %4 = ObjectInsert \"a\"", "= SetAdd", "ArrayAppend"}},
        {1, NULL, "package t\np := [[1, 2], input.x]", {"MakeConst 0", "MakeArray 2"}, {0}},
        {1, "const", "package t\np := [1, 2]", {"MakeArray 2"}, {"MakeConst"}},
    };
    CHECK_ALL(cases);
}

static void results(void **state) {
    (void)state;
    static const struct transform_case cases[] = {
        {1,
         "inline",
         "package t\np := x if x := input.a",
         {"%2 = AssignVar %"},
         {"Once", "IsDefined"}},
        {1,
         "inline",
         "package t\np := 1 if input.a\np := 2 if input.b",
         {"%2 = AssignVarOnce"},
         {"%3 = Reset"}},
        {1,
         "inline",
         "package t\np := 1 if input.a\nelse := 2 if input.b",
         {"IsUndefined %2"},
         {"Once"}},
        {1, "inline", "package t\np := x if some x in input.a", {"%2 = AssignVarOnce"}, {0}},
        {1, "inline,result", "package t\np := x if x := input.a", {"%2 = AssignVarOnce"}, {0}},
    };
    CHECK_ALL(cases);
}

static void exits(void **state) {
    (void)state;
    static const struct transform_case cases[] = {
        {1,
         "inline",
         "package t\np if some x in input.a",
         {"%2 = AssignVar true  # 2:1\n        ReturnLocal %2"},
         {0}},
        {1, "inline", "package t\np := x if some x in input.a", {0}, {"        ReturnLocal"}},
        {1, NULL, "package t\np := 1 if every x in input.a { x > 1 }", {"Break 1"}, {0}},
        {1, "exit", "package t\np if some x in input.a", {0}, {"        ReturnLocal", "Break"}},
        /* Every element counts. */
        {1,
         "inline",
         "package t\np contains x if some x in input.a",
         {"SetAdd"},
         {"Break", "  ReturnLocal %2\n  "}},
        {1, "inline", "package t\np := {x | some x in input.a; x > 1}", {"SetAdd"}, {"Break"}},
    };
    CHECK_ALL(cases);
}

static void inlining(void **state) {
    (void)state;
    static const struct transform_case cases[] = {
        {1, NULL, "package t\np := x if x := q\nq := input.a", {"entrypoint"}, {"function"}},
        {1, "inline", "package t\np := x if x := q\nq := input.a", {"function g0.data.t.q"}, {0}},
        {1,
         NULL,
         "package t\np := [q, r]\nr := q\nq := {\"a\": input.a}",
         {"function g0.data.t.q"},
         {"function g0.data.t.r"}},
        /* A memoised rule in a loop would run once an element. */
        {1,
         NULL,
         "package t\np contains x if { some x in input.a; q[x] }\nq := {y | some y in input.b}",
         {"function g0.data.t.q"},
         {0}},
        {1,
         NULL,
         "package t\np := [q, r]\nr := q\nq := \"k\"",
         {"\"k\""},
         {"function g0.data.t.q"}},
    };
    CHECK_ALL(cases);
}

static void template_shape(void **state) {
    (void)state;
    static const char *const values[] = {"acme", "x", "", "k"};
    static const struct transform_case k = {
        1,
        NULL,
        "package t\np if input[\"{{A}}\"] == \"{{A}}\"\np if q[\"{{A}}\"] != {input.z, \"{{A}}\"}\n"
        "q.x := data.k[\"{{A}}\"]\nq.k := {\"{{A}}\": data.l, \"k\": 2}",
        {0},
        {0}};
    struct buf first, other;
    buf_init(&first, MAX_BYTES);
    buf_init(&other, MAX_BYTES);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct arena a;
        arena_init(&a, MAX_BYTES);
        struct json *v = json_object(&a);
        json_set(&a, v, STR("A"), json_string(&a, str_of(values[i])));
        buf_clear(&other);
        print_transformed(i ? &other : &first, &k, v);
        if (i) assert_string_equal((const char *)first.ptr, (const char *)other.ptr);
        arena_deinit(&a);
    }
    assert_non_null(strstr((const char *)first.ptr, "DataSlot"));
    buf_deinit(&first);
    buf_deinit(&other);
}

static void names(void **state) {
    (void)state;
    const char *name, *meaning;
    int level;
    uint32_t n = 0;
    while (transform_at(n, &name, &meaning, &level)) {
        assert_true(*name && *meaning && level >= 0);
        n++;
    }
    assert_int_equal(n, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(project), cmocka_unit_test(constants), cmocka_unit_test(results),
        cmocka_unit_test(exits),   cmocka_unit_test(inlining),  cmocka_unit_test(template_shape),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
