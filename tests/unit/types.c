/* Tests of the builtin table and of the types' algebra: parse, print, union, selection, unify.
 * in: type strings as in builtins.def. out: TAP. owns: one arena a test. */
#include "compiler/check/types.h"
#include "compiler/builtin.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int setup(void **state) {
    static struct arena arena;
    arena_init(&arena, 64 << 20);
    *state = &arena;
    return 0;
}

static int teardown(void **state) {
    arena_deinit(*state);
    return 0;
}

/* The result type of "()->TEXT". */
static const struct type *type_of(struct arena *a, const char *text) {
    const char *whole = arena_printf(a, NULL, "()->%s", text);
    const struct type *t = type_parse(a, whole);
    assert_non_null(t);
    return t->result;
}

static void assert_text(struct arena *a, const struct type *t, const char *want) {
    struct str text = type_text(a, t);
    assert_string_equal(arena_strndup(a, text.ptr, text.len), want);
}

/* ---- builtins ---- */

static void finds_builtins_by_name(void **state) {
    (void)state;
    for (uint32_t i = 0; builtin_at(i); i++)
        assert_ptr_equal(builtin_find(str_of(builtin_at(i)->name)), builtin_at(i));
    assert_null(builtin_find(STR("no.such")));
    assert_null(builtin_find(STR("")));
}

static void finds_builtins_by_infix(void **state) {
    (void)state;
    assert_string_equal(builtin_find_infix(STR("=="))->name, "equal");
    assert_string_equal(builtin_find_infix(STR(":="))->name, "assign");
    assert_string_equal(builtin_find_infix(STR("in"))->name, "internal.member_2");
    assert_null(builtin_find_infix(STR("===")));
    assert_null(builtin_find_infix(STR("")));
}

static void computes_arity(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t arity;
    } cases[] = {{"count", 1},      {"opa.runtime", 0},   {"concat", 2},
                 {"substring", 3},  {"time.add_date", 4}, {"json.match_schema", 2},
                 {"json.patch", 2}, {"print", 0},         {"net.cidr_contains_matches", 2},
                 {"walk", 1},       {"io.jwt.decode", 1}, {"object.get", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(builtin_find(str_of(cases[i].name))->arity, cases[i].arity);
    assert_true(builtin_find(STR("print"))->variadic);
    assert_true(builtin_find(STR("internal.print"))->is_void);
    assert_false(builtin_find(STR("count"))->is_void);
}

static void reads_every_type_string(void **state) {
    for (uint32_t i = 0; builtin_at(i); i++) {
        const struct type *t = type_parse(*state, builtin_at(i)->type);
        assert_non_null(t);
        assert_int_equal(t->kind, TYPE_FUNCTION);
        assert_int_equal(t->n, builtin_at(i)->arity);
        assert_int_equal(t->result == NULL, builtin_at(i)->is_void);
    }
}

/* ---- text ---- */

static void prints_as_opa(void **state) {
    struct arena *a = *state;
    static const char *const cases[][2] = {
        {"any", "any"},
        {"array[string]", "array[string]"},
        {"[number,string]", "array<number, string>"},
        {"set[any]", "set[any]"},
        {"object[string:any]", "object[string: any]"},
        {"{a:number,b:string}", "object<a: number, b: string>"},
        {"{b:number,a:string;any:any}", "object<a: string, b: number>[any: any]"},
        {"<string|number|null>", "any<null, number, string>"},
        {"array[<string|array[any]>]", "array[any<string, array[any]>]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_text(a, type_of(a, cases[i][0]), cases[i][1]);
    assert_text(a, NULL, "???");
    assert_text(a, type_parse(a, "(any...)->void"), "(any...) => ???");
    assert_text(a, type_parse(a, "(number,any)->set[any]"), "(number, any) => set[any]");
    assert_text(a, type_set(a, NULL), "set");
}

static void refuses_malformed_type_strings(void **state) {
    static const char *const cases[] = {"",           "(",          "()",           "()->",
                                        "()->array[", "()->foo",    "()->anything", "(any,)->any",
                                        "()->{a}",    "()->any any"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_null(type_parse(*state, cases[i]));
}

static void shortens_wide_types(void **state) {
    struct arena *a = *state;
    struct str l, r;
    const struct type *x = type_of(a, "{aaaaaaaaaaaa:number,bbbbbbbbbbbb:string,c:number}");
    const struct type *y = type_of(a, "{aaaaaaaaaaaa:number,bbbbbbbbbbbb:string,c:string}");
    l = type_text_elided(a, x);
    assert_true(str_is(l, "object<...>"));
    type_text_diff(a, x, y, &l, &r);
    assert_true(str_is(l, "object<c: number, ...>"));
    assert_true(str_is(r, "object<c: string, ...>"));
}

/* ---- algebra ---- */

static void unions_are_sorted_sets(void **state) {
    struct arena *a = *state;
    const struct type *t = type_or(a, &type_string, &type_null);
    assert_text(a, t, "any<null, string>");
    assert_text(a, type_or(a, t, &type_string), "any<null, string>");
    assert_text(a, type_or(a, &type_number, t), "any<null, number, string>");
    assert_text(a, type_or(a, t, type_of(a, "<number|string>")), "any<null, number, string>");
    assert_text(a, type_or(a, t, &type_any), "any");
    assert_ptr_equal(type_or(a, NULL, t), t);
    assert_ptr_equal(type_or(a, t, NULL), t);
    assert_null(type_or(a, t, type_parse(a, "()->any")));
}

static void selects_parts(void **state) {
    struct arena *a = *state;
    struct loc nowhere = {0};
    const struct term *zero = term_number_int(a, 0, nowhere),
                      *nine = term_number_int(a, 9, nowhere);
    const struct term *key = term_string(a, STR("a"), nowhere);
    assert_text(a, type_select(a, type_of(a, "[number,string]"), zero), "number");
    assert_null(type_select(a, type_of(a, "[number,string]"), nine));
    assert_text(a, type_select(a, type_of(a, "array[string]"), nine), "string");
    assert_null(type_select(a, type_of(a, "array[string]"), key));
    assert_text(a, type_select(a, type_of(a, "{a:number;string:any}"), key), "number");
    assert_null(type_select(a, type_of(a, "object[number:any]"), key));
    assert_text(a, type_select(a, type_of(a, "<[null]|{a:string}>"), key), "string");
    assert_text(a, type_keys(a, type_of(a, "{a:number;number:any}")), "any<number, string>");
    assert_text(a, type_values(a, type_of(a, "[number,string]")), "any<number, string>");
    assert_null(type_keys(a, &type_string));
}

static void unifies_what_can_meet(void **state) {
    struct arena *a = *state;
    static const struct {
        const char *x, *y;
        bool meet;
    } cases[] = {
        {"number", "number", true},
        {"number", "string", false},
        {"any", "string", true},
        {"<number|string>", "string", true},
        {"<number|string>", "boolean", false},
        {"<number|string>", "<boolean|null>", false},
        {"[number]", "[number,number]", false},
        {"[number]", "array[number]", true},
        {"[string]", "array[number]", false},
        {"array[string]", "array[number]", false},
        {"{a:number}", "{a:number}", true},
        {"{a:number}", "{b:number}", false},
        {"{a:number}", "object[string:number]", true},
        {"{a:number}", "object[string:string]", false},
        {"{a:number}", "{a:string}", false},
        {"set[number]", "set[string]", false},
        {"set[number]", "array[number]", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct type *x = type_of(a, cases[i].x), *y = type_of(a, cases[i].y);
        assert_int_equal(type_unifies(x, y), cases[i].meet);
        assert_int_equal(type_unifies(y, x), cases[i].meet);
    }
    assert_false(type_unifies(NULL, &type_any));
    assert_true(type_unifies(type_set(a, NULL), type_of(a, "set[number]")));
    assert_false(type_unifies(&type_any, type_parse(a, "()->any")));
}

static void merges_rules(void **state) {
    struct arena *a = *state;
    assert_text(a, type_merge(a, type_of(a, "set[number]"), type_of(a, "set[string]")),
                "set[any<number, string>]");
    assert_text(
        a, type_merge(a, type_of(a, "object[string:number]"), type_of(a, "object[number:string]")),
        "object[any<number, string>: any<number, string>]");
    assert_text(a, type_merge(a, type_of(a, "{a:number}"), type_of(a, "{b:string}")),
                "any<object<a: number>, object<b: string>>");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_builtins_by_name),
        cmocka_unit_test(finds_builtins_by_infix),
        cmocka_unit_test(computes_arity),
        cmocka_unit_test_setup_teardown(reads_every_type_string, setup, teardown),
        cmocka_unit_test_setup_teardown(prints_as_opa, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_malformed_type_strings, setup, teardown),
        cmocka_unit_test_setup_teardown(shortens_wide_types, setup, teardown),
        cmocka_unit_test_setup_teardown(unions_are_sorted_sets, setup, teardown),
        cmocka_unit_test_setup_teardown(selects_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(unifies_what_can_meet, setup, teardown),
        cmocka_unit_test_setup_teardown(merges_rules, setup, teardown),
    };
    return cmocka_run_group_tests_name("types", tests, NULL, NULL);
}
