/* What a tenant may use at most. */
#ifndef REGENT_EDGE_LIMITS_H
#define REGENT_EDGE_LIMITS_H
#include "base/err.h"
#include "base/json.h"
#include <stdint.h>

/* What a limit is set to where `none` is written: it lifts a default. limits_strictest turns it into 0. */
#define LIMIT_NONE UINT64_MAX

struct tenant_limits {
#define LIMIT(identifier, name, unit, meaning) uint64_t identifier;
#include "bundle/limits.def"
#undef LIMIT
};

/* The same as numbers, for counters: LIMIT_deadline_us … */
enum limit_kind {
#define LIMIT(identifier, name, unit, meaning) LIMIT_##identifier,
#include "bundle/limits.def"
#undef LIMIT
    LIMIT_COUNT
};
const char *limit_name(enum limit_kind k); /* "deadline" */
/* The limit that an error of a decision speaks of; LIMIT_COUNT: none. ERR_LIMIT is the output's: what is too large
 * before an evaluation is counted by who finds it. */
enum limit_kind limit_of_err(enum err e);

/* The strictest of both, limit by limit: the smaller one, 0 counting as none. */
struct tenant_limits limits_strictest(struct tenant_limits a, struct tenant_limits b);
/* `base`, but where `by` has a limit (or LIMIT_NONE) that one. */
struct tenant_limits limits_replaced(struct tenant_limits base, struct tenant_limits by);
/* Reads {"deadline": "50ms", "memory": "64MiB", "concurrent": 10, "burst": "none", …}: times need a unit,
 * sizes may have one. ERR_INVALID with a sentence in `why` that names key and value. */
MUST_USE enum err limits_read(const struct json *object, struct tenant_limits *out, char *why,
                              size_t why_bytes);
/* The same for one of its members. */
MUST_USE enum err limits_read_one(struct str name, const struct json *value, struct tenant_limits *out,
                                  char *why, size_t why_bytes);
bool limits_known(struct str name);
/* "50ms", "2s", "1m", "500us", "1.5s" to microseconds; "64MiB", "10MB", "512" to bytes. false: neither. */
bool limits_read_time(struct str text, uint64_t *us);
bool limits_read_size(struct str text, uint64_t *bytes);
/* And back: the largest unit that divides it. */
void limits_print_time(uint64_t us, struct buf *out);
void limits_print_size(uint64_t bytes, struct buf *out);
/* {"deadline":"50ms",…}: those that are not 0. */
void limits_print(const struct tenant_limits *l, struct buf *out);

#endif
