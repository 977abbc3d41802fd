/* Paths of OPA's data API: their steps, and the base documents that they may name. */
#ifndef REGENT_EDGE_DOCUMENT_H
#define REGENT_EDGE_DOCUMENT_H
#include "edge/decide.h"

/* Takes the first step off a path as it was sent: "users//we%20ird/0". Empty steps are skipped, escapes decoded into
 * the arena, and what OPA takes for a number ("0", "+1", "01", "1.0") is an index. false: no step is left. */
bool document_step(struct arena *a, struct str *path, struct document_key *out);
/* The tenant's base document at the path, as sent: *d becomes DECISION_VALUE; DECISION_LATER when it is too large for
 * an event loop; DECISION_FAILED past the limit of the output. Without such a document *d stays as it is. The text lies
 * in w->input. */
void document_find(struct worker *w, const struct tenant_entry *t, struct str path, struct decision *d);

#endif
