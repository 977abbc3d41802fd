/* One directive of a format string and the printing of one argument under it (Go's fmt). */
#ifndef REGENT_RUNTIME_BUILTINS_FORMAT_H
#define REGENT_RUNTIME_BUILTINS_FORMAT_H
#include "runtime/builtins/builtin.h"

/* Widths and precisions past this are errors, as in Go. */
enum { FORMAT_MAX_NUMBER = 1000000 };

struct directive {
    bool minus, plus, sharp, space, zero; /* flags */
    bool plus_v, sharp_v;                 /* %+v and %#v, which switch plus and sharp off */
    bool has_width, has_precision;
    uint32_t width, precision;
};

/* What OPA hands to fmt: numbers as int64, float64 or *big.Int, strings, and the Rego text of all
 * else. */
enum argument_kind { ARGUMENT_INT, ARGUMENT_BIG, ARGUMENT_FLOAT, ARGUMENT_STRING };
struct argument {
    enum argument_kind kind;
    struct bigint integer; /* INT, BIG */
    double number;         /* FLOAT */
    struct text text;      /* STRING */
};
struct argument argument_of(value v);
const char *argument_type(const struct argument *a); /* "int64", "*big.Int", … */

/* Appends the argument under the verb; a verb that does not fit gives "%!x(string=…)". */
void format_argument(struct builder *b, const struct directive *d, const struct argument *a,
                     uint32_t verb);
void format_float(struct builder *b, const struct directive *d, const struct argument *a,
                  uint32_t verb); /* format_float.c: the part for ARGUMENT_FLOAT */
void format_bad_verb(struct builder *b, const struct directive *d, const struct argument *a,
                     uint32_t verb);
/* Fills up from `used` characters to d's width. */
void format_padding(struct builder *b, const struct directive *d, uint32_t used);
/* Appends t padded to d's width. */
void format_padded(struct builder *b, const struct directive *d, struct text t);

#endif
