/* The API's HTTP server: one event loop that puts every request off, threads that answer them with
 * a store connection each, and requests that wait until something is heard. in: requests, words
 * from the store. out: replies. owns: the loop, the threads, requests under way. */
#include "base/clock.h"
#include "base/hash.h"
#include "control/api_private.h"
#include "net/kept.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    DEFAULT_WAITING = 20000,
    DEFAULT_WAITING_TOKEN = 5000,
    SPARE_CONNECTIONS = 4096, /* beside those that wait */
    QUEUED_MOST = 4096,
    WORKERS_LEAST = 8,
    WORKERS_MOST = 64,
    REPLY_BYTES = 64 << 20,
    INPUT_BYTES = 512 << 20, /* of all requests that are not answered */
    TOPIC_LISTS = 1024,
    HEARD_MOST = 256,
    COALESCE_MS = 20,
    SWEEP_MS = 100,
    WOKEN_TURN = 4, /* every so many calls one of those that waited goes first */
    DRAIN_MS = 10000
};

const uint32_t api_latency_us[API_LATENCIES] = {500,     1000,    2500,    5000,    10000,
                                                20000,   50000,   100000,  250000,  500000,
                                                1000000, 2500000, 5000000, 10000000};

/* One request, from its arrival until its reply is sent. */
struct call {
    struct server_task back; /* to the loop, with the answer */
    struct api *api;
    struct http_pending *pending;
    struct http_kept *answer;
    struct call *next, **link; /* in a list */
    uint64_t heard;            /* api.hears when its handler began */
    int64_t deadline_ms;       /* 0: it has not waited yet */
    struct waiter *waiter;     /* on whose account it waits */
    bool last, changes;
    char topic[CONTROL_ID_BYTES];
};

/* How many wait on one token's or certificate's account. */
struct waiter {
    struct waiter *next, **link;
    uint32_t n;
    char key[];
};

struct queue {
    struct call *first, **end;
    uint32_t n;
};

struct worker {
    pthread_t thread;
    struct api *api;
    struct arena arena;
    struct buf body;
};

struct api {
    struct control *control;
    struct server *server;
    struct tls_context *tls;
    struct auth *auth;
    struct api_counts counts;

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t work, tick;
    struct queue reads, changes; /* those that came */
    struct queue woken;          /* those that waited: they may be thousands at once */
    uint32_t turn, n_changing;
    struct call *any, *again,
        *topics[TOPIC_LISTS]; /* that wait: for anything, for the next tick, for a topic */
    struct waiter *waiters[TOPIC_LISTS];
    uint32_t n_waiting;
    char heard[HEARD_MOST][CONTROL_ID_BYTES];
    uint32_t n_heard;
    bool heard_all, heard_feed; /* everything; something of the feed */
    int64_t heard_ms;           /* when the first of them was; 0: nothing is */
    uint64_t hears;
    bool stopping; /* nothing waits any more */
    bool ended;    /* threads end */

    pthread_t clock;
    bool clock_started;
    uint32_t n_workers, n_started;
    struct worker workers[WORKERS_MOST];
};

struct api_counts *api_counters(struct api *a) {
    return &a->counts;
}
struct auth *api_auth(struct api *a) {
    return a->auth;
}
uint32_t api_workers(const struct api *a) { return a->n_workers; }
const struct server_counts *api_server_counts(const struct api *a) {
    return server_counters(a->server);
}

/* ---- lists ---- */

static void link_call(struct call **list, struct call *call) {
    call->next = *list;
    call->link = list;
    if (*list) (*list)->link = &call->next;
    *list = call;
}

static void unlink_call(struct call *call) {
    *call->link = call->next;
    if (call->next) call->next->link = call->link;
    call->next = NULL;
}

static void queue_add_call(struct queue *q, struct call *call) {
    call->next = NULL;
    *q->end = call;
    q->end = &call->next;
    q->n++;
}

static struct call *queue_take(struct queue *q) {
    struct call *call = q->first;
    if (!call) return NULL;
    q->first = call->next;
    if (!q->first) q->end = &q->first;
    q->n--;
    return call;
}

static uint32_t list_of(struct str topic) { return (uint32_t)(hash64(topic) % TOPIC_LISTS); }

/* ---- who waits on whose account ---- */

static struct waiter *find_waiter(struct api *a, const char *key) {
    struct waiter **list = &a->waiters[list_of(str_of(key))], *w = *list;
    while (w && strcmp(w->key, key) != 0) w = w->next;
    if (w) return w;
    size_t n = strlen(key) + 1;
    if (!(w = malloc(sizeof *w + n))) return NULL;
    *w = (struct waiter){.next = *list, .link = list};
    memcpy(w->key, key, n);
    if (*list) (*list)->link = &w->next;
    *list = w;
    return w;
}

static void leave(struct api *a, struct waiter *w) {
    a->n_waiting--;
    atomic_store_explicit(&a->counts.waiting, a->n_waiting, memory_order_relaxed);
    if (--w->n) return;
    *w->link = w->next;
    if (w->next) w->next->link = w->link;
    free(w);
}

/* 0, or the status with which it is refused. */
static int take_place(struct api *a, struct call *call, const char *key) {
    const struct control_config *config = a->control->config;
    uint32_t most = config->max_waiting ? config->max_waiting : DEFAULT_WAITING;
    uint32_t most_token =
        config->max_waiting_token ? config->max_waiting_token : DEFAULT_WAITING_TOKEN;
    if (a->n_waiting >= most) return 503;
    struct waiter *w = find_waiter(a, key);
    if (!w) return 503;
    if (w->n >= most_token) return 429;
    w->n++;
    a->n_waiting++;
    atomic_store_explicit(&a->counts.waiting, a->n_waiting, memory_order_relaxed);
    call->waiter = w;
    return 0;
}

/* ---- answering ---- */

static void send_answer(void *ctx) {
    struct call *call = ctx;
    struct buf none = {0};
    struct http_reply reply;
    http_reply_init(&reply, &none);
    reply.status = 503;
    http_pending_reply(call->pending, call->answer ? http_kept_reply(call->answer) : &reply);
    free(call->answer);
    free(call);
}

/* Not from the loop's own thread. r NULL: the client is gone. */
static void finish(struct api *a, struct call *call, const struct http_reply *r) {
    call->answer = r ? http_keep(r) : NULL;
    if (call->waiter) {
        pthread_mutex_lock(&a->lock);
        leave(a, call->waiter);
        pthread_mutex_unlock(&a->lock);
        call->waiter = NULL;
    }
    call->back = (struct server_task){.run = send_answer, .ctx = call};
    server_post(a->server, &call->back);
}

/* ---- waiting ---- */

struct serving {
    struct api_call c; /* first */
    struct call *call;
};

bool api_wait(struct api_call *c, struct str topic, uint32_t ms) {
    struct api *a = c->control->api;
    struct call *call = ((struct serving *)(void *)c)->call;
    char key[512];
    int status = 0;
    if (c->last) {
        api_error(c, 503, "no_time_left", "there was nothing new in time");
        return false;
    }
    if (!call->waiter) {
        snprintf(key, sizeof key, "%.*s/%.*s", STR_FMT(c->who.token),
                 STR_FMT(c->who.token.len ? STR("") : c->who.name));
        pthread_mutex_lock(&a->lock);
        status = take_place(a, call, key);
        pthread_mutex_unlock(&a->lock);
    }
    if (status) {
        atomic_fetch_add_explicit(&a->counts.waits_refused, 1, memory_order_relaxed);
        api_error(c, status, "too_many_wait",
                  status == 429 ? "too many requests of this token wait already"
                                : "too many requests wait here already");
        api_retry_after(c, 5);
        return false;
    }
    c->waits = true;
    c->topic = topic;
    c->wait_ms = ms;
    return true;
}

static void wake(struct api *a, struct call *call) {
    unlink_call(call);
    queue_add_call(&a->woken, call);
    atomic_fetch_add_explicit(&a->counts.wakes, 1, memory_order_relaxed);
    pthread_cond_signal(&a->work);
}

/* What was heard since the handler began may be what it waits for: then it is asked again with the
 * next tick. */
static void park(struct api *a, struct call *call, const struct api_call *c) {
    int64_t now_ms = clock_ms();
    if (!call->deadline_ms) call->deadline_ms = now_ms + c->wait_ms;
    snprintf(call->topic, sizeof call->topic, "%.*s", STR_FMT(c->topic));
    pthread_mutex_lock(&a->lock);
    if (a->stopping || now_ms >= call->deadline_ms) {
        call->last = true;
        queue_add_call(&a->woken, call);
        pthread_cond_signal(&a->work);
    } else if (call->heard != a->hears) {
        link_call(&a->again, call);
        if (!a->heard_ms) a->heard_ms = now_ms;
        pthread_cond_signal(&a->tick);
    } else {
        link_call(call->topic[0] ? &a->topics[list_of(str_of(call->topic))] : &a->any, call);
    }
    pthread_mutex_unlock(&a->lock);
}

void api_hear(struct api *a, const char *topic, struct str payload) {
    bool all = strcmp(topic, "*") == 0;
    if (all || strcmp(topic, "tokens") == 0) auth_forget(a->auth);
    bool feed = strcmp(topic, "feed") == 0;
    if (!all && !feed && strcmp(topic, "build") != 0) return;
    pthread_mutex_lock(&a->lock);
    a->hears++;
    a->heard_feed = a->heard_feed || all || feed;
    if (all || str_is(payload, "*") || payload.len >= CONTROL_ID_BYTES || a->n_heard == HEARD_MOST)
        a->heard_all = true;
    else
        snprintf(a->heard[a->n_heard++], CONTROL_ID_BYTES, "%.*s", STR_FMT(payload));
    if (!a->heard_ms) a->heard_ms = clock_ms();
    pthread_cond_signal(&a->tick);
    pthread_mutex_unlock(&a->lock);
}

static void wake_list(struct api *a, struct call *list, const char *topic) {
    for (struct call *call = list, *next; call; call = next) {
        next = call->next;
        if (!topic || strcmp(call->topic, topic) == 0) wake(a, call);
    }
}

static void wake_heard(struct api *a) {
    wake_list(a, a->again, NULL);
    if (a->heard_feed) wake_list(a, a->any, NULL);
    for (uint32_t i = 0; a->heard_all && i < TOPIC_LISTS; i++) wake_list(a, a->topics[i], NULL);
    for (uint32_t i = 0; !a->heard_all && i < a->n_heard; i++)
        wake_list(a, a->topics[list_of(str_of(a->heard[i]))], a->heard[i]);
    a->n_heard = 0;
    a->heard_all = a->heard_feed = false;
    a->heard_ms = 0;
}

static void sweep_list(struct api *a, struct call *list, int64_t now_ms) {
    for (struct call *call = list, *next; call; call = next) {
        next = call->next;
        bool late = a->stopping || now_ms >= call->deadline_ms;
        if (!late && !http_pending_gone(call->pending)) continue;
        call->last = late;
        wake(a, call);
    }
}

static void sweep(struct api *a, int64_t now_ms) {
    sweep_list(a, a->any, now_ms);
    sweep_list(a, a->again, now_ms);
    for (uint32_t i = 0; i < TOPIC_LISTS; i++) sweep_list(a, a->topics[i], now_ms);
}

/* Those who wait are woken together, and not again before those woken last were answered. */
static void *keep_time(void *ctx) {
    struct api *a = ctx;
    int64_t sweep_ms = 0;
    pthread_mutex_lock(&a->lock);
    while (!a->ended) {
        int64_t now_ms = clock_ms(), due_ms = a->heard_ms + COALESCE_MS;
        if (a->heard_ms && now_ms >= due_ms && !a->woken.n) wake_heard(a);
        if (now_ms >= sweep_ms) {
            sweep(a, now_ms);
            sweep_ms = now_ms + SWEEP_MS;
        }
        int64_t until = sweep_ms;
        if (a->heard_ms && due_ms <= now_ms) due_ms = now_ms + 2;
        if (a->heard_ms && due_ms < until) until = due_ms;
        struct timespec t = {.tv_sec = (time_t)(until / 1000),
                             .tv_nsec = (long)(until % 1000 * 1000000)};
        pthread_cond_timedwait(&a->tick, &a->lock, &t);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* ---- threads that answer ---- */

static void count_answer(struct api *a, uint32_t route, int status, uint64_t took_us) {
    uint32_t class = status >= 100 && status < 600 ? (uint32_t)status / 100 - 1 : 4, i = 0;
    while (i < API_LATENCIES && took_us > api_latency_us[i]) i++;
    atomic_fetch_add_explicit(&a->counts.answers[route][class], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&a->counts.took[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&a->counts.took_us, took_us, memory_order_relaxed);
}

/* What was changed, or tried, and by whom; what was only looked at is of less interest. */
static void tell(const struct api_call *c, const char *path) {
    enum log_level level =
        str_is(c->q->method, "GET") || str_is(c->q->method, "HEAD") ? LOG_DEBUG : LOG_INFO;
    char by[300], method[16], target[300], status[16];
    if (!log_takes(c->control->log, level) || strstr(path, "/status")) return;
    snprintf(by, sizeof by, "%.*s", STR_FMT(str_head(c->who.name, 256)));
    snprintf(method, sizeof method, "%.*s", STR_FMT(str_head(c->q->method, 15)));
    snprintf(target, sizeof target, "%.*s", STR_FMT(str_head(c->q->path, 256)));
    snprintf(status, sizeof status, "%d", c->r->status);
    log_line(c->control->log, level, "request", "method", method, "path", target, "by", by,
             "status", status, NULL);
}

static bool may_call(struct api_call *c, const struct api_route *route) {
    if (route->right == RIGHT_NONE) return true;
    if (!auth_identify(c)) return false;
    bool makes = strcmp(route->path, "/v1/tokens") == 0 && strcmp(route->method, "POST") == 0;
    if (c->who.once && !makes && route->right != RIGHT_KNOWN)
        api_error(c, 403, "one_time_token",
                  "this token makes another one, by POST /v1/tokens, and nothing else");
    else if (!api_may(&c->who, route->right))
        api_error(c, 403, "forbidden", "the role %.*s may not do this", STR_FMT(c->who.role));
    else if (!c->db)
        api_store_error(c, ERR_IO);
    else
        return true;
    return false;
}

static void dispatch(struct api_call *c) {
    uint64_t began_ns = clock_ns();
    uint32_t number = API_ROUTES;
    const struct api_route *route = api_route_find(c, &number);
    if (route && may_call(c, route)) route->run(c);
    if (c->waits) return;
    if (c->r->body->err) api_error(c, 500, "internal_error", "the answer does not fit its limit");
    count_answer(c->control->api, number, c->r->status, (clock_ns() - began_ns) / 1000);
    if (route) tell(c, route->path);
}

static void answer(struct worker *w, struct call *call) {
    struct api *a = w->api;
    struct http_reply reply;
    char why[DB_WHY_BYTES] = "";
    struct serving s = {.c = {.control = a->control, .arena = &w->arena, .r = &reply},
                        .call = call};
    if (http_pending_gone(call->pending)) {
        finish(a, call, NULL);
        return;
    }
    arena_reset(&w->arena);
    buf_clear(&w->body);
    http_reply_init(&reply, &w->body);
    s.c.q = http_pending_request(call->pending);
    s.c.last = call->last;
    if (db_take(a->control->db, &s.c.db, why)) {
        s.c.db = NULL;
        log_line(a->control->log, LOG_ERROR, "no connection to the store", "reason", why, NULL);
    }
    dispatch(&s.c);
    if (s.c.waits)
        park(a, call, &s.c);
    else
        finish(a, call, &reply);
    db_put(s.c.db);
}

/* Changes wait for each other in the store: they may hold half of the threads, so that others are
 * left for who only looks. */
static struct call *next_fresh(struct api *a) {
    bool may_change = a->changes.n && (a->n_changing < a->n_workers / 2 || a->ended);
    struct call *call = may_change && (a->turn % 2 || !a->reads.n) ? queue_take(&a->changes) : NULL;
    if (!call) call = queue_take(&a->reads);
    if (call && call->changes) a->n_changing++;
    return call;
}

static struct call *next_call(struct api *a) {
    a->turn++;
    struct call *call = a->woken.n && a->turn % WOKEN_TURN == 0 ? queue_take(&a->woken) : NULL;
    if (!call) call = next_fresh(a);
    return call ? call : queue_take(&a->woken);
}

static void *work(void *ctx) {
    struct worker *w = ctx;
    struct api *a = w->api;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        struct call *call = next_call(a);
        if (!call && a->ended && !a->changes.n) break;
        if (!call) {
            pthread_cond_wait(&a->work, &a->lock);
            continue;
        }
        bool changes = call->changes;
        call->heard = a->hears;
        atomic_store_explicit(&a->counts.queued, a->reads.n + a->changes.n, memory_order_relaxed);
        pthread_mutex_unlock(&a->lock);
        atomic_fetch_add_explicit(&a->counts.busy, 1, memory_order_relaxed);
        answer(w, call);
        atomic_fetch_sub_explicit(&a->counts.busy, 1, memory_order_relaxed);
        pthread_mutex_lock(&a->lock);
        a->n_changing -= changes;
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* ---- the loop ---- */

static void refuse(struct http_reply *r) {
    r->status = 503;
    r->content_type = "application/json";
    buf_cstr(r->body, "{\"code\":\"overloaded\",\"message\":\"too many requests wait to be "
                      "answered\",\"errors\":[]}\n");
    r->extra[r->n_extra++] = (struct http_header){STR("Retry-After"), STR("1")};
}

static enum http_outcome handle(void *ctx, const struct http_request *q, struct http_reply *r) {
    struct api *a = ctx;
    struct call *call = calloc(1, sizeof *call);
    bool reads = str_is(q->method, "GET") || str_is(q->method, "HEAD");
    struct queue *queue = reads ? &a->reads : &a->changes;
    pthread_mutex_lock(&a->lock);
    bool full = queue->n >= QUEUED_MOST || a->ended;
    if (call && !full && (call->pending = http_defer(q))) {
        call->api = a;
        call->changes = !reads;
        queue_add_call(queue, call);
        pthread_cond_signal(&a->work);
        pthread_mutex_unlock(&a->lock);
        return HTTP_DEFERRED;
    }
    pthread_mutex_unlock(&a->lock);
    free(call);
    refuse(r);
    return HTTP_REPLIED;
}

/* ---- beginning and end ---- */

static enum err make_tls(const struct control_config *config, struct tls_context **out,
                         char why[CONTROL_WHY_BYTES]) {
    const struct tls_options tls = {.certificate = config->tls_certificate,
                                    .key = config->tls_key,
                                    .client_ca = config->client_ca};
    return tls_context_new(&tls, out, why, CONTROL_WHY_BYTES);
}

struct renewal {
    struct server_task task;
    struct api *api;
    struct tls_context *tls;
};

static void renew(void *ctx) {
    struct renewal *r = ctx;
    struct api *a = r->api;
    const struct listen_options listen = {
        .address = a->control->config->address, .tls = r->tls, .ctx = a};
    server_relisten(a->server, &listen);
    tls_context_release(a->tls);
    a->tls = r->tls;
    free(r);
}

void api_renew_tls(struct api *a) {
    char why[CONTROL_WHY_BYTES] = "";
    if (!a->control->config->tls_certificate) return;
    struct renewal *r = calloc(1, sizeof *r);
    if (!r || make_tls(a->control->config, &r->tls, why)) {
        log_line(a->control->log, LOG_ERROR, "certificates stay as they were", "reason", why, NULL);
        free(r);
        return;
    }
    r->api = a;
    r->task = (struct server_task){.run = renew, .ctx = r};
    server_post(a->server, &r->task);
    log_line(a->control->log, LOG_INFO, "certificates read again", NULL);
}

static enum err make_server(struct api *a, int *port, char why[CONTROL_WHY_BYTES]) {
    const struct control_config *config = a->control->config;
    uint32_t waiting = config->max_waiting ? config->max_waiting : DEFAULT_WAITING;
    const struct server_options options = {.limits = {.body_bytes = API_BODY_BYTES},
                                           .max_connections = waiting + SPARE_CONNECTIONS,
                                           .input_bytes = INPUT_BYTES,
                                           .half_closed_is_gone = true,
                                           .handler = handle,
                                           .handler_ctx = a};
    const char *problem = NULL;
    enum err e = server_new(&options, &a->server);
    if (!e && config->tls_certificate) e = make_tls(config, &a->tls, why);
    if (e) return e;
    e = server_address_free(config->address, &problem);
    if (!e) {
        const struct listen_options listen = {.address = config->address, .tls = a->tls, .ctx = a};
        e = server_listen(a->server, &listen, port, &problem);
    }
    if (e)
        snprintf(why, CONTROL_WHY_BYTES, "cannot listen on %.200s: %s", config->address,
                 problem ? problem : err_meaning(e));
    return e;
}

static enum err start_threads(struct api *a) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    a->n_workers = cores * 4 < WORKERS_LEAST  ? WORKERS_LEAST
                   : cores * 4 > WORKERS_MOST ? WORKERS_MOST
                                              : (uint32_t)(cores * 4);
    for (uint32_t i = 0; i < a->n_workers; i++) {
        struct worker *w = &a->workers[i];
        w->api = a;
        arena_init(&w->arena, API_ARENA_BYTES);
        buf_init(&w->body, REPLY_BYTES);
        if (pthread_create(&w->thread, NULL, work, w)) return ERR_IO;
        a->n_started++;
    }
    if (pthread_create(&a->clock, NULL, keep_time, a)) return ERR_IO;
    a->clock_started = true;
    return OK;
}

enum err api_new(struct control *control, struct api **out, int *port,
                 char why[CONTROL_WHY_BYTES]) {
    pthread_condattr_t monotonic;
    struct api *a = calloc(1, sizeof *a);
    if (!a) return ERR_MEMORY;
    a->control = control;
    a->reads.end = &a->reads.first;
    a->changes.end = &a->changes.first;
    a->woken.end = &a->woken.first;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->work, NULL);
    pthread_cond_init(&a->tick, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *why = 0;
    enum err e = auth_new(&a->auth);
    if (!e) e = make_server(a, port, why);
    if (e) {
        api_free(a);
        return e;
    }
    *out = a;
    return OK;
}

void api_run(struct api *a) {
    enum err e = start_threads(a);
    if (e)
        log_line(a->control->log, LOG_ERROR, "threads cannot be started", "reason", err_meaning(e),
                 NULL);
    else
        server_run(a->server);
}

void api_stop(struct api *a) {
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    sweep(a, clock_ms());
    pthread_mutex_unlock(&a->lock);
    server_drain(a->server, DRAIN_MS);
}

static void end_threads(struct api *a) {
    pthread_mutex_lock(&a->lock);
    a->stopping = a->ended = true;
    sweep(a, clock_ms());
    pthread_cond_broadcast(&a->work);
    pthread_cond_broadcast(&a->tick);
    pthread_mutex_unlock(&a->lock);
    for (uint32_t i = 0; i < a->n_started; i++) pthread_join(a->workers[i].thread, NULL);
    if (a->clock_started) pthread_join(a->clock, NULL);
}

/* Requests that nobody waits for any more are still answered by the threads, which lets go of them.
 */
void api_free(struct api *a) {
    if (!a) return;
    end_threads(a);
    if (a->server) server_free(a->server);
    if (a->tls) tls_context_release(a->tls);
    auth_free(a->auth);
    for (uint32_t i = 0; i < a->n_workers; i++) {
        arena_deinit(&a->workers[i].arena);
        buf_deinit(&a->workers[i].body);
    }
    pthread_cond_destroy(&a->tick);
    pthread_cond_destroy(&a->work);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
