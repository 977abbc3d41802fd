/* What the files of sources share: the fetching thread's tenants, its requests, and what loaders
 * and waiters bring.
 *
 * One thread (source_fetch.c) owns everything below but what is said to be under the lock: it asks
 * servers for many tenants at once, hands whole replies to loaders, and hears from them how it
 * went. */
#ifndef REGENT_EDGE_SOURCE_WORK_H
#define REGENT_EDGE_SOURCE_WORK_H
#include "edge/source_text.h"
#include "edge/sources.h"
#include "net/fetch.h"
#include <pthread.h>

enum {
    SOURCE_TAG_BYTES = 256,
    SOURCE_FETCHES = 48,           /* requests at once, beside long polls */
    SOURCE_SMALL_BYTES = 64 << 10, /* of a reply that is neither bundle nor list */
    SOURCE_LONG_POLLS = 1024,                        /* held at once; tenants beyond are polled */
    SOURCE_CONNECTIONS = SOURCE_FETCHES + SOURCE_LONG_POLLS + 16,
    SOURCE_TO_LOAD = 32, /* whole replies that wait for a loader: no more is fetched meanwhile */
    SOURCE_LOADERS = 8,
    SOURCE_HOPS = 3,       /* redirects followed */
    SOURCE_WAITERS = 1024, /* requests that wait for their tenant */
    SOURCE_TRIALS = 128,   /* tenants that are looked for at once because a request named them */
    SOURCE_TRIALS_A_SECOND = 100
};
#define SOURCE_NEVER INT64_MAX

/* One configured source in use. */
struct origin {
    const struct edge_source *config;
    char name[65];
    bool listing; /* a list or feed is under way */
    bool listed;  /* one went well, or there is none to wait for */
    bool list_tried;
    int64_t list_due_ms;
    uint32_t list_failures;
    char list_tag[SOURCE_TAG_BYTES];
    char cursor[SOURCE_TAG_BYTES]; /* control: of the feed */
    uint32_t mark;    /* of the list under way: tenants without it are gone when it ends */
    char token[2048]; /* "Bearer …", of token_file */
    struct timespec token_time;
    int64_t report_due_ms; /* control: status */
    bool reporting, report_all;
    uint32_t report_failures;
    /* Any thread reads: */
    _Atomic uint64_t fetched, unchanged, failed, refused, bytes, redirects, lists, lists_failed,
        reports;
    _Atomic uint32_t tenants, failing, long_polls;
    _Atomic int64_t good_s;  /* since 1970: last reply that was one */
    char problem[WHY_BYTES]; /* under the lock: of the list or feed; "": none */
};

/* A tenant of a source. */
struct supply {
    struct supply *chain, *next, *before; /* of its bucket; all */
    char id[TENANT_ID_BYTES];
    struct origin *origin;
    uint32_t heap_at; /* place in the heap of due times; UINT32_MAX: not in it */
    int64_t due_ms;
    bool busy;              /* being fetched or loaded */
    bool tried;             /* once to the end, well or not */
    bool loaded;            /* some version of it went live */
    bool trial;             /* named by a request only: forgotten when nobody has it */
    bool again;             /* something new came while it was busy */
    bool exact;             /* its id stands in the configuration */
    bool gone;              /* its source has it no longer: forgotten when its request ends */
    bool pushed;            /* opa: the last 200 said that the server holds requests */
    struct errand *polling; /* a request that the server holds */
    uint32_t mark, failures;
    enum err err; /* of the last try */
    int status;
    char tag[SOURCE_TAG_BYTES], data_tag[SOURCE_TAG_BYTES], modified[64];
    char why[160];
    /* control: what the feed says is the version; sha256 "": ask */
    char version[VERSION_BYTES], sha256[SHA256_HEX_BYTES];
    char *url;
    uint64_t serial;
    char wanted[VERSION_BYTES]; /* a version that was asked for and is not there yet */
    int64_t wanted_until_ms;
    bool wanted_older;
    char reported[VERSION_BYTES]; /* control: what it was told last, and how it went */
    enum err reported_err;
    char active[VERSION_BYTES];
    bool reported_once;
    struct order *orders; /* who waits for it */
};

/* A caller of sources_load_now. */
struct order {
    struct order *next;
    char id[TENANT_ID_BYTES], version[VERSION_BYTES];
    bool allow_older, done, begun;
    struct activation *out;
};

enum errand_kind {
    ERRAND_TENANT,
    ERRAND_SHA,
    ERRAND_DATA,
    ERRAND_LOOKUP,
    ERRAND_LIST,
    ERRAND_FEED,
    ERRAND_REPORT
};
enum errand_header {
    GOT_ETAG,
    GOT_MODIFIED,
    GOT_TYPE,
    GOT_VERSION,
    GOT_SERIAL,
    GOT_S3_VERSION,
    GOT_S3_SERIAL,
    N_GOT
};

/* One request under way, or a whole reply on its way through a loader. */
struct errand {
    struct fetch_call call; /* first */
    struct errand *next;    /* in a queue */
    struct sources *all;
    struct origin *origin;
    struct supply *supply; /* NULL: of lists and reports */
    enum errand_kind kind;
    struct fetch_wanted got[N_GOT];
    char url[SOURCE_URL_BYTES];
    char version[VERSION_BYTES]; /* asked for; "": the current one */
    bool allow_older, quiet, long_poll, foreign,
        whole_module; /* foreign: redirected to another host */
    uint32_t hops;
    int64_t requested_ns;
    struct buf module, text; /* module: waits for its data; text: what a report sends */
    char tag[SOURCE_TAG_BYTES], modified[64];
    char named[VERSION_BYTES]; /* what the source calls the version */
    uint64_t serial;
    char sha256[SHA256_HEX_BYTES];
    struct source_ids ids; /* a list's pages so far, in */
    struct arena *arena;
    struct activation result;
};

struct waiter {
    struct waiter *next;
    char id[TENANT_ID_BYTES];
    int64_t until_ms;
    void (*done)(void *ctx);
    void *ctx;
};

/* Ids that no source has, by their keyed hash; as large whatever strangers ask for. */
enum { NEGATIVE_SETS = 2048, NEGATIVE_WAYS = 4 };
struct negative {
    uint8_t key[32];
    struct {
        uint8_t hash[16];
        int64_t until_ms;
    } slots[NEGATIVE_SETS][NEGATIVE_WAYS];
};
void negative_put(struct negative *n, struct str id, int64_t now_ms, int64_t until_ms);
bool negative_has(const struct negative *n, struct str id, int64_t now_ms);

struct sources {
    struct sources_options options;
    const struct edge_config *config;
    pthread_t thread, loaders[SOURCE_LOADERS];
    uint32_t n_loaders;
    bool running;
    struct fetch_set *fetches;
    /* The thread's own: */
    struct origin *origins;
    uint32_t n_origins, fetching, long_polling, trials;
    struct supply *all, **buckets;
    uint32_t n, mask;
    struct supply **heap;
    uint32_t heap_n, heap_cap, mark;
    uint64_t random[2];
    int64_t now_ms, first_told_ms;
    bool first_done;
    /* Under the lock: */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* for callers that wait */
    pthread_cond_t work;    /* for loaders */
    struct errand *to_load, **to_load_end, *loaded;
    _Atomic uint32_t n_to_load, loading;
    struct order *orders;
    struct waiter *waiters, *asked; /* asked: not seen by the thread yet */
    uint32_t n_waiters;
    const struct edge_config *next; /* to be taken up */
    bool take_up, stop, stopped, first_round_over;
    uint32_t first_loaded, first_failed, first_of;
    int64_t trial_tokens_us, progress_ms;
    struct negative *negative;
    _Atomic bool on_demand;
    _Atomic uint64_t wanted, wanted_known_unknown, wanted_busy, wanted_late, wanted_loaded;
};

/* ---- source_table.c: tenants and when they are due ---- */
struct supply *supply_find(struct sources *s, struct str id);
MUST_USE enum err supply_add(struct sources *s, struct str id, struct origin *origin,
                             struct supply **out);
void supply_forget(struct sources *s, struct supply *t);
void supply_gone(struct sources *s, const struct supply *t); /* its source has it no longer */
void supply_due(struct sources *s, struct supply *t, int64_t at_ms);
struct supply *supply_next(struct sources *s,
                           int64_t now_ms); /* taken out of the heap; NULL: none is due */
int64_t supply_first_due(const struct sources *s);
uint64_t source_random(struct sources *s);
bool origin_may_have(const struct origin *o, struct str id); /* by the list of its tenants */
/* Is the tenant's bundle in the folder, which comes first? */
bool source_in_folder(const struct sources *s, struct str id);
/* Makes the origins of a configuration, and gives tenants to them. */
MUST_USE enum err origins_take_up(struct sources *s, const struct edge_config *config);
void origins_free(struct sources *s);

/* ---- source_fetch.c: asking ---- */
void source_work(struct sources *s); /* one turn */
void source_cancel_all(struct sources *s);
/* A try ended: when is the next one? */
void supply_failed(struct sources *s, struct supply *t, enum err e, int status, const char *why);
void supply_loaded(struct errand *e); /* back from a loader */
void supply_unchanged(struct sources *s, struct supply *t);
void supply_plan(struct sources *s, struct supply *t);
/* Callers that wait for the tenant are told; or the version is not there yet, and is asked for
 * again later. */
void supply_end(struct sources *s, struct supply *t, const struct activation *result);
void orders_settle(struct sources *s, struct supply *t, const struct activation *r);
void order_later(struct sources *s, struct supply *t, const struct order *o);
bool source_unknown(const struct origin *o,
                    int status); /* does the status say that it has no such tenant? */

/* ---- source_errand.c: one request and its reply ---- */
struct errand *errand_new(struct sources *s, struct origin *o, struct supply *t,
                          enum errand_kind kind);
void errand_free(struct errand *e);
/* Sends e->url; after its end e comes to the function of its kind. */
void errand_send(struct errand *e);
/* The URL of one of the tenant's files. false: it is none, or too long. */
bool errand_file_url(struct errand *e, const char *file);
/* Ends it as a failure; format has one %s. Frees it. */
void errand_fail(struct errand *e, enum err err, int status, const char *format,
                 const char *detail);

/* ---- source_list.c: lists of tenants, the feed ---- */
void list_begin(struct sources *s, struct origin *o);
void list_done(struct errand *e, enum err err, const char *why);
void feed_done(struct errand *e, enum err err, const char *why);
/* Of what it brought before this node was started: what it has no longer goes, what was loaded on
 * first use is kept current. */
void origin_sweep(struct sources *s, struct origin *o);
void origin_problem(struct sources *s, struct origin *o, const char *why); /* "": it went well */

/* ---- source_report.c: what the control plane is told; metrics, status ---- */
void report_begin(struct sources *s, struct origin *o);
void report_done(struct errand *e, enum err err, const char *why);
void first_round_tell(struct sources *s); /* what failed, by kind */

/* ---- source_load.c: loaders ---- */
MUST_USE enum err loaders_start(struct sources *s);
void loaders_stop(struct sources *s);
void loaders_take(struct errand *e);

/* ---- source_want.c: on first use ---- */
void wants_take(struct sources *s); /* tenants that were asked for since the last turn */
void wants_late(struct sources *s); /* who has waited long enough */
void wants_done(struct sources *s, struct str id, bool known);
void wants_end(struct sources *s); /* nobody waits any more */
int64_t wants_first_late(struct sources *s);

#endif
