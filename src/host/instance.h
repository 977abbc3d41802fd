/* Inside of the host: a sandbox with one policy in it, and what host functions find of it. */
#ifndef REGENT_HOST_INSTANCE_H
#define REGENT_HOST_INSTANCE_H
#include "host/policy.h"

enum { WASM_PAGE_BYTES = 65536, INPUT_SLACK_BYTES = 64, WALL_FACTOR = 4, WALL_SLACK_NS = 100000000 };

/* How long the evaluation under way may take: time of this thread on a processor, and WALL_FACTOR times as much and
 * WALL_SLACK_NS by the wall's clock, so that a thread that was not scheduled denies nobody. */
struct deadline {
    uint64_t start_ns, max_ns; /* by clock_ns */
    uint64_t used_from_ns;     /* the thread's time when it began; known at the first tick */
    bool ticked;
    bool sliced; /* eval_request's */
};

struct instance {
    struct engine *engine;
    struct policy *policy; /* used; NULL: none yet */
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
    bool shared;                       /* part of a struct shared: serves one policy after another */
    bool strict;                       /* last told by regent_set_strict */
    /* The evaluation under way. */
    struct deadline deadline;
    struct arena *scratch;       /* of the pool: host builtins' memory; NULL while loading */
    struct builtin_cache *cache; /* of the pool */
    int64_t now_ns;              /* 0: not asked for yet */
    struct builtin_seed seed;    /* what its random builtins are made of */
    enum err stopped;            /* why a host function stopped the module; OK: it did not */
    char message[256];
    /* The pool's: what it counts for this one, its clock at the last use, its list by last use. */
    uint64_t bytes, used_at;
    struct instance *newer, *older, *chain;
};

/* Store, runtime (or memory) and nothing else yet, in *i, which is zero; instance_close also after an error. */
MUST_USE enum err instance_open(struct instance *i, struct code *base, const struct limits *limits,
                                char *text, size_t text_bytes);
void instance_close(struct instance *i);
/* What offer number n is in this sandbox. false: not there. */
bool instance_offer(struct instance *i, uint16_t n, wasmtime_extern_t *out);
/* Instantiates code with what it imports; items has room for code->n_imports. */
MUST_USE enum err instance_link(struct instance *i, const struct code *code, const wasmtime_extern_t *items,
                                wasmtime_instance_t *out, char *text, size_t text_bytes);
/* Finds the functions of the ABI that the runtime has for thin modules; eval is code's. */
MUST_USE enum err instance_find_runtime(struct instance *i);
/* Gives back pages that hold zeros of a new memory, the runtime's under it: a slot that was used before keeps some. */
void instance_trim(struct instance *i);
/* Copies the policy's image to its place. */
MUST_USE enum err instance_place_image(struct instance *i);
/* The evaluation that is about to begin may take max_us from start_ns on. */
void instance_set_deadline(struct instance *i, uint64_t start_ns, uint64_t max_us);
/* Is it over? *left_ns of the thread's time remain. Costs half a microsecond. */
bool instance_late(struct instance *i, uint64_t *left_ns);
/* A new sandbox for p with its data in it; `lean`: to stay, so in as little memory as can be. At most
 * `deadline_us` is spent in the module's own start code. Errors as policy_eval's, with a sentence in text. */
MUST_USE enum err instance_new(struct policy *p, const struct limits *limits, bool lean, struct instance **out,
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
/* The function that `from` exports with n_params i32 parameters and one result of kind `result` (WASM_I32,
 * WASM_I64; -1: none). store_id 0 in *out: not there. false: there, but of another type. */
bool instance_export(struct instance *i, const wasmtime_instance_t *from, const char *name, size_t n_params,
                     int result, wasmtime_func_t *out);
/* The same from the policy's own module, else from the runtime. */
bool instance_find(struct instance *i, const char *name, size_t n_params, int result,
                   wasmtime_func_t *out);
/* The text of a 0-terminated string at address, or false when it runs out of memory. */
bool memory_c_string(struct memory_view m, uint32_t address, struct str *out);

/* imports.c: defines env.* in the linker. */
bool imports_define(wasmtime_linker_t *linker);

#endif
