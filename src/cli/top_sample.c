/* Reads a node's /metrics for `regent top`.
 * in: Prometheus' text format (of a node, or of who claims to be one). out: struct top_sample. owns: its arena
 * and text. */
#include "cli/top.h"
#include <math.h>
#include <stdlib.h>

enum { SAMPLE_BYTES = 256 << 20, LINE_LABELS = 4, NUMBER_BYTES = 64 };

void top_sample_init(struct top_sample *s) {
    *s = (struct top_sample){0};
    arena_init(&s->arena, SAMPLE_BYTES);
    buf_init(&s->text, SAMPLE_BYTES);
}

void top_sample_deinit(struct top_sample *s) {
    arena_deinit(&s->arena);
    buf_deinit(&s->text);
}

void top_sample_clear(struct top_sample *s) {
    struct arena arena = s->arena;
    struct buf text = s->text;
    arena_reset(&arena);
    buf_clear(&text);
    *s = (struct top_sample){.arena = arena, .text = text};
}

/* ---- one line ---- */

struct line {
    struct str name;
    struct {
        struct str name, value;
    } labels[LINE_LABELS];
    uint32_t n_labels;
    double value;
};

static struct str label_of(const struct line *l, const char *name) {
    for (uint32_t i = 0; i < l->n_labels; i++)
        if (str_is(l->labels[i].name, name)) return l->labels[i].value;
    return STR("");
}

/* A quoted value at the start of *rest, unescaped; cut off it. */
static bool read_value(struct arena *a, struct str *rest, struct str *out) {
    size_t end = 1;
    bool escaped = false;
    if (!rest->len || *rest->ptr != '"') return false;
    for (; end < rest->len && rest->ptr[end] != '"'; end++)
        if (rest->ptr[end] == '\\') escaped = true, end++;
    if (end >= rest->len) return false;
    *out = (struct str){rest->ptr + 1, end - 1};
    *rest = str_from(*rest, end + 1);
    if (!escaped) return true;
    char *copy = arena_alloc(a, out->len);
    size_t n = 0;
    for (size_t i = 0; copy && i < out->len; i++) {
        char c = out->ptr[i];
        if (c == '\\') c = out->ptr[++i] == 'n' ? '\n' : out->ptr[i];
        copy[n++] = c;
    }
    *out = (struct str){copy ? copy : "", n};
    return true;
}

static bool read_labels(struct arena *a, struct str *rest, struct line *l) {
    while (rest->len && *rest->ptr != '}') {
        size_t n = 0;
        struct str name, value;
        while (n < rest->len && rest->ptr[n] != '=') n++;
        name = str_head(*rest, n);
        *rest = str_from(*rest, n + 1);
        if (!read_value(a, rest, &value)) return false;
        if (l->n_labels < LINE_LABELS) {
            l->labels[l->n_labels].name = name;
            l->labels[l->n_labels++].value = value;
        }
        if (rest->len && *rest->ptr == ',') *rest = str_from(*rest, 1);
    }
    if (!rest->len) return false;
    *rest = str_from(*rest, 1);
    return true;
}

static bool number_of(struct str s, double *out) {
    char text[NUMBER_BYTES], *end;
    if (!s.len || s.len >= sizeof text) return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    *out = strtod(text, &end);
    return end == text + s.len;
}

static bool read_line(struct arena *a, struct str rest, struct line *l) {
    size_t n = 0;
    l->n_labels = 0;
    while (n < rest.len && rest.ptr[n] != '{' && rest.ptr[n] != ' ') n++;
    l->name = str_head(rest, n);
    rest = str_from(rest, n);
    if (rest.len && *rest.ptr == '{') {
        rest = str_from(rest, 1);
        if (!read_labels(a, &rest, l)) return false;
    }
    return rest.len > 1 && *rest.ptr == ' ' && number_of(str_from(rest, 1), &l->value);
}

/* ---- what lines mean ---- */

static struct top_tenant *tenant_of(struct top_sample *s, struct str id) {
    if (s->tenants.n) { /* lines of a family follow each other in the same order, so the next one is a good guess */
        struct top_tenant *last = s->tenants.items[s->tenants.n - 1];
        if (str_eq(last->id, id)) return last;
    }
    struct top_tenant *t = table_get(&s->by_id, id);
    if (t || !(t = ARENA_NEW(&s->arena, struct top_tenant))) return t;
    t->id = id;
    table_set(&s->by_id, id, t);
    ARENA_PUSH(&s->arena, &s->tenants, t);
    return t;
}

/* The number of a bound; those of all tenants are the same. */
static int bound_of(struct top_sample *s, struct str le) {
    double bound = INFINITY;
    if (!str_is(le, "+Inf") && !number_of(le, &bound)) return -1;
    for (uint32_t i = 0; i < s->n_bounds; i++)
        if (s->bounds[i] == bound) return (int)i;
    if (s->n_bounds == TOP_BUCKETS || (s->n_bounds && s->bounds[s->n_bounds - 1] > bound)) return -1;
    s->bounds[s->n_bounds] = bound;
    return (int)s->n_bounds++;
}

static void take_tenant(struct top_sample *s, const struct line *l) {
    struct top_tenant *t = tenant_of(s, label_of(l, "tenant_id"));
    if (!t) return;
    if (str_is(l->name, "envoy_wasm_opa_total")) t->total = l->value;
    else if (str_is(l->name, "envoy_wasm_opa_deny_total")) t->denied = l->value;
    else if (str_is(l->name, "regent_errors_total")) t->errors += l->value;
    else if (str_is(l->name, "regent_tenant_memory_bytes")) t->memory_bytes = l->value;
    else if (str_is(l->name, "regent_limit_total") && t->n_limits < TOP_LIMITS) {
        t->limits[t->n_limits].name = label_of(l, "limit");
        t->limits[t->n_limits++].n = l->value;
    } else if (str_is(l->name, "envoy_wasm_opa_eval_duration_bucket")) {
        int b = bound_of(s, label_of(l, "le"));
        if (b >= 0) t->buckets[b] = l->value;
    }
}

static void take_node(struct top_sample *s, const struct line *l) {
    const struct {
        const char *name;
        double *to;
    } rows[] = {
        {"regent_tenants", &s->n_tenants},
        {"regent_tenants_without_policy", &s->without_policy},
        {"regent_ready", &s->ready},
        {"regent_connections", &s->connections},
        {"regent_requests_shed_total", &s->shed},
        {"process_resident_memory_bytes", &s->memory_bytes},
        {"process_cpu_seconds_total", &s->cpu_seconds},
        {"process_start_time_seconds", &s->started},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_is(l->name, rows[i].name)) *rows[i].to = l->value;
    if (str_is(l->name, "regent_queue_requests")) s->queued += l->value;
    if (str_is(l->name, "regent_build_info")) s->version = label_of(l, "version");
}

enum err top_sample_read(struct top_sample *s) {
    struct str rest = buf_view(&s->text);
    table_init(&s->by_id, &s->arena);
    while (rest.len) {
        const char *newline = memchr(rest.ptr, '\n', rest.len);
        struct str text = newline ? str_head(rest, (size_t)(newline - rest.ptr)) : rest;
        struct line l;
        rest = str_from(rest, text.len + 1);
        if (!text.len || *text.ptr == '#') continue;
        if (!read_line(&s->arena, text, &l)) return ERR_SYNTAX;
        if (l.n_labels && str_is(l.labels[0].name, "tenant_id")) take_tenant(s, &l);
        else take_node(s, &l);
    }
    if (s->arena.used_bytes >= s->arena.max_bytes) return ERR_MEMORY;
    return s->version.len ? OK : ERR_SYNTAX;
}
