/* OPA's arithmetic: exact on integers, else on floats with a 64-bit mantissa.
 * in: number words. out: number words, printed as OPA prints them. owns: result texts, on the heap.
 * Source: OPA v1/topdown/arithmetic.go and aggregates.go, its quirks (ceil(-0.5) is 1, 0/-5 is -0)
 * included. */
#include "runtime/decimal.h"

enum { FLOAT_BITS = 64, PRODUCT_BITS = 53 };
enum operation { ADD, SUB, MUL };

/* Gives back what computing took, and keeps the number alone. */
static value keep(uint32_t mark, value n) {
    if (value_tag(n) == TAG_INTEGER) {
        heap_release(mark);
        return n;
    }
    struct builder b = {at(value_pointer(n)), value_length(n), value_length(n)};
    return number_keep(mark, &b);
}

static bool both_integral(value a, value b, struct bigint *x, struct bigint *y) {
    return number_is_integral(a) && number_is_integral(b) && bigint_of_number(a, x) &&
           bigint_of_number(b, y);
}

static struct bigint exact(enum operation operation, struct bigint x, struct bigint y) {
    switch (operation) {
    case ADD: return bigint_add(x, y);
    case SUB: return bigint_sub(x, y);
    case MUL: break;
    }
    return bigint_mul(x, y);
}

static struct bigfloat inexact(enum operation operation, struct bigfloat x, struct bigfloat y) {
    switch (operation) {
    case ADD: return bigfloat_add(x, y, FLOAT_BITS);
    case SUB: return bigfloat_sub(x, y, FLOAT_BITS);
    case MUL: break;
    }
    return bigfloat_mul(x, y, FLOAT_BITS);
}

static value compute(enum operation operation, value a, value b) {
    uint32_t mark = heap_mark();
    struct bigint x, y;
    if (both_integral(a, b, &x, &y)) return keep(mark, number_of_bigint(exact(operation, x, y)));
    return keep(
        mark, number_of_bigfloat(inexact(operation, bigfloat_of_number(a), bigfloat_of_number(b))));
}

static bool are_small(value a, value b) {
    return value_tag(a) == TAG_INTEGER && value_tag(b) == TAG_INTEGER;
}

value number_add(value a, value b) {
    if (are_small(a, b)) return number_of_int64(value_integer(a) + value_integer(b));
    return compute(ADD, a, b);
}

value number_sub(value a, value b) {
    if (are_small(a, b)) return number_of_int64(value_integer(a) - value_integer(b));
    return compute(SUB, a, b);
}

static bool fits_half(int64_t i) { return i >= INT32_MIN && i <= INT32_MAX; }

value number_mul(value a, value b) {
    if (are_small(a, b) && fits_half(value_integer(a)) && fits_half(value_integer(b)))
        return number_of_int64(value_integer(a) * value_integer(b));
    return compute(MUL, a, b);
}

enum number_status number_div(value a, value b, value *out) {
    if (number_sign(b) == 0) return NUMBER_DIVIDE_BY_ZERO;
    if (are_small(a, b)) {
        int64_t x = value_integer(a), y = value_integer(b);
        if (x != 0 && fits_half(x) && fits_half(y) && x % y == 0) {
            *out = number_of_int64(x / y);
            return NUMBER_OK;
        }
    }
    uint32_t mark = heap_mark();
    *out = keep(mark, number_of_bigfloat(
                          bigfloat_quo(bigfloat_of_number(a), bigfloat_of_number(b), FLOAT_BITS)));
    return NUMBER_OK;
}

enum number_status number_rem(value a, value b, value *out) {
    struct bigint x, y, rest;
    if (are_small(a, b)) {
        if (value_integer(b) == 0) return NUMBER_MODULO_BY_ZERO;
        *out = value_of_integer(value_integer(a) % value_integer(b));
        return NUMBER_OK;
    }
    uint32_t mark = heap_mark();
    if (!both_integral(a, b, &x, &y)) return NUMBER_NOT_INTEGER;
    if (y.n == 0) return NUMBER_MODULO_BY_ZERO;
    bigint_div(x, y, NULL, &rest);
    *out = keep(mark, number_of_bigint(rest));
    return NUMBER_OK;
}

/* ---- one operand ---- */

static bool is_small_text(value n, int64_t *i) { return number_int64(n, i) && fits_half(*i); }

value number_abs(value n) {
    int64_t i;
    uint32_t mark = heap_mark();
    if (value_tag(n) == TAG_INTEGER || is_small_text(n, &i)) {
        number_int64(n, &i);
        return number_of_int64(i < 0 ? -i : i);
    }
    struct bigfloat f = bigfloat_of_number(n);
    f.negative = false;
    return keep(mark, number_of_bigfloat(f));
}

enum direction { TO_NEAREST, UP, DOWN };

/* Whether the truncated value, which is no -0, counts as reached from the right side already. */
static value to_integer(value n, enum direction direction) {
    int64_t i;
    if (value_tag(n) == TAG_INTEGER) return n;
    if (is_small_text(n, &i)) return value_of_integer(i);
    uint32_t mark = heap_mark();
    struct bigfloat f = bigfloat_of_number(n);
    if (direction == TO_NEAREST) {
        struct bigfloat half = {bigint_of_uint64(1), -1, FLOAT_BITS, f.negative};
        f = bigfloat_add(f, half, FLOAT_BITS);
    }
    struct bigint whole = bigfloat_trunc(f);
    struct bigfloat truncated = bigfloat_of_bigint(whole);
    bool moved = bigfloat_compare(f, truncated) != 0;
    struct bigfloat one = bigfloat_of_int64(1, FLOAT_BITS);
    uint32_t bits = truncated.precision;
    if (direction == UP && !truncated.negative && moved)
        truncated = bigfloat_add(truncated, one, bits);
    if (direction == DOWN && truncated.negative && moved)
        truncated = bigfloat_sub(truncated, one, bits);
    return keep(mark, number_of_bigfloat(truncated));
}

value number_round(value n) { return to_integer(n, TO_NEAREST); }
value number_ceil(value n) { return to_integer(n, UP); }
value number_floor(value n) { return to_integer(n, DOWN); }

/* ---- aggregates ---- */

static bool all_integral(const value *items, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!number_is_integral(items[i])) return false;
    return true;
}

value number_sum(const value *items, uint32_t n) {
    if (all_integral(items, n)) {
        value sum = value_of_integer(0);
        for (uint32_t i = 0; i < n; i++) sum = number_add(sum, items[i]);
        return sum;
    }
    uint32_t mark = heap_mark();
    struct bigfloat sum = bigfloat_of_int64(0, FLOAT_BITS);
    for (uint32_t i = 0; i < n; i++)
        sum = bigfloat_add(sum, bigfloat_of_number(items[i]), FLOAT_BITS);
    return keep(mark, number_of_bigfloat(sum));
}

value number_product(const value *items, uint32_t n) {
    if (all_integral(items, n)) {
        value product = value_of_integer(1);
        for (uint32_t i = 0; i < n; i++) product = number_mul(product, items[i]);
        return product;
    }
    uint32_t mark = heap_mark();
    struct bigfloat product = bigfloat_of_int64(1, PRODUCT_BITS);
    for (uint32_t i = 0; i < n; i++)
        product = bigfloat_mul(product, bigfloat_of_number(items[i]), PRODUCT_BITS);
    return keep(mark, number_of_bigfloat(product));
}
