/* How often who guessed: one number a slot, the time at which its tries are all used up.
 * in: addresses of failed tries. out: how long they have to wait. owns: nothing. */
#include "net/logins.h"
#include "base/hash.h"

#define LOGIN_INTERVAL_NS 6000000000u
enum { LOGINS = 10 };

/* Of version 6 the network counts: whoever has one address of it has them all. */
static uint32_t slot_of(const struct logins *l, const struct http_peer *peer) {
    static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
    uint8_t bytes[24] = {0};
    if (peer) memcpy(bytes, peer->ip, memcmp(peer->ip, v4, sizeof v4) == 0 ? 16 : 8);
    memcpy(bytes + 16, &l->key, sizeof l->key);
    return (uint32_t)(hash64((struct str){(const char *)bytes, sizeof bytes}) % LOGIN_SLOTS);
}

uint32_t logins_wait(const struct logins *l, const struct http_peer *peer, uint64_t now_ns) {
    uint64_t full_ns = atomic_load_explicit(&l->full_ns[slot_of(l, peer)], memory_order_relaxed);
    uint64_t free_ns = now_ns + (LOGINS - 1) * LOGIN_INTERVAL_NS;
    return full_ns > free_ns ? (uint32_t)((full_ns - free_ns + 999999999u) / 1000000000u) : 0;
}

void logins_failed(struct logins *l, const struct http_peer *peer, uint64_t now_ns) {
    _Atomic uint64_t *at = &l->full_ns[slot_of(l, peer)];
    uint64_t was = atomic_load_explicit(at, memory_order_relaxed), most = now_ns + LOGINS * LOGIN_INTERVAL_NS, next;
    do {
        next = (was > now_ns ? was : now_ns) + LOGIN_INTERVAL_NS;
        if (next > most) next = most;
    } while (!atomic_compare_exchange_weak_explicit(at, &was, next, memory_order_relaxed, memory_order_relaxed));
}
