/* CheckRequest bytes to input documents: rows of what is written and what is expected. */
#include "edge/authz.h"
#include "edge/json_text.h"
#include "net/protobuf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena A;
static struct buf message, out;
static struct authz_check opened;
static const char *why;

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

static enum err whole(struct str bytes) {
    arena_reset(&A);
    buf_clear(&out);
    enum err e = authz_check_open(&A, bytes, &opened);
    return e ? e : authz_check_input(&A, &opened, AUTHZ_ALL, &out, &why);
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
    return whole(buf_view(&message));
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
    gives(&(struct http){.path = "/a?b=2&s=%26+x&a=&b=1&&=v"},
          "{\"parsed_query\":{\"\":[\"v\"],\"a\":[\"\"],\"b\":[\"2\",\"1\"],\"s\":[\"& x\"]}}");
    gives(&(struct http){.path = ""}, "{\"parsed_path\":[\"\"],\"parsed_query\":{}}");
    assert_int_equal(convert(&(struct http){.path = "/a?q=%zz"}), ERR_INPUT);
    assert_int_equal(convert(&(struct http){.path = "/a?a;b"}), ERR_INPUT);
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
    /* Nothing of a body can pass for a member beside it. */
    static const char *const broken[] = {"1,\"x\":2", "{}}", "{", "", " ", "1 2", "[1,]", "{\"a\"}", "nul", "01", "\"\t\"",
                                         "\"\\x\"", "\"\\u12g4\"", "-", "1.", "1e", "[}", "{]", "\xef\xbb\xbf{}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        if (*broken[i]) assert_int_equal(convert(&(struct http){.path = "/", .body = broken[i], .type = json}), ERR_INPUT);
}

#define FORM_DATA "Content-Disposition: form-data; "
static void multipart(void **state) {
    (void)state;
    const char *type = "multipart/form-data; boundary=\"B x\"";
    gives(&(struct http){.path = "/", .type = type, .body = "--B x\r\n" FORM_DATA "name=a\r\n\r\n1\r\n--B x\r\n" FORM_DATA
                         "name=\"b\"; filename=\"f\"\r\ncontent-type: application/json\r\n\r\n{\"k\":[1]}\r\n--B x\r\n"
                         FORM_DATA "name=a\r\n\r\n\r\n--B x--\r\n"},
          "{\"parsed_body\":{\"a\":[\"1\",\"\"],\"b\":[{\"k\":[1]}]},\"truncated_body\":false}");
    gives(&(struct http){.path = "/", .type = "multipart/form-data", .body = "x"}, "{\"parsed_body\":null}");
    gives(&(struct http){.path = "/", .type = type, .body = "--B x--"}, "{\"parsed_body\":{}}");
    gives(&(struct http){.path = "/", .type = type, .body = "x", .length = "9"},
          "{\"parsed_body\":null,\"truncated_body\":true}");
    /* Parts without a name, of another disposition, or with a broken one are left out. */
    gives(&(struct http){.path = "/", .type = type, .body = "--B x\r\n\r\n1\r\n--B x\r\nContent-Disposition: attachment; name=a"
                         "\r\n\r\n1\r\n--B x\r\n" FORM_DATA "name=a; name=b\r\n\r\n1\r\n--B x--"}, "{\"parsed_body\":{}}");
    static const char *const broken[] = {"x", "--B x", "--B x\r\n" FORM_DATA "name=a\r\n\r\n1", "--B x\r\nno colon\r\n\r\n1\r\n--B x--",
                                         "--B x\r\n" FORM_DATA "name=a\r\ncontent-type: application/json\r\n\r\n{\r\n--B x--",
                                         "--B x\r\n" FORM_DATA "name*=utf-8''a\r\n\r\n1\r\n--B x--",
                                         "--B x\r\n" FORM_DATA "name=a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n1\r\n--B x--"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_int_equal(convert(&(struct http){.path = "/", .type = type, .body = broken[i]}), ERR_INPUT);
    assert_int_equal(convert(&(struct http){.path = "/", .type = "multipart/form-data; boundary", .body = "x"}), ERR_INPUT);
}

/* Pieces of embedded messages are joined, of scalars the last counts, and of a oneof the last member. */
static void pieces(void **state) {
    (void)state;
    static const struct {
        struct str bytes;
        const char *want;
    } rows[] = {
        {STR("\x0a\x08\x22\x06\x12\x04\x12\x02\x47\x47\x0a\x08\x22\x06\x12\x04\x22\x02/p"),
         "{\"attributes\":{\"request\":{\"http\":{\"method\":\"GG\",\"path\":\"/p\"}}},\"parsed_path\":[\"p\"]}"},
        {STR("\x0a\x10\x22\x06\x12\x04\x22\x02/a\x22\x06\x12\x04\x22\x02/b"),
         "{\"attributes\":{\"request\":{\"http\":{\"path\":\"/b\"}}},\"parsed_path\":[\"b\"]}"},
        {STR("\x0a\x0b\x0a\x09\x0a\x07\x0a\x05\x22\x01x\x18\x00"),
         "{\"attributes\":{\"source\":{\"address\":{\"socketAddress\":{\"portValue\":0}}}}}"},
        {STR("\x0a\x0e\x0a\x0c\x0a\x0a\x0a\x02\x18\x01\x12\x04\x0a\x02/s"),
         "{\"attributes\":{\"source\":{\"address\":{\"pipe\":{\"path\":\"/s\"}}}}}"},
        {STR("\x0a\x04\x0a\x02\x12\x00"), "{\"attributes\":{\"source\":{}}}"},
        {STR("\x0a\x02\x08\x07"), "{\"attributes\":{}}"}, /* another wire type: an unknown field */
    };
    struct json *v, *want;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(whole(rows[i].bytes), OK);
        assert_int_equal(json_parse(&A, buf_view(&out), &v, NULL), OK);
        assert_int_equal(json_parse(&A, str_of(rows[i].want), &want, NULL), OK);
        for (uint32_t k = 0; k < want->n; k++) {
            if (!json_equal(json_get(v, want->keys[k]), want->items[k])) print_message("# %.*s\n", STR_FMT(buf_view(&out)));
            assert_true(json_equal(json_get(v, want->keys[k]), want->items[k]));
        }
    }
}

static void tenants(void **state) {
    (void)state;
    assert_int_equal(convert(&(struct http){.path = "/", .tenant = "h", .context = "c"}), OK);
    assert_true(str_is(authz_check_extension(&opened, STR("tenant_id")), "c"));
    assert_true(str_is(authz_check_header(&opened, STR("x-tenant")), "h"));
    assert_null(authz_check_extension(&opened, STR("tenant")).ptr);
    assert_null(authz_check_header(&opened, STR("x-tenan")).ptr);
    assert_int_equal(convert(&(struct http){.path = "/%", .tenant = "h", .context = "c"}), ERR_INPUT);
    assert_true(str_is(authz_check_extension(&opened, STR("tenant_id")), "c")); /* a refusal is logged under its tenant */
}

static void raw_header(const char *name, const char *value) {
    size_t m = pb_begin(&message, 1);
    pb_string(&message, 1, str_of(name));
    pb_string(&message, 3, str_of(value));
    pb_end(&message, m);
}

/* encode_raw_headers: bytes, and every occurrence by itself. */
static void raw_headers(void **state) {
    (void)state;
    buf_clear(&message);
    size_t attributes = pb_begin(&message, 1), request = pb_begin(&message, 4), http = pb_begin(&message, 2);
    size_t map = pb_begin(&message, 13);
    raw_header("content-type", "application/json");
    raw_header("x-tenant", "a");
    raw_header("x-twice", "a");
    raw_header("x-twice", "b");
    pb_end(&message, map);
    pb_string(&message, 12, STR("[7]"));
    pb_end(&message, http);
    pb_end(&message, request);
    pb_end(&message, attributes);
    assert_int_equal(whole(buf_view(&message)), OK);
    assert_true(str_is(authz_check_header(&opened, STR("x-tenant")), "a"));
    assert_true(str_is(authz_check_header(&opened, STR("x-twice")), ","));
    struct str text = buf_view(&out);
    assert_non_null(memmem(text.ptr, text.len, "\"parsed_body\":[7]", 17));
    assert_non_null(memmem(text.ptr, text.len, "{\"key\":\"x-tenant\",\"rawValue\":\"YQ==\"}", 36));
}

static void no_request(void **state) {
    (void)state;
    assert_int_equal(whole(STR("")), OK);
    assert_string_equal("{\"parsed_path\":[\"\"],\"parsed_query\":{},\"parsed_body\":null,\"truncated_body\":false,\"version\":"
                        "{\"ext_authz\":\"v3\",\"encoding\":\"protojson\"}}",
                        arena_strndup(&A, (char *)out.ptr, out.len));
    assert_int_equal(whole(STR("\xff\xff")), ERR_SYNTAX);
    assert_int_equal(whole(STR("\x0a\x03\x22\x7f\x01")), ERR_SYNTAX);
    assert_int_equal(whole(STR("\x0a\x04\x5a\x02\x0a\x7f")), ERR_INPUT); /* metadata, which nothing but the input needs */
}

/* What is no UTF-8 becomes U+FFFD, byte by byte; what JSON must escape is escaped. */
static void strings(void **state) {
    (void)state;
    static const struct {
        struct str text;
        const char *want;
    } rows[] = {{STR(""), "\"\""},
                {STR("12345678"), "\"12345678\""},
                {STR("1234567\"8\\9abcdefg\n"), "\"1234567\\\"8\\\\9abcdefg\\n\""},
                {STR("\xff\xfe"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
                {STR("a\xc3\xa9\xc3"), "\"a\xc3\xa9\xef\xbf\xbd\""},
                {STR("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
                {STR("\0\1\x1f\b\f\r\t\x7f"), "\"\\u0000\\u0001\\u001f\\b\\f\\r\\t\x7f\""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        json_text_string(&out, rows[i].text);
        buf_byte(&out, 0);
        assert_string_equal((char *)out.ptr, rows[i].want);
    }
    char quotes[3000], text[6003] = "\"";
    memset(quotes, '"', sizeof quotes);
    for (int i = 0; i < 3000; i++) memcpy(text + 1 + 2 * i, "\\\"", 2);
    text[6001] = '"';
    struct buf fresh;
    buf_init(&fresh, 1 << 20);
    json_text_string(&fresh, (struct str){quotes, sizeof quotes});
    assert_true(str_is(buf_view(&fresh), text));
    buf_deinit(&fresh);
}

/* A Struct nested deeper than allowed is refused, not followed. */
static void deep_struct(void **state) {
    (void)state;
    struct buf inner, outer;
    buf_init(&inner, 1 << 20);
    buf_init(&outer, 1 << 20);
    for (int i = 0; i < 1100; i++) {
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
    assert_int_equal(whole(buf_view(&message)), ERR_INPUT);
    buf_deinit(&inner);
    buf_deinit(&outer);
}

/* A module that names the paths it reads gets those parts, and no others. */
static void wanted_parts(void **state) {
    (void)state;
    static const char head[] = "{\"version\":{\"ext_authz\":\"v3\",\"encoding\":\"protojson\"}";
    static const char *const rows[][2] = {
        {"[]", ""},
        {"[[\"nothing\"],[\"attributes\",\"nothing\"],[\"attributes\",\"request\",\"nothing\"]]", ""},
        {"[[\"parsed_path\"]]", ",\"parsed_path\":[\"p\"]"},
        {"[[\"parsed_body\",\"a\",\"b\"],[\"truncated_body\"]]", ",\"parsed_body\":[1],\"truncated_body\":false"},
        {"[[\"parsed_query\"],[\"source_principal\"]]", ",\"parsed_query\":{\"q\":[\"1\"]},\"source_principal\":\"me\""},
        {"[[\"attributes\",\"source\",\"address\"]]", ",\"attributes\":{\"source\":{\"principal\":\"me\"}}"},
        {"[[\"attributes\",\"contextExtensions\",\"tenant_id\"]]", ",\"attributes\":{\"contextExtensions\":{\"tenant_id\":\"c\"}}"},
        {"[[\"attributes\",\"request\",\"time\",\"seconds\"]]", ",\"attributes\":{\"request\":{\"time\":{\"seconds\":7}}}"},
        {"[[\"attributes\",\"request\",\"http\",\"path\"]]", ",\"attributes\":{\"request\":{\"http\":{\"path\":\"/p?q=1\"}}}"},
        {"[[\"attributes\",\"request\",\"http\",\"headers\",\"a\"]]",
         ",\"attributes\":{\"request\":{\"http\":{\"headers\":{\"content-type\":\"application/json\"}}}}"},
        {"[[\"attributes\",\"request\",\"http\"]]", ",\"attributes\":{\"request\":{\"http\":{\"headers\":{\"content-type\":"
         "\"application/json\"},\"path\":\"/p?q=1\",\"body\":\"[1]\"}}}"},
    };
    static const char *const all[] = {"[[]]", "{}", "[7]", "[[7]]", "7", "[[\"parsed_path\"],[]]"};
    struct json *paths, *got, *want;
    buf_clear(&message);
    size_t attributes = pb_begin(&message, 1), source = pb_begin(&message, 1);
    pb_string(&message, 4, STR("me"));
    pb_end(&message, source);
    size_t request = pb_begin(&message, 4), time = pb_begin(&message, 1);
    pb_varint(&message, 1, 7);
    pb_end(&message, time);
    size_t http = pb_begin(&message, 2);
    header("content-type", "application/json");
    pb_string(&message, 4, STR("/p?q=1"));
    pb_string(&message, 11, STR("[1]"));
    pb_end(&message, http);
    pb_end(&message, request);
    size_t extension = pb_begin(&message, 10);
    pb_string(&message, 1, STR("tenant_id"));
    pb_string(&message, 2, STR("c"));
    pb_end(&message, extension);
    pb_end(&message, attributes);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        arena_reset(&A);
        buf_clear(&out);
        assert_int_equal(json_parse(&A, str_of(rows[i][0]), &paths, NULL), OK);
        assert_int_equal(authz_check_open(&A, buf_view(&message), &opened), OK);
        assert_int_equal(authz_check_input(&A, &opened, authz_wanted(paths), &out, &why), OK);
        assert_int_equal(json_parse(&A, buf_view(&out), &got, NULL), OK);
        assert_int_equal(json_parse(&A, str_of(arena_printf(&A, NULL, "%s%s}", head, rows[i][1])), &want, NULL), OK);
        if (!json_equal(got, want)) print_message("# %s\n# %.*s\n", rows[i][0], STR_FMT(buf_view(&out)));
        assert_true(json_equal(got, want));
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(json_parse(&A, str_of(all[i]), &paths, NULL), OK);
        assert_true(authz_wanted(paths) == AUTHZ_ALL);
    }
    /* What is not wanted is refused all the same when it cannot be parsed. */
    assert_int_equal(convert(&(struct http){.path = "/%"}), ERR_INPUT);
    assert_int_equal(authz_check_input(&A, &opened, 0, &out, &why), ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths), cmocka_unit_test(bodies),
                                       cmocka_unit_test(raw_bodies),
                                       cmocka_unit_test(tenants), cmocka_unit_test(multipart), cmocka_unit_test(wanted_parts),
                                       cmocka_unit_test(pieces), cmocka_unit_test(raw_headers), cmocka_unit_test(strings),
                                       cmocka_unit_test(no_request),
                                       cmocka_unit_test(deep_struct)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
