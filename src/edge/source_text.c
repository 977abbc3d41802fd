/* Texts that sources write and read. in: configuration, replies of servers (hostile). out: URLs, lists.
 * owns: nothing. */
#include "edge/source_text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- URLs ---- */

void source_escape(struct str s, struct buf *out) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
        if (plain)
            buf_byte(out, c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static bool printable(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 127) return false;
    return true;
}

bool source_tenant_valid(struct str id) {
    return id.len && id.len < 128 && id.ptr[0] != '.' && printable(id) && !memchr(id.ptr, '/', id.len);
}

bool source_version_valid(struct str v) { return source_tenant_valid(v); }

/* A buf over caller's memory that never grows. */
static struct buf fixed(char *space, size_t bytes) {
    return (struct buf){.ptr = (uint8_t *)space, .cap = bytes - 1, .max = bytes - 1};
}

static bool closed(struct buf *b) {
    if (b->err) return false;
    b->ptr[b->len] = 0;
    return true;
}

static void put_path(struct str path, struct buf *out) {
    for (struct str rest = path; rest.len;) {
        const char *slash = memchr(rest.ptr, '/', rest.len);
        struct str part = slash ? str_head(rest, (size_t)(slash - rest.ptr)) : rest;
        source_escape(part, out);
        if (slash) buf_byte(out, '/');
        rest = str_from(rest, part.len + (slash != NULL));
    }
}

static void put_s3_base(const struct edge_source *s, struct buf *out) {
    const char *host = strstr(s->url, "://") + 3;
    if (s->path_style)
        buf_printf(out, "%s/%.*s", s->url, STR_FMT(s->bucket));
    else
        buf_printf(out, "%.*s%.*s.%s", (int)(host - s->url), s->url, STR_FMT(s->bucket), host);
    buf_byte(out, '/');
}

static void put_file(struct str tenant, struct str version, const char *file, struct buf *out) {
    buf_cstr(out, "tenants/");
    source_escape(tenant, out);
    if (version.len) buf_cstr(out, "/versions/"), source_escape(version, out);
    buf_printf(out, "/%s", file);
}

static void put_opa(const struct edge_source *s, struct str tenant, struct buf *out) {
    static const char mark[] = "{tenant}";
    const char *at = memmem(s->path.ptr, s->path.len, mark, sizeof mark - 1);
    size_t head = at ? (size_t)(at - s->path.ptr) : s->path.len;
    buf_printf(out, "%s/%.*s", s->url, (int)head, s->path.ptr);
    if (at) source_escape(tenant, out);
    buf_str(out, str_from(s->path, head + (at ? sizeof mark - 1 : 0)));
}

bool source_url(const struct edge_source *s, struct str tenant, struct str version, const char *file,
                char out[SOURCE_URL_BYTES]) {
    struct buf b = fixed(out, SOURCE_URL_BYTES);
    switch (s->kind) {
    case SOURCE_HTTP:
        buf_printf(&b, "%s/", s->url);
        put_file(tenant, version, file, &b);
        break;
    case SOURCE_S3:
        put_s3_base(s, &b);
        put_path(s->prefix, &b);
        put_file(tenant, version, file, &b);
        break;
    case SOURCE_OPA: put_opa(s, tenant, &b); break;
    case SOURCE_CONTROL:
        buf_printf(&b, "%s/v1/edges/tenants/", s->url);
        source_escape(tenant, &b);
        if (version.len) buf_cstr(&b, "?version="), source_escape(version, &b);
        break;
    }
    return closed(&b);
}

/* Parameters in the order in which they are signed. */
bool source_list_url(const struct edge_source *s, struct str token, char out[SOURCE_URL_BYTES]) {
    struct buf b = fixed(out, SOURCE_URL_BYTES);
    if (s->kind == SOURCE_HTTP) {
        buf_printf(&b, "%s/tenants/index.json", s->url);
        return closed(&b);
    }
    put_s3_base(s, &b);
    buf_byte(&b, '?');
    if (token.len) buf_cstr(&b, "continuation-token="), source_escape(token, &b), buf_byte(&b, '&');
    buf_cstr(&b, "delimiter=%2F&encoding-type=url&list-type=2&prefix=");
    source_escape(s->prefix, &b);
    buf_cstr(&b, "tenants%2F");
    return closed(&b);
}

bool source_control_url(const struct edge_source *s, const char *path, char out[SOURCE_URL_BYTES]) {
    int n = snprintf(out, SOURCE_URL_BYTES, "%s%s", s->url, path);
    return n > 0 && n < SOURCE_URL_BYTES;
}

/* Length of scheme://host:port. */
static size_t server_length(const char *url) {
    const char *host = strstr(url, "://");
    return host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : 0;
}

bool source_resolve(const struct edge_source *s, struct str url, char out[SOURCE_URL_BYTES]) {
    bool absolute = str_starts(url, STR("https://")) || str_starts(url, STR("http://"));
    if (!printable(url) || !url.len || (!absolute && (url.ptr[0] != '/' || str_starts(url, STR("//"))))) return false;
    size_t server = absolute ? 0 : server_length(s->url);
    int n = snprintf(out, SOURCE_URL_BYTES, "%.*s%.*s", (int)server, s->url, STR_FMT(url));
    return n > 0 && n < SOURCE_URL_BYTES;
}

void source_host(const char *url, char *out, size_t out_bytes) {
    const char *host = strstr(url, "://");
    size_t n = 0;
    out[0] = 0;
    if (!host) return;
    host += 3;
    size_t all = strcspn(host, "/?#");
    const char *at = memchr(host, '@', all);
    if (at) all -= (size_t)(at + 1 - host), host = at + 1;
    n = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    if (n > all) n = all;
    if (n >= out_bytes) return;
    for (size_t i = 0; i < n; i++) out[i] = char_lower(host[i]);
    out[n] = 0;
}

bool source_same_server(const char *a, const char *b) {
    return str_eq_fold(str_head(str_of(a), server_length(a)), str_head(str_of(b), server_length(b)));
}

/* ---- lists ---- */

static void add_id(struct arena *a, struct str id, struct source_ids *out) {
    if (source_tenant_valid(id))
        ARENA_PUSH(a, out, id);
    else
        out->refused++;
}

static enum err read_json(struct arena *a, struct str text, struct json **v, char *why, size_t why_bytes) {
    struct json_error wrong = {0};
    enum err e = json_parse(a, text, v, &wrong);
    if (e)
        snprintf(why, why_bytes, "no JSON: %s at %u:%u", wrong.message ? wrong.message : err_meaning(e), wrong.row,
                 wrong.col);
    return e;
}

enum err source_read_index(struct arena *a, struct str text, struct source_ids *out, char *why, size_t why_bytes) {
    struct json *v;
    enum err e = read_json(a, text, &v, why, why_bytes);
    if (e) return e;
    const struct json *list = v->kind == JSON_OBJECT ? json_get_c(v, "tenants") : v;
    if (!list || list->kind != JSON_ARRAY) {
        snprintf(why, why_bytes, "index.json is no array of tenants' ids");
        return ERR_SYNTAX;
    }
    for (uint32_t i = 0; i < list->n; i++) {
        const struct json *item = list->items[i];
        add_id(a, item->kind == JSON_STRING ? item->text : STR(""), out);
    }
    return OK;
}

/* The text of the next <name>…</name> behind *at, which moves behind it. */
static bool element(struct str xml, size_t *at, const char *name, struct str *out) {
    char open[64], close[64];
    int n = snprintf(open, sizeof open, "<%s>", name), m = snprintf(close, sizeof close, "</%s>", name);
    const char *from = memmem(xml.ptr + *at, xml.len - *at, open, (size_t)n);
    if (!from) return false;
    from += n;
    const char *to = memmem(from, (size_t)(xml.ptr + xml.len - from), close, (size_t)m);
    if (!to) return false;
    *out = (struct str){from, (size_t)(to - from)};
    *at = (size_t)(to + m - xml.ptr);
    return true;
}

/* %XX (encoding-type=url) and the entities of XML. */
static struct str decoded(struct arena *a, struct str s, bool percent) {
    static const struct {
        const char *text;
        char c;
    } entities[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < s.len;) {
        size_t used = 1;
        char c = s.ptr[i];
        if (c == '%' && percent && i + 2 < s.len && char_hex(s.ptr[i + 1]) >= 0 && char_hex(s.ptr[i + 2]) >= 0) {
            c = (char)(char_hex(s.ptr[i + 1]) * 16 + char_hex(s.ptr[i + 2]));
            used = 3;
        }
        for (size_t k = 0; c == '&' && k < sizeof entities / sizeof *entities; k++)
            if (str_starts(str_from(s, i), str_of(entities[k].text))) {
                c = entities[k].c;
                used = strlen(entities[k].text);
            }
        out[n++] = c;
        i += used;
    }
    return out ? (struct str){out, n} : STR("");
}

enum err source_read_s3_list(struct arena *a, struct str xml, struct str prefix, struct source_ids *out, char *why,
                             size_t why_bytes) {
    struct str result, group, text;
    size_t at = 0, in_group, start;
    struct buf lead;
    if (!memmem(xml.ptr, xml.len, "<ListBucketResult", 17)) {
        snprintf(why, why_bytes, "the reply is no list of a bucket");
        return ERR_SYNTAX;
    }
    result = xml;
    buf_init(&lead, 1024);
    buf_str(&lead, prefix);
    buf_cstr(&lead, "tenants/");
    while (element(result, &at, "CommonPrefixes", &group)) {
        in_group = 0;
        if (!element(group, &in_group, "Prefix", &text)) continue;
        struct str key = decoded(a, text, true);
        if (!str_starts(key, buf_view(&lead)) || !str_ends(key, STR("/"))) continue;
        key = str_from(key, lead.len);
        add_id(a, str_head(key, key.len - 1), out);
    }
    buf_deinit(&lead);
    start = 0;
    bool truncated = element(result, &start, "IsTruncated", &text) && str_is(text, "true");
    start = 0;
    if (truncated && element(result, &start, "NextContinuationToken", &text)) out->more = decoded(a, text, false);
    if (truncated && !out->more.len) {
        snprintf(why, why_bytes, "the list goes on, but does not say where");
        return ERR_SYNTAX;
    }
    return OK;
}

/* ---- the control plane ---- */

static struct str text_of(const struct json *v, const char *key) {
    const struct json *m = json_get_c(v, key);
    return m && m->kind == JSON_STRING ? m->text : STR("");
}

static bool is_true(const struct json *v, const char *key) {
    const struct json *m = json_get_c(v, key);
    return m && m->kind == JSON_BOOL && m->boolean;
}

static const char *change_of(const struct json *v, struct source_change *out) {
    int64_t serial = 0;
    const struct json *number = json_get_c(v, "serial");
    *out = (struct source_change){.tenant = text_of(v, "tenant"),
                                  .version = text_of(v, "version"),
                                  .sha256 = text_of(v, "sha256"),
                                  .url = text_of(v, "url"),
                                  .deleted = is_true(v, "deleted")};
    if (!source_tenant_valid(out->tenant)) return "a change has no tenant's id";
    if (out->deleted) return NULL;
    if (number && (!json_int64(number, &serial) || serial < 0)) return "a serial is no number";
    out->serial = (uint64_t)serial;
    if (out->version.len && !source_version_valid(out->version)) return "a version has a name that cannot be";
    if (out->sha256.len != 64) return "a change has no sha256";
    if (!out->url.len) return "a change has no url";
    return NULL;
}

enum err source_read_change(struct arena *a, struct str text, struct source_change *out, char *why, size_t why_bytes) {
    struct json *v;
    enum err e = read_json(a, text, &v, why, why_bytes);
    if (e) return e;
    const char *wrong = change_of(v, out);
    if (!wrong) return OK;
    snprintf(why, why_bytes, "%s", wrong);
    return ERR_SYNTAX;
}

enum err source_read_feed(struct arena *a, struct str text, struct source_feed *out, char *why, size_t why_bytes) {
    struct json *v;
    enum err e = read_json(a, text, &v, why, why_bytes);
    if (e) return e;
    const struct json *list = json_get_c(v, "changes");
    out->cursor = text_of(v, "cursor");
    out->whole = is_true(v, "snapshot");
    out->more = is_true(v, "more");
    const char *wrong = !out->cursor.len || out->cursor.len > 255 ? "the feed has no cursor"
                        : !list || list->kind != JSON_ARRAY       ? "the feed has no changes"
                                                                  : NULL;
    for (uint32_t i = 0; !wrong && i < list->n; i++) {
        struct source_change change;
        wrong = change_of(list->items[i], &change);
        if (!wrong) ARENA_PUSH(a, out, change);
    }
    if (!wrong) return OK;
    snprintf(why, why_bytes, "%s", wrong);
    return ERR_SYNTAX;
}

/* ---- waiting ---- */

uint64_t source_backoff_ms(uint32_t failures, uint64_t poll_us, uint64_t random) {
    enum { FIRST_MS = 1000, LAST_MS = 60000, DOUBLINGS = 16 };
    uint64_t poll_ms = poll_us / 1000, ms = poll_ms < FIRST_MS ? poll_ms : FIRST_MS;
    uint64_t most = poll_ms > LAST_MS ? poll_ms : LAST_MS;
    uint32_t doublings = failures > DOUBLINGS ? DOUBLINGS : failures ? failures - 1 : 0;
    ms <<= doublings;
    if (ms > most) ms = most;
    return ms / 2 + random % (ms / 2 + 1);
}

uint64_t source_pause_ms(uint64_t poll_us, uint64_t random) {
    uint64_t ms = poll_us / 1000;
    return ms - ms / 10 + random % (ms / 5 + 1);
}
