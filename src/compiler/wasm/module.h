/* Inside of the emitter: the sections of a WebAssembly module, as the linker and the listing need
 * them. */
#ifndef REGENT_COMPILER_WASM_MODULE_H
#define REGENT_COMPILER_WASM_MODULE_H
#include "base/arena.h"
#include "compiler/wasm/opcode.h"

enum external_kind { EXTERNAL_FUNCTION, EXTERNAL_TABLE, EXTERNAL_MEMORY, EXTERNAL_GLOBAL };

struct wasm_import { /* of a function; memory and others are only counted */
    struct str module, name;
    uint32_t type;
};
struct wasm_export {
    struct str name;
    enum external_kind kind;
    uint32_t index;
};
struct wasm_global {
    struct str raw; /* type, mutability, initial value */
};
struct wasm_data {
    uint32_t address;
    struct str bytes;
};

/* All views point into the module's bytes; lists lie in the arena. */
struct wasm_module {
    struct {
        struct str *items;
        uint32_t n, cap;
    } types; /* raw, from 0x60 on */
    struct {
        struct wasm_import *items;
        uint32_t n, cap;
    } imports;
    struct {
        uint32_t *items;
        uint32_t n, cap;
    } functions; /* types of own functions */
    struct {
        struct wasm_global *items;
        uint32_t n, cap;
    } globals;
    struct {
        struct wasm_export *items;
        uint32_t n, cap;
    } exports;
    struct {
        struct str *items;
        uint32_t n, cap;
    } bodies; /* locals and instructions */
    struct {
        struct wasm_data *items;
        uint32_t n, cap;
    } data;
    struct str code_section, data_section; /* their contents; relocations count from there */
    struct str linking, reloc_code,
        reloc_data; /* custom sections of wasm-ld --emit-relocs, or empty */
    bool has_elements, has_start;
};

/* Reads active data segments at constant addresses, functions, globals, exports. False: malformed,
 * or a form that neither clang nor we write; *problem then says what. */
bool wasm_module_read(struct str bytes, struct arena *a, struct wasm_module *out,
                      const char **problem);
/* Number of the exported function of that name, imports counted; -1: none. */
int64_t wasm_module_function(const struct wasm_module *m, struct str name);
/* Skips the local declarations at the head of a body. */
struct reader wasm_body_code(struct str body);

#endif
