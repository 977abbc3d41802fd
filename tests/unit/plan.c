/* Tests of the planner: what it plans for small policies, what it refuses.
 * in: tables of policy, entrypoint or query, and statements that the plan must or must not have
 * out: TAP lines
 * owns: a compile and a buffer a case */
#include "compiler/compile.h"
#include "compiler/plan/ir.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MAX_BYTES = 64 << 20, MAX_PARTS = 6 };

struct plan_case {
    const char *source, *entrypoint, *query;
    const char *has[MAX_PARTS], *lacks[MAX_PARTS]; /* parts of the printed plan, or of the errors */
};

struct run {
    struct compile c;
    struct buf out;
    enum err err;
    const char *text; /* the plan, or the errors, 0-terminated */
};

static void run(struct run *r, const struct plan_case *k, const struct json *values) {
    struct compile_source source = {STR("t.rego"), str_of(k->source)};
    struct str entrypoint = str_of(k->entrypoint);
    struct compile_request q = {.sources = &source,
                                .n_sources = 1,
                                .entrypoints = &entrypoint,
                                .n_entrypoints = k->entrypoint != NULL,
                                .query = str_of(k->query)};
    q.parse.version = REGO_V1;
    q.parse.template_values = values;
    buf_init(&r->out, MAX_BYTES);
    r->err = compile_run(&r->c, &q, "plan");
    if (r->err)
        diag_print(&r->c.diags, &r->out);
    else
        plan_print(r->c.plan, &r->out);
    buf_byte(&r->out, 0);
    r->text = (const char *)r->out.ptr;
}

static void run_end(struct run *r) {
    compile_end(&r->c);
    buf_deinit(&r->out);
}

static void check(const struct plan_case *k) {
    struct run r;
    run(&r, k, NULL);
    for (int i = 0; i < MAX_PARTS && k->has[i]; i++)
        if (!strstr(r.text, k->has[i])) fail_msg("no \"%s\" in\n%s", k->has[i], r.text);
    for (int i = 0; i < MAX_PARTS && k->lacks[i]; i++)
        if (strstr(r.text, k->lacks[i])) fail_msg("\"%s\" in\n%s", k->lacks[i], r.text);
    run_end(&r);
}

static void check_all(const struct plan_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) check(&cases[i]);
}
#define CHECK_ALL(cases) check_all(cases, sizeof(cases) / sizeof *(cases))

static void rules(void **state) {
    (void)state;
    static const struct plan_case cases[] = {
        {"package t\np := 1",
         "t/p",
         NULL,
         {"entrypoint 0 \"t/p\" result %3", "function g0.data.t.p(%0 %1) %2 memoised",
          "MakeNumberRef 1", "AssignVarOnce", "ReturnLocal %2"},
         {0}},
        {"package t\np contains x if some x in input.a",
         "t/p",
         NULL,
         {"%2 = MakeSet", "Scan", "%2 = SetAdd"},
         {"AssignVarOnce"}},
        {"package t\np[x] := y if some x, y in input.a",
         "t/p",
         NULL,
         {"%2 = MakeObject", "%2 = ObjectInsertOnce"},
         {0}},
        {"package t\ndefault p := false\np if input.a",
         "t/p",
         NULL,
         {"IsUndefined %2", "%2 = AssignVarOnce false"},
         {0}},
        {"package t\np := 1 if input.a else := 2 if input.b", "t/p", NULL, {"IsUndefined %3"}, {0}},
        {"package t\nf(x) := x\np := f(input.a)",
         "t/p",
         NULL,
         {"function g0.data.t.f(%0 %1 %3) %2\n", "Call g0.data.t.f %0 %1"},
         {0}},
        {"package t\nunused := input.x\np := 1", "t/p", NULL, {0}, {"unused"}},
        {"package t\np[x].a contains y if some x, y in input.m",
         "t/p",
         NULL,
         {"%2 = MakeObject", "MakeSet", "ObjectInsert \"a\""},
         {0}},
    };
    CHECK_ALL(cases);
}

static void data_refs(void **state) {
    (void)state;
    static const struct plan_case cases[] = {
        {"package t\np := data.x.y", "t/p", NULL, {"Dot %1 \"x\"", "\"y\""}, {"Merge"}},
        {"package t\np := 1\nq := input.q",
         "t",
         NULL,
         {"ObjectInsert \"p\"", "ObjectInsert \"q\"", "ObjectMerge"},
         {0}},
        {"package t\na.b := 1\na.c := 2\np := a[input.k]",
         "t/p",
         NULL,
         {"CallDynamic %0 %1 at \"g0\" \"t\" \"a\"", "g0.data.t.a.b", "g0.data.t.a.c"},
         {0}},
        {"package t\na.b := 1\na.c := 2\np contains x if a[x]",
         "t/p",
         NULL,
         {"Call g0.data.t.a.b", "Call g0.data.t.a.c", "ArrayAppend"},
         {"CallDynamic"}},
        {"package t\np.a := 1\np.b := p.a + 1\np[x] := 7 if x := \"c\"\nq := p.b",
         "t/q",
         NULL,
         {"g0.data.t.p/1:a", "g0.data.t.p/1:b"},
         {0}},
        {"package t\np := data.a[2]", "t/p", NULL, {"MakeNumberRef 2", "\"2\""}, {0}},
    };
    CHECK_ALL(cases);
}

static void with_modifiers(void **state) {
    (void)state;
    static const struct plan_case cases[] = {
        {"package t\np := x if x := q with input as {\"a\": 1}\nq := input.a",
         "t/p",
         NULL,
         {"%0 = With", "Call g0.data.t.q"},
         {"g1."}},
        {"package t\np := x if x := q with input.a.b as 1\nq := input.a",
         "t/p",
         NULL,
         {"at \"a\" \"b\""},
         {0}},
        {"package t\np := x if x := q with data.t.r as 1\nq := r\nr := 2",
         "t/p",
         NULL,
         {"%1 = With", "g1.data.t.q", "Dot %1 \"t\""},
         {"data.t.r("}},
        {"package t\np := x if x := q with count as 5\nq := count(input.a)",
         "t/p",
         NULL,
         {"g1.data.t.q", "MakeNumberRef 5"},
         {"Call count"}},
        {"package t\np := x if x := q with count as f\nq := count(input.a)\nf(x) := x",
         "t/p",
         NULL,
         {"g1.data.t.q", "data.t.f"},
         {"Call count"}},
        {"package t\np := [a, b] if {\n a := q with count as 5\n b := q with count as 5\n}\n"
         "q := count(input.a)",
         "t/p",
         NULL,
         {"g1.data.t.q"},
         {"g2."}},
        {"package t\np := q if { n := input.n; q with count as n }\nq := count(input.a)",
         "t/p",
         NULL,
         {"function g1.data.t.q(%0 %1 %2) %3\n"},
         {0}},
        {"package t\np contains x if some x in q with input as {\"a\": [1]}\nq := input.a",
         "t/p",
         NULL,
         {"%0 = With", "ArrayAppend", "Scan"},
         {0}},
    };
    CHECK_ALL(cases);
}

static void bodies(void **state) {
    (void)state;
    static const struct plan_case cases[] = {
        {"package t\np if not input.a", "t/p", NULL, {"Not", "NotEqual"}, {0}},
        {"package t\np if not walk(input, [[\"a\"], 1])", "t/p", NULL, {"IsUndefined"}, {"Not\n"}},
        {"package t\np if every x in input.a { x > 1 }",
         "t/p",
         NULL,
         {"IsArray", "IsObject", "IsSet", "IsUndefined", "Call gt"},
         {0}},
        {"package t\np := [x | some x in input.a; x > 1]", "t/p", NULL, {"ArrayAppend"}, {0}},
        {"package t\np := x if [x, {\"a\": 2}] = input.a",
         "t/p",
         NULL,
         {"IsArray", "IsObject", "Len"},
         {0}},
    };
    CHECK_ALL(cases);
}

static void queries(void **state) {
    (void)state;
    static const struct plan_case cases[] = {
        {"package t\np := 1", NULL, "x := data.t.p; y = x", {"Insert \"x\"", "Insert \"y\""}, {0}},
        {"package t",
         NULL,
         "input.a[_]; z := [q | q := 1]",
         {"Insert \"z\""},
         {"Insert \"q\"", "Insert \"$", "__local"}},
    };
    CHECK_ALL(cases);
}

static void errors(void **state) {
    (void)state;
    static const struct plan_case cases[] = {
        {"package t\np := 1",
         "t/nope",
         NULL,
         {"entrypoint \"t/nope\" does not refer to a rule or policy decision"},
         {0}},
        {"package t\np := internal.test_case([])",
         "t/p",
         NULL,
         {"t.rego:2", "internal.test_case"},
         {0}},
        /* Only what an entrypoint reaches is refused. */
        {"package t\nq := internal.test_case([])\np := 1", "t/p", NULL, {0}, {"not supported"}},
    };
    CHECK_ALL(cases);
}

/* ---- Templates: the plan's shape does not depend on values ---- */

static const char TEMPLATE[] = "package t\n"
                               "o := {\"{{A}}\": 1, \"x\": 2}\n"
                               "p if input.a == \"{{A}}\"\n"
                               "p if \"{{A}}\" == \"x\"\n"
                               "p if input[\"{{A}}\"] in {\"b\", \"{{A}}\"}\n"
                               "q.x := 1\n"
                               "q.y := input[\"{{A}}\"]\n"
                               "r := data.t.q[\"{{A}}\"]\n";

static void shape(struct buf *out, const char *value) {
    struct arena a;
    struct run r;
    const struct plan_case k = {TEMPLATE, "t", NULL, {0}, {0}};
    arena_init(&a, MAX_BYTES);
    struct json *values = json_object(&a);
    json_set(&a, values, STR("A"), json_string(&a, str_of(value)));
    run(&r, &k, values);
    assert_int_equal(r.err, OK);
    buf_cstr(out, r.text);
    buf_byte(out, 0);
    run_end(&r);
    arena_deinit(&a);
}

static void templates(void **state) {
    (void)state;
    static const char *const values[] = {"x", "zebra", "", "a", "{{A}}"};
    struct buf first, other;
    buf_init(&first, MAX_BYTES);
    buf_init(&other, MAX_BYTES);
    shape(&first, "acme");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        buf_clear(&other);
        shape(&other, values[i]);
        assert_string_equal((const char *)first.ptr, (const char *)other.ptr);
    }
    buf_deinit(&first);
    buf_deinit(&other);
}

/* ---- plan.json ---- */

static void plan_json(void **state) {
    (void)state;
    const struct plan_case k = {
        "package t\np if { input.a + 1 == count(input.b) }", "t/p", NULL, {0}, {0}};
    struct run r;
    struct arena a;
    struct json *doc;
    struct json_error error;
    struct buf out;
    run(&r, &k, NULL);
    assert_int_equal(r.err, OK);
    buf_init(&out, MAX_BYTES);
    plan_print_json(r.c.plan, &out);
    arena_init(&a, MAX_BYTES);
    assert_int_equal(json_parse(&a, buf_view(&out), &doc, &error), OK);
    assert_int_equal(json_get_c(json_get_c(doc, "static"), "builtin_funcs")->n, 2);
    assert_int_equal(json_get_c(json_get_c(doc, "plans"), "plans")->n, 1);
    struct json *f = json_get_c(json_get_c(doc, "funcs"), "funcs")->items[0];
    assert_true(str_is(json_get_c(f, "name")->text, "g0.data.t.p"));
    assert_int_equal(json_get_c(f, "path")->n, 3);
    struct json *s = json_get_c(json_get_c(f, "blocks")->items[0], "stmts")->items[0];
    assert_true(str_is(json_get_c(s, "type")->text, "ResetLocalStmt"));
    assert_true(str_is(json_get_c(json_get_c(s, "stmt"), "row")->text, "2"));
    arena_deinit(&a);
    buf_deinit(&out);
    run_end(&r);
}

/* A long chain of rules must not cost stack. */
static void deep(void **state) {
    (void)state;
    enum { N = 3000 };
    struct buf source;
    struct run r;
    buf_init(&source, MAX_BYTES);
    buf_cstr(&source, "package t\n");
    for (int i = 0; i < N; i++) buf_printf(&source, "p%d := p%d\n", i, i + 1);
    buf_printf(&source, "p%d := input.x\n", N);
    buf_byte(&source, 0);
    const struct plan_case k = {(const char *)source.ptr, "t/p0", NULL, {0}, {0}};
    run(&r, &k, NULL);
    assert_int_equal(r.err, OK);
    assert_int_equal(r.c.plan->functions.n, N + 1);
    run_end(&r);
    buf_deinit(&source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),     cmocka_unit_test(data_refs), cmocka_unit_test(with_modifiers),
        cmocka_unit_test(bodies),    cmocka_unit_test(queries),   cmocka_unit_test(errors),
        cmocka_unit_test(templates), cmocka_unit_test(plan_json), cmocka_unit_test(deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
