/* Inside of the host: the engine with its ticker and linker, and the cache of compiled code. */
#ifndef REGENT_HOST_ENGINE_H
#define REGENT_HOST_ENGINE_H
#include "host/host.h"
#include "base/clock.h"
#include "host/offers.h"
#include <pthread.h>
#include <stdatomic.h>
#include <wasmtime.h>

enum { CODE_BUCKETS = 1024, CODE_KEY_BYTES = 32, DEFAULT_TICK_US = 1000, DEFAULT_INSTANCES = 4096 };
enum { STACK_LIMIT_BYTES = 512 * 1024, GUARD_BYTES = 32 << 20 };

/* Compiled code, shared by all policies whose modules differ in data only. */
struct code {
    struct code *next; /* in its bucket */
    uint8_t key[CODE_KEY_BYTES];
    uint32_t refs;         /* under engine.code_lock */
    atomic_uint policies;  /* how many of them are policies: 0, and only sandboxes still hold it */
    bool ready;            /* false: another thread is compiling it */
    wasmtime_module_t *module;
    wasmtime_instance_pre_t *pre; /* of the runtime and the memory module, whose imports are env's; else NULL */
    uint64_t bytes;        /* of machine code */
    const uint8_t *text;   /* its instructions; NULL: not found */
    size_t text_bytes;
    bool stateless;        /* as module_info.stateless */
    uint32_t n_imports;
    uint16_t *imports;     /* numbers in engine.offers */
    atomic_bool checked;   /* an instance was made of it, with exports of the right types */
};

struct engine {
    wasm_engine_t *wasm;
    wasmtime_linker_t *linker;     /* env.opa_abort, env.opa_println, env.opa_builtin0..4 */
    struct engine_options options; /* defaults filled in; cache_dir is ours */
    struct offers offers;
    char settings[160];            /* what compiled code depends on besides the module */
    int pagemap;                   /* /proc/self/pagemap, whose PAGEMAP_SCAN works; else -1 */
    atomic_uint_fast64_t retired;  /* policies whose last handle was given back, ever */
    struct compile_room *room; /* compile.c's */
    pthread_t ticker;
    atomic_bool wanted; /* an evaluation began, or goes on, since the ticker last looked */
    atomic_bool parked; /* nothing ran for a while, so the ticker sleeps; changed under stop_lock */
    bool stopping;      /* under stop_lock */
    pthread_mutex_t stop_lock;
    pthread_cond_t stop;
    pthread_mutex_t code_lock;
    pthread_cond_t code_ready;
    struct code *buckets[CODE_BUCKETS];
    uint8_t mac_key[32]; /* authenticates files in cache_dir */
    bool has_disk;
    atomic_uint_fast64_t next_policy_id;
    struct {
        atomic_uint_fast64_t instances_created, instances_freed, instances_evicted;
        atomic_uint_fast64_t code_from[3]; /* CODE_COMPILED … of policy_stats */
    } counts;
};

/* Before each evaluation, and now and then during it: the epoch has to tick. Costs a read while evaluations follow each
 * other. */
void engine_unpark(struct engine *e);
static inline void engine_want_ticks(struct engine *e) {
    if (atomic_load_explicit(&e->wanted, memory_order_relaxed)) return;
    atomic_store(&e->wanted, true); /* before looking at parked, as the ticker does it the other way round */
    if (atomic_load(&e->parked)) engine_unpark(e);
}
enum { TICKS_AT_MOST = 100 /* between two calls during an evaluation; the ticker looks after twice as many */ };

/* Where code came from and how long that took. */
struct code_origin {
    int from; /* CODE_COMPILED … of policy_stats */
    uint64_t compile_us;
};
/* The compiled form of a module (data and custom sections taken off): memory, then disk, then compile, for at most
 * max_compile_us (0: as long as it takes). One more policy holds it. ERR_INVALID with wasmtime's sentence in *message,
 * ERR_ABI for imports that nobody offers, ERR_LIMIT, ERR_MEMORY. */
MUST_USE enum err code_acquire(struct engine *e, const struct module_info *info, uint64_t max_compile_us,
                               struct code **out, struct code_origin *origin, struct load_message *message);
void code_release(struct engine *e, struct code *c);
/* For sandboxes: keeps code that a policy holds, also when that policy goes. */
void code_hold(struct engine *e, struct code *c);
void code_drop(struct engine *e, struct code *c);
/* A hint: its instructions will run soon. */
void code_fetch(const struct code *c);
void code_free(struct code *c); /* whatever its counts are: when the engine goes */
struct str runtime_module(void);
/* The runtime that thin modules import, and a module that does nothing but export a memory. */
MUST_USE enum err code_runtime(struct engine *e, struct code **out, struct load_message *message);
MUST_USE enum err code_memory(struct engine *e, struct code **out, struct load_message *message);

/* compile.c: what compilations share. compile_room_leave: false when some that were given up still use the engine, so
 * that it must not be freed. */
struct compile_room *compile_room_new(void);
bool compile_room_leave(struct compile_room *room);
/* ERR_INVALID with wasmtime's sentence; ERR_LIMIT when it took longer than max_us (0: no limit) of a
 * processor's time; ERR_OVERLOAD while too many compilations are still running that were given up. */
MUST_USE enum err code_compile(struct engine *e, struct str wasm, uint64_t max_us, wasmtime_module_t **out,
                          struct load_message *message);

/* config.c: defaults for what is 0, and wasmtime's configuration for filled options. */
void engine_options_fill(struct engine_options *o);
wasm_config_t *engine_config_new(const struct engine_options *o);

/* cache_dir: files with a MAC under a key that only this node has. */
bool disk_open(struct engine *e);
wasmtime_module_t *disk_load(struct engine *e, const uint8_t key[CODE_KEY_BYTES]);
void disk_store(struct engine *e, const uint8_t key[CODE_KEY_BYTES], const wasmtime_module_t *m);

/* Writes a sentence into m (which may be NULL). */
void load_say(struct load_message *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Takes wasmtime's error (deleting it) as text. */
void load_say_error(struct load_message *m, const char *what, wasmtime_error_t *error);

#endif
