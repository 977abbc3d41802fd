/* Paths of json.filter, json.remove and json.patch. */
#ifndef REGENT_RUNTIME_BUILTINS_JSON_PATHS_H
#define REGENT_RUNTIME_BUILTINS_JSON_PATHS_H
#include "runtime/builtins/builtin.h"

/* "a/b~1c" (leading slashes do not count) or an array of keys, as an array of keys; "" is no key.
 * VALUE_UNDEFINED after an error. */
value json_path_of(const char *builtin, value path);

#endif
