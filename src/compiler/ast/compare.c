/* OPA's total order of terms and expressions; places are left out.
 * in: two nodes
 * out: below zero, zero, above zero
 * owns: nothing */
#include "compiler/ast/ast.h"

static int compare_u32(uint32_t a, uint32_t b) { return (a > b) - (a < b); }

/* ---- Numbers, by value ---- */

/* A number as 0.d1d2d3… times ten to the `point`; leading and trailing zeros of the digits gone. */
struct decimal {
    bool negative, zero;
    struct str digits; /* may hold one '.' */
    int64_t point;
};

static int64_t read_exponent(struct str s) {
    enum { ENOUGH = 1000000000 };
    bool negative = s.len && s.ptr[0] == '-';
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) s = str_from(s, 1);
    int64_t e = 0;
    for (size_t i = 0; i < s.len && e < ENOUGH; i++) e = e * 10 + (s.ptr[i] - '0');
    return negative ? -e : e;
}

static struct decimal read_decimal(struct str s) {
    struct decimal d = {0};
    d.negative = s.len && s.ptr[0] == '-';
    if (d.negative) s = str_from(s, 1);
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == 'e' || s.ptr[i] == 'E') {
            d.point = read_exponent(str_from(s, i + 1));
            s.len = i;
        }
    }
    const char *dot = s.len ? memchr(s.ptr, '.', s.len) : NULL;
    d.point += dot ? dot - s.ptr : (int64_t)s.len;
    while (s.len && (s.ptr[0] == '0' || s.ptr[0] == '.')) {
        if (s.ptr[0] == '0') d.point--;
        s = str_from(s, 1);
    }
    d.digits = s;
    d.zero = s.len == 0;
    return d;
}

static char next_digit(struct str *s) {
    if (s->len && s->ptr[0] == '.') *s = str_from(*s, 1);
    char c = s->len ? s->ptr[0] : '0';
    *s = str_from(*s, 1);
    return c;
}

static int compare_magnitudes(struct decimal a, struct decimal b) {
    if (a.zero || b.zero) return (int)b.zero - (int)a.zero;
    if (a.point != b.point) return a.point < b.point ? -1 : 1;
    while (a.digits.len || b.digits.len) {
        char x = next_digit(&a.digits), y = next_digit(&b.digits);
        if (x != y) return x < y ? -1 : 1;
    }
    return 0;
}

static int compare_numbers(struct str x, struct str y) {
    struct decimal a = read_decimal(x), b = read_decimal(y);
    if (a.zero && b.zero) return 0;
    bool a_negative = a.negative && !a.zero, b_negative = b.negative && !b.zero;
    if (a_negative != b_negative) return a_negative ? -1 : 1;
    int c = compare_magnitudes(a, b);
    return a_negative ? -c : c;
}

/* ---- Expressions ---- */

static int compare_optional(const struct term *a, const struct term *b) {
    if (!a || !b) return (a != NULL) - (b != NULL);
    return term_compare(a, b);
}

static int compare_lists(const struct term_list *a, const struct term_list *b) {
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        int c = term_compare(a->items[i], b->items[i]);
        if (c) return c;
    }
    return compare_u32(a->n, b->n);
}

static int compare_exprs(const struct expr *a, const struct expr *b);

static int compare_bodies(const struct body *a, const struct body *b) {
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        int c = compare_exprs(a->items[i], b->items[i]);
        if (c) return c;
    }
    return compare_u32(a->n, b->n);
}

static int expr_order(enum expr_kind k) {
    switch (k) {
    case EXPR_SOME: return 0;
    case EXPR_TERM: return 1;
    case EXPR_CALL: return 2;
    case EXPR_EVERY: return 3;
    case EXPR_NOT: return 4;
    case EXPR_AND: return 5;
    case EXPR_OR: return 6;
    }
    return -1;
}

static int compare_withs(const struct with_list *a, const struct with_list *b) {
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        int c = term_compare(a->items[i].target, b->items[i].target);
        if (!c) c = term_compare(a->items[i].value, b->items[i].value);
        if (c) return c;
    }
    return compare_u32(a->n, b->n);
}

static int compare_exprs(const struct expr *a, const struct expr *b) {
    if (a->kind != b->kind) return expr_order(a->kind) - expr_order(b->kind);
    if (a->negated != b->negated) return a->negated ? 1 : -1;
    int c = compare_optional(a->term, b->term);
    if (!c) c = compare_lists(&a->call, &b->call);
    if (!c) c = compare_optional(a->key, b->key);
    if (!c) c = compare_optional(a->value, b->value);
    if (!c) c = compare_optional(a->domain, b->domain);
    if (!c) c = compare_bodies(&a->body, &b->body);
    if (!c) c = compare_bodies(&a->lhs, &b->lhs);
    if (!c) c = compare_bodies(&a->rhs, &b->rhs);
    return c ? c : compare_withs(&a->with, &b->with);
}

/* ---- Terms ---- */

static int term_order(enum term_kind k) {
    switch (k) {
    case TERM_NULL: return 0;
    case TERM_BOOLEAN: return 1;
    case TERM_NUMBER: return 2;
    case TERM_STRING: return 3;
    case TERM_TEMPLATE_STRING: return 4;
    case TERM_VAR: return 5;
    case TERM_REF: return 6;
    case TERM_ARRAY: return 7;
    case TERM_OBJECT: return 8;
    case TERM_SET: return 9;
    case TERM_ARRAY_COMPR: return 10;
    case TERM_OBJECT_COMPR: return 11;
    case TERM_SET_COMPR: return 12;
    case TERM_CALL: return 13;
    }
    return 14;
}

static int compare_templates(const struct term *a, const struct term *b) {
    if (a->multi_line != b->multi_line) return a->multi_line ? 1 : -1;
    int c = compare_u32(a->parts.n, b->parts.n);
    return c ? c : compare_bodies(&a->parts, &b->parts);
}

int term_compare(const struct term *a, const struct term *b) {
    if (a == b) return 0;
    if (a->kind != b->kind) return term_order(a->kind) - term_order(b->kind);
    int c;
    switch (a->kind) {
    case TERM_NULL: return 0;
    case TERM_BOOLEAN: return (int)a->boolean - (int)b->boolean;
    case TERM_NUMBER: return compare_numbers(a->text, b->text);
    case TERM_STRING:
    case TERM_VAR: return str_cmp(a->text, b->text);
    case TERM_REF:
    case TERM_ARRAY:
    case TERM_OBJECT:
    case TERM_SET:
    case TERM_CALL: return compare_lists(&a->list, &b->list);
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR:
        c = compare_optional(a->key, b->key);
        if (!c) c = term_compare(a->value, b->value);
        return c ? c : compare_bodies(&a->body, &b->body);
    case TERM_TEMPLATE_STRING: return compare_templates(a, b);
    }
    return 0;
}

bool term_equal(const struct term *a, const struct term *b) { return term_compare(a, b) == 0; }
