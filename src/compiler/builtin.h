/* Lookup into builtins.def for the compiler. */
#ifndef REGENT_COMPILER_BUILTIN_H
#define REGENT_COMPILER_BUILTIN_H
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum builtin_place { BUILTIN_PLAN, BUILTIN_RUNTIME, BUILTIN_HOST, BUILTIN_LATER };
enum { BUILTIN_NONDET = 1, BUILTIN_RELATION = 2, BUILTIN_DEPRECATED = 4 };

struct builtin {
    const char *identifier, *name, *infix, *category, *type;
    enum builtin_place place;
    unsigned flags;
    uint32_t arity;    /* arguments; print is variadic and has 0 */
    bool variadic, is_void;
};

/* By Rego name ("io.jwt.decode") or by infix operator ("=="); NULL when there is none. */
const struct builtin *builtin_find(struct str name);
const struct builtin *builtin_find_infix(struct str op);
/* Row i of builtins.def, in order; NULL past the end. */
const struct builtin *builtin_at(uint32_t i);

#endif
