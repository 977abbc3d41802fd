/* Trials of versions: counts of live decisions, and copies of some requests for a candidate.
 * in: decisions, from all threads. out: counts, samples. owns: itself, counted; samples until they
 * are given back. */
#include "edge/trial.h"
#include <stdlib.h>

enum { SAMPLE_BYTES = 64 << 10, EMPTY = 0, FILLING, FULL };
#define MILLION 1000000u

struct slot {
    _Atomic uint32_t state;
    char *bytes; /* the texts of the sample */
    struct trial_sample sample;
};

struct trial {
    _Atomic uint32_t uses;
    enum trial_kind kind;
    uint32_t share;
    _Atomic uint64_t seen, total, denied, failed, left_out;
    _Atomic uint32_t at; /* where a slot is looked for next */
    uint32_t n_slots;
    struct slot slots[];
};

struct trial *trial_new(enum trial_kind kind, uint32_t share_millionths) {
    uint32_t n = kind == TRIAL_SHADOW ? TRIAL_SLOTS : 0;
    struct trial *t = calloc(1, sizeof *t + n * sizeof t->slots[0]);
    if (!t) return NULL;
    atomic_init(&t->uses, 1);
    t->kind = kind;
    t->share = share_millionths;
    t->n_slots = n;
    return t;
}

struct trial *trial_acquire(struct trial *t) {
    atomic_fetch_add(&t->uses, 1);
    return t;
}

void trial_release(struct trial *t) {
    if (atomic_fetch_sub(&t->uses, 1) != 1) return;
    for (uint32_t i = 0; i < t->n_slots; i++) free(t->slots[i].bytes);
    free(t);
}

enum trial_kind trial_kind(const struct trial *t) { return t->kind; }

/* ---- noting ---- */

static void add(_Atomic uint64_t *n) { atomic_fetch_add_explicit(n, 1, memory_order_relaxed); }

/* Refusals and overload say nothing of the version. */
static bool is_of_version(const struct decision *d) {
    if (d->kind != DECISION_FAILED)
        return d->kind != DECISION_NO_TENANT && d->kind != DECISION_LATER;
    switch ((int)d->err) {
    case ERR_RATE:
    case ERR_CONCURRENCY:
    case ERR_OVERLOAD:
    case ERR_WORKER:
    case ERR_INPUT:
    case ERR_MEMORY: return false;
    }
    return d->limit != LIMIT_input_bytes;
}

/* Evenly over the requests, whatever their order: multiples of the golden ratio fall everywhere
 * alike. */
static bool is_chosen(struct trial *t) {
    uint64_t n = atomic_fetch_add_explicit(&t->seen, 1, memory_order_relaxed) + 1;
    return (uint32_t)(((n * 0x9e3779b97f4a7c15u) >> 32) % MILLION) < t->share;
}

static struct slot *slot_free(struct trial *t) {
    uint32_t i = atomic_fetch_add_explicit(&t->at, 1, memory_order_relaxed) % t->n_slots,
             empty = EMPTY;
    return atomic_compare_exchange_strong(&t->slots[i].state, &empty, FILLING) ? &t->slots[i]
                                                                               : NULL;
}

static struct str put(char **at, struct str s) {
    struct str copy = {s.ptr ? *at : NULL, s.len};
    if (s.len) memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return copy;
}

static bool fill(struct slot *slot, const struct ask *ask, const struct decision *d) {
    struct str json = d->kind == DECISION_VALUE ? d->json : (struct str){NULL, 0};
    size_t bytes = ask->tenant.len + ask->path.len + ask->input.len + ask->document.len + json.len;
    if (bytes > SAMPLE_BYTES || !(slot->bytes = malloc(bytes + 1))) return false;
    char *at = slot->bytes;
    slot->sample = (struct trial_sample){.kind = d->kind, .err = d->err};
    slot->sample.ask = (struct ask){.tenant = put(&at, ask->tenant),
                                    .path = put(&at, ask->path),
                                    .input = put(&at, ask->input),
                                    .document = put(&at, ask->document),
                                    .strict_builtin_errors = ask->strict_builtin_errors};
    slot->sample.json = put(&at, json);
    memcpy(slot->sample.id, d->id, sizeof slot->sample.id);
    return true;
}

static void copy(struct trial *t, const struct ask *ask, const struct decision *d) {
    struct slot *slot = slot_free(t);
    bool filled = slot && fill(slot, ask, d);
    if (!filled) add(&t->left_out);
    if (slot) atomic_store_explicit(&slot->state, filled ? FULL : EMPTY, memory_order_release);
}

void trial_note(struct trial *t, const struct ask *ask, const struct decision *d, bool denied) {
    if (!is_of_version(d)) return;
    add(&t->total);
    if (denied) add(&t->denied);
    if (d->kind == DECISION_FAILED) add(&t->failed);
    if (t->kind == TRIAL_SHADOW && is_chosen(t)) copy(t, ask, d);
}

void trial_useless(struct trial *t) { add(&t->failed); }

struct trial_counts trial_counts(const struct trial *t) {
    return (struct trial_counts){atomic_load(&t->total), atomic_load(&t->denied),
                                 atomic_load(&t->failed), atomic_load(&t->left_out)};
}

/* ---- taking ---- */

bool trial_take(struct trial *t, struct trial_sample *out) {
    for (uint32_t i = 0; i < t->n_slots; i++) {
        struct slot *slot = &t->slots[i];
        if (atomic_load_explicit(&slot->state, memory_order_acquire) != FULL) continue;
        *out = slot->sample;
        out->slot = i;
        return true;
    }
    return false;
}

void trial_give(struct trial *t, const struct trial_sample *s) {
    struct slot *slot = &t->slots[s->slot];
    free(slot->bytes);
    slot->bytes = NULL;
    atomic_store_explicit(&slot->state, EMPTY, memory_order_release);
}
