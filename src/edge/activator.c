/* Brings versions of tenants' policies to life: what a source offers is named, read, verified, loaded and checked on
 * the source's own thread, and swapped in with one pointer.
 * in:   candidates, from any thread. out: entries and load reports in the tenant table, log lines, counts.
 * owns: what it knows of each tenant: the versions that it holds, each with a count of its policy. */
#include "edge/activator.h"
#include "base/clock.h"
#include "base/hash.h"
#include "edge/activator_private.h"
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_BUCKETS = 64 };

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
    pthread_mutex_init(&a->table, NULL);
    pthread_mutex_init(&a->lock, NULL);
    tenants_resolve(options->tenants, (struct limits_source){options->config, limits_of});
    *out = a;
    return OK;
}

void activator_free(struct activator *a) {
    for (struct known *t = atomic_load(&a->all), *next; t; t = next) {
        next = t->next;
        kept_free(t->now);
        kept_free(t->before);
        kept_free(t->waiting);
        pthread_mutex_destroy(&t->lock);
        free(t);
    }
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

/* How an offer or a question to the source went, for status. */
struct outcome {
    const char *from, *why;
    int64_t requested_ns;
    enum err err;
    int http_status;
    bool answered, gave, swapped; /* the source did; bytes; another version answers */
};

static struct tenant *record_of(struct activator *a, const struct known *t) {
    pthread_mutex_lock(&a->table);
    struct tenant *record = tenants_record(a->options.tenants, str_of(t->id));
    pthread_mutex_unlock(&a->table);
    return record;
}

static void report(struct activator *a, struct known *t, const struct outcome *o) {
    struct load_report r;
    struct tenants *tenants = a->options.tenants;
    struct tenant *record = record_of(a, t);
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

enum err known_go_live(struct activator *a, struct known *t, struct kept *k) {
    struct tenant_version v = {.policy = k->policy,
                               .revision = str_of(k->revision),
                               .own = k->own,
                               .version = str_of(k->version),
                               .sha256 = str_of(k->sha256)};
    pthread_mutex_lock(&a->table);
    policy_acquire(k->policy);
    enum err e = tenants_set(a->options.tenants, str_of(t->id), &v);
    pthread_mutex_unlock(&a->table);
    if (e) {
        policy_release(k->policy);
        return e;
    }
    t->entered = true;
    kept_free(t->before);
    t->before = t->now;
    t->now = k;
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

void known_avoid(struct known *t, const struct kept *k, const char *why) {
    text_put(t->avoided, sizeof t->avoided, str_of(k->content));
    text_put(t->avoided_why, sizeof t->avoided_why, str_of(why));
}

/* ---- an offer ---- */

/* Nothing has to be done for bytes that were seen before. */
static bool settled_before(struct known *t, const struct work *w, struct activation *out) {
    const struct kept *k = w->kept;
    bool override = w->candidate->allow_older;
    if (t->now && strcmp(t->now->content, k->content) == 0)
        out->kind = ACTIVATION_UNCHANGED;
    else if (t->pinned[0] && t->waiting && strcmp(t->waiting->content, k->content) == 0)
        out->kind = ACTIVATION_PINNED;
    else if (!override && t->avoided[0] && strcmp(t->avoided, k->content) == 0)
        activation_refuse(out, ERR_INVALID, t->avoided_why);
    else
        return false;
    if (out->kind == ACTIVATION_UNCHANGED) text_put(out->version, sizeof out->version, str_of(t->now->version));
    return true;
}

static enum err check_serial(const struct known *t, struct work *w) {
    uint64_t serial = w->kept->serial;
    if (!serial || serial >= t->highest || w->candidate->allow_older) return OK;
    snprintf(w->why, sizeof w->why,
             "version %s has serial %llu, and this tenant has had %llu already: an older version comes back only if an "
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

static enum err take_in(struct activator *a, struct known *t, struct work *w, struct activation *out) {
    enum err e = work_read(w);
    if (!e) tell_apart(t, w->kept);
    if (!e) e = check_serial(t, w);
    if (!e) e = work_load(a, w);
    if (e) return e;
    if (w->kept->serial > t->highest) t->highest = w->kept->serial;
    if ((e = known_go_live(a, t, w->kept))) {
        snprintf(w->why, sizeof w->why, "%s", err_meaning(e));
        return e;
    }
    w->kept = NULL;
    t->refused[0] = t->avoided[0] = 0;
    out->kind = ACTIVATION_ACTIVE;
    return OK;
}

static void tell(struct activator *a, struct known *t, const struct work *w, const struct activation *out,
                 uint64_t us) {
    const struct log *log = a->options.log;
    char took[32];
    snprintf(took, sizeof took, "%llu.%03llu", (unsigned long long)(us / 1000), (unsigned long long)(us % 1000));
    if (out->kind == ACTIVATION_REFUSED) {
        bool again = w->kept && strcmp(t->refused, w->kept->content) == 0;
        log_line(log, again ? LOG_DEBUG : LOG_ERROR, "bundle refused", "tenant_id", t->id, "reason", out->why,
                 "serving", t->now ? "the version before" : "nothing", NULL);
        if (w->kept) text_put(t->refused, sizeof t->refused, str_of(w->kept->content));
    } else if (out->kind == ACTIVATION_ACTIVE) {
        log_line(log, w->candidate->quiet ? LOG_DEBUG : LOG_INFO, "bundle activated", "tenant_id", t->id, "revision",
                 t->now->revision, "version", t->now->version, "from", t->now->from, "ms", took, NULL);
    }
}

static void settle(struct activator *a, struct known *t, const struct work *w, const struct activation *out,
                   uint64_t us) {
    const struct candidate *c = w->candidate;
    static const enum event events[] = {EVENT_ACTIVE, EVENT_UNCHANGED, EVENT_SHADOW, EVENT_PINNED, EVENT_REFUSED};
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
    report(a, t, &o);
    struct tenant *record = us ? record_of(a, t) : NULL;
    if (record) metrics_load(&record->metrics, us);
    tell(a, t, w, out, us);
}

static void offer(struct activator *a, struct known *t, const struct candidate *c, struct activation *out) {
    struct work w;
    uint64_t us = 0;
    enum err e = work_begin(&w, c);
    if (!e) e = work_name(&w);
    if (e || !settled_before(t, &w, out)) {
        if (!e) e = take_in(a, t, &w, out);
        us = (clock_ns() - w.began_ns) / 1000;
        if (e) activation_refuse(out, e, w.why);
        const struct kept *k = w.kept ? w.kept : t->now;
        if (k) text_put(out->version, sizeof out->version, str_of(k->version));
        if (k) text_put(out->sha256, sizeof out->sha256, str_of(k->sha256));
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
    offer(a, t, c, out);
    if (t->now) text_put(out->active, sizeof out->active, str_of(t->now->version));
    pthread_mutex_unlock(&t->lock);
}

/* ---- sources without news ---- */

void activator_failed(struct activator *a, struct str tenant, const char *from, enum err e, int status,
                      const char *why) {
    struct known *t = known_find(a, tenant, e != ERR_NOT_FOUND); /* else whoever asks for names would fill the table */
    count(a, EVENT_FAILED);
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    struct outcome o = {.from = from, .why = why, .err = e, .http_status = status};
    bool again = strcmp(t->last_failure, why) == 0;
    if (e != ERR_NOT_FOUND) enter(a, t);
    report(a, t, &o);
    log_line(a->options.log, again ? LOG_DEBUG : LOG_ERROR, "bundle refused", "tenant_id", t->id, "reason", why, "from",
             from, "serving", t->now ? "the version before" : "nothing", NULL);
    text_put(t->last_failure, sizeof t->last_failure, str_of(why));
    pthread_mutex_unlock(&t->lock);
}

void activator_checked(struct activator *a, struct str tenant, const char *from) {
    struct known *t = known_find(a, tenant, false);
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    struct outcome o = {.from = from, .answered = true};
    struct load_report r = {0};
    struct tenant *record = record_of(a, t);
    if (record) tenants_reported(a->options.tenants, record, &r);
    if (t->refused[0] && r.err) o.err = r.err, o.why = r.message; /* what the source has is still what was refused */
    t->last_failure[0] = 0;
    report(a, t, &o);
    pthread_mutex_unlock(&t->lock);
}

static void forget(struct known *t) {
    kept_free(t->now);
    kept_free(t->before);
    kept_free(t->waiting);
    t->now = t->before = t->waiting = NULL;
    t->entered = false;
    t->highest = 0;
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
        if (!e) {
            forget(t);
            count(a, EVENT_REMOVED);
            log_line(a->options.log, LOG_INFO, "tenant removed", "tenant_id", t->id, NULL);
        }
    }
    pthread_mutex_unlock(&t->lock);
    return e;
}

void activator_sweep(struct activator *a, const char *from, bool (*has)(void *ctx, struct str tenant), void *ctx) {
    for (struct known *t = atomic_load(&a->all); t; t = t->next) {
        pthread_mutex_lock(&t->lock);
        bool gone = t->now && strcmp(t->now->from, from) == 0 && !has(ctx, str_of(t->id));
        pthread_mutex_unlock(&t->lock);
        if (gone && activator_remove(a, str_of(t->id), from)) continue; /* it is asked about again at the next start */
    }
}

/* ---- now and then ---- */

void activator_tick(struct activator *a) {
    pthread_mutex_lock(&a->table);
    tenants_reclaim(a->options.tenants);
    pthread_mutex_unlock(&a->table);
}

static void put_counts(struct activator *a, struct buf *out) {
    static const char *const words[EVENT_COUNT] = {"active", "unchanged", "shadow", "pinned", "refused", "failed",
                                                   "removed"};
    buf_cstr(out, "# HELP regent_activations_total What became of versions that sources offered.\n"
                  "# TYPE regent_activations_total counter\n");
    for (int i = 0; i < EVENT_COUNT; i++)
        buf_printf(out, "regent_activations_total{outcome=\"%s\"} %llu\n", words[i],
                   (unsigned long long)atomic_load_explicit(&a->events[i], memory_order_relaxed));
}

void activator_metrics(struct activator *a, struct buf *out) { put_counts(a, out); }
