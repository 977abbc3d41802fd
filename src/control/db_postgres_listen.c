/* Hears what was notified in PostgreSQL, on a connection and a thread of its own.
 *
 * in:   notifications of the schema's channel, of all processes; a server that may go away.
 * out:  calls of db_hear in the order of commits; "*" after each new connection.
 * owns: the thread, its connection, the pipe that ends it. */
#include "control/db_postgres.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { AGAIN_MS = 100, AGAIN_MOST_MS = 2000, ARENA_BYTES = 1 << 16 };

struct listener {
    struct db *db;
    struct db_conn *conn; /* NULL: none now */
    int wake[2];
    pthread_t thread;
};

/* LISTEN takes a name, not an expression; this one is of letters, digits and _. */
static enum err listen_on(struct db_conn *c) {
    struct arena a;
    struct db_rows r;
    char sql[128];
    arena_init(&a, ARENA_BYTES);
    enum err e = DB_QUERY0(c, &a, &r, "SELECT " PQ_CHANNEL);
    if (!e) snprintf(sql, sizeof sql, "LISTEN %.*s", STR_FMT(db_row(&r, 0)->s));
    if (!e) e = db_script(c, sql);
    arena_deinit(&a);
    return e;
}

/* Never put back: nobody else must get what it hears. */
static void leave(struct listener *l) {
    if (l->conn) l->conn->broken = true;
    db_put(l->conn);
    l->conn = NULL;
}

static enum err enter(struct listener *l) {
    char why[DB_WHY_BYTES];
    enum err e = db_take(l->db, &l->conn, why);
    if (!e) e = listen_on(l->conn);
    if (e) leave(l);
    return e;
}

static void tell(struct listener *l, const char *text) {
    char topic[TOPIC_BYTES];
    struct db *d = l->db;
    const char *space = strchr(text, ' ');
    size_t n = space ? (size_t)(space - text) : 0;
    if (!space || n >= sizeof topic) return d->hear(d->hear_ctx, "*", STR(""));
    memcpy(topic, text, n);
    topic[n] = 0;
    d->hear(d->hear_ctx, topic, str_of(space + 1));
}

/* false: the connection is lost. */
static bool tell_all(struct listener *l) {
    struct pq *q = l->db->shared;
    PGconn *h = l->conn->handle;
    bool good = q->PQconsumeInput(h) && q->PQstatus(h) == CONNECTION_OK;
    for (PGnotify *n; (n = q->PQnotifies(h)); q->PQfreemem(n)) tell(l, n->extra);
    return good;
}

/* Waits for the server's word, the end, or so long. false: the end. */
static bool wait_word(struct listener *l, int ms) {
    struct pq *q = l->db->shared;
    struct pollfd p[2] = {{.fd = l->wake[0], .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    if (l->conn) p[1].fd = q->PQsocket(l->conn->handle);
    while (poll(p, 2, ms) < 0 && errno == EINTR) continue;
    return !p[0].revents;
}

static void *listen_always(void *ctx) {
    struct listener *l = ctx;
    int pause = AGAIN_MS;
    while (wait_word(l, l->conn ? -1 : pause)) {
        if (l->conn && tell_all(l)) continue;
        if (l->conn) leave(l), pause = AGAIN_MS;
        if (!enter(l)) {
            l->db->hear(l->db->hear_ctx, "*", STR(""));
            /* What came with the reply to LISTEN is in libpq's hands and makes no socket readable.
             */
            if (!tell_all(l)) leave(l);
            pause = AGAIN_MS;
        } else if ((pause *= 2) > AGAIN_MOST_MS) {
            pause = AGAIN_MOST_MS;
        }
    }
    return NULL;
}

static void listener_free(struct listener *l) {
    leave(l);
    if (l->wake[0] >= 0) close(l->wake[0]), close(l->wake[1]);
    free(l);
}

enum err postgres_listen(struct db *d) {
    struct listener *l = calloc(1, sizeof *l);
    if (!l) return ERR_MEMORY;
    l->db = d;
    l->wake[0] = l->wake[1] = -1;
    enum err e = pipe2(l->wake, O_CLOEXEC) ? ERR_IO : enter(l);
    if (!e && pthread_create(&l->thread, NULL, listen_always, l)) e = ERR_IO;
    if (e) return listener_free(l), e;
    d->listener = l;
    return OK;
}

void postgres_listen_stop(struct db *d) {
    struct listener *l = d->listener;
    d->listener = NULL;
    while (write(l->wake[1], "", 1) < 0 && errno == EINTR) continue;
    pthread_join(l->thread, NULL);
    listener_free(l);
}
