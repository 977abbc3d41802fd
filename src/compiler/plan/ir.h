/* The plan: OPA's intermediate representation with its statements, locals and blocks. */
#ifndef REGENT_COMPILER_PLAN_IR_H
#define REGENT_COMPILER_PLAN_IR_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/diag.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum stmt_kind {
#define STMT(name, opa_name, meaning) STMT_##name,
#include "compiler/plan/stmt.def"
#undef STMT
};

/* Locals 0 and 1 are input and data. In our modules they are memory, not wasm locals: see DOT. */
enum { LOCAL_INPUT = 0, LOCAL_DATA = 1, LOCAL_UNUSED = 2 };

enum operand_kind { OPERAND_NONE, OPERAND_LOCAL, OPERAND_BOOL, OPERAND_STRING };
struct operand {
    enum operand_kind kind;
    uint32_t index; /* local number, 0/1, or index into plan->strings */
};
struct operand_list {
    struct operand *items;
    uint32_t n, cap;
};

struct block {
    struct stmt **items;
    uint32_t n, cap;
};
struct block_list {
    struct block **items;
    uint32_t n, cap;
};

/* One statement. Which fields a kind uses, and for what, stands in stmt.def. */
struct stmt {
    enum stmt_kind kind;
    struct operand a, b;
    uint32_t target;            /* local; WITH: the local that is modified */
    int64_t integer;            /* value, capacity, break index, string or slot index */
    uint32_t key, value;        /* SCAN: locals */
    struct function *func;      /* CALL: a planned function, or NULL for a builtin */
    const struct builtin *builtin; /* CALL: builtin when func is NULL */
    struct operand_list args;   /* CALL, CALL_DYNAMIC (OPA: args start with input, data for functions) */
    struct operand_list path;   /* WITH (strings), CALL_DYNAMIC */
    struct block_list blocks;   /* BLOCK; SCAN, NOT, WITH: one */
    /* MAKE_ARRAY, MAKE_OBJECT, MAKE_SET: the ground literal that this and the next n_ground
     * statements build, else NULL (const transform; gone after it). */
    const struct term *ground;
    uint32_t n_ground;
    uint32_t file, row, col;    /* place: file is an index into plan->files */
    uint32_t end_row, end_col;
};

struct function {
    struct str name;            /* "g0.data.tenant.authz.allow" as OPA names it */
    struct str *path;           /* "g0","tenant","authz","allow" */
    uint32_t n_path;
    uint32_t *params, n_params; /* locals; the first two are 0 and 1 */
    uint32_t return_local, n_locals;
    struct block_list blocks;
    bool memoised;              /* no arguments beyond input and data: value kept per evaluation */
    uint32_t index;             /* position in plan->functions */
};

struct entrypoint {
    struct str name;            /* "tenant/authz/allow", or the query's text */
    struct block_list blocks;
    uint32_t n_locals;
    /* Set for a path entrypoint: local that holds the decision before RESULT_SET_ADD wraps it as {"result": …}; the
     * emitter then gives the bare value to rt_result_path and drops the wrapping. 0: a query, whose binding objects
     * go to rt_result_add. */
    uint32_t result_local;
};

struct plan_string {
    struct str text;
    struct str template_text;   /* see struct term; ptr NULL: none */
    bool is_number;             /* text of a number constant (MAKE_NUMBER_REF) */
};

/* A ground composite constant (MAKE_CONST): built into the image by the linker. */
struct plan_const {
    struct term *term;          /* ground term, may hold template strings */
};

/* Tree of paths read of input or data (project transform); slot -1: only children are read. */
struct path_tree {
    uint32_t key;               /* string index; root: unused */
    int32_t slot;
    struct path_tree **items;   /* children */
    uint32_t n, cap;
};

struct plan {
    struct arena *arena;
    struct { struct plan_string *items; uint32_t n, cap; } strings;
    struct table string_index[3]; /* plan_string's: by text, by number's text, by template text */
    struct { struct str *items; uint32_t n, cap; } files;
    struct { struct function **items; uint32_t n, cap; } functions; /* in planning order */
    struct { struct entrypoint **items; uint32_t n, cap; } entrypoints;
    struct { struct plan_const *items; uint32_t n, cap; } consts;
    struct { const struct builtin **items; uint32_t n, cap; } builtins; /* used, in order of first use */
    struct path_tree *input_tree, *data_tree; /* after `project`; NULL before: whole documents */
    uint32_t n_input_slots, n_data_slots;
};

/* Index of a string constant, shared between equal texts without template_text, and between equal template_texts. */
uint32_t plan_string(struct plan *p, struct str text, struct str template_text, bool is_number);

/* OPA's plan JSON ({"static":…,"plans":…,"funcs":…}); only before Regent's own statements appear. */
void plan_print_json(const struct plan *p, struct buf *out);
/* Readable form of all statements for --dump and golden tests. */
void plan_print(const struct plan *p, struct buf *out);

#endif
