/* Inside of the decision log: what its threads share. */
#ifndef REGENT_EDGE_DECISION_LOG_PRIVATE_H
#define REGENT_EDGE_DECISION_LOG_PRIVATE_H
#include "edge/decision_record.h"
#include <pthread.h>

struct sinks;
struct maskers;

/* Counts that several threads add to. */
struct decision_log_counts {
    _Atomic uint64_t written, dropped[DROPPED_REASONS], by_policy, mask_failed;
    _Atomic uint64_t uploads, uploads_failed;
};

struct decision_log {
    _Atomic uint64_t held_bytes; /* by everything that waits */
    _Atomic uint64_t limit_bytes;
    _Atomic uint32_t generation; /* of the configuration */
    struct decision_log_counts counts;
    const struct log *log;
    struct engine *engine;
    char node_id[37];
    struct sinks *sinks;
    struct maskers *maskers;
    pthread_mutex_t lock; /* the list of recorders, labels */
    struct recorder *recorders;
    struct buf labels; /* {"labels":{…}, */
    pthread_t writer;
    _Atomic bool stopping, wait; /* wait: when_full */
    bool started;
};

/* Takes room for so many bytes behind the threads that decide, where there is a share of the buffer (limit / parts) of
 * its own: a buffer that is full of events must not keep them from being passed on. `has`: what the caller holds. */
bool decision_log_pass_on(struct decision_log *l, uint64_t has, uint64_t bytes, uint64_t parts);
static inline void decision_log_release(struct decision_log *l, uint64_t bytes) {
    atomic_fetch_sub_explicit(&l->held_bytes, bytes, memory_order_relaxed);
}
void decision_log_dropped(struct decision_log *l, struct tenant *t, enum drop_reason why);

/* ---- decision_event.c ---- */
/* The event as one line of JSON, without its newline, appended. labels: as in struct decision_log. */
void event_print(const struct event_record *e, struct str labels, struct arena *scratch, struct buf *out);
/* One JSON value without white space; false: it is none (out is as before), or not UTF-8, or nested deeply. */
bool event_compact(struct str json, struct buf *out);

/* ---- decision_mask.c ---- */
/* Applies what a mask policy gave (a set of pointers and {op, path, value}) to an event, and lists it in `erased` and
 * `masked` as OPA does. ERR_TYPE: a rule that makes no sense; the event may be changed in part, and must be hidden. */
MUST_USE enum err mask_apply(struct arena *a, const struct json *rules, struct json *event);
/* Takes out all that a mask could concern, and says why. */
void mask_hide(struct arena *a, struct json *event, const char *why);

/* ---- decision_policy.c: events of tenants that mask or drop ---- */
MUST_USE enum err maskers_new(struct decision_log *l, const struct edge_config *config, struct maskers **out);
/* Takes a copy. */
void maskers_take(struct maskers *m, const struct event_record *e);
/* Ends the threads when nothing waits, or after so long. */
void maskers_stop(struct maskers *m, uint64_t wait_ms);
void maskers_free(struct maskers *m);

/* ---- decision_sink.c: where lines go ---- */
MUST_USE enum err sinks_new(struct decision_log *l, struct sinks **out);
void sinks_configure(struct sinks *s, const struct decision_log_config *c);
void sinks_reopen(struct sinks *s);
/* One event, without a newline. Any thread. */
void sinks_put(struct sinks *s, struct tenant *tenant, struct str line);
/* Is there room for another event? For when_full: wait, where events stay with the threads that decide until then. */
bool sinks_have_room(struct sinks *s);
/* Writes what waits for file and console. One thread. */
void sinks_flush(struct sinks *s);
void sinks_stop(struct sinks *s);
void sinks_free(struct sinks *s);

/* ---- decision_upload.c: the log service ---- */
struct uploader;
MUST_USE enum err uploader_new(struct decision_log *l, struct uploader **out);
void uploader_configure(struct uploader *u, const struct decision_log_config *c);
void uploader_put(struct uploader *u, struct tenant *tenant, struct str line);
bool uploader_wanted(struct uploader *u);
bool uploader_has_room(struct uploader *u);
void uploader_stop(struct uploader *u); /* one last attempt */
void uploader_free(struct uploader *u);

#endif
