/* time.*: the clock, and text that becomes nanoseconds.
 *
 * in:   strings.
 * out:  nanoseconds since 1970, or of a duration.
 * owns: nothing.
 * Rules: Go's time.Parse(RFC3339) and time.ParseDuration; OPA's units d, w, y beside Go's. */
#include "host/builtins/table.h"
#include <stdio.h>

#define NS_PER_SECOND ((int64_t)1000000000)

/* The same throughout an evaluation, as OPA's. */
enum err hb_time_now_ns(struct builtin_call *c) {
    return builtin_return(c, json_int(c->arena, c->now_ns));
}

/* n digits; false when they are not there. */
static bool digits(struct str *s, size_t n, int64_t *out) {
    if (s->len < n) return false;
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9') return false;
        *out = 10 * *out + (s->ptr[i] - '0');
    }
    *s = str_from(*s, n);
    return true;
}

static bool skip_char(struct str *s, char ch) {
    if (s->len == 0 || s->ptr[0] != ch) return false;
    *s = str_from(*s, 1);
    return true;
}

/* Days since 1970-01-01 in the Gregorian calendar (Howard Hinnant's "days_from_civil"). */
static int64_t days_from_civil(int64_t y, int64_t m, int64_t d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int64_t days_in_month(int64_t y, int64_t m) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return days[m - 1] + (m == 2 && leap);
}

static bool parse_date(struct str *s, int64_t *days) {
    int64_t y, m, d;
    if (!digits(s, 4, &y) || !skip_char(s, '-') || !digits(s, 2, &m) || !skip_char(s, '-') ||
        !digits(s, 2, &d))
        return false;
    if (m < 1 || m > 12 || d < 1 || d > days_in_month(y, m)) return false;
    *days = days_from_civil(y, m, d);
    return true;
}

/* Seconds of the day and what stands behind the second, as nanoseconds; digits past nine are
 * dropped. */
static bool parse_clock(struct str *s, int64_t *seconds, int64_t *ns) {
    int64_t h, m, sec, unit = NS_PER_SECOND / 10;
    size_t hour_digits = s->len > 1 && s->ptr[1] == ':' ? 1 : 2; /* Go lets "T7:" pass */
    if (!digits(s, hour_digits, &h) || !skip_char(s, ':') || !digits(s, 2, &m) ||
        !skip_char(s, ':') || !digits(s, 2, &sec))
        return false;
    if (h > 23 || m > 59 || sec > 59) return false;
    *seconds = h * 3600 + m * 60 + sec;
    *ns = 0;
    if (s->len < 2 || (s->ptr[0] != '.' && s->ptr[0] != ',') || s->ptr[1] < '0' || s->ptr[1] > '9')
        return true;
    for (*s = str_from(*s, 1); s->len > 0 && s->ptr[0] >= '0' && s->ptr[0] <= '9';
         *s = str_from(*s, 1)) {
        *ns += (s->ptr[0] - '0') * unit;
        unit /= 10;
    }
    return true;
}

/* Z, or +hh:mm: seconds east of Greenwich. */
static bool parse_zone(struct str *s, int64_t *offset) {
    int64_t h, m;
    *offset = 0;
    if (skip_char(s, 'Z')) return true;
    bool west = skip_char(s, '-');
    if (!west && !skip_char(s, '+')) return false;
    if (!digits(s, 2, &h) || !skip_char(s, ':') || !digits(s, 2, &m) || h > 24 || m > 60)
        return false;
    *offset = (west ? -1 : 1) * (h * 3600 + m * 60);
    return true;
}

enum err hb_time_parse_rfc3339_ns(struct builtin_call *c) {
    struct str text, s;
    int64_t days, seconds, ns, offset, total;
    if (!builtin_string(c, 0, &text)) return OK;
    s = text;
    if (!parse_date(&s, &days) || !skip_char(&s, 'T') || !parse_clock(&s, &seconds, &ns) ||
        !parse_zone(&s, &offset) || s.len > 0)
        return builtin_fail(c, "parsing time \"%.*s\" as RFC 3339 failed", STR_FMT(text));
    seconds += days * 86400 - offset;
    /* The earliest representable second begins before the earliest moment: reckon from its end. */
    if (seconds < 0 && ns > 0) seconds += 1, ns -= NS_PER_SECOND;
    if (__builtin_mul_overflow(seconds, NS_PER_SECOND, &total) ||
        __builtin_add_overflow(total, ns, &total))
        return builtin_fail(c, "time outside of valid range");
    return builtin_return(c, json_int(c->arena, total));
}
