/* The public API's half that loads and evaluates: regent.h's structs into host.h's.
 *
 * in:   what callers of libregent give; structs may be of an older, shorter version of the header.
 * out:  as regent.h says.
 * owns: nothing: opaque handles are the host's own structs under public names. */
#include "base/public_err.h"
#include "host/host.h"
#include <regent.h>
#include <stdio.h>
#include <stdlib.h>

static struct engine *engine_of(struct regent_engine *e) { return (struct engine *)e; }
static struct policy *policy_of(struct regent_policy *p) { return (struct policy *)p; }
static const struct policy *policy_view(const struct regent_policy *p) {
    return (const struct policy *)p;
}
static struct instances *session_of(struct regent_session *s) { return (struct instances *)s; }

/* Copies a struct of options; what an older caller's struct lacks stays 0. */
static void take_options(void *to, size_t to_size, const void *from) {
    size_t size;
    memset(to, 0, to_size);
    if (!from) return;
    memcpy(&size, from, sizeof size);
    memcpy(to, from, size < to_size ? size : to_size);
}

static enum err err_of(enum regent_error e) {
    for (int i = 0; i < ERR_COUNT; i++)
        if (public_err((enum err)i) == e) return (enum err)i;
    return ERR_INTERNAL;
}

const char *regent_error_word(enum regent_error e) { return err_word(err_of(e)); }
const char *regent_error_meaning(enum regent_error e) { return err_meaning(err_of(e)); }
const char *regent_version(void) { return REGENT_VERSION; }
void regent_free(char *text) { free(text); }

enum regent_error regent_engine_new(const struct regent_engine_options *options,
                                    struct regent_engine **engine) {
    struct regent_engine_options o;
    struct engine *e = NULL;
    take_options(&o, sizeof o, options);
    struct engine_options host = {.cache_dir = o.cache_dir,
                                  .tick_us = o.tick_us,
                                  .max_instances = o.max_instances,
                                  .fuel = o.fuel != 0};
    enum err err = engine_new(&host, &e);
    if (!err) *engine = (struct regent_engine *)e;
    return public_err(err);
}

void regent_engine_free(struct regent_engine *engine) { engine_free(engine_of(engine)); }

static enum err read_data(struct arena *a, const struct regent_policy_source *s, struct json **out,
                          struct load_message *m) {
    struct json_error error = {0};
    if (!s->data) return OK;
    enum err err = json_parse(a, (struct str){s->data, s->data_len}, out, &error);
    if (err)
        snprintf(m->text, sizeof m->text, "data is not valid JSON: %u:%u: %s", error.row, error.col,
                 error.message ? error.message : err_meaning(err));
    else if ((*out)->kind != JSON_OBJECT)
        snprintf(m->text, sizeof m->text, "data is not an object"), err = ERR_INVALID;
    return err;
}

enum regent_error regent_policy_load(struct regent_engine *engine,
                                     const struct regent_policy_source *source,
                                     struct regent_policy **policy, char *message) {
    struct regent_policy_source s;
    struct load_message m = {{0}};
    struct arena arena;
    struct json *data = NULL;
    struct policy *p = NULL;
    take_options(&s, sizeof s, source);
    arena_init(&arena, (size_t)4 << 30);
    enum err err = read_data(&arena, &s, &data, &m);
    struct policy_source host = {.full = {(const char *)s.full, s.full ? s.full_len : 0},
                                 .thin = {(const char *)s.thin, s.thin ? s.thin_len : 0},
                                 .data = data,
                                 .name = str_of(s.name)};
    if (!err) err = policy_load(engine_of(engine), &host, &p, &m);
    if (!err) *policy = (struct regent_policy *)p;
    if (err && message)
        snprintf(message, REGENT_MESSAGE_BYTES, "%s", m.text[0] ? m.text : err_meaning(err));
    arena_deinit(&arena);
    return public_err(err);
}

struct regent_policy *regent_policy_acquire(struct regent_policy *policy) {
    return (struct regent_policy *)policy_acquire(policy_of(policy));
}
void regent_policy_release(struct regent_policy *policy) { policy_release(policy_of(policy)); }
uint32_t regent_policy_entrypoint_count(const struct regent_policy *policy) {
    return policy_entrypoint_count(policy_view(policy));
}
const char *regent_policy_entrypoint_name(const struct regent_policy *policy, uint32_t entrypoint,
                                          size_t *len) {
    struct str name = policy_entrypoint_name(policy_view(policy), entrypoint);
    if (len) *len = name.len;
    return name.ptr;
}
int32_t regent_policy_entrypoint(const struct regent_policy *policy, const char *name) {
    return policy_entrypoint(policy_view(policy), str_of(name));
}

enum regent_error regent_session_new(struct regent_engine *engine, uint32_t max_live,
                                     struct regent_session **session) {
    struct instances *pool = NULL;
    enum err err = instances_new(engine_of(engine), max_live, &pool);
    if (!err) *session = (struct regent_session *)pool;
    return public_err(err);
}
void regent_session_free(struct regent_session *session) { instances_free(session_of(session)); }

enum regent_error regent_evaluate(struct regent_session *session,
                                  const struct regent_request *request,
                                  struct regent_result *result) {
    struct regent_request q;
    struct eval_result r;
    take_options(&q, sizeof q, request);
    struct eval_request host = {.policy = policy_of(q.policy),
                                .entrypoint = q.entrypoint,
                                .input = {q.input, q.input ? q.input_len : 0},
                                .limits = {.deadline_us = q.limits.deadline_us,
                                           .memory_bytes = q.limits.memory_bytes,
                                           .input_bytes = q.limits.input_bytes,
                                           .result_bytes = q.limits.result_bytes,
                                           .fuel = q.limits.fuel},
                                .fresh_instance = q.fresh_instance != 0,
                                .strict_builtin_errors = q.strict_builtin_errors != 0,
                                .now_ns = q.now_ns};
    enum err err = policy_eval(session_of(session), &host, &r);
    result->defined = r.defined;
    result->json = r.json.ptr;
    result->json_len = r.json.len;
    result->eval_ns = r.eval_ns;
    memcpy(result->message, r.message, sizeof result->message);
    return public_err(err);
}
