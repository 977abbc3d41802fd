/* Takes jobs from the queue under leases, renews them, gives them back.
 * in: rows of builds and jobs. out: a worker's batch. owns: nothing. */
#include "control/build_private.h"
#include <stdio.h>

enum { BUILDS_LOOKED_AT = 64 };

/* A build's jobs that are queued, or whose owner has not been heard of for a lease. */
#define DUE "state IN ('queued', 'running') AND lease_ms <= $1"
#define OPEN_BUILDS(order)                                                                         \
    "SELECT b.id, b.cause, b.created_by, b.release, b.forced FROM builds b"                        \
    " WHERE b.status IN ('queued', 'running')"                                                     \
    " AND EXISTS (SELECT 1 FROM jobs WHERE build = b.id AND " DUE " AND attempts < $2)"            \
    " ORDER BY " order " LIMIT $3"
/* Small builds do not wait behind large ones; now and then the oldest gets its turn, so that many
 * small ones do not keep it from ending. */
static const char small_first[] = OPEN_BUILDS(
    "b.total - b.succeeded - b.unchanged - b.failed - b.superseded, b.created_ms DESC, b.id DESC");
static const char oldest_first[] = OPEN_BUILDS("b.created_ms, b.id");

#define TAKE_JOBS(lock)                                                                            \
    "WITH picked AS (SELECT tenant FROM jobs WHERE build = $3 AND " DUE                            \
    " AND attempts < $2 ORDER BY tenant LIMIT $4" lock ")"                                         \
    " UPDATE jobs SET state = 'running', owner = $5, lease_ms = $6, attempts = attempts + 1"       \
    " WHERE build = $3 AND tenant IN (SELECT tenant FROM picked) RETURNING tenant, attempts"

struct claim {
    struct build_worker *worker;
    uint32_t limit;
    bool oldest;
};

static enum err take_of(struct build_worker *w, const struct db_value *build, int64_t attempts,
                        uint32_t limit, int64_t now) {
    struct batch *b = &w->batch;
    struct db_rows rows;
    const char *sql =
        db_is_postgres(w->control->db) ? TAKE_JOBS(" FOR UPDATE SKIP LOCKED") : TAKE_JOBS("");
    enum err e =
        DB_QUERY(w->db, b->arena, &rows, sql, db_int(now), db_int(attempts), db_text(build[0].s),
                 db_int(limit - b->n), db_cstr(w->owner), db_int(now + build_lease_ms(w->control)));
    if (e || !rows.n) return e;
    for (uint32_t i = 0; i < rows.n && b->n < BATCH_MOST; i++) {
        const struct db_value *v = db_row(&rows, i);
        b->jobs[b->n++] = (struct job){.build = build[0].s,
                                       .cause = build[1].s,
                                       .who = build[2].s,
                                       .release = build[3].i != 0,
                                       .forced = build[4].i != 0,
                                       .tenant = v[0].s,
                                       .attempts = v[1].i,
                                       .errors = STR("[]"),
                                       .warnings = STR("[]")};
    }
    e = DB_QUERY(w->db, b->arena, &rows,
                 "UPDATE builds SET status = 'running' WHERE id = $1 AND status = 'queued'",
                 db_text(build[0].s));
    return e || !rows.changed ? e : db_notify(w->db, "build", build[0].s);
}

static enum err take(struct build_worker *w, int64_t attempts, uint32_t limit, bool oldest) {
    struct db_rows builds;
    int64_t now = control_now_ms();
    enum err e = DB_QUERY(w->db, w->batch.arena, &builds, oldest ? oldest_first : small_first,
                          db_int(now), db_int(attempts), db_int(BUILDS_LOOKED_AT));
    for (uint32_t i = 0; i < builds.n && e == OK && w->batch.n < limit; i++)
        e = take_of(w, db_row(&builds, i), attempts, limit, now);
    return e;
}

static enum err claim_body(struct db_conn *c, void *ctx) {
    (void)c;
    struct claim *k = ctx;
    k->worker->batch.n = 0;
    enum err e = take(k->worker, ATTEMPTS_ALONE, k->limit, k->oldest);
    if (e == OK && !k->worker->batch.n) e = take(k->worker, INT32_MAX, 1, true);
    return e;
}

enum err build_claim(struct build_worker *w, uint32_t limit, bool oldest) {
    bool due = false;
    w->batch.n = 0;
    enum err e = build_due(w->db, w->batch.arena, &due); /* takes no lock */
    if (e || !due) return e;
    return db_transact(w->db, claim_body, &(struct claim){w, limit, oldest});
}

static enum err give_back_body(struct db_conn *c, void *ctx) {
    struct build_worker *w = ctx;
    for (uint32_t i = 0; i < w->batch.n; i++) {
        const struct job *j = &w->batch.jobs[i];
        if (j->outcome != JOB_PENDING && j->outcome != JOB_READY) continue;
        enum err e =
            DB_QUERY(c, w->batch.arena, NULL,
                     "UPDATE jobs SET attempts = attempts - 1 WHERE build = $1 AND tenant = $2"
                     " AND state = 'running' AND owner = $3",
                     db_text(j->build), db_text(j->tenant), db_cstr(w->owner));
        if (e) return e;
    }
    enum err e =
        DB_QUERY(c, w->batch.arena, NULL,
                 "UPDATE jobs SET state = 'queued', owner = '', lease_ms = 0"
                 " WHERE state IN ('queued', 'running') AND state = 'running' AND owner = $1",
                 db_cstr(w->owner));
    return e ? e : db_notify(c, "jobs", STR(""));
}

enum err build_give_back(struct build_worker *w) {
    enum err e = db_transact(w->db, give_back_body, w);
    if (e == OK) w->batch.n = 0;
    return e;
}

enum err build_renew(struct build_pool *p, struct db_conn *c, struct arena *a) {
    struct control *k = p->control;
    char owners[sizeof k->id + 3];
    snprintf(owners, sizeof owners, "%s/%%", k->id);
    return DB_QUERY(
        c, a, NULL,
        "UPDATE jobs SET lease_ms = $1 WHERE state IN ('queued', 'running') AND state = 'running'"
        " AND owner LIKE $2",
        db_int(control_now_ms() + build_lease_ms(k)), db_cstr(owners));
}

enum err build_due(struct db_conn *c, struct arena *a, bool *due) {
    struct db_rows rows;
    enum err e =
        DB_QUERY(c, a, &rows, "SELECT 1 FROM jobs WHERE " DUE " LIMIT 1", db_int(control_now_ms()));
    if (e == OK) *due = rows.n > 0;
    return e;
}
