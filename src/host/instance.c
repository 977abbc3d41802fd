/* Makes a sandbox: store, memory, runtime or module, data in place; calls into it and names what
 * stopped it.
 *
 * in:   a policy and limits.
 * out:  struct instance, ready to evaluate.
 * owns: the store with all that lies in it, and one use of the policy. */
#include "host/instance.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_TABLE_ELEMENTS = 20000,
    MAX_STORE_ITEMS = 4,
    NEAR_LIMIT_BYTES = 1 << 20,
    LINKED_AT_ONCE = 64 /* imports that need no allocation */
};

struct memory_view instance_memory(struct instance *i) {
    return (struct memory_view){wasmtime_memory_data(i->context, &i->memory),
                                wasmtime_memory_data_size(i->context, &i->memory)};
}

uint8_t *instance_bytes(struct instance *i) { return wasmtime_memory_data(i->context, &i->memory); }

bool memory_c_string(struct memory_view m, uint32_t address, struct str *out) {
    if (address >= m.len) return false;
    const uint8_t *start = m.bytes + address, *end = memchr(start, 0, (size_t)(m.len - address));
    if (!end) return false;
    *out = (struct str){(const char *)start, (size_t)(end - start)};
    return true;
}

void instance_limit_memory(struct instance *i, uint64_t bytes) {
    i->memory_limit = bytes;
    /* A shared sandbox takes one instance of each tenant's code; how many is its own to limit. */
    wasmtime_store_limiter(i->store, (int64_t)bytes, MAX_TABLE_ELEMENTS, i->shared ? -1 : MAX_STORE_ITEMS,
                           MAX_STORE_ITEMS, MAX_STORE_ITEMS);
}

enum err instance_reserve(struct instance *i, uint64_t bytes) {
    uint64_t have = wasmtime_memory_data_size(i->context, &i->memory), before;
    if (bytes <= have) return OK;
    uint64_t pages = (bytes - have + WASM_PAGE_BYTES - 1) / WASM_PAGE_BYTES;
    wasmtime_error_t *error = wasmtime_memory_grow(i->context, &i->memory, pages, &before);
    if (!error) return OK;
    wasmtime_error_delete(error);
    return ERR_GUEST_MEMORY;
}

/* ---- what stopped a call ---- */

static enum err trap_name(struct instance *i, const wasm_trap_t *trap) {
    wasmtime_trap_code_t code;
    if (!wasmtime_trap_code(trap, &code)) return ERR_TRAP;
    switch (code) {
    case WASMTIME_TRAP_CODE_INTERRUPT: return ERR_DEADLINE;
    case WASMTIME_TRAP_CODE_OUT_OF_FUEL: return ERR_FUEL;
    case WASMTIME_TRAP_CODE_STACK_OVERFLOW: return ERR_STACK;
    case WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED:
        /* An allocator that was refused a page has no better word than unreachable. */
        if (wasmtime_memory_data_size(i->context, &i->memory) + NEAR_LIMIT_BYTES > i->memory_limit)
            return ERR_GUEST_MEMORY;
        return ERR_TRAP;
    default: return ERR_TRAP;
    }
}

/* wasmtime's text is a backtrace and then "Caused by:" with the reason; the reason's first line is
 * wanted. */
static void take_message(wasm_byte_vec_t *m, char *text, size_t text_bytes) {
    struct str all = {m->data, m->size}, marker = STR("Caused by:");
    for (size_t k = 0; k + marker.len < all.len; k++)
        if (str_starts(str_from(all, k), marker)) all = str_from(all, k + marker.len);
    while (all.len > 0 && (*all.ptr == ' ' || *all.ptr == '\n' ||
                           (*all.ptr >= '0' && *all.ptr <= '9') || *all.ptr == ':'))
        all = str_from(all, 1);
    size_t n = 0;
    while (n < all.len && n < 200 && all.ptr[n] != '\n' && all.ptr[n] != 0) n++;
    snprintf(text, text_bytes, "%.*s", (int)n, n ? all.ptr : "");
    wasm_byte_vec_delete(m);
}

/* What a host function said when it stopped the module. */
static enum err name_stop(struct instance *i, char *text, size_t text_bytes) {
    snprintf(text, text_bytes, "%s", i->message);
    return i->stopped;
}

static enum err name_trap(struct instance *i, wasm_trap_t *trap, char *text, size_t text_bytes) {
    enum err err = i->stopped ? name_stop(i, text, text_bytes) : trap_name(i, trap);
    if (!i->stopped && err != ERR_TRAP) snprintf(text, text_bytes, "%s", err_meaning(err));
    if (!i->stopped && err == ERR_TRAP) {
        wasm_message_t m;
        wasm_trap_message(trap, &m);
        take_message(&m, text, text_bytes);
    }
    wasm_trap_delete(trap);
    return err;
}

/* wasmtime gives a host function's trap back as an error. */
static enum err name_error(struct instance *i, wasmtime_error_t *error, char *text,
                           size_t text_bytes) {
    wasm_byte_vec_t m;
    enum err err = i->stopped ? name_stop(i, text, text_bytes) : ERR_TRAP;
    wasmtime_error_message(error, &m);
    if (i->stopped)
        wasm_byte_vec_delete(&m);
    else
        take_message(&m, text, text_bytes);
    wasmtime_error_delete(error);
    return err;
}

enum err instance_call(struct instance *i, const wasmtime_func_t *f, wasmtime_val_raw_t *raw,
                       size_t n_args, char *text, size_t text_bytes) {
    wasm_trap_t *trap = NULL;
    i->stopped = OK;
    wasmtime_error_t *error =
        wasmtime_func_call_unchecked(i->context, f, raw, n_args ? n_args : 1, &trap);
    if (!error && !trap) return OK;
    if (trap) return name_trap(i, trap, text, text_bytes);
    return name_error(i, error, text, text_bytes);
}

/* ---- how long it may take ---- */

void instance_set_deadline(struct instance *i, uint64_t start_ns, uint64_t max_us) {
    if (max_us > UINT64_MAX / 1000 / WALL_FACTOR) max_us = UINT64_MAX / 1000 / WALL_FACTOR;
    i->deadline = (struct deadline){.start_ns = start_ns, .max_ns = max_us * 1000};
    wasmtime_context_set_epoch_deadline(i->context, 1);
    engine_want_ticks(i->engine);
}

bool instance_late(struct instance *i, uint64_t *left_ns) {
    struct deadline *d = &i->deadline;
    uint64_t wall = clock_ns() - d->start_ns, used = clock_of(CLOCK_THREAD_CPUTIME_ID);
    if (!d->ticked) { /* what was used before the first tick is taken for the wall's time, a tick at most */
        uint64_t tick = (uint64_t)i->engine->options.tick_us * 1000, before = wall < tick ? wall : tick;
        d->used_from_ns = used > before ? used - before : 0;
        d->ticked = true;
    }
    used -= d->used_from_ns;
    *left_ns = used < d->max_ns ? d->max_ns - used : 0;
    return used >= d->max_ns || wall >= WALL_FACTOR * d->max_ns + WALL_SLACK_NS;
}

/* wasmtime asks at the tick that was set; most evaluations are over before the first. */
static wasmtime_error_t *deadline_tick(wasmtime_context_t *context, void *data, uint64_t *ticks,
                                       wasmtime_update_deadline_kind_t *kind) {
    struct instance *i = data;
    uint64_t left, tick = (uint64_t)i->engine->options.tick_us * 1000;
    (void)context;
    if (instance_late(i, &left)) {
        i->stopped = ERR_DEADLINE;
        snprintf(i->message, sizeof i->message, "%s", err_meaning(ERR_DEADLINE));
        return wasmtime_error_new("deadline");
    }
    *ticks = left > 2 * tick ? left / tick : 1;
    if (*ticks > TICKS_AT_MOST) *ticks = TICKS_AT_MOST;
    engine_want_ticks(i->engine);
    *kind = WASMTIME_UPDATE_DEADLINE_CONTINUE;
    return NULL;
}

/* ---- making one ---- */

/* wasmtime_func_call_unchecked trusts its caller, so an export counts only with the exact type
 * expected: n i32 parameters and one result of the given kind, or none (kind -1). */
static bool type_is(struct instance *i, const wasmtime_func_t *f, size_t n, int result) {
    wasm_functype_t *type = wasmtime_func_type(i->context, f);
    const wasm_valtype_vec_t *params = wasm_functype_params(type);
    const wasm_valtype_vec_t *results = wasm_functype_results(type);
    bool ok = params->size == n && results->size == (result >= 0 ? 1 : 0);
    for (size_t k = 0; ok && k < n; k++) ok = wasm_valtype_kind(params->data[k]) == WASM_I32;
    if (ok && result >= 0) ok = wasm_valtype_kind(results->data[0]) == result;
    wasm_functype_delete(type);
    return ok;
}

bool instance_export(struct instance *i, const wasmtime_instance_t *from, const char *name, size_t n_params,
                     int result, wasmtime_func_t *out) {
    wasmtime_extern_t item;
    out->store_id = 0;
    if (!wasmtime_instance_export_get(i->context, from, name, strlen(name), &item)) return true;
    if (item.kind != WASMTIME_EXTERN_FUNC) return false;
    /* Types belong to the code: they are checked with its first instance. The runtime is ours. */
    if (from != &i->base && !(i->policy && i->policy->code->checked) &&
        !type_is(i, &item.of.func, n_params, result))
        return false;
    *out = item.of.func;
    return true;
}

bool instance_find(struct instance *i, const char *name, size_t n_params, int result,
                   wasmtime_func_t *out) {
    if (!instance_export(i, &i->code, name, n_params, result, out)) return false;
    return out->store_id || i->policy->form != MODULE_THIN ||
           instance_export(i, &i->base, name, n_params, result, out);
}

enum err instance_find_runtime(struct instance *i) {
    return instance_export(i, &i->base, "opa_malloc", 1, WASM_I32, &i->malloc) && i->malloc.store_id &&
                   instance_export(i, &i->base, "opa_json_parse", 2, WASM_I32, &i->json_parse) &&
                   i->json_parse.store_id &&
                   instance_export(i, &i->base, "opa_json_dump", 1, WASM_I32, &i->json_dump) &&
                   i->json_dump.store_id &&
                   instance_export(i, &i->base, "opa_value_parse", 2, WASM_I32, &i->value_parse) &&
                   instance_export(i, &i->base, "regent_set_strict", 1, -1, &i->set_strict)
               ? OK
               : ERR_ABI;
}

static bool find_functions(struct instance *i) {
    bool ours = i->policy->form != MODULE_OPA;
    /* Most modules leave all but eval to the runtime. */
    if (i->policy->form == MODULE_THIN && i->policy->code->stateless)
        return instance_export(i, &i->code, "regent_eval", 3, WASM_I64, &i->eval) && i->eval.store_id &&
               instance_find_runtime(i) == OK;
    bool ok = (ours ? instance_find(i, "regent_eval", 3, WASM_I64, &i->eval)
                    : instance_find(i, "opa_eval", 7, WASM_I32, &i->eval)) &&
              instance_find(i, "opa_malloc", 1, WASM_I32, &i->malloc) &&
              instance_find(i, "opa_json_parse", 2, WASM_I32, &i->json_parse) &&
              instance_find(i, "opa_json_dump", 1, WASM_I32, &i->json_dump) &&
              instance_find(i, "opa_value_parse", 2, WASM_I32, &i->value_parse) &&
              instance_find(i, "regent_set_strict", 1, -1, &i->set_strict) &&
              instance_find(i, "opa_heap_ptr_get", 0, WASM_I32, &i->heap_get) &&
              instance_find(i, "opa_heap_ptr_set", 1, -1, &i->heap_set);
    return ok && i->eval.store_id && i->malloc.store_id && i->json_parse.store_id && i->json_dump.store_id &&
           (ours || (i->heap_get.store_id && i->heap_set.store_id));
}

static enum err find_exports(struct instance *i, char *text, size_t text_bytes) {
    if (find_functions(i)) return OK;
    snprintf(text, text_bytes, "the module lacks exports of %s, or they have other types",
             i->policy->form != MODULE_OPA ? "Regent's ABI 1" : "OPA's ABI 1.2");
    return ERR_ABI;
}

enum err instance_link(struct instance *i, const struct code *code, const wasmtime_extern_t *items,
                       wasmtime_instance_t *out, char *text, size_t text_bytes) {
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_instance_new(i->context, code->module, items, code->n_imports, out, &trap);
    if (trap) return name_trap(i, trap, text, text_bytes);
    if (!error) return OK;
    enum err err = name_error(i, error, text, text_bytes);
    return i->stopped ? err : ERR_ABI;
}

/* The runtime imports env.* only; the memory module nothing. */
static enum err make_base(struct instance *i, const struct code *base, char *text, size_t text_bytes) {
    wasmtime_extern_t item;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = wasmtime_instance_pre_instantiate(base->pre, i->context, &i->base, &trap);
    if (trap) return name_trap(i, trap, text, text_bytes);
    if (error) { /* the pool has no room left, or the limit is below the runtime's own memory */
        enum err err = name_error(i, error, text, text_bytes);
        return i->stopped ? err : ERR_MEMORY;
    }
    if (!wasmtime_instance_export_get(i->context, &i->base, "memory", 6, &item)) return ERR_INTERNAL;
    i->memory = item.of.memory;
    return OK;
}

bool instance_offer(struct instance *i, uint16_t n, wasmtime_extern_t *out) {
    const struct offers *o = &i->engine->offers;
    struct str name = o->names[n];
    if (n == OFFER_MEMORY) {
        *out = (wasmtime_extern_t){.kind = WASMTIME_EXTERN_MEMORY, .of.memory = i->memory};
        return true;
    }
    if (offer_is_env(o, n))
        return wasmtime_linker_get(i->engine->linker, i->context, "env", 3, name.ptr, name.len, out);
    return wasmtime_instance_export_get(i->context, &i->base, name.ptr, name.len, out);
}

static enum err make_code(struct instance *i, char *text, size_t text_bytes) {
    const struct code *c = i->policy->code;
    wasmtime_extern_t few[LINKED_AT_ONCE];
    wasmtime_extern_t *items = c->n_imports <= LINKED_AT_ONCE ? few : calloc(c->n_imports, sizeof *items);
    enum err err = items ? OK : ERR_MEMORY;
    for (uint32_t k = 0; k < c->n_imports && !err; k++)
        if (!instance_offer(i, c->imports[k], &items[k])) err = ERR_ABI;
    if (!err) err = instance_link(i, c, items, &i->code, text, text_bytes);
    if (items != few) free(items);
    return err;
}

void instance_trim(struct instance *i) {
    const struct offers *o = &i->engine->offers;
    struct memory_view m = instance_memory(i);
    uint8_t *bytes = instance_bytes(i);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), lo = o->data_at / page * page;
    uint64_t hi = (o->data_at + o->data.len + page - 1) / page * page;
    if (!o->resettable || m.len < hi) return;
    madvise(bytes, lo, MADV_DONTNEED);
    madvise(bytes + hi, m.len - hi, MADV_DONTNEED);
}

enum err instance_place_image(struct instance *i) {
    const struct policy *p = i->policy;
    enum err err = instance_reserve(i, (uint64_t)p->heap_base + WASM_PAGE_BYTES);
    if (err) return err;
    uint8_t *bytes = instance_bytes(i);
    memcpy(bytes + p->segments.base, p->segments.bytes.ptr, p->segments.bytes.len);
    if (p->data.bytes.len) memcpy(bytes + p->data.base, p->data.bytes.ptr, p->data.bytes.len);
    i->input_at = p->heap_base;
    return OK;
}

/* opa_malloc, write, opa_json_parse; the heap then starts after it. */
static enum err parse_data(struct instance *i, char *text, size_t text_bytes) {
    struct str data = i->policy->data_text;
    wasmtime_val_raw_t raw[2] = {{0}, {0}};
    enum err err;
    if (data.len > INT32_MAX) return ERR_LIMIT;
    raw[0].i32 = (int32_t)data.len;
    if ((err = instance_call(i, &i->malloc, raw, 1, text, text_bytes)) != OK) return err;
    uint32_t at = (uint32_t)raw[0].i32;
    struct memory_view m = instance_memory(i);
    if (at > m.len || data.len > m.len - at) return ERR_INVALID;
    memcpy(instance_bytes(i) + at, data.ptr, data.len);
    raw[0].i32 = (int32_t)at;
    raw[1].i32 = (int32_t)data.len;
    if ((err = instance_call(i, &i->json_parse, raw, 2, text, text_bytes)) != OK) return err;
    i->data_address = (uint32_t)raw[0].i32;
    if ((err = instance_call(i, &i->heap_get, raw, 0, text, text_bytes)) != OK) return err;
    i->input_at = (uint32_t)raw[0].i32;
    return OK;
}

enum err instance_open(struct instance *i, struct code *base, const struct limits *limits, char *text,
                       size_t text_bytes) {
    i->store = wasmtime_store_new(i->engine->wasm, NULL, NULL);
    i->context = wasmtime_store_context(i->store);
    instance_limit_memory(i, limits->memory_bytes);
    wasmtime_context_set_data(i->context, i);
    wasmtime_store_epoch_deadline_callback(i->store, deadline_tick, i, NULL);
    instance_set_deadline(i, clock_ns(), limits->deadline_us);
    if (i->engine->options.fuel) {
        wasmtime_error_t *error = wasmtime_context_set_fuel(i->context, UINT64_MAX / 2);
        if (error) wasmtime_error_delete(error);
    }
    return make_base(i, base, text, text_bytes);
}

void instance_close(struct instance *i) {
    if (i->store) wasmtime_store_delete(i->store);
    if (i->policy) policy_unuse(i->policy);
}

static enum err instance_make(struct instance *i, const struct limits *limits, bool lean, char *text,
                              size_t text_bytes) {
    const struct policy *p = i->policy;
    enum err err;
    if ((err = instance_open(i, p->base, limits, text, text_bytes)) != OK) return err;
    if (lean && p->form == MODULE_THIN) instance_trim(i);
    if ((err = instance_reserve(i, p->memory_pages * WASM_PAGE_BYTES)) != OK) return err;
    if ((err = make_code(i, text, text_bytes)) != OK) return err;
    if ((err = find_exports(i, text, text_bytes)) != OK) return err;
    err = p->form == MODULE_OPA ? parse_data(i, text, text_bytes) : instance_place_image(i);
    i->base_bytes = instance_memory(i).len;
    return err;
}

enum err instance_new(struct policy *p, const struct limits *limits, bool lean, struct instance **out,
                      char *text, size_t text_bytes) {
    struct instance *i = calloc(1, sizeof *i);
    if (!i) return ERR_MEMORY;
    policy_use(p);
    i->policy = p;
    i->engine = p->engine;
    atomic_fetch_add_explicit(&i->engine->counts.instances_created, 1, memory_order_relaxed);
    enum err err = instance_make(i, limits, lean, text, text_bytes);
    if (err) {
        if (!text[0]) snprintf(text, text_bytes, "%s", err_meaning(err));
        instance_free(i);
        return err;
    }
    *out = i;
    return OK;
}

void instance_free(struct instance *i) {
    if (!i) return;
    atomic_fetch_add_explicit(&i->engine->counts.instances_freed, 1, memory_order_relaxed);
    instance_close(i);
    free(i);
}
