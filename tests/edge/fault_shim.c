/* Stands before the C library of a node under test (LD_PRELOAD): a wall clock that jumps, and allocations that fail.
 * in:   FAULT_SHIM, a file of orders in memory (faults_lib.py); FAULT_RANGES, "from-to,…" in hexadecimal: places in the
 *       program whose allocations may fail (those of Rust code end the process, whatever one does about it).
 * out:  what the C library gives, or not. owns: the mapping. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct orders {
    _Atomic int64_t clock_offset_s;
    _Atomic int64_t alloc_one_in; /* 0: none fails */
    _Atomic int64_t alloc_min_bytes;
    _Atomic int64_t alloc_failed; /* so many did */
    _Atomic int64_t seed;
};
enum { MAX_RANGES = 16 };

static struct orders nothing, *orders = &nothing;
static struct {
    uintptr_t from, to;
} ranges[MAX_RANGES];
static int n_ranges;

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);

static int program_base(struct dl_phdr_info *info, size_t size, void *out) {
    (void)size;
    *(uintptr_t *)out = info->dlpi_addr;
    return 1; /* the first is the program */
}

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("FAULT_SHIM"), *text = getenv("FAULT_RANGES");
    uintptr_t base = 0;
    int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
    void *memory = fd >= 0 ? mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0) close(fd);
    dl_iterate_phdr(program_base, &base);
    for (char *end; text && *text && n_ranges < MAX_RANGES; text = *end == ',' ? end + 1 : end) {
        ranges[n_ranges].from = base + strtoull(text, &end, 16);
        ranges[n_ranges++].to = base + strtoull(end + 1, &end, 16);
    }
    if (memory != MAP_FAILED) orders = memory;
}

/* ---- the clock ---- */
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int e = real(id, t);
    if (!e && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += orders->clock_offset_s;
    return e;
}

time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

/* ---- memory ---- */
static int fails(size_t n, const void *caller) {
    int64_t one_in = orders->alloc_one_in;
    uintptr_t at = (uintptr_t)caller;
    int hit = 0;
    if (one_in <= 0 || (int64_t)n < orders->alloc_min_bytes) return 0;
    for (int i = 0; i < n_ranges; i++) hit |= at >= ranges[i].from && at < ranges[i].to;
    if (!hit) return 0;
    uint64_t x = (uint64_t)atomic_fetch_add(&orders->seed, 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
    if ((x >> 20) % (uint64_t)one_in) return 0;
    atomic_fetch_add(&orders->alloc_failed, 1);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n) { return fails(n, __builtin_return_address(0)) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) {
    return fails(n * size, __builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    return n && fails(n, __builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}
int posix_memalign(void **out, size_t align, size_t n) {
    if (fails(n, __builtin_return_address(0))) return ENOMEM;
    void *p = __libc_memalign(align, n);
    if (!p) return ENOMEM;
    *out = p;
    return 0;
}
