/* The members parsed_path, parsed_query, parsed_body and truncated_body of an input document, as opa-envoy-plugin
 * makes them with Go's library. in: a request's path, headers and body, all hostile. out: JSON text. owns: nothing.
 */
#include "edge/authz.h"
#include "edge/json_text.h"
#include <stdlib.h>

static int by_key(const void *a, const void *b) {
    const struct authz_pair *x = a, *y = b;
    int c = str_cmp(x->key, y->key);
    return c ? c : (x->order > y->order) - (x->order < y->order);
}

void authz_pairs_write(struct authz_pairs *p, struct buf *out) {
    if (p->n > 1) qsort(p->items, p->n, sizeof *p->items, by_key);
    buf_byte(out, '{');
    for (uint32_t i = 0; i < p->n; i++) {
        const struct authz_pair *v = &p->items[i];
        bool again = i && str_eq(v->key, v[-1].key);
        if (i) buf_cstr(out, again ? "," : "],");
        if (!again) {
            json_text_string(out, v->key);
            buf_cstr(out, ":[");
        }
        if (v->raw)
            buf_str(out, v->value);
        else
            json_text_string(out, v->value);
    }
    buf_cstr(out, p->n ? "]}" : "}");
}

/* Decodes %XX, and '+' when `form`, into the arena unless there is nothing to decode. false: a bad escape; *none: no
 * memory. */
static bool decode(struct arena *a, struct str s, bool form, struct str *out, bool *none) {
    *out = s;
    if (!s.len || (!memchr(s.ptr, '%', s.len) && (!form || !memchr(s.ptr, '+', s.len)))) return true;
    char *text = arena_alloc(a, s.len);
    if (!text) return *none = true, false;
    long n = http_percent_decode(s, form, text);
    *out = (struct str){text, n < 0 ? 0 : (size_t)n};
    return n >= 0;
}

/* Cut at '?', decoded, without all leading '/', split; no removal of dot segments, as in the plugin. */
static bool parsed_path(struct arena *a, struct str path, struct buf *out, bool *none) {
    struct str text;
    if (!decode(a, path, false, &text, none)) return false;
    while (text.len && text.ptr[0] == '/') text = str_from(text, 1);
    buf_cstr(out, "\"parsed_path\":[");
    for (;;) {
        const char *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
        json_text_string(out, slash ? str_head(text, (size_t)(slash - text.ptr)) : text);
        if (!slash) break;
        buf_byte(out, ',');
        text = str_from(text, (size_t)(slash - text.ptr) + 1);
    }
    buf_byte(out, ']');
    return true;
}

static uint32_t count(struct str s, char byte) {
    uint32_t n = 0;
    for (const char *p = s.ptr; s.len && (p = memchr(p, byte, (size_t)(s.ptr + s.len - p))); p++) n++;
    return n;
}

/* key=value&…, as url.ParseQuery reads it. false: it would give an error, or *none: no memory. */
static bool form_pairs(struct arena *a, struct str s, struct authz_pairs *out, bool *none) {
    uint32_t most = count(s, '&') + 1;
    if (most > AUTHZ_MAX_PAIRS) return false;
    *out = (struct authz_pairs){.items = s.len ? ARENA_ARRAY(a, struct authz_pair, most) : NULL, .cap = most};
    if (s.len && !out->items) return *none = true, false;
    while (s.len) {
        const char *and = memchr(s.ptr, '&', s.len);
        struct str pair = and? str_head(s, (size_t)(and-s.ptr)) : s;
        s = and? str_from(s, pair.len + 1) : (struct str){"", 0};
        if (pair.len == 0) continue;
        if (memchr(pair.ptr, ';', pair.len)) return false;
        const char *equals = memchr(pair.ptr, '=', pair.len);
        struct str key = equals ? str_head(pair, (size_t)(equals - pair.ptr)) : pair;
        struct str value = equals ? str_from(pair, key.len + 1) : (struct str){"", 0};
        struct authz_pair *p = &out->items[out->n];
        p->order = out->n++;
        if (!decode(a, key, true, &p->key, none) || !decode(a, value, true, &p->value, none)) return false;
    }
    return true;
}

static bool has(struct str text, struct str part) {
    return text.len >= part.len && memmem(text.ptr, text.len, part.ptr, part.len);
}

/* Does content-length promise more than came? As strconv.ParseInt reads it; false in *ok when that gives an error. */
static bool is_cut(struct str length, size_t body_bytes, bool *ok) {
    uint64_t n = 0;
    bool negative = length.len && length.ptr[0] == '-';
    size_t i = negative || (length.len && length.ptr[0] == '+');
    *ok = length.len > i;
    for (; *ok && i < length.len; i++) {
        *ok = length.ptr[i] >= '0' && length.ptr[i] <= '9' && n <= INT64_MAX / 10;
        n = n * 10 + (uint64_t)(length.ptr[i] - '0');
        *ok = *ok && n <= (uint64_t)INT64_MAX + negative;
    }
    return *ok && !negative && n > body_bytes;
}

enum body_kind { BODY_OTHER, BODY_JSON, BODY_FORM, BODY_MULTIPART };

/* The first that the type contains, in this order; gRPC bodies would need descriptors. */
static enum body_kind body_kind(struct str type) {
    if (has(type, STR("application/json"))) return BODY_JSON;
    if (has(type, STR("application/grpc"))) return BODY_OTHER;
    if (has(type, STR("application/x-www-form-urlencoded"))) return BODY_FORM;
    return has(type, STR("multipart/form-data")) ? BODY_MULTIPART : BODY_OTHER;
}

static enum err refuse(const char **why, const char *what) { return *why = what, ERR_INPUT; }

static enum err multipart(struct arena *a, const struct authz_http *h, struct buf *out, const char **why) {
    struct authz_pairs parts = {0};
    bool found = false;
    enum err e = authz_multipart(a, h->content_type, h->body, &parts, &found, why);
    if (e) return e;
    if (found)
        authz_pairs_write(&parts, out);
    else
        buf_cstr(out, "null");
    return OK;
}

static enum err form(struct arena *a, struct str body, struct buf *out, const char **why) {
    struct authz_pairs pairs;
    bool none = false;
    if (!form_pairs(a, body, &pairs, &none))
        return none ? ERR_MEMORY : refuse(why, "the request's form data cannot be parsed");
    authz_pairs_write(&pairs, out);
    return OK;
}

/* The body's value; `null` for what is not parsed, and for what came in part. */
static enum err body_value(struct arena *a, const struct authz_http *h, bool wanted, struct buf *out, bool *truncated,
                           const char **why) {
    enum body_kind kind = BODY_OTHER;
    bool ok = true;
    *truncated = h->partial.ptr && str_is(h->partial, "true");
    if (!*truncated && h->content_type.ptr && h->body.len) kind = body_kind(h->content_type);
    if (kind != BODY_OTHER && h->content_length.ptr) *truncated = is_cut(h->content_length, h->body.len, &ok);
    if (!ok) return refuse(why, "the request's content-length is no number");
    if (*truncated) kind = BODY_OTHER;
    switch (kind) {
    case BODY_OTHER: buf_cstr(out, "null"); return OK;
    case BODY_JSON:
        /* Checked, so that nothing of it can pass for a member beside it; the module reads its values. */
        if (!json_text_valid(h->body)) return refuse(why, "the request's JSON body cannot be parsed");
        if (wanted) buf_str(out, h->body);
        return OK;
    case BODY_FORM: return form(a, h->body, out, why);
    case BODY_MULTIPART: return multipart(a, h, out, why);
    }
    return OK;
}

/* Behind a member that begins at `start`: a comma, or nothing of it when it is not wanted. */
static void end_member(struct buf *out, size_t start, uint64_t wanted, enum authz_member member) {
    if (wanted >> AUTHZ_MEMBERS_SHIFT & member)
        buf_byte(out, ',');
    else
        out->len = start;
}

enum err authz_parsed(struct arena *a, const struct authz_http *h, uint64_t wanted, struct buf *out,
                      const char **why) {
    const char *mark = h->path.len ? memchr(h->path.ptr, '?', h->path.len) : NULL;
    struct str path = mark ? str_head(h->path, (size_t)(mark - h->path.ptr)) : h->path;
    struct str query = mark ? str_from(h->path, path.len + 1) : (struct str){"", 0};
    struct authz_pairs pairs;
    bool truncated = false, none = false;
    size_t start = out->len;
    if (!parsed_path(a, path, out, &none))
        return none ? ERR_MEMORY : refuse(why, "the request's path cannot be parsed");
    end_member(out, start, wanted, AUTHZ_PARSED_PATH);
    if (!form_pairs(a, query, &pairs, &none))
        return none ? ERR_MEMORY : refuse(why, "the request's query cannot be parsed");
    start = out->len;
    buf_cstr(out, "\"parsed_query\":");
    authz_pairs_write(&pairs, out);
    end_member(out, start, wanted, AUTHZ_PARSED_QUERY);
    start = out->len;
    buf_cstr(out, "\"parsed_body\":");
    enum err e = body_value(a, h, wanted >> AUTHZ_MEMBERS_SHIFT & AUTHZ_PARSED_BODY, out, &truncated, why);
    if (e) return e;
    end_member(out, start, wanted, AUTHZ_PARSED_BODY);
    start = out->len;
    buf_cstr(out, truncated ? "\"truncated_body\":true" : "\"truncated_body\":false");
    end_member(out, start, wanted, AUTHZ_TRUNCATED_BODY);
    return out->err;
}
