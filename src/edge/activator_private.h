/* What the activator's files share: its tenants, the versions that it holds, one candidate's way. */
#ifndef REGENT_EDGE_ACTIVATOR_PRIVATE_H
#define REGENT_EDGE_ACTIVATOR_PRIVATE_H
#include "bundle/bundle.h"
#include "edge/activator.h"
#include "edge/store.h"
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
    struct tenant_limits own;
};
void kept_free(struct kept *k); /* NULL: nothing */

/* A tenant as the activator knows it; stays until the end. */
struct known {
    struct known *chain, *next;
    char id[TENANT_ID_BYTES];
    pthread_mutex_t lock; /* of all that follows: one step of a tenant after the other */
    struct kept *now;     /* answers; NULL: nothing does */
    struct kept *before;  /* what a rollback goes to */
    struct kept *waiting; /* came while the tenant was pinned */
    uint64_t highest;     /* serial */
    bool looked;          /* what the store knows of it has been read */
    bool entered;         /* the table has an entry */
    char pinned[VERSION_BYTES];      /* "": not */
    char avoided[SHA256_HEX_BYTES];  /* content that was taken back: refused until the source brings another */
    char avoided_why[WHY_BYTES];
    char refused[SHA256_HEX_BYTES];  /* content that was refused last */
    char last_failure[WHY_BYTES];    /* why the source could not bring a version, said once */
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
    _Atomic uint64_t events[EVENT_COUNT], checks_held, checks_failed, rollbacks_by_operator;
};

struct known *known_find(struct activator *a, struct str id, bool add); /* NULL: unknown; bad id, no memory */

/* A candidate on its way. */
struct work {
    const struct candidate *candidate;
    struct arena arena;
    struct bundle bundle;
    struct buf packed;     /* a bundle made of a bare module */
    struct kept *kept;     /* taken from here when it goes somewhere */
    char why[WHY_BYTES];
    uint64_t began_ns;
};
enum err work_begin(struct work *w, const struct candidate *c);
void work_end(struct work *w);
/* The three stages: names it, reads and verifies it; makes it a policy; checks it. why gets a sentence. */
MUST_USE enum err work_name(struct work *w);
MUST_USE enum err work_read(struct work *w);
MUST_USE enum err work_load(struct activator *a, struct work *w);
/* The bundle's bytes as a store keeps them. */
MUST_USE enum err work_bytes(struct work *w, struct str *out);

/* Under the tenant's lock: */
/* The version answers from now on; k is taken over when OK. */
MUST_USE enum err known_go_live(struct activator *a, struct known *t, struct kept *k);
void known_avoid(struct known *t, const struct kept *k, const char *why);
/* Copies a text, cut where it is too long. */
void text_put(char *to, size_t bytes, struct str s);
void activation_refuse(struct activation *out, enum err e, const char *why);

#endif
