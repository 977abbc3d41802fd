/* Plan to WebAssembly: emit function bodies, link with the runtime (full form) or import it (thin form),
 * write bytes. */
#ifndef REGENT_COMPILER_WASM_WASM_H
#define REGENT_COMPILER_WASM_WASM_H
#include "compiler/compile.h"
#include "compiler/plan/ir.h"

/* c->plan → c->full and c->thin. The code sections depend on the plan's shape only (no constant's
 * value); the constants and trees go to data segments at HEADER_BASE. Both carry the custom section
 * "regent" (docs/abi.md). */
void wasm_emit(struct compile *c);
/* Text listing of emitted functions for --dump wasm. */
void wasm_print(const struct compile *c, struct buf *out);

/* The runtime built for size, from which full modules take functions; the one built for speed together
 * with src/runtime/proxy, from which proxy-wasm filters do; and the SHA-256 in hex of the one built for
 * speed, which thin modules import and the host carries. */
struct str runtime_link_wasm(void);
struct str runtime_proxy_wasm(void);
const char *runtime_hash(void);

#endif
