/* Inside of the host: values across the border of a sandbox, while it waits in opa_builtinN. */
#ifndef REGENT_HOST_VALUE_H
#define REGENT_HOST_VALUE_H
#include "host/instance.h"

/* The value at an address: for our modules a word in memory, read in place; for OPA's, what
 * opa_json_dump says. Errors: what the sandbox did (i->stopped is set then), ERR_INVALID,
 * ERR_MEMORY. */
MUST_USE enum err guest_read(struct instance *i, uint32_t address, struct arena *a,
                             struct json **out);
/* Whether the value there is a set, which guest_read gives as an array. Of OPA's modules that is not
 * known: false. */
bool guest_is_set(struct instance *i, uint32_t address);
/* Puts v on the sandbox's heap. Scalars of our modules are written as words, all else goes through
 * opa_json_parse (sets: opa_value_parse). */
MUST_USE enum err guest_write(struct instance *i, const struct json *v, bool as_set,
                              uint32_t *address);

#endif
