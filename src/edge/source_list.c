/* Which tenants a source has: its list, or the control plane's feed of changes.
 *
 * in:   index.json, ListObjectsV2, the feed (hostile).
 * out:  tenants that come, change and go.
 * owns: nothing. A list that cannot be read, or not to its end, removes no tenant. */
#include "base/clock.h"
#include "edge/source_work.h"
#include <stdio.h>
#include <stdlib.h>

enum { LIST_ARENA_BYTES = 512 << 20, MAX_TENANTS = 1000000 };

void origin_problem(struct sources *s, struct origin *o, const char *why) {
    pthread_mutex_lock(&s->lock);
    bool was = o->problem[0] != 0, same = strcmp(o->problem, why) == 0;
    snprintf(o->problem, sizeof o->problem, "%s", why);
    pthread_mutex_unlock(&s->lock);
    if (why[0])
        log_line(s->options.log, same ? LOG_DEBUG : LOG_WARN, "list of tenants not fetched", "source", o->name,
                 "reason", why, "serving", "the tenants before", NULL);
    else if (was)
        log_line(s->options.log, LOG_INFO, "list of tenants fetched again", "source", o->name, NULL);
}

/* ---- asking ---- */

static bool feed_url(struct sources *s, const struct origin *o, struct errand *e) {
    char path[1024];
    struct buf b = {.ptr = (uint8_t *)path, .cap = sizeof path - 1, .max = sizeof path - 1};
    bool waits = o->cursor[0] && o->config->long_poll_us && !o->list_failures;
    buf_cstr(&b, "/v1/edges/feed?node=");
    source_escape(str_of(s->options.node_id), &b);
    if (o->cursor[0]) buf_cstr(&b, "&since="), source_escape(str_of(o->cursor), &b);
    if (waits) buf_printf(&b, "&wait=%llu", (unsigned long long)(o->config->long_poll_us / 1000000));
    if (b.err) return false;
    path[b.len] = 0;
    e->long_poll = waits;
    return source_control_url(o->config, path, e->url);
}

static void list_later(struct sources *s, struct origin *o) {
    const struct edge_source *c = o->config;
    uint64_t ms = o->list_failures ? source_backoff_ms(o->list_failures, c->poll_us, source_random(s))
                                   : source_pause_ms(c->poll_us, source_random(s));
    o->listing = false;
    o->list_tried = true;
    o->list_due_ms = s->now_ms + (int64_t)ms;
}

static void list_failed(struct errand *e, const char *why) {
    struct sources *s = e->all;
    struct origin *o = e->origin;
    atomic_fetch_add(&o->lists_failed, 1);
    o->list_failures++;
    o->list_tag[0] = 0;
    list_later(s, o);
    origin_problem(s, o, why);
    errand_free(e);
}

void list_begin(struct sources *s, struct origin *o) {
    bool control = o->config->kind == SOURCE_CONTROL;
    struct errand *e = errand_new(s, o, NULL, control ? ERRAND_FEED : ERRAND_LIST);
    o->list_due_ms = s->now_ms + 1000;
    if (!e || !(e->arena = calloc(1, sizeof *e->arena))) {
        if (e) errand_free(e);
        return;
    }
    arena_init(e->arena, LIST_ARENA_BYTES);
    o->listing = true;
    bool fits = control ? feed_url(s, o, e) : source_list_url(o->config, STR(""), e->url);
    if (fits)
        errand_send(e);
    else
        list_failed(e, "its URL is too long");
}

/* ---- who is there ---- */

static bool is_listed_before(const struct sources *s, const struct origin *o, const struct supply *t) {
    return t->origin < o && (t->exact || t->origin->config->discover || t->loaded) && t->origin >= s->origins;
}

/* The tenant is o's from now on, unless a source before it has it. */
static struct supply *adopt(struct sources *s, struct origin *o, struct str id) {
    struct supply *t = supply_find(s, id);
    if (!origin_may_have(o, id) || s->n >= MAX_TENANTS) return NULL;
    if (!t) {
        if (supply_add(s, id, o, &t)) return NULL;
        supply_due(s, t, s->now_ms);
    } else if (t->origin != o && (t->exact || is_listed_before(s, o, t))) {
        return NULL;
    } else if (t->origin != o && !t->busy) {
        atomic_fetch_sub(&t->origin->tenants, 1);
        atomic_fetch_add(&o->tenants, 1);
        if (t->failures) atomic_fetch_sub(&t->origin->failing, 1), atomic_fetch_add(&o->failing, 1);
        t->origin = o;
        t->tag[0] = t->data_tag[0] = t->modified[0] = t->sha256[0] = 0;
        supply_due(s, t, s->now_ms);
    }
    if (t->origin != o) return NULL;
    t->gone = false;
    return t;
}

static void leave(struct sources *s, struct supply *t) {
    struct activation gone = {.kind = ACTIVATION_REFUSED, .err = ERR_NOT_FOUND, .why = "the source has it no longer"};
    supply_gone(s, t);
    supply_end(s, t, &gone);
    if (t->busy)
        t->gone = true;
    else
        supply_forget(s, t);
}

/* A list is whole: who is not in it is gone. Tenants that the configuration names stay: they are asked for one by one.
 */
static void leave_unmarked(struct sources *s, struct origin *o) {
    for (struct supply *t = s->all, *next; t; t = next) {
        next = t->next;
        if (t->origin == o && t->mark != o->mark && !t->exact && !t->trial) leave(s, t);
    }
}

struct listed_by {
    struct sources *all;
    struct origin *origin;
};

static bool has(void *ctx, struct str id) {
    struct listed_by *by = ctx;
    struct supply *t = supply_find(by->all, id);
    bool asked_for = !t && by->origin->config->on_demand && origin_may_have(by->origin, id);
    if (asked_for && supply_add(by->all, id, by->origin, &t) == OK) {
        t->loaded = true;
        supply_due(by->all, t, by->all->now_ms);
    }
    return t || source_in_folder(by->all, id); /* or it is another's now, which brings it */
}

void origin_sweep(struct sources *s, struct origin *o) {
    struct listed_by by = {s, o};
    activator_sweep(s->options.activator, o->name, has, &by);
}

static void list_ended(struct sources *s, struct origin *o) {
    atomic_fetch_add(&o->lists, 1);
    atomic_store(&o->good_s, (int64_t)(clock_of(CLOCK_REALTIME) / 1000000000));
    o->list_failures = 0;
    if (!o->listed) origin_sweep(s, o);
    o->listed = true;
    list_later(s, o);
    origin_problem(s, o, "");
}

/* ---- lists ---- */

static enum err read_page(struct errand *e, char *why, size_t why_bytes) {
    struct buf *body = &e->call.body;
    char *kept = arena_strndup(e->arena, (char *)body->ptr, body->len);
    struct str text = {kept, body->len};
    if (!kept) return ERR_MEMORY;
    e->ids.more = (struct str){NULL, 0};
    if (e->origin->config->kind == SOURCE_S3)
        return source_read_s3_list(e->arena, text, e->origin->config->prefix, &e->ids, why, why_bytes);
    return source_read_index(e->arena, text, &e->ids, why, why_bytes);
}

static void take_list(struct errand *e) {
    struct sources *s = e->all;
    struct origin *o = e->origin;
    const char *tag = e->got[GOT_ETAG].value;
    char n[2][16];
    o->mark = ++s->mark;
    for (uint32_t i = 0; i < e->ids.n; i++) {
        struct supply *t = adopt(s, o, e->ids.items[i]);
        if (t) t->mark = o->mark;
    }
    leave_unmarked(s, o);
    snprintf(o->list_tag, sizeof o->list_tag, "%s", strlen(tag) < SOURCE_TAG_BYTES ? tag : "");
    snprintf(n[0], 16, "%u", e->ids.n);
    snprintf(n[1], 16, "%u", e->ids.refused);
    log_line(s->options.log, o->listed ? LOG_DEBUG : LOG_INFO, "list of tenants fetched", "source", o->name, "tenants",
             n[0], "not_ids", n[1], NULL);
    list_ended(s, o);
    errand_free(e);
}

void list_done(struct errand *e, enum err err, const char *why) {
    char wrong[WHY_BYTES] = "";
    int status = e->call.reply.status;
    if (!err && status == 304 && e->origin->list_tag[0]) {
        list_ended(e->all, e->origin);
        errand_free(e);
        return;
    }
    if (!err && status != 200) {
        snprintf(wrong, sizeof wrong, "status %d from %.300s", status, e->url);
        err = ERR_IO;
    } else if (!err) {
        err = read_page(e, wrong, sizeof wrong);
    } else {
        snprintf(wrong, sizeof wrong, "%s", why);
    }
    if (!err && e->ids.more.len) {
        e->hops = 0;
        if (e->ids.n < MAX_TENANTS && source_list_url(e->origin->config, e->ids.more, e->url)) {
            errand_send(e);
            return;
        }
        err = ERR_LIMIT;
        snprintf(wrong, sizeof wrong, "the list does not end");
    }
    if (err)
        list_failed(e, wrong[0] ? wrong : err_meaning(err));
    else
        take_list(e);
}

/* ---- the feed ---- */

static void take_change(struct sources *s, struct origin *o, const struct source_change *c) {
    struct supply *t = c->deleted ? supply_find(s, c->tenant) : adopt(s, o, c->tenant);
    if (!t || t->origin != o) return;
    if (c->deleted) {
        leave(s, t);
        return;
    }
    t->mark = o->mark;
    char *url = strndup(c->url.ptr, c->url.len);
    if (!url) return; /* asked for when it is due */
    bool same = t->loaded && !t->failures && str_is(c->sha256, t->sha256) && str_is(c->version, t->version);
    free(t->url);
    t->url = url;
    t->serial = c->serial;
    snprintf(t->version, sizeof t->version, "%.*s", STR_FMT(c->version));
    snprintf(t->sha256, sizeof t->sha256, "%.*s", STR_FMT(c->sha256));
    if (same) return;
    if (t->busy)
        t->again = true;
    else
        supply_due(s, t, s->now_ms);
}

static void take_feed(struct errand *e, const struct source_feed *feed) {
    struct sources *s = e->all;
    struct origin *o = e->origin;
    if (feed->whole && !o->cursor[0]) o->mark = ++s->mark; /* else it continues */
    for (uint32_t i = 0; i < feed->n; i++) take_change(s, o, &feed->items[i]);
    if (feed->whole && !feed->more) leave_unmarked(s, o);
    snprintf(o->cursor, sizeof o->cursor, "%.*s", STR_FMT(feed->cursor));
    if (feed->more) {
        atomic_fetch_add(&o->lists, 1);
        o->list_failures = 0;
        o->listing = false;
        o->list_due_ms = s->now_ms;
    } else {
        list_ended(s, o);
        if (o->config->long_poll_us) o->list_due_ms = s->now_ms + (e->long_poll || !feed->n ? 50 : 0);
    }
    errand_free(e);
}

void feed_done(struct errand *e, enum err err, const char *why) {
    struct source_feed feed = {0};
    char wrong[WHY_BYTES] = "";
    int status = e->call.reply.status;
    struct origin *o = e->origin;
    if (!err && status == 304) {
        list_ended(e->all, o);
        if (o->config->long_poll_us) o->list_due_ms = e->all->now_ms + 50;
        errand_free(e);
        return;
    }
    if (!err && status == 410 && o->cursor[0]) { /* it no longer knows what happened since: from the start */
        log_line(e->all->options.log, LOG_INFO, "feed begins anew", "source", o->name, NULL);
        o->cursor[0] = 0;
        o->listing = false;
        o->list_due_ms = e->all->now_ms;
        errand_free(e);
        return;
    }
    if (err)
        snprintf(wrong, sizeof wrong, "%s", why);
    else if (status != 200)
        snprintf(wrong, sizeof wrong, "status %d from %.300s", status, e->url);
    else
        err = source_read_feed(e->arena, buf_view(&e->call.body), &feed, wrong, sizeof wrong);
    if (err || status != 200)
        list_failed(e, wrong[0] ? wrong : err_meaning(err));
    else
        take_feed(e, &feed);
}
