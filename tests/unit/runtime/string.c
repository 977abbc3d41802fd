/* Texts, UTF-8 and builders of the runtime.
 * in: texts. out: cmocka results. owns: nothing. */
#include "rt_test.h"

static void decoding(void **state) {
    (void)state;
    /* bytes, code points as Go's range loop gives them */
    static const struct {
        const char *text;
        uint32_t points[6];
    } cases[] = {
        {"a", {'a'}},
        {"é→😀", {0xe9, 0x2192, 0x1f600}},
        {"\xff"
         "a",
         {0xfffd, 'a'}},
        {"\xc3", {0xfffd}},
        {"\xe2\x82"
         "x",
         {0xfffd, 0xfffd, 'x'}},
        {"\xed\xa0\x80", {0xfffd, 0xfffd, 0xfffd}},
        {"\xf4\x90\x80\x80", {0xfffd, 0xfffd, 0xfffd, 0xfffd}},
        {"\xc1\xbf", {0xfffd, 0xfffd}},
        {"\xf0\x8f\xbf\xbf", {0xfffd, 0xfffd, 0xfffd, 0xfffd}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text t = text_c(cases[i].text);
        uint32_t k = 0, at_byte = 0, back = t.len;
        for (; at_byte < t.len; k++) assert_int_equal(utf8_decode(t, &at_byte), cases[i].points[k]);
        while (k > 0) assert_int_equal(utf8_decode_back(t, &back), cases[i].points[--k]);
        assert_int_equal(back, 0);
    }
}

static void encoding(void **state) {
    (void)state;
    static const uint32_t points[] = {0,      0x7f,   0x80,   0x7ff,   0x800,
                                      0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct builder b = builder_new(0);
        builder_code_point(&b, points[i]);
        uint32_t k = 0;
        assert_true(utf8_valid(builder_view(&b)));
        assert_int_equal(utf8_decode(builder_view(&b), &k), points[i]);
        assert_int_equal(k, b.len);
    }
    uint8_t out[4];
    assert_int_equal(utf8_encode(0xd800, out), 3);
    assert_int_equal(out[0], 0xef);
}

static void counting(void **state) {
    (void)state;
    assert_int_equal(utf8_count(text_c("aé→😀")), 4);
    assert_int_equal(utf8_offset(text_c("aé→😀"), 0), 0);
    assert_int_equal(utf8_offset(text_c("aé→😀"), 2), 3);
    assert_int_equal(utf8_offset(text_c("aé→😀"), 3), 6);
    assert_int_equal(utf8_offset(text_c("aé→😀"), 9), 10);
    assert_true(utf8_valid(text_c("0123456789é")));
    assert_false(utf8_valid(text_c("0123456789\xff")));
}

static void searching(void **state) {
    (void)state;
    struct text t = text_c("abcabcabcabcd");
    assert_int_equal(text_find(t, text_c("abcd"), 0), 9);
    assert_int_equal(text_find(t, text_c("abc"), 1), 3);
    assert_int_equal(text_find(t, text_c("x"), 0), -1);
    assert_int_equal(text_find(t, text_c(""), 5), 5);
    assert_int_equal(text_find(text_c("ab"), text_c("abc"), 0), -1);
    assert_int_equal(text_find_last(t, text_c("abc")), 9);
    assert_int_equal(text_find_last(t, text_c("")), 13);
    assert_int_equal(text_find_last(t, text_c("zz")), -1);
    assert_true(text_starts_with(t, text_c("abca")) && !text_starts_with(t, text_c("b")));
    assert_true(text_ends_with(t, text_c("cd")) && !text_ends_with(text_c("d"), text_c("cd")));
    assert_int_equal(text_compare(text_c("abcdefgh1"), text_c("abcdefgh2")), -1);
    assert_int_equal(text_compare(text_c("abcdefgh"), text_c("abcdefg")), 1);
}

static void building(void **state) {
    (void)state;
    struct builder b = builder_new(0), other = builder_new(3);
    for (int i = 0; i < 1000; i++) {
        builder_int(&b, i - 500);
        builder_put(&other, 'o');
    }
    builder_int(&b, INT64_MIN);
    builder_repeat(&b, '=', 3);
    assert_true(text_starts_with(builder_view(&b), text_c("-500-499-498")));
    assert_true(text_ends_with(builder_view(&b), text_c("499-9223372036854775808===")));
    assert_int_equal(other.len, 1000);
    value v = builder_string(&b);
    assert_true(value_equal(v, string_copy(text_of(v))));
}

static void bytes(void **state) {
    (void)state;
    uint8_t *a = rt_alloc(64), *b = rt_alloc(64);
    for (uint32_t n = 0; n < 40; n++) {
        memset(a, 0, 64);
        for (uint32_t i = 0; i < n; i++) b[i] = (uint8_t)(i * 37 + 1);
        bytes_copy(a, b, n);
        assert_true(bytes_equal(a, b, n));
        for (uint32_t i = 0; i < n; i++) {
            a[i] ^= 0x80;
            assert_false(bytes_equal(a, b, n));
            a[i] ^= 0x80;
        }
    }
}

#define TEST(f) cmocka_unit_test_setup(f, rt_setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(decoding),  TEST(encoding), TEST(counting),
        TEST(searching), TEST(building), TEST(bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
