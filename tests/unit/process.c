/* A worker process: answers as policy_eval does, is replaced when it dies, and takes new versions.
 */
#include "edge/process.h"
#include "../isolation/wasm_builder.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct engine *engine;
static const struct log quiet = {.fd = 2, .level = LOG_ERROR + 1};
static char program[4096];

static struct policy *load(const void *code, size_t len, bool keep) {
    struct buf module;
    struct policy *p = NULL;
    const struct wasm_test_module m = {.eval = code, .eval_len = len};
    struct policy_source source = {.name = STR("acme"), .keep = keep};
    buf_init(&module, 1 << 20);
    wasm_test_module(&module, &m);
    source.full = buf_view(&module);
    assert_int_equal(policy_load(engine, &source, &p, NULL), OK);
    buf_deinit(&module);
    return p;
}

/* Answers the first `len` bytes of "true". */
static struct policy *answers(int64_t len) {
    struct buf code;
    buf_init(&code, 64);
    buf_byte(&code, 0x42); /* i64.const */
    wasm_sleb(&code, len << 32 | TEST_TEXT_AT);
    struct policy *p = load(code.ptr, code.len, true);
    buf_deinit(&code);
    return p;
}

static struct process *process(void) {
    struct process *r = NULL;
    struct process_options options = {.group = "test", .program = program, .log = &quiet};
    assert_int_equal(process_new(&options, &r), OK);
    return r;
}

static enum err ask(struct process *r, struct policy *p, struct eval_result *result) {
    struct eval_request q = {.policy = p, .input = STR("{}"), .limits = {.deadline_us = 50000}};
    return process_eval(r, &q, result);
}

static void answers_as_here(void **state) {
    struct eval_result result;
    struct process *r = process();
    struct policy *first = answers(4), *second = answers(2);
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(ask(r, first, &result), OK);
        assert_true(result.defined);
        assert_true(str_is(result.json, "true"));
    }
    assert_int_equal(ask(r, second, &result), OK); /* the same tenant's next version */
    assert_true(str_is(result.json, "tr"));
    assert_int_equal(ask(r, first, &result), OK); /* and back */
    assert_true(str_is(result.json, "true"));
    assert_int_equal(process_starts(r), 1);
    struct eval_request q = {.policy = first, .entrypoint = 9, .input = STR("{}")};
    assert_int_equal(process_eval(r, &q, &result), ERR_NOT_FOUND);
    q = (struct eval_request){.policy = first, .input = STR("{}"), .limits = {.input_bytes = 1}};
    assert_int_equal(process_eval(r, &q, &result), ERR_LIMIT);
    assert_true(result.message[0] != 0);
    policy_release(first);
    policy_release(second);
    process_free(r);
}

static void limits_hold(void **state) {
    static const uint8_t spin[] = {0x03, 0x40, 0x0c, 0, 0x0b, 0};
    struct eval_result result;
    struct process *r = process();
    struct policy *good = answers(4), *bad = load(spin, sizeof spin, true);
    (void)state;
    assert_int_equal(ask(r, bad, &result), ERR_DEADLINE);
    assert_int_equal(ask(r, good, &result), OK);
    assert_int_equal(process_starts(r), 1);
    policy_release(good);
    policy_release(bad);
    process_free(r);
}

static void pause_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void is_replaced(void **state) {
    struct eval_result result;
    struct process *r = process();
    struct policy *p = answers(4);
    (void)state;
    assert_int_equal(ask(r, p, &result), OK);
    int first = process_pid(r);
    assert_true(first > 0);
    assert_int_equal(kill(first, SIGKILL), 0);
    pause_ms(20);
    assert_int_equal(ask(r, p, &result), ERR_WORKER);
    assert_false(result.defined);
    pause_ms(100);
    assert_int_equal(ask(r, p, &result), OK);
    assert_true(str_is(result.json, "true"));
    assert_int_equal(process_starts(r), 2);
    assert_int_not_equal(process_pid(r), first);
    policy_release(p);
    process_free(r);
}

/* A process that stands still is killed when the answer is overdue. */
static void is_not_waited_for(void **state) {
    struct eval_result result;
    struct process *r = process();
    struct policy *p = answers(4);
    (void)state;
    assert_int_equal(ask(r, p, &result), OK);
    int pid = process_pid(r);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(ask(r, p, &result), ERR_WORKER);
    assert_int_equal(kill(pid, 0), -1);
    policy_release(p);
    process_free(r);
}

static void says_what_is_wrong(void **state) {
    static const uint8_t nothing[] = {0x42, 0};
    struct eval_result result;
    struct process *r = process();
    struct policy *p = load(nothing, sizeof nothing, false);
    (void)state;
    assert_int_equal(ask(r, p, &result), ERR_INTERNAL); /* it was not kept */
    process_free(r);
    struct process_options none = {
        .group = "test", .program = "/nonexistent/regent", .log = &quiet};
    assert_int_equal(process_new(&none, &r), OK);
    assert_int_equal(ask(r, p, &result), ERR_WORKER);
    assert_int_equal(process_pid(r), 0);
    process_free(r);
    policy_release(p);
}

/* The program stands two folders above its unit tests. */
static bool find_program(void) {
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 16);
    for (int up = 0; n > 0 && up < 3; n--)
        if (program[n - 1] == '/') up++;
    if (n <= 0) return false;
    snprintf(program + n, 16, "/regent");
    return access(program, X_OK) == 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_as_here),
                                       cmocka_unit_test(limits_hold), cmocka_unit_test(is_replaced),
                                       cmocka_unit_test(is_not_waited_for),
                                       cmocka_unit_test(says_what_is_wrong)};
    signal(SIGPIPE, SIG_IGN);
    if (!find_program()) {
        printf(
            "ok 1 - worker processes # SKIP no regent program is built beside these tests\n1..1\n");
        return 0;
    }
    struct engine_options options = {.quick_compile = true};
    if (engine_new(&options, &engine)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    engine_free(engine);
    return failed;
}
