/* Writes Prometheus' text format. in: names, labels, numbers. out: lines. owns: nothing. */
#include "edge/metrics_text.h"

void metric_family(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metric_one(struct buf *out, const char *name, const char *type, const char *help, uint64_t n) {
    metric_family(out, name, type, help);
    buf_printf(out, "%s ", name);
    metric_number(out, n);
}

static void put_digits(uint64_t n, struct buf *out) {
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    buf_put(out, digits + at, sizeof digits - at);
}

void metric_number(struct buf *out, uint64_t n) {
    put_digits(n, out);
    buf_byte(out, '\n');
}

void metric_seconds(struct buf *out, uint64_t ns) {
    char part[10];
    put_digits(ns / 1000000000u, out);
    ns %= 1000000000u;
    part[0] = '.';
    for (int i = 9; i > 0; i--, ns /= 10) part[i] = (char)('0' + ns % 10);
    buf_put(out, part, sizeof part);
    buf_byte(out, '\n');
}

void metric_label(struct buf *out, struct str value) {
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '"' || c == '\\' || c == '\n') buf_byte(out, '\\');
        buf_byte(out, c == '\n' ? 'n' : (uint8_t)c);
    }
}

void metric_line(struct buf *out, struct str name, struct str tenant, const char *more, struct str more_value) {
    buf_str(out, name);
    buf_str(out, STR("{tenant_id=\""));
    metric_label(out, tenant);
    if (more) {
        buf_str(out, STR("\","));
        buf_cstr(out, more);
        buf_str(out, STR("=\""));
        buf_str(out, more_value);
    }
    buf_str(out, STR("\"} "));
}
