/* Runs a tenant's tests and checks in sandboxes: what fails becomes an error of the build.
 * in: a run with its files and entrypoints chosen. out: errors. owns: the policy under test, until
 * the run ends. */
#include "base/clock.h"
#include "bundle/checks.h"
#include "control/builder_private.h"
#include <stdio.h>

enum {
    TEST_DEADLINE_US = 1000000,
    ALL_TESTS_MS = 10000,
    MEMORY_BYTES = 64 << 20,
    ERRORS_SHOWN = 20,
    MACHINE_CODE_US = 30 * 1000000
};

/* ---- loading ---- */

/* Machine code lives as long as a policy that has it: one without data is kept, so that the next
 * tenant of the template finds it. */
static void keep_code(struct builder *b, const struct policy_source *source) {
    struct policy_source bare = *source;
    struct policy *p;
    bare.data = NULL;
    if (policy_load(b->shared->engine, &bare, &p, NULL)) return;
    policy_release(b->kept[b->next_kept]);
    b->kept[b->next_kept] = p;
    b->next_kept = (b->next_kept + 1) % BUILD_KEPT_CODE;
}

enum err run_load(struct run *r, struct str full, struct str thin) {
    struct load_message message = {{0}};
    struct policy_source source = {.full = full,
                                   .thin = thin,
                                   .data = r->in->data,
                                   .name = r->in->tenant,
                                   .max_compile_us = MACHINE_CODE_US};
    policy_release(r->policy);
    r->policy = NULL;
    enum err e = policy_load(r->b->shared->engine, &source, &r->policy, &message);
    if (e == ERR_MEMORY) return e;
    if (e) {
        run_error(r, "module_error", (struct loc){0}, "the module cannot be loaded: %s",
                  message.text[0] ? message.text : err_meaning(e));
        return ERR_DIAG;
    }
    if (policy_stats(r->policy).code_from == CODE_COMPILED) keep_code(r->b, &source);
    return OK;
}

static enum err ask(struct run *r, uint32_t entrypoint, struct str input,
                    const struct tenant_limits *limits, struct eval_result *out) {
    const struct eval_request q = {
        .policy = r->policy,
        .entrypoint = entrypoint,
        .input = input,
        .limits = {.deadline_us = limits->deadline_us,
                   .memory_bytes = limits->memory_bytes,
                   .input_bytes = limits->input_bytes,
                   .result_bytes = limits->output_bytes},
    };
    return policy_eval(r->b->instances, &q, out);
}

static const struct tenant_limits most = {.deadline_us = TEST_DEADLINE_US,
                                          .memory_bytes = MEMORY_BYTES};

/* Checks run under the tenant's own limits, as on edges. */
static struct tenant_limits limits_of_checks(const struct run *r) {
    struct tenant_limits own = {0};
    char why[BUILDER_WHY_BYTES];
    if (!r->in->limits || limits_read(r->in->limits, &own, why, sizeof why)) return most;
    return limits_strictest(most, own);
}

/* ---- tests ---- */

static enum err compile_tests(struct run *r) {
    struct compile_request q = run_request(r, r->tested);
    struct str *paths = ARENA_ARRAY(&r->b->work, struct str, r->tests.n);
    for (uint32_t i = 0; i < r->tests.n; i++) paths[i] = r->tests.items[i].path;
    q.thin_only = true;
    q.entrypoints = paths;
    q.n_entrypoints = r->tests.n;
    r->test_compiled = true;
    return run_compile(r, &r->test_compile, &q, NULL);
}

static void run_test(struct run *r, const struct build_test *t) {
    struct eval_result result;
    int32_t id = policy_entrypoint(r->policy, t->path);
    if (id < 0) {
        run_error(r, "test_error", t->loc, "%.*s: no such test in the module", STR_FMT(t->name));
        return;
    }
    enum err e = ask(r, (uint32_t)id, (struct str){NULL, 0}, &most, &result);
    if (e)
        run_error(r, "test_error", t->loc, "%.*s: %s", STR_FMT(t->name),
                  result.message[0] ? result.message : err_meaning(e));
    else if (!result.defined || str_is(result.json, "false"))
        run_error(r, "test_failed", t->loc, "%.*s is %s", STR_FMT(t->name),
                  result.defined ? "false" : "undefined");
}

enum err run_tests(struct run *r) {
    if (r->tests.n == 0) return OK;
    enum err e = compile_tests(r);
    if (!e) e = run_load(r, STR(""), buf_view(&r->test_compile.thin));
    uint64_t start = clock_of(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t i = 0; !e && i < r->tests.n && r->out.errors->n < ERRORS_SHOWN; i++) {
        run_test(r, &r->tests.items[i]);
        if (clock_of(CLOCK_THREAD_CPUTIME_ID) - start <= ALL_TESTS_MS * 1000000ull) continue;
        run_error(r, "test_error", r->tests.items[i].loc, "the tests take longer than %d s in all",
                  ALL_TESTS_MS / 1000);
        break;
    }
    return e;
}

/* ---- checks ---- */

static void answer_below(struct run *r, struct str below, struct check_answer *out) {
    struct json *v;
    bool list;
    if (json_parse(&r->b->answers, out->json, &v, NULL)) {
        *out = (struct check_answer){.kind = CHECK_FAILED,
                                     .err = ERR_LIMIT,
                                     .message = "the result is too large to look into"};
        return;
    }
    const struct json *there = json_below(v, below, &list);
    if (list) {
        *out = (struct check_answer){
            .kind = CHECK_FAILED,
            .err = ERR_UNSUPPORTED,
            .message = "a path into an array or set below an entrypoint is not supported"};
        return;
    }
    out->kind = there ? CHECK_VALUE : CHECK_UNDEFINED;
    buf_clear(&r->text);
    if (there) json_print(there, false, 0, &r->text);
    out->json = buf_view(&r->text);
}

static void ask_policy(void *ctx, const struct check *c, struct check_answer *out) {
    struct run *r = ctx;
    struct str below;
    struct eval_result *result = &r->b->answer;
    arena_reset(&r->b->answers);
    int32_t id = policy_entrypoint_at(r->policy, c->entrypoint, &below);
    out->kind = CHECK_NO_ENTRYPOINT;
    if (id < 0) return;
    enum err e = ask(r, (uint32_t)id, c->input, &r->limits, result);
    *out = (struct check_answer){
        .kind = CHECK_FAILED, .err = e, .message = result->message, .json = result->json};
    if (e) return;
    out->kind = result->defined ? CHECK_VALUE : CHECK_UNDEFINED;
    if (result->defined && below.ptr) answer_below(r, below, out);
}

enum err run_checks(struct run *r) {
    char *why = arena_alloc(&r->b->work, BUILDER_WHY_BYTES);
    const struct json *checks = NULL;
    const struct check_asker asker = {ask_policy, r, &r->b->answers};
    if (r->in->checks.len == 0) return OK;
    enum err e = checks_parse(&r->b->work, r->in->checks, &checks, why, BUILDER_WHY_BYTES);
    if (e == ERR_MEMORY) return e;
    if (e) {
        run_error(r, "checks_invalid", (struct loc){.file = STR("checks.json")}, "%s", why);
        return ERR_DIAG;
    }
    r->limits = limits_of_checks(r);
    if (checks->n && (e = run_load(r, r->full, r->thin))) return e;
    uint64_t start = clock_of(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t i = 0; i < checks->n && r->out.errors->n < ERRORS_SHOWN; i++) {
        if (check_hold(&r->b->work, i, checks->items[i], &asker, why, BUILDER_WHY_BYTES))
            run_error(r, "check_failed", (struct loc){.file = STR("checks.json")}, "%s", why);
        if (clock_of(CLOCK_THREAD_CPUTIME_ID) - start <= CHECKS_MAX_MS * 1000000ull) continue;
        run_error(r, "check_failed", (struct loc){.file = STR("checks.json")},
                  "checks.json: check %u: the checks take longer than %d s in all", i + 1,
                  CHECKS_MAX_MS / 1000);
        break;
    }
    return OK;
}
