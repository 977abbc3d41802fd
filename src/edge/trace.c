/* Trace context of a request, as the W3C recommendation "Trace Context" reads traceparent.
 * in: a header's value. out: ids and the sampled flag. owns: nothing. */
#include "edge/trace.h"

enum {
    VERSION_AT = 0,
    VERSION_DIGITS = 2,
    TRACE_AT = 3,
    TRACE_DIGITS = 32,
    SPAN_AT = 36,
    SPAN_DIGITS = 16,
    FLAGS_AT = 53,
    FLAGS_DIGITS = 2,
    LENGTH = 55, /* of version 00; later versions may add to it behind another dash */
    FLAG_SAMPLED = 1
};

/* Digits in lower case only, as the recommendation wants them. */
static bool is_hex(const char *at, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (char_hex(at[i]) < 0 || (at[i] >= 'A' && at[i] <= 'F')) return false;
    return true;
}

static bool is_zero(const char *at, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (at[i] != '0') return false;
    return true;
}

static bool has_shape(struct str s) {
    return s.len >= LENGTH && s.ptr[TRACE_AT - 1] == '-' && s.ptr[SPAN_AT - 1] == '-' &&
           s.ptr[FLAGS_AT - 1] == '-' && is_hex(s.ptr + VERSION_AT, VERSION_DIGITS) &&
           is_hex(s.ptr + TRACE_AT, TRACE_DIGITS) && is_hex(s.ptr + SPAN_AT, SPAN_DIGITS) &&
           is_hex(s.ptr + FLAGS_AT, FLAGS_DIGITS);
}

/* Version ff is none. Of a later version only what version 00 has is read. */
static bool has_version(struct str s) {
    if (s.ptr[0] == 'f' && s.ptr[1] == 'f') return false;
    if (is_zero(s.ptr, VERSION_DIGITS)) return s.len == LENGTH;
    return s.len == LENGTH || s.ptr[LENGTH] == '-';
}

bool trace_parse(struct str s, struct trace_context *out) {
    *out = (struct trace_context){0};
    if (!has_shape(s) || !has_version(s)) return false;
    if (is_zero(s.ptr + TRACE_AT, TRACE_DIGITS) || is_zero(s.ptr + SPAN_AT, SPAN_DIGITS))
        return false;
    memcpy(out->trace_id, s.ptr + TRACE_AT, TRACE_DIGITS);
    memcpy(out->span_id, s.ptr + SPAN_AT, SPAN_DIGITS);
    out->sampled = char_hex(s.ptr[FLAGS_AT + 1]) & FLAG_SAMPLED;
    return true;
}
