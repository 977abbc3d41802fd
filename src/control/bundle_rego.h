/* A published bundle without its modules: what an OPA without a WebAssembly engine runs. */
#ifndef REGENT_CONTROL_BUNDLE_REGO_H
#define REGENT_CONTROL_BUNDLE_REGO_H
#include "base/buf.h"
#include "control/sign.h"

/* Appends to out: the bundle's Rego, data and manifest, signed anew by `signer` (NULL: not signed).
 * Modules, checks and the manifest's member wasm are left out. ERR_DIAG: the bytes are no bundle;
 * ERR_MEMORY, ERR_LIMIT. */
MUST_USE enum err bundle_rego(struct arena *a, const struct signer *signer, struct str bundle,
                              struct buf *out);

#endif
