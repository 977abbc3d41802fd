/* Reads what tenants are built from: their documents, the template's version, all libraries, in one
 * state of the store. in: a batch of claimed jobs. out: inputs of the builder. owns: parsed
 * templates and libraries, kept by their sums. */
#include "control/api.h"
#include "control/build_private.h"
#include "control/spec.h"
#include <stdio.h>

/* ---- templates and libraries ---- */

static enum err parse_spec(struct arena *a, struct str text, struct json **out) {
    struct json_error where;
    char *copy = arena_strndup(a, text.ptr, text.len);
    if (!copy) return ERR_MEMORY;
    enum err e = json_parse(a, (struct str){copy, text.len}, out, &where);
    return e == ERR_SYNTAX || e == ERR_LIMIT ? ERR_INTERNAL : e;
}

/* The files of a document, named for people: "templates/shop/policy.rego". */
static enum err list_files(struct arena *a, const struct json *spec, const char *folder,
                           struct str id, struct builder_file **out, uint32_t *n) {
    const struct json *files = json_get_c(spec, "files");
    uint32_t count = files && files->kind == JSON_OBJECT ? files->n : 0;
    struct builder_file *list = ARENA_ARRAY(a, struct builder_file, count + 1);
    if (!list) return ERR_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        size_t len;
        char *name =
            arena_printf(a, &len, "%s/%.*s/%.*s", folder, STR_FMT(id), STR_FMT(files->keys[i]));
        if (!name) return ERR_MEMORY;
        list[i] = (struct builder_file){{name, len}, files->items[i]->text};
    }
    *out = list;
    *n = count;
    return OK;
}

static enum err make_source(struct build_worker *w, const char *kind, struct str id,
                            int64_t version, struct str text, struct build_source **out) {
    struct arena *a = &w->kept_arena;
    struct build_source *s = ARENA_NEW(a, struct build_source);
    char *copy = arena_strndup(a, id.ptr, id.len);
    if (!s || !copy) return ERR_MEMORY;
    *s = (struct build_source){.id = {copy, id.len}, .version = version};
    enum err e = parse_spec(a, text, &s->spec);
    if (e == OK)
        e = list_files(a, s->spec, strcmp(kind, "template") == 0 ? "templates" : "libraries", s->id,
                       &s->files, &s->n_files);
    if (e == OK) *out = s;
    return e;
}

/* A version of a template or library: parsed once a thread. */
static enum err find_source(struct build_worker *w, const char *kind, struct str id,
                            int64_t version, struct str sum, struct build_source **out) {
    size_t len;
    char *key = arena_printf(&w->kept_arena, &len, "%s/%.*s/%lld/%.*s", kind, STR_FMT(id),
                             (long long)version, STR_FMT(sum));
    if (!key) return ERR_MEMORY;
    struct build_source *kept = table_get(&w->kept, (struct str){key, len});
    if (kept) return *out = kept, OK;
    struct db_rows rows;
    enum err e =
        DB_QUERY(w->db, w->batch.arena, &rows,
                 "SELECT spec FROM source_versions WHERE kind = $1 AND id = $2 AND version = $3",
                 db_cstr(kind), db_text(id), db_int(version));
    if (e) return e;
    if (!rows.n) return ERR_INTERNAL;
    e = make_source(w, kind, id, version, db_row(&rows, 0)->s, &kept);
    if (e) return e;
    table_set(&w->kept, (struct str){key, len}, kept);
    *out = kept;
    return OK;
}

/* The template of a tenant; *out stays NULL when it is not there. */
static enum err find_template(struct build_worker *w, struct str id, int64_t version,
                              struct build_source **out) {
    struct db_rows rows;
    enum err e = version ? DB_QUERY(w->db, w->batch.arena, &rows,
                                    "SELECT version, sha256, 0 FROM source_versions WHERE kind = "
                                    "'template' AND id = $1"
                                    " AND version = $2",
                                    db_text(id), db_int(version))
                         : DB_QUERY(w->db, w->batch.arena, &rows,
                                    "SELECT version, sha256, deleted FROM sources WHERE kind = "
                                    "'template' AND id = $1",
                                    db_text(id));
    if (e || !rows.n) return e;
    const struct db_value *v = db_row(&rows, 0);
    return v[2].i ? OK : find_source(w, "template", id, v[0].i, v[1].s, out);
}

static enum err list_libraries(struct build_worker *w, const struct db_rows *rows,
                               struct build_libraries *out) {
    struct arena *a = &w->kept_arena;
    uint32_t n = 0, at = 0;
    out->items = ARENA_ARRAY(a, struct build_source *, rows->n + 1);
    if (!out->items) return ERR_MEMORY;
    out->n = rows->n;
    for (uint32_t i = 0; i < rows->n; i++) {
        const struct db_value *v = db_row(rows, i);
        enum err e = find_source(w, "library", v[0].s, v[1].i, v[2].s, &out->items[i]);
        if (e) return e;
        n += out->items[i]->n_files;
    }
    out->files = ARENA_ARRAY(a, struct builder_file, n + 1);
    out->of = ARENA_ARRAY(a, struct str, n + 1);
    if (!out->files || !out->of) return ERR_MEMORY;
    out->n_files = n;
    for (uint32_t i = 0; i < out->n; i++)
        for (uint32_t k = 0; k < out->items[i]->n_files; k++, at++) {
            out->files[at] = out->items[i]->files[k];
            out->of[at] = out->items[i]->id;
        }
    return OK;
}

/* All libraries as they are now; the same list as long as none has changed. */
static enum err find_libraries(struct build_worker *w) {
    struct db_rows rows;
    struct buf all;
    char key[65];
    enum err e = DB_QUERY0(w->db, w->batch.arena, &rows,
                           "SELECT id, version, sha256 FROM sources WHERE kind = 'library' AND "
                           "deleted = 0 ORDER BY id");
    if (e) return e;
    buf_init(&all, 64 << 20);
    for (uint32_t i = 0; i < rows.n; i++) {
        const struct db_value *v = db_row(&rows, i);
        buf_printf(&all, "%.*s/%lld/%.*s\n", STR_FMT(v[0].s), (long long)v[1].i, STR_FMT(v[2].s));
    }
    e = all.err;
    sha256_hex(all.ptr ? all.ptr : (const uint8_t *)"", all.len, key);
    buf_deinit(&all);
    if (e || strcmp(key, w->libraries.key) == 0) return e;
    struct build_libraries fresh = {0};
    e = list_libraries(w, &rows, &fresh);
    if (e) return e;
    memcpy(fresh.key, key, sizeof key);
    w->libraries = fresh;
    return OK;
}

/* ---- one tenant ---- */

/* What is in `over` stands before what is in `under`; objects are merged member by member. */
static struct json *merged(struct arena *a, const struct json *under, const struct json *over) {
    if (under->kind != JSON_OBJECT || over->kind != JSON_OBJECT) return (struct json *)over;
    struct json *o = json_object(a);
    if (!o) return NULL;
    for (uint32_t i = 0; i < under->n; i++) {
        const struct json *mine = json_get(over, under->keys[i]);
        json_append(a, o, under->keys[i],
                    mine ? merged(a, under->items[i], mine) : under->items[i]);
    }
    for (uint32_t i = 0; i < over->n; i++)
        if (!json_get(under, over->keys[i])) json_append(a, o, over->keys[i], over->items[i]);
    return o;
}

static const struct json *member(const struct json *spec, const char *name, enum json_kind kind) {
    const struct json *v = spec ? json_get_c(spec, name) : NULL;
    return v && v->kind == kind ? v : NULL;
}

static enum err put_data(struct arena *a, const struct json *template, const struct json *tenant,
                         struct job *j) {
    const struct json *under = member(template, "data", JSON_OBJECT),
                      *over = member(tenant, "data", JSON_OBJECT);
    j->input.data = under && over ? merged(a, under, over)
                    : over        ? over
                    : under       ? under
                                  : json_object(a);
    return j->input.data ? OK : ERR_MEMORY;
}

/* The template's checks, then the tenant's. */
static enum err put_checks(struct arena *a, const struct json *template, const struct json *tenant,
                           struct job *j) {
    const struct json *of[] = {member(template, "checks", JSON_ARRAY),
                               member(tenant, "checks", JSON_ARRAY)};
    struct json *all = json_array(a);
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t k = 0; of[i] && k < of[i]->n; k++) json_push(a, all, of[i]->items[k]);
    j->input.checks = all->n ? build_json_text(a, all) : STR("");
    return j->input.checks.ptr ? OK : ERR_MEMORY;
}

/* Template's and tenant's own files, then all of the libraries'. */
static enum err put_files(struct build_worker *w, const struct build_source *template,
                          const struct json *spec, struct job *j) {
    struct arena *a = w->batch.arena;
    const struct build_libraries *l = &w->libraries;
    struct builder_file *own = NULL;
    uint32_t n_own = 0, n_template = template ? template->n_files : 0;
    enum err e = list_files(a, spec, "tenants", j->tenant, &own, &n_own);
    if (e) return e;
    uint32_t before = n_template + n_own, n = before + l->n_files;
    struct builder_file *files = ARENA_ARRAY(a, struct builder_file, n + 1);
    struct str *of = ARENA_ARRAY(a, struct str, n + 1);
    if (!files || !of) return ERR_MEMORY;
    if (n_template) memcpy(files, template->files, n_template * sizeof *files);
    if (n_own) memcpy(files + n_template, own, n_own * sizeof *files);
    if (l->n_files) {
        memcpy(files + before, l->files, l->n_files * sizeof *files);
        memcpy(of + before, l->of, l->n_files * sizeof *of);
    }
    for (uint32_t i = 0; i < before; i++) of[i] = STR("");
    j->input.files = files;
    j->input.library_of = of;
    j->input.n_files = n;
    j->input.n_own = before;
    return OK;
}

static enum err put_parameters(struct arena *a, const struct json *template,
                               const struct json *spec, struct job *j) {
    struct diag_list diags;
    struct json *values = NULL;
    diag_list_init(&diags, a);
    enum err e = spec_parameters(a, template, spec, &values, &diags);
    if (e == ERR_DIAG) {
        for (uint32_t i = 0; i < diags.n; i++) {
            struct str *file = &diags.items[i].loc.file;
            file->ptr = arena_printf(a, &file->len, "tenants/%.*s/%.*s", STR_FMT(j->tenant),
                                     STR_FMT(*file));
            if (!file->ptr) return ERR_MEMORY;
        }
        j->outcome = JOB_FAILED;
        j->errors = build_json_text(a, api_diags(a, &diags));
        return j->errors.ptr ? OK : ERR_MEMORY;
    }
    j->input.parameters = values;
    return e;
}

/* What a version says of its source. */
static enum err put_source(struct arena *a, const struct build_source *template, int64_t rev,
                           struct str sum, struct job *j) {
    struct json *o = json_object(a), *tenant = json_object(a);
    json_set(a, tenant, STR("rev"), json_int(a, rev));
    json_set(a, tenant, STR("sha256"), json_string(a, sum));
    json_set(a, o, STR("tenant"), tenant);
    if (template) {
        struct json *t = json_object(a);
        json_set(a, t, STR("id"), json_string(a, template->id));
        json_set(a, t, STR("version"), json_int(a, template->version));
        json_set(a, o, STR("template"), t);
    }
    j->source = o;
    return o ? OK : ERR_MEMORY;
}

enum tenant_column {
    STATUS,
    DELETED,
    TEMPLATE,
    TEMPLATE_VERSION,
    REV,
    SHA256,
    SPEC,
    WANTED,
    BUILT,
    BUILD_STATE,
    NUMBERED,
    OLD_VERSION,
    OLD_SHA256,
    OLD_CODE,
    OLD_CONTENT
};
static const char read_tenant_sql[] =
    "SELECT t.status, t.deleted, t.template, t.template_version, t.rev, t.sha256, t.spec, "
    "t.wanted, t.built,"
    " t.build_state, t.numbered, v.version, v.sha256, v.code, v.content"
    " FROM tenants t LEFT JOIN versions v ON v.tenant = t.id AND v.number = t.numbered WHERE t.id "
    "= $1";

static enum err put_tenant(struct build_worker *w, const struct db_value *v, struct job *j) {
    struct arena *a = w->batch.arena;
    struct build_source *template = NULL;
    struct json *spec = NULL;
    enum err e = parse_spec(a, v[SPEC].s, &spec);
    if (e == OK && v[TEMPLATE].s.len)
        e = find_template(w, v[TEMPLATE].s, v[TEMPLATE_VERSION].i, &template);
    if (e) return e;
    if (v[TEMPLATE].s.len && !template) {
        j->outcome = JOB_FAILED;
        j->errors =
            build_error(a, "template_missing", "there is no template %.*s%s",
                        STR_FMT(v[TEMPLATE].s), v[TEMPLATE_VERSION].i ? " of that version" : "");
        return OK;
    }
    const struct json *shared = template ? template->spec : NULL;
    j->outcome = JOB_READY;
    j->input.tenant = j->tenant;
    j->input.forced = j->forced;
    j->input.limits = member(spec, "limits", JSON_OBJECT);
    j->input.entrypoints = member(spec, "entrypoints", JSON_ARRAY);
    if (!j->input.entrypoints || !j->input.entrypoints->n)
        j->input.entrypoints = member(shared, "entrypoints", JSON_ARRAY);
    if ((e = put_files(w, template, spec, j)) || (e = put_data(a, shared, spec, j)) ||
        (e = put_checks(a, shared, spec, j)) ||
        (e = put_source(a, template, v[REV].i, v[SHA256].s, j)))
        return e;
    return put_parameters(a, shared, spec, j);
}

static enum err read_tenant(struct build_worker *w, struct job *j) {
    struct db_rows rows;
    enum err e = DB_QUERY(w->db, w->batch.arena, &rows, read_tenant_sql, db_text(j->tenant));
    if (e) return e;
    const struct db_value *v = rows.n ? db_row(&rows, 0) : NULL;
    if (!v || v[DELETED].i || !str_is(v[STATUS].s, "active"))
        return j->outcome = JOB_SUPERSEDED, OK;
    j->numbered = v[NUMBERED].i;
    if (v[BUILT].i >= v[WANTED].i && str_is(v[BUILD_STATE].s, "built") && !j->forced)
        return j->outcome = JOB_DONE, OK;
    if (v[OLD_VERSION].type == DB_TEXT) {
        j->previous_version = v[OLD_VERSION].s;
        j->previous_sha256 = v[OLD_SHA256].s;
        j->input.previous_code = v[OLD_CODE].s;
        j->input.previous_content = v[OLD_CONTENT].s;
    }
    return put_tenant(w, v, j);
}

static enum err read_all(struct build_worker *w) {
    struct db_rows rows;
    struct batch *b = &w->batch;
    enum err e =
        DB_QUERY0(w->db, b->arena, &rows, "SELECT value FROM counters WHERE name = 'change'");
    if (e == OK && !rows.n) e = ERR_INTERNAL;
    if (e == OK) e = find_libraries(w);
    for (uint32_t i = 0; i < b->n && e == OK; i++) {
        struct job *j = &b->jobs[i];
        j->read_at = db_row(&rows, 0)->i;
        if (j->attempts > ATTEMPTS_MOST) {
            j->outcome = JOB_FAILED;
            j->errors = build_error(b->arena, "given_up",
                                    "%d attempts ended without a result: the control plane was"
                                    " stopped, died or lost its store each time",
                                    ATTEMPTS_MOST);
        } else if (!i || b->arena->used_bytes < BATCH_BYTES)
            e = read_tenant(w, j);
    }
    return e;
}

enum err build_read_inputs(struct build_worker *w) {
    if (w->kept_arena.used_bytes > SOURCES_BYTES || !w->kept.arena) {
        arena_reset(&w->kept_arena);
        w->libraries = (struct build_libraries){0};
        table_init(&w->kept, &w->kept_arena);
    }
    enum err e = db_begin(w->db, DB_SNAPSHOT);
    if (e == OK) e = read_all(w);
    if (e == OK) return db_commit(w->db);
    db_rollback(w->db);
    return e;
}
