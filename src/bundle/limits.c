/* Limits as text and JSON, and which of two holds.
 * in: words with units, objects of a manifest. out: struct tenant_limits. owns: nothing. */
#include "bundle/limits.h"
#include <stdio.h>

enum unit { UNIT_us, UNIT_bytes, UNIT_count };

static const struct limit_row {
    const char *name;
    enum unit unit;
    size_t offset;
} rows[LIMIT_COUNT] = {
#define LIMIT(identifier, name, unit, meaning)                                                     \
    {name, UNIT_##unit, offsetof(struct tenant_limits, identifier)},
#include "bundle/limits.def"
#undef LIMIT
};

static uint64_t *field(struct tenant_limits *l, const struct limit_row *row) {
    return (uint64_t *)(void *)((char *)l + row->offset);
}

static uint64_t value(const struct tenant_limits *l, const struct limit_row *row) {
    uint64_t v;
    memcpy(&v, (const char *)l + row->offset, sizeof v);
    return v;
}

const char *limit_name(enum limit_kind k) { return k < LIMIT_COUNT ? rows[k].name : ""; }

enum limit_kind limit_of_err(enum err e) {
    switch ((int)e) {
    case ERR_DEADLINE: return LIMIT_deadline_us;
    case ERR_GUEST_MEMORY: return LIMIT_memory_bytes;
    case ERR_LIMIT: return LIMIT_output_bytes;
    case ERR_RATE: return LIMIT_requests_per_second;
    case ERR_CONCURRENCY: return LIMIT_concurrent;
    }
    return LIMIT_COUNT;
}

struct tenant_limits limits_strictest(struct tenant_limits a, struct tenant_limits b) {
    for (int i = 0; i < LIMIT_COUNT; i++) {
        uint64_t *x = field(&a, &rows[i]), y = value(&b, &rows[i]);
        if (*x == LIMIT_NONE) *x = 0;
        if (y && y != LIMIT_NONE && (!*x || y < *x)) *x = y;
    }
    return a;
}

struct tenant_limits limits_replaced(struct tenant_limits base, struct tenant_limits by) {
    for (int i = 0; i < LIMIT_COUNT; i++)
        if (value(&by, &rows[i])) *field(&base, &rows[i]) = value(&by, &rows[i]);
    return base;
}

/* ---- numbers with units ---- */

struct unit_word {
    const char *word;
    uint64_t factor;
};
static const struct unit_word times[] = {
    {"us", 1},        {"µs", 1},          {"ms", 1000},          {"s", 1000000},
    {"m", 60000000},  {"h", 3600000000u}, {NULL, 0},
};
static const struct unit_word sizes[] = {
    {"", 1},          {"B", 1},           {"k", 1000},           {"kB", 1000},
    {"KB", 1000},     {"MB", 1000000},    {"GB", 1000000000},    {"Ki", 1024},
    {"KiB", 1024},    {"Mi", 1024 << 10}, {"MiB", 1024 << 10},   {"Gi", 1024 << 20},
    {"GiB", 1024 << 20}, {NULL, 0},
};

/* Digits, an optional fraction and one of the words: "1.5s". What is below a microsecond or a byte is cut off. */
static bool read_number(struct str text, const struct unit_word *words, uint64_t *out) {
    uint64_t whole = 0, part = 0, scale = 1;
    size_t at = 0;
    for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
        if (__builtin_mul_overflow(whole, 10u, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(text.ptr[at] - '0'), &whole))
            return false;
    if (at == 0) return false;
    if (at + 1 < text.len && text.ptr[at] == '.' && text.ptr[at + 1] >= '0' && text.ptr[at + 1] <= '9')
        for (at++; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
            if (scale < 1000000) scale *= 10, part = part * 10 + (uint64_t)(text.ptr[at] - '0');
    while (at < text.len && text.ptr[at] == ' ') at++;
    for (struct str word = str_from(text, at); words->word; words++) {
        if (!str_is(word, words->word)) continue;
        if (__builtin_mul_overflow(whole, words->factor, &whole)) return false;
        return !__builtin_add_overflow(whole, part * words->factor / scale, out);
    }
    return false;
}

bool limits_read_time(struct str text, uint64_t *us) { return read_number(text, times, us); }
bool limits_read_size(struct str text, uint64_t *bytes) { return read_number(text, sizes, bytes); }

/* ---- objects ---- */

static bool read_value(const struct json *v, enum unit unit, uint64_t *out) {
    int64_t n;
    if (v->kind == JSON_STRING && str_is(v->text, "none")) return *out = LIMIT_NONE, true;
    if (v->kind == JSON_NUMBER) {
        if (unit == UNIT_us || !json_int64(v, &n) || n <= 0) return false;
        *out = (uint64_t)n;
        return true;
    }
    if (v->kind != JSON_STRING) return false;
    switch (unit) {
    case UNIT_us: return limits_read_time(v->text, out) && *out && *out != LIMIT_NONE;
    case UNIT_bytes: return limits_read_size(v->text, out) && *out && *out != LIMIT_NONE;
    case UNIT_count: return false;
    }
    return false;
}

static const char *wanted(enum unit unit) {
    switch (unit) {
    case UNIT_us: return "a time such as \"50ms\", or \"none\"";
    case UNIT_bytes: return "a size such as \"64MiB\", or \"none\"";
    case UNIT_count: return "a whole number above 0, or \"none\"";
    }
    return "";
}

static int row_of(struct str name) {
    int k = 0;
    while (k < LIMIT_COUNT && !str_is(name, rows[k].name)) k++;
    return k;
}

bool limits_known(struct str name) { return row_of(name) < LIMIT_COUNT; }

enum err limits_read_one(struct str name, const struct json *v, struct tenant_limits *out, char *why,
                         size_t why_bytes) {
    int k = row_of(name);
    uint64_t n;
    if (k == LIMIT_COUNT) {
        snprintf(why, why_bytes, "there is no limit \"%.*s\"", STR_FMT(str_head(name, 64)));
        return ERR_INVALID;
    }
    if (read_value(v, rows[k].unit, &n)) {
        *field(out, &rows[k]) = n;
        return OK;
    }
    bool has_text = v->kind == JSON_STRING || v->kind == JSON_NUMBER;
    struct str text = has_text ? str_head(v->text, 64) : (struct str){"", 0};
    snprintf(why, why_bytes, "limit \"%s\" wants %s%s%.*s%s", rows[k].name, wanted(rows[k].unit),
             has_text ? ", not \"" : "", STR_FMT(text), has_text ? "\"" : "");
    return ERR_INVALID;
}

enum err limits_read(const struct json *object, struct tenant_limits *out, char *why,
                     size_t why_bytes) {
    struct tenant_limits l = {0};
    if (!object || object->kind != JSON_OBJECT)
        return snprintf(why, why_bytes, "limits must be an object"), ERR_INVALID;
    for (uint32_t i = 0; i < object->n; i++) {
        enum err e = limits_read_one(object->keys[i], object->items[i], &l, why, why_bytes);
        if (e) return e;
    }
    *out = l;
    return OK;
}

static void print_with_unit(uint64_t v, const struct unit_word *w, struct buf *out) {
    while (v % w->factor) w++;
    buf_printf(out, "%llu%s", (unsigned long long)(v / w->factor), w->word);
}

void limits_print_time(uint64_t us, struct buf *out) {
    static const struct unit_word units[] = {{"s", 1000000}, {"ms", 1000}, {"us", 1}};
    print_with_unit(us, us ? units : units + 2, out);
}

void limits_print_size(uint64_t bytes, struct buf *out) {
    static const struct unit_word units[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1024}, {"", 1}};
    print_with_unit(bytes, bytes ? units : units + 3, out);
}

static void print_value(uint64_t v, enum unit unit, struct buf *out) {
    if (v == LIMIT_NONE) {
        buf_cstr(out, "\"none\"");
    } else if (unit == UNIT_count) {
        buf_printf(out, "%llu", (unsigned long long)v);
    } else {
        buf_byte(out, '"');
        unit == UNIT_us ? limits_print_time(v, out) : limits_print_size(v, out);
        buf_byte(out, '"');
    }
}

void limits_print(const struct tenant_limits *l, struct buf *out) {
    const char *between = "";
    buf_byte(out, '{');
    for (int i = 0; i < LIMIT_COUNT; i++) {
        uint64_t v = value(l, &rows[i]);
        if (!v) continue;
        buf_printf(out, "%s\"%s\":", between, rows[i].name);
        print_value(v, rows[i].unit, out);
        between = ",";
    }
    buf_byte(out, '}');
}
