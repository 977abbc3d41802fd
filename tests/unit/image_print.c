/* Documents read back out of an image: what went in as JSON comes out, by path and as text. */
#include "image/image.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena A;
static struct image M;

static value image_of(const char *text) {
    struct json *v;
    assert_int_equal(json_parse(&A, str_of(text), &v, NULL), OK);
    return image_json(&M, v);
}

static void prints(value v, const char *want) {
    struct buf out;
    buf_init(&out, 1 << 20);
    image_print(&M, v, &out);
    buf_byte(&out, 0);
    assert_int_equal(out.err, OK);
    assert_string_equal((char *)out.ptr, want);
    buf_deinit(&out);
}

static void round_trip(void **state) {
    (void)state;
    static const char *const texts[] = {"null", "true", "false", "0", "-17", "576460752303423488", "1.50", "1e400", "-0", "\"\"", "\"a<\xc3\xa9\\n\\\"\"",
                                        "[]", "{}",
                                        "[1,[2,[]],{\"a\":null}]", "{\"\":0,\"a\":{\"b\":[1,2.5,\"x\"]},\"z\":false}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) prints(image_of(texts[i]), texts[i]);
}

static void by_path(void **state) {
    (void)state;
    value root = image_of("{\"b\":[10,{\"k\":\"v\"}],\"a\":1,\"\":2,\"long\":{}}"), v;
    assert_true(image_member(&M, root, STR("a"), &v) && v == value_of_integer(1));
    assert_true(image_member(&M, root, STR(""), &v) && v == value_of_integer(2));
    assert_true(image_member(&M, root, STR("b"), &v));
    assert_true(image_item(&M, v, 1, &v) && image_member(&M, v, STR("k"), &v));
    prints(v, "\"v\"");
    value b;
    assert_true(image_member(&M, root, STR("b"), &b));
    assert_false(image_item(&M, b, 2, &v) || image_item(&M, b, -1, &v) || image_item(&M, root, 0, &v));
    assert_false(image_member(&M, root, STR("c"), &v) || image_member(&M, b, STR("k"), &v) || image_member(&M, VALUE_NULL, STR("k"), &v));
    assert_true(image_member(&M, root, STR("long"), &v) && !image_member(&M, v, STR("x"), &b));
}

static void large(void **state) {
    (void)state;
    struct buf text;
    value v;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 2000; i++) buf_printf(&text, "%c\"k%d\":%d", i ? ',' : '{', i, i);
    buf_cstr(&text, "}");
    buf_byte(&text, 0);
    value root = image_of((char *)text.ptr);
    for (int i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        assert_true(image_member(&M, root, str_of(key), &v) && v == value_of_integer(i));
    }
    struct buf small;
    buf_init(&small, 100);
    image_print(&M, root, &small);
    assert_int_equal(small.err, ERR_LIMIT);
    buf_deinit(&small);
    buf_deinit(&text);
}

static int setup(void **state) {
    (void)state;
    arena_init(&A, 1 << 24);
    image_init(&M, 0x10000, 1 << 24);
    image_share_strings(&M, NULL);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    arena_deinit(&A);
    image_deinit(&M);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(by_path), cmocka_unit_test(large)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
