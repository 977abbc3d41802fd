/* Asks the kernel which pages were written.
 *
 * in:   a private mapping of this process.
 * out:  spans of its pages.
 * owns: nothing. */
#include "host/pages.h"
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* <linux/fs.h> of Linux 6.7, which is newer than what systems build with. */
struct scan_region {
    uint64_t start, end, categories;
};
struct scan_args {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_PAGES _IOWR('f', 16, struct scan_args)
enum { PAGE_FILE = 1 << 2, PAGE_PRESENT = 1 << 3, PAGE_SWAPPED = 1 << 4, PAGE_ZERO = 1 << 5 };
enum { MAX_SPANS = 64, TEST_PAGES = 4 };

/* A private mapping's page that was never written is absent, the kernel's page of zeros, or the file's own page. All
 * others were written. */
uint8_t *pages_written(int pagemap, uint8_t *start, size_t len, struct page_span *out, size_t max, size_t *n) {
    struct scan_region found[MAX_SPANS];
    struct scan_args a = {.size = sizeof a,
                          .start = (uintptr_t)start,
                          .end = (uintptr_t)start + len,
                          .vec = (uintptr_t)found,
                          .vec_len = max < MAX_SPANS ? max : MAX_SPANS,
                          .category_inverted = PAGE_FILE | PAGE_ZERO,
                          .category_mask = PAGE_FILE | PAGE_ZERO,
                          .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED};
    int spans = ioctl(pagemap, SCAN_PAGES, &a);
    if (spans < 0 || a.walk_end <= a.start) return NULL;
    for (int i = 0; i < spans; i++)
        out[i] = (struct page_span){(uint8_t *)(uintptr_t)found[i].start, (size_t)(found[i].end - found[i].start)};
    *n = (size_t)spans;
    return (uint8_t *)(uintptr_t)a.walk_end;
}

/* One page written, one only read, two untouched: one span is the right answer. */
static bool answers_right(int pagemap) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    struct page_span spans[TEST_PAGES];
    uint8_t *m = mmap(NULL, TEST_PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) return false;
    volatile uint8_t *v = m;
    v[page] = 1;
    bool read = v[2 * page] == 0;
    uint8_t *end = pages_written(pagemap, m, TEST_PAGES * page, spans, TEST_PAGES, &n);
    bool right = read && end == m + TEST_PAGES * page && n == 1 && spans[0].start == m + page && spans[0].len == page;
    munmap(m, TEST_PAGES * page);
    return right;
}

int pages_open(void) {
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !answers_right(fd)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void pages_close(int pagemap) {
    if (pagemap >= 0) close(pagemap);
}
