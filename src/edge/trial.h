/* A version tried beside the one that answers, or watched after it took over: what live decisions
 * tell of it. */
#ifndef REGENT_EDGE_TRIAL_H
#define REGENT_EDGE_TRIAL_H
#include "edge/decide.h"

enum trial_kind {
    TRIAL_SHADOW, /* live requests are copied, for asking a candidate too */
    TRIAL_WATCH   /* the version that answers is new */
};

/* Counted: the tenant's entry holds one, the activator another. */
struct trial;
struct trial *trial_new(enum trial_kind kind, uint32_t share_millionths); /* NULL: no memory */
struct trial *trial_acquire(struct trial *t);
void trial_release(struct trial *t);
enum trial_kind trial_kind(const struct trial *t);

/* Any thread, after a decision that was answered; waits for nobody. A copy is left out when
 * TRIAL_SLOTS are not yet taken, or the request is larger than 64 KiB. */
enum { TRIAL_SLOTS = 64 };
void trial_note(struct trial *t, const struct ask *ask, const struct decision *d, bool denied);
/* A decision that was noted turned out to be useless to its door. */
void trial_useless(struct trial *t);

/* Answered decisions; failed: by the version's own fault (limits, traps, conflicts, errors of
 * builtins). */
struct trial_counts {
    uint64_t total, denied, failed, left_out;
};
struct trial_counts trial_counts(const struct trial *t);

/* A request that was answered, with its answer. Views, until trial_give. */
struct trial_sample {
    struct ask ask;
    enum decision_kind kind;
    enum err err;
    struct str json;
    char id[37];
    uint32_t slot;
};
/* One thread at a time. false: none waits. */
bool trial_take(struct trial *t, struct trial_sample *out);
void trial_give(struct trial *t, const struct trial_sample *s);

#endif
