/* Tells CDNs and edges of releases: claims rows of errands, sends requests, many at once, and tries
 * again what failed.
 *
 * in:   rows of errands, of any process.
 * out:  HTTP requests; rows that are gone because they are done, or say why not.
 * owns: a thread and its connections.
 *
 * CDNs come before edges: what an edge fetches through a CDN must be the new version. A target that
 * does not answer holds up nobody but itself. */
#include "control/errands.h"
#include "base/clock.h"
#include "control/purge.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TARGETS = 64,
    BATCH = 128,
    BATCH_AT_ONCE = 3000, /* of a target that takes many in one request */
    PER_TARGET = 8,
    IN_ALL = 64,
    REPLY_BYTES = 16 << 10,
    IDLE_MS = 1000,
    TURN_MS = 200,
    PAUSE_FIRST_MS = 1000,
    PAUSE_MOST_MS = 60000,
    MANY_EACH_MS = 5000,   /* CloudFront has few invalidations under way */
    TOLD_FOR_MS = 3600000, /* an edge that does not answer asks by itself when it is back */
    LEASE_MS = 30000,
    LEASE_LEAST_MS = 5000,
    ARENA_BYTES = 64 << 20,
    TOKEN_BYTES = 16 << 10,
    FORGET_MS = 24 * 3600 * 1000,
    ERROR_BYTES = 400
};

enum row_state { ROW_OPEN, ROW_DONE, ROW_FAILED };
struct row {
    struct str tenant, version;
    int64_t serial, tries;
    uint32_t started, ended; /* calls */
    enum row_state state;
    char error[ERROR_BYTES];
};

struct call {
    struct fetch_call fetch; /* first */
    struct target *target;
    uint32_t row; /* or the whole batch */
    bool busy;
};

struct target {
    struct purge_target is;
    struct errands *all;
    struct arena arena; /* of the batch */
    struct row *rows;
    uint32_t n, next; /* the batch; the first row that has calls to start */
    struct call calls[PER_TARGET];
    uint32_t under_way;
    bool broken; /* it did not answer: the rest of the batch waits */
    uint32_t failures;
    int64_t look_ms; /* when to claim again */
    struct str token;
    struct aws_keys keys;
};

struct errands {
    struct control *control;
    struct target *targets;
    uint32_t n;
    char *claim_sql[2]; /* of CDNs, of edges */
    struct fetch_set *set;
    pthread_t thread;
    bool started;
    atomic_bool stopping, woken;
    int64_t forgot_ms;
};

static int64_t lease_ms(const struct errands *e) {
    int64_t ms = e->control->config->lease_ms ? e->control->config->lease_ms : LEASE_MS;
    return ms < LEASE_LEAST_MS ? LEASE_LEAST_MS : ms;
}

/* ---- rows ---- */

enum err errands_add(struct errands *e, struct db_conn *c, struct arena *a, struct str tenant,
                     int64_t serial) {
    int64_t now = control_now_ms();
    enum err err = OK;
    for (uint32_t i = 0; i < e->n && !err; i++)
        err = DB_QUERY(
            c, a, NULL,
            "INSERT INTO errands (target, tenant, serial, tries, next_ms, error, owner, lease_ms)"
            " VALUES ($1, $2, $3, 0, $4, '', '', 0) ON CONFLICT (target, tenant) DO UPDATE SET"
            " serial = excluded.serial, tries = 0, next_ms = excluded.next_ms, error = '', owner = "
            "'', lease_ms = 0",
            db_cstr(e->targets[i].is.name), db_text(tenant), db_int(serial), db_int(now));
    return err;
}

/* Due rows of $3 that nobody holds. Edges' rows wait for those of CDNs, unless these fail again and
 * again. */
static char *claim_text(const struct errands *e, bool edges, bool locks) {
    char *text = NULL;
    struct buf b;
    buf_init(&b, 64 << 10);
    buf_cstr(&b, "UPDATE errands SET owner = $1, lease_ms = $2 WHERE target = $3 AND tenant IN "
                 "(SELECT e.tenant FROM errands e"
                 " WHERE e.target = $3 AND e.next_ms <= $4 AND (e.owner = '' OR e.lease_ms < $4)");
    for (uint32_t i = 0, n = 6; i < e->n && edges; i++)
        if (e->targets[i].is.kind != PURGE_RELOAD)
            buf_printf(&b,
                       " AND NOT EXISTS (SELECT 1 FROM errands p WHERE p.target = $%u AND p.tenant "
                       "= e.tenant AND p.tries < 3)",
                       n++);
    buf_cstr(&b, " ORDER BY e.next_ms, e.tenant LIMIT $5");
    if (locks) buf_cstr(&b, " FOR UPDATE OF e SKIP LOCKED");
    buf_cstr(&b, ") RETURNING tenant, serial, tries");
    buf_byte(&b, 0);
    if (!b.err) text = strdup((const char *)b.ptr);
    buf_deinit(&b);
    return text;
}

static enum err read_versions(struct db_conn *c, struct target *t) {
    for (uint32_t i = 0; i < t->n; i++) {
        struct db_rows rows;
        enum err e = DB_QUERY(c, &t->arena, &rows, "SELECT version FROM tenants WHERE id = $1",
                              db_text(t->rows[i].tenant));
        if (e) return e;
        t->rows[i].version = rows.n ? db_row(&rows, 0)->s : STR("");
    }
    return OK;
}

static enum err claim(struct db_conn *c, struct target *t) {
    struct errands *e = t->all;
    struct db_rows rows;
    struct db_value params[DB_MAX_PARAMS];
    int64_t now = control_now_ms();
    bool edge = t->is.kind == PURGE_RELOAD;
    uint32_t n = 5;
    params[0] = db_cstr(e->control->id);
    params[1] = db_int(now + lease_ms(e));
    params[2] = db_cstr(t->is.name);
    params[3] = db_int(now);
    params[4] = db_int(t->is.calls ? BATCH : BATCH_AT_ONCE);
    for (uint32_t i = 0; i < e->n && edge; i++)
        if (e->targets[i].is.kind != PURGE_RELOAD) params[n++] = db_cstr(e->targets[i].is.name);
    arena_reset(&t->arena);
    t->n = t->next = 0;
    /* looking takes no lock */
    enum err look = DB_QUERY(c, &t->arena, &rows,
                             "SELECT 1 FROM errands WHERE target = $1 AND next_ms <= $2 LIMIT 1",
                             db_cstr(t->is.name), db_int(now));
    if (look || !rows.n) return look;
    enum err err = db_query(c, &t->arena, &rows, e->claim_sql[edge], params, n);
    if (err || !rows.n) return err;
    t->rows = ARENA_ARRAY(&t->arena, struct row, rows.n);
    if (!t->rows) return ERR_MEMORY;
    for (uint32_t i = 0; i < rows.n; i++) {
        const struct db_value *v = db_row(&rows, i);
        t->rows[i] = (struct row){.tenant = v[0].s, .serial = v[1].i, .tries = v[2].i};
    }
    t->n = rows.n;
    t->broken = false;
    return t->is.by_version ? read_versions(c, t) : OK;
}

/* Doubles with each failure in a row. */
static int64_t pause_ms(int64_t failures) {
    int64_t ms = (int64_t)PAUSE_FIRST_MS << (failures > 6 ? 6 : failures > 0 ? failures - 1 : 0);
    return ms > PAUSE_MOST_MS ? PAUSE_MOST_MS : ms;
}

/* A newer serial that came meanwhile stays in the row, and is nobody's. */
static enum err settle_row(struct db_conn *c, struct target *t, const struct row *r, int64_t now) {
    struct str error = str_of(r->error);
    if (r->state == ROW_DONE)
        return DB_QUERY(c, &t->arena, NULL,
                        "DELETE FROM errands WHERE target = $1 AND tenant = $2 AND serial = $3",
                        db_cstr(t->is.name), db_text(r->tenant), db_int(r->serial));
    int64_t pause = t->broken              ? pause_ms(t->failures)
                    : r->state == ROW_OPEN ? 0
                                           : pause_ms(r->tries + 1);
    return DB_QUERY(c, &t->arena, NULL,
                    "UPDATE errands SET owner = '', lease_ms = 0, next_ms = $4, tries = tries + "
                    "$5, error = CASE WHEN $6 = ''"
                    " THEN error ELSE $6 END WHERE target = $1 AND tenant = $2 AND serial = $3",
                    db_cstr(t->is.name), db_text(r->tenant), db_int(r->serial), db_int(now + pause),
                    db_int(r->state == ROW_FAILED), db_text(error));
}

static enum err settle_rows(struct db_conn *c, void *ctx) {
    struct target *t = ctx;
    enum err e = OK;
    int64_t now = control_now_ms();
    for (uint32_t i = 0; i < t->n && !e; i++) e = settle_row(c, t, &t->rows[i], now);
    return e;
}

/* ---- a batch ---- */

static void complain(const struct target *t, const char *message, const struct str *tenant,
                     const char *error) {
    char id[CONTROL_ID_BYTES] = "";
    if (tenant) snprintf(id, sizeof id, "%.*s", STR_FMT(*tenant));
    log_line(t->all->control->log, LOG_WARN, message, "target", t->is.name, "tenant", id, "error",
             error, NULL);
}

static void fail_row(struct row *r, const char *error) {
    if (r->state == ROW_FAILED) return;
    r->state = ROW_FAILED;
    snprintf(r->error, sizeof r->error, "%s", error);
}

/* It does not answer, or refuses everybody: the others need not try. */
static void break_off(struct target *t, const char *error) {
    if (!t->broken) complain(t, "cannot tell of a release, tried again", NULL, error);
    t->broken = true;
}

static enum err read_secrets(struct target *t, char why[ERROR_BYTES]) {
    const char *file = t->all->control->config->reload_token_file;
    struct buf b;
    t->token = STR("");
    if (t->is.kind == PURGE_CLOUDFRONT) return aws_keys_read(NULL, &t->keys, why, ERROR_BYTES);
    if (t->is.kind != PURGE_RELOAD || !file) return OK;
    buf_init(&b, TOKEN_BYTES);
    enum err e = buf_read_file(&b, file);
    while (b.len && strchr(" \t\r\n", b.ptr[b.len - 1])) b.len--;
    if (!e)
        t->token = (struct str){
            arena_strndup(&t->arena, (const char *)(b.ptr ? b.ptr : (uint8_t *)""), b.len), b.len};
    if (b.ptr) explicit_bzero(b.ptr, b.len);
    buf_deinit(&b);
    if (e) snprintf(why, ERROR_BYTES, "token file %s cannot be read", file);
    return e;
}

static void begin(struct target *t) {
    char why[ERROR_BYTES] = "";
    if (!read_secrets(t, why)) return;
    for (uint32_t i = 0; i < t->n; i++) fail_row(&t->rows[i], why);
    break_off(t, why);
}

static void text_of_reply(const struct fetch_call *f, char out[ERROR_BYTES]) {
    struct str body = str_head(buf_view(&f->body), 200);
    snprintf(out, ERROR_BYTES, "status %d%s%.*s", f->reply.status, body.len ? ": " : "",
             STR_FMT(body));
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c >= 127) *c = ' ';
}

/* One call is over: its row is, when it was the last of its calls and none failed. */
static void end_row(struct target *t, struct row *r, enum purge_outcome outcome,
                    const char *error) {
    r->ended++;
    if (outcome == PURGE_AGAIN) {
        fail_row(r, error);
        return;
    }
    if (outcome == PURGE_REFUSED) complain(t, "an edge refuses a release", &r->tenant, error);
    if (r->state == ROW_OPEN && r->ended >= (t->is.calls ? t->is.calls : 1)) r->state = ROW_DONE;
}

static void done(struct fetch_call *f, enum err e, const char *why) {
    struct call *c = (struct call *)(void *)f;
    struct target *t = c->target;
    char error[ERROR_BYTES];
    enum purge_outcome outcome = PURGE_AGAIN;
    if (e) {
        snprintf(error, sizeof error, "%s", why && *why ? why : err_meaning(e));
    } else {
        text_of_reply(f, error);
        outcome = purge_outcome(&t->is, f->reply.status);
    }
    int status = e ? 0 : f->reply.status;
    if (outcome == PURGE_AGAIN &&
        (e || status == 401 || status == 403 || status == 429 || !t->is.calls))
        break_off(t, error);
    for (uint32_t i = 0; i < (t->is.calls ? 1 : t->n); i++)
        end_row(t, &t->rows[t->is.calls ? c->row : i], outcome, error);
    buf_deinit(&f->body);
    c->busy = false;
    t->under_way--;
}

static struct call *free_call(struct target *t) {
    for (uint32_t i = 0; i < PER_TARGET; i++)
        if (!t->calls[i].busy) return &t->calls[i];
    return NULL;
}

static void start_call(struct target *t, struct call *c, uint32_t row) {
    char why[ERROR_BYTES] = "";
    struct purge_request q;
    struct row *r = &t->rows[row];
    struct str *tenants = t->is.calls ? &r->tenant : ARENA_ARRAY(&t->arena, struct str, t->n);
    struct purge_ask ask = {.tenants = tenants,
                            .n = t->is.calls ? 1 : t->n,
                            .call = r->started,
                            .version = r->version,
                            .token = t->token,
                            .keys = &t->keys};
    for (uint32_t i = 0; !t->is.calls && tenants && i < t->n; i++) tenants[i] = t->rows[i].tenant;
    c->target = t;
    c->row = row;
    c->busy = true;
    t->under_way++;
    r->started++;
    buf_init(&c->fetch.body, REPLY_BYTES);
    c->fetch.reply = (struct fetch_reply){0};
    c->fetch.done = done;
    enum err e = tenants ? purge_request(&t->arena, &t->is, &ask, &q) : ERR_MEMORY;
    if (!e) e = fetch_set_start(t->all->set, &q.fetch, &c->fetch, why, sizeof why);
    if (e) done(&c->fetch, e, why);
}

/* Starts calls as far as there is room. A target that takes all at once has a call of one row: the
 * first. */
static void start_calls(struct target *t, uint32_t *in_all) {
    uint32_t rows = t->is.calls ? t->n : t->n ? 1 : 0, calls = t->is.calls ? t->is.calls : 1;
    struct call *c;
    while (!t->broken && t->next < rows && *in_all < IN_ALL && (c = free_call(t))) {
        uint32_t before = t->under_way;
        if (t->rows[t->next].started >= calls || t->rows[t->next].state == ROW_FAILED) {
            t->next++;
            continue;
        }
        start_call(t, c, t->next);
        *in_all += t->under_way - before;
    }
}

static bool batch_over(const struct target *t) {
    uint32_t rows = t->is.calls ? t->n : t->n ? 1 : 0;
    return t->n && !t->under_way && (t->broken || t->next >= rows);
}

/* An edge that was not reached for long is told no more: it asks when it is back. */
static void give_up(struct target *t) {
    if (t->is.kind != PURGE_RELOAD) return;
    for (uint32_t i = 0; i < t->n; i++) {
        struct row *r = &t->rows[i];
        if (r->state != ROW_FAILED || r->tries < TOLD_FOR_MS / PAUSE_MOST_MS) continue;
        complain(t, "given up telling an edge", &r->tenant, r->error);
        r->state = ROW_DONE;
    }
}

static void log_batch(const struct target *t) {
    char counts[3][16];
    uint32_t n[2] = {0, 0};
    const char *error = "";
    for (uint32_t i = 0; i < t->n; i++) {
        n[0] += t->rows[i].state == ROW_DONE;
        n[1] += t->rows[i].state == ROW_FAILED;
        if (t->rows[i].state == ROW_FAILED) error = t->rows[i].error;
    }
    for (int i = 0; i < 2; i++) snprintf(counts[i], sizeof counts[i], "%u", n[i]);
    log_line(t->all->control->log, n[1] ? LOG_WARN : LOG_DEBUG, "told of releases", "target",
             t->is.name, "done", counts[0], "failed", counts[1], "error", error, NULL);
}

static void settle(struct target *t) {
    char why[DB_WHY_BYTES];
    struct db_conn *c = NULL;
    give_up(t);
    log_batch(t);
    if (t->broken) {
        t->failures++;
        for (uint32_t i = 0; i < t->n;
             i++) /* they wait as long as those that were tried, and count as tries */
            if (t->rows[i].state == ROW_OPEN) fail_row(&t->rows[i], "the target does not answer");
    } else {
        t->failures = 0;
    }
    enum err e = db_take(t->all->control->db, &c, why);
    if (!e && (e = db_transact(c, settle_rows, t))) snprintf(why, sizeof why, "%s", db_why(c));
    if (e)
        complain(t, "the store does not take what was told", NULL,
                 why); /* told again when the lease is over */
    db_put(c);
    int64_t now = clock_ms();
    t->look_ms = t->broken                        ? now + pause_ms(t->failures)
                 : t->is.kind == PURGE_CLOUDFRONT ? now + MANY_EACH_MS
                                                  : 0;
    t->n = t->next = 0;
}

/* ---- the thread ---- */

/* Rows of targets that are told no more. */
static void forget(struct errands *e, struct db_conn *c, struct arena *a) {
    int64_t now = clock_ms();
    if (e->forgot_ms && now - e->forgot_ms < FORGET_MS / 24) return;
    e->forgot_ms = now;
    (void)!DB_QUERY(c, a, NULL, "DELETE FROM errands WHERE next_ms < $1 AND lease_ms < $1",
                    db_int(control_now_ms() - FORGET_MS));
}

/* Takes rows for targets that have none. false: the store does not answer. */
static bool claim_all(struct errands *e) {
    char why[DB_WHY_BYTES];
    struct db_conn *c = NULL;
    int64_t now = clock_ms();
    bool ok = true;
    for (uint32_t i = 0; i < e->n && ok; i++) {
        struct target *t = &e->targets[i];
        if (t->n || t->look_ms > now) continue;
        if (!c && db_take(e->control->db, &c, why)) return false;
        enum err err = claim(c, t);
        if (err) t->n = 0, ok = false;
        t->look_ms = t->n ? 0 : now + IDLE_MS;
        if (t->n) begin(t);
    }
    if (c && ok) forget(e, c, &e->targets[0].arena);
    db_put(c);
    return ok;
}

/* What was added is looked at now, but not by targets that are paused. */
static void hurry(struct errands *e) {
    for (uint32_t i = 0; i < e->n; i++) {
        struct target *t = &e->targets[i];
        if (!t->broken && t->is.kind != PURGE_CLOUDFRONT) t->look_ms = 0;
        if (!t->broken && t->is.kind == PURGE_CLOUDFRONT && t->look_ms > clock_ms() &&
            t->look_ms <= clock_ms() + IDLE_MS)
            t->look_ms = 0;
    }
}

static void *work(void *arg) {
    struct errands *e = arg;
    int64_t hold_ms = 0;
    while (!atomic_load(&e->stopping)) {
        uint32_t in_all = 0;
        bool over = false;
        if (atomic_exchange(&e->woken, false)) hurry(e);
        if (clock_ms() >= hold_ms && !claim_all(e)) hold_ms = clock_ms() + IDLE_MS;
        for (uint32_t i = 0; i < e->n; i++) in_all += e->targets[i].under_way;
        for (uint32_t i = 0; i < e->n; i++) start_calls(&e->targets[i], &in_all);
        for (uint32_t i = 0; i < e->n; i++)
            if (batch_over(&e->targets[i])) settle(&e->targets[i]), over = true;
        if (over || atomic_load(&e->woken)) continue;
        fetch_set_wait(e->set, in_all ? TURN_MS : IDLE_MS / 4);
    }
    return NULL;
}

void errands_wake(struct errands *e) {
    if (!e->started) return;
    atomic_store(&e->woken, true);
    fetch_set_wake(e->set);
}

/* ---- life ---- */

static enum err read_targets(struct errands *e, char why[DB_WHY_BYTES]) {
    const struct control_config *config = e->control->config;
    uint32_t n = config->n_purges + config->n_reloads, cdns = config->n_purges;
    if (n > TARGETS || cdns > DB_MAX_PARAMS - 5) {
        snprintf(why, DB_WHY_BYTES, "more than %d targets of purges, or %d in all",
                 DB_MAX_PARAMS - 5, TARGETS);
        return ERR_INVALID;
    }
    e->targets = calloc(n + 1, sizeof *e->targets);
    if (!e->targets) return ERR_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        struct target *t = &e->targets[i];
        bool edge = i >= cdns;
        t->all = e;
        arena_init(&t->arena, ARENA_BYTES);
        e->n++;
        enum err err = purge_read(edge ? config->reloads[i - cdns] : config->purges[i], edge,
                                  config->cdn_url, &t->is, why);
        if (err) return err;
    }
    for (int edges = 0; edges < 2; edges++)
        if (!(e->claim_sql[edges] = claim_text(e, edges, db_is_postgres(e->control->db))))
            return ERR_MEMORY;
    return OK;
}

enum err errands_new(struct control *control, struct errands **out, char why[DB_WHY_BYTES]) {
    struct errands *e = calloc(1, sizeof *e);
    if (!e) return ERR_MEMORY;
    e->control = control;
    enum err err = read_targets(e, why);
    if (!err && e->n) err = fetch_set_new(IN_ALL, &e->set, why, DB_WHY_BYTES);
    if (!err && e->n && pthread_create(&e->thread, NULL, work, e)) err = ERR_MEMORY;
    e->started = !err && e->n;
    if (!err) return *out = e, OK;
    errands_free(e);
    return err;
}

static void give_back(struct errands *e) {
    char why[DB_WHY_BYTES];
    struct db_conn *c = NULL;
    if (db_take(e->control->db, &c, why)) return;
    (void)!DB_QUERY(c, &e->targets[0].arena, NULL,
                    "UPDATE errands SET owner = '', lease_ms = 0 WHERE owner = $1",
                    db_cstr(e->control->id));
    db_put(c);
}

void errands_free(struct errands *e) {
    if (!e) return;
    atomic_store(&e->stopping, true);
    if (e->started) {
        fetch_set_wake(e->set);
        pthread_join(e->thread, NULL);
        give_back(e);
    }
    fetch_set_free(e->set);
    for (uint32_t i = 0; i < e->n; i++) {
        for (uint32_t k = 0; k < PER_TARGET; k++)
            if (e->targets[i].calls[k].busy) buf_deinit(&e->targets[i].calls[k].fetch.body);
        arena_deinit(&e->targets[i].arena);
    }
    free(e->claim_sql[0]), free(e->claim_sql[1]);
    free(e->targets);
    free(e);
}
