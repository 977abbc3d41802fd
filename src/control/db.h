/* The store's engine: one SQL text for SQLite and PostgreSQL, with typed parameters and rows.
 *
 * SQL is written once, in what both engines understand: $1, $2 … for parameters, TEXT, BIGINT and
 * bytes for values, ON CONFLICT, RETURNING. Where they differ, db_is_postgres asks. No value ever
 * becomes part of a statement's text. */
#ifndef REGENT_CONTROL_DB_H
#define REGENT_CONTROL_DB_H
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

struct db;      /* a store; any thread */
struct db_conn; /* a connection of it; one thread at a time */

enum { DB_WHY_BYTES = 512, DB_MAX_PARAMS = 32 };

/* url: "sqlite:FILE", or "postgres://…" and "postgresql://…" as libpq reads them. Connects once,
 * changes nothing (schema_migrate does). ERR_INVALID, ERR_IO, ERR_UNSUPPORTED (libpq is not
 * installed) with a sentence in why. */
MUST_USE enum err db_open(const char *url, struct db **out, char why[DB_WHY_BYTES]);
/* Somebody else's database, to read it in DB_SNAPSHOT: nothing of it changes, not even how a SQLite
 * file keeps its journal; a file that is not there is not made. */
MUST_USE enum err db_open_foreign(const char *url, struct db **out, char why[DB_WHY_BYTES]);
void db_close(struct db *d); /* after all connections were put back, and db_listen_stop */
bool db_is_postgres(const struct db *d);
/* A store's URL for people and logs: passwords are shown as ***. */
void db_url_public(const char *url, char *out, size_t n);

/* A connection for this thread: a kept one, or a new one. ERR_IO: the server is not there now. */
MUST_USE enum err db_take(struct db *d, struct db_conn **out, char why[DB_WHY_BYTES]);
/* Rolls back what was begun and not committed. A broken connection is closed. NULL: nothing. */
void db_put(struct db_conn *c);

enum db_type { DB_NULL, DB_INT, DB_TEXT, DB_BYTES };
struct db_value {
    enum db_type type;
    int64_t i;    /* DB_INT */
    struct str s; /* DB_TEXT (UTF-8 without NUL: others are ERR_INVALID), DB_BYTES; not NULL but for
                     DB_NULL */
};
static inline struct db_value db_int(int64_t i) {
    return (struct db_value){.type = DB_INT, .i = i};
}
static inline struct db_value db_text(struct str s) {
    return (struct db_value){.type = DB_TEXT, .s = s};
}
static inline struct db_value db_cstr(const char *s) {
    return (struct db_value){.type = DB_TEXT, .s = str_of(s)};
}
static inline struct db_value db_bytes(const void *p, size_t n) {
    return (struct db_value){.type = DB_BYTES, .s = {(const char *)p, n}};
}
static inline struct db_value db_null(void) { return (struct db_value){.type = DB_NULL}; }

/* Rows in an arena. Columns of integer types are DB_INT, bytes DB_BYTES, others DB_TEXT. */
struct db_rows {
    struct db_value *cells; /* row after row */
    uint32_t n, n_columns;
    int64_t changed; /* rows that INSERT, UPDATE or DELETE touched */
};
static inline const struct db_value *db_row(const struct db_rows *r, uint32_t i) {
    return r->cells + (size_t)i * r->n_columns;
}
/* One statement, prepared once a connection and kept (sql lives as long as the connection, or is
 * the same text). out may be NULL. ERR_EXISTS: a unique key is taken; ERR_INVALID: another
 * constraint, or a value that cannot be stored; ERR_OVERLOAD: begin the transaction again
 * (deadlock, busy); ERR_IO: the connection is gone, or the disk; ERR_LIMIT and ERR_MEMORY: the
 * arena; ERR_INTERNAL: the statement is wrong. db_why has a sentence. */
MUST_USE enum err db_query(struct db_conn *c, struct arena *a, struct db_rows *out, const char *sql,
                           const struct db_value *params, uint32_t n_params);
#define DB_QUERY(c, a, out, sql, ...)                                                              \
    db_query((c), (a), (out), (sql), (const struct db_value[]){__VA_ARGS__},                       \
             sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value))
#define DB_QUERY0(c, a, out, sql) db_query((c), (a), (out), (sql), NULL, 0)
/* Several statements without parameters or results, separated by semicolons. */
MUST_USE enum err db_script(struct db_conn *c, const char *sql);
const char *db_why(const struct db_conn *c); /* of the last error */
struct db *db_of(const struct db_conn *c);

/* Transactions. DB_WRITE takes SQLite's write lock at once; in PostgreSQL both are READ COMMITTED
 * but DB_SNAPSHOT, which sees one state throughout (REPEATABLE READ, READ ONLY). */
enum db_mode { DB_WRITE, DB_SNAPSHOT };
MUST_USE enum err db_begin(struct db_conn *c, enum db_mode mode);
MUST_USE enum err db_commit(struct db_conn *c);
void db_rollback(struct db_conn *c); /* outside of a transaction: nothing */
/* Runs body in a DB_WRITE transaction: commits when it returns OK, else rolls back; begins again (a
 * bounded number of times, with growing pauses) on ERR_OVERLOAD. body must change nothing but the
 * store. */
typedef enum err db_body(struct db_conn *c, void *ctx);
MUST_USE enum err db_transact(struct db_conn *c, db_body *body, void *ctx);

/* A word to everybody who listens, in this and other processes, once the transaction commits (at
 * once outside of one): topic is "feed", "jobs" or another short name; payload at most 7,000 bytes,
 * cut to "*" beyond. */
MUST_USE enum err db_notify(struct db_conn *c, const char *topic, struct str payload);
/* From now on hear is called, on a thread of the store's, for what was notified, in order. After a
 * lost connection, and for changes by other processes that SQLite does not announce: with topic
 * "*", which stands for all. Once a store. */
typedef void db_hear(void *ctx, const char *topic, struct str payload);
MUST_USE enum err db_listen(struct db *d, db_hear *hear, void *ctx);
void db_listen_stop(struct db *d);

#endif
