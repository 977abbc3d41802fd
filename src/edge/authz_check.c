/* Finds its way in Envoy's CheckRequest: what tenant and input need, as views.
 * in: protobuf bytes, maybe hostile. out: views. owns: nothing. */
#include "edge/authz.h"
#include "edge/authz_wire.h"

/* Field numbers of envoy.service.auth.v3. */
enum { CHECK_ATTRIBUTES = 1 };
enum { ATTRIBUTES_SOURCE = 1, ATTRIBUTES_REQUEST = 4, ATTRIBUTES_EXTENSIONS = 10 };
enum { PEER_PRINCIPAL = 4, REQUEST_HTTP = 2 };
enum {
    HTTP_METHOD = 2,
    HTTP_HEADERS = 3,
    HTTP_PATH = 4,
    HTTP_HOST = 5,
    HTTP_SCHEME = 6,
    HTTP_PROTOCOL = 10,
    HTTP_BODY = 11,
    HTTP_RAW_BODY = 12,
    HTTP_HEADER_MAP = 13
};

bool wire_embedded(struct arena *a, struct str message, uint32_t number, struct str *found) {
    struct reader r = wire_reader(message);
    struct pb_field f;
    *found = (struct str){NULL, 0};
    while (wire_next(&r, &f)) {
        if (f.number != number || f.wire != PB_BYTES) continue;
        if (!found->ptr) {
            *found = f.bytes;
            continue;
        }
        char *joined = arena_alloc(a, found->len + f.bytes.len);
        if (!joined) return false;
        memcpy(joined, found->ptr, found->len);
        memcpy(joined + found->len, f.bytes.ptr, f.bytes.len);
        *found = (struct str){joined, found->len + f.bytes.len};
    }
    return !r.failed;
}

/* Headers that reading the body depends on; the last one of a name counts, as in a protobuf map. */
static void note_header(struct authz_http *h, struct str name, struct str value) {
    switch (name.len) {
    case 12:
        if (str_eq(name, STR("content-type"))) h->content_type = value;
        return;
    case 14:
        if (str_eq(name, STR("content-length"))) h->content_length = value;
        return;
    case 25:
        if (str_eq(name, STR("x-envoy-auth-partial-body"))) h->partial = value;
        return;
    default: return;
    }
}

/* One HeaderValue of header_map: its text, or its raw bytes. */
static bool header_value(struct str message, struct str *name, struct str *value) {
    struct reader r = wire_reader(message);
    struct pb_field f;
    struct str raw = {"", 0};
    *name = *value = raw;
    while (wire_next(&r, &f)) {
        if (f.wire != PB_BYTES) continue;
        if (f.number == 1) *name = f.bytes;
        if (f.number == 2) *value = f.bytes;
        if (f.number == 3) raw = f.bytes;
    }
    if (!value->len) *value = raw;
    return !r.failed;
}

static bool open_header_map(struct authz_http *h, struct str list) {
    struct reader r = wire_reader(list);
    struct pb_field f;
    struct str name, value;
    while (wire_next(&r, &f)) {
        if (f.number != 1 || f.wire != PB_BYTES) continue;
        if (!header_value(f.bytes, &name, &value)) return false;
        note_header(h, name, value);
    }
    return !r.failed;
}

static bool open_http(struct authz_check *c) {
    struct reader r = wire_reader(c->message);
    struct pb_field f;
    struct authz_http *h = &c->http;
    struct authz_http listed = {
        .content_type = {NULL, 0}}; /* by header_map, which counts when there are no headers */
    struct str raw = {"", 0}, name, value;
    bool has_headers = false;
    while (wire_next(&r, &f)) {
        if (f.wire != PB_BYTES) continue;
        switch (f.number) {
        case HTTP_METHOD: h->method = f.bytes; break;
        case HTTP_HEADERS:
            if (!wire_entry(f.bytes, &name, &value)) return false;
            note_header(h, name, value);
            has_headers = true;
            break;
        case HTTP_PATH: h->path = f.bytes; break;
        case HTTP_HOST: h->host = f.bytes; break;
        case HTTP_SCHEME: h->scheme = f.bytes; break;
        case HTTP_PROTOCOL: h->protocol = f.bytes; break;
        case HTTP_BODY: h->body = f.bytes; break;
        case HTTP_RAW_BODY: raw = f.bytes; break;
        case HTTP_HEADER_MAP:
            if (!open_header_map(&listed, f.bytes)) return false;
            break;
        default: break;
        }
    }
    if (!h->body.len) h->body = raw;
    if (!has_headers) {
        h->content_type = listed.content_type;
        h->content_length = listed.content_length;
        h->partial = listed.partial;
    }
    return !r.failed;
}

enum err authz_check_open(struct arena *a, struct str message, struct authz_check *out) {
    struct str request, source;
    *out = (struct authz_check){.principal = {"", 0}};
    out->http = (struct authz_http){.method = {"", 0}, .path = {"", 0}, .host = {"", 0}, .body = {"", 0}};
    if (!wire_embedded(a, message, CHECK_ATTRIBUTES, &out->attributes)) return ERR_SYNTAX;
    if (!out->attributes.ptr) return OK;
    if (!wire_embedded(a, out->attributes, ATTRIBUTES_REQUEST, &request)) return ERR_SYNTAX;
    if (!wire_embedded(a, out->attributes, ATTRIBUTES_SOURCE, &source)) return ERR_SYNTAX;
    if (request.ptr && !wire_embedded(a, request, REQUEST_HTTP, &out->message)) return ERR_SYNTAX;
    struct reader r = wire_reader(source);
    struct pb_field f;
    while (wire_next(&r, &f))
        if (f.number == PEER_PRINCIPAL && f.wire == PB_BYTES) out->principal = f.bytes;
    return r.failed || (out->message.ptr && !open_http(out)) ? ERR_SYNTAX : OK;
}

/* The last entry of that name in a map<string, string>. */
static struct str find_in_map(struct str message, uint32_t number, struct str name, bool *any) {
    struct reader r = wire_reader(message);
    struct pb_field f;
    struct str k, v, found = {NULL, 0};
    while (wire_next(&r, &f)) {
        if (f.number != number || f.wire != PB_BYTES) continue;
        *any = true;
        if (wire_entry(f.bytes, &k, &v) && str_eq(k, name)) found = v;
    }
    return found;
}

/* In header_map. A name that comes twice has a list as its value: joined as Envoy joins, it would name nobody either.
 */
static struct str find_in_list(struct str list, struct str name, struct str found) {
    struct reader r = wire_reader(list);
    struct pb_field f;
    struct str k, v;
    while (wire_next(&r, &f))
        if (f.number == 1 && f.wire == PB_BYTES && header_value(f.bytes, &k, &v) && str_eq(k, name))
            found = found.ptr ? STR(",") : v;
    return found;
}

struct str authz_check_header(const struct authz_check *c, struct str name) {
    bool any = false;
    struct str found = find_in_map(c->message, HTTP_HEADERS, name, &any);
    if (any) return found;
    struct reader r = wire_reader(c->message);
    struct pb_field f;
    while (wire_next(&r, &f))
        if (f.number == HTTP_HEADER_MAP && f.wire == PB_BYTES) found = find_in_list(f.bytes, name, found);
    return found;
}

struct str authz_check_extension(const struct authz_check *c, struct str name) {
    bool any = false;
    return find_in_map(c->attributes, ATTRIBUTES_EXTENSIONS, name, &any);
}
