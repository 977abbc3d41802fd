/* The fair queue: order within a flow, shares by time used and not by count, no saved-up time, debts that are kept, the
 * newest of the longest shed, bounded waiting, and many flows coming and going. */
#include "edge/queue.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MANY = 5000 };

struct thing {
    struct queue_item item;
    int tenant, number;
};

static const char keys[MANY + 1];
static const void *key(int tenant) { return tenant < 0 ? NULL : keys + tenant; }

static struct thing *thing_new(int tenant, int number) {
    struct thing *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->tenant = tenant;
    t->number = number;
    return t;
}

static void push(struct queue *q, int tenant, int number, uint64_t now) {
    assert_null(queue_push(q, key(tenant), &thing_new(tenant, number)->item, now));
}

/* Serves one thing that takes so long; its tenant, or -2: nothing there. */
static int serve(struct queue *q, uint64_t ns) {
    struct thing *t = (struct thing *)queue_pop(q);
    if (!t) return -2;
    int tenant = t->tenant;
    queue_done(q, &t->item, ns);
    free(t);
    return tenant;
}

static void in_order(void **state) {
    (void)state;
    struct queue q;
    queue_init(&q, 100, 0);
    assert_null(queue_pop(&q));
    for (int i = 0; i < 10; i++) push(&q, 1, i, 0);
    assert_int_equal(queue_waiting(&q, key(1)), 10);
    assert_int_equal(queue_waiting(&q, key(2)), 0);
    for (int i = 0; i < 10; i++) {
        struct thing *t = (struct thing *)queue_pop(&q);
        assert_int_equal(t->number, i);
        queue_done(&q, &t->item, 5);
        free(t);
    }
    assert_null(queue_pop(&q));
    assert_int_equal(q.n, 0);
    queue_deinit(&q);
}

/* One tenant's calls take ten times as long: it is served a tenth as often. */
static void by_time(void **state) {
    (void)state;
    struct queue q;
    uint64_t used[3] = {0};
    queue_init(&q, 3000, 0);
    for (int i = 0; i < 2000; i++) push(&q, i % 2, i, 0);
    for (int i = 0; i < 500; i++) {
        struct thing *t = (struct thing *)queue_pop(&q);
        uint64_t ns = t->tenant ? 1000 : 100;
        used[t->tenant] += ns;
        queue_done(&q, &t->item, ns);
        free(t);
    }
    assert_in_range(used[0], used[1] - 2000, used[1] + 2000);
    while (serve(&q, 1) >= 0) {
    }
    queue_deinit(&q);
}

/* Who floods does not delay who asks now and then. */
static void newcomer(void **state) {
    (void)state;
    struct queue q;
    queue_init(&q, 3000, 0);
    for (int i = 0; i < 1000; i++) push(&q, 0, i, 0);
    for (int i = 0; i < 100; i++) assert_int_equal(serve(&q, 1000), 0);
    push(&q, 1, 0, 0);
    int before = 0;
    while (serve(&q, 1000) == 0) before++;
    assert_in_range(before, 0, 1);
    while (serve(&q, 1) >= 0) {
    }
    queue_deinit(&q);
}

/* A pause earns nothing, and what was used before it is not forgotten. */
static void no_savings(void **state) {
    (void)state;
    struct queue q;
    int first = 0;
    queue_init(&q, 3000, 0);
    push(&q, 1, 0, 0);
    assert_int_equal(serve(&q, 1000), 1);
    for (int i = 0; i < 1000; i++) push(&q, 0, i, 0);
    for (int i = 0; i < 500; i++) assert_int_equal(serve(&q, 1000), 0);
    for (int i = 0; i < 100; i++) push(&q, 1, i, 0); /* after a long pause: equal from here on */
    for (int i = 0; i < 40; i++) first += serve(&q, 1000) == 1;
    assert_in_range(first, 19, 21);
    while (serve(&q, 1) >= 0) {
    }
    for (int i = 0; i < 3; i++) push(&q, 2, i, 0);
    push(&q, 3, 0, 0);
    push(&q, 3, 1, 0);
    int one = serve(&q, 100000), other = serve(&q, 10); /* one of them owes now, and comes last though it comes again */
    assert_int_not_equal(one, other);
    push(&q, one, 9, 0);
    assert_int_equal(serve(&q, 10), other);
    while (serve(&q, 10) >= 0) {
    }
    queue_deinit(&q);
}

static void at_once(void **state) {
    (void)state;
    struct queue q;
    struct thing *held[4];
    queue_init(&q, 100, 2);
    for (int i = 0; i < 5; i++) push(&q, 0, i, 0);
    held[0] = (struct thing *)queue_pop(&q);
    held[1] = (struct thing *)queue_pop(&q);
    assert_non_null(held[1]);
    assert_null(queue_pop(&q)); /* two of a tenant at once */
    push(&q, 1, 0, 0);
    held[2] = (struct thing *)queue_pop(&q);
    assert_int_equal(held[2]->tenant, 1);
    queue_done(&q, &held[0]->item, 100);
    held[3] = (struct thing *)queue_pop(&q);
    assert_int_equal(held[3]->number, 2);
    assert_null(queue_pop(&q));
    for (int i = 1; i < 4; i++) queue_done(&q, &held[i]->item, 100);
    for (int i = 0; i < 4; i++) free(held[i]);
    assert_int_equal(serve(&q, 1), 0);
    assert_int_equal(serve(&q, 1), 0);
    assert_int_equal(serve(&q, 1), -2);
    queue_deinit(&q);
}

static void shed(void **state) {
    (void)state;
    struct queue q;
    queue_init(&q, 10, 0);
    for (int i = 0; i < 9; i++) push(&q, 0, i, 0);
    push(&q, 1, 0, 0);
    struct thing *more = thing_new(0, 9), *little = thing_new(1, 1);
    assert_ptr_equal(queue_push(&q, key(0), &more->item, 0), &more->item); /* it is the longest itself */
    struct thing *gone = (struct thing *)queue_push(&q, key(1), &little->item, 0);
    assert_int_equal(gone->tenant, 0); /* room was made at the cost of the longest */
    assert_int_equal(gone->number, 8); /* its newest */
    assert_int_equal(q.n, 10);
    free(gone);
    free(more);
    /* In the end all have as much room as the others, and nobody more. */
    int n[5] = {0};
    for (int i = 0; i < 200; i++) {
        struct thing *t = thing_new(i % 5, i), *out = (struct thing *)queue_push(&q, key(i % 5), &t->item, 0);
        assert_true(out || q.n <= 10);
        free(out);
    }
    for (int t; (t = serve(&q, 1)) >= 0;) n[t]++;
    for (int i = 0; i < 5; i++) assert_in_range(n[i], 1, 3);
    queue_deinit(&q);
}

static void expired(void **state) {
    (void)state;
    struct queue q;
    queue_init(&q, 100, 0);
    for (int i = 0; i < 5; i++) push(&q, i % 2, i, 100 + (uint64_t)i * 10);
    assert_null(queue_expired(&q, 150, 50));
    for (int i = 0; i < 3; i++) { /* the oldest first, whoever's it is */
        struct thing *t = (struct thing *)queue_expired(&q, 171, 50);
        assert_int_equal(t->number, i);
        free(t);
    }
    assert_null(queue_expired(&q, 171, 50));
    assert_int_equal(q.n, 2);
    assert_null(queue_expired(&q, 10, 50)); /* a clock that went back */
    assert_true(serve(&q, 1) >= 0);
    assert_true(serve(&q, 1) >= 0);
    assert_int_equal(serve(&q, 1), -2);
    queue_deinit(&q);
}

static void served_at_once(void **state) {
    (void)state;
    struct queue q;
    queue_init(&q, 100, 0);
    assert_true(queue_is_first(&q, key(0)));
    for (int i = 0; i < 50; i++) push(&q, 0, i, 0);
    for (int i = 0; i < 10; i++) serve(&q, 1000);
    assert_false(queue_is_first(&q, key(0)));
    assert_true(queue_is_first(&q, key(1)));
    queue_charge(&q, key(1), 5000); /* it was served, and used so much */
    assert_false(queue_is_first(&q, key(1)));
    for (int i = 0; i < 7; i++) serve(&q, 1000);
    assert_true(queue_is_first(&q, key(1)));
    while (serve(&q, 1) >= 0) {
    }
    queue_deinit(&q);
}

/* Thousands of tenants, by chance: nothing gets lost, flows are forgotten, memory stays bounded. */
static void many(void **state) {
    (void)state;
    struct queue q;
    unsigned seed = 1;
    long in = 0, out = 0, lost = 0;
    queue_init(&q, 2000, 3);
    for (int i = 0; i < 200000; i++) {
        int tenant = rand_r(&seed) % (MANY + 1) - 1;
        if (rand_r(&seed) % 100 < 55) {
            struct thing *t = thing_new(tenant, i);
            in++;
            struct queue_item *s = queue_push(&q, key(tenant), &t->item, (uint64_t)i);
            lost += s != NULL;
            free(s);
        } else {
            out += serve(&q, (uint64_t)(rand_r(&seed) % 1000)) >= -1;
        }
        if (i % 1000 == 0)
            for (struct queue_item *old; (old = queue_expired(&q, (uint64_t)i, 5000)); lost++) free(old);
    }
    for (int tenant; (tenant = serve(&q, 3)) != -2;) out++;
    assert_int_equal(in, out + lost);
    assert_int_equal(q.n, 0);
    assert_in_range(q.n_buckets, 64, 4 * MANY);
    queue_deinit(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order), cmocka_unit_test(by_time), cmocka_unit_test(newcomer),
        cmocka_unit_test(no_savings), cmocka_unit_test(at_once), cmocka_unit_test(shed),
        cmocka_unit_test(expired),  cmocka_unit_test(served_at_once), cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
