/* Numbers: exact comparison, integers of any size, OPA's floating-point arithmetic and number
 * texts.
 *
 * Source of rules: OPA 1.22 v1/topdown/arithmetic.go: operands that are integers in value are
 * computed exactly; all else in binary floating point with a 64-bit mantissa (Go's big.Float),
 * printed as the shortest decimal that reads back to the same mantissa. */
#ifndef REGENT_RUNTIME_NUMBER_H
#define REGENT_RUNTIME_NUMBER_H
#include "runtime/rt.h"

/* ---- numbers in and out ---- */
value number_of_int64(int64_t i);
value number_of_uint64(uint64_t i);
/* A number of text in JSON syntax (copied unless view); VALUE_UNDEFINED when it is not. Go's
 * to_number also takes other forms: the builtin normalises first. */
value number_of_text(struct text t);
/* The shortest 'g' text of a double, as Go's FormatFloat(f, 'g', -1, 64); NaN and infinities:
 * VALUE_UNDEFINED. */
value number_of_double(double d);
/* OPA's Number.Int64: plain integer text within int64 ("1.0" and "1e3" are not). */
bool number_int64(value n, int64_t *out);
/* The value is an integer within int64, however written (1.0, 1e3). */
bool number_integral_int64(value n, int64_t *out);
/* Plain integer text of any size (no fraction or exponent). */
bool number_is_plain_integer(value n);
/* The value is an integer, however written. */
bool number_is_integral(value n);
/* Nearest double, ties to even, as Go's ParseFloat; false when it overflows (*out is an infinity
 * then). */
bool number_double(value n, double *out);
int number_sign(value n); /* -1, 0, 1 */
int number_compare(value a, value b);
bool number_equal(value a, value b);
uint32_t number_hash(value n);
/* The number's text as OPA prints it; appended. */
void builder_number(struct builder *b, value n);

/* ---- OPA's arithmetic ---- */
enum number_status { NUMBER_OK, NUMBER_DIVIDE_BY_ZERO, NUMBER_MODULO_BY_ZERO, NUMBER_NOT_INTEGER };
value number_add(value a, value b);
value number_sub(value a, value b);
value number_mul(value a, value b);
enum number_status number_div(value a, value b, value *out); /* NUMBER_DIVIDE_BY_ZERO */
enum number_status number_rem(value a, value b,
                              value *out); /* NUMBER_MODULO_BY_ZERO, NUMBER_NOT_INTEGER */
value number_abs(value n);
value number_round(value n); /* half away from zero */
value number_ceil(value n);
value number_floor(value n);
/* OPA's sum and product: exact when all are integers, else accumulated in one float (product:
 * 53-bit mantissa). items are numbers. */
value number_sum(const value *items, uint32_t n);
value number_product(const value *items, uint32_t n);

/* ---- integers of any size: sign and magnitude, limbs on the heap, little end first, no leading
 * zero limb ---- */
struct bigint {
    uint32_t *limbs;
    uint32_t n;
    bool negative; /* never with n == 0 */
};
struct bigint bigint_of_int64(int64_t i);
struct bigint bigint_of_uint64(uint64_t i);
/* Digits in a base of 2 to 36, optional '-' or '+' in front; false when they are not. */
bool bigint_of_text(struct text digits, uint32_t base, struct bigint *out);
/* OPA's NumberToInt: integers in value, however written; false for others. */
bool bigint_of_number(value n, struct bigint *out);
value number_of_bigint(struct bigint a);
bool bigint_int64(struct bigint a, int64_t *out);
int bigint_compare(struct bigint a, struct bigint b);
struct bigint bigint_neg(struct bigint a);
struct bigint bigint_add(struct bigint a, struct bigint b);
struct bigint bigint_sub(struct bigint a, struct bigint b);
struct bigint bigint_mul(struct bigint a, struct bigint b);
/* Truncated toward zero; the remainder has a's sign. b is not 0; either result may be NULL. */
void bigint_div(struct bigint a, struct bigint b, struct bigint *quotient,
                struct bigint *remainder);
/* Two's complement of unlimited width, as Go's big.Int. */
struct bigint bigint_and(struct bigint a, struct bigint b);
struct bigint bigint_or(struct bigint a, struct bigint b);
struct bigint bigint_xor(struct bigint a, struct bigint b);
struct bigint bigint_not(struct bigint a);
struct bigint bigint_shl(struct bigint a,
                         uint32_t bits); /* too long a result ends the evaluation (guest_memory) */
struct bigint bigint_shr(struct bigint a, uint32_t bits); /* arithmetic: rounds down */
uint32_t bigint_bits(struct bigint a);                    /* length of the magnitude */
/* Digits in lower case in a base of 2 to 36, '-' in front of negatives; appended. */
void builder_bigint(struct builder *b, struct bigint a, uint32_t base);

/* ---- floats as Go's big.Float: rounded to nearest even at `precision` bits after each operation
 * ---- */
struct bigfloat {
    struct bigint mantissa; /* value = mantissa × 2^exponent; 0 is mantissa.n == 0 */
    int32_t exponent;
    uint32_t precision; /* bits; 64 unless told */
    bool negative;      /* of zeros too: -0 */
};
struct bigfloat bigfloat_of_number(value n); /* 64 bits, as big.Float.SetString */
bool bigfloat_of_text(
    struct text t, struct bigfloat *out); /* decimal text as JSON's, also ".5" and "5." and a '+' */
struct bigfloat bigfloat_of_int64(int64_t i, uint32_t precision);
struct bigfloat bigfloat_of_bigint(struct bigint a); /* precision: max(64, its length) */
value number_of_bigfloat(struct bigfloat a);         /* OPA's FloatToNumber */
struct bigfloat bigfloat_add(struct bigfloat a, struct bigfloat b, uint32_t precision);
struct bigfloat bigfloat_sub(struct bigfloat a, struct bigfloat b, uint32_t precision);
struct bigfloat bigfloat_mul(struct bigfloat a, struct bigfloat b, uint32_t precision);
struct bigfloat bigfloat_quo(struct bigfloat a, struct bigfloat b,
                             uint32_t precision); /* b is not 0 */
struct bigint bigfloat_trunc(struct bigfloat a);  /* toward zero */
bool bigfloat_is_int(struct bigfloat a);
int bigfloat_compare(struct bigfloat a, struct bigfloat b);

/* ---- doubles ---- */
/* Go's strconv.FormatFloat(d, format, precision, 64): format 'e', 'E', 'f', 'g', 'G'; precision <
 * 0: shortest. */
void builder_double(struct builder *b, double d, char format, int precision);
/* Go's ParseFloat for decimal text; false when malformed. Overflow gives an infinity and *overflow
 * = true. */
bool double_of_text(struct text t, double *out, bool *overflow);

#endif
