/* What is known of edges: which nodes there are, what they have, and who serves which version of a
 * tenant. in: requests with the right `read`. out: pages of edges, edge_tenants. owns: nothing. */
#include "control/edges.h"
#include "control/feed.h"
#include <stdarg.h>
#include <stdio.h>

/* Is the node of row `e` there still? $1 is now. */
#define LIVE "e.seen_ms + 3 * e.wait_ms >= $1"

/* ---- statements with conditions ---- */

static bool put_sql(struct sql_filter *f, const char *text) {
    size_t len = strlen(f->sql);
    int n = snprintf(f->sql + len, sizeof f->sql - len, "%s", text);
    return n >= 0 && (size_t)n < sizeof f->sql - len;
}

/* A condition on a value: its number goes between the texts. */
static bool put_condition(struct sql_filter *f, const char *before, const char *after,
                          struct db_value value) {
    char number[16];
    if (f->n >= DB_MAX_PARAMS) return false;
    f->params[f->n++] = value;
    snprintf(number, sizeof number, "$%u", f->n);
    return put_sql(f, before) && put_sql(f, number) && put_sql(f, after);
}

static bool run_filter(struct api_call *c, bool fits, const struct sql_filter *f,
                       struct db_rows *rows) {
    enum err e = fits ? db_query(c->db, c->arena, rows, f->sql, f->params, f->n) : ERR_LIMIT;
    if (e) api_store_error(c, e);
    return !e;
}

static bool feed_head(struct api_call *c, int64_t *out) {
    struct db_rows rows = {0};
    enum err e =
        DB_QUERY0(c->db, c->arena, &rows, "SELECT value FROM counters WHERE name = 'feed'");
    if (!e && !rows.n) e = ERR_INTERNAL;
    if (e)
        api_store_error(c, e);
    else
        *out = db_row(&rows, 0)->i;
    return !e;
}

/* "true" or "false"; false: answered. -1: not given. */
static bool flag_param(struct api_call *c, const char *name, int *out) {
    struct str v = api_param(c, name);
    *out = str_is(v, "true") ? 1 : str_is(v, "false") ? 0 : -1;
    if (!v.ptr || *out >= 0) return true;
    api_error(c, 400, "invalid_parameter", "%s is true or false", name);
    return false;
}

/* ---- nodes ---- */

#define EDGE_COLUMNS                                                                               \
    "SELECT e.node, e.host, e.software, e.cursor, e.wait_ms, e.token, e.address, e.tenants, "      \
    "e.failing, e.first_ms,"                                                                       \
    " e.seen_ms, CASE WHEN " LIVE " THEN 1 ELSE 0 END FROM edges e WHERE TRUE"

static struct json *edge_json(const struct api_call *c, const struct db_value *v, int64_t head) {
    struct arena *a = c->arena;
    struct json *o = json_object(a);
    json_set(a, o, STR("node"), json_string(a, v[0].s));
    json_set(a, o, STR("host"), json_string(a, v[1].s));
    json_set(a, o, STR("software"), json_string(a, v[2].s));
    json_set(a, o, STR("state"), json_string(a, v[11].i ? STR("live") : STR("gone")));
    json_set(a, o, STR("behind"), json_int(a, v[3].i < head ? head - v[3].i : 0));
    json_set(a, o, STR("wait_s"), json_int(a, v[4].i / 1000));
    json_set(a, o, STR("token"), json_string(a, v[5].s));
    json_set(a, o, STR("address"), json_string(a, v[6].s));
    if (api_unscoped(&c->who)) { /* counts of all tenants are for those who see them all */
        json_set(a, o, STR("tenants"), json_int(a, v[7].i));
        json_set(a, o, STR("failing"), json_int(a, v[8].i));
    }
    json_set(a, o, STR("first_seen_at"), api_time(a, v[9].i));
    json_set(a, o, STR("seen_at"), api_time(a, v[10].i));
    return o;
}

/* state, failing, behind, host, tenant, version. false: answered. */
static bool edges_filter(struct api_call *c, struct sql_filter *f, int64_t head, bool *fits) {
    struct str state = api_param(c, "state"), host = api_param(c, "host"),
               tenant = api_param(c, "tenant");
    struct str version = api_param(c, "version");
    int failing, behind;
    if (!flag_param(c, "failing", &failing) || !flag_param(c, "behind", &behind)) return false;
    if (state.ptr && !str_is(state, "live") && !str_is(state, "gone") && !str_is(state, "all")) {
        api_error(c, 400, "invalid_parameter", "state is live, gone or all");
        return false;
    }
    if (version.ptr && !tenant.ptr) {
        api_error(c, 400, "invalid_parameter", "version needs tenant: whose version");
        return false;
    }
    bool good = true;
    if (str_is(state, "live")) good = put_sql(f, " AND " LIVE);
    if (str_is(state, "gone")) good = put_sql(f, " AND NOT (" LIVE ")");
    if (failing >= 0 && good)
        good = put_sql(f, failing ? " AND e.failing > 0" : " AND e.failing = 0");
    if (behind >= 0 && good)
        good =
            put_condition(f, behind ? " AND e.cursor < " : " AND e.cursor >= ", "", db_int(head));
    if (host.ptr && good) good = put_condition(f, " AND e.host = ", "", db_text(host));
    if (tenant.ptr && good)
        good = put_condition(
            f,
            " AND EXISTS (SELECT 1 FROM edge_tenants x JOIN tenants t ON t.id = x.tenant WHERE"
            " x.node = e.node AND x.tenant = ",
            "", db_text(tenant));
    if (version.ptr && good) good = put_condition(f, " AND x.active = ", "", db_text(version));
    if (tenant.ptr && good) good = api_scope_filter(c, f) && put_sql(f, ")");
    *fits = good;
    return true;
}

static void edges_list(struct api_call *c) {
    struct api_page_request page;
    struct sql_filter f = {.sql = EDGE_COLUMNS, .params = {db_int(control_now_ms())}, .n = 1};
    struct db_rows rows = {0};
    int64_t head = 0;
    bool fits = true;
    if (!api_page_read(c, &page) || !feed_head(c, &head) || !edges_filter(c, &f, head, &fits))
        return;
    if (fits && page.after.len) fits = put_condition(&f, " AND e.node > ", "", db_text(page.after));
    if (fits) fits = put_condition(&f, " ORDER BY e.node LIMIT ", "", db_int(page.limit + 1));
    if (!run_filter(c, fits, &f, &rows)) return;
    struct json *items = json_array(c->arena);
    for (uint32_t i = 0; i < rows.n && i < page.limit; i++)
        json_push(c->arena, items, edge_json(c, db_row(&rows, i), head));
    bool more = rows.n > page.limit;
    api_page(c, items, more ? db_row(&rows, (uint32_t)page.limit - 1)->s : STR(""));
}

/* ---- one node, and what it has ---- */

/* A stored error, as the node reported it; none: left out. */
static void put_error(struct arena *a, struct json *o, struct str text) {
    struct json *error = NULL;
    struct json_error wrong;
    if (text.len && !json_parse(a, text, &error, &wrong)) json_set(a, o, STR("error"), error);
}

#define HAS_COLUMNS                                                                                \
    "SELECT x.tenant, x.active, x.outcome, x.error, x.at_ms, t.version FROM edge_tenants x"

static struct json *has_json(struct arena *a, const struct db_value *v) {
    struct json *o = json_object(a);
    json_set(a, o, STR("tenant"), json_string(a, v[0].s));
    json_set(a, o, STR("active"), json_string(a, v[1].s));
    json_set(a, o, STR("current"), json_string(a, v[5].s));
    json_set(a, o, STR("outcome"), json_string(a, v[2].s));
    put_error(a, o, v[3].s);
    json_set(a, o, STR("at"), api_time(a, v[4].i));
    return o;
}

static bool outcome_filter(struct api_call *c, struct sql_filter *f, bool *fits) {
    struct str outcome = api_param(c, "outcome");
    int stale;
    if (!flag_param(c, "stale", &stale)) return false;
    if (outcome.ptr && *fits) *fits = put_condition(f, " AND x.outcome = ", "", db_text(outcome));
    if (stale >= 0 && *fits)
        *fits = put_sql(f, stale ? " AND x.active <> t.version" : " AND x.active = t.version");
    return true;
}

static void edge_get(struct api_call *c) {
    struct api_page_request page;
    struct sql_filter one = {.sql = EDGE_COLUMNS " AND e.node = $2", .n = 2};
    struct sql_filter f = {
        .sql = HAS_COLUMNS " JOIN tenants t ON t.id = x.tenant WHERE x.node = $1", .n = 1};
    struct db_rows rows = {0}, has = {0};
    int64_t head = 0;
    one.params[0] = db_int(control_now_ms());
    one.params[1] = f.params[0] = db_text(c->args[0]);
    bool fits = api_scope_filter(c, &f);
    if (!api_page_read(c, &page) || !feed_head(c, &head) || !outcome_filter(c, &f, &fits)) return;
    if (!run_filter(c, true, &one, &rows)) return;
    if (!rows.n) {
        api_error(c, 404, "not_found", "no such node was heard of in the last day");
        return;
    }
    if (fits && page.after.len)
        fits = put_condition(&f, " AND x.tenant > ", "", db_text(page.after));
    if (fits) fits = put_condition(&f, " ORDER BY x.tenant LIMIT ", "", db_int(page.limit + 1));
    if (!run_filter(c, fits, &f, &has)) return;
    struct json *o = edge_json(c, db_row(&rows, 0), head), *items = json_array(c->arena);
    for (uint32_t i = 0; i < has.n && i < page.limit; i++)
        json_push(c->arena, items, has_json(c->arena, db_row(&has, i)));
    json_set(c->arena, o, STR("items"), items);
    if (has.n > page.limit)
        json_set(c->arena, o, STR("next"),
                 json_string(c->arena, db_row(&has, (uint32_t)page.limit - 1)->s));
    api_json(c, 200, o);
}

/* ---- who serves a tenant ---- */

static const char SPREAD[] = "SELECT x.active, COUNT(*), SUM(CASE WHEN x.outcome = 'failed' THEN 1 "
                             "ELSE 0 END) FROM edge_tenants x"
                             " JOIN edges e ON e.node = x.node WHERE " LIVE
                             " AND x.tenant = $2 GROUP BY x.active ORDER BY 2 DESC, 1";

/* [{"version","edges","failing"}] of the nodes that are there. */
static struct json *spread_json(struct api_call *c, const struct db_rows *rows) {
    struct arena *a = c->arena;
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < rows->n; i++) {
        const struct db_value *v = db_row(rows, i);
        struct json *o = json_object(a);
        int64_t failing = v[2].i;
        json_set(a, o, STR("version"), json_string(a, v[0].s));
        json_set(a, o, STR("edges"), json_int(a, v[1].i));
        json_set(a, o, STR("failing"), json_int(a, failing));
        json_push(a, list, o);
    }
    return list;
}

static struct json *server_json(struct arena *a, const struct db_value *v) {
    struct json *o = json_object(a);
    json_set(a, o, STR("node"), json_string(a, v[0].s));
    json_set(a, o, STR("host"), json_string(a, v[1].s));
    json_set(a, o, STR("state"), json_string(a, v[2].i ? STR("live") : STR("gone")));
    json_set(a, o, STR("active"), json_string(a, v[3].s));
    json_set(a, o, STR("outcome"), json_string(a, v[4].s));
    put_error(a, o, v[5].s);
    json_set(a, o, STR("at"), api_time(a, v[6].i));
    return o;
}

/* The tenant's current version; false: answered. */
static bool read_tenant(struct api_call *c, struct str *version) {
    struct sql_filter f = {.sql =
                               "SELECT t.version FROM tenants t WHERE t.id = $1 AND t.deleted = 0",
                           .params = {db_text(c->args[0])},
                           .n = 1};
    struct db_rows rows = {0};
    bool fits = api_scope_filter(c, &f);
    if (!run_filter(c, fits, &f, &rows)) return false;
    if (!rows.n) {
        api_error(c, 404, "not_found", "there is no tenant of that id");
        return false;
    }
    *version = db_row(&rows, 0)->s;
    return true;
}

static void tenant_edges(struct api_call *c) {
    struct arena *a = c->arena;
    struct api_page_request page;
    struct sql_filter f = {
        .sql = "SELECT e.node, e.host, CASE WHEN " LIVE " THEN 1 ELSE 0 END, x.active, x.outcome,"
               " x.error, x.at_ms FROM edge_tenants x JOIN edges e ON e.node = x.node"
               " JOIN tenants t ON t.id = x.tenant WHERE x.tenant = $2",
        .n = 2};
    struct db_rows rows = {0}, spread = {0};
    struct str current;
    bool fits = true;
    f.params[0] = db_int(control_now_ms());
    f.params[1] = db_text(c->args[0]);
    if (!api_page_read(c, &page) || !read_tenant(c, &current) || !outcome_filter(c, &f, &fits))
        return;
    if (fits && page.after.len) fits = put_condition(&f, " AND x.node > ", "", db_text(page.after));
    if (fits) fits = put_condition(&f, " ORDER BY x.node LIMIT ", "", db_int(page.limit + 1));
    if (!run_filter(c, fits, &f, &rows)) return;
    enum err e = DB_QUERY(c->db, a, &spread, SPREAD, f.params[0], f.params[1]);
    if (e) {
        api_store_error(c, e);
        return;
    }
    struct json *o = json_object(a), *items = json_array(a);
    for (uint32_t i = 0; i < rows.n && i < page.limit; i++)
        json_push(a, items, server_json(a, db_row(&rows, i)));
    json_set(a, o, STR("current"), json_string(a, current));
    json_set(a, o, STR("versions"), spread_json(c, &spread));
    json_set(a, o, STR("items"), items);
    if (rows.n > page.limit)
        json_set(a, o, STR("next"), json_string(a, db_row(&rows, (uint32_t)page.limit - 1)->s));
    api_json(c, 200, o);
}

const struct api_route api_edges_routes[] = {
    {"GET", "/v1/edges", RIGHT_READ, edges_list},
    {"GET", "/v1/edges/{node}", RIGHT_READ, edge_get},
    {"GET", "/v1/tenants/{id}/edges", RIGHT_READ, tenant_edges},
    {0},
};
