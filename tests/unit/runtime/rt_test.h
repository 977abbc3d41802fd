/* What the runtime's unit tests share: values from Rego text, text from values, expected failures.
 */
#ifndef REGENT_TESTS_RT_TEST_H
#define REGENT_TESTS_RT_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/number.h"
#include "runtime/rt_native.h"
#include "runtime/state.h"

static inline struct text text_c(const char *s) {
    size_t n = strlen(s);
    uint8_t *copy = rt_alloc((uint32_t)n);
    if (n > 0) memcpy(copy, s, n);
    return (struct text){copy, (uint32_t)n};
}

/* Rego's ground terms: JSON with {1, 2} and set(). */
static inline value rego(const char *s) {
    value v = VALUE_UNDEFINED;
    struct json_problem problem = {0};
    if (!json_read(text_c(s), true, &v, &problem)) fail_msg("%s: %s", s, problem.message);
    return v;
}

static inline const char *shown(value v, uint32_t form) {
    struct builder b = builder_new(0);
    if (v == VALUE_UNDEFINED) return "undefined";
    json_write(&b, v, form);
    builder_put(&b, 0);
    return (const char *)b.ptr;
}

static inline const char *text_shown(struct text t) {
    struct builder b = builder_new(0);
    builder_text(&b, t);
    builder_put(&b, 0);
    return (const char *)b.ptr;
}

static inline int rt_setup(void **state) {
    (void)state;
    native_setup(0);
    return 0;
}

/* statement must end the evaluation with this message. */
#define assert_rt_fails(statement, text)                                                           \
    do {                                                                                           \
        if (setjmp(*native_catch()) == 0) {                                                        \
            statement;                                                                             \
            native_catch_end();                                                                    \
            fail_msg("did not fail: %s", text);                                                    \
        }                                                                                          \
        assert_string_equal(native_message(), text);                                               \
    } while (0)

#endif
