/* Requests to CDNs and edges about a tenant's new version.
 *
 * in:   targets as they were configured; tenants.
 * out:  HTTP requests; what their replies mean.
 * owns: nothing. */
#include "control/purge.h"
#include "control/blob_driver.h"
#include "control/control.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    TIMEOUT_MS = 10000,
    RELOAD_TIMEOUT_MS = 30000, /* an edge answers once the version serves */
    CONNECT_MS = 3000,
    WILDCARDS = 15, /* CloudFront takes so many of them at once */
    TEXT_BYTES = 64 << 10
};
#define CLOUDFRONT_XMLNS "http://cloudfront.amazonaws.com/doc/2020-05-31/"

/* ---- targets ---- */

static bool is_url(const char *s) {
    return (strncmp(s, "https://", 8) == 0 && s[8]) || (strncmp(s, "http://", 7) == 0 && s[7]);
}

static bool copy(char *to, size_t bytes, const char *from) {
    size_t n = strlen(from);
    if (n >= bytes) return false;
    memcpy(to, from, n + 1);
    return true;
}

/* Without the slash at its end. */
static bool copy_url(struct purge_target *t, const char *url) {
    if (!is_url(url) || strpbrk(url, " \t\r\n\"<>") || !copy(t->url, sizeof t->url, url))
        return false;
    size_t n = strlen(t->url);
    while (n && t->url[n - 1] == '/') t->url[--n] = 0;
    return true;
}

static const char *read_cloudfront(struct purge_target *t, const char *id) {
    const char *endpoint = getenv("AWS_ENDPOINT_URL_CLOUDFRONT");
    for (const char *c = id; *c; c++)
        if (!((*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9')))
            return "a distribution's id has capital letters and digits";
    if (!*id || strlen(id) > 64) return "cloudfront: wants a distribution's id";
    if (!copy_url(t, endpoint && *endpoint ? endpoint : "https://cloudfront.amazonaws.com"))
        return "AWS_ENDPOINT_URL_CLOUDFRONT is no URL";
    size_t n = strlen(t->url);
    int wrote =
        snprintf(t->url + n, sizeof t->url - n, "/2020-05-31/distribution/%s/invalidation", id);
    return wrote < 0 || n + (size_t)wrote >= sizeof t->url ? "it is too long" : NULL;
}

static const char *read_http(struct purge_target *t, const char *text) {
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (!n || n >= sizeof t->method) return "it is http:METHOD:URL";
    for (size_t i = 0; i < n; i++)
        if (text[i] < 'A' || text[i] > 'Z')
            return "it is http:METHOD:URL, METHOD in capital letters";
    memcpy(t->method, text, n);
    t->method[n] = 0;
    if (!is_url(colon + 1) || strpbrk(colon + 1, " \t\r\n\"<>") ||
        !copy(t->url, sizeof t->url, colon + 1))
        return "its URL begins with http:// or https://";
    if (!strstr(t->url, "{tenant}") && !strstr(t->url, "{path}"))
        t->calls = 0;
    else
        t->calls = strstr(t->url, "{path}") ? PURGE_PATHS : 1;
    t->by_version = t->calls && strstr(t->url, "{version}");
    return !t->calls && strstr(t->url, "{version}") ? "{version} goes with {tenant} or {path}"
                                                    : NULL;
}

static const char *read_target(struct purge_target *t, const char *text, bool edge) {
    static const char no_url[] = "its URL begins with http:// or https://";
    if (edge) {
        t->kind = PURGE_RELOAD;
        t->calls = 1;
        copy(t->method, sizeof t->method, "POST");
        return copy_url(t, text) ? NULL : no_url;
    }
    if (strncmp(text, "cloudfront:", 11) == 0) {
        t->kind = PURGE_CLOUDFRONT;
        copy(t->method, sizeof t->method, "POST");
        return read_cloudfront(t, text + 11);
    }
    t->calls = PURGE_PATHS;
    if (strncmp(text, "varnish:", 8) == 0) {
        t->kind = PURGE_VARNISH;
        copy(t->method, sizeof t->method, "PURGE");
        return copy_url(t, text + 8) ? NULL : no_url;
    }
    if (strncmp(text, "nginx:", 6) == 0) {
        t->kind = PURGE_NGINX;
        copy(t->method, sizeof t->method, "HEAD");
        return copy_url(t, text + 6) ? NULL : no_url;
    }
    t->kind = PURGE_HTTP;
    if (strncmp(text, "http:", 5) == 0 && !is_url(text)) return read_http(t, text + 5);
    return "it is none of cloudfront:ID, varnish:URL, nginx:URL, http:METHOD:URL";
}

/* The path of cdn_url: what comes before /tenants/ there. */
static void read_prefix(struct purge_target *t, const char *cdn_url) {
    const char *host = cdn_url ? strstr(cdn_url, "://") : NULL,
               *path = host ? strchr(host + 3, '/') : NULL;
    if (!path || !copy(t->prefix, sizeof t->prefix, path)) return;
    size_t n = strlen(t->prefix);
    while (n && t->prefix[n - 1] == '/') t->prefix[--n] = 0;
}

/* What is stored and shown of it: a password in its URL is not. */
static bool name_target(struct purge_target *t, const char *text, bool edge) {
    const char *host = strstr(text, "://"),
               *end = host ? host + 3 + strcspn(host + 3, "/?#") : NULL;
    const char *at = host ? memrchr(host, '@', (size_t)(end - host)) : NULL;
    int n = snprintf(t->name, sizeof t->name, "%s%.*s%s%s", edge ? "reload:" : "",
                     at ? (int)(host + 3 - text) : 0, text, at ? "***" : "", at ? at : text);
    return n > 0 && (size_t)n < sizeof t->name;
}

enum err purge_read(const char *text, bool edge, const char *cdn_url, struct purge_target *out,
                    char why[PURGE_WHY_BYTES]) {
    *out = (struct purge_target){0};
    const char *wrong = read_target(out, text, edge);
    if (!name_target(out, text, edge) && !wrong) wrong = "it is too long";
    read_prefix(out, cdn_url);
    if (!wrong) return OK;
    snprintf(why, PURGE_WHY_BYTES, "%s %.200s: %s", edge ? "reload" : "purge",
             edge ? out->name + 7 : out->name, wrong);
    return ERR_INVALID;
}

/* ---- requests ---- */

/* As edges and browsers write a tenant's id into a URL. */
static void put_escaped(struct buf *b, struct str s, bool slashes) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i], lower = char_lower(c);
        if ((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c)) ||
            (slashes && c == '/'))
            buf_byte(b, (uint8_t)c);
        else
            buf_printf(b, "%%%02X", (unsigned char)c);
    }
}

/* "/tenants/ID/bundle.tar.gz" */
static void put_path(struct buf *b, struct str tenant, uint32_t part) {
    buf_cstr(b, "/tenants/");
    put_escaped(b, tenant, false);
    buf_byte(b, '/');
    buf_cstr(b, part < BLOB_PARTS ? blob_parts[part] : "current.json");
}

/* Few tenants by name, many all at once: CloudFront bills paths, and has few wildcards under way.
 */
static void put_invalidation(struct buf *b, const struct purge_target *t,
                             const struct purge_ask *ask) {
    char id[32];
    bool all = ask->n > WILDCARDS;
    control_new_id(id);
    buf_printf(
        b,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<InvalidationBatch xmlns=\"" CLOUDFRONT_XMLNS
        "\"><Paths><Quantity>%u</Quantity><Items>",
        all ? 1 : ask->n);
    for (uint32_t i = 0; i < (all ? 1 : ask->n); i++) {
        buf_cstr(b, "<Path>");
        put_escaped(b, str_of(t->prefix), true);
        buf_cstr(b, "/tenants/");
        if (!all) put_escaped(b, ask->tenants[i], false), buf_byte(b, '/');
        buf_cstr(b, "*</Path>");
    }
    buf_printf(b,
               "</Items></Paths><CallerReference>regent-%s</CallerReference></InvalidationBatch>\n",
               id);
}

/* The URL with its placeholders filled in. {path} is "tenants/ID/bundle.tar.gz". */
static void put_template(struct buf *b, const struct purge_target *t, const struct purge_ask *ask) {
    for (const char *c = t->url; *c;) {
        if (strncmp(c, "{tenant}", 8) == 0) {
            put_escaped(b, ask->tenants[0], false);
            c += 8;
        } else if (strncmp(c, "{version}", 9) == 0) {
            put_escaped(b, ask->version, false);
            c += 9;
        } else if (strncmp(c, "{path}", 6) == 0) {
            struct buf path;
            buf_init(&path, TEXT_BYTES);
            put_path(&path, ask->tenants[0], ask->call);
            buf_str(b, str_from(buf_view(&path), 1));
            buf_deinit(&path);
            c += 6;
        } else {
            buf_byte(b, (uint8_t)*c++);
        }
    }
}

static void put_url(struct buf *b, const struct purge_target *t, const struct purge_ask *ask) {
    switch (t->kind) {
    case PURGE_CLOUDFRONT: buf_cstr(b, t->url); break;
    case PURGE_HTTP: put_template(b, t, ask); break;
    case PURGE_RELOAD:
        buf_cstr(b, t->url);
        buf_cstr(b, "/v1/policies/reload");
        break;
    case PURGE_VARNISH:
    case PURGE_NGINX:
        buf_cstr(b, t->url);
        put_path(b, ask->tenants[0], ask->call);
        break;
    }
}

static void put_body(struct buf *b, const struct purge_target *t, const struct purge_ask *ask) {
    if (t->kind == PURGE_CLOUDFRONT) put_invalidation(b, t, ask);
    if (t->kind != PURGE_RELOAD) return;
    buf_cstr(b, "{\"tenant_id\":");
    json_print_string(ask->tenants[0], b);
    buf_byte(b, '}');
}

static enum err put_headers(struct arena *a, const struct purge_target *t,
                            const struct purge_ask *ask, struct purge_request *out) {
    struct http_header *h = out->headers;
    uint32_t n = 0;
    if (t->kind == PURGE_CLOUDFRONT) {
        h[n++] = (struct http_header){STR("content-type"), STR("text/xml")};
        if (ask->keys->session[0])
            h[n++] = (struct http_header){STR("x-amz-security-token"), str_of(ask->keys->session)};
        out->fetch.aws_region = "us-east-1";
        out->fetch.aws_service = "cloudfront";
        out->fetch.aws_keys = ask->keys->pair;
    } else if (t->kind == PURGE_RELOAD) {
        h[n++] = (struct http_header){STR("content-type"), STR("application/json")};
        size_t len = 0;
        char *bearer =
            ask->token.len ? arena_printf(a, &len, "Bearer %.*s", STR_FMT(ask->token)) : NULL;
        if (ask->token.len && !bearer) return ERR_MEMORY;
        if (bearer) h[n++] = (struct http_header){STR("authorization"), {bearer, len}};
    } else if (t->kind == PURGE_NGINX) {
        h[n++] = (struct http_header){STR("x-regent-purge"), STR("1")};
    }
    out->fetch.headers = h;
    out->fetch.n_headers = n;
    return OK;
}

enum err purge_request(struct arena *a, const struct purge_target *t, const struct purge_ask *ask,
                       struct purge_request *out) {
    struct buf b;
    *out = (struct purge_request){0};
    buf_init(&b, TEXT_BYTES);
    put_url(&b, t, ask);
    char *url = b.err ? NULL : arena_strndup(a, (const char *)b.ptr, b.len);
    buf_clear(&b);
    put_body(&b, t, ask);
    struct str body = {NULL, b.len};
    if (b.len) body.ptr = arena_strndup(a, (const char *)b.ptr, b.len);
    bool whole = url && !b.err && (!b.len || body.ptr);
    buf_deinit(&b);
    if (!whole) return ERR_MEMORY;
    bool edge = t->kind == PURGE_RELOAD;
    out->fetch =
        (struct fetch_request){.url = url,
                               .method = t->method,
                               .body = body,
                               .connect_timeout_ms = CONNECT_MS,
                               .timeout_ms = edge ? RELOAD_TIMEOUT_MS : TIMEOUT_MS,
                               /* a token goes over TLS, a purge to where the operator says */
                               .allow_plain = !edge};
    return put_headers(a, t, ask, out);
}

enum purge_outcome purge_outcome(const struct purge_target *t, int status) {
    if (status >= 200 && status < 300) return PURGE_DONE;
    if (t->kind == PURGE_CLOUDFRONT) return PURGE_AGAIN;
    if (status == 404 || status == 410) return PURGE_DONE; /* it does not have it */
    if (t->kind == PURGE_NGINX && status == 412) return PURGE_DONE;
    if (t->kind == PURGE_RELOAD && (status == 409 || status == 422)) return PURGE_REFUSED;
    return PURGE_AGAIN;
}
