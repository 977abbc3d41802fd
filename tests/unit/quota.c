/* A tenant's counts: rate with burst, concurrency, log lines, the memory of slow evaluations; also from several threads at
 * once. */
#include "edge/quota.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { THREADS = 4, TRIES = 20000 };
static const uint64_t second = 1000000000, ms = 1000000, start = 5000000000000;

static uint32_t admitted(struct tenant_quota *q, const struct tenant_limits *l, uint64_t now, uint32_t tries) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < tries; i++)
        if (quota_admit(q, l, now) == OK) {
            n++;
            quota_done(q);
        }
    return n;
}

static void no_limits(void **state) {
    (void)state;
    struct tenant_quota q = {0};
    struct tenant_limits none = {0};
    assert_int_equal(admitted(&q, &none, start, 1000), 1000);
    assert_int_equal(q.under_way, 0);
}

static void rate(void **state) {
    (void)state;
    struct tenant_quota q = {0};
    struct tenant_limits l = {.requests_per_second = 100};
    assert_int_equal(admitted(&q, &l, start, 1000), 100); /* the burst is the rate's */
    assert_int_equal(quota_admit(&q, &l, start), ERR_RATE);
    assert_int_equal(q.under_way, 0); /* what is refused is not under way */
    assert_int_equal(admitted(&q, &l, start + 50 * ms, 1000), 5);
    assert_int_equal(admitted(&q, &l, start + 50 * ms, 1000), 0);
    assert_int_equal(admitted(&q, &l, start + 3600 * second, 1000), 100); /* nobody saves more up than the burst */
}

static void burst(void **state) {
    (void)state;
    struct tenant_quota q = {0}, one = {0};
    struct tenant_limits l = {.requests_per_second = 10, .burst = 3}, single = {.requests_per_second = 1, .burst = 1};
    uint32_t n = 0;
    assert_int_equal(admitted(&q, &l, start, 100), 3);
    for (uint64_t t = 1; t <= 1000; t++) n += admitted(&q, &l, start + t * ms, 1);
    assert_in_range(n, 9, 10); /* ten a second, whatever the burst */
    assert_int_equal(admitted(&one, &single, start, 100), 1);
    assert_int_equal(admitted(&one, &single, start + 999 * ms, 100), 0);
    assert_int_equal(admitted(&one, &single, start + 1000 * ms, 100), 1);
}

static void extremes(void **state) {
    (void)state;
    struct tenant_quota q = {0}, p = {0};
    struct tenant_limits fast = {.requests_per_second = UINT64_MAX, .burst = UINT64_MAX}, deep = {.requests_per_second = 1, .burst = UINT64_MAX};
    assert_int_equal(admitted(&q, &fast, start, 1000), 1000);
    assert_int_equal(admitted(&p, &deep, start, 1000), 1000);
    assert_int_equal(admitted(&p, &deep, 0, 10), 10); /* a clock that stood still or jumped back stops nobody for good */
}

static void concurrency(void **state) {
    (void)state;
    struct tenant_quota q = {0};
    struct tenant_limits l = {.concurrent = 2, .requests_per_second = 3};
    assert_int_equal(quota_admit(&q, &l, start), OK);
    assert_int_equal(quota_admit(&q, &l, start), OK);
    for (int i = 0; i < 10; i++) assert_int_equal(quota_admit(&q, &l, start), ERR_CONCURRENCY);
    quota_done(&q);
    assert_int_equal(quota_admit(&q, &l, start), OK); /* the refused ones cost no token */
    quota_done(&q);
    assert_int_equal(quota_admit(&q, &l, start), ERR_RATE);
    assert_int_equal(quota_rate(&q, &l, start), ERR_RATE);
}

static void log_lines(void **state) {
    (void)state;
    struct tenant_quota q = {0};
    struct tenant_limits l = {.log_lines_per_second = 5}, none = {0};
    int n = 0;
    for (int i = 0; i < 50; i++) n += quota_log(&q, &l, start + (uint64_t)i * ms);
    assert_int_equal(n, 5);
    assert_true(quota_log(&q, &l, start + second));
    for (int i = 0; i < 50; i++) assert_true(quota_log(&q, &none, start));
}

static void slow_once(void **state) {
    (void)state;
    struct tenant_quota q = {0};
    assert_false(quota_slow(&q, start));
    quota_slowed(&q, start);
    assert_false(quota_slow(&q, start + ms)); /* one slow call is nothing */
    quota_slowed(&q, start + 2 * ms);
    assert_true(quota_slow(&q, start + 3 * ms));
    assert_true(quota_slow(&q, start + 30 * ms));
    assert_false(quota_slow(&q, start + 60 * ms)); /* inline again soon */
}

static void slow_often(void **state) {
    (void)state;
    struct tenant_quota q = {0};
    uint64_t now = start;
    for (int i = 0; i < 20; i++) quota_slowed(&q, now += 20 * ms);
    assert_true(quota_slow(&q, now + 1900 * ms));
    assert_false(quota_slow(&q, now + 2300 * ms));
    now += 60 * second; /* forgotten */
    quota_slowed(&q, now);
    assert_false(quota_slow(&q, now + ms));
}

static void slow_wraps(void **state) {
    (void)state;
    struct tenant_quota q = {0};
    uint64_t wrap = (uint64_t)1 << 48, now = wrap - 5 * ms; /* 24 bits of 2^24 ns */
    quota_slowed(&q, now);
    quota_slowed(&q, now);
    assert_true(quota_slow(&q, now + 6 * ms));
    assert_false(quota_slow(&q, now + 70 * ms));
    assert_false(quota_slow(&q, now + wrap / 2)); /* days later */
}

struct crowd {
    struct tenant_quota q;
    struct tenant_limits l;
    _Atomic uint32_t admitted, most, inside;
};

static void *press(void *ctx) {
    struct crowd *c = ctx;
    for (int i = 0; i < TRIES; i++) {
        if (quota_admit(&c->q, &c->l, start)) continue;
        uint32_t now = atomic_fetch_add(&c->inside, 1) + 1, most = atomic_load(&c->most);
        while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now)) {
        }
        atomic_fetch_add(&c->admitted, 1);
        atomic_fetch_sub(&c->inside, 1);
        quota_done(&c->q);
    }
    return NULL;
}

static void many_threads(void **state) {
    (void)state;
    struct crowd c = {.l = {.requests_per_second = 1000, .burst = 5000, .concurrent = 2}};
    pthread_t ids[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&ids[i], NULL, press, &c), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(ids[i], NULL);
    assert_int_equal(c.admitted, 5000); /* exactly the bucket: time stands still */
    assert_in_range(c.most, 1, 2);
    assert_int_equal(c.q.under_way, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_limits), cmocka_unit_test(rate),       cmocka_unit_test(burst),       cmocka_unit_test(extremes),
        cmocka_unit_test(concurrency), cmocka_unit_test(log_lines), cmocka_unit_test(slow_once),   cmocka_unit_test(slow_often),
        cmocka_unit_test(slow_wraps), cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
