/* OPA's bundle format: a gzipped tar with .manifest, data, Rego and modules, as its
 * documents (management-bundles) describe it. */
#ifndef REGENT_BUNDLE_BUNDLE_H
#define REGENT_BUNDLE_BUNDLE_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/diag.h"
#include "base/json.h"

struct bundle_file {
    struct str path; /* "/tenant/policy.rego" */
    struct str bytes;
};
/* A bundle read into an arena. */
struct bundle {
    struct {
        struct bundle_file *items;
        uint32_t n, cap;
    } files;               /* all, in archive order */
    struct json *manifest; /* .manifest, or {} */
    struct json *data;     /* data.json/yaml files merged at their folders' paths */
    struct str full;       /* /policy.wasm (the manifest's first module), or empty */
    struct str thin;       /* /policy.thin.wasm, or empty */
    struct str revision;
};

enum { BUNDLE_MAX_FILE_BYTES = 1 << 30 };

/* Reads archive bytes; problems go to diags (ERR_DIAG). Total size is bounded by the arena's
 * maximum. */
MUST_USE enum err bundle_read(struct arena *a, struct str archive, struct bundle *out,
                              struct diag_list *diags);
/* Same from a folder (as `opa build -b DIR` reads it). */
MUST_USE enum err bundle_read_dir(struct arena *a, const char *dir, struct bundle *out,
                                  struct diag_list *diags);
/* Writes files as gzipped tar, sorted as given, with fixed times and owners, so equal input gives
 * equal bytes. */
MUST_USE enum err bundle_write(const struct bundle_file *files, uint32_t n, struct buf *out);

#endif
