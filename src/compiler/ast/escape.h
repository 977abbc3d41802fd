/* The escapes of Rego's string literals. */
#ifndef REGENT_COMPILER_AST_ESCAPE_H
#define REGENT_COMPILER_AST_ESCAPE_H
#include "base/arena.h"
#include "base/str.h"

/* What stands between the delimiters of a literal, as characters. Without a backslash the text is
 * given as it is; with one, JSON's rules hold (lone surrogates become U+FFFD, no control
 * characters). `braces`: \{ is { (template strings). False: the literal is not valid. */
bool escape_decode(struct arena *a, struct str text, bool braces, struct str *out);
/* The same for literals in backquotes: only \{ is special, and that only with `braces`. */
struct str escape_decode_raw(struct arena *a, struct str text, bool braces);

#endif
