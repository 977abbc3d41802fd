/* time.date, clock, weekday, format, parse_ns, add_date, diff, parse_duration_ns.
 *
 * in:   nanoseconds, alone or as [ns, zone, layout]; texts.
 * out:  dates, texts, nanoseconds.
 * owns: the text buffer of time.format while it writes.
 * Rules: OPA's v1/topdown/time.go over Go's package time. */
#include "host/builtins/support.h"
#include "host/builtins/table.h"
#include "host/builtins/time_layout.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 1 << 22 };

struct moment {
    int64_t ns;
    struct zone zone;
    struct str layout; /* empty: none */
};

static bool refuse_operand(struct builtin_call *c, const char *expected, const struct json *got) {
    c->type_error = true;
    return builtin_refuse(c, "operand 1 must be %s but got %s", expected, builtin_type_name(got));
}

/* Exactly an int64, however written ("1e18"). */
static bool exact_ns(const struct json *v, int64_t *out) {
    char text[64];
    if (json_int64(v, out)) return true;
    if (v->text.len >= sizeof text) return false;
    memcpy(text, v->text.ptr, v->text.len);
    text[v->text.len] = 0;
    long double d = strtold(text, NULL); /* 64 bits of mantissa */
    if (!(d >= -0x1p63L && d < 0x1p63L) || d != floorl(d)) return false;
    *out = (int64_t)d;
    return true;
}

/* Operand i: a number, or an array of it, a zone's name, and a layout. */
static bool moment_operand(struct builtin_call *c, uint32_t i, struct moment *out) {
    const struct json *v = c->args[i], *ns = v;
    *out = (struct moment){0};
    if (v->kind == JSON_ARRAY && v->n > 0 && !(c->set_args >> i & 1)) {
        ns = v->items[0];
        for (uint32_t k = 1; k < v->n && k < 3; k++)
            if (v->items[k]->kind != JSON_STRING) return refuse_operand(c, "string", v->items[k]);
        if (ns->kind != JSON_NUMBER) return refuse_operand(c, "number", ns);
        if (v->n > 1 && !zone_load(c, v->items[1]->text, &out->zone)) return false;
        if (v->n > 2) out->layout = v->items[2]->text;
    } else if (v->kind != JSON_NUMBER) {
        return refuse_operand(c, "either number (ns) or [number (ns), string (tz)]", v);
    }
    return exact_ns(ns, &out->ns) || builtin_refuse(c, "timestamp too big");
}

static enum err return_ints(struct builtin_call *c, const int64_t *ints, uint32_t n) {
    struct json *list = json_array(c->arena);
    for (uint32_t i = 0; i < n; i++)
        if (!list_add(c->arena, list, json_int(c->arena, ints[i]))) return ERR_MEMORY;
    return builtin_return(c, list);
}

enum err hb_time_date(struct builtin_call *c) {
    struct moment m;
    if (!moment_operand(c, 0, &m)) return OK;
    struct civil t = civil_of(&m.zone, m.ns);
    return return_ints(c, (int64_t[]){t.year, t.month, t.day}, 3);
}

enum err hb_time_clock(struct builtin_call *c) {
    struct moment m;
    if (!moment_operand(c, 0, &m)) return OK;
    struct civil t = civil_of(&m.zone, m.ns);
    return return_ints(c, (int64_t[]){t.hour, t.minute, t.second}, 3);
}

enum err hb_time_weekday(struct builtin_call *c) {
    struct moment m;
    if (!moment_operand(c, 0, &m)) return OK;
    return builtin_return_string(c, str_of(weekday_name(civil_of(&m.zone, m.ns).weekday)));
}

enum err hb_time_format(struct builtin_call *c) {
    struct moment m;
    struct buf text;
    if (!moment_operand(c, 0, &m)) return OK;
    struct civil t = civil_of(&m.zone, m.ns);
    buf_init(&text, TEXT_MAX);
    layout_write(layout_named(m.layout.len ? m.layout : STR("RFC3339Nano")), &t, &text);
    enum err err = text.err == OK          ? builtin_return_string(c, buf_view(&text))
                   : text.err == ERR_LIMIT ? builtin_fail(c, "the text is too long")
                                           : text.err;
    buf_deinit(&text);
    return err;
}

enum err hb_time_parse_ns(struct builtin_call *c) {
    struct str layout, value;
    int64_t ns;
    if (!builtin_string(c, 0, &layout) || !builtin_string(c, 1, &value)) return OK;
    if (!layout_read(c, layout_named(layout), value, &ns)) return OK;
    return builtin_return(c, json_int(c->arena, ns));
}

enum err hb_time_add_date(struct builtin_call *c) {
    struct moment m;
    int64_t years, months, days, ns;
    if (!moment_operand(c, 0, &m) || !builtin_integer(c, 1, &years) ||
        !builtin_integer(c, 2, &months) || !builtin_integer(c, 3, &days))
        return OK;
    struct civil t = civil_of(&m.zone, m.ns);
    int64_t day = days_of(t.year + years, t.month + months, 1) + t.day - 1 + days;
    int64_t seconds = zone_seconds(&m.zone, day, t.hour * 3600 + t.minute * 60 + t.second);
    if (!time_ns(seconds, t.ns, &ns)) return builtin_fail(c, "time outside of valid range");
    return builtin_return(c, json_int(c->arena, ns));
}

/* Borrows from the next larger unit while one is negative. */
static void carry(int64_t *unit, int64_t size, int64_t *larger) {
    if (*unit >= 0) return;
    *unit += size;
    *larger -= 1;
}

enum err hb_time_diff(struct builtin_call *c) {
    struct moment a, b;
    if (!moment_operand(c, 0, &a) || !moment_operand(c, 1, &b)) return OK;
    int64_t early = a.ns < b.ns ? a.ns : b.ns, late = a.ns < b.ns ? b.ns : a.ns;
    struct civil s = civil_of(&a.zone, early), e = civil_of(&a.zone, late);
    int64_t year = e.year - s.year, month = e.month - s.month, day = e.day - s.day;
    int64_t hour = e.hour - s.hour, minute = e.minute - s.minute, second = e.second - s.second;
    carry(&second, 60, &minute);
    carry(&minute, 60, &hour);
    carry(&hour, 24, &day);
    carry(&day, month_days(s.year, s.month), &month);
    carry(&month, 12, &year);
    return return_ints(c, (int64_t[]){year, month, day, hour, minute, second}, 6);
}

/* ---- durations ---- */

static const struct {
    const char *name;
    uint64_t ns, hours; /* hours: one of OPA's own units */
} UNITS[] = {
    {"ns", 1, 0},
    {"us", 1000, 0},
    {"\xc2\xb5s", 1000, 0},
    {"\xce\xbcs", 1000, 0},
    {"ms", 1000000, 0},
    {"s", 1000000000, 0},
    {"m", 60000000000, 0},
    {"h", 3600000000000, 0},
    {"d", 3600000000000, 24},
    {"w", 3600000000000, 168},
    {"y", 3600000000000, 8760},
};

static size_t number_len(struct str s) {
    size_t n = 0;
    while (n < s.len && ((s.ptr[n] >= '0' && s.ptr[n] <= '9') || s.ptr[n] == '.')) n++;
    return n;
}

/* digits[.digits] times unit; false: no number, or too large. */
static bool scaled(struct str s, uint64_t unit, uint64_t *out) {
    uint64_t whole = 0, fraction = 0;
    double scale = 1;
    size_t i = 0, digits = 0;
    for (; i < s.len && s.ptr[i] != '.'; i++, digits++)
        if (__builtin_mul_overflow(whole, (uint64_t)10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(s.ptr[i] - '0'), &whole))
            return false;
    for (i++; i < s.len; i++, digits++) {
        if (s.ptr[i] == '.') return false;
        if (fraction > (UINT64_MAX >> 1) / 10 - 1) continue;
        fraction = 10 * fraction + (uint64_t)(s.ptr[i] - '0');
        scale *= 10;
    }
    if (!digits || __builtin_mul_overflow(whole, unit, &whole)) return false;
    whole += (uint64_t)((double)fraction * ((double)unit / scale));
    *out = whole;
    return whole <= (uint64_t)1 << 63;
}

/* OPA reckons its own units in hours, as a decimal. */
static bool scaled_hours(struct str s, uint64_t hours, uint64_t unit, uint64_t *out) {
    char text[400];
    struct json number = {.kind = JSON_NUMBER, .text = s};
    double d;
    if (!number_double(&number, &d) || d * (double)hours > 1e12) return false;
    int n = snprintf(text, sizeof text, "%.9f", d * (double)hours);
    return scaled((struct str){text, (size_t)n}, unit, out);
}

static enum err duration_fault(struct builtin_call *c, const char *what, struct str s) {
    struct str quoted = go_quote(c->arena, s);
    return builtin_fail(c, "time: %s %.*s", what, STR_FMT(quoted));
}

static enum err unknown_unit(struct builtin_call *c, struct str unit, struct str s) {
    struct str u = go_quote(c->arena, unit), quoted = go_quote(c->arena, s);
    return builtin_fail(c, "time: unknown unit %.*s in duration %.*s", STR_FMT(u), STR_FMT(quoted));
}

enum err hb_time_parse_duration_ns(struct builtin_call *c) {
    struct str text, s;
    uint64_t total = 0, part;
    const size_t n_units = sizeof UNITS / sizeof *UNITS;
    if (!builtin_string(c, 0, &text)) return OK;
    bool minus = text.len && text.ptr[0] == '-';
    s = minus || (text.len && text.ptr[0] == '+') ? str_from(text, 1) : text;
    if (str_is(s, "0")) return builtin_return(c, json_int(c->arena, 0));
    if (!s.len) return duration_fault(c, "invalid duration", text);
    while (s.len) {
        struct str digits = str_head(s, number_len(s)), unit;
        s = str_from(s, digits.len);
        size_t n = 0, row = 0;
        while (n < s.len && s.ptr[n] != '.' && (s.ptr[n] < '0' || s.ptr[n] > '9')) n++;
        unit = str_head(s, n);
        s = str_from(s, n);
        if (!digits.len || str_is(digits, ".")) return duration_fault(c, "invalid duration", text);
        if (!n) return duration_fault(c, "missing unit in duration", text);
        while (row < n_units && !str_is(unit, UNITS[row].name)) row++;
        if (row == n_units) return unknown_unit(c, unit, text);
        bool ok = UNITS[row].hours ? scaled_hours(digits, UNITS[row].hours, UNITS[row].ns, &part)
                                   : scaled(digits, UNITS[row].ns, &part);
        if (!ok || __builtin_add_overflow(total, part, &total) || total > (uint64_t)1 << 63)
            return duration_fault(c, "invalid duration", text);
    }
    if (!minus && total > INT64_MAX) return duration_fault(c, "invalid duration", text);
    return builtin_return(c, json_int(c->arena, (int64_t)(minus ? -total : total)));
}
