/* The tenant table: find, replace, remove, many; readers on other threads evaluate while versions
 * change under them, and every version is released (AddressSanitizer sees what is not). */
#include "edge/tenants.h"
#include "../isolation/wasm_builder.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { READERS = 3, SWAPS = 200, MANY = 500 };

static struct engine *engine;

static struct policy *policy_new(void) {
    struct buf code, module;
    struct policy *p = NULL;
    buf_init(&code, 64);
    buf_init(&module, 1 << 20);
    buf_byte(&code, 0x42); /* i64.const TEST_TEXT_AT | 4 << 32: "true" */
    wasm_sleb(&code, (int64_t)4 << 32 | TEST_TEXT_AT);
    const struct wasm_test_module m = {.eval = code.ptr, .eval_len = code.len};
    wasm_test_module(&module, &m);
    struct policy_source source = {.full = buf_view(&module), .name = STR("test")};
    assert_int_equal(policy_load(engine, &source, &p, NULL), OK);
    buf_deinit(&code);
    buf_deinit(&module);
    return p;
}

static void unknown(void **state) {
    (void)state;
    struct tenants *t;
    assert_int_equal(tenants_new(&t), OK);
    assert_null(tenants_find(t, STR("a")));
    assert_null(tenants_find(t, (struct str){NULL, 0}));
    assert_null(tenants_at(t, 0));
    assert_int_equal(tenants_set(t, STR("a"), NULL), OK); /* removing what is not there */
    assert_null(tenants_record(t, STR("")));
    char id[TENANT_ID_BYTES];
    memset(id, 'x', sizeof id);
    assert_null(tenants_record(t, (struct str){id, sizeof id}));
    assert_non_null(tenants_record(t, (struct str){id, sizeof id - 1}));
    assert_ptr_equal(tenants_record(t, STR("a")), tenants_record(t, STR("a")));
    tenants_free(t);
}

static void set_and_remove(void **state) {
    (void)state;
    struct tenants *t;
    struct policy *first = policy_new(), *second = policy_new();
    assert_int_equal(tenants_new(&t), OK);
    assert_int_equal(tenants_set(t, STR("a"), first), OK);
    assert_ptr_equal(tenants_find(t, STR("a"))->policy, first);
    assert_null(tenants_find(t, STR("ab")));
    struct tenant *record = tenants_find(t, STR("a"))->tenant;
    assert_int_equal(tenants_set(t, STR("a"), second), OK);
    assert_ptr_equal(tenants_find(t, STR("a"))->policy, second);
    assert_ptr_equal(tenants_find(t, STR("a"))->tenant, record); /* counters outlive versions */
    assert_int_equal(tenants_set(t, STR("a"), NULL), OK);
    assert_null(tenants_find(t, STR("a")));
    assert_null(tenants_at(t, 0));
    tenants_reclaim(t);
    tenants_free(t);
}

static void many(void **state) {
    (void)state;
    struct tenants *t;
    struct policy *p = policy_new();
    char id[16];
    assert_int_equal(tenants_new(&t), OK);
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "tenant-%d", i);
        assert_int_equal(tenants_set(t, str_of(id), policy_acquire(p)), OK);
    }
    for (int i = 0; i < MANY; i += 2) {
        snprintf(id, sizeof id, "tenant-%d", i);
        assert_int_equal(tenants_set(t, str_of(id), NULL), OK);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "tenant-%d", i);
        const struct tenant_entry *e = tenants_find(t, str_of(id));
        assert_int_equal(e != NULL, i % 2);
        if (e) assert_string_equal(e->tenant->id, id);
    }
    assert_non_null(tenants_at(t, MANY / 2 - 1));
    assert_null(tenants_at(t, MANY / 2));
    policy_release(p);
    tenants_free(t);
}

struct readers {
    struct tenants *tenants;
    atomic_uint next, answers, wrong;
    atomic_bool stop;
};

static void *read_on(void *arg) {
    struct readers *r = arg;
    unsigned me = atomic_fetch_add(&r->next, 1);
    struct instances *pool = NULL;
    if (instances_new(engine, 4, &pool)) return NULL;
    tenants_online(r->tenants, me);
    while (!atomic_load(&r->stop)) {
        const struct tenant_entry *e = tenants_find(r->tenants, STR("a"));
        struct eval_request q = {.policy = e ? e->policy : NULL, .input = STR("{}")};
        struct eval_result result;
        bool right = e && policy_eval(pool, &q, &result) == OK && str_is(result.json, "true");
        atomic_fetch_add(right ? &r->answers : &r->wrong, 1);
        tenants_quiescent(r->tenants, me);
    }
    tenants_offline(r->tenants, me);
    instances_free(pool);
    return NULL;
}

static void swap_under_readers(void **state) {
    (void)state;
    struct readers r = {.next = 0};
    pthread_t threads[READERS];
    assert_int_equal(tenants_new(&r.tenants), OK);
    assert_int_equal(tenants_set(r.tenants, STR("a"), policy_new()), OK);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &r), 0);
    for (int i = 0; i < SWAPS; i++) {
        assert_int_equal(tenants_set(r.tenants, STR("a"), policy_new()), OK);
        tenants_reclaim(r.tenants);
        nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < READERS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&r.wrong), 0);
    assert_true(atomic_load(&r.answers) > 0);
    tenants_free(r.tenants);
}

static int setup(void **state) {
    (void)state;
    struct engine_options options = {0};
    return engine_new(&options, &engine);
}
static int teardown(void **state) {
    (void)state;
    engine_free(engine);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(unknown), cmocka_unit_test(set_and_remove),
                                       cmocka_unit_test(many),
                                       cmocka_unit_test(swap_under_readers)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
