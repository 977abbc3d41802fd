/* Inside of the emitter: what its files share. */
#ifndef REGENT_COMPILER_WASM_EMIT_H
#define REGENT_COMPILER_WASM_EMIT_H
#include "compiler/builtin.h"
#include "compiler/wasm/opcode.h"
#include "compiler/wasm/wasm.h"
#include "image/image.h"
#include <stdbool.h>
#include <stdint.h>

enum rt_function {
#define RT(name, params, result, meaning) FUNCTION_##name,
#include "runtime/rt.def"
#undef RT
    FUNCTION_COUNT
};

/* rt_conflict's first argument: enum rt_conflict_kind of the runtime (tests/unit/wasm.c compares
 * them). */
enum conflict { RULE_CONFLICT = 0, CALL_CONFLICT = 1, KEY_CONFLICT = 2 };

/* A function of the runtime that emitted code calls. Types as in rt.def: l i64, i i32, v nothing.
 */
struct runtime_function {
    const char *name, *params, *result;
};

/* `at` is where the number of `symbol` belongs in emit->code: an own function, or SYMBOL_IMPORT +
 * import. */
struct relocation {
    uint32_t at, symbol;
};
#define SYMBOL_IMPORT 0x80000000u

/* One emitted function: its bytes (locals and instructions) without the numbers of called
 * functions. */
struct emitted {
    const char *params, *result;
    const char *export_name; /* NULL: none */
    struct str name;         /* for listings */
    uint32_t start, end;     /* in emit->code */
    uint32_t first_relocation, end_relocation;
};

enum constant_kind {
    CONSTANT_STRING, /* plan->strings.items[index] */
    CONSTANT_NUMBER, /* the same, as a number */
    CONSTANT_TERM,   /* plan->consts.items[index] */
    CONSTANT_FILE,   /* plan->files.items[index] */
    CONSTANT_PATH,   /* array of the strings of `path` */
    CONSTANT_TEXT    /* text */
};
struct constant {
    enum constant_kind kind;
    uint32_t index;
    const struct operand_list *path;
    struct str text;
};

/* A block of the plan that encloses the current statement. */
struct level {
    uint32_t label; /* depth of the label that leaves it */
    bool with;      /* leaving it from further inside must undo a `with` first */
    uint32_t target,
        saved; /* with: the plan's local, and the wasm local that keeps its old value */
};

/* State of the function being emitted. */
struct function_state {
    struct {
        struct level *items;
        uint32_t n, cap;
    } levels;
    uint32_t depth; /* open labels */
    uint32_t n_params, n_i32, n_i64;
    uint32_t scan_depth;
    uint32_t *locals; /* plan's local → wasm local + 1, 0: none yet */
    uint32_t *reads;  /* how often each of the plan's locals is read */
    /* What is known of a local before the current statement: false is "undefined for certain". A
     * statement that makes one undefined is known only to the end of its block, since a break may
     * have jumped over it. */
    bool *maybe_defined;
    struct {
        uint32_t *items;
        uint32_t n, cap;
    } cleared;
    uint32_t n_locals;
    const struct function *function; /* NULL: an entrypoint */
    const struct entrypoint *entrypoint;
    uint32_t wrapper; /* entrypoint: local of the {"result": …} object that is left out, or 0 */
};

struct emit {
    struct compile *c;
    struct plan *plan;
    struct arena *arena;
    /* out: functions and what they refer to */
    struct buf code, body;
    struct {
        struct relocation *items;
        uint32_t n, cap;
    } relocations, body_relocations;
    struct {
        struct runtime_function *items;
        uint32_t n, cap;
    } imports;
    struct {
        struct emitted *items;
        uint32_t n, cap;
    } functions;
    uint32_t n_thin_functions, n_thin_imports; /* the rest is OPA's ABI: full form only */
    /* out: constants and slots */
    struct {
        struct constant *items;
        uint32_t n, cap;
    } constants;
    uint32_t *constant_of[CONSTANT_FILE + 1]; /* by kind and index: slot + 1 */
    uint32_t n_constants;                     /* slots of constants as the second pass knows them */
    uint32_t n_input, n_data, n_memo;
    uint32_t *memo_of;     /* function → memo slot + 1 */
    uint32_t *builtin_ids; /* plan->builtins index → host builtin id + 1 */
    uint32_t n_host_builtins;
    uint32_t *runtime_import; /* rt.def row → import + 1 */
    bool whole_input;         /* rt_input is called */
    bool proxy;               /* a proxy-wasm filter is made */
    bool proxy_responses;     /* and it may add headers to responses */
    bool failed;              /* a diagnostic was added */
    struct function_state f;
    /* out: image and module */
    struct image image;
    struct buf section, scratch;
};

/* ---- emit.c ---- */
void emit_error(struct emit *e, const struct stmt *s, enum diag_code code, const char *message);
/* All functions into e->functions. Run twice: only then are the slots' addresses known. */
void emit_module(struct emit *e);

/* ---- emit_code.c: instructions ---- */
void emit_op(struct emit *e, enum opcode op);
void emit_index(struct emit *e, enum opcode op, uint32_t index);
void emit_i32(struct emit *e, int32_t i);
void emit_i64(struct emit *e, int64_t i);
void emit_runtime_call(struct emit *e, enum rt_function f);
void emit_import_call(struct emit *e, const char *name, const char *params, const char *result);
void emit_own_call(struct emit *e, uint32_t function);
/* Opens a label and gives its depth; closes the newest one. */
uint32_t emit_open(struct emit *e, enum opcode op);
void emit_close(struct emit *e);
void emit_branch(struct emit *e, enum opcode op, uint32_t label);
/* Reads or writes the word of slot i, counted from SLOT_BASE. For the store the value is pushed
 * between. */
void emit_load_slot(struct emit *e, uint32_t slot);
void emit_store_slot_end(struct emit *e, uint32_t slot);
uint32_t emit_local(struct emit *e, uint32_t plan_local); /* its wasm local */
uint32_t emit_temporary(struct emit *e);                  /* a new i64 local */
void emit_push_local(struct emit *e, uint32_t plan_local);
void emit_push(struct emit *e, struct operand o);
void emit_set(struct emit *e, uint32_t plan_local);
/* Leaves n + 1 enclosing blocks of the plan, undoing each `with` on the way; _if: when the i32 on
 * the stack is not 0. */
void emit_leave(struct emit *e, const struct stmt *s, uint32_t n);
void emit_leave_if(struct emit *e, const struct stmt *s, uint32_t n);
void emit_undo_withs(struct emit *e, uint32_t n); /* of the n innermost blocks */

/* ---- emit_stmt.c: statements ---- */
void emit_block(struct emit *e, const struct block *b);
void emit_conflict(struct emit *e, const struct stmt *s, enum conflict kind);

/* ---- emit_control.c: statements that hold blocks or call ---- */
void emit_blocks(struct emit *e, const struct block_list *blocks);
void emit_scan(struct emit *e, const struct stmt *s);
void emit_not(struct emit *e, const struct stmt *s);
void emit_with(struct emit *e, const struct stmt *s);
void emit_call(struct emit *e, const struct stmt *s);
void emit_call_dynamic(struct emit *e, const struct stmt *s);
void emit_return(struct emit *e, uint32_t plan_local, bool last);

/* ---- survey.c: what is known of a function's locals ---- */
/* Fills in e->f's lists for the function f (NULL: the entrypoint e->f.entrypoint) with these
 * blocks. */
void survey_function(struct emit *e, const struct block_list *blocks, const struct function *f);
/* The statement's effect on maybe_defined; for the start of a scan: all that its body may set. */
void survey_after(struct emit *e, const struct stmt *s);
void survey_loop(struct emit *e, const struct stmt *scan);
/* Around a block: what survey_enter gave goes to survey_leave. */
uint32_t survey_enter(const struct emit *e);
void survey_leave(struct emit *e, uint32_t mark);

/* ---- constants.c: slots, and the image that becomes the data segment ---- */
/* The slot of a constant, given on first use. */
uint32_t constant_slot(struct emit *e, enum constant_kind kind, uint32_t index);
uint32_t constant_path_slot(struct emit *e, const struct operand_list *path);
uint32_t constant_text_slot(struct emit *e, struct str text);
uint32_t input_slot(const struct emit *e, int64_t i);
uint32_t data_slot(const struct emit *e, int64_t i);
uint32_t memo_slot(const struct emit *e, uint32_t function_index);
/* e->image: header, slots, constants, trees. */
void constants_build(struct emit *e);

/* ---- meta.c: the custom section "regent" and the JSON strings of entrypoints and builtins ---- */
void meta_entrypoints(const struct emit *e, struct buf *out); /* {"path":id} */
void meta_builtins(const struct emit *e, struct buf *out);    /* {"name":id} */
void meta_section(struct emit *e, enum module_form form, struct buf *out);

/* ---- proxy.c: what is different in a proxy-wasm filter ---- */
/* Gives the host builtins that filters have their ids; the others are errors at each place of use. */
void proxy_builtins(struct emit *e);
/* Appends the data documents to the image, as values, and fills their slots. */
void proxy_data(struct emit *e);

/* ---- write.c ---- */
void write_module(struct emit *e, enum module_form form, struct buf *out);

#endif
