/* Asking logged decisions again: bundles by the module that an event names, and what has become of a decision. */
#ifndef REGENT_CLI_REPLAY_H
#define REGENT_CLI_REPLAY_H
#include "base/json.h"
#include "host/host.h"

struct replay;

/* The bundles' modules may be used until replay_free. ERR_MEMORY, ERR_INTERNAL. */
MUST_USE enum err replay_new(struct replay **out);
void replay_free(struct replay *r);
/* A bundle file, or every bundle in a folder and below it; how many there are is added to *bundles. ERR_NOT_FOUND. */
MUST_USE enum err replay_add(struct replay *r, const char *path, uint32_t *bundles);

enum replay_outcome {
    REPLAY_SAME,
    REPLAY_DIFFERENT,
    REPLAY_NO_EVENT,    /* no decision's event */
    REPLAY_MASKED,      /* what the policy saw is not in it */
    REPLAY_REFUSED,     /* a limit or fault decided, not the policy */
    REPLAY_UNNAMED,     /* names no module */
    REPLAY_NO_MODULE,   /* none of the bundles holds the module */
    REPLAY_NOT_LOADED,  /* its bundle cannot be loaded */
    REPLAY_OUTCOMES
};
const char *replay_word(enum replay_outcome o);

/* JSON text of what was logged, and of what it is now; "" for undefined. Valid until the next call. */
struct replay_difference {
    struct str logged, now;
};
/* Evaluates an event again. `a` is for what lives as long as the event. */
enum replay_outcome replay_event(struct replay *r, struct arena *a, const struct json *event,
                                 struct replay_difference *out);

#endif
