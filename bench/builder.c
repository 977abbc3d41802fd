/* Builds the bundles of many tenants of one template, as the control plane does, and says what each took.
 *
 * in:   a folder with policy.rego, policy_test.rego and data.json; how many tenants and threads; a key that signs.
 * out:  one line of JSON: seconds by the clock, milliseconds of processor time a tenant, bytes of a bundle.
 * owns: the builders, until exit.
 *
 *   builder FOLDER TENANTS THREADS [KEY.pem [OUT.tar.gz]]    OUT: where the last tenant's bundle goes */
#include "base/clock.h"
#include "control/builder.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_THREADS = 64, MAX_BYTES = 1 << 28, N_FILES = 2 };

static const char checks[] =
    "[{\"entrypoint\": \"tenant/authz/allow\", \"input\": {\"user\": {\"role\": \"nobody\"}}, \"expect\": false},"
    "{\"entrypoint\": \"tenant/authz/allow\", \"input\": {}, \"expect\": false, \"note\": \"nothing is asked\"},"
    "{\"entrypoint\": \"tenant/authz/decision\", \"input\": {}}]";

struct work {
    struct builder_shared *shared;
    struct signer *signer;
    struct builder_file files[N_FILES];
    struct json *data, *entrypoints;
    int from, to;
    const char *out;
    size_t bytes;
    double cpu_ms;
    pthread_t thread;
};

static void stop(const char *what, const char *why) {
    fprintf(stderr, "builder: %s: %s\n", what, why);
    exit(1);
}

static struct str read_file(struct arena *a, const char *folder, const char *name) {
    struct buf b;
    char path[4096];
    buf_init(&b, MAX_BYTES);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (buf_read_file(&b, path)) stop(path, "cannot be read");
    struct str s = {arena_strndup(a, (const char *)b.ptr, b.len), b.len};
    buf_deinit(&b);
    return s;
}

static void build(struct work *w, struct builder *b, struct arena *a, int i) {
    char id[32];
    struct json *values = json_object(a), *data = json_object(a);
    struct builder_output out;
    snprintf(id, sizeof id, "tenant-%d", i);
    json_set(a, values, STR("TENANT"), json_string(a, str_of(id)));
    json_merge(a, data, w->data);
    json_set(a, data, STR("tenant_number"), json_int(a, i));
    const struct builder_input in = {.tenant = str_of(id),
                                     .files = w->files,
                                     .n_files = N_FILES,
                                     .n_own = N_FILES,
                                     .library_of = (struct str[N_FILES]){{"", 0}, {"", 0}},
                                     .parameters = values,
                                     .data = data,
                                     .checks = STR(checks),
                                     .entrypoints = w->entrypoints};
    if (builder_run(b, a, &in, &out)) {
        struct buf text;
        buf_init(&text, MAX_BYTES);
        if (out.errors) json_print(out.errors, false, 1, &text);
        buf_byte(&text, 0);
        stop(id, (const char *)text.ptr);
    }
    w->bytes = out.bundle.len;
    if (w->out && i == w->to - 1 && file_write_output(w->out, out.bundle)) stop(w->out, "cannot be written");
}

static void *build_all(void *ctx) {
    struct work *w = ctx;
    struct builder *b;
    struct arena a;
    if (builder_new(w->shared, w->signer, &b)) stop("builder_new", "failed");
    arena_init(&a, MAX_BYTES);
    uint64_t start = clock_of(CLOCK_THREAD_CPUTIME_ID);
    for (int i = w->from; i < w->to; i++) {
        build(w, b, &a, i);
        arena_reset(&a);
    }
    w->cpu_ms = (double)(clock_of(CLOCK_THREAD_CPUTIME_ID) - start) / 1e6;
    arena_deinit(&a);
    builder_free(b);
    return NULL;
}

int main(int argc, char **argv) {
    static struct work works[MAX_THREADS];
    struct work w = {0};
    struct arena a;
    char why[SIGN_WHY_BYTES];
    int tenants = argc > 3 ? atoi(argv[2]) : 0, threads = argc > 3 ? atoi(argv[3]) : 0;
    if (tenants < 1 || threads < 1 || threads > MAX_THREADS) stop("usage", "FOLDER TENANTS THREADS [KEY.pem [OUT]]");
    arena_init(&a, MAX_BYTES);
    w.files[0] = (struct builder_file){STR("templates/authz/policy.rego"), read_file(&a, argv[1], "policy.rego")};
    struct str test = read_file(&a, argv[1], "policy_test.rego");
    w.files[1] = (struct builder_file){STR("templates/authz/policy_test.rego"), test};
    if (json_parse(&a, read_file(&a, argv[1], "data.json"), &w.data, NULL) ||
        json_parse(&a, STR("[\"tenant/authz/allow\", \"tenant/authz/decision\"]"), &w.entrypoints, NULL))
        stop("data.json", "is no JSON");
    if (argc > 4 && argv[4][0] && signer_open((const char *const *)&argv[4], 1, &w.signer, why)) stop(argv[4], why);
    if (builder_shared_new(&w.shared)) stop("builder_shared_new", "failed");
    uint64_t start = clock_ns();
    for (int i = 0; i < threads; i++) {
        works[i] = w;
        works[i].from = (int)((int64_t)tenants * i / threads);
        works[i].to = (int)((int64_t)tenants * (i + 1) / threads);
        if (i == threads - 1 && argc > 5) works[i].out = argv[5];
        if (pthread_create(&works[i].thread, NULL, build_all, &works[i])) stop("pthread_create", "failed");
    }
    double cpu_ms = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(works[i].thread, NULL);
        cpu_ms += works[i].cpu_ms;
    }
    printf("{\"seconds\":%.3f,\"cpu_ms\":%.3f,\"bytes\":%zu}\n", (double)(clock_ns() - start) / 1e9, cpu_ms / tenants,
           works[threads - 1].bytes);
    builder_shared_free(w.shared);
    signer_close(w.signer);
    arena_deinit(&a);
    return 0;
}
