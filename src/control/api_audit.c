/* The audit log over REST, newest first.
 * in: filters. out: entries. owns: nothing. */
#include "control/api_private.h"
#include "control/audit.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct filter {
    struct sql_filter f;
    bool fine;
};

static void add(struct filter *x, const char *condition, struct db_value value) {
    size_t len = strlen(x->f.sql);
    int n = x->f.n < DB_MAX_PARAMS
                ? snprintf(x->f.sql + len, sizeof x->f.sql - len, condition, x->f.n + 1)
                : -1;
    x->fine = x->fine && n >= 0 && (size_t)n < sizeof x->f.sql - len;
    if (x->fine) x->f.params[x->f.n++] = value;
}

/* "2026-11-29T06:08:50Z", or milliseconds since 1970. */
static bool read_time(struct str text, int64_t *out) {
    char copy[32], *end;
    struct tm t = {0};
    if (!text.len || text.len >= sizeof copy) return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    long long ms = strtoll(copy, &end, 10);
    if (!*end && ms >= 0) return *out = ms, true;
    end = strptime(copy, "%Y-%m-%dT%H:%M:%S", &t);
    if (!end) return false;
    long fraction = 0;
    if (*end == '.') fraction = strtol(end + 1, &end, 10);
    if (strcmp(end, "Z") != 0 || fraction < 0 || fraction > 999) return false;
    *out = (int64_t)timegm(&t) * 1000 + fraction;
    return true;
}

static bool add_time(struct api_call *c, struct filter *x, const char *name,
                     const char *condition) {
    struct str text = api_param(c, name);
    int64_t ms = 0;
    if (!text.ptr) return true;
    if (!read_time(text, &ms)) {
        api_error(c, 400, "invalid_parameter", "%s is a time as 2026-11-29T06:08:50Z", name);
        return false;
    }
    add(x, condition, db_int(ms));
    return true;
}

/* Newest first; order=asc is for who checks the chain. */
static bool read_order(struct api_call *c, bool *oldest_first) {
    struct str order = api_param(c, "order");
    *oldest_first = str_is(order, "asc");
    if (!order.ptr || *oldest_first || str_is(order, "desc")) return true;
    api_error(c, 400, "invalid_parameter", "order is asc or desc");
    return false;
}

static bool add_after(struct api_call *c, struct filter *x, struct str after, bool oldest_first) {
    int64_t seq = 0;
    if (!after.len) return true;
    if (!api_param_number(c, "after", INT64_MAX, &seq)) return false;
    add(x, oldest_first ? " AND seq > $%u" : " AND seq < $%u", db_int(seq));
    return true;
}

/* "token.*" stands for all that begin so. */
static void add_action(struct filter *x, struct str action) {
    if (!str_ends(action, STR("*"))) {
        add(x, " AND action = $%u", db_text(action));
        return;
    }
    add(x, " AND substr(action, 1, length($%1$u)) = $%1$u",
        db_text(str_head(action, action.len - 1)));
}

static void audit_list(struct api_call *c) {
    struct filter x = {.fine = true};
    struct api_page_request page;
    struct db_rows rows;
    struct str who = api_param(c, "who"), action = api_param(c, "action"),
               object = api_param(c, "object");
    bool oldest_first;
    if (!api_need_unscoped(c) || !api_page_read(c, &page) || !read_order(c, &oldest_first)) return;
    if (who.ptr) add(&x, " AND who = $%u", db_text(who));
    if (object.ptr) add(&x, " AND object = $%u", db_text(object));
    if (action.ptr) add_action(&x, action);
    if (!add_time(c, &x, "since", " AND at_ms >= $%u") ||
        !add_time(c, &x, "until", " AND at_ms < $%u"))
        return;
    if (!add_after(c, &x, page.after, oldest_first)) return;
    add(&x, oldest_first ? " ORDER BY seq LIMIT $%u" : " ORDER BY seq DESC LIMIT $%u",
        db_int(page.limit + 1));
    char *sql =
        arena_printf(c->arena, NULL, "SELECT " AUDIT_COLUMNS " FROM audit WHERE 1 = 1%s", x.f.sql);
    enum err e =
        sql && x.fine ? db_query(c->db, c->arena, &rows, sql, x.f.params, x.f.n) : ERR_MEMORY;
    if (e) {
        api_store_error(c, e);
        return;
    }
    struct json *items = json_array(c->arena);
    bool more = rows.n > page.limit;
    uint32_t n = more ? (uint32_t)page.limit : rows.n;
    for (uint32_t i = 0; i < n; i++)
        json_push(c->arena, items, audit_json(c->arena, db_row(&rows, i)));
    char *next =
        more ? arena_printf(c->arena, NULL, "%lld", (long long)db_row(&rows, n - 1)[0].i) : NULL;
    api_page(c, items, str_of(next));
}

const struct api_route api_audit_routes[] = {
    {"GET", "/v1/audit", RIGHT_ADMIN, audit_list},
    {NULL, NULL, RIGHT_NONE, NULL},
};
