/* The control plane's parts, put together by control.c. */
#ifndef REGENT_CONTROL_CONTROL_H
#define REGENT_CONTROL_CONTROL_H
#include "base/log.h"
#include "control/blob.h"
#include "control/db.h"
#include "control/sign.h"
#include <stdatomic.h>

enum { CONTROL_ID_BYTES = 128, CONTROL_VERSION_BYTES = 64, CONTROL_WHY_BYTES = 512 };

/* What `regent control` was told: flags, environment, file. Immutable. */
struct control_config {
    const char *store, *blobs; /* URLs of db_open, blobs_open */
    const char *address;       /* "127.0.0.1:8282" */
    const char *tls_certificate, *tls_key,
        *client_ca;         /* client_ca: who has a certificate by it is an edge */
    const char *public_url; /* of this control plane, for people; NULL: from the address */
    const char
        *cdn_url; /* bundles are fetched at cdn_url/tenants/…; NULL: here, at /blobs/tenants/… */
    const char **signing_keys; /* files; the first signs */
    uint32_t n_signing_keys;
    const char
        *own_key; /* the file of a key that is drawn when none is named; NULL: one has to be */
    const char **purges; /* CDNs: "cloudfront:ID", "varnish:URL", "nginx:URL", "http:METHOD:URL" */
    uint32_t n_purges;
    const char **reloads; /* edges' admin doors that are told: "https://edge-7:8383" */
    uint32_t n_reloads;
    const char *reload_token_file;
    uint32_t build_threads;     /* 0: the cores */
    bool release_manually;      /* builds make versions, somebody releases them */
    uint32_t lease_ms;          /* of jobs and errands; 0: 30,000 */
    uint32_t max_waiting;       /* long polls held at once; 0: 20,000 */
    uint32_t max_waiting_token; /* … of one token or certificate; 0: 5,000 */
    struct log *log;
};

struct control {
    const struct control_config *config;
    struct db *db;
    struct blobs *blobs;
    struct signer *signer;
    struct log *log;
    char id[40]; /* of this process: owner of leases */
    int64_t started_ms;
    atomic_bool stopping;
    struct api *api;             /* api_serve.c: HTTP, workers, long polls */
    struct build_pool *builds;   /* build_pool.c: threads that build */
    struct publisher *publisher; /* publisher.c: pointers, CDNs, edges */
    struct rollouts *rollouts;   /* rollout.c: takes waves further */

    struct bundle_cache *bundles; /* bundle_cache.c: bundles that were asked for lately */
    struct heard *heard;          /* heard.c: nodes that were heard of */
};

int64_t control_now_ms(void);
/* Draws an id: 26 characters that sort by time ("01J…"). */
void control_new_id(char out[32]);
/* Can it name a tenant, template or library? 1–127 of [A-Za-z0-9._~@:+-], not beginning with a dot.
 * NULL, or what is wrong. */
const char *control_id_wrong(struct str id);
/* Reads one of the counters change, feed, audit after adding n to it; its row is locked until the
 * transaction ends. Lock them in this order: change, feed, audit. */
MUST_USE enum err control_count(struct db_conn *c, struct arena *a, const char *counter, int64_t n,
                                int64_t *out);

/* Runs until SIGTERM or SIGINT: a process's whole life. Prints the console's address, and a
 * one-time admin token when the store has no token yet, to standard output. ERR_*: it does not
 * start, why says it. */
MUST_USE enum err control_run(const struct control_config *config, char why[CONTROL_WHY_BYTES]);

#endif
