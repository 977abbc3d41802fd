/* JSON's tokens: scanning strings, numbers, literals and white space, shared by reading and by
 * skipping. Pointers move through [p, json_scanner.end); NULL means malformed, with
 * json_scanner.problem filled in. */
#ifndef REGENT_RUNTIME_JSON_SCAN_H
#define REGENT_RUNTIME_JSON_SCAN_H
#include "runtime/state.h"

enum { JSON_DEPTH_MAX = 10000 }; /* Go's */
enum { JSON_ESCAPED = 1, JSON_NON_ASCII = 2 };

/* State of the one document that is being read. */
struct json_scanner {
    const uint8_t *begin, *end;
    uint32_t string_flags; /* of the last string: JSON_ESCAPED, JSON_NON_ASCII */
    struct json_problem problem;
    value *scratch; /* words of open collections */
    uint32_t scratch_n, scratch_cap;
    uint64_t nesting[JSON_DEPTH_MAX / 64 + 1]; /* skipping: a bit a level, 1 for objects */
};
extern struct json_scanner json_scanner;

static inline bool json_too_deep(uint32_t depth) {
    return depth >= JSON_DEPTH_MAX || (rt_state.json_depth != 0 && depth >= rt_state.json_depth);
}

void json_begin(struct text t);
const uint8_t *json_fail(const uint8_t *p, const char *message);

static inline const uint8_t *json_space(const uint8_t *p) {
    const uint8_t *end = json_scanner.end;
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}
static inline uint32_t json_peek(const uint8_t *p) { return p < json_scanner.end ? *p : 0; }

/* The first byte of w that is '"', '\\', a control character or not ASCII: bit 7 of it is the
 * lowest bit set. */
#define JSON_BYTES(c) (0x0101010101010101u * (c))
static inline uint64_t json_special(uint64_t w) {
    uint64_t quote = w ^ JSON_BYTES('"'), slash = w ^ JSON_BYTES('\\');
    return (((quote - JSON_BYTES(1)) & ~quote) | ((slash - JSON_BYTES(1)) & ~slash) |
            (w - JSON_BYTES(0x20)) | w) &
           JSON_BYTES(0x80);
}
/* p is behind the opening quote; the result is at the closing quote. Checks escapes. */
const uint8_t *json_string_any(const uint8_t *p);
static inline const uint8_t *json_string(const uint8_t *p) {
    if (RT_UNLIKELY(json_scanner.end - p < 16)) return json_string_any(p);
    uint64_t found = json_special(layout_load64(p));
    const uint8_t *from = p;
    if (found == 0) found = json_special(layout_load64(from = p + 8));
    const uint8_t *quote = from + (found != 0 ? __builtin_ctzll(found) >> 3 : 0);
    if (*quote != '"') return json_string_any(p);
    json_scanner.string_flags = 0;
    return quote;
}
/* The string's value, given what json_string left in string_flags: a view, or a copy on the heap.
 */
struct text json_string_decoded(const uint8_t *from, const uint8_t *quote);
static inline struct text json_string_text(const uint8_t *from, const uint8_t *quote) {
    if (RT_LIKELY(json_scanner.string_flags == 0))
        return (struct text){from, (uint32_t)(quote - from)};
    return json_string_decoded(from, quote);
}
/* p is at '-' or a digit; the result is behind the number. */
const uint8_t *json_number(const uint8_t *p, value *out);
/* p is at null, true or false. */
const uint8_t *json_literal(const uint8_t *p, value *out);
/* One value, built or only checked; the result is behind it. */
const uint8_t *json_value(const uint8_t *p, bool rego, value *out);
const uint8_t *json_skip(const uint8_t *p);
/* Only white space may be left. */
bool json_finish(const uint8_t *p);

#endif
