/* The system's clocks in nanoseconds. */
#ifndef REGENT_BASE_CLOCK_H
#define REGENT_BASE_CLOCK_H
#include <stdint.h>
#include <time.h>

/* 0 when there is no such clock (that of a thread that has ended). */
static inline uint64_t clock_of(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t)) return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
/* Monotonic. */
static inline uint64_t clock_ns(void) { return clock_of(CLOCK_MONOTONIC); }
static inline int64_t clock_ms(void) { return (int64_t)(clock_ns() / 1000000); }
/* When it will be `ms` (not below 0) later by that clock: for pthread_cond_timedwait. */
static inline struct timespec clock_after(clockid_t id, int64_t ms) {
    uint64_t ns = clock_of(id) + (uint64_t)ms * 1000000u;
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}
/* Nanoseconds since 1970 as "2026-11-29T06:08:50Z"; "" for 0, which stands for never. */
enum { CLOCK_UTC_BYTES = 40 };
static inline void clock_utc(int64_t ns, char out[CLOCK_UTC_BYTES]) {
    struct tm t;
    time_t seconds = (time_t)(ns / 1000000000);
    if (!ns || !gmtime_r(&seconds, &t) || !strftime(out, CLOCK_UTC_BYTES, "%Y-%m-%dT%H:%M:%SZ", &t)) out[0] = 0;
}

#endif
