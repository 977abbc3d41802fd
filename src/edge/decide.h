/* One decision for one tenant: the path that every door shares. */
#ifndef REGENT_EDGE_DECIDE_H
#define REGENT_EDGE_DECIDE_H
#include "edge/config.h"
#include "edge/identify.h"
#include "edge/tenants.h"

struct process; /* a worker process (process.h) */
struct node;   /* node.h */

/* What the request under way tells the decision log and traces; given by its door before it asks. */
struct request_facts {
    const char *door;                /* "rest" */
    const struct http_request *http; /* the call itself; NULL: none */
    /* Of the request that the call describes (ext_authz); NULL: the call's own. */
    struct str (*header)(const void *ctx, struct str name);
    const void *header_ctx;
    uint64_t began_ns;
    uint64_t number;   /* req_id */
    char batch_id[37]; /* "" when it is no batch */
};

/* The header of the call, or of the request that it describes; ptr NULL: neither has it. */
struct str request_header(const struct request_facts *f, struct str name);

/* What a thread needs to answer; one a thread: event loops, and lanes, which take what would hold an
 * event loop up. */
struct worker {
    struct tenants *tenants;
    struct instances *pool;
    const struct edge_config *config; /* current; replaced between requests */
    struct identifier *identifier;
    const struct log *log;
    unsigned number;        /* reader number in tenants */
    uint64_t slice_us;      /* longer evaluations are stopped and asked for again in a lane; 0: this is a lane */
    struct process *remote; /* evaluates for this lane; NULL: the lane itself */
    /* The request under way: */
    uint32_t charged;          /* so many of its decisions were admitted before it was put off */
    uint32_t admitted;         /* decisions admitted by now */
    bool may_wait, missed;     /* a tenant that is not there may come when it is waited for; that happened */
    struct tenant_quota *held; /* counts it as under way until it is answered; NULL: each decision by itself */
    uint64_t random[2];     /* state of decision ids */
    uint64_t log_second, logged; /* bound on warnings a second */
    struct arena arena; /* of the request being answered */
    struct buf input;   /* input document that a door writes, reused */
    const struct node *node;
    struct decision_log *decisions; /* NULL: there is none */
    struct recorder *recorder;      /* this thread's way into it */
    struct tracer *tracer;    /* NULL: there is none */
    struct span_ring *spans;  /* this thread's; made when first needed */
    struct request_facts facts;
    uint64_t requests; /* so far */
};

/* What a door wants decided. */
struct ask {
    struct str tenant, path, input; /* path "tenant/authz/allow", empty: the first entrypoint; input ptr NULL: none */
    struct str document; /* path as sent, when a base document may answer where no entrypoint does; ptr NULL: none */
    bool strict_builtin_errors;
};

enum decision_kind {
    DECISION_VALUE,     /* json holds the result */
    DECISION_UNDEFINED, /* the policy gave no result */
    DECISION_FAILED,    /* err and message say why */
    DECISION_LATER,  /* not answered: the door gives DOOR_LATER, and the request comes again */
    DECISION_NO_TENANT,
    DECISION_NO_ENTRYPOINT /* the tenant's module answers nothing at this path */
};

struct decision {
    enum decision_kind kind;
    enum err err;
    enum limit_kind limit; /* FAILED: the limit that was passed; LIMIT_COUNT: none */
    bool above_entrypoint; /* NO_ENTRYPOINT: the path is a folder of entrypoints */
    struct str json;       /* valid until the worker's next decision */
    uint64_t eval_ns;
    char id[37]; /* UUID */
    struct eval_result result;
};

/* Admits, evaluates, counts and logs. A path below an entrypoint's is looked up in its result. Over a
 * limit: DECISION_FAILED with the limit's error. */
void decide(struct worker *w, const struct ask *ask, struct decision *d);
/* What a version that does not serve would answer: evaluated here and now, with the whole deadline, without admission,
 * counting or logging. w: not one of those that answer. */
void decide_beside(struct worker *w, const struct tenant_entry *t, const struct ask *ask, struct decision *d);
/* Takes up a request: forgets what the worker knows of the one before. A request that was put off comes with what
 * `charged` and `held` were when it was. */
void worker_begin(struct worker *w, uint32_t charged, struct tenant_quota *held);
/* A door's first act: notes which request it answers. */
void worker_notes(struct worker *w, const char *door, const struct http_request *q);
/* A fresh UUID. */
void decision_id(struct worker *w, char out[37]);
/* The group whose worker processes evaluate for the tenant, or NULL. */
const struct worker_group *worker_group_of(const struct edge_config *c, struct str tenant);
/* The HTTP status that a failed decision, or one without tenant, has at every door that speaks HTTP: 429
 * over a rate, 503 when the node is overloaded, 403 without tenant, 500 else. */
int decision_status(const struct decision *d);
/* What a door refuses before a decision is asked for, or because of one that it cannot use: counts
 * it, logs it, and makes *d a failed decision. `decided`: decide has counted it already. */
void decision_refuse(struct worker *w, struct str tenant, struct str path, bool decided, enum err e,
                     const char *why, struct decision *d);
/* Is this result a denial? false, undefined, failed, or an object whose `allow` or `allowed` is
 * false. */
bool decision_denies(const struct decision *d);
const char *decision_reason(const struct decision *d);

#endif
