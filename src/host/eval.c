/* One evaluation: input into the sandbox, one call, decision out, by Regent's ABI or by OPA's.
 *
 * in:   eval_request; the module's answer (hostile: every address is checked).
 * out:  eval_result; the decision is a view into the instance's memory, or a copy when that is
 * gone. owns: nothing. */
#include "host/pool.h"
#include <stdio.h>

enum {
    DEFAULT_DEADLINE_US = 1000000,
    DEFAULT_MEMORY_BYTES = 64 << 20,
    DEFAULT_INPUT_BYTES = 16 << 20,
    DEFAULT_RESULT_BYTES = 16 << 20
};

static struct limits limits_fill(struct limits l) {
    if (!l.deadline_us) l.deadline_us = DEFAULT_DEADLINE_US;
    if (!l.memory_bytes) l.memory_bytes = DEFAULT_MEMORY_BYTES;
    if (!l.input_bytes) l.input_bytes = DEFAULT_INPUT_BYTES;
    if (!l.result_bytes) l.result_bytes = DEFAULT_RESULT_BYTES;
    return l;
}

static enum err fail(struct eval_result *r, enum err err, const char *text) {
    snprintf(r->message, sizeof r->message, "%s", text[0] ? text : err_meaning(err));
    return err;
}

static enum err set_fuel(struct instance *i, uint64_t fuel, struct eval_result *r) {
    if (!i->policy->engine->options.fuel)
        return fuel ? fail(r, ERR_INVALID, "fuel is not compiled in (engine_options.fuel)") : OK;
    wasmtime_error_t *error = wasmtime_context_set_fuel(i->context, fuel ? fuel : UINT64_MAX / 2);
    if (!error) return OK;
    wasmtime_error_delete(error);
    return fail(r, ERR_INTERNAL, "fuel could not be set");
}

static enum err set_strict(struct instance *i, bool strict, struct eval_result *r) {
    wasmtime_val_raw_t raw[1] = {{0}};
    if (i->strict == strict) return OK;
    i->strict = strict;
    if (i->set_strict.store_id == 0) return OK;
    raw[0].i32 = strict;
    return instance_call(i, &i->set_strict, raw, 1, r->message, sizeof r->message);
}

/* Input at its place, memory grown for it. */
static enum err place_input(struct instance *i, struct str input, struct eval_result *r) {
    uint64_t end = (uint64_t)i->input_at + input.len + INPUT_SLACK_BYTES;
    enum err err = instance_reserve(i, end);
    if (err) return fail(r, err, "the input does not fit the memory limit");
    if (input.len) memcpy(instance_bytes(i) + i->input_at, input.ptr, input.len);
    return OK;
}

/* regent_eval(entrypoint, input, input_len) → result address | length << 32; 0 when undefined. */
static enum err eval_ours(struct instance *i, const struct eval_request *q, const struct limits *l,
                          struct eval_result *r) {
    wasmtime_val_raw_t raw[3];
    raw[0].i64 = raw[1].i64 = raw[2].i64 = 0;
    raw[0].i32 = (int32_t)q->entrypoint;
    raw[1].i32 = (int32_t)i->input_at;
    raw[2].i32 = (int32_t)q->input.len;
    enum err err = instance_call(i, &i->eval, raw, 3, r->message, sizeof r->message);
    if (err) return err;
    uint64_t word = (uint64_t)raw[0].i64, at = (uint32_t)word, len = word >> 32;
    r->defined = word != 0;
    if (!r->defined) return OK;
    struct memory_view m = instance_memory(i);
    if (at > m.len || len > m.len - at || len == 0)
        return fail(r, ERR_TRAP, "the module gave a result outside its memory");
    if (len > l->result_bytes) return fail(r, ERR_LIMIT, "the result is larger than its limit");
    r->json = (struct str){(const char *)m.bytes + at, (size_t)len};
    return OK;
}

/* OPA's modules take what does not parse for no input, so it is checked here. */
static enum err check_input(struct instance *i, struct str input, struct eval_result *r) {
    struct json *v = NULL;
    struct json_error error = {0};
    if (!input.ptr || json_parse(i->scratch, input, &v, &error) == OK) return OK;
    snprintf(r->message, sizeof r->message, "input is not valid JSON: %u:%u: %s", error.row,
             error.col, error.message ? error.message : "too large");
    return ERR_INPUT;
}

/* [{"result":V}] → V; [] is undefined. */
static enum err unwrap_result(struct instance *i, struct str text, struct eval_result *r) {
    struct json *v = NULL;
    struct json_error error;
    struct str open = STR("[{\"result\":"), close = STR("}]");
    r->defined = false;
    if (str_is(text, "[]")) return OK;
    if (!str_starts(text, open) || !str_ends(text, close) || text.len < open.len + close.len)
        return fail(r, ERR_TRAP, "the module's result is not a set of one result");
    r->json = (struct str){text.ptr + open.len, text.len - open.len - close.len};
    if (json_parse(i->scratch, r->json, &v, &error) != OK)
        return fail(r, ERR_TRAP, "the module's result is not valid JSON");
    r->defined = true;
    return OK;
}

/* opa_eval(0, entrypoint, data, input, input_len, heap_ptr, 0) → 0-terminated text. */
static enum err eval_opa(struct instance *i, const struct eval_request *q, const struct limits *l,
                         struct eval_result *r) {
    wasmtime_val_raw_t raw[7];
    struct str text;
    memset(raw, 0, sizeof raw);
    raw[1].i32 = (int32_t)q->entrypoint;
    raw[2].i32 = (int32_t)i->data_address;
    raw[3].i32 = q->input.ptr ? (int32_t)i->input_at : 0;
    raw[4].i32 = (int32_t)q->input.len;
    raw[5].i32 = (int32_t)((i->input_at + q->input.len + 7) & ~(size_t)7);
    enum err err = instance_call(i, &i->eval, raw, 7, r->message, sizeof r->message);
    if (err) return err;
    if (!memory_c_string(instance_memory(i), (uint32_t)raw[0].i32, &text))
        return fail(r, ERR_TRAP, "the module gave a result outside its memory");
    if (text.len > l->result_bytes)
        return fail(r, ERR_LIMIT, "the result is larger than its limit");
    return unwrap_result(i, text, r);
}

static enum err eval_in(struct instance *i, const struct eval_request *q, const struct limits *l, uint64_t start_ns,
                        struct eval_result *r) {
    bool opa = i->policy->form == MODULE_OPA;
    enum err err;
    i->now_ns = q->now_ns;
    i->seed.drawn = false;
    instance_set_deadline(i, start_ns, l->deadline_us);
    i->deadline.sliced = q->sliced;
    if ((err = set_fuel(i, l->fuel, r)) != OK) return err;
    if ((err = set_strict(i, q->strict_builtin_errors, r)) != OK) return err;
    if ((err = place_input(i, q->input, r)) != OK) return err;
    return opa ? eval_opa(i, q, l, r) : eval_ours(i, q, l, r);
}

/* The decision outlives the instance. */
static enum err keep_result(struct instances *pool, struct eval_result *r) {
    buf_clear(&pool->result);
    buf_put(&pool->result, r->json.ptr, r->json.len);
    r->json = buf_view(&pool->result);
    return pool->result.err;
}

/* Throws the instance away when it failed, was for this call only, or grew large. */
static enum err settle(struct instances *pool, struct instance *i, bool fresh, enum err err,
                       struct eval_result *r) {
    bool drop = fresh || pool_must_drop(i, err != OK);
    if (!drop) {
        pool_put(pool, i, err != OK);
        return err;
    }
    if (!err && r->defined) err = keep_result(pool, r);
    if (fresh)
        instance_free(i);
    else
        pool_drop(pool, i);
    return err;
}

static enum err check_request(const struct eval_request *q, const struct limits *l,
                              struct eval_result *r) {
    if (q->entrypoint >= q->policy->entries.n) return fail(r, ERR_NOT_FOUND, "no such entrypoint");
    if (q->input.ptr && q->input.len == 0) return fail(r, ERR_INPUT, "the input is empty");
    if (q->input.len > l->input_bytes)
        return fail(r, ERR_LIMIT, "the input is larger than its limit");
    return OK;
}

static enum err take(struct instances *pool, const struct eval_request *q, const struct wish *w,
                     struct instance **out, struct eval_result *r) {
    if (!q->fresh_instance) return pool_take(pool, w, out, r->message, sizeof r->message);
    enum err err = instance_new(q->policy, w->limits, false, out, r->message, sizeof r->message);
    if (err) return err;
    (*out)->scratch = &pool->scratch;
    (*out)->cache = pool->cache;
    return OK;
}

/* The evaluation proper, once the request was found right. */
static enum err evaluate(struct instances *pool, const struct eval_request *q, const struct wish *w,
                         uint64_t start_ns, struct eval_result *r) {
    struct instance *i = NULL;
    enum err err = take(pool, q, w, &i, r);
    if (err) return err;
    if (q->policy->form == MODULE_OPA && (err = check_input(i, q->input, r)) != OK) {
        if (q->fresh_instance) instance_free(i);
        return err;
    }
    bool shared = i->shared;
    err = settle(pool, i, q->fresh_instance, eval_in(i, q, w->limits, start_ns, r), r);
    if (!shared || err != ERR_GUEST_MEMORY) return err;
    /* The shared sandbox has less memory than the limit allows: once more, in one that grows. */
    struct wish own = *w;
    own.own = true;
    r->message[0] = 0;
    return evaluate(pool, q, &own, start_ns, r);
}

enum err policy_eval(struct instances *pool, const struct eval_request *q, struct eval_result *r) {
    uint64_t start = clock_ns();
    struct limits l = limits_fill(q->limits);
    struct wish w = {.policy = q->policy, .limits = &l, .input_len = q->input.len};
    r->defined = false;
    r->json = (struct str){NULL, 0};
    r->message[0] = 0;
    enum err err = check_request(q, &l, r);
    if (!err) err = evaluate(pool, q, &w, start, r);
    if (err) {
        r->defined = false;
        r->json = (struct str){NULL, 0};
    }
    if (pool->scratch.used_bytes) arena_reset(&pool->scratch);
    r->eval_ns = clock_ns() - start;
    return err;
}
