/* checks.json of a bundle: inputs, and the decisions that they must get (docs/activation.md). */
#ifndef REGENT_BUNDLE_CHECKS_H
#define REGENT_BUNDLE_CHECKS_H
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"

enum { CHECKS_MAX = 10000, CHECKS_MAX_MS = 10000, CHECKS_SHOWN_BYTES = 120 };

/* One check as it stands in the file; texts are JSON, ptr NULL: not given. */
struct check {
    struct str entrypoint, note, input, expect;
};

/* What a policy answers. */
enum check_kind { CHECK_VALUE, CHECK_UNDEFINED, CHECK_FAILED, CHECK_NO_ENTRYPOINT, CHECK_NOTHING };
struct check_answer {
    enum check_kind kind;
    enum err err;        /* CHECK_FAILED */
    const char *message; /* CHECK_FAILED: why, may be "" */
    struct str json;     /* CHECK_VALUE */
};
struct check_asker {
    void (*ask)(void *ctx, const struct check *c, struct check_answer *out);
    void *ctx;
    struct arena *scratch; /* where answers are read to be compared; `ask` may reset it first */
};

/* The list in checks.json. ERR_SYNTAX, ERR_INVALID, ERR_MEMORY, with a sentence in why. */
MUST_USE enum err checks_parse(struct arena *a, struct str text, const struct json **out, char *why,
                               size_t why_bytes);
/* What is wrong with an item of the list as it is written, or NULL. */
const char *check_wrong(const struct json *item);
/* Reads item i of the list and asks. ERR_INVALID: it is no check, or it does not hold; why says
 * which. */
MUST_USE enum err check_hold(struct arena *a, uint32_t i, const struct json *item,
                             const struct check_asker *asker, char *why, size_t why_bytes);
/* An answer in a message, cut where it is long. */
void check_show(const struct check_answer *answer, char *out, size_t bytes);
/* Two texts for the same value. */
bool check_same(struct arena *scratch, struct str a, struct str b);

#endif
