/* One query on one set of policies: compiled, loaded and evaluated in this process, for eval, test and bench. */
#ifndef REGENT_CLI_SESSION_H
#define REGENT_CLI_SESSION_H
#include "cli/cli.h"

struct session {
    struct compile compile;
    struct engine *engine;
    struct instances *pool;
    struct policy *policy;
    bool compiled;
    bool once; /* set before opening: few evaluations follow, so quick loading beats quick code */
};

/* s is zeroed but for `once`. Compiles (errors in s->compile.diags, code ERR_DIAG) and loads. message gets a sentence
 * for other errors. */
enum err session_open(struct session *s, const struct compile_request *request, const struct json *data,
                      struct load_message *message);
/* The same for modules that exist already. */
enum err session_open_wasm(struct session *s, struct str wasm, struct str thin, const struct json *data,
                           struct load_message *message);
void session_close(struct session *s);
/* Evaluates entrypoint 0 (or another); see policy_eval. */
enum err session_eval(struct session *s, uint32_t entrypoint, struct str input, bool strict, uint64_t timeout_us,
                      struct eval_result *result);

#endif
