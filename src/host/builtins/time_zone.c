/* Time zones: reads TZif files and applies their transitions and rules.
 *
 * in:   names of policies (hostile), files of the system's zoneinfo.
 * out:  offsets and abbreviations, calendar dates.
 * owns: the file descriptor while it reads.
 * Rules: RFC 9636 (TZif), POSIX TZ text for the footer. */
#include "host/builtins/time_zone.h"
#include "host/builtins/cache.h"
#include "host/builtins/support.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ZONE_NAME_MAX = 64, HEADER_BYTES = 44, DAY = 86400 };

/* ---- calendar ---- */

static bool is_leap(int64_t y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0; }

int32_t month_days(int64_t year, int32_t month) {
    if (month == 2) return 28 + is_leap(year);
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* Leap days in the years 1 to y. */
static int64_t leap_days(int64_t y) {
    return floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400);
}

int64_t days_of(int64_t year, int64_t month, int64_t day) {
    static const int16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t years = floor_div(month - 1, 12);
    year += years;
    month -= 12 * years;
    int64_t days = 365 * (year - 1970) + leap_days(year - 1) - leap_days(1969);
    return days + before[month - 1] + (month > 2 && is_leap(year)) + day - 1;
}

/* The year that the day lies in: a guess by the mean length, set right. */
static int64_t year_of(int64_t days) {
    int64_t year = 1970 + floor_div(days * 400, 146097);
    while (days_of(year, 1, 1) > days) year--;
    while (days_of(year + 1, 1, 1) <= days) year++;
    return year;
}

struct civil civil_of(const struct zone *z, int64_t ns) {
    int64_t seconds = floor_div(ns, 1000000000);
    struct civil c = {.ns = (int32_t)((ns % 1000000000 + 1000000000) % 1000000000),
                      .offset = zone_at(z, seconds)};
    seconds += c.offset.seconds;
    int64_t days = floor_div(seconds, DAY), rest = seconds - days * DAY;
    c.year = year_of(days);
    c.year_day = (int32_t)(days - days_of(c.year, 1, 1)) + 1;
    c.day = c.year_day;
    for (c.month = 1; c.day > month_days(c.year, c.month); c.month++)
        c.day -= month_days(c.year, c.month);
    c.weekday = (int32_t)(days + 4 - 7 * floor_div(days + 4, 7)); /* 1970-01-01: Thursday */
    c.hour = (int32_t)(rest / 3600);
    c.minute = (int32_t)(rest / 60 % 60);
    c.second = (int32_t)(rest % 60);
    return c;
}

int64_t zone_seconds(const struct zone *z, int64_t days, int64_t second_of_day) {
    int64_t local = days * DAY + second_of_day;
    int32_t offset = zone_at(z, local).seconds;
    return offset ? local - zone_at(z, local - offset).seconds : local;
}

bool time_ns(int64_t seconds, int64_t ns, int64_t *out) {
    if (seconds < 0 && ns > 0) seconds += 1, ns -= 1000000000;
    return !__builtin_mul_overflow(seconds, (int64_t)1000000000, &seconds) &&
           !__builtin_add_overflow(seconds, ns, out);
}

/* ---- the file ---- */

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const uint8_t *p) { return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4)); }

/* A header and the block behind it, whose times have so many bytes. */
static bool parse_block(struct str *s, uint32_t time_bytes, struct zone *z) {
    const uint8_t *p = (const uint8_t *)s->ptr;
    if (s->len < HEADER_BYTES || memcmp(p, "TZif", 4) != 0) return false;
    uint64_t n_utc = be32(p + 20), n_std = be32(p + 24), n_leap = be32(p + 28);
    z->n_times = be32(p + 32), z->n_types = be32(p + 36), z->n_names = be32(p + 40);
    z->time_bytes = time_bytes;
    uint64_t n = HEADER_BYTES + (uint64_t)z->n_times * (time_bytes + 1) + (uint64_t)z->n_types * 6 +
                 z->n_names + n_leap * (time_bytes + 4) + n_std + n_utc;
    if (n > s->len || z->n_types == 0) return false;
    z->times = p + HEADER_BYTES;
    z->kinds = z->times + (size_t)z->n_times * time_bytes;
    z->types = z->kinds + z->n_times;
    z->names = z->types + (size_t)z->n_types * 6;
    *s = str_from(*s, (size_t)n);
    return true;
}

bool zone_parse(struct str file, struct zone *out) {
    struct zone z = {0};
    uint8_t version = file.len > 4 ? (uint8_t)file.ptr[4] : 0;
    if (!parse_block(&file, 4, &z)) return false;
    if (version >= '2') {
        if (!parse_block(&file, 8, &z)) return false;
        if (file.len > 2 && file.ptr[0] == '\n') {
            const char *end = memchr(file.ptr + 1, '\n', file.len - 1);
            if (end) z.rule = (struct str){file.ptr + 1, (size_t)(end - file.ptr - 1)};
        }
    }
    *out = z;
    return true;
}

static struct zone_offset offset_of(const struct zone *z, uint32_t type) {
    struct zone_offset o = {0, {"", 0}};
    if (type >= z->n_types) return o;
    const uint8_t *p = z->types + (size_t)type * 6;
    int32_t seconds = (int32_t)be32(p);
    o.seconds = seconds > -2 * DAY && seconds < 2 * DAY ? seconds : 0;
    if (p[5] < z->n_names) {
        const char *name = (const char *)z->names + p[5];
        o.name = (struct str){name, strnlen(name, z->n_names - p[5])};
    }
    return o;
}

static int64_t transition(const struct zone *z, uint32_t i) {
    const uint8_t *p = z->times + (size_t)i * z->time_bytes;
    return z->time_bytes == 8 ? be64(p) : (int32_t)be32(p);
}

/* ---- the rule for later times ---- */

struct rule_day {
    char kind; /* 'J': 1..365 without 29 February, 'n': 0..365, 'M' */
    int32_t month, week, day;
    int32_t seconds; /* of the day, by the clock before the change */
};
struct rule {
    struct zone_offset standard, summer;
    bool has_summer;
    struct rule_day start, end;
};

static bool skip(struct str *s, char ch) {
    if (!s->len || s->ptr[0] != ch) return false;
    *s = str_from(*s, 1);
    return true;
}

static bool number(struct str *s, int32_t max, int32_t *out) {
    size_t n = 0;
    for (*out = 0; n < s->len && n < 4 && s->ptr[n] >= '0' && s->ptr[n] <= '9'; n++)
        *out = 10 * *out + (s->ptr[n] - '0');
    *s = str_from(*s, n);
    return n > 0 && *out <= max;
}

/* "UTC", "<+03>" */
static bool abbreviation(struct str *s, struct str *out) {
    bool quoted = skip(s, '<');
    size_t n = 0;
    while (n < s->len && (quoted ? s->ptr[n] != '>' : !strchr("0123456789,+-", s->ptr[n]))) n++;
    *out = str_head(*s, n);
    *s = str_from(*s, n);
    return n > 0 && (!quoted || skip(s, '>'));
}

/* [+-]h[h][:mm[:ss]] as seconds. */
static bool clock_offset(struct str *s, int32_t *out) {
    int32_t h, m = 0, sec = 0;
    bool minus = skip(s, '-');
    if (!minus) skip(s, '+');
    if (!number(s, 167, &h)) return false;
    if (skip(s, ':') && !number(s, 59, &m)) return false;
    if (skip(s, ':') && !number(s, 59, &sec)) return false;
    *out = (minus ? -1 : 1) * (h * 3600 + m * 60 + sec);
    return true;
}

static bool rule_day(struct str *s, struct rule_day *out) {
    *out = (struct rule_day){.kind = 'n', .seconds = 7200};
    bool ok;
    if (skip(s, 'M')) {
        out->kind = 'M';
        ok = number(s, 12, &out->month) && skip(s, '.') && number(s, 5, &out->week) &&
             skip(s, '.') && number(s, 6, &out->day) && out->month >= 1 && out->week >= 1;
    } else {
        if (skip(s, 'J')) out->kind = 'J';
        ok = number(s, 365, &out->day) && (out->kind == 'n' || out->day >= 1);
    }
    return ok && (!skip(s, '/') || clock_offset(s, &out->seconds));
}

static bool parse_rule(struct str s, struct rule *r) {
    static const char usual[] = "M3.2.0,M11.1.0"; /* what POSIX leaves to the system */
    *r = (struct rule){.has_summer = false};
    if (!abbreviation(&s, &r->standard.name) || !clock_offset(&s, &r->standard.seconds))
        return false;
    r->standard.seconds = -r->standard.seconds;
    if (!s.len) return true;
    r->has_summer = true;
    r->summer.seconds = r->standard.seconds + 3600;
    if (!abbreviation(&s, &r->summer.name)) return false;
    if (s.len && s.ptr[0] != ',') {
        if (!clock_offset(&s, &r->summer.seconds)) return false;
        r->summer.seconds = -r->summer.seconds;
    }
    if (!s.len)
        s = STR(usual);
    else if (!skip(&s, ','))
        return false;
    return rule_day(&s, &r->start) && skip(&s, ',') && rule_day(&s, &r->end) && !s.len;
}

/* Seconds from the start of the year (UTC) to the change, which clocks at `offset` show. */
static int64_t rule_second(const struct rule_day *d, int64_t year, int32_t offset) {
    int64_t first = days_of(year, 1, 1), day = d->day;
    if (d->kind == 'J') day -= !(is_leap(year) && d->day >= 60);
    if (d->kind == 'M') {
        int64_t start = days_of(year, d->month, 1);
        int64_t weekday = start + 4 - 7 * floor_div(start + 4, 7);
        int64_t in_month = (d->day - weekday + 7) % 7 + 7 * (d->week - 1);
        while (in_month >= month_days(year, d->month)) in_month -= 7;
        day = start + in_month - first;
    }
    return day * DAY + d->seconds - offset;
}

static bool rule_at(const struct zone *z, int64_t seconds, struct zone_offset *out) {
    struct rule r;
    if (!z->rule.len || !parse_rule(z->rule, &r)) return false;
    *out = r.standard;
    if (!r.has_summer) return true;
    int64_t year = year_of(floor_div(seconds, DAY)), at = seconds - days_of(year, 1, 1) * DAY;
    int64_t start = rule_second(&r.start, year, r.standard.seconds);
    int64_t end = rule_second(&r.end, year, r.summer.seconds);
    bool summer = start <= end ? at >= start && at < end : at < end || at >= start;
    if (summer) *out = r.summer;
    return true;
}

struct zone_offset zone_at(const struct zone *z, int64_t seconds) {
    struct zone_offset later;
    if (!z->n_types) return (struct zone_offset){0, STR("UTC")};
    uint32_t low = 0, high = z->n_times; /* the number of transitions up to that moment */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (transition(z, middle) <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == z->n_times && rule_at(z, seconds, &later)) return later;
    return offset_of(z, low ? z->kinds[low - 1] : 0);
}

/* ---- finding it ---- */

static bool plain_name(struct str s) {
    if (!s.len || s.len > ZONE_NAME_MAX || s.ptr[0] == '/') return false;
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        bool word = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                    (ch >= '0' && ch <= '9') || ch == '_' || ch == '+' || ch == '-' || ch == '/';
        if (!word) return false;
    }
    return true;
}

/* A regular file's bytes; an empty view when it is none or too large. */
static struct str read_zone_file(struct arena *a, const char *path) {
    struct stat info;
    struct str s = {NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return s;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 &&
        info.st_size <= ZONE_FILE_MAX) {
        char *bytes = arena_alloc(a, (size_t)info.st_size);
        if (bytes && read(fd, bytes, (size_t)info.st_size) == info.st_size)
            s = (struct str){bytes, (size_t)info.st_size};
    }
    close(fd);
    return s;
}

bool zone_load(struct builtin_call *c, struct str name, struct zone *out) {
    *out = (struct zone){0};
    if (!name.len || str_is(name, "UTC")) return true;
    const char *path = "/etc/localtime";
    bool local = str_is(name, "Local");
    const struct zone_files *kept = cache_zones(c->cache);
    if (!local) {
        if (!plain_name(name)) return builtin_refuse(c, "time: invalid location name");
        path = arena_printf(c->arena, NULL, ZONE_FOLDER "/%.*s", STR_FMT(name));
        if (!path) return builtin_no_memory(c);
    }
    struct str file = kept ? zone_files_get(kept, name) : read_zone_file(c->arena, path);
    if (zone_parse(file, out) || local) return true;
    return builtin_refuse(c, "unknown time zone %.*s", STR_FMT(name));
}
