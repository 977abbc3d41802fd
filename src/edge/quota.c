/* A tenant's counts under concurrent threads, each one atomic word: no locks, no cache of its own.
 * in: limits, times. out: admitted or not. owns: nothing. */
#include "edge/quota.h"

enum {
    SLOW_UNIT_SHIFT = 24,  /* of nanoseconds: 16.8 ms */
    SLOW_STRIKES_BITS = 8, /* low bits of `slow`: how often in a row; above them: until when, in units */
    SLOW_MAX_DOUBLINGS = 7 /* 128 units: 2.1 s */
};

/* The generic cell rate algorithm: the bucket is full again at `full_at`; each request moves that by its interval,
 * and may not move it further than the bucket is deep. */
enum err quota_rate(struct tenant_quota *q, const struct tenant_limits *l, uint64_t now_ns) {
    if (!l->requests_per_second) return OK;
    uint64_t rate = l->requests_per_second < 1000000000u ? l->requests_per_second : 1000000000u;
    uint64_t interval = 1000000000u / rate, burst = l->burst ? l->burst : rate;
    uint64_t depth = burst < UINT64_MAX / 4 / interval ? burst * interval : UINT64_MAX / 4;
    uint64_t full_at = atomic_load_explicit(&q->bucket, memory_order_relaxed), next;
    do {
        next = (full_at > now_ns ? full_at : now_ns) + interval;
        if (next - now_ns > depth && next - now_ns > interval) return ERR_RATE;
    } while (!atomic_compare_exchange_weak_explicit(&q->bucket, &full_at, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return OK;
}

enum err quota_admit(struct tenant_quota *q, const struct tenant_limits *l, uint64_t now_ns) {
    uint32_t before = atomic_fetch_add_explicit(&q->under_way, 1, memory_order_relaxed);
    enum err e = l->concurrent && before >= l->concurrent ? ERR_CONCURRENCY : quota_rate(q, l, now_ns);
    if (e) quota_done(q);
    return e;
}

void quota_done(struct tenant_quota *q) {
    atomic_fetch_sub_explicit(&q->under_way, 1, memory_order_relaxed);
}

bool quota_log(struct tenant_quota *q, const struct tenant_limits *l, uint64_t now_ns) {
    if (!l->log_lines_per_second) return true;
    uint64_t second = (now_ns / 1000000000u) << 32;
    uint64_t was = atomic_load_explicit(&q->log_second, memory_order_relaxed), next;
    do {
        next = (was >> 32 << 32) == second ? was + 1 : second + 1;
        if ((uint32_t)next > l->log_lines_per_second) return false;
    } while (!atomic_compare_exchange_weak_explicit(&q->log_second, &was, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static int32_t units_left(uint32_t slow, uint64_t now_ns) {
    uint32_t until = slow >> SLOW_STRIKES_BITS, now = (uint32_t)(now_ns >> SLOW_UNIT_SHIFT) & 0xffffff;
    return (int32_t)((until - now) << SLOW_STRIKES_BITS) >> SLOW_STRIKES_BITS; /* 24 bits that wrap */
}

void quota_slowed(struct tenant_quota *q, uint64_t now_ns) {
    uint32_t was = atomic_load_explicit(&q->slow, memory_order_relaxed), next;
    do {
        uint32_t strikes = was & ((1u << SLOW_STRIKES_BITS) - 1);
        if (!strikes || units_left(was, now_ns) < -(1 << (strikes - 1))) strikes = 0;
        if (strikes <= SLOW_MAX_DOUBLINGS) strikes++;
        uint32_t now = (uint32_t)(now_ns >> SLOW_UNIT_SHIFT);
        next = (now + 1 + (1u << (strikes - 1))) << SLOW_STRIKES_BITS | strikes;
    } while (!atomic_compare_exchange_weak_explicit(&q->slow, &was, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

bool quota_slow(const struct tenant_quota *q, uint64_t now_ns) {
    uint32_t slow = atomic_load_explicit(&q->slow, memory_order_relaxed);
    if ((slow & ((1u << SLOW_STRIKES_BITS) - 1)) < 2) return false; /* once may be the machine's doing */
    int32_t left = units_left(slow, now_ns);
    return left > 0 && left <= (1 << SLOW_MAX_DOUBLINGS) + 1; /* more: the word's time has wrapped */
}
