/* Batches of events to a log service: POST {url}/logs, a gzip'ed JSON array each, as OPA sends them.
 * in: lines. out: requests. owns: a thread, what is not delivered yet. */
#include "base/clock.h"
#include "edge/decision_log_private.h"
#include "edge/gzip.h"
#include "edge/priority.h"
#include "net/fetch.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    FIRST_RETRY_MS = 100,
    TIMEOUT_MS = 30000,
    LAST_TIMEOUT_MS = 3000, /* when the node stops */
    REPLY_BYTES = 64 << 10,
    PLAIN_BYTES = 512 << 20,
    WHY_BYTES = 256,
    PARTS = 2,
    MOST_RATIO = 100,
    FIRST_RATIO = 2 /* plain to compressed, assumed */
};

struct queued {
    struct queued *next;
    struct tenant *tenant;
    size_t held, len;
    char text[];
};

struct uploader {
    struct decision_log *log;
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct queued *first, **last;
    uint64_t bytes; /* that wait */
    uint32_t n;     /* lines */
    bool started, stopping, changed;
    _Atomic bool cancel;
    char *url, *token_file, *ca_file; /* url: whole; NULL: no service */
    uint64_t min_delay_ms, max_delay_ms, upload_bytes;
    /* The thread's own: */
    struct fetcher *fetcher;
    double ratio; /* plain bytes to one compressed */
    uint64_t random;
    struct buf plain, packed, reply;
    bool failing;
};

/* ---- one batch ---- */

/* What the thread sends with: copies, since the configuration may change meanwhile. */
struct sending {
    char *url, *token_file, *ca_file;
    uint64_t limit;
    uint32_t timeout_ms;
};

static char *copy_of(const char *s) { return s ? strdup(s) : NULL; }

static void sending_init(struct uploader *u, struct sending *s) { /* under the lock */
    *s = (struct sending){copy_of(u->url), copy_of(u->token_file), copy_of(u->ca_file), u->upload_bytes,
                          u->stopping ? LAST_TIMEOUT_MS : TIMEOUT_MS};
}

static void sending_deinit(struct sending *s) {
    free(s->url);
    free(s->token_file);
    free(s->ca_file);
}

/* The first n lines as a JSON array, compressed. */
static bool pack(struct uploader *u, const struct queued *first, uint32_t n) {
    buf_clear(&u->plain);
    buf_clear(&u->packed);
    for (uint32_t i = 0; i < n; i++) {
        if (i) first = first->next;
        buf_byte(&u->plain, i ? ',' : '[');
        buf_put(&u->plain, first->text, first->len);
    }
    buf_byte(&u->plain, ']');
    return !u->plain.err && gzip_deflate(buf_view(&u->plain), 6, &u->packed) == OK;
}

/* How many of `most` lines may fit. Lines are added behind them meanwhile. */
static uint32_t estimate(const struct uploader *u, const struct queued *first, uint32_t most, uint64_t limit) {
    double room = (double)limit * u->ratio * 0.95 - (double)first->len;
    uint32_t n = 1;
    while (n < most && (room -= (double)(first = first->next)->len + 1) > 0) n++;
    return n;
}

static void drop_queued(struct uploader *u, struct queued *q, bool dropped) {
    if (dropped) decision_log_dropped(u->log, q->tenant, DROPPED_SIZE);
    if (q->tenant) atomic_fetch_sub_explicit(&q->tenant->events.waiting_bytes, q->held, memory_order_relaxed);
    decision_log_release(u->log, q->held);
    free(q);
}

/* Takes n lines off the front. */
static void shift(struct uploader *u, uint32_t n, bool dropped) {
    for (; n; n--) {
        pthread_mutex_lock(&u->lock);
        struct queued *q = u->first;
        u->first = q->next;
        u->bytes -= q->held;
        u->n--;
        if (!u->first) u->last = &u->first;
        pthread_mutex_unlock(&u->lock);
        drop_queued(u, q, dropped);
    }
}

static bool read_token(const char *path, struct buf *out, char *why) {
    buf_cstr(out, "Bearer ");
    enum err e = buf_read_file(out, path);
    while (!e && out->len && strchr(" \r\n\t", out->ptr[out->len - 1])) out->len--;
    buf_byte(out, 0);
    if (!e && !out->err) return true;
    snprintf(why, WHY_BYTES, "the token's file cannot be read");
    return false;
}

/* HTTP's status, 0: none, with why. */
static int post(struct uploader *u, const struct sending *s, uint64_t *retry_after_ms, char why[WHY_BYTES]) {
    struct buf token;
    struct fetch_wanted wanted = {.name = "retry-after"};
    struct fetch_reply reply = {.wanted = &wanted, .n_wanted = 1};
    buf_init(&token, 16 << 10);
    bool good = !s->token_file || read_token(s->token_file, &token, why);
    struct http_header headers[3] = {{STR("content-type"), STR("application/json")},
                                     {STR("content-encoding"), STR("gzip")},
                                     {STR("authorization"), {(const char *)token.ptr, token.len ? token.len - 1 : 0}}};
    struct fetch_request q = {.url = s->url,
                              .method = "POST",
                              .body = buf_view(&u->packed),
                              .headers = headers,
                              .n_headers = s->token_file ? 3 : 2,
                              .timeout_ms = s->timeout_ms,
                              .ca_file = s->ca_file,
                              .cancel = &u->cancel};
    buf_clear(&u->reply);
    enum err e = ERR_IO;
    if (good) e = u->fetcher ? OK : fetcher_new(&u->fetcher, why, WHY_BYTES);
    if (good && !e) e = fetch(u->fetcher, &q, &u->reply, &reply, why, WHY_BYTES);
    buf_deinit(&token);
    /* A reply that is too long has been given all the same. */
    if (e && !(e == ERR_LIMIT && reply.status)) return 0;
    unsigned long seconds = strtoul(wanted.value, NULL, 10);
    *retry_after_ms = seconds < 24 * 3600 ? seconds * 1000 : 0;
    snprintf(why, WHY_BYTES, "the log service answers %d", reply.status);
    return reply.status;
}

static void say_state(struct uploader *u, const struct sending *s, bool failing, const char *why) {
    if (failing == u->failing) return;
    u->failing = failing;
    size_t n = strcspn(s->url, "?#"); /* what stands there may be a secret */
    char url[512];
    snprintf(url, sizeof url, "%.*s", (int)n, s->url);
    if (failing)
        log_line(u->log->log, LOG_ERROR, "decisions cannot be sent", "service", url, "reason", why, "meanwhile",
                 "decisions wait in the buffer, then they are dropped and counted", NULL);
    else
        log_line(u->log->log, LOG_INFO, "decisions are sent again", "service", url, NULL);
}

static void shrink(struct uploader *u, uint32_t *n) {
    *n /= 2;
    u->ratio = u->ratio > 1 ? u->ratio * 0.7 : u->ratio;
}

/* Sends one batch that fits. false: it failed, try again later. */
static bool send_batch(struct uploader *u, const struct sending *s, const struct queued *first, uint32_t most,
                       uint64_t *retry_after_ms) {
    char why[WHY_BYTES] = "";
    for (uint32_t n = estimate(u, first, most, s->limit); n;) {
        if (!pack(u, first, n) || u->packed.len > s->limit) {
            if (n == 1) shift(u, 1, true); /* it never fits */
            if (n == 1) return true;
            shrink(u, &n);
            continue;
        }
        int status = post(u, s, retry_after_ms, why);
        if (status == 413) {
            if (n == 1) shift(u, 1, true);
            if (n == 1) return true;
            shrink(u, &n);
            continue;
        }
        bool good = status >= 200 && status < 300;
        say_state(u, s, !good, why);
        atomic_fetch_add_explicit(good ? &u->log->counts.uploads : &u->log->counts.uploads_failed, 1,
                                  memory_order_relaxed);
        if (!good) return false;
        if (u->packed.len < s->limit / 2 && u->ratio < MOST_RATIO) u->ratio *= 1.3;
        shift(u, n, false);
        return true;
    }
    return true;
}

/* ---- the thread ---- */

static uint64_t between(struct uploader *u, uint64_t least, uint64_t most) {
    u->random = u->random * 6364136223846793005u + 1442695040888963407u;
    return least + (u->random >> 16) % (most - least + 1);
}

/* All that waits now. *delay_ms: until the next time. */
static void send_all(struct uploader *u, uint32_t *failures, uint64_t *delay_ms) { /* under the lock */
    struct sending s;
    uint64_t retry_after_ms = 0;
    bool good = true;
    sending_init(u, &s);
    while (good && s.url && u->first && !u->changed) {
        const struct queued *first = u->first;
        uint32_t most = u->n;
        pthread_mutex_unlock(&u->lock);
        good = send_batch(u, &s, first, most, &retry_after_ms);
        pthread_mutex_lock(&u->lock);
    }
    sending_deinit(&s);
    *failures = good ? 0 : *failures + 1;
    uint64_t backoff = FIRST_RETRY_MS << (*failures < 20 ? *failures : 20);
    if (good)
        *delay_ms = between(u, u->min_delay_ms, u->max_delay_ms);
    else
        *delay_ms = retry_after_ms ? retry_after_ms : between(u, backoff / 2, backoff);
    if (!good && *delay_ms > u->max_delay_ms) *delay_ms = u->max_delay_ms;
}

/* More than half of what it may hold waits: sooner than planned. */
static bool is_urgent(const struct uploader *u) {
    return u->bytes > atomic_load_explicit(&u->log->limit_bytes, memory_order_relaxed) / 4;
}

static void *run(void *ctx) {
    struct uploader *u = ctx;
    uint32_t failures = 0;
    uint64_t delay_ms = 0;
    priority_of_lane();
    pthread_mutex_lock(&u->lock);
    for (uint64_t sent_ns = clock_ns(); !u->stopping;) {
        u->changed = false;
        if (u->url && !delay_ms) delay_ms = between(u, u->min_delay_ms, u->max_delay_ms);
        uint64_t now = clock_ns(), due = sent_ns + delay_ms * 1000000;
        bool ready = u->url && u->first && (now >= due || (is_urgent(u) && !failures));
        if (!ready) {
            if (now >= due) due = now + 100000000;
            struct timespec until = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
            if (u->url)
                pthread_cond_timedwait(&u->work, &u->lock, &until);
            else
                pthread_cond_wait(&u->work, &u->lock);
            continue;
        }
        send_all(u, &failures, &delay_ms);
        sent_ns = clock_ns();
    }
    u->changed = false;
    if (u->url && u->first) {
        atomic_store(&u->cancel, false);
        send_all(u, &failures, &delay_ms);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

bool uploader_wanted(struct uploader *u) {
    pthread_mutex_lock(&u->lock);
    bool wanted = u->url != NULL;
    pthread_mutex_unlock(&u->lock);
    return wanted;
}

bool uploader_has_room(struct uploader *u) {
    pthread_mutex_lock(&u->lock);
    bool room = u->bytes < atomic_load_explicit(&u->log->limit_bytes, memory_order_relaxed) * 3 / (4 * PARTS);
    pthread_mutex_unlock(&u->lock);
    return room;
}

void uploader_put(struct uploader *u, struct tenant *tenant, struct str line) {
    size_t held = sizeof(struct queued) + line.len;
    pthread_mutex_lock(&u->lock);
    bool fits = decision_log_pass_on(u->log, u->bytes, held, PARTS);
    pthread_mutex_unlock(&u->lock);
    struct queued *q = fits ? malloc(held) : NULL;
    if (!q) {
        if (fits) decision_log_release(u->log, held);
        decision_log_dropped(u->log, tenant, DROPPED_SINK);
        return;
    }
    *q = (struct queued){.tenant = tenant, .held = held, .len = line.len};
    memcpy(q->text, line.ptr, line.len);
    if (tenant) atomic_fetch_add_explicit(&tenant->events.waiting_bytes, held, memory_order_relaxed);
    pthread_mutex_lock(&u->lock);
    bool was_urgent = is_urgent(u);
    *u->last = q;
    u->last = &q->next;
    u->bytes += held;
    u->n++;
    if (!was_urgent && is_urgent(u)) pthread_cond_signal(&u->work);
    pthread_mutex_unlock(&u->lock);
}

/* ---- life ---- */

static void set_text(char **to, const char *from) {
    free(*to);
    *to = copy_of(from);
}

static char *whole_url(const struct decision_log_config *c) {
    struct str base = str_of(c->url);
    while (base.len && base.ptr[base.len - 1] == '/') base.len--;
    size_t n = base.len + c->resource.len + c->partition.len + 2;
    char *out = malloc(n);
    if (out)
        snprintf(out, n, "%.*s%.*s%s%.*s", STR_FMT(base), STR_FMT(c->resource), c->partition.len ? "/" : "",
                 STR_FMT(c->partition));
    return out;
}

void uploader_configure(struct uploader *u, const struct decision_log_config *c) {
    char *url = c->url ? whole_url(c) : NULL;
    pthread_mutex_lock(&u->lock);
    bool same = (!url && !u->url) || (url && u->url && strcmp(url, u->url) == 0);
    u->changed = u->changed || !same;
    free(u->url);
    u->url = url;
    set_text(&u->token_file, c->token_file);
    set_text(&u->ca_file, c->ca_file);
    u->min_delay_ms = c->min_delay_us / 1000;
    u->max_delay_ms = c->max_delay_us / 1000;
    u->upload_bytes = c->upload_bytes;
    bool start = url && !u->started;
    if (start) u->started = pthread_create(&u->id, NULL, run, u) == 0;
    pthread_cond_signal(&u->work);
    pthread_mutex_unlock(&u->lock);
}

enum err uploader_new(struct decision_log *l, struct uploader **out) {
    struct uploader *u = calloc(1, sizeof *u);
    pthread_condattr_t monotonic;
    if (!u) return ERR_MEMORY;
    u->log = l;
    u->last = &u->first;
    u->ratio = FIRST_RATIO;
    buf_init(&u->plain, PLAIN_BYTES);
    buf_init(&u->packed, PLAIN_BYTES);
    buf_init(&u->reply, REPLY_BYTES);
    pthread_mutex_init(&u->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&u->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out = u;
    return getrandom(&u->random, sizeof u->random, 0) == sizeof u->random ? OK : ERR_IO;
}

void uploader_stop(struct uploader *u) {
    pthread_mutex_lock(&u->lock);
    u->stopping = true;
    atomic_store(&u->cancel, true); /* an upload under way that hangs */
    pthread_cond_signal(&u->work);
    bool started = u->started;
    pthread_mutex_unlock(&u->lock);
    if (started) pthread_join(u->id, NULL);
    u->started = false;
}

static void say_lost(const struct uploader *u) {
    char n[16];
    snprintf(n, sizeof n, "%u", u->n);
    if (u->n) log_line(u->log->log, LOG_ERROR, "decisions were not sent and are lost", "count", n, NULL);
}

void uploader_free(struct uploader *u) {
    say_lost(u);
    while (u->first) {
        struct queued *q = u->first;
        u->first = q->next;
        drop_queued(u, q, false);
    }
    if (u->fetcher) fetcher_free(u->fetcher);
    free(u->url);
    free(u->token_file);
    free(u->ca_file);
    buf_deinit(&u->plain);
    buf_deinit(&u->packed);
    buf_deinit(&u->reply);
    pthread_cond_destroy(&u->work);
    pthread_mutex_destroy(&u->lock);
    free(u);
}
