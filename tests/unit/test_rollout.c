/* What a rollout is asked to do, and whose turn it is: waves that are read or refused, tenants by
 * id, label and lot, and how many failures are too many. */
#include "control/rollout.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { MANY = 1000 };

static struct json *parse(struct arena *a, const char *text) {
    struct json *v = NULL;
    struct json_error wrong;
    assert_int_equal(json_parse(a, str_of(text), &v, &wrong), OK);
    return v;
}

static enum err read(struct arena *a, const char *text, struct rollout_plan *plan) {
    char why[ROLLOUT_WHY_BYTES] = "";
    enum err e = rollout_plan_read(parse(a, text), plan, why);
    if (e) assert_true(why[0]);
    return e;
}

static void reads_a_plan(void **state) {
    (void)state;
    struct arena a;
    struct rollout_plan p;
    arena_init(&a, 1 << 20);
    assert_int_equal(read(&a, "{}", &p), OK);
    assert_int_equal(p.n_waves, 1);
    assert_int_equal(p.waves[0].kind, WAVE_REST);
    assert_int_equal(p.waves[0].wait_s, ROLLOUT_WAIT_S);
    assert_true(p.rollback && !p.waves[0].confirm && !p.waves[0].max_failed);
    assert_int_equal(read(&a,
                          "{\"wait_s\": 5, \"max_failed\": \"7%\", \"rollback\": false, \"waves\": "
                          "[{\"tenants\": [\"a\"],"
                          " \"max_failed\": 2}, {\"percent\": 10, \"confirm\": true, \"wait_s\": "
                          "0}, {\"labels\": {\"x\": \"y\"}}]}",
                          &p),
                     OK);
    assert_int_equal(p.n_waves, 4);
    assert_false(p.rollback);
    assert_true(p.waves[0].max_failed == 2 && !p.waves[0].max_failed_is_percent &&
                p.waves[0].wait_s == 5);
    assert_true(p.waves[1].max_failed == 7 && p.waves[1].max_failed_is_percent &&
                p.waves[1].confirm);
    assert_true(p.waves[1].percent == 10 && p.waves[1].wait_s == 0 &&
                p.waves[2].kind == WAVE_LABELS);
    assert_true(p.waves[3].kind == WAVE_REST && p.waves[3].wait_s == 5);
    assert_int_equal(
        read(&a, "{\"waves\": [{\"percent\": 1}, {\"rest\": true, \"wait_s\": 9}]}", &p), OK);
    assert_true(p.n_waves == 2 && p.waves[1].wait_s == 9);
    arena_deinit(&a);
}

static void refuses(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "{\"waves\": {}}",
        "{\"waves\": [1]}",
        "{\"waves\": [{}]}",
        "{\"waves\": [{\"percent\": 0}]}",
        "{\"waves\": [{\"percent\": 101}]}",
        "{\"waves\": [{\"percent\": 1.5}]}",
        "{\"waves\": [{\"percent\": 5, \"labels\": {\"a\": \"b\"}}]}",
        "{\"waves\": [{\"tenants\": []}]}",
        "{\"waves\": [{\"tenants\": [1]}]}",
        "{\"waves\": [{\"tenants\": \"a\"}]}",
        "{\"waves\": [{\"labels\": {}}]}",
        "{\"waves\": [{\"labels\": {\"a\": 1}}]}",
        "{\"waves\": [{\"rest\": false}]}",
        "{\"waves\": [{\"rest\": true}, {\"percent\": 5}]}",
        "{\"waves\": [{\"percent\": 5, \"wait\": 3}]}",
        "{\"wait_s\": -1}",
        "{\"wait_s\": \"5\"}",
        "{\"wait_s\": 99999999}",
        "{\"confirm\": 1}",
        "{\"rollback\": \"no\"}",
        "{\"max_failed\": -1}",
        "{\"max_failed\": \"5\"}",
        "{\"max_failed\": \"%\"}",
        "{\"max_failed\": \"101%\"}",
        "{\"max_failed\": \"-5%\"}",
    };
    struct arena a;
    struct rollout_plan p;
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (read(&a, wrong[i], &p) != ERR_INVALID) fail_msg("taken: %s", wrong[i]);
    arena_deinit(&a);
}

static uint32_t in_wave(const struct rollout_tenant *t, uint32_t n, int64_t wave) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) found += t[i].wave == wave;
    return found;
}

static void gives_waves(void **state) {
    (void)state;
    struct arena a;
    struct rollout_plan p;
    arena_init(&a, 4 << 20);
    struct rollout_tenant *t = ARENA_ARRAY(&a, struct rollout_tenant, MANY);
    assert_non_null(t);
    for (uint32_t i = 0; i < MANY; i++) {
        size_t len = 0;
        const char *id = arena_printf(&a, &len, "t%04u", i);
        t[i].id = (struct str){id, len};
        t[i].labels = i < 100 ? parse(&a, "{\"plan\": \"free\", \"region\": \"eu\"}") : NULL;
    }
    assert_int_equal(
        read(&a,
             "{\"waves\": [{\"tenants\": [\"t0000\", \"*1\", \"none*\"]}, {\"labels\": {\"plan\": "
             "\"free\"}},"
             " {\"labels\": {\"plan\": \"free\", \"region\": \"us\"}}, {\"percent\": 10}]}",
             &p),
        OK);
    assert_int_equal(rollout_assign(&a, &p, STR("one"), t, MANY), OK);
    assert_int_equal(in_wave(t, MANY, 0), 101);
    assert_int_equal(in_wave(t, MANY, 1),
                     89); /* of the hundred not t0000, and not the ten that end with 1 */
    assert_int_equal(in_wave(t, MANY, 2), 0);
    assert_int_equal(in_wave(t, MANY, 3), 100);
    assert_int_equal(in_wave(t, MANY, 4), MANY - 101 - 89 - 100);
    uint32_t same = 0;
    struct rollout_tenant *u = arena_copy(&a, t, MANY * sizeof *t);
    assert_non_null(u);
    assert_int_equal(rollout_assign(&a, &p, STR("one"), u, MANY), OK);
    for (uint32_t i = 0; i < MANY; i++) assert_int_equal(u[i].wave, t[i].wave);
    assert_int_equal(rollout_assign(&a, &p, STR("two"), u, MANY), OK);
    for (uint32_t i = 0; i < MANY; i++) same += u[i].wave == 3 && t[i].wave == 3;
    assert_true(same < 50);
    arena_deinit(&a);
}

static void gives_few(void **state) {
    (void)state;
    struct arena a;
    struct rollout_plan p;
    struct rollout_tenant t[1] = {{.id = STR("only")}};
    arena_init(&a, 1 << 20);
    assert_int_equal(read(&a, "{\"waves\": [{\"percent\": 1}]}", &p), OK);
    assert_int_equal(rollout_assign(&a, &p, STR("x"), t, 1), OK);
    assert_int_equal(t[0].wave, 0);
    assert_int_equal(rollout_assign(&a, &p, STR("x"), t, 0), OK);
    arena_deinit(&a);
}

static void counts_failures(void **state) {
    (void)state;
    struct rollout_wave w = {.max_failed = 0};
    assert_false(rollout_too_many(&w, 0, 0));
    assert_true(rollout_too_many(&w, 1, 1000));
    w.max_failed = 3;
    assert_false(rollout_too_many(&w, 3, 3));
    assert_true(rollout_too_many(&w, 4, 1000));
    w.max_failed_is_percent = true;
    assert_false(rollout_too_many(&w, 0, 0));
    assert_false(rollout_too_many(&w, 3, 100));
    assert_true(rollout_too_many(&w, 4, 100));
    assert_true(rollout_too_many(&w, 1, 10));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_plan),    cmocka_unit_test(refuses),
        cmocka_unit_test(gives_waves),     cmocka_unit_test(gives_few),
        cmocka_unit_test(counts_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
