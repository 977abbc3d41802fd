/* Prototypes of the host builtins: hb_<identifier of builtins.def>. */
#ifndef REGENT_HOST_BUILTINS_TABLE_H
#define REGENT_HOST_BUILTINS_TABLE_H
#include "host/builtins/builtin.h"

#define BUILTIN(identifier, name, infix, place, flags, category, type)                             \
    enum err hb_##identifier(struct builtin_call *c);
#include "builtins.def"
#undef BUILTIN

#endif
