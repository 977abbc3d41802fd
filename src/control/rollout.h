/* Rollouts: versions released wave by wave, watched, and taken back when edges cannot use them. */
#ifndef REGENT_CONTROL_ROLLOUT_H
#define REGENT_CONTROL_ROLLOUT_H
#include "base/json.h"
#include "control/db.h"

enum {
    ROLLOUT_WAVES = 50,
    ROLLOUT_WHY_BYTES = 256,
    ROLLOUT_WAIT_MOST_S = 30 * 24 * 3600,
    ROLLOUT_WAIT_S = 60,     /* unless it is said */
    ROLLOUT_CONFIRM_S = 600, /* likewise */
    ROLLOUT_FAILURES = 20    /* shown */
};

/* rollout_tenants.serial, where there is no release (any more). */
enum {
    ROLLOUT_WAITS = 0,
    ROLLOUT_SKIPPED =
        -1, /* something else became current meanwhile, or the tenant was suspended or deleted */
    ROLLOUT_TAKEN_BACK = -2, /* the version before is current again */
    ROLLOUT_LEFT = -3        /* not taken back: something else had become current since */
};

enum wave_kind { WAVE_TENANTS, WAVE_LABELS, WAVE_PERCENT, WAVE_REST };
struct rollout_wave {
    enum wave_kind kind;
    const struct json
        *who; /* WAVE_TENANTS: list of ids, "*" in them stands for anything; WAVE_LABELS: object */
    int64_t
        percent; /* WAVE_PERCENT: of all tenants of the rollout, of those that no wave before has */
    int64_t wait_s;     /* from the last release of the wave until the next wave may begin */
    int64_t max_failed; /* more failed tenants abort the rollout … */
    bool max_failed_is_percent; /* … in hundredths of those released so far */
    bool confirm; /* goes on only when all live edges that serve them report the wave's versions
                     active … */
    int64_t confirm_s; /* … and is paused when that takes longer than this beyond wait_s */
};
struct rollout_plan {
    struct rollout_wave waves[ROLLOUT_WAVES + 1]; /* the last is WAVE_REST */
    uint32_t n_waves;
    bool rollback; /* an abort for failures takes back what was released */
};
/* Reads waves, wait_s, max_failed, confirm, confirm_s and rollback of a request, or of what was
 * stored of it. ERR_INVALID with a sentence in why. */
MUST_USE enum err rollout_plan_read(const struct json *asked, struct rollout_plan *out,
                                    char why[ROLLOUT_WHY_BYTES]);

struct rollout_tenant {
    struct str id, version, previous;
    const struct json *labels; /* NULL: none */
    int64_t wave;
};
/* Gives each tenant its wave. Percentages are drawn by `seed` and the ids: other rollouts, other
 * tenants. ERR_MEMORY. */
MUST_USE enum err rollout_assign(struct arena *a, const struct rollout_plan *plan, struct str seed,
                                 struct rollout_tenant *tenants, uint32_t n);
/* Are that many failed tenants too many, of so many released? */
bool rollout_too_many(const struct rollout_wave *w, int64_t failed, int64_t released);

/* A row of rollouts, read. */
struct rollout {
    struct str id, status, created_by;
    int64_t rev, wave, created_ms, updated_ms, next_ms;
    struct json *asked, *state;
    struct rollout_plan plan;
};
/* state's members: phase ("release", "watch"), since_ms (when the wave was released whole), reason,
 * rollback (of the abort under way), tenants, released, skipped, taken_back. */
#define ROLLOUT_COLUMNS                                                                            \
    "r.id, r.status, r.rev, r.plan, r.state, r.wave, r.next_ms, r.created_ms, r.updated_ms, "      \
    "r.created_by"
MUST_USE enum err rollout_read_row(struct arena *a, const struct db_value *row,
                                   struct rollout *out);
/* Writes status, wave, next_ms and state; counts rev up. In the caller's transaction, which has the
 * row locked. */
MUST_USE enum err rollout_write(struct db_conn *c, struct arena *a, const struct rollout *r);
int64_t rollout_count(const struct rollout *r, const char *member); /* of state; 0: none */
void rollout_set_count(struct arena *a, struct rollout *r, const char *member, int64_t n);
/* Ends it: what it released is taken back by the rollouts' thread if `rollback`. */
void rollout_abort(struct arena *a, struct rollout *r, bool rollback, struct str reason);
/* Tenants that some live edge failed to bring up in the version that this rollout released. `first`
 * NULL: only counted; else rows of tenant, version, node, host, error, ROLLOUT_FAILURES at most. */
MUST_USE enum err rollout_failures(struct db_conn *c, struct arena *a, struct str id, int64_t *n,
                                   struct db_rows *first);
/* Released tenants of a wave of which a live edge serves another version, or which none has
 * reported yet. */
MUST_USE enum err rollout_unconfirmed(struct db_conn *c, struct arena *a, struct str id,
                                      int64_t wave, int64_t *n);

#endif
