/* One request of the fetching thread: what is sent, and what a reply means, up to its end.
 *
 * in:   an errand; replies of servers (hostile).
 * out:  whole replies for loaders; the end of a try.
 * owns: errands under way. */
#include "base/clock.h"
#include "edge/source_work.h"
#include "edge/verify.h"
#include "net/aws.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { TOKEN_FILE_BYTES = 2000, LIST_BYTES = 64 << 20, QUIET_ABOVE = 200 };

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
    case ERRAND_REPORT: return SOURCE_SMALL_BYTES;
    }
    return SOURCE_SMALL_BYTES;
}

static void errand_done(struct fetch_call *call, enum err err, const char *why);

struct errand *errand_new(struct sources *s, struct origin *o, struct supply *t,
                          enum errand_kind kind) {
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
static uint32_t put_headers(struct errand *e, struct http_header *headers,
                            const struct aws_keys *keys, char *prefer, size_t prefer_bytes) {
    const struct edge_source *c = e->origin->config;
    const struct supply *t = e->supply;
    uint32_t n = 0;
    bool data =
        e->kind == ERRAND_DATA && !e->version[0] && e->origin->config->modules && !e->module.len;
    if (is_conditional(e)) n = put(headers, n, STR("if-none-match"), t->tag);
    if (is_conditional(e) && !t->tag[0]) n = put(headers, n, STR("if-modified-since"), t->modified);
    if (data) n = put(headers, n, STR("if-none-match"), t->data_tag);
    if (e->kind == ERRAND_LIST) n = put(headers, n, STR("if-none-match"), e->origin->list_tag);
    if (e->kind == ERRAND_REPORT) n = put(headers, n, STR("content-type"), "application/json");
    if (!e->foreign && c->token_file) n = put(headers, n, STR("authorization"), e->origin->token);
    if (!e->foreign && c->kind == SOURCE_S3)
        n = put(headers, n, STR("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    if (!e->foreign && c->kind == SOURCE_S3)
        n = put(headers, n, STR("x-amz-security-token"), keys->session);
    if (c->kind == SOURCE_OPA && e->kind == ERRAND_TENANT) {
        snprintf(prefer, prefer_bytes, "modes=snapshot");
        if (e->long_poll || (c->long_poll_us && !t->tried))
            snprintf(prefer, prefer_bytes, "modes=snapshot;wait=%llu",
                     (unsigned long long)(c->long_poll_us / 1000000));
        n = put(headers, n, STR("prefer"), prefer);
    }
    return n;
}

static enum err send(struct errand *e, char *why, size_t why_bytes) {
    const struct edge_source *c = e->origin->config;
    struct http_header headers[8];
    struct aws_keys keys = {{0}, {0}};
    char prefer[64], region[65];
    uint64_t wait_us = e->long_poll ? c->long_poll_us : 0;
    enum err err = read_token(e->origin, why, why_bytes);
    if (!err && c->kind == SOURCE_S3) err = aws_keys_read(c->credentials_file, &keys, why, why_bytes);
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

/* ---- replies ---- */

void errand_fail(struct errand *e, enum err err, int status, const char *format,
                 const char *detail) {
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

bool errand_file_url(struct errand *e, const char *file) {
    e->foreign = false;
    e->hops = 0;
    return source_url(e->origin->config, str_of(e->supply->id), str_of(e->version), file, e->url);
}

static void next_file(struct errand *e, enum errand_kind kind, const char *file) {
    e->kind = kind;
    e->call.body.max = most_bytes(e->origin, kind);
    if (errand_file_url(e, file))
        errand_send(e);
    else
        errand_fail(e, ERR_LIMIT, 0, "its URL is too long%s", "");
}

static const char *first_of(const char *a, const char *b) { return a[0] ? a : b; }

/* What the reply says of the version. */
static void note_version(struct errand *e) {
    const char *version = first_of(e->got[GOT_VERSION].value, e->got[GOT_S3_VERSION].value);
    const char *serial = first_of(e->got[GOT_SERIAL].value, e->got[GOT_S3_SERIAL].value);
    if (e->version[0]) version = e->version;
    if (!e->named[0] && source_version_valid(str_of(version)))
        snprintf(e->named, sizeof e->named, "%.128s", version);
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
        e->supply->pushed =
            str_is(str_of(e->got[GOT_TYPE].value), "application/vnd.openpolicyagent.bundles");
    if (!e->call.body.len) {
        struct supply *t = e->supply;
        t->tag[0] = t->modified[0] = 0;
        if (c->kind == SOURCE_OPA && t->loaded)
            supply_unchanged(s, t);
        else
            supply_failed(s, t, ERR_IO, 200,
                          "the reply is empty: the source has nothing for this tenant yet");
        errand_free(e);
    } else if (e->sha256[0] &&
               verify_sha256(buf_view(&e->call.body), str_of(e->sha256), why, sizeof why)) {
        errand_fail(e, ERR_INVALID, 200, "not what the control plane announced: %s", why);
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
        errand_fail(e, ERR_INVALID, 200, "policy.wasm: %s", why);
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
    supply_unchanged(e->all, e->supply);
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
        errand_fail(e, err, 200, "control plane: %s", why);
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
                 "redirected (%d) to %.200s, which `redirects` does not allow: name its host "
                 "there, or give that URL",
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

/* The version that was asked for is not there: perhaps it is the current one. The control plane
 * would know. */
static void version_absent(struct errand *e) {
    struct supply *t = e->supply;
    struct activation none = {.kind = ACTIVATION_UNCHANGED};
    if (e->kind == ERRAND_LOOKUP) {
        snprintf(none.version, sizeof none.version, "%s", t->active);
        snprintf(none.active, sizeof none.active, "%s", t->active);
        orders_settle(e->all, t, &none);
        supply_plan(e->all, t);
        errand_free(e);
        return;
    }
    for (const struct order *o = t->orders; o; o = o->next)
        if (o->begun && o->version[0]) order_later(e->all, t, o);
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
        if (err == ERR_LIMIT && e->kind != ERRAND_SHA)
            atomic_fetch_add(&e->origin->bytes, e->call.body.len);
        errand_fail(e, err, 0, err == ERR_LIMIT ? "%s: more than max_size" : "%s", why);
    } else if (status == 304 && (is_conditional(e) || e->kind == ERRAND_DATA)) {
        if (e->kind == ERRAND_TENANT && c->modules) {
            next_file(e, ERRAND_DATA, "data.json");
        } else {
            supply_unchanged(s, e->supply);
            errand_free(e);
        }
    } else if (source_unknown(e->origin, status) && e->version[0] && may_be_elsewhere(e)) {
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
