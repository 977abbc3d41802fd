/* Times decisions, loading and memory inside one process, on commands from standard input.
 *
 * in:   a folder with p1/ and p2/ as run.sh prepares them; one command a line.
 * out:  one line an answer.
 * owns: engine, policies and instances until exit.
 *
 *   result CASE FORM     the decision, as JSON
 *   eval CASE FORM N     N decisions, nanoseconds each
 *   compile POLICY FORM  microseconds from wasm to machine code
 *   second               microseconds to load a second tenant whose code is there already
 *   resident N           bytes a live instance of N further tenants, and bytes a loaded policy
 * CASE: p1_allow p1_decision p2_hit p2_miss; POLICY: p1 p2; FORM: thin full opa. */
#include "bundle/bundle.h"
#include "host/host.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BYTES = 1 << 30, FORMS = 3, WARM_INSTANCES = 100 };
enum form { THIN, FULL, OPA };

struct subject {
    const char *name;
    struct bundle ours, opa, second;
    struct policy *policies[FORMS];
};

struct bench_case {
    const char *name, *policy, *entrypoint, *input_file;
    struct str input;
};

struct bench {
    struct arena arena;
    const char *folder;
    struct engine *engine;
    struct instances *pool;
    struct subject subjects[2];
    struct bench_case cases[4];
};

static void die(const char *what, const char *why) {
    fprintf(stderr, "decide: %s: %s\n", what, why);
    exit(2);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct str read_file(struct bench *b, const char *folder, const char *name) {
    struct buf bytes;
    char *path = arena_printf(&b->arena, NULL, "%s/%s/%s", b->folder, folder, name);
    buf_init(&bytes, MAX_BYTES);
    if (buf_read_file(&bytes, path)) die(path, "cannot be read");
    struct str s = {arena_strndup(&b->arena, (const char *)bytes.ptr, bytes.len), bytes.len};
    buf_deinit(&bytes);
    return s;
}

static struct bundle read_bundle(struct bench *b, const char *folder, const char *name) {
    struct bundle out = {0};
    struct diag_list diags;
    diag_list_init(&diags, &b->arena);
    if (bundle_read(&b->arena, read_file(b, folder, name), &out, &diags)) die(name, "no bundle");
    return out;
}

static struct policy *load(struct bench *b, const struct bundle *from, enum form form) {
    struct load_message message;
    struct policy *p = NULL;
    struct policy_source source = {.full = from->full,
                                   .thin = form == THIN ? from->thin : STR(""),
                                   .data = from->data,
                                   .name = STR("bench"),
                                   .require_full = form == FULL};
    if (policy_load(b->engine, &source, &p, &message)) die("policy_load", message.text);
    if (policy_stats(p).thin != (form == THIN)) die("policy_load", "took the other form");
    if (policy_stats(p).regent_abi != (form != OPA)) die("policy_load", "took the other ABI");
    return p;
}

static const struct bundle *bundle_of(const struct subject *s, enum form form) {
    return form == OPA ? &s->opa : &s->ours;
}

static struct subject *find_subject(struct bench *b, const char *name) {
    for (int i = 0; i < 2; i++)
        if (strcmp(b->subjects[i].name, name) == 0) return &b->subjects[i];
    die(name, "no such policy");
    return NULL;
}

static struct bench_case *find_case(struct bench *b, const char *name) {
    for (int i = 0; i < 4; i++)
        if (strcmp(b->cases[i].name, name) == 0) return &b->cases[i];
    die(name, "no such case");
    return NULL;
}

static enum form find_form(const char *name) {
    if (strcmp(name, "thin") == 0) return THIN;
    if (strcmp(name, "full") == 0) return FULL;
    if (strcmp(name, "opa") == 0) return OPA;
    die(name, "no such form");
    return THIN;
}

static struct eval_request request_of(struct bench *b, const char *name, enum form form) {
    struct bench_case *c = find_case(b, name);
    struct subject *s = find_subject(b, c->policy);
    if (!s->policies[form]) s->policies[form] = load(b, bundle_of(s, form), form);
    int32_t entry = policy_entrypoint(s->policies[form], str_of(c->entrypoint));
    if (entry < 0) die(c->entrypoint, "no such entrypoint");
    return (struct eval_request){
        .policy = s->policies[form], .entrypoint = (uint32_t)entry, .input = c->input};
}

static void decide(struct bench *b, const struct eval_request *q, struct eval_result *r) {
    if (policy_eval(b->pool, q, r)) die("policy_eval", r->message);
    if (!r->defined) die("policy_eval", "undefined");
}

static void command_result(struct bench *b, const char *name, enum form form) {
    struct eval_request q = request_of(b, name, form);
    struct eval_result r;
    decide(b, &q, &r);
    printf("%.*s\n", STR_FMT(r.json));
}

static void command_eval(struct bench *b, const char *name, enum form form, uint64_t n) {
    struct eval_request q = request_of(b, name, form);
    struct eval_result r;
    for (uint64_t i = 0; i < n / 10 + 1; i++) decide(b, &q, &r);
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < n; i++) decide(b, &q, &r);
    printf("%.1f\n", (double)(now_ns() - start) / (double)n);
}

/* Nobody else holds this policy's code, so releasing it forgets the machine code too. */
static void command_compile(struct bench *b, const char *name, enum form form) {
    struct policy *p = load(b, bundle_of(find_subject(b, name), form), form);
    if (policy_stats(p).code_from != CODE_COMPILED) die("compile", "the code was there already");
    printf("%" PRIu64 "\n", policy_stats(p).compile_us);
    policy_release(p);
}

static void command_second(struct bench *b) {
    struct subject *s = find_subject(b, "p1");
    if (!s->policies[THIN]) s->policies[THIN] = load(b, &s->ours, THIN);
    uint64_t start = now_ns();
    struct policy *p = load(b, &s->second, THIN);
    double us = (double)(now_ns() - start) / 1000;
    if (policy_stats(p).code_from != CODE_FROM_MEMORY) die("second", "code is not shared");
    printf("%.1f\n", us);
    policy_release(p);
}

static uint64_t resident_bytes(void) {
    unsigned long long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%llu %llu", &size, &resident) != 2) die("statm", "cannot be read");
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The first instances fill slots that loading has already touched; only later ones count. */
static void command_resident(struct bench *b, uint32_t n) {
    struct subject *s = find_subject(b, "p1");
    uint32_t all = n + WARM_INSTANCES;
    struct policy **policies = calloc(all, sizeof *policies);
    struct instances *pool;
    if (!policies || instances_new(b->engine, all, &pool)) die("resident", "no memory");
    struct eval_request q = request_of(b, "p1_decision", THIN);
    uint64_t loaded_from = 0, live_from = 0, loaded_to;
    for (uint32_t i = 0; i < all; i++) {
        if (i == WARM_INSTANCES) loaded_from = resident_bytes();
        policies[i] = load(b, i % 2 ? &s->ours : &s->second, THIN);
    }
    loaded_to = resident_bytes();
    for (uint32_t i = 0; i < all; i++) {
        struct eval_result r;
        if (i == WARM_INSTANCES) live_from = resident_bytes();
        q.policy = policies[i];
        if (policy_eval(pool, &q, &r)) die("resident", r.message);
    }
    printf("%" PRIu64 " %" PRIu64 "\n", (resident_bytes() - live_from) / n,
           (loaded_to - loaded_from) / n);
    instances_free(pool);
    for (uint32_t i = 0; i < all; i++) policy_release(policies[i]);
    free(policies);
}

static void run_command(struct bench *b, char *line) {
    char *word = strtok(line, " \n"), *name = strtok(NULL, " \n"), *form = strtok(NULL, " \n"),
         *count = strtok(NULL, " \n");
    if (!word) return;
    if (strcmp(word, "second") == 0) command_second(b);
    else if (!name) die(word, "needs an argument");
    else if (strcmp(word, "resident") == 0) command_resident(b, (uint32_t)strtoul(name, NULL, 10));
    else if (!form) die(word, "needs a form");
    else if (strcmp(word, "result") == 0) command_result(b, name, find_form(form));
    else if (strcmp(word, "compile") == 0) command_compile(b, name, find_form(form));
    else if (strcmp(word, "eval") == 0 && count)
        command_eval(b, name, find_form(form), strtoull(count, NULL, 10));
    else die(word, "no such command");
    fflush(stdout);
}

static void bench_init(struct bench *b, const char *folder) {
    struct engine_options options = {.max_instances = 1024};
    static const struct bench_case cases[4] = {
        {"p1_allow", "p1", "tenant/authz/allow", "input.json", {0}},
        {"p1_decision", "p1", "tenant/authz/decision", "input.json", {0}},
        {"p2_hit", "p2", "rbac/authz/allow", "input.json", {0}},
        {"p2_miss", "p2", "rbac/authz/allow", "miss.json", {0}},
    };
    static const char *const names[2] = {"p1", "p2"};
    b->folder = folder;
    arena_init(&b->arena, MAX_BYTES);
    if (engine_new(&options, &b->engine)) die("engine_new", "failed");
    if (instances_new(b->engine, 64, &b->pool)) die("instances_new", "failed");
    for (int i = 0; i < 2; i++) {
        b->subjects[i].name = names[i];
        b->subjects[i].ours = read_bundle(b, names[i], "regent.tar.gz");
        b->subjects[i].opa = read_bundle(b, names[i], "opa.tar.gz");
    }
    b->subjects[0].second = read_bundle(b, "p1", "second.tar.gz");
    for (int i = 0; i < 4; i++) {
        b->cases[i] = cases[i];
        b->cases[i].input = read_file(b, cases[i].policy, cases[i].input_file);
    }
}

static void bench_deinit(struct bench *b) {
    instances_free(b->pool);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < FORMS; k++) policy_release(b->subjects[i].policies[k]);
    engine_free(b->engine);
    arena_deinit(&b->arena);
}

int main(int argc, char **argv) {
    static struct bench b;
    char line[256];
    if (argc != 2) die("usage", "decide FOLDER");
    bench_init(&b, argv[1]);
    while (fgets(line, sizeof line, stdin)) run_command(&b, line);
    bench_deinit(&b);
    return 0;
}
