/* The tenant table: find, replace, remove, many, lists, limits, reports; readers on other threads evaluate while versions
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

static enum err set(struct tenants *t, const char *id, struct policy *p) {
    return tenants_set(t, str_of(id), &(struct tenant_version){.policy = p});
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
    assert_null(tenants_record(t, STR("a\0b")));
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
    assert_int_equal(set(t, "a", first), OK);
    assert_ptr_equal(tenants_find(t, STR("a"))->policy, first);
    assert_null(tenants_find(t, STR("ab")));
    struct tenant *record = tenants_find(t, STR("a"))->tenant;
    assert_int_equal(set(t, "a", second), OK);
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
        assert_int_equal(set(t, id, policy_acquire(p)), OK);
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

/* Counting up by tenants_at: everybody once, in the order of coming, over removals and growth. */
static void listed(void **state) {
    (void)state;
    struct tenants *t;
    struct policy *p = policy_new();
    char id[16];
    bool met[MANY] = {false};
    uint32_t n = 0;
    const struct tenant_entry *e;
    assert_int_equal(tenants_new(&t), OK);
    tenants_online(t, 0); /* nothing that is replaced may go */
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(set(t, id, policy_acquire(p)), OK);
        if (i % 3 == 0) assert_int_equal(set(t, id, policy_acquire(p)), OK);
        if (i % 5 == 0) assert_int_equal(tenants_set(t, str_of(id), NULL), OK);
    }
    for (; (e = tenants_at(t, n)); n++) {
        int i = atoi(e->tenant->id);
        assert_false(met[i]);
        met[i] = true;
    }
    assert_int_equal(n, MANY - MANY / 5);
    assert_string_equal(tenants_at(t, 0)->tenant->id, "1");
    tenants_offline(t, 0);
    tenants_reclaim(t);
    policy_release(p);
    tenants_free(t);
}

/* What a reader got stays as it was until the reader is quiescent. */
static void kept_for_readers(void **state) {
    (void)state;
    struct tenants *t;
    assert_int_equal(tenants_new(&t), OK);
    assert_int_equal(set(t, "a", policy_new()), OK);
    tenants_online(t, 7);
    const struct tenant_entry *e = tenants_find(t, STR("a"));
    struct policy *p = e->policy;
    assert_int_equal(set(t, "a", policy_new()), OK);
    assert_int_equal(tenants_set(t, STR("a"), NULL), OK);
    tenants_reclaim(t);
    assert_ptr_equal(e->policy, p);
    assert_int_equal(policy_entrypoint_count(p), 1);
    assert_null(tenants_find(t, STR("a")));
    tenants_quiescent(t, 7);
    tenants_reclaim(t);
    tenants_free(t);
}

static struct tenant_limits halved(const void *ctx, struct str id, struct tenant_limits own) {
    own.input_bytes = id.len;
    own.deadline_us = own.deadline_us ? own.deadline_us / *(const uint64_t *)ctx : 7;
    return own;
}

static void limits_and_revision(void **state) {
    (void)state;
    struct tenants *t;
    uint64_t two = 2, four = 4;
    struct tenant_version v = {.revision = STR("r1"), .own = {.deadline_us = 100}};
    assert_int_equal(tenants_new(&t), OK);
    assert_int_equal(tenants_set(t, STR("abc"), &v), OK); /* without a policy */
    const struct tenant_entry *e = tenants_find(t, STR("abc"));
    assert_null(e->policy);
    assert_int_equal(e->limits.deadline_us, 100); /* without a source: the bundle's own */
    tenants_resolve(t, (struct limits_source){&two, halved});
    e = tenants_find(t, STR("abc"));
    assert_int_equal(e->limits.deadline_us, 50);
    assert_int_equal(e->limits.input_bytes, 3);
    assert_int_equal(e->own.deadline_us, 100);
    assert_true(str_is(e->revision, "r1"));
    v = (struct tenant_version){.policy = policy_new()};
    assert_int_equal(tenants_set(t, STR("abc"), &v), OK); /* asked at each change too */
    e = tenants_find(t, STR("abc"));
    assert_int_equal(e->limits.deadline_us, 7);
    assert_int_equal(e->revision.len, 0);
    tenants_resolve(t, (struct limits_source){&four, halved});
    assert_ptr_equal(tenants_find(t, STR("abc"))->policy, v.policy);
    tenants_reclaim(t);
    assert_int_equal(policy_entrypoint_count(tenants_find(t, STR("abc"))->policy), 1);
    tenants_free(t);
}

static void reports(void **state) {
    (void)state;
    struct tenants *t;
    struct load_report r = {.requested_ns = 5, .err = ERR_ABI, .message = "why"}, got;
    assert_int_equal(tenants_new(&t), OK);
    struct tenant *a = tenants_record(t, STR("a")), *b = tenants_record(t, STR("b"));
    assert_ptr_not_equal(a, b);
    tenants_report(t, a, &r);
    tenants_reported(t, a, &got);
    assert_int_equal(got.err, ERR_ABI);
    assert_string_equal(got.message, "why");
    tenants_reported(t, b, &got);
    assert_int_equal(got.requested_ns, 0);
    assert_null(tenants_find(t, STR("a"))); /* a record is no version */
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
    assert_int_equal(set(r.tenants, "a", policy_new()), OK);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &r), 0);
    for (int i = 0; i < SWAPS; i++) {
        assert_int_equal(set(r.tenants, "a", policy_new()), OK);
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
                                       cmocka_unit_test(listed),
                                       cmocka_unit_test(kept_for_readers),
                                       cmocka_unit_test(limits_and_revision),
                                       cmocka_unit_test(reports),
                                       cmocka_unit_test(swap_under_readers)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
