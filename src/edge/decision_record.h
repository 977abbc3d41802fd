/* Inside of the decision log: events as they wait, from the thread that decided to the one that writes. */
#ifndef REGENT_EDGE_DECISION_RECORD_H
#define REGENT_EDGE_DECISION_RECORD_H
#include "edge/decision_log.h"
#include <stdatomic.h>

enum event_part {
    PART_TENANT, /* id of an unknown one */
    PART_PATH,
    PART_INPUT,
    PART_RESULT,
    PART_WHO,     /* requested_by */
    PART_TRACE,   /* traceparent */
    PART_HEADERS, /* JSON object, or nothing */
    PART_MESSAGE, /* why it failed: last, since it may come late */
    N_PARTS
};

/* What all events of one version of a tenant have in common, as one thread's recorder keeps it. */
struct event_version {
    struct event_version *next;
    struct tenant *tenant;
    uint64_t policy;              /* policy_number */
    uint64_t added;               /* events that refer to it; the recorder's thread alone */
    _Atomic uint64_t done;        /* of those: finished */
    bool enabled, watched;        /* watched: it has entrypoints for masking or dropping */
    bool hidden;                  /* its masks cannot be asked: events have neither input nor result */
    int32_t mask, drop;           /* their numbers, or -1 */
    uint32_t sample, max_per_second;
    struct limits limits;         /* of evaluations */
    uint32_t n_bundles, n_custom; /* of text: members `bundles`, and `custom` up to its last value, `door` */
    char text[];
};

/* One event: this head and its parts, one after the other. */
struct event_record {
    uint32_t bytes; /* of all, a multiple of 8 */
    uint8_t kind;   /* enum decision_kind */
    bool has_input;
    uint16_t err;   /* enum err */
    uint64_t time_ns, eval_ns, handler_ns, number;
    struct event_version *version; /* NULL: an unknown tenant */
    struct policy *policy;         /* counted, when version->watched */
    const char *door;
    char id[37], batch_id[37];
    uint32_t len[N_PARTS];
    char parts[];
};
struct str event_part(const struct event_record *e, enum event_part part);

/* Single producer, single consumer. */
struct chunk {
    _Atomic(struct chunk *) next;
    _Atomic uint32_t committed; /* bytes that the consumer may read */
    uint32_t read, cap;
    _Alignas(8) char data[];
};
enum drop_reason { DROPPED_BUFFER, DROPPED_RATE, DROPPED_SIZE, DROPPED_SINK, DROPPED_REASONS };

struct recorder {
    struct recorder *next;
    struct decision_log *log;
    const struct edge_config *config; /* that versions were made under: */
    uint32_t generation;              /* an address may be used again */
    struct chunk *tail;               /* the producer's */
    struct chunk *head;               /* the consumer's */
    _Atomic(struct chunk *) spare;
    uint32_t used;                    /* of tail: committed, and the open event */
    struct event_record *open;        /* added, not yet handed over */
    struct event_version *open_version;
    uint64_t random;
    struct event_version *buckets[4096], *retired;
    uint32_t n_versions;
    _Atomic uint64_t events, dropped[DROPPED_REASONS]; /* the producer's */
};

/* The consumer's: the next event that was handed over, or NULL; valid until the next call. */
const struct event_record *recorder_take(struct recorder *r);
/* The event is finished: what it counted is given back. */
void event_done(struct decision_log *l, struct tenant *tenant, struct event_version *version, uint64_t bytes);
struct tenant *event_tenant(const struct event_record *e);
void recorder_free(struct recorder *r);

#endif
