/* The fetching thread: asks for what is due, follows each reply to its end, and plans the next try.
 *
 * in:   tenants with their sources; replies of servers (hostile).
 * out:  whole replies for loaders; failures for the activator.
 * owns: requests under way. A failure of any kind leaves the tenant's version where it is. */
#include "base/clock.h"
#include "edge/source_work.h"
#include "edge/verify.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { TOKEN_FILE_BYTES = 2000, LIST_BYTES = 64 << 20, SMALL_BYTES = 64 << 10, WANTED_MS = 3600000, QUIET_ABOVE = 200 };

/* ---- one request ---- */

static const char *const got_names[N_GOT] = {"etag",
                                             "last-modified",
                                             "content-type",
                                             "x-regent-version",
                                             "x-regent-serial",
                                             "x-amz-meta-version",
                                             "x-amz-meta-serial"};

static size_t most_bytes(const struct origin *o, enum errand_kind kind) {
    switch (kind) {
    case ERRAND_TENANT:
    case ERRAND_DATA: return o->config->max_bytes;
    case ERRAND_LIST:
    case ERRAND_FEED: return LIST_BYTES;
    case ERRAND_SHA:
    case ERRAND_LOOKUP:
    case ERRAND_REPORT: return SMALL_BYTES;
    }
    return SMALL_BYTES;
}

static void errand_done(struct fetch_call *call, enum err err, const char *why);

struct errand *errand_new(struct sources *s, struct origin *o, struct supply *t, enum errand_kind kind) {
    struct errand *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    *e = (struct errand){.all = s, .origin = o, .supply = t, .kind = kind};
    e->requested_ns = (int64_t)clock_of(CLOCK_REALTIME);
    e->quiet = !s->first_done && s->n > QUIET_ABOVE;
    buf_init(&e->call.body, most_bytes(o, kind));
    buf_init(&e->module, o->config->max_bytes);
    buf_init(&e->text, LIST_BYTES);
    for (int i = 0; i < N_GOT; i++) e->got[i].name = got_names[i];
    e->call.reply = (struct fetch_reply){.wanted = e->got, .n_wanted = N_GOT};
    e->call.done = errand_done;
    return e;
}

void errand_free(struct errand *e) {
    buf_deinit(&e->call.body);
    buf_deinit(&e->module);
    buf_deinit(&e->text);
    if (e->arena) {
        arena_deinit(e->arena);
        free(e->arena);
    }
    free(e);
}

/* The token is read again when its file changed. */
static enum err read_token(struct origin *o, char *why, size_t why_bytes) {
    struct stat st;
    struct buf text;
    const char *path = o->config->token_file;
    if (!path) return OK;
    bool there = stat(path, &st) == 0;
    if (there && o->token[0] && st.st_mtim.tv_sec == o->token_time.tv_sec &&
        st.st_mtim.tv_nsec == o->token_time.tv_nsec)
        return OK;
    buf_init(&text, TOKEN_FILE_BYTES);
    enum err e = buf_read_file(&text, path);
    struct str t = buf_view(&text);
    while (t.len && strchr(" \t\r\n", t.ptr[t.len - 1])) t.len--;
    if (!e && (!t.len || memchr(t.ptr, '\n', t.len))) e = ERR_INVALID;
    if (!e) snprintf(o->token, sizeof o->token, "Bearer %.*s", STR_FMT(t));
    if (!e) o->token_time = st.st_mtim;
    if (e) snprintf(why, why_bytes, "token_file %s holds no token, or cannot be read", path);
    if (text.ptr) explicit_bzero(text.ptr, text.len);
    buf_deinit(&text);
    return e;
}

static uint32_t put(struct http_header *headers, uint32_t n, struct str name, const char *value) {
    if (!value[0]) return n;
    headers[n] = (struct http_header){name, str_of(value)};
    return n + 1;
}

static bool is_conditional(const struct errand *e) {
    return e->kind == ERRAND_TENANT && e->supply && !e->version[0] && !e->whole_module &&
           e->origin->config->kind != SOURCE_CONTROL;
}

/* Secrets go to the source's own server only. */
static uint32_t put_headers(struct errand *e, struct http_header *headers, const struct source_keys *keys, char *prefer,
                            size_t prefer_bytes) {
    const struct edge_source *c = e->origin->config;
    const struct supply *t = e->supply;
    uint32_t n = 0;
    bool data = e->kind == ERRAND_DATA && !e->version[0] && e->origin->config->modules && !e->module.len;
    if (is_conditional(e)) n = put(headers, n, STR("if-none-match"), t->tag);
    if (is_conditional(e) && !t->tag[0]) n = put(headers, n, STR("if-modified-since"), t->modified);
    if (data) n = put(headers, n, STR("if-none-match"), t->data_tag);
    if (e->kind == ERRAND_LIST) n = put(headers, n, STR("if-none-match"), e->origin->list_tag);
    if (e->kind == ERRAND_REPORT) n = put(headers, n, STR("content-type"), "application/json");
    if (!e->foreign && c->token_file) n = put(headers, n, STR("authorization"), e->origin->token);
    if (!e->foreign && c->kind == SOURCE_S3) n = put(headers, n, STR("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    if (!e->foreign && c->kind == SOURCE_S3) n = put(headers, n, STR("x-amz-security-token"), keys->session);
    if (c->kind == SOURCE_OPA && e->kind == ERRAND_TENANT) {
        snprintf(prefer, prefer_bytes, "modes=snapshot");
        if (e->long_poll || (c->long_poll_us && !t->tried))
            snprintf(prefer, prefer_bytes, "modes=snapshot;wait=%llu", (unsigned long long)(c->long_poll_us / 1000000));
        n = put(headers, n, STR("prefer"), prefer);
    }
    return n;
}

static enum err send(struct errand *e, char *why, size_t why_bytes) {
    const struct edge_source *c = e->origin->config;
    struct http_header headers[8];
    struct source_keys keys = {{0}, {0}};
    char prefer[64], region[65];
    uint64_t wait_us = e->long_poll ? c->long_poll_us : 0;
    enum err err = read_token(e->origin, why, why_bytes);
    if (!err && c->kind == SOURCE_S3) err = source_read_keys(c, &keys, why, why_bytes);
    if (err) return err;
    snprintf(region, sizeof region, "%.*s", STR_FMT(c->region));
    struct fetch_request q = {.url = e->url,
                              .headers = headers,
                              .n_headers = put_headers(e, headers, &keys, prefer, sizeof prefer),
                              .body = buf_view(&e->text),
                              .timeout_ms = (uint32_t)((c->timeout_us + wait_us) / 1000),
                              .connect_timeout_ms = (uint32_t)(c->timeout_us / 1000),
                              .allow_plain = c->allow_plain,
                              .ca_file = c->ca_file,
                              .certificate = e->foreign ? NULL : c->certificate,
                              .key = e->foreign ? NULL : c->key,
                              .aws_region = c->kind == SOURCE_S3 && !e->foreign ? region : NULL,
                              .aws_keys = keys.pair};
    if (!e->text.len) q.body = (struct str){NULL, 0};
    buf_clear(&e->call.body);
    err = fetch_set_start(e->all->fetches, &q, &e->call, why, why_bytes);
    explicit_bzero(&keys, sizeof keys);
    return err;
}

void errand_send(struct errand *e) {
    char why[WHY_BYTES] = "";
    struct sources *s = e->all;
    ++*(e->long_poll ? &s->long_polling : &s->fetching);
    if (e->long_poll) atomic_fetch_add(&e->origin->long_polls, 1);
    if (e->long_poll && e->supply) e->supply->polling = e;
    enum err err = send(e, why, sizeof why);
    if (err) errand_done(&e->call, err, why[0] ? why : err_meaning(err));
}

/* ---- how a try ends ---- */

static void end_order(struct sources *s, struct order *o, const struct activation *result) {
    pthread_mutex_lock(&s->lock);
    *o->out = *result;
    o->done = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void supply_end(struct sources *s, struct supply *t, const struct activation *result) {
    for (struct order *o = t->orders, *next; o; o = next) {
        next = o->next;
        end_order(s, o, result);
    }
    t->orders = NULL;
}

static bool is_unknown(const struct origin *o, int status) {
    return status == 404 || status == 410 || (status == 403 && o->config->kind == SOURCE_S3);
}

/* Nobody listed it and this source does not have it: the next that loads on first use may. true: it goes on, or is
 * forgotten. */
static bool trial_failed(struct sources *s, struct supply *t, int status) {
    struct activation unknown = {.kind = ACTIVATION_REFUSED, .err = ERR_NOT_FOUND};
    struct origin *end = s->origins + s->n_origins, *o = t->origin + 1;
    bool known_unknown = is_unknown(t->origin, status);
    while (known_unknown && o < end && !(o->config->on_demand && origin_may_have(o, str_of(t->id)))) o++;
    if (known_unknown && o < end) {
        atomic_fetch_sub(&t->origin->tenants, 1);
        atomic_fetch_add(&o->tenants, 1);
        t->origin = o;
        t->busy = false;
        supply_due(s, t, s->now_ms);
        return true;
    }
    if (!known_unknown) {
        unknown.err = t->err;
        snprintf(unknown.why, sizeof unknown.why, "%s", t->why);
    } else {
        snprintf(unknown.why, sizeof unknown.why, "no source has the tenant");
    }
    supply_end(s, t, &unknown);
    pthread_mutex_lock(&s->lock);
    int64_t pause_ms = known_unknown ? (int64_t)(t->origin->config->negative_us / 1000) : 1000;
    negative_put(s->negative, str_of(t->id), s->now_ms, s->now_ms + pause_ms);
    pthread_mutex_unlock(&s->lock);
    wants_done(s, str_of(t->id), false);
    supply_forget(s, t);
    return true;
}

static void plan(struct sources *s, struct supply *t) {
    const struct edge_source *c = t->origin->config;
    if (t->gone) { /* a loader may have brought it back */
        supply_gone(s, t);
        supply_forget(s, t);
        return;
    }
    int64_t at = s->now_ms + (int64_t)source_pause_ms(c->poll_us, source_random(s));
    if (t->failures)
        at = s->now_ms + (int64_t)source_backoff_ms(t->failures, c->poll_us, source_random(s));
    else if (c->kind == SOURCE_CONTROL)
        at = SOURCE_NEVER;
    else if (t->pushed && c->long_poll_us && s->long_polling < SOURCE_LONG_POLLS)
        at = s->now_ms + 10;
    if (t->wanted[0] && !t->failures && s->now_ms < t->wanted_until_ms && at > s->now_ms + 1000) at = s->now_ms + 1000;
    if (t->again) at = s->now_ms;
    t->again = false;
    t->busy = false;
    t->tried = true;
    supply_due(s, t, at);
}

static void note_good(struct supply *t) {
    if (t->failures) atomic_fetch_sub(&t->origin->failing, 1);
    t->failures = 0;
    t->err = OK;
    t->why[0] = 0;
    atomic_store(&t->origin->good_s, (int64_t)(clock_of(CLOCK_REALTIME) / 1000000000));
}

static void note_bad(struct supply *t, enum err e, int status, const char *why) {
    if (!t->failures++) atomic_fetch_add(&t->origin->failing, 1);
    t->err = e;
    t->status = status;
    snprintf(t->why, sizeof t->why, "%s", why);
}

void supply_failed(struct sources *s, struct supply *t, enum err e, int status, const char *why) {
    struct activation failed = {.kind = ACTIVATION_REFUSED, .err = e};
    atomic_fetch_add(&t->origin->failed, 1);
    note_bad(t, e, status, why);
    if (t->trial && trial_failed(s, t, status)) return;
    activator_failed(s->options.activator, str_of(t->id), t->origin->name, e, status, why);
    snprintf(failed.why, sizeof failed.why, "%s", why);
    supply_end(s, t, &failed);
    plan(s, t);
}

static void want_later(struct sources *s, struct supply *t, const struct order *o) {
    snprintf(t->wanted, sizeof t->wanted, "%s", o->version);
    t->wanted_until_ms = s->now_ms + WANTED_MS;
    t->wanted_older = o->allow_older;
}

/* Tells those who waited for this try. Another version than they asked for is not there yet; those who came meanwhile
 * wait for the next try. */
static void settle_orders(struct sources *s, struct supply *t, const struct activation *r) {
    struct order **at = &t->orders;
    for (struct order *o; (o = *at);) {
        bool other = !r->err && o->version[0] && strcmp(o->version, r->version) != 0;
        struct activation answer = *r;
        if (!o->begun) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        if (other) {
            answer.kind = ACTIVATION_REFUSED;
            answer.err = ERR_UNDEFINED;
            snprintf(answer.why, sizeof answer.why, "version %.64s is not there yet; %.64s is", o->version,
                     r->version[0] ? r->version : "none");
            want_later(s, t, o);
        }
        end_order(s, o, &answer);
    }
    if (t->orders) t->again = true;
}

static void unchanged(struct sources *s, struct supply *t) {
    struct activation same = {.kind = ACTIVATION_UNCHANGED};
    snprintf(same.active, sizeof same.active, "%s", t->active);
    snprintf(same.version, sizeof same.version, "%s", t->active);
    atomic_fetch_add(&t->origin->unchanged, 1);
    note_good(t);
    activator_checked(s->options.activator, str_of(t->id), t->origin->name);
    settle_orders(s, t, &same);
    plan(s, t);
}

void supply_loaded(struct errand *e) {
    struct sources *s = e->all;
    struct supply *t = e->supply;
    const struct activation *r = &e->result;
    bool went_well = r->kind != ACTIVATION_REFUSED;
    snprintf(t->active, sizeof t->active, "%s", r->active);
    if (!went_well) {
        atomic_fetch_add(&t->origin->refused, 1);
        note_bad(t, r->err, 200, r->why[0] ? r->why : err_meaning(r->err));
    } else {
        note_good(t);
        t->loaded = true;
        s->trials -= t->trial;
        t->trial = false;
        if (t->wanted[0] && strcmp(t->wanted, r->version) == 0) t->wanted[0] = 0;
    }
    if (!e->version[0] && !went_well) { /* as OPA does: what was refused is fetched and tried again */
        t->tag[0] = t->modified[0] = t->data_tag[0] = 0;
    } else if (!e->version[0]) {
        snprintf(t->tag, sizeof t->tag, "%s", e->tag);
        snprintf(t->modified, sizeof t->modified, "%s", e->modified);
        snprintf(t->data_tag, sizeof t->data_tag, "%s", e->kind == ERRAND_DATA ? e->got[GOT_ETAG].value : "");
    }
    settle_orders(s, t, r);
    if (t->trial) {
        trial_failed(s, t, 200);
    } else {
        wants_done(s, str_of(t->id), true);
        plan(s, t);
    }
    errand_free(e);
}

/* ---- replies ---- */

static void fail(struct errand *e, enum err err, int status, const char *format, const char *detail) {
    char why[WHY_BYTES];
    snprintf(why, sizeof why, format, detail);
    supply_failed(e->all, e->supply, err, status, why);
    errand_free(e);
}

static void fail_status(struct errand *e, int status) {
    char why[WHY_BYTES];
    snprintf(why, sizeof why, "status %d from %.300s", status, e->url);
    supply_failed(e->all, e->supply, ERR_IO, status, why);
    errand_free(e);
}

static bool file_url(struct errand *e, const char *file) {
    e->foreign = false;
    e->hops = 0;
    return source_url(e->origin->config, str_of(e->supply->id), str_of(e->version), file, e->url);
}

static void next_file(struct errand *e, enum errand_kind kind, const char *file) {
    e->kind = kind;
    e->call.body.max = most_bytes(e->origin, kind);
    if (file_url(e, file))
        errand_send(e);
    else
        fail(e, ERR_LIMIT, 0, "its URL is too long%s", "");
}

static const char *first_of(const char *a, const char *b) { return a[0] ? a : b; }

/* What the reply says of the version. */
static void note_version(struct errand *e) {
    const char *version = first_of(e->got[GOT_VERSION].value, e->got[GOT_S3_VERSION].value);
    const char *serial = first_of(e->got[GOT_SERIAL].value, e->got[GOT_S3_SERIAL].value);
    if (e->version[0]) version = e->version;
    if (!e->named[0] && source_version_valid(str_of(version))) snprintf(e->named, sizeof e->named, "%.128s", version);
    if (!e->serial) e->serial = strtoull(serial, NULL, 10);
    snprintf(e->tag, sizeof e->tag, "%.255s",
             strlen(e->got[GOT_ETAG].value) < SOURCE_TAG_BYTES ? e->got[GOT_ETAG].value : "");
    snprintf(e->modified, sizeof e->modified, "%.63s", e->got[GOT_MODIFIED].value);
}

static void take_tenant(struct errand *e) {
    struct sources *s = e->all;
    const struct edge_source *c = e->origin->config;
    char why[WHY_BYTES] = "";
    atomic_fetch_add(&e->origin->fetched, 1);
    atomic_fetch_add(&e->origin->bytes, e->call.body.len);
    note_version(e);
    if (c->kind == SOURCE_OPA)
        e->supply->pushed = str_is(str_of(e->got[GOT_TYPE].value), "application/vnd.openpolicyagent.bundles");
    if (!e->call.body.len) {
        struct supply *t = e->supply;
        t->tag[0] = t->modified[0] = 0;
        if (c->kind == SOURCE_OPA && t->loaded)
            unchanged(s, t);
        else
            supply_failed(s, t, ERR_IO, 200, "the reply is empty: the source has nothing for this tenant yet");
        errand_free(e);
    } else if (e->sha256[0] && verify_sha256(buf_view(&e->call.body), str_of(e->sha256), why, sizeof why)) {
        fail(e, ERR_INVALID, 200, "not what the control plane announced: %s", why);
    } else if (c->kind == SOURCE_HTTP && c->modules) {
        struct buf spare = e->module;
        e->module = e->call.body;
        e->call.body = spare;
        next_file(e, ERRAND_SHA, "policy.wasm.sha256");
    } else {
        loaders_take(e);
    }
}

static void take_sha(struct errand *e) {
    char why[WHY_BYTES] = "";
    if (verify_sha256(buf_view(&e->module), buf_view(&e->call.body), why, sizeof why))
        fail(e, ERR_INVALID, 200, "policy.wasm: %s", why);
    else
        next_file(e, ERRAND_DATA, "data.json");
}

/* policy.wasm is as it was: is data.json? */
static void take_data(struct errand *e, int status) {
    if (e->module.len || status == 200) {
        bool module = e->module.len > 0;
        if (status == 404) buf_clear(&e->call.body);
        if (module) {
            loaders_take(e);
        } else { /* new data for a module that we do not have at hand */
            e->whole_module = true;
            next_file(e, ERRAND_TENANT, "policy.wasm");
        }
        return;
    }
    if (status == 404 && e->supply->data_tag[0]) {
        e->whole_module = true;
        next_file(e, ERRAND_TENANT, "policy.wasm");
        return;
    }
    unchanged(e->all, e->supply);
    errand_free(e);
}

static void take_lookup(struct errand *e) {
    struct arena a;
    struct source_change c;
    char why[WHY_BYTES] = "";
    arena_init(&a, 1 << 20);
    enum err err = source_read_change(&a, buf_view(&e->call.body), &c, why, sizeof why);
    if (!err && (c.deleted || !str_is(c.tenant, e->supply->id))) {
        err = ERR_INVALID;
        snprintf(why, sizeof why, "it answers for another tenant");
    }
    if (!err && !source_resolve(e->origin->config, c.url, e->url)) {
        err = ERR_INVALID;
        snprintf(why, sizeof why, "the change's url is none");
    }
    if (!err) {
        snprintf(e->named, sizeof e->named, "%.*s", STR_FMT(c.version));
        snprintf(e->sha256, sizeof e->sha256, "%.*s", STR_FMT(c.sha256));
        e->serial = c.serial;
        e->kind = ERRAND_TENANT;
        e->call.body.max = most_bytes(e->origin, ERRAND_TENANT);
        e->foreign = !source_same_server(e->url, e->origin->config->url);
    }
    arena_deinit(&a);
    if (err)
        fail(e, err, 200, "control plane: %s", why);
    else
        errand_send(e);
}

static bool host_allowed(const struct origin *o, const char *url) {
    char host[256];
    source_host(url, host, sizeof host);
    return o->config->redirects.n && host[0] && name_list_has(&o->config->redirects, str_of(host));
}

/* Follows one redirect, if the configuration allows its host; why: it does not. */
static bool redirected(struct errand *e, char *why, size_t why_bytes) {
    struct origin *o = e->origin;
    const char *to = e->call.reply.redirect;
    int status = e->call.reply.status;
    atomic_fetch_add(&o->redirects, 1);
    if (!host_allowed(o, to)) {
        snprintf(why, why_bytes,
                 "redirected (%d) to %.200s, which `redirects` does not allow: name its host there, or give that URL",
                 status, to[0] ? to : "nowhere");
        return false;
    }
    if (++e->hops > SOURCE_HOPS) {
        snprintf(why, why_bytes, "redirected more than %d times, last to %.200s", SOURCE_HOPS, to);
        return false;
    }
    bool foreign = e->foreign || !source_same_server(to, o->config->url);
    snprintf(e->url, sizeof e->url, "%s", to);
    e->foreign = foreign;
    errand_send(e);
    return true;
}

/* The version that was asked for is not there: perhaps it is the current one. The control plane would know. */
static void version_absent(struct errand *e) {
    struct supply *t = e->supply;
    struct activation none = {.kind = ACTIVATION_UNCHANGED};
    if (e->kind == ERRAND_LOOKUP) {
        snprintf(none.version, sizeof none.version, "%s", t->active);
        snprintf(none.active, sizeof none.active, "%s", t->active);
        settle_orders(e->all, t, &none);
        plan(e->all, t);
        errand_free(e);
        return;
    }
    for (const struct order *o = t->orders; o; o = o->next)
        if (o->begun && o->version[0]) want_later(e->all, t, o);
    e->version[0] = 0;
    next_file(e, ERRAND_TENANT, e->origin->config->modules ? "policy.wasm" : "bundle.tar.gz");
}

/* Is there another way to find out whether the version can be had? */
static bool may_be_elsewhere(const struct errand *e) {
    bool control = e->origin->config->kind == SOURCE_CONTROL;
    return control ? e->kind == ERRAND_LOOKUP && !e->supply->trial : e->kind == ERRAND_TENANT;
}

static void tenant_done(struct errand *e, enum err err, const char *why) {
    struct sources *s = e->all;
    const struct edge_source *c = e->origin->config;
    int status = err ? 0 : e->call.reply.status;
    if (err) {
        if (err == ERR_LIMIT && e->kind != ERRAND_SHA) atomic_fetch_add(&e->origin->bytes, e->call.body.len);
        fail(e, err, 0, err == ERR_LIMIT ? "%s: more than max_size" : "%s", why);
    } else if (status == 304 && (is_conditional(e) || e->kind == ERRAND_DATA)) {
        if (e->kind == ERRAND_TENANT && c->modules) {
            next_file(e, ERRAND_DATA, "data.json");
        } else {
            unchanged(s, e->supply);
            errand_free(e);
        }
    } else if (is_unknown(e->origin, status) && e->version[0] && may_be_elsewhere(e)) {
        version_absent(e);
    } else if (e->kind == ERRAND_DATA && (status == 200 || status == 404)) {
        take_data(e, status);
    } else if (status != 200) {
        fail_status(e, status);
    } else if (e->kind == ERRAND_TENANT) {
        take_tenant(e);
    } else if (e->kind == ERRAND_SHA) {
        take_sha(e);
    } else {
        take_lookup(e);
    }
}

static void errand_done(struct fetch_call *call, enum err err, const char *why) {
    struct errand *e = (struct errand *)call;
    char wrong[WHY_BYTES];
    struct sources *s = e->all;
    s->now_ms = clock_ms();
    --*(e->long_poll ? &s->long_polling : &s->fetching);
    if (e->long_poll) atomic_fetch_sub(&e->origin->long_polls, 1);
    if (e->supply) e->supply->polling = NULL;
    int status = e->call.reply.status;
    if (!err && status >= 300 && status < 400 && status != 304) {
        if (redirected(e, wrong, sizeof wrong)) return;
        err = ERR_INVALID;
        why = wrong;
    }
    e->long_poll = false;
    switch (e->kind) {
    case ERRAND_TENANT:
    case ERRAND_SHA:
    case ERRAND_DATA:
    case ERRAND_LOOKUP: tenant_done(e, err, why); break;
    case ERRAND_LIST: list_done(e, err, why); break;
    case ERRAND_FEED: feed_done(e, err, why); break;
    case ERRAND_REPORT: report_done(e, err, why); break;
    }
}

/* ---- what is due ---- */

static void begin_orders(struct supply *t, struct errand *e) {
    for (struct order *o = t->orders; o; o = o->next) {
        o->begun = true;
        e->allow_older = e->allow_older || o->allow_older;
        if (o->version[0]) snprintf(e->version, sizeof e->version, "%s", o->version);
    }
}

/* The version named by an order, else one that was not there yet, else the current one. */
static void choose_version(struct sources *s, struct supply *t, struct errand *e) {
    e->allow_older = t->origin->config->allow_older;
    begin_orders(t, e);
    if (t->wanted[0] && s->now_ms >= t->wanted_until_ms) t->wanted[0] = 0;
    if (e->version[0] || !t->wanted[0]) return;
    e->allow_older = e->allow_older || t->wanted_older;
    snprintf(e->version, sizeof e->version, "%s", t->wanted);
}

static void begin(struct sources *s, struct supply *t) {
    struct origin *o = t->origin;
    const struct edge_source *c = o->config;
    struct errand *e = errand_new(s, o, t, ERRAND_TENANT);
    if (!e) {
        supply_failed(s, t, ERR_MEMORY, 0, err_meaning(ERR_MEMORY));
        return;
    }
    choose_version(s, t, e);
    if (c->kind == SOURCE_OPA) e->version[0] = 0; /* its protocol knows the current one only */
    bool url = true;
    if (c->kind == SOURCE_CONTROL && t->sha256[0] && !e->version[0]) {
        url = source_resolve(c, str_of(t->url), e->url);
        snprintf(e->named, sizeof e->named, "%s", t->version);
        snprintf(e->sha256, sizeof e->sha256, "%s", t->sha256);
        e->serial = t->serial;
        e->foreign = !source_same_server(e->url, c->url);
    } else {
        if (c->kind == SOURCE_CONTROL) e->kind = ERRAND_LOOKUP, e->call.body.max = SMALL_BYTES;
        url = file_url(e, c->modules ? "policy.wasm" : "bundle.tar.gz");
        e->long_poll = c->kind == SOURCE_OPA && c->long_poll_us && t->pushed && t->tag[0] && t->loaded &&
                       !t->failures && !t->orders && s->long_polling < SOURCE_LONG_POLLS;
    }
    if (url)
        errand_send(e);
    else
        fail(e, ERR_INVALID, 0, "its URL is none, or too long%s", "");
}

static bool has_room(const struct sources *s) {
    return s->fetching < SOURCE_FETCHES && s->n_to_load + s->loading < SOURCE_TO_LOAD;
}

static void begin_due(struct sources *s) {
    struct supply *t;
    while (has_room(s) && (t = supply_next(s, s->now_ms))) {
        if (source_in_folder(s, str_of(t->id))) { /* which comes first */
            t->tried = true;
            struct activation there = {.kind = ACTIVATION_REFUSED,
                                       .err = ERR_EXISTS,
                                       .why = "tenants.directory holds this tenant's bundle, which comes first"};
            supply_end(s, t, &there);
            supply_due(s, t, s->now_ms + (int64_t)source_pause_ms(t->origin->config->poll_us, source_random(s)));
            continue;
        }
        t->busy = true;
        begin(s, t);
    }
    for (uint32_t i = 0; i < s->n_origins; i++) {
        struct origin *o = &s->origins[i];
        if (!o->listing && o->list_due_ms <= s->now_ms) list_begin(s, o);
        if (!o->reporting && o->report_due_ms <= s->now_ms) report_begin(s, o);
    }
}

/* Who may have a tenant that nobody knows yet: the first that lists by patterns. */
static struct origin *origin_for(struct sources *s, struct str id) {
    for (uint32_t i = 0; i < s->n_origins; i++) {
        struct origin *o = &s->origins[i];
        if ((o->config->discover || o->config->on_demand) && origin_may_have(o, id)) return o;
    }
    return NULL;
}

/* Takes back a request that the server holds: something is to be asked at once. */
static void stop_polling(struct sources *s, struct supply *t) {
    struct errand *e = t->polling;
    if (!e) return;
    fetch_set_cancel(s->fetches, &e->call);
    s->long_polling--;
    atomic_fetch_sub(&e->origin->long_polls, 1);
    t->polling = NULL;
    t->busy = false;
    errand_free(e);
}

static void take_order(struct sources *s, struct order *o) {
    struct activation none = {.kind = ACTIVATION_REFUSED, .err = ERR_NOT_FOUND, .why = "no source has the tenant"};
    struct str id = str_of(o->id);
    struct supply *t = supply_find(s, id);
    struct origin *from = t ? t->origin : origin_for(s, id);
    if (from && !t && supply_add(s, id, from, &t))
        none.err = ERR_MEMORY;
    else if (from && !t->tried && !t->exact && !t->loaded && !t->trial && !t->busy && t->heap_at == UINT32_MAX)
        t->trial = true, s->trials++;
    if (!t) {
        end_order(s, o, &none);
        return;
    }
    o->next = t->orders;
    t->orders = o;
    stop_polling(s, t);
    if (t->busy)
        t->again = true;
    else
        supply_due(s, t, s->now_ms);
}

/* ---- a turn ---- */

static uint32_t time_left(struct sources *s) {
    int64_t first = s->now_ms + 1000, due[2] = {supply_first_due(s), wants_first_late(s)};
    if (has_room(s) && due[0] < first) first = due[0];
    if (due[1] < first) first = due[1];
    for (uint32_t i = 0; i < s->n_origins; i++) {
        struct origin *o = &s->origins[i];
        if (!o->listing && o->list_due_ms < first) first = o->list_due_ms;
        if (!o->reporting && o->report_due_ms < first) first = o->report_due_ms;
    }
    return first > s->now_ms ? (uint32_t)(first - s->now_ms) : 0;
}

static void first_round(struct sources *s) {
    uint32_t loaded = 0, failed = 0, n = 0;
    bool over = true;
    if (s->first_done || (s->now_ms - s->first_told_ms < 100 && s->heap_n && s->heap[0]->due_ms <= s->now_ms)) return;
    for (uint32_t i = 0; i < s->n_origins; i++) over = over && s->origins[i].list_tried;
    for (struct supply *t = s->all; t; t = t->next, n++) {
        loaded += t->loaded;
        failed += t->tried && !t->loaded && t->failures;
        over = over && t->tried;
    }
    s->first_told_ms = s->now_ms;
    pthread_mutex_lock(&s->lock);
    s->first_loaded = loaded;
    s->first_failed = failed;
    s->first_of = n;
    s->first_round_over = over;
    if (over) pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    s->first_done = over;
    if (over) first_round_tell(s);
}

void source_work(struct sources *s) {
    s->now_ms = clock_ms();
    pthread_mutex_lock(&s->lock);
    struct errand *loaded = s->loaded;
    struct order *orders = s->orders;
    s->loaded = NULL;
    s->orders = NULL;
    pthread_mutex_unlock(&s->lock);
    for (struct errand *next; loaded; loaded = next) {
        next = loaded->next;
        supply_loaded(loaded);
    }
    for (struct order *next; orders; orders = next) {
        next = orders->next;
        orders->next = NULL;
        take_order(s, orders);
    }
    wants_take(s);
    wants_late(s);
    begin_due(s);
    first_round(s);
    fetch_set_wait(s->fetches, time_left(s));
}

void source_cancel_all(struct sources *s) {
    struct fetch_call *call;
    while ((call = fetch_set_first(s->fetches))) {
        struct errand *e = (struct errand *)call;
        fetch_set_cancel(s->fetches, call);
        if (e->supply) e->supply->polling = NULL, e->supply->busy = false;
        errand_free(e);
    }
    s->fetching = s->long_polling = 0;
}
