/* Decisions to CheckResponses: each row is a decision and a dump of the reply's fields, or why
 * there is none. */
#include "edge/authz.h"
#include "net/protobuf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena A;
static struct buf out, dump;

static int setup(void **state) {
    (void)state;
    arena_init(&A, 1 << 24);
    buf_init(&out, 1 << 20);
    buf_init(&dump, 1 << 20);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    arena_deinit(&A);
    buf_deinit(&out);
    buf_deinit(&dump);
    return 0;
}

/* No message of these replies is without a byte below a blank, no text has one. */
static bool is_text(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((uint8_t)s.ptr[i] < ' ') return false;
    return true;
}

/* "1{1:7} 3{2{1{1"x-a" 2"b"}}}": numbers, text in quotes, messages in braces. */
static void print(struct str message) {
    struct reader r = reader_of(message.ptr, message.len);
    struct pb_field f;
    for (const char *space = ""; pb_next(&r, &f); space = " ") {
        buf_printf(&dump, "%s%u", space, f.number);
        if (f.wire == PB_VARINT)
            buf_printf(&dump, ":%llu", (unsigned long long)f.varint);
        else if (f.wire == PB_FIXED64)
            buf_cstr(&dump, ":double");
        else if (f.bytes.len && is_text(f.bytes))
            buf_printf(&dump, "\"%.*s\"", STR_FMT(f.bytes));
        else {
            buf_byte(&dump, '{');
            print(f.bytes);
            buf_byte(&dump, '}');
        }
    }
    assert_false(r.failed);
}

static void answers(const char *decision, bool dry_run, const char *want) {
    const char *why = NULL;
    struct authz_decision d;
    buf_clear(&out);
    buf_clear(&dump);
    arena_reset(&A);
    assert_int_equal(authz_decision_read(&A, str_of(decision), &d, &why), OK);
    assert_int_equal(authz_reply(&d, dry_run, "ID", &out), OK);
    print(buf_view(&out));
    buf_byte(&dump, 0);
    assert_string_equal((char *)dump.ptr, want);
}

static void gives(const char *decision, const char *want) { answers(decision, false, want); }

static void refuses(const char *decision) {
    const char *why = NULL;
    struct authz_decision d;
    arena_reset(&A);
    if (authz_decision_read(&A, str_of(decision), &d, &why) != ERR_INVALID) print_message("# %s\n", decision);
    assert_int_equal(authz_decision_read(&A, str_of(decision), &d, &why), ERR_INVALID);
    assert_non_null(why);
}

#define META " 4{1{1\"decision_id\" 2{3\"ID\"}}}"

static void allows(void **state) {
    (void)state;
    gives("true", "1{}" META);
    gives("{\"allowed\":true}", "1{} 3{}" META);
    gives("{\"allowed\":true,\"headers\":{\"a\":\"b\",\"c\":[\"d\",\"e\"]}}",
          "1{} 3{2{1{1\"a\" 2\"b\"}} 2{1{1\"c\" 2\"d\"}} 2{1{1\"c\" 2\"e\"}}}" META);
    gives("{\"allowed\":true,\"headers\":[{\"a\":\"b\"},{\"a\":\"c\"}]}",
          "1{} 3{2{1{1\"a\" 2\"b\"}} 2{1{1\"a\" 2\"c\"}}}" META);
    gives("{\"allowed\":true,\"request_headers_to_remove\":[\"x\"],\"response_headers_to_add\":{"
          "\"y\":\"z\"},"
          "\"query_parameters_to_set\":{\"q\":[\"1\",\"2\"]},\"query_parameters_to_remove\":[\"r\"]"
          ",\"http_status\":1,\"body\":2}",
          "1{} 3{5\"x\" 6{1{1\"y\" 2\"z\"}} 7{1\"q\" 2\"1\"} 7{1\"q\" 2\"2\"} 8\"r\"}" META);
}

static void denies(void **state) {
    (void)state;
    gives("false", "1{1:7}" META);
    gives("{\"allowed\":false}", "1{1:7} 2{1{1:403}}" META);
    gives("{\"allowed\":false,\"dynamic_metadata\":{\"decision_id\":\"x\"}}", "1{1:7} 2{1{1:403}}" META);
    gives("{\"allowed\":false,\"http_status\":401,\"body\":\"no\",\"headers\":{\"a\":\"b\"}}",
          "1{1:7} 2{1{1:401} 2{1{1\"a\" 2\"b\"}} 3\"no\"}" META);
    gives("{\"allowed\":false,\"dynamic_metadata\":{\"n\":1.5,\"z\":null,\"b\":true,\"l\":[\"x\"],"
          "\"o\":{}}}",
          "1{1:7} 2{1{1:403}} 4{1{1\"n\" 2{2:double}} 1{1\"z\" 2{1:0}} 1{1\"b\" 2{4:1}} 1{1\"l\" "
          "2{6{1{3\"x\"}}}} 1{1\"o\" 2{5{}}} "
          "1{1\"decision_id\" 2{3\"ID\"}}}");
}

static void mistyped(void **state) {
    (void)state;
    static const char *const rows[] = {
        "1",
        "\"true\"",
        "null",
        "[true]",
        "{}",
        "{\"allow\":true}",
        "{\"allowed\":1}",
        "{\"allowed\":null}",
        "{\"allowed\":true,\"headers\":1}",
        "{\"allowed\":true,\"headers\":null}",
        "{\"allowed\":true,\"headers\":{\"a\":1}}",
        "{\"allowed\":true,\"headers\":{\"a\":[1]}}",
        "{\"allowed\":true,\"headers\":[1]}",
        "{\"allowed\":true,\"response_headers_to_add\":\"x\"}",
        "{\"allowed\":true,\"request_headers_to_remove\":\"x\"}",
        "{\"allowed\":true,\"request_headers_to_remove\":[1]}",
        "{\"allowed\":true,\"query_parameters_to_set\":[]}",
        "{\"allowed\":true,\"query_parameters_to_set\":{\"a\":1}}",
        "{\"allowed\":true,\"query_parameters_to_remove\":{}}",
        "{\"allowed\":true,\"dynamic_metadata\":[]}",
        "{\"allowed\":false,\"http_status\":\"401\"}",
        "{\"allowed\":false,\"http_status\":299}",
        "{\"allowed\":false,\"http_status\":418}",
        "{\"allowed\":false,\"http_status\":425}",
        "{\"allowed\":false,\"http_status\":0}",
        "{\"allowed\":false,\"http_status\":401.5}",
        "{\"allowed\":false,\"body\":1}",
        "{\"allowed\":false,\"headers\":{\"a\":null}}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) refuses(rows[i]);
}

static void own_denial(void **state) {
    (void)state;
    buf_clear(&dump);
    authz_deny(400, "a \"reason\"", "ID", &out);
    print(buf_view(&out));
    buf_byte(&dump, 0);
    assert_string_equal((char *)dump.ptr,
                        "1{1:7} 2{1{1:400} 3\"{\"reason\":\"a \\\"reason\\\"\"}\"}" META);
}

static void dry_runs(void **state) {
    (void)state;
    answers("false", true, "1{} 3{}" META);
    answers("true", true, "1{}" META);
    answers("{\"allowed\":false,\"headers\":{\"a\":\"b\"},\"dynamic_metadata\":{\"k\":\"v\"}}", true,
            "1{} 3{} 4{1{1\"k\" 2{3\"v\"}} 1{1\"decision_id\" 2{3\"ID\"}}}");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(allows), cmocka_unit_test(denies),
                                       cmocka_unit_test(mistyped), cmocka_unit_test(dry_runs), cmocka_unit_test(own_denial)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
