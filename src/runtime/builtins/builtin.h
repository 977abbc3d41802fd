/* What the files of this directory share: operand checks, error texts, and OPA's text of a value.
 */
#ifndef REGENT_RUNTIME_BUILTINS_BUILTIN_H
#define REGENT_RUNTIME_BUILTINS_BUILTIN_H
#include "runtime/number.h"
#include "runtime/rt.h"

/* Collections nested deeper than this end an evaluation with "stack" where a builtin recurses. */
enum { BUILTIN_MAX_DEPTH = 1024 };

/* Leaves the builtin with OPA's type error unless operand `pos` has the one type that is allowed.
 */
#define NEED(builtin, pos, v, is_type, type)                                                       \
    do {                                                                                           \
        if (RT_UNLIKELY(!is_type(v))) return bi_error_operand(builtin, pos, type, v);              \
    } while (0)
#define NEED_STRING(builtin, pos, v) NEED(builtin, pos, v, is_string, "string")
#define NEED_NUMBER(builtin, pos, v) NEED(builtin, pos, v, is_number, "number")
#define NEED_ARRAY(builtin, pos, v) NEED(builtin, pos, v, is_array, "array")
#define NEED_OBJECT(builtin, pos, v) NEED(builtin, pos, v, is_object, "object")
#define NEED_SET(builtin, pos, v) NEED(builtin, pos, v, is_set, "set")

/* ---- operand.c ---- */
/* OPA's Number.Int: an integer within int64 without exponent; "10.00" is one. */
bool plain_int64(value n, int64_t *out);
/* OPA's IntOperand: plain_int64. False after an error has been reported. */
bool operand_int64(const char *builtin, int pos, value v, int64_t *out);
/* bi_error with a message made of several parts; the parts are static texts or string values'
 * bytes. */
value error_with_text(const char *builtin, const char *before, struct text middle,
                      const char *after);
static inline bool is_list(value v) { return is_array(v) || is_set(v); }
/* Items of an array, or of a set in OPA's order; valid until something else changes v. */
static inline value *list_items(value v) { return is_set(v) ? set_sorted(v) : array_items(v); }
/* Ends the evaluation when `depth` passes BUILTIN_MAX_DEPTH. */
void check_depth(uint32_t depth);

/* ---- term.c: values as Rego text, OPA's Value.String() ---- */
/* Strings quoted as by strconv.Quote, {"k": 1}, {1, 2}, set(). */
void term_write(struct builder *b, value v);
/* strconv.Quote, or QuoteToASCII; without the surrounding quotes' choice: quote is '"' or '\''. */
void term_quote(struct builder *b, struct text t, bool ascii);
/* One character inside quotes, escaped as by strconv. */
void term_quote_char(struct builder *b, uint32_t cp, uint8_t quote, bool ascii);

#endif
