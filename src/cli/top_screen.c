/* Prints a view of a node: a table as wide as the terminal, or JSON.
 * in: struct top_view. out: text. owns: nothing. */
#include "base/utf8.h"
#include "cli/top.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { CELL_BYTES = 32, LEAST_ID = 12, MOST_ID = 40, HEAD_LINES = 4, FOOT_LINES = 1 };

#define BOLD "\033[1m"
#define REVERSE "\033[7m"
#define RED "\033[31m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

/* ---- cells ---- */

/* At most `width` characters of s, filled up with spaces to `width`. Control characters, and what is no UTF-8, become
 * question marks: names come from outside. */
static void put_text(struct str s, uint32_t width, bool fill, struct buf *out) {
    uint32_t used = 0;
    for (size_t at = 0; at < s.len && used < width; used++) {
        uint32_t cp;
        int n = utf8_decode(s.ptr + at, s.len - at, &cp);
        bool shows = n && cp >= 0x20 && (cp < 0x7f || cp > 0xa0) && !(cp >= 0x2028 && cp <= 0x202e) &&
                     !(cp >= 0x2066 && cp <= 0x2069) && cp != 0xad;
        if (shows) buf_put(out, s.ptr + at, (size_t)n);
        else buf_byte(out, '?');
        at += n ? (size_t)n : 1;
    }
    while (fill && used++ < width) buf_byte(out, ' ');
}

static void print_rate(double n, char out[CELL_BYTES]) {
    if (isnan(n)) snprintf(out, CELL_BYTES, "-");
    else if (n >= 1e6) snprintf(out, CELL_BYTES, "%.1fM", n / 1e6);
    else if (n >= 9999.5) snprintf(out, CELL_BYTES, "%.1fk", n / 1e3);
    else if (n >= 99.95) snprintf(out, CELL_BYTES, "%.0f", n);
    else snprintf(out, CELL_BYTES, n > 0 ? "%.1f" : "0", n);
}

static void print_time(double seconds, char out[CELL_BYTES]) {
    if (isnan(seconds)) snprintf(out, CELL_BYTES, "-");
    else if (seconds < 1e-3) snprintf(out, CELL_BYTES, "%.1f µs", seconds * 1e6);
    else if (seconds < 1) snprintf(out, CELL_BYTES, "%.1f ms", seconds * 1e3);
    else snprintf(out, CELL_BYTES, "%.1f s", seconds);
}

static void print_size(double bytes, char out[CELL_BYTES]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    for (; bytes >= 1024 && u < 4; u++) bytes /= 1024;
    snprintf(out, CELL_BYTES, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
}

static void print_share(double share, char out[CELL_BYTES]) {
    if (isnan(share)) snprintf(out, CELL_BYTES, "-");
    else snprintf(out, CELL_BYTES, "%.1f %%", share * 100);
}

static void print_age(double seconds, char out[CELL_BYTES]) {
    unsigned long s = seconds > 0 ? (unsigned long)seconds : 0;
    if (s >= 86400) snprintf(out, CELL_BYTES, "%lud %luh", s / 86400, s / 3600 % 24);
    else if (s >= 3600) snprintf(out, CELL_BYTES, "%luh %lum", s / 3600, s / 60 % 60);
    else snprintf(out, CELL_BYTES, "%lum %lus", s / 60, s % 60);
}

/* ---- lines ---- */

struct printer {
    const struct top_view *v;
    const struct top_screen *s;
    const char *end;
    struct buf *out;
};

static void color(const struct printer *p, const char *code) {
    if (p->s->color) buf_cstr(p->out, code);
}

/* A line of plain text, cut to the screen. */
static void put_line(const struct printer *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put_line(const struct printer *p, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_text(str_of(text), p->s->columns, false, p->out);
    color(p, PLAIN);
    buf_cstr(p->out, p->end);
}

static void head(const struct printer *p) {
    const struct top_view *v = p->v;
    const struct top_sample *n = v->now;
    char rate[CELL_BYTES], denied[CELL_BYTES], p99[CELL_BYTES], errors[CELL_BYTES], memory[CELL_BYTES], age[CELL_BYTES];
    char shed[CELL_BYTES], cpu[CELL_BYTES];
    print_rate(v->rate, rate);
    print_share(v->rate > 0 ? v->denied / v->rate : NAN, denied);
    print_time(v->p99, p99);
    print_rate(v->errors, errors);
    print_rate(v->shed, shed);
    if (isnan(v->cpu)) snprintf(cpu, sizeof cpu, "-");
    else snprintf(cpu, sizeof cpu, "%.2f", v->cpu);
    print_size(n->memory_bytes, memory);
    print_age((double)time(NULL) - n->started, age);
    color(p, BOLD);
    put_line(p, "regent %.*s  %s  up %s%s%s", STR_FMT(n->version), p->s->node, age, n->ready ? "" : "  NOT READY",
             p->s->paused ? "  PAUSED" : "");
    put_line(p, "%s req/s  denied %s  p99 %s  errors %s/s  shed %s/s  queue %.0f", rate, denied, p99, errors, shed,
             n->queued);
    put_line(p, "tenants %.0f (%.0f without policy)  memory %s  cpu %s cores  connections %.0f", n->n_tenants,
             n->without_policy, memory, cpu, n->connections);
}

/* Columns behind the tenant's name, the first ones first to stay when the screen is narrow. */
enum column { RATE, DENIED, P99, ERRORS, LIMITS, MEMORY, REVISION, COLUMNS };
static const struct {
    const char *name;
    uint32_t width;
    enum top_order order; /* that it shows */
} columns[COLUMNS] = {
    {"REQ/S", 8, TOP_BY_RATE},          {"DENIED", 8, TOP_BY_DENIED}, {"P99", 10, TOP_BY_P99},
    {"ERR/S", 8, TOP_BY_ERRORS},        {"LIMITS", 26, TOP_BY_LIMITS}, {"MEMORY", 11, TOP_ORDERS},
    {"REVISION", 22, TOP_ORDERS},
};

static uint32_t columns_that_fit(uint32_t width, uint32_t *id_width) {
    uint32_t n = 0, used = LEAST_ID;
    while (n < COLUMNS && used + columns[n].width <= width) used += columns[n++].width;
    *id_width = LEAST_ID + (width > used ? width - used : 0);
    if (*id_width > MOST_ID) *id_width = MOST_ID;
    return n;
}

static void cell(const struct top_row *r, enum column c, char out[CELL_BYTES]) {
    out[0] = 0;
    switch (c) {
    case RATE: print_rate(r->rate, out); break;
    case DENIED: print_share(r->deny_share, out); break;
    case P99: print_time(r->p99, out); break;
    case ERRORS: print_rate(r->errors, out); break;
    case MEMORY: print_size(r->memory_bytes, out); break;
    case LIMITS: /* left-aligned, elsewhere */
    case REVISION:
    case COLUMNS: break;
    }
}

/* Right-aligned: micro signs take two bytes and one place. */
static void put_right(const char *text, uint32_t width, struct buf *out) {
    uint32_t used = 0;
    for (const char *c = text; *c; c++) used += (*c & 0xc0) != 0x80;
    while (used++ < width) buf_byte(out, ' ');
    buf_cstr(out, text);
}

static void put_limits(const struct top_row *r, uint32_t width, struct buf *out) {
    char n[CELL_BYTES], text[64];
    print_rate(r->limits, n);
    snprintf(text, sizeof text, "%.*s %s", (int)(r->limit.len < 40 ? r->limit.len : 40), r->limit.ptr, n);
    buf_cstr(out, "  ");
    put_text(r->limits > 0 ? str_of(text) : STR("-"), width - 2, true, out);
}

static void put_revision(const struct top_row *r, uint32_t width, struct buf *out) {
    buf_cstr(out, "  ");
    if (r->problem.len) buf_cstr(out, "! ");
    struct str text = r->revision.len ? r->revision : r->problem.len ? r->problem : STR("-");
    put_text(text, width - (r->problem.len ? 4 : 2), true, out);
}

static void put_row(const struct printer *p, const struct top_row *r, uint32_t n, uint32_t id_width) {
    char text[CELL_BYTES];
    if (r->errors > 0 || r->problem.len) color(p, RED);
    else if (r->deny_share > 0.5) color(p, YELLOW);
    put_text(r->id, id_width, true, p->out);
    for (uint32_t c = 0; c < n; c++) {
        if (c == LIMITS) {
            put_limits(r, columns[c].width, p->out);
        } else if (c == REVISION) {
            put_revision(r, columns[c].width, p->out);
        } else {
            cell(r, (enum column)c, text);
            put_right(text, columns[c].width, p->out);
        }
    }
    color(p, PLAIN);
    buf_cstr(p->out, p->end);
}

static void put_titles(const struct printer *p, uint32_t n, uint32_t id_width) {
    color(p, REVERSE);
    put_text(p->s->order == TOP_BY_NAME ? STR("TENANT*") : STR("TENANT"), id_width, true, p->out);
    for (uint32_t c = 0; c < n; c++) {
        char title[CELL_BYTES];
        bool left = c == LIMITS || c == REVISION;
        snprintf(title, sizeof title, "%s%s%s", left ? "  " : "", columns[c].name,
                 p->s->order == columns[c].order ? "*" : "");
        if (left) put_text(str_of(title), columns[c].width, true, p->out);
        else put_right(title, columns[c].width, p->out);
    }
    color(p, PLAIN);
    buf_cstr(p->out, p->end);
}

void top_print(const struct top_view *v, const struct top_screen *s, const char *end, struct buf *out) {
    struct printer p = {v, s, end, out};
    uint32_t id_width, n = columns_that_fit(s->columns, &id_width), rows = v->n;
    if (s->lines && rows + HEAD_LINES + FOOT_LINES > s->lines)
        rows = s->lines > HEAD_LINES + FOOT_LINES ? s->lines - HEAD_LINES - FOOT_LINES : 0;
    head(&p);
    put_titles(&p, n, id_width);
    for (uint32_t i = 0; i < rows; i++) put_row(&p, &v->rows[i], n, id_width);
    if (!s->lines) return;
    p.end = "";
    if (s->problem) color(&p, RED);
    if (s->problem) put_line(&p, "no answer: %s", s->problem);
    else put_line(&p, "q quit  p pause  sort: r req/s  d denied  l p99  e errors  i limits  n name");
}

/* ---- JSON ---- */

static struct json *number(struct arena *a, double n) {
    size_t len;
    if (isnan(n)) return json_null(a);
    char *text = arena_printf(a, &len, "%.9g", n);
    return text ? json_number(a, (struct str){text, len}) : NULL;
}

static struct json *row_json(struct arena *a, const struct top_row *r) {
    struct json *o = json_object(a);
    json_set(a, o, STR("tenant_id"), json_string(a, r->id));
    json_set(a, o, STR("requests_per_second"), number(a, r->rate));
    json_set(a, o, STR("deny_rate"), number(a, r->deny_share));
    json_set(a, o, STR("p99_seconds"), number(a, r->p99));
    json_set(a, o, STR("errors_per_second"), number(a, r->errors));
    json_set(a, o, STR("limits_per_second"), number(a, r->limits));
    json_set(a, o, STR("limit"), r->limit.len ? json_string(a, r->limit) : json_null(a));
    json_set(a, o, STR("requests_total"), number(a, r->total));
    json_set(a, o, STR("memory_bytes"), number(a, r->memory_bytes));
    json_set(a, o, STR("revision"), r->revision.len ? json_string(a, r->revision) : json_null(a));
    json_set(a, o, STR("problem"), r->problem.len ? json_string(a, r->problem) : json_null(a));
    return o;
}

static struct json *node_json(struct arena *a, const struct top_view *v) {
    const struct top_sample *s = v->now;
    struct json *o = json_object(a);
    json_set(a, o, STR("version"), json_string(a, s->version));
    json_set(a, o, STR("ready"), json_bool(a, s->ready != 0));
    json_set(a, o, STR("tenants"), number(a, s->n_tenants));
    json_set(a, o, STR("tenants_without_policy"), number(a, s->without_policy));
    json_set(a, o, STR("requests_per_second"), number(a, v->rate));
    json_set(a, o, STR("denied_per_second"), number(a, v->denied));
    json_set(a, o, STR("p99_seconds"), number(a, v->p99));
    json_set(a, o, STR("errors_per_second"), number(a, v->errors));
    json_set(a, o, STR("shed_per_second"), number(a, v->shed));
    json_set(a, o, STR("queue"), number(a, s->queued));
    json_set(a, o, STR("connections"), number(a, s->connections));
    json_set(a, o, STR("memory_bytes"), number(a, s->memory_bytes));
    json_set(a, o, STR("cpu_cores"), number(a, v->cpu));
    return o;
}

void top_print_json(struct arena *a, const struct top_view *v, struct buf *out) {
    struct json *o = json_object(a), *tenants = json_array(a);
    for (uint32_t i = 0; i < v->n; i++) json_push(a, tenants, row_json(a, &v->rows[i]));
    json_set(a, o, STR("seconds"), number(a, v->seconds));
    json_set(a, o, STR("node"), node_json(a, v));
    json_set(a, o, STR("tenants"), tenants);
    json_print(o, false, 2, out);
    buf_byte(out, '\n');
}
