/* What the files of the build pool share: a batch of jobs on its way from the queue to the store.
 */
#ifndef REGENT_CONTROL_BUILD_PRIVATE_H
#define REGENT_CONTROL_BUILD_PRIVATE_H
#include "base/hash.h"
#include "control/builder.h"
#include "control/control.h"
#include "control/queue.h"
#include <pthread.h>

enum {
    BATCH_MOST = 32,
    BATCH_MS = 1000, /* a batch ends when building took that long: its results come out, others get
                        a turn */
    BATCH_BYTES = 256 << 20,   /* of inputs; what has no room is given back */
    BATCH_MAX_BYTES = 1 << 30, /* … where one tenant alone may need more */
    SOURCES_BYTES =
        256 << 20, /* kept templates and libraries, a thread; beyond that all are read anew */
    SOURCES_MAX_BYTES = 1 << 30,
    JOB_BYTES = 2000 << 20, /* what building one tenant may take */
    ATTEMPTS_MOST = 10,     /* of a job, that end by a failing blob store or a dead process */
    ATTEMPTS_ALONE = 3,     /* after that many it is taken alone, and after all others */
};

/* How far a job came. */
enum job_outcome {
    JOB_PENDING,    /* not begun: given back */
    JOB_READY,      /* its inputs are read */
    JOB_BUILT,      /* its objects are in the blob store */
    JOB_UNCHANGED,  /* the version before has the same content */
    JOB_DONE,       /* nothing is wanted: another job did it */
    JOB_FAILED,     /* errors say why */
    JOB_RETRY,      /* the blob store failed: errors say how */
    JOB_SUPERSEDED, /* the tenant takes no builds any more */
};

struct job {
    struct str build, tenant, cause, who;
    bool release, forced;
    int64_t attempts;
    enum job_outcome outcome;
    /* what it is built from */
    int64_t read_at; /* the counter `change` of the snapshot */
    int64_t numbered;
    struct builder_input input;
    struct json *source; /* of versions.source; its libraries are known when it is built */
    struct str previous_version, previous_sha256;
    /* what came of it */
    char version[CONTROL_VERSION_BYTES];
    char sha256[65], module_sha256[65], content[65], code[65];
    int64_t bytes, took_us, at_ms;
    bool compiled;
    struct str source_text;
    struct str *libraries;
    uint32_t n_libraries;
    struct str errors, warnings; /* JSON lists */
    /* how it ends, decided within the transaction that commits */
    const char *state;
    bool apply, lost;
    struct str release_version; /* to be made current; "": nothing is */
    int64_t serial;
    struct str build_ended; /* its build's status, if the build ended with this job; else empty */
    int64_t build_total, build_failed;
};

struct batch {
    struct job jobs[BATCH_MOST];
    uint32_t n;
    struct arena *arena;
};

/* A template or library, one version of it; lies in a worker's `kept`. */
struct build_source {
    struct str id;
    int64_t version;
    struct json *spec;
    struct builder_file *files;
    uint32_t n_files;
};
struct build_libraries {
    char key[65]; /* digest of ids and sums */
    struct builder_file *files;
    struct str *of; /* each file's library */
    uint32_t n_files;
    struct build_source **items;
    uint32_t n;
};

struct build_worker {
    struct build_pool *pool;
    struct control *control;
    struct db_conn *db; /* during a turn */
    bool owes; /* may hold jobs that it does not know of: a claim's or commit's answer was lost */
    struct builder *builder;
    char owner[64]; /* of leases: the process and the thread */
    pthread_t thread;
    bool started;
    struct arena arena, job_arena, kept_arena;
    struct table kept; /* "kind/id/sha256" → struct build_source */
    struct build_libraries libraries;
    struct batch batch;
    uint64_t turns;
    int64_t job_us; /* how long one takes, lately */
};

struct build_pool {
    struct control *control;
    struct builder_shared *shared;
    struct build_worker *workers;
    uint32_t n_workers;
    pthread_t clock; /* renews leases, looks for jobs that fell due */
    bool clock_started;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    uint64_t wakes;
    struct build_counts counts;
    _Atomic bool stopping;
    _Atomic int64_t complained_ms;  /* when it last said that it is held up */
    _Atomic int64_t hold_ms;        /* no claims before: the blob store failed */
    _Atomic uint32_t blob_failures; /* in a row */
};

static inline int64_t build_lease_ms(const struct control *c) {
    return c->config->lease_ms ? c->config->lease_ms : 30000;
}

/* ---- build_claim.c ---- */
/* Takes up to `limit` jobs that are due into w->batch, of small builds first, or of the oldest. */
MUST_USE enum err build_claim(struct build_worker *w, uint32_t limit, bool oldest);
/* Jobs that the thread holds are queued again; those of w->batch that were not begun count no
 * attempt. */
MUST_USE enum err build_give_back(struct build_worker *w);
MUST_USE enum err build_renew(struct build_pool *p, struct db_conn *c, struct arena *a);
MUST_USE enum err build_due(struct db_conn *c, struct arena *a, bool *due);

/* ---- build_inputs.c ---- */
/* Reads what the jobs of w->batch are made from, in one snapshot: JOB_READY, or how else it ended.
 */
MUST_USE enum err build_read_inputs(struct build_worker *w);

/* ---- build_run.c ---- */
/* Builds one job that is JOB_READY and uploads its objects. */
void build_run(struct build_worker *w, struct job *j);
/* [{"code": …, "message": …}] as JSON text in the arena. */
struct str build_error(struct arena *a, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
struct str build_json_text(struct arena *a, const struct json *v);

/* ---- build_commit.c ---- */
/* Everything that w->batch came to, in one transaction. */
MUST_USE enum err build_commit(struct build_worker *w);

#endif
