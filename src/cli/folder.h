/* A folder of templates, libraries and tenants, as a Git repository holds them (examples/control).
 *
 * DIR/templates/ID/{template.yaml,data.json,checks.json} and .rego files at any depth;
 * DIR/shared/ID.rego, or a folder DIR/shared/ID/ with library.yaml and .rego files;
 * DIR/policies/ID/{tenant.yaml,data.json,checks.json} and .rego files.
 * .yml and .json stand for .yaml, data.yaml for data.json; data and checks may stand in the .yaml
 * as well. Names that begin with a dot, and files of other kinds than .rego, .yaml, .yml and .json,
 * are not looked at; neither is what else lies in DIR. */
#ifndef REGENT_CLI_FOLDER_H
#define REGENT_CLI_FOLDER_H
#include "base/diag.h"
#include "base/hash.h"
#include "base/json.h"
#include "control/spec.h"

enum { FOLDER_PATH_BYTES = 4096 };

/* A document of it. */
struct folder_item {
    enum spec_kind kind;
    struct str id;
    struct json *document; /* canonical */
    char sha256[65];       /* of the canonical document */
    struct str path;       /* below DIR: "policies/acme", "shared/common.rego" */
};
struct folder {
    const char *dir;           /* without a slash at its end */
    struct folder_item *items; /* libraries, templates, tenants; each by id */
    uint32_t n, cap;
    uint32_t parts; /* of templates/, shared/ and policies/ that are there */
};
/* Reads all of it. false: diags say what is wrong, with the files' own paths and places. */
bool folder_read(struct arena *a, const char *dir, struct folder *out, struct diag_list *diags);

/* Writes documents as such a folder. Every name is checked, so that nothing lands outside of dir.
 */
struct folder_writer {
    struct arena *arena;
    const char *dir;
    struct table written; /* paths of files */
};
/* Makes dir, or takes an empty one (but for .git); with `force` one that holds something.
 * false, here and below: said why. */
bool folder_begin(struct arena *a, const char *dir, bool force, struct folder_writer *out);
bool folder_write(struct folder_writer *w, enum spec_kind kind, struct str id,
                  const struct json *document);
/* Takes away files that folder_read would read and that were not written. */
bool folder_end(struct folder_writer *w);

#endif
