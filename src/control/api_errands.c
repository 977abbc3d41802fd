/* What CDNs and edges are still to be told, over REST: so that an operator sees who does not
 * answer, and why. in: requests. out: pages of errands. owns: nothing. */
#include "control/api_filter.h"

static struct json *errand_json(struct arena *a, const struct db_value *v) {
    struct json *o = json_object(a);
    json_set(a, o, STR("target"), json_string(a, v[0].s));
    json_set(a, o, STR("tenant"), json_string(a, v[1].s));
    json_set(a, o, STR("serial"), json_int(a, v[2].i));
    json_set(a, o, STR("tries"), json_int(a, v[3].i));
    json_set(a, o, STR("next_at"), api_time(a, v[4].i));
    json_set(a, o, STR("error"), json_string(a, v[5].s));
    return o;
}

/* A cursor is "TARGET TENANT"; neither has a space in it. */
static bool read_cursor(struct api_call *c, struct str after, struct str *target,
                        struct str *tenant) {
    struct str text;
    if (!cursor_read(c, after, NULL, 0, &text)) return false;
    const char *space = memchr(text.ptr, ' ', text.len);
    size_t n = space ? (size_t)(space - text.ptr) : text.len;
    *target = str_head(text, n);
    *tenant = str_from(text, n + 1);
    return true;
}

static void list_errands(struct api_call *c) {
    struct filter x = {0};
    struct db_rows rows;
    struct api_page_request page;
    struct str target, tenant, next = STR("");
    if (!api_page_read(c, &page)) return;
    filter_text(&x,
                "SELECT e.target, e.tenant, e.serial, e.tries, e.next_ms, e.error FROM errands e"
                " JOIN tenants t ON t.id = e.tenant WHERE 1 = 1");
    filter_param(&x, c, "target", " AND e.target = ");
    filter_param(&x, c, "tenant", " AND e.tenant = ");
    filter_scope(&x, c);
    if (page.after.len) {
        if (!read_cursor(c, page.after, &target, &tenant)) return;
        filter_value(&x, " AND (e.target, e.tenant) > (", db_text(target), ", ");
        filter_value(&x, "", db_text(tenant), ")");
    }
    filter_value(&x, " ORDER BY e.target, e.tenant LIMIT ", db_int(page.limit + 1), "");
    if (!filter_run(&x, c, &rows)) return;
    struct json *items = json_array(c->arena);
    for (uint32_t i = 0; i < rows.n && i < page.limit; i++) {
        const struct db_value *v = db_row(&rows, i);
        size_t n = 0;
        json_push(c->arena, items, errand_json(c->arena, v));
        if (i + 1 < page.limit || rows.n <= page.limit) continue;
        const char *text =
            arena_printf(c->arena, &n, "%.*s %.*s", STR_FMT(v[0].s), STR_FMT(v[1].s));
        if (text) next = cursor_make(c->arena, NULL, 0, (struct str){text, n});
    }
    api_page(c, items, next);
}

const struct api_route api_errands_routes[] = {
    {"GET", "/v1/errands", RIGHT_READ, list_errands},
    {NULL, NULL, RIGHT_NONE, NULL},
};
