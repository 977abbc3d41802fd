/* The fetching thread: asks for what is due, and plans the next try when one has ended.
 *
 * in:   tenants with their sources; tries that ended.
 * out:  requests; failures for the activator.
 * owns: nothing that lasts. A failure of any kind leaves the tenant's version where it is. */
#include "base/clock.h"
#include "edge/source_work.h"
#include <stdio.h>
#include <stdlib.h>

enum { WANTED_MS = 3600000 };

/* ---- how a try ends ---- */

static void end_order(struct sources *s, struct order *o, const struct activation *result) {
    pthread_mutex_lock(&s->lock);
    *o->out = *result;
    o->done = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void supply_end(struct sources *s, struct supply *t, const struct activation *result) {
    for (struct order *o = t->orders, *next; o; o = next) {
        next = o->next;
        end_order(s, o, result);
    }
    t->orders = NULL;
}

bool source_unknown(const struct origin *o, int status) {
    return status == 404 || status == 410 || (status == 403 && o->config->kind == SOURCE_S3);
}

/* Nobody listed it and this source does not have it: the next that loads on first use may. true: it
 * goes on, or is forgotten. */
static bool trial_failed(struct sources *s, struct supply *t, int status) {
    struct activation unknown = {.kind = ACTIVATION_REFUSED, .err = ERR_NOT_FOUND};
    struct origin *end = s->origins + s->n_origins, *o = t->origin + 1;
    bool known_unknown = source_unknown(t->origin, status);
    while (known_unknown && o < end && !(o->config->on_demand && origin_may_have(o, str_of(t->id))))
        o++;
    if (known_unknown && o < end) {
        atomic_fetch_sub(&t->origin->tenants, 1);
        atomic_fetch_add(&o->tenants, 1);
        t->origin = o;
        t->busy = false;
        supply_due(s, t, s->now_ms);
        return true;
    }
    if (!known_unknown) {
        unknown.err = t->err;
        snprintf(unknown.why, sizeof unknown.why, "%s", t->why);
    } else {
        snprintf(unknown.why, sizeof unknown.why, "no source has the tenant");
    }
    supply_end(s, t, &unknown);
    pthread_mutex_lock(&s->lock);
    int64_t pause_ms = known_unknown ? (int64_t)(t->origin->config->negative_us / 1000) : 1000;
    negative_put(s->negative, str_of(t->id), s->now_ms, s->now_ms + pause_ms);
    pthread_mutex_unlock(&s->lock);
    wants_done(s, str_of(t->id), false);
    supply_forget(s, t);
    return true;
}

void supply_plan(struct sources *s, struct supply *t) {
    const struct edge_source *c = t->origin->config;
    if (t->gone) { /* a loader may have brought it back */
        supply_gone(s, t);
        supply_forget(s, t);
        return;
    }
    int64_t at = s->now_ms + (int64_t)source_pause_ms(c->poll_us, source_random(s));
    if (t->failures)
        at = s->now_ms + (int64_t)source_backoff_ms(t->failures, c->poll_us, source_random(s));
    else if (c->kind == SOURCE_CONTROL)
        at = SOURCE_NEVER;
    else if (t->pushed && c->long_poll_us && s->long_polling < SOURCE_LONG_POLLS)
        at = s->now_ms + 10;
    if (t->wanted[0] && !t->failures && s->now_ms < t->wanted_until_ms && at > s->now_ms + 1000)
        at = s->now_ms + 1000;
    if (t->again) at = s->now_ms;
    t->again = false;
    t->busy = false;
    t->tried = true;
    supply_due(s, t, at);
}

static void note_good(struct supply *t) {
    if (t->failures) atomic_fetch_sub(&t->origin->failing, 1);
    t->failures = 0;
    t->err = OK;
    t->why[0] = 0;
    atomic_store(&t->origin->good_s, (int64_t)(clock_of(CLOCK_REALTIME) / 1000000000));
}

static void note_bad(struct supply *t, enum err e, int status, const char *why) {
    if (!t->failures++) atomic_fetch_add(&t->origin->failing, 1);
    t->err = e;
    t->status = status;
    snprintf(t->why, sizeof t->why, "%s", why);
}

void supply_failed(struct sources *s, struct supply *t, enum err e, int status, const char *why) {
    struct activation failed = {.kind = ACTIVATION_REFUSED, .err = e};
    atomic_fetch_add(&t->origin->failed, 1);
    note_bad(t, e, status, why);
    if (t->trial && trial_failed(s, t, status)) return;
    activator_failed(s->options.activator, str_of(t->id), t->origin->name, e, status, why);
    snprintf(failed.why, sizeof failed.why, "%s", why);
    supply_end(s, t, &failed);
    supply_plan(s, t);
}

void order_later(struct sources *s, struct supply *t, const struct order *o) {
    snprintf(t->wanted, sizeof t->wanted, "%s", o->version);
    t->wanted_until_ms = s->now_ms + WANTED_MS;
    t->wanted_older = o->allow_older;
}

/* Tells those who waited for this try. Another version than they asked for is not there yet; those
 * who came meanwhile wait for the next try. */
void orders_settle(struct sources *s, struct supply *t, const struct activation *r) {
    struct order **at = &t->orders;
    for (struct order *o; (o = *at);) {
        bool other = !r->err && o->version[0] && strcmp(o->version, r->version) != 0;
        struct activation answer = *r;
        if (!o->begun) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        if (other) {
            answer.kind = ACTIVATION_REFUSED;
            answer.err = ERR_UNDEFINED;
            snprintf(answer.why, sizeof answer.why, "version %.64s is not there yet; %.64s is",
                     o->version, r->version[0] ? r->version : "none");
            order_later(s, t, o);
        }
        end_order(s, o, &answer);
    }
    if (t->orders) t->again = true;
}

void supply_unchanged(struct sources *s, struct supply *t) {
    struct activation same = {.kind = ACTIVATION_UNCHANGED};
    snprintf(same.active, sizeof same.active, "%s", t->active);
    snprintf(same.version, sizeof same.version, "%s", t->active);
    atomic_fetch_add(&t->origin->unchanged, 1);
    note_good(t);
    activator_checked(s->options.activator, str_of(t->id), t->origin->name);
    orders_settle(s, t, &same);
    supply_plan(s, t);
}

void supply_loaded(struct errand *e) {
    struct sources *s = e->all;
    struct supply *t = e->supply;
    const struct activation *r = &e->result;
    bool went_well = r->kind != ACTIVATION_REFUSED;
    snprintf(t->active, sizeof t->active, "%s", r->active);
    if (!went_well) {
        atomic_fetch_add(&t->origin->refused, 1);
        note_bad(t, r->err, 200, r->why[0] ? r->why : err_meaning(r->err));
    } else {
        note_good(t);
        t->loaded = true;
        s->trials -= t->trial;
        t->trial = false;
        if (t->wanted[0] && strcmp(t->wanted, r->version) == 0) t->wanted[0] = 0;
    }
    if (!e->version[0] &&
        !went_well) { /* as OPA does: what was refused is fetched and tried again */
        t->tag[0] = t->modified[0] = t->data_tag[0] = 0;
    } else if (!e->version[0]) {
        snprintf(t->tag, sizeof t->tag, "%s", e->tag);
        snprintf(t->modified, sizeof t->modified, "%s", e->modified);
        snprintf(t->data_tag, sizeof t->data_tag, "%s",
                 e->kind == ERRAND_DATA ? e->got[GOT_ETAG].value : "");
    }
    orders_settle(s, t, r);
    if (t->trial) {
        trial_failed(s, t, 200);
    } else {
        wants_done(s, str_of(t->id), true);
        supply_plan(s, t);
    }
    errand_free(e);
}

/* ---- what is due ---- */

static void begin_orders(struct supply *t, struct errand *e) {
    for (struct order *o = t->orders; o; o = o->next) {
        o->begun = true;
        e->allow_older = e->allow_older || o->allow_older;
        if (o->version[0]) snprintf(e->version, sizeof e->version, "%s", o->version);
    }
}

/* The version named by an order, else one that was not there yet, else the current one. */
static void choose_version(struct sources *s, struct supply *t, struct errand *e) {
    e->allow_older = t->origin->config->allow_older;
    begin_orders(t, e);
    if (t->wanted[0] && s->now_ms >= t->wanted_until_ms) t->wanted[0] = 0;
    if (e->version[0] || !t->wanted[0]) return;
    e->allow_older = e->allow_older || t->wanted_older;
    snprintf(e->version, sizeof e->version, "%s", t->wanted);
}

static void begin(struct sources *s, struct supply *t) {
    struct origin *o = t->origin;
    const struct edge_source *c = o->config;
    struct errand *e = errand_new(s, o, t, ERRAND_TENANT);
    if (!e) {
        supply_failed(s, t, ERR_MEMORY, 0, err_meaning(ERR_MEMORY));
        return;
    }
    choose_version(s, t, e);
    if (c->kind == SOURCE_OPA) e->version[0] = 0; /* its protocol knows the current one only */
    bool url = true;
    if (c->kind == SOURCE_CONTROL && t->sha256[0] && !e->version[0]) {
        url = source_resolve(c, str_of(t->url), e->url);
        snprintf(e->named, sizeof e->named, "%s", t->version);
        snprintf(e->sha256, sizeof e->sha256, "%s", t->sha256);
        e->serial = t->serial;
        e->foreign = !source_same_server(e->url, c->url);
    } else {
        if (c->kind == SOURCE_CONTROL)
            e->kind = ERRAND_LOOKUP, e->call.body.max = SOURCE_SMALL_BYTES;
        url = errand_file_url(e, c->modules ? "policy.wasm" : "bundle.tar.gz");
        e->long_poll = c->kind == SOURCE_OPA && c->long_poll_us && t->pushed && t->tag[0] &&
                       t->loaded && !t->failures && !t->orders &&
                       s->long_polling < SOURCE_LONG_POLLS;
    }
    if (url)
        errand_send(e);
    else
        errand_fail(e, ERR_INVALID, 0, "its URL is none, or too long%s", "");
}

static bool has_room(const struct sources *s) {
    return s->fetching < SOURCE_FETCHES && s->n_to_load + s->loading < SOURCE_TO_LOAD;
}

static void begin_due(struct sources *s) {
    struct supply *t;
    while (has_room(s) && (t = supply_next(s, s->now_ms))) {
        if (source_in_folder(s, str_of(t->id))) { /* which comes first */
            t->tried = true;
            struct activation there = {
                .kind = ACTIVATION_REFUSED,
                .err = ERR_EXISTS,
                .why = "tenants.directory holds this tenant's bundle, which comes first"};
            supply_end(s, t, &there);
            supply_due(s, t,
                       s->now_ms +
                           (int64_t)source_pause_ms(t->origin->config->poll_us, source_random(s)));
            continue;
        }
        t->busy = true;
        begin(s, t);
    }
    for (uint32_t i = 0; i < s->n_origins; i++) {
        struct origin *o = &s->origins[i];
        if (!o->listing && o->list_due_ms <= s->now_ms) list_begin(s, o);
        if (!o->reporting && o->report_due_ms <= s->now_ms) report_begin(s, o);
    }
}

/* Who may have a tenant that nobody knows yet: the first that lists by patterns. */
static struct origin *origin_for(struct sources *s, struct str id) {
    for (uint32_t i = 0; i < s->n_origins; i++) {
        struct origin *o = &s->origins[i];
        if ((o->config->discover || o->config->on_demand) && origin_may_have(o, id)) return o;
    }
    return NULL;
}

/* Takes back a request that the server holds: something is to be asked at once. */
static void stop_polling(struct sources *s, struct supply *t) {
    struct errand *e = t->polling;
    if (!e) return;
    fetch_set_cancel(s->fetches, &e->call);
    s->long_polling--;
    atomic_fetch_sub(&e->origin->long_polls, 1);
    t->polling = NULL;
    t->busy = false;
    errand_free(e);
}

static void take_order(struct sources *s, struct order *o) {
    struct activation none = {
        .kind = ACTIVATION_REFUSED, .err = ERR_NOT_FOUND, .why = "no source has the tenant"};
    struct str id = str_of(o->id);
    struct supply *t = supply_find(s, id);
    struct origin *from = t ? t->origin : origin_for(s, id);
    if (from && !t && supply_add(s, id, from, &t))
        none.err = ERR_MEMORY;
    else if (from && !t->tried && !t->exact && !t->loaded && !t->trial && !t->busy &&
             t->heap_at == UINT32_MAX)
        t->trial = true, s->trials++;
    if (!t) {
        end_order(s, o, &none);
        return;
    }
    o->next = t->orders;
    t->orders = o;
    stop_polling(s, t);
    if (t->busy)
        t->again = true;
    else
        supply_due(s, t, s->now_ms);
}

/* ---- a turn ---- */

static uint32_t time_left(struct sources *s) {
    int64_t first = s->now_ms + 1000, due[2] = {supply_first_due(s), wants_first_late(s)};
    if (has_room(s) && due[0] < first) first = due[0];
    if (due[1] < first) first = due[1];
    for (uint32_t i = 0; i < s->n_origins; i++) {
        struct origin *o = &s->origins[i];
        if (!o->listing && o->list_due_ms < first) first = o->list_due_ms;
        if (!o->reporting && o->report_due_ms < first) first = o->report_due_ms;
    }
    return first > s->now_ms ? (uint32_t)(first - s->now_ms) : 0;
}

static void first_round(struct sources *s) {
    uint32_t loaded = 0, failed = 0, n = 0;
    bool over = true;
    if (s->first_done ||
        (s->now_ms - s->first_told_ms < 100 && s->heap_n && s->heap[0]->due_ms <= s->now_ms))
        return;
    for (uint32_t i = 0; i < s->n_origins; i++) over = over && s->origins[i].list_tried;
    for (struct supply *t = s->all; t; t = t->next, n++) {
        loaded += t->loaded;
        failed += t->tried && !t->loaded && t->failures;
        over = over && t->tried;
    }
    s->first_told_ms = s->now_ms;
    pthread_mutex_lock(&s->lock);
    s->first_loaded = loaded;
    s->first_failed = failed;
    s->first_of = n;
    s->first_round_over = over;
    if (over) pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    s->first_done = over;
    if (over) first_round_tell(s);
}

void source_work(struct sources *s) {
    s->now_ms = clock_ms();
    pthread_mutex_lock(&s->lock);
    struct errand *loaded = s->loaded;
    struct order *orders = s->orders;
    s->loaded = NULL;
    s->orders = NULL;
    pthread_mutex_unlock(&s->lock);
    for (struct errand *next; loaded; loaded = next) {
        next = loaded->next;
        supply_loaded(loaded);
    }
    for (struct order *next; orders; orders = next) {
        next = orders->next;
        orders->next = NULL;
        take_order(s, orders);
    }
    wants_take(s);
    wants_late(s);
    begin_due(s);
    first_round(s);
    fetch_set_wait(s->fetches, time_left(s));
}

void source_cancel_all(struct sources *s) {
    struct fetch_call *call;
    while ((call = fetch_set_first(s->fetches))) {
        struct errand *e = (struct errand *)call;
        fetch_set_cancel(s->fetches, call);
        if (e->supply) e->supply->polling = NULL, e->supply->busy = false;
        errand_free(e);
    }
    s->fetching = s->long_polling = 0;
}
