/* What the parts of reading a document share. */
#ifndef REGENT_CONTROL_SPEC_PRIVATE_H
#define REGENT_CONTROL_SPEC_PRIVATE_H
#include "control/spec.h"

/* Both arenas jump to spec_read's end when they are full, so no allocation is checked. */
struct reader {
    struct arena *a, scratch; /* scratch: one file's syntax tree */
    enum spec_kind kind;
    struct json *out; /* the canonical document so far */
    struct diag_list *diags;
};

/* Adds a problem of the member at `path`, an arena's text. */
void spec_problem(struct reader *r, struct str path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "parameters.REGION" */
struct str spec_path(struct reader *r, const char *member, struct str key);
/* false, and a problem: not of that kind. */
bool spec_is(struct reader *r, struct str path, const struct json *v, enum json_kind kind,
             const char *wants);
/* A text of at most `most` bytes without control characters (but for line ends and tabs when
 * `lines`). false, and a problem. */
bool spec_text_is(struct reader *r, struct str path, const struct json *v, size_t most, bool lines);
/* A copy of s for a message, at most 64 bytes, whole characters, without control characters. */
const char *spec_shown(struct reader *r, struct str s);
/* "unknown member", with the likeliest way forward; path is that of the object. */
void spec_unknown(struct reader *r, struct str path, struct str name, const char *const *known,
                  uint32_t n);

/* Readers of members (spec_files.c, spec_values.c): append to r->out what belongs into the
 * canonical document. */
void spec_read_files(struct reader *r, const struct json *v);
void spec_read_parameters(struct reader *r, const struct json *v); /* a template's */
void spec_read_values(struct reader *r, const struct json *v);     /* a tenant's */

#endif
