/* Documents against the store: what it has, what is to be done, what stands in the way.
 * in: documents of people, rows of sources and tenants. out: a plan, or problems. owns: nothing;
 * all lies in the call's arena. */
#include "control/documents.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_PROBLEMS = 200, USERS_SHOWN = 5, PAGE_BYTES = 16 << 20 };

bool documents_init(struct api_call *c, const char *cause, struct documents *d) {
    struct str release = api_param(c, "release");
    bool yes = str_is(release, "true"), no = str_is(release, "false");
    *d = (struct documents){.call = c, .cause = cause, .object = STR(""), .build = STR("")};
    table_init(&d->index, c->arena);
    diag_list_init(&d->diags, c->arena);
    d->diags.max_errors = MAX_PROBLEMS;
    d->release = release.ptr ? yes : !c->control->config->release_manually;
    if (release.ptr && !yes && !no) {
        api_error(c, 400, "invalid_parameter", "release is true or false");
        return false;
    }
    if (d->release && c->control->config->release_manually && !api_may(&c->who, RIGHT_RELEASE)) {
        api_error(c, 403, "forbidden",
                  "versions are released by hand here, and this token may not release");
        return false;
    }
    return true;
}

static struct str key_of(struct arena *a, enum spec_kind kind, struct str id) {
    struct str key = {NULL, 0};
    key.ptr = arena_printf(a, &key.len, "%s/%.*s", spec_words(kind), STR_FMT(id));
    return key;
}

struct document *documents_find(const struct documents *d, enum spec_kind kind, struct str id) {
    struct str key = key_of(d->call->arena, kind, id);
    uintptr_t at = key.ptr ? (uintptr_t)table_get(&d->index, key) : 0;
    return at ? &d->items[at - 1] : NULL;
}

struct document *documents_add(struct documents *d, enum spec_kind kind, struct str id) {
    struct str key = key_of(d->call->arena, kind, id);
    uint32_t n = d->n;
    struct document doc = {.kind = kind, .id = id, .was = STR(""), .was_sha256 = STR("")};
    if (!key.ptr || table_get(&d->index, key)) return NULL;
    ARENA_PUSH(d->call->arena, d, doc);
    if (d->n == n) return NULL;
    table_set(&d->index, key, (void *)(uintptr_t)d->n);
    return &d->items[n];
}

/* ---- problems ---- */

static struct str path_of(struct documents *d, const struct document *doc, struct str member) {
    struct str path = {NULL, 0};
    path.ptr = arena_printf(d->call->arena, &path.len, "%s/%.*s%s%.*s", spec_words(doc->kind),
                            STR_FMT(doc->id), member.len ? "/" : "", STR_FMT(member));
    return path.ptr ? path : STR("");
}

void documents_problem(struct documents *d, const struct document *doc, const char *member,
                       const char *format, ...) {
    char text[1024];
    struct loc loc = {.file = path_of(d, doc, str_of(member))};
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    diag_add(&d->diags, DIAG_DOCUMENT, loc, "%s", text);
}

/* What is about the store weighs more than what is about the documents; what the caller may not
 * weighs most. */
static void refuse(struct documents *d, const struct document *doc, int status, const char *text) {
    if (d->refusal != 403) d->refusal = status;
    documents_problem(d, doc, "", "%s", text);
}

void documents_name(struct documents *d, const struct document *doc, uint32_t from) {
    for (uint32_t i = from; i < d->diags.n; i++) {
        struct loc *loc = &d->diags.items[i].loc;
        loc->file = path_of(d, doc, loc->file);
    }
}

bool documents_refused(struct documents *d) {
    struct arena *a = d->call->arena;
    if (!d->diags.n && !d->diags.dropped) return false;
    diag_sort(&d->diags);
    const struct diag *first = &d->diags.items[0];
    const char *message = d->diags.n + d->diags.dropped > 1
                              ? arena_printf(a, NULL, "%u problems, the first: %.*s: %.*s",
                                             d->diags.n + d->diags.dropped,
                                             STR_FMT(first->loc.file), STR_FMT(first->message))
                              : arena_printf(a, NULL, "%.*s: %.*s", STR_FMT(first->loc.file),
                                             STR_FMT(first->message));
    const char *code = d->refusal == 403   ? "out_of_scope"
                       : d->refusal == 409 ? "conflict"
                                           : "invalid_document";
    api_error_list(d->call, d->refusal ? d->refusal : 422, code,
                   message ? message : "it is not valid", api_diags(a, &d->diags));
    return true;
}

enum err documents_want(struct documents *d, struct document *doc, const struct json *value) {
    struct arena *a = d->call->arena;
    uint32_t from = d->diags.n;
    enum err e = spec_read(a, doc->kind, value, &doc->spec, &d->diags);
    documents_name(d, doc, from);
    if (!e) e = spec_print(a, doc->spec, &doc->text);
    if (e == ERR_LIMIT || (!e && doc->text.len > SPEC_BYTES)) {
        documents_problem(d, doc, "", "it is larger than %d MiB", SPEC_BYTES >> 20);
        return ERR_DIAG;
    }
    if (!e) sha256_hex(doc->text.ptr, doc->text.len, doc->sha256);
    return e;
}

/* ---- what the store has ---- */

static void unload(struct document *doc) {
    doc->known = doc->exists = doc->relabels = false;
    doc->rev = doc->version = 0;
    doc->was_sha256 = STR("");
    doc->was = STR("{}");
    doc->was_spec = doc->was_labels = NULL;
}

/* deleted, rev, sha256, spec */
static void take_row(struct document *doc, const struct db_value *row) {
    doc->known = true;
    doc->exists = !row[0].i;
    doc->rev = row[1].i;
    if (!doc->exists) return;
    doc->was_sha256 = row[2].s;
    doc->was = row[3].s;
}

static enum err load_source(struct documents *d, struct document *doc) {
    struct db_rows rows;
    enum err e = DB_QUERY(
        d->call->db, d->call->arena, &rows,
        "SELECT deleted, rev, sha256, spec, version FROM sources WHERE kind = $1 AND id = $2",
        db_cstr(spec_word(doc->kind)), db_text(doc->id));
    if (e || !rows.n) return e;
    take_row(doc, db_row(&rows, 0));
    doc->version = db_row(&rows, 0)[4].i;
    return OK;
}

/* All tenants in one statement. */
static enum err load_tenants(struct documents *d) {
    struct arena *a = d->call->arena;
    struct json *ids = json_array(a);
    struct db_rows rows;
    struct str list;
    for (uint32_t i = 0; i < d->n; i++)
        if (d->items[i].kind == SPEC_TENANT) json_push(a, ids, json_string(a, d->items[i].id));
    if (!ids) return ERR_MEMORY;
    if (!ids->n) return OK;
    enum err e = spec_print(a, ids, &list);
    if (!e)
        e = DB_QUERY(
            d->call->db, a, &rows,
            db_is_postgres(db_of(d->call->db))
                ? "SELECT deleted, rev, sha256, spec, labels, id FROM tenants WHERE id = ANY"
                  " (ARRAY(SELECT jsonb_array_elements_text(CAST($1 AS jsonb))))"
                : "SELECT deleted, rev, sha256, spec, labels, id FROM tenants WHERE id IN"
                  " (SELECT value FROM json_each($1))",
            db_text(list));
    for (uint32_t i = 0; !e && i < rows.n; i++) {
        const struct db_value *row = db_row(&rows, i);
        struct document *doc = documents_find(d, SPEC_TENANT, row[5].s);
        if (!doc) return ERR_INTERNAL;
        take_row(doc, row);
        if (doc->exists) e = json_parse(a, row[4].s, &doc->was_labels, NULL);
    }
    return e;
}

enum err documents_load(struct documents *d) {
    enum err e = OK;
    d->diags.n = d->diags.dropped =
        0; /* of a try before this one: documents that are wrong do not come so far */
    d->refusal = 0;
    for (uint32_t i = 0; i < d->n; i++) unload(&d->items[i]);
    for (uint32_t i = 0; !e && i < d->n; i++)
        if (d->items[i].kind != SPEC_TENANT) e = load_source(d, &d->items[i]);
    return e ? e : load_tenants(d);
}

enum err documents_was(struct documents *d, struct document *doc, struct json **out) {
    enum err e = doc->was_spec ? OK : json_parse(d->call->arena, doc->was, &doc->was_spec, NULL);
    if (!e) *out = doc->was_spec;
    return e == ERR_MEMORY ? e : e ? ERR_INTERNAL : OK;
}

bool documents_visible(const struct documents *d, const struct document *doc) {
    return doc->kind != SPEC_TENANT || api_sees(&d->call->who, doc->id, doc->was_labels);
}

/* ---- the plan: one document ---- */

/* The document without members that nothing is built from, as text. */
static enum err built_from(struct documents *d, const struct json *spec, struct str *out) {
    struct json *rest = json_object(d->call->arena);
    if (!rest) return ERR_MEMORY;
    for (uint32_t i = 0; i < spec->n; i++)
        if (!str_is(spec->keys[i], "description") && !str_is(spec->keys[i], "labels"))
            json_append(d->call->arena, rest, spec->keys[i], spec->items[i]);
    return spec_print(d->call->arena, rest, out);
}

/* Does anything change in what is built? A tenant that was or becomes suspended counts as changed.
 */
static enum err plan_build(struct documents *d, struct document *doc) {
    struct str before, after;
    struct json *was;
    doc->builds = false;
    if (doc->action == DOCUMENT_UNCHANGED || doc->action == DOCUMENT_DELETE) return OK;
    enum err e = documents_was(d, doc, &was);
    if (!e) e = built_from(d, was, &before);
    if (!e) e = built_from(d, doc->spec, &after);
    if (e) return e;
    bool suspended = str_is(spec_text(doc->spec, "status"), "suspended");
    doc->builds = !suspended && (doc->action == DOCUMENT_CREATE || !str_eq(before, after));
    return OK;
}

static void plan_action(struct document *doc) {
    if (doc->read_only || (!doc->spec && !doc->exists))
        doc->action = DOCUMENT_UNCHANGED;
    else if (!doc->spec)
        doc->action = DOCUMENT_DELETE;
    else if (!doc->exists)
        doc->action = DOCUMENT_CREATE;
    else
        doc->action = str_is(doc->was_sha256, doc->sha256) ? DOCUMENT_UNCHANGED : DOCUMENT_UPDATE;
}

/* A scoped token sees some tenants, and changes those so that it goes on seeing them. */
static void check_scope(struct documents *d, const struct document *doc) {
    const struct principal *who = &d->call->who;
    if (doc->kind != SPEC_TENANT || api_unscoped(who) || (!doc->exists && !doc->spec)) return;
    bool before = !doc->exists || documents_visible(d, doc);
    bool after = !doc->spec || api_sees(who, doc->id, json_get_c(doc->spec, "labels"));
    if (before && after) return;
    refuse(d, doc, 403,
           before ? "it would be outside of this token's scope"
                  : "it is outside of this token's scope");
}

static void check_expected(struct documents *d, const struct document *doc) {
    if (!doc->expected.ptr || str_eq(doc->expected, doc->was_sha256)) return;
    refuse(d, doc, 409,
           !doc->exists        ? "it was deleted since you read it"
           : doc->expected.len ? "it was changed since you read it"
                               : "somebody else has made it since you looked");
}

/* ---- the plan: tenants and their templates ---- */

static enum err stored_template(struct documents *d, struct str id, int64_t version,
                                struct json **out) {
    struct db_rows rows;
    enum err e =
        version
            ? DB_QUERY(
                  d->call->db, d->call->arena, &rows,
                  "SELECT v.spec FROM source_versions v JOIN sources s ON s.kind = v.kind AND s.id "
                  "= v.id"
                  " WHERE v.kind = 'template' AND v.id = $1 AND v.version = $2 AND s.deleted = 0",
                  db_text(id), db_int(version))
            : DB_QUERY(
                  d->call->db, d->call->arena, &rows,
                  "SELECT spec FROM sources WHERE kind = 'template' AND id = $1 AND deleted = 0",
                  db_text(id));
    *out = NULL;
    return e || !rows.n ? e : json_parse(d->call->arena, db_row(&rows, 0)->s, out, NULL);
}

struct seen_templates {
    struct table by_name; /* "shop/3": a struct seen_template */
};
struct seen_template {
    struct json *spec; /* NULL: there is none */
};

/* The template as it will be after this change. */
static enum err find_template(struct documents *d, struct seen_templates *seen, struct str id,
                              int64_t version, struct json **out) {
    struct arena *a = d->call->arena;
    struct str key = {NULL, 0};
    key.ptr = arena_printf(a, &key.len, "%.*s/%lld", STR_FMT(id), (long long)version);
    struct seen_template *t = key.ptr ? table_get(&seen->by_name, key) : NULL;
    if (t) return *out = t->spec, OK;
    const struct document *doc = documents_find(d, SPEC_TEMPLATE, id);
    bool changes = doc && (doc->action == DOCUMENT_CREATE || doc->action == DOCUMENT_UPDATE);
    enum err e = OK;
    if (!key.ptr || !(t = ARENA_NEW(a, struct seen_template))) return ERR_MEMORY;
    if (changes && (!version || version == doc->version + 1))
        t->spec = doc->spec;
    else if (!doc || doc->action != DOCUMENT_DELETE)
        e = stored_template(d, id, version, &t->spec);
    if (e) return e;
    table_set(&seen->by_name, key, t);
    *out = t->spec;
    return OK;
}

static enum err check_template(struct documents *d, struct seen_templates *seen,
                               struct document *doc) {
    const struct json *template = json_get_c(doc->spec, "template");
    struct json *spec = NULL, *values;
    int64_t version = 0;
    uint32_t from = d->diags.n;
    if (!template) return OK;
    struct str id = spec_text(template, "id");
    if (json_get_c(template, "version"))
        (void)!json_int64(json_get_c(template, "version"), &version);
    enum err e = find_template(d, seen, id, version, &spec);
    if (e) return e;
    if (!spec && version)
        return documents_problem(d, doc, "template", "there is no version %lld of a template %.*s",
                                 (long long)version, STR_FMT(id)),
               OK;
    if (!spec)
        return documents_problem(d, doc, "template.id", "there is no template %.*s", STR_FMT(id)),
               OK;
    e = spec_parameters(d->call->arena, spec, doc->spec, &values, &d->diags);
    documents_name(d, doc, from);
    return e == ERR_DIAG ? OK : e;
}

/* ---- the plan: what is deleted ---- */

/* Does a change of this call take the tenant away from what is to be deleted? */
static bool leaves(const struct documents *d, const struct document *gone, struct str tenant,
                   struct str template) {
    const struct document *t = documents_find(d, SPEC_TENANT, tenant);
    bool changes = t && t->action != DOCUMENT_UNCHANGED;
    if (changes && t->action == DOCUMENT_DELETE) return true;
    if (gone->kind == SPEC_TEMPLATE)
        return changes && !str_eq(spec_text(json_get_c(t->spec, "template"), "id"), gone->id);
    /* a library: what is built anew may not import it any more, and its build tells */
    const struct document *parent = documents_find(d, SPEC_TEMPLATE, template);
    return (changes && t->builds) || (parent && parent->builds);
}

static enum err check_unused(struct documents *d, const struct document *doc) {
    struct db_rows rows;
    char names[1024] = "";
    size_t at = 0;
    uint32_t used = 0;
    enum err e = DB_QUERY(
        d->call->db, d->call->arena, &rows,
        doc->kind == SPEC_TEMPLATE
            ? "SELECT id, template FROM tenants WHERE template = $1 AND deleted = 0 ORDER BY id"
            : "SELECT t.id, t.template FROM tenant_libraries l JOIN tenants t ON t.id = l.tenant"
              " WHERE l.library = $1 AND t.deleted = 0 ORDER BY t.id",
        db_text(doc->id));
    for (uint32_t i = 0; !e && i < rows.n; i++) {
        const struct db_value *row = db_row(&rows, i);
        if (leaves(d, doc, row[0].s, row[1].s) || used++ >= USERS_SHOWN) continue;
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s", used > 1 ? ", " : "",
                               STR_FMT(row[0].s));
    }
    if (e || !used) return e;
    char *text =
        arena_printf(d->call->arena, NULL, "%u tenant%s it: %s%s", used,
                     used == 1 ? " uses" : "s use", names, used > USERS_SHOWN ? ", …" : "");
    refuse(d, doc, 409, text ? text : "tenants use it");
    return OK;
}

enum err documents_plan(struct documents *d) {
    struct seen_templates seen;
    enum err e = OK;
    table_init(&seen.by_name, d->call->arena);
    for (uint32_t i = 0; !e && i < d->n; i++) {
        plan_action(&d->items[i]);
        check_expected(d, &d->items[i]);
        check_scope(d, &d->items[i]);
        e = plan_build(d, &d->items[i]);
    }
    for (uint32_t i = 0; !e && i < d->n; i++) {
        struct document *doc = &d->items[i];
        bool tenant = doc->kind == SPEC_TENANT,
             writes = doc->action == DOCUMENT_CREATE || doc->action == DOCUMENT_UPDATE;
        if (tenant && writes) e = check_template(d, &seen, doc);
        if (!tenant && doc->action == DOCUMENT_DELETE) e = check_unused(d, doc);
    }
    return e;
}

const char *document_action_word(enum document_action a) {
    switch (a) {
    case DOCUMENT_UNCHANGED: return "unchanged";
    case DOCUMENT_CREATE: return "create";
    case DOCUMENT_UPDATE: return "update";
    case DOCUMENT_DELETE: return "delete";
    }
    return "";
}

struct json *documents_build(const struct documents *d) {
    struct arena *a = d->call->arena;
    return d->build.len ? json_string(a, d->build) : json_null(a);
}

struct json *documents_row(const struct documents *d, const struct document *doc) {
    struct arena *a = d->call->arena;
    struct json *row = json_object(a);
    json_set(a, row, STR("id"), json_string(a, doc->id));
    json_set(a, row, STR("action"), json_string(a, str_of(document_action_word(doc->action))));
    json_set(a, row, STR("rev"), json_int(a, doc->rev));
    if (doc->kind != SPEC_TENANT) json_set(a, row, STR("version"), json_int(a, doc->version));
    if (doc->spec) json_set(a, row, STR("sha256"), json_string(a, str_of(doc->sha256)));
    return row;
}

/* ---- lists ---- */

bool documents_page_init(struct api_call *c, struct documents_page *p) {
    struct str full = api_param(c, "full");
    *p = (struct documents_page){.call = c, .full = str_is(full, "true")};
    if (!full.ptr || p->full || str_is(full, "false")) return true;
    api_error(c, 400, "invalid_parameter", "full is true or false");
    return false;
}

bool documents_page_room(const struct documents_page *p) { return p->bytes < PAGE_BYTES; }

bool documents_page_add(struct documents_page *p, enum spec_kind kind, struct str id,
                        struct json *item) {
    struct api_call *c = p->call;
    struct db_rows rows;
    struct json *spec;
    if (!p->full) return true;
    enum err e = kind == SPEC_TENANT
                     ? DB_QUERY(c->db, c->arena, &rows, "SELECT spec FROM tenants WHERE id = $1",
                                db_text(id))
                     : DB_QUERY(c->db, c->arena, &rows,
                                "SELECT spec FROM sources WHERE kind = $1 AND id = $2",
                                db_cstr(spec_word(kind)), db_text(id));
    if (!e && rows.n) {
        p->bytes += db_row(&rows, 0)[0].s.len;
        e = json_parse(c->arena, db_row(&rows, 0)[0].s, &spec, NULL);
        if (!e) json_set(c->arena, item, STR("spec"), spec);
    }
    if (e) api_store_error(c, e);
    return !e;
}
