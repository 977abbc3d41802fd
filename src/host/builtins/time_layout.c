/* Go's time layouts: their elements, and writing a time by one.
 *
 * in:   layouts of policies, calendar dates.
 * out:  text.
 * owns: nothing.
 * Rules: Go's package time, "Layout" constants and Time.Format. */
#include "host/builtins/time_layout.h"

struct element_row {
    const char *text;
    enum layout_kind kind;
};

/* Longer texts stand before those that begin them. */
static const struct element_row ELEMENTS[] = {
    {"January", LAYOUT_LONG_MONTH},
    {"Jan", LAYOUT_MONTH},
    {"Monday", LAYOUT_LONG_WEEKDAY},
    {"Mon", LAYOUT_WEEKDAY},
    {"MST", LAYOUT_ZONE_NAME},
    {"002", LAYOUT_ZERO_YEAR_DAY},
    {"01", LAYOUT_ZERO_MONTH},
    {"02", LAYOUT_ZERO_DAY},
    {"03", LAYOUT_ZERO_HOUR12},
    {"04", LAYOUT_ZERO_MINUTE},
    {"05", LAYOUT_ZERO_SECOND},
    {"06", LAYOUT_YEAR},
    {"15", LAYOUT_HOUR},
    {"1", LAYOUT_NUM_MONTH},
    {"2006", LAYOUT_LONG_YEAR},
    {"2", LAYOUT_DAY},
    {"__2", LAYOUT_UNDER_YEAR_DAY},
    {"_2", LAYOUT_UNDER_DAY},
    {"3", LAYOUT_HOUR12},
    {"4", LAYOUT_MINUTE},
    {"5", LAYOUT_SECOND},
    {"PM", LAYOUT_UPPER_PM},
    {"pm", LAYOUT_LOWER_PM},
};
static const char *const OFFSETS[] = {"070000", "07:00:00", "0700", "07:00", "07"};

static const struct {
    const char *name, *layout;
} NAMED[] = {
    {"ANSIC", "Mon Jan _2 15:04:05 2006"},
    {"UnixDate", "Mon Jan _2 15:04:05 MST 2006"},
    {"RubyDate", "Mon Jan 02 15:04:05 -0700 2006"},
    {"RFC822", "02 Jan 06 15:04 MST"},
    {"RFC822Z", "02 Jan 06 15:04 -0700"},
    {"RFC850", "Monday, 02-Jan-06 15:04:05 MST"},
    {"RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"},
    {"RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"},
    {"RFC3339", "2006-01-02T15:04:05Z07:00"},
    {"RFC3339Nano", "2006-01-02T15:04:05.999999999Z07:00"},
};

struct str layout_named(struct str name) {
    for (size_t i = 0; i < sizeof NAMED / sizeof *NAMED; i++)
        if (str_is(name, NAMED[i].name)) return str_of(NAMED[i].layout);
    return name;
}

const char *month_name(int32_t month) {
    static const char *const names[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};
    return names[(month - 1) % 12];
}

const char *weekday_name(int32_t weekday) {
    static const char *const names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
    return names[weekday % 7];
}

static bool is_digit_at(struct str s, size_t i) {
    return i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9';
}

static bool offset_at(struct str s, struct layout_element *e) {
    if (s.ptr[0] != '-' && s.ptr[0] != 'Z') return false;
    for (size_t i = 0; i < sizeof OFFSETS / sizeof *OFFSETS; i++) {
        struct str form = str_of(OFFSETS[i]);
        if (!str_starts(str_from(s, 1), form)) continue;
        e->kind = LAYOUT_OFFSET;
        e->z = s.ptr[0] == 'Z';
        e->colons = memchr(form.ptr, ':', form.len) != NULL;
        e->minutes = form.len > 2;
        e->seconds = form.len > 5;
        e->text = str_head(s, form.len + 1);
        return true;
    }
    return false;
}

/* ".000" or ",999" with no other digit behind. */
static bool fraction_at(struct str s, struct layout_element *e) {
    if ((s.ptr[0] != '.' && s.ptr[0] != ',') || s.len < 2) return false;
    char ch = s.ptr[1];
    size_t n = 1;
    if (ch != '0' && ch != '9') return false;
    while (n < s.len && s.ptr[n] == ch) n++;
    if (is_digit_at(s, n)) return false;
    e->kind = ch == '0' ? LAYOUT_FRACTION : LAYOUT_FRACTION_TRIMMED;
    e->digits = n - 1 > 1000000 ? 1000000 : (uint32_t)(n - 1);
    e->text = str_head(s, n);
    return true;
}

static bool word_at(struct str s, struct layout_element *e) {
    for (size_t i = 0; i < sizeof ELEMENTS / sizeof *ELEMENTS; i++) {
        struct str text = str_of(ELEMENTS[i].text);
        enum layout_kind kind = ELEMENTS[i].kind;
        if (!str_starts(s, text)) continue;
        bool abbreviated = kind == LAYOUT_MONTH || kind == LAYOUT_WEEKDAY;
        if (abbreviated && s.len > 3 && s.ptr[3] >= 'a' && s.ptr[3] <= 'z') continue;
        /* "_2006" is an underscore and a year */
        if (kind == LAYOUT_UNDER_DAY && str_starts(s, STR("_2006"))) return false;
        e->kind = kind;
        e->text = str_head(s, text.len);
        return true;
    }
    return false;
}

struct layout_element layout_next(struct str layout) {
    struct layout_element e = {.kind = LAYOUT_END, .before = layout};
    for (size_t i = 0; i < layout.len; i++) {
        struct str s = str_from(layout, i);
        if (!strchr("JM0123456789_PpZ-.,", s.ptr[0]) || !s.ptr[0]) continue;
        if (!word_at(s, &e) && !offset_at(s, &e) && !fraction_at(s, &e)) continue;
        e.before = str_head(layout, i);
        e.after = str_from(s, e.text.len);
        return e;
    }
    return e;
}

static void write_offset(const struct layout_element *e, int32_t seconds, struct buf *out) {
    if (e->z && seconds == 0) {
        buf_byte(out, 'Z');
        return;
    }
    int32_t minutes = seconds / 60, rest = seconds < 0 ? -seconds : seconds;
    buf_byte(out, minutes < 0 ? '-' : '+');
    if (minutes < 0) minutes = -minutes;
    buf_printf(out, "%02d", minutes / 60);
    if (e->minutes) buf_printf(out, e->colons ? ":%02d" : "%02d", minutes % 60);
    if (e->seconds) buf_printf(out, e->colons ? ":%02d" : "%02d", rest % 60);
}

/* Digits past the ninth do not exist. */
static void write_fraction(const struct layout_element *e, int32_t ns, struct buf *out) {
    char digits[9];
    uint32_t n = e->digits < 9 ? e->digits : 9;
    for (int i = 8; i >= 0; i--, ns /= 10) digits[i] = (char)('0' + ns % 10);
    if (e->kind == LAYOUT_FRACTION_TRIMMED)
        while (n && digits[n - 1] == '0') n--;
    if (!n) return;
    buf_byte(out, (uint8_t)e->text.ptr[0]);
    buf_put(out, digits, n);
}

static void write_zone_name(const struct civil *t, struct buf *out) {
    if (t->offset.name.len) {
        buf_str(out, t->offset.name);
        return;
    }
    struct layout_element hours = {.kind = LAYOUT_OFFSET, .minutes = true};
    write_offset(&hours, t->offset.seconds, out);
}

static void write_element(const struct layout_element *e, const struct civil *t, struct buf *out) {
    int32_t hour12 = t->hour % 12 ? t->hour % 12 : 12;
    switch (e->kind) {
    case LAYOUT_END: break;
    case LAYOUT_LONG_MONTH: buf_cstr(out, month_name(t->month)); break;
    case LAYOUT_MONTH: buf_put(out, month_name(t->month), 3); break;
    case LAYOUT_NUM_MONTH: buf_printf(out, "%d", t->month); break;
    case LAYOUT_ZERO_MONTH: buf_printf(out, "%02d", t->month); break;
    case LAYOUT_LONG_WEEKDAY: buf_cstr(out, weekday_name(t->weekday)); break;
    case LAYOUT_WEEKDAY: buf_put(out, weekday_name(t->weekday), 3); break;
    case LAYOUT_DAY: buf_printf(out, "%d", t->day); break;
    case LAYOUT_UNDER_DAY: buf_printf(out, "%2d", t->day); break;
    case LAYOUT_ZERO_DAY: buf_printf(out, "%02d", t->day); break;
    case LAYOUT_UNDER_YEAR_DAY: buf_printf(out, "%3d", t->year_day); break;
    case LAYOUT_ZERO_YEAR_DAY: buf_printf(out, "%03d", t->year_day); break;
    case LAYOUT_HOUR: buf_printf(out, "%02d", t->hour); break;
    case LAYOUT_HOUR12: buf_printf(out, "%d", hour12); break;
    case LAYOUT_ZERO_HOUR12: buf_printf(out, "%02d", hour12); break;
    case LAYOUT_MINUTE: buf_printf(out, "%d", t->minute); break;
    case LAYOUT_ZERO_MINUTE: buf_printf(out, "%02d", t->minute); break;
    case LAYOUT_SECOND: buf_printf(out, "%d", t->second); break;
    case LAYOUT_ZERO_SECOND: buf_printf(out, "%02d", t->second); break;
    case LAYOUT_LONG_YEAR: buf_printf(out, "%04lld", (long long)t->year); break;
    case LAYOUT_YEAR: buf_printf(out, "%02d", (int)(t->year % 100)); break;
    case LAYOUT_UPPER_PM: buf_cstr(out, t->hour >= 12 ? "PM" : "AM"); break;
    case LAYOUT_LOWER_PM: buf_cstr(out, t->hour >= 12 ? "pm" : "am"); break;
    case LAYOUT_ZONE_NAME: write_zone_name(t, out); break;
    case LAYOUT_OFFSET: write_offset(e, t->offset.seconds, out); break;
    case LAYOUT_FRACTION:
    case LAYOUT_FRACTION_TRIMMED: write_fraction(e, t->ns, out); break;
    }
}

void layout_write(struct str layout, const struct civil *t, struct buf *out) {
    for (;;) {
        struct layout_element e = layout_next(layout);
        buf_str(out, e.before);
        if (e.kind == LAYOUT_END) return;
        write_element(&e, t, out);
        layout = e.after;
    }
}
