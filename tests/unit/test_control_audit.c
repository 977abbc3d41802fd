/* The audit log's chain: what fits, and each way of tampering, on a SQLite file or on the store that REGENT_TEST_STORE names. */
#include "base/hash.h"
#include "control/audit.h"
#include "control/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { ENTRIES = 1100 }; /* more than a page of the walk */
static char why[DB_WHY_BYTES], folder[] = "/tmp/regent-audit-XXXXXX", url[512];

struct fixture {
    struct db *d;
    struct db_conn *c;
    struct arena a;
    char head[65];
    int64_t n;
};

/* One by one, then batches of each size. */
static enum err add_all(struct db_conn *c, void *ctx) {
    struct fixture *f = ctx;
    struct audit_note notes[16];
    uint32_t n = 0, size = 1;
    enum err e = db_script(c, "DELETE FROM audit; UPDATE counters SET value = 0, note = '' WHERE name = 'audit'");
    for (int i = 1; !e && i <= ENTRIES; i++) {
        struct json *detail = json_object(&f->a);
        json_set(&f->a, detail, STR("z"), json_number(&f->a, STR("1.50")));
        json_set(&f->a, detail, STR("a<é\n"), json_int(&f->a, i));
        notes[n++] = (struct audit_note){"tenant.update", STR("acme"), i % 2 ? detail : NULL};
        if (i > ENTRIES / 2 && n < size && i < ENTRIES) continue;
        e = n == 1 ? audit_add(c, &f->a, STR("somebody"), notes->action, notes->object, notes->detail)
                   : audit_add_all(c, &f->a, STR("somebody"), notes, n);
        size = size % 16 + 1;
        n = 0;
    }
    return e;
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    arena_init(&f->a, 256 << 20);
    if (db_open(url, &f->d, why) || schema_migrate(f->d, why) || db_take(f->d, &f->c, why)) return fprintf(stderr, "%s\n", why), 1;
    if (db_transact(f->c, add_all, f)) return fprintf(stderr, "%s\n", db_why(f->c)), 1;
    *state = f;
    return audit_verify(f->c, &f->a, 0, NULL, &f->n, f->head, why) != OK || f->n != ENTRIES;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    db_put(f->c);
    db_close(f->d);
    arena_deinit(&f->a);
    free(f);
    return 0;
}

/* After a change by SQL, the walk stops at that entry (0: it does not stop). */
static void expect(struct fixture *f, const char *change, int64_t entry, int64_t seq, const char *hash) {
    char head[65];
    int64_t n = -1;
    if (change && db_script(f->c, change)) fail_msg("%s: %s", change, db_why(f->c));
    enum err e = audit_verify(f->c, &f->a, seq, hash, &n, head, why);
    assert_int_equal(e, entry ? ERR_INVALID : OK);
    assert_int_equal(n, entry ? entry : ENTRIES);
    assert_true(!entry || why[0]);
}

static void anybody_can_check(void **state) {
    struct fixture *f = *state;
    struct db_rows r;
    struct buf b;
    char hash[65] = "";
    buf_init(&b, 1 << 20);
    assert_int_equal(DB_QUERY0(f->c, &f->a, &r, "SELECT " AUDIT_COLUMNS " FROM audit ORDER BY seq LIMIT 3"), OK);
    for (uint32_t i = 0; i < 3; i++) {
        struct json *entry = audit_json(&f->a, db_row(&r, i)), *bare = json_object(&f->a);
        assert_int_equal(entry->n, 7);
        for (uint32_t k = 0; k < 6; k++) json_set(&f->a, bare, entry->keys[k], entry->items[k]);
        buf_clear(&b);
        buf_cstr(&b, hash);
        json_print(bare, true, 0, &b);
        sha256_hex(b.ptr, b.len, hash);
        assert_true(str_is(json_get_c(entry, "hash")->text, hash));
    }
    buf_deinit(&b);
}

static void changed(void **state) { expect(*state, "UPDATE audit SET who = 'nobody' WHERE seq = 1060", 1060, 0, NULL); }
static void changed_time(void **state) { expect(*state, "UPDATE audit SET at_ms = at_ms + 1 WHERE seq = 7", 7, 0, NULL); }
static void changed_detail(void **state) { expect(*state, "UPDATE audit SET detail = '{\"x\":1}' WHERE seq = 2", 2, 0, NULL); }
static void no_detail(void **state) { expect(*state, "UPDATE audit SET detail = '{' WHERE seq = 9", 9, 0, NULL); }
static void changed_with_its_hash(void **state) {
    expect(*state, "UPDATE audit SET who = 'x', hash = (SELECT hash FROM audit WHERE seq = 4) WHERE seq = 5", 5, 0, NULL);
}
static void removed(void **state) { expect(*state, "DELETE FROM audit WHERE seq = 1000", 1000, 0, NULL); }
static void removed_first(void **state) { expect(*state, "DELETE FROM audit WHERE seq = 1", 1, 0, NULL); }
static void inserted_before(void **state) {
    expect(*state, "INSERT INTO audit (" AUDIT_COLUMNS ") SELECT 0, at_ms, who, action, object, detail, hash FROM audit WHERE seq = 1", 1, 0,
           NULL);
}
static void inserted_after(void **state) {
    expect(*state, "INSERT INTO audit (" AUDIT_COLUMNS ") SELECT 1101, at_ms, who, action, object, detail, hash FROM audit WHERE seq = 1100",
           ENTRIES + 1, 0, NULL);
}
static void swapped(void **state) {
    expect(*state, "UPDATE audit SET seq = -1 WHERE seq = 10; UPDATE audit SET seq = 10 WHERE seq = 11; UPDATE audit SET seq = 11 WHERE seq = -1",
           10, 0, NULL);
}
static void removed_end(void **state) {
    struct fixture *f = *state;
    expect(f, "DELETE FROM audit WHERE seq > 1050", 1051, 0, NULL);
    /* Who also sets the counter back is found by what was written down elsewhere. */
    expect(f, "UPDATE counters SET value = 1050, note = (SELECT hash FROM audit WHERE seq = 1050) WHERE name = 'audit'", 1051, ENTRIES, f->head);
    char head[65];
    int64_t n;
    assert_int_equal(audit_verify(f->c, &f->a, 0, NULL, &n, head, why), OK);
    assert_int_equal(n, 1050);
}
static void made_anew(void **state) {
    struct fixture *f = *state;
    expect(f, NULL, 0, ENTRIES, f->head);
    assert_int_equal(db_script(f->c, "UPDATE counters SET value = 0 WHERE name = 'change'"), OK);
    usleep(1050);
    assert_int_equal(db_transact(f->c, add_all, f), OK);
    expect(f, NULL, 0, 0, NULL);
    expect(f, NULL, ENTRIES, ENTRIES, f->head);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const char *given = getenv("REGENT_TEST_STORE");
    char path[64];
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/store.db", folder);
    if (given) snprintf(url, sizeof url, "%s", given);
    else snprintf(url, sizeof url, "sqlite:%s", path);
    const struct CMUnitTest tests[] = {
        CASE(anybody_can_check), CASE(changed),         CASE(changed_time),  CASE(changed_detail), CASE(no_detail),
        CASE(changed_with_its_hash), CASE(removed),     CASE(removed_first), CASE(inserted_before), CASE(inserted_after),
        CASE(swapped), CASE(removed_end), CASE(made_anew),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(folder);
    return failed;
}
