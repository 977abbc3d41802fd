/* The store's tables: migrations forward, one by one, on either engine. */
#ifndef REGENT_CONTROL_SCHEMA_H
#define REGENT_CONTROL_SCHEMA_H
#include "control/db.h"

/* Brings the store to this program's schema, each step in a transaction of its own, one process at
 * a time. ERR_INVALID with a sentence in why: it was made by a newer program. */
MUST_USE enum err schema_migrate(struct db *d, char why[DB_WHY_BYTES]);
uint32_t schema_latest(void);
/* For tests: up to and including that version. */
MUST_USE enum err schema_migrate_to(struct db *d, uint32_t version, char why[DB_WHY_BYTES]);

#endif
