/* Brings versions of tenants' policies to life: what a source offers is named, read, verified,
 * loaded and checked on the source's own thread, and swapped in with one pointer. in:   candidates,
 * from any thread. out: entries and load reports in the tenant table, log lines, counts. owns: what
 * it knows of each tenant: the versions that it holds, each with a count of its policy. */
#include "edge/activator.h"
#include "base/clock.h"
#include "base/hash.h"
#include "edge/activator_private.h"
#include "edge/priority.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { FIRST_BUCKETS = 64, TICK_MS = 100 };

/* ---- birth and death ---- */

static struct tenant_limits limits_of(const void *ctx, struct str id, struct tenant_limits own) {
    return edge_config_limits(ctx, id, own);
}

enum err activator_new(const struct activator_options *options, struct activator **out) {
    struct activator *a = calloc(1, sizeof *a);
    if (!a || !(a->buckets = calloc(FIRST_BUCKETS, sizeof(struct known *)))) {
        free(a);
        return ERR_MEMORY;
    }
    a->mask = FIRST_BUCKETS - 1;
    a->options = *options;
    a->stop = -1;
    pthread_mutex_init(&a->table, NULL);
    pthread_mutex_init(&a->lock, NULL);
    tenants_resolve(options->tenants, (struct limits_source){options->config, limits_of});
    *out = a;
    return OK;
}

static void end_ticker(struct activator *a) {
    uint64_t one = 1;
    if (a->stop < 0) return;
    while (write(a->stop, &one, sizeof one) < 0 && errno == EINTR) {
    }
    pthread_join(a->ticker, NULL);
    close(a->stop);
}

void activator_free(struct activator *a) {
    end_ticker(a);
    for (struct known *t = atomic_load(&a->all), *next; t; t = next) {
        next = t->next;
        kept_free(t->now);
        kept_free(t->before);
        kept_free(t->waiting);
        test_free(t->test);
        pthread_mutex_destroy(&t->lock);
        free(t);
    }
    tester_free(a->tester);
    pthread_mutex_destroy(&a->table);
    pthread_mutex_destroy(&a->lock);
    free(a->buckets);
    free(a);
}

void activator_configure(struct activator *a, const struct edge_config *config) {
    pthread_mutex_lock(&a->table);
    a->options.config = config;
    tenants_resolve(a->options.tenants, (struct limits_source){config, limits_of});
    pthread_mutex_unlock(&a->table);
}

/* ---- tenants known ---- */

static struct known **bucket_of(struct activator *a, struct str id) {
    return &a->buckets[(uint32_t)hash64(id) & a->mask];
}

static void buckets_grow(struct activator *a) {
    uint32_t size = 2 * (a->mask + 1);
    struct known **p = calloc(size, sizeof *p);
    if (!p) return; /* longer chains, then */
    free(a->buckets);
    a->buckets = p;
    a->mask = size - 1;
    for (struct known *t = atomic_load(&a->all); t; t = t->next) {
        struct known **bucket = bucket_of(a, str_of(t->id));
        t->chain = *bucket;
        *bucket = t;
    }
}

static struct known *known_add(struct activator *a, struct str id) {
    struct known *t = calloc(1, sizeof *t), **bucket = bucket_of(a, id);
    if (!t) return NULL;
    memcpy(t->id, id.ptr, id.len);
    pthread_mutex_init(&t->lock, NULL);
    t->chain = *bucket;
    *bucket = t;
    t->next = atomic_load(&a->all);
    atomic_store(&a->all, t);
    if (++a->n > a->mask) buckets_grow(a);
    return t;
}

struct known *known_find(struct activator *a, struct str id, bool add) {
    if (id.len == 0 || id.len >= TENANT_ID_BYTES || memchr(id.ptr, 0, id.len)) return NULL;
    pthread_mutex_lock(&a->lock);
    struct known *t = *bucket_of(a, id);
    while (t && !str_is(id, t->id)) t = t->chain;
    if (!t && add) t = known_add(a, id);
    pthread_mutex_unlock(&a->lock);
    return t;
}

/* ---- what happened ---- */

static void count(struct activator *a, enum event e) {
    atomic_fetch_add_explicit(&a->events[e], 1, memory_order_relaxed);
}

void activation_refuse(struct activation *out, enum err e, const char *why) {
    out->kind = ACTIVATION_REFUSED;
    out->err = e;
    snprintf(out->why, sizeof out->why, "%s", why[0] ? why : err_meaning(e));
}

struct tenant *known_record(struct activator *a, const struct known *t) {
    pthread_mutex_lock(&a->table);
    struct tenant *record = tenants_record(a->options.tenants, str_of(t->id));
    pthread_mutex_unlock(&a->table);
    return record;
}

void known_report(struct activator *a, struct known *t, const struct outcome *o) {
    struct load_report r;
    struct tenants *tenants = a->options.tenants;
    struct tenant *record = known_record(a, t);
    if (!record) return;
    tenants_reported(tenants, record, &r);
    r.requested_ns = o->requested_ns ? o->requested_ns : (int64_t)clock_of(CLOCK_REALTIME);
    r.err = o->err;
    r.http_status = o->http_status;
    if (o->answered) r.success_ns = r.requested_ns;
    if (o->gave) r.download_ns = r.requested_ns;
    if (o->swapped) r.activated_ns = (int64_t)clock_of(CLOCK_REALTIME);
    if (o->from) text_put(r.from, sizeof r.from, str_of(o->from));
    text_put(r.message, sizeof r.message, str_of(o->err ? o->why : ""));
    r.revision[0] = r.version[0] = r.sha256[0] = 0;
    if (t->now) {
        text_put(r.revision, sizeof r.revision, str_of(t->now->revision));
        text_put(r.version, sizeof r.version, str_of(t->now->version));
        text_put(r.sha256, sizeof r.sha256, str_of(t->now->sha256));
        r.bytes = t->now->bytes;
    }
    tenants_report(tenants, record, &r);
}

/* ---- the table ---- */

/* Sets the entry: k, with a trial or none. */
static enum err set_entry(struct activator *a, struct known *t, const struct kept *k,
                          struct trial *trial) {
    struct tenant_version v = {.policy = policy_acquire(k->policy),
                               .revision = str_of(k->revision),
                               .own = k->own,
                               .version = str_of(k->version),
                               .sha256 = str_of(k->sha256),
                               .has_masks = k->has_masks,
                               .trial = trial ? trial_acquire(trial) : NULL};
    pthread_mutex_lock(&a->table);
    enum err e = tenants_set(a->options.tenants, str_of(t->id), &v);
    pthread_mutex_unlock(&a->table);
    if (!e) {
        t->entered = true;
        return OK;
    }
    policy_release(v.policy);
    if (v.trial) trial_release(v.trial);
    return e;
}

enum err known_set_trial(struct activator *a, struct known *t, struct trial *trial) {
    return set_entry(a, t, t->now, trial);
}

enum err known_go_live(struct activator *a, struct known *t, struct kept *k, bool watched) {
    struct test *watch = NULL;
    const struct tenant *record = known_record(a, t);
    enum err e = watched ? watch_begin(a, t, &watch) : OK;
    if (!e) e = set_entry(a, t, k, watch ? watch->trial : NULL);
    if (e) {
        test_free(watch);
        return e;
    }
    bool unproven = t->test && trial_kind(t->test->trial) == TRIAL_WATCH && t->before;
    known_end_test(a, t);
    kept_free(unproven ? t->now : t->before);
    if (!unproven) t->before = t->now;
    t->now = k;
    known_put_test(a, t, watch);
    if (k->serial > t->highest) t->highest = k->serial;
    t->total = record ? atomic_load(&record->metrics.total) : 0;
    t->denied = record ? atomic_load(&record->metrics.deny) : 0;
    return OK;
}

/* A tenant is known from its first version on, if only by what is wrong with that. */
static void enter(struct activator *a, struct known *t) {
    struct tenant_version none = {0};
    if (t->entered) return;
    pthread_mutex_lock(&a->table);
    t->entered = tenants_set(a->options.tenants, str_of(t->id), &none) == OK;
    pthread_mutex_unlock(&a->table);
}

void known_avoid(struct known *t, struct kept *k, const char *why) {
    k->taken_back = true;
    text_put(t->avoided, sizeof t->avoided, str_of(k->content));
    text_put(t->avoided_why, sizeof t->avoided_why, str_of(why));
    t->avoided_by_operator = false;
}

/* ---- an offer ---- */

/* The source went back to what answers: there is nothing to try out any more. */
static void shadow_drop(struct activator *a, struct known *t) {
    if (!t->test || trial_kind(t->test->trial) != TRIAL_SHADOW || known_set_trial(a, t, NULL))
        return;
    count_one(&a->shadows_replaced);
    known_end_test(a, t);
}

static bool is_same(const struct kept *k, const struct work *w) {
    return k && strcmp(k->content, w->kept->content) == 0;
}

/* Nothing has to be done for bytes that were seen before. */
static bool settled_before(struct activator *a, struct known *t, const struct work *w,
                           struct activation *out) {
    const struct kept *k = t->now, *next = t->test ? t->test->next : NULL;
    bool override = w->candidate->at_once || (w->candidate->allow_older && t->avoided_by_operator);
    if (is_same(t->now, w)) {
        out->kind = ACTIVATION_UNCHANGED;
        shadow_drop(a, t);
    } else if (t->pinned[0] && is_same(t->waiting, w)) {
        out->kind = ACTIVATION_PINNED;
        k = t->waiting;
    } else if (!w->candidate->at_once && is_same(next, w)) {
        out->kind = ACTIVATION_SHADOW;
        k = next;
    } else if (!override && t->avoided[0] && strcmp(t->avoided, w->kept->content) == 0) {
        activation_refuse(out, ERR_INVALID, t->avoided_why);
        return true;
    } else {
        return false;
    }
    text_put(out->version, sizeof out->version, str_of(k->version));
    text_put(out->sha256, sizeof out->sha256, str_of(k->sha256));
    return true;
}

static enum err check_serial(const struct known *t, struct work *w) {
    uint64_t serial = w->kept->serial;
    if (!serial || serial >= t->highest || w->candidate->allow_older) return OK;
    snprintf(w->why, sizeof w->why,
             "version %s has serial %llu, and this tenant has had %llu already: an older version "
             "comes back only if an "
             "operator says so (allow_older)",
             w->kept->version, (unsigned long long)serial, (unsigned long long)t->highest);
    return ERR_INVALID;
}

/* Another version of the same name is told apart by its content. */
static void tell_apart(const struct known *t, struct kept *k) {
    size_t n = strlen(k->version);
    if (!t->now || strcmp(t->now->version, k->version) != 0 || n + 10 > sizeof k->version) return;
    snprintf(k->version + n, sizeof k->version - n, "~%.8s", k->content);
}

static enum err make_ready(struct activator *a, struct known *t, struct work *w) {
    enum err e = work_read(w);
    if (!e) tell_apart(t, w->kept);
    if (!e) e = check_serial(t, w);
    if (!e) e = work_load(a, w);
    return e ? e : work_check(a, w);
}

/* What is kept of a version that comes while the tenant is pinned. */
static void set_aside(struct activator *a, struct known *t, struct work *w, struct str bytes) {
    known_keep(a, t, w->kept, bytes, false);
    if (w->kept->serial > t->highest) t->highest = w->kept->serial;
    kept_free(t->waiting);
    t->waiting = w->kept;
    w->kept = NULL;
}

static enum err swap(struct activator *a, struct known *t, struct work *w, struct str bytes) {
    struct kept *k = w->kept;
    enum err e = known_go_live(a, t, k, true);
    if (e) return e;
    w->kept = NULL;
    known_keep(a, t, k, bytes, !t->test);
    if (a->options.store && !t->test) {
        kept_free(t->before); /* the store has it */
        t->before = NULL;
    }
    return OK;
}

/* One that comes while another is watched takes over at once, and is watched in its turn. */
static bool wants_shadow(struct activator *a, const struct known *t, const struct candidate *c) {
    bool watched = t->test && trial_kind(t->test->trial) == TRIAL_WATCH;
    return t->now && !c->at_once && !watched && known_rules(a).shadow_share;
}

static enum err take_in(struct activator *a, struct known *t, struct work *w,
                        struct activation *out) {
    struct str bytes = {NULL, 0};
    enum err e = make_ready(a, t, w);
    text_put(out->version, sizeof out->version, str_of(w->kept->version));
    text_put(out->sha256, sizeof out->sha256, str_of(w->kept->sha256));
    if (!e && a->options.store) e = work_bytes(w, &bytes);
    if (e) return e;
    if (t->pinned[0] && t->now) {
        set_aside(a, t, w, bytes);
        out->kind = ACTIVATION_PINNED;
    } else if (wants_shadow(a, t, w->candidate)) {
        e = shadow_begin(a, t, w);
        out->kind = ACTIVATION_SHADOW;
    } else {
        e = swap(a, t, w, bytes);
        out->kind = ACTIVATION_ACTIVE;
    }
    if (e) return e;
    t->refused[0] = t->avoided[0] = 0;
    return OK;
}

static void tell(struct activator *a, struct known *t, const struct work *w,
                 const struct activation *out, uint64_t us) {
    const struct log *log = a->options.log;
    char took[32];
    snprintf(took, sizeof took, "%llu.%03llu", (unsigned long long)(us / 1000),
             (unsigned long long)(us % 1000));
    if (out->kind == ACTIVATION_REFUSED) {
        bool again = w->kept && strcmp(t->refused, w->kept->content) == 0;
        log_line(log, again ? LOG_DEBUG : LOG_ERROR, "bundle refused", "tenant_id", t->id, "reason",
                 out->why, "serving", t->now ? "the version before" : "nothing", NULL);
        if (w->kept) text_put(t->refused, sizeof t->refused, str_of(w->kept->content));
    } else if (out->kind == ACTIVATION_ACTIVE) {
        log_line(log, w->candidate->quiet ? LOG_DEBUG : LOG_INFO, "bundle activated", "tenant_id",
                 t->id, "revision", t->now->revision, "version", t->now->version, "from",
                 t->now->from, "ms", took, NULL);
    }
}

static void settle(struct activator *a, struct known *t, const struct work *w,
                   const struct activation *out, uint64_t us) {
    const struct candidate *c = w->candidate;
    static const enum event events[] = {EVENT_ACTIVE, EVENT_UNCHANGED, EVENT_SHADOW, EVENT_PINNED,
                                        EVENT_REFUSED};
    struct outcome o = {.from = c->from,
                        .why = out->why,
                        .requested_ns = c->requested_ns,
                        .err = out->err,
                        .answered = !c->from_store,
                        .gave = !c->from_store,
                        .swapped = out->kind == ACTIVATION_ACTIVE};
    if (out->kind == ACTIVATION_REFUSED) enter(a, t);
    t->last_failure[0] = 0;
    count(a, events[out->kind]);
    known_report(a, t, &o);
    struct tenant *record = us ? known_record(a, t) : NULL;
    if (record) metrics_load(&record->metrics, us);
    tell(a, t, w, out, us);
}

static void offer(struct activator *a, struct known *t, const struct candidate *c,
                  struct activation *out) {
    struct work w;
    uint64_t us = 0;
    enum err e = work_begin(&w, c);
    if (!e) e = work_name(&w);
    if (e || !settled_before(a, t, &w, out)) {
        if (!e) e = take_in(a, t, &w, out);
        us = (clock_ns() - w.began_ns) / 1000;
        if (e) activation_refuse(out, e, w.why);
    }
    settle(a, t, &w, out, us);
    work_end(&w);
}

void activator_offer(struct activator *a, const struct candidate *c, struct activation *out) {
    *out = (struct activation){.kind = ACTIVATION_REFUSED};
    struct known *t = known_find(a, c->tenant, true);
    if (!t) {
        activation_refuse(out, ERR_INVALID, "this is no id of a tenant");
        return;
    }
    pthread_mutex_lock(&t->lock);
    known_look(a, t);
    offer(a, t, c, out);
    if (t->now) text_put(out->active, sizeof out->active, str_of(t->now->version));
    pthread_mutex_unlock(&t->lock);
}

/* ---- sources without news ---- */

void activator_failed(struct activator *a, struct str tenant, const char *from, enum err e,
                      int status, const char *why) {
    struct known *t = known_find(
        a, tenant, e != ERR_NOT_FOUND); /* else whoever asks for names would fill the table */
    count(a, EVENT_FAILED);
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    struct outcome o = {.from = from, .why = why, .err = e, .http_status = status};
    bool again = strcmp(t->last_failure, why) == 0;
    if (e != ERR_NOT_FOUND) enter(a, t);
    known_report(a, t, &o);
    log_line(a->options.log, again ? LOG_DEBUG : LOG_ERROR, "bundle refused", "tenant_id", t->id,
             "reason", why, "from", from, "serving", t->now ? "the version before" : "nothing",
             NULL);
    text_put(t->last_failure, sizeof t->last_failure, str_of(why));
    pthread_mutex_unlock(&t->lock);
}

void activator_checked(struct activator *a, struct str tenant, const char *from) {
    struct known *t = known_find(a, tenant, false);
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    struct outcome o = {.from = from, .answered = true};
    struct load_report r = {0};
    struct tenant *record = known_record(a, t);
    if (record) tenants_reported(a->options.tenants, record, &r);
    if (t->avoided[0])
        o.err = ERR_INVALID, o.why = t->avoided_why;
    else if (t->refused[0] && r.err && !t->last_failure[0])
        o.err = r.err, o.why = r.message; /* what the source has is still what was refused */
    t->last_failure[0] = 0;
    known_report(a, t, &o);
    pthread_mutex_unlock(&t->lock);
}

void known_forget(struct activator *a, struct known *t) {
    known_end_test(a, t);
    kept_free(t->now);
    kept_free(t->before);
    kept_free(t->waiting);
    t->now = t->before = t->waiting = NULL;
    t->entered = false;
    t->highest = 0;
    if (t->pinned[0]) atomic_fetch_sub(&a->pinned, 1);
    t->pinned[0] = t->avoided[0] = t->refused[0] = t->last_failure[0] = 0;
}

enum err activator_remove(struct activator *a, struct str tenant, const char *from) {
    struct known *t = known_find(a, tenant, false);
    enum err e = OK;
    if (!t) return OK;
    pthread_mutex_lock(&t->lock);
    if (t->entered && (!t->now || strcmp(t->now->from, from) == 0)) {
        pthread_mutex_lock(&a->table);
        e = tenants_set(a->options.tenants, tenant, NULL);
        pthread_mutex_unlock(&a->table);
        if (!e && a->options.store && store_remove(a->options.store, tenant))
            count_one(&a->store_failures);
        if (!e) {
            known_forget(a, t);
            count(a, EVENT_REMOVED);
            log_line(a->options.log, LOG_INFO, "tenant removed", "tenant_id", t->id, NULL);
        }
    }
    pthread_mutex_unlock(&t->lock);
    return e;
}

void activator_sweep(struct activator *a, const char *from,
                     bool (*has)(void *ctx, struct str tenant), void *ctx) {
    for (struct known *t = atomic_load(&a->all); t; t = t->next) {
        pthread_mutex_lock(&t->lock);
        bool gone = t->now && strcmp(t->now->from, from) == 0 && !has(ctx, str_of(t->id));
        pthread_mutex_unlock(&t->lock);
        if (gone && activator_remove(a, str_of(t->id), from))
            continue; /* it is asked about again at the next start */
    }
}

/* ---- now and then ---- */

void activator_tick(struct activator *a) {
    bool any = atomic_load(&a->shadows) + atomic_load(&a->watches) > 0;
    for (struct known *t = any ? atomic_load(&a->all) : NULL; t; t = t->next) {
        if (!atomic_load_explicit(&t->testing, memory_order_relaxed)) continue;
        if (pthread_mutex_trylock(&t->lock))
            continue; /* an offer is under way: with the next tick, then */
        test_step(a, t);
        pthread_mutex_unlock(&t->lock);
    }
    pthread_mutex_lock(&a->table);
    tenants_reclaim(a->options.tenants);
    pthread_mutex_unlock(&a->table);
}

static void *tick(void *arg) {
    struct activator *a = arg;
    struct pollfd fd = {.fd = a->stop, .events = POLLIN};
    priority_of_lane();
    while (poll(&fd, 1, TICK_MS) <= 0) activator_tick(a);
    return NULL;
}

enum err activator_start(struct activator *a) {
    if ((a->stop = eventfd(0, EFD_CLOEXEC)) < 0) return ERR_IO;
    if (pthread_create(&a->ticker, NULL, tick, a) == 0) return OK;
    close(a->stop);
    a->stop = -1;
    return ERR_MEMORY;
}
