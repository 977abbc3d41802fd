/* Host builtins by name: arguments and result as JSON; "!" before a message is an error. Results
 * are OPA's. */
#include "base/buf.h"
#include "host/builtins/builtin.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct builtin_case {
    const char *name, *args, *result;
};

static const struct builtin_case CASES[] = {
    {"regex.replace", "[\"abc def\",\"(\\\\w)(\\\\w*)\",\"$2-${1}_$$\"]", "\"bc-a_$ ef-d_$\""},
    {"regex.replace", "[\"foo\",\"^[a-z]\",\"F\"]", "\"Foo\""},
    {"regex.replace", "[\"aaa\",\"\",\"-\"]", "\"-a-a-a-\""},
    {"regex.replace", "[\"-wy-\",\"(?<a>w)(?P<b>y)\",\"${b}$a$zz\"]", "\"-yw-\""},
    {"regex.split", "[\"a*\",\"baaac\"]", "[\"b\",\"c\"]"},
    {"regex.split", "[\",\",\"\"]", "[\"\"]"},
    {"regex.split", "[\",\",\"a,b,,c\"]", "[\"a\",\"b\",\"\",\"c\"]"},
    {"regex.split", "[\"\",\"héy\"]", "[\"h\",\"é\",\"y\"]"},
    {"regex.find_n", "[\"a.\",\"abacad\",2]", "[\"ab\",\"ac\"]"},
    {"regex.find_n", "[\"a*\",\"baaa\",-1]", "[\"\",\"aaa\"]"},
    {"regex.find_n", "[\"x\",\"abc\",-1]", "[]"},
    {"regex.find_all_string_submatch_n", "[\"a(x*)b(y|z)?c\",\"axxxbyc abc\",-1]",
     "[[\"axxxbyc\",\"xxx\",\"y\"],[\"abc\",\"\",\"\"]]"},
    {"regex.match", "[\"^\\\\p{L}+$\",\"héllo\"]", "true"},
    {"regex.match", "[\"a(\",\"a\"]", "!error parsing regexp"},
    {"regex.match", "[1,\"a\"]", "!operand 1 must be string but got number"},
    {"regex.is_valid", "[\"a(\"]", "false"},
    {"regex.is_valid", "[\"(?<n>a)\"]", "true"},
    {"regex.template_match", "[\"urn:foo:{.*}\",\"urn:foo:bar:baz\",\"{\",\"}\"]", "true"},
    {"regex.template_match", "[\"urn:{\",\"urn:\",\"{\",\"}\"]", "!unbalanced"},
    {"glob.match", "[\"*.github.com\",[\".\"],\"api.github.com\"]", "true"},
    {"glob.match", "[\"*.github.com\",[],\"a.b.github.com\"]", "false"},
    {"glob.match", "[\"**.x\",[\".\"],\"a.b.x\"]", "true"},
    {"glob.match", "[\"[a-c]?{x,yy,}\",null,\"bzyy\"]", "true"},
    {"glob.match", "[\"a[!b]c\",[],\"adc\"]", "true"},
    {"glob.match", "[\"a\\\\*b\",[],\"a*b\"]", "true"},
    {"glob.match", "[\"a{b\",[],\"ab\"]", "!glob: syntax error"},
    {"glob.quote_meta", "[\"*.a[b]\"]", "\"\\\\*.a\\\\[b\\\\]\""},
    {"crypto.md5", "[\"x\"]", "\"9dd4e461268c8034f5c8564e155c67a6\""},
    {"crypto.hmac.equal", "[\"a\",\"b\"]", "false"},
    {"net.cidr_contains", "[\"10.0.0.0/8\",\"10.1.2.3\"]", "true"},
    {"net.cidr_contains", "[\"10.0.0.0/8\",\"10.1.2.3/7\"]", "false"},
    {"net.cidr_contains", "[\"2001:db8::/32\",\"2001:db8:1::/48\"]", "true"},
    {"net.cidr_contains", "[\"nope\",\"1.2.3.4\"]", "!invalid CIDR address: nope"},
    {"net.cidr_intersects", "[\"192.168.0.0/16\",\"192.168.1.0/24\"]", "true"},
    {"net.cidr_is_valid", "[\"1.2.3.4/33\"]", "false"},
    {"net.cidr_expand", "[\"10.0.0.254/31\"]", "[\"10.0.0.254\",\"10.0.0.255\"]"},
    {"net.cidr_expand", "[\"10.0.0.0/8\"]", "!more than"},
    {"time.now_ns", "[]", "1700000000000000001"},
    {"time.parse_rfc3339_ns", "[\"2020-02-29T12:30:45.123456789+02:00\"]", "1582972245123456789"},
    {"time.parse_rfc3339_ns", "[\"1969-12-31T23:59:59.5Z\"]", "-500000000"},
    {"time.parse_rfc3339_ns", "[\"2021-02-29T12:30:45Z\"]", "!parsing time"},
    {"time.parse_rfc3339_ns", "[\"2300-01-01T00:00:00Z\"]", "!time outside of valid range"},
};

static void run_case(const struct builtin_case *t, struct arena *a, struct builtin_cache *cache) {
    struct json *args = NULL, *expected = NULL;
    struct json_error error;
    const struct host_builtin *b = host_builtin_find(str_of(t->name));
    assert_non_null(b);
    assert_int_equal(json_parse(a, str_of(t->args), &args, &error), OK);
    struct builtin_call call = {.arena = a,
                                .cache = cache,
                                .args = args->items,
                                .n_args = args->n,
                                .now_ns = 1700000000000000001};
    assert_int_equal(b->run(&call), OK);
    if (t->result[0] == '!') {
        if (!call.error || !strstr(call.error, t->result + 1))
            print_error("%s%s: %s\n", t->name, t->args, call.error ? call.error : "no error");
        assert_non_null(call.error);
        assert_non_null(strstr(call.error, t->result + 1));
        return;
    }
    assert_int_equal(json_parse(a, str_of(t->result), &expected, &error), OK);
    if (!call.result || !json_equal(call.result, expected))
        print_error("%s%s: %s\n", t->name, t->args, call.error ? call.error : "another result");
    assert_non_null(call.result);
    assert_true(json_equal(call.result, expected));
}

static void cases(void **state) {
    (void)state;
    struct arena a;
    struct builtin_cache *cache = builtin_cache_new();
    arena_init(&a, 1 << 24);
    for (int round = 0; round < 2; round++) /* the second time from the cache */
        for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) run_case(&CASES[i], &a, cache);
    arena_deinit(&a);
    builtin_cache_free(cache);
}

/* More patterns than the cache holds. */
static void cache_turns_over(void **state) {
    (void)state;
    struct arena a;
    struct builtin_cache *cache = builtin_cache_new();
    char args[64];
    arena_init(&a, 1 << 24);
    for (int i = 0; i < 300; i++) {
        snprintf(args, sizeof args, "[\"^a%d$\",\"a%d\"]", i, i);
        struct builtin_case t = {"regex.match", args, "true"};
        run_case(&t, &a, cache);
    }
    arena_deinit(&a);
    builtin_cache_free(cache);
}

static void unknown(void **state) {
    (void)state;
    assert_null(host_builtin_find(STR("no.such")));
    assert_null(host_builtin_find(STR("count"))); /* the runtime's */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(cases), cmocka_unit_test(cache_turns_over),
                                       cmocka_unit_test(unknown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
