/* The store's engine and the schema's steps, on a SQLite file, or on the store that REGENT_TEST_STORE names (tests/control/test_store.py
 * gives a PostgreSQL). */
#include "base/clock.h"
#include "control/db.h"
#include "control/schema.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char why[DB_WHY_BYTES], folder[] = "/tmp/regent-db-XXXXXX", url[512];

struct fixture {
    struct db *d;
    struct db_conn *c, *other;
    struct arena a;
    struct db_rows r;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    arena_init(&f->a, 64 << 20);
    if (db_open(url, &f->d, why) || db_take(f->d, &f->c, why) || db_take(f->d, &f->other, why)) return fprintf(stderr, "%s\n", why), 1;
    if (db_script(f->c, "DROP TABLE IF EXISTS t; CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT NOT NULL, x TEXT)"))
        return fprintf(stderr, "%s\n", db_why(f->c)), 1;
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    db_put(f->c);
    db_put(f->other);
    db_listen_stop(f->d);
    db_close(f->d);
    arena_deinit(&f->a);
    free(f);
    return 0;
}

#define GOOD(call)                                                                                                                         \
    do {                                                                                                                                   \
        enum err e_ = (call);                                                                                                              \
        if (e_) print_error("%s: %s\n", #call, db_why(f->c));                                                                              \
        assert_int_equal(e_, OK);                                                                                                          \
    } while (0)

static int64_t number(struct fixture *f, struct db_conn *c, const char *sql) {
    struct db_rows r;
    enum err e = DB_QUERY0(c, &f->a, &r, sql);
    if (e) print_error("%s: %s\n", sql, db_why(c));
    assert_int_equal(e, OK);
    assert_int_equal(r.n, 1);
    assert_int_equal(db_row(&r, 0)->type, DB_INT);
    return db_row(&r, 0)->i;
}

/* ---- values ---- */

static void values_come_back(void **state) {
    struct fixture *f = *state;
    const struct db_value *row;
    GOOD(DB_QUERY(f->c, &f->a, &f->r, "INSERT INTO t (k, n, x) VALUES ($2, $1, $3)", db_int(INT64_MIN), db_cstr("é\U0001F600"), db_null()));
    assert_int_equal(f->r.changed, 1);
    assert_int_equal(f->r.n, 0);
    GOOD(DB_QUERY(f->c, &f->a, &f->r, "INSERT INTO t (k, n, x) VALUES ($1, $2, $1) RETURNING k, n", db_cstr(""), db_int(INT64_MAX)));
    assert_int_equal(f->r.n, 1);
    assert_int_equal(f->r.changed, 1);
    GOOD(DB_QUERY(f->c, &f->a, &f->r, "SELECT k, n, x FROM t WHERE n < $1", db_int(0)));
    assert_int_equal(f->r.n, 1);
    assert_int_equal(f->r.n_columns, 3);
    row = db_row(&f->r, 0);
    assert_true(row[0].type == DB_TEXT && str_is(row[0].s, "é\U0001F600"));
    assert_true(row[1].type == DB_INT && row[1].i == INT64_MIN);
    assert_int_equal(row[2].type, DB_NULL);
    GOOD(DB_QUERY(f->c, &f->a, &f->r, "SELECT x, n FROM t WHERE k = $1", db_cstr("")));
    row = db_row(&f->r, 0);
    assert_true(row[0].type == DB_TEXT && row[0].s.len == 0 && row[0].s.ptr);
    assert_true(row[1].i == INT64_MAX);
    GOOD(DB_QUERY0(f->c, &f->a, &f->r, "SELECT k FROM t WHERE k = 'nobody'"));
    assert_int_equal(f->r.n, 0);
}

static void expressions_are_numbers(void **state) {
    struct fixture *f = *state;
    GOOD(db_script(f->c, "INSERT INTO t (k, n) VALUES ('a', 1); INSERT INTO t (k, n) VALUES ('b', 2)"));
    GOOD(DB_QUERY0(f->c, &f->a, &f->r, "SELECT COUNT(*), SUM(n), COALESCE(MAX(n), 0), n > 1 FROM t GROUP BY k, n ORDER BY k"));
    for (uint32_t i = 0; i < f->r.n_columns; i++) assert_int_equal(db_row(&f->r, 1)[i].type, DB_INT);
    assert_int_equal(db_row(&f->r, 0)[3].i, 0);
    assert_int_equal(db_row(&f->r, 1)[3].i, 1);
    assert_int_equal(number(f, f->c, "SELECT SUM(n) FROM t"), 3);
    GOOD(DB_QUERY0(f->c, &f->a, &f->r, "UPDATE t SET n = n + 1"));
    assert_int_equal(f->r.changed, 2);
    GOOD(DB_QUERY0(f->c, &f->a, &f->r, "SELECT k FROM t"));
    assert_int_equal(f->r.changed, 0);
    GOOD(DB_QUERY(f->c, &f->a, &f->r, "SELECT k FROM t ORDER BY k LIMIT $1", db_int(1)));
    assert_int_equal(f->r.n, 1);
}

static void bytes_come_back(void **state) {
    struct fixture *f = *state;
    bool postgres = db_is_postgres(f->d);
    unsigned char all[256];
    for (int i = 0; i < 256; i++) all[i] = (unsigned char)i;
    GOOD(db_script(f->c, postgres ? "DROP TABLE IF EXISTS b; CREATE TABLE b (k BIGINT, b BYTEA)"
                                  : "DROP TABLE IF EXISTS b; CREATE TABLE b (k BIGINT, b BLOB)"));
    GOOD(DB_QUERY(f->c, &f->a, NULL, "INSERT INTO b (k, b) VALUES (1, $1), (2, $2)", db_bytes(all, 256), db_bytes("", 0)));
    GOOD(DB_QUERY0(f->c, &f->a, &f->r, "SELECT b FROM b ORDER BY k"));
    assert_int_equal(db_row(&f->r, 0)->type, DB_BYTES);
    assert_int_equal(db_row(&f->r, 0)->s.len, 256);
    assert_memory_equal(db_row(&f->r, 0)->s.ptr, all, 256);
    assert_true(db_row(&f->r, 1)->type == DB_BYTES && db_row(&f->r, 1)->s.len == 0 && db_row(&f->r, 1)->s.ptr);
    GOOD(DB_QUERY(f->c, &f->a, &f->r, "SELECT k FROM b WHERE b = $1", db_bytes(all, 256)));
    assert_int_equal(f->r.n, 1);
}

/* ---- errors ---- */

static void errors_have_kinds(void **state) {
    struct fixture *f = *state;
    const char *insert = "INSERT INTO t (k, n) VALUES ($1, $2)";
    GOOD(DB_QUERY(f->c, NULL, NULL, insert, db_cstr("a"), db_int(1)));
    assert_int_equal(DB_QUERY(f->c, NULL, NULL, insert, db_cstr("a"), db_int(2)), ERR_EXISTS);
    assert_true(db_why(f->c)[0] != 0);
    assert_int_equal(DB_QUERY(f->c, NULL, NULL, insert, db_cstr("b"), db_null()), ERR_INVALID);
    assert_int_equal(DB_QUERY(f->c, NULL, NULL, insert, db_text((struct str){"a\0b", 3}), db_int(1)), ERR_INVALID);
    assert_int_equal(DB_QUERY(f->c, NULL, NULL, insert, db_cstr("\xff"), db_int(1)), ERR_INVALID);
    assert_int_equal(DB_QUERY(f->c, NULL, NULL, insert, db_cstr("\xed\xa0\x80"), db_int(1)), ERR_INVALID);
    assert_int_equal(db_notify(f->c, "feed", STR("\xc0\x80")), ERR_INVALID);
    assert_int_equal(DB_QUERY0(f->c, NULL, NULL, "SELEC 1"), ERR_INTERNAL);
    assert_int_equal(DB_QUERY0(f->c, NULL, NULL, "SELECT nothing FROM t"), ERR_INTERNAL);
    assert_int_equal(DB_QUERY(f->c, NULL, NULL, "SELECT k FROM t WHERE n = $2", db_int(1)), ERR_INTERNAL);
    assert_int_equal(db_query(f->c, NULL, NULL, "SELECT 1", NULL, DB_MAX_PARAMS + 1), ERR_INTERNAL);
    /* It is as good as before. */
    assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM t"), 1);
}

static void rows_past_the_arena(void **state) {
    struct fixture *f = *state;
    struct arena small;
    arena_init(&small, 4096);
    for (int i = 0; i < 100; i++) {
        char k[16];
        snprintf(k, sizeof k, "key%d", i);
        GOOD(DB_QUERY(f->c, NULL, NULL, "INSERT INTO t (k, n) VALUES ($1, 1)", db_cstr(k)));
    }
    f->r.n = 77;
    assert_int_equal(DB_QUERY0(f->c, &small, &f->r, "SELECT k, n, x FROM t"), ERR_LIMIT);
    assert_int_equal(f->r.n, 77);
    arena_reset(&small);
    GOOD(DB_QUERY0(f->c, &small, &f->r, "SELECT COUNT(*) FROM t"));
    arena_deinit(&small);
}

static void stores_that_are_none(void **state) {
    struct db *d = NULL;
    (void)state;
    assert_int_equal(db_open("mysql://x", &d, why), ERR_INVALID);
    assert_int_equal(db_open("sqlite:", &d, why), ERR_INVALID);
    assert_int_equal(db_open("sqlite:/nonexistent/folder/store.db", &d, why), ERR_IO);
    assert_non_null(strstr(why, "/nonexistent/folder/store.db"));
    assert_int_equal(db_open("postgres://127.0.0.1:1/x?nonsense=1", &d, why), ERR_INVALID);
    assert_int_equal(db_open("postgres://u:secret@127.0.0.1:1/x", &d, why), ERR_IO);
    assert_null(strstr(why, "secret"));
    assert_null(d);
}

static void url_without_password(void **state) {
    static const char *const cases[][2] = {
        {"sqlite:/a:b@c", "sqlite:/a:b@c"},
        {"postgres://h/d", "postgres://h/d"},
        {"postgres://u:p:w@h:1/d", "postgres://u:***@h:1/d"},
        {"postgresql://u@h/d?sslmode=require&password=abc&x=1", "postgresql://u@h/d?sslmode=require&password=***&x=1"},
        {"postgres:///d?sslpassword=abc", "postgres:///d?sslpassword=***"},
        {"postgres://u:a/b@h/d", "postgres://u:***@h/d"},
    };
    char out[256];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        db_url_public(cases[i][0], out, sizeof out);
        assert_string_equal(out, cases[i][1]);
    }
}

/* ---- statements ---- */

static void many_statements(void **state) {
    struct fixture *f = *state;
    static char texts[700][64];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 700; i++) {
            snprintf(texts[i], sizeof texts[i], "SELECT %d, $1", i);
            GOOD(DB_QUERY(f->c, &f->a, &f->r, texts[i], db_cstr("x")));
            assert_int_equal(db_row(&f->r, 0)[0].i, i);
        }
    /* The same text with values of other types. */
    GOOD(DB_QUERY(f->c, &f->a, &f->r, "SELECT $1", db_int(1)));
    assert_int_equal(db_row(&f->r, 0)->type, DB_INT);
    GOOD(DB_QUERY(f->c, &f->a, &f->r, "SELECT $1", db_cstr("1")));
    assert_int_equal(db_row(&f->r, 0)->type, DB_TEXT);
    /* … and one of another meaning, since the table was made anew by somebody else. */
    GOOD(DB_QUERY0(f->c, &f->a, &f->r, "SELECT * FROM t"));
    assert_int_equal(db_script(f->other, "DROP TABLE t; CREATE TABLE t (k TEXT, n BIGINT)"), OK);
    GOOD(DB_QUERY0(f->c, &f->a, &f->r, "SELECT * FROM t"));
    assert_int_equal(f->r.n_columns, 2);
}

/* ---- transactions ---- */

static enum err add_two(struct db_conn *c, void *ctx) {
    (void)ctx;
    enum err e = DB_QUERY(c, NULL, NULL, "INSERT INTO t (k, n) VALUES ($1, 1)", db_cstr("a"));
    return e ? e : DB_QUERY(c, NULL, NULL, "INSERT INTO t (k, n) VALUES ($1, 2)", db_cstr("a"));
}

static void failed_transaction_leaves_nothing(void **state) {
    struct fixture *f = *state;
    assert_int_equal(db_transact(f->c, add_two, NULL), ERR_EXISTS);
    assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM t"), 0);
    /* After an error nothing of the transaction runs, on either engine. */
    GOOD(db_begin(f->c, DB_WRITE));
    assert_int_equal(add_two(f->c, NULL), ERR_EXISTS);
    assert_int_equal(DB_QUERY0(f->c, NULL, NULL, "SELECT 1"), ERR_EXISTS);
    assert_int_equal(db_script(f->c, "INSERT INTO t (k, n) VALUES ('b', 1)"), ERR_EXISTS);
    assert_int_equal(db_commit(f->c), ERR_EXISTS);
    assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM t"), 0);
    assert_int_equal(db_commit(f->c), ERR_INTERNAL);
}

static void put_rolls_back(void **state) {
    struct fixture *f = *state;
    GOOD(db_begin(f->c, DB_WRITE));
    assert_int_equal(db_begin(f->c, DB_WRITE), ERR_INTERNAL);
    GOOD(db_script(f->c, "INSERT INTO t (k, n) VALUES ('a', 1)"));
    db_put(f->c);
    GOOD(db_take(f->d, &f->c, why));
    assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM t"), 0);
    GOOD(db_begin(f->c, DB_WRITE));
    GOOD(db_script(f->c, "INSERT INTO t (k, n) VALUES ('a', 1)"));
    GOOD(db_commit(f->c));
    assert_int_equal(number(f, f->other, "SELECT COUNT(*) FROM t"), 1);
}

static void snapshot_sees_one_state(void **state) {
    struct fixture *f = *state;
    GOOD(db_begin(f->other, DB_SNAPSHOT));
    assert_int_equal(number(f, f->other, "SELECT COUNT(*) FROM t"), 0);
    GOOD(db_script(f->c, "INSERT INTO t (k, n) VALUES ('a', 1)"));
    assert_int_equal(number(f, f->other, "SELECT COUNT(*) FROM t"), 0);
    assert_int_equal(db_script(f->other, "INSERT INTO t (k, n) VALUES ('b', 1)") != OK, 1);
    db_rollback(f->other);
    db_put(f->other);
    GOOD(db_take(f->d, &f->other, why));
    assert_int_equal(number(f, f->other, "SELECT COUNT(*) FROM t"), 1);
    /* Nobody writes in a snapshot, and everybody may after it. */
    GOOD(db_begin(f->c, DB_SNAPSHOT));
    assert_int_not_equal(db_script(f->c, "INSERT INTO t (k, n) VALUES ('c', 1)"), OK);
    assert_int_not_equal(db_commit(f->c), OK);
    GOOD(db_begin(f->c, DB_SNAPSHOT));
    assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM t"), 1);
    GOOD(db_commit(f->c));
    GOOD(db_script(f->c, "INSERT INTO t (k, n) VALUES ('c', 1)"));
}

/* Each locks two rows, one in the other's order. */
struct crossing {
    struct db *d;
    const char *first, *second;
    atomic_int *tries;
    enum err e;
};

static enum err lock_both(struct db_conn *c, void *ctx) {
    struct crossing *x = ctx;
    const char *sql = "UPDATE t SET n = n + 1 WHERE k = $1";
    atomic_fetch_add(x->tries, 1);
    enum err e = DB_QUERY(c, NULL, NULL, sql, db_cstr(x->first));
    usleep(100000);
    return e ? e : DB_QUERY(c, NULL, NULL, sql, db_cstr(x->second));
}

static void *cross(void *ctx) {
    struct crossing *x = ctx;
    struct db_conn *c;
    char text[DB_WHY_BYTES];
    if ((x->e = db_take(x->d, &c, text))) return NULL;
    x->e = db_transact(c, lock_both, x);
    db_put(c);
    return NULL;
}

static void deadlock_begins_again(void **state) {
    struct fixture *f = *state;
    atomic_int tries = 0;
    pthread_t threads[2];
    struct crossing x[2] = {{f->d, "a", "b", &tries, OK}, {f->d, "b", "a", &tries, OK}};
    GOOD(db_script(f->c, "INSERT INTO t (k, n) VALUES ('a', 0), ('b', 0)"));
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, cross, &x[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_int_equal(x[0].e, OK);
    assert_int_equal(x[1].e, OK);
    assert_int_equal(number(f, f->c, "SELECT MIN(n) FROM t"), 2);
    assert_int_equal(number(f, f->c, "SELECT MAX(n) FROM t"), 2);
    if (db_is_postgres(f->d))
        assert_true(atomic_load(&tries) > 2);
    else
        assert_int_equal(atomic_load(&tries), 2);
}

static enum err add_one(struct db_conn *c, void *ctx) {
    struct db_rows r;
    struct arena *a = ctx;
    arena_reset(a);
    enum err e = DB_QUERY(c, a, &r, "UPDATE t SET n = n + 1 WHERE k = $1 RETURNING n", db_cstr("a"));
    return e ? e : DB_QUERY(c, NULL, NULL, "UPDATE t SET n = $1 WHERE k = $2", db_int(db_row(&r, 0)->i), db_cstr("b"));
}

static void *add_often(void *ctx) {
    struct db *d = ctx;
    struct db_conn *c;
    struct arena a;
    char text[DB_WHY_BYTES];
    uintptr_t failed = 0;
    arena_init(&a, 1 << 16);
    for (int i = 0; i < 50; i++) {
        if (db_take(d, &c, text)) {
            failed++;
            continue;
        }
        failed += db_transact(c, add_one, &a) != OK;
        db_put(c);
    }
    arena_deinit(&a);
    return (void *)failed;
}

static void no_change_is_lost(void **state) {
    struct fixture *f = *state;
    pthread_t threads[8];
    GOOD(db_script(f->c, "INSERT INTO t (k, n) VALUES ('a', 0), ('b', 0)"));
    for (int i = 0; i < 8; i++) assert_int_equal(pthread_create(&threads[i], NULL, add_often, f->d), 0);
    for (int i = 0; i < 8; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(number(f, f->c, "SELECT MIN(n) FROM t"), 400);
    assert_int_equal(number(f, f->c, "SELECT MAX(n) FROM t"), 400);
}

/* ---- words ---- */

struct heard {
    pthread_mutex_t lock;
    char topics[512][16], payloads[512][24];
    uint32_t n, stars;
};

static void hear(void *ctx, const char *topic, struct str payload) {
    struct heard *h = ctx;
    pthread_mutex_lock(&h->lock);
    if (strcmp(topic, "*") == 0)
        h->stars++;
    else if (h->n < 512) {
        snprintf(h->topics[h->n], 16, "%s", topic);
        snprintf(h->payloads[h->n++], 24, "%.*s", STR_FMT(payload));
    }
    pthread_mutex_unlock(&h->lock);
}

static bool wait_heard(struct heard *h, uint32_t n, uint32_t stars, int ms) {
    for (bool done = false;; usleep(5000)) {
        pthread_mutex_lock(&h->lock);
        done = h->n >= n && h->stars >= stars;
        pthread_mutex_unlock(&h->lock);
        if (done || (ms -= 5) < 0) return done;
    }
}

static void words_come_in_order(void **state) {
    struct fixture *f = *state;
    static struct heard h;
    h = (struct heard){.lock = PTHREAD_MUTEX_INITIALIZER};
    static char large[8000];
    GOOD(db_listen(f->d, hear, &h));
    assert_int_equal(db_listen(f->d, hear, &h), ERR_EXISTS);
    for (int i = 0; i < 200; i++) {
        char text[16];
        struct db_conn *c = i & 1 ? f->c : f->other;
        snprintf(text, sizeof text, "%d", i);
        assert_int_equal(db_begin(c, DB_WRITE), OK);
        assert_int_equal(db_notify(c, "jobs", str_of(text)), OK);
        assert_int_equal(db_notify(c, "jobs", str_of(text)), OK);
        assert_int_equal(db_commit(c), OK);
    }
    GOOD(db_begin(f->c, DB_WRITE));
    GOOD(db_notify(f->c, "jobs", STR("rolled back")));
    db_rollback(f->c);
    memset(large, 'x', sizeof large);
    GOOD(db_notify(f->c, "feed", (struct str){large, 7001}));
    GOOD(db_notify(f->c, "feed", STR("with space")));
    GOOD(db_notify(f->c, "feed", STR("")));
    assert_true(wait_heard(&h, 203, 0, 5000));
    for (int i = 0; i < 200; i++) {
        assert_string_equal(h.topics[i], "jobs");
        assert_int_equal(atoi(h.payloads[i]), i);
    }
    assert_string_equal(h.payloads[200], "*");
    assert_string_equal(h.payloads[201], "with space");
    assert_string_equal(h.payloads[202], "");
    db_listen_stop(f->d);
    GOOD(db_notify(f->c, "feed", STR("late")));
    usleep(50000);
    assert_int_equal(h.n, 203);
    /* Not before the commit. */
    GOOD(db_listen(f->d, hear, &h));
    GOOD(db_begin(f->c, DB_WRITE));
    GOOD(db_notify(f->c, "feed", STR("held")));
    assert_false(wait_heard(&h, 204, 0, 100));
    GOOD(db_commit(f->c));
    assert_true(wait_heard(&h, 204, 0, 5000));
}

/* A second opened store is to SQLite what another process is. */
static void words_of_another_process(void **state) {
    struct fixture *f = *state;
    static struct heard h;
    struct db *d2;
    struct db_conn *c2;
    h = (struct heard){.lock = PTHREAD_MUTEX_INITIALIZER};
    GOOD(db_listen(f->d, hear, &h));
    GOOD(db_open(url, &d2, why));
    GOOD(db_take(d2, &c2, why));
    assert_int_equal(db_begin(c2, DB_WRITE), OK);
    assert_int_equal(db_script(c2, "INSERT INTO t (k, n) VALUES ('a', 1)"), OK);
    assert_int_equal(db_notify(c2, "feed", STR("7")), OK);
    assert_int_equal(db_commit(c2), OK);
    if (db_is_postgres(f->d))
        assert_true(wait_heard(&h, 1, 0, 5000) && h.stars == 0);
    else
        assert_true(wait_heard(&h, 0, 1, 5000) && h.n == 0);
    if (!db_is_postgres(f->d)) { /* … also while this one writes, and not for what this one writes alone */
        for (int i = 0; i < 30; i++) {
            GOOD(DB_QUERY0(f->c, NULL, NULL, "UPDATE t SET n = n + 1"));
            if (i == 3) assert_int_equal(db_script(c2, "UPDATE t SET n = 0"), OK);
            usleep(100000);
        }
        assert_true(wait_heard(&h, 0, 2, 3000));
    }
    db_put(c2);
    db_close(d2);
}

static void lost_connections_are_replaced(void **state) {
    struct fixture *f = *state;
    static struct heard h;
    h = (struct heard){.lock = PTHREAD_MUTEX_INITIALIZER};
    GOOD(db_listen(f->d, hear, &h));
    struct db_conn *idle;
    GOOD(db_take(f->d, &idle, why));
    db_put(idle);
    GOOD(db_begin(f->other, DB_WRITE));
    GOOD(DB_QUERY0(f->c, NULL, NULL,
                   "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                   " AND application_name = 'regent' AND datname = current_database()"));
    usleep(200000);
    assert_int_equal(db_script(f->other, "INSERT INTO t (k, n) VALUES ('a', 1)"), ERR_IO);
    assert_int_equal(db_commit(f->other), ERR_IO);
    db_put(f->other);
    for (int i = 0; i < 3; i++) { /* whether it was the idle one or not */
        GOOD(db_take(f->d, &f->other, why));
        assert_int_equal(number(f, f->other, "SELECT COUNT(*) FROM t"), 0);
        if (i < 2) db_put(f->other);
    }
    assert_true(wait_heard(&h, 0, 1, 5000)); /* something may have been missed */
    GOOD(db_notify(f->c, "feed", STR("8")));
    assert_true(wait_heard(&h, 1, 1, 5000));
    assert_string_equal(h.payloads[0], "8");
}

/* ---- files ---- */

static void full_disk_is_said(void **state) {
    struct fixture *f = *state;
    enum err e = OK;
    GOOD(db_script(f->c, "CREATE TABLE fill (x TEXT)"));
    int64_t pages = number(f, f->c, "PRAGMA page_count") + 20;
    char sql[64], large[3000];
    memset(large, 'x', sizeof large);
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%lld", (long long)pages);
    GOOD(db_script(f->c, sql));
    for (int i = 0; !e && i < 100; i++)
        e = DB_QUERY(f->c, NULL, NULL, "INSERT INTO fill (x) VALUES ($1)", db_text((struct str){large, sizeof large}));
    assert_int_equal(e, ERR_IO);
    assert_non_null(strstr(db_why(f->c), "full"));
    GOOD(db_script(f->c, "PRAGMA max_page_count=1000000"));
    GOOD(DB_QUERY(f->c, NULL, NULL, "INSERT INTO fill (x) VALUES ($1)", db_cstr("fits")));
    GOOD(db_script(f->c, "DROP TABLE fill"));
}

static void damaged_file_is_said(void **state) {
    char path[128], place[160];
    struct db *d = NULL;
    (void)state;
    snprintf(path, sizeof path, "%s/damaged.db", folder);
    snprintf(place, sizeof place, "sqlite:%s", path);
    FILE *out = fopen(path, "w");
    for (int i = 0; i < 1000; i++) fputs("no database at all\n", out);
    fclose(out);
    assert_int_equal(db_open(place, &d, why), ERR_IO);
    assert_non_null(strstr(why, "not a database"));
    unlink(path);
    assert_int_equal(db_open(place, &d, why), OK);
    assert_int_equal(schema_migrate(d, why), OK);
    db_close(d);
    out = fopen(path, "r+"); /* all pages but the first */
    fseek(out, 4096, SEEK_SET);
    for (int i = 0; i < 200000; i++) fputs("damage", out);
    fclose(out);
    d = NULL;
    assert_int_equal(db_open(place, &d, why), ERR_IO);
    assert_non_null(strstr(why, "malformed"));
    assert_null(d);
    unlink(path);
}

/* ---- the schema ---- */

static void drop_all(struct fixture *f) {
    bool postgres = db_is_postgres(f->d);
    GOOD(DB_QUERY0(f->c, &f->a, &f->r,
                   postgres ? "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
                            : "SELECT name FROM sqlite_schema WHERE type = 'table'"));
    for (uint32_t i = 0; i < f->r.n; i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "DROP TABLE %.*s", STR_FMT(db_row(&f->r, i)->s));
        GOOD(db_script(f->c, sql));
    }
}

static void schema_from_every_version(void **state) {
    struct fixture *f = *state;
    for (uint32_t from = 0; from <= schema_latest(); from++) {
        drop_all(f);
        GOOD(schema_migrate_to(f->d, from, why));
        assert_int_equal(number(f, f->c, "SELECT COALESCE(MAX(version), 0) FROM schema_migrations"), from);
        if (from)
            GOOD(db_script(f->c,
                           "INSERT INTO audit (seq, at_ms, who, action, object, detail, hash) VALUES (1, 2, 'w', 'a', 'o', '{}', 'h');"
                           "INSERT INTO replies (token, key, request, status, body, created_ms) VALUES ('t', 'k', 'r', 200, 'b', 1);"
                           "UPDATE counters SET value = 9 WHERE name = 'feed'"));
        GOOD(schema_migrate(f->d, why));
        GOOD(schema_migrate(f->d, why));
        assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM schema_migrations"), schema_latest());
        assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM counters"), 3);
        assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM audit"), from > 0);
        assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM replies"), from > 0);
        assert_int_equal(number(f, f->c, "SELECT value FROM counters WHERE name = 'feed'"), from ? 9 : 0);
        /* Steps have dates and names. */
        assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM schema_migrations WHERE applied_ms > 0 AND name <> ''"), schema_latest());
    }
}

static void newer_schema_is_refused(void **state) {
    struct fixture *f = *state;
    GOOD(schema_migrate(f->d, why));
    GOOD(DB_QUERY(f->c, NULL, NULL, "INSERT INTO schema_migrations (version, name, applied_ms) VALUES ($1, 'later', 1)",
                  db_int((int64_t)schema_latest() + 1)));
    assert_int_equal(schema_migrate(f->d, why), ERR_INVALID);
    assert_non_null(strstr(why, "newer"));
    drop_all(f);
}

static void *migrate(void *ctx) {
    struct db *d;
    char text[DB_WHY_BYTES];
    (void)ctx;
    if (db_open(url, &d, text)) return "not opened";
    enum err e = schema_migrate(d, text);
    db_close(d);
    return e ? "not migrated" : NULL;
}

static void several_migrate_at_once(void **state) {
    struct fixture *f = *state;
    pthread_t threads[6];
    drop_all(f);
    for (int i = 0; i < 6; i++) assert_int_equal(pthread_create(&threads[i], NULL, migrate, NULL), 0);
    for (int i = 0; i < 6; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(number(f, f->c, "SELECT COUNT(*) FROM schema_migrations"), schema_latest());
    drop_all(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const char *given = getenv("REGENT_TEST_STORE");
    char path[64];
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/store.db", folder);
    if (given)
        snprintf(url, sizeof url, "%s", given);
    else
        snprintf(url, sizeof url, "sqlite:%s", path);
    const struct CMUnitTest tests[] = {
        CASE(values_come_back),
        CASE(expressions_are_numbers),
        CASE(bytes_come_back),
        CASE(errors_have_kinds),
        CASE(rows_past_the_arena),
        cmocka_unit_test(stores_that_are_none),
        cmocka_unit_test(url_without_password),
        CASE(many_statements),
        CASE(failed_transaction_leaves_nothing),
        CASE(put_rolls_back),
        CASE(snapshot_sees_one_state),
        CASE(deadlock_begins_again),
        CASE(no_change_is_lost),
        CASE(words_come_in_order),
        CASE(words_of_another_process),
        cmocka_unit_test(damaged_file_is_said),
        CASE(schema_from_every_version),
        CASE(newer_schema_is_refused),
        CASE(several_migrate_at_once),
    };
    /* A file has no connections to lose; tests/control/test_store.py fills a disk of PostgreSQL's. */
    const struct CMUnitTest of_postgres[] = {CASE(lost_connections_are_replaced)};
    const struct CMUnitTest of_sqlite[] = {CASE(full_disk_is_said)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += given ? cmocka_run_group_tests(of_postgres, NULL, NULL) : cmocka_run_group_tests(of_sqlite, NULL, NULL);
    unlink(path);
    rmdir(folder);
    return failed;
}
