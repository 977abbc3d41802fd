/* CheckRequest bytes to input documents: rows of what is written and what is expected. */
#include "edge/doors.h"
#include "net/protobuf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena A;
static struct buf message, out;
static struct authz_request info;

static int setup(void **state) {
    (void)state;
    arena_init(&A, 1 << 24);
    buf_init(&message, 1 << 20);
    buf_init(&out, 1 << 20);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    arena_deinit(&A);
    buf_deinit(&message);
    buf_deinit(&out);
    return 0;
}

struct http {
    const char *path, *body, *raw, *type, *length, *partial, *tenant, *context;
};

static void header(const char *name, const char *v) {
    if (!v) return;
    size_t m = pb_begin(&message, 3);
    pb_string(&message, 1, str_of(name));
    pb_string(&message, 2, str_of(v));
    pb_end(&message, m);
}

static enum err convert(const struct http *h) {
    buf_clear(&message);
    buf_clear(&out);
    size_t attributes = pb_begin(&message, 1), request = pb_begin(&message, 4),
           http = pb_begin(&message, 2);
    header("content-type", h->type);
    header("content-length", h->length);
    header("x-envoy-auth-partial-body", h->partial);
    header("x-tenant", h->tenant);
    pb_string(&message, 4, str_of(h->path));
    if (h->body) pb_string(&message, 11, str_of(h->body));
    if (h->raw) pb_string(&message, 12, str_of(h->raw));
    pb_end(&message, http);
    pb_end(&message, request);
    if (h->context) {
        size_t m = pb_begin(&message, 10);
        pb_string(&message, 1, STR("tenant_id"));
        pb_string(&message, 2, str_of(h->context));
        pb_end(&message, m);
    }
    pb_end(&message, attributes);
    arena_reset(&A);
    return authz_input(&A, buf_view(&message), STR("x-tenant"), &out, &info);
}

/* The input document's members beside attributes. */
static void gives(const struct http *h, const char *want) {
    struct json *v, *expected;
    struct json_error error;
    assert_int_equal(convert(h), OK);
    assert_int_equal(json_parse(&A, buf_view(&out), &v, &error), OK);
    assert_int_equal(json_parse(&A, str_of(want), &expected, &error), OK);
    for (uint32_t i = 0; i < expected->n; i++) {
        struct json *got = json_get(v, expected->keys[i]);
        if (!got || !json_equal(got, expected->items[i]))
            print_message("# %.*s\n", STR_FMT(buf_view(&out)));
        assert_true(got && json_equal(got, expected->items[i]));
    }
}

static void paths(void **state) {
    (void)state;
    gives(&(struct http){.path = "/a/b%20c/"},
          "{\"parsed_path\":[\"a\",\"b c\",\"\"],\"parsed_query\":{}}");
    gives(&(struct http){.path = "///a//../b?x=1&x=2&y"},
          "{\"parsed_path\":[\"a\",\"\",\"..\",\"b\"],\"parsed_query\":{\"x\":[\"1\",\"2\"],\"y\":["
          "\"\"]}}");
    gives(&(struct http){.path = "/"}, "{\"parsed_path\":[\"\"]}");
    gives(&(struct http){.path = "/a?q=%zz&r=a+b;c&s=%26"}, "{\"parsed_query\":{\"s\":[\"&\"]}}");
    assert_int_equal(convert(&(struct http){.path = "/%"}), ERR_INPUT);
}

/* Bytes go over as base64, padded. */
static void raw_bodies(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"\xff", "/w=="}, {"\xff\xfe", "//4="}, {"\xff\xfe\x01", "//4B"}, {"\xfb\xef\xbe?a", "++++P2E="}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char want[128];
        snprintf(want, sizeof want,
                 "{\"attributes\":{\"request\":{\"http\":{\"path\":\"/\",\"rawBody\":\"%s\"}}}}", rows[i][1]);
        gives(&(struct http){.path = "/", .raw = rows[i][0]}, want);
    }
}

static void bodies(void **state) {
    (void)state;
    const char *json = "application/json", *form = "application/x-www-form-urlencoded";
    gives(&(struct http){.path = "/", .body = "[1]", .type = json},
          "{\"parsed_body\":[1],\"truncated_body\":false}");
    gives(&(struct http){.path = "/", .type = json},
          "{\"parsed_body\":null,\"truncated_body\":false}");
    gives(&(struct http){.path = "/", .body = "[1", .type = json, .length = "9"},
          "{\"parsed_body\":null,\"truncated_body\":true}");
    gives(&(struct http){.path = "/", .body = "[1]", .type = json, .length = "-1"},
          "{\"parsed_body\":[1]}");
    gives(&(struct http){.path = "/", .body = "[1", .type = json, .partial = "true"},
          "{\"parsed_body\":null,\"truncated_body\":true}");
    gives(&(struct http){.path = "/", .body = "a=1&b=%20&a=", .type = form},
          "{\"parsed_body\":{\"a\":[\"1\",\"\"],\"b\":[\" \"]}}");
    gives(&(struct http){.path = "/", .body = "x", .type = "text/plain", .length = "99"},
          "{\"parsed_body\":null,\"truncated_body\":false}");
    assert_int_equal(convert(&(struct http){.path = "/", .body = "[1", .type = json}), ERR_INPUT);
    assert_int_equal(
        convert(&(struct http){.path = "/", .body = "[1]", .type = json, .length = "x"}),
        ERR_INPUT);
    assert_int_equal(convert(&(struct http){.path = "/", .body = "a=%", .type = form}), ERR_INPUT);
    assert_int_equal(convert(&(struct http){
                         .path = "/", .body = "x", .type = "multipart/form-data; boundary=x"}),
                     ERR_INPUT);
}

static void tenants(void **state) {
    (void)state;
    assert_int_equal(convert(&(struct http){.path = "/", .tenant = "h", .context = "c"}), OK);
    assert_true(str_is(info.tenant, "c") && str_is(info.header_tenant, "h"));
    assert_int_equal(convert(&(struct http){.path = "/", .tenant = "h"}), OK);
    assert_true(info.tenant.len == 0 && str_is(info.header_tenant, "h"));
    assert_int_equal(convert(&(struct http){.path = "/%", .tenant = "h", .context = "c"}),
                     ERR_INPUT);
    assert_true(str_is(info.tenant, "c")); /* a refusal is logged under its tenant */
}

static void no_request(void **state) {
    (void)state;
    arena_reset(&A);
    buf_clear(&out);
    assert_int_equal(authz_input(&A, STR(""), STR("x"), &out, &info), ERR_INPUT);
    assert_int_equal(authz_input(&A, STR("\xff\xff"), STR("x"), &out, &info), ERR_SYNTAX);
    assert_int_equal(authz_input(&A, STR("\x0a\x03\x22\x7f\x01"), STR("x"), &out, &info),
                     ERR_SYNTAX);
}

/* A Struct nested deeper than allowed is refused, not followed. */
static void deep_struct(void **state) {
    (void)state;
    struct buf inner, outer;
    buf_init(&inner, 1 << 20);
    buf_init(&outer, 1 << 20);
    for (int i = 0; i < 200; i++) {
        buf_clear(&outer);
        size_t entry = pb_begin(&outer, 1);
        pb_string(&outer, 1, STR("k"));
        size_t v = pb_begin(&outer, 2);
        pb_string(&outer, 5, buf_view(&inner));
        pb_end(&outer, v);
        pb_end(&outer, entry);
        buf_clear(&inner);
        buf_str(&inner, buf_view(&outer));
    }
    buf_clear(&message);
    size_t attributes = pb_begin(&message, 1), metadata = pb_begin(&message, 11),
           entry = pb_begin(&message, 1);
    pb_string(&message, 1, STR("f"));
    pb_string(&message, 2, buf_view(&inner));
    pb_end(&message, entry);
    pb_end(&message, metadata);
    pb_end(&message, attributes);
    buf_clear(&out);
    assert_int_equal(authz_input(&A, buf_view(&message), STR("x"), &out, &info), ERR_SYNTAX);
    buf_deinit(&inner);
    buf_deinit(&outer);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths), cmocka_unit_test(bodies),
                                       cmocka_unit_test(raw_bodies),
                                       cmocka_unit_test(tenants), cmocka_unit_test(no_request),
                                       cmocka_unit_test(deep_struct)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
