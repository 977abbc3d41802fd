/* Lists with conditions, cursors, and whether a caller sees a tenant.
 * in: requests. out: statements with parameters, rows, answers that say what is wrong. owns:
 * nothing. */
#include "control/api_filter.h"
#include <stdio.h>

enum { CURSOR_BYTES = 512, FEW_TENANTS = 300 };

void filter_text(struct filter *x, const char *sql) {
    size_t len = strlen(x->f.sql);
    int n = snprintf(x->f.sql + len, sizeof x->f.sql - len, "%s", sql);
    x->full = x->full || n < 0 || (size_t)n >= sizeof x->f.sql - len;
}

void filter_value(struct filter *x, const char *before, struct db_value value, const char *after) {
    char number[16];
    if (x->f.n == DB_MAX_PARAMS) {
        x->full = true;
        return;
    }
    x->f.params[x->f.n++] = value;
    snprintf(number, sizeof number, "$%u", x->f.n);
    filter_text(x, before);
    filter_text(x, number);
    filter_text(x, after);
}

void filter_param(struct filter *x, struct api_call *c, const char *name, const char *before) {
    struct str v = api_param(c, name);
    if (v.ptr) filter_value(x, before, db_text(v), "");
}

void filter_scope(struct filter *x, struct api_call *c) {
    if (!api_scope_filter(c, &x->f)) x->full = true;
}

/* SQLite has no LATERAL; it goes by age always. */
static enum err sees_few(struct api_call *c, bool *few) {
    struct filter x = {0};
    struct db_rows rows;
    *few = false;
    if (api_unscoped(&c->who) || !db_is_postgres(db_of(c->db))) return OK;
    filter_text(&x, "SELECT COUNT(*) FROM (SELECT 1 FROM tenants t WHERE 1 = 1");
    filter_scope(&x, c);
    filter_value(&x, " LIMIT ", db_int(FEW_TENANTS + 1), ") seen");
    enum err e = x.full ? ERR_LIMIT : db_query(c->db, c->arena, &rows, x.f.sql, x.f.params, x.f.n);
    if (!e) *few = db_row(&rows, 0)->i <= FEW_TENANTS;
    return e;
}

static void texts(struct filter *x, const char *const *parts) {
    for (; *parts; parts++) filter_text(x, *parts);
}
#define TEXTS(x, ...) texts((x), (const char *const[]){__VA_ARGS__, NULL})

static void order(struct filter *x, const char *of, const struct newest *what) {
    TEXTS(x, " ORDER BY ", of, ".created_ms DESC, ", of, ".tenant DESC, ", of, ".", what->number,
          " DESC");
}

static void after(struct filter *x, const char *of, const struct newest *what) {
    if (!what->begun) return;
    TEXTS(x, " AND (", of, ".created_ms, ", of, ".tenant, ", of, ".", what->number, ") < (");
    filter_value(x, "", db_int(what->at[0]), ", ");
    filter_value(x, "", db_text(what->tenant), ", ");
    filter_value(x, "", db_int(what->at[1]), ")");
}

void filter_by_age(struct filter *x, const struct newest *what) {
    after(x, what->alias, what);
    order(x, what->alias, what);
    filter_value(x, " LIMIT ", db_int(what->limit), "");
}

bool filter_given(struct api_call *c, const char *const *names) {
    for (; *names; names++)
        if (api_param(c, *names).ptr) return true;
    return false;
}

/* The newest keys of each tenant, of them the newest, and their rows. */
bool filter_newest(struct filter *x, struct api_call *c, const struct newest *what, bool *wrong) {
    bool few;
    enum err e = sees_few(c, &few);
    *wrong = e != OK;
    if (e) api_store_error(c, e);
    if (e || !few) return false;
    TEXTS(x, "SELECT ", what->columns, " FROM (SELECT k.tenant, k.", what->number,
          " FROM tenants t CROSS JOIN LATERAL (SELECT k.tenant, k.created_ms, k.", what->number,
          " FROM ", what->table, " k WHERE k.tenant = t.id");
    after(x, "k", what);
    order(x, "k", what);
    filter_value(x, " LIMIT ", db_int(what->limit), ") k WHERE 1 = 1");
    filter_scope(x, c);
    order(x, "k", what);
    filter_value(x, " LIMIT ", db_int(what->limit), ") k JOIN ");
    TEXTS(x, what->table, " ", what->alias, " ON ", what->alias, ".tenant = k.tenant AND ",
          what->alias, ".", what->number, " = k.", what->number,
          " JOIN tenants t ON t.id = k.tenant");
    order(x, what->alias, what);
    return true;
}

bool filter_run(struct filter *x, struct api_call *c, struct db_rows *rows) {
    enum err e =
        x->full ? ERR_LIMIT : db_query(c->db, c->arena, rows, x->f.sql, x->f.params, x->f.n);
    if (e) api_store_error(c, e);
    return !e;
}

bool cursor_read(struct api_call *c, struct str cursor, int64_t *numbers, uint32_t n,
                 struct str *text) {
    struct str rest = cursor;
    bool fine = cursor.len < CURSOR_BYTES;
    for (uint32_t i = 0; i < n && fine; i++) {
        int64_t v = 0;
        size_t digits = 0;
        while (digits < rest.len && digits < 18 && rest.ptr[digits] >= '0' &&
               rest.ptr[digits] <= '9')
            v = v * 10 + (rest.ptr[digits++] - '0');
        fine = digits > 0 && (digits == rest.len || rest.ptr[digits] == '.');
        numbers[i] = v;
        rest = str_from(rest, digits + 1);
    }
    if (fine) return *text = rest, true;
    api_error(c, 400, "invalid_parameter", "after is what the page before gave as next");
    return false;
}

struct str cursor_make(struct arena *a, const int64_t *numbers, uint32_t n, struct str text) {
    char out[CURSOR_BYTES];
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, sizeof out - len, i ? ".%lld" : "%lld",
                                (long long)numbers[i]);
    if (text.len && len + text.len + 2 < sizeof out)
        len += (size_t)snprintf(out + len, sizeof out - len, ".%.*s", STR_FMT(text));
    return (struct str){arena_strndup(a, out, len), len};
}

bool api_see_tenant(struct api_call *c) {
    struct db_rows rows;
    enum err e = DB_QUERY(c->db, c->arena, &rows, "SELECT labels FROM tenants WHERE id = $1",
                          db_text(c->args[0]));
    if (e) return api_store_error(c, e), false;
    if (rows.n && api_sees(&c->who, c->args[0], api_stored(c->arena, db_row(&rows, 0)->s)))
        return true;
    api_error(c, 404, "not_found", "there is no tenant %.*s", STR_FMT(c->args[0]));
    return false;
}

struct json *api_stored(struct arena *a, struct str text) {
    struct json *v;
    struct json_error where;
    return json_parse(a, text, &v, &where) == OK ? v : json_null(a);
}
