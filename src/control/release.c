/* Makes a version of a tenant the current one, in the store: who has to hear of it hears by the
 * feed. in: tenant and version, in the caller's transaction. out: rows of tenants, releases and
 * feed. owns: nothing. */
#include "control/release.h"
#include "control/control.h"

/* What is current now. The row stays locked, so that serials have no gaps and no doubles. */
struct current {
    int64_t serial;
    struct str version;
    bool takes; /* active: versions may go to it */
};

static enum err read_current(struct db_conn *c, struct arena *a, struct str tenant,
                             struct current *out) {
#define CURRENT "SELECT serial, version, status, deleted FROM tenants WHERE id = $1"
    struct db_rows rows;
    enum err e = DB_QUERY(c, a, &rows, db_is_postgres(db_of(c)) ? CURRENT " FOR UPDATE" : CURRENT,
                          db_text(tenant));
#undef CURRENT
    if (e) return e;
    if (!rows.n) return ERR_NOT_FOUND;
    const struct db_value *v = db_row(&rows, 0);
    *out = (struct current){v[0].i, v[1].s, str_is(v[2].s, "active") && !v[3].i};
    return OK;
}

/* The SHA-256 of a version's bundle; "" for none. */
static enum err read_sha256(struct db_conn *c, struct arena *a, const struct release_ask *ask,
                            struct str *out) {
    struct db_rows rows;
    *out = STR("");
    if (!ask->version.len) return OK;
    enum err e =
        DB_QUERY(c, a, &rows, "SELECT sha256 FROM versions WHERE tenant = $1 AND version = $2",
                 db_text(ask->tenant), db_text(ask->version));
    if (e) return e;
    if (!rows.n) return ERR_NOT_FOUND;
    *out = db_row(&rows, 0)->s;
    return OK;
}

static enum err write_release(struct db_conn *c, struct arena *a, const struct release_ask *ask,
                              const struct current *now, int64_t at) {
    enum err e = DB_QUERY(c, a, NULL, "UPDATE tenants SET serial = $2, version = $3 WHERE id = $1",
                          db_text(ask->tenant), db_int(now->serial + 1), db_text(ask->version));
    if (e) return e;
    return DB_QUERY(c, a, NULL,
                    "INSERT INTO releases (tenant, serial, version, previous, cause, rollout, "
                    "created_ms, created_by)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                    db_text(ask->tenant), db_int(now->serial + 1), db_text(ask->version),
                    db_text(now->version), db_cstr(ask->cause), db_text(ask->rollout), db_int(at),
                    db_text(ask->who));
}

static enum err write_feed(struct db_conn *c, struct arena *a, const struct release_ask *ask,
                           int64_t serial, struct str sha256, int64_t seq, int64_t at) {
    enum err e =
        DB_QUERY(c, a, NULL,
                 "INSERT INTO feed (seq, tenant, version, serial, sha256, deleted, at_ms)"
                 " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant) DO UPDATE SET seq = "
                 "excluded.seq,"
                 " version = excluded.version, serial = excluded.serial, sha256 = excluded.sha256,"
                 " deleted = excluded.deleted, at_ms = excluded.at_ms",
                 db_int(seq), db_text(ask->tenant), db_text(ask->version), db_int(serial),
                 db_text(sha256), db_int(!ask->version.len), db_int(at));
    return e ? e : db_notify(c, "feed", ask->tenant);
}

enum err release_set(struct db_conn *c, struct arena *a, const struct release_ask *asked,
                     int64_t feed_seq, int64_t *serial) {
    struct release_ask ask = *asked;
    if (!ask.version.ptr) ask.version = STR("");
    if (!ask.rollout.ptr) ask.rollout = STR("");
    struct current now;
    struct str sha256;
    enum err e = read_current(c, a, ask.tenant, &now);
    if (e == OK) e = read_sha256(c, a, &ask, &sha256);
    if (e) return e;
    if (str_eq(ask.version, now.version) || (ask.version.len && !now.takes)) {
        *serial = 0;
        return OK;
    }
    int64_t at = control_now_ms();
    e = write_release(c, a, &ask, &now, at);
    if (e == OK && !feed_seq) e = control_count(c, a, "feed", 1, &feed_seq);
    if (e == OK) e = write_feed(c, a, &ask, now.serial + 1, sha256, feed_seq, at);
    if (e == OK) *serial = now.serial + 1;
    return e;
}

enum err release_before(struct db_conn *c, struct arena *a, struct str tenant,
                        struct str *version) {
    struct db_rows rows;
    enum err e = DB_QUERY(
        c, a, &rows,
        "SELECT v.version FROM versions v JOIN tenants t ON t.id = v.tenant"
        " WHERE v.tenant = $1 AND v.number <"
        " (SELECT n.number FROM versions n WHERE n.tenant = $1 AND n.version = t.version)"
        " AND EXISTS (SELECT 1 FROM releases r WHERE r.tenant = $1 AND r.version = v.version)"
        " ORDER BY v.number DESC LIMIT 1",
        db_text(tenant));
    if (e) return e;
    if (!rows.n) return ERR_NOT_FOUND;
    *version = db_row(&rows, 0)->s;
    return OK;
}
