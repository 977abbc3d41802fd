/* Regent: compiles OPA's Rego to WebAssembly and evaluates it in sandboxes.
 *
 * Threads: an engine and policies may be used from any thread at once; a session belongs to one
 * thread at a time. Memory: what a function hands out is owned by the caller and freed with the
 * function that its comment names. Text is UTF-8 with an explicit length; `const char *` without
 * one ends in 0. Structs of options begin with struct_size = sizeof(the struct), so that they can
 * grow; zeros mean defaults. */
#ifndef REGENT_H
#define REGENT_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Outcomes. Numbers never change their meaning; regent_error_word gives the machine word
 * ("deadline"). */
enum regent_error {
    REGENT_OK = 0,
    REGENT_MEMORY = 1,    /* an allocation failed */
    REGENT_LIMIT = 2,     /* input, result or module is larger than its limit */
    REGENT_SYNTAX = 3,    /* JSON that is none */
    REGENT_DIAGNOSED = 4, /* the policy has errors: see the list */
    REGENT_NOT_FOUND = 5, /* no such entrypoint */
    REGENT_IO = 6,
    REGENT_UNSUPPORTED = 7,
    REGENT_INVALID = 8,   /* an argument or a module breaks a rule */
    REGENT_ABI = 9,       /* the module does not speak an ABI that this host knows */
    REGENT_DEADLINE = 10, /* evaluation stopped at its deadline */
    REGENT_FUEL = 11,
    REGENT_GUEST_MEMORY = 12, /* … at its memory limit */
    REGENT_STACK = 13,
    REGENT_TRAP = 14,     /* the module did something that WebAssembly forbids */
    REGENT_CONFLICT = 15, /* eval_conflict_error */
    REGENT_BUILTIN = 16,  /* eval_builtin_error, in strict mode */
    REGENT_INPUT = 17,    /* the input is not valid JSON */
    REGENT_INTERNAL = 18,
    REGENT_TYPE = 19 /* eval_type_error, in strict mode */
};
const char *regent_error_word(enum regent_error e);
const char *regent_error_meaning(enum regent_error e);
/* "0.1.0" */
const char *regent_version(void);
/* Frees what a function handed out as char *; NULL is allowed. */
void regent_free(char *text);

/* ---- compile ---- */

struct regent_source {
    const char *file; /* for places in errors: "authz.rego" */
    const char *text;
    size_t text_len;
};
struct regent_compile_options {
    size_t struct_size;
    const struct regent_source *sources;
    size_t n_sources;
    const char *const *entrypoints; /* "authz/allow" */
    size_t n_entrypoints;
    const char *template_values; /* JSON object {"NAME":"value"} for {{NAME}} in string literals;
                                    NULL: none */
    int strict;                  /* OPA's strict mode */
    int optimize;                /* 0 or 1 */
    int rego_v0;                 /* sources without `import rego.v1` are of version 0 */
    size_t max_memory_bytes;     /* of the compile; 0: 1 GiB */
};
struct regent_module; /* one compiled policy in its two forms */
/* OK: *module is to be freed with regent_module_free. REGENT_DIAGNOSED: *errors is OPA's JSON list
 * [{"message":…,"code":"rego_parse_error","location":{"file":…,"row":…,"col":…}}], to be freed with
 * regent_free. */
enum regent_error regent_compile(const struct regent_compile_options *options,
                                 struct regent_module **module, char **errors);
/* The whole module: what OPA's hosts take as policy.wasm. */
const uint8_t *regent_module_full(const struct regent_module *m, size_t *len);
/* The policy's own code only, for hosts that hold the same runtime. */
const uint8_t *regent_module_thin(const struct regent_module *m, size_t *len);
void regent_module_free(struct regent_module *m);

/* ---- load ---- */

struct regent_engine; /* one a process */
struct regent_engine_options {
    size_t struct_size;
    const char *cache_dir;  /* keeps compiled code between runs; NULL: does not */
    uint32_t tick_us;       /* how finely deadlines are kept; 0: 1000 */
    uint32_t max_instances; /* live sandboxes at most; 0: 4096 */
    int fuel;               /* compile fuel accounting in */
};
/* options may be NULL. */
enum regent_error regent_engine_new(const struct regent_engine_options *options,
                                    struct regent_engine **engine);
void regent_engine_free(struct regent_engine *engine); /* after its policies and sessions */

struct regent_policy; /* one loaded policy with its data; counted */
struct regent_policy_source {
    size_t struct_size;
    const uint8_t *full; /* policy.wasm: ours, or one of `opa build -t wasm` */
    size_t full_len;
    const uint8_t *thin; /* may be NULL */
    size_t thin_len;
    const char *data; /* JSON object: base documents; NULL: {} */
    size_t data_len;
    const char *name; /* for logs; may be NULL */
};
/* message (may be NULL) is a buffer of at least REGENT_MESSAGE_BYTES that gets a sentence when it
 * fails. */
enum { REGENT_MESSAGE_BYTES = 512 };
enum regent_error regent_policy_load(struct regent_engine *engine,
                                     const struct regent_policy_source *source,
                                     struct regent_policy **policy, char *message);
struct regent_policy *regent_policy_acquire(struct regent_policy *policy);
void regent_policy_release(struct regent_policy *policy);
uint32_t regent_policy_entrypoint_count(const struct regent_policy *policy);
/* Not terminated; valid while the policy is. NULL past the end. */
const char *regent_policy_entrypoint_name(const struct regent_policy *policy, uint32_t entrypoint,
                                          size_t *len);
/* The entrypoint's number, or -1. */
int32_t regent_policy_entrypoint(const struct regent_policy *policy, const char *name);

/* ---- evaluate ---- */

struct regent_session; /* a thread's live sandboxes */
/* max_live sandboxes are kept, the one unused for longest gives way; 0: 256. */
enum regent_error regent_session_new(struct regent_engine *engine, uint32_t max_live,
                                     struct regent_session **session);
void regent_session_free(struct regent_session *session);

struct regent_limits {     /* 0: the default in parentheses */
    uint64_t deadline_us;  /* (1 s) */
    uint64_t memory_bytes; /* (64 MiB) */
    uint64_t input_bytes;  /* (16 MiB) */
    uint64_t result_bytes; /* (16 MiB) */
    uint64_t fuel;         /* (none) needs regent_engine_options.fuel */
};
struct regent_request {
    size_t struct_size;
    struct regent_policy *policy;
    uint32_t entrypoint;
    const char *input; /* JSON; NULL: input is undefined */
    size_t input_len;
    struct regent_limits limits;
    int fresh_instance; /* a sandbox of its own for this call */
    int strict_builtin_errors;
    int64_t now_ns; /* what time.now_ns says; 0: the clock */
};
struct regent_result {
    int defined;      /* 0: the decision is undefined (which is not false) */
    const char *json; /* the decision; valid until the session's next evaluation */
    size_t json_len;
    uint64_t eval_ns;
    char message[256]; /* why not, unless REGENT_OK */
};
/* REGENT_OK (also when undefined) or what stopped it. An error is never an answer. */
enum regent_error regent_evaluate(struct regent_session *session,
                                  const struct regent_request *request,
                                  struct regent_result *result);

#ifdef __cplusplus
}
#endif
#endif
