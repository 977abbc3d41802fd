/* Equality, order, hashing and collections of the runtime.
 * in: Rego terms. out: cmocka results. owns: nothing. */
#include "rt_test.h"

/* OPA's order, lowest first; those on one line are equal. */
static const char *const ordered[][4] = {
    {"null"},
    {"false"},
    {"true"},
    {"-1e400"},
    {"-3", "-3.0", "-30e-1"},
    {"-0.5"},
    {"0", "-0", "0.0", "0e7"},
    {"1e-400"},
    {"0.1", "0.10"},
    {"1", "1.0", "10e-1"},
    {"1.00000000000000000001"},
    {"576460752303423487"},
    {"576460752303423488", "5.76460752303423488e17"},
    {"1e400"},
    {"\"\""},
    {"\"a\""},
    {"\"a\\u0000\""},
    {"\"aaaaaaaaaaaa\""},
    {"\"aaaaaaaaaaab\""},
    {"\"b\""},
    {"\"\\u00e9\"", "\"é\""},
    {"[]"},
    {"[1]", "[1.0]"},
    {"[1, 2]"},
    {"[2]"},
    {"{}"},
    {"{\"a\": 1}"},
    {"{\"a\": 1, \"b\": 0}", "{\"b\": 0, \"a\": 1.0}"},
    {"{\"a\": 2}"},
    {"{\"b\": 0}"},
    {"set()"},
    {"{1}"},
    {"{1, 2}", "{2, 1, 1.0}"},
    {"{[1]}"},
    {"{set()}"},
};
enum { N_ORDERED = sizeof ordered / sizeof *ordered };

static void compare_rows(int i, int j) {
    for (int k = 0; k < 4 && ordered[i][k]; k++) {
        for (int l = 0; l < 4 && ordered[j][l]; l++) {
            value a = rego(ordered[i][k]), b = rego(ordered[j][l]);
            int expected = i < j ? -1 : i > j;
            if (rt_compare(a, b) != expected || rt_equal(a, b) != (i == j))
                fail_msg("%s against %s", ordered[i][k], ordered[j][l]);
            if (i == j) assert_int_equal(value_hash(a), value_hash(b));
        }
    }
}

static void order_is_total(void **state) {
    (void)state;
    for (int i = 0; i < N_ORDERED; i++)
        for (int j = 0; j < N_ORDERED; j++) compare_rows(i, j);
}

static const struct {
    const char *v, *key, *expected;
} gets[] = {
    {"[1, 2]", "0", "1"},
    {"[1, 2]", "2", "undefined"},
    {"[1, 2]", "-1", "undefined"},
    {"[1]", "0.0", "undefined"},
    {"[1, 2]", "\"0\"", "undefined"},
    {"{\"a\": 1}", "\"a\"", "1"},
    {"{\"a\": 1}", "\"b\"", "undefined"},
    {"{1: 2}", "1.0", "2"},
    {"{[1]: 2}", "[1]", "2"},
    {"{1, 2}", "2.0", "2"},
    {"{1, 2}", "3", "undefined"},
    {"{\"a\": null}", "\"a\"", "null"},
    {"\"abc\"", "0", "undefined"},
    {"7", "0", "undefined"},
};

static void gets_by_key(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof gets / sizeof *gets; i++)
        assert_string_equal(shown(rt_get(rego(gets[i].v), rego(gets[i].key)), JSON_REGO),
                            gets[i].expected);
}

static void lengths(void **state) {
    (void)state;
    assert_string_equal(shown(rt_len(rego("\"é→x\"")), 0), "3");
    assert_string_equal(shown(rt_len(rego("[1, 2]")), 0), "2");
    assert_string_equal(shown(rt_len(rego("{1, 1.0}")), 0), "1");
    assert_string_equal(shown(rt_len(rego("{\"a\": 1}")), 0), "1");
    assert_true(rt_len(rego("1")) == VALUE_UNDEFINED);
}

static value number_key(uint32_t i) { return value_of_integer((int64_t)i * 7919 % 4099); }

/* Growing past linear search, sorting, looking up again, inserting after sorting. */
static void large_objects(void **state) {
    (void)state;
    value o = rt_object_new(0), s = rt_set_new(0);
    for (uint32_t i = 0; i < 4099; i++) {
        rt_object_insert(o, number_key(i), value_of_integer(i));
        rt_set_add(s, number_key(i));
        rt_set_add(s, number_key(i));
    }
    assert_int_equal(rt_scan_begin(o), 4099);
    assert_int_equal(rt_scan_begin(s), 4099);
    for (uint32_t i = 0; i < 4099; i++) {
        assert_true(rt_scan_key(o, i) == value_of_integer(i));
        assert_true(rt_scan_value(s, i) == value_of_integer(i));
        assert_true(rt_get(o, number_key(i)) == value_of_integer(i));
    }
    rt_object_insert(o, value_of_integer(-1), VALUE_NULL);
    rt_scan_begin(o);
    assert_true(rt_scan_key(o, 0) == value_of_integer(-1));
    assert_true(rt_get(o, value_of_integer(4098)) != VALUE_UNDEFINED);
    assert_true(value_equal(o, object_copy(o)));
    assert_true(value_equal(set_copy(s), s));
}

static void insert_once(void **state) {
    (void)state;
    value o = rt_object_new(1), key = rego("\"k\"");
    assert_int_equal(rt_object_insert_once(o, key, rego("1")), 0);
    assert_int_equal(rt_object_insert_once(o, key, rego("1.0")), 0);
    assert_int_equal(rt_object_insert_once(o, key, rego("2")), 1);
    assert_string_equal(shown(o, 0), "{\"k\":1}");
}

static const struct {
    const char *a, *b, *expected;
} merges[] = {
    {"{}", "{}", "{}"},
    {"{\"a\": 1}", "{\"a\": 2, \"b\": 3}", "{\"a\":1,\"b\":3}"},
    {"{\"a\": {\"x\": 1}}", "{\"a\": {\"x\": 2, \"y\": 3}}", "{\"a\":{\"x\":1,\"y\":3}}"},
    {"{\"a\": {\"x\": 1}}", "{\"a\": 5}", "{\"a\":{\"x\":1}}"},
};

static void merging(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        value a = rego(merges[i].a);
        assert_string_equal(shown(rt_object_merge(a, rego(merges[i].b)), 0), merges[i].expected);
        assert_true(value_equal(a, rego(merges[i].a)));
    }
}

static const struct {
    const char *document, *path, *v, *expected;
} upserts[] = {
    {"{}", "[]", "1", "1"},
    {"{}", "[\"a\", \"b\"]", "1", "{\"a\":{\"b\":1}}"},
    {"{\"a\": {\"x\": 0}, \"c\": 2}", "[\"a\", \"b\"]", "1", "{\"a\":{\"b\":1,\"x\":0},\"c\":2}"},
    {"{\"a\": 5}", "[\"a\", \"b\"]", "1", "{\"a\":{\"b\":1}}"},
    {"7", "[\"a\"]", "1", "{\"a\":1}"},
};

static void upserting(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof upserts / sizeof *upserts; i++) {
        value document = rego(upserts[i].document);
        value v = rt_upsert(document, rego(upserts[i].path), rego(upserts[i].v));
        assert_string_equal(shown(v, 0), upserts[i].expected);
        assert_true(value_equal(document, rego(upserts[i].document)));
    }
}

static void sorting(void **state) {
    (void)state;
    value a = rego("[3, \"b\", null, {1}, [2], 1.5, true, \"a\", {}, -1, 2, 1, 0, 9, 8, 7]");
    value_sort(array_items(a), array_len(a));
    assert_string_equal(shown(a, JSON_REGO),
                        "[null,true,-1,0,1,1.5,2,3,7,8,9,\"a\",\"b\",[2],{},{1}]");
}

static void failures(void **state) {
    (void)state;
    assert_rt_fails(
        rt_conflict(CONFLICT_COMPLETE_RULE, rego("\"data.p.x\""), rego("\"p.rego\""), 3, 14),
        "eval_conflict_error: p.rego:3:14: rule data.p.x produced conflicting values");
    assert_rt_fails(rt_conflict(CONFLICT_FUNCTION, rego("\"data.p.f\""), rego("\"p.rego\""), 3, 14),
                    "eval_conflict_error: p.rego:3:14: function data.p.f produced conflicting values for the same inputs");
    assert_rt_fails(rt_conflict(CONFLICT_OBJECT_KEY, VALUE_UNDEFINED, rego("\"\""), 1, 2),
                    "eval_conflict_error: :1:2: object keys must be unique");
    assert_rt_fails(rt_bad_entrypoint(7), "not_found: no entrypoint has the id 7");
    assert_true(bi_error("div", "divide by zero") == VALUE_UNDEFINED);
    regent_set_strict(1);
    assert_rt_fails(bi_error("div", "divide by zero"), "eval_builtin_error: div: divide by zero");
    assert_rt_fails(bi_error_operand("lower", 1, "string", rego("{1}")),
                    "eval_type_error: lower: operand 1 must be string but got set");
    assert_rt_fails(bi_error_element("concat", 2, rego("[]"), "string", rego("1")),
                    "eval_type_error: concat: operand 2 must be array of strings but got array "
                    "containing number");
}

static void memory_limit(void **state) {
    (void)state;
    native_setup(1 << 20);
    value a = rt_array_new(0);
    assert_rt_fails(for (;;) rt_array_push(a, VALUE_NULL),
                    "guest_memory: the memory limit is reached");
    native_setup(1 << 20);
    assert_rt_fails(rt_alloc_array(1u << 30, 8), "guest_memory: an allocation is too large");
    native_setup(1 << 20);
    assert_rt_fails(rt_alloc(UINT32_MAX), "guest_memory: an allocation is too large");
}

static void host_builtins(void **state) {
    (void)state;
    assert_true(rt_builtin0(0) == VALUE_UNDEFINED);
    assert_string_equal(shown(rt_builtin1(1, rego("[1]")), 0), "[1]");
    assert_string_equal(shown(rt_builtin2(2, rego("1"), rego("\"b\"")), 0), "\"b\"");
    assert_string_equal(shown(rt_builtin4(4, rego("1"), rego("2"), rego("3"), rego("{4}")), 0),
                        "[4]");
}

#define TEST(f) cmocka_unit_test_setup(f, rt_setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(order_is_total), TEST(gets_by_key),  TEST(lengths),       TEST(large_objects),
        TEST(insert_once),    TEST(merging),      TEST(upserting),     TEST(sorting),
        TEST(failures),       TEST(memory_limit), TEST(host_builtins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
