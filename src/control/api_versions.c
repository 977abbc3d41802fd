/* Versions over REST: what was built, from what, by whom, where it is used; its bundle.
 * in: requests. out: pages of versions, bytes of bundles. owns: nothing. */
#include "control/api_filter.h"
#include "control/bundle_cache.h"
#include <stdio.h>

enum { EDGES_SHOWN = 100 };

#define VERSION_COLUMNS                                                                            \
    "v.tenant, v.number, v.version, v.sha256, v.module_sha256, v.bytes, v.source, v.compiler, "    \
    "v.key, v.build,"                                                                              \
    " v.created_ms, v.created_by, t.version"

static struct json *version_json(struct arena *a, const struct db_value *v) {
    struct json *o = json_object(a);
    json_set(a, o, STR("tenant"), json_string(a, v[0].s));
    json_set(a, o, STR("version"), json_string(a, v[2].s));
    json_set(a, o, STR("number"), json_int(a, v[1].i));
    json_set(a, o, STR("current"), json_bool(a, str_eq(v[2].s, v[12].s)));
    json_set(a, o, STR("sha256"), json_string(a, v[3].s));
    json_set(a, o, STR("module_sha256"), json_string(a, v[4].s));
    json_set(a, o, STR("bytes"), json_int(a, v[5].i));
    json_set(a, o, STR("source"), api_stored(a, v[6].s));
    json_set(a, o, STR("compiler"), json_string(a, v[7].s));
    json_set(a, o, STR("key"), json_string(a, v[8].s));
    json_set(a, o, STR("build"), json_string(a, v[9].s));
    json_set(a, o, STR("created_at"), api_time(a, v[10].i));
    json_set(a, o, STR("created_by"), json_string(a, v[11].s));
    return o;
}

static void versions_by_age(struct filter *x, struct api_call *c, const struct newest *what) {
    filter_text(x, "SELECT " VERSION_COLUMNS
                   " FROM versions v JOIN tenants t ON t.id = v.tenant WHERE 1 = 1");
    filter_param(x, c, "tenant", " AND v.tenant = ");
    filter_param(x, c, "sha256", " AND v.sha256 = ");
    filter_param(x, c, "build", " AND v.build = ");
    filter_scope(x, c);
    filter_by_age(x, what);
}

/* The page's items; its last row if another page follows, else NULL. */
static const struct db_value *page_items(struct api_call *c, const struct db_rows *rows,
                                          int64_t limit, struct json **items) {
    *items = json_array(c->arena);
    for (uint32_t i = 0; i < rows->n && i < limit; i++)
        json_push(c->arena, *items, version_json(c->arena, db_row(rows, i)));
    return rows->n > limit ? db_row(rows, (uint32_t)limit - 1) : NULL;
}

static void list_versions(struct api_call *c) {
    struct filter x = {0};
    struct json *items;
    struct db_rows rows;
    struct api_page_request page;
    struct newest what = {
        .columns = VERSION_COLUMNS, .table = "versions", .alias = "v", .number = "number"};
    bool wrong = false;
    if (!api_page_read(c, &page)) return;
    what.limit = page.limit + 1;
    what.begun = page.after.len > 0;
    if (what.begun && !cursor_read(c, page.after, what.at, 2, &what.tenant)) return;
    bool selects = filter_given(c, (const char *const[]){"tenant", "sha256", "build", NULL});
    if (selects || !filter_newest(&x, c, &what, &wrong)) {
        if (wrong) return;
        versions_by_age(&x, c, &what);
    }
    if (!filter_run(&x, c, &rows)) return;
    const struct db_value *last = page_items(c, &rows, page.limit, &items);
    api_page(c, items,
             last ? cursor_make(c->arena, (const int64_t[]){last[10].i, last[1].i}, 2, last[0].s)
                  : STR(""));
}

static void list_of_tenant(struct api_call *c) {
    struct filter x = {0};
    struct json *items;
    struct db_rows rows;
    struct api_page_request page;
    struct str rest;
    int64_t number;
    if (!api_page_read(c, &page) || !api_see_tenant(c)) return;
    filter_value(&x,
                 "SELECT " VERSION_COLUMNS
                 " FROM versions v JOIN tenants t ON t.id = v.tenant WHERE v.tenant = ",
                 db_text(c->args[0]), "");
    if (page.after.len) {
        if (!cursor_read(c, page.after, &number, 1, &rest)) return;
        filter_value(&x, " AND v.number < ", db_int(number), "");
    }
    filter_value(&x, " ORDER BY v.number DESC LIMIT ", db_int(page.limit + 1), "");
    if (!filter_run(&x, c, &rows)) return;
    const struct db_value *last = page_items(c, &rows, page.limit, &items);
    api_page(c, items, last ? cursor_make(c->arena, &last[1].i, 1, STR("")) : STR(""));
}

/* The version that the path names: its row; NULL: answered. */
static const struct db_value *find_version(struct api_call *c) {
    struct db_rows rows;
    if (!api_see_tenant(c)) return NULL;
    enum err e =
        DB_QUERY(c->db, c->arena, &rows,
                 "SELECT " VERSION_COLUMNS " FROM versions v JOIN tenants t ON t.id = v.tenant"
                 " WHERE v.tenant = $1 AND v.version = $2",
                 db_text(c->args[0]), db_text(c->args[1]));
    if (e) return api_store_error(c, e), NULL;
    if (rows.n) return db_row(&rows, 0);
    api_error(c, 404, "not_found", "tenant %.*s has no version %.*s", STR_FMT(c->args[0]),
              STR_FMT(str_head(c->args[1], CONTROL_VERSION_BYTES)));
    return NULL;
}

/* When it became current, and the edges that have it active: how many, and the first of them. */
static enum err add_uses(struct api_call *c, struct json *o) {
    struct arena *a = c->arena;
    struct db_rows rows;
    struct json *releases = json_array(a), *edges = json_object(a), *nodes = json_array(a);
    enum err e = DB_QUERY(c->db, a, &rows,
                          "SELECT serial, cause, created_ms, created_by FROM releases WHERE tenant "
                          "= $1 AND version = $2"
                          " ORDER BY serial DESC LIMIT $3",
                          db_text(c->args[0]), db_text(c->args[1]), db_int(EDGES_SHOWN));
    for (uint32_t i = 0; e == OK && i < rows.n; i++) {
        const struct db_value *v = db_row(&rows, i);
        struct json *r = json_object(a);
        json_set(a, r, STR("serial"), json_int(a, v[0].i));
        json_set(a, r, STR("cause"), json_string(a, v[1].s));
        json_set(a, r, STR("created_at"), api_time(a, v[2].i));
        json_set(a, r, STR("created_by"), json_string(a, v[3].s));
        json_push(a, releases, r);
    }
    if (e == OK)
        e = DB_QUERY(
            c->db, a, &rows,
            "SELECT node FROM edge_tenants WHERE tenant = $1 AND active = $2 ORDER BY node",
            db_text(c->args[0]), db_text(c->args[1]));
    for (uint32_t i = 0; e == OK && i < rows.n && i < EDGES_SHOWN; i++)
        json_push(a, nodes, json_string(a, db_row(&rows, i)->s));
    if (e) return e;
    json_set(a, edges, STR("active"), json_int(a, rows.n));
    json_set(a, edges, STR("nodes"), nodes);
    json_set(a, o, STR("releases"), releases);
    json_set(a, o, STR("edges"), edges);
    return OK;
}

static void get_version(struct api_call *c) {
    const struct db_value *v = find_version(c);
    if (!v) return;
    struct json *o = version_json(c->arena, v);
    enum err e = add_uses(c, o);
    if (e)
        api_store_error(c, e);
    else
        api_json(c, 200, o);
}

static void get_bundle(struct api_call *c) {
    char key[BLOB_KEY_BYTES], why[BLOB_WHY_BYTES] = "";
    const struct db_value *v = find_version(c);
    if (!v) return;
    snprintf(key, sizeof key, "tenants/%.*s/versions/%.*s/bundle.tar.gz", STR_FMT(v[0].s),
             STR_FMT(v[2].s));
    buf_clear(c->r->body);
    enum err e = bundle_cache_get(c->control->bundles, c->control->blobs, str_of(key), v[3].s,
                                  c->r->body, why);
    if (e) {
        log_line(c->control->log, LOG_ERROR, "a bundle cannot be read", "key", key, "error", why,
                 NULL);
        api_error(c, 503, "blob_store_unavailable",
                  "the blob store does not give this version: the log says why");
        return;
    }
    char *etag = arena_printf(c->arena, NULL, "\"%.*s\"", STR_FMT(v[3].s));
    c->r->status = 200;
    c->r->content_type = "application/gzip";
    if (etag) api_header(c, STR("ETag"), str_of(etag));
}

const struct api_route api_versions_routes[] = {
    {"GET", "/v1/versions", RIGHT_READ, list_versions},
    {"GET", "/v1/tenants/{id}/versions", RIGHT_READ, list_of_tenant},
    {"GET", "/v1/tenants/{id}/versions/{version}", RIGHT_READ, get_version},
    {"GET", "/v1/tenants/{id}/versions/{version}/bundle.tar.gz", RIGHT_READ, get_bundle},
    {NULL, NULL, RIGHT_NONE, NULL},
};
