/* What is still to be told to CDNs and edges after a pointer moved: rows of errands, done by any
 * process. */
#ifndef REGENT_CONTROL_ERRANDS_H
#define REGENT_CONTROL_ERRANDS_H
#include "control/control.h"

struct errands;
/* A thread that does what is due, unless nobody is to be told. ERR_INVALID with a sentence: a
 * target is written wrongly. */
MUST_USE enum err errands_new(struct control *control, struct errands **out,
                              char why[DB_WHY_BYTES]);
/* In the caller's transaction: every target is to hear of the tenant's serial. */
MUST_USE enum err errands_add(struct errands *e, struct db_conn *c, struct arena *a,
                              struct str tenant, int64_t serial);
void errands_wake(struct errands *e); /* what was added is committed */
void errands_free(struct errands *e); /* gives back what it did not do */

#endif
