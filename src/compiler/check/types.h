/* Types of Rego values: what the type checker knows of a term. */
#ifndef REGENT_COMPILER_CHECK_TYPES_H
#define REGENT_COMPILER_CHECK_TYPES_H
#include "base/arena.h"
#include "base/buf.h"
#include "compiler/ast/ast.h"

/* In the order in which types compare (v1/types/types.go). */
enum type_kind {
    TYPE_NULL,
    TYPE_BOOLEAN,
    TYPE_NUMBER,
    TYPE_STRING,
    TYPE_ARRAY,
    TYPE_OBJECT,
    TYPE_SET,
    TYPE_ANY,
    TYPE_FUNCTION,
};

/* A known key of an object. */
struct type_property {
    const struct term *key; /* a constant; sets in it became arrays */
    const struct type *value;
};

/* Types are values: nothing changes one after it was made, and they share parts freely. A NULL
 * pointer is "not known yet"; `any` is "can be anything". */
struct type {
    enum type_kind kind;
    bool has_dynamic;                  /* TYPE_OBJECT: other keys than those of props occur */
    uint32_t n;                        /* of items or props */
    uint32_t weight;                   /* parts below it, shared ones as often as they occur */
    const struct type *const *items;   /* TYPE_ARRAY: leading elements; TYPE_ANY: members, sorted,
                                          none:   everything; TYPE_FUNCTION: arguments */
    const struct type_property *props; /* TYPE_OBJECT, sorted by key */
    const struct type *dynamic_key;    /* TYPE_OBJECT */
    const struct type *dynamic;  /* TYPE_ARRAY: further elements; TYPE_SET: elements (NULL: empty
                                    set); TYPE_OBJECT: values under dynamic_key */
    const struct type *result;   /* TYPE_FUNCTION; NULL: void */
    const struct type *variadic; /* TYPE_FUNCTION */
};

/* ---- Makers (types.c). Arrays and strings are borrowed by the type. ---- */
extern const struct type type_null, type_boolean, type_number, type_string, type_any;
const struct type *type_array(struct arena *a, const struct type **items, uint32_t n,
                              const struct type *dynamic);
const struct type *type_set(struct arena *a, const struct type *of);
/* Sorts props. dynamic_key and dynamic count only when has_dynamic. */
const struct type *type_object(struct arena *a, struct type_property *props, uint32_t n,
                               bool has_dynamic, const struct type *dynamic_key,
                               const struct type *dynamic);
const struct type *type_function(struct arena *a, const struct type **args, uint32_t n,
                                 const struct type *result, const struct type *variadic);
/* Type string of builtins.def; NULL when it is malformed. */
const struct type *type_parse(struct arena *a, const char *text);

/* ---- Algebra (types.c) ---- */
static inline bool type_is_any(const struct type *t) {
    return t && t->kind == TYPE_ANY && t->n == 0;
}
/* <0, 0, >0 in OPA's order; NULL is least. */
int type_compare(const struct type *a, const struct type *b);
/* a covers b: equal, or a union with b among its members. */
bool type_contains(const struct type *a, const struct type *b);
/* Union; NULL on one side gives the other. Function and non-function: NULL. */
const struct type *type_or(struct arena *a, const struct type *x, const struct type *y);
/* Type under a constant key, of keys, of values; NULL: none such. */
const struct type *type_select(struct arena *a, const struct type *t, const struct term *key);
const struct type *type_keys(struct arena *a, const struct type *t);
const struct type *type_values(struct arena *a, const struct type *t);
/* Type of a constant term that serves as a key. */
const struct type *type_of_key(struct arena *a, const struct term *key);
/* Something in t is not known yet. */
bool type_has_unknown(const struct type *t);
/* A collection that can hold nothing. */
bool type_is_empty_collection(const struct type *t);
/* Values of both types can be equal (OPA's unifies). */
bool type_unifies(const struct type *a, const struct type *b);
/* Merges what two rules say of one document (OPA's mergeTypes). */
const struct type *type_merge(struct arena *a, const struct type *x, const struct type *y);

/* ---- Text (types_print.c) ---- */
struct str type_text(struct arena *a, const struct type *t); /* "???" for NULL */
struct str type_args_text(struct arena *a, const struct type *const *args, uint32_t n,
                          const struct type *variadic);
/* At most 32 characters, or the outermost constructor with the rest as "...". */
struct str type_text_elided(struct arena *a, const struct type *t);
/* Two types side by side: what is equal in both is left out. */
void type_text_diff(struct arena *a, const struct type *x, const struct type *y, struct str *left,
                    struct str *right);

/* ---- Terms ---- */
/* The constant as OPA's JSON conversion has it: sets become sorted arrays. */
const struct term *term_as_key(struct arena *a, const struct term *t);

#endif
