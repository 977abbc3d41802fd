/* The syntax tree of Rego: what the parser gives and every check rewrites. Node names are OPA's. */
#ifndef REGENT_COMPILER_AST_AST_H
#define REGENT_COMPILER_AST_AST_H
#include "base/arena.h"
#include "base/diag.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* All nodes live in the compile's arena (which jumps when exhausted, so allocations are not
 * checked). Passes may change nodes in place; a node has one parent, so copy before sharing. */

struct term;
struct expr;

struct term_list {
    struct term **items;
    uint32_t n, cap;
};
struct body { /* a query: all expressions hold */
    struct expr **items;
    uint32_t n, cap;
};

enum term_kind {
    TERM_NULL,
    TERM_BOOLEAN,
    TERM_NUMBER, /* text: as written */
    TERM_STRING, /* text: unescaped */
    TERM_VAR,    /* text: name; "_" is renamed "$0", "$1" … by the parser (wildcards) */
    TERM_REF,    /* list: head (var, or any other term such as a call), then operands */
    TERM_ARRAY,  /* list */
    TERM_OBJECT, /* list: key, value, key, value … */
    TERM_SET,    /* list */
    TERM_ARRAY_COMPR,  /* value, body */
    TERM_SET_COMPR,    /* value, body */
    TERM_OBJECT_COMPR, /* key, value, body */
    TERM_CALL,         /* list: operator (TERM_REF), then operands */
    TERM_TEMPLATE_STRING, /* parts: TERM_STRING, or exprs for the {…} parts, in `parts` */
};

struct term {
    enum term_kind kind;
    bool boolean;    /* TERM_BOOLEAN */
    bool multi_line; /* TERM_TEMPLATE_STRING: written with backquotes */
    bool ground_hint; /* free for passes */
    struct loc loc;
    struct str text;
    /* TERM_STRING that held {{NAME}}: the text before substitution, else ptr NULL. Constants with it
     * never share a slot with others, so that code does not depend on values. */
    struct str template_text;
    struct term_list list;
    struct term *key, *value;
    struct body body;
    struct body parts; /* TERM_TEMPLATE_STRING: EXPR_TERM each; strings are TERM_STRING terms */
};

enum expr_kind {
    EXPR_TERM,      /* term */
    EXPR_CALL,      /* call: operator (TERM_REF), then operands; infix operators are calls of eq, assign,
                       equal, plus, internal.member_2 … */
    EXPR_SOME,      /* some x, y: call = symbols; `some k, v in xs`: one TERM_CALL of internal.member_2/3 */
    EXPR_EVERY,     /* key (may be NULL), value, domain, body */
    EXPR_NOT,       /* not { query }: body (plain `not expr` sets negated instead) */
    EXPR_AND,       /* lhs and rhs (rego.v2 / future keywords) */
    EXPR_OR,        /* lhs or rhs */
};

struct with {
    struct loc loc;
    struct term *target, *value;
};
struct with_list {
    struct with *items;
    uint32_t n, cap;
};

struct expr {
    enum expr_kind kind;
    bool negated;
    bool generated;       /* made by a rewrite, not written by the user */
    bool from_assignment; /* was := : its right side is not made safe by its left */
    bool explicit_lhs, explicit_rhs; /* EXPR_AND, EXPR_OR: operand written in { }; EXPR_NOT: explicit_lhs, `not { }` */
    struct loc loc;
    struct term *term;
    struct term_list call;
    struct term *key, *value, *domain;
    struct body body;     /* EXPR_EVERY, EXPR_NOT */
    struct body lhs, rhs; /* EXPR_AND, EXPR_OR */
    struct with_list with;
};

/* p.q[r].s := v, p contains k, f(a, b) := v */
struct head {
    struct loc loc;
    struct term *ref;       /* TERM_REF; single names too. Without the package; the resolve stage prefixes
                               `data.pkg` into rule->path instead of changing this */
    struct term_list args;  /* functions; is_function tells f() from f */
    bool is_function;
    bool assign;            /* := was written */
    bool contains;          /* partial set: key is the element */
    bool generated_value;   /* `true` was not written */
    struct term *key;       /* partial set element, else NULL (partial objects keep keys in ref) */
    struct term *value;     /* NULL for partial sets */
    bool has_if;            /* `if` was written before the body */
    /* Only for OPA's AST JSON: its `name`, and its `key` of p[k] = v (ref holds k too). */
    struct str name;
    struct term *object_key;
};

struct module;
struct annotation;

struct rule {
    struct head *head;
    struct body body;         /* never empty: a rule without one has the generated expr `true` */
    bool is_default, generated_body;
    struct rule *else_rule;
    struct loc loc;
    struct module *module;
    struct term *path;        /* set by resolve: TERM_REF data.pkg… + head ref */
    struct annotation **annotations;
    uint32_t n_annotations;
};
struct rule_list {
    struct rule **items;
    uint32_t n, cap;
};

struct import {
    struct loc loc;
    struct term *path;  /* TERM_REF: data.…, input.…, rego.v1, future.keywords.… */
    struct str alias;   /* ptr NULL: none */
    struct loc alias_loc;
};
struct import_list {
    struct import *items;
    uint32_t n, cap;
};

struct comment {
    struct loc loc; /* of the '#' */
    struct str text; /* after '#' */
};
struct comment_list {
    struct comment *items;
    uint32_t n, cap;
};

/* A `# METADATA` block: raw YAML, parsed where it is needed. */
struct annotation {
    struct loc loc;
    struct str yaml;
    struct str scope; /* "" until known: rule, document, package, subpackages */
};

enum rego_version { REGO_V0, REGO_V1, REGO_V2 };

struct module {
    struct str file, source;
    enum rego_version version; /* after imports: a v0 file with `import rego.v1` is REGO_V1 */
    struct loc package_loc;
    struct term *package;      /* TERM_REF: data.a.b */
    struct import_list imports;
    struct rule_list rules;
    struct comment_list comments;
    struct {
        struct annotation **items;
        uint32_t n, cap;
    } annotations; /* of package and unattached ones */
};
struct module_list {
    struct module **items;
    uint32_t n, cap;
};

/* ---- Builders (ast.c) ---- */
struct term *term_new(struct arena *a, enum term_kind kind, struct loc loc);
struct term *term_var(struct arena *a, struct str name, struct loc loc);
struct term *term_string(struct arena *a, struct str text, struct loc loc);
struct term *term_number_int(struct arena *a, int64_t i, struct loc loc);
struct term *term_boolean(struct arena *a, bool b, struct loc loc);
/* a ref from "data.foo.bar" in dotted names: head a var, operands strings */
struct term *term_ref_c(struct arena *a, const char *dotted, struct loc loc);
struct expr *expr_new(struct arena *a, enum expr_kind kind, struct loc loc);
/* op(args…): operator is a builtin's or function's dotted name */
struct expr *expr_call_c(struct arena *a, const char *op, struct loc loc, struct term **args, uint32_t n);
struct term *term_copy(struct arena *a, const struct term *t); /* deep */
struct expr *expr_copy(struct arena *a, const struct expr *e);
void body_copy(struct arena *a, struct body *to, const struct body *from);
struct rule *rule_copy(struct arena *a, const struct rule *r); /* with its else chain */

/* ---- Queries (ast.c) ---- */
bool term_is_ground(const struct term *t);  /* no variables, comprehensions, calls */
bool term_is_wildcard(const struct term *t);/* TERM_VAR that was written _ */
/* OPA's total order of terms (v1/ast/compare.go), and equality with the places left out. */
int term_compare(const struct term *a, const struct term *b);
bool term_equal(const struct term *a, const struct term *b);
/* Name of a call's operator as dotted text ("io.jwt.decode"), in the arena. */
struct str ref_dotted(struct arena *a, const struct term *ref);
/* Calls visit(ctx, node) for every term below (parents first); it returns false to stay out of a
 * node's children. Closures (comprehensions, every, not bodies) are entered. */
struct ast_visitor {
    void *ctx;
    bool (*term)(void *ctx, struct term *t);  /* may be NULL */
    bool (*expr)(void *ctx, struct expr *e);  /* may be NULL */
};
void ast_visit_term(struct term *t, const struct ast_visitor *v);
void ast_visit_expr(struct expr *e, const struct ast_visitor *v);
void ast_visit_body(struct body *b, const struct ast_visitor *v);
void ast_visit_rule(struct rule *r, const struct ast_visitor *v); /* with else chain and head */

#endif
