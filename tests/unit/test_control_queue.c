/* What a change names becomes jobs, each tenant's once; a version that becomes current stands in
 * releases and in the feed. in: a store in /tmp. out: cmocka results. */
#include "control/control.h"
#include "control/queue.h"
#include "control/release.h"
#include "control/schema.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena A;
static struct db *store;
static struct db_conn *conn;
static char folder[] = "/tmp/regent-queue-XXXXXX", why[DB_WHY_BYTES];

/* ---- a store with tenants ---- */

static int start(void **state) {
    (void)state;
    char url[64];
    if (!mkdtemp(folder)) return -1;
    arena_init(&A, 64 << 20);
    snprintf(url, sizeof url, "sqlite:%s/store.db", folder);
    if (db_open(url, &store, why) || schema_migrate(store, why) || db_take(store, &conn, why)) {
        fprintf(stderr, "%s\n", why);
        return -1;
    }
    return 0;
}

static int end(void **state) {
    (void)state;
    static const char *const files[] = {"store.db", "store.db-wal", "store.db-shm"};
    char path[64];
    db_put(conn);
    db_close(store);
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    arena_deinit(&A);
    return rmdir(folder);
}

static void sql(const char *text) {
    if (db_script(conn, text)) fail_msg("%s: %s", text, db_why(conn));
}

static int64_t number(const char *text) {
    struct db_rows rows;
    if (DB_QUERY0(conn, &A, &rows, text)) fail_msg("%s: %s", text, db_why(conn));
    assert_int_equal(rows.n, 1);
    return db_row(&rows, 0)->i;
}

/* All of one column's values, with a space between two. */
static const char *list(const char *text) {
    struct db_rows rows;
    struct buf out;
    if (DB_QUERY0(conn, &A, &rows, text)) fail_msg("%s: %s", text, db_why(conn));
    buf_init(&out, 1 << 16);
    for (uint32_t i = 0; i < rows.n; i++)
        buf_printf(&out, i ? " %.*s" : "%.*s", STR_FMT(db_row(&rows, i)->s));
    const char *copy = arena_strndup(&A, (const char *)out.ptr, out.len);
    buf_deinit(&out);
    return copy;
}

static void tenant(const char *id, const char *status, const char *template, int version,
                   const char *build_state) {
    assert_int_equal(DB_QUERY(conn, &A, NULL,
                              "INSERT INTO tenants (id, status, template, template_version, rev, "
                              "sha256, spec, labels, deleted,"
                              " wanted, built, build_state, numbered, serial, version, pointed, "
                              "created_ms, updated_ms,"
                              " updated_by) VALUES ($1, $2, $3, $4, 1, '', '{}', '{}', 0, 0, 0, "
                              "$5, 0, 0, '', 0, 1, 1, 'x')",
                              db_cstr(id), db_cstr(status), db_cstr(template), db_int(version),
                              db_cstr(build_state)),
                     OK);
}

static int fresh(void **state) {
    (void)state;
    sql("DELETE FROM tenants; DELETE FROM builds; DELETE FROM jobs; DELETE FROM versions; DELETE "
        "FROM releases;"
        " DELETE FROM feed; DELETE FROM tenant_libraries; UPDATE counters SET value = 0");
    tenant("a", "active", "shop", 0, "built");
    tenant("b", "active", "shop", 0, "built");
    tenant("pinned", "active", "shop", 3, "built");
    tenant("asleep", "suspended", "shop", 0, "built");
    tenant("gone", "active", "shop", 0, "built");
    tenant("broken", "active", "bank", 0, "failed");
    tenant("own", "active", "", 0, "built");
    sql("UPDATE tenants SET deleted = 1 WHERE id = 'gone';"
        "INSERT INTO tenant_libraries (library, tenant) VALUES ('common', 'own'), ('common', "
        "'asleep'), ('other', 'a')");
    return 0;
}

struct add {
    struct build_ask ask;
    int64_t jobs;
};

static enum err add_body(struct db_conn *c, void *ctx) {
    struct add *x = ctx;
    int64_t change;
    enum err e = control_count(c, &A, "change", 1, &change);
    return e ? e : queue_add(c, &A, &x->ask, change, &x->jobs);
}

static int64_t add(const char *build, enum build_scope scope, const char *object) {
    struct add x = {.ask = {.cause = "test",
                            .scope = scope,
                            .object = str_of(object),
                            .who = STR("ann"),
                            .release = true,
                            .build = str_of(build)}};
    enum err e = db_transact(conn, add_body, &x);
    if (e) fail_msg("%s: %s", err_word(e), db_why(conn));
    return x.jobs;
}

#define TENANTS_OF(build) "SELECT tenant FROM jobs WHERE build = '" build "' ORDER BY tenant"

/* ---- queue ---- */

static void of_each_scope(void **state) {
    (void)state;
    assert_int_equal(add("B1", BUILD_TENANT, "own"), 1);
    assert_int_equal(add("B2", BUILD_TEMPLATE, "shop"), 2);
    assert_int_equal(add("B3", BUILD_ALL, ""), 5);
    assert_string_equal(list(TENANTS_OF("B1")), "own");
    assert_string_equal(list(TENANTS_OF("B2")), "a b");
    assert_string_equal(list(TENANTS_OF("B3")), "a b broken own pinned");
    assert_string_equal(list("SELECT status FROM builds ORDER BY id"), "queued queued queued");
    assert_int_equal(number("SELECT total FROM builds WHERE id = 'B3'"), 5);
    assert_int_equal(number("SELECT wanted FROM tenants WHERE id = 'a'"), 3);
    assert_int_equal(number("SELECT wanted FROM tenants WHERE id = 'asleep'"), 0);
}

static void of_a_library(void **state) {
    (void)state;
    assert_int_equal(add("B1", BUILD_LIBRARY, "common"),
                     2); /* who imports it, and who may once it works */
    assert_string_equal(list(TENANTS_OF("B1")), "broken own");
    sql("DELETE FROM jobs");
    add("B2", BUILD_TENANT, "b"); /* is being built: may import it for the first time */
    assert_int_equal(add("B3", BUILD_LIBRARY, "other"), 3);
    assert_string_equal(list(TENANTS_OF("B3")), "a b broken");
}

static void of_nobody(void **state) {
    (void)state;
    assert_int_equal(add("B1", BUILD_TEMPLATE, "unused"), 0);
    assert_int_equal(add("B2", BUILD_TENANT, "asleep"), 0);
    assert_int_equal(add("B3", BUILD_TENANT, "gone"), 0);
    assert_int_equal(add("B4", BUILD_TENANT, "'; DROP TABLE jobs; --"), 0);
    assert_string_equal(list("SELECT status FROM builds ORDER BY id"), "done done done done");
    assert_int_equal(number("SELECT count(*) FROM builds WHERE finished_ms > 0"), 4);
    assert_int_equal(number("SELECT count(*) FROM tenants WHERE wanted > 0"), 0);
}

/* A batch adds to its build again and again. */
static void to_one_build(void **state) {
    (void)state;
    add("B", BUILD_TENANT, "asleep");
    assert_int_equal(add("B", BUILD_TENANT, "a"), 1);
    assert_int_equal(add("B", BUILD_TENANT, "own"), 1);
    assert_int_equal(add("B", BUILD_TEMPLATE, "shop"), 1); /* a is there already */
    assert_string_equal(list(TENANTS_OF("B")), "a b own");
    assert_string_equal(list("SELECT status FROM builds"), "queued");
    assert_int_equal(number("SELECT total FROM builds"), 3);
    assert_int_equal(number("SELECT wanted FROM tenants WHERE id = 'a'"), 4);
}

static void what_had_ended_is_queued_again(void **state) {
    (void)state;
    add("B", BUILD_TEMPLATE, "shop");
    sql("UPDATE jobs SET state = 'built'; UPDATE builds SET status = 'done', succeeded = 2, "
        "finished_ms = 9");
    assert_int_equal(add("B", BUILD_TENANT, "a"), 1);
    assert_string_equal(list("SELECT state FROM jobs ORDER BY tenant"), "queued built");
    assert_string_equal(list("SELECT status FROM builds"), "queued");
    assert_int_equal(number("SELECT succeeded * 1000 + total * 10 + finished_ms FROM builds"),
                     1020);
    sql("UPDATE jobs SET state = 'running' WHERE tenant = 'a'"); /* it may have read what was there
                                                                    before */
    assert_int_equal(add("B", BUILD_TENANT, "a"), 0);
    assert_int_equal(number("SELECT wanted FROM tenants WHERE id = 'a'"), 3);
}

static void as_json(void **state) {
    (void)state;
    struct json *o;
    int64_t n = 0;
    add("B", BUILD_TEMPLATE, "shop");
    sql("UPDATE builds SET succeeded = 1");
    assert_int_equal(queue_build_json(conn, &A, STR("B"), &o), OK);
    assert_true(str_is(json_get_c(o, "object")->text, "shop") &&
                str_is(json_get_c(o, "created_by")->text, "ann"));
    assert_true(json_int64(json_get_c(o, "remaining"), &n) && n == 1);
    assert_int_equal(json_get_c(o, "finished_at")->kind, JSON_NULL);
    assert_int_equal(queue_build_json(conn, &A, STR("C"), &o), ERR_NOT_FOUND);
}

/* ---- releases ---- */

static void version(const char *tenant_id, int n, const char *name) {
    assert_int_equal(DB_QUERY(conn, &A, NULL,
                              "INSERT INTO versions (tenant, number, version, sha256, "
                              "module_sha256, content, code, bytes, source,"
                              " compiler, key, build, created_ms, created_by)"
                              " VALUES ($1, $2, $3, $4, '', '', '', 1, '{}', '', '', '', 1, '')",
                              db_cstr(tenant_id), db_int(n), db_cstr(name), db_cstr(name)),
                     OK);
}

struct set {
    struct release_ask ask;
    int64_t seq, serial;
};

static enum err set_body(struct db_conn *c, void *ctx) {
    struct set *x = ctx;
    return release_set(c, &A, &x->ask, x->seq, &x->serial);
}

static enum err set(const char *tenant_id, const char *name, int64_t seq, int64_t *serial) {
    struct set x = {.ask = {.tenant = str_of(tenant_id),
                            .version = str_of(name),
                            .cause = "request",
                            .who = STR("ann")},
                    .seq = seq};
    enum err e = db_transact(conn, set_body, &x);
    if (e == OK) *serial = x.serial;
    return e;
}

static void released(void **state) {
    (void)state;
    int64_t serial = -1;
    version("a", 1, "1-aa");
    version("a", 2, "2-bb");
    assert_int_equal(set("a", "1-aa", 0, &serial), OK);
    assert_int_equal(serial, 1);
    assert_int_equal(set("a", "1-aa", 0, &serial), OK);
    assert_int_equal(serial, 0); /* is current */
    assert_int_equal(set("a", "2-bb", 7, &serial), OK);
    assert_int_equal(serial, 2);
    assert_string_equal(list("SELECT version || '<' || previous FROM releases ORDER BY serial"),
                        "1-aa< 2-bb<1-aa");
    assert_string_equal(list("SELECT tenant || ' ' || version || ' ' || sha256 FROM feed"),
                        "a 2-bb 2-bb");
    assert_int_equal(number("SELECT seq * 100 + serial * 10 + deleted FROM feed"), 720);
    assert_int_equal(number("SELECT value FROM counters WHERE name = 'feed'"), 1);
    assert_int_equal(set("a", "", 0, &serial), OK);
    assert_int_equal(number("SELECT serial * 10 + deleted FROM feed"), 31);
    assert_string_equal(list("SELECT version FROM tenants WHERE id = 'a'"), "");
}

static void refused(void **state) {
    (void)state;
    int64_t serial = -1;
    version("asleep", 1, "1-aa");
    version("gone", 1, "1-aa");
    version("b", 1, "1-bb");
    assert_int_equal(set("a", "1-bb", 0, &serial), ERR_NOT_FOUND); /* another's */
    assert_int_equal(set("nobody", "1-aa", 0, &serial), ERR_NOT_FOUND);
    assert_int_equal(serial, -1);
    assert_int_equal(set("asleep", "1-aa", 0, &serial), OK);
    assert_int_equal(serial, 0);
    assert_int_equal(set("gone", "1-aa", 0, &serial), OK);
    assert_int_equal(serial, 0);
    assert_int_equal(number("SELECT count(*) FROM releases"), 0);
    assert_int_equal(number("SELECT count(*) FROM feed"), 0);
}

static void rolled_back_further_and_further(void **state) {
    (void)state;
    int64_t serial;
    struct str before = STR("");
    for (int i = 1; i <= 4; i++)
        version("a", i, (const char *[]){"1-a", "2-b", "3-c", "4-d"}[i - 1]);
    assert_int_equal(release_before(conn, &A, STR("a"), &before),
                     ERR_NOT_FOUND); /* nothing is current */
    assert_int_equal(set("a", "1-a", 0, &serial), OK);
    assert_int_equal(set("a", "2-b", 0, &serial), OK);
    assert_int_equal(set("a", "4-d", 0, &serial), OK); /* 3-c never was */
    assert_int_equal(release_before(conn, &A, STR("a"), &before), OK);
    assert_true(str_is(before, "2-b"));
    assert_int_equal(set("a", "2-b", 0, &serial), OK);
    assert_int_equal(release_before(conn, &A, STR("a"), &before), OK);
    assert_true(str_is(before, "1-a"));
    assert_int_equal(set("a", "1-a", 0, &serial), OK);
    assert_int_equal(release_before(conn, &A, STR("a"), &before), ERR_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(of_each_scope, fresh),
        cmocka_unit_test_setup(of_a_library, fresh),
        cmocka_unit_test_setup(of_nobody, fresh),
        cmocka_unit_test_setup(to_one_build, fresh),
        cmocka_unit_test_setup(as_json, fresh),
        cmocka_unit_test_setup(what_had_ended_is_queued_again, fresh),
        cmocka_unit_test_setup(released, fresh),
        cmocka_unit_test_setup(refused, fresh),
        cmocka_unit_test_setup(rolled_back_further_and_further, fresh),
    };
    return cmocka_run_group_tests(tests, start, end);
}
