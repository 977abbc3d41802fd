/* Events between the thread that decides and the one that writes: what is printed of them, hostile input and results, room,
 * taking back, and the hand-over while both are busy. */
#include "base/json.h"
#include "edge/decision_log_private.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { EVENTS = 20000 };
#define ID "01234567-89ab-4def-8123-456789abcdef"

/* A log without threads behind it. */
struct fixture {
    struct decision_log log;
    struct edge_config config;
    struct worker w;
    struct arena arena;
    struct buf line;
};

static void open_fixture(struct fixture *f, uint64_t buffer_bytes) {
    memset((void *)f, 0, sizeof *f);
    pthread_mutex_init(&f->log.lock, NULL);
    atomic_store(&f->log.limit_bytes, buffer_bytes);
    f->config.decision_log = (struct decision_log_config){.console = true, .sample = 1000000};
    f->w.config = &f->config;
    f->w.recorder = recorder_new(&f->log);
    assert_non_null(f->w.recorder);
    arena_init(&f->arena, 64 << 20);
    buf_init(&f->line, 64 << 20);
}

static void close_fixture(struct fixture *f) {
    recorder_free(f->w.recorder);
    pthread_mutex_destroy(&f->log.lock);
    arena_deinit(&f->arena);
    buf_deinit(&f->line);
}

static void add(struct fixture *f, struct str input, struct str result) {
    struct decision d = {.kind = result.ptr ? DECISION_VALUE : DECISION_UNDEFINED, .json = result, .id = ID};
    struct ask ask = {.tenant = STR("x"), .path = STR("a/b"), .input = input};
    decision_log_add(&f->w, NULL, &ask, &d);
}

static const char *taken(struct fixture *f) {
    const struct event_record *e = recorder_take(f->w.recorder);
    if (!e) return NULL;
    buf_clear(&f->line);
    event_print(e, STR("{\"labels\":{},"), &f->arena, &f->line);
    event_done(&f->log, event_tenant(e), e->version, e->bytes);
    buf_byte(&f->line, 0);
    assert_int_equal(f->line.err, OK);
    return (const char *)f->line.ptr;
}

static struct json *printed(struct fixture *f, struct arena *a) {
    struct json *v;
    const char *line = taken(f);
    assert_non_null(line);
    assert_null(strchr(line, '\n'));
    assert_int_equal(json_parse(a, str_of(line), &v, NULL), OK);
    return v;
}

static void one_event(void **state) {
    (void)state;
    struct fixture f;
    struct http_peer peer = {.address = "2001:db8::1", .port = 443};
    struct http_request q = {.peer = &peer, .n_headers = 3, .headers = {
        {STR("traceparent"), STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}, {STR("x"), STR("1\"")},
        {STR("x"), STR("2")}}};
    struct str names[] = {STR("x"), STR("missing")};
    open_fixture(&f, 1 << 20);
    f.config.decision_log.headers.items = names;
    f.config.decision_log.headers.n = 2;
    worker_notes(&f.w, "rest", &q);
    f.w.facts.began_ns = 0;
    add(&f, STR("{ \"a\" : [ 1.50 , \"x\\u00e9 \" ] }"), STR("true"));
    assert_null(taken(&f)); /* not handed over yet */
    decision_log_end(&f.w);
    char *line = strdup(taken(&f)), *time = strstr(line, "\"timestamp\":\""), *rest = strstr(time, ",\"metrics\"");
    *time = 0;
    assert_string_equal(line, "{\"labels\":{},\"decision_id\":\"" ID "\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\","
                              "\"span_id\":\"b7ad6b7169203331\",\"path\":\"a/b\",\"input\":{\"a\":[1.50,\"x\\u00e9 \"]},"
                              "\"result\":true,\"requested_by\":\"[2001:db8::1]:443\",");
    assert_string_equal(rest, ",\"metrics\":{\"timer_rego_query_eval_ns\":0,\"timer_server_handler_ns\":0},\"req_id\":256,"
                              "\"request_context\":{\"http\":{\"headers\":{\"x\":[\"1\\\"\",\"2\"]}}},"
                              "\"custom\":{\"tenant_id\":\"x\",\"door\":\"rest\"}}");
    assert_null(taken(&f));
    assert_int_equal(atomic_load(&f.log.held_bytes), 0);
    free(line);
    close_fixture(&f);
}

/* Beside the C library's calendar. */
static void times(void **state) {
    (void)state;
    struct fixture f;
    open_fixture(&f, 1 << 20);
    static const uint64_t nanoseconds[] = {0, 1, 500000000, 999999999, 120000000};
    for (uint64_t second = 0; second < 8000000000u; second += 86400 * 13 + 3671) {
        uint64_t ns = nanoseconds[second % 5];
        struct event_record e = {.time_ns = second * 1000000000u + ns, .door = ""};
        time_t t = (time_t)second;
        struct tm parts;
        char want[64], fraction[16];
        gmtime_r(&t, &parts);
        size_t n = strftime(want, sizeof want, "\"timestamp\":\"%Y-%m-%dT%H:%M:%S", &parts);
        snprintf(fraction, sizeof fraction, ".%09u", (unsigned)ns);
        for (size_t k = strlen(fraction); fraction[k - 1] == '0' || fraction[k - 1] == '.';) {
            bool point = fraction[k - 1] == '.';
            fraction[--k] = 0;
            if (point) break;
        }
        snprintf(want + n, sizeof want - n, "%sZ\"", fraction);
        buf_clear(&f.line);
        event_print(&e, STR("{"), &f.arena, &f.line);
        buf_byte(&f.line, 0);
        if (!strstr((char *)f.line.ptr, want)) fail_msg("%s lacks %s", (char *)f.line.ptr, want);
    }
    close_fixture(&f);
}

/* A module may give any bytes as its result, and say that any input is fine: an event stays one object with its own members. */
static void hostile(void **state) {
    (void)state;
    static const char *const texts[] = {
        "1,\"custom\":{\"tenant_id\":\"other\"}", "1}\n{\"decision_id\":\"forged\"}", "", " ", "{", "{}}", "[1,]", "{\"a\":}", "\"open",
        "\"\n\"", "\"\\x\"", "\"\\u12g4\"", "01", "1.", "-", "+1", "1e", "tru", "nul", "truefalse", "\x80", "{\"a\" 1}", "{a:1}", "[1 2]", "]"};
    struct fixture f;
    struct arena a;
    open_fixture(&f, 1 << 20);
    arena_init(&a, 64 << 20);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        add(&f, str_of(texts[i]), str_of(texts[i]));
        decision_log_end(&f.w);
        struct json *e = printed(&f, &a);
        assert_null(json_get_c(e, "input"));
        assert_null(json_get_c(e, "result"));
        assert_string_equal(json_get_c(json_get_c(e, "custom"), "tenant_id")->text.ptr ? "x" : "", "x");
        assert_true(str_is(json_get_c(json_get_c(e, "custom"), "tenant_id")->text, "x"));
        assert_true(str_is(json_get_c(e, "decision_id")->text, ID));
    }
    /* Invalid UTF-8 is replaced, deep nesting is read another way. */
    add(&f, STR("\"\xff\""), STR("[1]"));
    decision_log_end(&f.w);
    assert_true(str_is(json_get_c(printed(&f, &a), "input")->text, "\xef\xbf\xbd"));
    char deep[2002];
    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    add(&f, (struct str){deep, 2000}, STR("[ ]"));
    decision_log_end(&f.w);
    assert_int_equal(json_get_c(printed(&f, &a), "input")->kind, JSON_ARRAY);
    arena_deinit(&a);
    close_fixture(&f);
}

static void compacting(void **state) {
    (void)state;
    static const char *const same[] = {"0", "-0.5e+10", "1E9", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\ud800\"", "[]", "{}", "[[],{}]", "null",
                                       "{\"a\":{\"b\":[1,2,{\"c\":false}]},\"a\":1}", "\"\xc3\xa9\""};
    struct buf out;
    buf_init(&out, 1 << 16);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        buf_clear(&out);
        assert_true(event_compact(str_of(same[i]), &out));
        assert_true(str_is(buf_view(&out), same[i]));
    }
    buf_clear(&out);
    assert_true(event_compact(STR(" \t{ \"a b\" :\r\n[ 1 , true ] , \"c\" : { } } \n"), &out));
    assert_true(str_is(buf_view(&out), "{\"a b\":[1,true],\"c\":{}}"));
    buf_deinit(&out);
}

static void taking_back(void **state) {
    (void)state;
    struct fixture f;
    struct arena a;
    open_fixture(&f, 1 << 20);
    arena_init(&a, 1 << 20);
    add(&f, STR("1"), STR("true"));
    decision_log_forget(&f.w);
    decision_log_end(&f.w);
    assert_null(taken(&f));
    add(&f, STR("2"), STR("{\"allow\":1}"));
    struct decision d = {.kind = DECISION_FAILED, .err = ERR_INVALID};
    snprintf(d.result.message, sizeof d.result.message, "allow is no boolean");
    decision_log_amend(&f.w, &d);
    add(&f, STR("3"), (struct str){NULL, 0}); /* hands the one before over */
    struct json *e = printed(&f, &a);
    assert_true(str_is(json_get_c(e, "input")->text, "2"));
    assert_non_null(json_get_c(e, "result"));
    assert_true(str_is(json_get_c(json_get_c(e, "error"), "message")->text, "allow is no boolean"));
    assert_null(taken(&f));
    decision_log_end(&f.w);
    assert_true(str_is(json_get_c(printed(&f, &a), "input")->text, "3"));
    arena_deinit(&a);
    close_fixture(&f);
}

static uint64_t dropped(const struct fixture *f) { return atomic_load(&f->w.recorder->dropped[DROPPED_BUFFER]); }

static void room(void **state) {
    (void)state;
    struct fixture f;
    uint32_t kept = 0;
    char large[30000];
    memset(large, '1', sizeof large);
    open_fixture(&f, 64 << 10);
    for (int i = 0; i < 1000; i++) add(&f, STR("{\"a\":1}"), STR("true"));
    decision_log_end(&f.w);
    assert_true(atomic_load(&f.log.held_bytes) <= 64 << 10);
    assert_true(dropped(&f) > 100);
    while (taken(&f)) kept++;
    assert_int_equal(kept + dropped(&f), 1000);
    assert_int_equal(atomic_load(&f.log.held_bytes), 0);
    for (int i = 0; i < 4; i++) add(&f, (struct str){large, sizeof large}, STR("true"));
    decision_log_end(&f.w);
    for (kept = 0; taken(&f);) kept++;
    assert_int_equal(kept, 2);
    close_fixture(&f);
    open_fixture(&f, 1 << 20);
    f.config.decision_log.sample = 0;
    add(&f, STR("1"), STR("true"));
    f.config.decision_log.sample = 1000000;
    f.config.decision_log.denials_only = true;
    add(&f, STR("2"), STR("true"));
    decision_log_end(&f.w);
    assert_null(taken(&f));
    close_fixture(&f);
}

static void *produce(void *ctx) {
    struct fixture *f = ctx;
    char text[64];
    for (int i = 0; i < EVENTS; i++) {
        snprintf(text, sizeof text, "%d", i);
        uint64_t before = dropped(f);
        do { /* as who waits */
            if (dropped(f) != before) sched_yield(), before = dropped(f);
            add(f, str_of(text), i % 3 ? STR("true") : STR("{\"allow\":false}"));
        } while (dropped(f) != before);
        if (i % 5 == 0) decision_log_end(&f->w);
    }
    decision_log_end(&f->w);
    return NULL;
}

static void hand_over(void **state) {
    (void)state;
    struct fixture *f = calloc(1, sizeof *f);
    pthread_t producer;
    assert_non_null(f);
    open_fixture(f, 256 << 10);
    assert_int_equal(pthread_create(&producer, NULL, produce, f), 0);
    for (int i = 0; i < EVENTS;) {
        const struct event_record *e = recorder_take(f->w.recorder);
        if (!e) {
            sched_yield();
            continue;
        }
        char text[64];
        snprintf(text, sizeof text, "%d", i++);
        assert_true(str_is(event_part(e, PART_INPUT), text));
        event_done(&f->log, NULL, NULL, e->bytes);
    }
    pthread_join(producer, NULL);
    assert_null(recorder_take(f->w.recorder));
    assert_int_equal(atomic_load(&f->log.held_bytes), 0);
    close_fixture(f);
    free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_event),   cmocka_unit_test(times), cmocka_unit_test(hostile), cmocka_unit_test(compacting),
                                       cmocka_unit_test(taking_back), cmocka_unit_test(room),    cmocka_unit_test(hand_over)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
