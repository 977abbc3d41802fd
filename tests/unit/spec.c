/* Documents of people: canonical forms, what is refused and where, parameters and their texts. */
#include "control/spec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena a;

static int begin(void **state) {
    (void)state;
    arena_init(&a, 256 << 20);
    return 0;
}
static int end(void **state) {
    (void)state;
    arena_deinit(&a);
    return 0;
}

static struct json *parse(const char *text) {
    struct json *v;
    struct json_error e = {0};
    if (json_parse(&a, str_of(text), &v, &e)) fail_msg("%s: %u: %s", text, e.col, e.message ? e.message : "");
    return v;
}

static const char *text_of(const struct json *v) {
    struct str s;
    assert_int_equal(spec_print(&a, v, &s), OK);
    return s.ptr;
}

/* "file:row:col: message" of the first problem. */
static const char *shown(struct diag_list *l) {
    diag_sort(l);
    struct diag *d = &l->items[0];
    return arena_printf(&a, NULL, "%.*s:%u:%u: %s: %.*s", STR_FMT(d->loc.file), d->loc.row, d->loc.col,
                        diag_code_word(d->code), STR_FMT(d->message));
}

static void good(enum spec_kind kind, const char *document, const char *canonical) {
    struct diag_list diags;
    struct json *out;
    diag_list_init(&diags, &a);
    enum err e = spec_read(&a, kind, parse(document), &out, &diags);
    if (e) fail_msg("%s: %s", document, e == ERR_DIAG ? shown(&diags) : err_word(e));
    assert_string_equal(text_of(out), canonical);
    struct json *again; /* canonical is canonical */
    assert_int_equal(spec_read(&a, kind, parse(canonical), &again, &diags), OK);
    assert_string_equal(text_of(again), canonical);
}

static void bad(enum spec_kind kind, const char *document, const char *problem) {
    struct diag_list diags;
    struct json *out = NULL;
    diag_list_init(&diags, &a);
    enum err e = spec_read(&a, kind, parse(document), &out, &diags);
    if (e != ERR_DIAG) fail_msg("%s: %s, not %s", document, err_word(e), problem);
    assert_null(out);
    if (!strstr(shown(&diags), problem)) fail_msg("%s:\n  %s\n  wanted %s", document, shown(&diags), problem);
}

static void canonical(void **state) {
    (void)state;
    good(SPEC_TENANT, "{}", "{}");
    good(SPEC_TENANT,
         "{\"status\": \"active\", \"labels\": {}, \"files\": {}, \"data\": {}, \"checks\": [], \"limits\": null, "
         "\"template\": {\"version\": 0, \"id\": \"shop\"}}",
         "{\"template\":{\"id\":\"shop\"}}");
    good(SPEC_TENANT, "{\"status\": \"suspended\", \"template\": {\"id\": \"shop\", \"version\": 3}}",
         "{\"status\":\"suspended\",\"template\":{\"id\":\"shop\",\"version\":3}}");
    good(SPEC_TENANT,
         "{\"parameters\": {\"B\": 1.50, \"A\": \"x\\\"\\n\", \"C\": true, \"D\": null}, \"labels\": {\"plan\": \"gold's; --\"},"
         " \"limits\": {\"deadline\": \"20ms\", \"concurrent\": 4}, \"data\": {\"x\": [1, {\"y\": null}]},"
         " \"checks\": [{\"entrypoint\": \"shop/allow\", \"note\": \"n\", \"expect\": 1}],"
         " \"entrypoints\": [\"shop/allow\", \"shop/allow\"]}",
         "{\"checks\":[{\"entrypoint\":\"shop/allow\",\"expect\":1,\"note\":\"n\"}],\"data\":{\"x\":[1,{\"y\":null}]},"
         "\"entrypoints\":[\"shop/allow\"],\"labels\":{\"plan\":\"gold's; --\"},\"limits\":{\"concurrent\":4,"
         "\"deadline\":\"20ms\"},\"parameters\":{\"A\":\"x\\\"\\n\",\"B\":1.50,\"C\":true}}");
    good(SPEC_LIBRARY, "{\"description\": \"\", \"files\": {\"a/b.rego\": \"package a\"}}",
         "{\"files\":{\"a/b.rego\":\"package a\"}}");
    good(SPEC_TEMPLATE,
         "{\"parameters\": {\"A\": {}, \"B\": {\"type\": \"integer\", \"default\": 5, \"required\": false},"
         " \"C\": {\"default\": \"x\", \"required\": true}, \"D\": {\"required\": true, \"enum\": [\"p\", \"q\"]}}}",
         "{\"parameters\":{\"A\":{\"type\":\"string\"},\"B\":{\"default\":5,\"type\":\"integer\"},"
         "\"C\":{\"default\":\"x\",\"required\":true,\"type\":\"string\"},\"D\":{\"enum\":[\"p\",\"q\"],\"type\":\"string\"}}}");
}

static void members(void **state) {
    (void)state;
    bad(SPEC_TENANT, "[]", ":0:0: document_error: it must be an object, not a list");
    bad(SPEC_TENANT, "{\"lables\": {}}", "lables:0:0: document_error: there is no `lables`: did you mean `labels`?");
    bad(SPEC_LIBRARY, "{\"zzzzzz\": {}}", "known here are description, files");
    bad(SPEC_LIBRARY, "{\"labels\": {}}", "there is no `labels`");
    bad(SPEC_TENANT, "{\"status\": \"on\"}", "status:0:0: document_error: it must be `active` or `suspended`");
    bad(SPEC_TENANT, "{\"template\": \"shop\"}", "template:0:0: document_error: it must be an object such as");
    bad(SPEC_TENANT, "{\"template\": {}}", "template.id:0:0");
    bad(SPEC_TENANT, "{\"template\": {\"id\": \"../x\"}}", "template.id:0:0");
    bad(SPEC_TENANT, "{\"template\": {\"id\": \"x\", \"version\": -1}}", "template.version:0:0");
    bad(SPEC_TENANT, "{\"template\": {\"id\": \"x\", \"version\": 1.5}}", "template.version:0:0");
    bad(SPEC_TENANT, "{\"labels\": {\"a b\": \"x\"}}", "labels.a b:0:0");
    bad(SPEC_TENANT, "{\"labels\": {\"a\": 5}}", "labels.a:0:0: document_error: it must be text, not a number");
    bad(SPEC_TENANT, "{\"labels\": {\"a\": \"x\\u0000\"}}", "labels.a:0:0: document_error: it contains control characters");
    bad(SPEC_TENANT, "{\"limits\": {\"dedline\": \"2ms\"}}", "did you mean `deadline`?");
    bad(SPEC_TENANT, "{\"limits\": {\"deadline\": 5}}", "limit \"deadline\" wants a time");
    bad(SPEC_TENANT, "{\"data\": [1]}", "data:0:0: document_error: it must be an object: its members are data's");
    bad(SPEC_TENANT, "{\"checks\": {}}", "checks:0:0");
    bad(SPEC_TENANT, "{\"checks\": [{\"entrypoint\": \"a\"}, {\"entrypoint\": \"a\", \"expects\": 1}]}", "checks[1]:0:0");
    bad(SPEC_TENANT, "{\"entrypoints\": [\"/a\"]}", "entrypoints[0]:0:0");
    bad(SPEC_TENANT, "{\"entrypoints\": [\"a//b\"]}", "entrypoints[0]:0:0");
    bad(SPEC_TENANT, "{\"entrypoints\": [5]}", "entrypoints[0]:0:0");
    bad(SPEC_TEMPLATE, "{\"description\": \"\\u001b[2J\"}", "description:0:0: document_error: it contains control characters");
}

static void file_names(void **state) {
    (void)state;
    static const char *const refused[] = {"../a.rego", "a/../b.rego",    "/a.rego", "a//b.rego", "a/.b.rego", ".rego",
                                          "",          "a\\\\..\\\\b.rego", "a b.rego", "a.json",   "a%2e.rego", "a/b.rego/",
                                          "\\u00e4.rego", "a\\u0000.rego"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        bad(SPEC_TENANT, arena_printf(&a, NULL, "{\"files\": {\"%s\": \"package a\"}}", refused[i]), "files.");
    good(SPEC_TENANT, "{\"files\": {\"A-1/b_c/d.e.rego\": \"package a\"}}", "{\"files\":{\"A-1/b_c/d.e.rego\":\"package a\"}}");
    bad(SPEC_TENANT, "{\"files\": {\"a.rego\": 5}}", "files.a.rego:0:0: document_error: it must be the file's text");
}

static void rego(void **state) {
    (void)state;
    bad(SPEC_TEMPLATE, "{\"files\": {\"a.rego\": \"package a\\n\\nallow if {\\n\\tx ==\\n}\\n\"}}", "a.rego:5:1: rego_parse_error");
    bad(SPEC_TEMPLATE, "{\"files\": {\"a.rego\": \"\"}}", "a.rego:0:0: rego_parse_error: empty module");
    good(SPEC_TEMPLATE, "{\"files\": {\"a.rego\": \"package a\\nx := \\\"{{REGION}}\\\"\"}}",
         "{\"files\":{\"a.rego\":\"package a\\nx := \\\"{{REGION}}\\\"\"}}");
}

static void how_many(void **state) {
    (void)state;
    struct json *document = json_object(&a), *files = json_object(&a), *labels = json_object(&a), *out;
    struct diag_list diags;
    diag_list_init(&diags, &a);
    json_set(&a, document, STR("files"), files);
    json_set(&a, document, STR("labels"), labels);
    for (int i = 0; i < 10000; i++) {
        size_t n;
        char *name = arena_printf(&a, &n, "f%d.rego", i);
        json_append(&a, files, (struct str){name, n}, json_string(&a, STR("package a")));
        if (i < SPEC_LABELS + 1) json_append(&a, labels, (struct str){name, n - 5}, json_string(&a, STR("x")));
    }
    assert_int_equal(spec_read(&a, SPEC_TENANT, document, &out, &diags), ERR_DIAG);
    assert_int_equal(diags.n, 2);
    assert_string_equal(shown(&diags), "files:0:0: document_error: there are 10000; at most 1000 are allowed");
    struct buf b;
    buf_init(&b, 32 << 20);
    buf_cstr(&b, "package a\n#");
    while (b.len <= SPEC_FILE_BYTES) buf_cstr(&b, "0123456789abcdef");
    struct json *large = json_object(&a);
    json_append(&a, large, STR("a.rego"), json_string(&a, buf_view(&b)));
    json_set(&a, document, STR("files"), large);
    json_set(&a, document, STR("labels"), json_null(&a));
    diag_list_init(&diags, &a);
    assert_int_equal(spec_read(&a, SPEC_TENANT, document, &out, &diags), ERR_DIAG);
    assert_non_null(strstr(shown(&diags), "at most 4194304 are allowed"));
    buf_deinit(&b);
}

static void depth(void **state) {
    (void)state;
    for (int more = 0; more < 2; more++) {
        int levels = SPEC_DEPTH + more;
        struct buf b;
        buf_init(&b, 1 << 20);
        buf_cstr(&b, "{\"data\":");
        for (int i = 0; i < levels; i++) buf_cstr(&b, "{\"a\":");
        buf_cstr(&b, "1");
        for (int i = 0; i <= levels; i++) buf_cstr(&b, "}");
        buf_byte(&b, 0);
        if (more)
            bad(SPEC_TENANT, (char *)b.ptr, "it is nested more than");
        else
            good(SPEC_TENANT, (char *)b.ptr, (char *)b.ptr);
        buf_deinit(&b);
    }
}

static void parameters(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{\"a\": {}}", "parameters.a:0:0"},
        {"{\"1A\": {}}", "parameters.1A:0:0"},
        {"{\"A\": 5}", "parameters.A:0:0: document_error: it must be an object such as"},
        {"{\"A\": {\"type\": \"text\"}}", "parameters.A.type:0:0: document_error: it must be string, number, integer or boolean"},
        {"{\"A\": {\"typ\": \"string\"}}", "did you mean `type`?"},
        {"{\"A\": {\"type\": \"integer\", \"default\": 1.5}}", "parameters.A.default:0:0: document_error: it must be a whole number"},
        {"{\"A\": {\"default\": \"z\", \"enum\": [\"x\", \"y\"]}}", "it must be one of [\"x\",\"y\"]"},
        {"{\"A\": {\"enum\": [1]}}", "value 1 must be text"},
        {"{\"A\": {\"enum\": []}}", "it has 1 to 1000 values"},
        {"{\"A\": {\"pattern\": \"(\"}}", "it is no regular expression"},
        {"{\"A\": {\"pattern\": \"a)(b\"}}", "it is no regular expression"},
        {"{\"A\": {\"pattern\": \"[a-z]+\", \"default\": \"ab1\"}}", "does not match the pattern [a-z]+"},
        {"{\"A\": {\"type\": \"number\", \"pattern\": \"1\"}}", "only texts have a pattern"},
        {"{\"A\": {\"required\": false}}", "it is not required and has no default"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        bad(SPEC_TEMPLATE, arena_printf(&a, NULL, "{\"parameters\": %s}", cases[i][0]), cases[i][1]);
    bad(SPEC_TENANT, "{\"parameters\": {\"A\": [1]}}", "a value is text, a number, true or false");
    bad(SPEC_TENANT, "{\"parameters\": {\"a}}\": 1}}", "a parameter's name has");
}

static void values(void **state) {
    (void)state;
    static const char template[] =
        "{\"parameters\": {\"REGION\": {\"enum\": [\"eu\", \"us\"], \"description\": \"where\"}, \"MOST\": {\"type\": \"integer\","
        " \"default\": 10}, \"RATE\": {\"type\": \"number\", \"default\": 1.5}, \"OPEN\": {\"type\": \"boolean\", \"default\": false},"
        " \"NAME\": {\"pattern\": \"a|ab\", \"default\": \"a\"}, \"TEXT\": {\"default\": \"-\"}}}";
    static const struct {
        const char *given, *texts, *problem;
    } cases[] = {
        {"{\"REGION\": \"eu\"}",
         "{\"MOST\":\"10\",\"NAME\":\"a\",\"OPEN\":\"false\",\"RATE\":\"1.5\",\"REGION\":\"eu\",\"TEXT\":\"-\"}", NULL},
        {"{\"REGION\": \"us\", \"MOST\": 123456789012345678901234, \"OPEN\": true, \"RATE\": 1e3, \"NAME\": \"ab\","
         " \"TEXT\": \"\\\"\\nallow := true #\"}",
         "{\"MOST\":\"123456789012345678901234\",\"NAME\":\"ab\",\"OPEN\":\"true\",\"RATE\":\"1e3\",\"REGION\":\"us\","
         "\"TEXT\":\"\\\"\\nallow := true #\"}",
         NULL},
        {"{}", NULL, "parameters.REGION:0:0: document_error: the template wants it (string: where)"},
        {"{\"REGION\": \"moon\"}", NULL, "it must be one of [\"eu\",\"us\"]"},
        {"{\"REGION\": \"eu\", \"MOST\": \"10\"}", NULL, "parameters.MOST:0:0: document_error: it must be a whole number"},
        {"{\"REGION\": \"eu\", \"MOST\": 1.0}", NULL, "it must be a whole number"},
        {"{\"REGION\": \"eu\", \"OPEN\": \"true\"}", NULL, "it must be true or false"},
        {"{\"REGION\": \"eu\", \"NAME\": \"abc\"}", NULL, "does not match"},
        {"{\"REGION\": \"eu\", \"NAME\": \"a\\n\"}", NULL, "does not match"},
        {"{\"REGON\": \"eu\"}", NULL, "parameters.REGION"},
        {"{\"REGION\": \"eu\", \"MOTS\": 1}", NULL, "did you mean `MOST`?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct diag_list diags;
        struct json *out;
        diag_list_init(&diags, &a);
        struct json *tenant = parse(arena_printf(&a, NULL, "{\"parameters\": %s}", cases[i].given));
        enum err e = spec_parameters(&a, parse(template), tenant, &out, &diags);
        if (cases[i].texts) {
            if (e) fail_msg("%s: %s", cases[i].given, shown(&diags));
            assert_string_equal(text_of(out), cases[i].texts);
        } else if (e != ERR_DIAG || !strstr(shown(&diags), cases[i].problem)) {
            fail_msg("%s: %s", cases[i].given, e ? shown(&diags) : "taken");
        }
    }
    struct diag_list diags;
    struct json *out;
    diag_list_init(&diags, &a);
    assert_int_equal(spec_parameters(&a, NULL, parse("{\"parameters\": {\"X\": 5}}"), &out, &diags), OK);
    assert_string_equal(text_of(out), "{\"X\":\"5\"}");
}

/* Whatever memory there is, the answer is the document, a list of problems, or ERR_MEMORY. */
static void memory(void **state) {
    (void)state;
    struct json *document = parse("{\"files\": {\"a.rego\": \"package a\\nallow if input.x\"}, \"labels\": {\"a\": \"b\"},"
                                  " \"parameters\": {\"A\": \"x\"}, \"template\": {\"id\": \"shop\", \"version\": 2}}");
    bool done = false;
    for (size_t most = 0; most < 1 << 20 && !done; most += 1024) {
        struct arena small;
        struct diag_list diags;
        struct json *out = NULL;
        arena_init(&small, most);
        diag_list_init(&diags, &small);
        enum err e = spec_read(&small, SPEC_TENANT, document, &out, &diags);
        assert_null(small.exhausted);
        if (e && e != ERR_MEMORY) fail_msg("%zu bytes: %s", most, err_word(e));
        done = e == OK;
        arena_deinit(&small);
    }
    assert_true(done);
}

static void digests(void **state) {
    (void)state;
    char x[65], y[65], z[65];
    spec_sha256(&a, parse("{\"a\": 1, \"b\": [2]}"), x);
    spec_sha256(&a, parse("{\"b\":[2],\"a\":1}"), y);
    spec_sha256(&a, parse("{\"b\":[2],\"a\":2}"), z);
    assert_string_equal(x, y);
    assert_string_not_equal(x, z);
    assert_int_equal(strlen(x), 64);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(canonical, begin, end),  cmocka_unit_test_setup_teardown(members, begin, end),
        cmocka_unit_test_setup_teardown(file_names, begin, end), cmocka_unit_test_setup_teardown(rego, begin, end),
        cmocka_unit_test_setup_teardown(how_many, begin, end),   cmocka_unit_test_setup_teardown(depth, begin, end),
        cmocka_unit_test_setup_teardown(parameters, begin, end), cmocka_unit_test_setup_teardown(values, begin, end),
        cmocka_unit_test_setup_teardown(memory, begin, end),     cmocka_unit_test_setup_teardown(digests, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
