/* The store in a SQLite file: WAL, synced at every commit, one writer at a time.
 *
 * in:   the file's name; SQL with typed parameters.
 * out:  rows, errors of the set in db.h, words told in this process.
 * owns: the file's handles, the lock of this process's writers. */
#include "base/clock.h"
#include "control/db_private.h"
#include "control/db_sqlite_words.h"
#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUSY_MS = 10000 };

static enum err error_of(int code) {
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ERR_OVERLOAD;
    case SQLITE_CONSTRAINT:
        return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
                       code == SQLITE_CONSTRAINT_ROWID
                   ? ERR_EXISTS
                   : ERR_INVALID;
    case SQLITE_MISMATCH: return ERR_INVALID;
    case SQLITE_NOMEM: return ERR_MEMORY;
    case SQLITE_TOOBIG: return ERR_LIMIT;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL:
    case SQLITE_CANTOPEN: return ERR_IO;
    default: return ERR_INTERNAL;
    }
}

/* Of the last call that failed. */
static enum err failed(struct db_conn *c, const char *sql) {
    enum err e = error_of(sqlite3_extended_errcode(c->handle));
    if (e == ERR_IO || e == ERR_OVERLOAD)
        return db_fail(c, e, "%s: %s", c->db->place, sqlite3_errmsg(c->handle));
    return db_fail(c, e, "%s, at %.200s", sqlite3_errmsg(c->handle), sql);
}

static enum err run(struct db_conn *c, const char *sql) {
    return sqlite3_exec(c->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : failed(c, sql);
}

/* ---- connections ---- */

static enum err open_file(struct db_conn *c) {
    sqlite3 *h = NULL;
    int flags = c->db->foreign ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    flags |= SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(c->db->place, &h, flags, NULL);
    c->handle = h;
    if (code != SQLITE_OK && h && sqlite3_system_errno(h))
        return db_fail(c, ERR_IO, "%s: %s", c->db->place, strerror(sqlite3_system_errno(h)));
    if (code != SQLITE_OK)
        return db_fail(c, error_of(code), "%s: %s", c->db->place, sqlite3_errstr(code));
    if (!c->db->foreign && sqlite3_db_readonly(h, "main") == 1)
        return db_fail(c, ERR_IO, "%s: the file may only be read, not written", c->db->place);
    return OK;
}

static enum err connect_sqlite(struct db_conn *c) {
    enum err e = sqlite_shared(c->db);
    if (!e) e = open_file(c);
    if (e) return e;
    sqlite3_busy_timeout(c->handle, BUSY_MS);
    if (c->db->foreign) return run(c, "PRAGMA query_only=1; PRAGMA trusted_schema=OFF");
    e = run(c, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF; "
               "PRAGMA cache_size=-4096;"
               "PRAGMA temp_store=MEMORY");
    return e;
}

static void disconnect(struct db_conn *c) {
    sqlite3_close_v2(c->handle);
    c->handle = NULL;
}

static bool usable(struct db_conn *c) { return !c->broken; }

static void forget(struct db_conn *c, struct db_statement *s) {
    (void)c;
    sqlite3_finalize(s->handle);
}

/* ---- statements ---- */

static enum err prepare(struct db_conn *c, const char *sql, sqlite3_stmt **out) {
    struct db_statement *s = db_statement_slot(c, sql, 0);
    if (!s->sql) {
        sqlite3_stmt *made = NULL;
        const char *rest = "";
        if (sqlite3_prepare_v3(c->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &made, &rest) !=
            SQLITE_OK)
            return failed(c, sql);
        s->sql = made && !*rest ? strdup(sql) : NULL;
        if (!s->sql) {
            sqlite3_finalize(made);
            return made && !*rest ? ERR_MEMORY
                                  : db_fail(c, ERR_INTERNAL, "not one statement: %.200s", sql);
        }
        s->handle = made;
    }
    return *out = s->handle, OK;
}

static int bind_one(sqlite3_stmt *s, int at, const struct db_value *v) {
    const char *p = v->s.ptr ? v->s.ptr : "";
    switch (v->type) {
    case DB_NULL: return sqlite3_bind_null(s, at);
    case DB_INT: return sqlite3_bind_int64(s, at, v->i);
    case DB_TEXT: return sqlite3_bind_text64(s, at, p, v->s.len, SQLITE_STATIC, SQLITE_UTF8);
    case DB_BYTES: return sqlite3_bind_blob64(s, at, p, v->s.len, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

/* SQLite numbers "$7" by where it first stands; its name tells which one it is. */
static enum err bind(struct db_conn *c, sqlite3_stmt *s, const struct db_value *params,
                     uint32_t n_params) {
    int n = sqlite3_bind_parameter_count(s);
    for (int i = 1; i <= n; i++) {
        const char *name = sqlite3_bind_parameter_name(s, i);
        unsigned long which = name && *name == '$' ? strtoul(name + 1, NULL, 10) : 0;
        if (which < 1 || which > n_params)
            return db_fail(c, ERR_INTERNAL, "parameter %s of %u, at %.200s", name ? name : "?",
                           n_params, sqlite3_sql(s));
        if (bind_one(s, i, &params[which - 1]) != SQLITE_OK) return failed(c, sqlite3_sql(s));
    }
    return OK;
}

static bool read_cell(sqlite3_stmt *s, int i, struct arena *a, struct db_value *out) {
    const void *p = NULL;
    switch (sqlite3_column_type(s, i)) {
    case SQLITE_NULL: *out = db_null(); return true;
    case SQLITE_INTEGER: *out = db_int(sqlite3_column_int64(s, i)); return true;
    case SQLITE_BLOB: out->type = DB_BYTES, p = sqlite3_column_blob(s, i); break;
    default: out->type = DB_TEXT, p = sqlite3_column_text(s, i); break;
    }
    out->s.len = (size_t)sqlite3_column_bytes(s, i);
    out->s.ptr = arena_strndup(a, p ? p : "", out->s.len);
    return out->s.ptr != NULL;
}

static enum err read_row(struct db_conn *c, sqlite3_stmt *s, struct arena *a, struct db_rows *r,
                         uint32_t *cap) {
    if (!a) return db_fail(c, ERR_INTERNAL, "rows without an arena, at %.200s", sqlite3_sql(s));
    struct db_value *row = db_rows_add(r, a, cap);
    bool ok = row != NULL;
    for (uint32_t i = 0; ok && i < r->n_columns; i++) ok = read_cell(s, (int)i, a, &row[i]);
    return ok ? OK
              : db_fail(c, ERR_LIMIT, "more rows than the arena takes, at %.200s", sqlite3_sql(s));
}

static enum err step_all(struct db_conn *c, sqlite3_stmt *s, struct arena *a, struct db_rows *out) {
    struct db_rows rows = {0};
    uint32_t cap = 0;
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        /* Not before the first step, which may prepare the statement anew. */
        rows.n_columns = (uint32_t)sqlite3_column_count(s);
        enum err e = out ? read_row(c, s, a, &rows, &cap) : OK;
        if (e) return e;
    }
    rows.n_columns = (uint32_t)sqlite3_column_count(s);
    if (code != SQLITE_DONE) return failed(c, sqlite3_sql(s));
    if (!sqlite3_stmt_readonly(s)) {
        rows.changed = sqlite3_changes(c->handle);
        if (!c->in_transaction) sqlite_tell(c->db, &c->words);
    }
    if (out) *out = rows;
    return OK;
}

static enum err query(struct db_conn *c, struct arena *a, struct db_rows *out, const char *sql,
                      const struct db_value *params, uint32_t n_params) {
    sqlite3_stmt *s = NULL;
    enum err e = prepare(c, sql, &s);
    if (e) return e;
    e = bind(c, s, params, n_params);
    if (!e) e = step_all(c, s, a, out);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return e;
}

/* ---- transactions ---- */

static enum err begin(struct db_conn *c, enum db_mode mode) {
    /* Deferred: what is read first fixes the state. Writing is refused, as PostgreSQL does. */
    if (mode == DB_SNAPSHOT) {
        enum err e = run(c, "BEGIN; PRAGMA query_only=1");
        c->broken = c->broken || e;
        return e;
    }
    if (!sqlite_lock_writer(c->db, BUSY_MS))
        return db_fail(c, ERR_OVERLOAD, "%s: others have been writing for %d ms", c->db->place,
                       BUSY_MS);
    enum err e = run(c, "BEGIN IMMEDIATE");
    if (e) return sqlite_unlock_writer(c->db), e;
    c->owns_lock = true;
    return OK;
}

static void ended(struct db_conn *c) {
    if (c->owns_lock) sqlite_unlock_writer(c->db);
    c->owns_lock = false;
    if (c->mode == DB_SNAPSHOT && !c->db->foreign && run(c, "PRAGMA query_only=0"))
        c->broken = true;
}

static enum err commit(struct db_conn *c) {
    enum err e = run(c, "COMMIT");
    if (e) return e;
    /* Before others of this process may write: words are heard in the order of commits. */
    if (c->mode == DB_WRITE) sqlite_tell(c->db, &c->words);
    ended(c);
    return OK;
}

static void rollback(struct db_conn *c) {
    if (!sqlite3_get_autocommit(c->handle) && run(c, "ROLLBACK")) c->broken = true;
    ended(c);
}

static enum err notify(struct db_conn *c, const char *topic, struct str payload) {
    enum err e = db_words_add(&c->words, topic, payload);
    if (e || c->in_transaction) return e;
    sqlite_tell(c->db, &c->words);
    db_words_clear(&c->words);
    return OK;
}

const struct db_engine db_sqlite = {
    .connect = connect_sqlite,
    .disconnect = disconnect,
    .usable = usable,
    .query = query,
    .script = run,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .notify = notify,
    .forget = forget,
    .listen = sqlite_listen,
    .listen_stop = sqlite_listen_stop,
};
