/* Sources as bundles carry them: names as absolute paths, texts with their template values put in.
 */
#ifndef REGENT_COMPILER_SOURCE_H
#define REGENT_COMPILER_SOURCE_H
#include "base/buf.h"
#include "compiler/compile.h"

/* String literals of a text that hold placeholders, with their quotes; in order. */
struct source_hole {
    uint32_t offset, len; /* bytes */
};
struct source_holes {
    struct source_hole *items;
    uint32_t n, cap;
};
/* m was parsed with a value for each placeholder (whichever). */
void source_find_holes(struct arena *a, const struct module *m, struct source_holes *out);
/* The text with values in its holes; all else stays as written. A value never ends its literal. */
struct str source_fill(struct arena *a, struct str text, const struct source_holes *holes,
                       const struct json *values, struct buf *scratch);
/* Both at once. The arena must be able to jump (base/arena.h) or be large enough; scratch: a
 * buffer, for the text as it grows. */
struct str source_text(struct arena *a, const struct compile_source *source,
                       const struct parse_options *parse, struct buf *scratch);
/* "/shop/policy.rego" for "./shop/policy.rego". */
struct str source_path(struct arena *a, struct str file);

#endif
