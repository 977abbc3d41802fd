/* The member `input` of REST bodies: what is found, and Go's words for what is wrong. tests/edge
 * compares the same with opa. */
#include "edge/rest_input.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena A;

static int setup(void **state) {
    (void)state;
    arena_init(&A, 1 << 24);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    arena_deinit(&A);
    return 0;
}

/* Reads a copy as long as the text; want NULL: no input. `plain`: the quick reader must find it
 * too. */
static void finds(const char *body, const char *want, bool plain) {
    size_t n = strlen(body);
    char *copy = malloc(n ? n : 1);
    struct str input, quick;
    memcpy(copy, body, n);
    const char *why = rest_input(&A, (struct str){copy, n}, &input);
    if (why) print_message("# %s: %s\n", body, why);
    assert_null(why);
    assert_int_equal(input.ptr != NULL, want != NULL);
    if (want) assert_true(str_is(input, want));
    assert_int_equal(rest_input_plain((struct str){copy, n}, &quick), plain);
    if (plain) assert_true(str_eq(quick, input));
    free(copy);
}

static void found(void **state) {
    (void)state;
    finds("{\"input\":{\"a\":[1,\"}\"]}}", "{\"a\":[1,\"}\"]}", true);
    finds(" { \"input\" : \"a\\\"b\" } ", "\"a\\\"b\"", true);
    finds("{\"input\":1}", "1", true);
    finds("{\"input\":1} trailing", "1", true);
    finds("{\"INPUT\":1}", "1", false);
    finds("{\"in\\u0070ut\":1}", "1", false);
    finds("{\"x\":{\"input\":0},\"input\":[1 ],\"y\":2}", "[1 ]", false);
    finds("{\"input\":1,\"input\":2}", "2", false);
    finds("{\"input\":1,\"Input\":null}", NULL, false);
    finds("{\"input\":null}", NULL, false);
    finds("{\"inputs\":1}", NULL, false);
    finds("{}", NULL, false);
    finds("null", NULL, false);
    finds("", NULL, false);
    finds(" \n", NULL, false);
}

static void refused(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"{", "unexpected EOF"},
        {"{\"input\":\"", "unexpected EOF"},
        {"{\"input\":\"\\", "unexpected EOF"},
        {"{\"input\":[1", "unexpected EOF"},
        {"{\"input\":t", "unexpected EOF"},
        {"{\"input\":}", "invalid character '}' looking for beginning of value"},
        {"{\"input\":{\"a\":]}}", "invalid character ']' looking for beginning of value"},
        {"{\"input\":01}", "invalid character '1' after object key:value pair"},
        {"{\"input\" 1}", "invalid character '1' after object key"},
        {"{1}", "invalid character '1' looking for beginning of object key string"},
        {"[1 2]", "invalid character '2' after array element"},
        {"{\"a\":\"\\x\"}", "invalid character 'x' in string escape code"},
        {"{\"a\":\"\\u12g\"}", "invalid character 'g' in \\u hexadecimal character escape"},
        {"{\"a\":\"\n\"}", "invalid character '\\n' in string literal"},
        {"{\"a\":fals}", "invalid character '}' in literal false (expecting 'e')"},
        {"-x", "invalid character 'x' in numeric literal"},
        {"1.x", "invalid character 'x' after decimal point in numeric literal"},
        {"1ex", "invalid character 'x' in exponent of numeric literal"},
        {"\x01", "invalid character '\\x01' looking for beginning of value"},
        {"\xc3\xa9", "invalid character '\xc3\x83' looking for beginning of value"},
        {"\xa0", "invalid character '\\u00a0' looking for beginning of value"},
        {"'", "invalid character '\\'' looking for beginning of value"},
        {"[]", "json: cannot unmarshal array into Go value of type types.alias"},
        {"1", "json: cannot unmarshal number into Go value of type types.alias"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str input;
        const char *why = rest_input(&A, str_of(rows[i][0]), &input);
        assert_non_null(why);
        assert_string_equal(why, rows[i][1]);
    }
}

static void deep(void **state) {
    (void)state;
    enum { N = 10001 };
    struct str input;
    struct buf b;
    buf_init(&b, N * 2);
    for (int i = 0; i < N; i++) buf_byte(&b, '[');
    const char *why = rest_input(&A, buf_view(&b), &input);
    assert_string_equal(why, "invalid character '[' exceeded max depth");
    buf_deinit(&b);
}

/* A value of random shape: nested, with strings that hold brackets, quotes and backslashes. */
static void random_value(uint64_t *seed, int depth, struct buf *out) {
    static const char *const scalars[] = {"1", "true", "\"\"", "\"}]\"", "\"{[\\\"\"", "\"a long text without anything in it but its length\"",
                                          "\"\\\\\"", "null",
                                          "\"\\\\\\\"}\"", "[]", "{}"};
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    uint32_t r = (uint32_t)(*seed >> 33);
    if (depth == 0 || r % 3 == 0) {
        buf_cstr(out, scalars[r / 3 % (sizeof scalars / sizeof *scalars)]);
        return;
    }
    bool object = r % 2;
    buf_byte(out, object ? '{' : '[');
    for (uint32_t i = 0, n = r / 8 % 5; i < n; i++) {
        if (i) buf_byte(out, ',');
        if (object) buf_printf(out, "\"k\\\\%u\":", i);
        random_value(seed, depth - 1, out);
    }
    buf_byte(out, object ? '}' : ']');
}

static void quick_as_slow(void **state) {
    (void)state;
    uint64_t seed = 7;
    uint32_t plain = 0;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 20000; i++) {
        struct str quick, slow;
        buf_clear(&b);
        arena_reset(&A);
        buf_cstr(&b, "{\"input\":");
        random_value(&seed, 5, &b);
        buf_cstr(&b, i % 5 == 0 ? ",\"x\":{}}" : i % 7 == 0 ? "" : "}");
        char *copy = malloc(b.len);
        memcpy(copy, b.ptr, b.len);
        bool found = rest_input_plain((struct str){copy, b.len}, &quick);
        const char *why = rest_input(&A, (struct str){copy, b.len}, &slow);
        if (found) assert_true(!why && str_eq(quick, slow));
        if (i % 5 == 0) assert_false(found);
        plain += found;
        free(copy);
    }
    assert_true(plain > 12000);
    buf_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(found), cmocka_unit_test(refused),
                                       cmocka_unit_test(deep), cmocka_unit_test(quick_as_slow)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
