/* Hostile modules: each ends with a named error inside its deadline, while a neighbour on the same
 * and one on another thread keep answering right. */
#include "../isolation/signals.h"
#include "../isolation/wasm_builder.h"
#include "host/host.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

enum { DEADLINE_US = 30000, LATE_NS = 500000000 };

struct world {
    struct trap_signals signals;
    struct engine *engine;
    struct instances *pool;
    struct policy *good;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint answers, wrong;
};

static enum err load(struct engine *e, const struct wasm_test_module *m, struct policy **out,
                     struct load_message *message) {
    struct buf b;
    buf_init(&b, 1 << 20);
    wasm_test_module(&b, m);
    assert_int_equal(b.err, OK);
    struct policy_source source = {.full = buf_view(&b), .name = STR("test")};
    enum err err = policy_load(e, &source, out, message);
    buf_deinit(&b);
    return err;
}

static void good_body(struct buf *b) {
    buf_byte(b, 0x42); /* i64.const TEST_TEXT_AT | 4 << 32 */
    wasm_sleb(b, (int64_t)4 << 32 | TEST_TEXT_AT);
}

static bool answers_true(struct instances *pool, struct policy *p) {
    struct eval_request q = {.policy = p, .input = STR("{}")};
    struct eval_result r;
    return policy_eval(pool, &q, &r) == OK && r.defined && str_is(r.json, "true");
}

static void *neighbour(void *arg) {
    struct world *w = arg;
    struct instances *pool = NULL;
    if (instances_new(w->engine, 4, &pool) != OK) return NULL;
    while (!atomic_load(&w->stop)) {
        atomic_fetch_add(answers_true(pool, w->good) ? &w->answers : &w->wrong, 1);
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    instances_free(pool);
    return NULL;
}

static int setup(void **state) {
    static struct world w;
    struct buf b;
    struct load_message message = {{0}};
    buf_init(&b, 64);
    good_body(&b);
    struct wasm_test_module m = {.eval = b.ptr, .eval_len = b.len};
    struct engine_options o = {.max_instances = 64};
    if (engine_new(&o, &w.engine) != OK) return 1;
    trap_signals_save(&w.signals);
    if (instances_new(w.engine, 8, &w.pool) != OK) return 1;
    enum err err = load(w.engine, &m, &w.good, &message);
    buf_deinit(&b);
    if (err) print_error("%s\n", message.text);
    *state = &w;
    return err || pthread_create(&w.thread, NULL, neighbour, &w);
}

static int teardown(void **state) {
    struct world *w = *state;
    atomic_store(&w->stop, true);
    pthread_join(w->thread, NULL);
    bool bad = atomic_load(&w->wrong) > 0 || atomic_load(&w->answers) == 0;
    instances_free(w->pool);
    policy_release(w->good);
    engine_free(w->engine);
    return bad;
}

/* Evaluates a hostile module twice; both end as `expected` in time, and the neighbour answers in
 * between. */
static void expect_eval_limits(void **state, struct wasm_test_module m, enum err expected,
                               const char *message_part, struct limits limits) {
    struct world *w = *state;
    trap_signals_use(&w->signals);
    struct policy *p = NULL;
    struct load_message message = {{0}};
    struct eval_result r;
    enum err err = load(w->engine, &m, &p, &message);
    if (err) print_error("%s\n", message.text);
    assert_int_equal(err, OK);
    for (int i = 0; i < 3; i++) {
        struct eval_request q = {
            .policy = p, .input = STR("{}"), .limits = limits, .fresh_instance = i == 2};
        err = policy_eval(w->pool, &q, &r);
        if (err != expected) print_error("%s: %s\n", err_word(err), r.message);
        assert_int_equal(err, expected);
        assert_false(r.defined);
        assert_null(r.json.ptr);
        assert_true(r.eval_ns < LATE_NS);
        assert_non_null(strstr(r.message, message_part));
        assert_true(answers_true(w->pool, w->good));
    }
    policy_release(p);
}

static void expect_eval(void **state, struct wasm_test_module m, enum err expected,
                        const char *message_part) {
    struct limits limits = {.deadline_us = DEADLINE_US, .memory_bytes = 16 << 20};
    expect_eval_limits(state, m, expected, message_part, limits);
}

static void expect_load(void **state, struct wasm_test_module m, enum err expected,
                        const char *message_part) {
    struct world *w = *state;
    trap_signals_use(&w->signals);
    struct policy *p = NULL;
    struct load_message message = {{0}};
    enum err err = load(w->engine, &m, &p, &message);
    if (err != expected || !strstr(message.text, message_part))
        print_error("%s: %s\n", err_word(err), message.text);
    assert_int_equal(err, expected);
    assert_null(p);
    assert_non_null(strstr(message.text, message_part));
    assert_true(answers_true(w->pool, w->good));
}

#define EVAL(...)                                                                                  \
    { .eval = (const uint8_t[]){__VA_ARGS__}, .eval_len = sizeof((const uint8_t[]){__VA_ARGS__}) }

static void spins(void **state) {
    struct wasm_test_module m = EVAL(0x03, 0x40, 0x0c, 0, 0x0b, 0);
    expect_eval(state, m, ERR_DEADLINE, "deadline");
}

/* The epoch does not tick while nothing runs; what comes then is stopped all the same, and so is what goes on alone. */
static void spins_after_a_rest(void **state) {
    struct wasm_test_module m = EVAL(0x03, 0x40, 0x0c, 0, 0x0b, 0);
    for (int i = 0; i < 3; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 450000000}, NULL);
        expect_eval(state, m, ERR_DEADLINE, "deadline");
    }
}

/* loop: grow 16 pages; again while that works; unreachable */
static void grows_memory(void **state) {
    struct wasm_test_module m =
        EVAL(0x03, 0x40, 0x41, 16, 0x40, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b, 0);
    expect_eval(state, m, ERR_GUEST_MEMORY, "memory limit");
}

/* Asks for 65,000 pages at once and gives up. */
static void allocates_hugely(void **state) {
    struct wasm_test_module m =
        EVAL(0x41, 0xe8, 0xfb, 3, 0x40, 0, 0x41, 0x7f, 0x47, 0x04, 0x40, 0x0b, 0);
    expect_eval(state, m, ERR_TRAP, "unreachable");
}

static void declares_a_large_memory(void **state) {
    struct wasm_test_module m = {.memory_pages = 2000};
    expect_eval(state, m, ERR_GUEST_MEMORY, "memory");
    struct wasm_test_module all = {.memory_pages = 65536};
    expect_load(state, all, ERR_INVALID, "guest_memory");
}

static void recurses(void **state) {
    struct wasm_test_module m = EVAL(0x20, 0, 0x20, 1, 0x20, 2, 0x10, 2);
    expect_eval(state, m, ERR_STACK, "stack");
}

static void traps_at_once(void **state) {
    struct wasm_test_module m = EVAL(0);
    expect_eval(state, m, ERR_TRAP, "unreachable");
}

static void divides_by_zero(void **state) {
    struct wasm_test_module m = EVAL(0x42, 1, 0x42, 0, 0x80);
    expect_eval(state, m, ERR_TRAP, "divide by zero");
}

static void reads_outside_memory(void **state) {
    struct wasm_test_module m = EVAL(0x41, 0x7f, 0x29, 0, 0);
    expect_eval(state, m, ERR_TRAP, "memory fault");
}

/* Results at addresses and of lengths that are not in memory. */
static void returns_wild_pointers(void **state) {
    static const int64_t words[] = {-1,
                                    (int64_t)0xfffffff0,
                                    (int64_t)1 << 40 | 0x7fffff00,
                                    (int64_t)1 << 32 | 0xffffffff,
                                    (int64_t)0x7fffffff << 32 | TEST_TEXT_AT,
                                    (int64_t)(0xffffffffu - TEST_TEXT_AT) << 32 |
                                        (TEST_TEXT_AT + 2)};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct buf b;
        buf_init(&b, 64);
        buf_byte(&b, 0x42);
        wasm_sleb(&b, words[i]);
        struct wasm_test_module m = {.eval = b.ptr, .eval_len = b.len};
        expect_eval(state, m, ERR_TRAP, "outside its memory");
        buf_deinit(&b);
    }
}

static void aborts(void **state) {
    struct buf b;
    buf_init(&b, 64);
    buf_byte(&b, 0x41);
    wasm_sleb(&b, TEST_ABORT_AT);
    buf_put(&b, "\x10\0\0", 3);
    struct wasm_test_module named = {.eval = b.ptr, .eval_len = b.len};
    expect_eval(state, named, ERR_CONFLICT, "eval_conflict_error: t.rego:1:1: two");
    buf_deinit(&b);
    struct wasm_test_module wild = EVAL(0x41, 0x7f, 0x10, 0, 0);
    expect_eval(state, wild, ERR_TRAP, "outside its memory");
}

/* opa_builtin0(7, 0) without such a builtin in its list. */
static void calls_an_unlisted_builtin(void **state) {
    struct wasm_test_module m = EVAL(0x41, 7, 0x41, 0, 0x10, 1, 0xad);
    expect_eval(state, m, ERR_TRAP, "does not list");
}

/* opa_builtin0 when opa_malloc gives address 0 and then nothing sensible: no host memory is
 * touched. */
static void calls_a_builtin_with_a_mad_allocator(void **state) {
    struct world *w = *state;
    struct wasm_test_module m = EVAL(0x41, 1, 0x41, 0, 0x10, 1, 0x1a, 0);
    m.builtins = "{\"time.now_ns\":1}";
    expect_eval(state, m, ERR_TRAP, "unreachable");
    assert_true(answers_true(w->pool, w->good));
}

static void result_over_its_limit(void **state) {
    struct limits limits = {.deadline_us = DEADLINE_US, .result_bytes = 3};
    struct buf b;
    buf_init(&b, 64);
    good_body(&b);
    struct wasm_test_module m = {.eval = b.ptr, .eval_len = b.len};
    expect_eval_limits(state, m, ERR_LIMIT, "result", limits);
    buf_deinit(&b);
}

static void input_over_its_limit(void **state) {
    struct limits limits = {.deadline_us = DEADLINE_US, .input_bytes = 1};
    struct wasm_test_module m = EVAL(0x42, 0);
    expect_eval_limits(state, m, ERR_LIMIT, "input", limits);
}

static void imports_what_it_may_not(void **state) {
    struct wasm_test_module m = {.import_module = "env", .import_name = "system"};
    expect_load(state, m, ERR_ABI, "env.system");
    m.import_module = "wasi_snapshot_preview1", m.import_name = "fd_write";
    expect_load(state, m, ERR_ABI, "wasi_snapshot_preview1.fd_write");
    m.import_module = "regent", m.import_name = "rt_get";
    expect_load(state, m, ERR_ABI, "regent.rt_get");
    m.import_module = "env", m.import_name = "opa_println"; /* of another type */
    expect_load(state, m, ERR_ABI, "types incompatible");
}

static void spins_at_start(void **state) {
    struct wasm_test_module m = {.spin_at_start = true};
    expect_load(state, m, ERR_INVALID, "deadline");
}

static void breaks_the_abi(void **state) {
    struct wasm_test_module m = {.wrong_eval_type = true};
    expect_load(state, m, ERR_ABI, "exports");
    struct wasm_test_module passive = {.passive_data = true};
    expect_load(state, passive, ERR_ABI, "data segment");
    struct wasm_test_module magic = {.magic = 7};
    expect_load(state, magic, ERR_ABI, "header");
    struct wasm_test_module end = {.image_end = 0xfffffff8};
    expect_load(state, end, ERR_ABI, "header");
    struct wasm_test_module builtin = {.builtins = "{\"no.such\":0}"};
    expect_load(state, builtin, ERR_ABI, "no.such");
    struct wasm_test_module ids = {.builtins = "{\"a\":-1}"};
    expect_load(state, ids, ERR_ABI, "builtins");
}

/* Every prefix of a good module, and every byte of it flipped: an error or a policy, never a crash.
 */
static void truncated_and_flipped(void **state) {
    struct world *w = *state;
    trap_signals_use(&w->signals);
    struct buf b;
    struct wasm_test_module m = EVAL(0x42, 0);
    buf_init(&b, 1 << 20);
    wasm_test_module(&b, &m);
    for (size_t i = 0; i < b.len; i++) {
        struct policy *p = NULL;
        struct policy_source cut = {.full = {(const char *)b.ptr, i}, .name = STR("cut")};
        /* Custom sections may be missing: then it is an OPA module without its exports. */
        assert_int_not_equal(policy_load(w->engine, &cut, &p, NULL), OK);
        if (i > 200 && i + 40 < b.len) continue; /* the middle is the image's zeros */
        b.ptr[i] ^= 0x55;
        struct policy_source flipped = {.full = buf_view(&b), .name = STR("flipped")};
        if (policy_load(w->engine, &flipped, &p, NULL) == OK) policy_release(p);
        b.ptr[i] ^= 0x55;
    }
    buf_deinit(&b);
    assert_true(answers_true(w->pool, w->good));
}

/* Fuel ends a spinning module long before its deadline, and leaves a frugal one alone. */
static void burns_its_fuel(void **state) {
    struct world *w = *state;
    trap_signals_use(&w->signals);
    struct engine_options options = {.max_instances = 8, .fuel = true};
    struct engine *e = NULL;
    struct instances *pool = NULL;
    struct policy *spinning = NULL, *good = NULL;
    struct load_message message = {{0}};
    struct wasm_test_module spin = EVAL(0x03, 0x40, 0x0c, 0, 0x0b, 0);
    struct buf body;
    buf_init(&body, 64);
    good_body(&body);
    struct wasm_test_module fine = {.eval = body.ptr, .eval_len = body.len};
    assert_int_equal(engine_new(&options, &e), OK);
    assert_int_equal(instances_new(e, 4, &pool), OK);
    assert_int_equal(load(e, &spin, &spinning, &message), OK);
    assert_int_equal(load(e, &fine, &good, &message), OK);
    struct eval_request q = {.input = STR("{}"), .limits = {.deadline_us = 60000000, .fuel = 100000}};
    struct eval_result r;
    q.policy = spinning;
    assert_int_equal(policy_eval(pool, &q, &r), ERR_FUEL);
    q.policy = good;
    assert_int_equal(policy_eval(pool, &q, &r), OK);
    assert_true(str_is(r.json, "true"));
    policy_release(spinning);
    policy_release(good);
    buf_deinit(&body);
    instances_free(pool);
    engine_free(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spins), cmocka_unit_test(spins_after_a_rest),
        cmocka_unit_test(grows_memory),
        cmocka_unit_test(allocates_hugely),
        cmocka_unit_test(declares_a_large_memory),
        cmocka_unit_test(recurses),
        cmocka_unit_test(traps_at_once),
        cmocka_unit_test(divides_by_zero),
        cmocka_unit_test(reads_outside_memory),
        cmocka_unit_test(returns_wild_pointers),
        cmocka_unit_test(aborts),
        cmocka_unit_test(calls_an_unlisted_builtin),
        cmocka_unit_test(calls_a_builtin_with_a_mad_allocator),
        cmocka_unit_test(result_over_its_limit),
        cmocka_unit_test(input_over_its_limit),
        cmocka_unit_test(imports_what_it_may_not),
        cmocka_unit_test(spins_at_start),
        cmocka_unit_test(breaks_the_abi),
        cmocka_unit_test(truncated_and_flipped),
        cmocka_unit_test(burns_its_fuel),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
