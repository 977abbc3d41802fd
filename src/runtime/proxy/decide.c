/* One decision: evaluates the entrypoints on the request and acts on what they say.
 * in: filter.request. out: filter.allowed; headers changed, or a local response. owns: nothing. */
#include "runtime/eval.h"
#include "runtime/proxy/filter.h"

enum { FORBIDDEN = 403, BAD_REQUEST = 400 };

/* Why a value does not allow; len 0: it does. `flag_due`: an object must say. */
static struct text refusal(value v, bool flag_due) {
    static const char *const flags[] = {"allowed", "allow"};
    struct text mistyped = TEXT("the decision must be a boolean, or an object with the boolean "
                                "`allowed` or `allow`");
    uint32_t n = 0;
    if (!is_defined(v)) return TEXT("undefined");
    if (is_boolean(v)) return v == VALUE_TRUE ? TEXT("") : TEXT("denied");
    if (!is_object(v)) return mistyped;
    for (uint32_t i = 0; i < 2; i++) {
        value flag = object_get(v, string_of_c(flags[i]));
        if (!is_defined(flag)) continue;
        if (!is_boolean(flag)) return mistyped;
        if (flag != VALUE_TRUE) return TEXT("denied");
        n++;
    }
    return n > 0 || !flag_due ? TEXT("") : mistyped;
}

static value run(uint32_t entrypoint) {
    rt_state.result = VALUE_UNDEFINED;
    filter_dispatch(entrypoint);
    return rt_state.result_is_query ? VALUE_UNDEFINED : rt_state.result;
}

static void act(value decision, struct text reason) {
    bool denied = text_equal(reason, TEXT("denied"));
    filter.allowed = reason.len == 0;
    if (filter.allowed) {
        reply_allow(decision);
        report(decision, reason, false);
    } else {
        report(decision, reason, !denied);
        reply_deny(FORBIDDEN, decision, denied ? TEXT("") : reason);
    }
}

/* What functions have computed for the first entrypoint serves the second one too: same documents.
 */
void decide(void) {
    const struct root *r = filter.root;
    filter.now = filter.random = VALUE_UNDEFINED;
    request_read();
    parse_check_path(filter.request.path);
    eval_reset();
    eval_data(VALUE_UNDEFINED);
    document_bind();
    value verdict = run(r->entrypoint), decision = verdict;
    struct text reason = refusal(verdict, true);
    if (r->has_decision && r->decision != r->entrypoint) {
        decision = run(r->decision);
        struct text other = refusal(decision, false);
        if (reason.len == 0) reason = other;
    }
    act(decision, reason);
}

void decide_failed(struct text message) {
    bool is_input = text_starts_with(message, TEXT("input: "));
    filter.allowed = false;
    report(VALUE_UNDEFINED, message, true);
    reply_deny(is_input ? BAD_REQUEST : FORBIDDEN, VALUE_UNDEFINED,
               is_input ? message : TEXT("the policy failed"));
}
