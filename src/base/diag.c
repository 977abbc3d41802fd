/* Diagnostic lists: collect, sort, print as text and JSON.
 * in: codes, places, messages. out: OPA's error forms. owns: nothing; strings lie in the arena. */
#include "base/diag.h"
#include "base/json.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_MAX_ERRORS = 10 };

void diag_list_init(struct diag_list *l, struct arena *arena) {
    *l = (struct diag_list){.max_errors = DEFAULT_MAX_ERRORS, .arena = arena};
}

static bool already_there(const struct diag_list *l, struct loc loc, struct str message) {
    for (uint32_t i = 0; i < l->n; i++) {
        const struct diag *d = &l->items[i];
        if (d->loc.row == loc.row && d->loc.col == loc.col && str_eq(d->loc.file, loc.file) &&
            str_eq(d->message, message))
            return true;
    }
    return false;
}

void diag_add(struct diag_list *l, enum diag_code code, struct loc loc, const char *format, ...) {
    if (l->n >= l->max_errors) {
        l->dropped++;
        return;
    }
    char small[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n < 0) return;
    char *text = arena_alloc(l->arena, (size_t)n + 1);
    if (!text) {
        l->dropped++;
        return;
    }
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    struct diag d = {code, loc, {text, (size_t)n}};
    if (!already_there(l, loc, d.message)) ARENA_PUSH(l->arena, l, d);
}

static int compare(const void *a, const void *b) {
    const struct diag *x = a, *y = b;
    int c = str_cmp(x->loc.file, y->loc.file);
    if (c) return c;
    if (x->loc.row != y->loc.row) return x->loc.row < y->loc.row ? -1 : 1;
    if (x->loc.col != y->loc.col) return x->loc.col < y->loc.col ? -1 : 1;
    return str_cmp(x->message, y->message);
}

void diag_sort(struct diag_list *l) {
    if (l->n > 1) qsort(l->items, l->n, sizeof *l->items, compare);
}

const char *diag_code_word(enum diag_code code) {
    switch (code) {
    case DIAG_PARSE: return "rego_parse_error";
    case DIAG_COMPILE: return "rego_compile_error";
    case DIAG_TYPE: return "rego_type_error";
    case DIAG_UNSAFE: return "rego_unsafe_var_error";
    case DIAG_RECURSION: return "rego_recursion_error";
    case DIAG_UNSUPPORTED: return "regent_unsupported_error";
    case DIAG_IO: return "io_error";
    case DIAG_DOCUMENT: return "document_error";
    case DIAG_CONFIG: return "config_error";
    }
    return "unknown_error";
}

static void print_one(const struct diag *d, struct buf *out) {
    if (d->loc.row && d->loc.file.len && d->code == DIAG_CONFIG)
        buf_printf(out, "%.*s:%u:%u: ", STR_FMT(d->loc.file), d->loc.row, d->loc.col);
    else if (d->loc.row && d->loc.file.len)
        buf_printf(out, "%.*s:%u: ", STR_FMT(d->loc.file), d->loc.row);
    else if (d->loc.row)
        buf_printf(out, "%u:%u: ", d->loc.row, d->loc.col);
    else if (d->loc.file.len)
        buf_printf(out, "%.*s: ", STR_FMT(d->loc.file));
    buf_printf(out, "%s: %.*s\n", diag_code_word(d->code), STR_FMT(d->message));
}

void diag_print(const struct diag_list *l, struct buf *out) {
    uint32_t total = l->n + l->dropped;
    if (total > 1) buf_printf(out, "%u errors occurred:\n", total);
    else if (total == 1) buf_cstr(out, "1 error occurred: ");
    for (uint32_t i = 0; i < l->n; i++) print_one(&l->items[i], out);
    if (l->dropped) buf_printf(out, "error limit reached: %u more not shown\n", l->dropped);
}

void diag_print_json(const struct diag_list *l, struct buf *out) {
    buf_byte(out, '[');
    for (uint32_t i = 0; i < l->n; i++) {
        const struct diag *d = &l->items[i];
        buf_cstr(out, i ? ",{\"message\":" : "{\"message\":");
        json_print_string(d->message, out);
        buf_printf(out, ",\"code\":\"%s\"", diag_code_word(d->code));
        if (d->loc.row) {
            buf_cstr(out, ",\"location\":{\"file\":");
            json_print_string(d->loc.file, out);
            buf_printf(out, ",\"row\":%u,\"col\":%u}", d->loc.row, d->loc.col);
        }
        buf_byte(out, '}');
    }
    buf_byte(out, ']');
}
