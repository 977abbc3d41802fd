/* Spans as OTLP's JSON: what stands in it can be read back, whatever a client put into names. */
#include "base/json.h"
#include "base/utf8.h"
#include "edge/tracer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct arena arena;

/* The request that holds the spans; its text is checked too. */
static const struct json *spans_of(const struct span *spans, uint32_t n, struct buf *out) {
    struct json *root;
    buf_init(out, 1 << 20);
    span_attribute(out, "service.name", STR("a\"b\\c"), true);
    char *resource = arena_strndup(&arena, (const char *)out->ptr, out->len);
    buf_clear(out);
    span_print_head(str_of(resource), out);
    for (uint32_t i = 0; i < n; i++) span_print(&spans[i], i == 0, out);
    span_print_end(out);
    assert_int_equal(out->err, OK);
    assert_true(utf8_valid(buf_view(out)));
    assert_int_equal(json_parse(&arena, buf_view(out), &root, NULL), OK);
    const struct json *resources = json_get_c(root, "resourceSpans");
    const struct json *scopes = json_get_c(resources->items[0], "scopeSpans");
    return json_get_c(scopes->items[0], "spans");
}

static struct str attribute(const struct json *span, const char *key) {
    const struct json *all = json_get_c(span, "attributes");
    for (uint32_t i = 0; i < all->n; i++)
        if (str_is(json_get_c(all->items[i], "key")->text, key))
            return json_get_c(all->items[i], "value")->items[0]->text;
    return (struct str){NULL, 0};
}

static const struct span request = {.context = {"4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", true},
                                    .id = "0123456789abcdef",
                                    .door = "rest",
                                    .start_ns = 1700000000000000001,
                                    .end_ns = 1700000000000002000,
                                    .tenant = "acme",
                                    .path = "p/allow",
                                    .decision_id = "d",
                                    .outcome = "allow",
                                    .method = "POST",
                                    .decisions = 1,
                                    .status = 200,
                                    .grpc_status = -1};

static void whole(void **state) {
    (void)state;
    struct buf out;
    struct span two[2] = {request, request};
    two[1].is_evaluation = true;
    two[1].context.span_id[0] = 0;
    const struct json *spans = spans_of(two, 2, &out);
    assert_int_equal(spans->n, 2);
    const struct json *first = spans->items[0], *second = spans->items[1];
    assert_true(str_is(json_get_c(first, "startTimeUnixNano")->text, "1700000000000000001"));
    assert_true(str_is(json_get_c(first, "parentSpanId")->text, "00f067aa0ba902b7"));
    assert_true(str_is(json_get_c(first, "name")->text, "rest"));
    assert_true(str_is(attribute(first, "http.response.status_code"), "200"));
    assert_null(attribute(first, "rpc.grpc.status_code").ptr);
    assert_null(json_get_c(first, "status"));
    assert_null(json_get_c(second, "parentSpanId"));
    assert_true(str_is(json_get_c(second, "name")->text, "evaluate"));
    assert_null(attribute(second, "http.request.method").ptr);
    buf_deinit(&out);
}

static void hostile(void **state) {
    (void)state;
    struct buf out;
    struct span s = request;
    snprintf(s.tenant, sizeof s.tenant, "a\"},{\x01\n\\\xff\xc3");
    memset(s.path, 0xe2, sizeof s.path - 1); /* a character that was cut */
    snprintf(s.message, sizeof s.message, "</script>\"\x1b[0m");
    s.error = "deadline";
    s.outcome = "error";
    const struct json *span = spans_of(&s, 1, &out)->items[0];
    assert_true(str_starts(attribute(span, "regent.tenant_id"), STR("a\"},{\x01\n\\")));
    assert_true(str_is(json_get_c(json_get_c(span, "status"), "code")->text, "2"));
    assert_true(str_is(json_get_c(json_get_c(span, "status"), "message")->text, "</script>\"\x1b[0m"));
    buf_deinit(&out);
}

static void batch(void **state) {
    (void)state;
    struct buf out;
    struct span s = request;
    s.decisions = 3;
    s.status = 0;
    s.grpc_status = 0;
    const struct json *span = spans_of(&s, 1, &out)->items[0];
    assert_true(str_is(attribute(span, "regent.decisions"), "3"));
    assert_null(attribute(span, "regent.decision").ptr);
    assert_true(str_is(attribute(span, "rpc.grpc.status_code"), "0"));
    assert_null(attribute(span, "http.response.status_code").ptr);
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole), cmocka_unit_test(hostile), cmocka_unit_test(batch)};
    arena_init(&arena, 16 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_deinit(&arena);
    return failed;
}
