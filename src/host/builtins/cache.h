/* Compiled patterns and time zones of one thread. */
#ifndef REGENT_HOST_BUILTINS_CACHE_H
#define REGENT_HOST_BUILTINS_CACHE_H
#include "host/builtins/builtin.h"
#include "host/builtins/re2_shim.h"
#include "host/builtins/zone_files.h"

/* The compiled pattern, which lives until that many other patterns were asked for; NULL after
 * builtin_fail. */
const struct regex *cache_regex(struct builtin_call *c, struct str pattern);
/* Zones that were kept; NULL: none were, so files may be read. */
const struct zone_files *cache_zones(const struct builtin_cache *c);

#endif
