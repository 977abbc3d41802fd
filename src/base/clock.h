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

#endif
