/* Builds over REST: what is being built and what came of it, asked for by hand, cancelled.
 * in: requests. out: pages of builds and jobs; rows of the queue. owns: nothing. */
#include "control/api_filter.h"
#include "control/audit.h"
#include "control/queue.h"

enum { WAIT_MOST_S = 300, TENANTS_MOST = 1000, LABELS_MOST = 8 };

/* ---- lists ---- */

/* A caller with scopes sees the builds in which there is a tenant of theirs. */
static void only_seen(struct filter *x, struct api_call *c) {
    if (api_unscoped(&c->who)) return;
    filter_text(
        x,
        " AND EXISTS (SELECT 1 FROM jobs j JOIN tenants t ON t.id = j.tenant WHERE j.build = b.id");
    filter_scope(x, c);
    filter_text(x, ")");
}

static void list_builds(struct api_call *c) {
    struct filter x = {0};
    struct db_rows rows;
    struct api_page_request page;
    struct str id, tenant = api_param(c, "tenant");
    int64_t created;
    if (!api_page_read(c, &page)) return;
    filter_text(&x, "SELECT " QUEUE_BUILD_COLUMNS " FROM builds b WHERE 1 = 1");
    filter_param(&x, c, "status", " AND b.status = ");
    filter_param(&x, c, "cause", " AND b.cause = ");
    filter_param(&x, c, "object", " AND b.object = ");
    if (tenant.ptr)
        filter_value(&x, " AND b.id IN (SELECT build FROM jobs WHERE tenant = ", db_text(tenant),
                     ")");
    only_seen(&x, c);
    if (page.after.len) {
        if (!cursor_read(c, page.after, &created, 1, &id)) return;
        filter_value(&x, " AND (b.created_ms, b.id) < (", db_int(created), ", ");
        filter_value(&x, "", db_text(id), ")");
    }
    filter_value(&x, " ORDER BY b.created_ms DESC, b.id DESC LIMIT ", db_int(page.limit + 1), "");
    if (!filter_run(&x, c, &rows)) return;
    struct json *items = json_array(c->arena);
    struct str next = STR("");
    for (uint32_t i = 0; i < rows.n && i < page.limit; i++) {
        const struct db_value *v = db_row(&rows, i);
        json_push(c->arena, items, queue_build_row(c->arena, v));
        if (i + 1 == page.limit && rows.n > page.limit)
            next = cursor_make(c->arena, &v[11].i, 1, v[0].s);
    }
    api_page(c, items, next);
}

/* The build of c->args[0]; false: answered. */
static bool find_build(struct api_call *c, struct json **out) {
    struct filter x = {0};
    struct db_rows rows;
    filter_value(
        &x, "SELECT " QUEUE_BUILD_COLUMNS " FROM builds b WHERE b.id = ", db_text(c->args[0]), "");
    only_seen(&x, c);
    if (!filter_run(&x, c, &rows)) return false;
    if (rows.n) return *out = queue_build_row(c->arena, db_row(&rows, 0)), true;
    api_error(c, 404, "not_found", "there is no build %.*s", STR_FMT(c->args[0]));
    return false;
}

static int64_t number_of(const struct json *o, const char *name) {
    int64_t n = 0;
    return json_int64(json_get_c(o, name), &n) ? n : 0;
}

/* ?wait=SECONDS: answers when the build is over, or with ?seen=N when more than N of its jobs have
 * ended. */
static void get_build(struct api_call *c) {
    int64_t wait = 0, seen = INT64_MAX;
    struct json *build;
    if (!api_param_number(c, "wait", WAIT_MOST_S, &wait) ||
        !api_param_number(c, "seen", INT32_MAX, &seen))
        return;
    if (!find_build(c, &build)) return;
    struct str status = json_get_c(build, "status")->text;
    bool over = !str_is(status, "queued") && !str_is(status, "running");
    bool moved = number_of(build, "total") - number_of(build, "remaining") > seen;
    if (wait && !over && !moved && !c->last) {
        (void)api_wait(c, c->args[0], (uint32_t)wait * 1000);
        return;
    }
    api_json(c, 200, build);
}

static struct json *job_json(struct arena *a, const struct db_value *v) {
    struct json *o = json_object(a);
    json_set(a, o, STR("tenant"), json_string(a, v[0].s));
    json_set(a, o, STR("state"), json_string(a, v[1].s));
    json_set(a, o, STR("attempts"), json_int(a, v[2].i));
    json_set(a, o, STR("version"), json_string(a, v[3].s));
    json_set(a, o, STR("compiled"), json_bool(a, v[4].i != 0));
    json_set(a, o, STR("took_ms"), json_int(a, (v[5].i + 999) / 1000));
    json_set(a, o, STR("errors"), api_stored(a, v[6].s));
    json_set(a, o, STR("warnings"), api_stored(a, v[7].s));
    return o;
}

static void list_jobs(struct api_call *c) {
    struct filter x = {0};
    struct db_rows rows;
    struct api_page_request page;
    struct json *build;
    if (!api_page_read(c, &page) || !find_build(c, &build)) return;
    filter_value(&x,
                 "SELECT j.tenant, j.state, j.attempts, j.version, j.compiled, j.took_us, "
                 "j.errors, j.warnings FROM jobs j"
                 " JOIN tenants t ON t.id = j.tenant WHERE j.build = ",
                 db_text(c->args[0]), "");
    filter_param(&x, c, "state", " AND j.state = ");
    filter_param(&x, c, "tenant", " AND j.tenant = ");
    if (page.after.len) filter_value(&x, " AND j.tenant > ", db_text(page.after), "");
    filter_scope(&x, c);
    filter_value(&x, " ORDER BY j.tenant LIMIT ", db_int(page.limit + 1), "");
    if (!filter_run(&x, c, &rows)) return;
    struct json *items = json_array(c->arena);
    struct str next = STR("");
    for (uint32_t i = 0; i < rows.n && i < page.limit; i++) {
        const struct db_value *v = db_row(&rows, i);
        json_push(c->arena, items, job_json(c->arena, v));
        if (i + 1 == page.limit && rows.n > page.limit) next = v[0].s;
    }
    api_page(c, items, next);
}

/* ---- asked for ---- */

static enum err refuse(struct api_call *c, int status, const char *code, const char *message) {
    api_error(c, status, code, "%s", message);
    return ERR_DIAG;
}

struct wish {
    struct build_ask ask;
    const struct json *tenants, *labels, *template;
    char id[32];
};

/* A member that is a boolean; *out stays when it is not there. false: it is something else. */
static bool read_flag(const struct json *body, const char *name, bool *out) {
    const struct json *v = json_get_c(body, name);
    if (v && v->kind != JSON_BOOL) return false;
    if (v) *out = v->boolean;
    return true;
}

static bool all_texts(const struct json *v) {
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i]->kind != JSON_STRING) return false;
    return true;
}

/* What is wrong with the wish, or NULL. */
static const char *read_wish(const struct json *body, struct wish *out) {
    bool all = false;
    out->tenants = json_get_c(body, "tenants");
    out->labels = json_get_c(body, "labels");
    out->template = json_get_c(body, "template");
    if (!read_flag(body, "release", &out->ask.release) ||
        !read_flag(body, "forced", &out->ask.forced) || !read_flag(body, "all", &all))
        return "release, forced and all are true or false";
    if ((out->tenants != NULL) + (out->labels != NULL) + (out->template != NULL) + all != 1)
        return "the body names what to build by one of tenants, labels, template, all";
    if (out->tenants && (out->tenants->kind != JSON_ARRAY || !out->tenants->n ||
                         out->tenants->n > TENANTS_MOST || !all_texts(out->tenants)))
        return "tenants is a list of 1 to 1000 ids";
    if (out->labels && (out->labels->kind != JSON_OBJECT || !out->labels->n ||
                        out->labels->n > LABELS_MOST || !all_texts(out->labels)))
        return "labels is an object of 1 to 8 texts";
    if (out->template && out->template->kind != JSON_STRING) return "template is an id";
    return NULL;
}

static enum err add_tenants(struct api_call *c, const struct wish *w, int64_t change,
                            int64_t *jobs) {
    struct db_rows rows;
    *jobs = 0;
    for (uint32_t i = 0; i < w->tenants->n; i++) {
        int64_t n = 0;
        struct build_ask ask = w->ask;
        ask.scope = BUILD_TENANT;
        ask.object = w->tenants->items[i]->text;
        enum err e = DB_QUERY(c->db, c->arena, &rows,
                              "SELECT labels FROM tenants WHERE id = $1 AND deleted = 0",
                              db_text(ask.object));
        if (e) return e;
        if (!rows.n || !api_sees(&c->who, ask.object, api_stored(c->arena, db_row(&rows, 0)->s))) {
            api_error(c, 404, "not_found", "there is no tenant %.*s",
                      STR_FMT(str_head(ask.object, CONTROL_ID_BYTES)));
            return ERR_DIAG;
        }
        e = queue_add(c->db, c->arena, &ask, change, &n);
        if (e) return e;
        *jobs += n;
    }
    return OK;
}

static enum err add_chosen(struct api_call *c, const struct wish *w, int64_t change,
                           int64_t *jobs) {
    struct filter x = {.f.n = 2}; /* the first two are the queue's */
    if (w->template) filter_value(&x, " AND t.template = ", db_text(w->template->text), "");
    for (uint32_t i = 0; w->labels && i < w->labels->n; i++) {
        filter_value(
            &x, " AND EXISTS (SELECT 1 FROM tenant_labels k WHERE k.tenant = t.id AND k.key = ",
            db_text(w->labels->keys[i]), "");
        filter_value(&x, " AND k.value = ", db_text(w->labels->items[i]->text), ")");
    }
    filter_scope(&x, c);
    if (x.full) return ERR_LIMIT;
    return queue_add_where(c->db, c->arena, &w->ask, change, x.f.sql, x.f.params, x.f.n, jobs);
}

static enum err answer_build(struct api_call *c, struct str id, int status) {
    struct json *build;
    enum err e = queue_build_json(c->db, c->arena, id, &build);
    if (e) return e;
    char *place = arena_printf(c->arena, NULL, "/v1/builds/%.*s", STR_FMT(id));
    if (!place) return ERR_MEMORY;
    if (status == 202) api_header(c, STR("Location"), str_of(place));
    api_json(c, status, build);
    return OK;
}

static enum err create_build(struct api_call *c) {
    static const char *const members[] = {"tenants", "labels", "template", "all",
                                          "release", "forced", NULL};
    struct wish w = {.ask = {.cause = "request", .object = STR(""), .who = c->who.name}};
    struct json *body;
    int64_t change, jobs = 0;
    w.ask.release = !c->control->config->release_manually;
    if (!api_body(c, members, &body)) return ERR_DIAG;
    const char *wrong = read_wish(body, &w);
    if (wrong) return refuse(c, 400, "invalid_body", wrong);
    if (w.ask.release && c->control->config->release_manually && !api_may(&c->who, RIGHT_RELEASE))
        return refuse(c, 403, "forbidden",
                      "versions are released by hand here, and this token may not release");
    control_new_id(w.id);
    w.ask.build = str_of(w.id);
    if (w.template) w.ask.object = w.template->text;
    enum err e = control_count(c->db, c->arena, "change", 1, &change);
    if (e == OK)
        e = w.tenants ? add_tenants(c, &w, change, &jobs) : add_chosen(c, &w, change, &jobs);
    if (e) return e;
    char *object = arena_printf(c->arena, NULL, "builds/%s", w.id);
    if (!object) return ERR_MEMORY;
    e = audit_add(c->db, c->arena, c->who.name, "build.create", str_of(object), body);
    return e ? e : answer_build(c, w.ask.build, 202);
}
static void post_build(struct api_call *c) { api_change(c, create_build); }

/* ---- cancelled ---- */

/* Jobs that run are cancelled too: what they come to is dropped. */
static enum err cancel_build(struct api_call *c) {
    struct json *build;
    struct db_rows rows;
    if (!find_build(c, &build)) return ERR_DIAG;
    if (!api_unscoped(&c->who) && !str_eq(json_get_c(build, "created_by")->text, c->who.name))
        return refuse(c, 403, "forbidden", "a token with scopes cancels only what it began");
    enum err e = DB_QUERY(c->db, c->arena, &rows,
                          "UPDATE jobs SET state = 'cancelled', owner = '', lease_ms = 0"
                          " WHERE build = $1 AND state IN ('queued', 'running')",
                          db_text(c->args[0]));
    int64_t n = e == OK ? rows.changed : 0;
    if (e == OK)
        e = DB_QUERY(
            c->db, c->arena, &rows,
            "UPDATE builds SET status = 'cancelled', superseded = superseded + $2, finished_ms = $3"
            " WHERE id = $1 AND status IN ('queued', 'running')",
            db_text(c->args[0]), db_int(n), db_int(control_now_ms()));
    if (e) return e;
    if (!rows.changed) return refuse(c, 409, "ended", "the build is over already");
    char *object = arena_printf(c->arena, NULL, "builds/%.*s", STR_FMT(c->args[0]));
    if (!object) return ERR_MEMORY;
    if ((e = db_notify(c->db, "build", c->args[0]))) return e;
    e = audit_add(c->db, c->arena, c->who.name, "build.cancel", str_of(object), NULL);
    return e ? e : answer_build(c, c->args[0], 200);
}
static void post_cancel(struct api_call *c) { api_change(c, cancel_build); }

const struct api_route api_builds_routes[] = {
    {"GET", "/v1/builds", RIGHT_READ, list_builds},
    {"POST", "/v1/builds", RIGHT_AUTHOR, post_build},
    {"GET", "/v1/builds/{id}", RIGHT_READ, get_build},
    {"GET", "/v1/builds/{id}/jobs", RIGHT_READ, list_jobs},
    {"POST", "/v1/builds/{id}/cancel", RIGHT_AUTHOR, post_cancel},
    {NULL, NULL, RIGHT_NONE, NULL},
};
