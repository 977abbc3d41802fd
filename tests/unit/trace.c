/* traceparent: what the recommendation calls valid and invalid. */
#include "edge/trace.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"
#define ZERO_TRACE "00000000000000000000000000000000"
#define ZERO_SPAN "0000000000000000"

static const struct {
    const char *header;
    bool sampled;
} valid[] = {
    {"00-" TRACE "-" SPAN "-01", true},
    {"00-" TRACE "-" SPAN "-00", false},
    {"00-" TRACE "-" SPAN "-02", false},
    {"00-" TRACE "-" SPAN "-03", true},
    {"00-" TRACE "-" SPAN "-ff", true},
    {"00-" TRACE "-" SPAN "-fe", false},
    {"01-" TRACE "-" SPAN "-01", true}, /* a later version of the same length */
    {"cc-" TRACE "-" SPAN "-01-what-the-future-will-be-like", true},
    {"cc-" TRACE "-" SPAN "-00-", false},
};

static const char *const invalid[] = {
    "",
    "-",
    "00-" TRACE "-" SPAN,
    "00-" TRACE "-" SPAN "-",
    "00-" TRACE "-" SPAN "-0",
    "00-" TRACE "-" SPAN "-01-",
    "00-" TRACE "-" SPAN "-01.",
    "00-" TRACE "-" SPAN "-011",
    "00-" TRACE "-" SPAN "-01-what",
    "00-" TRACE "-" SPAN "-0g",
    "00-" TRACE "-" SPAN "-.1",
    "ff-" TRACE "-" SPAN "-01",
    "ff-" TRACE "-" SPAN "-01-more",
    "0-" TRACE "-" SPAN "-01",
    "000-" TRACE "-" SPAN "-01",
    ".0-" TRACE "-" SPAN "-01",
    "0x-" TRACE "-" SPAN "-01",
    "FF-" TRACE "-" SPAN "-01",
    "00-" ZERO_TRACE "-" SPAN "-01",
    "00-" TRACE "-" ZERO_SPAN "-01",
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
    "00-" TRACE "-00F067AA0BA902B7-01",
    "00-" TRACE "-" SPAN "-0A",
    "00-4bf92f3577b34da6a3ce929d0e0e473-" SPAN "-01",
    "00-4bf92f3577b34da6a3ce929d0e0e47360-" SPAN "-01",
    "00-.bf92f3577b34da6a3ce929d0e0e4736-" SPAN "-01",
    "00-" TRACE "-00f067aa0ba902b-01",
    "00-" TRACE "-00f067aa0ba902b70-01",
    "00-" TRACE "-.0f067aa0ba902b7-01",
    "00_" TRACE "-" SPAN "-01",
    "00-" TRACE "_" SPAN "-01",
    "00-" TRACE "-" SPAN "_01",
    "cc-" TRACE "-" SPAN "-01.what",
    "cc-" TRACE "-" SPAN "-010",
    " 00-" TRACE "-" SPAN "-01",
    "00-" TRACE "-" SPAN "-01 ",
};

static void reads_what_is_valid(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) {
        struct trace_context t;
        if (!trace_parse(str_of(valid[i].header), &t)) fail_msg("refused: %s", valid[i].header);
        assert_string_equal(t.trace_id, TRACE);
        assert_string_equal(t.span_id, SPAN);
        if (t.sampled != valid[i].sampled) fail_msg("sampled: %s", valid[i].header);
    }
}

static void leaves_nothing_of_what_is_invalid(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        struct trace_context t = {.trace_id = "x", .span_id = "y", .sampled = true};
        if (trace_parse(str_of(invalid[i]), &t)) fail_msg("accepted: %s", invalid[i]);
        assert_string_equal(t.trace_id, "");
        assert_string_equal(t.span_id, "");
        assert_false(t.sampled);
    }
    struct trace_context t;
    assert_false(trace_parse((struct str){NULL, 0}, &t));
    assert_false(trace_parse((struct str){"00-" TRACE "-" SPAN "-01\0", 56}, &t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_valid),
        cmocka_unit_test(leaves_nothing_of_what_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
