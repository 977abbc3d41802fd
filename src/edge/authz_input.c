/* Envoy's CheckRequest as opa-envoy-plugin's input document: only populated fields, lowerCamel
 * names, and the parsed path, query and body beside them. in: protobuf
 * bytes. out: JSON. owns: nothing. */
#include "base/hash.h"
#include "edge/doors.h"
#include "net/protobuf.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_STRUCT_DEPTH = 64, MAX_FIELD = 16 };

/* How a field is written. */
enum field_kind {
    FIELD_STRING,
    FIELD_BYTES,   /* base64 */
    FIELD_INTEGER, /* integers and enums as numbers */
    FIELD_BOOL,
    FIELD_MESSAGE,
    FIELD_STRING_MAP, /* map<string, string> */
    FIELD_STRUCT_MAP, /* map<string, google.protobuf.Struct> */
    FIELD_MESSAGE_LIST
};

struct field {
    uint8_t number;
    enum field_kind kind;
    const char *name;
    const struct field *message; /* FIELD_MESSAGE, FIELD_MESSAGE_LIST; ends with number 0 */
};

static const struct field socket_address[] = {{1, FIELD_INTEGER, "protocol", 0},
                                              {2, FIELD_STRING, "address", 0},
                                              {3, FIELD_INTEGER, "portValue", 0},
                                              {4, FIELD_STRING, "namedPort", 0},
                                              {5, FIELD_STRING, "resolverName", 0},
                                              {6, FIELD_BOOL, "ipv4Compat", 0},
                                              {0}};
static const struct field pipe_address[] = {
    {1, FIELD_STRING, "path", 0}, {2, FIELD_INTEGER, "mode", 0}, {0}};
static const struct field address[] = {{1, FIELD_MESSAGE, "socketAddress", socket_address},
                                       {2, FIELD_MESSAGE, "pipe", pipe_address},
                                       {0}};
static const struct field peer[] = {
    {1, FIELD_MESSAGE, "address", address}, {2, FIELD_STRING, "service", 0},
    {3, FIELD_STRING_MAP, "labels", 0},     {4, FIELD_STRING, "principal", 0},
    {5, FIELD_STRING, "certificate", 0},    {0}};
static const struct field timestamp[] = {
    {1, FIELD_INTEGER, "seconds", 0}, {2, FIELD_INTEGER, "nanos", 0}, {0}};
static const struct field header_value[] = {{1, FIELD_STRING, "key", 0},
                                            {2, FIELD_STRING, "value", 0},
                                            {3, FIELD_BYTES, "rawValue", 0},
                                            {0}};
static const struct field header_map[] = {{1, FIELD_MESSAGE_LIST, "headers", header_value}, {0}};
static const struct field http[] = {{1, FIELD_STRING, "id", 0},
                                    {2, FIELD_STRING, "method", 0},
                                    {3, FIELD_STRING_MAP, "headers", 0},
                                    {4, FIELD_STRING, "path", 0},
                                    {5, FIELD_STRING, "host", 0},
                                    {6, FIELD_STRING, "scheme", 0},
                                    {7, FIELD_STRING, "query", 0},
                                    {8, FIELD_STRING, "fragment", 0},
                                    {9, FIELD_INTEGER, "size", 0},
                                    {10, FIELD_STRING, "protocol", 0},
                                    {11, FIELD_STRING, "body", 0},
                                    {12, FIELD_BYTES, "rawBody", 0},
                                    {13, FIELD_MESSAGE, "headerMap", header_map},
                                    {0}};
static const struct field request[] = {
    {1, FIELD_MESSAGE, "time", timestamp}, {2, FIELD_MESSAGE, "http", http}, {0}};
static const struct field metadata[] = {{1, FIELD_STRUCT_MAP, "filterMetadata", 0}, {0}};
static const struct field tls_session[] = {{1, FIELD_STRING, "sni", 0}, {0}};
static const struct field attributes[] = {{1, FIELD_MESSAGE, "source", peer},
                                          {2, FIELD_MESSAGE, "destination", peer},
                                          {4, FIELD_MESSAGE, "request", request},
                                          {10, FIELD_STRING_MAP, "contextExtensions", 0},
                                          {11, FIELD_MESSAGE, "metadataContext", metadata},
                                          {12, FIELD_MESSAGE, "tlsSession", tls_session},
                                          {13, FIELD_MESSAGE, "routeMetadataContext", metadata},
                                          {0}};

static void comma(struct buf *out) {
    if (out->len && out->ptr[out->len - 1] != '{' && out->ptr[out->len - 1] != '[')
        buf_byte(out, ',');
}

static void key(struct buf *out, struct str name) {
    comma(out);
    json_print_string(name, out);
    buf_byte(out, ':');
}

static void base64(struct str s, struct buf *out) {
    buf_byte(out, '"');
    uint8_t *to = buf_reserve(out, (s.len + 2) / 3 * 4 + 1); /* and a final 0 */
    if (to) buf_commit(out, (size_t)EVP_EncodeBlock(to, (const uint8_t *)s.ptr, (int)s.len));
    buf_byte(out, '"');
}

/* The shortest decimal text that reads back as d; what JSON cannot say becomes null. */
static void number(double d, struct buf *out) {
    char text[40];
    if (d != d || d - d != 0) {
        buf_cstr(out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d) break;
    }
    buf_cstr(out, text);
}

static bool struct_value(struct str message, int depth, struct buf *out);

/* Key and value of a map entry. */
static bool entry(struct str message, struct str *k, struct str *v) {
    struct reader r = reader_of(message.ptr, message.len);
    struct pb_field f;
    *k = *v = (struct str){"", 0};
    while (pb_next(&r, &f)) {
        if (f.wire != PB_BYTES) continue;
        if (f.number == 1) *k = f.bytes;
        if (f.number == 2) *v = f.bytes;
    }
    return !r.failed;
}

/* google.protobuf.Struct: its fields as an object. */
static bool struct_fields(struct str message, int depth, struct buf *out) {
    struct reader r = reader_of(message.ptr, message.len);
    struct pb_field f;
    if (depth == MAX_STRUCT_DEPTH) return false;
    buf_byte(out, '{');
    while (pb_next(&r, &f)) {
        struct str k, v;
        if (f.number != 1 || f.wire != PB_BYTES) continue;
        if (!entry(f.bytes, &k, &v)) return false;
        key(out, k);
        if (!struct_value(v, depth + 1, out)) return false;
    }
    buf_byte(out, '}');
    return !r.failed;
}

static bool list_values(struct str message, int depth, struct buf *out) {
    struct reader r = reader_of(message.ptr, message.len);
    struct pb_field f;
    if (depth == MAX_STRUCT_DEPTH) return false;
    buf_byte(out, '[');
    while (pb_next(&r, &f)) {
        if (f.number != 1 || f.wire != PB_BYTES) continue;
        comma(out);
        if (!struct_value(f.bytes, depth + 1, out)) return false;
    }
    buf_byte(out, ']');
    return !r.failed;
}

/* google.protobuf.Value; the last member of the oneof counts. */
static bool struct_value(struct str message, int depth, struct buf *out) {
    struct reader r = reader_of(message.ptr, message.len);
    struct pb_field f, last = {.number = 1};
    while (pb_next(&r, &f)) last = f;
    static const enum pb_wire wires[] = {[1] = PB_VARINT, PB_FIXED64, PB_BYTES,
                                         PB_VARINT,       PB_BYTES,   PB_BYTES};
    if (r.failed || (last.number < sizeof wires / sizeof *wires && last.wire != wires[last.number]))
        return false;
    double d;
    switch (last.number) {
    case 2:
        memcpy(&d, &last.varint, 8);
        number(d, out);
        return true;
    case 3: json_print_string(last.bytes, out); return true;
    case 4: buf_cstr(out, last.varint ? "true" : "false"); return true;
    case 5: return struct_fields(last.bytes, depth, out);
    case 6: return list_values(last.bytes, depth, out);
    default: buf_cstr(out, "null"); return true;
    }
}

static bool message_fields(struct str message, const struct field *fields, struct buf *out);

/* All occurrences of a map or list field, from the first one on. */
static bool repeated(struct str message, const struct field *field, struct buf *out) {
    struct reader r = reader_of(message.ptr, message.len);
    struct pb_field f;
    bool list = field->kind == FIELD_MESSAGE_LIST;
    buf_byte(out, list ? '[' : '{');
    while (pb_next(&r, &f)) {
        struct str k, v;
        if (f.number != field->number || f.wire != PB_BYTES) continue;
        if (list) {
            comma(out);
            if (!message_fields(f.bytes, field->message, out)) return false;
            continue;
        }
        if (!entry(f.bytes, &k, &v)) return false;
        key(out, k);
        if (field->kind == FIELD_STRING_MAP)
            json_print_string(v, out);
        else if (!struct_fields(v, 0, out))
            return false;
    }
    buf_byte(out, list ? ']' : '}');
    return !r.failed;
}

static bool single(const struct pb_field *f, const struct field *field, struct buf *out) {
    bool is_bytes = f->wire == PB_BYTES;
    switch (field->kind) {
    case FIELD_STRING:
        if (is_bytes) json_print_string(f->bytes, out);
        return is_bytes;
    case FIELD_BYTES:
        if (is_bytes) base64(f->bytes, out);
        return is_bytes;
    case FIELD_INTEGER: buf_printf(out, "%lld", (long long)f->varint); return !is_bytes;
    case FIELD_BOOL: buf_cstr(out, f->varint ? "true" : "false"); return !is_bytes;
    case FIELD_MESSAGE: return is_bytes && message_fields(f->bytes, field->message, out);
    case FIELD_STRING_MAP:
    case FIELD_STRUCT_MAP:
    case FIELD_MESSAGE_LIST: return false;
    }
    return false;
}

/* Scalars at their default are as good as absent. */
static bool is_default(const struct pb_field *f, const struct field *field) {
    if (field->kind == FIELD_MESSAGE) return false;
    return f->wire == PB_BYTES ? f->bytes.len == 0 : f->varint == 0;
}

static bool message_fields(struct str message, const struct field *fields, struct buf *out) {
    struct pb_field last[MAX_FIELD] = {{0}}, f;
    struct reader r = reader_of(message.ptr, message.len);
    while (pb_next(&r, &f))
        if (f.number < MAX_FIELD) last[f.number] = f;
    if (r.failed) return false;
    buf_byte(out, '{');
    for (const struct field *field = fields; field->number; field++) {
        const struct pb_field *at = &last[field->number];
        bool many = field->kind >= FIELD_STRING_MAP;
        if (!at->number || (!many && is_default(at, field))) continue;
        key(out, str_of(field->name));
        if (many ? !repeated(message, field, out) : !single(at, field, out)) return false;
    }
    buf_byte(out, '}');
    return !r.failed;
}

/* The last occurrence of an embedded message or string; empty when absent. */
static struct str find(struct str message, uint32_t number) {
    struct reader r = reader_of(message.ptr, message.len);
    struct pb_field f;
    struct str found = {"", 0};
    while (pb_next(&r, &f))
        if (f.number == number && f.wire == PB_BYTES) found = f.bytes;
    return found;
}

static struct str find_in_map(struct str message, uint32_t number, struct str name) {
    struct reader r = reader_of(message.ptr, message.len);
    struct pb_field f;
    struct str k, v, found = {NULL, 0};
    while (pb_next(&r, &f))
        if (f.number == number && f.wire == PB_BYTES && entry(f.bytes, &k, &v) && str_eq(k, name))
            found = v;
    return found;
}

/* Decodes into the arena; false for a bad escape. */
static bool decode(struct arena *a, struct str s, bool form, struct str *out) {
    char *text = arena_alloc(a, s.len + 1);
    long n = text ? http_percent_decode(s, form, text) : -1;
    *out = (struct str){text, n < 0 ? 0 : (size_t)n};
    return n >= 0;
}

/* Cut at '?', percent-decode, trim all leading '/', split (no dot-segment removal, as the plugin
 * does). */
static bool parsed_path(struct arena *a, struct str path, struct buf *out) {
    const char *q = path.len ? memchr(path.ptr, '?', path.len) : NULL;
    struct str cut = q ? str_head(path, (size_t)(q - path.ptr)) : path, text;
    if (!decode(a, cut, false, &text)) return false;
    while (text.len && text.ptr[0] == '/') text = str_from(text, 1);
    buf_cstr(out, ",\"parsed_path\":[");
    for (size_t i = 0;; i++) {
        size_t start = i;
        while (i < text.len && text.ptr[i] != '/') i++;
        comma(out);
        json_print_string((struct str){text.ptr + start, i - start}, out);
        if (i >= text.len) break;
    }
    buf_byte(out, ']');
    return true;
}

/* Makes a table of lists the members of an empty object (json_set would look through all of them
 * each time). */
static bool members(struct arena *a, struct json *o, const struct table *t) {
    o->items = ARENA_ARRAY(a, struct json *, t->n);
    o->keys = ARENA_ARRAY(a, struct str, t->n);
    if (!o->items || !o->keys) return false;
    o->n = o->cap = t->n;
    for (uint32_t i = 0; i < t->n; i++) {
        o->keys[i] = t->entries[i].key;
        o->items[i] = t->entries[i].value;
    }
    return true;
}

/* key=value&… as an object of lists. Pairs with bad escapes or semicolons are left out, or with
 * `strict` refused (NULL). */
static struct json *form_values(struct arena *a, struct str s, bool strict) {
    struct json *o = json_object(a), *list;
    struct table seen;
    table_init(&seen, a);
    for (size_t i = 0; o && i < s.len; i++) {
        size_t start = i;
        while (i < s.len && s.ptr[i] != '&') i++;
        struct str pair = {s.ptr + start, i - start}, k, v;
        const char *equals = pair.len ? memchr(pair.ptr, '=', pair.len) : NULL;
        struct str name = equals ? str_head(pair, (size_t)(equals - pair.ptr)) : pair;
        struct str value = equals ? str_from(pair, name.len + 1) : (struct str){"", 0};
        if (pair.len == 0) continue;
        if (memchr(pair.ptr, ';', pair.len) || !decode(a, name, true, &k) ||
            !decode(a, value, true, &v)) {
            if (strict) return NULL;
            continue;
        }
        if (!(list = table_get(&seen, k))) {
            if (!(list = json_array(a))) return NULL;
            table_set(&seen, k, list);
        }
        json_push(a, list, json_string(a, v));
    }
    return o && members(a, o, &seen) ? o : NULL;
}

static bool parsed_query(struct arena *a, struct str path, struct buf *out) {
    const char *q = path.len ? memchr(path.ptr, '?', path.len) : NULL;
    struct str text = q ? str_from(path, (size_t)(q - path.ptr) + 1) : (struct str){"", 0};
    buf_cstr(out, ",\"parsed_query\":");
    if (text.len == 0) {
        buf_cstr(out, "{}");
        return true;
    }
    struct json *o = form_values(a, text, false);
    if (o) json_print(o, false, 0, out);
    return o != NULL;
}

/* A request header, from the map or, with encode_raw_headers, from the list; ptr NULL without one.
 */
static struct str header(struct str http_message, struct str name) {
    struct str found = find_in_map(http_message, 3, name), list = find(http_message, 13);
    struct reader r = reader_of(list.ptr, list.len);
    struct pb_field f;
    while (!found.ptr && pb_next(&r, &f)) {
        if (f.number != 1 || f.wire != PB_BYTES || !str_eq(find(f.bytes, 1), name)) continue;
        found = find(f.bytes, 2);
        if (!found.len) found = find(f.bytes, 3);
    }
    return found;
}

static bool contains(struct str text, struct str part) {
    return text.len >= part.len && memmem(text.ptr, text.len, part.ptr, part.len);
}

/* Does content-length promise more than came? false in *ok when it is no number. */
static bool is_cut(struct str length, size_t body_bytes, bool *ok) {
    uint64_t n = 0;
    bool negative = length.len && length.ptr[0] == '-';
    size_t i = negative || (length.len && length.ptr[0] == '+');
    *ok = length.len > i && length.len - i < 19;
    for (; *ok && i < length.len; i++) {
        *ok = length.ptr[i] >= '0' && length.ptr[i] <= '9';
        n = n * 10 + (uint64_t)(length.ptr[i] - '0');
    }
    return *ok && !negative && n > body_bytes;
}

enum body_kind { BODY_OTHER, BODY_JSON, BODY_FORM };

static enum body_kind body_kind(struct str type) {
    if (!type.ptr) return BODY_OTHER;
    if (contains(type, STR("application/json"))) return BODY_JSON;
    if (contains(type, STR("application/grpc"))) return BODY_OTHER; /* would need a descriptor */
    return contains(type, STR("application/x-www-form-urlencoded")) ? BODY_FORM : BODY_OTHER;
}

/* The request body as a value: JSON and form data; others, and cut ones, are null (*value NULL). */
static bool read_body(struct arena *a, struct str http_message, struct json **value,
                      bool *truncated, const char **why) {
    struct str body = find(http_message, 11), length = header(http_message, STR("content-length"));
    struct str type = header(http_message, STR("content-type")),
               partial = header(http_message, STR("x-envoy-auth-partial-body"));
    enum body_kind kind = body_kind(type);
    struct json_error error;
    bool ok = true;
    if (body.len == 0) body = find(http_message, 12);
    if (partial.ptr && str_is(partial, "true")) return *truncated = true;
    if (type.ptr && contains(type, STR("multipart/form-data")) && kind == BODY_OTHER && body.len)
        return *why = "multipart request bodies are not supported", false;
    if (kind == BODY_OTHER || body.len == 0) return true;
    if (length.ptr && is_cut(length, body.len, &ok)) return *truncated = true;
    if (!ok) return *why = "the request's content-length is no number", false;
    if (kind == BODY_FORM && !(*value = form_values(a, body, true)))
        return *why = "the request's form data cannot be parsed", false;
    if (kind == BODY_JSON && json_parse(a, body, value, &error))
        return *why = "the request's JSON body cannot be parsed", false;
    return true;
}

static bool parsed_body(struct arena *a, struct str http_message, struct buf *out,
                        const char **why) {
    struct json *v = NULL;
    bool truncated = false;
    if (!read_body(a, http_message, &v, &truncated, why)) return false;
    buf_cstr(out, ",\"parsed_body\":");
    if (v)
        json_print(v, false, 0, out);
    else
        buf_cstr(out, "null");
    buf_cstr(out, truncated ? ",\"truncated_body\":true" : ",\"truncated_body\":false");
    return true;
}

enum err authz_input(struct arena *a, struct str message, struct str tenant_header, struct buf *out,
                     struct authz_request *info) {
    struct str attrs = find(message, 1), http_message = find(find(attrs, 4), 2);
    struct str path = find(http_message, 4), principal = find(find(attrs, 1), 4), t;
    struct reader whole = reader_of(message.ptr, message.len);
    struct pb_field f;
    bool has_http = http_message.len > 0;
    *info = (struct authz_request){.tenant = {"", 0}};
    while (pb_next(&whole, &f)) { /* checks the outer message */
    }
    if (whole.failed) return info->why = "no CheckRequest", ERR_SYNTAX;
    if ((t = find_in_map(attrs, 10, STR("tenant_id"))).ptr) info->tenant = t;
    if (tenant_header.len) info->header_tenant = header(http_message, tenant_header);
    buf_cstr(out, "{\"attributes\":");
    if (!message_fields(attrs, attributes, out)) return info->why = "no CheckRequest", ERR_SYNTAX;
    if (!has_http) return info->why = "the CheckRequest has no attributes.request.http", ERR_INPUT;
    if (!parsed_path(a, path, out))
        return info->why = "the request's path cannot be parsed", ERR_INPUT;
    if (!parsed_query(a, path, out))
        return info->why = "the request's query is too large", ERR_INPUT;
    if (!parsed_body(a, http_message, out, &info->why)) return ERR_INPUT;
    if (principal.len) {
        buf_cstr(out, ",\"source_principal\":");
        json_print_string(principal, out);
    }
    buf_cstr(out, ",\"version\":{\"ext_authz\":\"v3\",\"encoding\":\"protojson\"}}");
    return out->err;
}
