/* Lists with conditions, cursors, and whether a caller sees a tenant.
 * in: requests. out: statements with parameters, rows, answers that say what is wrong. owns:
 * nothing. */
#include "control/api_filter.h"
#include <stdio.h>

enum { CURSOR_BYTES = 512 };

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
