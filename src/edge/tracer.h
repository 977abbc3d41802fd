/* Spans of requests and evaluations, for an OpenTelemetry collector (OTLP over HTTP, as JSON). */
#ifndef REGENT_EDGE_TRACER_H
#define REGENT_EDGE_TRACER_H
#include "edge/decide.h"
#include "edge/trace.h"
#include "net/http.h"

struct tracer;
struct span_ring;

struct tracer_options {
    const struct edge_config *config; /* for the duration of the call */
    const char *node_id, *host_name;
    const struct log *log;
};
/* Always made; costs nothing while the configuration has no tracing.otlp_url. */
MUST_USE enum err tracer_new(const struct tracer_options *options, struct tracer **out);
/* Sends what waits, for two seconds at most. No thread decides any more. */
void tracer_free(struct tracer *t);
/* What is read of a new configuration is copied. */
void tracer_configure(struct tracer *t, const struct edge_config *config);
void tracer_metrics(const struct tracer *t, struct buf *out);

static inline bool tracer_on(const struct worker *w) { return w->tracer && w->config->tracing.url; }
/* After each decision that was answered, while tracer_on: the request's first one says whether it is traced. Copies
 * what it needs, without locks and system calls (but for memory, once a thread). t may be NULL. */
void tracer_decision(struct worker *w, const struct tenant_entry *t, const struct ask *ask, const struct decision *d);
/* The decision that came last turned out to be useless. */
void tracer_amend(struct worker *w, const struct decision *d);
/* The request is answered; r NULL: it was put off, and comes again. */
void tracer_end(struct worker *w, const struct http_reply *r);

/* ---- between recording and sending ---- */

enum { SPAN_PATH_BYTES = 256, SPAN_TEXT_BYTES = 160, SPAN_RING = 2048, SPAN_PEER_BYTES = 64 };

struct span {
    struct trace_context context; /* span_id: the parent's; "" for none */
    char id[17];
    bool is_evaluation; /* else the whole request */
    const char *door;
    int64_t start_ns, end_ns; /* since 1970 */
    char tenant[TENANT_ID_BYTES], path[SPAN_PATH_BYTES], revision[SPAN_TEXT_BYTES], decision_id[37];
    const char *outcome; /* "allow", "deny", "undefined", "error" */
    const char *error;   /* its word, or the limit's name; NULL: none */
    char message[SPAN_TEXT_BYTES], method[16], peer[SPAN_PEER_BYTES];
    uint32_t decisions;
    int status, grpc_status; /* 0, -1: none */
};

/* One a deciding thread: it writes, the sending thread reads. */
struct span_ring {
    struct span_ring *next;
    _Atomic uint64_t written, read, dropped;
    /* The request under way: */
    enum { SPAN_UNKNOWN, SPAN_SKIPPED, SPAN_OPEN } state;
    struct span open;
    struct span items[SPAN_RING];
};
/* A ring of the tracer's own; NULL: no memory. Any thread. */
struct span_ring *tracer_ring(struct tracer *t);
/* Resource attributes in front, and spans, as an ExportTraceServiceRequest. */
void span_print_head(struct str resource, struct buf *out);
void span_print(const struct span *s, bool first, struct buf *out);
void span_print_end(struct buf *out);
void span_attribute(struct buf *out, const char *key, struct str value, bool first);

#endif
