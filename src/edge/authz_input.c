/* Envoy's CheckRequest as opa-envoy-plugin's input document: only populated fields under their JSON names, and the
 * parsed path, query and body beside them. in: an opened CheckRequest, maybe hostile. out: JSON text. owns: nothing.
 */
#include "edge/authz.h"
#include "edge/authz_wire.h"
#include "edge/json_text.h"

enum { MAX_STRUCT_DEPTH = 1000 };

/* How a field is written. */
enum field_kind {
    FIELD_STRING,
    FIELD_BYTES, /* base64 */
    FIELD_INT32, /* and enums */
    FIELD_UINT32,
    FIELD_INT64,
    FIELD_BOOL,
    FIELD_MESSAGE,
    FIELD_STRING_MAP,  /* map<string, string> */
    FIELD_STRUCT_MAP,  /* map<string, google.protobuf.Struct> */
    FIELD_MESSAGE_MAP, /* map<string, message> */
    FIELD_MESSAGE_LIST
};

struct field {
    uint8_t number;
    enum field_kind kind;
    struct str key;              /* `"name":` */
    const struct field *message; /* FIELD_MESSAGE…; ends with number 0 */
    bool one_of;                 /* of the message's only oneof: written also when it has its default */
};

#define KEY(name)                                                                                                    \
    { "\"" name "\":", sizeof(name) + 2 }

static const struct field socket_address[] = {{1, FIELD_INT32, KEY("protocol"), 0, false},
                                              {2, FIELD_STRING, KEY("address"), 0, false},
                                              {3, FIELD_UINT32, KEY("portValue"), 0, true},
                                              {4, FIELD_STRING, KEY("namedPort"), 0, true},
                                              {5, FIELD_STRING, KEY("resolverName"), 0, false},
                                              {6, FIELD_BOOL, KEY("ipv4Compat"), 0, false},
                                              {7, FIELD_STRING, KEY("networkNamespaceFilepath"), 0, false},
                                              {0}};
static const struct field pipe_address[] = {
    {1, FIELD_STRING, KEY("path"), 0, false}, {2, FIELD_UINT32, KEY("mode"), 0, false}, {0}};
static const struct field internal_address[] = {
    {1, FIELD_STRING, KEY("serverListenerName"), 0, true}, {2, FIELD_STRING, KEY("endpointId"), 0, false}, {0}};
static const struct field address[] = {{1, FIELD_MESSAGE, KEY("socketAddress"), socket_address, true},
                                       {2, FIELD_MESSAGE, KEY("pipe"), pipe_address, true},
                                       {3, FIELD_MESSAGE, KEY("envoyInternalAddress"), internal_address, true},
                                       {0}};
static const struct field peer[] = {
    {1, FIELD_MESSAGE, KEY("address"), address, false}, {2, FIELD_STRING, KEY("service"), 0, false},
    {3, FIELD_STRING_MAP, KEY("labels"), 0, false},     {4, FIELD_STRING, KEY("principal"), 0, false},
    {5, FIELD_STRING, KEY("certificate"), 0, false},    {0}};
static const struct field timestamp[] = {
    {1, FIELD_INT64, KEY("seconds"), 0, false}, {2, FIELD_INT32, KEY("nanos"), 0, false}, {0}};
static const struct field header_value[] = {{1, FIELD_STRING, KEY("key"), 0, false},
                                            {2, FIELD_STRING, KEY("value"), 0, false},
                                            {3, FIELD_BYTES, KEY("rawValue"), 0, false},
                                            {0}};
static const struct field header_map[] = {{1, FIELD_MESSAGE_LIST, KEY("headers"), header_value, false}, {0}};
static const struct field http[] = {{1, FIELD_STRING, KEY("id"), 0, false},
                                    {2, FIELD_STRING, KEY("method"), 0, false},
                                    {3, FIELD_STRING_MAP, KEY("headers"), 0, false},
                                    {4, FIELD_STRING, KEY("path"), 0, false},
                                    {5, FIELD_STRING, KEY("host"), 0, false},
                                    {6, FIELD_STRING, KEY("scheme"), 0, false},
                                    {7, FIELD_STRING, KEY("query"), 0, false},
                                    {8, FIELD_STRING, KEY("fragment"), 0, false},
                                    {9, FIELD_INT64, KEY("size"), 0, false},
                                    {10, FIELD_STRING, KEY("protocol"), 0, false},
                                    {11, FIELD_STRING, KEY("body"), 0, false},
                                    {12, FIELD_BYTES, KEY("rawBody"), 0, false},
                                    {13, FIELD_MESSAGE, KEY("headerMap"), header_map, false},
                                    {0}};
static const struct field request[] = {
    {1, FIELD_MESSAGE, KEY("time"), timestamp, false}, {2, FIELD_MESSAGE, KEY("http"), http, false}, {0}};
static const struct field any[] = {
    {1, FIELD_STRING, KEY("typeUrl"), 0, false}, {2, FIELD_BYTES, KEY("value"), 0, false}, {0}};
static const struct field metadata[] = {{1, FIELD_STRUCT_MAP, KEY("filterMetadata"), 0, false},
                                        {2, FIELD_MESSAGE_MAP, KEY("typedFilterMetadata"), any, false},
                                        {0}};
static const struct field tls_session[] = {{1, FIELD_STRING, KEY("sni"), 0, false}, {0}};
static const struct field attributes[] = {{1, FIELD_MESSAGE, KEY("source"), peer, false},
                                          {2, FIELD_MESSAGE, KEY("destination"), peer, false},
                                          {4, FIELD_MESSAGE, KEY("request"), request, false},
                                          {10, FIELD_STRING_MAP, KEY("contextExtensions"), 0, false},
                                          {11, FIELD_MESSAGE, KEY("metadataContext"), metadata, false},
                                          {12, FIELD_MESSAGE, KEY("tlsSession"), tls_session, false},
                                          {13, FIELD_MESSAGE, KEY("routeMetadataContext"), metadata, false},
                                          {0}};

struct writer {
    struct arena *a; /* joined pieces of messages */
    struct buf *out;
    uint64_t wanted;
};

/* Bits of a message's fields that are wanted, by number. */
static uint32_t wanted_of(const struct writer *w, const struct field *fields) {
    if (fields == attributes) return (uint32_t)(w->wanted >> AUTHZ_ATTRIBUTES_SHIFT) & 0xffff;
    if (fields == request) return (uint32_t)(w->wanted >> AUTHZ_REQUEST_SHIFT) & 0xff;
    if (fields == http) return (uint32_t)(w->wanted >> AUTHZ_HTTP_SHIFT) & 0xffff;
    return ~(uint32_t)0;
}

static bool is_many(enum field_kind k) { return k >= FIELD_STRING_MAP; }

/* {"key": or ,"key": behind what is there. */
static void key(struct buf *out, bool *first, struct str quoted) {
    uint8_t *to = buf_reserve(out, quoted.len + 1);
    if (!to) return;
    *to = *first ? '{' : ',';
    memcpy(to + 1, quoted.ptr, quoted.len);
    buf_commit(out, quoted.len + 1);
    *first = false;
}

static void close_object(struct buf *out, bool empty) { buf_put(out, empty ? "{}" : "}", empty ? 2 : 1); }

static bool struct_value(struct writer *w, struct str message, int depth);

/* google.protobuf.Struct: its fields as an object. */
static bool struct_fields(struct writer *w, struct str message, int depth) {
    struct reader r = wire_reader(message);
    struct pb_field f;
    bool first = true;
    if (depth == MAX_STRUCT_DEPTH) return false;
    while (wire_next(&r, &f)) {
        struct str k, v;
        if (f.number != 1 || f.wire != PB_BYTES) continue;
        if (!wire_entry(f.bytes, &k, &v)) return false;
        buf_byte(w->out, first ? '{' : ',');
        first = false;
        json_text_string(w->out, k);
        buf_byte(w->out, ':');
        if (!struct_value(w, v, depth + 1)) return false;
    }
    close_object(w->out, first);
    return !r.failed;
}

static bool list_values(struct writer *w, struct str message, int depth) {
    struct reader r = wire_reader(message);
    struct pb_field f;
    if (depth == MAX_STRUCT_DEPTH) return false;
    buf_byte(w->out, '[');
    for (bool first = true; wire_next(&r, &f); first = false) {
        if (f.number != 1 || f.wire != PB_BYTES) continue;
        if (!first) buf_byte(w->out, ',');
        if (!struct_value(w, f.bytes, depth + 1)) return false;
    }
    buf_byte(w->out, ']');
    return !r.failed;
}

/* google.protobuf.Value; the last member of the oneof counts. */
static bool struct_value(struct writer *w, struct str message, int depth) {
    static const enum pb_wire wires[] = {[1] = PB_VARINT, PB_FIXED64, PB_BYTES, PB_VARINT, PB_BYTES, PB_BYTES};
    struct reader r = wire_reader(message);
    struct pb_field f, last = {.number = 1};
    double d;
    while (wire_next(&r, &f))
        if (f.number < sizeof wires / sizeof *wires && f.wire == wires[f.number]) last = f;
    if (r.failed) return false;
    switch (last.number) {
    case 2:
        memcpy(&d, &last.varint, 8);
        json_text_double(w->out, d);
        return true;
    case 3: json_text_string(w->out, last.bytes); return true;
    case 4: buf_cstr(w->out, last.varint ? "true" : "false"); return true;
    case 5: return struct_fields(w, last.bytes, depth);
    case 6: return list_values(w, last.bytes, depth);
    default: buf_cstr(w->out, "null"); return true;
    }
}

static bool message_fields(struct writer *w, struct str message, const struct field *fields);

/* One entry of a map or list field, without what separates it from others. */
static bool item(struct writer *w, struct str bytes, const struct field *field) {
    struct str k, v;
    if (field->kind == FIELD_MESSAGE_LIST) return message_fields(w, bytes, field->message);
    if (!wire_entry(bytes, &k, &v)) return false;
    json_text_string(w->out, k);
    buf_byte(w->out, ':');
    if (field->kind == FIELD_MESSAGE_MAP) return message_fields(w, v, field->message);
    if (field->kind == FIELD_STRUCT_MAP) return struct_fields(w, v, 0);
    json_text_string(w->out, v);
    return true;
}

static void integer(struct buf *out, int64_t i) {
    char text[24];
    size_t at = sizeof text;
    uint64_t n = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    do text[--at] = (char)('0' + n % 10);
    while (n /= 10);
    if (i < 0) text[--at] = '-';
    buf_put(out, text + at, sizeof text - at);
}

static bool single(struct writer *w, const struct pb_field *f, const struct field *field) {
    switch (field->kind) {
    case FIELD_STRING: json_text_string(w->out, f->bytes); return true;
    case FIELD_BYTES: json_text_base64(w->out, f->bytes); return true;
    case FIELD_INT32: integer(w->out, (int32_t)(uint32_t)f->varint); return true;
    case FIELD_UINT32: integer(w->out, (uint32_t)f->varint); return true;
    case FIELD_INT64: integer(w->out, (int64_t)f->varint); return true;
    case FIELD_BOOL: buf_cstr(w->out, f->varint ? "true" : "false"); return true;
    case FIELD_MESSAGE: return message_fields(w, f->bytes, field->message);
    case FIELD_STRING_MAP:
    case FIELD_STRUCT_MAP:
    case FIELD_MESSAGE_MAP:
    case FIELD_MESSAGE_LIST: break;
    }
    return false;
}

/* Is it a field that is written? Another wire type makes it an unknown field; a default is as good as absent. */
static bool is_populated(const struct pb_field *f, const struct field *field) {
    bool text = f->wire == PB_BYTES;
    switch (field->kind) {
    case FIELD_INT32:
    case FIELD_UINT32: return f->wire == PB_VARINT && ((uint32_t)f->varint || field->one_of);
    case FIELD_INT64:
    case FIELD_BOOL: return f->wire == PB_VARINT && (f->varint || field->one_of);
    case FIELD_STRING:
    case FIELD_BYTES: return text && (f->bytes.len || field->one_of);
    case FIELD_MESSAGE:
    case FIELD_STRING_MAP:
    case FIELD_STRUCT_MAP:
    case FIELD_MESSAGE_MAP:
    case FIELD_MESSAGE_LIST: return text;
    }
    return false;
}

static const struct field *find(const struct field *fields, uint32_t number) {
    while (fields->number && fields->number != number) fields++;
    return fields->number ? fields : NULL;
}

/* Where the last other member of the oneof ends: what stands before it does not count. */
static const uint8_t *replaced_until(struct str message, const struct field *fields, const struct field *field) {
    struct reader r = wire_reader(message);
    struct pb_field f;
    const struct field *other;
    const uint8_t *end = r.at;
    while (field->one_of && wire_next(&r, &f))
        if (f.number != field->number && (other = find(fields, f.number)) && other->one_of && is_populated(&f, other))
            end = r.at;
    return end;
}

/* All of a field, wherever its occurrences stand in the message: the last scalar, the pieces of a message joined,
 * every entry of a map or list. */
static bool scattered_field(struct writer *w, struct str message, const struct field *fields,
                            const struct field *field, bool *first) {
    struct reader r = wire_reader(message);
    struct pb_field f, last = {0};
    const uint8_t *from = replaced_until(message, fields, field);
    bool begun = false;
    while (wire_next(&r, &f)) {
        if (f.number != field->number || r.at <= from) continue;
        if (is_many(field->kind)) {
            if (f.wire != PB_BYTES) continue;
            if (!begun) key(w->out, first, field->key);
            buf_byte(w->out, begun ? ',' : field->kind == FIELD_MESSAGE_LIST ? '[' : '{');
            begun = true;
            if (!item(w, f.bytes, field)) return false;
        } else if (field->kind == FIELD_MESSAGE && last.number && f.wire == PB_BYTES) {
            char *joined = arena_alloc(w->a, last.bytes.len + f.bytes.len);
            if (!joined) return false;
            memcpy(joined, last.bytes.ptr, last.bytes.len);
            memcpy(joined + last.bytes.len, f.bytes.ptr, f.bytes.len);
            last.bytes = (struct str){joined, last.bytes.len + f.bytes.len};
        } else if ((f.wire == PB_BYTES) == (field->kind <= FIELD_BYTES || field->kind >= FIELD_MESSAGE)) {
            last = f;
        }
    }
    if (begun) buf_byte(w->out, field->kind == FIELD_MESSAGE_LIST ? ']' : '}');
    if (!last.number || !is_populated(&last, field)) return true;
    key(w->out, first, field->key);
    return single(w, &last, field);
}

static bool scattered_fields(struct writer *w, struct str message, const struct field *fields) {
    bool first = true;
    uint32_t wanted = wanted_of(w, fields);
    for (const struct field *field = fields; field->number; field++)
        if (wanted >> field->number & 1 && !scattered_field(w, message, fields, field, &first)) return false;
    close_object(w->out, first);
    return true;
}

/* A message as an object. Serializers write each field's occurrences together, which needs one walk; what they never
 * write (a field that comes back, two members of a oneof) is begun again field by field. */
static bool message_fields(struct writer *w, struct str message, const struct field *fields) {
    struct reader r = wire_reader(message);
    struct pb_field f;
    size_t start = w->out->len;
    uint32_t wanted = wanted_of(w, fields), seen = 0, open = 0; /* numbers met; the map or list being written */
    bool first = true, one_of = false;
    const struct field *field = NULL;
    while (wire_next(&r, &f)) {
        if (f.number == open && f.wire == PB_BYTES) {
            buf_byte(w->out, ',');
            if (!item(w, f.bytes, field)) return false;
            continue;
        }
        if (f.number < 32 && !(wanted >> f.number & 1)) continue;
        const struct field *next = find(fields, f.number);
        if (!next) continue;
        if (seen >> f.number & 1 || (next->one_of && one_of)) {
            w->out->len = start;
            return scattered_fields(w, message, fields);
        }
        seen |= 1u << f.number;
        one_of |= next->one_of;
        if (open) buf_byte(w->out, field->kind == FIELD_MESSAGE_LIST ? ']' : '}');
        open = 0;
        if (!is_populated(&f, next)) continue;
        field = next;
        key(w->out, &first, field->key);
        if (is_many(field->kind)) {
            open = f.number;
            buf_byte(w->out, field->kind == FIELD_MESSAGE_LIST ? '[' : '{');
        }
        if (open ? !item(w, f.bytes, field) : !single(w, &f, field)) return false;
    }
    if (open) buf_byte(w->out, field->kind == FIELD_MESSAGE_LIST ? ']' : '}');
    close_object(w->out, first);
    return !r.failed;
}

enum err authz_check_input(struct arena *a, const struct authz_check *c, uint64_t wanted, struct buf *out,
                           const char **why) {
    struct writer w = {a, out, wanted};
    buf_byte(out, '{');
    if (c->attributes.ptr && wanted >> AUTHZ_ATTRIBUTES_SHIFT & 0xffff) {
        buf_cstr(out, "\"attributes\":");
        if (!message_fields(&w, c->attributes, attributes))
            return *why = "the CheckRequest is broken, or its metadata is nested too deeply", ERR_INPUT;
        buf_byte(out, ',');
    }
    enum err e = authz_parsed(a, &c->http, wanted, out, why);
    if (e) return e;
    if (c->principal.len && wanted >> AUTHZ_MEMBERS_SHIFT & AUTHZ_SOURCE_PRINCIPAL) {
        buf_cstr(out, "\"source_principal\":");
        json_text_string(out, c->principal);
        buf_byte(out, ',');
    }
    buf_cstr(out, "\"version\":{\"ext_authz\":\"v3\",\"encoding\":\"protojson\"}}");
    return out->err;
}
