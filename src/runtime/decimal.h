/* Inside of the numbers: exact decimals as views of their text, digits of exact binary values,
 * keeping results. */
#ifndef REGENT_RUNTIME_DECIMAL_H
#define REGENT_RUNTIME_DECIMAL_H
#include "runtime/number.h"
#include "runtime/state.h"

/* ± the n significant digits (no leading or trailing zero) × 10^exponent; zero has n == 0. */
struct decimal {
    const uint8_t *digits; /* the first; the run may hold one '.' */
    uint32_t n;
    int64_t exponent;
    bool negative;
};
struct decimal decimal_of_text(struct text t);
/* The digits alone, without a '.'; on the heap when they are not contiguous. */
struct text decimal_digits(struct decimal d);

/* A number's text; `room` is used for TAG_INTEGER. */
enum { NUMBER_ROOM = 24 };
struct text number_text(value n, uint8_t room[NUMBER_ROOM]);

/* Digits of a binary value: 0.d1d2… × 10^point, without trailing zeros. */
struct digits {
    uint8_t *d;
    uint32_t n;
    int32_t point;
};
struct digits digits_of(struct bigint mantissa, int32_t exponent);
void digits_round(struct digits *d, int64_t n); /* to n digits, to nearest, exact halves to even */
/* Shortens d as long as it stays between the neighbours' middles; `aligned`: compares digits of
 * equal weight. */
void digits_shorten(struct digits *d, struct digits lower, struct digits upper, bool inclusive,
                    bool aligned);
/* Go's layouts 'e', 'E', 'f', 'g', 'G' of rounded digits. precision < 0: as many as there are. */
void digits_write(struct builder *b, bool negative, struct digits d, char format, int precision);

struct bigint bigint_power(uint32_t base, uint32_t exponent);

/* b's text is the result of what was computed since `mark`: keeps it and gives the rest of the
 * memory back. */
value number_keep(uint32_t mark, const struct builder *b);

#endif
