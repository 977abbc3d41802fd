/* Host builtins that read hostile text: times, zones, addresses, UUIDs, YAML, tokens. Each case is
 * a builtin, its arguments as JSON and its result; "!" before a message is an error, "-" undefined.
 * Results are OPA's. */
#include "host/builtins/builtin.h"
#include "host/builtins/support.h"
#include "host/builtins/time_zone.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct builtin_case {
    const char *name, *args, *result;
};

#define HS_KEY "\"{\\\"kty\\\":\\\"oct\\\",\\\"k\\\":\\\"c2VjcmV0\\\"}\""
#define HS_TOKEN "eyJhbGciOiJIUzI1NiJ9.e30.XmNK3GpH3Ys_7wsYBfq4C3M6goz71I7dTgUkuIa5lyQ"

static const struct builtin_case CASES[] = {
    {"time.date", "[1582977600000000000]", "[2020,2,29]"},
    {"time.date", "[[-1,\"UTC\"]]", "[1969,12,31]"},
    {"time.date", "[-9223372036854775808]", "[1677,9,21]"},
    {"time.clock", "[[9223372036854775807,\"\"]]", "[23,47,16]"},
    {"time.clock", "[[1700000000000000000,\"Asia/Kolkata\"]]", "[3,43,20]"},
    {"time.clock", "[[4086000000000000000,\"America/New_York\"]]", "[12,0,0]"},
    {"time.clock", "[[4102444800000000000,\"Europe/Berlin\"]]", "[1,0,0]"},
    {"time.clock", "[[1,\"../../etc/passwd\"]]", "!time: invalid location name"},
    {"time.clock", "[[1,\"No/Where\"]]", "!unknown time zone No/Where"},
    {"time.clock", "[[]]", "!operand 1 must be either number (ns)"},
    {"time.clock", "[1.5]", "!timestamp too big"},
    {"time.clock", "[1e30]", "!timestamp too big"},
    {"time.weekday", "[1e18]", "\"Sunday\""},
    {"time.format", "[0]", "\"1970-01-01T00:00:00Z\""},
    {"time.format", "[[1,\"UTC\",\"Mon Jan _2 15:04:05.000000 MST 2006 Z07 002 __2 .\"]]",
     "\"Thu Jan  1 00:00:00.000000 UTC 1970 Z 001   1 .\""},
    {"time.format", "[[1700000000000000000,\"America/New_York\",\"RFC1123\"]]",
     "\"Tue, 14 Nov 2023 17:13:20 EST\""},
    {"time.format", "[[0,\"Asia/Kolkata\",\"3pm -07:00:00\"]]", "\"5am +05:30:00\""},
    {"time.parse_ns", "[\"RFC1123Z\",\"Tue, 14 Nov 2023 17:13:20 -0500\"]", "1700000000000000000"},
    {"time.parse_ns", "[\"2006 002\",\"2020 366\"]", "1609372800000000000"},
    {"time.parse_ns", "[\"2006 002\",\"2021 366\"]", "!day-of-year out of range"},
    {"time.parse_ns", "[\"2006-01-02\",\"2021-02-29\"]", "!day out of range"},
    {"time.parse_ns", "[\"2006-01-02\",\"2021-13-01\"]", "!month out of range"},
    {"time.parse_ns", "[\"2006\",\"20x6\"]", "!cannot parse"},
    {"time.parse_ns", "[\"2006\",\"2006x\"]", "!extra text: \"x\""},
    {"time.parse_ns", "[\"\",\"\"]", "!time outside of valid range"},
    {"time.parse_duration_ns", "[\"1h2m3.5s\"]", "3723500000000"},
    {"time.parse_duration_ns", "[\"-1.5d\"]", "-129600000000000"},
    {"time.parse_duration_ns", "[\"0\"]", "0"},
    {"time.parse_duration_ns", "[\"\"]", "!time: invalid duration \"\""},
    {"time.parse_duration_ns", "[\"1\"]", "!missing unit in duration"},
    {"time.parse_duration_ns", "[\"1parsec\"]", "!unknown unit \"parsec\""},
    {"time.parse_duration_ns", "[\"9999999999999999999h\"]", "!invalid duration"},
    {"time.add_date", "[1580428800000000000,0,1,0]", "1583107200000000000"},
    {"time.add_date", "[0,300,0,0]", "!time outside of valid range"},
    {"time.add_date", "[0,0,-14,0]", "-36806400000000000"},
    {"time.diff", "[0,1582977600000000000]", "[50,1,28,12,0,0]"},
    {"uri.parse", "[\"https://u:p@[fe80::1%25en0]:80/a%2Fb?q#f%20\"]",
     "{\"scheme\":\"https\",\"hostname\":\"fe80::1%en0\",\"port\":\"80\",\"path\":\"/a/b\","
     "\"raw_path\":\"/a%2Fb\",\"raw_query\":\"q\",\"fragment\":\"f \"}"},
    {"uri.parse", "[\"http://a%\"]", "!invalid URL escape \"%\""},
    {"uri.parse", "[\"http://[::1\"]", "!missing ']' in host"},
    {"uri.parse", "[\":a\"]", "!missing protocol scheme"},
    {"uri.is_valid", "[\"a:b:c\"]", "true"},
    {"uri.is_valid", "[\"1:b\"]", "false"},
    {"uuid.parse", "[\"{00000000-0000-4000-8000-000000000000}\"]",
     "{\"variant\":\"RFC4122\",\"version\":4}"},
    {"uuid.parse", "[\"\"]", "-"},
    {"yaml.marshal", "[{\"b\":[1,{\"c\":null,\"d\":[]}],\"a\":\"true\"}]",
     "\"a: \\\"true\\\"\\nb:\\n  - 1\\n  - c: null\\n    d: []\\n\""},
    {"yaml.unmarshal", "[\"a: [1, {b: c}]\"]", "{\"a\":[1,{\"b\":\"c\"}]}"},
    {"yaml.unmarshal", "[\"a: yes\\nb: Off\\nc: True\\nd: 1.50\\ne: 1e3\\n\"]",
     "{\"a\":\"yes\",\"b\":\"Off\",\"c\":true,\"d\":1.5,\"e\":1000}"},
    {"yaml.unmarshal", "[\"[1,2\"]", "!yaml: line 1: did not find"},
    {"yaml.is_valid", "[\"{\"]", "false"},
    {"yaml.is_valid", "[\"a: 1\\n---\\n\\tb: 2\\n\"]", "false"},
    {"net.cidr_merge", "[[\"10.0.0.0/25\",\"10.0.0.128/25\",\"10.0.2.0/24\"]]",
     "[\"10.0.0.0/24\",\"10.0.2.0/24\"]"},
    {"net.cidr_merge", "[[\"::/1\",\"8000::/1\"]]", "[\"::/0\"]"},
    {"net.cidr_merge", "[[\"::1\"]]", "!IPv6 invalid: needs prefix length"},
    {"net.cidr_merge", "[[\"10.0.0.0/33\"]]", "!invalid CIDR address"},
    {"net.cidr_contains_matches", "[\"1.1.1.0/24\",[\"1.1.1.1\",[\"1.1.2.1\"]]]",
     "[[\"1.1.1.0/24\",0]]"},
    {"net.cidr_contains_matches", "[\"1.1.1.0/24\",[[]]]", "!operand 2: element must be"},
    {"io.jwt.encode_sign", "[{\"alg\":\"HS256\"},{},{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]",
     "\"" HS_TOKEN "\""},
    {"io.jwt.encode_sign_raw", "[\"\",\"{}\"," HS_KEY "]", "!cannot parse empty string"},
    {"io.jwt.encode_sign_raw", "[\"{}\",\"{}\",\"{\\\"kty\\\":\\\"RSA\\\"}\"]", "!failed to parse"},
    {"io.jwt.verify_hs256", "[\"" HS_TOKEN "\",\"secret\"]", "true"},
    {"io.jwt.verify_hs256", "[\"" HS_TOKEN "\",\"other\"]", "false"},
    {"io.jwt.verify_hs512", "[\"" HS_TOKEN "\",\"secret\"]", "false"},
    {"io.jwt.verify_rs256", "[\"" HS_TOKEN "\"," HS_KEY "]", "false"},
    {"io.jwt.verify_rs256", "[\"a.b.c\",\"-----BEGIN X-----\\n\"]", "!failed to parse a JWK key"},
    {"io.jwt.decode_verify", "[\"" HS_TOKEN "\",{\"secret\":\"secret\"}]",
     "[true,{\"alg\":\"HS256\"},{}]"},
    {"io.jwt.decode_verify", "[\"" HS_TOKEN "\",{\"secret\":\"secret\",\"alg\":\"RS256\"}]",
     "[false,{},{}]"},
    {"io.jwt.decode_verify", "[\"" HS_TOKEN "\",{\"cert\":" HS_KEY ",\"secret\":\"x\"}]",
     "!duplicate key constraints"},
    {"io.jwt.decode_verify", "[\"a\",{}]", "!no key constraint"},
    {"io.jwt.decode", "[\"e30.e30.e30\"]", "[{},{},\"7b7d\"]"},
    {"io.jwt.decode", "[\"e30.W10.\"]", "!decoded JSON type was not an Object"},
    {"io.jwt.decode", "[\"\"]", "!encoded JWT had no period separators"},
    {"io.jwt.decode", "[\"....\"]", "!found 5"},
    {"trace", "[\"x\"]", "true"},
};

static void run_case(const struct builtin_case *t, struct arena *a) {
    struct json *args = NULL, *expected = NULL;
    struct json_error error;
    struct builtin_seed seed = {.drawn = false};
    const struct host_builtin *b = host_builtin_find(str_of(t->name));
    if (!b) print_error("%s is no host builtin\n", t->name);
    assert_non_null(b);
    assert_int_equal(json_parse(a, str_of(t->args), &args, &error), OK);
    struct builtin_call call = {.arena = a,
                                .args = args->items,
                                .n_args = args->n,
                                .seed = &seed,
                                .now_ns = 1700000000000000001};
    assert_int_equal(b->run(&call), OK);
    bool ok;
    if (t->result[0] == '!')
        ok = call.error && strstr(call.error, t->result + 1);
    else if (t->result[0] == '-' && !t->result[1])
        ok = !call.error && !call.result;
    else {
        assert_int_equal(json_parse(a, str_of(t->result), &expected, &error), OK);
        ok = call.result && json_equal(call.result, expected);
    }
    if (!ok) {
        struct buf text;
        buf_init(&text, 1 << 20);
        if (call.result) json_print(call.result, true, 0, &text);
        print_error("%s%s: %s %.*s\n", t->name, t->args, call.error ? call.error : "result",
                    (int)text.len, text.ptr ? (const char *)text.ptr : "");
        buf_deinit(&text);
    }
    assert_true(ok);
}

static void cases(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 26);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) run_case(&CASES[i], &a);
    arena_deinit(&a);
}

/* The same for a key throughout an evaluation, another for another key. */
static void random_by_key(void **state) {
    (void)state;
    struct arena a;
    struct builtin_seed seed = {.drawn = false};
    char texts[3][40];
    const char *const keys[] = {"a", "a", "b"};
    arena_init(&a, 1 << 20);
    for (int i = 0; i < 3; i++) {
        struct json *args[1] = {json_string(&a, str_of(keys[i]))};
        struct builtin_call call = {.arena = &a, .args = args, .n_args = 1, .seed = &seed};
        assert_int_equal(host_builtin_find(STR("uuid.rfc4122"))->run(&call), OK);
        assert_int_equal(call.result->text.len, 36);
        snprintf(texts[i], sizeof texts[i], "%.*s", STR_FMT(call.result->text));
        assert_int_equal(texts[i][14], '4');
    }
    assert_string_equal(texts[0], texts[1]);
    assert_string_not_equal(texts[0], texts[2]);
    arena_deinit(&a);
}

/* Every cut and every changed byte of a zone file is refused or read within its bounds. */
static void zone_files(void **state) {
    (void)state;
    static const char head[] = "TZif2";
    char file[512] = {0};
    struct zone z;
    memcpy(file, head, 5);
    file[39] = 1, file[43] = 4; /* one type, four bytes of names */
    memcpy(file + 44 + 6, "UTC", 3);
    size_t second = 44 + 6 + 4;
    memcpy(file + second, file, second);
    static const char footer[] = "\nAAA3BBB,M3.5.0,J60/25\n";
    memcpy(file + 2 * second, footer, sizeof footer - 1);
    size_t len = 2 * second + sizeof footer - 1;
    assert_true(zone_parse((struct str){file, len}, &z));
    assert_int_equal(zone_at(&z, 0).seconds, -2 * 3600);
    for (size_t cut = 0; cut <= len; cut++)
        if (zone_parse((struct str){file, cut}, &z)) civil_of(&z, 1700000000000000000);
    for (size_t i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit++) {
            char copy[512];
            memcpy(copy, file, sizeof copy);
            copy[i] = (char)(copy[i] ^ (1 << bit));
            if (!zone_parse((struct str){copy, len}, &z)) continue;
            civil_of(&z, INT64_MIN);
            civil_of(&z, 1700000000000000000);
            civil_of(&z, INT64_MAX);
        }
}

static void pem_blocks(void **state) {
    (void)state;
    struct arena a;
    struct pem pem;
    arena_init(&a, 1 << 20);
    struct str s = STR("x\n-----BEGIN A-----\n-----END B-----\n-----BEGIN C D-----\nk: v\n\nAQI=\n"
                       "-----END C D-----\nrest");
    assert_true(pem_next(&a, &s, &pem));
    assert_true(str_is(pem.type, "C D"));
    assert_int_equal(pem.der.len, 2);
    assert_true(str_is(s, "rest"));
    assert_false(pem_next(&a, &s, &pem));
    struct str whole = STR("-----BEGIN A-----\nAQI=\n-----END A-----\n");
    for (size_t cut = 0; cut < whole.len; cut++) {
        struct str head = str_head(whole, cut);
        pem_next(&a, &head, &pem);
    }
    arena_deinit(&a);
}

/* What would take a reader long: it is refused, or read in time. */
static void yaml_bombs(void **state) {
    (void)state;
    static char text[1 << 16];
    struct arena a;
    size_t n = 0;
    arena_init(&a, 1 << 26);
    for (int round = 0; round < 3; round++) {
        n = 0;
        if (round == 0) memset(text, '[', n = sizeof text);
        if (round == 1)
            for (int i = 0; n + 8 < sizeof text; i++)
                n += (size_t)snprintf(text + n, 9, "%x: 1\n", i);
        if (round == 2) {
            n += (size_t)snprintf(text, 32, "a0: &a0 [x,x]\n");
            for (int i = 1; i < 100; i++)
                n += (size_t)snprintf(text + n, 64, "a%d: &a%d [*a%d,*a%d]\n", i, i, i - 1, i - 1);
        }
        struct json *args[1] = {json_string(&a, (struct str){text, n})};
        struct builtin_call call = {.arena = &a, .args = args, .n_args = 1};
        enum err err = host_builtin_find(STR("yaml.unmarshal"))->run(&call);
        assert_true(err == OK || err == ERR_MEMORY);
        assert_true(round == 1 ? call.result != NULL : call.result == NULL);
        arena_reset(&a);
    }
    arena_deinit(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(cases), cmocka_unit_test(random_by_key),
                                       cmocka_unit_test(zone_files), cmocka_unit_test(pem_blocks),
                                       cmocka_unit_test(yaml_bombs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
