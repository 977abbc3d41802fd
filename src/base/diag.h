/* Diagnostics: what a user got wrong, with place and a way forward, several at once. */
#ifndef REGENT_BASE_DIAG_H
#define REGENT_BASE_DIAG_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include <stdint.h>

/* OPA's error codes (v1/ast/errors.go) and one of ours, in OPA's order of precedence. */
enum diag_code {
    DIAG_PARSE,     /* rego_parse_error */
    DIAG_COMPILE,   /* rego_compile_error */
    DIAG_TYPE,      /* rego_type_error */
    DIAG_UNSAFE,    /* rego_unsafe_var_error */
    DIAG_RECURSION, /* rego_recursion_error */
    DIAG_UNSUPPORTED, /* regent_unsupported_error: known Rego that this version does not run yet */
    DIAG_IO,        /* io_error: a file could not be read or is no valid JSON/YAML/bundle */
    DIAG_DOCUMENT, /* document_error: a template, library or tenant of the control plane; file: the member's path */
    DIAG_CONFIG, /* config_error: a configuration's key or value; printed with its column */
};

/* A place in a source file. row and col count from 1; col counts code points, as OPA's does. */
struct loc {
    struct str file;
    uint32_t row, col;
    uint32_t offset, len; /* bytes in the source; len may be 0 */
};

struct diag {
    enum diag_code code;
    struct loc loc;      /* row 0: no place */
    struct str message;  /* one line, no final newline */
};

/* All strings lie in `arena`. At most max_errors are kept (OPA: 10); `dropped` counts the rest. */
struct diag_list {
    struct diag *items;
    uint32_t n, cap, max_errors, dropped;
    struct arena *arena;
};

void diag_list_init(struct diag_list *l, struct arena *arena);
void diag_add(struct diag_list *l, enum diag_code code, struct loc loc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* By file, row, column, message; equal entries are kept once. */
void diag_sort(struct diag_list *l);
const char *diag_code_word(enum diag_code code);
/* "file.rego:3:5: rego_parse_error: message\n" for each, led by "N errors occurred:" when several,
 * as OPA prints them. */
void diag_print(const struct diag_list *l, struct buf *out);
/* [{"message":…,"code":…,"location":{"file":…,"row":…,"col":…}}], OPA's JSON. */
void diag_print_json(const struct diag_list *l, struct buf *out);

#endif
