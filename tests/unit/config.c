/* The configuration: names, limits, addresses, places, memory that ends, what is printed.
 * in: texts, deploy/edge.yaml. out: cmocka results. owns: an arena a test, a file in the build folder. */
#include "base/yaml.h"
#include "edge/config_keys.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena a;
static char file[64];

static int begin(void **state) {
    (void)state;
    arena_init(&a, 64 << 20);
    snprintf(file, sizeof file, "/tmp/regent-config-XXXXXX");
    int fd = mkstemp(file);
    if (fd < 0) return -1;
    close(fd);
    return 0;
}
static int end(void **state) {
    (void)state;
    unlink(file);
    arena_deinit(&a);
    return 0;
}

static void put(struct str text) {
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text.ptr, 1, text.len, f), text.len);
    fclose(f);
}

/* Reads a text as a configuration whose folder of tenants is /tmp. */
static enum err read_text(struct arena *arena, struct str text, char *const *environment, struct edge_config *c, struct diag_list *d) {
    static const struct str flag = STR("--directory");
    put(text);
    edge_config_init(c, arena);
    diag_list_init(d, arena);
    struct config_override directory = {"tenants.directory", yaml_string(arena, STR("/tmp"), &flag)};
    struct config_source s = {.path = file, .environment = environment, .overrides = &directory, .n_overrides = directory.value != NULL};
    return edge_config_load(&s, c, d);
}

static struct edge_config config_of(const char *text) {
    struct edge_config c;
    struct diag_list d;
    if (read_text(&a, str_of(text), NULL, &c, &d)) fail_msg("%s: %s", d.n ? d.items[0].message.ptr : "", text);
    return c;
}

static void names(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"acme", "acme", true},       {"acme", "acme2", false}, {"acme", "acm", false}, {"free-*", "free-1", true},
        {"free-*", "free-", true},    {"free-*", "free", false}, {"*-eu", "a-eu", true}, {"*-eu", "-eu", true},
        {"*-eu", "eu", false},        {"*", "", true},           {"*", "x", true},       {"", "", true},
        {"", "x", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (name_matches(str_of(cases[i].pattern), str_of(cases[i].name)) != cases[i].matches)
            fail_msg("%s on %s", cases[i].pattern, cases[i].name);
    struct name_list none = {0};
    assert_true(name_list_has(&none, STR("anybody")));
    struct str items[] = {STR("a"), STR("b*")};
    struct name_list two = {items, 2, 2};
    assert_true(name_list_has(&two, STR("bx")));
    assert_false(name_list_has(&two, STR("c")));
}

static void ranges(void **state) {
    (void)state;
    static const char *const good[] = {"10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "::1", "fd00::/8", "::/0", "1.2.3.4/32", "::1/128", "unix"};
    static const char *const bad[] = {"", "10", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/a", "/8", "unix:", "localhost",
                                      "10.0.0.0/8/8", "1.2.3.4.5", "10.0.0.0/0000000008"};
    struct address_range r;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!config_range_read(str_of(good[i]), &r)) fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (config_range_read(str_of(bad[i]), &r)) fail_msg("%s", bad[i]);
    assert_true(config_range_read(STR("10.0.0.0/8"), &r));
    assert_int_equal(r.bits, 104);
    assert_int_equal(r.ip[11], 0xff);
    assert_int_equal(r.ip[12], 10);
    assert_true(config_range_read(STR("::1"), &r));
    assert_int_equal(r.bits, 128);
}

static void addresses(void **state) {
    (void)state;
    static const char *const good[][2] = {
        {"127.0.0.1:80", "127.0.0.1|80"}, {":80", "0.0.0.0|80"},   {"0.0.0.0:80", "0.0.0.0|80"}, {"[::1]:80", "::1|80"},
        {"[0:0::1]:80", "::1|80"},        {"127.0.0.1:0", ""},     {"unix:/a", "unix:/a"},       {"unix:@a", "unix:@a"},
        {"127.0.0.1:0080", "127.0.0.1|80"}};
    static const char *const bad[] = {"", "80", "localhost:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:99999999999999999999",
                                      "::1:80", "[127.0.0.1]:80", "[::1]", "unix:", "unix:@", "127.0.0.1:8a", "127.0.0.1:-1", "[]:80"};
    char shape[CONFIG_SHAPE_BYTES];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *why = config_address_wrong(good[i][0], shape);
        if (why) fail_msg("%s: %s", good[i][0], why);
        assert_string_equal(shape, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!config_address_wrong(bad[i], shape)) fail_msg("%s", bad[i]);
}

/* Limit by limit the first override that sets it, then the bundle's if that is stricter. */
static void limits(void **state) {
    (void)state;
    struct edge_config c = config_of("limits:\n  default: {deadline: 50ms, burst: 9, memory: none}\n"
                                     "  tenants:\n    acme: {burst: 7}\n    \"a*\": {deadline: 20ms, concurrent: 3}\n"
                                     "    apex: {requests_per_second: 5}\n    \"*x\": {concurrent: 4, deadline: none, burst: none}\n");
    struct tenant_limits none = {0}, own = {.deadline_us = 1000, .burst = 100, .memory_bytes = 5};
    struct tenant_limits acme = edge_config_limits(&c, STR("acme"), none), apex = edge_config_limits(&c, STR("apex"), none);
    struct tenant_limits box = edge_config_limits(&c, STR("box"), none), bob = edge_config_limits(&c, STR("bob"), none);
    assert_int_equal(acme.burst, 7);
    assert_int_equal(acme.deadline_us, 20000);
    assert_int_equal(acme.concurrent, 3);
    assert_int_equal(apex.requests_per_second, 5);
    assert_int_equal(apex.concurrent, 3);
    assert_int_equal(apex.deadline_us, 20000);
    assert_int_equal(apex.burst, 0);
    assert_int_equal(box.deadline_us, 0);
    assert_int_equal(box.concurrent, 4);
    assert_int_equal(bob.deadline_us, 50000);
    assert_int_equal(bob.burst, 9);
    assert_int_equal(bob.memory_bytes, 0);
    struct tenant_limits strict = edge_config_limits(&c, STR("box"), own), lax = edge_config_limits(&c, STR("bob"), own);
    assert_int_equal(strict.deadline_us, 1000);
    assert_int_equal(strict.burst, 100);
    assert_int_equal(lax.burst, 9);
    assert_int_equal(lax.memory_bytes, 5);
    /* The same without the index, as when a configuration is made by hand. */
    c.override_index.n = c.override_index.index_cap = 0;
    c.override_patterns.n = 0;
    struct tenant_limits again = edge_config_limits(&c, STR("apex"), none);
    assert_memory_equal(&again, &apex, sizeof again);
}

static const char *print(const struct edge_config *c) {
    struct buf b;
    buf_init(&b, 1 << 20);
    edge_config_print(c, &b);
    char *s = arena_strndup(&a, (const char *)b.ptr, b.len);
    buf_deinit(&b);
    return s;
}

/* What is printed is a configuration too, and the same one. */
static void printed(void **state) {
    (void)state;
    static const char text[] =
        "tenant_from:\n- jwt: {claim: t, jwks_url: 'https://x/y?key=hidden', issuer: i, algorithms: [RS256]}\n"
        "- host: '{tenant}.A'\n- host: {map: {B.c: acme}}\n- path: /t/{tenant}\n- header: {name: X-T, trusted: [10.0.0.0/8, fd00::/8, unix]}\n"
        "- client_certificate: 'dns:{tenant}.x'\n- context_extension: x\n"
        "listeners: [{address: '127.0.0.1:1', doors: [rest, status], tenants: [a, 'b*']}, {address: 'unix:@x', doors: [ext_authz]}]\n"
        "limits: {default: {burst: 4}, tenants: {a: {burst: none, input: 1KiB}}}\n"
        "groups: [{name: g, tenants: [a], memory: 1GiB}]\nlabels: {a: b}\nnode: {queue: {wait: 1500us}}\nlog: {level: warn, format: text}\n";
    struct edge_config c = config_of(text);
    const char *first = print(&c);
    assert_null(strstr(first, "hidden"));
    struct edge_config again = config_of(first);
    assert_string_equal(print(&again), first);
    assert_non_null(strstr(first, "\"wait\":\"1500us\""));
    assert_non_null(strstr(first, "{\"pattern\":\"{tenant}.a\"}"));
    assert_non_null(strstr(first, "\"host\":{\"map\":{\"b.c\":\"acme\"}}"));
}

static void layers(void **state) {
    (void)state;
    char *environment[] = {"PATH=/bin", "REGENT_EDGE_NODE_THREADS=3", "REGENT_EDGE_LIMITS_DEFAULT_REQUESTS_PER_SECOND=7",
                           "REGENT_EDGE_LABELS={a: b}", "REGENT_EDGE_TENANTS_DIRECTORY=/nowhere", NULL};
    struct edge_config c;
    struct diag_list d;
    assert_int_equal(read_text(&a, STR("node: {threads: 2, lane_threads: 4}\nlabels: {c: d}\n"), environment, &c, &d), OK);
    assert_int_equal(c.threads, 3);
    assert_int_equal(c.lane_threads, 4);
    assert_int_equal(c.limits.requests_per_second, 7);
    assert_int_equal(c.limits.deadline_us, 50000);
    assert_int_equal(c.labels->n, 1);
    assert_string_equal(c.directory, "/tmp"); /* the flag */
    assert_int_equal(c.listeners.n, 2);
    assert_int_equal(c.tenant_from.n, 2);
}

static struct str example(void) {
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_read_file(&b, "deploy/edge.yaml"), OK);
    struct str s = {arena_strndup(&a, (const char *)b.ptr, b.len), b.len};
    buf_deinit(&b);
    return s;
}

/* deploy/edge.yaml says what holds without it. */
static void defaults(void **state) {
    (void)state;
    struct edge_config c, without = config_of("");
    struct diag_list d;
    assert_int_equal(read_text(&a, example(), NULL, &c, &d), OK);
    assert_string_equal(print(&c), print(&without));
}

/* However little memory there is: an error, no crash; with enough it is read. */
static void memory_ends(void **state) {
    (void)state;
    struct str text = example();
    enum err e = ERR_MEMORY;
    uint32_t failures = 0;
    for (size_t bytes = 512; e; bytes += bytes / 8) {
        struct arena small;
        struct edge_config c;
        struct diag_list d;
        assert_true(bytes < 16 << 20);
        arena_init(&small, bytes);
        e = read_text(&small, text, NULL, &c, &d);
        assert_true(!e || e == ERR_MEMORY || e == ERR_DIAG);
        assert_null(small.exhausted);
        failures += e == ERR_MEMORY;
        arena_deinit(&small);
    }
    assert_true(failures > 5);
}

/* The example with bytes changed, cut and doubled: an answer each time. */
static void mutations(void **state) {
    (void)state;
    struct str text = example();
    char *copy = malloc(2 * text.len + 1);
    uint64_t random = 88172645463325252u;
    uint32_t refused = 0;
    assert_non_null(copy);
    for (int round = 0; round < 400; round++) {
        size_t len = text.len;
        memcpy(copy, text.ptr, len);
        for (int k = 0; k < 1 + round % 4; k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            size_t at = (size_t)(random >> 20) % len;
            static const char bytes[] = ":-#{}[],\"'&*!|>%@`\n\t \0x9\xff?";
            if (random % 7 == 0) len = at + 1;
            else copy[at] = bytes[(random >> 8) % (sizeof bytes - 1)];
        }
        struct arena own;
        struct edge_config c;
        struct diag_list d;
        arena_init(&own, 16 << 20);
        enum err e = read_text(&own, (struct str){copy, len}, NULL, &c, &d);
        assert_true(e == OK || (e == ERR_DIAG && d.n));
        refused += e != OK;
        arena_deinit(&own);
    }
    free(copy);
    assert_true(refused > 50);
}

static void suggestions(void **state) {
    (void)state;
    static const char *const words[] = {"listeners", "limits", "log", "labels"};
    assert_string_equal(word_meant(STR("listner"), words, 4), "listeners");
    assert_string_equal(word_meant(STR("limtis"), words, 4), "limits");
    assert_string_equal(word_meant(STR("lgo"), words, 4), "log");
    assert_null(word_meant(STR("colour"), words, 4));
    assert_null(word_meant(STR(""), words, 4));
    char long_word[200];
    memset(long_word, 'l', sizeof long_word);
    assert_null(word_meant((struct str){long_word, sizeof long_word}, words, 4));
}

/* ---- YAML with places ---- */
static void places(void **state) {
    (void)state;
    struct str source = STR("t.yaml");
    struct diag_list d;
    struct json *v;
    struct json_error e;
    diag_list_init(&d, &a);
    struct yaml_options o = {.source = &source, .duplicates = &d, .one_document = true};
    static const char text[] = "é: {b: 1, c: [x, &n y]}\nm: &m {k: 1, l: 2}\nt: {<<: *m, k: 3}\nb: *n\nt: 5\n";
    assert_int_equal(yaml_read(&a, str_of(text), &o, &v, &e), OK);
    struct json *c = json_get_c(json_get_c(v, "é"), "c");
    assert_int_equal(yaml_place(c->items[1]).row, 1);
    assert_int_equal(yaml_place(c->items[1]).col, 18); /* code points, from the anchor on */
    assert_int_equal(yaml_key_place(c).col, 11);
    assert_int_equal(yaml_place(json_get_c(v, "b")).row, 4); /* an alias has its own place */
    assert_int_equal(d.n, 1);                                /* k, which came by <<, may be given anew; t may not */
    assert_int_equal(d.items[0].loc.row, 5);
    struct buf out;
    buf_init(&out, 1 << 16);
    json_print(v, false, 0, &out);
    buf_byte(&out, 0);
    assert_string_equal((char *)out.ptr, "{\"é\":{\"b\":1,\"c\":[\"x\",\"y\"]},\"m\":{\"k\":1,\"l\":2},\"t\":5,\"b\":\"y\"}");
    buf_deinit(&out);
}

static void yaml_bounds(void **state) {
    (void)state;
    struct json *v;
    struct json_error e = {0};
    struct yaml_options o = {.max_depth = 3, .max_values = 10};
    assert_int_equal(yaml_read(&a, STR("[[1]]"), &o, &v, &e), OK);
    assert_int_equal(yaml_read(&a, STR("[[[1]]]"), &o, &v, &e), ERR_SYNTAX);
    assert_int_equal(e.col, 4);
    assert_int_equal(yaml_read(&a, STR("[1,2,3,4,5,6,7,8,9]"), &o, &v, &e), OK);
    assert_int_equal(yaml_read(&a, STR("[1,2,3,4,5,6,7,8,9,10]"), &o, &v, &e), ERR_SYNTAX);
    assert_int_equal(yaml_read(&a, STR("[&a [1,2,3], *a, *a]"), &o, &v, &e), ERR_SYNTAX);
    assert_int_equal(yaml_read(&a, STR("a: \xff"), &o, &v, &e), ERR_SYNTAX);
    assert_int_equal(yaml_read(&a, STR(""), &o, &v, &e), OK);
    assert_int_equal(v->kind, JSON_NULL);
    assert_int_equal(yaml_read(&a, STR("a: !!str 5\nc: !!int \"5\"\nd: '5'"), &o, &v, &e), OK);
    assert_int_equal(json_get_c(v, "a")->kind, JSON_STRING);
    assert_int_equal(json_get_c(v, "c")->kind, JSON_NUMBER);
    assert_int_equal(json_get_c(v, "d")->kind, JSON_STRING);
    /* 100,000 keys, the last one twice: found through a table, not one by one. */
    struct buf text;
    buf_init(&text, 4 << 20);
    for (int i = 0; i < 100000; i++) buf_printf(&text, "k%d: %d\n", i, i);
    buf_cstr(&text, "k99999: x\n");
    assert_int_equal(yaml_parse(&a, buf_view(&text), &v, &e), OK);
    assert_int_equal(v->n, 100000);
    assert_int_equal(v->items[99999]->kind, JSON_STRING);
    buf_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names, begin, end),       cmocka_unit_test_setup_teardown(ranges, begin, end),
        cmocka_unit_test_setup_teardown(addresses, begin, end),   cmocka_unit_test_setup_teardown(limits, begin, end),
        cmocka_unit_test_setup_teardown(printed, begin, end),     cmocka_unit_test_setup_teardown(layers, begin, end),
        cmocka_unit_test_setup_teardown(defaults, begin, end),    cmocka_unit_test_setup_teardown(memory_ends, begin, end),
        cmocka_unit_test_setup_teardown(mutations, begin, end),   cmocka_unit_test_setup_teardown(suggestions, begin, end),
        cmocka_unit_test_setup_teardown(places, begin, end),      cmocka_unit_test_setup_teardown(yaml_bounds, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
