/* The checks: from parsed modules to resolved, rewritten, safe and typed ones, ready for the planner. */
#ifndef REGENT_COMPILER_CHECK_CHECK_H
#define REGENT_COMPILER_CHECK_CHECK_H
#include "base/hash.h"
#include "compiler/compile.h"

/* Rules that share a path form a node; virtual documents are a tree of names. Built by rules.c. */
struct rule_node {
    struct str key;              /* path element below the parent; the root's is "data". A string stands
                                    for itself, any other scalar's text follows a 0 byte */
    struct rule_node *parent;
    struct table children;       /* key → struct rule_node *, insertion order */
    struct rule_list rules;      /* ground path ends here (all rules with this ground prefix) */
    bool hidden;                 /* data.system and what is below: left out of refs such as data[x] */
    struct check_private *priv;  /* of the compile that built it */
};

struct check_state {
    struct rule_node *rule_tree; /* data */
    struct table rewritten_vars; /* generated name → struct str *, the user's name, for messages and query results */
    struct rule_list sorted;     /* every rule and else clause, after those it depends on; set by check_recursion */
    /* …private fields of the stages follow in check_private.h */
    struct check_private *priv;
};

/* Stages, in OPA's order and with its names (compile.c lists them). Each adds to c->diags; the driver
 * stops after a stage that added errors (recoverable ones: after stage "check"). After the last one these hold for
 * every rule and query:
 *  - every ref starts with a var that is a local, or with data/input, or is a call's operator; rule->path is set
 *  - locals are unique in a rule: names __localN__ (rewritten_vars gives the user's name) or wildcards $N
 *  - := and == are gone (eq; equal stays as builtin `equal` where OPA leaves it), `some` is gone except
 *    EXPR_SOME…in rewritten to member calls as OPA does
 *  - call operands and head terms are flat as OPA's: calls inside terms are hoisted to their own expressions,
 *    comprehension terms and dynamic refs too
 *  - bodies are ordered so that every expression's inputs are bound before it (safety)
 */
void check_resolve_refs(struct compile *c);
/* capture.c: queries with request->capture_values, after refs are resolved. */
void check_capture_values(struct compile *c);
void check_unused_imports(struct compile *c);
void check_rule_head_refs(struct compile *c);
void check_keyword_overrides(struct compile *c);
void check_duplicate_imports(struct compile *c);
void check_rule_tree(struct compile *c);
void check_rewrite_locals(struct compile *c);
void check_rewrite_template_strings(struct compile *c);
void check_void_calls(struct compile *c);
void check_rewrite_print_calls(struct compile *c);
void check_rewrite_expr_terms(struct compile *c);
void check_metadata(struct compile *c);
void check_rewrite_comprehension_terms(struct compile *c);
void check_rewrite_refs_in_head(struct compile *c);
void check_rewrite_with_values(struct compile *c);
void check_rule_conflicts(struct compile *c);
void check_undefined_functions(struct compile *c);
void check_safety(struct compile *c);
void check_rewrite_equals(struct compile *c);
void check_rewrite_dynamic_terms(struct compile *c);
void check_recursion(struct compile *c);
void check_types(struct compile *c);
void check_deprecated_builtins(struct compile *c);

/* The rule node at a ground ref data.a.b, or NULL. */
struct rule_node *rule_tree_find(struct rule_node *root, const struct term *ref);

#endif
