/* The sandbox that serves one policy after another: whatever a hostile module did in it, the next policy finds what a new
 * sandbox holds, byte for byte; modules that could keep something elsewhere never get in. All of it twice: with the
 * kernel telling which pages were written, and without. */
#include "../isolation/signals.h"
#include "../isolation/wasm_builder.h"
#include "host/pages.h"
#include "host/pool.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

extern const char runtime_sha256[];

enum { SECRET_AT = 0x30000, SECRET_END = 0x38000, MANY = 600, ROUNDS = 12 };

struct world {
    struct trap_signals signals;
    struct engine *engine;
    struct instances *pool;
    struct policy *reader;
};

#define CODE(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static enum err load_thin(struct world *w, struct wasm_test_thin m, struct policy **out) {
    struct buf b;
    struct load_message message;
    trap_signals_use(&w->signals);
    buf_init(&b, 1 << 20);
    m.runtime = runtime_sha256;
    wasm_test_thin_module(&b, &m);
    assert_int_equal(b.err, OK);
    struct policy_source source = {.thin = buf_view(&b), .name = STR("thin")};
    enum err err = policy_load(w->engine, &source, out, &message);
    if (err) print_message("%s\n", message.text);
    buf_deinit(&b);
    return err;
}

static struct policy *thin(struct world *w, const uint8_t *code, size_t len) {
    struct policy *p = NULL;
    assert_int_equal(load_thin(w, (struct wasm_test_thin){.eval = code, .eval_len = len}, &p), OK);
    assert_true(policy_stats(p).thin);
    return p;
}

/* "true" when any byte of [SECRET_AT, SECRET_END) is set, else undefined. */
static struct policy *new_reader(struct world *w) {
    struct buf b;
    buf_init(&b, 256);
    buf_byte(&b, 0x41);
    wasm_sleb(&b, SECRET_AT);
    buf_put(&b, "\x21\0\x03\x40\x20\0\x2d\0\0\x04\x40\x42", 12);
    wasm_sleb(&b, (int64_t)4 << 32 | TEST_TEXT_AT);
    buf_put(&b, "\x0f\x0b\x20\0\x41\1\x6a\x22\0\x41", 10);
    wasm_sleb(&b, SECRET_END);
    buf_put(&b, "\x49\x0d\0\x0b\x42\0", 6);
    struct policy *p = thin(w, b.ptr, b.len);
    buf_deinit(&b);
    return p;
}

/* Leaves its input at SECRET_AT; "true" when something lay there before. */
static struct policy *new_keeper(struct world *w) {
    struct buf b;
    buf_init(&b, 256);
    buf_put(&b, "\x41", 1);
    wasm_sleb(&b, SECRET_AT);
    buf_put(&b, "\x28\x02\0\x41", 4); /* i32.load, kept below what follows */
    wasm_sleb(&b, SECRET_AT);
    buf_put(&b, "\x20\1\x20\2\xfc\x0a\0\0\x04\x7e\x42", 11);
    wasm_sleb(&b, (int64_t)4 << 32 | TEST_TEXT_AT);
    buf_put(&b, "\x05\x42\0\x0b", 4);
    struct policy *p = thin(w, b.ptr, b.len);
    buf_deinit(&b);
    return p;
}

static enum err eval(struct world *w, struct policy *p, struct eval_result *r) {
    trap_signals_use(&w->signals); /* cmocka has put its own in place since setup */
    struct eval_request q = {.policy = p, .input = STR("\"the secret of A\""), .limits = {.deadline_us = 200000}};
    return policy_eval(w->pool, &q, r);
}

static bool answers_true(const struct eval_result *r) { return r->defined && str_is(r->json, "true"); }

static int setup(void **state) {
    static struct world w;
    struct engine_options o = {.max_instances = 64};
    bool first = !w.engine; /* wasmtime takes the signals once a process */
    if (engine_new(&o, &w.engine) != OK) return 1;
    if (first) trap_signals_save(&w.signals);
    *state = &w;
    return 0;
}

static int setup_without_kernel(void **state) {
    if (setup(state)) return 1;
    struct world *w = *state;
    pages_close(w->engine->pagemap);
    w->engine->pagemap = -1;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    engine_free(w->engine);
    return 0;
}

static int test_setup(void **state) {
    struct world *w = *state;
    if (instances_new(w->engine, 0, &w->pool) != OK) return 1;
    w->reader = new_reader(w);
    return 0;
}

static int test_teardown(void **state) {
    struct world *w = *state;
    policy_release(w->reader);
    instances_free(w->pool);
    return 0;
}

static bool is_shared(struct world *w, struct policy *p) {
    return w->pool->shared && shared_policy(w->pool->shared) == p;
}

/* Memory and stack pointer of the shared sandbox with `p` in it are those of one that was never used. */
static void expect_like_new(struct world *w, struct policy *p) {
    struct shared *fresh = NULL;
    struct instance *used = NULL, *unused = NULL;
    char text[256] = "";
    assert_int_equal(shared_bind(w->pool->shared, p, &used, text, sizeof text), OK);
    assert_int_equal(shared_new(w->engine, &fresh, text, sizeof text), OK);
    assert_int_equal(shared_bind(fresh, p, &unused, text, sizeof text), OK);
    assert_int_equal(instance_memory(used).len, SHARED_BYTES);
    assert_int_equal(instance_memory(unused).len, SHARED_BYTES);
    assert_memory_equal(instance_bytes(used), instance_bytes(unused), SHARED_BYTES);
    assert_int_equal(shared_stack(w->pool->shared), shared_stack(fresh));
    shared_free(fresh);
}

/* ---- what may be left behind ---- */

static void kernel_is_asked(void **state) {
    struct world *w = *state;
    if (w->engine->pagemap < 0) print_message("the kernel does not tell which pages were written\n");
    struct policy *keeper = new_keeper(w);
    struct eval_result r;
    assert_int_equal(eval(w, keeper, &r), OK);
    assert_true(is_shared(w, keeper));
    assert_int_equal(eval(w, w->reader, &r), OK);
    assert_true(is_shared(w, w->reader));
    policy_release(keeper);
}

static void secrets_do_not_stay(void **state) {
    struct world *w = *state;
    struct policy *keeper = new_keeper(w);
    struct eval_result r;
    assert_int_equal(eval(w, keeper, &r), OK);
    assert_false(answers_true(&r));
    assert_int_equal(eval(w, keeper, &r), OK); /* its own it finds: the test can tell */
    assert_true(answers_true(&r));
    assert_int_equal(eval(w, w->reader, &r), OK);
    assert_true(is_shared(w, w->reader));
    assert_false(r.defined);
    assert_int_equal(eval(w, keeper, &r), OK); /* nor do they come back */
    assert_false(answers_true(&r));
    expect_like_new(w, w->reader);
    policy_release(keeper);
}

/* memory.fill over everything: stack, the runtime's tables, header, slots, image, heap. */
static void all_of_memory_overwritten(void **state) {
    struct world *w = *state;
    struct policy *p = thin(w, CODE(0x41, 0, 0x41, 0xaa, 1, 0x3f, 0, 0x41, 16, 0x74, 0xfc, 0x0b, 0, 0x42, 0));
    struct eval_result r;
    assert_int_equal(eval(w, p, &r), OK);
    assert_true(is_shared(w, p));
    assert_int_equal(instance_bytes(w->pool->shared ? shared_instance(w->pool->shared) : NULL)[SHARED_BYTES - 1], 0xaa);
    expect_like_new(w, w->reader);
    assert_int_equal(eval(w, w->reader, &r), OK);
    assert_false(r.defined);
    policy_release(p);
}

/* One byte in each of many pages, so that written and untouched pages alternate more often than one question to the kernel
 * has room for. */
static void scattered_writes(void **state) {
    struct world *w = *state;
    struct buf b;
    buf_init(&b, 256);
    buf_put(&b, "\x41", 1);
    wasm_sleb(&b, 100);
    buf_put(&b, "\x21\0\x03\x40\x20\0\x41\x2a\x3a\0\0\x20\0\x41", 14);
    wasm_sleb(&b, 2 * 4096);
    buf_put(&b, "\x6a\x22\0\x41", 4);
    wasm_sleb(&b, SHARED_BYTES);
    buf_put(&b, "\x49\x0d\0\x0b\x42\0", 6);
    struct policy *p = thin(w, b.ptr, b.len);
    struct eval_result r;
    assert_int_equal(eval(w, p, &r), OK);
    assert_true(is_shared(w, p));
    expect_like_new(w, w->reader);
    policy_release(p);
    buf_deinit(&b);
}

/* Each way to fail, then somebody else. */
static void failures_leave_nothing(void **state) {
    struct world *w = *state;
    struct {
        const uint8_t *code;
        size_t len;
        enum err err;
    } cases[] = {
        {CODE(0x41, 0, 0x41, 0x55, 0x41, 0x80, 0x80, 0x20, 0xfc, 0x0b, 0, 0), ERR_TRAP}, /* fill, unreachable */
        {CODE(0x03, 0x40, 0x0c, 0, 0x0b, 0), ERR_DEADLINE},
        {CODE(0x20, 0, 0x20, 1, 0x20, 2, 0x10, TEST_THIN_EVAL), ERR_STACK},
        {CODE(0x41, 0x7f, 0x29, 0, 0), ERR_TRAP},
        {CODE(0x42, 0x77, 0x42, 1, 0x10, TEST_THIN_GET, 0x1a, 0), ERR_TRAP},
        {CODE(0x41, 0, 0x41, 0x7f, 0x10, TEST_THIN_BEGIN, 0), ERR_TRAP},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy *p = thin(w, cases[i].code, cases[i].len);
        struct eval_result r;
        for (int k = 0; k < 2; k++) {
            enum err e = eval(w, p, &r);
            if (cases[i].err != ERR_TRAP) assert_int_equal(e, cases[i].err);
            assert_int_not_equal(e, OK);
            assert_true(is_shared(w, p));
        }
        expect_like_new(w, p); /* of itself neither */
        assert_int_not_equal(eval(w, p, &r), OK);
        expect_like_new(w, w->reader);
        policy_release(p);
    }
}

/* The runtime is stopped in the middle of a function, with its stack pointer moved. */
static void stack_pointer_comes_back(void **state) {
    struct world *w = *state;
    struct policy *p = thin(w, CODE(0x20, 1, 0x20, 2, 0x10, TEST_THIN_BEGIN, 0x42, 0));
    struct eval_request q = {.policy = p, .input = STR("[[[[1e"), .limits = {.deadline_us = 200000}};
    struct eval_result r;
    assert_int_equal(eval(w, w->reader, &r), OK);
    int32_t top = shared_stack(w->pool->shared);
    assert_int_equal(policy_eval(w->pool, &q, &r), ERR_INPUT);
    assert_int_not_equal(shared_stack(w->pool->shared), top); /* else nothing would be tested here */
    expect_like_new(w, w->reader);
    assert_int_equal(shared_stack(w->pool->shared), top);
    policy_release(p);
}

/* ---- who may not come in ---- */

static void expect_own(struct world *w, struct wasm_test_thin m, const char *what) {
    static const uint8_t undefined[] = {0x42, 0};
    struct policy *p = NULL;
    struct eval_result r;
    if (!m.eval) m.eval = undefined, m.eval_len = sizeof undefined;
    assert_int_equal(load_thin(w, m, &p), OK);
    assert_int_equal(eval(w, p, &r), OK);
    if (is_shared(w, p)) fail_msg("%s: in the shared sandbox", what);
    policy_release(p);
}

static void state_of_its_own_keeps_out(void **state) {
    struct world *w = *state;
    expect_own(w, (struct wasm_test_thin){.extra_section = 6, .extra = "\1\x7f\1\x41\0\x0b", .extra_len = 6}, "mutable global");
    expect_own(w, (struct wasm_test_thin){.extra_section = 6, .extra = "\1\x7f\0\x41\0\x0b", .extra_len = 6}, "global");
    expect_own(w, (struct wasm_test_thin){.extra_section = 4, .extra = "\1\x70\0\4", .extra_len = 4}, "table");
    expect_own(w, (struct wasm_test_thin){.extra_section = 9, .extra = "\1\1\0\1\2", .extra_len = 5}, "elements");
    expect_own(w, (struct wasm_test_thin){.second_export = true,
                                          .eval = (const uint8_t[]){0x42, 0}, .eval_len = 2}, "another export");
    struct policy *p = NULL;
    static const uint8_t undefined[] = {0x42, 0};
    struct wasm_test_thin second_memory = {
        .extra_section = 5, .extra = "\1\0\1", .extra_len = 3, .eval = undefined, .eval_len = sizeof undefined};
    assert_int_not_equal(load_thin(w, second_memory, &p), OK);
}

static void other_forms_have_their_own(void **state) {
    struct world *w = *state;
    struct buf b;
    struct policy *p = NULL;
    struct eval_result r;
    struct wasm_test_module m = {0};
    buf_init(&b, 1 << 20);
    wasm_test_module(&b, &m);
    struct policy_source source = {.full = buf_view(&b), .name = STR("full")};
    assert_int_equal(policy_load(w->engine, &source, &p, NULL), OK);
    assert_int_equal(eval(w, p, &r), OK);
    assert_null(w->pool->shared);
    policy_release(p);
    buf_deinit(&b);
}

static void smaller_limits_have_their_own(void **state) {
    struct world *w = *state;
    struct eval_result r;
    struct eval_request q = {.policy = w->reader, .input = STR("1"), .limits = {.memory_bytes = SHARED_BYTES / 2}};
    assert_int_equal(policy_eval(w->pool, &q, &r), OK);
    assert_null(w->pool->shared);
    assert_int_equal(w->pool->n_live, 1);
}

static void fresh_is_new(void **state) {
    struct world *w = *state;
    struct policy *keeper = new_keeper(w);
    struct eval_result r;
    struct eval_request q = {.policy = keeper, .input = STR("\"x\""), .fresh_instance = true};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(policy_eval(w->pool, &q, &r), OK);
        assert_false(answers_true(&r));
        assert_null(w->pool->shared);
        assert_int_equal(w->pool->n_live, 0);
    }
    policy_release(keeper);
}

/* ---- room ---- */

/* Grows by 2 MiB, or stops: in the shared sandbox it cannot, so that it is asked again in one of its own. */
static void who_grows_moves_out(void **state) {
    struct world *w = *state;
    struct policy *p = thin(w, CODE(0x41, 32, 0x40, 0, 0x41, 0x7f, 0x46, 0x04, 0x40, 0, 0x0b, 0x42, 0));
    struct eval_result r;
    assert_int_equal(eval(w, w->reader, &r), OK);
    struct shared *before = w->pool->shared;
    assert_int_equal(eval(w, p, &r), OK);
    assert_ptr_equal(w->pool->shared, before);
    assert_int_equal(w->pool->n_live, 1);
    expect_like_new(w, w->reader);
    struct eval_request q = {.policy = p, .input = STR("1"), .limits = {.memory_bytes = 1 << 20}};
    assert_int_equal(policy_eval(w->pool, &q, &r), ERR_GUEST_MEMORY); /* the limit is the limit */
    policy_release(p);
}

static void large_input_has_room(void **state) {
    struct world *w = *state;
    struct eval_result r;
    char *input = malloc(3 << 20);
    memset(input, ' ', 3 << 20);
    input[0] = '1';
    for (size_t len = 100; len < 3 << 20; len *= 3) {
        struct eval_request q = {.policy = w->reader, .input = {input, len}};
        assert_int_equal(policy_eval(w->pool, &q, &r), OK);
        assert_int_equal(r.defined, len > SECRET_AT - TEST_IMAGE_END); /* its own input */
        assert_int_equal(w->pool->n_live, len > 200000); /* then it gets an instance that has */
    }
    free(input);
}

/* Of three that take turns two get instances of their own, and the third has the shared one to itself; many equal ones
 * share it, within the budget. */
static void the_busy_get_their_own(void **state) {
    struct world *w = *state;
    struct policy *three[3] = {w->reader, new_reader(w), new_reader(w)};
    struct eval_result r;
    for (int i = 0; i < 100; i++) assert_int_equal(eval(w, three[i % 3], &r), OK);
    assert_int_equal(w->pool->n_live, 2);
    policy_release(three[1]);
    policy_release(three[2]);
    struct policy *many[MANY];
    uint64_t budget = w->pool->max_bytes = 1 << 20;
    for (int i = 0; i < MANY; i++) many[i] = new_reader(w);
    for (int k = 0; k < ROUNDS; k++)
        for (int i = 0; i < MANY; i++) assert_int_equal(eval(w, many[i], &r), OK);
    assert_true(w->pool->live_bytes <= budget);
    assert_true(w->pool->n_live > 2);
    for (int i = 0; i < MANY; i++) policy_release(many[i]);
    assert_int_equal(eval(w, w->reader, &r), OK);
}

/* Code that no policy has any more goes in time. */
static void old_links_go(void **state) {
    struct world *w = *state;
    struct shared *first = NULL;
    struct eval_result r;
    bool replaced = false;
    for (int i = 0; i < MANY; i++) {
        struct buf b;
        buf_init(&b, 64);
        buf_byte(&b, 0x41);
        wasm_sleb(&b, i);
        buf_put(&b, "\x1a\x42\0", 3);
        struct policy *p = thin(w, b.ptr, b.len);
        assert_int_equal(eval(w, p, &r), OK);
        if (!first) first = w->pool->shared;
        replaced |= w->pool->shared != first;
        policy_release(p);
        buf_deinit(&b);
    }
    assert_true(replaced);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_setup, test_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(kernel_is_asked),
        TEST(secrets_do_not_stay),
        TEST(all_of_memory_overwritten),
        TEST(scattered_writes),
        TEST(failures_leave_nothing),
        TEST(stack_pointer_comes_back),
        TEST(state_of_its_own_keeps_out),
        TEST(other_forms_have_their_own),
        TEST(smaller_limits_have_their_own),
        TEST(fresh_is_new),
        TEST(who_grows_moves_out),
        TEST(large_input_has_room),
        TEST(the_busy_get_their_own),
        TEST(old_links_go),
    };
    int failed = cmocka_run_group_tests_name("kernel tells", tests, setup, teardown);
    return failed + cmocka_run_group_tests_name("kernel is not asked", tests, setup_without_kernel, teardown);
}
