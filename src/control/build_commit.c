/* Puts into the store what a batch of jobs came to: versions, releases, states, counts, audit; one
 * transaction. in: a worker's batch, whose objects lie in the blob store. out: rows, words to
 * whoever waits. owns: nothing. */
#include "control/audit.h"
#include "control/build_private.h"
#include "control/release.h"
#include <stdio.h>
#include <stdlib.h>

/* Rows are locked in this order: jobs, tenants, feed, builds, audit. Two batches that meet all the
 * same begin again. */
struct tenant_now {
    bool active;
    int64_t wanted, built, numbered;
    struct str current, newest; /* versions; "": none */
};

static enum err read_job(struct build_worker *w, struct db_conn *c, struct job *j) {
#define READ_JOB "SELECT state, owner FROM jobs WHERE build = $1 AND tenant = $2"
    struct db_rows rows;
    enum err e = DB_QUERY(c, w->batch.arena, &rows,
                          db_is_postgres(w->control->db) ? READ_JOB " FOR UPDATE" : READ_JOB,
                          db_text(j->build), db_text(j->tenant));
#undef READ_JOB
    if (e) return e;
    const struct db_value *v = rows.n ? db_row(&rows, 0) : NULL;
    j->lost = !v || !str_is(v[0].s, "running") || !str_is(v[1].s, w->owner);
    return OK;
}

static enum err read_tenant(struct build_worker *w, struct db_conn *c, const struct job *j,
                            struct tenant_now *out) {
#define READ_TENANT                                                                                \
    "SELECT t.status, t.deleted, t.wanted, t.built, t.numbered, t.version, v.version FROM "        \
    "tenants t"                                                                                    \
    " LEFT JOIN versions v ON v.tenant = t.id AND v.number = t.numbered WHERE t.id = $1"
    struct db_rows rows;
    enum err e =
        DB_QUERY(c, w->batch.arena, &rows,
                 db_is_postgres(w->control->db) ? READ_TENANT " FOR UPDATE OF t" : READ_TENANT,
                 db_text(j->tenant));
#undef READ_TENANT
    *out = (struct tenant_now){0};
    if (e || !rows.n) return e;
    const struct db_value *v = db_row(&rows, 0);
    *out = (struct tenant_now){.active = str_is(v[0].s, "active") && !v[1].i,
                               .wanted = v[2].i,
                               .built = v[3].i,
                               .numbered = v[4].i,
                               .current = v[5].s,
                               .newest = v[6].type == DB_TEXT ? v[6].s : STR("")};
    return OK;
}

/* What was not built anew is released when somebody asked for it, or when nothing else is current:
 * a change that leaves a tenant as it is does not undo a rollback. */
static struct str release_unbuilt(const struct job *j, const struct tenant_now *t) {
    bool asked = str_is(j->cause, "request") || !t->current.len;
    return j->release && asked ? t->newest : STR("");
}

/* How the job ends, now that nothing else can change its tenant. */
static void settle(struct job *j, const struct tenant_now *t) {
    bool newer = t->built > j->read_at, same = t->built == j->read_at;
    j->apply = false;
    j->release_version = STR("");
    j->serial = 0;
    if (j->outcome == JOB_PENDING || j->outcome == JOB_READY || j->outcome == JOB_RETRY)
        j->state = "queued";
    else if (!t->active || j->outcome == JOB_SUPERSEDED)
        j->state = "superseded";
    else if (j->outcome == JOB_DONE || newer || (same && !j->forced)) {
        /* what another job made of the same or of newer inputs stands; a new signature was not
         * among it for sure */
        j->state = j->forced && j->outcome == JOB_BUILT ? "queued" : "superseded";
        j->release_version = release_unbuilt(j, t);
    } else if (j->outcome == JOB_FAILED) {
        j->state = "failed";
        j->apply = true;
    } else if (t->numbered != j->numbered)
        j->state = "queued"; /* its number is taken, by older inputs */
    else {
        j->apply = true;
        j->state = j->outcome == JOB_BUILT ? "built" : "unchanged";
        j->release_version = j->outcome == JOB_UNCHANGED ? release_unbuilt(j, t)
                             : j->release                ? str_of(j->version)
                                                         : STR("");
    }
    if (str_eq(j->release_version, t->current)) j->release_version = STR("");
}

/* ---- what was built ---- */

static enum err add_version(struct build_worker *w, struct db_conn *c, const struct job *j) {
    return DB_QUERY(c, w->batch.arena, NULL,
                    "INSERT INTO versions (tenant, number, version, sha256, module_sha256, "
                    "content, code, bytes, source,"
                    " compiler, key, build, created_ms, created_by)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
                    db_text(j->tenant), db_int(j->numbered + 1), db_cstr(j->version),
                    db_cstr(j->sha256), db_cstr(j->module_sha256), db_cstr(j->content),
                    db_cstr(j->code), db_int(j->bytes), db_text(j->source_text),
                    db_cstr("regent " REGENT_VERSION), db_cstr(signer_key_id(w->control->signer)),
                    db_text(j->build), db_int(j->at_ms), db_text(j->who));
}

static bool same_libraries(const struct db_rows *rows, const struct job *j) {
    if (rows->n != j->n_libraries) return false;
    for (uint32_t i = 0; i < rows->n; i++) {
        bool found = false;
        for (uint32_t k = 0; k < j->n_libraries && !found; k++)
            found = str_eq(db_row(rows, i)->s, j->libraries[k]);
        if (!found) return false;
    }
    return true;
}

static enum err set_libraries(struct build_worker *w, struct db_conn *c, const struct job *j) {
    struct arena *a = w->batch.arena;
    struct db_rows rows;
    enum err e = DB_QUERY(c, a, &rows, "SELECT library FROM tenant_libraries WHERE tenant = $1",
                          db_text(j->tenant));
    if (e || same_libraries(&rows, j)) return e;
    e = DB_QUERY(c, a, NULL, "DELETE FROM tenant_libraries WHERE tenant = $1", db_text(j->tenant));
    for (uint32_t i = 0; i < j->n_libraries && e == OK; i++)
        e = DB_QUERY(c, a, NULL,
                     "INSERT INTO tenant_libraries (library, tenant) VALUES ($1, $2) ON CONFLICT "
                     "(library, tenant) DO NOTHING",
                     db_text(j->libraries[i]), db_text(j->tenant));
    return e;
}

/* What failed leaves the numbers alone: another job may have counted on since. */
static enum err apply(struct build_worker *w, struct db_conn *c, const struct job *j) {
    bool built = j->outcome == JOB_BUILT;
    enum err e = built ? add_version(w, c, j) : OK;
    if (e == OK && built) e = set_libraries(w, c, j);
    if (e) return e;
    return DB_QUERY(
        c, w->batch.arena, NULL,
        "UPDATE tenants SET built = $2, build_state = $3, numbered = numbered + $4 WHERE id = $1",
        db_text(j->tenant), db_int(j->read_at),
        db_cstr(j->outcome == JOB_FAILED ? "failed" : "built"), db_int(built));
}

/* A change since the inputs were read, of which this job was the only one: it is to be done again.
 */
static enum err again_if_wanted(struct build_worker *w, struct db_conn *c, struct job *j,
                                const struct tenant_now *t) {
    struct db_rows rows;
    if (!j->apply || t->wanted <= j->read_at) return OK;
    enum err e = DB_QUERY(c, w->batch.arena, &rows,
                          "SELECT 1 FROM jobs WHERE tenant = $1 AND state IN ('queued', 'running') "
                          "AND build <> $2 LIMIT 1",
                          db_text(j->tenant), db_text(j->build));
    if (e == OK && !rows.n) j->state = "queued";
    return e;
}

static enum err settle_all(struct build_worker *w, struct db_conn *c) {
    struct batch *b = &w->batch;
    enum err e = OK;
    for (uint32_t i = 0; i < b->n && e == OK; i++) e = read_job(w, c, &b->jobs[i]);
    for (uint32_t i = 0; i < b->n && e == OK; i++) {
        struct job *j = &b->jobs[i];
        struct tenant_now now;
        if (j->lost) continue;
        e = read_tenant(w, c, j, &now);
        if (e) break;
        settle(j, &now);
        if (j->apply) e = apply(w, c, j);
        if (e == OK) e = again_if_wanted(w, c, j, &now);
    }
    return e;
}

/* ---- releases ---- */

static enum err release_all(struct build_worker *w, struct db_conn *c) {
    struct batch *b = &w->batch;
    int64_t n = 0, seq = 0;
    for (uint32_t i = 0; i < b->n; i++) n += !b->jobs[i].lost && b->jobs[i].release_version.len;
    enum err e = n ? control_count(c, b->arena, "feed", n, &seq) : OK;
    seq -= n;
    for (uint32_t i = 0; i < b->n && e == OK; i++) {
        struct job *j = &b->jobs[i];
        if (j->lost || !j->release_version.len) continue;
        const struct release_ask ask = {.tenant = j->tenant,
                                        .version = j->release_version,
                                        .cause = "build",
                                        .rollout = STR(""),
                                        .who = j->who};
        e = release_set(c, b->arena, &ask, ++seq, &j->serial);
    }
    return e;
}

/* ---- jobs and builds ---- */

/* Grows with each attempt, up to two leases. */
static int64_t backoff_ms(const struct build_worker *w, int64_t attempts) {
    int64_t lease = build_lease_ms(w->control), ms = (lease / 30 + 1)
                                                     << (attempts < 8 ? attempts : 8);
    return ms < 2 * lease ? ms : 2 * lease;
}

static enum err requeue(struct build_worker *w, struct db_conn *c, const struct job *j) {
    bool failed = j->outcome == JOB_RETRY;
    return DB_QUERY(
        c, w->batch.arena, NULL,
        "UPDATE jobs SET state = 'queued', owner = '', lease_ms = $3, attempts = $4, errors = $5"
        " WHERE build = $1 AND tenant = $2",
        db_text(j->build), db_text(j->tenant),
        db_int(failed ? control_now_ms() + backoff_ms(w, j->attempts) : 0),
        db_int(failed ? j->attempts : j->attempts - 1), db_text(j->errors));
}

static enum err end_job(struct build_worker *w, struct db_conn *c, const struct job *j) {
    if (str_is(str_of(j->state), "queued")) return requeue(w, c, j);
    bool old = j->outcome == JOB_UNCHANGED && j->apply, built = j->outcome == JOB_BUILT && j->apply;
    return DB_QUERY(c, w->batch.arena, NULL,
                    "UPDATE jobs SET state = $3, owner = '', lease_ms = 0, version = $4, errors = "
                    "$5, warnings = $6,"
                    " compiled = $7, took_us = $8 WHERE build = $1 AND tenant = $2",
                    db_text(j->build), db_text(j->tenant), db_cstr(j->state),
                    db_text(built ? str_of(j->version)
                            : old ? j->previous_version
                                  : STR("")),
                    db_text(j->errors), db_text(j->warnings), db_int(built && j->compiled),
                    db_int(j->took_us));
}

/* Is this the job by which the build ends? Then it says how. */
static enum err end_build(struct build_worker *w, struct db_conn *c, struct job *first) {
    struct db_rows rows;
    enum err e = DB_QUERY(
        c, w->batch.arena, &rows,
        "UPDATE builds SET status = CASE WHEN failed > 0 THEN 'failed' ELSE 'done' END, "
        "finished_ms = $2"
        " WHERE id = $1 AND status IN ('queued', 'running')"
        " AND succeeded + unchanged + failed + superseded >= total RETURNING status, total, failed",
        db_text(first->build), db_int(control_now_ms()));
    first->build_ended = STR("");
    if (e || !rows.n) return e;
    const struct db_value *v = db_row(&rows, 0);
    first->build_ended = v[0].s;
    first->build_total = v[1].i;
    first->build_failed = v[2].i;
    return OK;
}

/* Jobs of one build that ended here; the first job of each build stands for it. */
static enum err count_build(struct build_worker *w, struct db_conn *c, struct job *first,
                            const struct job *end) {
    static const char *const states[] = {"built", "unchanged", "failed", "superseded"};
    int64_t n[4] = {0};
    for (const struct job *j = first; j < end && str_eq(j->build, first->build); j++)
        for (uint32_t k = 0; k < 4; k++) n[k] += !j->lost && strcmp(j->state, states[k]) == 0;
    if (!(n[0] + n[1] + n[2] + n[3])) return OK;
    enum err e =
        DB_QUERY(c, w->batch.arena, NULL,
                 "UPDATE builds SET succeeded = succeeded + $2, unchanged = unchanged + $3, failed "
                 "= failed + $4,"
                 " superseded = superseded + $5 WHERE id = $1",
                 db_text(first->build), db_int(n[0]), db_int(n[1]), db_int(n[2]), db_int(n[3]));
    if (e == OK) e = end_build(w, c, first);
    return e ? e : db_notify(c, "build", first->build);
}

static enum err end_all(struct build_worker *w, struct db_conn *c) {
    struct batch *b = &w->batch;
    enum err e = OK;
    for (uint32_t i = 0; i < b->n && e == OK; i++)
        if (!b->jobs[i].lost) e = end_job(w, c, &b->jobs[i]);
    for (uint32_t i = 0; i < b->n && e == OK; i++)
        if (!i || !str_eq(b->jobs[i].build, b->jobs[i - 1].build))
            e = count_build(w, c, &b->jobs[i], b->jobs + b->n);
    return e;
}

/* ---- audit ---- */

static enum err write_down(struct build_worker *w, struct db_conn *c, const struct job *j) {
    struct arena *a = w->batch.arena;
    bool built = j->apply && j->outcome == JOB_BUILT;
    if (j->lost || (!built && !j->serial)) return OK;
    struct json *o = json_object(a);
    char object[CONTROL_ID_BYTES + 16];
    snprintf(object, sizeof object, "tenants/%.*s", STR_FMT(j->tenant));
    json_set(a, o, STR("build"), json_string(a, j->build));
    if (built) {
        json_set(a, o, STR("version"), json_string(a, str_of(j->version)));
        json_set(a, o, STR("sha256"), json_string(a, str_of(j->sha256)));
    } else
        json_set(a, o, STR("version"), json_string(a, j->release_version));
    if (j->serial) json_set(a, o, STR("serial"), json_int(a, j->serial));
    return audit_add(c, a, j->who,
                     !built      ? "release.create"
                     : j->serial ? "version.publish"
                                 : "version.create",
                     str_of(object), o);
}

static enum err commit_body(struct db_conn *c, void *ctx) {
    struct build_worker *w = ctx;
    enum err e = settle_all(w, c);
    if (e == OK) e = release_all(w, c);
    if (e == OK) e = end_all(w, c);
    for (uint32_t i = 0; i < w->batch.n && e == OK; i++) e = write_down(w, c, &w->batch.jobs[i]);
    return e;
}

/* A build's jobs stand together, to be counted at once; within it everybody locks tenants in one
 * order. */
static int by_build(const void *a, const void *b) {
    const struct job *x = a, *y = b;
    int c = str_cmp(x->build, y->build);
    return c ? c : str_cmp(x->tenant, y->tenant);
}

static void log_ends(const struct build_worker *w) {
    char total[24], failed[24];
    for (uint32_t i = 0; i < w->batch.n; i++) {
        const struct job *j = &w->batch.jobs[i];
        if (!j->build_ended.len) continue;
        char *id = arena_strndup(w->batch.arena, j->build.ptr, j->build.len);
        snprintf(total, sizeof total, "%lld", (long long)j->build_total);
        snprintf(failed, sizeof failed, "%lld", (long long)j->build_failed);
        log_line(w->control->log, j->build_failed ? LOG_WARN : LOG_INFO, "build ended", "build",
                 id ? id : "", "total", total, "failed", failed, NULL);
    }
}

static void count(_Atomic uint64_t *n, uint64_t more) {
    atomic_fetch_add_explicit(n, more, memory_order_relaxed);
}

static void count_jobs(const struct build_worker *w) {
    struct build_counts *n = &w->pool->counts;
    for (uint32_t i = 0; i < w->batch.n; i++) {
        const struct job *j = &w->batch.jobs[i];
        if (j->lost) continue;
        struct str state = str_of(j->state);
        count(&n->built, str_is(state, "built"));
        count(&n->unchanged, str_is(state, "unchanged"));
        count(&n->failed, str_is(state, "failed"));
        count(&n->superseded, str_is(state, "superseded"));
        count(&n->retried, j->outcome == JOB_RETRY);
        count(&n->compiled, j->compiled);
        count(&n->took_us, (uint64_t)j->took_us);
    }
}

enum err build_commit(struct build_worker *w) {
    qsort(w->batch.jobs, w->batch.n, sizeof *w->batch.jobs, by_build);
    enum err e = db_transact(w->db, commit_body, w);
    if (e == OK) {
        log_ends(w);
        count_jobs(w);
    }
    return e;
}
