/* The control plane's life: its parts put together, signals, the end; and the counters that order
 * changes. in: what it was told, signals. out: an exit or a sentence. owns: all parts. */
#include "control/control.h"
#include "base/service.h"
#include "control/api_private.h"
#include "control/bundle_cache.h"
#include "control/heard.h"
#include "control/queue.h"
#include "control/release.h"
#include "control/schema.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

enum { START_ARENA_BYTES = 1 << 20, SIGNAL_MS = 200 };

/* ---- counters ---- */

enum err control_count(struct db_conn *c, struct arena *a, const char *counter, int64_t n,
                       int64_t *out) {
    struct db_rows rows;
    enum err e = DB_QUERY(c, a, &rows,
                          "UPDATE counters SET value = value + $2 WHERE name = $1 RETURNING value",
                          db_cstr(counter), db_int(n));
    if (e) return e;
    if (rows.n != 1) return ERR_INTERNAL;
    *out = db_row(&rows, 0)[0].i;
    return OK;
}

/* ---- what was heard ---- */

static void hear(void *ctx, const char *topic, struct str payload) {
    struct control *c = ctx;
    api_hear(c->api, topic, payload);
    bool all = strcmp(topic, "*") == 0;
    if (all || strcmp(topic, "rollouts") == 0) rollouts_wake(c->rollouts);
    if (all || strcmp(topic, "jobs") == 0) build_pool_wake(c->builds);
    if (all || strcmp(topic, "feed") == 0) publisher_wake(c->publisher);
}

/* ---- signals ---- */

struct signals {
    pthread_t thread;
    sigset_t set;
    struct control *control;
    atomic_bool ended;
};

static void *watch_signals(void *ctx) {
    struct signals *s = ctx;
    const struct timespec wait = {.tv_nsec = SIGNAL_MS * 1000000};
    while (!atomic_load(&s->ended)) {
        int n = sigtimedwait(&s->set, NULL, &wait);
        if (n == SIGHUP) api_renew_tls(s->control->api);
        if (n == SIGTERM || n == SIGINT) {
            atomic_store(&s->control->stopping, true);
            log_line(s->control->log, LOG_INFO, "stopping", NULL);
            service_notify("STOPPING=1");
            api_stop(s->control->api);
        }
    }
    return NULL;
}

/* Threads made later do not get these signals, but for the one that waits for them. */
static void block_signals(struct signals *s) {
    sigemptyset(&s->set);
    sigaddset(&s->set, SIGTERM);
    sigaddset(&s->set, SIGINT);
    sigaddset(&s->set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &s->set, NULL);
}

/* A connection for each edge that waits. */
static void raise_files(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files)) return;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

/* ---- the first words ---- */

static void say_address(const struct control_config *config, int port) {
    const char *at = config->address, *colon = strrchr(at, ':');
    if (config->public_url)
        printf("Console: %s/\n", config->public_url);
    else if (str_starts(str_of(at), STR("unix:")))
        printf("Listening on %s\n", at);
    else
        printf("Console: %s://%.*s:%d/\n", config->tls_certificate ? "https" : "http",
               (int)(colon ? colon - at : 0), at, port);
}

static enum err say_token(struct control *c, char why[CONTROL_WHY_BYTES]) {
    char token[AUTH_DRAWN_BYTES], db_why_text[DB_WHY_BYTES];
    struct arena arena;
    struct db_conn *conn = NULL;
    bool pending = false;
    arena_init(&arena, START_ARENA_BYTES);
    enum err e = db_take(c->db, &conn, db_why_text);
    if (e) snprintf(why, CONTROL_WHY_BYTES, "%s", db_why_text);
    if (!e && (e = auth_make_once(conn, &arena, true, token, &pending)))
        snprintf(why, CONTROL_WHY_BYTES, "the first token cannot be made: %s", db_why(conn));
    if (!e && *token)
        printf("One-time admin token, good for one POST /v1/tokens within 24 hours: %s\n", token);
    else if (!e && pending)
        printf("A one-time admin token that was printed before is still to be used. It is lost? "
               "`regent control --new-admin-token` prints another one.\n");
    db_put(conn);
    arena_deinit(&arena);
    return e;
}

/* ---- parts ---- */

static enum err open_store(struct control *c, char why[CONTROL_WHY_BYTES]) {
    char text[DB_WHY_BYTES] = "";
    enum err e = db_open(c->config->store, &c->db, text);
    if (!e) e = schema_migrate(c->db, text);
    char url[DB_WHY_BYTES];
    db_url_public(c->config->store, url, sizeof url);
    if (e) snprintf(why, CONTROL_WHY_BYTES, "store %.100s: %.380s", url, text);
    return e;
}

static enum err open_blobs(struct control *c, char why[CONTROL_WHY_BYTES]) {
    char text[BLOB_WHY_BYTES] = "";
    enum err e = blobs_open(c->config->blobs, &c->blobs, text);
    if (e) snprintf(why, CONTROL_WHY_BYTES, "blobs %.100s: %.380s", c->config->blobs, text);
    if (!e) e = bundle_cache_new(BUNDLE_CACHE_BYTES, &c->bundles);
    return e;
}

/* Replicas that drew keys of their own would undo each other's work: on one store they share a
 * named one. */
static enum err open_keys(struct control *c, char why[CONTROL_WHY_BYTES]) {
    const struct control_config *config = c->config;
    bool named = config->n_signing_keys > 0;
    char text[SIGN_WHY_BYTES] = "";
    enum err e = named || config->own_key ? OK : ERR_INVALID;
    if (e) snprintf(text, sizeof text, "name one by --signing-key, the same for all replicas");
    if (!e && !named) e = signer_make_key(config->own_key, text);
    if (!e)
        e = signer_open(named ? config->signing_keys : &config->own_key,
                        named ? config->n_signing_keys : 1, &c->signer, text);
    if (e) snprintf(why, CONTROL_WHY_BYTES, "signing keys: %.480s", text);
    return e;
}

static enum err open_parts(struct control *c, int *port, char why[CONTROL_WHY_BYTES]) {
    char text[DB_WHY_BYTES] = "";
    enum err e = open_store(c, why);
    if (!e) e = open_blobs(c, why);
    if (!e) e = open_keys(c, why);
    if (!e) e = api_new(c, &c->api, port, why);
    if (!e && (e = heard_new(c, &c->heard, text))) snprintf(why, CONTROL_WHY_BYTES, "%.500s", text);
    if (!e && (e = rollouts_new(c, &c->rollouts, text)))
        snprintf(why, CONTROL_WHY_BYTES, "%.500s", text);
    if (!e && (e = build_pool_new(c, &c->builds, text)))
        snprintf(why, CONTROL_WHY_BYTES, "%.500s", text);
    if (!e && (e = publisher_new(c, &c->publisher, text)))
        snprintf(why, CONTROL_WHY_BYTES, "%.500s", text);
    if (!e && (e = db_listen(c->db, hear, c)))
        snprintf(why, CONTROL_WHY_BYTES, "the store does not announce changes");
    return e;
}

/* First nobody wakes them any more, then they end, those that need others first. */
static void close_parts(struct control *c) {
    if (c->db) db_listen_stop(c->db);
    blobs_stop(c->blobs);
    api_free(c->api);
    heard_free(c->heard);
    rollouts_free(c->rollouts);
    build_pool_free(c->builds);
    publisher_free(c->publisher);
    bundle_cache_free(c->bundles);
    if (c->signer) signer_close(c->signer);
    if (c->blobs) blobs_close(c->blobs);
    if (c->db) db_close(c->db);
}

enum err control_run(const struct control_config *config, char why[CONTROL_WHY_BYTES]) {
    struct control c = {.config = config, .log = config->log, .started_ms = control_now_ms()};
    struct signals signals = {.control = &c};
    int port = 0;
    control_new_id(c.id);
    atomic_init(&c.stopping, false);
    atomic_init(&signals.ended, false);
    block_signals(&signals);
    raise_files();
    *why = 0;
    enum err e = open_parts(&c, &port, why);
    if (!e) e = say_token(&c, why);
    if (!e && pthread_create(&signals.thread, NULL, watch_signals, &signals)) e = ERR_IO;
    if (e) goto out;
    say_address(config, port);
    fflush(stdout);
    char number[16];
    snprintf(number, sizeof number, "%d", port);
    log_line(c.log, LOG_INFO, "ready", "address", config->address, "port", number, "store",
             db_is_postgres(c.db) ? "postgres" : "sqlite", "process", c.id, NULL);
    service_notify("READY=1");
    api_run(c.api);
    atomic_store(&c.stopping, true);
    atomic_store(&signals.ended, true);
    pthread_join(signals.thread, NULL);
out:
    if (e && !*why) snprintf(why, CONTROL_WHY_BYTES, "%s", err_meaning(e));
    close_parts(&c);
    return e;
}
