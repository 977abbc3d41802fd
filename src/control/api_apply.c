/* Many documents at once: what is there, and a call that makes it what somebody wants, all or
 * nothing. in: digests that were read, documents, names of what is to go. out: a plan; changes
 * under one build. owns: nothing. */
#include "control/api_filter.h"
#include "control/documents.h"
#include "control/queue.h"

enum { MOST = 500, BUILD_ID_BYTES = 26 };

/* ---- digests ---- */

static int kind_of(struct str word) {
    for (int kind = SPEC_TEMPLATE; kind <= SPEC_TENANT; kind++)
        if (str_is(word, spec_word((enum spec_kind)kind))) return kind;
    return -1;
}

/* Up to `limit` of one kind, after `after`. false: answered. */
static bool digests_of(struct api_call *c, enum spec_kind kind, struct str after, int64_t limit,
                       struct db_rows *rows) {
    struct filter x = {0};
    bool tenants = kind == SPEC_TENANT;
    filter_text(&x, "SELECT t.id, t.sha256 FROM ");
    filter_text(&x, tenants ? "tenants" : "sources");
    filter_value(&x, " t WHERE t.deleted = 0 AND t.id > ", db_text(after), "");
    if (tenants)
        filter_scope(&x, c);
    else
        filter_value(&x, " AND t.kind = ", db_cstr(spec_word(kind)), "");
    filter_value(&x, " ORDER BY t.id LIMIT ", db_int(limit), "");
    return filter_run(&x, c, rows);
}

static struct json *digest_json(struct arena *a, enum spec_kind kind, const struct db_value *row) {
    struct json *o = json_object(a);
    json_set(a, o, STR("kind"), json_string(a, str_of(spec_word(kind))));
    json_set(a, o, STR("id"), json_string(a, row[0].s));
    json_set(a, o, STR("sha256"), json_string(a, row[1].s));
    return o;
}

/* A cursor is "KIND/ID". false: answered. */
static bool digests_from(struct api_call *c, struct str cursor, int *kind, struct str *after) {
    const char *slash = cursor.len ? memchr(cursor.ptr, '/', cursor.len) : NULL;
    if (!cursor.len) return true;
    int k = kind_of(str_head(cursor, slash ? (size_t)(slash - cursor.ptr) : cursor.len));
    if (!slash || k < *kind)
        return api_error(c, 400, "invalid_parameter", "after is `next` of the page before"), false;
    *after = str_from(cursor, (size_t)(slash - cursor.ptr) + 1);
    *kind = k;
    return true;
}

/* Templates, libraries, tenants, in this order. */
static void get_digests(struct api_call *c) {
    struct api_page_request page;
    struct str word = api_param(c, "kind"), after = STR(""), next = {NULL, 0};
    int kind = word.ptr ? kind_of(word) : SPEC_TEMPLATE, last = word.ptr ? kind : SPEC_TENANT;
    if (kind < 0)
        return api_error(c, 400, "invalid_parameter", "kind is template, library or tenant");
    if (!api_page_read(c, &page) || !digests_from(c, page.after, &kind, &after)) return;
    struct json *items = json_array(c->arena);
    for (; kind <= last && !next.ptr; kind++, after = STR("")) {
        struct db_rows rows;
        int64_t room = page.limit - (items ? items->n : 0);
        if (!digests_of(c, (enum spec_kind)kind, after, room + 1, &rows)) return;
        for (uint32_t i = 0; i < rows.n && i < room; i++)
            json_push(c->arena, items,
                      digest_json(c->arena, (enum spec_kind)kind, db_row(&rows, i)));
        struct str seen = room && rows.n
                              ? db_row(&rows, rows.n < room ? rows.n - 1 : (uint32_t)room - 1)[0].s
                              : after;
        if (rows.n > room)
            next.ptr = arena_printf(c->arena, &next.len, "%s/%.*s", spec_word((enum spec_kind)kind),
                                    STR_FMT(seen));
    }
    api_page(c, items, next);
}

/* ---- what is wanted ---- */

struct wish {
    struct documents d;
    struct str build; /* named by the caller: "" */
    bool dry;
};

static enum err add_document(struct documents *d, enum spec_kind kind, struct str id,
                             struct document **out) {
    const char *wrong = control_id_wrong(id);
    struct document shown = {.kind = kind, .id = str_head(id, 64)};
    *out = NULL;
    if (wrong) return documents_problem(d, &shown, "", "this is no id: %s", wrong), OK;
    if (documents_find(d, kind, id))
        return documents_problem(d, &shown, "", "it is to be changed and to be deleted"), OK;
    *out = documents_add(d, kind, id);
    return *out ? OK : ERR_MEMORY;
}

static enum err read_documents(struct documents *d, enum spec_kind kind, const struct json *map) {
    enum err e = OK;
    for (uint32_t i = 0; !e && map && i < map->n; i++) {
        struct document *doc;
        e = add_document(d, kind, map->keys[i], &doc);
        if (!e && doc) e = documents_want(d, doc, map->items[i]);
        if (e == ERR_DIAG) e = OK; /* further documents may be wrong too */
    }
    return e;
}

static enum err read_deletions(struct documents *d, enum spec_kind kind, const struct json *list) {
    enum err e = OK;
    for (uint32_t i = 0; !e && list && i < list->n; i++) {
        struct document *doc;
        const struct json *id = list->items[i];
        e = add_document(d, kind, id->kind == JSON_STRING ? id->text : STR(""), &doc);
    }
    return e;
}

/* What was read of a document that is not to be changed counts too: a template that tenants were
 * planned against. */
static enum err read_expected(struct documents *d, enum spec_kind kind, const struct json *map) {
    for (uint32_t i = 0; map && i < map->n; i++) {
        struct document *doc = documents_find(d, kind, map->keys[i]);
        bool text = map->items[i]->kind == JSON_STRING;
        if (!doc && !control_id_wrong(map->keys[i])) {
            if (!(doc = documents_add(d, kind, map->keys[i]))) return ERR_MEMORY;
            doc->read_only = true;
        }
        if (doc && text) doc->expected = map->items[i]->text;
        if (doc && !text)
            documents_problem(d, doc, "",
                              "`expect` wants the sha256 that was read, or \"\" for none");
    }
    return OK;
}

/* ---- the body's form ---- */

static bool wrong_form(struct api_call *c, const char *what) {
    api_error(c, 400, "invalid_body", "%s", what);
    return false;
}

/* A member that is an object with the members templates, libraries and tenants, each of kind `of`.
 */
static bool by_kinds(struct api_call *c, const struct json *v, const char *name,
                     enum json_kind of) {
    if (!v) return true;
    bool fine = v->kind == JSON_OBJECT;
    for (uint32_t i = 0; fine && i < v->n; i++) {
        bool known = false;
        for (int kind = SPEC_TEMPLATE; kind <= SPEC_TENANT; kind++)
            known = known || str_is(v->keys[i], spec_words((enum spec_kind)kind));
        fine = known && v->items[i]->kind == of;
    }
    if (fine) return true;
    return wrong_form(c,
                      arena_printf(c->arena, NULL,
                                   "%s is an object with templates, libraries and tenants, each %s",
                                   name, of == JSON_ARRAY ? "a list of ids" : "an object by ids"));
}

static uint32_t count_of(const struct json *v) { return v ? v->n : 0; }

static bool check_form(struct api_call *c, const struct json *body) {
    const struct json *gone = json_get_c(body, "delete"), *expect = json_get_c(body, "expect");
    const struct json *dry = json_get_c(body, "dry_run"), *build = json_get_c(body, "build");
    if (!by_kinds(c, gone, "delete", JSON_ARRAY) || !by_kinds(c, expect, "expect", JSON_OBJECT))
        return false;
    for (int kind = SPEC_TEMPLATE; kind <= SPEC_TENANT; kind++) {
        const char *words = spec_words((enum spec_kind)kind);
        const struct json *map = json_get_c(body, words);
        bool shared = kind != SPEC_TENANT && (map || json_get_c(gone, words));
        if (map && map->kind != JSON_OBJECT)
            return wrong_form(c, "templates, libraries and tenants are objects by ids");
        if (count_of(map) + count_of(json_get_c(gone, words)) > MOST ||
            count_of(json_get_c(expect, words)) > 2 * MOST) {
            api_error(c, 413, "too_large", "a call changes at most %d %s: send several", MOST,
                      words);
            return false;
        }
        if (shared && !api_need_unscoped(c)) return false;
    }
    if (dry && dry->kind != JSON_BOOL) return wrong_form(c, "dry_run is true or false");
    bool fine = !build || build->kind == JSON_STRING;
    for (size_t i = 0; fine && build && i < build->text.len; i++)
        fine = strchr("0123456789ABCDEFGHJKMNPQRSTVWXYZ", build->text.ptr[i]) && build->text.ptr[i];
    fine = fine && (!build || build->text.len == BUILD_ID_BYTES);
    return fine || wrong_form(c, "build is the id of a build, which several calls may name");
}

static enum err read_wish(struct wish *w, const struct json *body) {
    const struct json *gone = json_get_c(body, "delete"), *expect = json_get_c(body, "expect");
    const struct json *dry = json_get_c(body, "dry_run");
    struct documents *d = &w->d;
    enum err e = OK;
    w->dry = dry && dry->boolean;
    w->build = spec_text(body, "build");
    for (int k = SPEC_TEMPLATE; !e && k <= SPEC_TENANT; k++) {
        const char *words = spec_words((enum spec_kind)k);
        e = read_documents(d, (enum spec_kind)k, json_get_c(body, words));
        if (!e) e = read_deletions(d, (enum spec_kind)k, json_get_c(gone, words));
        if (!e) e = read_expected(d, (enum spec_kind)k, json_get_c(expect, words));
    }
    return e;
}

/* ---- the change ---- */

static void answer(struct api_call *c, const struct wish *w) {
    struct json *o = json_object(c->arena), *plan = json_array(c->arena),
                *counts = json_object(c->arena);
    int64_t n[DOCUMENT_DELETE + 1] = {0};
    for (uint32_t i = 0; i < w->d.n; i++) {
        const struct document *doc = &w->d.items[i];
        if (doc->read_only) continue;
        struct json *row = documents_row(&w->d, doc);
        json_set(c->arena, row, STR("kind"), json_string(c->arena, str_of(spec_word(doc->kind))));
        json_push(c->arena, plan, row);
        n[doc->action]++;
    }
    for (int a = DOCUMENT_UNCHANGED; a <= DOCUMENT_DELETE; a++)
        json_set(c->arena, counts, str_of(document_action_word((enum document_action)a)),
                 json_int(c->arena, n[a]));
    json_set(c->arena, o, STR("dry_run"), json_bool(c->arena, w->dry));
    json_set(c->arena, o, STR("plan"), plan);
    json_set(c->arena, o, STR("counts"), counts);
    json_set(c->arena, o, STR("build"), documents_build(&w->d));
    json_set(c->arena, o, STR("jobs"), json_int(c->arena, w->d.jobs));
    api_json(c, 200, o);
}

/* A build that is named is there afterwards, even without jobs, so that whoever named it can ask
 * for it; it may only be one that the caller began in the same way. */
static enum err use_build(struct api_call *c, struct wish *w) {
    struct db_rows rows;
    w->d.build = w->build;
    if (!w->build.len) return OK;
    enum err e = DB_QUERY(c->db, c->arena, &rows,
                          "SELECT cause, created_by FROM builds WHERE id = $1", db_text(w->build));
    if (e || !rows.n) return e;
    if (str_is(db_row(&rows, 0)[0].s, "apply") && str_eq(db_row(&rows, 0)[1].s, c->who.name))
        return OK;
    api_error(c, 409, "conflict", "the build %.*s is another change's", STR_FMT(w->build));
    return ERR_DIAG;
}

static enum err run(struct api_call *c) {
    struct wish *w = c->ctx;
    struct documents *d = &w->d;
    enum err e = w->dry ? OK : control_count(c->db, c->arena, "change", 1, &d->change);
    if (!e) e = documents_load(d);
    if (!e) e = documents_plan(d);
    if (e) return e;
    if (documents_refused(d)) return ERR_DIAG;
    if (!w->dry) e = use_build(c, w);
    if (!e && !w->dry) e = documents_write(d);
    if (!e) answer(c, w);
    return e;
}

static void apply(struct api_call *c) {
    static const char *const members[] = {"templates", "libraries", "tenants", "delete",
                                          "dry_run",   "expect",    "build",   NULL};
    struct wish w = {.build = STR("")};
    struct json *body;
    if (!api_body(c, members, &body) || !check_form(c, body) || !documents_init(c, "apply", &w.d))
        return;
    enum err e = read_wish(&w, body);
    if (e) return api_store_error(c, e);
    if (documents_refused(&w.d)) return;
    c->ctx = &w;
    if (!w.dry)
        api_change(c, run);
    else if ((e = run(c)) && e != ERR_DIAG)
        api_store_error(c, e);
    c->ctx = NULL;
}

const struct api_route api_apply_routes[] = {
    {"GET", "/v1/digests", RIGHT_READ, get_digests},
    {"POST", "/v1/apply", RIGHT_AUTHOR, apply},
    {NULL, NULL, RIGHT_NONE, NULL},
};
