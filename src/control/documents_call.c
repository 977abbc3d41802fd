/* Requests that change one document: conditions, the change, the answer.
 * in: PUT, PATCH and DELETE of a document. out: a changed store and an answer, or a refusal. owns:
 * nothing. */
#include "control/documents.h"

/* What the transaction needs; it may run several times. */
struct request {
    struct documents d;
    struct document *doc;
    document_edit *edit;
    void *ctx;
};

static enum err not_there(struct api_call *c, const struct document *doc) {
    api_error(c, 404, "not_found", "there is no %s %.*s", spec_word(doc->kind), STR_FMT(doc->id));
    return ERR_DIAG;
}

/* If-None-Match: * makes only, If-Match changes only what was read. false: answered. */
static bool conditions(struct api_call *c, const struct document *doc) {
    struct str none = http_header_get(c->q, STR("if-none-match")),
               match = http_header_get(c->q, STR("if-match"));
    if (none.ptr && !str_is(none, "*")) {
        api_error(c, 400, "invalid_parameter",
                  "If-None-Match is * here: only if it is not there yet");
        return false;
    }
    if (none.ptr && doc->exists) {
        api_error(c, 412, "exists", "the %s %.*s is there already", spec_word(doc->kind),
                  STR_FMT(doc->id));
        return false;
    }
    if (match.ptr && !doc->exists) {
        api_error(c, 412, "changed_meanwhile", "there is no %s %.*s any more", spec_word(doc->kind),
                  STR_FMT(doc->id));
        return false;
    }
    return !doc->exists || api_if_match(c, doc->rev, false);
}

static void answer(struct api_call *c, const struct request *r) {
    struct json *row = documents_row(&r->d, r->doc);
    json_set(c->arena, row, STR("build"), documents_build(&r->d));
    json_set(c->arena, row, STR("jobs"), json_int(c->arena, r->d.jobs));
    api_json(c, r->doc->action == DOCUMENT_CREATE ? 201 : 200, row);
    if (r->doc->spec) api_etag(c, r->doc->rev);
}

static enum err edit(struct api_call *c, struct request *r) {
    struct json *was, *value;
    enum err e = documents_was(&r->d, r->doc, &was);
    if (!e) e = r->edit(c, was, r->ctx, &value);
    if (e) return e;
    e = documents_want(&r->d, r->doc, value);
    if (e == ERR_DIAG) (void)documents_refused(&r->d);
    return e;
}

static enum err run(struct api_call *c) {
    struct request *r = c->ctx;
    struct documents *d = &r->d;
    bool replaces = r->doc->spec && !r->edit;
    enum err e = control_count(c->db, c->arena, "change", 1, &d->change);
    if (!e) e = documents_load(d);
    if (e) return e;
    /* a PUT of what the caller does not see is refused by the plan, for what it is */
    bool hidden = r->doc->exists && !documents_visible(d, r->doc);
    if (!replaces && (!r->doc->exists || hidden)) return not_there(c, r->doc);
    if (!hidden && !conditions(c, r->doc)) return ERR_DIAG;
    if (r->edit) e = edit(c, r);
    if (!e) e = documents_plan(d);
    if (e) return e;
    if (documents_refused(d)) return ERR_DIAG;
    e = documents_write(d);
    if (!e) answer(c, r);
    return e;
}

/* false: answered. */
static bool begin(struct api_call *c, enum spec_kind kind, struct request *r) {
    if (kind != SPEC_TENANT && !api_need_unscoped(c)) return false;
    if (!documents_init(c, spec_word(kind), &r->d)) return false;
    r->d.object = c->args[0];
    r->doc = documents_add(&r->d, kind, c->args[0]);
    c->ctx = r;
    if (!r->doc) api_store_error(c, ERR_MEMORY);
    return r->doc != NULL;
}

void document_put(struct api_call *c, enum spec_kind kind) {
    struct request r = {.doc = NULL};
    struct json *body;
    if (!begin(c, kind, &r) || !api_body(c, NULL, &body)) return;
    enum err e = documents_want(&r.d, r.doc, body);
    if (e == ERR_DIAG)
        (void)documents_refused(&r.d);
    else if (e)
        api_store_error(c, e);
    else
        api_change(c, run);
    c->ctx = NULL;
}

void document_change(struct api_call *c, enum spec_kind kind, document_edit *edit_with, void *ctx) {
    struct request r = {.edit = edit_with, .ctx = ctx};
    if (begin(c, kind, &r)) api_change(c, run);
    c->ctx = NULL;
}

void document_delete(struct api_call *c, enum spec_kind kind) {
    struct request r = {.doc = NULL};
    if (begin(c, kind, &r)) api_change(c, run);
    c->ctx = NULL;
}
