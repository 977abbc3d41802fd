/* Tenants over REST: lists, documents, parts of documents.
 * in: documents, patches, filters. out: lists, documents; builds and releases of what changed.
 * owns: nothing. */
#include "control/api_filter.h"
#include "control/documents.h"

enum { LABELS_MOST = 8 };

/* ---- answers ---- */

#define LISTED                                                                                     \
    "t.id, t.status, t.template, t.template_version, t.labels, t.version, t.serial, "              \
    "t.build_state, t.wanted, t.built,"                                                            \
    " t.rev, t.sha256, t.created_ms, t.updated_ms, t.updated_by"
enum {
    T_ID,
    T_STATUS,
    T_TEMPLATE,
    T_TEMPLATE_VERSION,
    T_LABELS,
    T_VERSION,
    T_SERIAL,
    T_BUILD_STATE,
    T_WANTED,
    T_BUILT,
    T_REV,
    T_SHA256,
    T_CREATED,
    T_UPDATED,
    T_UPDATED_BY,
    T_SPEC
};

static struct json *template_json(struct arena *a, const struct db_value *row) {
    struct json *o = json_object(a);
    if (!row[T_TEMPLATE].s.len) return json_null(a);
    json_set(a, o, STR("id"), json_string(a, row[T_TEMPLATE].s));
    json_set(a, o, STR("version"), json_int(a, row[T_TEMPLATE_VERSION].i));
    return o;
}

static struct json *row_json(struct arena *a, const struct db_value *row, bool full) {
    struct json *o = json_object(a);
    json_set(a, o, STR("id"), json_string(a, row[T_ID].s));
    json_set(a, o, STR("status"), json_string(a, row[T_STATUS].s));
    json_set(a, o, STR("template"), template_json(a, row));
    json_set(a, o, STR("labels"), api_stored(a, row[T_LABELS].s));
    json_set(a, o, STR("version"),
             row[T_VERSION].s.len ? json_string(a, row[T_VERSION].s) : json_null(a));
    json_set(a, o, STR("serial"), json_int(a, row[T_SERIAL].i));
    json_set(a, o, STR("build_state"), json_string(a, row[T_BUILD_STATE].s));
    json_set(a, o, STR("wanted"), json_int(a, row[T_WANTED].i));
    json_set(a, o, STR("built"), json_int(a, row[T_BUILT].i));
    json_set(a, o, STR("rev"), json_int(a, row[T_REV].i));
    json_set(a, o, STR("sha256"), json_string(a, row[T_SHA256].s));
    json_set(a, o, STR("created_at"), api_time(a, row[T_CREATED].i));
    json_set(a, o, STR("updated_at"), api_time(a, row[T_UPDATED].i));
    json_set(a, o, STR("updated_by"), json_string(a, row[T_UPDATED_BY].s));
    if (full) json_set(a, o, STR("spec"), api_stored(a, row[T_SPEC].s));
    return o;
}

/* ---- lists ---- */

/* label=KEY:VALUE, which may be given several times. false: answered. */
static bool add_labels(struct api_call *c, struct filter *x) {
    struct str label;
    for (uint32_t i = 0; (label = api_param_at(c, "label", i)).ptr; i++) {
        const char *colon = label.len ? memchr(label.ptr, ':', label.len) : NULL;
        struct str key = str_head(label, colon ? (size_t)(colon - label.ptr) : label.len);
        if (!colon || !key.len || i == LABELS_MOST) {
            api_error(c, 400, "invalid_parameter",
                      "label is KEY:VALUE, such as plan:gold, and given %d times at most",
                      LABELS_MOST);
            return false;
        }
        filter_value(x, " AND t.id IN (SELECT tenant FROM tenant_labels WHERE key = ", db_text(key),
                     "");
        filter_value(x, " AND value = ", db_text(str_from(label, key.len + 1)), ")");
    }
    return true;
}

/* As text of the statement, so that it is planned with the indexes of these states. */
static void add_states(struct api_call *c, struct filter *x) {
    static const struct {
        const char *name, *value, *sql;
    } states[] = {
        {"status", "active", " AND t.status = 'active'"},
        {"status", "suspended", " AND t.status = 'suspended'"},
        {"build_state", "none", " AND t.build_state = 'none'"},
        {"build_state", "built", " AND t.build_state = 'built'"},
        {"build_state", "failed", " AND t.build_state = 'failed'"},
    };
    static const char *const names[] = {"status", "build_state"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        struct str value = api_param(c, names[n]);
        const char *sql = value.ptr ? " AND 1 = 0" : "";
        for (size_t i = 0; i < sizeof states / sizeof *states; i++)
            if (strcmp(states[i].name, names[n]) == 0 && str_is(value, states[i].value))
                sql = states[i].sql;
        filter_text(x, sql);
    }
}

static void add_prefix(struct api_call *c, struct filter *x) {
    struct str prefix = api_param(c, "q");
    if (!prefix.len) return;
    filter_value(x, " AND substr(t.id, 1, length(", db_text(prefix), ")) = ");
    filter_value(x, "", db_text(prefix), "");
}

static void list_tenants(struct api_call *c) {
    struct api_page_request page;
    struct documents_page full;
    struct filter x = {0};
    struct db_rows rows;
    struct str last = STR("");
    if (!api_page_read(c, &page) || !documents_page_init(c, &full)) return;
    filter_value(&x, "SELECT " LISTED " FROM tenants t WHERE t.deleted = 0 AND t.id > ",
                 db_text(page.after), "");
    filter_param(&x, c, "template", " AND t.template = ");
    add_states(c, &x);
    add_prefix(c, &x);
    if (!add_labels(c, &x)) return;
    filter_scope(&x, c);
    filter_value(&x, " ORDER BY t.id LIMIT ", db_int(page.limit + 1), "");
    if (!filter_run(&x, c, &rows)) return;
    struct json *items = json_array(c->arena);
    uint32_t i = 0;
    for (; i < rows.n && i < page.limit && documents_page_room(&full); i++) {
        struct json *item = row_json(c->arena, db_row(&rows, i), false);
        last = db_row(&rows, i)[T_ID].s;
        if (!documents_page_add(&full, SPEC_TENANT, last, item)) return;
        json_push(c->arena, items, item);
    }
    api_page(c, items, rows.n > i ? last : STR(""));
}

/* ---- one ---- */

/* The tenant's row, if the caller sees it; NULL: answered. */
static const struct db_value *find(struct api_call *c) {
    struct db_rows rows;
    enum err e =
        DB_QUERY(c->db, c->arena, &rows,
                 "SELECT " LISTED ", t.spec FROM tenants t WHERE t.id = $1 AND t.deleted = 0",
                 db_text(c->args[0]));
    if (e) return api_store_error(c, e), NULL;
    if (rows.n && api_sees(&c->who, c->args[0], api_stored(c->arena, db_row(&rows, 0)[T_LABELS].s)))
        return db_row(&rows, 0);
    api_error(c, 404, "not_found", "there is no tenant %.*s", STR_FMT(c->args[0]));
    return NULL;
}

static void get_tenant(struct api_call *c) {
    const struct db_value *row = find(c);
    if (!row) return;
    api_json(c, 200, row_json(c->arena, row, true));
    api_etag(c, row[T_REV].i);
}

static void put_tenant(struct api_call *c) { document_put(c, SPEC_TENANT); }
static void delete_tenant(struct api_call *c) { document_delete(c, SPEC_TENANT); }

/* ---- JSON merge patch, RFC 7396 ---- */

static struct json *patched(struct arena *a, const struct json *was, const struct json *patch) {
    struct json *out = json_object(a);
    if (patch->kind != JSON_OBJECT) return (struct json *)patch;
    for (uint32_t i = 0; was && was->kind == JSON_OBJECT && i < was->n; i++)
        if (!json_get(patch, was->keys[i])) json_append(a, out, was->keys[i], was->items[i]);
    for (uint32_t i = 0; out && i < patch->n; i++)
        if (patch->items[i]->kind != JSON_NULL)
            json_set(a, out, patch->keys[i],
                     patched(a, json_get(was, patch->keys[i]), patch->items[i]));
    return out;
}

static enum err apply_patch(struct api_call *c, const struct json *was, void *ctx,
                            struct json **out) {
    *out = patched(c->arena, was, ctx);
    return *out ? OK : ERR_MEMORY;
}

static void patch_tenant(struct api_call *c) {
    struct json *patch;
    if (api_body(c, NULL, &patch)) document_change(c, SPEC_TENANT, apply_patch, patch);
}

/* ---- parts: checks and data ---- */

static void get_checks(struct api_call *c) {
    const struct db_value *row = find(c);
    if (!row) return;
    const struct json *checks = json_get_c(api_stored(c->arena, row[T_SPEC].s), "checks");
    api_json(c, 200, checks ? checks : json_array(c->arena));
    api_etag(c, row[T_REV].i);
}

static enum err set_member(struct arena *a, const struct json *was, struct str name,
                           struct json *value, struct json **out) {
    struct json *copy = json_object(a);
    for (uint32_t i = 0; copy && i < was->n; i++)
        if (!str_eq(was->keys[i], name)) json_append(a, copy, was->keys[i], was->items[i]);
    if (!copy || !value) return ERR_MEMORY;
    json_append(a, copy, name, value);
    *out = copy;
    return OK;
}

static enum err apply_checks(struct api_call *c, const struct json *was, void *ctx,
                             struct json **out) {
    return set_member(c->arena, was, STR("checks"), ctx, out);
}

static void put_checks(struct api_call *c) {
    struct json *checks;
    if (api_value(c, &checks)) document_change(c, SPEC_TENANT, apply_checks, checks);
}

static void get_data(struct api_call *c) {
    const struct db_value *row = find(c);
    bool list = false;
    if (!row) return;
    const struct json *data = json_get_c(api_stored(c->arena, row[T_SPEC].s), "data");
    const struct json *found = data && c->args[1].ptr ? json_below(data, c->args[1], &list) : data;
    if (!found && !c->args[1].ptr) found = json_object(c->arena);
    if (!found)
        return api_error(c, 404, "not_found", "there is no data at %.*s",
                         STR_FMT(str_head(c->args[1], 256)));
    api_json(c, 200, found);
    api_etag(c, row[T_REV].i);
}

struct data_edit {
    struct str path; /* ptr NULL: all of it */
    struct json *value;
};

/* A copy of `was` with the value at the path, objects made on the way. NULL: something else than an
 * object is there. */
static struct json *with_value(struct arena *a, const struct json *was, struct str path,
                               struct json *value) {
    const char *slash = path.len ? memchr(path.ptr, '/', path.len) : NULL;
    struct str key = str_head(path, slash ? (size_t)(slash - path.ptr) : path.len);
    struct json *copy = NULL, *inner = value;
    if (was && was->kind != JSON_OBJECT) return NULL;
    if (slash && !(inner = with_value(a, json_get(was, key), str_from(path, key.len + 1), value)))
        return NULL;
    const struct json empty = {.kind = JSON_OBJECT};
    return set_member(a, was ? was : &empty, key, inner, &copy) == OK ? copy : NULL;
}

static enum err apply_data(struct api_call *c, const struct json *was, void *ctx,
                           struct json **out) {
    struct data_edit *edit = ctx;
    struct json *data = edit->value;
    if (edit->path.ptr)
        data = with_value(c->arena, json_get_c(was, "data"), edit->path, edit->value);
    if (data) return set_member(c->arena, was, STR("data"), data, out);
    api_error(c, 409, "conflict", "the way to %.*s leads through something that is no object",
              STR_FMT(str_head(edit->path, 256)));
    return ERR_DIAG;
}

static void put_data(struct api_call *c) {
    struct data_edit edit = {.path = c->args[1]};
    if (api_value(c, &edit.value)) document_change(c, SPEC_TENANT, apply_data, &edit);
}

const struct api_route api_tenant_routes[] = {
    {"GET", "/v1/tenants", RIGHT_READ, list_tenants},
    {"GET", "/v1/tenants/{id}", RIGHT_READ, get_tenant},
    {"PUT", "/v1/tenants/{id}", RIGHT_AUTHOR, put_tenant},
    {"PATCH", "/v1/tenants/{id}", RIGHT_AUTHOR, patch_tenant},
    {"DELETE", "/v1/tenants/{id}", RIGHT_AUTHOR, delete_tenant},
    {"GET", "/v1/tenants/{id}/checks", RIGHT_READ, get_checks},
    {"PUT", "/v1/tenants/{id}/checks", RIGHT_AUTHOR, put_checks},
    {"GET", "/v1/tenants/{id}/data", RIGHT_READ, get_data},
    {"PUT", "/v1/tenants/{id}/data", RIGHT_AUTHOR, put_data},
    {"GET", "/v1/tenants/{id}/data/{path*}", RIGHT_READ, get_data},
    {"PUT", "/v1/tenants/{id}/data/{path*}", RIGHT_AUTHOR, put_data},
    {NULL, NULL, RIGHT_NONE, NULL},
};
