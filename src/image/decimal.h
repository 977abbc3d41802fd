/* Inside of the image: exact decimal numbers, as views of their JSON text. */
#ifndef REGENT_IMAGE_DECIMAL_H
#define REGENT_IMAGE_DECIMAL_H
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* ± (n significant digits, no leading or trailing zero) × 10^exponent; zero has n == 0. */
struct decimal {
    const char *digits; /* first significant digit; the run may hold one '.' */
    uint32_t n;
    int64_t exponent;
    bool negative;
};

/* Exponents beyond this many digits of exponent count as this: no text of fewer than 4 GiB tells
 * them apart. */
#define DECIMAL_EXPONENT_MAX ((int64_t)1 << 52)

/* text is a number in JSON syntax. */
struct decimal decimal_of(struct str text);
/* By value: -1, 0, 1. */
int decimal_compare(struct decimal a, struct decimal b);
/* The value as an integer; false when it is none or has more than 18 digits. */
bool decimal_integer(struct decimal d, int64_t *out);
/* layout.h's hash of the canonical form "<digits>e<exponent>". */
uint32_t decimal_hash(struct decimal d);
/* JSON's number grammar. */
bool decimal_valid(struct str text);
/* Written plainly (layout.h) and within TAG_INTEGER's range. */
bool decimal_plain_integer(struct str text, int64_t *out);

#endif
