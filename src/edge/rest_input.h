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
/* One value, whatever follows it (a v0 body): ptr NULL for an empty text. Returns as rest_input. */
const char *rest_value(struct arena *a, struct str body, struct str *value);
/* One value and nothing behind it (?input=). */
const char *rest_whole_value(struct arena *a, struct str text, struct str *value);
/* The members of an object, in order, whatever follows it; none for null or an empty text. `type`: of Go, which a body
 * that is no object "cannot be unmarshaled into". Values are views, keys may be copies. */
struct rest_members {
    struct rest_member {
        struct str key, value;
    } *items;
    uint32_t n, cap;
};
const char *rest_members(struct arena *a, struct str body, const char *type, struct rest_members *out);
/* What a value is in Go's words: "array". */
const char *rest_kind(struct str value);

#endif
