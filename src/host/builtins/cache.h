/* Compiled patterns of one thread. */
#ifndef REGENT_HOST_BUILTINS_CACHE_H
#define REGENT_HOST_BUILTINS_CACHE_H
#include "host/builtins/builtin.h"
#include "host/builtins/re2_shim.h"

/* The compiled pattern, which lives until that many other patterns were asked for; NULL after
 * builtin_fail. */
const struct regex *cache_regex(struct builtin_call *c, struct str pattern);

#endif
