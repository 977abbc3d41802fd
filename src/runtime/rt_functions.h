/* Prototypes of rt.def's functions (meanings stand there) and of the exports that hosts call. */
#ifndef REGENT_RUNTIME_RT_FUNCTIONS_H
#define REGENT_RUNTIME_RT_FUNCTIONS_H
#include "runtime/layout.h"

/* Kinds of rt_conflict; OPA's texts. */
enum rt_conflict_kind {
    CONFLICT_COMPLETE_RULE = 0, /* complete rules must not produce multiple outputs */
    CONFLICT_FUNCTION = 1,      /* functions must not produce multiple outputs for same inputs */
    CONFLICT_OBJECT_KEY = 2     /* object keys must be unique */
};

/* ---- called by plan code (rt.def) ---- */
value rt_get(value v, value key);
int32_t rt_equal(value a, value b);
int32_t rt_compare(value a, value b);
value rt_len(value v);
value rt_array_new(uint32_t capacity);
void rt_array_push(value array, value item);
value rt_object_new(uint32_t capacity);
void rt_object_insert(value object, value key, value v);
int32_t rt_object_insert_once(value object, value key, value v);
value rt_object_merge(value a, value b);
value rt_set_new(uint32_t capacity);
void rt_set_add(value set, value item);
uint32_t rt_scan_begin(value v);
value rt_scan_key(value v, uint32_t i);
value rt_scan_value(value v, uint32_t i);
void rt_with_input(value path, value v);
void rt_with_data(value path, value v);
void rt_with_end(void);
value rt_upsert(value document, value path, value v);
value rt_input(void);
value rt_data(void);
void rt_result_path(value decision);
void rt_result_add(value bindings);
void rt_conflict(uint32_t kind, value path, value file, uint32_t row, uint32_t col);
value rt_builtin0(uint32_t id);
value rt_builtin1(uint32_t id, value a);
value rt_builtin2(uint32_t id, value a, value b);
value rt_builtin3(uint32_t id, value a, value b, value c);
value rt_builtin4(uint32_t id, value a, value b, value c, value d);
void rt_eval_begin(uint32_t input, uint32_t input_len);
uint64_t rt_eval_end(void);
void rt_opa_begin(uint32_t data, uint32_t input, uint32_t input_len, uint32_t heap_ptr,
                  uint32_t format, uint32_t entrypoint);
uint32_t rt_opa_end(void);
uint32_t rt_ctx_begin(uint32_t ctx);
void rt_ctx_end(uint32_t ctx);
void rt_bad_entrypoint(uint32_t id);

/* ---- called by hosts: Regent's own ---- */
/* Non-zero: a failing builtin ends the evaluation instead of being undefined. Stays until set
 * again. */
void regent_set_strict(uint32_t on);

/* ---- called by hosts: OPA's ABI 1.3 (docs/abi.md). A value is the address of a cell holding its
 * word. ---- */
uint32_t opa_eval_ctx_new(void);
void opa_eval_ctx_set_input(uint32_t ctx, uint32_t cell);
void opa_eval_ctx_set_data(uint32_t ctx, uint32_t cell);
void opa_eval_ctx_set_entrypoint(uint32_t ctx, uint32_t entrypoint);
uint32_t opa_eval_ctx_get_result(uint32_t ctx);
uint32_t opa_malloc(uint32_t n);
void opa_free(uint32_t p);
uint32_t opa_json_parse(uint32_t text, uint32_t len);  /* 0 when malformed */
uint32_t opa_value_parse(uint32_t text, uint32_t len); /* the same, with Rego's sets */
uint32_t opa_json_dump(uint32_t cell);                 /* address of terminated text */
uint32_t opa_value_dump(uint32_t cell);
void opa_value_free(uint32_t cell);
uint32_t opa_value_add_path(uint32_t base, uint32_t path,
                            uint32_t cell); /* 0, or OPA's error codes 1 to 3 */
uint32_t opa_value_remove_path(uint32_t base, uint32_t path);
uint32_t opa_heap_ptr_get(void);
void opa_heap_ptr_set(uint32_t p);
void opa_heap_blocks_stash(void);
void opa_heap_blocks_restore(void);
void opa_heap_stash_clear(void);
uint32_t builtins(void);
uint32_t entrypoints(void);

/* ---- imports ---- */
#ifndef REGENT_NATIVE
#define RT_IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#else
#define RT_IMPORT(name)
#endif
RT_IMPORT(opa_abort) void opa_abort(uint32_t message);
RT_IMPORT(opa_builtin0) uint32_t opa_builtin0(uint32_t id, uint32_t ctx);
RT_IMPORT(opa_builtin1) uint32_t opa_builtin1(uint32_t id, uint32_t ctx, uint32_t a);
RT_IMPORT(opa_builtin2) uint32_t opa_builtin2(uint32_t id, uint32_t ctx, uint32_t a, uint32_t b);
RT_IMPORT(opa_builtin3)
uint32_t opa_builtin3(uint32_t id, uint32_t ctx, uint32_t a, uint32_t b, uint32_t c);
RT_IMPORT(opa_builtin4)
uint32_t opa_builtin4(uint32_t id, uint32_t ctx, uint32_t a, uint32_t b, uint32_t c, uint32_t d);

#endif
