/* Decides with the host as a library: bundles from standard input, in either form.
 *
 * in:   lines "BUNDLE ENTRYPOINT INPUT FORM MODE": INPUT a file or -, FORM thin or full, MODE strict or lenient.
 * out:  one line a decision: its JSON, `undefined`, or the error's word and why.
 * owns: the engine and the pool; a bundle and its policy for one line. */
#include "bundle/bundle.h"
#include "host/host.h"
#include <stdio.h>

enum { MAX_BYTES = 1 << 28, MAX_LINE = 16384 };

struct question {
    const char *bundle, *entrypoint, *input;
    bool full, strict;
};

static enum err read_file(struct arena *a, const char *path, struct str *out) {
    struct buf bytes;
    buf_init(&bytes, MAX_BYTES);
    enum err e = buf_read_file(&bytes, path);
    if (!e) *out = (struct str){arena_strndup(a, (const char *)bytes.ptr, bytes.len), bytes.len};
    if (!e && !out->ptr) e = ERR_MEMORY;
    buf_deinit(&bytes);
    return e;
}

static enum err load(struct engine *engine, struct arena *a, const struct question *q,
                     struct policy **out, struct load_message *why) {
    struct bundle b = {0};
    struct diag_list diags;
    struct str archive;
    diag_list_init(&diags, a);
    enum err e = read_file(a, q->bundle, &archive);
    if (!e) e = bundle_read(a, archive, &b, &diags);
    if (e) return e;
    struct policy_source source = {
        .full = b.full, .thin = b.thin, .data = b.data, .name = STR("case"), .require_full = q->full};
    return policy_load(engine, &source, out, why);
}

static enum err evaluate(struct instances *pool, struct policy *p, const struct question *q,
                         struct str input, struct eval_result *result) {
    int32_t entrypoint = policy_entrypoint(p, str_of(q->entrypoint));
    if (entrypoint < 0) return ERR_NOT_FOUND;
    if (policy_stats(p).thin == q->full) return ERR_UNSUPPORTED;
    struct eval_request request = {.policy = p,
                                   .entrypoint = (uint32_t)entrypoint,
                                   .input = input,
                                   .limits = {.deadline_us = 10000000},
                                   .strict_builtin_errors = q->strict};
    return policy_eval(pool, &request, result);
}

static void decide(struct engine *engine, struct instances *pool, const struct question *q) {
    struct arena a;
    struct policy *policy = NULL;
    struct str input = {NULL, 0};
    struct load_message why = {{0}};
    struct eval_result result = {0};
    arena_init(&a, MAX_BYTES);
    enum err e = load(engine, &a, q, &policy, &why);
    if (!e && strcmp(q->input, "-") != 0) e = read_file(&a, q->input, &input);
    if (!e) e = evaluate(pool, policy, q, input, &result);
    if (e)
        printf("%s %s%s\n", err_word(e), why.text, result.message);
    else if (result.defined)
        printf("%.*s\n", STR_FMT(result.json));
    else
        puts("undefined");
    policy_release(policy);
    arena_deinit(&a);
}

static bool parse(char *line, struct question *q) {
    char *words[5], *rest = line;
    for (int i = 0; i < 5; i++)
        if (!(words[i] = strtok_r(rest, " \n", &rest))) return false;
    *q = (struct question){words[0], words[1], words[2], strcmp(words[3], "full") == 0,
                           strcmp(words[4], "strict") == 0};
    return true;
}

int main(void) {
    struct engine_options options = {.max_instances = 16, .quick_compile = true};
    struct engine *engine;
    struct instances *pool;
    struct question q;
    char line[MAX_LINE];
    if (engine_new(&options, &engine)) return 2;
    if (instances_new(engine, 4, &pool)) return 2;
    while (fgets(line, sizeof line, stdin)) {
        if (parse(line, &q))
            decide(engine, pool, &q);
        else
            puts("syntax: a line has five words");
    }
    instances_free(pool);
    engine_free(engine);
    return 0;
}
