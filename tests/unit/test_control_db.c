/* The store's engine and the schema's steps, on a SQLite file, or on the store that
 * REGENT_TEST_STORE names. */
#include "base/clock.h"
#include "control/db.h"
#include "control/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char why[DB_WHY_BYTES], folder[] = "/tmp/regent-db-XXXXXX";

static void store_url(char *out, size_t n) {
    const char *given = getenv("REGENT_TEST_STORE");
    if (given)
        snprintf(out, n, "%s", given);
    else
        snprintf(out, n, "sqlite:%s/store.db", folder);
}

struct fixture {
    struct db *d;
    struct db_conn *c;
    struct arena a;
};

static int set_up(void **state) {
    char url[512];
    struct fixture *f = calloc(1, sizeof *f);
    store_url(url, sizeof url);
    arena_init(&f->a, 64 << 20);
    if (db_open(url, &f->d, why) || db_take(f->d, &f->c, why))
        return fprintf(stderr, "%s\n", why), 1;
    if (db_script(f->c, "DROP TABLE IF EXISTS t; CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT NOT "
                        "NULL, b TEXT)"))
        return fprintf(stderr, "%s\n", db_why(f->c)), 1;
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    db_put(f->c);
    db_close(f->d);
    arena_deinit(&f->a);
    free(f);
    return 0;
}

static void values_come_back(void **state) {
    struct fixture *f = *state;
    struct db_rows r;
    assert_int_equal(DB_QUERY(f->c, &f->a, &r, "INSERT INTO t (k, n, b) VALUES ($2, $1, $3)",
                              db_int(INT64_MIN), db_cstr("é"), db_null()),
                     OK);
    assert_int_equal(r.changed, 1);
    assert_int_equal(DB_QUERY(f->c, &f->a, &r, "SELECT k, n, b FROM t WHERE k = $1", db_cstr("é")),
                     OK);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.n_columns, 3);
    assert_true(str_is(db_row(&r, 0)[0].s, "é"));
    assert_int_equal(db_row(&r, 0)[1].type, DB_INT);
    assert_true(db_row(&r, 0)[1].i == INT64_MIN);
    assert_int_equal(db_row(&r, 0)[2].type, DB_NULL);
    assert_int_equal(DB_QUERY0(f->c, &f->a, &r,
                               "SELECT COUNT(*), SUM(n), COALESCE(MAX(n), 0) FROM t WHERE n < 0"),
                     OK);
    for (int i = 0; i < 3; i++) assert_int_equal(db_row(&r, 0)[i].type, DB_INT);
}

static enum err add_two(struct db_conn *c, void *ctx) {
    (void)ctx;
    enum err e = DB_QUERY(c, NULL, NULL, "INSERT INTO t (k, n) VALUES ($1, 1)", db_cstr("a"));
    return e ? e : DB_QUERY(c, NULL, NULL, "INSERT INTO t (k, n) VALUES ($1, 2)", db_cstr("a"));
}

static void failed_transaction_leaves_nothing(void **state) {
    struct fixture *f = *state;
    struct db_rows r;
    assert_int_equal(db_transact(f->c, add_two, NULL), ERR_EXISTS);
    assert_int_equal(DB_QUERY0(f->c, &f->a, &r, "SELECT COUNT(*) FROM t"), OK);
    assert_int_equal(db_row(&r, 0)->i, 0);
}

static void schema_is_made(void **state) {
    struct fixture *f = *state;
    assert_int_equal(schema_migrate(f->d, why), OK);
    assert_int_equal(schema_migrate(f->d, why), OK);
    struct db_rows r;
    assert_int_equal(DB_QUERY0(f->c, &f->a, &r, "SELECT name, value FROM counters ORDER BY name"),
                     OK);
    assert_int_equal(r.n, 3);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_transaction_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(schema_is_made, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
