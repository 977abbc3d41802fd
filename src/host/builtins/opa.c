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

/* The members that `opa eval` shows. The environment stays empty: it is the node's, and a tenant's
 * policy has no business with it. */
enum err hb_opa_runtime(struct builtin_call *c) {
    struct arena *a = c->arena;
    struct json *o = json_object(a);
    bool ok = o && object_add(a, o, STR("authorization_enabled"), json_bool(a, false)) &&
              object_add(a, o, STR("commit"), json_string(a, STR(""))) &&
              object_add(a, o, STR("env"), json_object(a)) &&
              object_add(a, o, STR("version"), json_string(a, STR(REGENT_VERSION)));
    return ok ? builtin_return(c, o) : ERR_MEMORY;
}
