/* Inside of the host: which pages of a private mapping were written, as the kernel knows it. */
#ifndef REGENT_HOST_PAGES_H
#define REGENT_HOST_PAGES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* /proc/self/pagemap when its PAGEMAP_SCAN (Linux 6.7) finds what was written in a mapping made for the test; else -1.
 * It speaks of the process that opened it: never use it in a child that fork made. */
int pages_open(void);
void pages_close(int pagemap);
struct page_span {
    uint8_t *start;
    size_t len;
};
/* Spans of pages that differ, or may differ, from what the mapping started with: written ones, whether in memory or
 * swapped out; *n of up to `max` in out. Returns where the search has to go on: start + len when it is complete. NULL:
 * the kernel refused. start and len are multiples of the page size. */
uint8_t *pages_written(int pagemap, uint8_t *start, size_t len, struct page_span *out, size_t max, size_t *n);

#endif
