/* The edge node's life: start engine, tenants and workers, watch the folder, stop on a signal.
 * in: options. out: served decisions. owns: everything it starts. */
#include "edge/edge.h"
#include "edge/activate.h"
#include "edge/doors.h"
#include "net/server.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    MAX_THREADS = 64,
    REQUEST_ARENA_BYTES = 256 << 20,
    LIVE_INSTANCES = 1024,
    DEFAULT_POLL_MS = 500,
    INPUT_BYTES = 64 << 20
};

struct thread {
    pthread_t id;
    struct worker worker;
    struct door door;
    struct server *server;
    bool started;
};

struct edge {
    const struct edge_options *options;
    struct engine *engine;
    struct tenants *tenants;
    struct watcher *watcher;
    struct thread threads[MAX_THREADS];
    uint32_t n_threads;
};

static void handle(void *ctx, const struct http_request *q, struct http_reply *r) {
    struct thread *t = ctx;
    if (q->is_grpc)
        ext_authz_handle(&t->door, q, r);
    else
        rest_handle(&t->door, q, r);
}

static void between_requests(void *ctx) {
    struct thread *t = ctx;
    tenants_quiescent(t->worker.tenants, t->worker.number);
}

static void *serve(void *ctx) {
    struct thread *t = ctx;
    tenants_online(t->worker.tenants, t->worker.number);
    server_run(t->server);
    tenants_offline(t->worker.tenants, t->worker.number);
    return NULL;
}

static enum err listen_on(struct edge *e, struct thread *t, const char *address, const char *door) {
    const char *why = "";
    int port = 0;
    if (!address || (strncmp(address, "unix:", 5) == 0 && t != e->threads)) return OK;
    bool ask = t == e->threads && !e->options->share_ports;
    enum err err = ask ? server_address_free(address, &why) : OK;
    if (!err) err = server_listen(t->server, address, &port, &why);
    if (err)
        log_line(&e->options->log, LOG_ERROR, "cannot listen", "door", door, "address", address,
                 "reason", why, NULL);
    else if (t == e->threads)
        log_line(&e->options->log, LOG_INFO, "listening", "door", door, "address", address, NULL);
    return err;
}

static enum err thread_start(struct edge *e, uint32_t i) {
    struct thread *t = &e->threads[i];
    const struct edge_options *o = e->options;
    t->worker = (struct worker){.tenants = e->tenants,
                                .limits = o->limits,
                                .log = &o->log,
                                .number = i,
                                .fresh_instances = o->fresh_instances};
    t->door = (struct door){&t->worker, str_of(o->tenant_header), str_of(o->authz_path)};
    arena_init(&t->worker.arena, REQUEST_ARENA_BYTES);
    buf_init(&t->worker.input, INPUT_BYTES);
    if (getrandom(t->worker.random, sizeof t->worker.random, 0) != sizeof t->worker.random)
        return ERR_IO;
    struct server_options options = {
        .handler = handle, .handler_ctx = t, .on_iteration = between_requests, .iteration_ctx = t};
    enum err err = instances_new(e->engine, LIVE_INSTANCES, &t->worker.pool);
    if (!err) err = server_new(&options, &t->server);
    if (!err) err = listen_on(e, t, o->rest_address, "rest");
    if (!err) err = listen_on(e, t, o->grpc_address, "grpc");
    if (err) return err;
    if (pthread_create(&t->id, NULL, serve, t)) return ERR_MEMORY;
    t->started = true;
    return OK;
}

static void threads_stop(struct edge *e) {
    for (uint32_t i = 0; i < e->n_threads; i++) {
        struct thread *t = &e->threads[i];
        if (t->started) {
            server_stop(t->server);
            pthread_join(t->id, NULL);
        }
        if (t->server) server_free(t->server);
        if (t->worker.pool) instances_free(t->worker.pool);
        buf_deinit(&t->worker.input);
        arena_deinit(&t->worker.arena);
    }
}

/* Scans the folder now and then until a signal comes. */
static void watch(struct edge *e, int signals) {
    uint32_t poll_ms = e->options->poll_ms ? e->options->poll_ms : DEFAULT_POLL_MS;
    struct pollfd fd = {.fd = signals, .events = POLLIN};
    while (poll(&fd, 1, (int)poll_ms) <= 0) watcher_scan(e->watcher, NULL, NULL);
    log_line(&e->options->log, LOG_INFO, "stopping", NULL);
}

static int block_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL)) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static enum err start(struct edge *e) {
    const struct edge_options *o = e->options;
    uint32_t loaded = 0, refused = 0;
    char n[3][16];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct engine_options engine = {.cache_dir = o->cache_dir, .log = &o->log};
    enum err err = engine_new(&engine, &e->engine);
    if (!err) err = tenants_new(&e->tenants);
    if (err) return err;
    struct watcher_options w = {
        .directory = o->directory, .engine = e->engine, .tenants = e->tenants, .log = &o->log};
    if ((err = watcher_new(&w, &e->watcher))) return err;
    watcher_scan(e->watcher, &loaded, &refused);
    uint32_t threads = o->threads ? o->threads : (uint32_t)(cores > 0 ? cores : 1);
    for (e->n_threads = 0; e->n_threads < threads && e->n_threads < MAX_THREADS;)
        if ((err = thread_start(e, e->n_threads++))) return err;
    snprintf(n[0], 16, "%u", loaded);
    snprintf(n[1], 16, "%u", refused);
    snprintf(n[2], 16, "%u", e->n_threads);
    log_line(&o->log, LOG_INFO, "ready", "tenants", n[0], "refused", n[1], "threads", n[2], NULL);
    return OK;
}

enum err edge_run(const struct edge_options *options) {
    struct edge *e = calloc(1, sizeof *e);
    if (!e) return ERR_MEMORY;
    e->options = options;
    int signals = block_signals();
    enum err err = signals < 0 ? ERR_IO : start(e);
    if (!err)
        watch(e, signals);
    else
        log_line(&options->log, LOG_ERROR, "cannot start", "reason", err_meaning(err), NULL);
    threads_stop(e);
    if (e->watcher) watcher_free(e->watcher);
    if (e->tenants) tenants_free(e->tenants);
    if (e->engine) engine_free(e->engine);
    if (signals >= 0) close(signals);
    free(e);
    return err;
}
