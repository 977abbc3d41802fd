/* Takes rollouts further: releases the next tenants of a wave, watches what edges report, goes on,
 * ends, takes back. in: rows of rollouts, reports of edges. out: releases. owns: a thread.
 *
 * Each step is one transaction that has the rollout's row locked from its beginning, so any replica
 * may take the next one, and one that dies in the middle has done nothing. */
#include "base/clock.h"
#include "control/rollout.h"
#include "control/audit.h"
#include "control/control.h"
#include "control/release.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CHUNK = 50, /* tenants a transaction: writers of the feed wait for it */
    LOOK_EACH_MS = 1000,
    SETTLE_MS = 10000, /* a node that knows of a release has tried it by then */
    ARENA_BYTES = 256 << 20,
    STEPS_AT_ONCE = 1000
};

struct rollouts {
    struct control *control;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool wake, ends;
};

/* ---- a rollout as it is stored ---- */

static enum err parse_object(struct arena *a, struct str text, struct json **out) {
    struct json_error wrong;
    enum err e = json_parse(a, text, out, &wrong);
    if (e == ERR_MEMORY) return e;
    return !e && (*out)->kind == JSON_OBJECT ? OK : ERR_INTERNAL;
}

enum err rollout_read_row(struct arena *a, const struct db_value *row, struct rollout *out) {
    char why[ROLLOUT_WHY_BYTES];
    *out = (struct rollout){.id = row[0].s,
                            .status = row[1].s,
                            .rev = row[2].i,
                            .wave = row[5].i,
                            .next_ms = row[6].i,
                            .created_ms = row[7].i,
                            .updated_ms = row[8].i,
                            .created_by = row[9].s};
    enum err e = parse_object(a, row[3].s, &out->asked);
    if (!e) e = parse_object(a, row[4].s, &out->state);
    if (!e && rollout_plan_read(out->asked, &out->plan, why)) e = ERR_INTERNAL;
    if (!e && (out->wave < 0 || out->wave >= out->plan.n_waves)) e = ERR_INTERNAL;
    return e;
}

int64_t rollout_count(const struct rollout *r, const char *member) {
    int64_t n = 0;
    return json_int64(json_get_c(r->state, member), &n) ? n : 0;
}

void rollout_set_count(struct arena *a, struct rollout *r, const char *member, int64_t n) {
    json_set(a, r->state, str_of(member), json_int(a, n));
}

static void set_text(struct arena *a, struct rollout *r, const char *member, struct str text) {
    json_set(a, r->state, str_of(member), json_string(a, text));
}

static bool phase_is(const struct rollout *r, const char *phase) {
    const struct json *v = json_get_c(r->state, "phase");
    return v && v->kind == JSON_STRING && str_is(v->text, phase);
}

enum err rollout_write(struct db_conn *c, struct arena *a, const struct rollout *r) {
    struct buf b;
    buf_init(&b, 64 << 10);
    json_print(r->state, true, 0, &b);
    enum err e = b.err;
    if (!e)
        e = DB_QUERY(
            c, a, NULL,
            "UPDATE rollouts SET status = $2, wave = $3, next_ms = $4, state = $5, updated_ms = $6,"
            " rev = rev + 1 WHERE id = $1",
            db_text(r->id), db_text(r->status), db_int(r->wave), db_int(r->next_ms),
            db_text(buf_view(&b)), db_int(control_now_ms()));
    buf_deinit(&b);
    return e;
}

void rollout_abort(struct arena *a, struct rollout *r, bool rollback, struct str reason) {
    r->status = rollback ? STR("aborting") : STR("aborted");
    r->next_ms = 0;
    set_text(a, r, "reason", reason);
}

/* ---- what edges report ---- */

/* A failure counts when it was reported after the release, or stands although the node knew of the
 * release for long: a report names what changed only, and "failed" may stay what it was. */
#define FAILED_ON                                                                                  \
    " x.tenant = r.tenant AND x.outcome = 'failed' AND x.active <> r.version AND e.seen_ms + 3 * " \
    "e.wait_ms >= $2"                                                                              \
    " AND (x.at_ms >= l.created_ms OR (e.cursor >= f.seq AND l.created_ms <= $3))"
#define RELEASED                                                                                   \
    " FROM rollout_tenants r JOIN releases l ON l.tenant = r.tenant AND l.serial = r.serial"       \
    " JOIN feed f ON f.tenant = r.tenant AND f.serial = r.serial"

static const char FAILURES_COUNT[] =
    "SELECT COUNT(*)" RELEASED
    " WHERE r.rollout = $1 AND r.serial > 0 AND EXISTS (SELECT 1 FROM edge_tenants x"
    " JOIN edges e ON e.node = x.node WHERE" FAILED_ON ")";
static const char FAILURES_FIRST[] =
    "SELECT r.tenant, r.version, e.node, e.host, x.error" RELEASED
    " JOIN edge_tenants x ON x.tenant = r.tenant"
    " JOIN edges e ON e.node = x.node WHERE r.rollout = $1 AND r.serial > 0 AND" FAILED_ON
    " ORDER BY r.tenant, e.node LIMIT $4";

enum err rollout_failures(struct db_conn *c, struct arena *a, struct str id, int64_t *n,
                          struct db_rows *first) {
    struct db_rows rows = {0};
    int64_t now = control_now_ms();
    enum err e =
        DB_QUERY(c, a, &rows, FAILURES_COUNT, db_text(id), db_int(now), db_int(now - SETTLE_MS));
    if (e) return e;
    *n = rows.n ? db_row(&rows, 0)->i : 0;
    if (!first) return OK;
    return DB_QUERY(c, a, first, FAILURES_FIRST, db_text(id), db_int(now), db_int(now - SETTLE_MS),
                    db_int(ROLLOUT_FAILURES));
}

static const char UNCONFIRMED[] = "SELECT COUNT(*) FROM rollout_tenants r JOIN tenants t ON t.id = "
                                  "r.tenant AND t.serial = r.serial"
                                  " WHERE r.rollout = $1 AND r.wave = $2 AND r.serial > 0 AND ("
                                  " NOT EXISTS (SELECT 1 FROM edge_tenants x JOIN edges e ON "
                                  "e.node = x.node WHERE x.tenant = r.tenant AND"
                                  " x.active = r.version AND e.seen_ms + 3 * e.wait_ms >= $3) OR"
                                  " EXISTS (SELECT 1 FROM edge_tenants x JOIN edges e ON e.node = "
                                  "x.node WHERE x.tenant = r.tenant AND"
                                  " x.active <> r.version AND e.seen_ms + 3 * e.wait_ms >= $3))";

enum err rollout_unconfirmed(struct db_conn *c, struct arena *a, struct str id, int64_t wave,
                             int64_t *n) {
    struct db_rows rows = {0};
    enum err e =
        DB_QUERY(c, a, &rows, UNCONFIRMED, db_text(id), db_int(wave), db_int(control_now_ms()));
    if (!e) *n = rows.n ? db_row(&rows, 0)->i : 0;
    return e;
}

/* ---- steps ---- */

struct step {
    struct rollouts *all;
    struct arena *arena;
    bool found;       /* there was something to do */
    const char *said; /* for the log, once it is committed */
    struct rollout r;
};

/* The next tenants to release (serial 0, of this wave) or to take back (serial above 0), in the
 * order of their ids. Their rows are locked, before the feed. */
static enum err read_chunk(struct db_conn *c, struct step *s, bool back, struct db_rows *rows) {
#define CHUNK_COLUMNS                                                                              \
    "SELECT r.tenant, r.version, r.previous, r.serial, t.version, t.serial, t.status, t.deleted "  \
    "FROM rollout_tenants r"                                                                       \
    " JOIN tenants t ON t.id = r.tenant WHERE r.rollout = $1"
#define CHUNK_NEXT CHUNK_COLUMNS " AND r.wave = $2 AND r.serial = 0 ORDER BY r.tenant LIMIT $3"
#define CHUNK_BACK CHUNK_COLUMNS " AND $2 >= 0 AND r.serial > 0 ORDER BY r.tenant LIMIT $3"
    bool locks = db_is_postgres(db_of(c));
    const char *sql = back    ? locks ? CHUNK_BACK " FOR UPDATE OF t" : CHUNK_BACK
                      : locks ? CHUNK_NEXT " FOR UPDATE OF t"
                              : CHUNK_NEXT;
    return DB_QUERY(c, s->arena, rows, sql, db_text(s->r.id), db_int(s->r.wave), db_int(CHUNK));
}

/* Releases or takes back one tenant; *mark becomes its serial in rollout_tenants. */
static enum err release_one(struct db_conn *c, struct step *s, const struct db_value *v, bool back,
                            int64_t seq, int64_t *mark) {
    struct release_ask ask = {.tenant = v[0].s,
                              .version = back ? v[2].s : v[1].s,
                              .cause = back ? "rollback" : "rollout",
                              .rollout = s->r.id,
                              .who = s->r.created_by};
    bool as_left = back ? v[5].i == v[3].i : str_eq(v[4].s, v[2].s);
    bool active = str_is(v[6].s, "active") && !v[7].i;
    int64_t serial = 0;
    *mark = back ? ROLLOUT_LEFT : ROLLOUT_SKIPPED;
    if (!as_left || !active) return OK;
    enum err e = release_set(c, s->arena, &ask, seq, &serial);
    if (e == ERR_NOT_FOUND) return OK;
    if (e) return e;
    if (serial) *mark = back ? ROLLOUT_TAKEN_BACK : serial;
    return OK;
}

static enum err mark_tenant(struct db_conn *c, struct step *s, struct str tenant, int64_t mark) {
    return DB_QUERY(c, s->arena, NULL,
                    "UPDATE rollout_tenants SET serial = $3 WHERE rollout = $1 AND tenant = $2",
                    db_text(s->r.id), db_text(tenant), db_int(mark));
}

static void count_mark(struct step *s, int64_t mark) {
    const char *member = mark > 0                     ? "released"
                         : mark == ROLLOUT_SKIPPED    ? "skipped"
                         : mark == ROLLOUT_TAKEN_BACK ? "taken_back"
                                                      : "left";
    rollout_set_count(s->arena, &s->r, member, rollout_count(&s->r, member) + 1);
}

static enum err log_audit(struct db_conn *c, struct step *s, const char *action,
                          struct json *tenants) {
    struct json *detail = json_object(s->arena);
    json_set(s->arena, detail, STR("wave"), json_int(s->arena, s->r.wave));
    json_set(s->arena, detail, STR("tenants"), tenants);
    const struct json *reason = json_get_c(s->r.state, "reason");
    if (reason) json_set(s->arena, detail, STR("reason"), json_string(s->arena, reason->text));
    return audit_add(c, s->arena, s->r.created_by, action, s->r.id, detail);
}

/* *n: how many it went through; 0 when there are no more. */
static enum err do_chunk(struct db_conn *c, struct step *s, bool back, uint32_t *n) {
    struct db_rows rows = {0};
    struct json *changed = json_object(s->arena);
    int64_t last = 0;
    enum err e = read_chunk(c, s, back, &rows);
    *n = rows.n;
    if (e || !rows.n) return e;
    if ((e = control_count(c, s->arena, "feed", rows.n, &last))) return e;
    for (uint32_t i = 0; i < rows.n && !e; i++) {
        const struct db_value *v = db_row(&rows, i);
        int64_t mark = 0;
        e = release_one(c, s, v, back, last - rows.n + 1 + i, &mark);
        if (!e) e = mark_tenant(c, s, v[0].s, mark);
        if (e) break;
        count_mark(s, mark);
        if (mark > 0 || mark == ROLLOUT_TAKEN_BACK)
            json_append(s->arena, changed, v[0].s, json_string(s->arena, back ? v[2].s : v[1].s));
    }
    if (!e && changed->n)
        e = log_audit(c, s, back ? "rollout.take_back" : "rollout.release", changed);
    return e;
}

static enum err step_back(struct db_conn *c, struct step *s) {
    uint32_t n = 0;
    enum err e = do_chunk(c, s, true, &n);
    if (e) return e;
    s->r.next_ms = 0;
    if (n) return rollout_write(c, s->arena, &s->r);
    s->r.status = STR("aborted");
    s->said = "rollout taken back";
    e = rollout_write(c, s->arena, &s->r);
    return e ? e : log_audit(c, s, "rollout.aborted", NULL);
}

static enum err step_abort(struct db_conn *c, struct step *s, int64_t failed) {
    size_t len = 0;
    const char *why =
        arena_printf(s->arena, &len, "%lld of %lld released tenants failed on an edge",
                     (long long)failed, (long long)rollout_count(&s->r, "released"));
    rollout_abort(s->arena, &s->r, s->r.plan.rollback,
                  why ? (struct str){why, len} : STR("tenants failed"));
    s->said = "rollout aborted";
    enum err e = rollout_write(c, s->arena, &s->r);
    return e ? e : log_audit(c, s, "rollout.abort", NULL);
}

/* A wave is over: the next one, or the end. */
static enum err step_on(struct db_conn *c, struct step *s) {
    s->r.next_ms = 0;
    set_text(s->arena, &s->r, "phase", STR("release"));
    if (s->r.wave + 1 < s->r.plan.n_waves) {
        s->r.wave++;
        return rollout_write(c, s->arena, &s->r);
    }
    s->r.status = STR("done");
    s->said = "rollout done";
    enum err e = rollout_write(c, s->arena, &s->r);
    return e ? e : log_audit(c, s, "rollout.done", NULL);
}

/* Were tenants of this wave released? One that has none is passed over at once. */
static enum err wave_released(struct db_conn *c, struct step *s, bool *out) {
    struct db_rows rows = {0};
    enum err e = DB_QUERY(c, s->arena, &rows,
                          "SELECT tenant FROM rollout_tenants WHERE rollout = $1 AND wave = $2 AND "
                          "serial > 0 LIMIT 1",
                          db_text(s->r.id), db_int(s->r.wave));
    *out = rows.n > 0;
    return e;
}

static enum err step_release(struct db_conn *c, struct step *s) {
    uint32_t n = 0;
    bool any = false;
    enum err e = do_chunk(c, s, false, &n);
    if (!e && !n) e = wave_released(c, s, &any);
    if (e) return e;
    if (!n && !any) return step_on(c, s);
    s->r.next_ms = 0;
    if (!n) {
        set_text(s->arena, &s->r, "phase", STR("watch"));
        rollout_set_count(s->arena, &s->r, "since_ms", control_now_ms());
    }
    return rollout_write(c, s->arena, &s->r);
}

static enum err step_pause(struct db_conn *c, struct step *s, int64_t unconfirmed) {
    size_t len = 0;
    const char *why =
        arena_printf(s->arena, &len, "%lld tenants of wave %lld are not active on all edges",
                     (long long)unconfirmed, (long long)s->r.wave + 1);
    s->r.status = STR("paused");
    set_text(s->arena, &s->r, "reason",
             why ? (struct str){why, len} : STR("tenants are not active on all edges"));
    s->said = "rollout paused";
    enum err e = rollout_write(c, s->arena, &s->r);
    return e ? e : log_audit(c, s, "rollout.pause", NULL);
}

static enum err look_again(struct db_conn *c, struct step *s, int64_t now, int64_t due) {
    int64_t next = due > now && due < now + LOOK_EACH_MS ? due : now + LOOK_EACH_MS;
    return DB_QUERY(c, s->arena, NULL, "UPDATE rollouts SET next_ms = $2 WHERE id = $1",
                    db_text(s->r.id), db_int(next));
}

static enum err step_watch(struct db_conn *c, struct step *s) {
    const struct rollout_wave *w = &s->r.plan.waves[s->r.wave];
    int64_t now = control_now_ms(), due = rollout_count(&s->r, "since_ms") + w->wait_s * 1000,
            unconfirmed = 0;
    if (now < due) return look_again(c, s, now, due);
    if (!w->confirm) return step_on(c, s);
    enum err e = rollout_unconfirmed(c, s->arena, s->r.id, s->r.wave, &unconfirmed);
    if (e) return e;
    if (!unconfirmed) return step_on(c, s);
    int64_t took =
        control_now_ms() - now; /* of thousands of tenants on hundreds of edges: not all the time */
    return now > due + w->confirm_s * 1000 ? step_pause(c, s, unconfirmed)
                                           : look_again(c, s, now + 10 * took, 0);
}

static enum err find_due(struct db_conn *c, struct step *s) {
#define DUE                                                                                        \
    "SELECT " ROLLOUT_COLUMNS                                                                      \
    " FROM rollouts r WHERE r.status IN ('running', 'aborting') AND r.next_ms <= $1"               \
    " ORDER BY r.next_ms, r.id LIMIT 1"
    struct db_rows rows = {0};
    const char *sql = db_is_postgres(db_of(c)) ? DUE " FOR UPDATE SKIP LOCKED" : DUE;
    enum err e = DB_QUERY(c, s->arena, &rows, sql, db_int(control_now_ms()));
    s->found = rows.n > 0;
    return e || !rows.n ? e : rollout_read_row(s->arena, db_row(&rows, 0), &s->r);
}

static enum err run_step(struct db_conn *c, void *ctx) {
    struct step *s = ctx;
    int64_t failed = 0;
    s->said = NULL;
    enum err e = find_due(c, s);
    if (e || !s->found) return e;
    if (str_is(s->r.status, "aborting")) return step_back(c, s);
    if ((e = rollout_failures(c, s->arena, s->r.id, &failed, NULL))) return e;
    if (rollout_too_many(&s->r.plan.waves[s->r.wave], failed, rollout_count(&s->r, "released")))
        return step_abort(c, s, failed);
    return phase_is(&s->r, "watch") ? step_watch(c, s) : step_release(c, s);
}

/* ---- the thread ---- */

static bool ends(struct rollouts *r) {
    pthread_mutex_lock(&r->lock);
    bool is = r->ends;
    pthread_mutex_unlock(&r->lock);
    return is;
}

/* A rollout that cannot be taken further must not keep others from it: it is looked at again later.
 */
static void put_off(struct rollouts *all, struct db_conn *c, struct step *s, enum err e) {
    log_line(all->control->log, LOG_ERROR, "rollout not taken further", "error", err_word(e),
             "reason", db_why(c), NULL);
    if (!s->found || !s->r.id.len) return;
    int64_t later = control_now_ms() + 10 * LOOK_EACH_MS;
    if (DB_QUERY(c, s->arena, NULL, "UPDATE rollouts SET next_ms = $2 WHERE id = $1",
                 db_text(s->r.id), db_int(later)))
        log_line(all->control->log, LOG_ERROR, "rollout not put off", "reason", db_why(c), NULL);
}

static void run_due(struct rollouts *all, struct db_conn *c, struct arena *a) {
    for (int i = 0; i < STEPS_AT_ONCE && !ends(all); i++) {
        struct step s = {.all = all, .arena = a};
        arena_reset(a);
        enum err e = db_transact(c, run_step, &s);
        if (e) {
            put_off(all, c, &s, e);
            return;
        }
        if (!s.found) return;
        if (!s.said) continue;
        const struct json *why = json_get_c(s.r.state, "reason");
        char *id = arena_strndup(a, s.r.id.ptr, s.r.id.len);
        char *reason = why ? arena_strndup(a, why->text.ptr, why->text.len) : NULL;
        log_line(all->control->log, reason ? LOG_WARN : LOG_INFO, s.said, "rollout", id ? id : "",
                 "reason", reason ? reason : "", NULL);
    }
}

static void run_round(struct rollouts *all, struct arena *a) {
    struct db_conn *c = NULL;
    char why[DB_WHY_BYTES];
    if (db_take(all->control->db, &c, why)) return; /* others say that the store is not there */
    run_due(all, c, a);
    db_put(c);
}

static void *run(void *ctx) {
    struct rollouts *all = ctx;
    struct arena a;
    arena_init(&a, ARENA_BYTES);
    while (!ends(all)) {
        run_round(all, &a);
        struct timespec until = clock_after(CLOCK_REALTIME, LOOK_EACH_MS);
        pthread_mutex_lock(&all->lock);
        if (!all->wake && !all->ends) pthread_cond_timedwait(&all->woken, &all->lock, &until);
        all->wake = false;
        pthread_mutex_unlock(&all->lock);
    }
    arena_deinit(&a);
    return NULL;
}

enum err rollouts_new(struct control *control, struct rollouts **out, char why[DB_WHY_BYTES]) {
    struct rollouts *r = calloc(1, sizeof *r);
    if (r) {
        r->control = control;
        pthread_mutex_init(&r->lock, NULL);
        pthread_cond_init(&r->woken, NULL);
        if (!pthread_create(&r->thread, NULL, run, r)) {
            *out = r;
            return OK;
        }
        pthread_cond_destroy(&r->woken);
        pthread_mutex_destroy(&r->lock);
    }
    free(r);
    snprintf(why, DB_WHY_BYTES, "rollouts: no thread");
    return ERR_MEMORY;
}

void rollouts_wake(struct rollouts *r) {
    pthread_mutex_lock(&r->lock);
    r->wake = true;
    pthread_cond_signal(&r->woken);
    pthread_mutex_unlock(&r->lock);
}

void rollouts_free(struct rollouts *r) {
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->ends = true;
    pthread_cond_signal(&r->woken);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->woken);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
