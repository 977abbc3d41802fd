/* Parts of the REST door that need no node: queries, paths, references, indenting, gzip. tests/edge compares the whole with
 * opa. */
#include "edge/document.h"
#include "edge/gzip.h"
#include "edge/rest.h"
#include "edge/rest_input.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena A;
static struct buf B;

static int setup(void **state) {
    (void)state;
    arena_init(&A, 1 << 26);
    buf_init(&B, 1 << 26);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    arena_deinit(&A);
    buf_deinit(&B);
    return 0;
}

static struct rest_params query(const char *text) {
    struct rest_params p = {0};
    rest_query(&A, str_of(text), &p);
    return p;
}

static void flags(void **state) {
    (void)state;
    static const char *const set[] = {"pretty", "pretty=", "pretty=true", "pretty=TrUe", "x&pretty&y=1", "pre%74ty", "pretty=false&pretty=true",
                                      "pretty=%74rue", "%zz=1&pretty", "a;b&pretty", "&&pretty&&"};
    static const char *const unset[] = {"", "prett", "pretty=1", "pretty=false", "pretty&pretty", "pretty=&pretty=", "pretty=true;x", "pretty=%zz",
                                        "Pretty", "pretty%20", "+pretty", "pretty=true%20", "=pretty"};
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        if (!query(set[i]).pretty) fail_msg("%s", set[i]);
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
        if (query(unset[i]).pretty) fail_msg("%s", unset[i]);
    struct rest_params p = query("provenance&metrics&instrument=true&strict-builtin-errors&bundle&plugins&exclude-plugin=x&exclude-plugin=bundle");
    assert_true(p.provenance && p.metrics && p.instrument && p.strict_builtin_errors && p.bundles && p.plugins && p.exclude_bundle);
    assert_false(query("exclude-plugin").exclude_bundle);
}

static void values(void **state) {
    (void)state;
    assert_null(query("inputs=1").input.ptr);
    assert_true(str_is(query("input=1&input=%7B%22a+b%22%3A2%7D").input, "{\"a b\":2}"));
    assert_true(query("input").input.ptr && query("input").input.len == 0);
    assert_true(str_is(query("input=1&input=%zz").input, "1"));
    assert_int_equal(query("explain=x&explain=full&explain=notes").explain, EXPLAIN_FULL);
    assert_int_equal(query("explain=off").explain, EXPLAIN_OFF);
}

static void steps_of(const char *path, const char *want) {
    struct str rest = str_of(path);
    struct document_key k;
    buf_clear(&B);
    while (document_step(&A, &rest, &k)) {
        if (k.is_index) buf_printf(&B, "<%lld>", (long long)k.index);
        else buf_printf(&B, "<'%.*s'>", STR_FMT(k.name));
    }
    buf_byte(&B, 0);
    assert_string_equal((char *)B.ptr, want);
}

static void steps(void **state) {
    (void)state;
    steps_of("", "");
    steps_of("///", "");
    steps_of("a/b", "<'a'><'b'>");
    steps_of("/a//b/", "<'a'><'b'>");
    steps_of("we%20ird/a%2Fb/%61", "<'we ird'><'a/b'><'a'>");
    steps_of("0/01/+1/-1/1.0/5./%30", "<0><1><1><-1><1><5><0>");
    steps_of("1.1/.5/-/+/1e3/0x1/1.0.0/1_0", "<'1.1'><'.5'><'-'><'+'><'1e3'><'0x1'><'1.0.0'><'1_0'>");
    steps_of("9223372036854775807/9223372036854775808/12345678901234567890", "<9223372036854775807><'9223372036854775808'><'12345678901234567890'>");
    steps_of("a%zz/%", "<'a%zz'><'%'>");
}

static void ref_of(const char *path, const char *want) {
    buf_clear(&B);
    rest_ref(&A, str_of(path), &B);
    buf_byte(&B, 0);
    assert_string_equal((char *)B.ptr, want);
}

static void references(void **state) {
    (void)state;
    ref_of("", "data");
    ref_of("a/b_1/_", "data.a.b_1._");
    ref_of("a/1/x-y/true/in/%C3%A9", "data.a[1][\"x-y\"][\"true\"][\"in\"][\"\xc3\xa9\"]");
    ref_of("a%5Cb/%09/1a", "data[\"a\\\\b\"][\"\\t\"][\"1a\"]");
}

static void indents(const char *compact, const char *want) {
    buf_clear(&B);
    rest_indent(str_of(compact), &B);
    buf_byte(&B, 0);
    assert_string_equal((char *)B.ptr, want);
}

static void indenting(void **state) {
    (void)state;
    indents("1", "1");
    indents("{}", "{}");
    indents("[[],{}]", "[\n  [],\n  {}\n]");
    indents("{\"a\":{\"b\":[1,\"x,]}:{\\\"\"],\"c\":null}}",
            "{\n  \"a\": {\n    \"b\": [\n      1,\n      \"x,]}:{\\\"\"\n    ],\n    \"c\": null\n  }\n}");
    indents("\"cut", "\"cut"); /* no JSON, yet nothing past its end is read */
    indents("]}", "\n]\n}");
}

/* Every prefix and every flipped byte of a compressed text: refused with a word, or the same text. */
static void gzip_hostile(void **state) {
    (void)state;
    struct buf packed, out;
    char why[128], text[2000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = "abcd{}\",:"[i * i % 9];
    struct str plain = {text, sizeof text};
    buf_init(&packed, 1 << 20);
    buf_init(&out, 1 << 20);
    assert_int_equal(gzip_deflate(plain, 6, &packed), OK);
    for (size_t n = 0; n <= packed.len; n++) {
        buf_clear(&out);
        enum err e = gzip_inflate((struct str){(char *)packed.ptr, n}, 1 << 16, &out, why, sizeof why);
        assert_int_equal(e, n == packed.len ? OK : ERR_SYNTAX);
        if (e) assert_string_equal(why, n ? "unexpected EOF" : "EOF");
    }
    assert_true(str_eq(buf_view(&out), plain));
    for (size_t i = 10; i < packed.len; i++) {
        buf_clear(&out);
        packed.ptr[i] ^= 0x55;
        enum err e = gzip_inflate(buf_view(&packed), 1 << 16, &out, why, sizeof why);
        assert_true(e == ERR_SYNTAX || e == ERR_LIMIT || str_eq(buf_view(&out), plain));
        packed.ptr[i] ^= 0x55;
    }
    buf_deinit(&packed);
    buf_deinit(&out);
}

static void gzip_limits(void **state) {
    (void)state;
    struct buf packed, out;
    char why[128], *zeros = calloc(1, 1 << 20);
    buf_init(&packed, 1 << 20);
    buf_init(&out, 3 << 20);
    assert_int_equal(gzip_deflate((struct str){zeros, 1 << 20}, 9, &packed), OK);
    assert_true(packed.len < 4096);
    for (long d = -1; d <= 1; d++) {
        buf_clear(&out);
        enum err e = gzip_inflate(buf_view(&packed), (size_t)((1 << 20) + d), &out, why, sizeof why);
        assert_int_equal(e, d < 0 ? ERR_LIMIT : OK);
        assert_true(out.len <= 1 << 20);
    }
    assert_int_equal(gzip_deflate((struct str){zeros, 1 << 20}, 9, &packed), OK); /* two members are one text */
    buf_clear(&out);
    assert_int_equal(gzip_inflate(buf_view(&packed), 2 << 20, &out, why, sizeof why), OK);
    assert_int_equal(out.len, 2 << 20);
    struct buf small;
    buf_init(&small, 16);
    assert_int_equal(gzip_deflate((struct str){zeros, 1000}, 6, &small), ERR_LIMIT);
    buf_clear(&small);
    assert_int_equal(gzip_inflate(buf_view(&packed), 1 << 20, &small, why, sizeof why), ERR_LIMIT);
    buf_deinit(&small);
    buf_deinit(&packed);
    buf_deinit(&out);
    free(zeros);
}

static void whole_values(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {{"1", NULL}, {" {} ", NULL}, {"1 null", NULL}, {"", "EOF"}, {" ", "EOF"}, {"{", "unexpected EOF"},
                 {"1 2", "error: invalid character '2' after top-level value"}, {"1 [", "error: invalid character '[' after top-level value"},
                 {"1 \"a\\u0062\"", "error: invalid character 'ab' after top-level value"},
                 {"1 true", "error: invalid character '%!s(bool=true)' after top-level value"},
                 {"1 x", "invalid character 'x' looking for beginning of value"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str v;
        const char *why = rest_whole_value(&A, str_of(cases[i].text), &v);
        if (cases[i].why) assert_string_equal(why, cases[i].why);
        else assert_null(why);
    }
}

static void members(void **state) {
    (void)state;
    struct rest_members m;
    assert_null(rest_members(&A, STR(" {\"a\" : [1, 2] ,\"\\u0062\":{}} x"), "T", &m));
    assert_int_equal(m.n, 2);
    assert_true(str_is(m.items[0].key, "a") && str_is(m.items[0].value, "[1, 2]"));
    assert_true(str_is(m.items[1].key, "b") && str_is(m.items[1].value, "{}"));
    assert_null(rest_members(&A, STR("null"), "T", &m));
    assert_int_equal(m.n, 0);
    assert_string_equal(rest_members(&A, STR("[]"), "T", &m), "json: cannot unmarshal array into Go value of type T");
    assert_string_equal(rest_members(&A, STR("{\"a\":1,}"), "T", &m), "invalid character '}' looking for beginning of object key string");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(flags), cmocka_unit_test(values), cmocka_unit_test(steps), cmocka_unit_test(references),
                                       cmocka_unit_test(indenting), cmocka_unit_test(gzip_hostile), cmocka_unit_test(gzip_limits),
                                       cmocka_unit_test(whole_values), cmocka_unit_test(members)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
