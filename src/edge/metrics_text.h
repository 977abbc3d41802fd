/* Prometheus' text format, line by line. A scrape of thousands of tenants is a hundred thousand lines, so nothing is
 * formatted by printf that need not be. */
#ifndef REGENT_EDGE_METRICS_TEXT_H
#define REGENT_EDGE_METRICS_TEXT_H
#include "base/buf.h"
#include <stdatomic.h>

/* HELP and TYPE of a family: counter, gauge or histogram. */
void metric_family(struct buf *out, const char *name, const char *type, const char *help);
/* A family of one series without labels. */
void metric_one(struct buf *out, const char *name, const char *type, const char *help, uint64_t n);
/* `name{tenant_id="…",more="…"} `, escaped; more NULL: no second label. A value has to follow. */
void metric_line(struct buf *out, struct str name, struct str tenant, const char *more, struct str more_value);
/* The value, and the end of its line. */
void metric_number(struct buf *out, uint64_t n);
void metric_seconds(struct buf *out, uint64_t ns); /* as seconds, whole to the last digit */
/* A label's value: backslash, quote and newline escaped. */
void metric_label(struct buf *out, struct str value);

static inline void metric_add(_Atomic uint64_t *at, uint64_t n) {
    atomic_fetch_add_explicit(at, n, memory_order_relaxed);
}
static inline uint64_t metric_get(const _Atomic uint64_t *at) {
    return atomic_load_explicit(at, memory_order_relaxed);
}

#endif
