/* Which nodes were heard of, gathered in memory and written together: thousands that ask for the
 * feed do not each make the store write. */
#ifndef REGENT_CONTROL_HEARD_H
#define REGENT_CONTROL_HEARD_H
#include "control/control.h"

struct heard; /* any thread; writes on a thread of its own, and forgets nodes that are long gone */

enum {
    HEARD_EACH_MS = 500,
    HEARD_NODES =
        20000 /* gathered, and kept in the store: their names are the callers' to make up */
};

MUST_USE enum err heard_new(struct control *control, struct heard **out, char why[DB_WHY_BYTES]);
void heard_free(struct heard *h); /* writes what is still to be written; NULL: nothing */
/* The node has read the feed up to `cursor` and waits wait_ms for more (0: not said). token and
 * address: who it is. */
void heard_node(struct heard *h, struct str node, int64_t cursor, int64_t wait_ms, struct str token,
                const char *address);

#endif
