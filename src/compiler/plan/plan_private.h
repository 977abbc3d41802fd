/* What the planner's files share: its state, the trie of rules, environments made by `with`. */
#ifndef REGENT_COMPILER_PLAN_PLAN_PRIVATE_H
#define REGENT_COMPILER_PLAN_PLAN_PRIVATE_H
#include "base/hash.h"
#include "compiler/builtin.h"
#include "compiler/check/check.h"
#include "compiler/plan/ir.h"

/* ---- Rules by path --------------------------------------------------------------------------- */

/* A node of the rules' trie. A node with rules is a leaf: all rules whose ref starts with its path
 * (one path may end where another one goes on with a variable) are planned as one function. */
struct trie_node {
    struct str key;
    struct trie_node *parent;
    struct table children; /* key → struct trie_node * */
    struct rule_list rules;
    struct planned *planned; /* its functions, one for each environment */
    uint32_t depth;          /* number of path elements, `data` counts as 1 */
    /* Nodes for some of the rules only, by the keys that a ref names below this one; such a node
     * has `narrowed` set to those keys as a name. */
    struct table subsets;
    struct str narrowed;
};
struct planned {
    struct env *env;
    struct function *func;
    struct planned *next;
};

struct trie_node *trie_build(struct arena *a, const struct module_list *modules);
/* Arguments that the rules of a node take; 0 when they are no functions. */
uint32_t trie_arity(const struct trie_node *n);
/* The node for the rules that can give a value at the constant keys ref[index…] below n; n itself
 * when that is all of them. So a rule may refer to another rule of its own path, as long as the
 * keys differ. */
struct trie_node *trie_narrow(struct arena *a, struct trie_node *n, const struct term *ref,
                              uint32_t index);
/* Children in the order of their keys. */
struct trie_node **trie_sorted(struct arena *a, const struct trie_node *n);

/* ---- Environments ---------------------------------------------------------------------------- */

enum mock_kind {
    MOCK_CALL,  /* another function or builtin, named by `value` */
    MOCK_CONST, /* a ground term */
    MOCK_PARAM, /* a value known at run time: extra parameter number `param` */
};
struct mock {
    struct str target; /* dotted name of what is replaced */
    enum mock_kind kind;
    struct term *value;
    uint32_t param;
};
/* What `with` has changed around a function: hidden virtual documents and replaced functions.
 * Functions are planned once for each environment; equal environments are one. Never changed. */
struct env {
    uint32_t id; /* the 0 in "g0.data.a.b" */
    struct {
        struct trie_node **items;
        uint32_t n, cap;
    } hidden;
    struct {
        struct mock *items;
        uint32_t n, cap;
    } mocks;           /* newest last, which wins */
    uint32_t n_params; /* extra parameters of every function planned in it */
    struct env *next;
};

/* ---- The planner ----------------------------------------------------------------------------- */

struct scope_var {
    struct str name;
    struct operand value;
};
/* Variables that have a local; frames are ranges of one stack. */
struct scope {
    struct scope_var *items;
    uint32_t n, cap;
};
struct local_list {
    uint32_t *items;
    uint32_t n, cap;
};

/* A function that was named but is not planned yet. */
struct job {
    struct trie_node *node;
    struct env *env;
    struct function *func;
};

struct planner {
    struct compile *c;
    struct arena *a;
    struct plan *plan;
    struct trie_node *rules; /* root: parent of data */
    struct env *envs, *env;  /* all; the current one */
    uint32_t n_envs;
    struct block *curr; /* where the next statement goes */
    uint32_t next_local;
    struct scope vars;
    struct local_list extra; /* locals of the environment's extra parameters */
    struct loc loc;          /* set with plan_set_loc */
    struct str loc_source;   /* the text of loc.file */
    struct {
        struct job *items;
        uint32_t n, cap;
    } jobs;
};

/* ---- Statements (plan_emit.c)
 * --------------------------------------------------------------------- */
struct operand op_local(uint32_t local);
struct operand op_bool(bool b);
struct operand op_string(struct planner *p, struct str text);
struct operand op_text(struct planner *p, const struct term *t); /* TERM_STRING, TERM_NUMBER */
uint32_t new_local(struct planner *p);
/* Appends a statement at p->loc to p->curr, or makes one without appending it. */
struct stmt *emit(struct planner *p, enum stmt_kind kind);
struct stmt *stmt_make(struct planner *p, enum stmt_kind kind);
/* The usual shapes: target = kind(a, b); kind(a, b); kind(target, integer). */
uint32_t emit_target(struct planner *p, enum stmt_kind kind, struct operand a, struct operand b);
void emit_to(struct planner *p, enum stmt_kind kind, uint32_t target, struct operand a,
             struct operand b);
void emit_check(struct planner *p, enum stmt_kind kind, struct operand a, struct operand b);
void emit_int(struct planner *p, enum stmt_kind kind, uint32_t target, int64_t integer);
void emit_break(struct planner *p, uint32_t index);
struct block *block_new(struct planner *p);
/* Appends a BLOCK of one block, which becomes p->curr; returns the block that was current. */
struct block *block_enter(struct planner *p);
struct operand to_local(struct planner *p, struct operand o);
void plan_set_loc(struct planner *p, struct loc loc);
uint32_t plan_file(struct planner *p, struct str file);
/* Reports what this planner or version cannot do, at p->loc. */
void plan_unsupported(struct planner *p, const char *what);

/* ---- Variables ------------------------------------------------------------------------------- */
bool var_get(const struct planner *p, struct str name, struct operand *out);
void var_put(struct planner *p, struct str name, struct operand value);
/* Whether a variable of the term has no local yet. */
bool unseen_vars(const struct planner *p, const struct term *t);
/* Appends the names of such variables to `out` (key text, value NULL), once each. */
void collect_unseen(const struct planner *p, const struct term *t, struct table *out);

/* ---- Planning. Each leaves p->curr at the block in which what follows must go: the body of a scan
 * when the result is one of many. Undefined leaves the block, as the statements do. ---- */
void plan_body(struct planner *p, const struct body *b);
void plan_expr(struct planner *p, const struct expr *e);
void plan_with(struct planner *p, const struct expr *e);
void plan_call(struct planner *p, const struct expr *e);
struct operand plan_term(struct planner *p, const struct term *t);
struct operand plan_ref(struct planner *p, const struct term *ref);
/* Reads the operands from `index` on below the value `from`. */
struct operand plan_ref_rest(struct planner *p, struct operand from, const struct term *ref,
                             uint32_t index, uint32_t end);
/* Scans `from`, unifying keys with `key` (NULL: any); the result is the value. */
struct operand plan_scan(struct planner *p, struct operand from, const struct term *key,
                         uint32_t *key_local);
/* A ref that starts with data: virtual documents merged with base documents. */
struct operand plan_ref_data(struct planner *p, const struct term *ref);
void plan_unify(struct planner *p, const struct term *a, const struct term *b);
void plan_unify_local(struct planner *p, struct operand a, const struct term *b);

/* ---- Gathering (plan_gather.c): where several alternatives, or a block that must end, give
 * results for what follows, each result is a tuple (variables bound there, one operand) in an
 * array, which is scanned afterwards. ---- */
struct gather {
    struct block *block; /* the array is made here, before statement `at` */
    uint32_t at, array;
    struct table names; /* variables in the tuples; add them before the first gather_add */
};
void gather_begin(struct planner *p, struct gather *g);
/* Appends a tuple with the variables' values and `value` (OPERAND_NONE: without). */
void gather_add(struct planner *p, const struct gather *g, struct operand value);
/* Scans the tuples: variables are bound again, the result is the value. */
struct operand gather_end(struct planner *p, const struct gather *g, bool has_value);

/* ---- Rules ----------------------------------------------------------------------------------- */
/* The function for a node's rules in the current environment; planned later. */
struct function *plan_function(struct planner *p, struct trie_node *n);
/* target = the rule's value, in the current environment. */
uint32_t emit_rule_call(struct planner *p, struct trie_node *n);
/* input, data and the extra parameters */
void push_default_args(struct planner *p, struct operand_list *args);
void plan_rules(struct planner *p, const struct job *job);
/* Reports functions that would call themselves: rules that the planner joins although each alone
 * does not recurse. */
void plan_check_cycles(struct planner *p);

struct trie_node *trie_child(const struct planner *p, const struct trie_node *n, struct str key);
/* Node at a ground ref of strings; NULL when there is none or it is hidden. */
struct trie_node *trie_lookup(const struct planner *p, const struct term *ref);
struct env *env_get(struct planner *p, const struct env *wanted);
const struct mock *env_mock(const struct env *env, struct str target);

/* Whether the planner may treat two terms as equal or different now: never for templated strings,
 * whose text differs by tenant. */
bool same_term(const struct term *a, const struct term *b);
bool is_templated(const struct term *t);
/* A set or object with templated members in the order of the source; the parser sorts by value. */
const struct term *source_order(struct planner *p, const struct term *t);

#endif
