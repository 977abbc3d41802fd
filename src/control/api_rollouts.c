/* Rollouts over REST: begun, looked at, paused, resumed, ended.
 * in: what is to be released in which waves. out: rows of rollouts and rollout_tenants; progress.
 * owns: nothing.
 *
 * A scoped token sees, and changes, rollouts all of whose tenants it sees. */
#include "base/hash.h"
#include "control/api.h"
#include "control/audit.h"
#include "control/rollout.h"
#include <stdio.h>

enum { ROLLOUT_TENANTS = 200000 };

static const char *const BODY[] = {"build",    "versions",    "template", "waves",
                                   "wait_s",   "max_failed",  "confirm",  "confirm_s",
                                   "rollback", "description", NULL};

/* ---- which tenants ---- */

struct beginning {
    struct api_call *c;
    struct json *body;
    struct rollout_plan plan;
    char id[32];
    struct rollout_tenant *tenants;
    uint32_t n;
};

static enum err refuse(struct api_call *c, int status, const char *code, const char *message) {
    api_error(c, status, code, "%s", message);
    return ERR_DIAG;
}

static const char OF_BUILD[] = "SELECT t.id, j.version, t.version, t.labels FROM jobs j JOIN "
                               "tenants t ON t.id = j.tenant WHERE j.build = $1"
                               " AND j.state = 'built' AND j.version <> '' AND t.version <> "
                               "j.version AND t.deleted = 0 AND t.status = 'active'";
static const char OF_TEMPLATE[] =
    "SELECT t.id, v.version, t.version, t.labels FROM tenants t JOIN versions v ON v.tenant = t.id"
    " AND v.number = (SELECT MAX(n.number) FROM versions n WHERE n.tenant = t.id) WHERE t.template "
    "= $1"
    " AND t.version <> v.version AND t.deleted = 0 AND t.status = 'active'";
static const char OF_VERSIONS_SQLITE[] = "SELECT t.id, v.version, t.version, t.labels FROM "
                                         "json_each($1) j JOIN tenants t ON t.id = j.key"
                                         " JOIN versions v ON v.tenant = t.id AND v.version = "
                                         "j.value WHERE t.deleted = 0 AND t.status = 'active'";
static const char OF_VERSIONS_POSTGRES[] =
    "SELECT t.id, v.version, t.version, t.labels FROM json_each_text(CAST($1 AS json)) AS j(key, "
    "value)"
    " JOIN tenants t ON t.id = j.key JOIN versions v ON v.tenant = t.id AND v.version = j.value"
    " WHERE t.deleted = 0 AND t.status = 'active'";

static bool print_into(struct arena *a, const struct json *v, struct str *out) {
    struct buf b;
    buf_init(&b, API_BODY_BYTES);
    json_print(v, false, 0, &b);
    char *copy = b.err ? NULL : arena_copy(a, b.ptr, b.len);
    *out = (struct str){copy ? copy : "", copy ? b.len : 0};
    buf_deinit(&b);
    return copy != NULL;
}

static enum err select_tenants(struct beginning *g, const char *sql, struct str param,
                               struct db_rows *rows) {
    struct api_call *c = g->c;
    struct sql_filter f = {.params = {db_text(param), db_int(ROLLOUT_TENANTS + 1)}, .n = 2};
    snprintf(f.sql, sizeof f.sql, "%s", sql);
    if (!api_scope_filter(c, &f)) return ERR_LIMIT;
    size_t len = strlen(f.sql);
    int n = snprintf(f.sql + len, sizeof f.sql - len, " ORDER BY t.id LIMIT $2");
    if (n < 0 || (size_t)n >= sizeof f.sql - len) return ERR_LIMIT;
    enum err e = db_query(c->db, c->arena, rows, f.sql, f.params, f.n);
    if (!e && rows->n > ROLLOUT_TENANTS)
        return refuse(c, 422, "too_many", "a rollout has at most 200,000 tenants");
    return e;
}

static enum err of_build(struct beginning *g, const struct json *v, struct db_rows *rows) {
    struct db_rows build = {0};
    enum err e = DB_QUERY(g->c->db, g->c->arena, &build, "SELECT status FROM builds WHERE id = $1",
                          db_text(v->text));
    if (e) return e;
    if (!build.n) return refuse(g->c, 404, "not_found", "there is no build of that id");
    struct str status = db_row(&build, 0)->s;
    if (str_is(status, "queued") || str_is(status, "running"))
        return refuse(g->c, 409, "not_built_yet",
                      "the build is not over: roll out what it made when it is");
    return select_tenants(g, OF_BUILD, v->text, rows);
}

/* One that is missing is said: a rollout that leaves somebody out without a word helps nobody. */
static enum err of_versions(struct beginning *g, const struct json *v, struct db_rows *rows) {
    struct api_call *c = g->c;
    struct str text;
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i]->kind != JSON_STRING ||
            memchr(v->items[i]->text.ptr, 0, v->items[i]->text.len) || control_id_wrong(v->keys[i]))
            return refuse(c, 400, "invalid",
                          "versions: an object of tenants' ids and versions' names");
    if (!print_into(c->arena, v, &text)) return refuse(c, 413, "too_large", "versions: too many");
    enum err e = select_tenants(
        g, db_is_postgres(c->control->db) ? OF_VERSIONS_POSTGRES : OF_VERSIONS_SQLITE, text, rows);
    if (e) return e;
    struct table found;
    table_init(&found, c->arena);
    for (uint32_t i = 0; i < rows->n; i++) table_set(&found, db_row(rows, i)->s, g);
    for (uint32_t i = 0; i < v->n; i++) {
        if (table_get(&found, v->keys[i])) continue;
        api_error(c, 404, "not_found", "%.*s: no such active tenant, or it has no version %.*s",
                  STR_FMT(v->keys[i]), STR_FMT(str_head(v->items[i]->text, 100)));
        return ERR_DIAG;
    }
    return OK;
}

static enum err read_tenants(struct beginning *g, struct db_rows *rows) {
    const struct json *build = json_get_c(g->body, "build"),
                      *versions = json_get_c(g->body, "versions");
    const struct json *template = json_get_c(g->body, "template");
    if (!!build + !!versions + !!template != 1)
        return refuse(g->c, 400, "invalid",
                      "say one of build, versions and template: what is to be released");
    if (versions && versions->kind == JSON_OBJECT && versions->n)
        return of_versions(g, versions, rows);
    if (build && build->kind == JSON_STRING) return of_build(g, build, rows);
    if (template && template->kind == JSON_STRING)
        return select_tenants(g, OF_TEMPLATE, template->text, rows);
    return refuse(g->c, 400, "invalid",
                  "build and template are ids, versions is an object {\"tenant\": \"version\"}");
}

/* ---- beginning ---- */

static enum err keep_tenants(struct beginning *g, const struct db_rows *rows) {
    struct arena *a = g->c->arena;
    g->tenants = ARENA_ARRAY(a, struct rollout_tenant, rows->n);
    if (!g->tenants) return ERR_MEMORY;
    for (uint32_t i = 0; i < rows->n; i++) {
        const struct db_value *v = db_row(rows, i);
        struct json *labels = NULL;
        struct json_error wrong;
        if (str_eq(v[1].s, v[2].s)) continue; /* it is current already */
        if (v[3].s.len && json_parse(a, v[3].s, &labels, &wrong)) labels = NULL;
        g->tenants[g->n++] = (struct rollout_tenant){
            .id = v[0].s, .version = v[1].s, .previous = v[2].s, .labels = labels};
    }
    return g->n ? OK
                : refuse(g->c, 409, "nothing_to_release",
                         "nothing of that is to be released: it is current already");
}

static enum err write_tenants(struct beginning *g) {
    struct api_call *c = g->c;
    struct arena *a = c->arena;
    struct json *list = json_array(a);
    struct str text;
    for (uint32_t i = 0; i < g->n; i++) {
        struct json *o = json_object(a);
        if (!o) return ERR_MEMORY;
        json_append(a, o, STR("t"), json_string(a, g->tenants[i].id));
        json_append(a, o, STR("w"), json_int(a, g->tenants[i].wave));
        json_append(a, o, STR("v"), json_string(a, g->tenants[i].version));
        json_append(a, o, STR("p"), json_string(a, g->tenants[i].previous));
        json_push(a, list, o);
    }
    if (!print_into(a, list, &text)) return ERR_MEMORY;
#define INSERT_FROM(rows)                                                                          \
    "INSERT INTO rollout_tenants (rollout, tenant, wave, version, previous, serial) SELECT $2, "   \
    "j.value ->> 't',"                                                                             \
    " CAST(j.value ->> 'w' AS BIGINT), j.value ->> 'v', j.value ->> 'p', 0 FROM " rows
    const char *sql = db_is_postgres(c->control->db)
                          ? INSERT_FROM("json_array_elements(CAST($1 AS json)) AS j(value)")
                          : INSERT_FROM("json_each($1) AS j");
    return DB_QUERY(c->db, a, NULL, sql, db_text(text), db_cstr(g->id));
}

/* Two rollouts of one tenant would take turns with it. */
static enum err check_others(struct beginning *g) {
    struct db_rows rows = {0};
    enum err e = DB_QUERY(
        g->c->db, g->c->arena, &rows,
        "SELECT o.rollout, o.tenant FROM rollouts r JOIN rollout_tenants o ON o.rollout = r.id"
        " JOIN rollout_tenants n ON n.rollout = $1 AND n.tenant = o.tenant"
        " WHERE r.status IN ('running', 'paused', 'aborting') AND r.id <> $1 LIMIT 1",
        db_cstr(g->id));
    if (e || !rows.n) return e;
    const struct db_value *v = db_row(&rows, 0);
    api_error(g->c, 409, "conflict", "tenant %.*s is part of rollout %.*s, which is not over",
              STR_FMT(v[1].s), STR_FMT(v[0].s));
    return ERR_DIAG;
}

/* What was asked, without the list of versions: rollout_tenants has them. */
static struct json *asked_of(struct arena *a, const struct beginning *g) {
    struct json *o = json_object(a);
    for (uint32_t i = 0; i < g->body->n; i++)
        if (!str_is(g->body->keys[i], "versions"))
            json_set(a, o, g->body->keys[i], g->body->items[i]);
    return o;
}

static enum err write_rollout(struct beginning *g) {
    struct api_call *c = g->c;
    struct arena *a = c->arena;
    struct json *state = json_object(a), *detail = json_object(a), *asked = asked_of(a, g);
    struct str plan_text, state_text;
    int64_t now = control_now_ms();
    json_set(a, state, STR("phase"), json_string(a, STR("release")));
    json_set(a, state, STR("tenants"), json_int(a, g->n));
    if (!print_into(a, asked, &plan_text) || !print_into(a, state, &state_text)) return ERR_MEMORY;
    enum err e = DB_QUERY(
        c->db, a, NULL,
        "INSERT INTO rollouts (id, status, rev, plan, state, wave, next_ms, created_ms,"
        " updated_ms, created_by) VALUES ($1, 'running', 1, $2, $3, 0, 0, $4, $4, $5)",
        db_cstr(g->id), db_text(plan_text), db_text(state_text), db_int(now), db_text(c->who.name));
    if (e) return e;
    json_set(a, detail, STR("tenants"), json_int(a, g->n));
    json_set(a, detail, STR("asked"), asked);
    e = audit_add(c->db, a, c->who.name, "rollout.create", str_of(g->id), detail);
    return e ? e : db_notify(c->db, "rollouts", str_of(g->id));
}

static void answer_rollout(struct api_call *c, int status, struct str id);

static enum err begin(struct api_call *c) {
    struct beginning g = {.c = c};
    struct db_rows rows = {0};
    char why[ROLLOUT_WHY_BYTES];
    int64_t lock = 0;
    if (!api_body(c, BODY, &g.body)) return ERR_DIAG;
    if (rollout_plan_read(g.body, &g.plan, why)) return refuse(c, 400, "invalid", why);
    const struct json *description = json_get_c(g.body, "description");
    if (description && (description->kind != JSON_STRING || description->text.len > 2000 ||
                        memchr(description->text.ptr, 0, description->text.len)))
        return refuse(c, 400, "invalid", "description is a text of at most 2,000 bytes");
    control_new_id(g.id);
    enum err e = control_count(c->db, c->arena, "change", 0,
                               &lock); /* one begins at a time: see check_others */
    if (!e) e = read_tenants(&g, &rows);
    if (!e) e = keep_tenants(&g, &rows);
    if (!e) e = rollout_assign(c->arena, &g.plan, str_of(g.id), g.tenants, g.n);
    if (!e) e = write_tenants(&g);
    if (!e) e = check_others(&g);
    if (!e) e = write_rollout(&g);
    if (e) return e;
    char *id = arena_strndup(c->arena, g.id, strlen(g.id));
    if (!id) return ERR_MEMORY;
    answer_rollout(c, 201, str_of(id));
    return c->r->status == 201 ? OK : ERR_DIAG;
}

static void rollout_post(struct api_call *c) { api_change(c, begin); }

/* ---- how far it is ---- */

static struct json *text_of(struct arena *a, const struct json *from, const char *member) {
    const struct json *v = json_get_c(from, member);
    return v && v->kind == JSON_STRING && v->text.len ? json_string(a, v->text) : NULL;
}

static struct json *summary(struct arena *a, const struct rollout *r) {
    static const char *const counts[] = {"tenants", "released", "skipped", "taken_back", "left"};
    struct json *o = json_object(a);
    bool watched = str_is(r->status, "running") && json_get_c(r->state, "phase") &&
                   str_is(json_get_c(r->state, "phase")->text, "watch");
    json_set(a, o, STR("id"), json_string(a, r->id));
    json_set(a, o, STR("status"), json_string(a, r->status));
    json_set(a, o, STR("reason"), text_of(a, r->state, "reason"));
    json_set(a, o, STR("description"), text_of(a, r->asked, "description"));
    json_set(a, o, STR("build"), text_of(a, r->asked, "build"));
    json_set(a, o, STR("template"), text_of(a, r->asked, "template"));
    json_set(a, o, STR("wave"), json_int(a, r->wave));
    json_set(a, o, STR("phase"), json_string(a, watched ? STR("watch") : STR("release")));
    if (!str_is(r->status, "running")) json_set(a, o, STR("phase"), json_null(a));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        json_set(a, o, str_of(counts[i]), json_int(a, rollout_count(r, counts[i])));
    json_set(a, o, STR("created_at"), api_time(a, r->created_ms));
    json_set(a, o, STR("updated_at"), api_time(a, r->updated_ms));
    json_set(a, o, STR("created_by"), json_string(a, r->created_by));
    return o;
}

static struct json *wave_json(struct arena *a, const struct rollout *r, uint32_t number) {
    const struct rollout_wave *w = &r->plan.waves[number];
    struct json *o = json_object(a);
    size_t len = 0;
    if (w->kind == WAVE_TENANTS)
        json_set(a, o, STR("of_tenants"), (struct json *)(uintptr_t)w->who);
    if (w->kind == WAVE_LABELS) json_set(a, o, STR("of_labels"), (struct json *)(uintptr_t)w->who);
    if (w->kind == WAVE_PERCENT) json_set(a, o, STR("percent"), json_int(a, w->percent));
    if (w->kind == WAVE_REST) json_set(a, o, STR("rest"), json_bool(a, true));
    json_set(a, o, STR("wait_s"), json_int(a, w->wait_s));
    const char *percent =
        w->max_failed_is_percent ? arena_printf(a, &len, "%lld%%", (long long)w->max_failed) : NULL;
    json_set(a, o, STR("max_failed"),
             percent ? json_string(a, (struct str){percent, len}) : json_int(a, w->max_failed));
    json_set(a, o, STR("confirm"), json_bool(a, w->confirm));
    json_set(a, o, STR("confirm_s"), json_int(a, w->confirm_s));
    return o;
}

static const char WAVE_COUNTS[] =
    "SELECT wave, COUNT(*), SUM(CASE WHEN serial > 0 THEN 1 ELSE 0 END), SUM(CASE WHEN serial = -1 "
    "THEN 1 ELSE 0 END),"
    " SUM(CASE WHEN serial = -2 THEN 1 ELSE 0 END), SUM(CASE WHEN serial = -3 THEN 1 ELSE 0 END)"
    " FROM rollout_tenants WHERE rollout = $1 GROUP BY wave ORDER BY wave";

static void put_counts(struct arena *a, struct json *o, const struct db_value *v) {
    static const char *const names[] = {"tenants", "released", "skipped", "taken_back", "left"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_set(a, o, str_of(names[i]), json_int(a, v ? v[i + 1].i : 0));
}

static enum err put_waves(struct api_call *c, const struct rollout *r, struct json *out) {
    struct db_rows rows = {0};
    struct arena *a = c->arena;
    struct json *waves = json_array(a);
    enum err e = DB_QUERY(c->db, a, &rows, WAVE_COUNTS, db_text(r->id));
    for (uint32_t i = 0, at = 0; i < r->plan.n_waves && !e; i++) {
        struct json *o = wave_json(a, r, i);
        bool there = at < rows.n && db_row(&rows, at)->i == i;
        put_counts(a, o, there ? db_row(&rows, at) : NULL);
        at += there;
        json_push(a, waves, o);
    }
    json_set(a, out, STR("waves"), waves);
    return e;
}

static enum err put_failures(struct api_call *c, const struct rollout *r, struct json *out) {
    struct db_rows rows = {0};
    struct arena *a = c->arena;
    struct json *list = json_array(a);
    int64_t failed = 0, unconfirmed = 0;
    enum err e = rollout_failures(c->db, a, r->id, &failed, &rows);
    if (!e && r->plan.waves[r->wave].confirm)
        e = rollout_unconfirmed(c->db, a, r->id, r->wave, &unconfirmed);
    for (uint32_t i = 0; i < rows.n && !e; i++) {
        static const char *const names[] = {"tenant", "version", "node", "host"};
        const struct db_value *v = db_row(&rows, i);
        struct json *o = json_object(a), *error = NULL;
        struct json_error wrong;
        for (size_t k = 0; k < 4; k++) json_set(a, o, str_of(names[k]), json_string(a, v[k].s));
        if (v[4].s.len && !json_parse(a, v[4].s, &error, &wrong))
            json_set(a, o, STR("error"), error);
        json_push(a, list, o);
    }
    json_set(a, out, STR("failed"), json_int(a, failed));
    if (r->plan.waves[r->wave].confirm)
        json_set(a, out, STR("unconfirmed"), json_int(a, unconfirmed));
    json_set(a, out, STR("failures"), list);
    return e;
}

/* Only rollouts all of whose tenants the caller sees. */
static bool visible_only(struct api_call *c, struct sql_filter *f) {
    static const char open[] =
        " AND NOT EXISTS (SELECT 1 FROM rollout_tenants x WHERE x.rollout = r.id AND NOT EXISTS"
        " (SELECT 1 FROM tenants t WHERE t.id = x.tenant";
    if (api_unscoped(&c->who)) return true;
    size_t len = strlen(f->sql);
    int n = snprintf(f->sql + len, sizeof f->sql - len, "%s", open);
    if (n < 0 || (size_t)n >= sizeof f->sql - len || !api_scope_filter(c, f)) return false;
    len = strlen(f->sql);
    n = snprintf(f->sql + len, sizeof f->sql - len, "))");
    return n > 0 && (size_t)n < sizeof f->sql - len;
}

/* ERR_NOT_FOUND; locks: in a transaction, others wait to change it. */
static enum err find_rollout(struct api_call *c, struct str id, bool locks, struct rollout *out) {
    struct sql_filter f = {.sql = "SELECT " ROLLOUT_COLUMNS " FROM rollouts r WHERE r.id = $1",
                           .params = {db_text(id)},
                           .n = 1};
    struct db_rows rows = {0};
    if (!visible_only(c, &f)) return ERR_LIMIT;
    size_t len = strlen(f.sql);
    if (locks && db_is_postgres(c->control->db))
        snprintf(f.sql + len, sizeof f.sql - len, " FOR UPDATE");
    enum err e = db_query(c->db, c->arena, &rows, f.sql, f.params, f.n);
    if (e) return e;
    return rows.n ? rollout_read_row(c->arena, db_row(&rows, 0), out) : ERR_NOT_FOUND;
}

static void answer_rollout(struct api_call *c, int status, struct str id) {
    struct rollout r;
    enum err e = find_rollout(c, id, false, &r);
    struct json *o = e ? NULL : summary(c->arena, &r);
    if (!e) e = put_waves(c, &r, o);
    if (!e) e = put_failures(c, &r, o);
    if (e == ERR_NOT_FOUND)
        api_error(c, 404, "not_found", "there is no rollout of that id");
    else if (e)
        api_store_error(c, e);
    else {
        api_json(c, status, o);
        api_etag(c, r.rev);
    }
}

static void rollout_get(struct api_call *c) { answer_rollout(c, 200, c->args[0]); }

static void rollouts_list(struct api_call *c) {
    struct api_page_request page;
    struct str status = api_param(c, "status");
    struct sql_filter f = {.sql = "SELECT " ROLLOUT_COLUMNS
                                  " FROM rollouts r WHERE ($1 = '' OR r.status = $1)"
                                  " AND ($2 = '' OR r.id < $2)",
                           .n = 3};
    struct db_rows rows = {0};
    if (!api_page_read(c, &page)) return;
    f.params[0] = db_text(status.ptr ? status : STR(""));
    f.params[1] = db_text(page.after);
    f.params[2] = db_int(page.limit + 1);
    enum err e = visible_only(c, &f) ? OK : ERR_LIMIT;
    size_t len = strlen(f.sql);
    snprintf(f.sql + len, sizeof f.sql - len, " ORDER BY r.id DESC LIMIT $3");
    if (!e) e = db_query(c->db, c->arena, &rows, f.sql, f.params, f.n);
    struct json *items = json_array(c->arena);
    struct str last = STR("");
    for (uint32_t i = 0; i < rows.n && i < page.limit && !e; i++) {
        struct rollout r;
        e = rollout_read_row(c->arena, db_row(&rows, i), &r);
        if (!e) json_push(c->arena, items, summary(c->arena, &r));
        if (!e) last = r.id;
    }
    if (e)
        api_store_error(c, e);
    else
        api_page(c, items, rows.n > page.limit ? last : STR(""));
}

static const char *mark_word(int64_t serial) {
    return serial > 0                     ? "released"
           : serial == ROLLOUT_WAITS      ? "waiting"
           : serial == ROLLOUT_SKIPPED    ? "skipped"
           : serial == ROLLOUT_TAKEN_BACK ? "taken_back"
                                          : "left";
}

static void rollout_tenants(struct api_call *c) {
    struct arena *a = c->arena;
    struct api_page_request page;
    struct db_rows rows = {0};
    struct rollout r;
    if (!api_page_read(c, &page)) return;
    enum err e = find_rollout(c, c->args[0], false, &r);
    if (e == ERR_NOT_FOUND) {
        api_error(c, 404, "not_found", "there is no rollout of that id");
        return;
    }
    if (!e)
        e = DB_QUERY(
            c->db, a, &rows,
            "SELECT tenant, wave, version, previous, serial FROM rollout_tenants WHERE rollout = $1"
            " AND tenant > $2 ORDER BY tenant LIMIT $3",
            db_text(r.id), db_text(page.after), db_int(page.limit + 1));
    if (e) {
        api_store_error(c, e);
        return;
    }
    struct json *items = json_array(a);
    for (uint32_t i = 0; i < rows.n && i < page.limit; i++) {
        const struct db_value *v = db_row(&rows, i);
        struct json *o = json_object(a);
        json_set(a, o, STR("tenant"), json_string(a, v[0].s));
        json_set(a, o, STR("wave"), json_int(a, v[1].i));
        json_set(a, o, STR("version"), json_string(a, v[2].s));
        json_set(a, o, STR("previous"), json_string(a, v[3].s));
        json_set(a, o, STR("state"), json_string(a, str_of(mark_word(v[4].i))));
        if (v[4].i > 0) json_set(a, o, STR("serial"), json_int(a, v[4].i));
        json_push(a, items, o);
    }
    api_page(c, items, rows.n > page.limit ? db_row(&rows, (uint32_t)page.limit - 1)->s : STR(""));
}

/* ---- pause, resume, abort ---- */

/* The rollout, locked; ERR_DIAG: answered. */
static enum err take_rollout(struct api_call *c, struct rollout *r) {
    enum err e = find_rollout(c, c->args[0], true, r);
    if (e == ERR_NOT_FOUND) return refuse(c, 404, "not_found", "there is no rollout of that id");
    if (e) return e;
    return api_if_match(c, r->rev, false) ? OK : ERR_DIAG;
}

static enum err put_rollout(struct api_call *c, struct rollout *r, const char *action) {
    struct json *detail = json_object(c->arena);
    json_set(c->arena, detail, STR("wave"), json_int(c->arena, r->wave));
    json_set(c->arena, detail, STR("status"), json_string(c->arena, r->status));
    enum err e = rollout_write(c->db, c->arena, r);
    if (!e) e = audit_add(c->db, c->arena, c->who.name, action, r->id, detail);
    if (!e) e = db_notify(c->db, "rollouts", r->id);
    if (e) return e;
    answer_rollout(c, 200, r->id);
    return c->r->status == 200 ? OK : ERR_DIAG;
}

static enum err pause_it(struct api_call *c) {
    struct rollout r;
    enum err e = take_rollout(c, &r);
    if (e) return e;
    if (!str_is(r.status, "running"))
        return refuse(c, 409, "not_running", "only a running rollout can be paused");
    r.status = STR("paused");
    json_set(c->arena, r.state, STR("reason"), json_string(c->arena, STR("paused by request")));
    return put_rollout(c, &r, "rollout.pause");
}

/* A wave that was being watched is watched for its whole time again. */
static enum err resume_it(struct api_call *c) {
    struct rollout r;
    enum err e = take_rollout(c, &r);
    if (e) return e;
    if (!str_is(r.status, "paused"))
        return refuse(c, 409, "not_paused", "only a paused rollout can be resumed");
    r.status = STR("running");
    r.next_ms = 0;
    rollout_set_count(c->arena, &r, "since_ms", control_now_ms());
    json_set(c->arena, r.state, STR("reason"), json_string(c->arena, STR("")));
    return put_rollout(c, &r, "rollout.resume");
}

static enum err abort_it(struct api_call *c) {
    static const char *const members[] = {"rollback", NULL};
    struct rollout r;
    struct json *body = NULL;
    if (c->q->body.len && !api_body(c, members, &body)) return ERR_DIAG;
    const struct json *rollback = json_get_c(body, "rollback");
    if (rollback && rollback->kind != JSON_BOOL)
        return refuse(c, 400, "invalid", "rollback is true or false");
    enum err e = take_rollout(c, &r);
    if (e) return e;
    if (!str_is(r.status, "running") && !str_is(r.status, "paused"))
        return refuse(c, 409, "over", "the rollout is over, or is being taken back already");
    rollout_abort(c->arena, &r, rollback ? rollback->boolean : r.plan.rollback,
                  STR("aborted by request"));
    return put_rollout(c, &r, "rollout.abort");
}

static void rollout_pause(struct api_call *c) { api_change(c, pause_it); }
static void rollout_resume(struct api_call *c) { api_change(c, resume_it); }
static void rollout_stop(struct api_call *c) { api_change(c, abort_it); }

const struct api_route api_rollouts_routes[] = {
    {"GET", "/v1/rollouts", RIGHT_READ, rollouts_list},
    {"POST", "/v1/rollouts", RIGHT_RELEASE, rollout_post},
    {"GET", "/v1/rollouts/{id}", RIGHT_READ, rollout_get},
    {"GET", "/v1/rollouts/{id}/tenants", RIGHT_READ, rollout_tenants},
    {"POST", "/v1/rollouts/{id}/pause", RIGHT_RELEASE, rollout_pause},
    {"POST", "/v1/rollouts/{id}/resume", RIGHT_RELEASE, rollout_resume},
    {"POST", "/v1/rollouts/{id}/abort", RIGHT_RELEASE, rollout_stop},
    {0},
};
