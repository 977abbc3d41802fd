/* Calendar dates, and time zones out of the system's zoneinfo files. */
#ifndef REGENT_HOST_BUILTINS_TIME_ZONE_H
#define REGENT_HOST_BUILTINS_TIME_ZONE_H
#include "host/builtins/builtin.h"

/* A zone's file, read whole into an arena; all zero is UTC. */
struct zone {
    const uint8_t *times, *kinds, *types, *names; /* of the file's 64-bit (or only) block */
    uint32_t n_times, n_types, n_names, time_bytes;
    struct str rule; /* POSIX TZ text for what comes after the last transition; may be empty */
};
/* What a zone says of a moment. */
struct zone_offset {
    int32_t seconds; /* east of Greenwich */
    struct str name; /* abbreviation */
};
/* A moment as a zone's clocks and calendar show it. */
struct civil {
    int64_t year;
    int32_t month, day, hour, minute, second, ns; /* month and day from 1 */
    int32_t weekday, year_day;                    /* 0: Sunday; year_day from 1 */
    struct zone_offset offset;
};

/* Go's time.LoadLocation ("", "UTC", "Local", or a name of the IANA database). False after
 * builtin_fail. */
bool zone_load(struct builtin_call *c, struct str name, struct zone *out);
/* A TZif file's bytes (hostile); false when they are none. RFC 9636. */
bool zone_parse(struct str file, struct zone *out);
struct zone_offset zone_at(const struct zone *z, int64_t seconds);

struct civil civil_of(const struct zone *z, int64_t ns);
/* Days from 1970-01-01 to the date; month and day may lie outside of their ranges. */
int64_t days_of(int64_t year, int64_t month, int64_t day);
int32_t month_days(int64_t year, int32_t month);
/* The moment at which the zone's clocks show this; a time that they skip or show twice is taken as
 * Go does. */
int64_t zone_seconds(const struct zone *z, int64_t days, int64_t second_of_day);
/* seconds * 10^9 + ns (0 <= ns < 10^9) when it fits. */
bool time_ns(int64_t seconds, int64_t ns, int64_t *out);

#endif
