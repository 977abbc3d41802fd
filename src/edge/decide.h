/* One decision for one tenant: the path that every door shares. */
#ifndef REGENT_EDGE_DECIDE_H
#define REGENT_EDGE_DECIDE_H
#include "edge/tenants.h"

/* What a worker thread needs to answer; one a thread. */
struct worker {
    struct tenants *tenants;
    struct instances *pool;
    struct limits limits;
    const struct log *log;
    unsigned number;             /* reader number in tenants */
    uint64_t random[2];          /* state of decision ids */
    uint64_t log_second, logged; /* bound on warnings a second */
    bool fresh_instances;
    struct arena arena; /* of the request being answered */
    struct buf input;   /* input document that a door writes, reused */
};

enum decision_kind {
    DECISION_VALUE,     /* json holds the result */
    DECISION_UNDEFINED, /* the policy gave no result */
    DECISION_FAILED,    /* err and message say why */
    DECISION_NO_TENANT,
    DECISION_NO_ENTRYPOINT /* the tenant's module answers nothing at this path */
};

struct decision {
    enum decision_kind kind;
    enum err err;
    bool above_entrypoint; /* NO_ENTRYPOINT: the path is a folder of entrypoints */
    struct str json;       /* valid until the worker's next decision */
    uint64_t eval_ns;
    char id[37]; /* UUID */
    struct eval_result result;
};

/* Evaluates `path` ("tenant/authz/allow"; empty: the module's first entrypoint) for the tenant on
 * JSON input (ptr NULL: none). A path below an entrypoint's is looked up in its result. Counts
 * metrics and logs what is not an ordinary answer. */
void decide(struct worker *w, struct str tenant, struct str path, struct str input,
            struct decision *d);
/* What a door refuses before a decision is asked for, or because of one that it cannot use: counts
 * it, logs it, and makes *d a failed decision. `decided`: decide has counted it already. */
void decision_refuse(struct worker *w, struct str tenant, struct str path, bool decided, enum err e,
                     const char *why, struct decision *d);
/* Is this result a denial? false, undefined, failed, or an object whose `allow` or `allowed` is
 * false. */
bool decision_denies(const struct decision *d);
const char *decision_reason(const struct decision *d);

#endif
