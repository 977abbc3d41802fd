/* Two nodes for a moment: a new one takes over while the old one still holds the store. The new one
 * reads, remembers what it would write, and writes it when the old one has left.
 *
 * in:   calls that came too early.
 * out:  the same calls, in order.
 * owns: copies of them. */
#include "edge/store_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { OWED_MAX_BYTES = 256 << 20 };

static struct owed *copy_call(const struct owed *call) {
    struct owed *o = malloc(sizeof *o);
    struct str *texts[] = {&o->tenant,    &o->version, &o->bundle,
                           &o->v.version, &o->v.from,  &o->v.sha256};
    size_t n = 0;
    if (!o) return NULL;
    *o = *call;
    for (int i = 0; i < 6; i++) n += texts[i]->len;
    char *at = o->text = malloc(n + 1);
    if (!at) return free(o), NULL;
    for (int i = 0; i < 6; i++) {
        if (texts[i]->len) memcpy(at, texts[i]->ptr, texts[i]->len);
        texts[i]->ptr = at;
        at += texts[i]->len;
    }
    return o;
}

bool store_owe(struct store *s, const struct owed *call, enum err *e) {
    *e = OK;
    if (atomic_load_explicit(&s->left, memory_order_relaxed)) return true;
    if (!atomic_load_explicit(&s->guest, memory_order_acquire)) return false;
    pthread_mutex_lock(&s->lock);
    bool guest = atomic_load(&s->guest);
    struct owed *o =
        guest && s->owed_bytes + call->bundle.len < OWED_MAX_BYTES ? copy_call(call) : NULL;
    if (o) {
        o->next = NULL;
        *s->owed_end = o;
        s->owed_end = &o->next;
        s->owed_bytes += call->bundle.len;
    } else if (guest) {
        *e = ERR_LIMIT;
    }
    pthread_mutex_unlock(&s->lock);
    return guest;
}

static void owed_free(struct owed *o) {
    free(o->text);
    free(o);
}

void store_owed_free(struct store *s) {
    for (struct owed *o = s->owed, *next; o; o = next) {
        next = o->next;
        owed_free(o);
    }
}

static void perform(struct store *s, const struct owed *o) {
    char why[512] = "";
    enum err e = OK;
    switch (o->kind) { /* who fails, says so */
    case OWED_PUT: e = store_put_now(s, o->tenant, &o->v, o->bundle, why, sizeof why); break;
    case OWED_ACTIVATE: e = store_activate_now(s, o->tenant, o->version); break;
    case OWED_PIN: e = store_pin_now(s, o->tenant, o->version); break;
    case OWED_REMOVE: e = store_remove_now(s, o->tenant); break;
    }
    (void)e;
}

/* The other node wrote until now. */
static void refresh(struct store *s, struct held *h) {
    struct held now = {.slot = -1};
    bool damaged;
    memcpy(now.name, h->name, sizeof now.name);
    if (store_record_read(s, &now, &damaged)) return;
    pthread_mutex_lock(&h->lock);
    store_record_clear(h);
    h->versions = now.versions;
    h->n = now.n;
    h->cap = now.cap;
    h->next = now.next;
    h->active = now.active;
    h->pinned = now.pinned;
    h->highest_serial = now.highest_serial;
    h->sequence = now.sequence;
    h->slot = now.slot;
    h->opened = h->folder = now.slot >= 0;
    pthread_mutex_unlock(&h->lock);
    free((void *)now.id.ptr);
}

/* Every tenant, with no lock held: none goes before the store is closed. */
static void each_held(struct store *s, void (*visit)(struct store *s, struct held *h)) {
    uint32_t n = 0;
    pthread_mutex_lock(&s->lock);
    struct held **all = calloc(s->n ? s->n : 1, sizeof(struct held *));
    for (uint32_t i = 0; all && i <= s->mask; i++)
        for (struct held *h = s->buckets[i]; h; h = h->chain) all[n++] = h;
    pthread_mutex_unlock(&s->lock);
    for (uint32_t i = 0; i < n; i++) visit(s, all[i]);
    free(all);
}

static void refresh_all(struct store *s) {
    char why[512] = "";
    each_held(s, refresh);
    if (store_read_tenants(s, why, sizeof why))
        store_complain(s, "stored versions cannot be read again", why);
}

void store_guest_step(struct store *s) {
    char why[512];
    pthread_mutex_unlock(&s->lock);
    bool ours = store_lock(s, why, sizeof why) == OK;
    if (ours) {
        store_empty_temporary(s);
        refresh_all(s);
    }
    pthread_mutex_lock(&s->lock);
    while (ours && s->owed) {
        struct owed *o = s->owed;
        if (!(s->owed = o->next)) s->owed_end = &s->owed;
        s->owed_bytes -= o->bundle.len;
        pthread_mutex_unlock(&s->lock);
        perform(s, o);
        owed_free(o);
        pthread_mutex_lock(&s->lock);
    }
    if (!ours) return;
    atomic_store(&s->guest, false);
    if (s->log) log_line(s->log, LOG_INFO, "store taken over", "folder", s->directory, NULL);
}

/* Whoever writes has the tenant's lock; whoever gets it later sees that this node has left. */
static void wait_for_writer(struct store *s, struct held *h) {
    (void)s;
    pthread_mutex_lock(&h->lock);
    pthread_mutex_unlock(&h->lock);
}

void store_leave(struct store *s) {
    if (!s || atomic_exchange(&s->left, true)) return;
    each_held(s, wait_for_writer);
    if (store_sync(s))
        store_complain(s, "what was stored is not on the disk yet", "the store was given away");
    pthread_mutex_lock(&s->lock);
    if (s->lock_fd >= 0) close(s->lock_fd);
    s->lock_fd = -1;
    pthread_mutex_unlock(&s->lock);
}
