/* Inside of the host: reads a WebAssembly module's sections, far enough to know what to do with it.
 */
#ifndef REGENT_HOST_MODULE_H
#define REGENT_HOST_MODULE_H
#include "base/arena.h"
#include "base/buf.h"
#include "host/host.h"

enum { MODULE_MAX_BYTES = 256 << 20, MODULE_MAX_IMPORTS = 2000, MODULE_MAX_SEGMENTS = 100000 };

enum module_form {
    MODULE_OPA,  /* `opa build -t wasm`: values, data and results cross as JSON */
    MODULE_FULL, /* ours, with the runtime linked in */
    MODULE_THIN, /* ours, the runtime imported from module "regent" */
};

struct module_import {
    struct str module, name;
    bool memory; /* else a function */
};
/* An active data segment: bytes that belong at `address`. */
struct module_segment {
    uint32_t address;
    struct str bytes;
};

/* What module_read found. Views point into the module's bytes; lists lie in the arena. */
struct module_info {
    enum module_form form;
    struct str runtime_hash; /* thin: hex SHA-256 of the runtime it imports */
    struct {
        struct module_import *items;
        uint32_t n, cap;
    } imports;
    struct {
        struct module_segment *items;
        uint32_t n, cap;
    } segments;
    const struct json *input_paths; /* ours: lists of strings, the paths that are read; NULL: not said */
    uint64_t memory_pages; /* the imported or own memory's minimum */
    /* Nothing of its own that running can change or that runs by itself (memory, table, global, element,
     * start, tag), and no export but regent_eval: all that calls leave behind lies in the memory it
     * imports. */
    bool stateless;
    uint32_t largest_function; /* bytes of the longest body */
    struct buf code;       /* the module as it is compiled: ours without data, all without custom
                              sections; module_info_deinit frees it */
};
/* ERR_ABI: an import that no host function answers, by name, or a form this host does not know;
 * ERR_INVALID: not a module; ERR_LIMIT, ERR_MEMORY. */
MUST_USE enum err module_read(struct str wasm, struct arena *a, struct module_info *out,
                              struct load_message *message);
void module_info_deinit(struct module_info *m);

#endif
