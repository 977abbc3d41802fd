/* The audit log: who did what to what, each entry chained to the one before by its hash. */
#ifndef REGENT_CONTROL_AUDIT_H
#define REGENT_CONTROL_AUDIT_H
#include "base/json.h"
#include "control/db.h"

/* In the caller's transaction; the last of its locks (see control_count). detail: an object, may be
 * NULL. Actions are "tenant.update", "template.delete", "release.create", "token.create",
 * "login.failed" … The hash of an entry is SHA-256 over the hash before it and the entry's
 * canonical JSON, as hex. */
MUST_USE enum err audit_add(struct db_conn *c, struct arena *a, struct str who, const char *action,
                            struct str object, const struct json *detail);
/* Walks the chain. OK: *n entries, head (hex) is the last hash. ERR_INVALID: *n is the entry that
 * does not fit, why says how. `expected`: head that somebody wrote down elsewhere at entry
 * `expected_seq`, or NULL. */
MUST_USE enum err audit_verify(struct db_conn *c, struct arena *a, int64_t expected_seq,
                               const char *expected, int64_t *n, char head[65],
                               char why[DB_WHY_BYTES]);

#endif
