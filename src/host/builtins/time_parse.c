/* Reads a time by a Go layout.
 *
 * in:   layouts and texts of policies (hostile).
 * out:  nanoseconds since 1970.
 * owns: nothing.
 * Rules: Go's time.Parse, errors included. */
#include "host/builtins/support.h"
#include "host/builtins/time_layout.h"
#include <strings.h>

/* What was read so far; -1: not named. */
struct reading {
    struct str value;
    int64_t year;
    int32_t month, day, year_day, hour, minute, second, ns;
    int32_t zone; /* seconds east, when has_zone */
    bool has_zone, pm, am;
    const char *range; /* what lies out of its range */
};

static bool digit_at(struct str s, size_t i) {
    return i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9';
}

/* One or two digits, or exactly two. */
static bool take_two(struct reading *r, bool fixed, int32_t *out) {
    if (!digit_at(r->value, 0)) return false;
    size_t n = digit_at(r->value, 1) ? 2 : 1;
    if (n == 1 && fixed) return false;
    *out = r->value.ptr[0] - '0';
    if (n == 2) *out = 10 * *out + (r->value.ptr[1] - '0');
    r->value = str_from(r->value, n);
    return true;
}

static bool take_in(struct reading *r, bool fixed, int32_t low, int32_t high, const char *what,
                    int32_t *out) {
    if (!take_two(r, fixed, out)) return false;
    if (*out < low || *out > high) r->range = what;
    return true;
}

static bool take_year(struct reading *r, size_t digits) {
    int32_t year = 0;
    for (size_t i = 0; i < digits; i++) {
        if (!digit_at(r->value, i)) return false;
        year = 10 * year + (r->value.ptr[i] - '0');
    }
    if (digits == 2) year += year >= 69 ? 1900 : 2000;
    r->year = year;
    r->value = str_from(r->value, digits);
    return true;
}

static bool take_name(struct reading *r, const char *name, size_t len) {
    if (r->value.len < len || strncasecmp(r->value.ptr, name, len) != 0) return false;
    r->value = str_from(r->value, len);
    return true;
}

static bool take_month(struct reading *r, bool full) {
    for (int32_t m = 1; m <= 12; m++)
        if (take_name(r, month_name(m), full ? strlen(month_name(m)) : 3))
            return r->month = m, true;
    return false;
}

static bool take_weekday(struct reading *r, bool full) {
    for (int32_t d = 0; d < 7; d++)
        if (take_name(r, weekday_name(d), full ? strlen(weekday_name(d)) : 3)) return true;
    return false;
}

static void skip_space(struct reading *r) {
    if (r->value.len && r->value.ptr[0] == ' ') r->value = str_from(r->value, 1);
}

static bool take_year_day(struct reading *r, bool padded) {
    int32_t day = 0;
    size_t n = 0;
    for (int i = 0; padded && i < 2; i++) skip_space(r);
    for (; n < 3 && digit_at(r->value, n); n++) day = 10 * day + (r->value.ptr[n] - '0');
    if (!n || (!padded && n != 3)) return false;
    r->year_day = day;
    r->value = str_from(r->value, n);
    return true;
}

static bool comma_or_period(struct str s) { return s.len && (s.ptr[0] == '.' || s.ptr[0] == ','); }

/* A separator and n digits; those past the ninth are dropped. */
static bool take_fraction(struct reading *r, size_t n) {
    int32_t ns = 0;
    if (r->value.len < n + 1 || !comma_or_period(r->value)) return false;
    for (size_t i = 1; i <= n; i++) {
        if (!digit_at(r->value, i)) return false;
        if (i <= 9) ns = 10 * ns + (r->value.ptr[i] - '0');
    }
    for (size_t i = n; i < 9; i++) ns *= 10;
    r->ns = ns;
    r->value = str_from(r->value, n + 1);
    return true;
}

static size_t fraction_digits(struct str s) {
    size_t n = 0;
    if (!comma_or_period(s)) return 0;
    while (digit_at(s, n + 1)) n++;
    return n;
}

/* A fraction may follow the seconds though the layout has none. */
static bool take_second(struct reading *r, const struct layout_element *e) {
    if (!take_in(r, e->kind == LAYOUT_ZERO_SECOND, 0, 59, "second", &r->second)) return false;
    enum layout_kind next = layout_next(e->after).kind;
    size_t n = fraction_digits(r->value);
    if (r->range || !n || next == LAYOUT_FRACTION || next == LAYOUT_FRACTION_TRIMMED) return true;
    return take_fraction(r, n);
}

static bool take_offset_part(struct reading *r, bool colon, int32_t *out) {
    if (colon) {
        if (!r->value.len || r->value.ptr[0] != ':') return false;
        r->value = str_from(r->value, 1);
    }
    return take_two(r, true, out);
}

static bool take_offset(struct reading *r, const struct layout_element *e) {
    int32_t h, m = 0, s = 0;
    r->has_zone = true;
    r->zone = 0;
    if (e->z && r->value.len && r->value.ptr[0] == 'Z')
        return r->value = str_from(r->value, 1), true;
    if (!r->value.len || (r->value.ptr[0] != '+' && r->value.ptr[0] != '-')) return false;
    bool minus = r->value.ptr[0] == '-';
    r->value = str_from(r->value, 1);
    if (!take_two(r, true, &h)) return false;
    if (e->minutes && !take_offset_part(r, e->colons, &m)) return false;
    if (e->seconds && !take_offset_part(r, e->colons, &s)) return false;
    if (h > 24) r->range = "time zone offset hour";
    if (m > 60) r->range = "time zone offset minute";
    if (s > 60) r->range = "time zone offset second";
    r->zone = (minus ? -1 : 1) * ((h * 60 + m) * 60 + s);
    return true;
}

/* Length of "+3", "-11" (up to 23), else 0. */
static size_t signed_hours(struct str s) {
    int32_t hours = 0;
    size_t n = 1;
    if (!s.len || (s.ptr[0] != '+' && s.ptr[0] != '-')) return 0;
    for (; digit_at(s, n) && n < 6; n++) hours = 10 * hours + (s.ptr[n] - '0');
    return n > 1 && hours <= 23 ? n : 0;
}

/* An abbreviation: Go knows no offsets of names but UTC's, so it does not move the time. */
static bool take_zone_name(struct reading *r) {
    struct str s = r->value;
    size_t upper = 0, n = 0;
    while (upper < 6 && upper < s.len && s.ptr[upper] >= 'A' && s.ptr[upper] <= 'Z') upper++;
    if (str_starts(s, STR("UTC")))
        n = 3;
    else if (str_starts(s, STR("ChST")) || str_starts(s, STR("MeST")))
        n = 4;
    else if (str_starts(s, STR("GMT")))
        n = 3 + signed_hours(str_from(s, 3));
    else if (signed_hours(s))
        n = signed_hours(s);
    else if (upper == 3)
        n = 3;
    else if (upper == 4 && (s.ptr[3] == 'T' || str_starts(s, STR("WITA"))))
        n = 4;
    else if (upper == 5 && s.ptr[4] == 'T')
        n = 5;
    r->value = str_from(s, n);
    return n > 0;
}

static bool take_half(struct reading *r, bool upper) {
    struct str two = str_head(r->value, 2);
    r->pm = r->pm || str_is(two, upper ? "PM" : "pm");
    r->am = r->am || str_is(two, upper ? "AM" : "am");
    if (!str_is(two, upper ? "PM" : "pm") && !str_is(two, upper ? "AM" : "am")) return false;
    r->value = str_from(r->value, 2);
    return true;
}

static bool take_element(struct reading *r, const struct layout_element *e) {
    switch (e->kind) {
    case LAYOUT_END: return true;
    case LAYOUT_LONG_MONTH: return take_month(r, true);
    case LAYOUT_MONTH: return take_month(r, false);
    case LAYOUT_NUM_MONTH:
    case LAYOUT_ZERO_MONTH:
        return take_in(r, e->kind == LAYOUT_ZERO_MONTH, 1, 12, "month", &r->month);
    case LAYOUT_LONG_WEEKDAY: return take_weekday(r, true);
    case LAYOUT_WEEKDAY: return take_weekday(r, false);
    case LAYOUT_UNDER_DAY: skip_space(r); return take_two(r, false, &r->day);
    case LAYOUT_DAY:
    case LAYOUT_ZERO_DAY: return take_two(r, e->kind == LAYOUT_ZERO_DAY, &r->day);
    case LAYOUT_UNDER_YEAR_DAY: return take_year_day(r, true);
    case LAYOUT_ZERO_YEAR_DAY: return take_year_day(r, false);
    case LAYOUT_HOUR: return take_in(r, false, 0, 23, "hour", &r->hour);
    case LAYOUT_HOUR12:
    case LAYOUT_ZERO_HOUR12:
        return take_in(r, e->kind == LAYOUT_ZERO_HOUR12, 0, 12, "hour", &r->hour);
    case LAYOUT_MINUTE:
    case LAYOUT_ZERO_MINUTE:
        return take_in(r, e->kind == LAYOUT_ZERO_MINUTE, 0, 59, "minute", &r->minute);
    case LAYOUT_SECOND:
    case LAYOUT_ZERO_SECOND: return take_second(r, e);
    case LAYOUT_LONG_YEAR: return take_year(r, 4);
    case LAYOUT_YEAR: return take_year(r, 2);
    case LAYOUT_UPPER_PM: return take_half(r, true);
    case LAYOUT_LOWER_PM: return take_half(r, false);
    case LAYOUT_ZONE_NAME: return take_zone_name(r);
    case LAYOUT_OFFSET: return take_offset(r, e);
    case LAYOUT_FRACTION: return take_fraction(r, e->digits);
    case LAYOUT_FRACTION_TRIMMED:
        return !fraction_digits(r->value) || take_fraction(r, fraction_digits(r->value));
    }
    return false;
}

/* Literal text; a run of spaces stands for any. */
static bool take_literal(struct reading *r, struct str literal) {
    while (literal.len) {
        if (literal.ptr[0] == ' ') {
            if (r->value.len && r->value.ptr[0] != ' ') return false;
            while (literal.len && literal.ptr[0] == ' ') literal = str_from(literal, 1);
            while (r->value.len && r->value.ptr[0] == ' ') r->value = str_from(r->value, 1);
            continue;
        }
        if (!r->value.len || r->value.ptr[0] != literal.ptr[0]) return false;
        literal = str_from(literal, 1);
        r->value = str_from(r->value, 1);
    }
    return true;
}

static bool refuse_text(struct builtin_call *c, struct str layout, struct str value, struct str at,
                        struct str element) {
    struct str l = go_quote(c->arena, layout), v = go_quote(c->arena, value);
    struct str a = go_quote(c->arena, at), e = go_quote(c->arena, element);
    return builtin_refuse(c, "parsing time %.*s as %.*s: cannot parse %.*s as %.*s", STR_FMT(v),
                          STR_FMT(l), STR_FMT(a), STR_FMT(e));
}

static bool refuse_range(struct builtin_call *c, struct str value, const char *what) {
    struct str v = go_quote(c->arena, value);
    return builtin_refuse(c, "parsing time %.*s: %s out of range", STR_FMT(v), what);
}

/* Month and day from the day of the year, or their checks. NULL: they are right. */
static const char *settle_date(struct reading *r) {
    if (r->year_day >= 0) {
        int32_t left = r->year_day, month = 1;
        int32_t length = 337 + month_days(r->year, 2);
        if (left < 1 || left > length) return "day-of-year";
        for (; left > month_days(r->year, month); month++) left -= month_days(r->year, month);
        if (r->month >= 0 && r->month != month) return "day-of-year";
        if (r->day >= 0 && r->day != left) return "day-of-year";
        r->month = month;
        r->day = left;
    }
    if (r->month < 0) r->month = 1;
    if (r->day < 0) r->day = 1;
    return r->day < 1 || r->day > month_days(r->year, r->month) ? "day" : NULL;
}

static bool settle(struct builtin_call *c, struct reading *r, struct str value, int64_t *ns) {
    const char *wrong = settle_date(r);
    if (wrong) return refuse_range(c, value, wrong);
    if (r->pm && r->hour < 12)
        r->hour += 12;
    else if (r->am && r->hour == 12)
        r->hour = 0;
    int64_t seconds = days_of(r->year, r->month, r->day) * 86400 + r->hour * 3600 + r->minute * 60 +
                      r->second - r->zone;
    return time_ns(seconds, r->ns, ns) || builtin_refuse(c, "time outside of valid range");
}

bool layout_read(struct builtin_call *c, struct str layout, struct str value, int64_t *ns) {
    struct reading r = {.value = value, .month = -1, .day = -1, .year_day = -1};
    struct str rest = layout;
    for (;;) {
        struct layout_element e = layout_next(rest);
        struct str at = r.value;
        if (!take_literal(&r, e.before)) return refuse_text(c, layout, value, at, e.before);
        if (e.kind == LAYOUT_END) break;
        at = r.value;
        if (!take_element(&r, &e)) return refuse_text(c, layout, value, at, e.text);
        if (r.range) return refuse_range(c, value, r.range);
        rest = e.after;
    }
    if (r.value.len) {
        struct str v = go_quote(c->arena, value), x = go_quote(c->arena, r.value);
        return builtin_refuse(c, "parsing time %.*s: extra text: %.*s", STR_FMT(v), STR_FMT(x));
    }
    return settle(c, &r, value, ns);
}
