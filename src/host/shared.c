/* A sandbox that serves one policy after another, with nothing left between them.
 *
 * in:   policies whose code keeps no state of its own.
 * out:  a struct instance, bound to one of them.
 * owns: store, runtime, memory, a link and a hold on each code it was given. */
#include "host/shared.h"
#include "host/pages.h"
#include <stdlib.h>
#include <sys/mman.h>

enum {
    FIRST_BUCKETS = 64,
    CHECK_EVERY = 256, /* links made until dead ones are counted */
    SPANS = 64,
    HEAP_BYTES = 128 << 10, /* left free behind image and input, at least */
    INPUT_FACTOR = 3        /* what a parsed input may take */
};

/* The code of some policies, instantiated in the sandbox. */
struct link {
    struct link *chain;
    struct code *code; /* held */
    wasmtime_func_t eval;
};

struct shared {
    struct instance in;
    struct code *base; /* held as by a policy */
    struct link **buckets;
    uint32_t n_links, mask, until_check, n_dead;
    wasmtime_extern_t *offers; /* by number; `known` tells which were looked up */
    bool *known;
    wasmtime_extern_t *items; /* of the link being made */
    uint32_t cap_items;
    wasmtime_global_t stack_pointer;
    wasmtime_val_t stack_top;
    bool spoiled;
};

/* ---- birth and death ---- */

static bool find_stack_pointer(struct shared *s) {
    static const char name[] = "__stack_pointer";
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(s->in.context, &s->in.base, name, sizeof name - 1, &item)) return false;
    if (item.kind != WASMTIME_EXTERN_GLOBAL) return false;
    s->stack_pointer = item.of.global;
    wasmtime_global_get(s->in.context, &s->stack_pointer, &s->stack_top);
    return true;
}

static enum err shared_make(struct shared *s, char *text, size_t text_bytes) {
    struct limits limits = {.deadline_us = 1000000, .memory_bytes = SHARED_BYTES};
    struct load_message message = {{0}};
    enum err err = code_runtime(s->in.engine, &s->base, &message);
    if (err) return err;
    if ((err = instance_open(&s->in, s->base, &limits, text, text_bytes)) != OK) return err;
    if ((err = instance_reserve(&s->in, SHARED_BYTES)) != OK) return err;
    if ((err = instance_find_runtime(&s->in)) != OK) return err;
    if (!s->in.engine->offers.resettable || !find_stack_pointer(s)) return ERR_INTERNAL;
    s->in.base_bytes = SHARED_BYTES;
    instance_trim(&s->in);
    return OK;
}

enum err shared_new(struct engine *e, struct shared **out, char *text, size_t text_bytes) {
    struct shared *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->in.engine = e;
    s->in.shared = true;
    s->mask = FIRST_BUCKETS - 1;
    s->until_check = CHECK_EVERY;
    s->buckets = calloc(FIRST_BUCKETS, sizeof *s->buckets);
    s->offers = calloc(e->offers.n, sizeof *s->offers);
    s->known = calloc(e->offers.n, sizeof *s->known);
    enum err err = s->buckets && s->offers && s->known ? shared_make(s, text, text_bytes) : ERR_MEMORY;
    if (err) {
        shared_free(s);
        return err;
    }
    *out = s;
    return OK;
}

void shared_free(struct shared *s) {
    if (!s) return;
    instance_close(&s->in);
    for (uint32_t i = 0; s->buckets && i <= s->mask; i++) {
        for (struct link *l = s->buckets[i], *next; l; l = next) {
            next = l->chain;
            code_drop(s->in.engine, l->code);
            free(l);
        }
    }
    code_release(s->in.engine, s->base);
    free(s->buckets);
    free(s->offers);
    free(s->known);
    free(s->items);
    free(s);
}

/* ---- setting back ---- */

static void set_back(struct shared *s, uint8_t *start, size_t len) {
    const struct offers *o = &s->in.engine->offers;
    uint8_t *memory = instance_bytes(&s->in);
    size_t at = (size_t)(start - memory), lo = o->data_at, hi = lo + o->data.len;
    memset(start, 0, len);
    size_t from = at > lo ? at : lo, to = at + len < hi ? at + len : hi;
    if (from < to) memcpy(memory + from, o->data.ptr + (from - lo), to - from);
}

/* Only what the kernel says was written; false: it does not say. */
static bool set_back_written(struct shared *s) {
    uint8_t *start = instance_bytes(&s->in), *end = start + SHARED_BYTES;
    struct page_span spans[SPANS];
    size_t n = 0;
    if (s->in.engine->pagemap < 0) return false;
    while (start < end) {
        start = pages_written(s->in.engine->pagemap, start, (size_t)(end - start), spans, SPANS, &n);
        if (!start) return false;
        for (size_t i = 0; i < n; i++) set_back(s, spans[i].start, spans[i].len);
    }
    return true;
}

/* All of it: the kernel gives fresh pages where they are touched again. */
static bool set_back_all(struct shared *s) {
    const struct offers *o = &s->in.engine->offers;
    uint8_t *memory = instance_bytes(&s->in);
    if (madvise(memory, SHARED_BYTES, MADV_DONTNEED) != 0) return false;
    memcpy(memory + o->data_at, o->data.ptr, o->data.len);
    return true;
}

void shared_spoil(struct shared *s) { s->spoiled = true; }

enum err shared_leave(struct shared *s) {
    if (!s->in.policy) return OK;
    if (instance_memory(&s->in).len != SHARED_BYTES) return ERR_INTERNAL; /* its limit forbids that */
    if (!set_back_written(s) && !set_back_all(s)) return ERR_INTERNAL;
    wasmtime_error_t *error = wasmtime_global_set(s->in.context, &s->stack_pointer, &s->stack_top);
    if (error) {
        wasmtime_error_delete(error);
        return ERR_INTERNAL;
    }
    policy_unuse(s->in.policy);
    s->in.policy = NULL;
    s->in.strict = false;
    s->spoiled = false;
    return OK;
}

/* ---- links ---- */

static struct link **bucket_of(const struct shared *s, const struct code *c) {
    return &s->buckets[((uintptr_t)c * 0x9e3779b97f4a7c15u >> 32) & s->mask];
}

static void links_grow(struct shared *s) {
    uint32_t old = s->mask + 1;
    struct link **from = s->buckets, **to = calloc(2 * (size_t)old, sizeof *to);
    if (!to) return; /* longer chains, then */
    s->buckets = to;
    s->mask = 2 * old - 1;
    for (uint32_t i = 0; i < old; i++) {
        for (struct link *l = from[i], *next; l; l = next) {
            struct link **bucket = bucket_of(s, l->code);
            next = l->chain;
            l->chain = *bucket;
            *bucket = l;
        }
    }
    free(from);
}

static enum err find_items(struct shared *s, const struct code *c) {
    if (c->n_imports > s->cap_items) {
        wasmtime_extern_t *items = realloc(s->items, c->n_imports * sizeof *items);
        if (!items) return ERR_MEMORY;
        s->items = items;
        s->cap_items = c->n_imports;
    }
    for (uint32_t k = 0; k < c->n_imports; k++) {
        uint16_t n = c->imports[k];
        if (!s->known[n] && !instance_offer(&s->in, n, &s->offers[n])) return ERR_ABI;
        s->known[n] = true;
        s->items[k] = s->offers[n];
    }
    return OK;
}

static enum err link_new(struct shared *s, struct code *c, struct link **out, char *text, size_t text_bytes) {
    wasmtime_instance_t made;
    struct link *l = calloc(1, sizeof *l);
    enum err err = l ? find_items(s, c) : ERR_MEMORY;
    if (!err) err = instance_link(&s->in, c, s->items, &made, text, text_bytes);
    if (!err && !(instance_export(&s->in, &made, "regent_eval", 3, WASM_I64, &l->eval) && l->eval.store_id))
        err = ERR_ABI;
    if (err) {
        free(l);
        return err;
    }
    code_hold(s->in.engine, c);
    l->code = c;
    if (++s->n_links > s->mask) links_grow(s);
    struct link **bucket = bucket_of(s, c);
    l->chain = *bucket;
    *bucket = l;
    *out = l;
    return OK;
}

bool shared_worn(struct shared *s) {
    if (s->n_links < s->until_check) return false;
    s->n_dead = 0;
    for (uint32_t i = 0; i <= s->mask; i++)
        for (struct link *l = s->buckets[i]; l; l = l->chain) s->n_dead += atomic_load(&l->code->policies) == 0;
    s->until_check = s->n_links + s->n_links / 2;
    return 2 * s->n_dead > s->n_links;
}

/* ---- whose turn it is ---- */

bool shared_takes(const struct policy *p, const struct limits *limits, size_t input_len) {
    return p->form == MODULE_THIN && p->code->stateless && limits->memory_bytes >= SHARED_BYTES &&
           p->memory_pages * WASM_PAGE_BYTES <= SHARED_BYTES && input_len <= SHARED_BYTES / INPUT_FACTOR &&
           (uint64_t)p->heap_base + INPUT_FACTOR * input_len + HEAP_BYTES <= SHARED_BYTES;
}

struct policy *shared_policy(const struct shared *s) { return s->in.policy; }
struct instance *shared_instance(struct shared *s) { return &s->in; }
int32_t shared_stack(struct shared *s) {
    wasmtime_val_t v;
    wasmtime_global_get(s->in.context, &s->stack_pointer, &v);
    return v.of.i32;
}

enum err shared_bind(struct shared *s, struct policy *p, struct instance **out, char *text, size_t text_bytes) {
    enum err err;
    *out = &s->in;
    if (s->in.policy == p && !s->spoiled) return OK;
    struct link *l = *bucket_of(s, p->code);
    while (l && l->code != p->code) l = l->chain;
    /* Comes while the pages are set back: */
    if (l && !(s->in.policy && s->in.policy->code == p->code)) code_fetch(p->code);
    if ((err = shared_leave(s)) != OK) return err;
    if (!l && (err = link_new(s, p->code, &l, text, text_bytes)) != OK) return err;
    policy_use(p);
    s->in.policy = p;
    s->in.eval = l->eval;
    return instance_place_image(&s->in);
}
