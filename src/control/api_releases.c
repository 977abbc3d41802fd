/* Releases over REST: what became current when and by whom; making a version current by hand, and
 * going back. in: requests. out: pages of releases; releases, all that were asked for or none.
 * owns: nothing. */
#include "control/api_filter.h"
#include "control/audit.h"
#include "control/release.h"
#include <stdlib.h>

enum { RELEASES_MOST = 1000 };

#define RELEASE_COLUMNS                                                                            \
    "r.tenant, r.serial, r.version, r.previous, r.cause, r.rollout, r.created_ms, r.created_by, "  \
    "t.serial"

static struct json *release_json(struct arena *a, const struct db_value *v) {
    struct json *o = json_object(a);
    json_set(a, o, STR("tenant"), json_string(a, v[0].s));
    json_set(a, o, STR("serial"), json_int(a, v[1].i));
    json_set(a, o, STR("version"), json_string(a, v[2].s));
    json_set(a, o, STR("previous"), json_string(a, v[3].s));
    json_set(a, o, STR("cause"), json_string(a, v[4].s));
    json_set(a, o, STR("rollout"), json_string(a, v[5].s));
    json_set(a, o, STR("current"), json_bool(a, v[1].i == v[8].i));
    json_set(a, o, STR("created_at"), api_time(a, v[6].i));
    json_set(a, o, STR("created_by"), json_string(a, v[7].s));
    return o;
}

static void releases_by_age(struct filter *x, struct api_call *c, const struct newest *what) {
    filter_text(x, "SELECT " RELEASE_COLUMNS
                   " FROM releases r JOIN tenants t ON t.id = r.tenant WHERE 1 = 1");
    filter_param(x, c, "tenant", " AND r.tenant = ");
    filter_param(x, c, "version", " AND r.version = ");
    filter_param(x, c, "cause", " AND r.cause = ");
    filter_param(x, c, "rollout", " AND r.rollout = ");
    filter_scope(x, c);
    filter_by_age(x, what);
}

static void list_releases(struct api_call *c) {
    struct filter x = {0};
    struct db_rows rows;
    struct api_page_request page;
    struct newest what = {
        .columns = RELEASE_COLUMNS, .table = "releases", .alias = "r", .number = "serial"};
    bool wrong = false;
    if (!api_page_read(c, &page)) return;
    what.limit = page.limit + 1;
    what.begun = page.after.len > 0;
    if (what.begun && !cursor_read(c, page.after, what.at, 2, &what.tenant)) return;
    bool selects =
        filter_given(c, (const char *const[]){"tenant", "version", "cause", "rollout", NULL});
    if (selects || !filter_newest(&x, c, &what, &wrong)) {
        if (wrong) return;
        releases_by_age(&x, c, &what);
    }
    if (!filter_run(&x, c, &rows)) return;
    struct json *items = json_array(c->arena);
    struct str next = STR("");
    for (uint32_t i = 0; i < rows.n && i < page.limit; i++) {
        const struct db_value *v = db_row(&rows, i);
        json_push(c->arena, items, release_json(c->arena, v));
        if (i + 1 == page.limit && rows.n > page.limit)
            next = cursor_make(c->arena, (const int64_t[]){v[6].i, v[1].i}, 2, v[0].s);
    }
    api_page(c, items, next);
}

/* ---- by hand ---- */

struct wish {
    struct str tenant, version;
    bool rollback;
    struct str before; /* what was current */
    int64_t serial;    /* what it became; 0: it was current */
};
struct wishes {
    struct wish *items;
    uint32_t n;
    bool one;
    struct json *errors;
};

static void complain(struct api_call *c, struct wishes *w, const char *code, struct str tenant,
                     const char *what) {
    struct json *o = json_object(c->arena);
    size_t len;
    char *text = arena_printf(c->arena, &len, "tenant %.*s%s",
                              STR_FMT(str_head(tenant, CONTROL_ID_BYTES)), what);
    json_set(c->arena, o, STR("code"), json_string(c->arena, str_of(code)));
    if (text) json_set(c->arena, o, STR("message"), json_string(c->arena, (struct str){text, len}));
    json_push(c->arena, w->errors, o);
}

/* {"tenant", "version"} or {"tenant", "rollback": true}. */
static bool read_wish(const struct json *o, struct wish *out) {
    const struct json *tenant = json_get_c(o, "tenant"), *version = json_get_c(o, "version"),
                      *rollback = json_get_c(o, "rollback");
    if (!tenant || tenant->kind != JSON_STRING || (version && version->kind != JSON_STRING) ||
        (rollback && rollback->kind != JSON_BOOL))
        return false;
    for (uint32_t i = 0; i < o->n; i++)
        if (o->items[i] != tenant && o->items[i] != version && o->items[i] != rollback)
            return false;
    *out = (struct wish){.tenant = tenant->text, .rollback = rollback && rollback->boolean};
    if (version) out->version = version->text;
    return out->rollback ? !version : version && version->text.len;
}

static int by_tenant(const void *a, const void *b) {
    return str_cmp(((const struct wish *)a)->tenant, ((const struct wish *)b)->tenant);
}

/* Sorted, so that two who release the same tenants do not wait for each other. */
static const char *read_wishes(struct api_call *c, const struct json *body, struct wishes *out) {
    const struct json *list = json_get_c(body, "releases");
    out->one = !list;
    if (list && (body->n != 1 || list->kind != JSON_ARRAY || !list->n || list->n > RELEASES_MOST))
        return "releases is a list of 1 to 1000, and stands alone";
    out->n = list ? list->n : 1;
    out->items = ARENA_ARRAY(c->arena, struct wish, out->n);
    out->errors = json_array(c->arena);
    for (uint32_t i = 0; out->items && i < out->n; i++)
        if (!read_wish(list ? list->items[i] : body, &out->items[i]))
            return "a release is {\"tenant\", \"version\"} or {\"tenant\", \"rollback\": true}";
    if (!out->items) return "no memory";
    qsort(out->items, out->n, sizeof *out->items, by_tenant);
    for (uint32_t i = 1; i < out->n; i++)
        if (str_eq(out->items[i].tenant, out->items[i - 1].tenant))
            return "a tenant is named twice";
    return NULL;
}

/* Whether the tenant may get a release: it is the caller's, and takes versions. Errors go to w. */
static enum err check_tenant(struct api_call *c, struct wishes *w, struct wish *x, bool *fine) {
    struct db_rows rows;
    *fine = false;
    enum err e = DB_QUERY(c->db, c->arena, &rows,
                          "SELECT labels, status, deleted, version FROM tenants WHERE id = $1",
                          db_text(x->tenant));
    if (e) return e;
    const struct db_value *v = rows.n ? db_row(&rows, 0) : NULL;
    if (!v || v[2].i || !api_sees(&c->who, x->tenant, api_stored(c->arena, v[0].s)))
        complain(c, w, "not_found", x->tenant, ": there is none");
    else if (!str_is(v[1].s, "active"))
        complain(c, w, "suspended", x->tenant, " is suspended");
    else
        *fine = true;
    if (*fine) x->before = v[3].s;
    return OK;
}

static enum err release_one(struct api_call *c, struct wishes *w, struct wish *x) {
    bool fine;
    enum err e = check_tenant(c, w, x, &fine);
    if (e || !fine) return e;
    if (x->rollback) {
        e = release_before(c->db, c->arena, x->tenant, &x->version);
        if (e == ERR_NOT_FOUND)
            return complain(c, w, "nothing_before", x->tenant,
                            " has no older version to go back to"),
                   OK;
        if (e) return e;
    }
    const struct release_ask ask = {.tenant = x->tenant,
                                    .version = x->version,
                                    .cause = x->rollback ? "rollback" : "request",
                                    .rollout = STR(""),
                                    .who = c->who.name};
    e = release_set(c->db, c->arena, &ask, 0, &x->serial);
    if (e == ERR_NOT_FOUND)
        return complain(c, w, "no_such_version", x->tenant, " has no such version"), OK;
    return e;
}

static enum err write_down(struct api_call *c, const struct wish *x) {
    struct arena *a = c->arena;
    struct json *o = json_object(a);
    size_t len;
    char *object = arena_printf(a, &len, "tenants/%.*s", STR_FMT(x->tenant));
    if (!x->serial) return OK;
    if (!object) return ERR_MEMORY;
    json_set(a, o, STR("version"), json_string(a, x->version));
    json_set(a, o, STR("previous"), json_string(a, x->before));
    json_set(a, o, STR("serial"), json_int(a, x->serial));
    json_set(a, o, STR("rollback"), json_bool(a, x->rollback));
    return audit_add(c->db, a, c->who.name, "release.create", (struct str){object, len}, o);
}

static enum err answer_one(struct api_call *c, const struct wish *x, struct json **out) {
    struct db_rows rows;
    enum err e =
        DB_QUERY(c->db, c->arena, &rows,
                 "SELECT " RELEASE_COLUMNS
                 " FROM tenants t JOIN releases r ON r.tenant = t.id AND r.serial = t.serial"
                 " WHERE t.id = $1",
                 db_text(x->tenant));
    if (e) return e;
    if (!rows.n) return ERR_INTERNAL;
    *out = release_json(c->arena, db_row(&rows, 0));
    json_set(c->arena, *out, STR("changed"), json_bool(c->arena, x->serial != 0));
    return OK;
}

static enum err answer(struct api_call *c, const struct wishes *w) {
    struct json *items = json_array(c->arena), *body = json_object(c->arena), *last = NULL;
    bool any = false;
    for (uint32_t i = 0; i < w->n; i++) {
        enum err e = answer_one(c, &w->items[i], &last);
        if (e) return e;
        json_push(c->arena, items, last);
        any = any || w->items[i].serial;
    }
    json_set(c->arena, body, STR("items"), items);
    api_json(c, any ? 201 : 200, w->one ? last : body);
    return OK;
}

static enum err create_releases(struct api_call *c) {
    static const char *const members[] = {"tenant", "version", "rollback", "releases", NULL};
    struct wishes w = {0};
    struct json *body;
    if (!api_body(c, members, &body)) return ERR_DIAG;
    const char *wrong = read_wishes(c, body, &w);
    if (wrong) return api_error(c, 400, "invalid_body", "%s", wrong), ERR_DIAG;
    enum err e = OK;
    for (uint32_t i = 0; i < w.n && e == OK; i++) e = release_one(c, &w, &w.items[i]);
    if (e == OK && w.errors->n) {
        bool missing = w.one && str_is(json_get_c(w.errors->items[0], "code")->text, "not_found");
        api_error_list(c, missing ? 404 : 409, missing ? "not_found" : "refused",
                       w.one ? "it was not released" : "nothing was released: some of it cannot be",
                       w.errors);
        return ERR_DIAG;
    }
    for (uint32_t i = 0; i < w.n && e == OK; i++) e = write_down(c, &w.items[i]);
    return e ? e : answer(c, &w);
}
static void post_releases(struct api_call *c) { api_change(c, create_releases); }

const struct api_route api_releases_routes[] = {
    {"GET", "/v1/releases", RIGHT_READ, list_releases},
    {"POST", "/v1/releases", RIGHT_RELEASE, post_releases},
    {NULL, NULL, RIGHT_NONE, NULL},
};
