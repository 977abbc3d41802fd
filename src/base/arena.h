/* Arena: memory that lives and dies together; one per lifetime (compile, request, snapshot …). */
#ifndef REGENT_BASE_ARENA_H
#define REGENT_BASE_ARENA_H
#include <setjmp.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

struct arena_chunk;

/* An arena is born with a maximum. When it is reached, or malloc fails, arena_alloc returns NULL;
 * if `exhausted` is set it jumps there instead (value 1). Only the compiler sets it: all that a
 * compile owns lies in its arena, so nothing leaks, and no pass has to check every allocation
 * (docs/decisions/0002). Code that owns anything else must leave it NULL and check. */
struct arena {
    struct arena_chunk *chunks; /* newest first */
    uint8_t *at, *end;          /* free part of the newest chunk */
    size_t used_bytes, max_bytes;
    jmp_buf *exhausted;
    uint64_t deadline_ns; /* of the thread's processor time: past it the arena counts as exhausted; 0: none */
    uint32_t countdown;   /* allocations until that is looked at */
};

void arena_init(struct arena *a, size_t max_bytes);
void arena_deinit(struct arena *a);
/* Makes the first chunk of a new arena this large, if there is memory: then arena_reset keeps as much. */
void arena_reserve(struct arena *a, size_t bytes);
/* The deadline has passed. */
bool arena_is_late(const struct arena *a);
/* Forgets everything but keeps the first chunk, so that a warm arena does not call malloc. */
void arena_reset(struct arena *a);
/* `bytes` zeroed bytes aligned to 16; never NULL for 0 bytes. NULL or a jump when exhausted. */
void *arena_alloc(struct arena *a, size_t bytes);
/* Copies of n bytes; the second adds a terminating 0. */
void *arena_copy(struct arena *a, const void *from, size_t bytes);
char *arena_strndup(struct arena *a, const char *from, size_t len);
/* The second with ASCII letters in lower case. */
char *arena_strlower(struct arena *a, const char *from, size_t len);
/* printf into the arena; *len_out (may be NULL) gets the length without the final 0. */
char *arena_printf(struct arena *a, size_t *len_out, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc_array((a), sizeof(type), (n)))
/* Multiplies with an overflow check, which counts as exhausted. */
void *arena_alloc_array(struct arena *a, size_t item_bytes, size_t n);

/* Appends to a growing array that lives in an arena: `ARENA_PUSH(a, list, item)` where list is a
 * struct with fields `items`, `n`, `cap`. Old storage stays in the arena until it dies. With a
 * NULL-returning arena the push is dropped when memory ends (check list->n). */
#define ARENA_PUSH(a, list, item)                                                                  \
    do {                                                                                           \
        if ((list)->n == (list)->cap)                                                              \
            arena_grow((a), (void **)&(list)->items, &(list)->cap, sizeof(*(list)->items));        \
        if ((list)->n < (list)->cap) (list)->items[(list)->n++] = (item);                          \
    } while (0)
void arena_grow(struct arena *a, void **items, uint32_t *cap, size_t item_bytes);

#endif
