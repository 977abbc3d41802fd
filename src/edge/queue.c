/* Fair queue: flows in a heap by the time they have used.
 * in: items with keys, times. out: the item to serve next, the item to shed. owns: flows; never the items. */
#include "edge/queue.h"
#include <stdlib.h>

enum { FIRST_BUCKETS = 64, NOWHERE = -1 };

struct queue_flow {
    const void *key;
    struct queue_flow *chain;
    struct queue_item *first, *last;
    uint64_t used_ns;
    uint64_t usual_ns; /* of one item: moving average */
    uint32_t n, served;
    int32_t at; /* in the heap */
};

void queue_init(struct queue *q, uint32_t max, uint32_t most) {
    *q = (struct queue){.max = max, .most = most};
}

void queue_deinit(struct queue *q) {
    for (uint32_t i = 0; i < q->n_buckets; i++)
        for (struct queue_flow *f = q->buckets[i], *next; f; f = next) {
            next = f->chain;
            free(f);
        }
    free(q->buckets);
    free(q->heap);
    *q = (struct queue){0};
}

/* ---- flows by key ---- */

static uint32_t bucket_of(const struct queue *q, const void *key) {
    uint64_t h = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32) & (q->n_buckets - 1);
}

/* A flow that waits for nothing, and owes nothing, need not be remembered. */
static bool is_forgettable(const struct queue *q, const struct queue_flow *f) {
    return f->n == 0 && f->served == 0 && f->used_ns <= q->floor_ns;
}

static bool rebuild(struct queue *q) {
    uint32_t n = 0, size = FIRST_BUCKETS, was = q->n_buckets;
    struct queue_flow **old = q->buckets, *all = NULL;
    for (uint32_t i = 0; i < was; i++)
        for (struct queue_flow *f = old[i]; f; f = f->chain) n += !is_forgettable(q, f);
    while (size < n * 2 + 2) size *= 2;
    struct queue_flow **buckets = calloc(size, sizeof(struct queue_flow *));
    if (!buckets) return was > 0; /* the old one still works, only slower */
    for (uint32_t i = 0; i < was; i++)
        for (struct queue_flow *f = old[i], *next; f; f = next) {
            next = f->chain;
            f->chain = all;
            all = f;
        }
    free(old);
    q->buckets = buckets;
    q->n_buckets = size;
    q->n_flows = n;
    for (struct queue_flow *next; all; all = next) {
        next = all->chain;
        if (is_forgettable(q, all)) {
            if (q->longest == all) q->longest = NULL;
            free(all);
            continue;
        }
        uint32_t b = bucket_of(q, all->key);
        all->chain = buckets[b];
        buckets[b] = all;
    }
    return true;
}

static struct queue_flow *flow_find(const struct queue *q, const void *key) {
    struct queue_flow *f = q->n_buckets ? q->buckets[bucket_of(q, key)] : NULL;
    while (f && f->key != key) f = f->chain;
    return f;
}

static struct queue_flow *flow_of(struct queue *q, const void *key) {
    struct queue_flow *f = flow_find(q, key);
    if (f) return f;
    if (q->n_flows + 1 > q->n_buckets && !rebuild(q)) return NULL;
    if (!(f = calloc(1, sizeof *f))) return NULL;
    *f = (struct queue_flow){.key = key, .used_ns = q->floor_ns, .at = NOWHERE};
    uint32_t b = bucket_of(q, key);
    f->chain = q->buckets[b];
    q->buckets[b] = f;
    q->n_flows++;
    return f;
}

/* ---- heap ---- */

static void heap_place(struct queue *q, uint32_t at, struct queue_flow *f) {
    q->heap[at] = f;
    f->at = (int32_t)at;
}

static void heap_up(struct queue *q, struct queue_flow *f) {
    uint32_t at = (uint32_t)f->at;
    for (; at && q->heap[(at - 1) / 2]->used_ns > f->used_ns; at = (at - 1) / 2)
        heap_place(q, at, q->heap[(at - 1) / 2]);
    heap_place(q, at, f);
}

static void heap_down(struct queue *q, struct queue_flow *f) {
    uint32_t at = (uint32_t)f->at;
    for (uint32_t child; (child = at * 2 + 1) < q->n_heap; at = child) {
        if (child + 1 < q->n_heap && q->heap[child + 1]->used_ns < q->heap[child]->used_ns) child++;
        if (q->heap[child]->used_ns >= f->used_ns) break;
        heap_place(q, at, q->heap[child]);
    }
    heap_place(q, at, f);
}

static bool heap_room(struct queue *q) {
    if (q->n_heap < q->heap_cap) return true;
    uint32_t cap = q->heap_cap ? q->heap_cap * 2 : FIRST_BUCKETS;
    struct queue_flow **heap = realloc(q->heap, cap * sizeof(struct queue_flow *));
    if (!heap) return false;
    q->heap = heap;
    q->heap_cap = cap;
    return true;
}

static void heap_remove(struct queue *q, struct queue_flow *f) {
    struct queue_flow *last = q->heap[--q->n_heap];
    uint32_t at = (uint32_t)f->at;
    f->at = NOWHERE;
    if (last == f) return;
    heap_place(q, at, last);
    heap_up(q, last);
    heap_down(q, last);
}

/* Brings a flow's place in line with its state. There is room: one more than flows in it was made when the flow's item
 * came, and one stays reserved for each flow that is being served. */
static void settle(struct queue *q, struct queue_flow *f) {
    bool ready = f->n && (!q->most || f->served < q->most);
    if (!ready) {
        if (f->at != NOWHERE) heap_remove(q, f);
        return;
    }
    if (f->at == NOWHERE) {
        if (!heap_room(q)) return; /* tried again with its next item */
        heap_place(q, q->n_heap++, f);
    }
    heap_up(q, f);
    heap_down(q, f);
}

/* ---- items ---- */

static void unlink_item(struct queue *q, struct queue_item *item) {
    struct queue_flow *f = item->flow;
    *(item->prev ? &item->prev->next : &f->first) = item->next;
    *(item->next ? &item->next->prev : &f->last) = item->prev;
    *(item->older ? &item->older->newer : &q->oldest) = item->newer;
    *(item->newer ? &item->newer->older : &q->newest) = item->older;
    f->n--;
    q->n--;
}

/* Exact enough for shedding: a flow is taken for the longest until it has lost half of what it had. */
static struct queue_flow *longest_flow(struct queue *q) {
    if (q->longest && q->longest->n > q->longest_n / 2) return q->longest;
    struct queue_flow *longest = NULL;
    for (uint32_t i = 0; i < q->n_buckets; i++)
        for (struct queue_flow *f = q->buckets[i]; f; f = f->chain)
            if (!longest || f->n > longest->n) longest = f;
    q->longest = longest;
    q->longest_n = longest ? longest->n : 0;
    return longest;
}

struct queue_item *queue_push(struct queue *q, const void *key, struct queue_item *item, uint64_t now_ns) {
    struct queue_flow *f = flow_of(q, key);
    struct queue_item *shed = NULL;
    if (!f || !heap_room(q)) return item;
    if (q->n >= q->max) {
        struct queue_flow *longest = longest_flow(q);
        if (!longest || longest->n <= f->n + 1) return item;
        shed = longest->last;
        unlink_item(q, shed);
        settle(q, longest);
    }
    if (f->n == 0 && f->served == 0 && f->used_ns < q->floor_ns) f->used_ns = q->floor_ns;
    *item = (struct queue_item){.flow = f, .prev = f->last, .older = q->newest, .since_ns = now_ns};
    *(f->last ? &f->last->next : &f->first) = item;
    f->last = item;
    *(q->newest ? &q->newest->newer : &q->oldest) = item;
    q->newest = item;
    f->n++;
    q->n++;
    if (q->longest && f->n > q->longest_n) q->longest = f, q->longest_n = f->n;
    settle(q, f);
    return shed;
}

struct queue_item *queue_pop(struct queue *q) {
    if (!q->n_heap) return NULL;
    struct queue_flow *f = q->heap[0];
    struct queue_item *item = f->first;
    if (f->used_ns > q->floor_ns) q->floor_ns = f->used_ns;
    unlink_item(q, item);
    f->served++;
    f->used_ns += f->usual_ns;
    item->since_ns = f->usual_ns; /* what it was charged */
    settle(q, f);
    return item;
}

void queue_done(struct queue *q, struct queue_item *item, uint64_t used_ns) {
    struct queue_flow *f = item->flow;
    f->served--;
    f->used_ns = f->used_ns - item->since_ns + used_ns;
    f->usual_ns = f->usual_ns - f->usual_ns / 4 + used_ns / 4;
    settle(q, f);
}

struct queue_item *queue_expired(struct queue *q, uint64_t now_ns, uint64_t wait_ns) {
    struct queue_item *item = q->oldest;
    if (!item || now_ns - item->since_ns <= wait_ns || now_ns < item->since_ns) return NULL;
    unlink_item(q, item);
    settle(q, item->flow);
    return item;
}

uint32_t queue_waiting(const struct queue *q, const void *key) {
    const struct queue_flow *f = flow_find(q, key);
    return f ? f->n : 0;
}

bool queue_is_first(struct queue *q, const void *key) {
    if (!q->n_heap) return true;
    const struct queue_flow *f = flow_find(q, key);
    if (f && f->n) return false;
    uint64_t used = f && f->used_ns > q->floor_ns ? f->used_ns : q->floor_ns;
    return used <= q->heap[0]->used_ns;
}

void queue_charge(struct queue *q, const void *key, uint64_t used_ns) {
    struct queue_flow *f = flow_of(q, key);
    if (!f) return;
    if (f->used_ns < q->floor_ns) f->used_ns = q->floor_ns;
    f->used_ns += used_ns;
    settle(q, f);
}
