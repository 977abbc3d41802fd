/* What the activator's files share: its tenants, the versions that it holds, one candidate's way.
 */
#ifndef REGENT_EDGE_ACTIVATOR_PRIVATE_H
#define REGENT_EDGE_ACTIVATOR_PRIVATE_H
#include "bundle/bundle.h"
#include "edge/activator.h"
#include "edge/store.h"
#include "edge/trial.h"
#include <pthread.h>
#include <stdatomic.h>

enum { FROM_BYTES = 64, REVISION_BYTES = sizeof((struct load_report *)0)->revision };

/* A version of a tenant. Texts end with 0. */
struct kept {
    char version[VERSION_BYTES], sha256[SHA256_HEX_BYTES]; /* its name; of its module */
    char content[SHA256_HEX_BYTES];                        /* of what the source gave */
    char revision[REVISION_BYTES], from[FROM_BYTES];
    uint64_t serial, bytes;
    struct policy *policy; /* one count */
    bool taken_back;       /* by a watch or an operator: no rollback goes there by itself */
    struct tenant_limits own;
    bool has_masks; /* tenant_version's */
};
void kept_free(struct kept *k); /* NULL: nothing */

/* A trial under way: the activator's side of it. */
struct test {
    struct trial *trial;           /* one count */
    struct activation_rules rules; /* as they were when it began */
    uint64_t until_ns;
    struct kept *next; /* TRIAL_SHADOW: the candidate */
    struct buf bytes;  /* and what the store is to get of it */
    uint64_t compared, differences, left_out;
    uint64_t total, denied; /* TRIAL_WATCH: decisions of the version before */
    bool quiet;
};
void test_free(struct test *x); /* NULL: nothing */

/* A tenant as the activator knows it; stays until the end. */
struct known {
    struct known *chain, *next;
    char id[TENANT_ID_BYTES];
    pthread_mutex_t lock; /* of all that follows: one step of a tenant after the other */
    struct kept *now;     /* answers; NULL: nothing does */
    struct kept
        *before; /* what a rollback goes to; with a store, only as long as a watch may need it */
    struct kept *waiting;           /* came while the tenant was pinned */
    struct test *test;              /* NULL: no trial */
    _Atomic bool testing;           /* there is one, for those without the lock */
    uint64_t highest;               /* serial */
    uint64_t total, denied;         /* the tenant's decisions when `now` went live */
    bool looked;                    /* what the store knows of it has been read */
    bool entered;                   /* the table has an entry */
    char pinned[VERSION_BYTES];     /* "": not */
    char avoided[SHA256_HEX_BYTES]; /* content that was taken back: refused until the source brings
                                       another */
    char avoided_why[WHY_BYTES];
    bool avoided_by_operator; /* who may think better of it, by allow_older */
    char refused[SHA256_HEX_BYTES]; /* content that was refused last */
    char last_failure[WHY_BYTES];   /* why the source could not bring a version, said once */
};

enum event { /* what happened, for counting */
             EVENT_ACTIVE,
             EVENT_UNCHANGED,
             EVENT_SHADOW,
             EVENT_PINNED,
             EVENT_REFUSED,
             EVENT_FAILED,
             EVENT_REMOVED,
             EVENT_COUNT
};

struct activator {
    struct activator_options options; /* config: under table */
    pthread_mutex_t table;            /* writing into the tenants' table, using the configuration */
    pthread_mutex_t lock;             /* of the tenants known */
    struct known **buckets;
    _Atomic(struct known *) all; /* newest first */
    uint32_t n, mask;
    _Atomic uint64_t events[EVENT_COUNT];
    _Atomic uint64_t checks_held, checks_failed, taken_back_by_watch, taken_back_by_operator,
        watches_passed;
    _Atomic uint64_t shadows_passed, shadows_refused, shadows_replaced;
    _Atomic uint64_t shadow_same, shadow_different, shadow_left_out;
    _Atomic uint64_t store_failures;
    _Atomic uint32_t shadows, watches, pinned; /* now */
    struct tester *tester;                     /* of the thread that ticks */
    pthread_t ticker;
    int stop; /* eventfd: the ticker is to end; -1: there is none */
};
static inline void count_one(_Atomic uint64_t *n) {
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

struct known *known_find(struct activator *a, struct str id,
                         bool add); /* NULL: unknown; bad id, no memory */

/* A candidate on its way. */
struct work {
    const struct candidate *candidate;
    struct arena arena;
    struct bundle bundle;
    struct buf packed; /* a bundle made of a bare module */
    struct kept *kept; /* taken from here when it goes somewhere */
    struct str sha256; /* of the module, when the store says it; else empty */
    char why[WHY_BYTES];
    uint64_t began_ns;
};
enum err work_begin(struct work *w, const struct candidate *c);
void work_end(struct work *w);
/* The stages: names it by its bytes; reads and verifies it; makes it a policy; holds it against its
 * own checks. why gets a sentence. */
MUST_USE enum err work_name(struct work *w);
MUST_USE enum err work_read(struct work *w);
MUST_USE enum err work_load(struct activator *a, struct work *w);
MUST_USE enum err work_check(struct activator *a, struct work *w);
/* The bundle's bytes as a store keeps them. */
MUST_USE enum err work_bytes(struct work *w, struct str *out);

/* ---- under the tenant's lock ---- */

/* k answers from now on, and is watched if the rules say so and `watched`; it is taken over when
 * OK. What answered is what a rollback goes to, unless it was under watch itself. Ends a trial
 * under way. */
MUST_USE enum err known_go_live(struct activator *a, struct known *t, struct kept *k, bool watched);
/* Into the store, beside what is there; active: a restart begins with it. Failures are logged and
 * counted. */
void known_keep(struct activator *a, struct known *t, const struct kept *k, struct str bytes,
                bool active);
void known_activate(struct activator *a, struct known *t, const struct kept *k);
/* Reads once what the store knows of the tenant: its highest serial, its pin. */
void known_look(struct activator *a, struct known *t);
/* The version's content is refused from now on, until its source brings another. */
void known_avoid(struct known *t, struct kept *k, const char *why);
void known_forget(struct activator *a, struct known *t);
/* The entry again, with another trial or none. */
MUST_USE enum err known_set_trial(struct activator *a, struct known *t, struct trial *trial);
void known_put_test(struct activator *a, struct known *t, struct test *x);
void known_end_test(struct activator *a, struct known *t);
struct activation_rules known_rules(struct activator *a);
/* Begins to ask w's version beside the one that answers. OK: w->kept was taken over. */
MUST_USE enum err shadow_begin(struct activator *a, struct known *t, struct work *w);
MUST_USE enum err watch_begin(struct activator *a, struct known *t, struct test **out);
/* Looks at the trial under way, and ends it when it is decided. */
void test_step(struct activator *a, struct known *t);

/* How an offer or a question to the source went, for status. */
struct outcome {
    const char *from, *why;
    int64_t requested_ns;
    enum err err;
    int http_status;
    bool answered, gave, swapped; /* the source did; bytes; another version answers */
};
void known_report(struct activator *a, struct known *t, const struct outcome *o);
struct tenant *known_record(struct activator *a, const struct known *t);

/* ---- asking a version that does not serve ---- */

struct tester; /* one thread's */
MUST_USE enum err tester_new(struct engine *engine, struct tester **out);
void tester_free(struct tester *t); /* NULL: nothing */
/* d->json is valid until the tester is asked again. */
void tester_ask(struct tester *t, struct policy *policy, const struct tenant_limits *limits,
                const struct ask *ask, struct decision *d);
/* Is the decision this JSON value? */
bool decision_equals(struct tester *t, const struct decision *d, struct str json);
/* A decision in a message, cut where it is long. */
void decision_show(enum decision_kind kind, enum err e, const char *message, struct str json,
                   char *out, size_t bytes);

/* Copies a text, cut where it is too long. */
void text_put(char *to, size_t bytes, struct str s);
void activation_refuse(struct activation *out, enum err e, const char *why);

#endif
