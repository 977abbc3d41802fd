/* Masks as OPA applies them to events: pointers, replacements, what is not there, what makes no sense; hiding. */
#include "edge/decision_log_private.h"
#include "base/json.h"
#include "bundle/bundle.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct json *read(struct arena *a, const char *text) {
    struct json *v;
    assert_int_equal(json_parse(a, str_of(text), &v, NULL), OK);
    return v;
}

static void print(const struct json *v, struct buf *out) {
    buf_clear(out);
    json_print(v, false, 0, out);
    buf_byte(out, 0);
    assert_int_equal(out->err, OK);
}

/* Answers are those of OPA 1.22.2, but where a comment says so. */
static const struct {
    const char *rules, *event, *masked;
} good[] = {
    {"[]", "{\"input\":{\"a\":1}}", "{\"input\":{\"a\":1}}"},
    {"[\"/input/a\"]", "{\"input\":{\"a\":1,\"b\":2}}", "{\"input\":{\"b\":2},\"erased\":[\"/input/a\"]}"},
    {"[\"/input\"]", "{\"input\":{\"a\":1},\"result\":true}", "{\"result\":true,\"erased\":[\"/input\"]}"},
    {"[\"/input\"]", "{\"input\":1}", "{\"erased\":[\"/input\"]}"},
    {"[\"/result\"]", "{\"input\":1}", "{\"input\":1}"},
    {"[\"/nd_builtin_cache/http.send\"]", "{\"input\":1}", "{\"input\":1}"},
    {"[\"/input/a/b\"]", "{\"input\":{\"a\":1}}", "{\"input\":{\"a\":1}}"},
    {"[\"/input/a/b/c\"]", "{\"input\":{\"a\":{}}}", "{\"input\":{\"a\":{}}}"},
    {"[\"/input/a\"]", "{\"input\":\"text\"}", "{\"input\":\"text\"}"},
    {"[\"/input/a/1\"]", "{\"input\":{\"a\":[1,2,3]}}", "{\"input\":{\"a\":[1,3]},\"erased\":[\"/input/a/1\"]}"},
    {"[\"/input/0\"]", "{\"input\":[1,2]}", "{\"input\":[2],\"erased\":[\"/input/0\"]}"},
    {"[\"/input/+1\"]", "{\"input\":[1,2]}", "{\"input\":[1],\"erased\":[\"/input/+1\"]}"},
    {"[\"/input/2\",\"/input/-1\",\"/input/x\",\"/input/99999999999\"]", "{\"input\":[1,2]}", "{\"input\":[1,2]}"},
    {"[\"/input/0/1/x\"]", "{\"input\":[[0,{\"x\":1,\"y\":2}]]}",
     "{\"input\":[[0,{\"y\":2}]],\"erased\":[\"/input/0/1/x\"]}"},
    {"[\"/input/\"]", "{\"input\":{\"\":1,\"a\":2}}", "{\"input\":{\"a\":2},\"erased\":[\"/input/\"]}"},
    {"[\"/input/1\"]", "{\"input\":{\"1\":1}}", "{\"input\":{},\"erased\":[\"/input/1\"]}"},
    /* OPA prints parts as in URLs, and looks for what it printed: it finds none of these. */
    {"[\"/input/a b\"]", "{\"input\":{\"a b\":1}}", "{\"input\":{},\"erased\":[\"/input/a%20b\"]}"},
    {"[\"/input/a%2Fb\"]", "{\"input\":{\"a/b\":1}}", "{\"input\":{},\"erased\":[\"/input/a%252Fb\"]}"},
    {"[\"/input/a~1b\"]", "{\"input\":{\"a/b\":1}}", "{\"input\":{},\"erased\":[\"/input/a~1b\"]}"},
    {"[\"/input/a~0b\"]", "{\"input\":{\"a~b\":1}}", "{\"input\":{},\"erased\":[\"/input/a~0b\"]}"},
    {"[\"/input/a~1b\"]", "{\"input\":{\"a~1b\":1,\"a/b\":2}}", "{\"input\":{\"a/b\":2},\"erased\":[\"/input/a~1b\"]}"},
    {"[\"/input/$&+=:@-_.~\"]", "{\"input\":{\"$&+=:@-_.~\":1}}", "{\"input\":{},\"erased\":[\"/input/$&+=:@-_.~\"]}"},
    {"[{\"op\":\"remove\",\"path\":\"/input/a\"}]", "{\"input\":{\"a\":1}}", "{\"input\":{},\"erased\":[\"/input/a\"]}"},
    {"[{\"op\":\"upsert\",\"path\":\"/input/a\",\"value\":\"*\"}]", "{\"input\":{\"a\":1}}",
     "{\"input\":{\"a\":\"*\"},\"masked\":[\"/input/a\"]}"},
    {"[{\"op\":\"upsert\",\"path\":\"/input/a\"}]", "{\"input\":{\"a\":1}}",
     "{\"input\":{\"a\":null},\"masked\":[\"/input/a\"]}"},
    {"[{\"op\":\"upsert\",\"path\":\"/input/a/b/c\",\"value\":[1]}]", "{\"input\":{}}",
     "{\"input\":{\"a\":{\"b\":{\"c\":[1]}}},\"masked\":[\"/input/a/b/c\"]}"},
    {"[{\"op\":\"upsert\",\"path\":\"/input/a/1\",\"value\":\"*\"}]", "{\"input\":{\"a\":[1,2]}}",
     "{\"input\":{\"a\":[1,\"*\"]},\"masked\":[\"/input/a/1\"]}"},
    {"[{\"op\":\"upsert\",\"path\":\"/input/a/2\",\"value\":\"*\"}]", "{\"input\":{\"a\":[1,2]}}", "{\"input\":{\"a\":[1,2]}}"},
    {"[{\"op\":\"upsert\",\"path\":\"/input/a/2/b\",\"value\":\"*\"}]", "{\"input\":{\"a\":[1]}}", "{\"input\":{\"a\":[1]}}"},
    {"[{\"op\":\"upsert\",\"path\":\"/input/a\",\"value\":1}]", "{\"input\":\"text\"}", "{\"input\":\"text\"}"},
    {"[{\"op\":\"upsert\",\"path\":\"/input/a\",\"value\":1}]", "{\"result\":1}", "{\"result\":1}"},
    {"[{\"op\":\"upsert\",\"path\":\"/result\",\"value\":{\"x\":1}}]", "{\"result\":true}",
     "{\"result\":{\"x\":1},\"masked\":[\"/result\"]}"},
    {"[{\"op\":\"upsert\",\"path\":\"/input/0\",\"value\":9}]", "{\"input\":[1]}", "{\"input\":[9],\"masked\":[\"/input/0\"]}"},
    {"[\"/input/a\",\"/input/a\",{\"op\":\"upsert\",\"path\":\"/input/a\",\"value\":1}]", "{\"input\":{\"a\":7}}",
     "{\"input\":{\"a\":1},\"erased\":[\"/input/a\"],\"masked\":[\"/input/a\"]}"},
};

static void masks(void **state) {
    (void)state;
    struct arena a;
    struct buf out;
    arena_init(&a, 16 << 20);
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct json *event = read(&a, good[i].event);
        assert_int_equal(mask_apply(&a, read(&a, good[i].rules), event), OK);
        print(event, &out);
        assert_string_equal((char *)out.ptr, good[i].masked);
    }
    buf_deinit(&out);
    arena_deinit(&a);
}

/* None of them is passed over: the event will be hidden. */
static const char *const bad[] = {
    "{}", "1", "\"/input/a\"", "true", "null", "[1]", "[null]", "[[]]", "[\"\"]", "[\"/\"]", "[\"input/a\"]", "[\"/labels/id\"]",
    "[\"/inputs\"]", "[\"/input/a\",\"/x\"]", "[{}]", "[{\"op\":\"remove\"}]", "[{\"path\":\"/input/a\"}]",
    "[{\"op\":\"\",\"path\":\"/input/a\"}]", "[{\"op\":\"replace\",\"path\":\"/input/a\"}]", "[{\"op\":1,\"path\":\"/input/a\"}]",
    "[{\"op\":\"remove\",\"path\":1}]", "[{\"op\":\"remove\",\"path\":\"/custom/tenant_id\"}]"};

static void senseless(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 16 << 20);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mask_apply(&a, read(&a, bad[i]), read(&a, "{\"input\":{\"a\":1}}")), ERR_TYPE);
    arena_deinit(&a);
}

/* With any amount of memory: the mask is applied whole, or says that it is not. */
static void little_memory(void **state) {
    (void)state;
    struct arena text, a;
    struct buf out;
    buf_init(&out, 1 << 20);
    arena_init(&text, 1 << 20);
    uint32_t failed = 0;
    for (size_t bytes = 64; bytes < 64 << 10; bytes += 128) {
        arena_reset(&text);
        struct json *rules = read(&text, "[\"/input/a\",{\"op\":\"upsert\",\"path\":\"/input/b/c/d\",\"value\":\"*\"}]");
        struct json *event = read(&text, "{\"input\":{\"a\":\"secret\"},\"custom\":{}}");
        arena_init(&a, bytes);
        enum err e = mask_apply(&a, rules, event);
        if (e) {
            assert_int_equal(e, ERR_MEMORY);
            mask_hide(&a, event, "no memory");
            assert_null(json_get_c(event, "input"));
            failed++;
        } else {
            print(event, &out);
            assert_null(strstr((char *)out.ptr, "secret"));
        }
        arena_deinit(&a);
    }
    assert_true(failed > 0);
    arena_deinit(&text);
    buf_deinit(&out);
}

static void hiding(void **state) {
    (void)state;
    struct arena a;
    struct buf out;
    arena_init(&a, 16 << 20);
    buf_init(&out, 1 << 20);
    struct json *event = read(&a, "{\"decision_id\":\"1\",\"input\":{\"a\":1},\"result\":2,\"nd_builtin_cache\":{},"
                                  "\"masked\":[\"/input/a\"],\"custom\":{\"door\":\"rest\"}}");
    mask_hide(&a, event, "why");
    print(event, &out);
    assert_string_equal((char *)out.ptr,
                        "{\"decision_id\":\"1\",\"custom\":{\"door\":\"rest\",\"mask_error\":\"why\"},\"erased\":[\"/input\","
                        "\"/result\",\"/nd_builtin_cache\"],\"error\":{\"code\":\"mask_failed\",\"message\":\"why\"}}");
    event = read(&a, "{\"input\":1,\"error\":{\"code\":\"deadline\"},\"custom\":{}}");
    mask_hide(&a, event, "why");
    print(event, &out);
    assert_string_equal((char *)out.ptr,
                        "{\"error\":{\"code\":\"deadline\"},\"custom\":{\"mask_error\":\"why\"},\"erased\":[\"/input\"]}");
    buf_deinit(&out);
    arena_deinit(&a);
}

static void of_a_bundle(void **state) {
    (void)state;
    static const struct {
        const char *path, *text;
        bool has;
    } files[] = {
        {"/log.rego", "package system.log\n\nmask contains \"/input/a\"\n", true},
        {"/a/b.rego", "# masks\n\npackage  system.log # x\ndefault mask := []\n", true},
        {"/log.rego", "package system.log\nmask[\"/input/a\"]", true},
        {"/log.rego", "package system.log\nmasked := 1\ndrop if true\n", false},
        {"/log.rego", "package system.logs\nmask := []\n", false},
        {"/log.rego", "package app\nmask := []\n# package system.log\n", false},
        {"/log.txt", "package system.log\nmask := []\n", false},
        {"/log.rego", "", false},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct bundle_file f = {str_of(files[i].path), str_of(files[i].text)};
        struct bundle b = {.files = {&f, 1, 1}};
        assert_int_equal(decision_log_has_masks(&b), files[i].has);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(masks), cmocka_unit_test(senseless),
                                       cmocka_unit_test(little_memory), cmocka_unit_test(hiding),
                                       cmocka_unit_test(of_a_bundle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
