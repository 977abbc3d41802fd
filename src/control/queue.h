/* What is to be built: a change names tenants, each becomes a job that some thread of some process
 * takes. */
#ifndef REGENT_CONTROL_QUEUE_H
#define REGENT_CONTROL_QUEUE_H
#include "base/json.h"
#include "control/db.h"

enum build_scope {
    BUILD_TENANT,   /* object: the tenant's id */
    BUILD_TEMPLATE, /* all active tenants that follow the template's newest version */
    BUILD_LIBRARY,  /* all whose last build imported it, those whose last build failed, and those
                       that are being built: who knows what they will import */
    BUILD_ALL
};
struct build_ask {
    const char *cause; /* "tenant", "template", "library", "request", "apply", "keys" */
    enum build_scope scope;
    struct str object;
    struct str who;
    bool release; /* what was built becomes current */
    bool forced;
    struct str build; /* an id from control_new_id; adding to a build that is there already is
                         allowed, and a job of it that has ended is queued again */
};
/* In the caller's transaction, which has counted `change` (control_count) before: sets wanted of
 * the tenants to it, adds a build and its jobs, notifies "jobs" and "build" (payload: the build's
 * id). *jobs gets how many; a build without any is done at once. Suspended and deleted tenants get
 * none. */
MUST_USE enum err queue_add(struct db_conn *c, struct arena *a, const struct build_ask *ask,
                            int64_t change, int64_t *jobs);
/* The same for the tenants `t` for which conditions hold: " AND t.template = $3 …". params[0] and
 * params[1] are the queue's to set; ask->scope is not looked at. */
MUST_USE enum err queue_add_where(struct db_conn *c, struct arena *a, const struct build_ask *ask,
                                  int64_t change, const char *where, struct db_value *params,
                                  uint32_t n_params, int64_t *jobs);
/* {"id","cause","object","status","total",…}: a row of builds as the API shows it. ERR_NOT_FOUND.
 */
MUST_USE enum err queue_build_json(struct db_conn *c, struct arena *a, struct str build,
                                   struct json **out);
/* The same from a row that selected these columns of `builds b`. */
#define QUEUE_BUILD_COLUMNS                                                                        \
    "b.id, b.cause, b.object, b.status, b.release, b.forced, b.total, b.succeeded, b.unchanged,"   \
    " b.failed, b.superseded, b.created_ms, b.finished_ms, b.created_by"
struct json *queue_build_row(struct arena *a, const struct db_value *row);

struct control;
struct build_pool; /* threads that take jobs: claim, build, upload, commit */
MUST_USE enum err build_pool_new(struct control *control, struct build_pool **out,
                                 char why[DB_WHY_BYTES]);
/* What this process's threads came to since it began. */
struct build_counts {
    _Atomic uint64_t built, unchanged, failed, superseded, retried, compiled, took_us;
};
const struct build_counts *build_pool_counts(const struct build_pool *p);
void build_pool_wake(struct build_pool *p); /* "jobs" was heard */
void build_pool_free(struct build_pool *p); /* gives back what was not begun; waits for what was */

#endif
