/* Writes what was planned, in the order in which locks are taken: rows of documents, jobs, releases
 * (the feed), audit. in: a plan. out: rows; a build. owns: nothing. */
#include "control/audit.h"
#include "control/documents.h"
#include "control/feed.h"
#include "control/queue.h"
#include "control/release.h"
#include <stdlib.h>

static struct db_conn *db_of_call(const struct documents *d) { return d->call->db; }

/* ---- templates and libraries ---- */

static enum err write_source(struct documents *d, struct document *doc) {
    struct db_conn *c = db_of_call(d);
    struct arena *a = d->call->arena;
    doc->rev++;
    doc->version++;
    enum err e = DB_QUERY(
        c, a, NULL,
        "INSERT INTO sources (kind, id, version, rev, sha256, spec, description, deleted, "
        "created_ms,"
        " updated_ms, updated_by) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $8, $9)"
        " ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, rev = excluded.rev,"
        " sha256 = excluded.sha256, spec = excluded.spec, description = excluded.description, "
        "deleted = 0,"
        " created_ms = CASE WHEN sources.deleted = 1 THEN excluded.created_ms ELSE "
        "sources.created_ms END,"
        " updated_ms = excluded.updated_ms, updated_by = excluded.updated_by",
        db_cstr(spec_word(doc->kind)), db_text(doc->id), db_int(doc->version), db_int(doc->rev),
        db_cstr(doc->sha256), db_text(doc->text), db_text(spec_text(doc->spec, "description")),
        db_int(d->now_ms), db_text(d->call->who.name));
    if (e) return e;
    return DB_QUERY(
        c, a, NULL,
        "INSERT INTO source_versions (kind, id, version, sha256, spec, created_ms, created_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        db_cstr(spec_word(doc->kind)), db_text(doc->id), db_int(doc->version), db_cstr(doc->sha256),
        db_text(doc->text), db_int(d->now_ms), db_text(d->call->who.name));
}

static enum err delete_source(struct documents *d, struct document *doc) {
    return DB_QUERY(db_of_call(d), d->call->arena, NULL,
                    "UPDATE sources SET deleted = 1, rev = $3, updated_ms = $4, updated_by = $5 "
                    "WHERE kind = $1 AND id = $2",
                    db_cstr(spec_word(doc->kind)), db_text(doc->id), db_int(++doc->rev),
                    db_int(d->now_ms), db_text(d->call->who.name));
}

/* ---- tenants ---- */

static enum err print(struct documents *d, const struct json *v, struct str *out) {
    *out = STR("{}");
    return v ? spec_print(d->call->arena, v, out) : OK;
}

/* Labels of all tenants whose labels change: {"acme": {"plan": "gold"}}, {} for none. */
static enum err write_labels(struct documents *d) {
    struct db_conn *c = db_of_call(d);
    struct arena *a = d->call->arena;
    struct json *all = json_object(a);
    struct str text;
    bool pg = db_is_postgres(db_of(c));
    for (uint32_t i = 0; i < d->n; i++)
        if (d->items[i].relabels) {
            struct json *labels = json_get_c(d->items[i].spec, "labels");
            json_append(a, all, d->items[i].id, labels ? labels : json_object(a));
        }
    if (!all->n) return OK;
    enum err e = print(d, all, &text);
    if (!e)
        e = DB_QUERY(
            c, a, NULL,
            pg ? "DELETE FROM tenant_labels WHERE tenant IN"
                 " (SELECT jsonb_object_keys(CAST($1 AS jsonb)))"
               : "DELETE FROM tenant_labels WHERE tenant IN (SELECT key FROM json_each($1))",
            db_text(text));
    return e ? e
             : DB_QUERY(c, a, NULL,
                        pg ? "INSERT INTO tenant_labels (tenant, key, value) SELECT t.key, l.key,"
                             " l.value FROM jsonb_each(CAST($1 AS jsonb)) t,"
                             " jsonb_each_text(t.value) l"
                           : "INSERT INTO tenant_labels (tenant, key, value) SELECT t.key, l.key,"
                             " l.value FROM json_each($1) t, json_each(t.value) l",
                        db_text(text));
}

static enum err write_tenant(struct documents *d, struct document *doc) {
    const struct json *template = json_get_c(doc->spec, "template"),
                      *labels = json_get_c(doc->spec, "labels");
    struct str status = spec_text(doc->spec, "status"), text, before;
    int64_t version = 0;
    if (json_get_c(template, "version"))
        (void)!json_int64(json_get_c(template, "version"), &version);
    enum err e = print(d, labels, &text);
    if (!e) e = print(d, doc->was_labels, &before);
    if (e) return e;
    e = DB_QUERY(
        db_of_call(d), d->call->arena, NULL,
        "INSERT INTO tenants (id, status, template, template_version, rev, sha256, spec, labels, "
        "deleted, wanted,"
        " built, build_state, numbered, serial, version, pointed, created_ms, updated_ms, "
        "updated_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, 'none', 0, 0, '', 0, $9, $9, $10)"
        " ON CONFLICT (id) DO UPDATE SET status = excluded.status, template = excluded.template,"
        " template_version = excluded.template_version, rev = excluded.rev, sha256 = "
        "excluded.sha256,"
        " spec = excluded.spec, labels = excluded.labels, deleted = 0,"
        " created_ms = CASE WHEN tenants.deleted = 1 THEN excluded.created_ms ELSE "
        "tenants.created_ms END,"
        " updated_ms = excluded.updated_ms, updated_by = excluded.updated_by",
        db_text(doc->id), db_text(status.len ? status : STR("active")),
        db_text(spec_text(template, "id")), db_int(version), db_int(++doc->rev),
        db_cstr(doc->sha256), db_text(doc->text), db_text(text), db_int(d->now_ms),
        db_text(d->call->who.name));
    doc->relabels = !str_eq(text, before);
    return e;
}

/* Its row stays, so that edges and the blob store's pointer hear of it, and what its newest version
 * imports: the tenant may come back to it. Nothing of its document does. */
static enum err delete_tenant(struct documents *d, struct document *doc) {
    enum err e = DB_QUERY(db_of_call(d), d->call->arena, NULL,
                          "UPDATE tenants SET deleted = 1, rev = $2, sha256 = '', spec = '{}', "
                          "labels = '{}', template = '',"
                          " template_version = 0, build_state = 'none', updated_ms = $3, "
                          "updated_by = $4 WHERE id = $1",
                          db_text(doc->id), db_int(++doc->rev), db_int(d->now_ms),
                          db_text(d->call->who.name));
    doc->relabels = doc->was_labels && doc->was_labels->n;
    return e;
}

/* ---- what follows from it ---- */

static enum err write_row(struct documents *d, struct document *doc) {
    bool tenant = doc->kind == SPEC_TENANT;
    switch (doc->action) {
    case DOCUMENT_UNCHANGED: return OK;
    case DOCUMENT_CREATE:
    case DOCUMENT_UPDATE: return tenant ? write_tenant(d, doc) : write_source(d, doc);
    case DOCUMENT_DELETE: return tenant ? delete_tenant(d, doc) : delete_source(d, doc);
    }
    return OK;
}

/* All tenants at once: one statement for hundreds. */
static enum err ask_for_tenants(struct documents *d, const struct build_ask *ask,
                                struct document **sorted, int64_t *jobs) {
    struct arena *a = d->call->arena;
    struct json *tenants = json_array(a);
    struct db_value params[3];
    struct str list;
    for (uint32_t i = 0; i < d->n; i++)
        if (sorted[i]->builds && sorted[i]->kind == SPEC_TENANT)
            json_push(a, tenants, json_string(a, sorted[i]->id));
    enum err e = tenants ? spec_print(a, tenants, &list) : ERR_MEMORY;
    if (e) return e;
    params[2] = db_text(list);
    return queue_add_where(
        db_of_call(d), a, ask, d->change,
        db_is_postgres(db_of(db_of_call(d)))
            ? " AND t.id IN (SELECT jsonb_array_elements_text(CAST($3 AS jsonb)))"
            : " AND t.id IN (SELECT value FROM json_each($3))",
        params, 3, jobs);
}

/* Tenants, then those of templates and libraries that are not among them yet. */
static enum err add_jobs(struct documents *d, struct document **sorted) {
    struct build_ask ask = {.cause = d->cause,
                            .object = d->object,
                            .who = d->call->who.name,
                            .release = d->release,
                            .build = d->build};
    int64_t jobs = 0;
    if (!d->build.len) return OK;
    enum err e = ask_for_tenants(d, &ask, sorted, &d->jobs);
    for (uint32_t i = 0; !e && i < d->n; i++) {
        if (!sorted[i]->builds || sorted[i]->kind == SPEC_TENANT) continue;
        ask.scope = sorted[i]->kind == SPEC_TEMPLATE ? BUILD_TEMPLATE : BUILD_LIBRARY;
        ask.object = sorted[i]->id;
        e = queue_add(db_of_call(d), d->call->arena, &ask, d->change, &jobs);
        d->jobs += jobs;
    }
    return e;
}

static bool moved(const struct document *doc) {
    const struct json *labels = json_get_c(doc->spec, "labels"), *was = doc->was_labels;
    bool none = !labels || !labels->n, was_none = !was || !was->n;
    return none || was_none ? none != was_none : !json_equal(labels, was);
}

/* A tenant that is suspended or deleted has no version any more; one with other labels may be for
 * other edges. */
static enum err take_back(struct documents *d, const struct document *doc) {
    bool gone = doc->action == DOCUMENT_DELETE;
    bool suspended = doc->spec && str_is(spec_text(doc->spec, "status"), "suspended");
    struct release_ask ask = {.tenant = doc->id,
                              .version = STR(""),
                              .cause = gone ? "delete" : "suspend",
                              .rollout = STR(""),
                              .who = d->call->who.name};
    int64_t serial;
    if (doc->kind != SPEC_TENANT || doc->action == DOCUMENT_UNCHANGED) return OK;
    if (!gone && !suspended)
        return doc->exists && moved(doc) ? feed_touch(db_of_call(d), d->call->arena, doc->id) : OK;
    return release_set(db_of_call(d), d->call->arena, &ask, 0, &serial);
}

static bool note(struct documents *d, const struct document *doc, struct audit_note *out) {
    struct arena *a = d->call->arena;
    struct json *detail = json_object(a);
    char *action =
        arena_printf(a, NULL, "%s.%s", spec_word(doc->kind), document_action_word(doc->action));
    if (!action || !detail) return false;
    json_set(a, detail, STR("rev"), json_int(a, doc->rev));
    if (doc->kind != SPEC_TENANT) json_set(a, detail, STR("version"), json_int(a, doc->version));
    if (doc->action != DOCUMENT_DELETE)
        json_set(a, detail, STR("sha256"), json_string(a, str_of(doc->sha256)));
    if (doc->builds) json_set(a, detail, STR("build"), json_string(a, d->build));
    *out = (struct audit_note){action, doc->id, detail};
    return true;
}

static enum err note_all(struct documents *d, struct document **sorted) {
    struct audit_note *notes = ARENA_ARRAY(d->call->arena, struct audit_note, d->n + 1);
    uint32_t n = 0;
    if (!notes) return ERR_MEMORY;
    for (uint32_t i = 0; i < d->n; i++)
        if (sorted[i]->action != DOCUMENT_UNCHANGED && !note(d, sorted[i], &notes[n++]))
            return ERR_MEMORY;
    return audit_add_all(db_of_call(d), d->call->arena, d->call->who.name, notes, n);
}

/* Rows of many tenants are locked by ascending ids, as everybody does; templates and libraries come
 * before. */
static int by_kind_and_id(const void *x, const void *y) {
    const struct document *const *a = x, *const *b = y;
    if ((*a)->kind != (*b)->kind) return (*a)->kind < (*b)->kind ? -1 : 1;
    return str_cmp((*a)->id, (*b)->id);
}

static enum err draw_build(struct documents *d) {
    char id[32];
    bool any = false;
    for (uint32_t i = 0; i < d->n; i++) any = any || d->items[i].builds;
    if (!any || d->build.len) return OK;
    control_new_id(id);
    char *copy = arena_strndup(d->call->arena, id, strlen(id));
    if (!copy) return ERR_MEMORY;
    d->build = str_of(copy);
    return OK;
}

enum err documents_write(struct documents *d) {
    struct document **sorted = ARENA_ARRAY(d->call->arena, struct document *, d->n + 1);
    if (!sorted) return ERR_MEMORY;
    for (uint32_t i = 0; i < d->n; i++) sorted[i] = &d->items[i];
    if (d->n) qsort(sorted, d->n, sizeof *sorted, by_kind_and_id);
    d->now_ms = control_now_ms();
    d->jobs = 0;
    enum err e = draw_build(d);
    for (uint32_t i = 0; !e && i < d->n; i++) e = write_row(d, sorted[i]);
    if (!e) e = write_labels(d);
    if (!e) e = add_jobs(d, sorted);
    for (uint32_t i = 0; !e && i < d->n; i++) e = take_back(d, sorted[i]);
    return e ? e : note_all(d, sorted);
}
