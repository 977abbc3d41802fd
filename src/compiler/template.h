/* Template values: {{NAME}} in string literals stands for a tenant's value. */
#ifndef REGENT_COMPILER_TEMPLATE_H
#define REGENT_COMPILER_TEMPLATE_H
#include "base/json.h"

/* {{NAME}} with NAME = [A-Z_][A-Z0-9_]* */
struct placeholder {
    size_t start, end; /* bytes of the text; end is past }} */
    struct str name;
};
/* The first placeholder at or after `from`; false: there is none. */
bool template_next(struct str text, size_t from, struct placeholder *out);

enum template_result {
    TEMPLATE_NONE, /* no placeholder; out is not written */
    TEMPLATE_FILLED,
    TEMPLATE_BAD_ESCAPE, /* the literal itself is not valid */
    TEMPLATE_UNSET,      /* *unset names a placeholder without a value (a JSON string) */
};
/* Replaces the placeholders of a literal, given as the text between its delimiters; escapes of what
 * stands around them are decoded (raw: there are none), values are inserted as they are. */
enum template_result template_fill(struct arena *a, struct str literal, bool raw,
                                   const struct json *values, struct str *out,
                                   struct placeholder *unset);

#endif
