/* The store in PostgreSQL, by libpq, which is loaded when the first store is opened.
 *
 * in:   a URL of libpq's; SQL with typed parameters; a server that may go away at any time.
 * out:  rows, errors of the set in db.h.
 * owns: connections to the server.
 * Why libpq is not linked: docs/decisions/0023-one-sql-for-two-stores.md. */
#include "control/db_postgres.h"
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { OLDEST_SERVER = 120000, NUMBER_BYTES = 24 };
/* Types of values, by PostgreSQL's numbers. */
enum {
    TYPE_BOOL = 16,
    TYPE_BYTEA = 17,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_TEXT = 25,
    TYPE_NUMERIC = 1700,
    TYPE_VOID = 2278
};
/* A lock is waited for, and a statement runs, so long at most; nobody holds locks and does nothing.
 */
static const char session[] = "SET statement_timeout = '60s'; SET lock_timeout = '10s';"
                              "SET idle_in_transaction_session_timeout = '300s'";

/* ---- the library ---- */

/* dlsym gives an object pointer where a function's is wanted. */
static bool find(void *library, const char *name, void *function) {
    void *at = dlsym(library, name);
    memcpy(function, &at, sizeof at);
    return at != NULL;
}

static bool find_all(struct pq *q) {
    bool all = true;
#define X(name) all = all && find(q->library, #name, &q->name);
    PQ_FUNCTIONS
#undef X
    return all;
}

/* It stays loaded: others may use it. */
static enum err library_open(struct db_conn *c) {
    if (c->db->shared) return OK;
    struct pq *q = calloc(1, sizeof *q);
    if (!q) return ERR_MEMORY;
    q->library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    const char *missing = q->library ? NULL : dlerror();
    if (q->library && find_all(q)) return c->db->shared = q, OK;
    free(q);
    return db_fail(c, ERR_UNSUPPORTED,
                   "storing in PostgreSQL needs libpq 12 or later (Debian: libpq5): %s",
                   missing ? missing : "the one that is installed lacks functions");
}

static struct pq *pq_of(const struct db_conn *c) { return c->db->shared; }

/* ---- errors ---- */

struct state_error {
    const char *state; /* the beginning of an SQLSTATE; the first that fits counts */
    enum err e;
    const char *meaning;
};
/* clang-format off */
static const struct state_error state_errors[] = {
    {"23505", ERR_EXISTS, "a unique key is taken"},
    {"23", ERR_INVALID, "another constraint"},
    {"22", ERR_INVALID, "a value that cannot be stored"},
    {"40", ERR_OVERLOAD, "deadlock, serialization"},
    {"55P03", ERR_OVERLOAD, "a lock was waited for too long"},
    {"0A000", ERR_OVERLOAD, "the result's type has changed: the statement is prepared anew"},
    {"26", ERR_OVERLOAD, "no such statement: a pooler gave another session"},
    {"08P01", ERR_INTERNAL, "fewer parameters than the statement has"},
    {"08", ERR_IO, "the connection"},
    {"25006", ERR_IO, "read only: a standby"},
    {"28", ERR_IO, "who connects is refused"},
    {"3D", ERR_IO, "no such database"},
    {"42501", ERR_IO, "permission denied"},
    {"53", ERR_IO, "no disk space, no memory, too many connections"},
    {"54", ERR_LIMIT, "a program limit"},
    {"57", ERR_IO, "shutdown, statement timeout"},
    {"58", ERR_IO, "the server's files"},
    {"XX001", ERR_IO, "damaged data"},
    {"XX002", ERR_IO, "a damaged index"},
};
/* clang-format on */

static enum err error_of(const char *state) {
    for (size_t i = 0; i < sizeof state_errors / sizeof *state_errors; i++)
        if (strncmp(state, state_errors[i].state, strlen(state_errors[i].state)) == 0)
            return state_errors[i].e;
    return ERR_INTERNAL;
}

static enum err lost(struct db_conn *c) {
    c->broken = true;
    return db_fail(c, ERR_IO, "PostgreSQL: %s", pq_of(c)->PQerrorMessage(c->handle));
}

/* Of a result, which is cleared. */
static enum err failed(struct db_conn *c, PGresult *r, const char *sql) {
    struct pq *q = pq_of(c);
    const char *state = r ? q->PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    const char *says = r ? q->PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    enum err e;
    if (q->PQstatus(c->handle) != CONNECTION_OK || !state || !says)
        e = lost(c);
    else
        e = error_of(state);
    /* A server that has become a standby, or is to stop, is left for the one that takes its place.
     */
    if (state && (strcmp(state, "25006") == 0 || strncmp(state, "57P", 3) == 0)) c->broken = true;
    if (says && (e == ERR_IO || e == ERR_OVERLOAD))
        db_fail(c, e, "PostgreSQL: %s (%s)", says, state);
    else if (says)
        db_fail(c, e, "%s (%s), at %.200s", says, state, sql);
    q->PQclear(r);
    return e;
}

static bool succeeded(struct pq *q, const PGresult *r) {
    ExecStatusType s = q->PQresultStatus(r);
    return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK || s == PGRES_EMPTY_QUERY;
}

static enum err run(struct db_conn *c, const char *sql) {
    struct pq *q = pq_of(c);
    PGresult *r = q->PQexec(c->handle, sql);
    if (!succeeded(q, r)) return failed(c, r, sql);
    q->PQclear(r);
    return OK;
}

/* ---- connections ---- */

static void ignore_notice(void *ctx, const char *message) { (void)ctx, (void)message; }

/* What stands before dbname can be said otherwise by the URL; what stands after cannot. */
static PGconn *connect_to(struct pq *q, const char *url) {
    const char *names[] = {"application_name",
                           "connect_timeout",
                           "keepalives_idle",
                           "keepalives_interval",
                           "keepalives_count",
                           "tcp_user_timeout",
                           "dbname",
                           "client_encoding",
                           NULL};
    const char *values[] = {"regent", "5", "10", "5", "3", "20000", url, "UTF8", NULL};
    return q->PQconnectdbParams(names, values, 1);
}

static enum err url_check(struct db_conn *c) {
    struct pq *q = pq_of(c);
    char *wrong = NULL;
    PQconninfoOption *options = q->PQconninfoParse(c->db->place, &wrong);
    enum err e =
        options ? OK : db_fail(c, ERR_INVALID, "the store's URL: %s", wrong ? wrong : "no memory");
    if (options) q->PQconninfoFree(options);
    q->PQfreemem(wrong);
    return e;
}

static enum err connect_postgres(struct db_conn *c) {
    enum err e = library_open(c);
    if (!e) e = url_check(c);
    if (e) return e;
    struct pq *q = pq_of(c);
    if (!(c->handle = connect_to(q, c->db->place))) return ERR_MEMORY;
    if (q->PQstatus(c->handle) != CONNECTION_OK) return lost(c);
    q->PQsetNoticeProcessor(c->handle, ignore_notice, NULL);
    int version = q->PQserverVersion(c->handle);
    if (version < OLDEST_SERVER)
        return db_fail(c, ERR_UNSUPPORTED, "the server is PostgreSQL %d: 12 or later is needed",
                       version / 10000);
    return run(c, session);
}

static void disconnect(struct db_conn *c) {
    pq_of(c)->PQfinish(c->handle);
    c->handle = NULL;
}

/* A server that has gone says so to connections that are idle: their sockets are readable. */
static bool usable(struct db_conn *c) {
    struct pq *q = pq_of(c);
    struct pollfd p = {.fd = q->PQsocket(c->handle), .events = POLLIN};
    if (c->broken || p.fd < 0) return false;
    if (poll(&p, 1, 0) <= 0) return true;
    return q->PQconsumeInput(c->handle) && q->PQstatus(c->handle) == CONNECTION_OK &&
           poll(&p, 1, 0) <= 0;
}

static void forget(struct db_conn *c, struct db_statement *s) {
    char sql[64];
    if (c->closing || !s->name[0]) return;
    snprintf(sql, sizeof sql, "DEALLOCATE %s", s->name);
    pq_of(c)->PQclear(pq_of(c)->PQexec(c->handle, sql));
}

/* ---- parameters ---- */

struct parameters {
    Oid types[DB_MAX_PARAMS];
    const char *values[DB_MAX_PARAMS];
    int lengths[DB_MAX_PARAMS], formats[DB_MAX_PARAMS];
    char numbers[DB_MAX_PARAMS][NUMBER_BYTES];
    char *copies[DB_MAX_PARAMS]; /* text, with a final 0 */
    uint64_t key;                /* of the types */
};

static enum err set_one(struct db_conn *c, struct parameters *p, uint32_t i,
                        const struct db_value *v) {
    p->key = p->key << 2 | (uint64_t)v->type;
    if (v->s.len > INT32_MAX / 2)
        return db_fail(c, ERR_LIMIT, "a value of %zu bytes is too large", v->s.len);
    switch (v->type) {
    case DB_NULL: return OK;
    case DB_INT:
        snprintf(p->numbers[i], NUMBER_BYTES, "%lld", (long long)v->i);
        p->types[i] = TYPE_INT8;
        p->values[i] = p->numbers[i];
        return OK;
    case DB_TEXT:
        p->types[i] = TYPE_TEXT;
        if (!(p->copies[i] = strndup(v->s.len ? v->s.ptr : "", v->s.len))) return ERR_MEMORY;
        p->values[i] = p->copies[i];
        return OK;
    case DB_BYTES:
        p->types[i] = TYPE_BYTEA;
        p->values[i] = v->s.len ? v->s.ptr : "";
        p->lengths[i] = (int)v->s.len;
        p->formats[i] = 1;
        return OK;
    }
    return ERR_INTERNAL;
}

static void parameters_deinit(struct parameters *p, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) free(p->copies[i]);
}

/* ---- rows ---- */

static bool read_int(const char *text, struct db_value *out) {
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || *end || end == text) return false;
    *out = db_int(n);
    return true;
}

/* "\x0aff" */
static bool read_bytes(struct arena *a, const char *text, size_t n, struct db_value *out) {
    if (n < 2) return false;
    char *to = arena_alloc(a, n / 2);
    if (!to) return false;
    for (size_t i = 2; i + 1 < n; i += 2)
        to[i / 2 - 1] = (char)(char_hex(text[i]) << 4 | char_hex(text[i + 1]));
    *out = db_bytes(to, n / 2 - 1);
    return true;
}

static bool read_cell(struct pq *q, const PGresult *r, int row, int column, struct arena *a,
                      struct db_value *out) {
    const char *text = q->PQgetvalue(r, row, column);
    size_t n = (size_t)q->PQgetlength(r, row, column);
    Oid type = q->PQftype(r, column);
    if (q->PQgetisnull(r, row, column) || type == TYPE_VOID) return *out = db_null(), true;
    if (type == TYPE_BOOL) return *out = db_int(text[0] == 't'), true;
    /* A sum of BIGINT is NUMERIC. */
    if ((type == TYPE_INT8 || type == TYPE_INT4 || type == TYPE_INT2 || type == TYPE_NUMERIC) &&
        read_int(text, out))
        return true;
    if (type == TYPE_BYTEA) return read_bytes(a, text, n, out);
    const char *copy = arena_strndup(a, text, n);
    *out = db_text((struct str){copy, n});
    return copy != NULL;
}

static enum err read_rows(struct db_conn *c, const PGresult *r, struct arena *a,
                          struct db_rows *out, const char *sql) {
    struct pq *q = pq_of(c);
    int64_t n = q->PQntuples(r);
    struct db_value changed = db_int(0);
    struct db_rows rows = {.n_columns = (uint32_t)q->PQnfields(r)};
    bool ok = a || !n;
    if (!ok) return db_fail(c, ERR_INTERNAL, "rows without an arena, at %.200s", sql);
    if (n) ok = (rows.cells = ARENA_ARRAY(a, struct db_value, (size_t)n * rows.n_columns)) != NULL;
    for (; ok && rows.n < n; rows.n++)
        for (uint32_t k = 0; ok && k < rows.n_columns; k++)
            ok = read_cell(q, r, (int)rows.n, (int)k, a,
                           &rows.cells[(size_t)rows.n * rows.n_columns + k]);
    if (!ok) return db_fail(c, ERR_LIMIT, "more rows than the arena takes, at %.200s", sql);
    if (strncmp(q->PQcmdStatus((PGresult *)r), "SELECT", 6) != 0 &&
        read_int(q->PQcmdTuples((PGresult *)r), &changed))
        rows.changed = changed.i;
    *out = rows;
    return OK;
}

/* ---- statements ---- */

static enum err prepare(struct db_conn *c, const char *sql, const struct parameters *p, uint32_t n,
                        struct db_statement **out) {
    struct pq *q = pq_of(c);
    struct db_statement *s = db_statement_slot(c, sql, p->key << 6 | n);
    if (s->sql) return *out = s, OK;
    snprintf(s->name, sizeof s->name, "s%llu", (unsigned long long)++c->prepared);
    PGresult *r = q->PQprepare(c->handle, s->name, sql, (int)n, p->types);
    if (!succeeded(q, r)) return failed(c, r, sql);
    q->PQclear(r);
    if (!(s->sql = strdup(sql))) return ERR_MEMORY;
    return *out = s, OK;
}

static bool is_stale(struct pq *q, const PGresult *r) {
    const char *state = q->PQresultErrorField(r, PG_DIAG_SQLSTATE);
    return state && (strcmp(state, "0A000") == 0 || strncmp(state, "26", 2) == 0);
}

static enum err run_prepared(struct db_conn *c, struct arena *a, struct db_rows *out,
                             const char *sql, const struct parameters *p, uint32_t n, bool *stale) {
    struct pq *q = pq_of(c);
    struct db_statement *s = NULL;
    enum err e = prepare(c, sql, p, n, &s);
    if (e) return e;
    PGresult *r =
        q->PQexecPrepared(c->handle, s->name, (int)n, p->values, p->lengths, p->formats, 0);
    if (!succeeded(q, r)) {
        if (r && (*stale = is_stale(q, r))) db_statements_clear(c);
        return failed(c, r, sql);
    }
    if (out) e = read_rows(c, r, a, out, sql);
    q->PQclear(r);
    return e;
}

static enum err query(struct db_conn *c, struct arena *a, struct db_rows *out, const char *sql,
                      const struct db_value *params, uint32_t n_params) {
    struct parameters p = {0};
    enum err e = OK;
    bool stale = false;
    for (uint32_t i = 0; !e && i < n_params; i++) e = set_one(c, &p, i, &params[i]);
    if (!e) e = run_prepared(c, a, out, sql, &p, n_params, &stale);
    if (stale && !c->in_transaction) e = run_prepared(c, a, out, sql, &p, n_params, &stale);
    parameters_deinit(&p, n_params);
    return e;
}

/* ---- transactions ---- */

static enum err begin(struct db_conn *c, enum db_mode mode) {
    return run(c,
               mode == DB_SNAPSHOT ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" : "BEGIN");
}

static enum err commit(struct db_conn *c) {
    struct pq *q = pq_of(c);
    PGresult *r = q->PQexec(c->handle, "COMMIT");
    if (!succeeded(q, r)) {
        enum err e = failed(c, r, "COMMIT");
        return c->broken
                   ? db_fail(c, e, "PostgreSQL: lost at COMMIT: whether it took place is not known")
                   : e;
    }
    bool done = strcmp(q->PQcmdStatus(r), "COMMIT") == 0;
    q->PQclear(r);
    return done ? OK : db_fail(c, ERR_INTERNAL, "PostgreSQL rolled back what was to be committed");
}

static void rollback(struct db_conn *c) {
    PGTransactionStatusType s = pq_of(c)->PQtransactionStatus(c->handle);
    if (s == PQTRANS_IDLE) return;
    char why[DB_WHY_BYTES]; /* the reason for it is worth more than its own fate */
    memcpy(why, c->why, sizeof why);
    if (s == PQTRANS_UNKNOWN || run(c, "ROLLBACK")) c->broken = true;
    memcpy(c->why, why, sizeof why);
}

static enum err notify(struct db_conn *c, const char *topic, struct str payload) {
    char text[TOPIC_BYTES + PAYLOAD_MOST + 2];
    int n = snprintf(text, sizeof text, "%s %.*s", topic, STR_FMT(payload));
    struct db_value word = db_text((struct str){text, n > 0 ? (size_t)n : 0});
    return query(c, NULL, NULL, "SELECT pg_notify(" PQ_CHANNEL ", $1)", &word, 1);
}

const struct db_engine db_postgres = {
    .connect = connect_postgres,
    .disconnect = disconnect,
    .usable = usable,
    .query = query,
    .script = run,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .notify = notify,
    .forget = forget,
    .listen = postgres_listen,
    .listen_stop = postgres_listen_stop,
};
