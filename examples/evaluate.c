/* Compiles a policy, loads it with data, evaluates it once: regent.h from end to end.
 *
 * cc examples/evaluate.c $(pkg-config --cflags --libs regent) -o evaluate && ./evaluate */
#include <regent.h>
#include <stdio.h>
#include <string.h>

static const char POLICY[] = "package authz\n"
                             "default allow := false\n"
                             "allow if data.roles[input.user] == \"{{ADMIN}}\"\n";
static const char DATA[] = "{\"roles\":{\"ann\":\"admin\",\"bob\":\"guest\"}}";

static struct regent_module *compile(void) {
    struct regent_source source = {"authz.rego", POLICY, sizeof POLICY - 1};
    const char *entrypoints[] = {"authz/allow"};
    struct regent_compile_options options = {.struct_size = sizeof options,
                                             .sources = &source,
                                             .n_sources = 1,
                                             .entrypoints = entrypoints,
                                             .n_entrypoints = 1,
                                             .template_values = "{\"ADMIN\":\"admin\"}",
                                             .optimize = 1};
    struct regent_module *module = NULL;
    char *errors = NULL;
    enum regent_error e = regent_compile(&options, &module, &errors);
    if (e) fprintf(stderr, "compile: %s: %s\n", regent_error_word(e), errors ? errors : "");
    regent_free(errors);
    return module;
}

static struct regent_policy *load(struct regent_engine *engine,
                                  const struct regent_module *module) {
    struct regent_policy_source source = {
        .struct_size = sizeof source, .data = DATA, .data_len = sizeof DATA - 1, .name = "example"};
    struct regent_policy *policy = NULL;
    char message[REGENT_MESSAGE_BYTES] = "";
    source.full = regent_module_full(module, &source.full_len);
    source.thin = regent_module_thin(module, &source.thin_len);
    enum regent_error e = regent_policy_load(engine, &source, &policy, message);
    if (e) fprintf(stderr, "load: %s: %s\n", regent_error_word(e), message);
    return policy;
}

static int decide(struct regent_session *session, struct regent_policy *policy, const char *input) {
    struct regent_request request = {.struct_size = sizeof request,
                                     .policy = policy,
                                     .input = input,
                                     .input_len = strlen(input),
                                     .limits = {.deadline_us = 10000}};
    struct regent_result result;
    enum regent_error e = regent_evaluate(session, &request, &result);
    if (e)
        fprintf(stderr, "evaluate: %s: %s\n", regent_error_word(e), result.message);
    else if (result.defined)
        printf("%s -> %.*s\n", input, (int)result.json_len, result.json);
    else
        printf("%s -> undefined\n", input);
    return e != REGENT_OK;
}

int main(void) {
    struct regent_engine *engine = NULL;
    struct regent_session *session = NULL;
    struct regent_policy *policy = NULL;
    int failed = 1;
    struct regent_module *module = compile();
    if (!module || regent_engine_new(NULL, &engine) != REGENT_OK) goto out;
    policy = load(engine, module);
    if (!policy || regent_session_new(engine, 0, &session) != REGENT_OK) goto out;
    failed = decide(session, policy, "{\"user\":\"ann\"}") ||
             decide(session, policy, "{\"user\":\"bob\"}");
out:
    regent_session_free(session);
    regent_policy_release(policy);
    regent_engine_free(engine);
    regent_module_free(module);
    return failed;
}
