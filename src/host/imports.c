/* What a module may call: env.opa_abort, env.opa_println and env.opa_builtin0..4, defined once in
 * the linker.
 *
 * in:   raw arguments from the sandbox (hostile); the instance is the store's data.
 * out:  a word in the sandbox's memory, or a trap with instance.stopped and instance.message set.
 * owns: nothing; what builtins allocate lies in instance.scratch. */
#include "host/instance.h"
#include "host/value.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    LARGE_BYTES = 16 << 10, /* below, builtins take some 100 us at most */
    ITEM_BYTES = 32,
    NS_A_BYTE = 20 /* what the slower ones reach: 50 MB/s */
};

static struct instance *caller_instance(wasmtime_caller_t *caller) {
    return wasmtime_context_get_data(wasmtime_caller_context(caller));
}

/* "<word>: …" with a word of err.def, or one of OPA's own abort messages. */
static enum err abort_meaning(struct str message) {
    static const enum err words[] = {ERR_TYPE,         ERR_CONFLICT, ERR_BUILTIN, ERR_TYPE,
                                     ERR_GUEST_MEMORY, ERR_INPUT,    ERR_STACK,   ERR_LIMIT,
                                     ERR_NOT_FOUND,    ERR_INTERNAL, ERR_INVALID, ERR_UNSUPPORTED,
                                     ERR_TRAP,         ERR_MEMORY};
    for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
        struct str word = str_of(err_word(words[k]));
        if (str_starts(message, word) && message.len > word.len && message.ptr[word.len] == ':')
            return words[k] == ERR_MEMORY ? ERR_GUEST_MEMORY : words[k];
    }
    if (str_ends(message, STR("assignment conflict")) || str_ends(message, STR("insert conflict")))
        return ERR_CONFLICT;
    if (str_is(message, "opa_malloc: failed")) return ERR_GUEST_MEMORY;
    return ERR_TRAP;
}

static wasm_trap_t *stop(struct instance *i, enum err err, struct str message) {
    i->stopped = err;
    snprintf(i->message, sizeof i->message, "%.*s", (int)(message.len < 250 ? message.len : 250),
             message.ptr);
    return wasmtime_trap_new("stopped by the host", 19);
}

static wasm_trap_t *import_abort(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *raw,
                                 size_t n) {
    (void)env, (void)n;
    struct instance *i = caller_instance(caller);
    struct str message = STR("trap: aborted with a message outside its memory");
    memory_c_string(instance_memory(i), (uint32_t)raw[0].i32, &message);
    return stop(i, abort_meaning(message), message);
}

/* What a policy prints is not ours to show: tenants would write into the node's log. */
static wasm_trap_t *import_println(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *raw,
                                   size_t n) {
    (void)env, (void)caller, (void)raw, (void)n;
    return NULL;
}

static int64_t evaluation_now(struct instance *i) {
    if (i->now_ns == 0) i->now_ns = (int64_t)clock_of(CLOCK_REALTIME);
    return i->now_ns;
}

/* A sandbox's own trap inside opa_json_dump and the like has already said why in i->message. */
static wasm_trap_t *fail_call(struct instance *i, enum err err, const char *name) {
    char text[128];
    if (i->stopped) return wasmtime_trap_new("stopped by the host", 19);
    int n = snprintf(text, sizeof text, "%s: %s: %s", err_word(err), name, err_meaning(err));
    return stop(i, err == ERR_MEMORY ? ERR_GUEST_MEMORY : err, (struct str){text, (size_t)n});
}

/* opa_builtinN(id, ctx, arguments…) → address of the result, 0: undefined. */
/* Bytes and items at the top of the arguments: what a builtin's time grows with. */
static uint64_t arguments_size(struct json *const *args, uint32_t n) {
    uint64_t size = 0;
    for (uint32_t k = 0; k < n; k++) size += args[k]->text.len + (uint64_t)args[k]->n * ITEM_BYTES;
    return size;
}

/* Whose time does not follow from the size of what they are given. */
static bool takes_long(const char *name) {
    static const char *const names[] = {"net.cidr_expand",           "net.cidr_merge",
                                        "io.jwt.encode_sign",        "io.jwt.encode_sign_raw",
                                        "crypto.parse_private_keys", "crypto.x509.parse_rsa_private_key"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (strcmp(name, names[k]) == 0) return true;
    return strncmp(name, "crypto.x509.parse_and_verify", 28) == 0;
}

/* A native builtin cannot be stopped by the epoch. One that a slice has no time for is not begun: the request goes to a
 * lane, which has the whole deadline. There, a large one is not begun after the deadline. */
static bool out_of_time(struct instance *i, const struct host_builtin *b, struct json *const *args, uint32_t n) {
    bool slice = i->deadline.sliced;
    uint64_t size = arguments_size(args, n), left = 0;
    if (slice && takes_long(b->name)) return true;
    if (size < LARGE_BYTES) return false;
    return instance_late(i, &left) || (slice && size * NS_A_BYTE > left);
}

static wasm_trap_t *import_builtin(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *raw,
                                   size_t n) {
    (void)env;
    struct instance *i = caller_instance(caller);
    const struct host_builtin *b = policy_find_builtin(i->policy, raw[0].i32);
    struct json *args[4];
    struct builtin_call call = {
        .arena = i->scratch, .cache = i->cache, .args = args,
                                .seed = &i->seed, .now_ns = evaluation_now(i)};
    enum err err = OK;
    if (!b || !i->scratch)
        return stop(i, ERR_TRAP, STR("trap: call of a builtin that the module does not list"));
    for (size_t k = 2; k < n && k < 6 && !err; k++) {
        if (guest_is_set(i, (uint32_t)raw[k].i32)) call.set_args |= 1u << call.n_args;
        err = guest_read(i, (uint32_t)raw[k].i32, i->scratch, &args[call.n_args++]);
    }
    if (!err && out_of_time(i, b, args, call.n_args))
        return stop(i, ERR_DEADLINE, str_of(err_meaning(ERR_DEADLINE)));
    if (!err) err = b->run(&call);
    if (err) return fail_call(i, err, b->name);
    if (call.error && i->strict) {
        enum err failure = call.type_error ? ERR_TYPE : ERR_BUILTIN;
        size_t len = 0;
        char *text =
            arena_printf(i->scratch, &len, "%s: %s: %s", err_word(failure), b->name, call.error);
        return text ? stop(i, failure, (struct str){text, len}) : fail_call(i, ERR_MEMORY, b->name);
    }
    uint32_t address = 0;
    if (call.result && (err = guest_write(i, call.result, call.result_is_set, &address)) != OK)
        return fail_call(i, err, b->name);
    raw[0].i32 = (int32_t)address;
    return NULL;
}

static bool define(wasmtime_linker_t *linker, const char *name, size_t n_params, bool result,
                   wasmtime_func_unchecked_callback_t run) {
    wasm_valtype_t *params[6], *results[1];
    wasm_valtype_vec_t p, r;
    for (size_t k = 0; k < n_params; k++) params[k] = wasm_valtype_new(WASM_I32);
    results[0] = result ? wasm_valtype_new(WASM_I32) : NULL;
    wasm_valtype_vec_new(&p, n_params, params);
    wasm_valtype_vec_new(&r, result ? 1 : 0, results);
    wasm_functype_t *type = wasm_functype_new(&p, &r);
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
        linker, "env", 3, name, strlen(name), type, run, NULL, NULL);
    wasm_functype_delete(type);
    if (error) wasmtime_error_delete(error);
    return !error;
}

bool imports_define(wasmtime_linker_t *linker) {
    return define(linker, "opa_abort", 1, false, import_abort) &&
           define(linker, "opa_println", 1, false, import_println) &&
           define(linker, "opa_builtin0", 2, true, import_builtin) &&
           define(linker, "opa_builtin1", 3, true, import_builtin) &&
           define(linker, "opa_builtin2", 4, true, import_builtin) &&
           define(linker, "opa_builtin3", 5, true, import_builtin) &&
           define(linker, "opa_builtin4", 6, true, import_builtin);
}
