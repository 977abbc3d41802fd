/* The runtime's JSON reader, skipper, slot binding and writers.
 * in: texts. out: cmocka results. owns: nothing. */
#include "rt_test.h"
#include "runtime/json_scan.h"

/* text, what is printed again (NULL: malformed) */
static const struct {
    const char *text, *printed;
} documents[] = {
    {"null", "null"},
    {" true ", "true"},
    {"\tfalse\r\n", "false"},
    {"0", "0"},
    {"-0", "-0"},
    {"-17", "-17"},
    {"576460752303423487", "576460752303423487"},
    {"576460752303423488", "576460752303423488"},
    {"-576460752303423488", "-576460752303423488"},
    {"-576460752303423489", "-576460752303423489"},
    {"123456789012345678901234567890", "123456789012345678901234567890"},
    {"1.50", "1.50"},
    {"1E+2", "1E+2"},
    {"1e-7", "1e-7"},
    {"0e99999999", "0e99999999"},
    {"1e30000", "1e30000"},
    {"1e40000", NULL},
    {"1e-99999", NULL},
    {"1e99999999999999999999", NULL},
    {"01", NULL},
    {"-", NULL},
    {"+1", NULL},
    {".5", NULL},
    {"1.", NULL},
    {"1e", NULL},
    {"1e+", NULL},
    {"00", NULL},
    {"-01", NULL},
    {"0x1", NULL},
    {"1 2", NULL},
    {"", NULL},
    {"  ", NULL},
    {"nul", NULL},
    {"nulL", NULL},
    {"True", NULL},
    {"truee", NULL},
    {"NaN", NULL},
    {"\"\"", "\"\""},
    {"\"abc\"", "\"abc\""},
    {"\"abcdefghijklmnopq\"", "\"abcdefghijklmnopq\""},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
    {"\"\\u0041\\u00e9\\u20ac\"", "\"Aé€\""},
    {"\"\\ud83d\\ude00\"", "\"😀\""},
    {"\"\\ud83d\"", "\"\xef\xbf\xbd\""},
    {"\"\\ude00x\"", "\"\xef\xbf\xbdx\""},
    {"\"\\ud83d\\u0041\"", "\"\xef\xbf\xbd"
                           "A\""},
    {"\"\\ud83d\\ud83d\\ude00\"", "\"\xef\xbf\xbd😀\""},
    {"\"a\xff"
     "b\"",
     "\"a\xef\xbf\xbd"
     "b\""},
    {"\"\xe2\x82\"", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\"\xed\xa0\x80\"", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\"\xc0\x80\"", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\"\\u0000\\u001f\\u007f\"", "\"\\u0000\\u001f\x7f\""},
    {"\"\\u2028\\u2029\"", "\"\\u2028\\u2029\""},
    {"\"<&>\"", "\"<&>\""},
    {"\"€2\"", "\"€2\""},
    {"\"\n\"", NULL},
    {"\"\\x\"", NULL},
    {"\"\\u12\"", NULL},
    {"\"\\u12g4\"", NULL},
    {"\"", NULL},
    {"\"\\", NULL},
    {"\"\\\"", NULL},
    {"\"abcdefgh", NULL},
    {"\"abcdefg\x01h\"", NULL},
    {"[]", "[]"},
    {"[ ]", "[]"},
    {"[1, [2, []], \"x\"]", "[1,[2,[]],\"x\"]"},
    {"[1,]", NULL},
    {"[,1]", NULL},
    {"[1 2]", NULL},
    {"[1", NULL},
    {"[", NULL},
    {"]", NULL},
    {"[1}", NULL},
    {"{}", "{}"},
    {"{ }", "{}"},
    {"{\"b\":1,\"a\":{\"c\":[]}}", "{\"a\":{\"c\":[]},\"b\":1}"},
    {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
    {"{\"a\":1,\"\\u0061\":2,\"b\":3,\"a\":4}", "{\"a\":4,\"b\":3}"},
    {"{\"1\":1,\"2\":2,\"3\":3,\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8,\"9\":9,\"1\":10}",
     "{\"1\":10,\"2\":2,\"3\":3,\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8,\"9\":9}"},
    {"{\"a\"}", NULL},
    {"{\"a\":}", NULL},
    {"{\"a\":1,}", NULL},
    {"{a:1}", NULL},
    {"{1:1}", NULL},
    {"{,}", NULL},
    {"{\"a\":1 \"b\":2}", NULL},
    {"{\"a\":1", NULL},
    {"{", NULL},
    {"{\"a\":1]", NULL},
    {"{\"a\" 1}", NULL},
    {"set()", NULL},
    {"{1}", NULL},
    {"[\"a\":1]", NULL},
    {"{\"a\":1:2}", NULL},
    {"\xef\xbb\xbf{}", NULL},
};

static void reading(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        value v = VALUE_UNDEFINED;
        struct json_problem problem = {0};
        bool ok = json_read(text_c(documents[i].text), false, &v, &problem);
        if (ok != (documents[i].printed != NULL)) fail_msg("%s: %d", documents[i].text, ok);
        if (ok)
            assert_string_equal(shown(v, JSON_PLAIN), documents[i].printed);
        else
            assert_non_null(problem.message);
    }
}

/* Skipping accepts exactly what reading accepts. */
static void skipping(void **state) {
    (void)state;
    struct json_problem problem;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        bool ok = bind_text(text_c(documents[i].text), 0, input_slots(), 0, &problem);
        if (ok != (documents[i].printed != NULL)) fail_msg("skip %s: %d", documents[i].text, ok);
    }
}

static const struct {
    const char *text, *json, *rego;
} values[] = {
    {"set()", "[]", "set()"},
    {"{1}", "[1]", "{1}"},
    {"{2, 1, 1.0}", "[1,2]", "{1,2}"},
    {"{}", "{}", "{}"},
    {"{1: 2}", "{\"1\":2}", "{1:2}"},
    {"{10: 1, 9: 2}", "{\"10\":1,\"9\":2}", "{9:2,10:1}"},
    {"{[1, \"a\"]: {set()}}", "{\"[1,\\\"a\\\"]\":[[]]}", "{[1,\"a\"]:{set()}}"},
    {"{\"a\", \"b\"}", "[\"a\",\"b\"]", "{\"a\",\"b\"}"},
    {"{true: 1, null: 2}", "{\"null\":2,\"true\":1}", "{null:2,true:1}"},
};

static void rego_syntax(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_string_equal(shown(rego(values[i].text), JSON_PLAIN), values[i].json);
        assert_string_equal(shown(rego(values[i].text), JSON_REGO), values[i].rego);
    }
}

static struct text repeated(char c, uint32_t n, const char *middle, char d) {
    struct builder b = builder_new(0);
    builder_repeat(&b, (uint8_t)c, n);
    builder_c(&b, middle);
    builder_repeat(&b, (uint8_t)d, n);
    return builder_view(&b);
}

static void depth(void **state) {
    (void)state;
    value v;
    struct json_problem problem;
    assert_true(json_read(repeated('[', 10000, "1", ']'), false, &v, NULL));
    assert_false(json_read(repeated('[', 10001, "1", ']'), false, &v, &problem));
    assert_string_equal(problem.message, "exceeded max depth of 10000");
    assert_true(bind_text(repeated('[', 10000, "", ']'), 0, input_slots(), 0, &problem));
    assert_false(bind_text(repeated('[', 10001, "", ']'), 0, input_slots(), 0, &problem));
    assert_string_equal(problem.message, "exceeded max depth of 10000");
    assert_false(json_read(repeated('[', 500, "1", '}'), false, &v, NULL));
}

static void skipping_mixed_depth(void **state) {
    (void)state;
    struct builder b = builder_new(0);
    struct json_problem problem;
    for (int i = 0; i < 200; i++) builder_c(&b, i % 3 == 0 ? "{\"k\":" : "[0,");
    builder_c(&b, "null");
    for (int i = 199; i >= 0; i--) builder_c(&b, i % 3 == 0 ? "}" : "]");
    assert_true(bind_text(builder_view(&b), 0, input_slots(), 0, &problem));
    b.ptr[b.len - 64] = b.ptr[b.len - 64] == '}' ? ']' : '}';
    assert_false(bind_text(builder_view(&b), 0, input_slots(), 0, &problem));
}

static void html_and_indent(void **state) {
    (void)state;
    assert_string_equal(shown(rego("\"<&>\""), JSON_HTML), "\"\\u003c\\u0026\\u003e\"");
    struct builder b = builder_new(0);
    json_write_indented(&b, rego("{\"b\": [1, {}], \"a\": []}"), JSON_PLAIN, text_c(">"),
                        text_c("  "));
    assert_string_equal(text_shown(builder_view(&b)),
                        "{\n>  \"a\": [],\n>  \"b\": [\n>    1,\n>    {}\n>  ]\n>}");
}

/* ---- binding: root { a: slot 0 { x: slot 1 }, b { c: slot 2, d: slot 3 } } ---- */

static uint32_t tree_new(void) {
    struct path_node *n = rt_alloc(6 * sizeof *n);
    value key_a = string_copy(TEXT("a")), key_b = string_copy(TEXT("b")),
          key_c = string_copy(TEXT("c"));
    value key_d = string_copy(TEXT("d\n")), key_x = string_copy(TEXT("x"));
    n[0] = (struct path_node){VALUE_UNDEFINED, -1, 2, addr(n + 1), 0};
    n[1] = (struct path_node){key_a, 0, 1, addr(n + 3), 0};
    n[2] = (struct path_node){key_b, -1, 2, addr(n + 4), 0};
    n[3] = (struct path_node){key_x, 1, 0, 0, 0};
    n[4] = (struct path_node){key_c, 2, 0, 0, 0};
    n[5] = (struct path_node){key_d, 3, 0, 0, 0};
    return addr(n);
}

static const struct {
    const char *text;
    const char *slots[4];
} bindings[] = {
    {"{}", {"undefined", "undefined", "undefined", "undefined"}},
    {"[1]", {"undefined", "undefined", "undefined", "undefined"}},
    {"{\"a\":{\"x\":1,\"y\":2},\"b\":{\"c\":\"s\",\"d\\n\":[1]},\"z\":[{\"a\":1}]}",
     {"{\"x\":1,\"y\":2}", "1", "\"s\"", "[1]"}},
    {"{\"a\":5,\"b\":7}", {"5", "undefined", "undefined", "undefined"}},
    {"{\"b\":{\"c\":1,\"d\\n\":2},\"b\":{\"c\":3}}", {"undefined", "undefined", "3", "undefined"}},
    {"{\"a\":{\"x\":1},\"a\":2}", {"2", "undefined", "undefined", "undefined"}},
    {"{\"b\":{\"c\":1},\"b\":null}", {"undefined", "undefined", "undefined", "undefined"}},
    {"{\"b\":{\"\\u0063\":9}}", {"undefined", "undefined", "9", "undefined"}},
    {" { \"b\" : { \"c\" : null , \"q\" : \"\\\"\" } } ",
     {"undefined", "undefined", "null", "undefined"}},
};

static void binding(void **state) {
    (void)state;
    uint32_t tree = tree_new();
    value slots[4], built[4];
    struct json_problem problem;
    for (size_t i = 0; i < sizeof bindings / sizeof *bindings; i++) {
        memset(slots, 0xff, sizeof slots);
        assert_true(bind_text(text_c(bindings[i].text), tree, slots, 4, &problem));
        bind_value(tree, rego(bindings[i].text), built, 4);
        for (int k = 0; k < 4; k++) {
            assert_string_equal(shown(slots[k], 0), bindings[i].slots[k]);
            assert_string_equal(shown(built[k], 0), bindings[i].slots[k]);
        }
    }
    static const char *const malformed[] = {
        "{\"b\":{\"c\":1}",   "{\"b\":{\"c\"}}", "{\"z\":[}",
        "{\"a\":01}",         "{\"a\":1}x",      "{1:2}",
        "{\"b\":{\"c\":1,}}", "{\"b\" 1}",       "{\"b\":{c:1}}"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        assert_false(bind_text(text_c(malformed[i]), tree, slots, 4, &problem));
}

#define TEST(f) cmocka_unit_test_setup(f, rt_setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reading),
        TEST(skipping),
        TEST(rego_syntax),
        TEST(depth),
        TEST(skipping_mixed_depth),
        TEST(html_and_indent),
        TEST(binding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
