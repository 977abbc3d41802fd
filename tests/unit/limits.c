/* Limits: units, objects of a manifest, what replaces what, which of two is stricter, and printing back. */
#include "bundle/limits.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void times(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t us; /* 0: refused */
    } cases[] = {
        {"50ms", 50000},  {"500us", 500},   {"2s", 2000000},  {"1m", 60000000}, {"1.5s", 1500000}, {"1h", 3600000000u},
        {"0.25ms", 250},  {"1 s", 1000000}, {"50", 0},        {"", 0},          {"ms", 0},         {"-1s", 0},
        {"1e3s", 0},      {"1.s", 0},       {"1..5s", 0},     {"50 ms ", 0},    {"50MS", 0},       {"18446744073709551616us", 0},
        {"18446744073709551615s", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t us = 0;
        assert_int_equal(limits_read_time(str_of(cases[i].text), &us), cases[i].us != 0);
        assert_int_equal(us, cases[i].us);
    }
}

static void sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"512", 512},        {"64MiB", 64u << 20}, {"10MB", 10000000}, {"1.5KiB", 1536}, {"2GiB", (uint64_t)2 << 30},
        {"1kB", 1000},       {"7B", 7},            {"64mib", 0},       {"MiB", 0},       {"1 TiB", 0},
        {"17179869184GiB", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t bytes = 0;
        assert_int_equal(limits_read_size(str_of(cases[i].text), &bytes), cases[i].bytes != 0);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static enum err read(const char *text, struct tenant_limits *out, char why[256]) {
    struct arena a;
    struct json *v;
    arena_init(&a, 1 << 16);
    assert_int_equal(json_parse(&a, str_of(text), &v, NULL), OK);
    enum err e = limits_read(v, out, why, 256);
    arena_deinit(&a);
    return e;
}

static void objects(void **state) {
    (void)state;
    char why[256];
    struct tenant_limits l = {0};
    assert_int_equal(read("{\"deadline\":\"20ms\",\"memory\":\"8MiB\",\"input\":4096,\"concurrent\":3,\"burst\":\"none\"}", &l, why), OK);
    assert_int_equal(l.deadline_us, 20000);
    assert_int_equal(l.memory_bytes, 8 << 20);
    assert_int_equal(l.input_bytes, 4096);
    assert_int_equal(l.concurrent, 3);
    assert_true(l.burst == LIMIT_NONE);
    assert_int_equal(l.output_bytes, 0);
    assert_int_equal(read("{}", &l, why), OK);
    assert_int_equal(l.deadline_us, 0);
}

static void wrong_objects(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[]", "limits must be an object"},
        {"{\"deadlin\":1}", "there is no limit \"deadlin\""},
        {"{\"deadline\":50}", "limit \"deadline\" wants a time such as \"50ms\", or \"none\", not \"50\""},
        {"{\"deadline\":\"fast\"}", "limit \"deadline\" wants a time such as \"50ms\", or \"none\", not \"fast\""},
        {"{\"memory\":\"64 pages\"}", "limit \"memory\" wants a size such as \"64MiB\", or \"none\", not \"64 pages\""},
        {"{\"memory\":0}", "limit \"memory\" wants a size such as \"64MiB\", or \"none\", not \"0\""},
        {"{\"burst\":1.5}", "limit \"burst\" wants a whole number above 0, or \"none\", not \"1.5\""},
        {"{\"burst\":-1}", "limit \"burst\" wants a whole number above 0, or \"none\", not \"-1\""},
        {"{\"burst\":true}", "limit \"burst\" wants a whole number above 0, or \"none\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[256] = "";
        struct tenant_limits l = {.burst = 7};
        assert_int_equal(read(cases[i].text, &l, why), ERR_INVALID);
        assert_string_equal(why, cases[i].why);
        assert_int_equal(l.burst, 7); /* untouched */
    }
}

static void strictest(void **state) {
    (void)state;
    struct tenant_limits a = {.deadline_us = 50, .memory_bytes = 0, .concurrent = LIMIT_NONE, .burst = 4, .input_bytes = LIMIT_NONE};
    struct tenant_limits b = {.deadline_us = 20, .memory_bytes = 64, .concurrent = 0, .burst = 9, .input_bytes = 100};
    for (int turn = 0; turn < 2; turn++) {
        struct tenant_limits l = turn ? limits_strictest(b, a) : limits_strictest(a, b);
        assert_int_equal(l.deadline_us, 20);
        assert_int_equal(l.memory_bytes, 64);
        assert_int_equal(l.concurrent, 0); /* no limit is none */
        assert_int_equal(l.burst, 4);
        assert_int_equal(l.input_bytes, 100);
    }
}

static void replaced(void **state) {
    (void)state;
    struct tenant_limits base = {.deadline_us = 50, .memory_bytes = 64, .burst = 2};
    struct tenant_limits l = limits_replaced(base, (struct tenant_limits){.deadline_us = 80, .burst = LIMIT_NONE});
    assert_int_equal(l.deadline_us, 80);
    assert_int_equal(l.memory_bytes, 64);
    assert_true(l.burst == LIMIT_NONE);
    /* The bundle may be stricter than what replaced the default, never laxer. */
    assert_int_equal(limits_strictest(l, (struct tenant_limits){.deadline_us = 90}).deadline_us, 80);
    assert_int_equal(limits_strictest(l, (struct tenant_limits){.deadline_us = 10}).deadline_us, 10);
}

static void names(void **state) {
    (void)state;
    assert_string_equal(limit_name(limit_of_err(ERR_DEADLINE)), "deadline");
    assert_string_equal(limit_name(limit_of_err(ERR_GUEST_MEMORY)), "memory");
    assert_string_equal(limit_name(limit_of_err(ERR_LIMIT)), "output");
    assert_string_equal(limit_name(limit_of_err(ERR_RATE)), "requests_per_second");
    assert_string_equal(limit_name(limit_of_err(ERR_CONCURRENCY)), "concurrent");
    assert_int_equal(limit_of_err(ERR_CONFLICT), LIMIT_COUNT);
    assert_int_equal(limit_of_err(OK), LIMIT_COUNT);
    assert_true(limits_known(STR("compile_time")));
    assert_false(limits_known(STR("compile")));
}

static void printed(void **state) {
    (void)state;
    struct buf out;
    char why[256];
    buf_init(&out, 1 << 12);
    struct tenant_limits l = {.deadline_us = 50000, .memory_bytes = 64 << 20, .input_bytes = 1000, .burst = 5, .concurrent = LIMIT_NONE,
                              .compile_us = 1500};
    limits_print(&l, &out);
    buf_byte(&out, 0);
    assert_string_equal((const char *)out.ptr, "{\"deadline\":\"50ms\",\"memory\":\"64MiB\",\"input\":\"1000\",\"burst\":5,"
                                               "\"concurrent\":\"none\",\"compile_time\":\"1500us\"}");
    struct tenant_limits again = {0}; /* what is printed is read as the same */
    assert_int_equal(read((const char *)out.ptr, &again, why), OK);
    assert_memory_equal(&l, &again, sizeof l);
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),         cmocka_unit_test(sizes),     cmocka_unit_test(objects),
        cmocka_unit_test(wrong_objects), cmocka_unit_test(strictest), cmocka_unit_test(replaced),
        cmocka_unit_test(names),         cmocka_unit_test(printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
