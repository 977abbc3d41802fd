/* Which of the known words somebody probably meant.
 * in: a word, the known ones. out: one of them. owns: nothing. */
#include "base/words.h"

enum { MAX_DISTANCE_BYTES = 63 };

static uint32_t least_of(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* How many letters have to be put in, left out, changed or swapped with their neighbour. */
static uint32_t distance(struct str a, struct str b) {
    uint32_t rows[3][MAX_DISTANCE_BYTES + 1];
    if (a.len > MAX_DISTANCE_BYTES || b.len > MAX_DISTANCE_BYTES) return UINT32_MAX;
    for (uint32_t j = 0; j <= b.len; j++) rows[0][j] = j;
    for (uint32_t i = 1; i <= a.len; i++) {
        uint32_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (uint32_t j = 1; j <= b.len; j++) {
            row[j] = least_of(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]));
            bool swapped = i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (swapped && second[j - 2] + 1 < row[j]) row[j] = second[j - 2] + 1;
        }
    }
    return rows[a.len % 3][b.len];
}

const char *word_meant(struct str given, const char *const *words, uint32_t n) {
    const char *best = NULL;
    uint32_t nearest = (uint32_t)(given.len < 4 ? 1 : given.len < 8 ? 2 : 3);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t d = distance(given, str_of(words[i]));
        if (d > nearest || (best && d == nearest)) continue;
        nearest = d;
        best = words[i];
    }
    return best;
}
