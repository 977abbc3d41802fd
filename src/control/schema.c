/* Brings a store to this program's schema, step by step.
 *
 * in:   schema.def; a store of any earlier version, or an empty one.
 * out:  its tables; a row of schema_migrations for each step.
 * owns: nothing. */
#include "control/schema.h"
#include "base/buf.h"
#include "base/clock.h"
#include <stdio.h>

struct migration {
    uint32_t version;
    const char *name, *sql;
};
static const struct migration migrations[] = {
#define MIGRATION(version, name, sql) {version, name, sql},
#include "control/schema.def"
#undef MIGRATION
};
enum { N = sizeof migrations / sizeof *migrations, SQL_BYTES = 1 << 20, LOCK = 0x52454745 };

uint32_t schema_latest(void) { return migrations[N - 1].version; }

/* The step's text with the engine's type of bytes. */
static enum err engine_sql(struct buf *out, const char *sql, bool postgres) {
    struct str mark = STR("BYTES_TYPE");
    for (const char *at; (at = strstr(sql, mark.ptr)); sql = at + mark.len) {
        buf_put(out, sql, (size_t)(at - sql));
        buf_cstr(out, postgres ? "BYTEA" : "BLOB");
    }
    buf_cstr(out, sql);
    buf_byte(out, 0);
    return out->err;
}

static enum err run_step(struct db_conn *c, struct arena *a, const struct migration *m) {
    struct buf sql;
    buf_init(&sql, SQL_BYTES);
    enum err e = engine_sql(&sql, m->sql, db_is_postgres(db_of(c)));
    if (!e) e = db_script(c, (const char *)sql.ptr);
    buf_deinit(&sql);
    int64_t now = (int64_t)(clock_of(CLOCK_REALTIME) / 1000000);
    if (e) return e;
    return DB_QUERY(c, a, NULL,
                    "INSERT INTO schema_migrations (version, name, applied_ms) VALUES ($1, $2, $3)",
                    db_int(m->version), db_cstr(m->name), db_int(now));
}

struct step {
    struct arena *arena;
    uint32_t target;
    char *why;
    bool done;
};

/* The version that the store has; the lock is the transaction's, so that processes come one after
 * another. */
static enum err current_version(struct db_conn *c, struct arena *a, int64_t *out) {
    struct db_rows r;
    enum err e = OK;
    if (db_is_postgres(db_of(c))) {
        e = db_script(c, "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0");
        if (!e) e = DB_QUERY(c, a, NULL, "SELECT pg_advisory_xact_lock($1)", db_int(LOCK));
    }
    if (!e)
        e = db_script(
            c, "CREATE TABLE IF NOT EXISTS schema_migrations"
               " (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_ms BIGINT NOT NULL)");
    if (!e) e = DB_QUERY0(c, a, &r, "SELECT COALESCE(MAX(version), 0) FROM schema_migrations");
    if (!e) *out = db_row(&r, 0)->i;
    return e;
}

static enum err one_step(struct db_conn *c, void *ctx) {
    struct step *s = ctx;
    int64_t version;
    enum err e = current_version(c, s->arena, &version);
    if (e) return e;
    if (version > (int64_t)schema_latest()) {
        snprintf(s->why, DB_WHY_BYTES,
                 "the store's schema is %lld, made by a newer program; this one knows up to %u",
                 (long long)version, schema_latest());
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < N; i++)
        if (migrations[i].version > version && migrations[i].version <= s->target)
            return run_step(c, s->arena, &migrations[i]);
    s->done = true;
    return OK;
}

enum err schema_migrate_to(struct db *d, uint32_t version, char why[DB_WHY_BYTES]) {
    struct db_conn *c;
    struct arena a;
    struct step s = {.arena = &a, .target = version, .why = why};
    why[0] = 0;
    enum err e = db_take(d, &c, why);
    if (e) return e;
    arena_init(&a, 1 << 20);
    while (!e && !s.done) {
        arena_reset(&a);
        e = db_transact(c, one_step, &s);
    }
    if (e && !why[0]) snprintf(why, DB_WHY_BYTES, "%s", db_why(c));
    arena_deinit(&a);
    db_put(c);
    return e;
}

enum err schema_migrate(struct db *d, char why[DB_WHY_BYTES]) {
    return schema_migrate_to(d, schema_latest(), why);
}
