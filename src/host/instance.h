/* Inside of the host: a sandbox with one policy in it, and what host functions find of it. */
#ifndef REGENT_HOST_INSTANCE_H
#define REGENT_HOST_INSTANCE_H
#include "host/policy.h"

enum { WASM_PAGE_BYTES = 65536, INPUT_SLACK_BYTES = 64 };

struct instance {
    struct policy *policy; /* used */
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t base, code; /* runtime or memory; the policy's own */
    wasmtime_memory_t memory;
    /* Exports; store_id 0: not there. */
    wasmtime_func_t eval, malloc, json_parse, json_dump, value_parse, set_strict;
    wasmtime_func_t heap_get, heap_set;
    uint32_t input_at;                 /* where input is written: after image or data */
    uint32_t data_address;             /* OPA's: parsed data */
    uint64_t memory_limit, base_bytes; /* base_bytes: of memory when it was new */
    bool strict;                       /* last told by regent_set_strict */
    /* The evaluation under way. */
    struct arena *scratch;       /* of the pool: host builtins' memory; NULL while loading */
    struct builtin_cache *cache; /* of the pool */
    int64_t now_ns;              /* 0: not asked for yet */
    struct builtin_seed seed;    /* what its random builtins are made of */
    enum err stopped;            /* why a host function stopped the module; OK: it did not */
    char message[256];
    /* Pool's list, by last use. */
    struct instance *newer, *older, *chain;
};

/* A new sandbox for p with its data in it; at most `deadline_us` is spent in the module's own start
 * code. Errors as policy_eval's, with a sentence in text. */
MUST_USE enum err instance_new(struct policy *p, const struct limits *limits, struct instance **out,
                               char *text, size_t text_bytes);
void instance_free(struct instance *i);
/* Raises or lowers the limit for growing memory. */
void instance_limit_memory(struct instance *i, uint64_t bytes);
/* Grows memory to at least `bytes`; ERR_GUEST_MEMORY. */
MUST_USE enum err instance_reserve(struct instance *i, uint64_t bytes);
struct memory_view instance_memory(struct instance *i);
uint8_t *instance_bytes(struct instance *i);

/* Calls f with n_args i32 arguments in raw; the result is in raw[0]. A trap becomes an error value,
 * with a sentence in text. `raw` has room for the larger of arguments and one result. */
MUST_USE enum err instance_call(struct instance *i, const wasmtime_func_t *f,
                                wasmtime_val_raw_t *raw, size_t n_args, char *text,
                                size_t text_bytes);
/* The exported function with n_params i32 parameters and one result of kind `result` (WASM_I32,
 * WASM_I64; -1: none). store_id 0 in *out: not there. false: there, but of another type. */
bool instance_find(struct instance *i, const char *name, size_t n_params, int result,
                   wasmtime_func_t *out);
/* The text of a 0-terminated string at address, or false when it runs out of memory. */
bool memory_c_string(struct memory_view m, uint32_t address, struct str *out);

/* imports.c: defines env.* in the linker. */
bool imports_define(wasmtime_linker_t *linker);

#endif
