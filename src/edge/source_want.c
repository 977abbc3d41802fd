/* Loading on first use: requests that wait for their tenant, and the ids that no source has.
 *
 * in:   ids that requests name (hostile: anybody can name any).
 * out:  tenants to be looked for; waiting requests told when there is an answer.
 * owns: the list of who waits. Its lock is held for a few pointers; memory and work for ids that do not exist are
 * bounded, however many are tried: a table of fixed size, so many at once, and so many a second. */
#include "base/clock.h"
#include "edge/source_work.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- ids that nobody has ---- */

/* A keyed hash, so that nobody can make an id that collides with a customer's. */
static void hash_of(const struct negative *n, struct str id, uint8_t out[32]) {
    uint8_t text[32 + TENANT_ID_BYTES];
    size_t len = id.len < TENANT_ID_BYTES ? id.len : TENANT_ID_BYTES;
    memcpy(text, n->key, 32);
    memcpy(text + 32, id.ptr, len);
    sha256(text, 32 + len, out);
}

static uint32_t set_of(const uint8_t hash[32]) {
    return ((uint32_t)hash[16] | (uint32_t)hash[17] << 8) % NEGATIVE_SETS;
}

void negative_put(struct negative *n, struct str id, int64_t now_ms, int64_t until_ms) {
    uint8_t hash[32];
    int oldest = 0;
    hash_of(n, id, hash);
    uint32_t set = set_of(hash);
    for (int i = 0; i < NEGATIVE_WAYS; i++) {
        if (memcmp(n->slots[set][i].hash, hash, 16) == 0 || n->slots[set][i].until_ms <= now_ms) {
            oldest = i;
            break;
        }
        if (n->slots[set][i].until_ms < n->slots[set][oldest].until_ms) oldest = i;
    }
    memcpy(n->slots[set][oldest].hash, hash, 16);
    n->slots[set][oldest].until_ms = until_ms;
}

bool negative_has(const struct negative *n, struct str id, int64_t now_ms) {
    uint8_t hash[32];
    hash_of(n, id, hash);
    uint32_t set = set_of(hash);
    for (int i = 0; i < NEGATIVE_WAYS; i++)
        if (n->slots[set][i].until_ms > now_ms && memcmp(n->slots[set][i].hash, hash, 16) == 0) return true;
    return false;
}

/* ---- asking; any loop ---- */

/* The first source that may have it, and how long requests wait for it. */
static const struct edge_source *may_have(const struct sources *s, struct str id) {
    for (uint32_t i = 0; i < s->n_origins; i++) {
        const struct edge_source *c = s->origins[i].config;
        if (c->on_demand && name_list_has(&c->tenants, id)) return c;
    }
    return NULL;
}

static bool is_asked_for(const struct sources *s, struct str id) {
    for (const struct waiter *w = s->asked; w; w = w->next)
        if (str_is(id, w->id)) return true;
    for (const struct waiter *w = s->waiters; w; w = w->next)
        if (str_is(id, w->id)) return true;
    return false;
}

/* So many ids that nobody waits for yet a second. */
static bool may_try(struct sources *s, int64_t now_ms) {
    static const int64_t token_us = 1000000 / SOURCE_TRIALS_A_SECOND;
    int64_t now_us = now_ms * 1000, full = now_us - 1000000;
    if (s->trial_tokens_us < full) s->trial_tokens_us = full;
    if (s->trial_tokens_us + token_us > now_us) return false;
    s->trial_tokens_us += token_us;
    return true;
}

static enum sources_answer ask(struct sources *s, struct waiter *w, struct str id) {
    int64_t now_ms = clock_ms();
    const struct edge_source *c = s->stop || s->stopped ? NULL : may_have(s, id);
    if (!c) return SOURCES_UNKNOWN;
    if (negative_has(s->negative, id, now_ms)) {
        atomic_fetch_add(&s->wanted_known_unknown, 1);
        return SOURCES_UNKNOWN;
    }
    if (s->n_waiters >= SOURCE_WAITERS || (!is_asked_for(s, id) && !may_try(s, now_ms))) {
        atomic_fetch_add(&s->wanted_busy, 1);
        return SOURCES_BUSY;
    }
    w->until_ms = now_ms + (int64_t)(c->wait_us / 1000);
    w->next = s->asked;
    s->asked = w;
    s->n_waiters++;
    return SOURCES_LOADING;
}

/* What would be answered, without waiting. */
static enum sources_answer probe(struct sources *s, struct str id) {
    pthread_mutex_lock(&s->lock);
    bool unknown = s->stop || !may_have(s, id) || negative_has(s->negative, id, clock_ms());
    bool busy = s->n_waiters >= SOURCE_WAITERS;
    pthread_mutex_unlock(&s->lock);
    if (unknown) atomic_fetch_add(&s->wanted_known_unknown, 1);
    return unknown ? SOURCES_UNKNOWN : busy ? SOURCES_BUSY : SOURCES_LOADING;
}

bool sources_on_demand(const struct sources *s) {
    return s && atomic_load_explicit(&s->on_demand, memory_order_relaxed);
}

enum sources_answer sources_want(struct sources *s, struct str id, void (*done)(void *ctx), void *ctx) {
    if (!sources_on_demand(s) || !source_tenant_valid(id)) return SOURCES_UNKNOWN;
    if (!done) return probe(s, id);
    struct waiter *w = calloc(1, sizeof *w);
    if (!w) return SOURCES_BUSY;
    atomic_fetch_add(&s->wanted, 1);
    w->done = done;
    w->ctx = ctx;
    snprintf(w->id, sizeof w->id, "%.*s", STR_FMT(id));
    pthread_mutex_lock(&s->lock);
    enum sources_answer answer = ask(s, w, id);
    if (answer == SOURCES_LOADING) fetch_set_wake(s->fetches);
    pthread_mutex_unlock(&s->lock);
    if (answer != SOURCES_LOADING) free(w);
    return answer;
}

/* ---- the fetching thread ---- */

static void tell(struct waiter *list) {
    for (struct waiter *next; list; list = next) {
        next = list->next;
        list->done(list->ctx);
        free(list);
    }
}

/* Takes those out who wait for id (ptr NULL: all) or whose time is over at now_ms. */
static struct waiter *take_out(struct sources *s, struct str id, int64_t now_ms) {
    struct waiter *out = NULL;
    pthread_mutex_lock(&s->lock);
    for (struct waiter **at = &s->waiters, *w; (w = *at);) {
        if (id.ptr ? !str_is(id, w->id) : w->until_ms > now_ms) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = out;
        out = w;
        s->n_waiters--;
    }
    pthread_mutex_unlock(&s->lock);
    return out;
}

void wants_done(struct sources *s, struct str id, bool known) {
    if (!s->waiters) return; /* this thread alone adds to them */
    struct waiter *w = take_out(s, id, 0);
    if (w && known) atomic_fetch_add(&s->wanted_loaded, 1);
    tell(w);
}

void wants_late(struct sources *s) {
    if (!s->waiters || wants_first_late(s) > s->now_ms) return;
    struct waiter *w = take_out(s, (struct str){NULL, 0}, s->now_ms);
    for (const struct waiter *i = w; i; i = i->next) atomic_fetch_add(&s->wanted_late, 1);
    tell(w);
}

void wants_end(struct sources *s) {
    wants_take(s);
    tell(take_out(s, (struct str){NULL, 0}, INT64_MAX));
}

int64_t wants_first_late(struct sources *s) {
    int64_t first = SOURCE_NEVER;
    for (const struct waiter *w = s->waiters; w; w = w->next)
        if (w->until_ms < first) first = w->until_ms;
    return first;
}

/* false: there is nothing to wait for, since it is there already, or is known to fail. */
static bool look_for(struct sources *s, struct str id) {
    struct supply *t = supply_find(s, id);
    struct origin *o = s->origins, *end = o + s->n_origins;
    if (t) {
        return !t->loaded && !t->failures;
    }
    while (o < end && !(o->config->on_demand && origin_may_have(o, id))) o++;
    if (o == end || s->trials >= SOURCE_TRIALS || supply_add(s, id, o, &t)) return false;
    t->trial = true;
    s->trials++;
    supply_due(s, t, s->now_ms);
    return true;
}

void wants_take(struct sources *s) {
    pthread_mutex_lock(&s->lock);
    struct waiter *asked = s->asked, *last = asked;
    while (last && last->next) last = last->next;
    if (last) {
        last->next = s->waiters;
        s->waiters = asked;
    }
    struct waiter *stop = last ? last->next : NULL;
    s->asked = NULL;
    pthread_mutex_unlock(&s->lock);
    for (struct waiter *w = asked; w && w != stop; w = w->next)
        if (!look_for(s, str_of(w->id))) w->until_ms = 0;
}
