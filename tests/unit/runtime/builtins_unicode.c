/* The Unicode tables of the builtins against Go's unicode and strconv packages (Unicode 15.0).
 * in:  every code point; sums that the same loop in Go gives
 * out: one assertion a function
 * owns: nothing */
#include "runtime/builtins/unicode.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* FNV-1a over the function's results for all code points. */
#define SUM(function)                                                                              \
    uint64_t sum = 14695981039346656037u;                                                          \
    for (uint32_t cp = 0; cp < 0x110000; cp++)                                                     \
        sum = (sum ^ (uint64_t)function(cp)) * 1099511628211u;

static void test_lower(void **state) {
    (void)state;
    SUM(rune_lower)
    assert_true(sum == 0xdf958c3cfd8b326du);
}
static void test_upper(void **state) {
    (void)state;
    SUM(rune_upper)
    assert_true(sum == 0x70d0953b46159604u);
}
static void test_space(void **state) {
    (void)state;
    SUM(rune_is_space)
    assert_true(sum == 0x5d570bb8c3ec7acu);
}
static void test_print(void **state) {
    (void)state;
    SUM(rune_is_print)
    assert_true(sum == 0xbb9fce7ea625f389u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lower),
        cmocka_unit_test(test_upper),
        cmocka_unit_test(test_space),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
