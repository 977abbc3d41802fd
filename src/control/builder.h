/* Makes a tenant's bundle from its sources: compiled, tested, checked, signed. Knows no store and
 * no blobs. */
#ifndef REGENT_CONTROL_BUILDER_H
#define REGENT_CONTROL_BUILDER_H
#include "base/arena.h"
#include "base/diag.h"
#include "base/json.h"
#include "control/sign.h"

struct builder;        /* one a thread: an engine's sandboxes, kept code; use on that thread */
struct builder_shared; /* one a process: the engine */

enum {
    BUILDER_WHY_BYTES = 512,
    BUILDER_DATA_WARN_BYTES = 5 * 1000 * 1000,
    BUILDER_MODULE_MAX_BYTES = 10 * 1000 * 1000
};

MUST_USE enum err builder_shared_new(struct builder_shared **out);
void builder_shared_free(struct builder_shared *s);
MUST_USE enum err builder_new(struct builder_shared *s, const struct signer *signer,
                              struct builder **out);
void builder_free(struct builder *b);

/* A file of a template, a library or a tenant; "name" is for places in errors:
 * "templates/shop/policy.rego". */
struct builder_file {
    struct str name, text;
};
struct builder_input {
    struct str tenant;
    const struct builder_file *files; /* of template, tenant, and all libraries; *_test.rego too */
    uint32_t n_files;
    /* Files [0, n_own) are template and tenant; others are libraries, in groups: only those that
     * are imported, directly or not, go into the bundle. */
    uint32_t n_own;
    const struct str *library_of;   /* for each file: its library's id, or empty */
    const struct json *parameters;  /* template values: {"NAME": "value"}; NULL: none */
    const struct json *data;        /* base documents, {} at least */
    struct str checks;              /* checks.json (docs/activation.md), or empty */
    const struct json *limits;      /* metadata.regent.limits of the manifest; NULL: none */
    const struct json *entrypoints; /* list of "shop/allow"; NULL or empty: every rule that
                                       `entrypoint: true` or, if there is none, `allow` and `result`
                                       of the tenant's and template's packages */
    /* The version before, to save compiling: its `code`, and where its modules are. Empty: none. */
    struct str previous_code;
    enum err (*previous_modules)(void *ctx, struct arena *a, struct str *full, struct str *thin);
    void *previous_ctx;
    struct str previous_content; /* its `content` */
    bool forced;                 /* make it anew even if nothing changed (a new signing key) */
};
struct builder_output {
    bool unchanged;            /* nothing but the verdict is set: it is the version before */
    bool compiled;             /* false: modules of the version before */
    struct str bundle, module; /* bundle.tar.gz, policy.wasm */
    char bundle_sha256[65], module_sha256[65];
    char content[65], code[65];
    struct str *libraries; /* ids of those that are in it */
    uint32_t n_libraries;
    struct json *errors;   /* [{"code","message","location":{"file","row","col"}}] when ERR_DIAG */
    struct json *warnings; /* [{"code","message"}] */
};
/* All in the arena. OK, ERR_DIAG (errors says why: does not compile, a test fails, a check is
 * answered otherwise, the module is too large, …), ERR_MEMORY. Two calls with equal input give
 * equal bytes but for the signature. */
MUST_USE enum err builder_run(struct builder *b, struct arena *a, const struct builder_input *in,
                              struct builder_output *out);

#endif
