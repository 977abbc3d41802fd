/* What the files of the type checker share. */
#ifndef REGENT_COMPILER_CHECK_TYPES_PRIVATE_H
#define REGENT_COMPILER_CHECK_TYPES_PRIVATE_H
#include "compiler/check/check_private.h"
#include "compiler/check/types_env.h"

struct type_graph;

/* One run of the type checker. */
struct type_checker {
    struct compile *compile;
    struct arena *arena;
    struct type_graph *graph;
    struct type_env *global; /* builtins below, rules on top */
    struct table with_trees; /* printed with target → struct type_node * of widened rules */
    const struct body *body; /* of the rule or query being typed, for messages */
    uint32_t body_checks;    /* how many bodies were typed so far, see check_types_body */
};

/* A type error before it is reported; unknown: it only says that something is not known, so a
 * better error in the same expression makes it superfluous. */
struct type_error {
    struct loc loc;
    struct str message; /* with its detail lines, each led by "\n\t" */
    bool unknown;
};
struct type_errors {
    struct type_error *items;
    uint32_t n, cap;
};

/* Types a body in env (a layer of its own); errors go to `errors` unless that is NULL. False when
 * there were any. */
bool check_types_body(struct type_env *env, const struct body *body, struct type_errors *errors);

/* ---- types_unify.c ---- */
/* Checks the term against a type and gives variables in it that have none yet this one. */
bool unify_term(struct type_env *env, const struct term *t, const struct type *type, bool join);
/* Both sides of `=`. */
bool unify_terms(struct type_env *env, const struct term *x, const struct type *type_x,
                 const struct term *y, const struct type *type_y);

/* ---- types_ref.c ---- */
/* Checks the refs of an expression (not those in comprehensions, which are bodies of their own). */
void type_check_refs(struct type_env *env, struct expr *e, struct type_errors *errors);

/* ---- types_errors.c ---- */
/* Adds "message\n\tline\n\tline…"; details may be empty. */
void type_error_add(struct type_errors *errors, struct arena *a, struct loc loc, bool unknown,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));
/* "OP: what", with the types that are there and those that a function wants. */
void type_error_args(struct type_env *env, struct type_errors *errors, struct loc loc,
                     const struct term *op, const char *what, const struct type **have, uint32_t n,
                     const struct type *function, bool with_result);
void type_error_match(struct type_env *env, struct type_errors *errors, struct loc loc,
                      const struct type *left, const struct type *right);
/* The ref as the user wrote it: generated variables by their own names. */
struct str type_ref_text(struct type_env *env, struct term *const *ref, uint32_t n);

/* ---- types_graph.c ---- */
struct type_graph *type_graph_new(struct compile *c);
/* All rules, else rules too, what a rule uses before it. */
const struct rule_list *type_graph_order(struct type_graph *g);
/* Paths (ground prefixes) of the rules that ref may mean and of those that use them. */
void type_graph_dependents(struct type_graph *g, const struct term *ref, struct term_list *paths);
/* Full path of a rule, of its main rule for an else. */
const struct term *type_rule_path(const struct rule *r);
uint32_t ref_ground_prefix(const struct term *ref); /* leading elements without variables */

#endif
