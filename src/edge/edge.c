/* The edge node's life: start engine, tenants, lanes and loops, watch the folder, change with the configuration, stop
 * on a signal. in: a configuration, signals. out: served decisions. owns: everything it starts. */
#include "edge/edge.h"
#include "base/clock.h"
#include "base/service.h"
#include "edge/activator.h"
#include "edge/admin_tokens.h"
#include "edge/decision_log.h"
#include "edge/folder.h"
#include "edge/life.h"
#include "edge/listeners.h"
#include "edge/loop.h"
#include "edge/store.h"
#include "edge/sources.h"
#include "edge/tracer.h"
#include "net/logins.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    MAX_LANES = 64, /* of all sets */
    BACKGROUND_LANES = 4,  /* for calls of administrators and neighbours */
    BACKGROUND_WAITING = 1024,
    REQUEST_ARENA_BYTES = 256 << 20,
    INPUT_BYTES = 64 << 20,
    LIVE_INSTANCES = 1024,
    LANE_INSTANCES = 64,
    MAIN_READER = TENANTS_MAX_READERS - 1,    /* of the tenants' table: the first thread */
    SOURCES_READER = TENANTS_MAX_READERS - 2, /* the one that fetches */
    REQUIRED_MS = 60000, /* how long a node that takes over waits for required tenants */
    FIRST_ROUND_MS = 60000, /* how long sources may take before the node serves without what they lack */
    LOOK_MS = 50,        /* at what has no event */
    TICK_US = 500 /* so that a slice of a millisecond ends after one and a half at most */
};

#define BACKGROUND_WAIT_NS 10000000000u

struct edge {
    const struct edge_reload *reload;
    struct log log; /* what outlives configurations logs here */
    struct engine *engine;
    struct activator *activator;
    struct folder *folder;
    struct sources *sources;
    struct listeners *listeners;
    struct node node;
    struct logins logins;
    struct worker like;
    struct decision_log *decisions;
    struct tracer *tracer;
    struct setup *setup, *old; /* in use; replaced, newest first */
    bool given;                /* another process serves in its place */
    bool said_why;             /* the log has the reason why it cannot start */
    struct life life;
    struct server *servers[NODE_MAX_THREADS];
    struct lane_sets lanes;
    struct loop *loops[NODE_MAX_THREADS];
    uint32_t n_lanes;
};

static uint32_t cores(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

static uint32_t at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* ---- starting ---- */

static enum err name_node(struct node *n) {
    uint8_t b[16];
    if (getrandom(b, sizeof b, 0) != sizeof b) return ERR_IO;
    b[6] = (b[6] & 15) | 0x40;
    b[8] = (b[8] & 63) | 0x80;
    for (int i = 0, at = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) n->id[at++] = '-';
        snprintf(n->id + at, sizeof n->id - (size_t)at, "%02x", b[i]);
        at += 2;
    }
    if (gethostname(n->host_name, sizeof n->host_name - 1)) n->host_name[0] = 0;
    n->started_ns = (int64_t)clock_of(CLOCK_REALTIME);
    return OK;
}

static enum err start_lanes(struct edge *e, const struct worker_group *group, unsigned *number) {
    const struct edge_config *c = &e->setup->config;
    uint32_t wanted = group            ? (group->processes ? group->processes : 1)
                      : c->lane_threads ? c->lane_threads
                                        : cores() + 1; /* a tenant may have all but one */
    struct lanes_options o = {.name = group ? group->name.ptr : NULL,
                              .threads = at_most(wanted, MAX_LANES),
                              .max_waiting = c->queue_requests,
                              .first_number = *number,
                              .group = group,
                              .like = &e->like,
                              .engine = e->engine,
                              .live_instances = LANE_INSTANCES,
                              .setup = e->setup,
                              .counts = group ? NULL : &e->node.lanes};
    if (o.first_number + o.threads > SOURCES_READER) return ERR_LIMIT;
    *number += o.threads;
    enum err err = lanes_new(&o, &e->lanes.items[e->lanes.n]);
    if (!err) e->lanes.n++;
    return err;
}

static enum err start_all_lanes(struct edge *e) {
    const struct edge_config *c = &e->setup->config;
    unsigned number = NODE_MAX_THREADS; /* behind the loops' */
    e->lanes.items = calloc(2 + c->groups.n, sizeof(struct lanes *));
    enum err err = e->lanes.items ? start_lanes(e, NULL, &number) : ERR_MEMORY;
    for (uint32_t i = 0; !err && i < c->groups.n; i++) err = start_lanes(e, &c->groups.items[i], &number);
    struct lanes_options o = {.threads = BACKGROUND_LANES, .max_waiting = BACKGROUND_WAITING, .first_number = number,
                              .like = &e->like, .engine = e->engine, .live_instances = 1, .setup = e->setup,
                              .wait_ns = BACKGROUND_WAIT_NS};
    if (!err && number + BACKGROUND_LANES > SOURCES_READER) err = ERR_LIMIT;
    if (!err) err = lanes_new(&o, &e->lanes.background);
    if (!err) e->lanes.items[e->lanes.n++] = e->lanes.background;
    return err;
}

/* Loop i of n listens there: at what sockets were inherited for it, or at one of its own. */
static enum err listen_at(struct edge *e, uint32_t i, uint32_t n, const struct listen_options *asked,
                          const char **why) {
    struct inherited *in = &e->life.inherited;
    struct listen_options o = *asked;
    uint32_t adopted = 0;
    enum err err = OK;
    while (!err && (o.adopt = inherited_take(in, o.address, i, n)) >= 0) {
        err = server_listen(loop_server(e->loops[i]), &o, NULL, why);
        adopted++;
    }
    if (adopted) return err;
    o.adopt = 0;
    if (i && inherited_has(in, o.address) && !inherited_shares(in, o.address)) o.accept_of = loop_server(e->loops[0]);
    return server_listen(loop_server(e->loops[i]), &o, NULL, why);
}

static enum err listen_all(struct edge *e, uint32_t i, uint32_t n, struct listener_changes *changes) {
    const char *why = "";
    enum err err = OK;
    listeners_for_loop(changes, loop_server(e->loops[0]), i == 0);
    for (uint32_t k = 0; !err && k < changes->n; k++) {
        const struct listen_options *o = &changes->items[k].options;
        const struct edge_listener *listener = o->ctx;
        char name[128];
        snprintf(name, sizeof name, "%.*s", STR_FMT(listener->name));
        err = listen_at(e, i, n, o, &why);
        e->said_why = err != OK;
        if (err)
            log_line(&e->log, LOG_ERROR, "cannot listen", "door", name, "address", o->address, "reason", why, NULL);
        else if (i == 0)
            log_line(&e->log, LOG_INFO, "listening", "door", name, "address", o->address, NULL);
    }
    return err;
}

static enum err start_loops(struct edge *e) {
    const struct edge_config *c = &e->setup->config;
    struct listener_changes changes;
    char why[WHY_BYTES] = "";
    uint32_t n = at_most(c->threads ? c->threads : cores(), NODE_MAX_THREADS);
    enum err err = listeners_plan(e->listeners, c, !c->share_ports, &changes, why, sizeof why);
    if (err) {
        log_line(&e->log, LOG_ERROR, "cannot listen", "reason", why, NULL);
        e->said_why = true;
        return err;
    }
    for (uint32_t i = 0; !err && i < n; i++) {
        struct loop_options o = {.like = &e->like, .engine = e->engine,
                                 .live_instances = c->live_instances ? c->live_instances : LIVE_INSTANCES,
                                 .number = i, .setup = e->setup, .lanes = &e->lanes, .node = &e->node};
        if (!(err = loop_new(&o, &e->loops[i]))) e->node.n_loops++;
        if (!err) e->servers[i] = loop_server(e->loops[i]);
        if (!err) err = listen_all(e, i, n, &changes);
    }
    listeners_settle(e->listeners, &changes, !err);
    for (uint32_t i = 0; !err && i < n; i++) err = loop_start(e->loops[i]);
    return err;
}

static void log_ready(struct edge *e, uint32_t loaded, uint32_t refused) {
    char n[3][16];
    snprintf(n[0], 16, "%u", loaded);
    snprintf(n[1], 16, "%u", refused);
    snprintf(n[2], 16, "%u", e->node.n_loops);
    log_line(&e->log, LOG_INFO, "ready", "tenants", n[0], "refused", n[1], "threads", n[2], NULL);
}

/* Takes all signals that wait, however many come. true: one says stop; *again: one asks for the configuration. */
static bool told_to_stop(int signals, bool *again) {
    struct signalfd_siginfo infos[4];
    ssize_t n = read(signals, infos, sizeof infos);
    for (ssize_t i = 0; i < n / (ssize_t)sizeof *infos; i++)
        if (infos[i].ssi_signo != SIGHUP) return true;
    if (again) *again = n > 0;
    return false;
}

/* Waits for a signal. true: one said stop. */
static bool stopped_within(int signals, int64_t ms) {
    struct pollfd fd = {.fd = signals, .events = POLLIN};
    for (int64_t end = clock_ms() + ms, left = ms; left >= 0; left = end - clock_ms()) {
        if (poll(&fd, 1, (int)left) > 0 && told_to_stop(signals, NULL)) return true;
        if (left == 0) break;
    }
    return false;
}

static bool is_ready(struct edge *e, struct buf *missing) {
    tenants_online(e->node.tenants, MAIN_READER);
    bool ready = node_ready(&e->node, &e->setup->config, missing);
    tenants_offline(e->node.tenants, MAIN_READER);
    return ready;
}

static enum err give_up(struct edge *e, const char *why) {
    log_line(&e->log, LOG_ERROR, "cannot take over", "reason", why, "serving", "the node before", NULL);
    e->said_why = true;
    return ERR_IO;
}

/* The node before serves on until this one can do all that it must. */
static enum err await_required(struct edge *e, int signals) {
    struct buf missing;
    enum err err = OK;
    buf_init(&missing, 4096);
    for (int64_t end = clock_ms() + REQUIRED_MS; !err && e->life.channel >= 0 && !is_ready(e, &missing);) {
        if (clock_ms() > end) {
            buf_byte(&missing, 0);
            err = give_up(e, missing.err ? "required tenants are missing" : (const char *)missing.ptr);
        }
        if (!err && stopped_within(signals, LOOK_MS)) err = give_up(e, "told to stop");
        if (!err) folder_scan(e->folder, NULL, NULL);
        buf_clear(&missing);
    }
    buf_deinit(&missing);
    return err;
}

/* Sockets come last: until then the node before accepts alone. */
static enum err open_doors(struct edge *e, int signals) {
    char why[WHY_BYTES] = "";
    enum err err = await_required(e, signals);
    if (!err && life_receive(&e->life, why, sizeof why)) err = give_up(e, why);
    if (!err) err = start_loops(e);
    if (!err) life_serve(&e->life, &e->setup->config, e->servers, e->node.n_loops, &e->log);
    return err;
}

static enum err open_store(struct edge *e) {
    const struct edge_config *c = &e->setup->config;
    struct store_options o = {.directory = c->store_directory, .keep = c->store_keep, .log = &e->log,
                              .beside = e->life.channel >= 0};
    char why[WHY_BYTES] = "";
    enum err err = c->store_directory ? store_open(&o, &e->node.store, why, sizeof why) : OK;
    if (!err) return OK;
    log_line(&e->log, LOG_ERROR, "cannot start", "reason", why, "store", c->store_directory, NULL);
    e->said_why = true;
    return err;
}

static enum err start_tenants(struct edge *e) {
    const struct edge_config *c = &e->setup->config;
    enum err err = open_store(e);
    struct activator_options a = {.config = c, .engine = e->engine, .tenants = e->node.tenants, .store = e->node.store,
                                  .log = &e->log};
    if (!err) err = activator_new(&a, &e->activator);
    e->node.activator = e->activator;
    if (!err) err = activator_start(e->activator);
    struct folder_options f = {.config = c, .activator = e->activator, .log = &e->log};
    return err ? err : folder_new(&f, &e->folder);
}

/* Loads what sources have; what takes too long goes on in the background. */
static enum err start_sources(struct edge *e, int signals, bool restored, uint32_t *loaded, uint32_t *refused) {
    char why[WHY_BYTES] = "";
    struct pollfd fd = {.fd = signals, .events = POLLIN};
    struct sources_options o = {.config = &e->setup->config, .activator = e->activator, .tenants = e->node.tenants,
                                .reader = SOURCES_READER, .log = &e->log, .node_id = e->node.id,
                                .host_name = e->node.host_name};
    enum err err = sources_new(&o, &e->sources, why, sizeof why);
    e->node.sources = e->sources;
    if (err && why[0]) {
        log_line(&e->log, LOG_ERROR, "cannot start", "reason", why, NULL);
        e->said_why = true;
    }
    uint32_t good = 0, bad = 0;
    int64_t end = clock_ms() + (restored ? 0 : FIRST_ROUND_MS); /* with versions from before it can serve at once */
    while (!err && !sources_first_round(e->sources, LOOK_MS, &good, &bad) && clock_ms() < end && poll(&fd, 1, 0) <= 0) {
    }
    *loaded += good;
    *refused += bad;
    return err;
}

static enum err start(struct edge *e, const struct edge_config *config, int signals) {
    uint32_t loaded = 0, refused = 0;
    char why[WHY_BYTES] = "";
    struct engine_options engine = {.cache_dir = config->cache_dir, .log = &e->log, .tick_us = TICK_US,
                                    .one_thread_compile = true};
    enum err err = name_node(&e->node);
    e->node.logins = &e->logins;
    if (!err && getrandom(&e->logins.key, sizeof e->logins.key, 0) != sizeof e->logins.key) err = ERR_IO;
    if (!err && life_begin(&e->life, config, why, sizeof why)) err = give_up(e, why);
    if (!err && (err = setup_new(config, &e->setup, why, sizeof why)) && why[0])
        log_line(&e->log, LOG_ERROR, "configuration refused", "reason", why, NULL);
    if (!err) err = engine_new(&engine, &e->engine);
    if (!err) err = tenants_new(&e->node.tenants);
    if (!err) err = metrics_names_new(&e->node.names);
    e->node.engine = e->engine;
    if (!err) err = listeners_new(&e->life.inherited, &e->listeners);
    if (err) return err;
    const struct edge_config *c = &e->setup->config;
    struct decision_log_options d = {.config = c, .engine = e->engine, .node_id = e->node.id, .log = &e->log};
    if ((err = decision_log_new(&d, &e->decisions))) return err;
    struct tracer_options traces = {.config = c, .node_id = e->node.id, .host_name = e->node.host_name, .log = &e->log};
    if ((err = tracer_new(&traces, &e->tracer))) return err;
    e->like = (struct worker){.tenants = e->node.tenants, .config = c, .log = &e->log, .node = &e->node,
                              .decisions = e->decisions, .tracer = e->tracer};
    e->like.arena.max_bytes = REQUEST_ARENA_BYTES;
    e->like.input.max = INPUT_BYTES;
    if ((err = start_tenants(e))) return err;
    uint32_t restored = 0;
    activator_restore(e->activator, &restored, &refused);
    folder_scan(e->folder, &loaded, &refused);
    if (restored > loaded) loaded = restored; /* the folder has the same ones, mostly */
    err = start_sources(e, signals, restored > 0, &loaded, &refused);
    atomic_store(&e->node.scanned, true);
    if (!err) err = start_all_lanes(e);
    if (!err) err = open_doors(e, signals);
    if (!err) log_ready(e, loaded, refused);
    return err;
}

/* ---- changing ---- */

/* Configurations that no thread looks at any more. */
static void free_old(struct edge *e) {
    for (struct setup **at = &e->old; *at;) {
        struct setup *s = *at;
        if (atomic_load(&s->users)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        setup_free(s);
    }
}

static void log_problems(struct edge *e, const struct diag_list *diags) {
    for (uint32_t i = 0; i < diags->n; i++) {
        const struct diag *d = &diags->items[i];
        char where[512], what[512];
        snprintf(where, sizeof where, "%.*s:%u:%u", STR_FMT(d->loc.file), d->loc.row, d->loc.col);
        snprintf(what, sizeof what, "%.*s", STR_FMT(d->message));
        log_line(&e->log, LOG_ERROR, "configuration refused", "file", where, "reason", what, "serving",
                 "the configuration before", NULL);
    }
}

static void refuse_reload(struct edge *e, const char *why) {
    log_line(&e->log, LOG_ERROR, "configuration refused", "reason", why, "serving", "the configuration before", NULL);
}

/* Identifiers for all threads, or none of them. */
static enum err make_identifiers(const struct setup *s, struct identifier **ids, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        enum err err = identifier_new(&s->config, s->keys, &ids[i]);
        if (!err) continue;
        while (i--) identifier_free(ids[i]);
        return err;
    }
    return OK;
}

static uint32_t thread_count(const struct edge *e) {
    uint32_t n = e->node.n_loops;
    for (uint32_t i = 0; i < e->lanes.n; i++) n += lanes_threads(e->lanes.items[i]);
    return n;
}

/* Everything that can fail has been made: from here on the new configuration holds. Limits first, so that no thread
 * admits a tenant whose limits are the old ones under the new rules. */
static void apply(struct edge *e, struct setup *s, struct identifier **ids, struct listener_changes *changes) {
    activator_configure(e->activator, &s->config);
    folder_configure(e->folder, &s->config);
    decision_log_configure(e->decisions, &s->config);
    tracer_configure(e->tracer, &s->config);
    log_set_level(&e->log, s->config.log.level);
    for (uint32_t i = 0; i < e->node.n_loops; i++) {
        listeners_for_loop(changes, loop_server(e->loops[0]), i == 0);
        setup_use(s);
        struct loop_change change = {.setup = s, .identifier = *ids++, .listeners = changes->items,
                                     .n_listeners = changes->n, .log = &e->log};
        loop_apply(e->loops[i], &change);
    }
    for (uint32_t i = 0; i < e->lanes.n; i++) {
        lanes_configure(e->lanes.items[i], s, ids);
        ids += lanes_threads(e->lanes.items[i]);
    }
    e->setup->next = e->old;
    e->old = e->setup;
    e->setup = s;
}

static enum err prepare(struct edge *e, struct setup *s, struct listener_changes *changes, char *why,
                        size_t why_bytes) {
    struct diag_list diags;
    diag_list_init(&diags, &s->arena);
    enum err err = e->reload->read(e->reload->ctx, &s->config, &diags);
    if (err) {
        log_problems(e, &diags);
        if (!diags.n) snprintf(why, why_bytes, "%s", err_meaning(err));
        return err;
    }
    if ((err = setup_complete(s, why, why_bytes))) return err;
    key_sets_inherit(s->keys, e->setup->keys);
    return listeners_plan(e->listeners, &s->config, !s->config.share_ports, changes, why, why_bytes);
}

/* The last that can fail: sources take the new configuration up, or go on with the one before. */
static enum err change_sources(struct edge *e, struct setup *s, struct identifier **ids, uint32_t n, char *why,
                               size_t why_bytes) {
    enum err err = make_identifiers(s, ids, n);
    if (err) return err;
    err = sources_configure(e->sources, &s->config, why, why_bytes);
    for (uint32_t i = 0; err && i < n; i++) identifier_free(ids[i]);
    return err;
}

static void reload(struct edge *e) {
    struct setup *s = NULL;
    struct listener_changes changes = {0};
    char why[WHY_BYTES] = "";
    uint32_t n = thread_count(e);
    struct identifier **ids = calloc(n, sizeof(struct identifier *));
    if (!e->reload || !e->reload->read) {
        refuse_reload(e, "there is no file to read again");
        free(ids);
        return;
    }
    enum err err = ids ? setup_begin(&s) : ERR_MEMORY;
    if (!err) err = prepare(e, s, &changes, why, sizeof why);
    if (!err && (err = change_sources(e, s, ids, n, why, sizeof why))) listeners_settle(e->listeners, &changes, false);
    if (err) {
        if (why[0] || !s) refuse_reload(e, why[0] ? why : err_meaning(err));
        if (s) setup_free(s);
        atomic_fetch_add(&e->node.reloads_refused, 1);
        free(ids);
        return;
    }
    struct buf fixed;
    buf_init(&fixed, 4096);
    setup_keep_fixed(&s->config, &e->setup->config, &fixed);
    apply(e, s, ids, &changes);
    listeners_settle(e->listeners, &changes, true);
    buf_byte(&fixed, 0);
    if (fixed.len > 1)
        log_line(&e->log, LOG_WARN, "settings that wait for a new start", "keys", (const char *)fixed.ptr, NULL);
    log_line(&e->log, LOG_INFO, "configuration read again", NULL);
    atomic_fetch_add(&e->node.reloads, 1);
    buf_deinit(&fixed);
    free(ids);
}

/* ---- running and stopping ---- */

/* false: it is to end; e->given: because another process serves in its place. */
static bool heed(struct edge *e, int signals) {
    bool again = false;
    if (told_to_stop(signals, &again)) return false;
    if (again) reload(e);
    if (again) decision_log_reopen(e->decisions);
    e->given = e->life.handover && handover_step(e->life.handover);
    return !e->given;
}

/* Looks at the folder now and then, whatever comes meanwhile, until it is to end. */
static void watch(struct edge *e, int signals) {
    for (int64_t looked_ms = clock_ms();;) {
        int64_t due_ms = looked_ms + (int64_t)(e->setup->config.poll_us / 1000), left = due_ms - clock_ms();
        struct pollfd fds[3] = {{.fd = signals, .events = POLLIN}};
        uint32_t n = 1 + handover_fds(e->life.handover, fds + 1);
        if (poll(fds, n, left > 0 ? (int)left : 0) > 0 && !heed(e, signals)) break;
        if (clock_ms() < due_ms) continue;
        folder_scan(e->folder, NULL, NULL);
        free_old(e);
        looked_ms = clock_ms();
    }
    log_line(&e->log, LOG_INFO, "stopping", "serving",
             e->given ? "another process" : "nobody, once requests are answered", NULL);
}

/* Accepts for so long still, or until another node takes over. true: a signal said stop again. */
static bool linger(struct edge *e, int signals, int64_t ms) {
    for (int64_t end = clock_ms() + ms, left = ms; left > 0 && !e->given; left = end - clock_ms()) {
        struct pollfd fds[3] = {{.fd = signals, .events = POLLIN}};
        uint32_t n = 1 + handover_fds(e->life.handover, fds + 1);
        if (poll(fds, n, (int)left) <= 0) continue;
        if (told_to_stop(signals, NULL)) return true;
        e->given = e->life.handover && handover_step(e->life.handover);
    }
    return false;
}

/* Not ready first, so that nobody sends new clients; then those that are there are served to their end. Another signal
 * is short with them. */
static void drain(struct edge *e, int signals) {
    const struct edge_config *c = &e->setup->config;
    uint64_t ms = c->drain_time_us / 1000;
    bool hurry = false, running = true;
    atomic_store(&e->node.draining, true);
    service_notify("STOPPING=1");
    if (!e->given) hurry = linger(e, signals, (int64_t)(c->drain_delay_us / 1000));
    if (!e->given) life_end_handover(&e->life); /* who comes now starts as the first of its line */
    for (uint32_t i = 0; i < e->node.n_loops; i++) loop_drain(e->loops[i], (uint32_t)ms);
    if (e->given) store_leave(e->node.store);
    if (e->given) handover_finish(e->life.handover);
    while (running) {
        for (uint32_t i = 0; i < e->node.n_loops && hurry; i++) loop_stop(e->loops[i]);
        running = false;
        for (uint32_t i = 0; i < e->node.n_loops; i++) running |= loop_running(e->loops[i]);
        if (running && stopped_within(signals, LOOK_MS)) hurry = true;
    }
}

static int block_signals(void) {
    sigset_t set;
    signal(SIGXFSZ, SIG_IGN); /* a log that may not grow ends nothing */
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL)) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Loops end when their requests are answered, which lanes do; then lanes; then what they gave back last. */
static void stop(struct edge *e) {
    /* What was not taken over altogether is still the other node's. */
    for (uint32_t i = 0; i < e->node.n_loops && e->life.channel >= 0; i++) server_leave_paths(e->servers[i]);
    sources_stop(e->sources); /* no request waits for a tenant any more */
    for (uint32_t i = 0; i < e->node.n_loops; i++) loop_stop(e->loops[i]);
    for (uint32_t i = 0; i < e->node.n_loops; i++) loop_join(e->loops[i]);
    for (uint32_t i = 0; i < e->lanes.n; i++) lanes_stop(e->lanes.items[i]);
    for (uint32_t i = 0; i < e->node.n_loops; i++) loop_free(e->loops[i]);
    for (uint32_t i = 0; i < e->lanes.n; i++) lanes_free(e->lanes.items[i]);
    free(e->lanes.items);
    sources_free(e->sources);
    if (e->folder) folder_free(e->folder);
    if (e->activator) activator_free(e->activator);
    store_close(e->node.store);
    if (e->decisions) decision_log_free(e->decisions);
    if (e->tracer) tracer_free(e->tracer);
    if (e->node.tenants) tenants_free(e->node.tenants);
    if (e->engine) engine_free(e->engine);
    metrics_names_free(e->node.names);
    listeners_free(e->listeners);
    life_deinit(&e->life);
    if (e->setup) {
        e->setup->next = e->old;
        e->old = e->setup;
        free_old(e);
    }
}

enum err edge_run(const struct edge_config *config, const struct edge_reload *reload) {
    struct edge *e = NULL;
    if (posix_memalign((void **)&e, 64, sizeof *e)) return ERR_MEMORY;
    memset((void *)e, 0, sizeof *e);
    e->reload = reload;
    e->log = config->log;
    life_init(&e->life);
    int signals = block_signals();
    enum err err = signals < 0 ? ERR_IO : start(e, config, signals);
    if (!err) {
        watch(e, signals);
        drain(e, signals);
    } else if (!e->said_why) {
        log_line(&e->log, LOG_ERROR, "cannot start", "reason", err_meaning(err), NULL);
    }
    stop(e);
    if (signals >= 0) close(signals);
    free(e);
    return err;
}
