/* Trials of versions: what is counted, what is copied, what is left out; several threads note at once.
 * in: made decisions. out: cmocka results. */
#include "edge/trial.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MANY = 100000, NOTERS = 3, ROUNDS = 20000, BIG_BYTES = 300 << 10 };

static const struct ask ask = {.tenant = {"a", 1}, .path = {"t/allow", 7}, .input = {"{\"x\":1}", 7}};

static struct decision value(const char *json) {
    return (struct decision){.kind = DECISION_VALUE, .limit = LIMIT_COUNT, .json = str_of(json), .id = "id"};
}
static struct decision failure(enum err e) {
    return (struct decision){.kind = DECISION_FAILED, .err = e, .limit = limit_of_err(e)};
}

static void counted(void **state) {
    (void)state;
    struct trial *t = trial_new(TRIAL_WATCH, 0);
    struct decision yes = value("true"), no = value("false"), undefined = {.kind = DECISION_UNDEFINED};
    trial_note(t, &ask, &yes, false);
    trial_note(t, &ask, &no, true);
    trial_note(t, &ask, &undefined, true);
    static const enum err own[] = {ERR_DEADLINE, ERR_GUEST_MEMORY, ERR_TRAP, ERR_CONFLICT, ERR_STACK, ERR_LIMIT};
    static const enum err others[] = {ERR_RATE, ERR_CONCURRENCY, ERR_OVERLOAD, ERR_WORKER, ERR_INPUT, ERR_MEMORY};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        struct decision d = failure(own[i]), other = failure(others[i]);
        trial_note(t, &ask, &d, true);
        trial_note(t, &ask, &other, true);
    }
    struct decision large = failure(ERR_LIMIT); /* the request was, not the version's answer */
    large.limit = LIMIT_input_bytes;
    trial_note(t, &ask, &large, true);
    trial_useless(t);
    struct trial_counts n = trial_counts(t);
    assert_int_equal(n.total, 9);
    assert_int_equal(n.denied, 8);
    assert_int_equal(n.failed, 7);
    struct trial_sample s;
    assert_false(trial_take(t, &s));
    trial_release(t);
}

static void copied(void **state) {
    (void)state;
    struct trial *t = trial_new(TRIAL_SHADOW, 1000000);
    struct trial_sample s;
    char json[] = "{\"allow\":true}";
    struct decision d = value(json);
    trial_note(t, &ask, &d, false);
    memset(json, 'x', sizeof json - 1); /* what the worker reuses */
    assert_true(trial_take(t, &s));
    assert_string_equal(s.id, "id");
    assert_true(str_is(s.json, "{\"allow\":true}"));
    assert_true(str_is(s.ask.path, "t/allow"));
    assert_true(str_is(s.ask.input, "{\"x\":1}"));
    assert_null(s.ask.document.ptr);
    trial_give(t, &s);
    assert_false(trial_take(t, &s));
    struct ask without = {.tenant = {"a", 1}, .path = {"", 0}};
    struct decision undefined = {.kind = DECISION_UNDEFINED};
    trial_note(t, &without, &undefined, true);
    assert_true(trial_take(t, &s));
    assert_null(s.ask.input.ptr); /* undefined is not an empty text */
    assert_int_equal(s.kind, DECISION_UNDEFINED);
    trial_acquire(t);
    trial_release(t);
    trial_release(t); /* with a sample in it */
}

static void left_out(void **state) {
    (void)state;
    struct trial *t = trial_new(TRIAL_SHADOW, 1000000);
    struct decision d = value("true");
    for (int i = 0; i < TRIAL_SLOTS + 10; i++) trial_note(t, &ask, &d, false);
    assert_int_equal(trial_counts(t).left_out, 10);
    assert_int_equal(trial_counts(t).total, TRIAL_SLOTS + 10);
    struct trial_sample s;
    while (trial_take(t, &s)) trial_give(t, &s);
    char *large = calloc(1, BIG_BYTES);
    struct ask big = {.tenant = {"a", 1}, .path = {"t", 1}, .input = {large, BIG_BYTES}};
    trial_note(t, &big, &d, false);
    assert_int_equal(trial_counts(t).left_out, 11);
    assert_false(trial_take(t, &s));
    free(large);
    trial_release(t);
}

/* A tenth of the requests, also of every third one. */
static void share(void **state) {
    (void)state;
    struct trial *t = trial_new(TRIAL_SHADOW, 100000);
    struct trial_sample s;
    struct decision d = value("true");
    uint32_t taken = 0, thirds = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        trial_note(t, &ask, &d, false);
        if (!trial_take(t, &s)) continue;
        trial_give(t, &s);
        taken++;
        thirds += i % 3 == 0;
    }
    assert_in_range(taken, MANY / 10 - 500, MANY / 10 + 500);
    assert_in_range(thirds, MANY / 30 - 300, MANY / 30 + 300);
    trial_release(t);
}

static void *note_many(void *arg) {
    char json[32];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(json, sizeof json, "\"%d\"", i);
        struct ask a = {.tenant = {"a", 1}, .path = {"t", 1}, .input = str_of(json)};
        struct decision d = value(json);
        trial_note(arg, &a, &d, false);
    }
    trial_release(arg);
    return NULL;
}

static void threads(void **state) {
    (void)state;
    struct trial *t = trial_new(TRIAL_SHADOW, 1000000);
    pthread_t noters[NOTERS];
    struct trial_sample s;
    uint64_t taken = 0;
    for (int i = 0; i < NOTERS; i++) assert_int_equal(pthread_create(&noters[i], NULL, note_many, trial_acquire(t)), 0);
    while (taken + trial_counts(t).left_out < NOTERS * ROUNDS) {
        if (!trial_take(t, &s)) continue;
        assert_true(str_eq(s.json, s.ask.input)); /* of one request, whole */
        trial_give(t, &s);
        taken++;
    }
    for (int i = 0; i < NOTERS; i++) pthread_join(noters[i], NULL);
    assert_int_equal(trial_counts(t).total, NOTERS * ROUNDS);
    assert_true(taken > 0);
    trial_release(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(counted), cmocka_unit_test(copied), cmocka_unit_test(left_out),
                                       cmocka_unit_test(share), cmocka_unit_test(threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
