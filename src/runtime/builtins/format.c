/* One argument of sprintf under one directive, by the rules of Go's fmt package.
 * in:  an argument, flags, width, precision, verb
 * out: text appended to a builder
 * owns: nothing */
#include "runtime/builtins/format.h"
#include "runtime/builtins/unicode.h"

static bool has_float_syntax(struct text t) {
    for (uint32_t i = 0; i < t.len; i++)
        if (t.ptr[i] == '.' || (t.ptr[i] | 32) == 'e') return true;
    return false;
}

struct argument argument_of(value v) {
    struct argument a = {.kind = ARGUMENT_STRING};
    int64_t i;
    if (is_string(v)) {
        a.text = text_of(v);
        return a;
    }
    if (value_tag(v) == TAG_NUMBER && has_float_syntax(text_of(v))) {
        if (number_double(v, &a.number))
            a.kind = ARGUMENT_FLOAT;
        else
            a.text = text_of(v);
        return a;
    }
    if (is_number(v) && bigint_of_number(v, &a.integer)) {
        a.kind = number_int64(v, &i) ? ARGUMENT_INT : ARGUMENT_BIG;
        return a;
    }
    struct builder b = builder_new(64);
    term_write(&b, v);
    a.text = builder_view(&b);
    return a;
}

const char *argument_type(const struct argument *a) {
    switch (a->kind) {
    case ARGUMENT_INT: return "int64";
    case ARGUMENT_BIG: return "*big.Int";
    case ARGUMENT_FLOAT: return "float64";
    case ARGUMENT_STRING: break;
    }
    return "string";
}

void format_padding(struct builder *b, const struct directive *d, uint32_t used) {
    if (d->has_width && d->width > used)
        builder_repeat(b, d->zero && !d->minus ? '0' : ' ', d->width - used);
}
void format_padded(struct builder *b, const struct directive *d, struct text t) {
    uint32_t used = d->has_width ? utf8_count(t) : 0;
    if (!d->minus) format_padding(b, d, used);
    builder_text(b, t);
    if (d->minus) format_padding(b, d, used);
}

void format_bad_verb(struct builder *b, const struct directive *d, const struct argument *a,
                     uint32_t verb) {
    builder_c(b, "%!");
    builder_code_point(b, verb);
    builder_put(b, '(');
    builder_c(b, a->kind == ARGUMENT_BIG ? "big.Int" : argument_type(a));
    builder_put(b, '=');
    if (a->kind == ARGUMENT_BIG)
        builder_bigint(b, a->integer, 10);
    else
        format_argument(b, d, a, 'v');
    builder_put(b, ')');
}

/* ---- integers ---- */

static void to_upper(uint8_t *p, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (p[i] >= 'a' && p[i] <= 'z') p[i] = (uint8_t)(p[i] - 32);
}

/* "0x" and the like. The octal "0" is not doubled in front of a 0 that is there. */
static const char *base_prefix(const struct directive *d, uint32_t verb, bool leading_zero) {
    if (verb == 'O') return "0o";
    if (!d->sharp) return "";
    if (verb == 'b') return "0b";
    if (verb == 'o') return leading_zero ? "" : "0";
    return verb == 'x' ? "0x" : verb == 'X' ? "0X" : "";
}

/* fmt counts a padding with zeros as digits, before the prefix; big.Int's own formatter after it.
 */
static uint32_t zero_digits(const struct directive *d, const struct argument *a, const char *sign,
                            const char *prefix, uint32_t digits) {
    uint32_t want = 0, used = digits;
    if (d->has_precision) {
        want = d->precision;
    } else if (d->zero && !d->minus && d->has_width) {
        want = d->width;
        used += (uint32_t)strlen(sign);
        if (a->kind == ARGUMENT_BIG) used += (uint32_t)strlen(prefix);
    }
    return want > used ? want - used : 0;
}

static void format_integer(struct builder *b, const struct directive *d, const struct argument *a,
                           uint32_t base, uint32_t verb) {
    struct bigint magnitude = a->integer;
    struct builder digits = builder_new(32), all = builder_new(64);
    struct directive spaces = *d;
    bool plus = d->plus || (a->kind == ARGUMENT_BIG && d->plus_v);
    const char *sign = magnitude.negative ? "-" : plus ? "+" : d->space ? " " : "";
    spaces.zero = false;
    magnitude.negative = false;
    builder_bigint(&digits, magnitude, base);
    if (verb == 'X') to_upper(digits.ptr, digits.len);
    if (d->has_precision && d->precision == 0 && magnitude.n == 0) {
        if (a->kind == ARGUMENT_INT) format_padding(b, &spaces, 0);
        return;
    }
    const char *prefix = base_prefix(d, verb, false);
    uint32_t zeros = zero_digits(d, a, sign, prefix, digits.len);
    if (a->kind == ARGUMENT_INT) prefix = base_prefix(d, verb, zeros > 0 || digits.ptr[0] == '0');
    builder_c(&all, sign);
    builder_c(&all, prefix);
    builder_repeat(&all, '0', zeros);
    builder_text(&all, builder_view(&digits));
    format_padded(b, &spaces, builder_view(&all));
}

static uint32_t code_point_of(const struct argument *a) {
    int64_t i;
    if (!bigint_int64(a->integer, &i) || i < 0 || i > 0x10ffff || (i >= 0xd800 && i < 0xe000))
        return 0xfffd;
    return (uint32_t)i;
}
static void format_code_point(struct builder *b, const struct directive *d,
                              const struct argument *a, uint32_t verb) {
    struct builder out = builder_new(16);
    uint32_t cp = code_point_of(a);
    if (verb == 'q') builder_put(&out, '\'');
    if (verb == 'q')
        term_quote_char(&out, cp, '\'', d->plus);
    else
        builder_code_point(&out, cp);
    if (verb == 'q') builder_put(&out, '\'');
    format_padded(b, d, builder_view(&out));
}
/* %U: "U+0041", with %#U also the character. */
static void format_unicode(struct builder *b, const struct directive *d, const struct argument *a) {
    struct builder digits = builder_new(16), out = builder_new(32);
    struct directive spaces = *d;
    struct bigint u = a->integer;
    int64_t i;
    bool fits = bigint_int64(u, &i) && i >= 0 && i <= 0x10ffff;
    uint32_t want = d->has_precision && d->precision > 4 ? d->precision : 4;
    spaces.zero = false;
    if (u.negative) u = bigint_add(u, bigint_shl(bigint_of_int64(1), 64));
    builder_bigint(&digits, u, 16);
    to_upper(digits.ptr, digits.len);
    builder_c(&out, "U+");
    if (want > digits.len) builder_repeat(&out, '0', want - digits.len);
    builder_text(&out, builder_view(&digits));
    if (d->sharp && fits && rune_is_print((uint32_t)i)) {
        builder_c(&out, " '");
        builder_code_point(&out, (uint32_t)i);
        builder_put(&out, '\'');
    }
    format_padded(b, &spaces, builder_view(&out));
}

static void format_int64(struct builder *b, const struct directive *d, const struct argument *a,
                         uint32_t verb) {
    switch (verb) {
    case 'v':
    case 'd': format_integer(b, d, a, 10, verb); break;
    case 'b': format_integer(b, d, a, 2, verb); break;
    case 'o':
    case 'O': format_integer(b, d, a, 8, verb); break;
    case 'x':
    case 'X': format_integer(b, d, a, 16, verb); break;
    case 'c':
    case 'q': format_code_point(b, d, a, verb); break;
    case 'U': format_unicode(b, d, a); break;
    default: format_bad_verb(b, d, a, verb);
    }
}
static void format_big(struct builder *b, const struct directive *d, const struct argument *a,
                       uint32_t verb) {
    switch (verb) {
    case 'v':
    case 's':
    case 'd': format_integer(b, d, a, 10, verb); break;
    case 'b': format_integer(b, d, a, 2, verb); break;
    case 'o':
    case 'O': format_integer(b, d, a, 8, verb); break;
    case 'x':
    case 'X': format_integer(b, d, a, 16, verb); break;
    default: format_bad_verb(b, d, a, verb);
    }
}

/* ---- strings ---- */

static struct text truncated(const struct directive *d, struct text t) {
    return d->has_precision ? text_slice(t, 0, utf8_offset(t, d->precision)) : t;
}

/* strconv.CanBackquote: one line without control characters, back quote or byte order mark. */
static bool can_backquote(struct text t) {
    for (uint32_t i = 0, cp; i < t.len;) {
        if (!utf8_decode_checked(t, &i, &cp)) return false;
        if ((cp < ' ' && cp != '\t') || cp == '`' || cp == 0x7f || cp == 0xfeff) return false;
    }
    return true;
}
static void format_quoted(struct builder *b, const struct directive *d, struct text t) {
    struct builder out = builder_new(t.len + 2);
    t = truncated(d, t);
    if (d->sharp && can_backquote(t)) {
        builder_put(&out, '`');
        builder_text(&out, t);
        builder_put(&out, '`');
    } else {
        term_quote(&out, t, d->plus);
    }
    format_padded(b, d, builder_view(&out));
}

static void format_hex(struct builder *b, const struct directive *d, struct text t, uint32_t verb) {
    struct builder out = builder_new(0);
    const char *digits = verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    if (d->has_precision && d->precision < t.len) t.len = d->precision;
    for (uint32_t i = 0; i < t.len; i++) {
        if (d->space && i > 0) builder_put(&out, ' ');
        if (d->sharp && (d->space || i == 0)) builder_c(&out, verb == 'X' ? "0X" : "0x");
        builder_put(&out, (uint8_t)digits[t.ptr[i] >> 4]);
        builder_put(&out, (uint8_t)digits[t.ptr[i] & 15]);
    }
    format_padded(b, d, builder_view(&out));
}

static void format_string(struct builder *b, const struct directive *d, const struct argument *a,
                          uint32_t verb) {
    switch (verb) {
    case 'v':
        if (d->sharp_v) {
            format_quoted(b, d, a->text);
            break;
        } /* fall through */
    case 's': format_padded(b, d, truncated(d, a->text)); break;
    case 'x':
    case 'X': format_hex(b, d, a->text, verb); break;
    case 'q': format_quoted(b, d, a->text); break;
    default: format_bad_verb(b, d, a, verb);
    }
}

void format_argument(struct builder *b, const struct directive *d, const struct argument *a,
                     uint32_t verb) {
    if (verb == 'T') {
        format_padded(b, d, truncated(d, text_of(string_of_c(argument_type(a)))));
        return;
    }
    switch (a->kind) {
    case ARGUMENT_INT: format_int64(b, d, a, verb); break;
    case ARGUMENT_BIG: format_big(b, d, a, verb); break;
    case ARGUMENT_FLOAT: format_float(b, d, a, verb); break;
    case ARGUMENT_STRING: format_string(b, d, a, verb); break;
    }
}
