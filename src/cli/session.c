/* Compile, load and evaluate in one process. in: a compile request. out: decisions. owns: engine, pool, policy. */
#include "cli/session.h"
#include <stdio.h>
#include <stdlib.h>

static enum err load(struct session *s, struct str full, struct str thin, const struct json *data,
                     struct load_message *message) {
    char cache[4096];
    const char *home = getenv("REGENT_CODE_CACHE");
    struct engine_options options = {.max_instances = 4, .quick_compile = s->once};
    if (home && snprintf(cache, sizeof cache, "%s", home) < (int)sizeof cache) options.cache_dir = cache;
    enum err e = engine_new(&options, &s->engine);
    if (e) return e;
    struct policy_source source = {.full = full, .thin = thin, .data = data, .name = STR("policy")};
    if ((e = policy_load(s->engine, &source, &s->policy, message))) return e;
    return instances_new(s->engine, 4, &s->pool);
}

enum err session_open(struct session *s, const struct compile_request *request, const struct json *data,
                      struct load_message *message) {
    *s = (struct session){.compiled = true, .once = s->once};
    message->text[0] = 0;
    enum err e = compile_run(&s->compile, request, NULL);
    if (e) return e;
    return load(s, buf_view(&s->compile.full), buf_view(&s->compile.thin), data, message);
}

enum err session_open_wasm(struct session *s, struct str wasm, struct str thin, const struct json *data,
                           struct load_message *message) {
    *s = (struct session){.once = s->once};
    message->text[0] = 0;
    return load(s, wasm, thin, data, message);
}

void session_close(struct session *s) {
    if (s->pool) instances_free(s->pool);
    if (s->policy) policy_release(s->policy);
    if (s->engine) engine_free(s->engine);
    if (s->compiled) compile_end(&s->compile);
}

enum err session_eval(struct session *s, uint32_t entrypoint, struct str input, bool strict, uint64_t timeout_us,
                      struct eval_result *result) {
    struct eval_request request = {
        .policy = s->policy,
        .entrypoint = entrypoint,
        .input = input,
        .strict_builtin_errors = strict,
        .limits = {.deadline_us = timeout_us ? timeout_us : 3600ull * 1000000, .memory_bytes = 2ull << 30,
                   .input_bytes = 1ull << 28, .result_bytes = 1ull << 28},
    };
    return policy_eval(s->pool, &request, result);
}
