/* Case mapping and classes of code points.
 * in:  code points
 * out: code points mapped, or classified, as by Go's unicode and strconv packages
 * owns: nothing; its tables are read-only (2.7 KB) */
#include "runtime/builtins/unicode.h"

/* A run packed into six bytes: start 17 bits, count 7, stride - 1, sign of delta; |delta| in 16. */
struct case_run {
    uint16_t start_low, rest, delta;
};
#define RUN(start, count, stride, delta)                                                           \
    {(uint16_t)(start),                                                                            \
     (uint16_t)((start) >> 16 | (count) << 1 | ((stride)-1) << 8 | ((delta) < 0) << 9),            \
     (uint16_t)((delta) < 0 ? -(delta) : (delta))},
#define UPPER(from, to)
static const struct case_run case_runs[] = {
#include "runtime/builtins/unicode_case.def"
};
#undef RUN
#undef UPPER
#define RUN(start, count, stride, delta)
#define UPPER(from, to) {from, to},
static const uint16_t upper_exceptions[][2] = {
#include "runtime/builtins/unicode_case.def"
};
#undef RUN
#undef UPPER
enum {
    CASE_RUNS = sizeof case_runs / sizeof case_runs[0],
    UPPER_EXCEPTIONS = sizeof upper_exceptions / sizeof upper_exceptions[0]
};

static uint32_t run_start(struct case_run r) { return r.start_low | (r.rest & 1u) << 16; }
static int32_t run_delta(struct case_run r) { return r.rest & 0x200 ? -(int32_t)r.delta : r.delta; }
static int run_has(struct case_run r, uint32_t cp) {
    uint32_t offset = cp - run_start(r), stride = 1 + (r.rest >> 8 & 1u);
    return cp >= run_start(r) && offset % stride == 0 && offset / stride < (r.rest >> 1 & 127u);
}

uint32_t rune_lower(uint32_t cp) {
    if (cp < 0x80) return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    for (uint32_t i = 0; i < CASE_RUNS && run_start(case_runs[i]) <= cp; i++)
        if (run_has(case_runs[i], cp)) return cp + (uint32_t)run_delta(case_runs[i]);
    return cp;
}

uint32_t rune_upper(uint32_t cp) {
    if (cp < 0x80) return cp >= 'a' && cp <= 'z' ? cp - 32 : cp;
    for (uint32_t i = 0; i < UPPER_EXCEPTIONS; i++)
        if (upper_exceptions[i][0] == cp) return upper_exceptions[i][1];
    for (uint32_t i = 0; i < CASE_RUNS; i++) {
        uint32_t from = cp - (uint32_t)run_delta(case_runs[i]);
        if (run_has(case_runs[i], from)) return from;
    }
    return cp;
}

int rune_is_space(uint32_t cp) {
    return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
           cp == 0x205f || cp == 0x3000;
}

#define N(n) n,
#define W(n) 0x80 | (n) >> 7, (n)&127,
#define X(n) 0x80 | (n) >> 14, 0x80 | ((n) >> 7 & 127), (n)&127,
static const uint8_t print_runs[] = {
#include "runtime/builtins/unicode_print.def"
};
#undef N
#undef W
#undef X

int rune_is_print(uint32_t cp) {
    if (cp < 0x80) return cp >= ' ' && cp < 0x7f;
    uint32_t at = 0x80, printable = 0;
    for (uint32_t i = 0; i < sizeof print_runs; printable = !printable) {
        uint32_t length = 0;
        do length = length << 7 | (print_runs[i] & 127u);
        while (print_runs[i++] & 0x80);
        at += length;
        if (cp < at) return (int)printable;
    }
    return 0;
}
