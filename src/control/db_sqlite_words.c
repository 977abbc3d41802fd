/* Tells what was committed to a SQLite file to whoever listens in this process.
 *
 * in:   words of this process's transactions; the file's data_version, asked four times a second.
 * out:  calls of db_hear, on one thread, in the order of commits.
 * owns: the thread and its queue. */
#include "base/clock.h"
#include "control/db_sqlite_words.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { POLL_MS = 250, DOUBT_POLLS = 8 };

struct shared {
    pthread_mutex_t writer; /* held from BEGIN IMMEDIATE to the end */
    pthread_mutex_t lock;   /* of all below */
    pthread_cond_t changed;
    struct db_words waiting;
    uint64_t commits; /* that this process told of */
    bool stop;
};

struct listener {
    struct db *db;
    struct db_conn *conn; /* asks for data_version only */
    pthread_t thread;
    int64_t version;
    uint64_t commits;
    uint32_t doubts; /* polls in which this process and perhaps others wrote */
};

enum err sqlite_shared(struct db *d) {
    pthread_condattr_t clock;
    if (d->shared) return OK;
    struct shared *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    pthread_mutex_init(&s->writer, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &clock);
    pthread_condattr_destroy(&clock);
    d->shared = s;
    return OK;
}

bool sqlite_lock_writer(struct db *d, int ms) {
    struct shared *s = d->shared;
    struct timespec until = clock_after(CLOCK_REALTIME, ms);
    return pthread_mutex_timedlock(&s->writer, &until) == 0;
}

void sqlite_unlock_writer(struct db *d) {
    struct shared *s = d->shared;
    pthread_mutex_unlock(&s->writer);
}

void sqlite_tell(struct db *d, struct db_words *w) {
    struct shared *s = d->shared;
    pthread_mutex_lock(&s->lock);
    s->commits++;
    for (uint32_t i = 0; d->listener && i < w->n; i++)
        if (db_words_add(&s->waiting, w->items[i].topic,
                         (struct str){w->items[i].payload, w->items[i].len}))
            break;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void data_version(struct listener *l) {
    struct arena a;
    struct db_rows r;
    arena_init(&a, 1 << 16);
    if (!DB_QUERY0(l->conn, &a, &r, "PRAGMA data_version") && r.n) l->version = db_row(&r, 0)->i;
    arena_deinit(&a);
}

/* Did another process write? When this one did too, that cannot be told: then once in a while it is
 * taken for granted. */
static bool others_wrote(struct listener *l, uint64_t commits) {
    int64_t before = l->version;
    bool own = commits != l->commits;
    data_version(l);
    l->commits = commits;
    if (before == l->version && !l->doubts) return false;
    if (before != l->version && !own) return l->doubts = 0, true;
    if (++l->doubts < DOUBT_POLLS) return false;
    return l->doubts = 0, true;
}

/* Waits for words or the next poll. false: stop. */
static bool next_words(struct shared *s, struct db_words *out, uint64_t *commits,
                       struct timespec *poll) {
    pthread_mutex_lock(&s->lock);
    while (!s->stop && !s->waiting.n)
        if (pthread_cond_timedwait(&s->changed, &s->lock, poll) == ETIMEDOUT) break;
    bool go = !s->stop;
    *out = s->waiting;
    *commits = s->commits;
    s->waiting = (struct db_words){0};
    pthread_mutex_unlock(&s->lock);
    return go;
}

static bool is_past(const struct timespec *t) {
    struct timespec now = clock_after(CLOCK_MONOTONIC, 0);
    return now.tv_sec > t->tv_sec || (now.tv_sec == t->tv_sec && now.tv_nsec >= t->tv_nsec);
}

static void *tell_all(void *ctx) {
    struct listener *l = ctx;
    struct db *d = l->db;
    struct db_words words;
    struct timespec poll = clock_after(CLOCK_MONOTONIC, POLL_MS);
    uint64_t commits;
    while (next_words(d->shared, &words, &commits, &poll)) {
        for (uint32_t i = 0; i < words.n; i++)
            d->hear(d->hear_ctx, words.items[i].topic,
                    (struct str){words.items[i].payload, words.items[i].len});
        db_words_clear(&words);
        if (!is_past(&poll)) continue;
        if (others_wrote(l, commits)) d->hear(d->hear_ctx, "*", STR(""));
        poll = clock_after(CLOCK_MONOTONIC, POLL_MS);
    }
    db_words_clear(&words);
    return NULL;
}

static void set_listener(struct db *d, struct listener *l) {
    struct shared *s = d->shared;
    pthread_mutex_lock(&s->lock);
    d->listener = l;
    s->stop = !l;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

enum err sqlite_listen(struct db *d) {
    char why[DB_WHY_BYTES];
    struct listener *l = calloc(1, sizeof *l);
    if (!l) return ERR_MEMORY;
    l->db = d;
    enum err e = db_take(d, &l->conn, why);
    if (e) return free(l), e;
    data_version(l);
    set_listener(d, l);
    if (pthread_create(&l->thread, NULL, tell_all, l) == 0) return OK;
    set_listener(d, NULL);
    db_put(l->conn);
    free(l);
    return ERR_IO;
}

void sqlite_listen_stop(struct db *d) {
    struct listener *l = d->listener;
    set_listener(d, NULL);
    pthread_join(l->thread, NULL);
    db_put(l->conn);
    free(l);
}
