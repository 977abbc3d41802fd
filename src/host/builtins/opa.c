/* trace and opa.runtime.
 *
 * in:   a note; nothing.
 * out:  true; an object.
 * owns: nothing. */
#include "host/builtins/support.h"
#include "host/builtins/table.h"

/* Notes go to explanations, which compiled policies do not write. */
enum err hb_trace(struct builtin_call *c) {
    struct str note;
    return builtin_string(c, 0, &note) ? builtin_return_bool(c, true) : OK;
}

/* Empty, as OPA has it where no runtime is configured: the node's environment, version and configuration are no
 * business of a tenant's policy. */
enum err hb_opa_runtime(struct builtin_call *c) {
    struct json *o = json_object(c->arena);
    return o ? builtin_return(c, o) : ERR_MEMORY;
}
