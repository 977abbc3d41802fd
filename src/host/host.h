/* The host: loads policy modules and evaluates them in sandboxes. Only this directory includes
 * wasmtime. */
#ifndef REGENT_HOST_HOST_H
#define REGENT_HOST_HOST_H
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include <stdint.h>

struct engine;    /* one a process: wasmtime engine, epoch thread, compiled runtime, code cache */
struct policy;    /* one loaded version: module + data image + entrypoints; immutable, counted */
struct instances; /* one a thread: live instances by policy, evicted by last use */

struct engine_options {
    const char *cache_dir;             /* compiled code on disk; NULL: none */
    uint32_t tick_us;                  /* epoch tick; 0: 1000 */
    uint32_t max_instances;            /* of the pooling allocator; 0: 4096 */
    uint64_t max_memory_bytes;         /* of one instance at most; 0: 4 GiB - 64 KiB */
    uint64_t memory_reservation_bytes; /* address space an instance; 0: 4 GiB (no bounds checks) */
    bool quick_compile; /* machine code that is made faster and runs slower: for tests that run a module once */
    bool one_thread_compile; /* of each module: for nodes, which load many at once and limit the time that each takes */
    bool fuel;                         /* compile fuel accounting in (+4 %) */
    const struct log *log;             /* may be NULL */
};
MUST_USE enum err engine_new(const struct engine_options *options, struct engine **out);
void engine_free(struct engine *e); /* after all policies and instances of it */
/* What an engine holds now, and did since it began. Any thread; not for where nothing may wait. */
struct engine_stats {
    uint64_t instances, instances_created, instances_evicted; /* for one policy each; without shared sandboxes */
    uint64_t code_modules, code_bytes;                        /* machine code in memory */
    uint64_t code_from_memory, code_from_disk, code_compiled; /* what loading policies found */
};
void engine_stats(struct engine *e, struct engine_stats *out);

/* What stops an evaluation. 0 means the default in parentheses. */
struct limits {
    uint64_t deadline_us;  /* (1 s) time of the thread on a processor, checked each tick; at most 4 times as
                              much and 100 ms by the wall's clock */
    uint64_t memory_bytes; /* (64 MiB) linear memory */
    uint64_t input_bytes;  /* (16 MiB) */
    uint64_t result_bytes; /* (16 MiB) */
    uint64_t fuel;         /* (none) needs engine_options.fuel */
    uint64_t stack_bytes;  /* reserved: 512 KiB for all */
};

struct policy_source {
    struct str full;         /* policy.wasm: ours or one of `opa build -t wasm` */
    struct str thin;         /* ours, used when its runtime hash is this host's; may be empty */
    const struct json *data; /* base documents, or NULL for {} */
    struct str name;         /* for logs and errors: tenant id or file */
    bool require_full;       /* tests: use the full form even if the thin one would do */
    bool keep; /* keep a copy for policy_kept: the policy is evaluated in another process */
    /* What the caller wants to know of the paths of input that the module reads (a list of lists of strings, an empty
     * one meaning all of it; hostile), as policy_input_mark; NULL: nothing. */
    uint64_t (*input_mark)(const struct json *paths);
    uint64_t max_module_bytes; /* of the module that is used; 0: 256 MiB */
    uint64_t max_compile_us;   /* of making its machine code; 0: no limit */
};
/* Loads and compiles (or finds compiled) what is needed to evaluate. message (may be NULL) gets a
 * sentence that names what is wrong. ERR_ABI, ERR_INVALID, ERR_LIMIT, ERR_MEMORY. Callable from any
 * thread at once. */
struct load_message {
    char text[512];
};
MUST_USE enum err policy_load(struct engine *e, const struct policy_source *source,
                              struct policy **out, struct load_message *message);
struct policy *policy_acquire(struct policy *p);
void policy_release(struct policy *p);

uint32_t policy_entrypoint_count(const struct policy *p);
struct str policy_entrypoint_name(const struct policy *p, uint32_t i); /* "tenant/authz/allow" */
/* Id for eval, or -1. */
int32_t policy_entrypoint(const struct policy *p, struct str name);
/* The longest entrypoint that is `path` or a prefix of it (empty: the first), or -1; *below gets what remains (ptr
 * NULL: nothing). */
int32_t policy_entrypoint_at(const struct policy *p, struct str path, struct str *below);
/* A hint: an evaluation of the policy comes soon. policy_fetch looks at nothing of it (p may be anything), and makes
 * policy_fetch_all cheap, which fetches what the evaluation reads. */
void policy_fetch(const struct policy *p);
void policy_fetch_all(const struct policy *p);
struct str policy_name(const struct policy *p);      /* policy_source.name */
uint64_t policy_number(const struct policy *p);      /* no two policies of a process ever have the same; not 0 */
/* What it was loaded from; false unless it was loaded with `keep`. data is JSON text. */
struct kept_source {
    struct str full, thin, data;
};
bool policy_kept(const struct policy *p, struct kept_source *out);
struct policy_stats {
    uint64_t code_bytes, image_bytes, compile_us, load_us;
    bool thin, regent_abi; /* regent_abi false: an OPA module */
    enum { CODE_COMPILED, CODE_FROM_MEMORY, CODE_FROM_DISK } code_from;
};
struct policy_stats policy_stats(const struct policy *p);
/* What policy_source.input_mark made of the module; all bits when the module does not say what it reads. */
uint64_t policy_input_mark(const struct policy *p);

/* A step on the way to a base document: a member's name; an index has its digits as name. */
struct document_key {
    struct str name;
    int64_t index;
    bool is_index;
};
/* The tenant's base document at a path, as JSON appended to `out`. ERR_NOT_FOUND; ERR_LIMIT or ERR_MEMORY when out
 * or scratch (used for OPA's modules, which hold data as text) is too small. Reads what sandboxes start from: there is
 * no second copy. */
MUST_USE enum err policy_document(const struct policy *p, const struct document_key *path, uint32_t n,
                                  struct arena *scratch, struct buf *out);

MUST_USE enum err instances_new(struct engine *e, uint32_t max_live, struct instances **out);
void instances_free(struct instances *pool);
/* Reads all time zones of the system now, so that later evaluations open no file. ERR_MEMORY. */
MUST_USE enum err instances_keep_zones(struct instances *pool);

struct eval_request {
    struct policy *policy;
    uint32_t entrypoint;
    struct str input; /* JSON bytes; ptr NULL: input is undefined */
    struct limits limits;
    bool sliced; /* the deadline is a slice: who passes it is asked for again with more time, so that builtins which
                    cannot be stopped are not begun (ERR_DEADLINE) */
    bool fresh_instance; /* new instance for this call, thrown away after it */
    bool strict_builtin_errors;
    int64_t now_ns; /* time.now_ns for this evaluation; 0: the clock's */
};
struct eval_result {
    bool defined;    /* meaningful on OK only */
    struct str json; /* decision as JSON (query: array of binding objects); valid until the
                        next call with the same `instances` */
    uint64_t eval_ns;
    char message[256]; /* why, when not OK: "eval_conflict_error: p.rego:3:1: …" */
};
/* One evaluation on this thread. OK (also when undefined), or the limit or error by name:
 * ERR_DEADLINE, ERR_GUEST_MEMORY, ERR_STACK, ERR_FUEL, ERR_TRAP, ERR_CONFLICT, ERR_BUILTIN,
 * ERR_INPUT, ERR_LIMIT, ERR_NOT_FOUND (entrypoint), ERR_MEMORY. After any but OK and ERR_INPUT the
 * instance is thrown away. */
MUST_USE enum err policy_eval(struct instances *pool, const struct eval_request *request,
                              struct eval_result *result);

#endif
