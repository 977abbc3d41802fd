/* A blob store in a bucket of S3: many requests at once, signed, tried again when the server is
 * busy.
 *
 * in:   objects; the environment's AWS credentials.
 * out:  PUT, GET, HEAD, DELETE and copies over net/fetch.
 * owns: where the bucket is, and connections between calls.
 *
 * Each object is sent with its SHA-256, which the server checks; it appears whole or not at all. */
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "control/blob_driver.h"
#include "net/aws.h"
#include "net/fetch.h"
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    AT_ONCE = 32,
    KEPT_SETS = 16,
    TRIES = 5,
    FIRST_PAUSE_MS = 200,
    CONNECT_MS = 5000,
    TIMEOUT_MS = 30000,
    TIMEOUT_MOST_MS = 600000,
    REPLY_BYTES = 64 << 10, /* of what is no object */
    URL_PART_BYTES = 1024,
    HEADERS = 12,
    NUMBER_BYTES = 24,
    GRACE_MS = 5000,
    STOP_LOOK_MS = 250
};

struct s3 {
    struct blobs base;
    char bucket[256], prefix[512]; /* prefix: "" or "a/b/" */
    char root[URL_PART_BYTES];     /* URL before the prefix, ending in / */
    char region[64];
    char *ca_file;
    bool allow_plain;
    uint32_t timeout_ms;
    _Atomic bool no_acl;     /* the bucket knows no ACLs: all that is in it is its owner's alone */
    _Atomic int64_t stop_ms; /* when all that waits is given up; 0: go on */
    pthread_mutex_t lock;
    struct fetch_set *sets[KEPT_SETS]; /* idle, with their connections */
    uint32_t n_sets;
};

static struct s3 *of(struct blobs *b) { return (struct s3 *)b; }

/* ---- one request ---- */

struct s3_call {
    struct fetch_call fetch; /* first */
    const char *method;
    char key[BLOB_KEY_BYTES];
    struct str body;             /* of PUT */
    char source[BLOB_KEY_BYTES]; /* key to copy from, or "" */
    const struct blob_note *note;
    const char *type;
    struct buf *out; /* of GET: appended to */
    /* results */
    enum err err;
    char *why; /* BLOB_WHY_BYTES */
    bool over, found;
    struct s3 *store;
    uint32_t tries;
    int64_t next_ms;
    const char *sha256; /* of the body, hex */
    char digest[65];
};

static void escape(const char *s, struct buf *out) {
    for (; *s; s++) {
        char lower = char_lower(*s);
        if ((lower >= 'a' && lower <= 'z') || (*s >= '0' && *s <= '9') || strchr("-._~/", *s))
            buf_byte(out, (uint8_t)*s);
        else
            buf_printf(out, "%%%02X", (unsigned char)*s);
    }
}

static uint32_t put(struct http_header *h, uint32_t n, struct str name, const char *value) {
    if (!value || !*value || n >= HEADERS) return n;
    h[n] = (struct http_header){name, str_of(value)};
    return n + 1;
}

/* A header takes printable ASCII only; ids and versions are nothing else. */
static void plain(struct str s, char *out, size_t bytes) {
    snprintf(out, bytes, "%.*s", STR_FMT(s));
    for (char *c = out; *c; c++)
        if (*c <= ' ' || *c > '~') *c = '_';
}

struct texts {
    char tenant[256], version[256], timestamp[NUMBER_BYTES], serial[NUMBER_BYTES];
    char source[2 * BLOB_KEY_BYTES * 3];
};

static uint32_t put_note(const struct blob_note *note, struct texts *t, struct http_header *h,
                         uint32_t n) {
    plain(note->tenant, t->tenant, sizeof t->tenant);
    plain(note->version, t->version, sizeof t->version);
    if (note->timestamp_ms)
        snprintf(t->timestamp, NUMBER_BYTES, "%lld", (long long)note->timestamp_ms);
    if (note->serial) snprintf(t->serial, NUMBER_BYTES, "%lld", (long long)note->serial);
    n = put(h, n, STR("x-amz-meta-tenant-id"), t->tenant);
    n = put(h, n, STR("x-amz-meta-version"), t->version);
    n = put(h, n, STR("x-amz-meta-timestamp"), t->timestamp);
    return put(h, n, STR("x-amz-meta-serial"), t->serial);
}

static void done(struct fetch_call *f, enum err e, const char *why);

static enum err start(struct s3 *s, struct fetch_set *set, const struct aws_keys *keys,
                      struct s3_call *c, char *why) {
    struct http_header headers[HEADERS];
    struct texts t = {0};
    struct buf url;
    uint32_t n = 0;
    bool puts = strcmp(c->method, "PUT") == 0;
    buf_init(&url, FETCH_URL_BYTES);
    if (c->source[0]) {
        buf_printf(&url, "/%s/", s->bucket);
        escape(s->prefix, &url), escape(c->source, &url);
        snprintf(t.source, sizeof t.source, "%.*s", STR_FMT(buf_view(&url)));
        buf_clear(&url);
    }
    buf_cstr(&url, s->root);
    escape(s->prefix, &url), escape(c->key, &url);
    buf_byte(&url, 0);
    n = put(headers, n, STR("x-amz-content-sha256"), puts ? c->sha256 : "UNSIGNED-PAYLOAD");
    n = put(headers, n, STR("x-amz-security-token"), keys->session);
    n = put(headers, n, STR("x-amz-acl"), puts && !s->no_acl ? "private" : NULL);
    c->store = s;
    n = put(headers, n, STR("content-type"), puts ? c->type : NULL);
    n = put(headers, n, STR("x-amz-copy-source"), t.source);
    n = put(headers, n, STR("x-amz-metadata-directive"), c->source[0] ? "REPLACE" : NULL);
    if (puts && strstr(c->key, "/versions/"))
        n = put(headers, n, STR("cache-control"), "max-age=31536000, immutable");
    if (puts && c->note) n = put_note(c->note, &t, headers, n);
    struct fetch_request q = {.url = (const char *)url.ptr,
                              .method = c->method,
                              .body = puts ? c->body : (struct str){NULL, 0},
                              .headers = headers,
                              .n_headers = n,
                              .connect_timeout_ms =
                                  s->timeout_ms < CONNECT_MS ? s->timeout_ms : CONNECT_MS,
                              .timeout_ms = s->timeout_ms,
                              .allow_plain = s->allow_plain,
                              .ca_file = s->ca_file,
                              .aws_region = s->region,
                              .aws_keys = keys->pair};
    if (puts && !q.body.ptr) q.body = STR("");
    buf_init(&c->fetch.body, c->out ? c->out->max - c->out->len : REPLY_BYTES);
    c->fetch.reply = (struct fetch_reply){0};
    c->fetch.done = done;
    enum err e = url.err ? url.err : fetch_set_start(set, &q, &c->fetch, why, BLOB_WHY_BYTES);
    buf_deinit(&url);
    if (e) buf_deinit(&c->fetch.body);
    return e;
}

/* ---- replies ---- */

/* What stands between <NAME> and </NAME>, or "". */
static struct str element(struct str xml, const char *name) {
    char tag[32];
    int n = snprintf(tag, sizeof tag, "<%s>", name);
    const char *from = memmem(xml.ptr, xml.len, tag, (size_t)n);
    if (!from) return STR("");
    from += n;
    const char *to = memchr(from, '<', xml.len - (size_t)(from - xml.ptr));
    return to ? (struct str){from, (size_t)(to - from)} : STR("");
}

static bool one_of(struct str code, const char *const *list) {
    for (; *list; list++)
        if (str_is(code, *list)) return true;
    return false;
}

static const char *const full_codes[] = {"QuotaExceeded",
                                         "StorageFull",
                                         "XMinioStorageFull",
                                         "EntityTooLarge",
                                         "InsufficientStorage",
                                         "XMinioAdminBucketQuotaExceeded",
                                         NULL};

/* Will it be the same another time? */
static bool passes(int status, struct str code) {
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 507) ||
           str_is(code, "SlowDown") || str_is(code, "RequestTimeout") ||
           str_is(code, "OperationAborted");
}

static void say(struct s3_call *c, int status, struct str code, struct str message) {
    const char *hint = str_is(code, "RequestTimeTooSkewed")
                           ? "; the clocks of this machine and of the server differ"
                           : "";
    if (code.len)
        snprintf(c->why, BLOB_WHY_BYTES, "S3: %s %.200s: status %d, %.*s: %.*s%s", c->method,
                 c->key, status, STR_FMT(str_head(code, 60)), STR_FMT(str_head(message, 120)),
                 hint);
    else
        snprintf(c->why, BLOB_WHY_BYTES, "S3: %s %.200s: status %d", c->method, c->key, status);
    for (char *p = c->why; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127) *p = ' ';
}

static void again(struct s3_call *c) {
    unsigned char random = 0;
    (void)RAND_bytes(&random, 1);
    int64_t pause = (int64_t)FIRST_PAUSE_MS << (c->tries - 1);
    c->over = c->tries >= TRIES || c->store->stop_ms;
    c->next_ms = clock_ms() + pause / 2 + pause * random / 510;
}

static void take_reply(struct s3_call *c) {
    int status = c->fetch.reply.status;
    struct str xml = buf_view(&c->fetch.body);
    bool object = c->out && status == 200;
    /* a copy that failed half-way says so under status 200 */
    bool error = !object && xml.len && memmem(xml.ptr, xml.len, "<Error", 6);
    struct str code = error ? element(xml, "Code") : STR(""),
               message = error ? element(xml, "Message") : STR("");
    c->found = status < 300 && !error;
    c->over = true;
    c->err = OK;
    if (object) buf_str(c->out, xml), c->err = c->out->err;
    if (c->found) return;
    say(c, status, code, message);
    if (str_is(code, "AccessControlListNotSupported")) {
        atomic_store(&c->store->no_acl, true);
        c->err = ERR_IO;
        again(c);
    } else if (status < 300 ? error : passes(status, code)) {
        c->err = ERR_IO;
        again(c);
    } else if (status == 507 || one_of(code, full_codes)) {
        c->err = ERR_LIMIT;
    } else {
        c->err = status == 404 && !str_is(code, "NoSuchBucket") ? ERR_NOT_FOUND : ERR_IO;
    }
}

static void done(struct fetch_call *f, enum err e, const char *why) {
    struct s3_call *c = (struct s3_call *)(void *)f;
    if (!e) {
        take_reply(c);
    } else {
        c->err = e == ERR_DEADLINE ? ERR_IO : e;
        c->over = true;
        snprintf(c->why, BLOB_WHY_BYTES, "S3: %s %.200s: %.200s", c->method, c->key, why);
        if (e == ERR_IO || e == ERR_DEADLINE) again(c);
    }
    buf_deinit(&f->body);
}

/* ---- many at once ---- */

static enum err take_set(struct s3 *s, struct fetch_set **out, char *why) {
    *out = NULL;
    pthread_mutex_lock(&s->lock);
    if (s->n_sets) *out = s->sets[--s->n_sets];
    pthread_mutex_unlock(&s->lock);
    return *out ? OK : fetch_set_new(AT_ONCE, out, why, BLOB_WHY_BYTES);
}

static void keep_set(struct s3 *s, struct fetch_set *set) {
    pthread_mutex_lock(&s->lock);
    bool keep = s->n_sets < KEPT_SETS;
    if (keep) s->sets[s->n_sets++] = set;
    pthread_mutex_unlock(&s->lock);
    if (!keep) fetch_set_free(set);
}

/* Starts what is due. Returns how many are not over; *wait_ms until the next one is due. */
static uint32_t start_due(struct s3 *s, struct fetch_set *set, const struct aws_keys *keys,
                          struct s3_call *calls, uint32_t n, uint32_t *wait_ms) {
    uint32_t open = 0, under_way = 0;
    int64_t now = clock_ms(), next = now + 1000;
    for (uint32_t i = 0; i < n; i++) under_way += calls[i].fetch.transfer != NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct s3_call *c = &calls[i];
        if (c->over) continue;
        open++;
        if (c->fetch.transfer) continue;
        if (c->next_ms > now) {
            if (c->next_ms < next) next = c->next_ms;
        } else if (under_way < AT_ONCE) {
            char why[BLOB_WHY_BYTES] = "";
            c->tries++;
            enum err e = start(s, set, keys, c, why);
            under_way += e == OK;
            if (!e) continue;
            c->over = true, c->err = e, open--;
            snprintf(c->why, BLOB_WHY_BYTES, "S3: %s %.200s: %.200s", c->method, c->key, why);
        }
    }
    *wait_ms = next > now ? (uint32_t)(next - now) : 1;
    return open;
}

static void fail_all(struct s3_call *calls, uint32_t n, enum err e, const char *why) {
    for (uint32_t i = 0; i < n; i++) {
        calls[i].err = e;
        snprintf(calls[i].why, BLOB_WHY_BYTES, "S3: %.300s", why);
    }
}

static void give_up(struct fetch_set *set, struct s3_call *calls, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        struct s3_call *c = &calls[i];
        if (c->over) continue;
        if (c->fetch.transfer) {
            fetch_set_cancel(set, &c->fetch);
            buf_deinit(&c->fetch.body);
        }
        c->over = true;
        c->err = ERR_IO;
        snprintf(c->why, BLOB_WHY_BYTES, "S3: %s %.200s: the control plane ends", c->method,
                 c->key);
    }
}

/* Each call's err and why say how it ended. Credentials are read anew, since they may expire. */
static void run(struct s3 *s, struct s3_call *calls, uint32_t n) {
    char why[BLOB_WHY_BYTES] = "";
    struct aws_keys keys;
    struct fetch_set *set = NULL;
    uint32_t wait_ms = 0;
    enum err e = aws_keys_read(NULL, &keys, why, sizeof why);
    if (e == ERR_NOT_FOUND) e = ERR_IO;
    if (!e) e = take_set(s, &set, why);
    if (e) {
        fail_all(calls, n, e, why);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct s3_call *c = &calls[i];
        if (strcmp(c->method, "PUT") != 0) continue;
        sha256_hex(c->body.ptr ? c->body.ptr : "", c->body.len, c->digest);
        c->sha256 = c->digest;
    }
    while (start_due(s, set, &keys, calls, n, &wait_ms)) {
        fetch_set_wait(set, wait_ms < STOP_LOOK_MS ? wait_ms : STOP_LOOK_MS);
        if (s->stop_ms && clock_ms() >= s->stop_ms) give_up(set, calls, n);
    }
    explicit_bzero(&keys, sizeof keys);
    keep_set(s, set);
}

/* ---- objects ---- */

static void name_key(struct s3_call *c, struct str key) {
    snprintf(c->key, sizeof c->key, "%.*s", STR_FMT(key));
}

static enum err s3_put(struct blobs *b, const struct blob_object *objects, uint32_t n, char *why) {
    struct s3_call *calls = calloc(n, sizeof *calls);
    char(*whys)[BLOB_WHY_BYTES] = calloc(n, sizeof *whys);
    enum err e = calls && whys ? OK : ERR_MEMORY;
    for (uint32_t i = 0; i < n && !e; i++) {
        calls[i] = (struct s3_call){
            .method = "PUT", .body = objects[i].bytes, .note = objects[i].note, .why = whys[i]};
        name_key(&calls[i], objects[i].key);
        calls[i].type = objects[i].note && objects[i].note->content_type
                            ? objects[i].note->content_type
                            : "application/octet-stream";
    }
    if (!e) run(of(b), calls, n);
    for (uint32_t i = 0; i < n && !e; i++)
        if ((e = calls[i].err)) snprintf(why, BLOB_WHY_BYTES, "%s", whys[i]);
    if (e == ERR_NOT_FOUND) e = ERR_IO; /* no such bucket */
    free(calls);
    free(whys);
    return e;
}

static enum err one(struct blobs *b, const char *method, const char *key, struct buf *out,
                    char *why) {
    struct s3_call c = {.method = method, .out = out, .why = why};
    name_key(&c, str_of(key));
    run(of(b), &c, 1);
    return c.err;
}

static enum err s3_get(struct blobs *b, const char *key, struct buf *out, char *why) {
    return one(b, "GET", key, out, why);
}

static enum err s3_has(struct blobs *b, const char *key, bool *out, char *why) {
    enum err e = one(b, "HEAD", key, NULL, why);
    if (e && e != ERR_NOT_FOUND) return e;
    *out = e == OK;
    return OK;
}

static enum err s3_remove(struct blobs *b, const char *key, char *why) {
    enum err e = one(b, "DELETE", key, NULL, why);
    return e == ERR_NOT_FOUND ? OK : e;
}

/* A server that has said yes keeps it. */
static enum err s3_sync(struct blobs *b, char *why) {
    (void)b, (void)why;
    return OK;
}

/* ---- pointers ---- */

/* What a pointer's tenants/ID/current.json says, in `out`. */
static struct str current_json(const struct blob_pointer *p, struct buf *out) {
    buf_cstr(out, "{\"version\":");
    json_print_string(p->version, out);
    buf_printf(out, ",\"serial\":%lld,\"sha256\":", (long long)p->note.serial);
    json_print_string(p->sha256, out);
    buf_cstr(out, "}\n");
    return buf_view(out);
}

/* Step 0 to BLOB_PARTS - 1: a part is copied; the last one: current.json. Taking away: in the other
 * order. */
static void step_call(const struct blob_pointer *p, int step, struct buf *text, struct s3_call *c) {
    int part = p->version.len ? step : BLOB_PARTS - step;
    const char *name = part < BLOB_PARTS ? blob_parts[part] : "current.json";
    snprintf(c->key, sizeof c->key, "tenants/%.*s/%s", STR_FMT(p->tenant), name);
    c->method = p->version.len ? "PUT" : "DELETE";
    if (!p->version.len) return;
    c->note = &p->note;
    c->type = part < BLOB_PARTS ? blob_part_types[part] : "application/json";
    if (part < BLOB_PARTS)
        snprintf(c->source, sizeof c->source, "tenants/%.*s/versions/%.*s/%s", STR_FMT(p->tenant),
                 STR_FMT(p->version), name);
    else
        c->body = current_json(p, text);
}

/* One step of all, at once. */
static void step_all(struct s3 *s, struct blob_pointer *items, uint32_t n, int step,
                     struct s3_call *calls, struct buf *texts) {
    for (uint32_t i = 0; i < n; i++) {
        calls[i] = (struct s3_call){.why = items[i].why, .over = items[i].err != OK, .method = ""};
        if (!items[i].err) step_call(&items[i], step, &texts[i], &calls[i]);
    }
    run(s, calls, n);
    for (uint32_t i = 0; i < n; i++)
        if (!items[i].err) {
            bool gone = calls[i].err == ERR_NOT_FOUND && !items[i].version.len;
            items[i].err = gone ? OK : calls[i].err;
        }
}

static void s3_point(struct blobs *b, struct blob_pointer *items, uint32_t n) {
    struct s3_call *calls = calloc(n, sizeof *calls);
    struct buf *texts = calloc(n, sizeof *texts);
    for (uint32_t i = 0; i < n && texts; i++) buf_init(&texts[i], 2048);
    for (uint32_t i = 0; i < n && !(calls && texts); i++) items[i].err = ERR_MEMORY;
    for (int step = 0; step <= BLOB_PARTS && calls && texts; step++)
        step_all(of(b), items, n, step, calls, texts);
    for (uint32_t i = 0; i < n && texts; i++) buf_deinit(&texts[i]);
    free(texts);
    free(calls);
}

/* ---- where it is ---- */

static void s3_close(struct blobs *b) {
    struct s3 *s = of(b);
    while (s->n_sets) fetch_set_free(s->sets[--s->n_sets]);
    pthread_mutex_destroy(&s->lock);
    free(s->ca_file);
    free(s);
}

static void s3_stop(struct blobs *b) { of(b)->stop_ms = clock_ms() + GRACE_MS; }

static const struct blob_driver s3_driver = {.close = s3_close,
                                             .stop = s3_stop,
                                             .put = s3_put,
                                             .get = s3_get,
                                             .has = s3_has,
                                             .remove = s3_remove,
                                             .sync = s3_sync,
                                             .point = s3_point};

struct place {
    char endpoint[512];
    int path_style; /* -1: not said */
};

/* NULL, or what is wrong. */
static const char *read_option(struct s3 *s, struct place *p, struct str name, const char *value) {
    bool yes = strcmp(value, "true") == 0, no = strcmp(value, "false") == 0;
    char *end = NULL;
    if (str_is(name, "endpoint")) {
        int n = snprintf(p->endpoint, sizeof p->endpoint, "%s", value);
        bool scheme = strncmp(value, "https://", 8) == 0 || strncmp(value, "http://", 7) == 0;
        return n >= (int)sizeof p->endpoint || !scheme || strpbrk(value, "?#@\\\" ")
                   ? "endpoint is no URL of a server"
                   : NULL;
    }
    if (str_is(name, "region")) {
        int n = snprintf(s->region, sizeof s->region, "%s", value);
        for (const char *c = value; *c; c++)
            if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-'))
                return "region is no region's name";
        return n <= 0 || n >= (int)sizeof s->region ? "region is no region's name" : NULL;
    }
    if (str_is(name, "path_style"))
        return p->path_style = yes, yes || no ? NULL : "path_style is true or false";
    if (str_is(name, "allow_plain"))
        return s->allow_plain = yes, yes || no ? NULL : "allow_plain is true or false";
    if (str_is(name, "ca_file")) {
        free(s->ca_file);
        return (s->ca_file = strdup(value)) ? NULL : "no memory";
    }
    if (str_is(name, "timeout_ms")) {
        unsigned long n = strtoul(value, &end, 10);
        s->timeout_ms = (uint32_t)n;
        return *value < '0' || *value > '9' || *end || !n || n > TIMEOUT_MOST_MS
                   ? "timeout_ms is no number up to 600000"
                   : NULL;
    }
    return "it has another parameter than endpoint, region, path_style, allow_plain, ca_file and "
           "timeout_ms";
}

static const char *read_options(struct s3 *s, struct place *p, const char *query) {
    const char *wrong = NULL;
    for (struct str rest = str_of(query); rest.len && !wrong;) {
        const char *end = memchr(rest.ptr, '&', rest.len);
        struct str pair = str_head(rest, end ? (size_t)(end - rest.ptr) : rest.len);
        const char *equals = memchr(pair.ptr, '=', pair.len);
        char value[1024];
        size_t at = equals ? (size_t)(equals - pair.ptr) : pair.len;
        long n = pair.len - at < sizeof value
                     ? http_percent_decode(str_from(pair, at + 1), false, value)
                     : -1;
        rest = str_from(rest, end ? pair.len + 1 : pair.len);
        if (n < 0) return "a parameter is too long, or encoded wrongly";
        value[n] = 0;
        wrong = read_option(s, p, str_head(pair, at), value);
    }
    return wrong;
}

/* The URL before the prefix. Amazon's own names take the bucket into the host, where a dot breaks
 * its certificate. */
static const char *place_bucket(struct s3 *s, struct place *p) {
    bool path = p->path_style >= 0 ? p->path_style : p->endpoint[0] || strchr(s->bucket, '.');
    char amazon[128];
    snprintf(amazon, sizeof amazon, "https://s3.%s.amazonaws.com", s->region);
    const char *endpoint = p->endpoint[0] ? p->endpoint : amazon,
               *host = strstr(endpoint, "://") + 3;
    size_t n = strlen(endpoint);
    while (n && endpoint[n - 1] == '/') n--;
    if (host >= endpoint + n) return "endpoint is no URL of a server";
    int wrote = path ? snprintf(s->root, sizeof s->root, "%.*s/%s/", (int)n, endpoint, s->bucket)
                     : snprintf(s->root, sizeof s->root, "%.*s%s.%.*s/", (int)(host - endpoint),
                                endpoint, s->bucket, (int)(endpoint + n - host), host);
    return wrote < 0 || wrote >= (int)sizeof s->root ? "it is too long" : NULL;
}

static const char *read_url(struct s3 *s, const char *url) {
    const char *bucket = url + 5, *query = strchr(bucket, '?'),
               *end = query ? query : bucket + strlen(bucket);
    const char *slash = memchr(bucket, '/', (size_t)(end - bucket)),
               *bucket_end = slash ? slash : end;
    const char *region = getenv("AWS_REGION"), *other = getenv("AWS_DEFAULT_REGION");
    struct place p = {.path_style = -1};
    struct str name = {bucket, (size_t)(bucket_end - bucket)},
               prefix = slash ? (struct str){slash + 1, (size_t)(end - slash - 1)} : STR("");
    while (prefix.len && prefix.ptr[prefix.len - 1] == '/') prefix.len--;
    if (name.len < 3 || name.len > 63) return "the bucket's name has 3 to 63 letters";
    for (size_t i = 0; i < name.len; i++) {
        char c = char_lower(name.ptr[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr(".-_", c)))
            return "the bucket's name has other characters than letters, digits, . - _";
    }
    if (prefix.len + 2 > sizeof s->prefix || memchr(prefix.ptr, '%', prefix.len) ||
        (prefix.len && *prefix.ptr == '/'))
        return "the prefix is no path";
    snprintf(s->bucket, sizeof s->bucket, "%.*s", STR_FMT(name));
    snprintf(s->prefix, sizeof s->prefix, "%.*s%s", STR_FMT(prefix), prefix.len ? "/" : "");
    snprintf(s->region, sizeof s->region, "%s",
             region && *region ? region
             : other && *other ? other
                               : "us-east-1");
    const char *wrong = query ? read_options(s, &p, query + 1) : NULL;
    return wrong ? wrong : place_bucket(s, &p);
}

/* What would fail for ever is said at once. A server that does not answer may do so later, and a
 * right to see what is not there is not needed. */
static enum err try_once(struct s3 *s, char why[BLOB_WHY_BYTES]) {
    static const char *const never[] = {"NoSuchBucket",
                                        "InvalidAccessKeyId",
                                        "SignatureDoesNotMatch",
                                        "RequestTimeTooSkewed",
                                        "AuthorizationHeaderMalformed",
                                        "PermanentRedirect",
                                        "InvalidBucketName",
                                        "ExpiredToken",
                                        "InvalidToken",
                                        NULL};
    struct buf out;
    buf_init(&out, REPLY_BYTES);
    struct s3_call c = {.method = "GET",
                        .key = "tenants/regent-looks-for-its-bucket",
                        .out = &out,
                        .why = why,
                        .tries = TRIES - 1};
    run(s, &c, 1);
    buf_deinit(&out);
    if (c.err != ERR_IO && c.err != ERR_NOT_FOUND) return c.err;
    for (int i = 0; never[i]; i++)
        if (strstr(why, never[i])) return ERR_INVALID;
    return strstr(why, "no AWS credentials") ? ERR_INVALID : OK;
}

enum err blob_s3_open(const char *url, struct blobs **out, char why[BLOB_WHY_BYTES]) {
    struct s3 *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->base.driver = &s3_driver;
    s->timeout_ms = TIMEOUT_MS;
    pthread_mutex_init(&s->lock, NULL);
    const char *wrong = read_url(s, url);
    enum err e = wrong ? ERR_INVALID : OK;
    if (wrong) snprintf(why, BLOB_WHY_BYTES, "%.300s: %s", url, wrong);
    if (!e) e = try_once(s, why);
    if (!e) return *out = &s->base, OK;
    s3_close(&s->base);
    return e;
}
