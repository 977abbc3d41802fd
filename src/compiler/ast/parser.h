/* Rego text to syntax tree. */
#ifndef REGENT_COMPILER_AST_PARSER_H
#define REGENT_COMPILER_AST_PARSER_H
#include "base/json.h"
#include "compiler/ast/ast.h"

/* Values for {{NAME}} in string literals. NULL values table: placeholders are ordinary text, as in OPA.
 * A name that is not in it is a DIAG_PARSE error at its row and column. Values are JSON strings;
 * what is inserted is the string's characters, after escapes were resolved, so a value cannot end a literal. */
struct parse_options {
    enum rego_version version;
    const struct json *template_values; /* object of strings, or NULL: no template step */
    bool all_future_keywords;           /* as if `import future.keywords` stood in each module */
    bool experimental_keywords;         /* and, or, not-bodies as OPA's `experimental` test cases want them */
    bool skip_rules;                    /* package and imports only */
};

/* Parses one module; `file` names it in places. Syntax errors go to diags (several, after
 * recovering at the next rule where that is possible) and NULL is returned. `source` must outlive the tree. */
struct module *parse_module(struct arena *a, struct str file, struct str source,
                            const struct parse_options *options, struct diag_list *diags);
/* A query: `x = 1; data.foo[x]`. Imports may precede it ("import rego.v1" lines); false on errors. */
bool parse_query(struct arena *a, struct str file, struct str source,
                 const struct parse_options *options, struct diag_list *diags, struct body *out);
/* One ref such as data.foo["bar"], for -e and --entrypoint. NULL on errors. */
struct term *parse_ref(struct arena *a, struct str file, struct str source, struct diag_list *diags);
/* A term (any value, comprehension, call), e.g. input_term of conformance cases. NULL on errors. */
struct term *parse_term(struct arena *a, struct str file, struct str source,
                        const struct parse_options *options, struct diag_list *diags);

#endif
