/* Where policies come from: HTTP servers and CDNs, OPA bundle servers, S3, the control plane. */
#ifndef REGENT_EDGE_SOURCES_H
#define REGENT_EDGE_SOURCES_H
#include "edge/activator.h"
#include <stdatomic.h>

/* Threads that fetch what is due and offer it to the activator. */
struct sources;
struct sources_options {
    const struct edge_config *config; /* its list of sources; in use until sources_configure */
    struct activator *activator;
    struct tenants *tenants;          /* what the control plane is told about */
    unsigned reader;                  /* of tenants: the fetching thread */
    const struct log *log;
    const char *node_id, *host_name;
};
MUST_USE enum err sources_new(const struct sources_options *options, struct sources **out,
                              char *why, size_t why_bytes);
/* No request waits for a tenant any more, and no call of sources_load_now; then loops can end. */
void sources_stop(struct sources *s);
void sources_free(struct sources *s); /* nobody asks any more */
MUST_USE enum err sources_configure(struct sources *s, const struct edge_config *config, char *why,
                                    size_t why_bytes);
/* First round over all tenants that are listed or discovered: true when each was loaded or failed
 * once, false after the timeout; it goes on in the background. Progress is logged. */
bool sources_first_round(struct sources *s, uint32_t timeout_ms, uint32_t *loaded,
                         uint32_t *failed);

/* Loads a tenant's version now (empty: whatever the source has), waiting for it. out->err: OK;
 * ERR_NOT_FOUND: no source knows the tenant; ERR_UNDEFINED: the version is not there yet, and is
 * fetched when it is; else as activator_offer. Any thread that may wait. */
void sources_load_now(struct sources *s, struct str tenant, struct str version, bool allow_older,
                      struct activation *out);

/* Loading on first use. A loop asks when a request names a tenant that the table does not hold. */
enum sources_answer {
    SOURCES_UNKNOWN, /* no source loads on first use, or it is known that none has it: answer as for
                        unknown tenants */
    SOURCES_BUSY,    /* too many ask: answer as an overloaded node does */
    SOURCES_LOADING  /* `done` is called once, from any thread, when it is there or is known not to
                        be */
};
/* Does any source load on first use? s may be NULL. */
bool sources_on_demand(const struct sources *s);
/* With `done` NULL it only says what it would answer. */
enum sources_answer sources_want(struct sources *s, struct str tenant, void (*done)(void *ctx),
                                 void *ctx);
void sources_metrics(struct sources *s, struct buf *out); /* Prometheus families of fetches */
void sources_status(struct sources *s, struct buf *out);  /* a JSON object: source name -> state */

#endif
