/* The base library: JSON and YAML trees, readers, tables, diagnostics, arenas.
 * in: texts. out: cmocka results. owns: an arena a test. */
#include "base/diag.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/reader.h"
#include "base/utf8.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct arena a;

static int begin(void **state) {
    (void)state;
    arena_init(&a, 64 << 20);
    return 0;
}
static int end(void **state) {
    (void)state;
    arena_deinit(&a);
    return 0;
}

static const char *text_of(const struct json *v, bool sorted, int indent) {
    struct buf b;
    buf_init(&b, 1 << 20);
    json_print(v, sorted, indent, &b);
    char *s = arena_strndup(&a, (const char *)b.ptr, b.len);
    buf_deinit(&b);
    return s;
}

static struct json *parse(const char *text) {
    struct json *v = NULL;
    struct json_error e;
    assert_int_equal(json_parse(&a, str_of(text), &v, &e), OK);
    return v;
}

static void json_round_trips(void **state) {
    (void)state;
    static const char *const same[] = {"null", "true", "false", "0", "-0", "1.50", "1e400", "123456789012345678901234567890",
                                       "\"\"", "\"é\"", "[]", "{}", "[1,[2,{\"a\":null}]]", "{\"b\":1,\"a\":2}"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) assert_string_equal(text_of(parse(same[i]), false, 0), same[i]);
    assert_string_equal(text_of(parse(" { \"b\" : 1 , \"a\" : [ ] } "), true, 2), "{\n  \"a\": [],\n  \"b\": 1\n}");
    assert_string_equal(text_of(parse("{\"a\":1,\"a\":2}"), false, 0), "{\"a\":2}");
    assert_string_equal(text_of(parse("\"\\u0041\\n\\u2028\\ud83d\\ude00\\ud800x\""), false, 0), "\"A\\n\\u2028😀\xef\xbf\xbdx\"");
    assert_string_equal(text_of(parse("\"a\xff\""), false, 0), "\"a\xef\xbf\xbd\"");
}

static void json_many_keys(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_byte(&b, '{');
    for (int i = 0; i < 2000; i++) buf_printf(&b, "%s\"k%d\":%d", i ? "," : "", i % 1000, i);
    buf_byte(&b, '}');
    struct json *v;
    assert_int_equal(json_parse(&a, buf_view(&b), &v, NULL), OK);
    assert_int_equal(v->n, 1000);
    int64_t last;
    assert_true(json_int64(json_get_c(v, "k7"), &last));
    assert_int_equal(last, 1007);
    buf_deinit(&b);
}

static void json_errors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t row, col;
    } bad[] = {{"", 1, 1},        {"{\n  \"a\": }", 2, 8}, {"[1,]", 1, 4},  {"01", 1, 2},   {"1.", 1, 3},   {"tru", 1, 1},
               {"\"a", 1, 3},     {"{\"a\" 1}", 1, 6},    {"[1] x", 1, 5}, {"-", 1, 2},    {"\"\\x\"", 1, 4}, {"{1:2}", 1, 2}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct json *v;
        struct json_error e;
        assert_int_equal(json_parse(&a, str_of(bad[i].text), &v, &e), ERR_SYNTAX);
        if (e.row != bad[i].row || e.col != bad[i].col) fail_msg("%s: at %u:%u", bad[i].text, e.row, e.col);
    }
    char deep[JSON_MAX_DEPTH + 2];
    memset(deep, '[', sizeof deep);
    struct json *v;
    assert_int_equal(json_parse(&a, (struct str){deep, sizeof deep}, &v, NULL), ERR_LIMIT);
}

/* What json_parse makes right, two readers could take for different things. */
static void json_strictly(void **state) {
    (void)state;
    static const char *const bad[] = {"{\"a\":1,\"a\":1}", "[{\"b\":{},\"b\":2}]", "\"\xff\"", "\"\\ud800\"", "\"\\udc00x\"", "NaN"};
    struct json *v;
    struct json_error e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(json_parse_strict(&a, str_of(bad[i]), &v, &e), ERR_SYNTAX);
    assert_int_equal(json_parse_strict(&a, str_of("{\"a\":\"\\ud83d\\ude00\",\"b\":{\"a\":1}}"), &v, &e), OK);
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_byte(&b, '{');
    for (int i = 0; i < 100; i++) buf_printf(&b, "\"k%d\":1,", i);
    buf_cstr(&b, "\"k50\":1}");
    assert_int_equal(json_parse(&a, buf_view(&b), &v, &e), OK);
    assert_int_equal(json_parse_strict(&a, buf_view(&b), &v, &e), ERR_SYNTAX);
    buf_deinit(&b);
    char deep[2 * JSON_STRICT_DEPTH + 2];
    memset(deep, '[', JSON_STRICT_DEPTH + 1);
    memset(deep + JSON_STRICT_DEPTH + 1, ']', JSON_STRICT_DEPTH + 1);
    assert_int_equal(json_parse_strict(&a, (struct str){deep, sizeof deep}, &v, &e), ERR_LIMIT);
    assert_int_equal(json_parse_strict(&a, (struct str){deep + 1, sizeof deep - 2}, &v, &e), OK);
}

static void json_equality(void **state) {
    (void)state;
    static const char *const equal[][2] = {{"1", "1.0"}, {"100", "1e2"}, {"-0", "0"}, {"0.10", "1e-1"},
                                           {"{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}"}};
    static const char *const unequal[][2] = {{"1", "-1"}, {"1", "10"}, {"1", "\"1\""}, {"[1]", "[1,1]"}, {"{\"a\":1}", "{\"b\":1}"},
                                             {"123456789012345678901", "123456789012345678902"}};
    for (size_t i = 0; i < 5; i++) assert_true(json_equal(parse(equal[i][0]), parse(equal[i][1])));
    for (size_t i = 0; i < 6; i++) assert_false(json_equal(parse(unequal[i][0]), parse(unequal[i][1])));
}

static void json_merging(void **state) {
    (void)state;
    struct json *into = parse("{\"a\":{\"x\":1}}");
    assert_true(json_merge(&a, into, parse("{\"a\":{\"y\":2},\"b\":3}")));
    assert_string_equal(text_of(into, true, 0), "{\"a\":{\"x\":1,\"y\":2},\"b\":3}");
    assert_false(json_merge(&a, into, parse("{\"b\":{}}")));
}

static void int64_limits(void **state) {
    (void)state;
    int64_t i;
    assert_true(json_int64(parse("9223372036854775807"), &i) && i == INT64_MAX);
    assert_true(json_int64(parse("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_false(json_int64(parse("9223372036854775808"), &i));
    assert_false(json_int64(parse("1.0"), &i));
    assert_false(json_int64(parse("\"1\""), &i));
}

static void html_escapes(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    json_escape_html(STR("{\"a<b\":\"&>\"}"), &b);
    buf_byte(&b, 0);
    assert_string_equal((char *)b.ptr, "{\"a\\u003cb\":\"\\u0026\\u003e\"}");
    buf_deinit(&b);
}

static void yaml_values(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a: 1\nb: [x, \"2\", 3.5, true, null, ~]\n", "{\"a\":1,\"b\":[\"x\",\"2\",3.5,true,null,null]}"},
        {"a: &x {k: 1}\nb: *x\n", "{\"a\":{\"k\":1},\"b\":{\"k\":1}}"},
        {"a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n", "{\"a\":{\"k\":1,\"l\":2},\"b\":{\"k\":3,\"l\":2}}"},
        {"a: 0x10\nb: 0o17\nc: 1_000\nd: 1e3\n", "{\"a\":16,\"b\":15,\"c\":1000,\"d\":1000}"},
        {"a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}"},
        {"", "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json *v;
        struct json_error e;
        if (yaml_parse(&a, str_of(cases[i][0]), &v, &e)) fail_msg("%s: %s", cases[i][0], e.message);
        assert_string_equal(text_of(v, true, 0), cases[i][1]);
    }
    struct json *v;
    struct json_error e;
    assert_int_equal(yaml_parse(&a, STR("a: [1\nb: 2"), &v, &e), ERR_SYNTAX);
    assert_true(e.row >= 1);
}

static void leb_readers(void **state) {
    (void)state;
    const uint8_t bytes[] = {0xe5, 0x8e, 0x26, 0x7f, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 2, 3};
    struct reader r = reader_of(bytes, sizeof bytes);
    assert_int_equal(reader_leb_u32(&r), 624485);
    assert_int_equal(reader_leb_s32(&r), -1);
    assert_int_equal(reader_leb_u32(&r), 0); /* too large for 32 bits */
    assert_true(r.failed);
    r = reader_of(bytes + 9, 3);
    struct reader sub = reader_sub(&r, 2);
    assert_int_equal(reader_u8(&sub), 1);
    assert_int_equal(reader_u32le(&sub), 0);
    assert_true(sub.failed && !r.failed);
    assert_int_equal(reader_u8(&r), 3);
    assert_int_equal(reader_bytes(&r, 1).len, 0);
    assert_true(r.failed);
}

static void utf8_rules(void **state) {
    (void)state;
    assert_true(utf8_valid(STR("aé€😀")));
    static const char *const bad[] = {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff", "\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(utf8_valid(str_of(bad[i])));
    char out[4];
    uint32_t cp;
    for (uint32_t c = 0; c < 0x110000; c += 37) {
        int n = utf8_encode(c, out);
        assert_int_equal(utf8_decode(out, (size_t)n, &cp), n);
        assert_int_equal(cp, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
    }
}

static void tables(void **state) {
    (void)state;
    struct table t;
    table_init(&t, &a);
    for (uintptr_t i = 1; i <= 1000; i++) {
        size_t len = 0;
        char *k = arena_printf(&a, &len, "key%zu", (size_t)i);
        table_set(&t, (struct str){k, len}, (void *)i);
    }
    assert_int_equal(t.n, 1000);
    assert_true(table_get(&t, STR("key500")) == (void *)500);
    table_set(&t, STR("key500"), (void *)1);
    assert_true(table_get(&t, STR("key500")) == (void *)1);
    assert_null(table_get(&t, STR("nope")));
    assert_int_equal(t.n, 1000);
}

static void diagnostics(void **state) {
    (void)state;
    struct diag_list l;
    struct buf b;
    buf_init(&b, 10000);
    diag_list_init(&l, &a);
    diag_add(&l, DIAG_UNSAFE, (struct loc){.file = STR("b.rego"), .row = 2, .col = 1}, "var %s is unsafe", "x");
    diag_add(&l, DIAG_PARSE, (struct loc){.file = STR("a.rego"), .row = 9, .col = 4}, "bad \"token\"");
    diag_add(&l, DIAG_UNSAFE, (struct loc){.file = STR("b.rego"), .row = 2, .col = 1}, "var x is unsafe");
    diag_sort(&l);
    assert_int_equal(l.n, 2);
    diag_print_json(&l, &b);
    buf_byte(&b, 0);
    assert_string_equal((char *)b.ptr,
                        "[{\"message\":\"bad \\\"token\\\"\",\"code\":\"rego_parse_error\",\"location\":{\"file\":\"a.rego\",\"row\":9,"
                        "\"col\":4}},{\"message\":\"var x is unsafe\",\"code\":\"rego_unsafe_var_error\",\"location\":{\"file\":"
                        "\"b.rego\",\"row\":2,\"col\":1}}]");
    for (int i = 0; i < 20; i++) diag_add(&l, DIAG_TYPE, (struct loc){.row = (uint32_t)i + 1}, "error %d", i);
    assert_int_equal(l.n, l.max_errors);
    assert_int_equal(l.dropped, 12);
    buf_deinit(&b);
}

static void arena_limits(void **state) {
    (void)state;
    struct arena small;
    arena_init(&small, 10000);
    void *p;
    int n = 0;
    while ((p = arena_alloc(&small, 100))) {
        assert_true(((uintptr_t)p & 15) == 0);
        memset(p, 1, 100);
        n++;
    }
    assert_in_range(n, 50, 100);
    assert_null(arena_alloc(&small, SIZE_MAX));
    assert_null(arena_alloc_array(&small, SIZE_MAX / 2, 4));
    arena_reset(&small);
    uint8_t *again = arena_alloc(&small, 100);
    assert_non_null(again);
    for (int i = 0; i < 100; i++) assert_int_equal(again[i], 0);
    arena_deinit(&small);
    jmp_buf exhausted;
    arena_init(&small, 1000);
    if (setjmp(exhausted) == 0) {
        small.exhausted = &exhausted;
        for (;;) arena_alloc(&small, 64);
    }
    arena_deinit(&small);
}

static void buffer_limits(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_cstr(&b, "0123456789");
    assert_int_equal(b.err, OK);
    buf_byte(&b, 'x');
    assert_int_equal(b.err, ERR_LIMIT);
    assert_int_equal(b.len, 10);
    buf_clear(&b);
    buf_printf(&b, "%d", 12345);
    assert_int_equal(b.len, 5);
    buf_deinit(&b);
    buf_init(&b, 100);
    assert_int_equal(buf_read_file(&b, "/nonexistent/file"), ERR_IO);
    buf_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(json_round_trips, begin, end),
        cmocka_unit_test_setup_teardown(json_many_keys, begin, end),
        cmocka_unit_test_setup_teardown(json_errors, begin, end),
        cmocka_unit_test_setup_teardown(json_strictly, begin, end),
        cmocka_unit_test_setup_teardown(json_equality, begin, end),
        cmocka_unit_test_setup_teardown(json_merging, begin, end),
        cmocka_unit_test_setup_teardown(int64_limits, begin, end),
        cmocka_unit_test_setup_teardown(html_escapes, begin, end),
        cmocka_unit_test_setup_teardown(yaml_values, begin, end),
        cmocka_unit_test_setup_teardown(leb_readers, begin, end),
        cmocka_unit_test_setup_teardown(utf8_rules, begin, end),
        cmocka_unit_test_setup_teardown(tables, begin, end),
        cmocka_unit_test_setup_teardown(diagnostics, begin, end),
        cmocka_unit_test_setup_teardown(arena_limits, begin, end),
        cmocka_unit_test_setup_teardown(buffer_limits, begin, end),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
