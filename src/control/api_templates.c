/* Templates and libraries over REST: what many tenants' policies are made of, each change a
 * version. in: documents. out: lists, documents, versions; builds of all that is concerned. owns:
 * nothing. */
#include "control/documents.h"

/* ---- answers ---- */

#define LISTED                                                                                     \
    "s.id, s.version, s.rev, s.sha256, s.description, s.created_ms, s.updated_ms, s.updated_by"
enum {
    S_ID,
    S_VERSION,
    S_REV,
    S_SHA256,
    S_DESCRIPTION,
    S_CREATED,
    S_UPDATED,
    S_UPDATED_BY,
    S_TENANTS,
    S_SPEC
};

static struct json *row_json(struct arena *a, const struct db_value *row) {
    struct json *o = json_object(a);
    json_set(a, o, STR("id"), json_string(a, row[S_ID].s));
    json_set(a, o, STR("description"), json_string(a, row[S_DESCRIPTION].s));
    json_set(a, o, STR("version"), json_int(a, row[S_VERSION].i));
    json_set(a, o, STR("rev"), json_int(a, row[S_REV].i));
    json_set(a, o, STR("sha256"), json_string(a, row[S_SHA256].s));
    json_set(a, o, STR("tenants"), json_int(a, row[S_TENANTS].i));
    json_set(a, o, STR("created_at"), api_time(a, row[S_CREATED].i));
    json_set(a, o, STR("updated_at"), api_time(a, row[S_UPDATED].i));
    json_set(a, o, STR("updated_by"), json_string(a, row[S_UPDATED_BY].s));
    return o;
}

static bool add_spec(struct api_call *c, struct json *o, struct str text) {
    struct json *spec;
    if (json_parse(c->arena, text, &spec, NULL) == OK)
        return json_set(c->arena, o, STR("spec"), spec), true;
    api_store_error(c, ERR_MEMORY);
    return false;
}

/* How many tenants that the caller sees use it, as a sub-select. NULL: answered. */
static const char *count_sql(struct api_call *c, enum spec_kind kind, struct sql_filter *f) {
    const char *sql = NULL;
    if (api_scope_filter(c, f))
        sql = arena_printf(
            c->arena, NULL,
            kind == SPEC_TEMPLATE
                ? "(SELECT count(*) FROM tenants t WHERE t.template = s.id AND t.deleted = 0%s)"
                : "(SELECT count(*) FROM tenant_libraries u JOIN tenants t ON t.id = u.tenant"
                  " WHERE u.library = s.id AND t.deleted = 0%s)",
            f->sql);
    if (!sql) api_store_error(c, ERR_MEMORY);
    return sql;
}

static void list(struct api_call *c, enum spec_kind kind) {
    struct api_page_request page;
    struct db_rows rows;
    struct documents_page full;
    struct str last = STR("");
    if (!api_page_read(c, &page) || !documents_page_init(c, &full)) return;
    struct sql_filter f = {
        .params = {db_cstr(spec_word(kind)), db_text(page.after), db_int(page.limit + 1)}, .n = 3};
    const char *count = count_sql(c, kind, &f);
    if (!count) return;
    const char *sql = arena_printf(
        c->arena, NULL,
        "SELECT " LISTED ", %s FROM sources s WHERE s.kind = $1 AND s.deleted = 0 AND s.id > $2"
        " ORDER BY s.id LIMIT $3",
        count);
    enum err e = sql ? db_query(c->db, c->arena, &rows, sql, f.params, f.n) : ERR_MEMORY;
    if (e) return api_store_error(c, e);
    struct json *items = json_array(c->arena);
    uint32_t i = 0;
    for (; i < rows.n && i < page.limit && documents_page_room(&full); i++) {
        struct json *item = row_json(c->arena, db_row(&rows, i));
        last = db_row(&rows, i)[S_ID].s;
        if (!documents_page_add(&full, kind, last, item)) return;
        json_push(c->arena, items, item);
    }
    api_page(c, items, rows.n > i ? last : STR(""));
}

static void not_found(struct api_call *c, enum spec_kind kind) {
    api_error(c, 404, "not_found", "there is no %s %.*s", spec_word(kind), STR_FMT(c->args[0]));
}

static void get(struct api_call *c, enum spec_kind kind) {
    struct db_rows rows;
    struct sql_filter f = {.params = {db_cstr(spec_word(kind)), db_text(c->args[0])}, .n = 2};
    const char *count = count_sql(c, kind, &f);
    if (!count) return;
    const char *sql =
        arena_printf(c->arena, NULL,
                     "SELECT " LISTED ", %s, s.spec FROM sources s WHERE s.kind = $1 AND s.id = $2"
                     " AND s.deleted = 0",
                     count);
    enum err e = sql ? db_query(c->db, c->arena, &rows, sql, f.params, f.n) : ERR_MEMORY;
    if (e) return api_store_error(c, e);
    if (!rows.n) return not_found(c, kind);
    const struct db_value *row = db_row(&rows, 0);
    struct json *o = row_json(c->arena, row);
    if (!add_spec(c, o, row[S_SPEC].s)) return;
    api_json(c, 200, o);
    api_etag(c, row[S_REV].i);
}

/* ---- versions: immutable, there even when the template is not any more ---- */

static struct json *version_json(struct arena *a, const struct db_value *row) {
    struct json *o = json_object(a);
    json_set(a, o, STR("version"), json_int(a, row[0].i));
    json_set(a, o, STR("sha256"), json_string(a, row[1].s));
    json_set(a, o, STR("created_at"), api_time(a, row[2].i));
    json_set(a, o, STR("created_by"), json_string(a, row[3].s));
    return o;
}

/* A number that stands in a path or a cursor; 0: it is none. */
static int64_t number_of(struct str s) {
    int64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9' || i > 17) return 0;
        n = n * 10 + (s.ptr[i] - '0');
    }
    return n;
}

/* The newest first. */
static void list_versions(struct api_call *c, enum spec_kind kind) {
    struct api_page_request page;
    struct db_rows rows;
    struct str next = STR("");
    if (!api_page_read(c, &page)) return;
    int64_t before = page.after.len ? number_of(page.after) : INT64_MAX;
    enum err e = DB_QUERY(c->db, c->arena, &rows,
                          "SELECT version, sha256, created_ms, created_by FROM source_versions "
                          "WHERE kind = $1 AND id = $2"
                          " AND version < $3 ORDER BY version DESC LIMIT $4",
                          db_cstr(spec_word(kind)), db_text(c->args[0]), db_int(before),
                          db_int(page.limit + 1));
    if (e) return api_store_error(c, e);
    if (!rows.n && !page.after.len) return not_found(c, kind);
    struct json *items = json_array(c->arena);
    for (uint32_t i = 0; i < rows.n && i < page.limit; i++) {
        json_push(c->arena, items, version_json(c->arena, db_row(&rows, i)));
        if (i + 1 == page.limit && rows.n > page.limit)
            next.ptr = arena_printf(c->arena, &next.len, "%lld", (long long)db_row(&rows, i)[0].i);
    }
    api_page(c, items, next);
}

static void get_version(struct api_call *c, enum spec_kind kind) {
    struct db_rows rows;
    enum err e =
        DB_QUERY(c->db, c->arena, &rows,
                 "SELECT version, sha256, created_ms, created_by, spec FROM source_versions"
                 " WHERE kind = $1 AND id = $2 AND version = $3",
                 db_cstr(spec_word(kind)), db_text(c->args[0]), db_int(number_of(c->args[1])));
    if (e) return api_store_error(c, e);
    if (!rows.n)
        return api_error(c, 404, "not_found", "there is no version %.*s of a %s %.*s",
                         STR_FMT(str_head(c->args[1], 64)), spec_word(kind), STR_FMT(c->args[0]));
    struct json *o = version_json(c->arena, db_row(&rows, 0));
    json_set(c->arena, o, STR("id"), json_string(c->arena, c->args[0]));
    if (add_spec(c, o, db_row(&rows, 0)[4].s)) api_json(c, 200, o);
}

/* ---- routes ---- */

static void list_templates(struct api_call *c) { list(c, SPEC_TEMPLATE); }
static void get_template(struct api_call *c) { get(c, SPEC_TEMPLATE); }
static void put_template(struct api_call *c) { document_put(c, SPEC_TEMPLATE); }
static void delete_template(struct api_call *c) { document_delete(c, SPEC_TEMPLATE); }
static void list_template_versions(struct api_call *c) { list_versions(c, SPEC_TEMPLATE); }
static void get_template_version(struct api_call *c) { get_version(c, SPEC_TEMPLATE); }

static void list_libraries(struct api_call *c) { list(c, SPEC_LIBRARY); }
static void get_library(struct api_call *c) { get(c, SPEC_LIBRARY); }
static void put_library(struct api_call *c) { document_put(c, SPEC_LIBRARY); }
static void delete_library(struct api_call *c) { document_delete(c, SPEC_LIBRARY); }
static void list_library_versions(struct api_call *c) { list_versions(c, SPEC_LIBRARY); }
static void get_library_version(struct api_call *c) { get_version(c, SPEC_LIBRARY); }

const struct api_route api_template_routes[] = {
    {"GET", "/v1/templates", RIGHT_READ, list_templates},
    {"GET", "/v1/templates/{id}", RIGHT_READ, get_template},
    {"PUT", "/v1/templates/{id}", RIGHT_AUTHOR, put_template},
    {"DELETE", "/v1/templates/{id}", RIGHT_AUTHOR, delete_template},
    {"GET", "/v1/templates/{id}/versions", RIGHT_READ, list_template_versions},
    {"GET", "/v1/templates/{id}/versions/{version}", RIGHT_READ, get_template_version},
    {"GET", "/v1/libraries", RIGHT_READ, list_libraries},
    {"GET", "/v1/libraries/{id}", RIGHT_READ, get_library},
    {"PUT", "/v1/libraries/{id}", RIGHT_AUTHOR, put_library},
    {"DELETE", "/v1/libraries/{id}", RIGHT_AUTHOR, delete_library},
    {"GET", "/v1/libraries/{id}/versions", RIGHT_READ, list_library_versions},
    {"GET", "/v1/libraries/{id}/versions/{version}", RIGHT_READ, get_library_version},
    {NULL, NULL, RIGHT_NONE, NULL},
};
