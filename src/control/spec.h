/* The documents that people write: templates, libraries, tenants. Read, checked, and put into
 * canonical form; knows no store, so that the client uses it too. */
#ifndef REGENT_CONTROL_SPEC_H
#define REGENT_CONTROL_SPEC_H
#include "base/arena.h"
#include "base/diag.h"
#include "base/json.h"

enum spec_kind { SPEC_TEMPLATE, SPEC_LIBRARY, SPEC_TENANT };
enum {
    SPEC_FILES = 1000,
    SPEC_FILE_BYTES = 4 << 20,
    SPEC_FILE_NAME_BYTES = 200,
    SPEC_BYTES = 48 << 20, /* of the canonical document */
    SPEC_DEPTH = JSON_STRICT_DEPTH,
    SPEC_LABELS = 64,
    SPEC_LABEL_KEY_BYTES = 63,
    SPEC_LABEL_BYTES = 255,
    SPEC_DESCRIPTION_BYTES = 4096,
    SPEC_PARAMETERS = 200,
    SPEC_VALUE_BYTES = 64 << 10, /* of a parameter's value */
    SPEC_ENUM = 1000,
    SPEC_PATTERN_BYTES = 1000,
    SPEC_ENTRYPOINTS = 200,
    SPEC_ENTRYPOINT_BYTES = 512
};

/* template: {"description", "files": {"policy.rego": "…", "policy_test.rego": "…"}, "entrypoints":
 * ["shop/allow"], "parameters": {"REGION": {"type": "string|number|integer|boolean", "default": …,
 * "description": "…", "enum": […], "pattern": "…", "required": true}}, "data": {…}, "checks": […]}
 * library:  {"description", "files"}
 * tenant:   {"status": "active|suspended", "template": {"id", "version": 0}, "parameters":
 * {"REGION": "eu"}, "files", "data", "checks", "limits", "labels": {"plan": "gold"}, "entrypoints"}
 * Every member is optional. File names are relative paths of up to 200 bytes from [A-Za-z0-9._-]
 * and /, no part begins with a dot, ending in .rego; texts must be UTF-8. Rego is parsed (code
 * rego_parse_error with its place); {{NAME}} stays as it is. Checks and limits as
 * docs/activation.md and docs/configuration.md have them. A parameter without a default has to be
 * given, one with `required: true` too; a pattern is RE2's and must match the whole value. OK: *out
 * is the canonical document (known members only, defaults and nulls left out), which shares texts
 * with `document`. ERR_DIAG: what is wrong, each with file (or the member's path,
 * "parameters.REGION") and place. ERR_MEMORY. */
MUST_USE enum err spec_read(struct arena *a, enum spec_kind kind, const struct json *document,
                            struct json **out, struct diag_list *diags);
/* The text that is stored: keys sorted, no white space. In the arena; ERR_MEMORY, ERR_LIMIT. */
MUST_USE enum err spec_print(struct arena *a, const struct json *canonical, struct str *out);
/* SHA-256 of that text, hex. "" when memory ends. */
void spec_sha256(struct arena *a, const struct json *canonical, char out[65]);
/* A tenant's parameters against a template's (NULL: none, any value is taken): types, enum,
 * pattern, required, unknown ones; defaults put in. *values: texts for {{NAME}} (numbers and
 * booleans as JSON writes them). ERR_DIAG, ERR_MEMORY. */
MUST_USE enum err spec_parameters(struct arena *a, const struct json *template_spec,
                                  const struct json *tenant_spec, struct json **values,
                                  struct diag_list *diags);
/* "template", "library", "tenant"; and "templates", "libraries", "tenants". */
const char *spec_word(enum spec_kind kind);
const char *spec_words(enum spec_kind kind);
/* The store's columns of a canonical document: "" and NULL where it has none. */
struct str spec_text(const struct json *canonical, const char *member);

#endif
