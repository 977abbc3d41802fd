/* What the builder's files share: a file's outline, and one tenant's build on its way. */
#ifndef REGENT_CONTROL_BUILDER_PRIVATE_H
#define REGENT_CONTROL_BUILDER_PRIVATE_H
#include "base/hash.h"
#include "bundle/bundle.h"
#include "bundle/limits.h"
#include "compiler/source.h"
#include "control/builder.h"
#include "host/host.h"

enum {
    BUILD_MAX_FILES = 5000,
    BUILD_MAX_SOURCE_BYTES = 64 << 20,
    BUILD_ARENA_BYTES = 256 << 20, /* of trees and texts of one build, and of each compile */
    BUILD_COMPILE_MS = 10000,      /* of processor time, each compile */
    BUILD_KEPT_CODE = 64           /* modules whose machine code a thread holds on to */
};

struct str_list {
    struct str *items;
    uint32_t n, cap;
};
/* Names below data: "lib", "users", "find". */
struct name_path {
    struct str *items;
    uint32_t n, cap;
};

/* What a file says without its template values: found once for each text. In the builder's arena of
 * outlines. */
struct outline_test {
    struct str name; /* "test_denies" */
    uint32_t row, col;
};
struct outline {
    struct name_path package; /* n 0: the file has none that can be read */
    struct {
        struct name_path *items;
        uint32_t n, cap;
    } uses; /* imports and refs below data, as far as their names are constant; each once */
    struct str_list entrypoints; /* "shop/allow": annotated so */
    struct {
        struct outline_test *items;
        uint32_t n, cap;
    } tests;
    struct source_holes holes;
    bool allow, result, mask, drop; /* rules of these names are there */
    bool many_values;               /* more than a file may have */
    bool broken;                    /* does not parse: the rest is its package at most */
    uint8_t sha256[32];             /* of the text */
};

struct build_test {
    struct str path, name; /* "shop/test_denies", "data.shop.test_denies" */
    struct loc loc;
};

/* One call of builder_run. */
struct run {
    struct builder *b;
    struct arena *a; /* the caller's: results */
    const struct builder_input *in;
    uint32_t *order;           /* files by name */
    struct outline **outlines; /* of in->files[i] */
    bool *shipped, *tested;    /* goes into the bundle; into the module of tests */
    struct str_list entrypoints;
    struct {
        struct build_test *items;
        uint32_t n, cap;
    } tests;
    struct parse_options parse;
    struct compile compile, test_compile;
    bool compiled, test_compiled; /* compile_end is due */
    struct policy *policy;        /* under test */
    struct tenant_limits limits;  /* of checks */
    struct buf text;
    struct str full, thin;
    struct bundle_file *files; /* of the bundle; n_files of them */
    uint32_t n_files;
    struct builder_output out;
};

struct builder {
    struct builder_shared *shared;
    const struct signer *signer;
    struct instances *instances;
    struct compile_cache *cache;
    struct arena work;    /* of one run; jumps when it is exhausted */
    struct arena known;   /* outlines */
    struct arena answers; /* of one check; does not jump */
    struct eval_result answer;
    struct table outlines;                /* by SHA-256 */
    struct policy *kept[BUILD_KEPT_CODE]; /* without data; for their machine code */
    uint32_t next_kept;
    struct run run;
};
struct builder_shared {
    struct engine *engine;
    char compiler[256]; /* what modules depend on besides their sources */
};

/* builder_sources.c. Jump when memory is exhausted, as r->b->work and r->a are set to do. */
void run_scan(struct run *r);               /* outlines of all files */
void run_choose_files(struct run *r);       /* shipped, tested, out.libraries */
void run_choose_entrypoints(struct run *r); /* errors when there are none */
void run_find_tests(struct run *r);
bool is_test_file(struct str name);

/* builder_tests.c. What fails is an error of the run. ERR_DIAG, ERR_MEMORY. */
MUST_USE enum err run_tests(struct run *r);
MUST_USE enum err run_checks(struct run *r);

/* builder_bundle.c */
void run_digests(struct run *r,
                 struct str compiler); /* files but modules and signature; out.code, out.content */
MUST_USE enum err run_pack(struct run *r);

/* builder.c */
void run_error(struct run *r, const char *code, struct loc loc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void run_diags(struct run *r, const struct diag_list *diags);
static inline bool run_failed(const struct run *r) { return r->out.errors->n > 0; }
/* The request's sources in work, all files that are chosen. */
struct compile_request run_request(struct run *r, const bool *chosen);
/* Compiles; errors become the run's. until: the last stage, NULL: all. compile_end is due. */
MUST_USE enum err run_compile(struct run *r, struct compile *c, const struct compile_request *q,
                              const char *until);
/* Loads a module to be asked; what is wrong with it becomes an error (ERR_DIAG). */
MUST_USE enum err run_load(struct run *r, struct str full, struct str thin);

#endif
