/* Numbers of the runtime: OPA's arithmetic, big integers, doubles and their texts.
 * in: number_cases.def. out: cmocka results. owns: nothing. */
#include "rt_test.h"
#include <stdlib.h>

static const struct {
    char operation;
    const char *a, *b, *expected;
} cases[] = {
#define CASE(operation, a, b, expected) {operation, a, b, expected},
#include "number_cases.def"
#undef CASE
};

static value number(const char *s) {
    value v = number_of_text(text_c(s));
    if (v == VALUE_UNDEFINED) fail_msg("no number: %s", s);
    return v;
}

static value compute(char operation, value a, value b) {
    value out = VALUE_UNDEFINED;
    switch (operation) {
    case '+': return number_add(a, b);
    case '-': return number_sub(a, b);
    case '*': return number_mul(a, b);
    case '/': return number_div(a, b, &out) == NUMBER_OK ? out : VALUE_UNDEFINED;
    case '%': return number_rem(a, b, &out) == NUMBER_OK ? out : VALUE_UNDEFINED;
    case 'a': return number_abs(a);
    case 'r': return number_round(a);
    case 'c': return number_ceil(a);
    default: return number_floor(a);
    }
}

static void arithmetic(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        value r = compute(cases[i].operation, number(cases[i].a), number(cases[i].b));
        const char *got = r == VALUE_UNDEFINED ? "err" : shown(r, 0);
        if (strcmp(got, cases[i].expected) != 0)
            fail_msg("%s %c %s: %s, not %s", cases[i].a, cases[i].operation, cases[i].b, got,
                     cases[i].expected);
    }
}

static void errors_have_kinds(void **state) {
    (void)state;
    value out;
    assert_int_equal(number_div(number("1"), number("0.0"), &out), NUMBER_DIVIDE_BY_ZERO);
    assert_int_equal(number_rem(number("1"), number("0"), &out), NUMBER_MODULO_BY_ZERO);
    assert_int_equal(number_rem(number("1e30"), number("0e1"), &out), NUMBER_MODULO_BY_ZERO);
    assert_int_equal(number_rem(number("1.5"), number("2"), &out), NUMBER_NOT_INTEGER);
}

static void aggregates(void **state) {
    (void)state;
    value mixed = rego("[0.1, 0.2, 3]"), whole = rego("[1, 2.0, 1e20]");
    assert_string_equal(shown(number_sum(array_items(mixed), 3), 0), "3.3");
    assert_string_equal(shown(number_sum(array_items(whole), 3), 0), "100000000000000000003");
    assert_string_equal(shown(number_product(array_items(mixed), 3), 0), "0.06");
    assert_string_equal(shown(number_product(array_items(whole), 3), 0), "200000000000000000000");
    assert_string_equal(shown(number_sum(NULL, 0), 0), "0");
}

static const struct {
    const char *text;
    bool plain, integral;
} kinds[] = {
    {"0", true, true},       {"-17", true, true},
    {"1.0", false, true},    {"1.5", false, false},
    {"1e3", false, true},    {"15e-1", false, false},
    {"150e-1", false, true}, {"99999999999999999999999", true, true},
    {"0.0", false, true},
};

static void integer_tests(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        assert_int_equal(number_is_plain_integer(number(kinds[i].text)), kinds[i].plain);
        assert_int_equal(number_is_integral(number(kinds[i].text)), kinds[i].integral);
    }
    int64_t out;
    assert_true(number_int64(number("9223372036854775807"), &out) && out == INT64_MAX);
    assert_true(number_int64(number("-9223372036854775808"), &out) && out == INT64_MIN);
    assert_false(number_int64(number("9223372036854775808"), &out));
    assert_false(number_int64(number("1.0"), &out));
    assert_true(number_integral_int64(number("1.0"), &out) && out == 1);
    assert_true(number_integral_int64(number("-92233720368547758.08e2"), &out) && out == INT64_MIN);
    assert_false(number_integral_int64(number("1e19"), &out));
    assert_true(number_of_text(TEXT("1 ")) == VALUE_UNDEFINED &&
                number_of_text(TEXT("")) == VALUE_UNDEFINED);
    assert_true(number_of_int64(INTEGER_MAX) == value_of_integer(INTEGER_MAX));
    assert_string_equal(shown(number_of_int64(INT64_MIN), 0), "-9223372036854775808");
    assert_string_equal(shown(number_of_uint64(UINT64_MAX), 0), "18446744073709551615");
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static struct bigint random_bigint(void) {
    struct bigint a = bigint_of_uint64(0);
    for (uint64_t n = random_next() % 8; n > 0; n--) {
        uint64_t word =
            random_next() % 4 == 0 ? 0xffffffffffffffffu << random_next() % 64 : random_next();
        a = bigint_add(bigint_shl(a, 64), bigint_of_uint64(word));
    }
    return random_next() % 2 ? bigint_neg(a) : a;
}

static void assert_bigint_equal(struct bigint a, struct bigint b) {
    assert_int_equal(bigint_compare(a, b), 0);
}

static void bigint_laws(void **state) {
    (void)state;
    uint32_t mark = heap_mark();
    for (int i = 0; i < 20000; i++, heap_release(mark)) {
        struct bigint a = random_bigint(), b = random_bigint(), c = random_bigint(), q, r;
        assert_bigint_equal(bigint_mul(bigint_add(a, b), c),
                            bigint_add(bigint_mul(a, c), bigint_mul(b, c)));
        if (b.n > 0) {
            bigint_div(a, b, &q, &r);
            assert_bigint_equal(a, bigint_add(bigint_mul(q, b), r));
            assert_true(r.n == 0 || r.negative == a.negative);
            struct bigint left = r, right = b;
            left.negative = right.negative = false;
            assert_true(bigint_compare(left, right) < 0);
        }
        /* a + b == (a ^ b) + 2 (a & b), a | b == (a ^ b) + (a & b) */
        struct bigint both = bigint_and(a, b), one = bigint_xor(a, b);
        assert_bigint_equal(bigint_add(a, b), bigint_add(one, bigint_shl(both, 1)));
        assert_bigint_equal(bigint_or(a, b), bigint_add(one, both));
        uint32_t n = (uint32_t)(random_next() % 200);
        assert_bigint_equal(bigint_shr(bigint_shl(a, n), n), a);
        struct bigint back;
        uint32_t radix = (uint32_t)(2 + random_next() % 35);
        struct builder text = builder_new(0);
        builder_bigint(&text, a, radix);
        assert_true(bigint_of_text(builder_view(&text), radix, &back));
        assert_bigint_equal(a, back);
    }
}

static void small_bits(void **state) {
    (void)state;
    for (int64_t a = -9; a <= 9; a++) {
        for (int64_t b = -9; b <= 9; b++) {
            struct bigint x = bigint_of_int64(a), y = bigint_of_int64(b);
            int64_t out;
            assert_true(bigint_int64(bigint_and(x, y), &out) && out == (a & b));
            assert_true(bigint_int64(bigint_or(x, y), &out) && out == (a | b));
            assert_true(bigint_int64(bigint_xor(x, y), &out) && out == (a ^ b));
        }
        int64_t out;
        assert_true(bigint_int64(bigint_not(bigint_of_int64(a)), &out) && out == ~a);
        assert_true(bigint_int64(bigint_shr(bigint_of_int64(a), 1), &out) && out == a >> 1);
        assert_true(bigint_int64(bigint_shr(bigint_of_int64(a), 99), &out) &&
                    out == (a < 0 ? -1 : 0));
    }
}

static const struct {
    double d;
    char format;
    int precision;
    const char *text;
} doubles[] = {
    {0.1, 'g', -1, "0.1"},
    {1e21, 'g', -1, "1e+21"},
    {123456789, 'g', -1, "1.23456789e+08"},
    {5e-324, 'g', -1, "5e-324"},
    {1.7976931348623157e308, 'g', -1, "1.7976931348623157e+308"},
    {9007199254740993.0, 'f', -1, "9007199254740992"},
    {2.5, 'f', 0, "2"},
    {3.5, 'f', 0, "4"},
    {0.5, 'f', 0, "0"},
    {1.005, 'f', 2, "1.00"},
    {-0.0, 'f', 1, "-0.0"},
    {9.9999, 'f', 2, "10.00"},
    {9.9999, 'e', 2, "1.00e+01"},
    {0, 'e', 3, "0.000e+00"},
    {1e100, 'E', 0, "1E+100"},
    {100000, 'g', 3, "1e+05"},
    {0.0001, 'g', 3, "0.0001"},
    {0.00001, 'G', 3, "1E-05"},
    {1e23, 'f', -1, "100000000000000000000000"},
    {4.940656458412465e-324, 'e', 20, "4.94065645841246544177e-324"},
    {2.2250738585072014e-308, 'e', -1, "2.2250738585072014e-308"},
};

static void double_texts(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        struct builder b = builder_new(0);
        builder_double(&b, doubles[i].d, doubles[i].format, doubles[i].precision);
        assert_string_equal(text_shown(builder_view(&b)), doubles[i].text);
    }
    assert_true(number_of_double(0.0 / 0.0) == VALUE_UNDEFINED);
    assert_string_equal(shown(number_of_double(3.0), 0), "3");
    assert_string_equal(shown(number_of_double(2.5e-9), 0), "2.5e-09");
}

/* Shortest text and back is the same double; what the C library reads is what we read. */
static void doubles_round_trip(void **state) {
    (void)state;
    uint32_t mark = heap_mark();
    for (int i = 0; i < 20000; i++, heap_release(mark)) {
        uint64_t bits = random_next();
        double d, back, libc;
        bool overflow;
        memcpy(&d, &bits, 8);
        if ((bits >> 52 & 2047) == 2047) continue;
        struct builder b = builder_new(0);
        builder_double(&b, d, 'g', i % 2 ? -1 : 30);
        assert_true(double_of_text(builder_view(&b), &back, &overflow) && !overflow);
        assert_memory_equal(&d, &back, 8);
        libc = strtod(text_shown(builder_view(&b)), NULL);
        assert_memory_equal(&d, &libc, 8);
    }
    double d;
    bool overflow;
    assert_true(double_of_text(TEXT("1e309"), &d, &overflow) && overflow);
    assert_true(double_of_text(TEXT("1e-400"), &d, &overflow) && !overflow && d == 0);
    assert_false(double_of_text(TEXT("1e"), &d, &overflow));
    assert_false(number_double(number("-1e400"), &d));
}

/* A hostile number: long, or with an enormous exponent. Comparing stays linear, computing is
 * refused in time. */
static void hostile_numbers(void **state) {
    (void)state;
    struct builder b = builder_new(0);
    builder_repeat(&b, '9', 1000000);
    value long_number = number_of_text(builder_view(&b));
    assert_int_equal(number_compare(long_number, number("1e30000")), 1);
    assert_true(value_hash(long_number) == value_hash(number_of_text(builder_view(&b))));
    assert_true(number_of_text(TEXT("1e100000")) == VALUE_UNDEFINED);
    assert_int_equal(number_sign(number_mul(number("1e30000"), number("-1e-30000"))), -1);
}

#define TEST(f) cmocka_unit_test_setup(f, rt_setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(arithmetic),    TEST(errors_have_kinds),  TEST(aggregates),
        TEST(integer_tests), TEST(bigint_laws),        TEST(small_bits),
        TEST(double_texts),  TEST(doubles_round_trip), TEST(hostile_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
