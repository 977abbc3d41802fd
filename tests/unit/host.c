/* The host with modules of `opa build -t wasm`: decisions, undefined, errors by name, code cache,
 * limits, pools. */
#include "host/host.h"
#include "../isolation/signals.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char POLICY[] =
    "package t\n"
    "default allow := false\n"
    "allow if input.user == data.admin\n"
    "msg := {\"who\": input.user, \"n\": count(input.roles)}\n"
    "two := 1 if input.x > 0\n"
    "two := 2 if input.x > 1\n"
    "now := [time.now_ns(), time.now_ns()]\n"
    "undef if input.nope\n"
    "slow := count([1 | numbers.range(1, 3000)[_] < numbers.range(1, 3000)[_]])\n";

struct world {
    struct trap_signals signals;
    char dir[64];
    struct buf wasm;
    struct arena arena;
    struct json *data;
    struct engine *engine;
    struct instances *pool;
    struct policy *policy;
};

static bool build(const char *dir) {
    char command[1024];
    snprintf(command, sizeof command,
             "%s build -t wasm -e t/allow -e t/msg -e t/two -e t/now -e t/undef -e t/slow "
             "-o %s/b.tgz %s/p.rego 2>/dev/null && cd %s && tar xzf b.tgz 2>/dev/null",
             getenv("OPA") ? getenv("OPA") : "opa", dir, dir, dir);
    return system(command) == 0;
}

static bool build_module(struct world *w) {
    char path[128];
    struct str policy = STR(POLICY);
    snprintf(w->dir, sizeof w->dir, "/tmp/regent-host-XXXXXX");
    if (!mkdtemp(w->dir)) return false;
    snprintf(path, sizeof path, "%s/p.rego", w->dir);
    if (file_write_atomic(path, policy) != OK) return false;
    if (!build(w->dir)) return false;
    snprintf(path, sizeof path, "%s/policy.wasm", w->dir);
    buf_init(&w->wasm, 1 << 24);
    return buf_read_file(&w->wasm, path) == OK;
}

static enum err load(struct world *w, struct engine *e, struct policy **out) {
    struct load_message message = {{0}};
    struct policy_source source = {.full = buf_view(&w->wasm), .data = w->data, .name = STR("t")};
    enum err err = policy_load(e, &source, out, &message);
    if (err) print_error("%s\n", message.text);
    return err;
}

static int setup(void **state) {
    static struct world w;
    struct json_error error;
    *state = &w;
    if (!build_module(&w)) return 0; /* tests skip themselves without opa */
    arena_init(&w.arena, 1 << 20);
    if (json_parse(&w.arena, STR("{\"admin\":\"ann\"}"), &w.data, &error) != OK) return 1;
    if (engine_new(NULL, &w.engine) != OK) return 1;
    trap_signals_save(&w.signals);
    if (instances_new(w.engine, 4, &w.pool) != OK) return 1;
    return load(&w, w.engine, &w.policy) != OK;
}

static int teardown(void **state) {
    struct world *w = *state;
    char command[128];
    instances_free(w->pool);
    policy_release(w->policy);
    engine_free(w->engine);
    buf_deinit(&w->wasm);
    if (w->policy) arena_deinit(&w->arena);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    return w->dir[0] && system(command) != 0;
}

static struct world *world(void **state) {
    struct world *w = *state;
    if (!w->policy) skip();
    trap_signals_use(&w->signals);
    return w;
}

static enum err eval(struct world *w, const char *entrypoint, const char *input, bool fresh,
                     struct eval_result *r) {
    int32_t id = policy_entrypoint(w->policy, str_of(entrypoint));
    assert_true(id >= 0);
    struct eval_request q = {.policy = w->policy,
                             .entrypoint = (uint32_t)id,
                             .input = str_of(input),
                             .fresh_instance = fresh};
    return policy_eval(w->pool, &q, r);
}

static void expect(struct world *w, const char *entrypoint, const char *input, const char *json) {
    struct eval_result r;
    for (int fresh = 0; fresh < 2; fresh++) {
        assert_int_equal(eval(w, entrypoint, input, fresh, &r), OK);
        assert_int_equal(r.defined, json != NULL);
        if (json) assert_true(str_is(r.json, json));
    }
}

static void decides(void **state) {
    struct world *w = world(state);
    expect(w, "t/allow", "{\"user\":\"ann\"}", "true");
    expect(w, "t/allow", "{\"user\":\"bob\"}", "false");
    expect(w, "t/allow", NULL, "false");
    expect(w, "t/msg", "{\"user\":\"x\\u0000\\\"y\",\"roles\":[1,2]}",
           "{\"n\":2,\"who\":\"x\\u0000\\\"y\"}");
    expect(w, "t/undef", "{}", NULL);
    expect(w, "t/undef", "{\"nope\":true}", "true");
}

static void names_errors(void **state) {
    struct world *w = world(state);
    struct eval_result r;
    expect(w, "t/two", "{\"x\":1}", "1");
    assert_int_equal(eval(w, "t/two", "{\"x\":2}", false, &r), ERR_CONFLICT);
    assert_non_null(strstr(r.message, "p.rego:6"));
    assert_int_equal(eval(w, "t/allow", "{\"x\":", false, &r), ERR_INPUT);
    assert_int_equal(eval(w, "t/allow", "", false, &r), ERR_INPUT);
    struct eval_request q = {.policy = w->policy, .entrypoint = 99};
    assert_int_equal(policy_eval(w->pool, &q, &r), ERR_NOT_FOUND);
    assert_int_equal(policy_entrypoint(w->policy, STR("t/none")), -1);
}

static void stops_at_limits(void **state) {
    struct world *w = world(state);
    struct eval_result r;
    struct eval_request q = {.policy = w->policy,
                             .input = STR("{}"),
                             .entrypoint = (uint32_t)policy_entrypoint(w->policy, STR("t/slow"))};
    q.limits.deadline_us = 20000;
    q.limits.memory_bytes = (uint64_t)1 << 30;
    assert_int_equal(policy_eval(w->pool, &q, &r), ERR_DEADLINE);
    assert_true(r.eval_ns < 500000000);
    q.limits.deadline_us = 5000000;
    q.limits.memory_bytes = 1 << 20;
    assert_int_equal(policy_eval(w->pool, &q, &r), ERR_GUEST_MEMORY);
    expect(w, "t/allow", "{\"user\":\"ann\"}", "true");
}

/* One clock for an evaluation, and the one that is asked for. */
static void tells_the_time(void **state) {
    struct world *w = world(state);
    struct eval_result r;
    struct eval_request q = {.policy = w->policy,
                             .now_ns = 1700000000000000001,
                             .entrypoint = (uint32_t)policy_entrypoint(w->policy, STR("t/now"))};
    assert_int_equal(policy_eval(w->pool, &q, &r), OK);
    assert_true(str_is(r.json, "[1700000000000000001,1700000000000000001]"));
}

static void reuses_code(void **state) {
    struct world *w = world(state);
    struct policy *again = NULL;
    assert_int_equal(load(w, w->engine, &again), OK);
    assert_int_equal(policy_stats(again).code_from, CODE_FROM_MEMORY);
    policy_release(again);
}

/* Compiled, then read, then — after a byte was changed or the key replaced — compiled again. */
static void keeps_code_on_disk(void **state) {
    struct world *w = world(state);
    static const int expected[] = {CODE_COMPILED, CODE_FROM_DISK, CODE_COMPILED, CODE_FROM_DISK,
                                   CODE_COMPILED};
    char dir[128], command[512];
    snprintf(dir, sizeof dir, "%s/cache", w->dir);
    struct engine_options o = {.cache_dir = dir, .max_instances = 32};
    for (int i = 0; i < 5; i++) {
        struct engine *e = NULL;
        struct policy *p = NULL;
        if (i == 2) {
            snprintf(command, sizeof command,
                     "for f in %s/*.code; do printf X | dd of=$f bs=1 seek=3000 conv=notrunc "
                     "2>/dev/null; done",
                     dir);
            assert_int_equal(system(command), 0);
        }
        if (i == 4) {
            snprintf(command, sizeof command, "rm %s/node.key", dir);
            assert_int_equal(system(command), 0);
        }
        assert_int_equal(engine_new(&o, &e), OK);
        assert_int_equal(load(w, e, &p), OK);
        assert_int_equal(policy_stats(p).code_from, expected[i]);
        policy_release(p);
        engine_free(e);
    }
}

/* More policies than live instances: each still answers, and released ones give their instances up.
 */
static void evicts(void **state) {
    struct world *w = world(state);
    struct policy *p[9] = {NULL};
    struct eval_result r;
    for (int i = 0; i < 9; i++) assert_int_equal(load(w, w->engine, &p[i]), OK);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 9; i++) {
            struct eval_request q = {.policy = p[i], .input = STR("{\"user\":\"ann\"}")};
            assert_int_equal(policy_eval(w->pool, &q, &r), OK);
            assert_true(str_is(r.json, "true"));
        }
    }
    for (int i = 0; i < 9; i++) policy_release(p[i]);
    expect(w, "t/allow", "{\"user\":\"ann\"}", "true");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides),         cmocka_unit_test(names_errors),
        cmocka_unit_test(stops_at_limits), cmocka_unit_test(tells_the_time),
        cmocka_unit_test(reuses_code),     cmocka_unit_test(keeps_code_on_disk),
        cmocka_unit_test(evicts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
