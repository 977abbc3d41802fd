/* What sources tell: the control plane how its tenants fare, the log how the first round went, metrics, status.
 * in: tenants and counts. out: JSON, Prometheus text, log lines. owns: nothing. */
#include "base/clock.h"
#include "edge/source_work.h"
#include <stdio.h>

enum { REPORT_TENANTS = 1000, KINDS = 16, NAMED = 5 };

/* ---- the control plane ---- */

static bool is_news(const struct origin *o, const struct supply *t) {
    if (t->origin != o || !t->tried || t->trial) return false;
    return o->report_all || !t->reported_once || t->reported_err != t->err || strcmp(t->reported, t->active) != 0;
}

/* What became of a version after its source brought it: it may have been tried out, taken back, pinned. */
static void look_up(struct sources *s, struct supply *t) {
    struct load_report r;
    const struct tenant_entry *e = tenants_find(s->options.tenants, str_of(t->id));
    if (!e) return;
    tenants_reported(s->options.tenants, e->tenant, &r);
    snprintf(t->active, sizeof t->active, "%s", r.version);
    if (t->failures) return;
    t->err = r.err;
    t->status = r.http_status;
    snprintf(t->why, sizeof t->why, "%.159s", r.message);
}

static void look_all_up(struct sources *s, const struct origin *o) {
    tenants_online(s->options.tenants, s->options.reader);
    for (struct supply *t = s->all; t; t = t->next)
        if (t->origin == o && t->tried && !t->busy) look_up(s, t);
    tenants_offline(s->options.tenants, s->options.reader);
}

static void put_outcome(const struct supply *t, struct buf *out) {
    buf_cstr(out, "{\"tenant\":");
    json_print_string(str_of(t->id), out);
    buf_cstr(out, ",\"active\":");
    json_print_string(str_of(t->active), out);
    buf_cstr(out, ",\"outcome\":");
    json_print_string(str_of(t->err ? "failed" : t->loaded ? "active" : "none"), out);
    if (t->err) {
        buf_cstr(out, ",\"error\":{\"code\":");
        json_print_string(str_of(err_word(t->err)), out);
        if (t->status) buf_printf(out, ",\"http_status\":%d", t->status);
        buf_cstr(out, ",\"message\":");
        json_print_string(str_of(t->why), out);
        buf_cstr(out, "}");
    }
    buf_cstr(out, "}");
}

static void note_reported(struct supply *t) {
    snprintf(t->reported, sizeof t->reported, "%s", t->active);
    t->reported_err = t->err;
    t->reported_once = true;
}

/* What changed since the last report, or all after one that failed. true: there is something to say. */
static bool put_report(struct sources *s, struct origin *o, struct buf *out) {
    uint32_t n = 0;
    bool whole = o->report_all, more = false;
    buf_cstr(out, "{\"node\":");
    json_print_string(str_of(s->options.node_id), out);
    buf_cstr(out, ",\"host\":");
    json_print_string(str_of(s->options.host_name), out);
    buf_cstr(out, ",\"software\":\"regent/" REGENT_VERSION "\",\"cursor\":");
    json_print_string(str_of(o->cursor), out);
    buf_cstr(out, ",\"tenants\":[");
    for (struct supply *t = s->all; t; t = t->next) {
        if (!is_news(o, t)) continue;
        if (n == REPORT_TENANTS) {
            more = true;
            break;
        }
        if (n++) buf_byte(out, ',');
        put_outcome(t, out);
        if (!whole) note_reported(t);
    }
    for (struct supply *t = s->all; t && whole; t = t->next) { /* those left out are news still */
        if (t->origin != o) continue;
        if (n <= REPORT_TENANTS && t->tried && !t->trial && !more)
            note_reported(t);
        else
            t->reported_once = false;
    }
    buf_printf(out, "],\"more\":%s}", more ? "true" : "false");
    o->report_all = false;
    return n || whole;
}

void report_begin(struct sources *s, struct origin *o) {
    char path[512];
    struct buf b = {.ptr = (uint8_t *)path, .cap = sizeof path - 1, .max = sizeof path - 1};
    o->report_due_ms = s->now_ms + 1000;
    if (!o->list_tried) return;
    look_all_up(s, o);
    struct errand *e = errand_new(s, o, NULL, ERRAND_REPORT);
    if (!e) return;
    buf_cstr(&b, "/v1/edges/");
    source_escape(str_of(s->options.node_id), &b);
    buf_cstr(&b, "/status");
    path[b.len] = 0;
    if (!put_report(s, o, &e->text) || e->text.err || !source_control_url(o->config, path, e->url)) {
        errand_free(e);
        return;
    }
    o->reporting = true;
    errand_send(e);
}

/* What was not taken is told again, with all the rest. */
void report_done(struct errand *e, enum err err, const char *why) {
    struct sources *s = e->all;
    struct origin *o = e->origin;
    int status = e->call.reply.status;
    char wrong[64];
    bool good = !err && status >= 200 && status < 300;
    snprintf(wrong, sizeof wrong, "status %d", status);
    o->reporting = false;
    if (good) {
        atomic_fetch_add(&o->reports, 1);
        o->report_failures = 0;
    } else {
        o->report_all = true;
        log_line(s->options.log, o->report_failures++ ? LOG_DEBUG : LOG_WARN, "status not reported", "source", o->name,
                 "reason", err ? why : wrong, NULL);
    }
    uint64_t wait_ms =
        o->report_failures ? source_backoff_ms(o->report_failures, o->config->poll_us, source_random(s)) : 1000;
    o->report_due_ms = s->now_ms + (int64_t)wait_ms;
    errand_free(e);
}

/* ---- the first round ---- */

struct kind {
    const struct origin *origin;
    enum err err;
    int status;
    uint32_t n;
    struct buf names;
    const char *why;
};

static struct kind *kind_of(struct kind *kinds, uint32_t *n, const struct supply *t) {
    for (uint32_t i = 0; i < *n; i++)
        if (kinds[i].origin == t->origin && kinds[i].err == t->err && kinds[i].status == t->status) return &kinds[i];
    if (*n == KINDS) return &kinds[KINDS - 1];
    struct kind *k = &kinds[(*n)++];
    *k = (struct kind){.origin = t->origin, .err = t->err, .status = t->status, .why = t->why};
    buf_init(&k->names, (NAMED + 1) * (TENANT_ID_BYTES + 2));
    return k;
}

static void tell_kind(struct sources *s, struct kind *k) {
    char n[16];
    snprintf(n, sizeof n, "%u", k->n);
    if (k->n > NAMED) buf_printf(&k->names, " and %u more", k->n - NAMED);
    buf_byte(&k->names, 0);
    log_line(s->options.log, LOG_ERROR, "tenants not loaded", "source", k->origin->name, "count", n, "tenants",
             k->names.err ? "" : (const char *)k->names.ptr, "reason", k->why, NULL);
    buf_deinit(&k->names);
}

void first_round_tell(struct sources *s) {
    struct kind kinds[KINDS];
    uint32_t n = 0;
    char text[2][16];
    if (!s->n_origins) return;
    for (const struct supply *t = s->all; t; t = t->next) {
        if (!t->tried || t->loaded || !t->failures) continue;
        struct kind *k = kind_of(kinds, &n, t);
        if (k->n++ < NAMED) buf_printf(&k->names, "%s%s", k->n > 1 ? ", " : "", t->id);
    }
    snprintf(text[0], 16, "%u", s->first_loaded);
    snprintf(text[1], 16, "%u", s->first_failed);
    log_line(s->options.log, LOG_INFO, "first round over all sources", "loaded", text[0], "failed", text[1], NULL);
    for (uint32_t i = 0; i < n; i++) tell_kind(s, &kinds[i]);
}

/* ---- metrics ---- */

static void family(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_label(const char *value, struct buf *out) {
    for (const char *c = value; *c; c++) {
        if (*c == '"' || *c == '\\') buf_byte(out, '\\');
        buf_byte(out, (uint8_t)*c);
    }
}

static void sample(struct buf *out, const char *name, const struct origin *o, const char *more, uint64_t value) {
    buf_printf(out, "%s{source=\"", name);
    put_label(o->name, out);
    buf_printf(out, "\"%s} %llu\n", more, (unsigned long long)value);
}

static void put_fetches(const struct sources *s, struct buf *out) {
    family(out, "regent_source_fetches_total", "counter", "Tenants fetched from a source, by how it ended.");
    for (uint32_t i = 0; i < s->n_origins; i++) {
        const struct origin *o = &s->origins[i];
        sample(out, "regent_source_fetches_total", o, ",outcome=\"new\"", o->fetched);
        sample(out, "regent_source_fetches_total", o, ",outcome=\"unchanged\"", o->unchanged);
        sample(out, "regent_source_fetches_total", o, ",outcome=\"failed\"", o->failed);
    }
    family(out, "regent_source_refused_total", "counter", "Versions of a source that were fetched, but not activated.");
    for (uint32_t i = 0; i < s->n_origins; i++)
        sample(out, "regent_source_refused_total", &s->origins[i], "", s->origins[i].refused);
    family(out, "regent_source_bytes_total", "counter", "Bytes of bundles and modules fetched.");
    for (uint32_t i = 0; i < s->n_origins; i++)
        sample(out, "regent_source_bytes_total", &s->origins[i], "", s->origins[i].bytes);
    family(out, "regent_source_redirects_total", "counter", "Redirects met, followed or not.");
    for (uint32_t i = 0; i < s->n_origins; i++)
        sample(out, "regent_source_redirects_total", &s->origins[i], "", s->origins[i].redirects);
}

static void put_states(const struct sources *s, struct buf *out) {
    family(out, "regent_source_lists_total", "counter", "Lists of tenants, or replies of the feed, by how they ended.");
    for (uint32_t i = 0; i < s->n_origins; i++) {
        sample(out, "regent_source_lists_total", &s->origins[i], ",outcome=\"fetched\"", s->origins[i].lists);
        sample(out, "regent_source_lists_total", &s->origins[i], ",outcome=\"failed\"", s->origins[i].lists_failed);
    }
    family(out, "regent_source_tenants", "gauge", "Tenants of a source.");
    for (uint32_t i = 0; i < s->n_origins; i++)
        sample(out, "regent_source_tenants", &s->origins[i], "", s->origins[i].tenants);
    family(out, "regent_source_tenants_failing", "gauge", "Tenants whose last fetch failed or was refused.");
    for (uint32_t i = 0; i < s->n_origins; i++)
        sample(out, "regent_source_tenants_failing", &s->origins[i], "", s->origins[i].failing);
    family(out, "regent_source_long_polls", "gauge", "Requests that servers hold until something is new.");
    for (uint32_t i = 0; i < s->n_origins; i++)
        sample(out, "regent_source_long_polls", &s->origins[i], "", s->origins[i].long_polls);
    family(out, "regent_source_last_success_timestamp_seconds", "gauge", "When a source gave a good reply last.");
    for (uint32_t i = 0; i < s->n_origins; i++)
        sample(out, "regent_source_last_success_timestamp_seconds", &s->origins[i], "", (uint64_t)s->origins[i].good_s);
}

static void put_wants(struct sources *s, struct buf *out) {
    const struct {
        const char *outcome;
        uint64_t n;
    } rows[] = {{"loaded", s->wanted_loaded},
                {"unknown", s->wanted_known_unknown},
                {"late", s->wanted_late},
                {"busy", s->wanted_busy}};
    family(out, "regent_first_use_total", "counter",
           "Requests for tenants that were not loaded: waited until it was (loaded) or in vain (late), known to be "
           "unknown, "
           "refused because too many ask (busy).");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        buf_printf(out, "regent_first_use_total{outcome=\"%s\"} %llu\n", rows[i].outcome,
                   (unsigned long long)rows[i].n);
}

void sources_metrics(struct sources *s, struct buf *out) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    if (s->n_origins) {
        put_fetches(s, out);
        put_states(s, out);
        put_wants(s, out);
    }
    pthread_mutex_unlock(&s->lock);
}

void sources_status(struct sources *s, struct buf *out) {
    pthread_mutex_lock(&s->lock);
    buf_byte(out, '{');
    for (uint32_t i = 0; i < s->n_origins; i++) {
        const struct origin *o = &s->origins[i];
        if (i) buf_byte(out, ',');
        json_print_string(str_of(o->name), out);
        buf_printf(out, ":{\"kind\":\"%s\",\"tenants\":%u,\"failing\":%u,\"last_success\":%lld",
                   (const char *const[]){"http", "opa", "s3", "control"}[o->config->kind], o->tenants, o->failing,
                   (long long)o->good_s);
        if (o->problem[0]) {
            buf_cstr(out, ",\"problem\":");
            json_print_string(str_of(o->problem), out);
        }
        buf_byte(out, '}');
    }
    buf_byte(out, '}');
    pthread_mutex_unlock(&s->lock);
}
