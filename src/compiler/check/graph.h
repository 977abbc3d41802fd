/* Which rules a rule's refs may select: nodes are rules and else clauses. */
#ifndef REGENT_COMPILER_CHECK_GRAPH_H
#define REGENT_COMPILER_CHECK_GRAPH_H
#include "compiler/check/check_private.h"

/* Where a variable of a ref gets its value, for messages. */
enum origin_kind {
    ORIGIN_INPUT,      /* term: the ref into input */
    ORIGIN_RULE,       /* term: the ref to the rule */
    ORIGIN_COLLECTION, /* term: a constant collection */
    ORIGIN_BUILTIN,    /* builtin: its result */
    ORIGIN_HEAD_KEY,
    ORIGIN_HEAD_ARG,
};
struct origin {
    struct str var;
    enum origin_kind kind;
    struct term *term;
    const struct builtin *builtin;
};
struct origin_list {
    struct origin *items;
    uint32_t n, cap;
};
/* origins.c: of the variables of `ref`, which stands in body expression `at` of r. Terms are
 * copies. */
void origins_of(struct check_private *k, const struct rule *r, uint32_t at, const struct term *ref,
                struct origin_list *out);

/* A ref that selects rules only through a variable term. */
struct dynamic_ref {
    struct term *ref;      /* as written */
    struct term *selector; /* narrowed, when its variables can hold one value only; else `ref` */
    struct rule *rule;     /* whose ref it is */
    struct varset *bound;  /* variables that may have a value where it stands */
    struct origin_list origins;
};

struct edge {
    uint32_t to;
    struct dynamic_ref *cause; /* NULL: some ref selects the rule whatever variables hold */
};

struct node {
    struct rule *rule;
    struct {
        struct edge *items;
        uint32_t n, cap;
    } edges;
    uint32_t component; /* nodes that reach each other share it; set by check_recursion */
};

struct graph {
    struct {
        struct node *items;
        uint32_t n, cap;
    } nodes;            /* by module and place */
    struct table index; /* bytes of a rule's address → its node's number + 1 */
};

/* ---- narrow.c ---- */
/* A variable that expression `at` of a body binds to one of a finite set of constants. */
struct narrowed {
    struct str var;
    struct term_list values;
    uint32_t at;
};
struct narrowed_list {
    struct narrowed *items;
    uint32_t n, cap;
};
void narrow_body(struct check_private *k, const struct body *b, struct narrowed_list *out);
/* The refs that `ref` stands for where the bindings of expressions before `at` hold; itself at
 * least. */
void narrow_ref(struct check_private *k, const struct narrowed_list *l, uint32_t at,
                struct term *ref, struct term_list *out);

/* ref selects rule whatever its variable terms hold. `positions` (may be NULL) gets the indexes of
 * ref's terms that must equal the rule's path for that. */
struct positions {
    uint32_t *items;
    uint32_t n, cap;
};
bool ref_selects_rule(struct check_private *k, const struct term *ref, const struct rule *r,
                      const struct varset *bound, struct positions *positions);

/* cause.c: " (… refers to … if …)" for an edge that is not certain. `named_rule`: say in which
 * rule. */
struct str dynamic_cause(struct check_private *k, const struct dynamic_ref *d,
                         const struct rule *target, bool named_rule);

#endif
