/* The audit log: who did what to what, each entry chained to the one before by its hash. */
#ifndef REGENT_CONTROL_AUDIT_H
#define REGENT_CONTROL_AUDIT_H
#include "base/json.h"
#include "control/db.h"

/* In the caller's transaction; the last of its locks (see control_count). detail: an object, may be
 * NULL. Actions are "tenant.update", "template.delete", "release.create", "token.create",
 * "login.failed" … */
MUST_USE enum err audit_add(struct db_conn *c, struct arena *a, struct str who, const char *action,
                            struct str object, const struct json *detail);
/* The same for many at once, in their order. */
struct audit_note {
    const char *action;
    struct str object;
    const struct json *detail;
};
MUST_USE enum err audit_add_all(struct db_conn *c, struct arena *a, struct str who,
                                const struct audit_note *notes, uint32_t n);

/* An entry as everybody sees it, from a row of AUDIT_COLUMNS: {"seq": 7, "at":
 * "2026-11-29T06:08:50.123Z", "who": …, "action": …, "object": …, "detail": {…}, "hash": "hex"}.
 * NULL: no memory, or detail is no JSON. */
#define AUDIT_COLUMNS "seq, at_ms, who, action, object, detail, hash"
struct json *audit_json(struct arena *a, const struct db_value *row);

/* Checks entries one after another, wherever they come from. An entry's hash is SHA-256, as hex,
 * over the hash of the entry before it (hex; nothing before the first) and the entry without "hash"
 * as compact JSON with sorted keys. */
struct audit_chain {
    int64_t seq;   /* of the last entry; 0: none yet */
    char head[65]; /* its hash, "" */
    int64_t expected_seq;
    const char *expected; /* what somebody wrote down elsewhere, or NULL */
};
/* ERR_INVALID: the entry does not fit; c->seq is the last one that does, why says how. */
MUST_USE enum err audit_chain_next(struct audit_chain *c, struct arena *a, const struct json *entry,
                                   char why[DB_WHY_BYTES]);
/* After the last entry: did it reach the expected one? */
MUST_USE enum err audit_chain_end(const struct audit_chain *c, char why[DB_WHY_BYTES]);

/* Walks the store's chain, in a snapshot of its own. OK: *n entries, head (hex) is the last hash,
 * "" without any. ERR_INVALID: *n is the entry that does not fit, why says how. `expected`: head
 * that somebody wrote down elsewhere at entry `expected_seq`, or NULL. */
MUST_USE enum err audit_verify(struct db_conn *c, struct arena *a, int64_t expected_seq,
                               const char *expected, int64_t *n, char head[65],
                               char why[DB_WHY_BYTES]);

#endif
