/* Trace context of a request (W3C traceparent), and spans to an OpenTelemetry collector. */
#ifndef REGENT_EDGE_TRACE_H
#define REGENT_EDGE_TRACE_H
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

struct trace_context {
    char trace_id[33], span_id[17]; /* hex; "" when there is none. span_id: the caller's span */
    bool sampled;
};
/* Reads "00-<32 hex>-<16 hex>-<2 hex>"; false, and an empty context, for anything that the
 * recommendation calls invalid. */
bool trace_parse(struct str traceparent, struct trace_context *out);

#endif
