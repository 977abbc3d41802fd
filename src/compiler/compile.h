/* The compiler's driver: sources in, plan or module bytes out, stage by stage. */
#ifndef REGENT_COMPILER_COMPILE_H
#define REGENT_COMPILER_COMPILE_H
#include "base/buf.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/json.h"
#include "compiler/ast/ast.h"
#include "compiler/ast/parser.h"

struct plan;

/* What one compile leaves for the next, which comes to the same but sooner. One thread's at a time; outlives the
 * compiles that use it. NULL: no memory. */
struct compile_cache;
struct compile_cache *compile_cache_new(void);
void compile_cache_free(struct compile_cache *k); /* NULL: nothing */

struct compile_source {
    struct str file, text;
};

/* What one compile is asked for. Everything is borrowed until compile returns. */
struct compile_request {
    const struct compile_source *sources;
    uint32_t n_sources;
    struct parse_options parse;
    const struct str *entrypoints; /* "tenant/authz/allow" (slashes, or a data.… ref) */
    uint32_t n_entrypoints;
    struct str query;          /* or one query (ptr NULL: none); entrypoint id n_entrypoints */
    struct str query_package;  /* its unknown names resolve there (regent eval -p); may be empty */
    const struct str *query_imports;
    uint32_t n_query_imports;
    const struct json *data;   /* base documents known at build time: for conflict checks, and for proxy_wasm's
                                  data; may be NULL */
    bool capture_values;       /* query: bind each expression's value to a ^termN variable (see captures) */
    bool strict;               /* opa build --strict / check --strict */
    bool keep_print;           /* else print() calls are erased, as in opa build */
    bool thin_only;            /* leaves c->full empty: for modules that this process runs itself */
    bool proxy_wasm;           /* c->full becomes a proxy-wasm filter with `data` in it, c->thin stays empty */
    int optimize;              /* -O: 0 as planned, 1 with the transforms, 2 reserved */
    const char *disabled_transforms; /* comma list of names, for tests; NULL: none */
    uint64_t max_arena_bytes;  /* 0: 1 GiB */
    uint64_t max_ms;           /* of processor time, about; 0: no limit */
    struct compile_cache *cache; /* NULL: none */
};

enum module_form { FORM_FULL, FORM_THIN, FORM_PROXY };

/* A query's expression as written, and the variable of the binding objects that holds its value ("" when it
 * has none: its value is true). Generated expressions are left out. */
struct capture {
    struct str text, var;
    uint32_t row, col;
};

/* One compile. The arena holds all trees; compile_end frees it. */
struct compile {
    const struct compile_request *request;
    struct compile_cache *cache;     /* request->cache */
    struct arena arena;
    struct diag_list diags;
    struct module_list modules;
    struct body query;               /* parsed and rewritten request->query */
    struct {
        struct capture *items;
        uint32_t n, cap;
    } captures;
    struct check_state *check;       /* the checks' tables: rule tree, dependency graph, types */
    struct plan *plan;
    struct buf full, thin;           /* module bytes, after the write stage */
    uint32_t n_stages_run;
};

/* Runs the stages up to and including `until` (a stage's name, NULL: all). OK, or ERR_DIAG with
 * c->diags filled in, ERR_MEMORY when the arena's maximum is reached, ERR_DEADLINE past max_ms. compile_end
 * is due in any case. */
MUST_USE enum err compile_run(struct compile *c, const struct compile_request *request,
                              const char *until);
void compile_end(struct compile *c);
/* Prints a stage's output; false: no such stage, it did not run, or a later one changed its output in
 * place (so compile_run up to the stage that is to be shown). */
bool compile_dump(const struct compile *c, const char *stage, struct buf *out);
/* Names of all stages in order, NULL at the end. */
const char *const *compile_stage_names(void);

#endif
