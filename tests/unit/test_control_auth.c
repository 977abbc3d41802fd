/* Roles and scopes of the control plane: what each role may do; that the condition for the store and the test of one tenant agree. */
#include "control/api_private.h"
#include "control/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void roles(void **state) {
    (void)state;
    static const struct {
        const char *role;
        bool read, author, release, edge, admin;
    } table[] = {{"admin", true, true, true, true, true},       {"author", true, true, false, false, false},
                 {"releaser", true, false, true, false, false}, {"viewer", true, false, false, false, false},
                 {"edge", false, false, false, true, false},    {"", false, false, false, false, false},
                 {"Admin", false, false, false, false, false},  {"admin2", false, false, false, false, false}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct principal p = {.role = str_of(table[i].role)};
        assert_true(api_may(&p, RIGHT_NONE));
        assert_true(api_may(&p, RIGHT_KNOWN));
        assert_int_equal(api_may(&p, RIGHT_READ), table[i].read);
        assert_int_equal(api_may(&p, RIGHT_AUTHOR), table[i].author);
        assert_int_equal(api_may(&p, RIGHT_RELEASE), table[i].release);
        assert_int_equal(api_may(&p, RIGHT_EDGE), table[i].edge);
        assert_int_equal(api_may(&p, RIGHT_ADMIN), table[i].admin);
    }
}

/* ---- scopes ---- */

static const char *const tenants[][2] = {{"acme", "{\"plan\":\"gold\",\"region\":\"eu\"}"},
                                         {"acme-2", "{\"plan\":\"gold\"}"},
                                         {"ACME", "{\"region\":\"eu\"}"},
                                         {"eu-1", "{\"region\":\"eu\"}"},
                                         {"eu-2", "{\"region\":\"us\"}"},
                                         {"x_eu", "{}"},
                                         {"xaeu", "{\"plan\":\"Gold\"}"},
                                         {"e", "{\"it's\":\"a \\\"b\\\"\"}"}};
enum { TENANTS = sizeof tenants / sizeof *tenants };

static const char *const scopes[][2] = {
    {"{}", "acme acme-2 ACME eu-1 eu-2 x_eu xaeu e"},
    {"{\"tenants\":[\"acme\"]}", "acme"},
    {"{\"tenants\":[\"acme*\"]}", "acme acme-2"},
    {"{\"tenants\":[\"*\"]}", "acme acme-2 ACME eu-1 eu-2 x_eu xaeu e"},
    {"{\"tenants\":[\"*eu\"]}", "x_eu xaeu"},
    {"{\"tenants\":[\"eu-*\",\"*-2\"]}", "acme-2 eu-1 eu-2"},
    {"{\"tenants\":[\"x_*\"]}", "x_eu"},
    {"{\"tenants\":[\"%\"]}", ""},
    {"{\"tenants\":[\"eu-1-and-more*\",\"*longer-than-eu-1\"]}", ""},
    {"{\"tenants\":[]}", ""},
    {"{\"labels\":{\"plan\":\"gold\"}}", "acme acme-2"},
    {"{\"labels\":{\"plan\":\"gold\",\"region\":\"eu\"}}", "acme"},
    {"{\"labels\":{\"it's\":\"a \\\"b\\\"\"}}", "e"},
    {"{\"labels\":{\"plan\":\"' OR '1'='1\"}}", ""},
    {"{\"tenants\":[\"eu-*\"],\"labels\":{\"region\":\"eu\"}}", "eu-1"},
    {"{\"tenants\":[\"' OR 1=1 --\"]}", ""},
};

static struct json *parse(struct arena *a, const char *text) {
    struct json *v = NULL;
    struct json_error error;
    assert_int_equal(json_parse(a, str_of(text), &v, &error), OK);
    return v;
}

static void fill(struct db_conn *c, struct arena *a) {
    for (int i = 0; i < TENANTS; i++) {
        assert_int_equal(DB_QUERY(c, a, NULL,
                                  "INSERT INTO tenants (id, status, template, template_version, rev, sha256, spec, labels, deleted, wanted,"
                                  " built, build_state, numbered, serial, version, pointed, created_ms, updated_ms, updated_by)"
                                  " VALUES ($1, 'active', '', 0, 1, '', '{}', $2, 0, 0, 0, '', 0, 0, '', 0, 0, 0, '')",
                                  db_cstr(tenants[i][0]), db_cstr(tenants[i][1])),
                         OK);
        const struct json *labels = parse(a, tenants[i][1]);
        for (uint32_t k = 0; k < labels->n; k++)
            assert_int_equal(DB_QUERY(c, a, NULL, "INSERT INTO tenant_labels (tenant, key, value) VALUES ($1, $2, $3)",
                                      db_cstr(tenants[i][0]), db_text(labels->keys[k]), db_text(labels->items[k]->text)),
                             OK);
    }
}

static bool has_word(const char *list, struct str word) {
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, " ");
        if (n == word.len && memcmp(at, word.ptr, n) == 0) return true;
        at += n + (at[n] == ' ');
    }
    return false;
}

static void check_scope(struct db_conn *c, struct arena *a, const char *text, const char *want) {
    struct api_call call = {.arena = a, .db = c, .who = {.role = STR("viewer"), .scopes = parse(a, text)}};
    struct sql_filter f = {.n = 1, .params = {db_int(0)}};
    struct db_rows rows;
    uint32_t n = 0;
    snprintf(f.sql, sizeof f.sql, "SELECT t.id FROM tenants t WHERE t.deleted = $1");
    assert_true(api_scope_filter(&call, &f));
    assert_int_equal(db_query(c, a, &rows, f.sql, f.params, f.n), OK);
    for (int i = 0; i < TENANTS; i++) {
        bool sees = api_sees(&call.who, str_of(tenants[i][0]), parse(a, tenants[i][1])), found = false;
        for (uint32_t k = 0; k < rows.n; k++) found |= str_is(db_row(&rows, k)[0].s, tenants[i][0]);
        if (sees != has_word(want, str_of(tenants[i][0])) || found != sees)
            fail_msg("%s: %s: one tenant says %d, the store %d", text, tenants[i][0], sees, found);
        n += sees;
    }
    assert_int_equal(rows.n, n);
}

static void scopes_agree(void **state) {
    (void)state;
    char file[] = "/tmp/regent-auth-XXXXXX", url[64], why[DB_WHY_BYTES] = "";
    struct db *d = NULL;
    struct db_conn *c = NULL;
    struct arena a;
    arena_init(&a, 16 << 20);
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    close(fd);
    snprintf(url, sizeof url, "sqlite:%s", file);
    assert_int_equal(db_open(url, &d, why), OK);
    assert_int_equal(schema_migrate(d, why), OK);
    assert_int_equal(db_take(d, &c, why), OK);
    fill(c, &a);
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) check_scope(c, &a, scopes[i][0], scopes[i][1]);
    db_put(c);
    db_close(d);
    unlink(file);
    arena_deinit(&a);
}

/* The most that a token may have fits, with room for what the caller asks besides. */
static void largest_scope_fits(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    struct json *v = json_object(&a), *patterns = json_array(&a), *labels = json_object(&a);
    char text[128];
    memset(text, 'x', sizeof text);
    text[126] = '*';
    for (int i = 0; i < 12; i++) json_push(&a, patterns, json_string(&a, (struct str){text, 127}));
    for (int i = 0; i < 4; i++) json_set(&a, labels, str_of(arena_printf(&a, NULL, "label%d", i)), json_string(&a, STR("value")));
    json_set(&a, v, STR("tenants"), patterns);
    json_set(&a, v, STR("labels"), labels);
    struct api_call call = {.arena = &a, .who = {.scopes = v}};
    struct sql_filter f = {.n = 8};
    memset(f.sql, ' ', 500);
    assert_true(api_scope_filter(&call, &f));
    struct sql_filter full = {.n = DB_MAX_PARAMS - 5};
    assert_false(api_scope_filter(&call, &full));
    struct sql_filter narrow = {.n = 0};
    memset(narrow.sql, ' ', sizeof narrow.sql - 60);
    assert_false(api_scope_filter(&call, &narrow));
    arena_deinit(&a);
}

static void tokens_differ(void **state) {
    (void)state;
    char one[AUTH_DRAWN_BYTES], two[AUTH_DRAWN_BYTES];
    assert_int_equal(auth_draw(one), OK);
    assert_int_equal(auth_draw(two), OK);
    assert_int_equal(strlen(one), 68);
    assert_memory_equal(one, "rgt_", 4);
    assert_string_not_equal(one, two);
}

static void ids(void **state) {
    (void)state;
    char one[32], two[32];
    control_new_id(one);
    usleep(2000);
    control_new_id(two);
    assert_int_equal(strlen(one), 26);
    assert_true(strcmp(one, two) < 0);
    static const char *const good[] = {"a", "A-9._~@:+", "-", "x.y"}, *const bad[] = {"", ".", ".a", "a/b", "a b", "a%", "ä", "a\n", "a'"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_null(control_id_wrong(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_non_null(control_id_wrong(str_of(bad[i])));
    assert_non_null(control_id_wrong((struct str){"a\0b", 3}));
    char longest[129];
    memset(longest, 'x', sizeof longest);
    assert_null(control_id_wrong((struct str){longest, 127}));
    assert_non_null(control_id_wrong((struct str){longest, 128}));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(roles), cmocka_unit_test(scopes_agree), cmocka_unit_test(largest_scope_fits),
                                       cmocka_unit_test(tokens_differ), cmocka_unit_test(ids)};
    return cmocka_run_group_tests_name("control_auth", tests, NULL, NULL);
}
