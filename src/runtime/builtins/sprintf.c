/* sprintf: reads a format string's directives as Go's fmt.Sprintf and prints the arguments under
 * them. in:  a format string, an array of values out: a string; faults of the format show in it
 * ("%!d(string=x)", "%!s(MISSING)"), as in Go owns: nothing */
#include "runtime/builtins/format.h"

struct formatter {
    struct text format;
    uint32_t i; /* next byte of format */
    value arguments;
    uint32_t next; /* next argument */
    bool reordered, good_index, after_index;
    struct directive d;
    struct builder out;
};

static bool at_end(const struct formatter *f) { return f->i >= f->format.len; }
static uint8_t peek(const struct formatter *f) { return at_end(f) ? 0 : f->format.ptr[f->i]; }

static void read_flags(struct formatter *f) {
    for (; !at_end(f); f->i++) {
        switch (peek(f)) {
        case '#': f->d.sharp = true; break;
        case '0': f->d.zero = true; break;
        case '+': f->d.plus = true; break;
        case '-': f->d.minus = true; break;
        case ' ': f->d.space = true; break;
        default: return;
        }
    }
}

/* Digits at f->i, before `end`. False without digits; a number that is too large also ends the
 * format. */
static bool read_number(struct formatter *f, uint32_t end, uint32_t *out) {
    uint32_t start = f->i, n = 0;
    while (f->i < end && peek(f) >= '0' && peek(f) <= '9') {
        if (n > FORMAT_MAX_NUMBER) {
            f->i = end;
            return false;
        }
        n = n * 10 + (uint32_t)(peek(f) - '0');
        f->i++;
    }
    *out = n;
    return f->i > start;
}

/* "[3]": which argument comes next. One that is malformed or out of range makes the verb an error.
 */
static void read_index(struct formatter *f) {
    uint32_t index = 0;
    f->after_index = false;
    if (peek(f) != '[') return;
    f->reordered = true;
    int64_t close = text_find(f->format, TEXT("]"), f->i);
    if (close < 0) {
        f->good_index = false;
        f->i++;
        return;
    }
    f->i++;
    bool is_number = read_number(f, (uint32_t)close, &index) && f->i == (uint32_t)close;
    f->i = (uint32_t)close + 1;
    f->after_index = is_number;
    if (is_number && index >= 1 && index <= array_len(f->arguments))
        f->next = index - 1;
    else
        f->good_index = false;
}

/* '*': the next argument, a plain integer of reasonable size. */
static bool read_star(struct formatter *f, int64_t *out) {
    *out = 0;
    if (f->next >= array_len(f->arguments)) return false;
    value v = array_items(f->arguments)[f->next++];
    if (!is_number(v) || !number_int64(v, out)) return false;
    if (*out <= FORMAT_MAX_NUMBER && *out >= -FORMAT_MAX_NUMBER) return true;
    *out = 0;
    return false;
}

static void read_width(struct formatter *f) {
    int64_t n;
    if (peek(f) != '*') {
        f->d.has_width = read_number(f, f->format.len, &f->d.width);
        if (f->after_index && f->d.has_width) f->good_index = false;
        return;
    }
    f->i++;
    f->d.has_width = read_star(f, &n);
    if (!f->d.has_width) builder_c(&f->out, "%!(BADWIDTH)");
    if (n < 0) {
        n = -n;
        f->d.minus = true;
        f->d.zero = false;
    }
    f->d.width = (uint32_t)n;
    f->after_index = false;
}

static void read_precision(struct formatter *f) {
    int64_t n;
    if (peek(f) != '.' || f->i + 1 >= f->format.len) return;
    f->i++;
    if (f->after_index) f->good_index = false;
    read_index(f);
    if (peek(f) != '*') {
        f->d.has_precision = true;
        if (!read_number(f, f->format.len, &f->d.precision)) f->d.precision = 0;
        return;
    }
    f->i++;
    f->d.has_precision = read_star(f, &n) && n >= 0;
    if (!f->d.has_precision) builder_c(&f->out, "%!(BADPREC)");
    f->d.precision = f->d.has_precision ? (uint32_t)n : 0;
    f->after_index = false;
}

static void bad_directive(struct formatter *f, uint32_t verb, const char *what) {
    builder_c(&f->out, "%!");
    builder_code_point(&f->out, verb);
    builder_c(&f->out, what);
}

/* What stands behind a '%'. */
static void read_directive(struct formatter *f) {
    f->d = (struct directive){0};
    f->good_index = true;
    f->after_index = false;
    read_flags(f);
    read_index(f);
    read_width(f);
    read_precision(f);
    if (!f->after_index) read_index(f);
    if (at_end(f)) {
        builder_c(&f->out, "%!(NOVERB)");
        return;
    }
    uint32_t verb = utf8_decode(f->format, &f->i);
    if (verb == '%') {
        builder_put(&f->out, '%');
    } else if (!f->good_index) {
        bad_directive(f, verb, "(BADINDEX)");
    } else if (f->next >= array_len(f->arguments)) {
        bad_directive(f, verb, "(MISSING)");
    } else {
        struct argument a = argument_of(array_items(f->arguments)[f->next++]);
        if (verb == 'v' || verb == 'w') {
            f->d.sharp_v = f->d.sharp, f->d.plus_v = f->d.plus;
            f->d.sharp = f->d.plus = false;
        }
        format_argument(&f->out, &f->d, &a, verb);
    }
}

static void report_extra(struct formatter *f) {
    struct directive plain = {0};
    builder_c(&f->out, "%!(EXTRA ");
    for (uint32_t i = f->next, n = array_len(f->arguments); i < n; i++) {
        struct argument a = argument_of(array_items(f->arguments)[i]);
        if (i > f->next) builder_c(&f->out, ", ");
        builder_c(&f->out, argument_type(&a));
        builder_put(&f->out, '=');
        format_argument(&f->out, &plain, &a, 'v');
    }
    builder_put(&f->out, ')');
}

RT_EXPORT value bi_sprintf(value format, value arguments) {
    NEED_STRING("sprintf", 1, format);
    NEED_ARRAY("sprintf", 2, arguments);
    struct formatter f = {.format = text_of(format), .arguments = arguments};
    f.out = builder_new(f.format.len + 32);
    while (!at_end(&f)) {
        int64_t percent = text_find(f.format, TEXT("%"), f.i);
        uint32_t stop = percent < 0 ? f.format.len : (uint32_t)percent;
        builder_text(&f.out, text_slice(f.format, f.i, stop));
        f.i = stop + 1;
        if (percent >= 0) read_directive(&f);
    }
    if (!f.reordered && f.next < array_len(arguments)) report_extra(&f);
    return builder_string(&f.out);
}
