/* Parses numbers, strings and template strings.
 * in: the parser at the literal
 * out: the term, its last token still at hand; NULL and errors otherwise
 * owns: nothing */
#include "compiler/ast/escape.h"
#include "compiler/ast/parser_private.h"
#include "compiler/template.h"
#include <math.h>

/* ---- Numbers ---- */

enum number_state { NUMBER_OK, NUMBER_INVALID, NUMBER_TOO_BIG };
/* A number's binary exponent may not pass this (OPA's bound on what arithmetic costs). */
enum { NUMBER_MAX_EXPONENT = 100000 };

/* digits [. digits]: leading significant digits and their power of ten. */
struct decimal {
    double digits;
    int64_t power;
    bool nonzero;
};

static struct decimal read_mantissa(struct str s, size_t *at) {
    struct decimal d = {0};
    bool fraction = false;
    int used = 0;
    for (; *at < s.len; (*at)++) {
        char c = s.ptr[*at];
        if (c == '.') {
            fraction = true;
            continue;
        }
        if (c < '0' || c > '9') break;
        if (c != '0') d.nonzero = true;
        if (fraction) d.power--;
        if (used < 17)
            d.digits = d.digits * 10 + (c - '0');
        else
            d.power++;
        if (d.nonzero) used++;
    }
    return d;
}

static bool read_exponent(struct str s, size_t at, int64_t *out) {
    bool negative = at < s.len && s.ptr[at] == '-';
    if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+')) at++;
    int64_t e = 0;
    for (; at < s.len; at++) {
        if (__builtin_mul_overflow(e, 10, &e) || __builtin_add_overflow(e, s.ptr[at] - '0', &e)) {
            return false;
        }
    }
    *out = negative ? -e : e;
    return true;
}

static enum number_state check_number(struct str s) {
    size_t at = s.len && s.ptr[0] == '-' ? 1 : 0;
    struct str mantissa = str_from(s, at);
    const char *dot = memchr(mantissa.ptr, '.', mantissa.len);
    if (dot && memchr(dot + 1, '.', (size_t)(s.ptr + s.len - dot - 1))) return NUMBER_INVALID;
    struct decimal d = read_mantissa(s, &at);
    int64_t exponent = 0;
    if (at < s.len && !read_exponent(s, at + 1, &exponent)) return NUMBER_INVALID;
    if (!d.nonzero) return NUMBER_OK;
    if (exponent > INT32_MAX || exponent < INT32_MIN) return NUMBER_INVALID;
    double binary = log2(d.digits) + (double)(d.power + exponent) * log2(10);
    bool fits =
        floor(binary) + 1 <= NUMBER_MAX_EXPONENT && floor(binary) + 1 >= -NUMBER_MAX_EXPONENT;
    return fits ? NUMBER_OK : NUMBER_TOO_BIG;
}

static bool has_leading_zero(struct str lit) {
    if (lit.len < 2 || lit.ptr[0] != '0' || lit.ptr[1] == '.') return false;
    return !(lit.len > 2 && (lit.ptr[1] == 'e' || lit.ptr[1] == 'E'));
}

/* The digits at hand, behind what was read of sign and point. */
static struct term *parse_digits(struct parser *p, const char *prefix, struct loc loc) {
    struct str lit = p->s.tok.lit;
    if (prefix[0] == 0 || prefix[strlen(prefix) - 1] != '.') {
        if (has_leading_zero(lit)) {
            parser_illegal(p, "expected number without leading zero");
            return NULL;
        }
    }
    struct term *t = term_new(p->arena, TERM_NUMBER, loc);
    t->text = lit;
    if (prefix[0]) {
        t->text.ptr = arena_printf(p->arena, &t->text.len, "%s%.*s", prefix, STR_FMT(lit));
    }
    t->loc.len = p->s.tok.end - loc.offset;
    switch (check_number(t->text)) {
    case NUMBER_OK: return t;
    case NUMBER_INVALID: parser_illegal(p, "invalid float"); break;
    case NUMBER_TOO_BIG: parser_error(p, parser_loc(p), "number too big"); break;
    }
    return NULL;
}

struct term *parse_number(struct parser *p) {
    struct loc loc = parser_loc(p);
    bool minus = p->s.tok.kind == TOK_MINUS;
    if (minus) {
        parser_scan(p);
        if (p->s.tok.kind != TOK_NUMBER && p->s.tok.kind != TOK_DOT) {
            parser_illegal(p, "expected number");
            return NULL;
        }
    }
    bool dot = p->s.tok.kind == TOK_DOT;
    if (dot) {
        parser_scan(p);
        if (p->s.tok.kind != TOK_NUMBER) {
            parser_illegal(p, "expected number");
            return NULL;
        }
    }
    return parse_digits(p, minus ? dot ? "-." : "-" : dot ? "." : "", loc);
}

/* ---- Strings ---- */

/* The place `bytes` into the token at hand. */
static struct loc loc_inside(const struct parser *p, size_t bytes) {
    struct loc loc = parser_loc(p);
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)p->s.tok.lit.ptr[i];
        if (c == '\n') {
            loc.row++;
            loc.col = 1;
        } else if ((c & 0xC0) != 0x80) {
            loc.col++;
        }
    }
    loc.offset += (uint32_t)bytes;
    return loc;
}

static struct term *string_of(struct parser *p, struct str text) {
    return term_string(p->arena, text, parser_loc(p));
}

/* Sets *out when the literal holds placeholders; false: it holds none. After an unset name the
 * literal stands for itself, so that the parser goes on and finds others. */
static bool fill_string(struct parser *p, struct str inner, bool raw, struct term **out) {
    const struct json *values = p->options->template_values;
    struct str text;
    struct placeholder unset;
    if (!values) return false;
    switch (template_fill(p->arena, inner, raw, values, &text, &unset)) {
    case TEMPLATE_NONE:
    case TEMPLATE_BAD_ESCAPE: return false;
    case TEMPLATE_FILLED:
        *out = string_of(p, text);
        if (raw)
            (*out)->template_text = inner;
        else if (!escape_decode(p->arena, inner, false, &(*out)->template_text))
            return false;
        return true;
    case TEMPLATE_UNSET: {
        struct loc loc = loc_inside(p, unset.start + 1);
        loc.len = (uint32_t)(unset.end - unset.start);
        parser_error(p, loc, "no value for {{%.*s}}: pass --set %.*s=VALUE", STR_FMT(unset.name),
                     STR_FMT(unset.name));
        *out = string_of(p, inner);
    }
    }
    return true;
}

struct term *parse_string(struct parser *p) {
    struct str lit = p->s.tok.lit;
    if (lit.len < 2) return NULL;
    bool raw = lit.ptr[0] == '`';
    struct str inner = {lit.ptr + 1, lit.len - 2}, text = inner;
    struct term *filled;
    if (fill_string(p, inner, raw, &filled)) return filled;
    if (!raw && !escape_decode(p->arena, inner, false, &text)) {
        parser_error(p, parser_loc(p), "illegal string literal: %.*s", STR_FMT(lit));
        return NULL;
    }
    return string_of(p, text);
}

/* ---- Template strings ---- */

/* The text at hand, from the opening quote or `}` to the closing quote or `{`. */
static bool parse_template_text(struct parser *p, bool raw, bool first, struct body *parts) {
    struct str lit = p->s.tok.lit, text;
    size_t open = first ? 2 : 0; /* later parts begin after their `}` */
    struct str inner = {lit.ptr + open, lit.len - open - 1};
    if (raw)
        text = escape_decode_raw(p->arena, inner, true);
    else if (!escape_decode(p->arena, inner, true, &text)) {
        parser_error(p, parser_loc(p), "illegal template-string part: %.*s", STR_FMT(lit));
        return false;
    }
    if (text.len == 0) return true;
    struct expr *e = expr_new(p->arena, EXPR_TERM, parser_loc(p));
    e->term = string_of(p, text);
    ARENA_PUSH(p->arena, parts, e);
    return true;
}

/* What an expression inside {…} may not be; NULL: it may be there. */
static const char *forbidden_in_template(const struct expr *e) {
    if (e->negated) return "negation ('not')";
    if (e->kind == EXPR_CALL && term_is_op(e->call.items[0], "eq")) return "unification ('=')";
    if (e->kind == EXPR_CALL && term_is_op(e->call.items[0], "assign")) return "assignment (':=')";
    if (e->kind == EXPR_EVERY) return "'every'";
    if (e->kind == EXPR_SOME) return "'some'";
    return NULL;
}

static bool parse_template_expr(struct parser *p, struct body *parts) {
    parser_scan(p);
    struct expr *e = parse_literal(p);
    if (!e) {
        parser_error(p, parser_loc(p), "invalid template-string expression");
        return false;
    }
    const char *forbidden = forbidden_in_template(e);
    if (forbidden) {
        parser_error(p, e->loc, "unexpected %s in template-string expression", forbidden);
        return false;
    }
    if (e->kind == EXPR_TERM && e->term->kind <= TERM_STRING) e->with.n = 0; /* as OPA drops it */
    ARENA_PUSH(p->arena, parts, e);
    if (p->s.tok.kind == TOK_RBRACE) return true;
    parser_error(p, parser_loc(p), "expected } to end template string expression");
    return false;
}

struct term *parse_template_string(struct parser *p, bool raw) {
    struct loc loc = parser_loc(p);
    if (p->version == REGO_V0) {
        parser_error(p, loc, "template strings are not supported by current capabilities");
        return NULL;
    }
    struct term *t = term_new(p->arena, TERM_TEMPLATE_STRING, loc);
    t->multi_line = raw;
    for (bool first = true;; first = false) {
        enum token_kind k = p->s.tok.kind;
        bool end = k == TOK_TEMPLATE_END || k == TOK_RAW_TEMPLATE_END;
        if (!end && k != TOK_TEMPLATE_PART && k != TOK_RAW_TEMPLATE_PART) {
            parser_error(p, parser_loc(p), "expected template-string part");
            return NULL;
        }
        if (!parse_template_text(p, raw, first, &t->parts)) return NULL;
        if (end) break;
        if (!parse_template_expr(p, &t->parts)) return NULL;
        parser_scan_template(p, raw);
    }
    t->loc.len = p->s.tok.end - loc.offset;
    return t;
}
