/* Brings to the disk what was written, on a thread of its own, so that nobody who has a new version
 * waits for the disk.
 *
 * in:   tenants whose records changed.
 * out:  synced files; files that no record names any more are deleted.
 * owns: the thread.
 * A few tenants are synced file by file; many (a first load) by one call for the whole file system.
 */
#include "base/clock.h"
#include "edge/store_private.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_MS = 50, LONGEST_PAUSE_MS = 10000, FEW = 16 };

void store_sync_later(struct store *s, struct held *h) {
    pthread_mutex_lock(&s->lock);
    if (!h->dirty) {
        h->dirty = true;
        h->next_dirty = s->dirty;
        s->dirty = h;
    }
    s->wanted++;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

static void delete_doomed(struct store *s, struct held *h) {
    char path[STORE_PATH_BYTES];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < h->doomed.n; i++)
        if (h->doomed.items[i].since > h->sequence)
            h->doomed.items[kept++] = h->doomed.items[i];
        else if (store_path(s, path, "tenants/%s/%u.bundle", h->name, h->doomed.items[i].number))
            unlink(path);
    h->doomed.n = kept;
}

static void settle(struct store *s, struct held *h) {
    for (uint32_t i = 0; i < h->n; i++) h->versions[i].synced = true;
    h->durable = h->slot >= 0;
    h->opened = false;
    delete_doomed(s, h);
}

enum err store_sync_before(struct store *s, struct held *h) {
    if (!h->opened) return OK;
    if (!atomic_load(&s->settled)) return store_sync_held(s, h);
    settle(s, h);
    return OK;
}

/* Bytes before the record that names them, and the names last. */
enum err store_sync_held(struct store *s, struct held *h) {
    char path[STORE_PATH_BYTES];
    if (h->durable || h->slot < 0) return OK;
    for (uint32_t i = 0; i < h->n; i++) {
        if (h->versions[i].synced ||
            !store_path(s, path, "tenants/%s/%u.bundle", h->name, h->versions[i].number))
            continue;
        if (store_fsync(path) && errno != ENOENT) return ERR_IO;
        h->versions[i].synced = true;
    }
    if (!store_path(s, path, "tenants/%s/record.%d", h->name, h->slot) || store_fsync(path))
        return ERR_IO;
    if (!store_path(s, path, "tenants/%s", h->name) || store_fsync(path)) return ERR_IO;
    if (!store_path(s, path, "tenants") || store_fsync(path)) return ERR_IO;
    settle(s, h);
    return OK;
}

static void complain(struct store *s) {
    char why[256];
    snprintf(why, sizeof why, "%s", strerror(errno));
    store_complain(s, "what was stored is not on the disk yet", why);
}

/* false: some of them are to be synced again. */
static bool sync_few(struct store *s, struct held *list) {
    bool all = true;
    for (struct held *h = list; h; h = h->next_dirty) {
        pthread_mutex_lock(&h->lock);
        bool synced = store_sync_held(s, h) == OK;
        if (!synced) complain(s);
        all = all && synced;
        pthread_mutex_unlock(&h->lock);
    }
    return all;
}

/* Records that change meanwhile may not be on the disk yet: they are in the list again. */
static bool sync_many(struct store *s, struct held *list, uint32_t n) {
    uint64_t *sequences = calloc(n, sizeof *sequences), *at = sequences;
    if (!sequences) return sync_few(s, list);
    for (struct held *h = list; h; h = h->next_dirty) {
        pthread_mutex_lock(&h->lock);
        *at++ = h->sequence;
        pthread_mutex_unlock(&h->lock);
    }
    bool synced = syncfs(s->directory_fd) == 0;
    if (!synced) complain(s);
    at = sequences;
    for (struct held *h = list; h && synced; h = h->next_dirty) {
        pthread_mutex_lock(&h->lock);
        if (h->sequence == *at++) settle(s, h);
        pthread_mutex_unlock(&h->lock);
    }
    free(sequences);
    return synced;
}

/* A tenant stays marked while it is in the taken list: its link is in use. */
static struct held *take(struct store *s, uint32_t *n) {
    struct held *list = s->dirty;
    s->dirty = NULL;
    for (struct held *h = list; h; h = h->next_dirty) ++*n;
    return list;
}

/* With the lock held, which is let go of meanwhile. */
static void give_back(struct store *s, struct held *list) {
    for (struct held *h = list, *next; h; h = next) {
        next = h->next_dirty;
        h->dirty = false; /* whoever writes from now on puts it into the list himself */
        pthread_mutex_unlock(&s->lock);
        pthread_mutex_lock(&h->lock);
        bool again = !h->durable && h->slot >= 0;
        pthread_mutex_unlock(&h->lock);
        if (again) store_sync_later(s, h);
        pthread_mutex_lock(&s->lock);
    }
}

static void pause_for(struct store *s, int64_t ms) {
    struct timespec until = clock_after(CLOCK_REALTIME, ms);
    while (!s->stop && !s->hurry &&
           pthread_cond_timedwait(&s->wake, &s->lock, &until) != ETIMEDOUT) {
    }
}

static void *run(void *arg) {
    struct store *s = arg;
    if (syncfs(s->directory_fd) == 0) atomic_store(&s->settled, true);
    pthread_mutex_lock(&s->lock);
    for (int64_t pause_ms = PAUSE_MS;;) {
        while (!s->dirty && !s->stop) {
            if (!atomic_load(&s->guest) || atomic_load(&s->left)) {
                pthread_cond_wait(&s->wake, &s->lock);
                continue;
            }
            pause_for(s, PAUSE_MS);
            if (!s->stop) store_guest_step(s);
        }
        if (!s->dirty) break;
        pause_for(s, pause_ms);
        uint32_t n = 0;
        uint64_t wanted = s->wanted;
        s->hurry = false;
        struct held *list = take(s, &n);
        pthread_mutex_unlock(&s->lock);
        bool synced = n > FEW ? sync_many(s, list, n) : sync_few(s, list);
        pthread_mutex_lock(&s->lock);
        give_back(s, list);
        pause_ms = synced ? PAUSE_MS : pause_ms < LONGEST_PAUSE_MS ? pause_ms * 2 : pause_ms;
        if (synced && wanted > s->done) s->done = wanted;
        if (!synced) s->failures++;
        pthread_cond_broadcast(&s->synced);
        if (s->stop && !synced) break;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

enum err store_sync_start(struct store *s) {
    s->running = pthread_create(&s->thread, NULL, run, s) == 0;
    return s->running ? OK : ERR_MEMORY;
}

void store_sync_stop(struct store *s) {
    if (!s->running) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
}

enum err store_sync(struct store *s) {
    pthread_mutex_lock(&s->lock);
    uint64_t wanted = s->wanted, failures = s->failures;
    s->hurry = s->done < wanted;
    pthread_cond_signal(&s->wake);
    while (s->done < wanted && s->failures == failures) pthread_cond_wait(&s->synced, &s->lock);
    enum err e = s->done < wanted ? ERR_IO : OK;
    pthread_mutex_unlock(&s->lock);
    return e;
}
