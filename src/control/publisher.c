/* Moves the blob store's pointers to what the store says is released, and leaves word for CDNs and
 * edges.
 *
 * in:   tenants whose `pointed` is not their `serial`, whoever released them.
 * out:  pointers; `pointed`; rows of errands, in the same transaction.
 * owns: a thread; errands.
 *
 * One process at a time moves pointers, so that an older one cannot overwrite a newer one: it holds
 * a lock that ends with its connection (PostgreSQL) or with itself (SQLite). A pointer that moved
 * without the store knowing is moved again. */
#include "base/clock.h"
#include "control/errands.h"
#include "control/release.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    PAGE = 2000,
    IDLE_MS = 1000,
    PAUSE_MOST_MS = 30000,
    COMPLAINTS = 5, /* a pass */
    ARENA_BYTES = 64 << 20
};
/* Of pg_try_advisory_lock: "regent", and what for. */
#define PUBLISHER_LOCK INT64_C(0x726567656e740001)

struct publisher {
    struct control *control;
    struct errands *errands;
    struct arena arena;
    struct blob_pointer *items; /* PAGE */
    int64_t *serials;
    char (*doubtful)[CONTROL_ID_BYTES]; /* PAGE: moved, but the store may not know */
    uint32_t n, n_doubtful;
    int lock; /* a file, for SQLite; -1: none */
    uint32_t failures, complaints;
    int64_t not_before_ms;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    uint64_t wakes;
    bool stopping;
};

/* ---- one process at a time ---- */

static enum err open_lock(struct publisher *p, char why[DB_WHY_BYTES]) {
    const char *store = p->control->config->store, *file = strchr(store, ':');
    char path[4096];
    p->lock = -1;
    if (db_is_postgres(p->control->db) || !file || strstr(store, ":memory:")) return OK;
    int n = snprintf(path, sizeof path, "%s.publisher", file + 1);
    if (n < 0 || (size_t)n >= sizeof path) return ERR_LIMIT;
    p->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (p->lock >= 0) return OK;
    snprintf(why, DB_WHY_BYTES, "%.300s cannot be made: %s", path, strerror(errno));
    return ERR_IO;
}

/* *got false: another process moves pointers now. */
static enum err take_lock(struct publisher *p, struct db_conn *c, bool *got) {
    struct db_rows rows;
    *got = p->lock < 0 || flock(p->lock, LOCK_EX | LOCK_NB) == 0;
    if (!db_is_postgres(p->control->db)) return OK;
    enum err e =
        DB_QUERY(c, &p->arena, &rows, "SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1 ELSE 0 END",
                 db_int(PUBLISHER_LOCK));
    *got = !e && rows.n == 1 && db_row(&rows, 0)->i == 1;
    return e;
}

static enum err drop_lock(struct publisher *p, struct db_conn *c) {
    struct db_rows rows;
    if (p->lock >= 0) flock(p->lock, LOCK_UN);
    if (!db_is_postgres(p->control->db)) return OK;
    return DB_QUERY(c, &p->arena, &rows,
                    "SELECT CASE WHEN pg_advisory_unlock($1) THEN 1 ELSE 0 END",
                    db_int(PUBLISHER_LOCK));
}

/* ---- a page ---- */

static enum err read_page(struct publisher *p, struct db_conn *c, struct str after) {
    struct db_rows rows;
    enum err e = DB_QUERY(c, &p->arena, &rows,
                          "SELECT t.id, t.version, t.serial, COALESCE(v.sha256, ''), "
                          "COALESCE(v.created_ms, 0) FROM tenants t"
                          " LEFT JOIN versions v ON v.tenant = t.id AND v.version = t.version"
                          " WHERE t.pointed <> t.serial AND t.id > $1 ORDER BY t.id LIMIT $2",
                          db_text(after), db_int(PAGE));
    p->n = e ? 0 : rows.n;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct db_value *v = db_row(&rows, i);
        p->serials[i] = v[2].i;
        p->items[i] = (struct blob_pointer){
            .tenant = v[0].s,
            .version = v[1].s,
            .sha256 = v[3].s,
            .note = {
                .tenant = v[0].s, .version = v[1].s, .timestamp_ms = v[4].i, .serial = v[2].i}};
    }
    return e;
}

/* A serial that changed meanwhile is not the one pointed at, so the next pass finds the tenant
 * again. */
static enum err note_page(struct db_conn *c, void *ctx) {
    struct publisher *p = ctx;
    enum err e = OK;
    for (uint32_t i = 0; i < p->n && !e; i++) {
        const struct blob_pointer *b = &p->items[i];
        if (b->err) continue;
        e = DB_QUERY(c, &p->arena, NULL, "UPDATE tenants SET pointed = $2 WHERE id = $1",
                     db_text(b->tenant), db_int(p->serials[i]));
        if (!e) e = errands_add(p->errands, c, &p->arena, b->tenant, p->serials[i]);
    }
    return e;
}

static void complain(struct publisher *p, const char *message, struct str tenant,
                     const char *error) {
    char id[CONTROL_ID_BYTES];
    snprintf(id, sizeof id, "%.*s", STR_FMT(tenant));
    log_line(p->control->log, LOG_WARN, message, "tenant", id, "error", error, NULL);
}

static void fail_page(struct publisher *p, enum err e, const char *why) {
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->items[i].err) continue;
        p->items[i].err = e;
        snprintf(p->items[i].why, sizeof p->items[i].why, "%s", why);
    }
}

/* Counts what failed, and says it of the first few. */
static uint32_t failed_of_page(struct publisher *p) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        if (!p->items[i].err) continue;
        n++;
        if (p->complaints++ < COMPLAINTS)
            complain(p, "a tenant's pointer cannot be moved", p->items[i].tenant, p->items[i].why);
    }
    return n;
}

static void doubt_page(struct publisher *p) {
    p->n_doubtful = p->n;
    for (uint32_t i = 0; i < p->n; i++)
        snprintf(p->doubtful[i], sizeof p->doubtful[i], "%.*s", STR_FMT(p->items[i].tenant));
}

static enum err move_page(struct publisher *p, struct db_conn *c, uint32_t *failed) {
    char why[BLOB_WHY_BYTES] = "";
    blobs_point_all(p->control->blobs, p->items, p->n);
    enum err e = blobs_sync(p->control->blobs, why);
    if (e) fail_page(p, e, why);
    *failed += failed_of_page(p);
    e = db_transact(c, note_page, p);
    if (e) doubt_page(p);
    return e;
}

/* ---- a pass over all ---- */

/* What moved while the store was lost may have gone over what another process moved since. */
static enum err redo_doubtful(struct db_conn *c, void *ctx) {
    struct publisher *p = ctx;
    enum err e = OK;
    for (uint32_t i = 0; i < p->n_doubtful && !e; i++)
        e = DB_QUERY(c, &p->arena, NULL,
                     "UPDATE tenants SET pointed = -1 WHERE id = $1 AND serial > 0",
                     db_cstr(p->doubtful[i]));
    return e;
}

static enum err any_left(struct publisher *p, struct db_conn *c, bool *out) {
    struct db_rows rows;
    enum err e =
        DB_QUERY0(c, &p->arena, &rows, "SELECT id FROM tenants WHERE pointed <> serial LIMIT 1");
    *out = !e && (rows.n || p->n_doubtful);
    return e;
}

static enum err move_all(struct publisher *p, struct db_conn *c, uint32_t *moved,
                         uint32_t *failed) {
    char after[CONTROL_ID_BYTES] = "";
    enum err e = p->n_doubtful ? db_transact(c, redo_doubtful, p) : OK;
    if (!e) p->n_doubtful = 0;
    do {
        if (!e) e = read_page(p, c, str_of(after));
        if (e || !p->n) return e;
        uint32_t before = *failed;
        snprintf(after, sizeof after, "%.*s", STR_FMT(p->items[p->n - 1].tenant));
        e = move_page(p, c, failed);
        if (!e) *moved += p->n - (*failed - before);
        if (!e) errands_wake(p->errands);
        arena_reset(&p->arena);
    } while (!e && p->n == PAGE && !atomic_load(&p->control->stopping));
    return e;
}

static void log_pass(struct publisher *p, uint32_t moved, uint32_t failed, int64_t took_ms) {
    char counts[3][24];
    snprintf(counts[0], sizeof counts[0], "%u", moved);
    snprintf(counts[1], sizeof counts[1], "%u", failed);
    snprintf(counts[2], sizeof counts[2], "%lld", (long long)took_ms);
    if (moved || failed)
        log_line(p->control->log, failed ? LOG_WARN : LOG_INFO, "pointers moved", "tenants",
                 counts[0], "failed", counts[1], "ms", counts[2], NULL);
}

/* true: all that is released is pointed at, as far as this process can tell. */
static bool pass(struct publisher *p) {
    char why[DB_WHY_BYTES] = "";
    struct db_conn *c = NULL;
    bool left = false, mine = false;
    uint32_t moved = 0, failed = 0;
    int64_t from = clock_ms();
    arena_reset(&p->arena);
    p->complaints = 0;
    enum err e = db_take(p->control->db, &c, why);
    if (e) return complain(p, "pointers wait for the store", STR(""), why), false;
    e = any_left(p, c, &left);
    if (!e && left) e = take_lock(p, c, &mine);
    if (!e && mine) e = move_all(p, c, &moved, &failed);
    if (e) complain(p, "pointers wait for the store", STR(""), db_why(c));
    db_rollback(c);
    arena_reset(&p->arena);
    if (mine && drop_lock(p, c) && !e)
        complain(p, "pointers wait for the store", STR(""), db_why(c));
    db_put(c);
    log_pass(p, moved, failed, clock_ms() - from);
    return !e && !failed;
}

/* ---- the thread ---- */

static void wait_ms(struct publisher *p, int64_t ms) {
    struct timespec t = clock_after(CLOCK_MONOTONIC, ms);
    pthread_cond_timedwait(&p->woken, &p->mutex, &t);
}

static int64_t pause_ms(const struct publisher *p) {
    int64_t ms = (int64_t)IDLE_MS << (p->failures > 5 ? 5 : p->failures);
    return ms < PAUSE_MOST_MS ? ms : PAUSE_MOST_MS;
}

/* After failures nothing is tried for a second, and what nobody asks for anew for longer and
 * longer. */
static void *work(void *arg) {
    struct publisher *p = arg;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->mutex);
    while (!p->stopping) {
        bool asked = p->wakes != seen;
        int64_t now = clock_ms();
        int64_t due = p->not_before_ms - (asked && p->failures ? pause_ms(p) - IDLE_MS : 0);
        if (!(asked && !p->failures) && now < due) {
            wait_ms(p, due - now);
            continue;
        }
        seen = p->wakes;
        pthread_mutex_unlock(&p->mutex);
        bool good = pass(p);
        pthread_mutex_lock(&p->mutex);
        p->failures = good ? 0 : p->failures + 1;
        p->not_before_ms = clock_ms() + pause_ms(p);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

void publisher_wake(struct publisher *p) {
    if (!p) return;
    pthread_mutex_lock(&p->mutex);
    p->wakes++;
    pthread_cond_signal(&p->woken);
    pthread_mutex_unlock(&p->mutex);
}

/* ---- life ---- */

enum err publisher_new(struct control *control, struct publisher **out, char why[DB_WHY_BYTES]) {
    struct publisher *p = calloc(1, sizeof *p);
    pthread_condattr_t attr;
    if (!p) return ERR_MEMORY;
    p->control = control;
    p->lock = -1;
    arena_init(&p->arena, ARENA_BYTES);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->woken, &attr);
    pthread_condattr_destroy(&attr);
    p->items = calloc(PAGE, sizeof *p->items);
    p->serials = calloc(PAGE, sizeof *p->serials);
    p->doubtful = calloc(PAGE, sizeof *p->doubtful);
    enum err e = p->items && p->serials && p->doubtful ? OK : ERR_MEMORY;
    if (!e) e = open_lock(p, why);
    if (!e) e = errands_new(control, &p->errands, why);
    if (!e && pthread_create(&p->thread, NULL, work, p)) e = ERR_MEMORY;
    p->started = !e;
    if (!e) return *out = p, OK;
    publisher_free(p);
    return e;
}

void publisher_free(struct publisher *p) {
    if (!p) return;
    pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    pthread_cond_signal(&p->woken);
    pthread_mutex_unlock(&p->mutex);
    if (p->started) pthread_join(p->thread, NULL);
    errands_free(p->errands);
    if (p->lock >= 0) close(p->lock);
    pthread_cond_destroy(&p->woken);
    pthread_mutex_destroy(&p->mutex);
    arena_deinit(&p->arena);
    free(p->items);
    free(p->serials);
    free(p->doubtful);
    free(p);
}
