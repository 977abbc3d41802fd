/* The queue of builds: a change names tenants, each of which becomes a job.
 * in: what changed, in the caller's transaction. out: rows of builds and jobs, words to whoever
 * waits. owns: nothing. */
#include "control/queue.h"
#include "control/api.h"
#include "control/control.h"

/* The tenants that a change concerns; $3 is its object. A job under way may be reading what is
 * changed now, or importing it for the first time, so a library's change takes every tenant that
 * has one. */
#define ACTIVE "t.deleted = 0 AND t.status = 'active'"
static const char *const of_scope[] = {
    [BUILD_TENANT] = " AND t.id = $3",
    [BUILD_TEMPLATE] = " AND t.template = $3 AND t.template_version = 0",
    [BUILD_LIBRARY] = " AND (t.id IN (SELECT tenant FROM tenant_libraries WHERE library = $3)"
                      " OR t.build_state = 'failed'"
                      " OR t.id IN (SELECT tenant FROM jobs WHERE state IN ('queued', 'running')))",
    [BUILD_ALL] = "",
};

#define INSERT_JOBS                                                                                \
    "INSERT INTO jobs (build, tenant, state, owner, lease_ms, attempts, version, errors, "         \
    "warnings, compiled, took_us,"                                                                 \
    " created_ms) SELECT $1, t.id, 'queued', '', 0, 0, '', '[]', '[]', 0, 0, $2 FROM tenants t "   \
    "WHERE " ACTIVE
#define REOPEN_JOBS                                                                                \
    "UPDATE jobs SET state = 'queued', owner = '', lease_ms = 0, attempts = 0, created_ms = $2"    \
    " WHERE build = $1 AND state NOT IN ('queued', 'running')"                                     \
    " AND tenant IN (SELECT t.id FROM tenants t WHERE " ACTIVE

/* The tenants of an ask: conditions on `tenants t`, and parameters of which the first two are the
 * build and the time. */
struct chosen {
    const char *sql;
    const struct db_value *params;
    uint32_t n;
};

static enum err add_build(struct db_conn *c, struct arena *a, const struct build_ask *ask,
                          int64_t now, bool *fresh) {
    struct db_rows rows;
    enum err e =
        DB_QUERY(c, a, &rows,
                 "INSERT INTO builds (id, cause, object, status, release, forced, total, "
                 "succeeded, unchanged,"
                 " failed, superseded, created_ms, finished_ms, created_by)"
                 " VALUES ($1, $2, $3, 'queued', $4, $5, 0, 0, 0, 0, 0, $6, 0, $7) ON CONFLICT "
                 "(id) DO NOTHING",
                 db_text(ask->build), db_cstr(ask->cause), db_text(ask->object),
                 db_int(ask->release), db_int(ask->forced), db_int(now), db_text(ask->who));
    if (e == OK) *fresh = rows.changed == 1;
    return e;
}

static enum err change_jobs(struct db_conn *c, struct arena *a, const struct chosen *chosen,
                            const char *before, const char *after, int64_t *n) {
    struct db_rows rows;
    const char *sql = arena_printf(a, NULL, "%s%s%s", before, chosen->sql, after);
    enum err e = sql ? db_query(c, a, &rows, sql, chosen->params, chosen->n) : ERR_MEMORY;
    if (e == OK) *n = rows.changed;
    return e;
}

/* Those of an earlier ask for the same build are left alone: what they were read from is as new as
 * it was. */
static enum err want(struct db_conn *c, struct arena *a, const struct chosen *chosen,
                     int64_t change) {
    struct db_value params[DB_MAX_PARAMS];
    const char *sql = arena_printf(
        a, NULL,
        "UPDATE tenants SET wanted = $2 WHERE id IN"
        " (SELECT tenant FROM jobs WHERE build = $1 AND state IN ('queued', 'running'))"
        " AND id IN (SELECT t.id FROM tenants t WHERE " ACTIVE "%s)",
        chosen->sql);
    if (!sql) return ERR_MEMORY;
    memcpy(params, chosen->params, chosen->n * sizeof *params);
    params[1] = db_int(change);
    return db_query(c, a, NULL, sql, params, chosen->n);
}

/* Jobs that had ended and are to be done again take their part of the counts with them. */
static enum err recount(struct db_conn *c, struct arena *a, struct str build) {
#define COUNT(states) "(SELECT count(*) FROM jobs WHERE build = $1 AND state IN (" states "))"
    return DB_QUERY(
        c, a, NULL,
        "UPDATE builds SET total = (SELECT count(*) FROM jobs WHERE build = $1), succeeded "
        "= " COUNT("'built'") ", unchanged = " COUNT("'unchanged'") ", failed = " COUNT(
            "'failed'") ", superseded = " COUNT("'superseded', 'cancelled'") " WHERE id = $1",
        db_text(build));
#undef COUNT
}

static enum err count_jobs(struct db_conn *c, struct arena *a, const struct build_ask *ask,
                           int64_t now, int64_t added, int64_t again) {
    if (!added && !again)
        return DB_QUERY(c, a, NULL,
                        "UPDATE builds SET status = 'done', finished_ms = $2 WHERE id = $1 AND "
                        "status = 'queued'"
                        " AND total = 0",
                        db_text(ask->build), db_int(now));
    enum err e = again ? recount(c, a, ask->build)
                       : DB_QUERY(c, a, NULL, "UPDATE builds SET total = total + $2 WHERE id = $1",
                                  db_text(ask->build), db_int(added));
    if (e == OK)
        e = DB_QUERY(c, a, NULL,
                     "UPDATE builds SET status = 'queued', finished_ms = 0 WHERE id = $1"
                     " AND status IN ('done', 'failed', 'cancelled')",
                     db_text(ask->build));
    if (e == OK) e = db_notify(c, "jobs", ask->build);
    return e ? e : db_notify(c, "build", ask->build);
}

static enum err add(struct db_conn *c, struct arena *a, const struct build_ask *ask,
                    const struct chosen *chosen, int64_t change, int64_t now, int64_t *jobs) {
    int64_t added = 0, again = 0;
    bool fresh = false;
    enum err e = add_build(c, a, ask, now, &fresh);
    if (e == OK)
        e = change_jobs(c, a, chosen, INSERT_JOBS, " ON CONFLICT (build, tenant) DO NOTHING",
                        &added);
    if (e == OK && !fresh) e = change_jobs(c, a, chosen, REOPEN_JOBS, ")", &again);
    /* a job of this build that runs has read what was there before: the pool sees that more is
     * wanted, and does it again */
    if (e == OK) e = want(c, a, chosen, change);
    if (e == OK) e = count_jobs(c, a, ask, now, added, again);
    if (e == OK) *jobs = added + again;
    return e;
}

enum err queue_add(struct db_conn *c, struct arena *a, const struct build_ask *ask, int64_t change,
                   int64_t *jobs) {
    int64_t now = control_now_ms();
    const struct db_value params[] = {db_text(ask->build), db_int(now), db_text(ask->object)};
    const struct chosen chosen = {of_scope[ask->scope], params, ask->scope == BUILD_ALL ? 2 : 3};
    return add(c, a, ask, &chosen, change, now, jobs);
}

enum err queue_add_where(struct db_conn *c, struct arena *a, const struct build_ask *ask,
                         int64_t change, const char *where, struct db_value *params,
                         uint32_t n_params, int64_t *jobs) {
    int64_t now = control_now_ms();
    params[0] = db_text(ask->build);
    params[1] = db_int(now);
    return add(c, a, ask, &(struct chosen){where, params, n_params}, change, now, jobs);
}

enum err queue_build_json(struct db_conn *c, struct arena *a, struct str build, struct json **out) {
    struct db_rows rows;
    enum err e =
        DB_QUERY(c, a, &rows, "SELECT " QUEUE_BUILD_COLUMNS " FROM builds b WHERE b.id = $1",
                 db_text(build));
    if (e) return e;
    if (!rows.n) return ERR_NOT_FOUND;
    *out = queue_build_row(a, db_row(&rows, 0));
    return *out ? OK : ERR_MEMORY;
}

struct json *queue_build_row(struct arena *a, const struct db_value *v) {
    static const char *const counts[] = {"total", "succeeded", "unchanged", "failed", "superseded"};
    struct json *o = json_object(a);
    json_set(a, o, STR("id"), json_string(a, v[0].s));
    json_set(a, o, STR("cause"), json_string(a, v[1].s));
    json_set(a, o, STR("object"), json_string(a, v[2].s));
    json_set(a, o, STR("status"), json_string(a, v[3].s));
    json_set(a, o, STR("release"), json_bool(a, v[4].i != 0));
    json_set(a, o, STR("forced"), json_bool(a, v[5].i != 0));
    int64_t remaining = v[6].i;
    for (uint32_t i = 0; i < 5; i++) {
        json_set(a, o, str_of(counts[i]), json_int(a, v[6 + i].i));
        if (i) remaining -= v[6 + i].i;
    }
    json_set(a, o, STR("remaining"), json_int(a, remaining));
    json_set(a, o, STR("created_at"), api_time(a, v[11].i));
    json_set(a, o, STR("finished_at"), api_time(a, v[12].i));
    json_set(a, o, STR("created_by"), json_string(a, v[13].s));
    return o;
}
