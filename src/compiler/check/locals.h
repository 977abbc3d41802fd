/* The stack of declared variables while locals get unique names; used by locals_*.c only. */
#ifndef REGENT_COMPILER_CHECK_LOCALS_H
#define REGENT_COMPILER_CHECK_LOCALS_H
#include "compiler/check/check_private.h"

/* How a variable came into a scope. */
enum occurrence { VAR_NEW, VAR_ARG, VAR_SEEN, VAR_ASSIGNED, VAR_DECLARED };

struct local {
    struct str name;      /* in the source */
    struct str generated; /* unique in the rule; ptr NULL: only counted here */
    struct loc statement; /* that brought it in */
    enum occurrence occurrence;
    uint32_t count; /* uses, the declaration included */
};

struct local_scope {
    struct table locals; /* source name → struct local */
    struct local_scope *outer;
};

/* Rewriting of one rule or query. */
struct locals {
    struct check_private *k;
    struct local_gen *gen;
    struct local_scope *scope;
    struct loc statement; /* that is being rewritten */
    bool strict;
    uint32_t n_errors; /* of this rule: unused variables are reported only when it is 0 */
    uint32_t n_unused; /* unused variables that were reported */
};

void locals_push(struct locals *l, struct local_scope *s);
void locals_pop(struct locals *l);
/* The innermost local of that name, or NULL. */
struct local *locals_find(const struct locals *l, struct str name);
enum occurrence locals_here(const struct locals *l, struct str name); /* in this scope only */
void locals_insert(struct locals *l, struct str name, struct str generated, enum occurrence how);
void locals_seen(struct locals *l, struct str name);
uint32_t locals_count(const struct locals *l, struct str name);
/* Declares a name in this scope. False, with an error at loc, when that cannot be. */
bool locals_declare(struct locals *l, struct str name, enum occurrence how, struct loc loc,
                    struct str *generated);
void locals_error(struct locals *l, struct loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* locals_body.c. `used`: variables that the surroundings need from the body (may be empty). */
void locals_in_body(struct locals *l, struct body *b, const struct varset *used);
/* Body and terms of a comprehension or template string, in a scope of its own. */
void locals_in_closure(struct locals *l, struct term *t);

/* locals_unused.c: reports variables of this scope that its rewritten body never uses. */
void locals_check_unused(struct locals *l, const struct body *b, const struct varset *used);

#endif
