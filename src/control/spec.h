/* The documents that people write: templates, libraries, tenants. Read, checked, and put into
 * canonical form; knows no store, so that the client uses it too. */
#ifndef REGENT_CONTROL_SPEC_H
#define REGENT_CONTROL_SPEC_H
#include "base/arena.h"
#include "base/diag.h"
#include "base/json.h"

enum spec_kind { SPEC_TEMPLATE, SPEC_LIBRARY, SPEC_TENANT };
enum { SPEC_FILES = 1000, SPEC_FILE_BYTES = 4 << 20, SPEC_BYTES = 48 << 20, SPEC_LABELS = 64 };

/* template: {"description", "files": {"policy.rego": "…", "policy_test.rego": "…"}, "entrypoints":
 * ["shop/allow"], "parameters": {"REGION": {"type": "string|number|integer|boolean", "default": …,
 * "description": "…", "enum": […], "pattern": "…", "required": true}}, "data": {…}, "checks": […]}
 * library:  {"description", "files"}
 * tenant:   {"status": "active|suspended", "template": {"id", "version": 0}, "parameters":
 * {"REGION": "eu"}, "files", "data", "checks", "limits", "labels": {"plan": "gold"}, "entrypoints"}
 * Every member is optional. File names are relative paths of up to 200 bytes from [A-Za-z0-9._-]
 * and /, no part begins with a dot, ending in .rego; texts must be UTF-8. Rego is parsed (code
 * rego_parse_error with its place) except where template values are missing; checks and limits as
 * docs/activation.md and docs/configuration.md have them. OK: *out is the canonical document (known
 * members only, defaults left out). ERR_DIAG: what is wrong, each with file (or the member's path,
 * "parameters.REGION") and place. */
MUST_USE enum err spec_read(struct arena *a, enum spec_kind kind, const struct json *document,
                            struct json **out, struct diag_list *diags);
/* SHA-256 of the canonical document, hex. */
void spec_sha256(struct arena *a, const struct json *canonical, char out[65]);
/* A tenant's parameters against a template's: types, enum, pattern, required, unknown ones;
 * defaults put in. *values: texts for
 * {{NAME}} (numbers and booleans as JSON writes them). ERR_DIAG. */
MUST_USE enum err spec_parameters(struct arena *a, const struct json *template_spec,
                                  const struct json *tenant_spec, struct json **values,
                                  struct diag_list *diags);

#endif
