/* What commands print: errors, tables, buffers. in: results. out: standard output and error. owns: nothing. */
#include "base/utf8.h"
#include "cli/cli.h"
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { OUTPUT_BYTES = 1 << 30 };

void print_buf(int fd, const struct buf *b) {
    for (size_t at = 0; at < b->len;) {
        ssize_t n = write(fd, b->ptr + at, b->len - at);
        if (n <= 0) return;
        at += (size_t)n;
    }
}

void print_document(const struct json *v) {
    struct buf b;
    buf_init(&b, OUTPUT_BYTES);
    json_print(v, false, 2, &b);
    buf_byte(&b, '\n');
    print_buf(STDOUT_FILENO, &b);
    buf_deinit(&b);
}

int fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return EXIT_FAILED;
}

static void add_member(struct arena *a, struct json *o, const char *key, struct json *v) {
    json_set(a, o, str_of(key), v);
}

static struct json *errors_json(struct arena *a, const struct diag_list *diags) {
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < diags->n; i++) {
        const struct diag *d = &diags->items[i];
        struct json *o = json_object(a);
        add_member(a, o, "message", json_string(a, d->message));
        add_member(a, o, "code", json_string(a, str_of(diag_code_word(d->code))));
        if (d->loc.row) {
            struct json *loc = json_object(a);
            add_member(a, loc, "file", json_string(a, d->loc.file));
            add_member(a, loc, "row", json_int(a, d->loc.row));
            add_member(a, loc, "col", json_int(a, d->loc.col));
            add_member(a, o, "location", loc);
        }
        json_push(a, list, o);
    }
    struct json *top = json_object(a);
    add_member(a, top, "errors", list);
    return top;
}

int report_errors(const struct diag_list *diags, bool json, int code) {
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    if (json) {
        struct arena a;
        arena_init(&a, OUTPUT_BYTES);
        json_print(errors_json(&a, diags), false, 2, &out);
        buf_byte(&out, '\n');
        arena_deinit(&a);
    } else {
        diag_print(diags, &out);
    }
    print_buf(json ? 1 : 2, &out);
    buf_deinit(&out);
    return code;
}

static size_t width(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; n++) {
        uint32_t cp;
        int k = utf8_decode(s.ptr + i, s.len - i, &cp);
        i += k ? (size_t)k : 1;
    }
    return n;
}

static void rule_line(const size_t *widths, uint32_t columns, const char *left, const char *middle,
                      const char *right, struct buf *out) {
    buf_cstr(out, left);
    for (uint32_t c = 0; c < columns; c++) {
        for (size_t i = 0; i < widths[c] + 2; i++) buf_cstr(out, "─");
        buf_cstr(out, c + 1 < columns ? middle : right);
    }
    buf_byte(out, '\n');
}

static void cell(struct str text, size_t to, int align, struct buf *out) {
    size_t gap = to - width(text), before = align < 0 ? 0 : align > 0 ? gap : gap / 2;
    buf_printf(out, " %*s", (int)before, "");
    buf_str(out, text);
    buf_printf(out, "%*s │", (int)(gap - before), "");
}

enum { MAX_COLUMNS = 64 };

void print_table(const struct str *cells, uint32_t rows, uint32_t columns, bool headed, bool right_second,
                 struct buf *out) {
    size_t widths[MAX_COLUMNS] = {0};
    if (columns > MAX_COLUMNS) columns = MAX_COLUMNS;
    for (uint32_t i = 0; i < rows * columns; i++) {
        size_t w = width(cells[i]);
        if (w > widths[i % columns]) widths[i % columns] = w;
    }
    rule_line(widths, columns, "┌", "┬", "┐", out);
    for (uint32_t r = 0; r < rows; r++) {
        buf_cstr(out, "│");
        for (uint32_t c = 0; c < columns; c++)
            cell(cells[r * columns + c], widths[c], headed && r == 0 ? 0 : right_second && c == 1 ? 1 : -1, out);
        buf_byte(out, '\n');
        if (headed && r == 0) rule_line(widths, columns, "├", "┼", "┤", out);
    }
    rule_line(widths, columns, "└", "┴", "┘", out);
}

bool command_options(struct arena *a, const char *usage, const struct option_spec *specs, int argc,
                     char **argv, struct str_list *rest, int *code) {
    struct option_result r;
    bool ok = options_read(a, specs, argc, argv, &r);
    if (ok && !r.help) {
        *rest = r.rest;
        return true;
    }
    if (r.help) {
        printf("Usage:\n  regent %s\n\n", usage);
        options_help(specs);
    } else {
        fprintf(stderr, "Error: %s\nUsage:\n  regent %s\n\nRun it with --help for its flags.\n",
                r.error ? r.error : "wrong arguments", usage);
    }
    *code = r.help ? EXIT_OK : EXIT_FAILED;
    return false;
}
