/* The activator: offers, serials, rollback, pins, checks, shadows and watches, with and without a store, over restarts;
 * several threads at once; 5,000 tenants from the store.
 * in: modules made here, a folder in /tmp. out: cmocka results. */
#include "edge/activator.h"
#include "../isolation/wasm_builder.h"
#include "base/clock.h"
#include "edge/store.h"
#include "edge/trial.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OFFERERS = 4, ROUNDS = 40, MANY = 400 };

static struct engine *engine;
static struct arena memory;
static struct edge_config config;
static struct tenants *tenants;
static struct activator *activator;
static struct store *store;
static char dir[64];
static const struct log silent = {.fd = 2, .level = LOG_ERROR + 1};

/* ---- bundles ---- */

enum answer { ANSWER_TRUE, ANSWER_UNDEFINED };

static void module_of(enum answer answer, struct buf *out) {
    struct buf code;
    buf_init(&code, 64);
    buf_byte(&code, 0x42); /* i64.const TEST_TEXT_AT | 4 << 32: "true" */
    wasm_sleb(&code, (int64_t)4 << 32 | TEST_TEXT_AT);
    struct wasm_test_module m = {0};
    if (answer == ANSWER_TRUE) m = (struct wasm_test_module){.eval = code.ptr, .eval_len = code.len};
    wasm_test_module(out, &m);
    buf_deinit(&code);
}

/* revision "": none; serial 0: none; checks NULL: none. */
static void bundle_of(enum answer answer, const char *revision, int serial, const char *checks, struct buf *out) {
    struct buf module, manifest;
    buf_init(&module, 1 << 20);
    buf_init(&manifest, 1 << 16);
    buf_init(out, 1 << 20);
    module_of(answer, &module);
    buf_printf(&manifest, "{\"revision\":\"%s\",\"roots\":[\"t\"]", revision);
    if (serial) buf_printf(&manifest, ",\"metadata\":{\"regent\":{\"serial\":%d}}", serial);
    buf_byte(&manifest, '}');
    struct bundle_file files[] = {{STR("/.manifest"), buf_view(&manifest)},
                                  {STR("/policy.wasm"), buf_view(&module)},
                                  {STR("/checks.json"), str_of(checks)}};
    assert_int_equal(bundle_write(files, checks ? 3 : 2, out), OK);
    buf_deinit(&module);
    buf_deinit(&manifest);
}

static struct activation offer_to(const char *id, enum answer answer, const char *revision, int serial,
                                  const char *checks, bool allow_older) {
    struct buf bytes;
    struct activation out;
    bundle_of(answer, revision, serial, checks, &bytes);
    struct candidate c = {.tenant = str_of(id), .bundle = buf_view(&bytes), .from = "test", .allow_older = allow_older};
    activator_offer(activator, &c, &out);
    buf_deinit(&bytes);
    return out;
}

static struct activation offer(const char *revision) {
    return offer_to("a", ANSWER_TRUE, revision, 0, NULL, false);
}

static const struct tenant_entry *entry(const char *id) { return tenants_find(tenants, str_of(id)); }
static const char *active(const char *id) { return entry(id)->version.ptr; }

/* ---- a node's beginning and end ---- */

static void begin(bool with_store) {
    char why[512];
    struct store_options o = {.directory = dir, .keep = 3, .log = &silent};
    assert_int_equal(tenants_new(&tenants), OK);
    if (with_store) assert_int_equal(store_open(&o, &store, why, sizeof why), OK);
    struct activator_options a = {.config = &config, .engine = engine, .tenants = tenants, .store = store, .log = &silent};
    assert_int_equal(activator_new(&a, &activator), OK);
}

static void end(void) {
    activator_free(activator);
    tenants_free(tenants);
    store_close(store);
    store = NULL;
}

static int setup(void **state) {
    (void)state;
    arena_init(&memory, 64 << 20);
    edge_config_init(&config, &memory);
    snprintf(dir, sizeof dir, "/tmp/regent-activator-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
    char command[128];
    (void)state;
    arena_deinit(&memory);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* ---- offers ---- */

static void offers(void **state) {
    (void)state;
    begin(false);
    struct activation r = offer("one");
    assert_int_equal(r.kind, ACTIVATION_ACTIVE);
    assert_string_equal(r.version, "one");
    assert_string_equal(r.active, "one");
    assert_int_equal(strlen(r.sha256), 64);
    assert_string_equal(active("a"), "one");
    assert_string_equal(entry("a")->sha256.ptr, r.sha256);
    assert_int_equal(offer("one").kind, ACTIVATION_UNCHANGED);
    struct candidate bad = {.tenant = STR("a"), .bundle = STR("no bundle"), .from = "test"};
    activator_offer(activator, &bad, &r);
    assert_int_equal(r.kind, ACTIVATION_REFUSED);
    assert_non_null(strstr(r.why, "no gzipped tar archive"));
    assert_string_equal(r.active, "one");
    struct load_report report;
    tenants_reported(tenants, entry("a")->tenant, &report);
    assert_string_equal(report.version, "one");
    assert_string_equal(report.from, "test");
    assert_non_null(strstr(report.message, "no gzipped tar archive"));
    bad.tenant = STR("b"); /* a tenant without any version is known */
    activator_offer(activator, &bad, &r);
    assert_non_null(entry("b"));
    assert_null(entry("b")->policy);
    bad.tenant = STR("");
    activator_offer(activator, &bad, &r);
    assert_int_equal(r.err, ERR_INVALID);
    /* another version of the same name */
    r = offer_to("a", ANSWER_UNDEFINED, "one", 0, NULL, false);
    assert_int_equal(r.kind, ACTIVATION_ACTIVE);
    assert_memory_equal(r.version, "one~", 4);
    end();
}

static void bare(void **state) {
    (void)state;
    struct buf module;
    struct activation r;
    begin(true);
    buf_init(&module, 1 << 20);
    module_of(ANSWER_TRUE, &module);
    struct candidate c = {.tenant = STR("a"), .module = buf_view(&module), .data = STR("{\"x\":1}"), .from = "test"};
    activator_offer(activator, &c, &r);
    assert_int_equal(r.kind, ACTIVATION_ACTIVE);
    assert_int_equal(strlen(r.version), 12);
    activator_offer(activator, &c, &r);
    assert_int_equal(r.kind, ACTIVATION_UNCHANGED);
    c.data = STR("{\"x\":2}");
    activator_offer(activator, &c, &r);
    assert_int_equal(r.kind, ACTIVATION_ACTIVE);
    c.data = STR("[1]");
    activator_offer(activator, &c, &r);
    assert_non_null(strstr(r.why, "data.json: it must be an object"));
    char sha[SHA256_HEX_BYTES];
    struct buf served;
    buf_init(&served, 1 << 20);
    assert_int_equal(activator_module(activator, STR("a"), &served, sha), OK);
    assert_true(str_eq(buf_view(&served), buf_view(&module)));
    assert_int_equal(activator_module(activator, STR("b"), &served, sha), ERR_NOT_FOUND);
    buf_deinit(&served);
    buf_deinit(&module);
    end();
}

static void serials(void **state) {
    (void)state;
    begin(true);
    assert_int_equal(offer_to("a", ANSWER_TRUE, "r5", 5, NULL, false).kind, ACTIVATION_ACTIVE);
    assert_int_equal(offer_to("a", ANSWER_TRUE, "r7", 7, NULL, false).kind, ACTIVATION_ACTIVE);
    struct activation r = offer_to("a", ANSWER_TRUE, "r6", 6, NULL, false);
    assert_int_equal(r.kind, ACTIVATION_REFUSED);
    assert_non_null(strstr(r.why, "version r6 has serial 6, and this tenant has had 7"));
    assert_int_equal(offer_to("a", ANSWER_TRUE, "r7b", 7, NULL, false).kind, ACTIVATION_ACTIVE);
    assert_int_equal(offer_to("a", ANSWER_TRUE, "bad", -1, NULL, false).kind, ACTIVATION_REFUSED);
    assert_int_equal(offer("none").kind, ACTIVATION_ACTIVE); /* without a serial nothing is compared */
    end();
    begin(true);
    activator_restore(activator, NULL, NULL);
    assert_string_equal(active("a"), "none");
    assert_int_equal(offer_to("a", ANSWER_TRUE, "r6", 6, NULL, false).kind, ACTIVATION_REFUSED); /* not forgotten */
    assert_int_equal(offer_to("a", ANSWER_TRUE, "r6", 6, NULL, true).kind, ACTIVATION_ACTIVE);
    end();
}

static void checks(void **state) {
    (void)state;
    begin(false);
    const char *holds = "[{\"entrypoint\":\"t/allow\",\"input\":{},\"expect\":true}]";
    const char *fails = "[{\"entrypoint\":\"/t/allow\",\"expect\":false,\"note\":\"nobody\"}]";
    const char *undefined = "[{\"entrypoint\":\"t/allow\"}]";
    assert_int_equal(offer_to("a", ANSWER_TRUE, "1", 0, holds, false).kind, ACTIVATION_ACTIVE);
    struct activation r = offer_to("a", ANSWER_TRUE, "2", 0, fails, false);
    assert_string_equal(r.why, "checks.json: check 1 (nobody): t/allow is true, not false");
    assert_int_equal(offer_to("a", ANSWER_TRUE, "3", 0, undefined, false).kind, ACTIVATION_REFUSED);
    assert_int_equal(offer_to("a", ANSWER_UNDEFINED, "4", 0, undefined, false).kind, ACTIVATION_ACTIVE);
    r = offer_to("a", ANSWER_UNDEFINED, "5", 0, holds, false);
    assert_string_equal(r.why, "checks.json: check 1: t/allow is undefined, not true");
    assert_string_equal(active("a"), "4");
    end();
}

/* ---- going back ---- */

static struct activation roll_back(const char *version) {
    struct activation r;
    activator_rollback(activator, STR("a"), str_of(version), "somebody", &r);
    return r;
}
static struct activation pin(const char *version) {
    struct activation r;
    activator_pin(activator, STR("a"), str_of(version), "somebody", &r);
    return r;
}

static void rollback_in_memory(void **state) {
    (void)state;
    begin(false);
    assert_int_equal(roll_back("").err, ERR_NOT_FOUND); /* unknown tenant */
    offer("one");
    assert_int_equal(roll_back("").err, ERR_NOT_FOUND);
    offer("two");
    struct activation r = roll_back("");
    assert_int_equal(r.kind, ACTIVATION_ACTIVE);
    assert_string_equal(r.active, "one");
    assert_string_equal(active("a"), "one");
    r = offer("two"); /* the source still has it */
    assert_int_equal(r.kind, ACTIVATION_REFUSED);
    assert_non_null(strstr(r.why, "version two was taken back by somebody"));
    assert_int_equal(roll_back("").err, ERR_NOT_FOUND); /* there is nothing before it */
    assert_int_equal(roll_back("two").kind, ACTIVATION_ACTIVE);
    assert_int_equal(roll_back("two").kind, ACTIVATION_UNCHANGED);
    assert_int_equal(roll_back("nine").err, ERR_NOT_FOUND);
    assert_int_equal(offer("three").kind, ACTIVATION_ACTIVE);
    end();
}

static void rollback_from_store(void **state) {
    (void)state;
    begin(true);
    for (const char *const *v = (const char *const[]){"one", "two", "three", "four", NULL}; *v; v++) offer(*v);
    assert_int_equal(roll_back("one").err, ERR_NOT_FOUND); /* three are kept */
    assert_string_equal(roll_back("").active, "three");
    assert_string_equal(roll_back("").active, "two");
    assert_string_equal(roll_back("four").active, "four");
    assert_string_equal(roll_back("two").active, "two");
    end();
    begin(true);
    uint32_t loaded = 0, refused = 0;
    activator_restore(activator, &loaded, &refused);
    assert_int_equal(loaded, 1);
    assert_int_equal(refused, 0);
    assert_string_equal(active("a"), "two");
    assert_int_equal(offer("two").kind, ACTIVATION_UNCHANGED); /* known by its bytes, also after a restart */
    assert_int_equal(activator_remove(activator, STR("a"), "another source"), OK);
    assert_non_null(entry("a"));
    assert_int_equal(activator_remove(activator, STR("a"), "test"), OK);
    assert_null(entry("a"));
    end();
    begin(true);
    activator_restore(activator, &loaded, NULL);
    assert_int_equal(loaded, 1);
    end();
}

static void pins(bool with_store) {
    begin(with_store);
    offer("one");
    offer("two");
    assert_int_equal(pin("nine").err, ERR_NOT_FOUND);
    assert_string_equal(pin("one").active, "one");
    struct activation r = offer("three");
    assert_int_equal(r.kind, ACTIVATION_PINNED);
    assert_string_equal(r.active, "one");
    assert_int_equal(offer("three").kind, ACTIVATION_PINNED);
    assert_int_equal(roll_back("two").err, with_store ? ERR_EXISTS : ERR_EXISTS);
    if (with_store) {
        end();
        begin(true);
        activator_restore(activator, NULL, NULL);
        assert_string_equal(active("a"), "one");
        assert_int_equal(offer("three").kind, ACTIVATION_PINNED);
    }
    r = pin("");
    assert_int_equal(r.kind, ACTIVATION_ACTIVE);
    assert_string_equal(r.active, "three");
    assert_int_equal(pin("").kind, ACTIVATION_UNCHANGED);
    assert_int_equal(offer("four").kind, ACTIVATION_ACTIVE);
    /* a pin to an older version, and back to what was left */
    assert_string_equal(pin("three").active, "three");
    assert_string_equal(pin("").active, "four");
    end();
}
static void pins_in_memory(void **state) { (void)state, pins(false); }
static void pins_from_store(void **state) { (void)state, pins(true); }

/* ---- trials: the live decisions are made up ---- */

static const struct ask live = {.tenant = {"a", 1}, .path = {"t/allow", 7}, .input = {"{}", 2}};

static void decide_live(uint32_t n, const char *json, enum err e) {
    struct decision d = {.kind = e ? DECISION_FAILED : DECISION_VALUE, .err = e, .limit = limit_of_err(e),
                         .json = str_of(json), .id = "id"};
    struct tenant *t = entry("a")->tenant;
    for (uint32_t i = 0; i < n; i++) {
        metrics_decision(&t->metrics, 1, decision_denies(&d), e);
        if (entry("a")->trial) trial_note(entry("a")->trial, &live, &d, decision_denies(&d));
    }
}

static void shadows(void **state) {
    (void)state;
    begin(true);
    config.activation.shadow_share = 1000000;
    config.activation.shadow_requests = 10;
    config.activation.shadow_max_differences = 200000;
    config.activation.shadow_max_us = 3600ull * 1000000;
    assert_int_equal(offer("one").kind, ACTIVATION_ACTIVE); /* the first has nobody beside it */
    struct activation r = offer("two");
    assert_int_equal(r.kind, ACTIVATION_SHADOW);
    assert_string_equal(r.version, "two");
    assert_string_equal(r.active, "one");
    assert_int_equal(offer("two").kind, ACTIVATION_SHADOW);
    assert_non_null(entry("a")->trial);
    decide_live(9, "true", OK);
    activator_tick(activator);
    assert_string_equal(active("a"), "one");
    decide_live(2, "false", OK); /* one of ten may differ */
    activator_tick(activator);
    assert_string_equal(active("a"), "two");
    assert_null(entry("a")->trial);
    assert_int_equal(offer("three").kind, ACTIVATION_SHADOW);
    decide_live(3, "false", OK); /* more than two of ten: that is enough */
    activator_tick(activator);
    assert_string_equal(active("a"), "two");
    assert_null(entry("a")->trial);
    r = offer("three");
    assert_int_equal(r.kind, ACTIVATION_REFUSED);
    assert_non_null(strstr(r.why, "decided 3 of 3 live requests otherwise than version two"));
    assert_int_equal(offer("four").kind, ACTIVATION_SHADOW);
    assert_int_equal(offer("five").kind, ACTIVATION_SHADOW); /* in its place */
    assert_int_equal(offer("two").kind, ACTIVATION_UNCHANGED); /* nothing is left to try */
    assert_null(entry("a")->trial);
    config.activation.shadow_max_us = 1;
    assert_int_equal(offer("six").kind, ACTIVATION_SHADOW);
    activator_tick(activator); /* time is over, nobody asked */
    assert_string_equal(active("a"), "six");
    assert_int_equal(offer("seven").kind, ACTIVATION_SHADOW);
    assert_string_equal(roll_back("two").active, "two"); /* ends the trial */
    assert_null(entry("a")->trial);
    offer("eight"); /* is under trial when the node ends */
    end();
}

static void watch_rules(void) {
    config.activation.watch_us = 3600ull * 1000000;
    config.activation.watch_min_requests = 10;
    config.activation.watch_max_errors = 100000;
    config.activation.watch_max_denials = 300000;
}

static void watches(bool with_store) {
    begin(with_store);
    watch_rules();
    offer("one");
    decide_live(20, "true", OK);
    assert_int_equal(offer("two").kind, ACTIVATION_ACTIVE);
    assert_non_null(entry("a")->trial);
    decide_live(9, "", ERR_DEADLINE);
    activator_tick(activator);
    assert_string_equal(active("a"), "two"); /* too few to say */
    decide_live(1, "", ERR_DEADLINE);
    activator_tick(activator);
    assert_string_equal(active("a"), "one");
    assert_null(entry("a")->trial);
    assert_non_null(strstr(offer("two").why, "10 of its first 10 decisions failed"));
    decide_live(20, "true", OK);
    offer("three");
    decide_live(10, "false", OK);
    activator_tick(activator);
    assert_string_equal(active("a"), "one");
    offer("four");
    decide_live(100, "true", OK);
    offer("five"); /* comes while four is not proven: one is what to go back to */
    decide_live(10, "", ERR_TRAP);
    activator_tick(activator);
    assert_string_equal(active("a"), with_store ? "one" : "one");
    config.activation.watch_us = 1;
    offer("six");
    activator_tick(activator);
    assert_null(entry("a")->trial);
    assert_string_equal(active("a"), "six");
    watch_rules();
    offer("seven");
    end();
    if (!with_store) return;
    begin(true);
    activator_restore(activator, NULL, NULL);
    assert_string_equal(active("a"), "six"); /* seven was not proven yet */
    end();
}
static void watches_in_memory(void **state) { (void)state, watches(false); }
static void watches_with_store(void **state) { (void)state, watches(true); }

/* ---- many ---- */

static void *offer_many(void *arg) {
    char id[16], revision[16];
    int mine = *(int *)arg;
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(id, sizeof id, "%s%d", i % 2 ? "own" : "shared", i % 2 ? mine : 0);
        snprintf(revision, sizeof revision, "%d-%d", mine, i);
        struct activation r = offer_to(id, ANSWER_TRUE, revision, 0, NULL, false);
        assert_int_equal(r.kind, ACTIVATION_ACTIVE);
        activator_rollback(activator, str_of(id), STR(""), "test", &r);
        activator_tick(activator);
    }
    return NULL;
}

static void together(void **state) {
    pthread_t threads[OFFERERS];
    int numbers[OFFERERS];
    (void)state;
    begin(true);
    config.activation.watch_us = 1000;
    for (int i = 0; i < OFFERERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, offer_many, &numbers[i]), 0);
    }
    for (int i = 0; i < OFFERERS; i++) {
        pthread_join(threads[i], NULL);
        activator_configure(activator, &config);
    }
    assert_non_null(entry("shared0")->policy);
    end();
}

static void many_restored(void **state) {
    char id[16];
    uint32_t loaded = 0, refused = 0;
    (void)state;
    begin(true);
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "t%d", i);
        assert_int_equal(offer_to(id, ANSWER_TRUE, "one", 0, NULL, false).kind, ACTIVATION_ACTIVE);
    }
    end();
    begin(true);
    uint64_t start = clock_ns();
    activator_restore(activator, &loaded, &refused);
    print_message("%d tenants restored in %llu ms\n", MANY, (unsigned long long)((clock_ns() - start) / 1000000));
    assert_int_equal(loaded, MANY);
    assert_int_equal(refused, 0);
    assert_string_equal(active("t399"), "one");
    end();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    struct engine_options options = {.log = &silent};
    if (engine_new(&options, &engine)) return 1;
    const struct CMUnitTest tests[] = {TEST(offers), TEST(bare), TEST(serials), TEST(checks), TEST(rollback_in_memory),
                                       TEST(rollback_from_store), TEST(pins_in_memory), TEST(pins_from_store),
                                       TEST(shadows), TEST(watches_in_memory), TEST(watches_with_store),
                                       TEST(together), TEST(many_restored)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    engine_free(engine);
    return failed;
}
