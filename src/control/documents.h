/* Changes of documents in the store: one or hundreds in one transaction, with one build. */
#ifndef REGENT_CONTROL_DOCUMENTS_H
#define REGENT_CONTROL_DOCUMENTS_H
#include "base/hash.h"
#include "control/api.h"
#include "control/spec.h"

enum document_action { DOCUMENT_UNCHANGED, DOCUMENT_CREATE, DOCUMENT_UPDATE, DOCUMENT_DELETE };

struct document {
    enum spec_kind kind;
    struct str id;
    /* What it is to become; NULL: it is to go, or (read_only) stays. */
    struct json *spec;
    struct str text;
    char sha256[65];
    bool read_only;      /* only looked at */
    struct str expected; /* its sha256 when it was looked at last, "" if it was not there; ptr NULL:
                            whatever */
    /* What the store has; documents_load. */
    bool known, exists;   /* a row; one that is not deleted */
    int64_t rev, version; /* version: of templates and libraries */
    struct str was, was_sha256;
    struct json *was_spec;   /* of `was`, when somebody has asked for it */
    struct json *was_labels; /* of a tenant */
    /* What is done about it; documents_plan. */
    enum document_action action;
    bool relabels; /* documents_write: its rows of tenant_labels are to be others */
    bool builds;   /* what is made of it changes */
};

struct documents {
    struct api_call *call;
    struct document *items;
    uint32_t n, cap;
    struct table index;     /* "template/shop": its place + 1 */
    struct diag_list diags; /* what is wrong, each with file "templates/shop/policy.rego" */
    int refusal; /* status of the answer to what is in diags: 422, or 409 and 403 for what is about
                    the store */
    const char *cause; /* of the build */
    struct str object;
    bool release;     /* what is built becomes current */
    struct str build; /* "": none is needed; else an id */
    int64_t jobs, change, now_ms;
};

/* false, and an answer: no memory, or ?release= is neither true nor false. */
bool documents_init(struct api_call *c, const char *cause, struct documents *d);
/* Adds a document that is to become `value` (checked: problems go to diags), to go (NULL) or to be
 * looked at. NULL: no memory, or it is there already. */
struct document *documents_add(struct documents *d, enum spec_kind kind, struct str id);
MUST_USE enum err documents_want(struct documents *d, struct document *doc,
                                 const struct json *value);
struct document *documents_find(const struct documents *d, enum spec_kind kind, struct str id);
/* Notes a problem of a document: file is its path and the member's. */
void documents_problem(struct documents *d, const struct document *doc, const char *member,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Problems of one document, from diags.items[from], get its path before the member's or file's. */
void documents_name(struct documents *d, const struct document *doc, uint32_t from);
/* Answers for what is in diags: 422 invalid_document, 409 conflict, 403 out_of_scope. false when
 * there is nothing. */
bool documents_refused(struct documents *d);

/* In a transaction that has counted `change`, or outside of one for a plan only: reads what the
 * store has. */
MUST_USE enum err documents_load(struct documents *d);
/* What is to be done with each; problems (references, what is in use, parameters) go to diags.
 * Scopes: a tenant that the caller does not see, or would not see afterwards, is a problem
 * (documents_hidden asks first). */
MUST_USE enum err documents_plan(struct documents *d);
/* Writes it: rows, versions, labels, the build, releases, the audit log. */
MUST_USE enum err documents_write(struct documents *d);
/* The stored document as a tree; {} when it is not there. */
MUST_USE enum err documents_was(struct documents *d, struct document *doc, struct json **out);
/* May the caller see this tenant as the store has it? Templates and libraries: everybody may. */
bool documents_visible(const struct documents *d, const struct document *doc);
/* "create", "update", "delete", "unchanged". */
const char *document_action_word(enum document_action a);
/* A build's id, or null. */
struct json *documents_build(const struct documents *d);

/* {"id","action","rev","version","sha256"}; version: not of tenants; sha256: not of what is
 * deleted. */
struct json *documents_row(const struct documents *d, const struct document *doc);

/* ---- lists ---- */
/* Documents of a list's page: with ?full=true each item has its `spec`, and a page ends after some
 * MiB of them. */
struct documents_page {
    struct api_call *call;
    bool full;
    size_t bytes;
};
/* false: answered. */
bool documents_page_init(struct api_call *c, struct documents_page *p);
bool documents_page_room(const struct documents_page *p);
bool documents_page_add(struct documents_page *p, enum spec_kind kind, struct str id,
                        struct json *item);

/* ---- one document's request: that of the path's {id} ---- */
/* The new document of the old one. Answers itself when it refuses (ERR_DIAG). */
typedef enum err document_edit(struct api_call *c, const struct json *was, void *ctx,
                               struct json **out);
void document_put(struct api_call *c, enum spec_kind kind); /* the body is the document */
void document_change(struct api_call *c, enum spec_kind kind, document_edit *edit, void *ctx);
void document_delete(struct api_call *c, enum spec_kind kind);

#endif
