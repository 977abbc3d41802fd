/* The feed of changes: what writers of it need, and forgetting nodes.
 * in: tenants whose labels changed, a time. out: rows of feed, settings, edges. owns: nothing. */
#include "control/feed.h"
#include "control/control.h"

enum { PRUNED_AT_ONCE = 20 };

enum err feed_touch(struct db_conn *c, struct arena *a, struct str tenant) {
    struct db_rows rows = {0};
    int64_t seq = 0;
    enum err e = DB_QUERY(c, a, &rows, "SELECT seq FROM feed WHERE tenant = $1 AND deleted = 0",
                          db_text(tenant));
    if (e || !rows.n) return e;
    if ((e = control_count(c, a, "feed", 1, &seq))) return e;
    e = DB_QUERY(c, a, NULL, "UPDATE feed SET seq = $2, at_ms = $3 WHERE tenant = $1",
                 db_text(tenant), db_int(seq), db_int(control_now_ms()));
    return e ? e : db_notify(c, "feed", tenant);
}

enum err feed_store_id(struct db_conn *c, struct arena *a, struct str *out) {
    struct db_rows rows = {0};
    char id[32];
    enum err e = DB_QUERY0(c, a, &rows, "SELECT value FROM settings WHERE name = 'store'");
    if (!e && !rows.n) {
        control_new_id(id);
        e = DB_QUERY(
            c, a, NULL,
            "INSERT INTO settings (name, value) VALUES ('store', $1) ON CONFLICT (name) DO NOTHING",
            db_cstr(id));
        if (!e) e = DB_QUERY0(c, a, &rows, "SELECT value FROM settings WHERE name = 'store'");
    }
    if (!e && !rows.n) e = ERR_INTERNAL;
    if (!e) *out = db_row(&rows, 0)->s;
    return e;
}

/* A node of many tenants has many rows: the oldest nodes first, and the rest at the next call. */
enum err edges_prune(struct db_conn *c, struct arena *a, int64_t now_ms) {
    struct db_rows rows = {0};
    enum err e =
        DB_QUERY(c, a, &rows, "SELECT node FROM edges WHERE seen_ms < $1 ORDER BY seen_ms LIMIT $2",
                 db_int(now_ms - EDGE_KEPT_MS), db_int(PRUNED_AT_ONCE));
    for (uint32_t i = 0; i < rows.n && !e; i++) {
        struct db_value node = *db_row(&rows, i);
        e = DB_QUERY(c, a, NULL, "DELETE FROM edge_tenants WHERE node = $1", node);
        if (!e)
            e = DB_QUERY(c, a, NULL, "DELETE FROM edges WHERE node = $1 AND seen_ms < $2", node,
                         db_int(now_ms - EDGE_KEPT_MS));
    }
    return e;
}
