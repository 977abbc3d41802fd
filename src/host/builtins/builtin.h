/* Builtins that run natively: called from a sandbox through opa_builtin0..4. */
#ifndef REGENT_HOST_BUILTINS_BUILTIN_H
#define REGENT_HOST_BUILTINS_BUILTIN_H
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include <stdint.h>

/* Compiled regular expressions and globs of one thread: the last so many, by pattern. */
struct builtin_cache;
struct builtin_cache *builtin_cache_new(void); /* NULL: no memory */
void builtin_cache_free(struct builtin_cache *c);
/* Reads all time zones now, so that no builtin opens a file later. ERR_MEMORY. */
MUST_USE enum err builtin_cache_keep_zones(struct builtin_cache *c);

/* Randomness of one evaluation: drawn when first asked for, so that uuid.rfc4122 and rand.intn give
 * the same for the same key throughout it. */
struct builtin_seed {
    bool drawn;
    uint8_t bytes[32];
};

/* One call. Arguments are JSON trees (sets as arrays in order); everything lies in `arena`, which
 * is emptied when the evaluation ends. */
struct builtin_call {
    struct arena *arena;
    struct builtin_cache *cache; /* compiled patterns, of this thread */
    struct json *const *args;
    uint32_t n_args;
    uint32_t set_args;         /* bit i: argument i is a set */
    struct builtin_seed *seed; /* of this evaluation; NULL: no randomness to be had */
    int64_t now_ns;      /* the same throughout an evaluation */
    struct json *result; /* NULL: undefined */
    bool result_is_set;  /* result is an array whose items are a set's */
    /* Why there is no result: undefined, in strict mode eval_builtin_error (type_error:
     * eval_type_error, an operand is of the wrong type). */
    const char *error;
    bool type_error;
};
/* OK (also when undefined or failed: see result and error) or ERR_MEMORY. */
typedef enum err (*host_builtin_run)(struct builtin_call *call);

struct host_builtin {
    const char *name; /* "time.now_ns" */
    host_builtin_run run;
};
/* NULL: this host has no such builtin. */
const struct host_builtin *host_builtin_find(struct str name);

/* error = printf into the arena; result stays NULL. */
enum err builtin_fail(struct builtin_call *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* OPA's operand error: "operand <pos> must be <expected> but got <type of got>"; pos counts from 1.
 */
enum err builtin_fail_operand(struct builtin_call *c, uint32_t pos, const char *expected);
/* Argument i as text; false after builtin_fail_operand. */
bool builtin_string(struct builtin_call *c, uint32_t i, struct str *out);
/* Argument i as an integer in [INT32_MIN, INT32_MAX]; false after builtin_fail_operand. */
bool builtin_integer(struct builtin_call *c, uint32_t i, int64_t *out);
enum err builtin_return(struct builtin_call *c, struct json *result);
enum err builtin_return_bool(struct builtin_call *c, bool b);
/* Copies the bytes; what is not UTF-8 becomes U+FFFD, as in Go's JSON. */
enum err builtin_return_string(struct builtin_call *c, struct str s);
const char *builtin_type_name(const struct json *v);

#endif
