/* What the type checker knows of names: documents, builtins, variables. */
#ifndef REGENT_COMPILER_CHECK_TYPES_ENV_H
#define REGENT_COMPILER_CHECK_TYPES_ENV_H
#include "base/hash.h"
#include "compiler/check/types.h"

/* Ref elements as a tree: the type of data.a.b lies at data → a → b. Strings and variables of the
 * same text are different children; other keys are found by their printed form. */
struct type_node {
    const struct term *key;
    const struct type *value;           /* NULL: only what lies below is known */
    struct table strings, vars, others; /* struct type_node *; empty until the first child */
};

struct type_checker;

/* A layer of knowledge over `next`. Types inferred for variables go to `vars`, which is `tree`
 * except in the layers that `with` puts on for one expression. */
struct type_env {
    struct type_checker *checker;
    struct type_node *tree, *vars;
    struct type_env *next;
};

struct type_env *env_new(struct type_checker *checker, struct type_env *next);
/* A layer for one expression: variables are remembered in the layer below. */
struct type_env *env_new_with(struct type_env *next);

struct type_node *node_new(struct arena *a, const struct term *key);
struct type_node *node_child(struct arena *a, const struct type_node *node, const struct term *key);
uint32_t node_count(const struct type_node *node);
struct type_node *node_at(const struct type_node *node, uint32_t i); /* i < node_count */
void node_put(struct arena *a, struct type_node *node, struct term *const *path, uint32_t n,
              const struct type *t);
void env_put_var(struct type_env *env, const struct term *var, const struct type *t);
/* Puts a rule's type at a ground path of the tree, merging with what is known there, above
 * (objects that hold it) and below (when t is an object). */
void env_insert(struct type_env *env, struct term *const *path, uint32_t n, const struct type *t);

/* Types of terms and refs; NULL: not known. */
const struct type *env_type(struct type_env *env, const struct term *t);
const struct type *env_ref(struct type_env *env, struct term *const *ref, uint32_t n);
/* All that lies at and below a node. */
const struct type *env_extent(struct type_env *env, const struct type_node *node);
/* `data` or `input`. */
bool env_is_root(const struct term *t);

#endif
