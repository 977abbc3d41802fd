/* What the check stages share with each other and with nobody else: variable sets, generated names,
 * walks, and the compile-wide tables. */
#ifndef REGENT_COMPILER_CHECK_CHECK_PRIVATE_H
#define REGENT_COMPILER_CHECK_CHECK_PRIVATE_H
#include "compiler/builtin.h"
#include "compiler/check/check.h"
#include "compiler/check/varset.h"

struct graph;

/* Names for generated variables: prefix, a number, "__"; names in `taken` are left out. */
struct local_gen {
    const char *prefix; /* "__local" in modules, "__localq" in the query */
    uint32_t next;
    struct varset taken;
};

struct import_use {
    const struct import *import;
};
struct import_use_list {
    struct import_use *items;
    uint32_t n, cap;
};

struct check_private {
    struct compile *c;
    struct arena *a;
    struct varset_pool pool;
    struct varset reserved; /* input, data */
    struct local_gen gen, query_gen;
    struct import_use_list unused_imports; /* found by resolve, reported by check_unused_imports */
    struct graph *graph;
    uint32_t n_recoverable; /* errors after which the later stages still run, as in OPA */
    struct buf text;        /* scratch of check_text; freed by check_end */
};

/* Brackets all stages: compile.c calls them before the first stage and when the compile ends. */
void check_begin(struct compile *c);
void check_end(struct compile *c);

/* Stages that check.h does not name. */
void check_init_local_gen(struct compile *c);
void check_set_graph(struct compile *c);
void check_query(struct compile *c);

/* ---- Errors (common.c) ---- */
/* As diag_add, for checks that leave the modules sound: OPA goes on to its next stage. */
void check_recoverable(struct check_private *k, enum diag_code code, struct loc loc,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A term or rule name as source text, in the arena, for messages. */
struct str check_text(struct check_private *k, const struct term *t);
/* As check_text after generated names were turned back into the user's. */
struct str check_user_text(struct check_private *k, const struct term *t);
/* The user's name of a variable (itself when it was not generated; "_" for wildcards). */
struct str user_name(const struct check_private *k, struct str var);
struct str shown_name(struct str var);

/* ---- Names and terms (common.c) ---- */
struct term *gen_var(struct check_private *k, struct local_gen *g, struct loc loc);
bool var_is_generated(struct str name);
bool var_is_wildcard(struct str name);
bool term_is_scalar(const struct term *t);
/* No variable, ref, call, comprehension or template string inside. */
bool term_is_constant(const struct term *t);
/* Holds a ref or a comprehension, so it has to be evaluated (NULL does not). */
bool term_requires_eval(const struct term *t);
bool term_is_comprehension(const struct term *t);
/* The ref `data` or `input` and nothing more. */
bool term_is_root_document(const struct term *t);
/* ref starts with the var `name`. */
bool ref_has_root(const struct term *ref, const char *name);
/* Number of leading ref terms up to the first that is not constant. */
uint32_t ref_ground_len(const struct term *ref);
bool call_is(const struct expr *e, const char *name); /* call of the global builtin `name` */
static inline bool expr_is_eq(const struct expr *e) { return call_is(e, "eq"); }
static inline bool expr_is_assign(const struct expr *e) { return call_is(e, "assign"); }
static inline struct term *expr_operand(const struct expr *e, uint32_t i) {
    return i + 1 < e->call.n ? e->call.items[i + 1] : NULL;
}
static inline bool eq_has_two_operands(const struct expr *e) { return e->call.n == 3; }
/* Replaces the operator of a call by the global builtin `name`. */
void call_set_operator(struct check_private *k, struct expr *e, const char *name);
/* The generated expression `v = other` with a new v; operand 0 is v. */
struct expr *gen_equality(struct check_private *k, struct local_gen *g, struct term *other);
/* A body that is nothing but `true` is replaced instead of appended to. */
void body_append(struct check_private *k, struct body *b, struct expr *e);
bool body_is_true(const struct body *b);
struct expr *expr_true(struct check_private *k, struct loc loc);

/* ---- Rules (rule_tree.c) ---- */
/* Sets rule->path from the package and the head, for the rule and its else chain. */
void rule_set_path(struct check_private *k, struct rule *r);
bool rule_is_multi_value(const struct rule *r);
/* Arguments of the builtin or function that `ref` names; -1 when there is none. */
int ref_arity(const struct check_private *k, const struct term *ref);
const struct builtin *ref_builtin(const struct term *ref);
struct rule_node *rule_node_child(const struct rule_node *n, const struct term *key);
/* All rules that `ref` may refer to, judged by its constant terms (hidden ones too). */
void rules_for_ref(struct check_private *k, const struct term *ref, struct rule_list *out);

/* ---- Walks ---- */
/* The terms of a rule's head: args, key, value and, with `ref` set, the ref after its name. */
void visit_head(struct head *h, const struct ast_visitor *v, bool ref);
/* Head (ref too), body and else chain. */
void visit_rule(struct rule *r, const struct ast_visitor *v);
void visit_modules(struct compile *c, const struct ast_visitor *v);
/* Calls each(ctx, rule) for every rule and every else clause of every module. */
void each_rule(struct compile *c, void (*each)(void *ctx, struct rule *r), void *ctx);

/* ---- Variables (vars.c) ---- */
enum {
    VARS_SKIP_REF_HEAD = 1,
    VARS_SKIP_CALL_HEAD = 2, /* of operators, and of with targets and values */
    VARS_SKIP_OBJECT_KEYS = 4,
    VARS_SKIP_CLOSURES = 8, /* comprehensions, template strings, every bodies, not/and/or */
    VARS_SKIP_SETS = 16,
    VARS_PROMOTE = 32, /* variables that implicit operands of not/and/or take from outside */
    VARS_ALL = 0,
    VARS_SAFETY = VARS_SKIP_CALL_HEAD | VARS_SKIP_CLOSURES,
    VARS_SAFETY_PROMOTE = VARS_SAFETY | VARS_PROMOTE,
};
/* Add the variables below a node to `into`, with the place of the last occurrence. */
void vars_of_term(struct check_private *k, unsigned flags, const struct term *t,
                  struct varset *into);
void vars_of_expr(struct check_private *k, unsigned flags, const struct expr *e,
                  struct varset *into);
void vars_of_body(struct check_private *k, unsigned flags, const struct body *b,
                  struct varset *into);
void vars_of_with(struct check_private *k, unsigned flags, const struct with *w,
                  struct varset *into);
/* Variables that closures inside e mention. */
void vars_in_closures(struct check_private *k, const struct expr *e, struct varset *into);
/* Variables that `:=` and `some` declare in a body, closures of comprehensions left out. */
void vars_declared(struct check_private *k, const struct body *b, struct varset *into);
void vars_declared_by_expr(struct check_private *k, const struct expr *e, struct varset *into);

/* ---- Output variables (outputs.c) ---- */
/* Variables that e binds when those in `safe` are bound. `safe` is not changed. */
void outputs_of_expr(struct check_private *k, const struct expr *e, const struct varset *safe,
                     struct varset *into);
void outputs_of_eq(struct check_private *k, const struct expr *e, const struct varset *safe,
                   struct varset *into);
/* The first n expressions of a body, left to right. */
void outputs_of_body(struct check_private *k, const struct body *b, uint32_t n,
                     const struct varset *safe, struct varset *into);

/* ---- Parts of stages that the query runs too ---- */
void resolve_query(struct check_private *k, struct body *query);
void keyword_overrides_in_body(struct check_private *k, struct body *b);
void rewrite_locals_in_query(struct check_private *k, struct body *b);
void rewrite_templates_in_query(struct check_private *k, struct body *b);
void void_calls_in_body(struct check_private *k, struct body *b);
void rewrite_print_in_query(struct check_private *k, struct body *b);
void rewrite_expr_terms_in_body(struct check_private *k, struct local_gen *g, struct body *b);
void rewrite_comprehension_terms_in_body(struct check_private *k, struct local_gen *g,
                                         struct body *b);
void rewrite_with_in_body(struct check_private *k, struct local_gen *g, struct body *b);
void undefined_functions_in_body(struct check_private *k, struct body *b);
void safety_of_query(struct check_private *k, struct body *b);
void rewrite_dynamics_in_body(struct check_private *k, struct local_gen *g, struct body *b);

#endif
