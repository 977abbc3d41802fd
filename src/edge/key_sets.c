/* Keeps the keys of JWT rules: reads files, fetches URLs on a thread of its own, at intervals and when one is missed.
 *
 * in:   rules; key files; replies of key servers.
 * out:  counted, immutable key sets, replaced whole.
 * owns: the thread, its fetcher, the sets. A lock is held for moving pointers only, so that event loops never wait.
 * Old keys stay when a fetch fails: a key server that is down stops no request, but new keys are not known then. */
#include "edge/key_sets.h"
#include "base/clock.h"
#include "base/hash.h"
#include "net/fetch.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    WHY_BYTES = 512,
    MISS_INTERVAL_US = 5000000,   /* between fetches for keys that were missed: strangers can name any */
    RETRY_FIRST_US = 500000,      /* after a failure, doubled each time */
    RETRY_LAST_US = 60000000,
    FETCH_TIMEOUT_MS = 10000
};

struct key_set {
    struct key_sets *all;
    const struct tenant_rule *rule;
    struct token_keys *keys; /* under the lock */
    _Atomic uint64_t version;
    _Atomic bool missed;
    /* The thread's: */
    uint64_t fetched_us, due_us, retry_us; /* last try, next one, wait after the next failure */
    uint8_t hash[32];                      /* of the text the keys came from */
    char etag[FETCH_VALUE_BYTES];
};

struct key_sets {
    const struct edge_config *config;
    struct key_set *items; /* one a rule; those of other kinds have none */
    uint32_t n;
    struct fetcher *fetcher;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running;
    _Atomic bool stop;
};

/* ---- what identifiers ask ---- */

struct key_set *key_sets_of(struct key_sets *k, uint32_t rule) {
    return k && rule < k->n && k->items[rule].rule ? &k->items[rule] : NULL;
}

uint64_t key_set_version(const struct key_set *s) { return atomic_load_explicit(&s->version, memory_order_relaxed); }

struct token_keys *key_set_acquire(struct key_set *s, uint64_t *version) {
    pthread_mutex_lock(&s->all->lock);
    struct token_keys *keys = s->keys ? token_keys_acquire(s->keys) : NULL;
    *version = s->version;
    pthread_mutex_unlock(&s->all->lock);
    return keys;
}

void key_set_miss(struct key_set *s) {
    if (!s->rule->jwks_url || atomic_exchange(&s->missed, true)) return;
    pthread_mutex_lock(&s->all->lock);
    pthread_cond_signal(&s->all->wake);
    pthread_mutex_unlock(&s->all->lock);
}

static void publish(struct key_set *s, struct token_keys *keys) {
    pthread_mutex_lock(&s->all->lock);
    struct token_keys *old = s->keys;
    s->keys = keys;
    s->version++;
    pthread_mutex_unlock(&s->all->lock);
    token_keys_release(old);
}

void key_sets_inherit(struct key_sets *now, struct key_sets *was) {
    for (uint32_t i = 0; i < now->n; i++) {
        struct key_set *s = &now->items[i];
        for (uint32_t k = 0; s->rule && s->rule->jwks_url && !key_set_version(s) && k < was->n; k++) {
            struct key_set *old = &was->items[k];
            uint64_t version;
            if (!old->rule || !old->rule->jwks_url || strcmp(old->rule->jwks_url, s->rule->jwks_url) != 0) continue;
            struct token_keys *keys = key_set_acquire(old, &version);
            if (!keys) continue;
            pthread_mutex_lock(&now->lock);
            bool wanted = !s->keys; /* those that were fetched meanwhile are newer */
            if (wanted) s->keys = keys, s->version++;
            pthread_mutex_unlock(&now->lock);
            if (!wanted) token_keys_release(keys);
        }
    }
}

/* ---- files ---- */

static bool may_be_secret(const struct tenant_rule *r) {
    for (uint32_t i = 0; i < r->algorithms.n; i++)
        if (token_algorithm(r->algorithms.items[i]) & TOKEN_SHARED_SECRET) return true;
    return false;
}

static enum err read_file(struct key_set *s, char *why, size_t why_bytes) {
    char wrong[WHY_BYTES] = "";
    struct token_keys *keys;
    struct buf text;
    buf_init(&text, TOKEN_KEYS_BYTES);
    enum err e = buf_read_file(&text, s->rule->keys_file);
    if (e == ERR_IO) snprintf(wrong, sizeof wrong, "%s", strerror(errno));
    if (!e) e = token_keys_new(buf_view(&text), may_be_secret(s->rule), &keys, wrong, sizeof wrong);
    if (text.ptr) explicit_bzero(text.ptr, text.len);
    buf_deinit(&text);
    if (e) snprintf(why, why_bytes, "keys_file %s: %s", s->rule->keys_file, wrong[0] ? wrong : err_meaning(e));
    else publish(s, keys);
    return e;
}

/* ---- URLs ---- */

static void tell(struct key_set *s, const char *why, uint32_t n) {
    const struct log *log = &s->all->config->log;
    char count[24];
    snprintf(count, sizeof count, "%u", n);
    if (why)
        log_line(log, LOG_WARN, "keys not fetched", "url", s->rule->jwks_url, "reason", why, "serving",
                 key_set_version(s) ? "the keys before" : "no token of this rule", NULL);
    else
        log_line(log, LOG_INFO, "keys fetched", "url", s->rule->jwks_url, "keys", count, NULL);
}

static enum err take(struct key_set *s, struct str text, char *why, size_t why_bytes) {
    struct token_keys *keys;
    uint8_t hash[32];
    sha256(text.ptr ? text.ptr : "", text.len, hash);
    bool known = key_set_version(s) && memcmp(hash, s->hash, sizeof hash) == 0;
    if (known) return OK;
    enum err e = token_keys_new(text, false, &keys, why, why_bytes);
    if (e) return e;
    uint32_t n = token_keys_count(keys);
    memcpy(s->hash, hash, sizeof hash);
    publish(s, keys);
    tell(s, NULL, n);
    return OK;
}

static enum err fetch_text(struct key_set *s, struct buf *text, int *status, char *why, size_t why_bytes) {
    struct http_header headers[2] = {{STR("accept"), STR("application/jwk-set+json, application/json")},
                                     {STR("if-none-match"), str_of(s->etag)}};
    struct fetch_wanted etag = {.name = "etag"};
    struct fetch_reply reply = {.wanted = &etag, .n_wanted = 1};
    struct fetch_request q = {.url = s->rule->jwks_url,
                              .headers = headers,
                              .n_headers = s->etag[0] ? 2 : 1,
                              .timeout_ms = FETCH_TIMEOUT_MS,
                              .cancel = &s->all->stop};
    enum err e = fetch(s->all->fetcher, &q, text, &reply, why, why_bytes);
    if (e) return e;
    *status = reply.status;
    s->etag[0] = 0;
    if (reply.status == 200 || reply.status == 304) memcpy(s->etag, etag.value, sizeof s->etag);
    return OK;
}

static void fetch_keys(struct key_set *s) {
    char why[WHY_BYTES] = "";
    int status = 0;
    struct buf text;
    buf_init(&text, TOKEN_KEYS_BYTES);
    atomic_store(&s->missed, false);
    enum err e = fetch_text(s, &text, &status, why, sizeof why);
    bool same = !e && status == 304 && key_set_version(s);
    if (!e && !same && status != 200) {
        e = ERR_IO;
        snprintf(why, sizeof why, "the server answers with status %d", status);
    }
    if (!e && !same) e = take(s, buf_view(&text), why, sizeof why);
    buf_deinit(&text);
    s->fetched_us = clock_ns() / 1000;
    if (e) {
        s->etag[0] = 0;
        s->due_us = s->fetched_us + (s->retry_us < s->rule->refresh_us ? s->retry_us : s->rule->refresh_us);
        s->retry_us = s->retry_us * 2 < RETRY_LAST_US ? s->retry_us * 2 : RETRY_LAST_US;
        if (!s->all->stop) tell(s, why[0] ? why : err_meaning(e), 0);
    } else {
        s->due_us = s->fetched_us + s->rule->refresh_us;
        s->retry_us = RETRY_FIRST_US;
    }
}

static uint64_t due(const struct key_set *s) {
    uint64_t soon = s->fetched_us + MISS_INTERVAL_US;
    return atomic_load(&s->missed) && soon < s->due_us ? soon : s->due_us;
}

static struct key_set *next_due(struct key_sets *k) {
    struct key_set *first = NULL;
    for (uint32_t i = 0; i < k->n; i++) {
        struct key_set *s = &k->items[i];
        if (s->rule && s->rule->jwks_url && (!first || due(s) < due(first))) first = s;
    }
    return first;
}

static void *run(void *ctx) {
    struct key_sets *k = ctx;
    pthread_mutex_lock(&k->lock);
    while (!k->stop) {
        struct key_set *s = next_due(k);
        uint64_t at = due(s);
        if (at > clock_ns() / 1000) {
            struct timespec t = {(time_t)(at / 1000000), (long)(at % 1000000) * 1000};
            pthread_cond_timedwait(&k->wake, &k->lock, &t);
            continue;
        }
        pthread_mutex_unlock(&k->lock);
        fetch_keys(s);
        pthread_mutex_lock(&k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* ---- life ---- */

static enum err begin_fetching(struct key_sets *k, char *why, size_t why_bytes) {
    bool any = false;
    for (uint32_t i = 0; i < k->n; i++) any = any || (k->items[i].rule && k->items[i].rule->jwks_url);
    if (!any) return OK;
    enum err e = fetcher_new(&k->fetcher, why, why_bytes);
    if (e) return e == ERR_UNSUPPORTED ? ERR_INVALID : e;
    k->running = pthread_create(&k->thread, NULL, run, k) == 0;
    return k->running ? OK : ERR_MEMORY;
}

enum err key_sets_new(const struct edge_config *config, struct key_sets **out, char *why, size_t why_bytes) {
    struct key_sets *k = calloc(1, sizeof *k);
    pthread_condattr_t attr;
    if (!k) return ERR_MEMORY;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->wake, &attr);
    pthread_condattr_destroy(&attr);
    k->config = config;
    k->n = config->tenant_from.n;
    k->items = calloc(k->n ? k->n : 1, sizeof *k->items);
    enum err e = k->items ? OK : ERR_MEMORY;
    for (uint32_t i = 0; !e && i < k->n; i++) {
        const struct tenant_rule *rule = &config->tenant_from.items[i];
        if (rule->kind != TENANT_BY_JWT) continue;
        k->items[i] = (struct key_set){.all = k, .rule = rule, .retry_us = RETRY_FIRST_US};
        if (rule->keys_file) e = read_file(&k->items[i], why, why_bytes);
    }
    if (!e) e = begin_fetching(k, why, why_bytes);
    if (e) key_sets_free(k);
    else *out = k;
    return e;
}

void key_sets_free(struct key_sets *k) {
    if (!k) return;
    pthread_mutex_lock(&k->lock);
    k->stop = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    if (k->running) pthread_join(k->thread, NULL);
    fetcher_free(k->fetcher);
    for (uint32_t i = 0; k->items && i < k->n; i++) token_keys_release(k->items[i].keys);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->lock);
    free(k->items);
    free(k);
}
