/* RE2 as C sees it. Patterns are Go's syntax, which is RE2's but for named groups. */
#ifndef REGENT_HOST_BUILTINS_RE2_SHIM_H
#define REGENT_HOST_BUILTINS_RE2_SHIM_H
#include "base/str.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct regex;
/* NULL when it does not parse or would grow too large: error gets RE2's sentence. */
struct regex *regex_new(struct str pattern, char *error, size_t error_bytes);
void regex_free(struct regex *r);
/* Number of groups, the whole match not counted. */
uint32_t regex_groups(const struct regex *r);
/* The group of that name, or -1. */
int regex_group(const struct regex *r, struct str name);

/* Offsets of a group in the text; start < 0: it took no part. */
struct regex_span {
    int64_t start, end;
};
/* The leftmost match that begins at `from` or later, as Perl would choose; spans[0] is the whole.
 */
bool regex_find(const struct regex *r, struct str text, size_t from, struct regex_span *spans,
                uint32_t n_spans);

#ifdef __cplusplus
}
#endif
#endif
