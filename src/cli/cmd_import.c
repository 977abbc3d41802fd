/* regent import: keeps the list of tenants as a customer's own SQL database has it.
 * in: a query's rows; the control plane's tenants and templates. out: a plan; changes; what was
 * built. owns: nothing. */
#include "cli/changes.h"
#include "cli/import_rows.h"
#include "control/control.h"
#include <unistd.h>

enum { ERRORS_SHOWN = 20 };
enum missing { MISSING_KEEP, MISSING_SUSPEND, MISSING_REMOVE };

struct importing {
    struct arena *arena;
    struct client *client;
    struct import_map map;
    struct import_rows rows;
    struct str template, status_active;
    struct str label_key, label_value; /* "" key: none */
    enum missing missing;
    bool force;
    struct table tenants;   /* id → canonical document, as it is */
    struct table templates; /* id → document; NULL in it: there is none */
    struct table seen;      /* id → row + 1 */
    struct changes changes;
    uint32_t errors, stopped, active, left; /* stopped: suspended or removed; left: missing, kept */
};

__attribute__((format(printf, 3, 4))) static void row_wrong(struct importing *m, uint32_t row,
                                                            const char *format, ...) {
    va_list args;
    if (m->errors++ >= ERRORS_SHOWN) return;
    fprintf(stderr, "error: row %u: ", row + 1);
    va_start(args, format);
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    client_print(stderr, str_of(text));
    fputc('\n', stderr);
}

/* ---- what is there ---- */

static int take_tenant(void *ctx, const struct json *item) {
    struct importing *m = ctx;
    const struct json *document = client_document(item);
    struct str id = client_text(item, "id");
    if (!document) return fail("the control plane gave a tenant without its document");
    id.ptr = arena_strndup(m->arena, id.ptr, id.len);
    struct json *copy = client_copy(m->arena, document);
    if (!id.ptr || !copy) return fail("%s", err_meaning(ERR_MEMORY));
    table_set(&m->tenants, id, copy);
    return EXIT_OK;
}

/* Parameters are typed as the template declares them. NULL: there is no such template. */
static const struct json *template_of(struct importing *m, struct str id) {
    const struct json *none = json_null(m->arena), *found = table_get(&m->templates, id);
    if (!found) {
        struct client_call q = {.method = "GET"};
        q.path = arena_printf(m->arena, NULL, "/v1/templates/%s", client_escape(m->arena, id));
        bool there = client_send(m->client, &q) && q.status == 200;
        found = there ? client_document(q.reply) : NULL;
        if (!found) found = none;
        table_set(&m->templates, id, (void *)(uintptr_t)found);
    }
    return found->kind == JSON_OBJECT ? found : NULL;
}

/* ---- a row ---- */

static bool is_number(struct arena *a, struct str s) {
    struct json *v;
    return json_parse(a, s, &v, NULL) == OK && v->kind == JSON_NUMBER && str_eq(v->text, s);
}

/* A cell as the parameter's type has it; NULL: it does not fit. */
static struct json *typed(struct arena *a, struct str type, struct str cell) {
    bool yes = str_is(cell, "true") || str_is(cell, "t") || str_is(cell, "1");
    bool no = str_is(cell, "false") || str_is(cell, "f") || str_is(cell, "0");
    if (str_is(type, "boolean")) return yes || no ? json_bool(a, yes) : NULL;
    if (str_is(type, "integer") || str_is(type, "number"))
        return is_number(a, cell) ? json_number(a, cell) : NULL;
    return json_string(a, cell);
}

/* An object without a member, or with it. */
static void put(struct arena *a, struct json *object, struct str key, struct json *value) {
    struct json kept = *json_object(a);
    if (value) {
        json_set(a, object, key, value);
        return;
    }
    for (uint32_t i = 0; i < object->n; i++)
        if (!str_eq(object->keys[i], key)) json_set(a, &kept, object->keys[i], object->items[i]);
    *object = kept;
}

static struct json *part_of(struct arena *a, struct json *document, const char *member) {
    struct json *part = json_get_c(document, member);
    if (part && part->kind == JSON_OBJECT) return part;
    part = json_object(a);
    json_set(a, document, str_of(member), part);
    return part;
}

static bool put_status(struct importing *m, uint32_t row, struct json *document, struct str cell) {
    bool named = m->status_active.len > 0;
    bool active = named ? str_eq(cell, m->status_active) : str_is(cell, "active");
    if (!named && !active && !str_is(cell, "suspended")) {
        row_wrong(
            m, row,
            "the status is \"%.*s\", neither active nor suspended: --status-active says which "
            "value is active",
            STR_FMT(cell));
        return false;
    }
    json_set(m->arena, document, STR("status"),
             json_string(m->arena, active ? STR("active") : STR("suspended")));
    return true;
}

static bool put_parameter(struct importing *m, uint32_t row, struct json *document, struct str name,
                          struct str cell) {
    const struct json *template =
        template_of(m, client_text(json_get_c(document, "template"), "id"));
    const struct json *declared = json_get(json_get_c(template, "parameters"), name);
    struct json *value = cell.ptr ? typed(m->arena, client_text(declared, "type"), cell) : NULL;
    if (cell.ptr && !value) {
        row_wrong(m, row, "parameter %.*s is \"%.*s\", not of the type %.*s", STR_FMT(name),
                  STR_FMT(cell), STR_FMT(client_text(declared, "type")));
        return false;
    }
    put(m->arena, part_of(m->arena, document, "parameters"), name, value);
    return true;
}

static void put_template(struct arena *a, struct json *document, struct str id) {
    struct json *t = json_get_c(document, "template");
    if (str_eq(client_text(t, "id"), id)) return; /* with the version that it may be held at */
    t = json_object(a);
    json_set(a, t, STR("id"), json_string(a, id));
    json_set(a, document, STR("template"), t);
}

static bool put_cell(struct importing *m, uint32_t row, struct json *document,
                     const struct import_column *c, struct str cell) {
    switch (c->member) {
    case IMPORT_ID: return true;
    case IMPORT_STATUS:
        if (!cell.ptr) return row_wrong(m, row, "the status is NULL"), false;
        return put_status(m, row, document, cell);
    case IMPORT_TEMPLATE:
        if (!cell.ptr) return row_wrong(m, row, "the template is NULL"), false;
        return put_template(m->arena, document, cell), true;
    case IMPORT_LABEL:
        put(m->arena, part_of(m->arena, document, "labels"), c->name,
            cell.ptr ? json_string(m->arena, cell) : NULL);
        return true;
    case IMPORT_PARAMETER: return put_parameter(m, row, document, c->name, cell);
    }
    return false;
}

static const struct str *cells_of(const struct importing *m, uint32_t row) {
    return m->rows.cells + (size_t)row * m->map.n;
}

/* The row's id; false: said what is wrong. */
static bool id_of(struct importing *m, uint32_t row, struct str *id) {
    for (uint32_t i = 0; i < m->map.n; i++)
        if (m->map.columns[i].member == IMPORT_ID) *id = cells_of(m, row)[i];
    if (!id->ptr) return row_wrong(m, row, "the id is NULL"), false;
    const char *wrong = control_id_wrong(*id);
    if (wrong)
        return row_wrong(m, row, "\"%.*s\" cannot be a tenant's id: %s", STR_FMT(*id), wrong),
               false;
    uintptr_t before = (uintptr_t)table_get(&m->seen, *id);
    if (before)
        return row_wrong(m, row, "%.*s is in row %u too", STR_FMT(*id), (unsigned)before), false;
    table_set(&m->seen, *id, (void *)((uintptr_t)row + 1));
    return true;
}

/* Templates are set first: parameters need to know which one. */
static bool put_row(struct importing *m, uint32_t row, struct json *document) {
    bool fine = true;
    if (m->template.len) put_template(m->arena, document, m->template);
    if (m->label_key.len)
        put(m->arena, part_of(m->arena, document, "labels"), m->label_key,
            json_string(m->arena, m->label_value));
    for (int parameters = 0; parameters < 2; parameters++)
        for (uint32_t i = 0; i < m->map.n; i++)
            if ((m->map.columns[i].member == IMPORT_PARAMETER) == (parameters == 1))
                fine &= put_cell(m, row, document, &m->map.columns[i], cells_of(m, row)[i]);
    return fine;
}

/* spec.h's words for what is wrong with a document, with the row's number. */
static void report_row(struct importing *m, uint32_t row, struct str id,
                       const struct diag_list *diags) {
    for (uint32_t i = 0; i < diags->n; i++)
        row_wrong(m, row, "%.*s: %.*s: %.*s", STR_FMT(id), STR_FMT(diags->items[i].loc.file),
                  STR_FMT(diags->items[i].message));
}

static bool is_suspended(const struct json *document) {
    return str_is(client_text(document, "status"), "suspended");
}

static const char *note_of(const struct json *before, const struct json *after) {
    if (is_suspended(after)) return before && is_suspended(before) ? NULL : "suspended";
    return before && is_suspended(before) ? "active again" : NULL;
}

/* The changed document as a change, if it is one. */
static void add_change(struct importing *m, struct str id, const struct json *before,
                       struct json *document) {
    char had[65] = "", has[65];
    const char *note = note_of(before, document);
    if (before) spec_sha256(m->arena, before, had);
    spec_sha256(m->arena, document, has);
    if (before && strcmp(had, has) == 0) {
        m->changes.unchanged++;
        return;
    }
    if (before && !is_suspended(before) && is_suspended(document)) m->stopped++;
    changes_add(&m->changes, (struct change){.sign = before ? CHANGE_UPDATE : CHANGE_CREATE,
                                             .kind = SPEC_TENANT,
                                             .id = id,
                                             .document = document,
                                             .expect = arena_strndup(m->arena, had, strlen(had)),
                                             .note = note});
}

static void take_row(struct importing *m, uint32_t row) {
    struct str id = {0};
    struct diag_list diags;
    if (!id_of(m, row, &id)) return;
    const struct json *before = table_get(&m->tenants, id);
    struct json *document = before ? client_copy(m->arena, before) : json_object(m->arena),
                *canonical, *values;
    if (!document) row_wrong(m, row, "%s", err_meaning(ERR_MEMORY));
    if (!document || !put_row(m, row, document)) return;
    diag_list_init(&diags, m->arena);
    enum err e = spec_read(m->arena, SPEC_TENANT, document, &canonical, &diags);
    const struct json *template =
        e ? NULL : template_of(m, client_text(json_get_c(canonical, "template"), "id"));
    if (template) e = spec_parameters(m->arena, template, canonical, &values, &diags);
    if (e == ERR_DIAG)
        report_row(m, row, id, &diags);
    else if (e)
        row_wrong(m, row, "%.*s: %s", STR_FMT(id), err_meaning(e));
    else
        add_change(m, id, before, canonical);
}

/* ---- tenants that have no row ---- */

static bool is_ours(const struct importing *m, const struct json *document) {
    const struct json *v = json_get(json_get_c(document, "labels"), m->label_key);
    return !m->label_key.len || (v && v->kind == JSON_STRING && str_eq(v->text, m->label_value));
}

static void take_missing(struct importing *m, struct str id, const struct json *before) {
    char had[65];
    if (m->missing == MISSING_KEEP) {
        m->left++;
    } else if (m->missing == MISSING_SUSPEND) {
        struct json *document = client_copy(m->arena, before);
        if (document)
            json_set(m->arena, document, STR("status"), json_string(m->arena, STR("suspended")));
        if (document)
            add_change(m, id, before, document);
        else
            m->errors++;
    } else {
        m->stopped += !is_suspended(before);
        spec_sha256(m->arena, before, had);
        changes_add(&m->changes, (struct change){.sign = CHANGE_DELETE,
                                                 .kind = SPEC_TENANT,
                                                 .id = id,
                                                 .expect = arena_strndup(m->arena, had, 64)});
    }
}

static void take_all(struct importing *m) {
    for (uint32_t i = 0; i < m->rows.n; i++) take_row(m, i);
    for (uint32_t i = 0; i < m->tenants.n; i++) {
        const struct json *before = m->tenants.entries[i].value;
        if (!is_ours(m, before)) continue;
        m->active += !is_suspended(before);
        if (!table_get(&m->seen, m->tenants.entries[i].key))
            take_missing(m, m->tenants.entries[i].key, before);
    }
}

/* ---- the command ---- */

/* A query that suddenly gives little more often is wrong than right. */
static int guard(const struct importing *m) {
    if (m->errors > ERRORS_SHOWN)
        fprintf(stderr, "… and %u more errors\n", m->errors - ERRORS_SHOWN);
    if (m->errors) return fail("nothing was changed"), EXIT_ERRORS;
    if (m->force) return EXIT_OK;
    if (!m->rows.n) return fail("the query gives no rows; --force says that this is meant");
    if (m->stopped * 2 > m->active)
        return fail("%u of %u active tenants would be suspended or removed, more than half; "
                    "--force says that this is meant",
                    m->stopped, m->active);
    return EXIT_OK;
}

static int import(struct importing *m, const struct changes_options *o) {
    int code = documents_read(m->client, SPEC_TENANT, take_tenant, m);
    if (code) return code;
    if (m->template.len && !template_of(m, m->template))
        return fail("the control plane has no template \"%.*s\"", STR_FMT(m->template));
    take_all(m);
    if (!o->dry_run || m->errors) code = guard(m);
    if (code) return code;
    code = changes_run(m->client, &m->changes, o);
    if (m->left && !o->json)
        printf("%u tenants have no row and stay as they are: --missing suspend or remove.\n",
               m->left);
    if (o->dry_run) return guard(m); /* what the real run would say */
    return code;
}

static bool read_words(struct importing *m, struct str missing, struct str label) {
    const char *equals = label.len ? memchr(label.ptr, '=', label.len) : NULL;
    if (label.len && (!equals || equals == label.ptr))
        return fail("--label takes KEY=VALUE"), false;
    if (label.len) m->label_key = str_head(label, (size_t)(equals - label.ptr));
    if (label.len) m->label_value = str_from(label, m->label_key.len + 1);
    if (str_is(missing, "keep"))
        m->missing = MISSING_KEEP;
    else if (str_is(missing, "suspend"))
        m->missing = MISSING_SUSPEND;
    else if (str_is(missing, "remove"))
        m->missing = MISSING_REMOVE;
    else
        return fail("--missing takes keep, suspend or remove"), false;
    return true;
}

static bool from_fits(struct str from) {
    if (str_starts(from, STR("mysql:")) || str_starts(from, STR("mariadb:")))
        return fail("MySQL is not read: copy the list to SQLite or PostgreSQL, or make a folder "
                    "for `regent apply`"),
               false;
    return from.len || (fail("which database? --from sqlite:FILE or postgres://…"), false);
}

int cmd_import(struct arena *a, int argc, char **argv) {
    struct client_options where = {0};
    struct changes_options o = {.wait = true, .release = true, .confirm = true};
    struct str from = {0}, query = {0}, missing = STR("keep"), label = {0}, output = STR("text");
    struct str_list rest, map = {0};
    struct importing m = {.arena = a};
    struct client c;
    int code;
    const struct option_spec specs[] = {
        {"from", 0, OPTION_TEXT, &from, "URL", "sqlite:FILE or postgres://HOST/DATABASE"},
        {"query", 0, OPTION_TEXT, &query, "SQL", "a SELECT that gives a row for each tenant"},
        {"map", 0, OPTION_LIST, &map, "MEMBER=COLUMN,…",
         "id, status, template, label.KEY, parameter.NAME; repeatable"},
        {"template", 0, OPTION_TEXT, &m.template, "ID", "template of all of them"},
        {"status-active", 0, OPTION_TEXT, &m.status_active, "VALUE",
         "of the status: active; others are suspended"},
        {"label", 0, OPTION_TEXT, &label, "KEY=VALUE",
         "set on all of them; only tenants that have it can be missing"},
        {"missing", 0, OPTION_TEXT, &missing, "HOW",
         "tenants without a row: keep (default), suspend or remove"},
        {"force", 0, OPTION_BOOL, &m.force, NULL,
         "also if there is no row, or more than half of the tenants would stop"},
        CHANGES_FLAGS(o),
        CLIENT_FLAGS(where),
        {0}};
    if (!command_options(a, "import --from URL --query SQL --map MEMBER=COLUMN,… [flags]", specs,
                         argc, argv, &rest, &code))
        return code;
    if (rest.n) return fail("import takes flags only");
    o.json = str_is(output, "json");
    if (!o.json && !str_is(output, "text")) return fail("-o takes text or json");
    if (!from_fits(from) || !read_words(&m, missing, label) || !import_map_read(&map, &m.map))
        return EXIT_FAILED;
    table_init(&m.tenants, a);
    table_init(&m.templates, a);
    table_init(&m.seen, a);
    changes_init(&m.changes, a);
    if (!import_rows_read(a, from.ptr, query, &m.map, &m.rows) || !client_open(a, &where, &c))
        return EXIT_FAILED;
    m.client = &c;
    code = import(&m, &o);
    client_close(&c);
    return code;
}
