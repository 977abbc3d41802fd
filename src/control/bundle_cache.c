/* Bundles and modules that were asked for lately, by their SHA-256.
 * in: keys and sums. out: bytes. owns: at most so many bytes of objects, those unused for longest
 * go first. */
#include "control/bundle_cache.h"
#include "base/hash.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLOTS = 1024, SUM_BYTES = 64 };

struct kept {
    struct kept *next;          /* of its slot */
    struct kept *newer, *older; /* by use */
    char sum[SUM_BYTES];
    size_t len;
    uint8_t bytes[];
};
struct bundle_cache {
    pthread_mutex_t lock;
    size_t used_bytes, max_bytes;
    struct kept *slots[SLOTS];
    struct kept *newest, *oldest;
};

enum err bundle_cache_new(size_t max_bytes, struct bundle_cache **out) {
    struct bundle_cache *c = calloc(1, sizeof *c);
    if (!c) return ERR_MEMORY;
    if (pthread_mutex_init(&c->lock, NULL)) return free(c), ERR_MEMORY;
    c->max_bytes = max_bytes;
    *out = c;
    return OK;
}

void bundle_cache_free(struct bundle_cache *c) {
    if (!c) return;
    for (struct kept *k = c->newest, *older; k; k = older) {
        older = k->older;
        free(k);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct kept **slot_of(struct bundle_cache *c, struct str sum) {
    return &c->slots[hash64(sum) % SLOTS];
}

static struct kept *find(struct bundle_cache *c, struct str sum) {
    for (struct kept *k = *slot_of(c, sum); k; k = k->next)
        if (memcmp(k->sum, sum.ptr, SUM_BYTES) == 0) return k;
    return NULL;
}

static void unlink_use(struct bundle_cache *c, struct kept *k) {
    *(k->newer ? &k->newer->older : &c->newest) = k->older;
    *(k->older ? &k->older->newer : &c->oldest) = k->newer;
}

static void link_newest(struct bundle_cache *c, struct kept *k) {
    k->newer = NULL;
    k->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = k;
    c->newest = k;
}

static void drop_oldest(struct bundle_cache *c) {
    struct kept *k = c->oldest, **at = slot_of(c, (struct str){k->sum, SUM_BYTES});
    while (*at != k) at = &(*at)->next;
    *at = k->next;
    unlink_use(c, k);
    c->used_bytes -= k->len;
    free(k);
}

static bool put_kept(struct bundle_cache *c, struct str sum, struct buf *out) {
    pthread_mutex_lock(&c->lock);
    struct kept *k = find(c, sum);
    if (k) {
        unlink_use(c, k);
        link_newest(c, k);
        buf_put(out, k->bytes, k->len);
    }
    pthread_mutex_unlock(&c->lock);
    return k != NULL;
}

static void keep(struct bundle_cache *c, struct str sum, struct str bytes) {
    struct kept *k = bytes.len > c->max_bytes / 4 ? NULL : malloc(sizeof *k + bytes.len);
    if (!k) return;
    memcpy(k->sum, sum.ptr, SUM_BYTES);
    k->len = bytes.len;
    if (bytes.len) memcpy(k->bytes, bytes.ptr, bytes.len);
    pthread_mutex_lock(&c->lock);
    if (find(c, sum)) { /* somebody else read it meanwhile */
        pthread_mutex_unlock(&c->lock);
        free(k);
        return;
    }
    while (c->oldest && c->used_bytes + k->len > c->max_bytes) drop_oldest(c);
    struct kept **slot = slot_of(c, sum);
    k->next = *slot;
    *slot = k;
    link_newest(c, k);
    c->used_bytes += k->len;
    pthread_mutex_unlock(&c->lock);
}

enum err bundle_cache_get(struct bundle_cache *c, struct blobs *blobs, struct str key,
                          struct str sha256, struct buf *out, char why[BLOB_WHY_BYTES]) {
    char hex[65];
    size_t before = out->len;
    if (sha256.len != SUM_BYTES) {
        snprintf(why, BLOB_WHY_BYTES, "%.*s: no sum is known", STR_FMT(str_head(key, 256)));
        return ERR_INVALID;
    }
    if (c && put_kept(c, sha256, out)) return out->err;
    enum err e = blobs_get(blobs, key, out, why);
    if (e) return e;
    struct str bytes = {(const char *)out->ptr + before, out->len - before};
    sha256_hex(bytes.ptr, bytes.len, hex);
    if (!str_is(sha256, hex)) {
        out->len = before;
        snprintf(why, BLOB_WHY_BYTES, "%.*s: the blob store has other bytes than were published",
                 STR_FMT(str_head(key, 256)));
        return ERR_INVALID;
    }
    if (c) keep(c, sha256, bytes);
    return OK;
}
