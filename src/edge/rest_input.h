/* The member `input` of a REST body. */
#ifndef REGENT_EDGE_REST_INPUT_H
#define REGENT_EDGE_REST_INPUT_H
#include "base/json.h"

/* Reads the body of POST /v1/data as OPA does: one JSON value, whatever follows it; the last member
 * that is called input whatever its case. *input gets its bytes, ptr NULL when there is none or
 * null. Returns NULL, or why the body is refused, in the words of Go's decoder. Syntax is checked
 * throughout. */
const char *rest_input(struct arena *a, struct str body, struct str *input);
/* The common body {"input": VALUE}, found by brackets and strings alone: the module checks VALUE
 * when it reads it. false: another body, or not JSON; ask rest_input. */
bool rest_input_plain(struct str body, struct str *input);

#endif
