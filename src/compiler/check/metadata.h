/* `# METADATA` blocks: which there are, what they annotate, what they say. */
#ifndef REGENT_COMPILER_CHECK_METADATA_H
#define REGENT_COMPILER_CHECK_METADATA_H
#include "base/json.h"
#include "compiler/check/check_private.h"

enum metadata_scope {
    SCOPE_RULE,
    SCOPE_DOCUMENT,
    SCOPE_PACKAGE,
    SCOPE_SUBPACKAGES,
    SCOPE_INVALID,
};

struct metadata {
    struct loc loc; /* of the line `# METADATA` */
    enum metadata_scope scope;
    bool entrypoint;
    const struct json *yaml; /* the object that the block holds */
    const struct module *module;
    const struct rule *rule; /* what follows the block; NULL: the package */
    const struct term *path; /* of the rule (its ground part) or package */
};
struct metadata_list {
    struct metadata *items;
    uint32_t n, cap;
};

/* Reads the blocks of a module. What OPA refuses is reported (rego_parse_error at the block or at
 * the line that is wrong) and left out. */
void metadata_read(struct check_private *k, const struct module *m, struct metadata_list *out);
/* Reports blocks of which there may be only one for a package or document. */
void metadata_check_unique(struct check_private *k, const struct metadata_list *list);
/* The block as a constant object term, as rego.metadata.rule() gives it. */
struct term *metadata_term(struct check_private *k, const struct metadata *m, struct loc loc);
/* JSON as a term. */
struct term *term_of_json(struct arena *a, const struct json *v, struct loc loc);

#endif
