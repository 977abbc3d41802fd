/* Loaders: threads at low priority that offer whole replies to the activator, which verifies and compiles.
 * in: whole replies. out: what became of them, for the fetching thread. owns: its threads. */
#include "edge/priority.h"
#include "edge/source_work.h"
#include "edge/verify.h"
#include <unistd.h>

static void offer(struct sources *s, struct errand *e) {
    const struct edge_source *c = e->origin->config;
    struct candidate candidate = {.tenant = str_of(e->supply->id),
                                  .version = str_of(e->named),
                                  .serial = e->serial,
                                  .verify = &c->verify,
                                  .from = e->origin->name,
                                  .allow_older = e->allow_older,
                                  .quiet = e->quiet,
                                  .requested_ns = e->requested_ns};
    if (e->module.len) {
        candidate.module = buf_view(&e->module);
        candidate.data = buf_view(&e->call.body);
    } else {
        candidate.bundle = buf_view(&e->call.body);
    }
    activator_offer(s->options.activator, &candidate, &e->result);
}

/* Its memory goes back before the reply's end is dealt with: thousands may wait for that. */
static void drop_bodies(struct errand *e) {
    buf_deinit(&e->call.body);
    buf_deinit(&e->module);
    e->call.body = e->module = (struct buf){0};
}

static void *work(void *ctx) {
    struct sources *s = ctx;
    priority_of_lane();
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct errand *e = s->to_load;
        if (!e && s->stop) break;
        if (!e) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        if (!(s->to_load = e->next)) s->to_load_end = &s->to_load;
        s->n_to_load--;
        s->loading++;
        pthread_mutex_unlock(&s->lock);
        offer(s, e);
        drop_bodies(e);
        pthread_mutex_lock(&s->lock);
        e->next = s->loaded;
        s->loaded = e;
        s->loading--;
        pthread_cond_broadcast(&s->changed);
        fetch_set_wake(s->fetches);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void loaders_take(struct errand *e) {
    struct sources *s = e->all;
    e->next = NULL;
    pthread_mutex_lock(&s->lock);
    *s->to_load_end = e;
    s->to_load_end = &e->next;
    s->n_to_load++;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

enum err loaders_start(struct sources *s) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t n = cores > SOURCE_LOADERS ? SOURCE_LOADERS : cores > 0 ? (uint32_t)cores : 1;
    while (s->n_loaders < n && pthread_create(&s->loaders[s->n_loaders], NULL, work, s) == 0) s->n_loaders++;
    return s->n_loaders ? OK : ERR_MEMORY;
}

void loaders_stop(struct sources *s) {
    while (s->n_loaders) pthread_join(s->loaders[--s->n_loaders], NULL);
}
