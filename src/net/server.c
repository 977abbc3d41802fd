/* A thread's event loop: its life, what others post to it, and the buffers that its connections share.
 * in: options, tasks. out: turns of the loop, until it is stopped. owns: the loop and all on it. */
#include "net/conn.h"
#include <signal.h>
#include <stdlib.h>

enum {
    DEFAULT_HEAD_BYTES = 64 << 10,
    DEFAULT_BODY_BYTES = 16 << 20,
    DEFAULT_IDLE_MS = 60000,
    DEFAULT_HEADER_MS = 10000,
    DEFAULT_CONNECTIONS = 10000
};

void pool_lend(struct buf_pool *p, struct buf *b) {
    if (b->ptr) return;
    if (!p->n) {
        buf_reserve(b, READ_BYTES); /* smaller ones would not be taken back */
        return;
    }
    p->n--;
    b->ptr = p->free[p->n].ptr;
    b->cap = p->free[p->n].cap;
}

void pool_return(struct buf_pool *p, struct buf *b) {
    if (!b->ptr) return;
    if (p->n == POOLED_BUFFERS || b->cap < READ_BYTES || b->cap > POOLED_BYTES) {
        free(b->ptr);
    } else {
        p->free[p->n].ptr = b->ptr;
        p->free[p->n++].cap = b->cap;
    }
    b->ptr = NULL;
    b->len = b->cap = 0;
}

static void run_tasks(struct server *s) {
    struct server_task *newest = atomic_exchange(&s->tasks, NULL), *oldest = NULL;
    while (newest) {
        struct server_task *t = newest;
        newest = t->next;
        t->next = oldest;
        oldest = t;
    }
    while (oldest) { /* a task may be gone, or posted again, once it ran */
        struct server_task *t = oldest;
        oldest = t->next;
        t->run(t->ctx);
    }
}

static void on_wake(uv_async_t *async) { run_tasks(async->data); }

void server_post(struct server *s, struct server_task *task) {
    struct server_task *head = atomic_load(&s->tasks);
    do task->next = head;
    while (!atomic_compare_exchange_weak(&s->tasks, &head, task));
    if (!head) uv_async_send(&s->wake);
}

static void on_turn(uv_idle_t *idle) { (void)idle; }

void server_keep_turning(struct server *s, bool on) {
    if (on)
        uv_idle_start(&s->turn, on_turn);
    else
        uv_idle_stop(&s->turn);
}

uint32_t server_connections(const struct server *s) { return s->n_conns; }
const struct server_counts *server_counters(const struct server *s) { return &s->counts; }

void server_done_if_empty(struct server *s) {
    if (s->stopping && !s->conns && !s->n_pending) uv_stop(&s->loop);
}

static void on_sweep(uv_timer_t *timer) {
    struct server *s = timer->data;
    uint64_t now = uv_now(&s->loop);
    bool late = s->stopping && now - s->stopped_ms > s->grace_ms;
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (late)
            conn_close(c);
        else
            conn_sweep(c, now);
    }
    listeners_sweep(s, now);
    if (late) uv_stop(&s->loop);
}

void server_send(struct server *s) { conn_run_woken(s); }

/* Connections that were woken are looked at before and after: on_iteration answers requests too. */
static void on_check(uv_check_t *check) {
    struct server *s = check->data;
    conn_run_woken(s);
    if (s->options.on_iteration) s->options.on_iteration(s->options.iteration_ctx);
    conn_run_woken(s);
    server_done_if_empty(s);
}

static void on_stop(uv_async_t *async) {
    struct server *s = async->data;
    uint32_t drain_ms = atomic_load(&s->drain_ms);
    if (s->stopping && (drain_ms || !s->draining)) return;
    if (!s->stopping) listeners_close(s, drain_ms > 0);
    s->stopping = true;
    s->draining = drain_ms > 0;
    s->stopped_ms = uv_now(&s->loop);
    s->grace_ms = drain_ms ? drain_ms : GRACE_MS;
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (drain_ms)
            conn_retire(c);
        else
            conn_drain(c);
    }
    server_done_if_empty(s);
}

static void set_defaults(struct server_options *o) {
    if (!o->limits.head_bytes) o->limits.head_bytes = DEFAULT_HEAD_BYTES;
    if (!o->limits.body_bytes) o->limits.body_bytes = DEFAULT_BODY_BYTES;
    if (!o->idle_timeout_ms) o->idle_timeout_ms = DEFAULT_IDLE_MS;
    if (!o->header_timeout_ms) o->header_timeout_ms = DEFAULT_HEADER_MS;
    if (!o->max_connections) o->max_connections = DEFAULT_CONNECTIONS;
}

static void close_handle(uv_handle_t *handle, void *ctx) {
    (void)ctx;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* The first run only notices that the loop was stopped. */
static void loop_close(uv_loop_t *loop) {
    uv_walk(loop, close_handle, NULL);
    while (uv_run(loop, UV_RUN_DEFAULT)) {}
    uv_loop_close(loop);
}

enum err server_new(const struct server_options *options, struct server **out) {
    struct server *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->options = *options;
    set_defaults(&s->options);
    if (uv_loop_init(&s->loop)) {
        free(s);
        return ERR_IO;
    }
    if (uv_async_init(&s->loop, &s->stop, on_stop) || uv_async_init(&s->loop, &s->wake, on_wake) ||
        pthread_mutex_init(&s->listeners_lock, NULL)) {
        loop_close(&s->loop);
        free(s);
        return ERR_IO;
    }
    buf_init(&s->body, MAX_OUT_BYTES);
    buf_init(&s->sealed, SIZE_MAX);
    uv_check_init(&s->loop, &s->check);
    uv_idle_init(&s->loop, &s->turn);
    uv_timer_init(&s->loop, &s->sweep);
    s->stop.data = s->wake.data = s->check.data = s->turn.data = s->sweep.data = s;
    uv_check_start(&s->check, on_check);
    uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    *out = s;
    return OK;
}

/* Writing to a client that is gone raises SIGPIPE in the thread that writes; the write's error is enough. */
void server_run(struct server *s) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
}

void server_stop(struct server *s) {
    atomic_store(&s->drain_ms, 0);
    uv_async_send(&s->stop);
}

void server_drain(struct server *s, uint32_t ms) {
    atomic_store(&s->drain_ms, ms);
    uv_async_send(&s->stop);
}

static void free_storage(struct server *s) {
    for (struct conn *c = s->closed; c; c = c->next) c->server = NULL;
    while (s->pool.n) free(s->pool.free[--s->pool.n].ptr);
    pending_free_pool(s);
    h2_free_pool(s);
    buf_deinit(&s->body);
    buf_deinit(&s->sealed);
    pthread_mutex_destroy(&s->listeners_lock);
    free(s);
}

void server_free(struct server *s) {
    run_tasks(s);
    atomic_store(&s->drain_ms, 0);
    on_stop(&s->stop);
    while (s->conns) conn_close(s->conns);
    loop_close(&s->loop);
    free_storage(s);
}
