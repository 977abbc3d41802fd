/* Inside of the emitter: which parts of the runtime a full module keeps, and their new numbers. */
#ifndef REGENT_COMPILER_WASM_LINK_H
#define REGENT_COMPILER_WASM_LINK_H
#include "compiler/wasm/emit.h"
#include "compiler/wasm/module.h"

#define LINK_DROPPED UINT32_MAX

/* A piece of data: bytes [offset, offset + size) of a segment. */
struct data_symbol {
    uint32_t segment, offset, size;
    bool kept;
};
/* `at` counts from the start of the code or data section. */
struct data_reference {
    uint32_t at, symbol;
};
struct data_references {
    struct data_reference *items;
    uint32_t n, cap;
};

struct link {
    struct wasm_module runtime;
    /* wasm-ld's symbols and relocations; symbols.n == 0: not there, all data is kept */
    struct {
        struct data_symbol *items;
        uint32_t n, cap;
    } symbols;
    struct data_references code_references, data_references; /* sorted by `at` */
    struct {
        struct wasm_data *items;
        uint32_t n, cap;
    } data;                     /* what is kept, by address */
    uint32_t *import_functions; /* emit->imports index → number in the runtime */
    uint32_t *numbers;          /* runtime function → number in the output, or LINK_DROPPED */
    uint32_t *globals;          /* runtime global → number in the output, or LINK_DROPPED */
    uint32_t n_imports, n_functions, n_globals; /* kept */
    uint32_t guarded; /* filter: the runtime's function that PROXY_GUARD calls */
    uint32_t *worklist, n_worklist;
    struct str code; /* what link_code puts, when it is kept; ptr NULL: it is not */
};

/* Walks calls from what the plan's code imports and from every export of the interface. Problems go to
 * e as errors. */
void link_runtime(struct emit *e, struct link *l);
/* The bodies of the kept functions, each with its length, as the code section has them. */
void link_code(const struct link *l, struct buf *out, struct buf *scratch);

/* ---- link_cache.c ---- */
/* The same from the compile's cache, if there is one; a filter's is never kept. NULL: e has an error. */
const struct link *link_find(struct emit *e, struct link *own);
/* ---- link_data.c ---- */
/* Reads symbols and relocations; false when they are malformed or name a function pointer. */
bool link_data_read(struct link *l, struct arena *a);
/* Keeps what the bytes of `body` refer to, and what that refers to. */
void link_data_keep(struct link *l, struct str body);
/* Lists the kept data in l->data. */
void link_data_collect(struct link *l, struct arena *a);

/* ---- link.c ---- */
/* Marks a function of the runtime as kept; its number is given at the end. */
void link_keep(struct link *l, uint32_t function);
/* The runtime's import is one of the module too: kept, and not defined by the writer. */
bool link_is_import(const struct link *l, uint32_t import);
/* Copies a kept function's body with its numbers changed. */
void link_body(const struct link *l, struct str body, struct buf *out);
/* The runtime's export is part of the module's interface: OPA's ABI and Regent's own, or in a filter
 * proxy-wasm's. */
bool link_is_interface(const struct emit *e, struct str name);

/* ---- proxy.c: the functions behind the filter's own ones, which its runtime imports from "regent" ---- */
enum { PROXY_GUARD, PROXY_THROW, PROXY_FUNCTIONS };
/* The global that wasm-ld keeps its stack pointer in. */
enum { LINK_STACK_POINTER = 0 };
/* The output's number of such an import; LINK_DROPPED when there is none of that name. */
uint32_t proxy_function(const struct emit *e, const struct link *l, struct str name);
/* What proxy_body calls has to be kept. */
void proxy_keep(struct emit *e, struct link *l);
/* The body of PROXY_GUARD or PROXY_THROW. */
void proxy_body(const struct link *l, uint32_t which, struct buf *out);

#endif
