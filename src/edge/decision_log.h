/* Decision logs in OPA's format: every decision as an event, to a file, standard output or a log
 * service. */
#ifndef REGENT_EDGE_DECISION_LOG_H
#define REGENT_EDGE_DECISION_LOG_H
#include "edge/decide.h"
#include "edge/trace.h"

struct decision_log;

/* What the log wants to know of a request, given by its door before it asks; NULL members: unknown.
 */
struct request_facts {
    struct str requested_by; /* "192.0.2.7:5123" */
    struct str traceparent;
    const struct http_request *http; /* for request_context.http.headers; may be NULL */
    uint64_t number;                 /* req_id */
    char batch_id[37];               /* "" when it is no batch */
};
/* Called by decide and decision_refuse after each decision that was answered: copies what it needs.
 * Cheap when nothing is logged. */
void decision_log_add(struct decision_log *l, struct worker *w, const struct tenant_entry *t,
                      const struct ask *ask, const struct decision *d);

#endif
