/* Decision logs in OPA's format: every decision as an event, to a file, standard output or a log service. */
#ifndef REGENT_EDGE_DECISION_LOG_H
#define REGENT_EDGE_DECISION_LOG_H
#include "edge/decide.h"

struct decision_log;
struct recorder;

struct decision_log_options {
    const struct edge_config *config; /* for the duration of the call */
    struct engine *engine;
    const char *node_id; /* label `id` */
    const struct log *log;
};
/* Always made; costs nothing while the configuration names nothing to write to. */
MUST_USE enum err decision_log_new(const struct decision_log_options *options, struct decision_log **out);
/* Writes and sends what waits, for a few seconds at most. No recorder is used any more. */
void decision_log_free(struct decision_log *l);
/* What is read of a new configuration is copied. */
void decision_log_configure(struct decision_log *l, const struct edge_config *config);
/* Opens the file anew: after it was renamed. */
void decision_log_reopen(struct decision_log *l);
void decision_log_metrics(const struct decision_log *l, struct buf *out);

/* Does the bundle's Rego have rules system.log.mask? They mask only when the module answers for them: it is hidden what
 * a module without that entrypoint decides. */
struct bundle;
bool decision_log_has_masks(const struct bundle *b);

/* One a thread that decides; lives as long as the log. NULL: no memory. */
struct recorder *recorder_new(struct decision_log *l);

static inline bool decision_log_wanted(const struct decision_log_config *c) {
    return c->file || c->console || c->url;
}
static inline bool decision_log_on(const struct worker *w) {
    return w->recorder && decision_log_wanted(&w->config->decision_log);
}

/* After each decision that was answered: copies what it needs, without locks and system calls. t may be NULL. */
void decision_log_add(struct worker *w, const struct tenant_entry *t, const struct ask *ask, const struct decision *d);
/* The decision that was added last turned out to be useless, or no decision at all (a request that is refused as OPA
 * refuses it, without an event). */
void decision_log_amend(struct worker *w, const struct decision *d);
void decision_log_forget(struct worker *w);
/* The request is answered: its last event is handed over. */
void decision_log_end(struct worker *w);
/* when_full is `wait` and there is no room: on an event loop the request is to be put off (true); elsewhere this waits
 * for at most a second. */
bool decision_log_holds_up(struct worker *w, const struct tenant_entry *t);

#endif
