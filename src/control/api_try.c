/* Tries a template before anybody has it: with a tenant's values and files it is compiled as far as
 * its errors show, and nothing is kept. in: a proposed or stored template, values, a tenant's id.
 * out: what is wrong. owns: a compile during a call. */
#include "compiler/compile.h"
#include "control/documents.h"

enum { COMPILE_BYTES = 256 << 20 };

struct trial {
    struct documents d;
    const struct json *template, *tenant; /* documents */
    struct {
        struct compile_source *items;
        uint32_t n, cap;
    } sources;
};

static bool no_memory(struct api_call *c) { return api_store_error(c, ERR_MEMORY), false; }

/* ---- what is tried ---- */

/* The caller's template, or the stored one. false: answered. */
static bool choose_template(struct api_call *c, struct trial *t, const struct json *body) {
    const struct json *given = json_get_c(body, "template");
    struct document *doc = documents_find(&t->d, SPEC_TEMPLATE, c->args[0]);
    struct json *was = NULL;
    if (!given && !doc->exists)
        return api_error(c, 404, "not_found", "there is no template %.*s, and the body has none",
                         STR_FMT(c->args[0])),
               false;
    enum err e = given ? documents_want(&t->d, doc, given) : documents_was(&t->d, doc, &was);
    if (e && e != ERR_DIAG) return api_store_error(c, e), false;
    t->template = given ? doc->spec : was;
    return true;
}

/* The tenant's document with the values that are tried instead of its own. false: answered. */
static bool choose_tenant(struct api_call *c, struct trial *t, struct str id,
                          const struct json *body) {
    struct arena *a = c->arena;
    struct document *doc = documents_find(&t->d, SPEC_TENANT, id);
    const struct json *values = json_get_c(body, "parameters");
    struct json *was, *mixed = json_object(a);
    if (json_get_c(body, "tenant") && (!doc->exists || !documents_visible(&t->d, doc)))
        return api_error(c, 404, "not_found", "there is no tenant %.*s", STR_FMT(id)), false;
    enum err e = documents_was(&t->d, doc, &was);
    if (e || !mixed) return api_store_error(c, e ? e : ERR_MEMORY), false;
    const struct json *own = json_get_c(was, "parameters");
    for (uint32_t i = 0; own && i < own->n; i++) json_append(a, mixed, own->keys[i], own->items[i]);
    for (uint32_t i = 0; values && i < values->n; i++)
        json_set(a, mixed, values->keys[i], values->items[i]);
    json_set(a, was, STR("parameters"), mixed);
    e = documents_want(&t->d, doc, was);
    if (e && e != ERR_DIAG) return api_store_error(c, e), false;
    t->tenant = doc->spec;
    return true;
}

/* ---- compiling it ---- */

static bool add_files(struct api_call *c, struct trial *t, enum spec_kind kind, struct str id,
                      const struct json *spec) {
    const struct json *files = json_get_c(spec, "files");
    for (uint32_t i = 0; files && i < files->n; i++) {
        struct compile_source s = {.text = files->items[i]->text};
        uint32_t n = t->sources.n;
        s.file.ptr = arena_printf(c->arena, &s.file.len, "%s/%.*s/%.*s", spec_words(kind),
                                  STR_FMT(id), STR_FMT(files->keys[i]));
        if (!s.file.ptr) return no_memory(c);
        ARENA_PUSH(c->arena, &t->sources, s);
        if (t->sources.n == n) return no_memory(c);
    }
    return true;
}

static bool add_libraries(struct api_call *c, struct trial *t) {
    struct db_rows rows;
    enum err e = DB_QUERY0(
        c->db, c->arena, &rows,
        "SELECT id, spec FROM sources WHERE kind = 'library' AND deleted = 0 ORDER BY id");
    if (e) return api_store_error(c, e), false;
    for (uint32_t i = 0; i < rows.n; i++) {
        struct json *spec;
        if (json_parse(c->arena, db_row(&rows, i)[1].s, &spec, NULL)) return no_memory(c);
        if (!add_files(c, t, SPEC_LIBRARY, db_row(&rows, i)[0].s, spec)) return false;
    }
    return true;
}

static void answer(struct api_call *c, const struct diag_list *diags) {
    struct json *o = json_object(c->arena);
    json_set(c->arena, o, STR("ok"), json_bool(c->arena, !diags->n));
    json_set(c->arena, o, STR("errors"), api_diags(c->arena, diags));
    api_json(c, 200, o);
}

static void compile(struct api_call *c, const struct trial *t, const struct json *values) {
    struct compile compile;
    const struct compile_request request = {
        .sources = t->sources.items,
        .n_sources = t->sources.n,
        .parse = {.version = REGO_V1, .template_values = values},
        .data = json_get_c(t->tenant, "data"),
        .max_arena_bytes = COMPILE_BYTES};
    enum err e = compile_run(&compile, &request, "check");
    if (e == OK || e == ERR_DIAG)
        answer(c, &compile.diags);
    else
        api_store_error(c, e);
    compile_end(&compile);
}

static void try_it(struct api_call *c, struct trial *t, struct str tenant) {
    struct json *values;
    if (t->d.diags.n) return answer(c, &t->d.diags);
    enum err e = spec_parameters(c->arena, t->template, t->tenant, &values, &t->d.diags);
    documents_name(&t->d, documents_find(&t->d, SPEC_TENANT, tenant), 0);
    if (e == ERR_DIAG) return answer(c, &t->d.diags);
    if (e) return api_store_error(c, e);
    if (add_files(c, t, SPEC_TEMPLATE, c->args[0], t->template) &&
        add_files(c, t, SPEC_TENANT, tenant, t->tenant) && add_libraries(c, t))
        compile(c, t, values);
}

static void try_template(struct api_call *c) {
    static const char *const members[] = {"template", "tenant", "parameters", NULL};
    struct trial t = {.template = NULL};
    struct json *body;
    if (!api_body(c, members, &body) || !documents_init(c, "try", &t.d)) return;
    const struct json *tenant = json_get_c(body, "tenant"),
                      *values = json_get_c(body, "parameters");
    struct str id = tenant && tenant->kind == JSON_STRING ? tenant->text : STR("-");
    if ((tenant && (tenant->kind != JSON_STRING || control_id_wrong(id))) ||
        (values && values->kind != JSON_OBJECT))
        return api_error(c, 400, "invalid_body", "tenant is an id, parameters an object of values");
    if (!documents_add(&t.d, SPEC_TEMPLATE, c->args[0]) || !documents_add(&t.d, SPEC_TENANT, id))
        return (void)no_memory(c);
    enum err e = documents_load(&t.d);
    if (e) return api_store_error(c, e);
    if (choose_template(c, &t, body) && choose_tenant(c, &t, id, body)) try_it(c, &t, id);
}

const struct api_route api_try_routes[] = {
    {"POST", "/v1/templates/{id}/try", RIGHT_AUTHOR, try_template},
    {NULL, NULL, RIGHT_NONE, NULL},
};
