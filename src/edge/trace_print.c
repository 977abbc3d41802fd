/* Prints spans as OTLP's JSON: an ExportTraceServiceRequest.
 * in: spans. out: text. owns: nothing. Ids are hexadecimal and 64-bit numbers are strings, as in OTLP's JSON. */
#include "base/json.h"
#include "edge/tracer.h"
#include <stdio.h>

enum { KIND_INTERNAL = 1, KIND_SERVER = 2, STATUS_ERROR = 2 };

void span_attribute(struct buf *out, const char *key, struct str value, bool first) {
    buf_printf(out, "%s{\"key\":", first ? "" : ",");
    json_print_string(str_of(key), out);
    buf_cstr(out, ",\"value\":{\"stringValue\":");
    json_print_string(value, out);
    buf_cstr(out, "}}");
}

static void text(struct buf *out, const char *key, const char *value) {
    if (value && value[0]) span_attribute(out, key, str_of(value), false);
}

static void number(struct buf *out, const char *key, int64_t n) {
    buf_printf(out, ",{\"key\":\"%s\",\"value\":{\"intValue\":\"%lld\"}}", key, (long long)n);
}

void span_print_head(struct str resource, struct buf *out) {
    buf_cstr(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    buf_str(out, resource);
    buf_cstr(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"regent\",\"version\":\"" REGENT_VERSION "\"},\"spans\":[");
}

void span_print_end(struct buf *out) { buf_cstr(out, "]}]}]}"); }

/* What only the whole request has. */
static void request_attributes(const struct span *s, struct buf *out) {
    text(out, "http.request.method", s->method);
    text(out, "network.peer.address", s->peer);
    text(out, "regent.decision_id", s->decision_id);
    if (s->status) number(out, "http.response.status_code", s->status);
    if (s->grpc_status >= 0) number(out, "rpc.grpc.status_code", s->grpc_status);
    if (s->decisions > 1) number(out, "regent.decisions", s->decisions);
}

void span_print(const struct span *s, bool first, struct buf *out) {
    buf_printf(out, "%s{\"traceId\":\"%s\",\"spanId\":\"%s\"", first ? "" : ",", s->context.trace_id, s->id);
    if (s->context.span_id[0]) buf_printf(out, ",\"parentSpanId\":\"%s\"", s->context.span_id);
    buf_printf(out, ",\"name\":\"%s\",\"kind\":%d,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\"",
               s->is_evaluation ? "evaluate" : s->door, s->is_evaluation ? KIND_INTERNAL : KIND_SERVER,
               (long long)s->start_ns, (long long)s->end_ns);
    buf_cstr(out, ",\"attributes\":[");
    span_attribute(out, "regent.tenant_id", str_of(s->tenant), true);
    text(out, "regent.path", s->path);
    text(out, "regent.revision", s->revision);
    text(out, "regent.decision", s->decisions > 1 && !s->is_evaluation ? NULL : s->outcome);
    text(out, "error.type", s->error);
    if (!s->is_evaluation) request_attributes(s, out);
    buf_byte(out, ']');
    if (s->error) {
        buf_printf(out, ",\"status\":{\"code\":%d,\"message\":", STATUS_ERROR);
        json_print_string(str_of(s->message), out);
        buf_byte(out, '}');
    }
    buf_byte(out, '}');
}
