/* Go's time layouts: "Mon Jan 2 15:04:05 MST 2006" as a pattern for writing and reading times. */
#ifndef REGENT_HOST_BUILTINS_TIME_LAYOUT_H
#define REGENT_HOST_BUILTINS_TIME_LAYOUT_H
#include "base/buf.h"
#include "host/builtins/time_zone.h"

/* The layout behind a name that OPA knows ("RFC1123"), else the text itself. */
struct str layout_named(struct str name);
void layout_write(struct str layout, const struct civil *t, struct buf *out);
/* Nanoseconds since 1970; false after builtin_fail with Go's text. */
bool layout_read(struct builtin_call *c, struct str layout, struct str value, int64_t *ns);

/* One element of a layout. */
enum layout_kind {
    LAYOUT_END,
    LAYOUT_LONG_MONTH,
    LAYOUT_MONTH,
    LAYOUT_NUM_MONTH,
    LAYOUT_ZERO_MONTH,
    LAYOUT_LONG_WEEKDAY,
    LAYOUT_WEEKDAY,
    LAYOUT_DAY,
    LAYOUT_UNDER_DAY,
    LAYOUT_ZERO_DAY,
    LAYOUT_UNDER_YEAR_DAY,
    LAYOUT_ZERO_YEAR_DAY,
    LAYOUT_HOUR,
    LAYOUT_HOUR12,
    LAYOUT_ZERO_HOUR12,
    LAYOUT_MINUTE,
    LAYOUT_ZERO_MINUTE,
    LAYOUT_SECOND,
    LAYOUT_ZERO_SECOND,
    LAYOUT_LONG_YEAR,
    LAYOUT_YEAR,
    LAYOUT_UPPER_PM,
    LAYOUT_LOWER_PM,
    LAYOUT_ZONE_NAME,
    LAYOUT_OFFSET,
    LAYOUT_FRACTION,
    LAYOUT_FRACTION_TRIMMED
};
struct layout_element {
    enum layout_kind kind;
    struct str before, text, after;   /* literal text, the element, the rest of the layout */
    bool z, colons, minutes, seconds; /* LAYOUT_OFFSET: "Z07:00:00" has all */
    uint32_t digits;                  /* fractions */
};
struct layout_element layout_next(struct str layout);
/* Names of months from 1 and of weekdays from 0. */
const char *month_name(int32_t month);
const char *weekday_name(int32_t weekday);

#endif
