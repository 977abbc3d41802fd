/* What the store's engines share: connections, kept statements, words to be told at a commit. Only
 * db_*.c include it. */
#ifndef REGENT_CONTROL_DB_PRIVATE_H
#define REGENT_CONTROL_DB_PRIVATE_H
#include "control/db.h"
#include <pthread.h>

enum {
    STATEMENT_SETS = 64,
    STATEMENT_WAYS = 4,
    WORDS_MOST = 1024,
    TOPIC_BYTES = 64,
    PAYLOAD_MOST = 7000
};

/* A prepared statement, found by its text and (PostgreSQL) the types of its parameters. */
struct db_statement {
    char *sql; /* owned; NULL: free */
    uint64_t key, used;
    void *handle;  /* sqlite3_stmt */
    char name[24]; /* PostgreSQL's */
};

/* What db_notify was told. */
struct db_word {
    char topic[TOPIC_BYTES];
    char *payload; /* owned */
    size_t len;
};
struct db_words {
    struct db_word *items;
    uint32_t n, cap;
};

struct db_engine {
    /* Opens c->handle. */
    enum err (*connect)(struct db_conn *c);
    void (*disconnect)(struct db_conn *c);
    /* Is the kept connection still good? Asked when it is taken. */
    bool (*usable)(struct db_conn *c);
    enum err (*query)(struct db_conn *c, struct arena *a, struct db_rows *out, const char *sql,
                      const struct db_value *params, uint32_t n_params);
    enum err (*script)(struct db_conn *c, const char *sql);
    enum err (*begin)(struct db_conn *c, enum db_mode mode);
    enum err (*commit)(struct db_conn *c); /* tells c->words */
    void (*rollback)(struct db_conn *c);
    enum err (*notify)(struct db_conn *c, const char *topic, struct str payload);
    void (*forget)(struct db_conn *c, struct db_statement *s);
    enum err (*listen)(struct db *d);
    void (*listen_stop)(struct db *d);
};
extern const struct db_engine db_sqlite, db_postgres;

struct db {
    const struct db_engine *engine;
    char *place;          /* SQLite's file, or the whole URL */
    bool foreign;         /* is only read */
    void *shared;         /* the engine's own */
    pthread_mutex_t lock; /* of idle, n_idle */
    struct db_conn *idle;
    uint32_t n_idle;
    db_hear *hear;
    void *hear_ctx;
    void *listener; /* the engine's; NULL: nobody listens */
};

struct db_conn {
    struct db *db;
    struct db_conn *next;
    void *handle;
    bool in_transaction, broken, owns_lock, closing;
    enum db_mode mode;
    enum err failed; /* why the transaction can only be rolled back */
    char why[DB_WHY_BYTES];
    struct db_statement statements[STATEMENT_SETS][STATEMENT_WAYS];
    uint64_t uses, prepared;
    struct db_words words; /* of the transaction */
};

enum err db_fail(struct db_conn *c, enum err e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The kept statement of that text, or the slot for it with sql NULL (another one may have been
 * forgotten for it). */
struct db_statement *db_statement_slot(struct db_conn *c, const char *sql, uint64_t types);
void db_statements_clear(struct db_conn *c);
/* Appends; equal words are said once, and too many become the topic "*". */
enum err db_words_add(struct db_words *w, const char *topic, struct str payload);
void db_words_clear(struct db_words *w);
/* A cell array that grows by doubling. NULL: the arena is full. */
struct db_value *db_rows_add(struct db_rows *r, struct arena *a, uint32_t *cap);

#endif
