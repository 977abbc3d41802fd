/* The input document, in the shape of opa-envoy-plugin's: of it, what the policy can read.
 * in: filter.request, properties, the path tree of the input. out: input slots. owns: nothing.
 *
 * Each node of the tree is marked once with the part of the document that it stands for. A part is
 * either made of other parts (the input, attributes, …), and then only those that have nodes are
 * made, or a value. */
#include "runtime/eval.h"
#include "runtime/proxy/filter.h"

enum part {
    PART_UNKNOWN, /* nothing is there */
    PART_INPUT,
    PART_VERSION,
    PART_PARSED_PATH,
    PART_PARSED_QUERY,
    PART_PARSED_BODY,
    PART_TRUNCATED_BODY,
    PART_SOURCE_PRINCIPAL, /* of input.source_principal too */
    PART_ATTRIBUTES,
    PART_REQUEST,
    PART_TIME,
    PART_HTTP,
    PART_METHOD,
    PART_PATH,
    PART_HOST,
    PART_SCHEME,
    PART_ID,
    PART_PROTOCOL,
    PART_SIZE,
    PART_BODY,
    PART_HEADERS,
    PART_SOURCE,
    PART_SOURCE_ADDRESS,
    PART_SOURCE_SERVICE,
    PART_DESTINATION,
    PART_DESTINATION_ADDRESS,
    PART_DESTINATION_PRINCIPAL,
    PART_TLS_SESSION,
    PART_SNI
};

/* What parts are made of, in the order of the enum's parents. */
static const struct {
    uint8_t parent, part;
    char name[18];
} members[] = {
    {PART_INPUT, PART_ATTRIBUTES, "attributes"},
    {PART_INPUT, PART_PARSED_PATH, "parsed_path"},
    {PART_INPUT, PART_PARSED_QUERY, "parsed_query"},
    {PART_INPUT, PART_PARSED_BODY, "parsed_body"},
    {PART_INPUT, PART_TRUNCATED_BODY, "truncated_body"},
    {PART_INPUT, PART_VERSION, "version"},
    {PART_INPUT, PART_SOURCE_PRINCIPAL, "source_principal"},
    {PART_ATTRIBUTES, PART_REQUEST, "request"},
    {PART_ATTRIBUTES, PART_SOURCE, "source"},
    {PART_ATTRIBUTES, PART_DESTINATION, "destination"},
    {PART_ATTRIBUTES, PART_TLS_SESSION, "tlsSession"},
    {PART_REQUEST, PART_TIME, "time"},
    {PART_REQUEST, PART_HTTP, "http"},
    {PART_HTTP, PART_METHOD, "method"},
    {PART_HTTP, PART_PATH, "path"},
    {PART_HTTP, PART_HOST, "host"},
    {PART_HTTP, PART_SCHEME, "scheme"},
    {PART_HTTP, PART_ID, "id"},
    {PART_HTTP, PART_PROTOCOL, "protocol"},
    {PART_HTTP, PART_SIZE, "size"},
    {PART_HTTP, PART_BODY, "body"},
    {PART_HTTP, PART_HEADERS, "headers"},
    {PART_SOURCE, PART_SOURCE_ADDRESS, "address"},
    {PART_SOURCE, PART_SOURCE_SERVICE, "service"},
    {PART_SOURCE, PART_SOURCE_PRINCIPAL, "principal"},
    {PART_DESTINATION, PART_DESTINATION_ADDRESS, "address"},
    {PART_DESTINATION, PART_DESTINATION_PRINCIPAL, "principal"},
    {PART_TLS_SESSION, PART_SNI, "sni"},
};
enum { MEMBERS = sizeof members / sizeof *members };

static struct text member_name(uint32_t i) {
    return (struct text){(const uint8_t *)members[i].name, (uint32_t)strlen(members[i].name)};
}

/* ---- marking ---- */

/* In a node's mark beside its part. */
enum { MADE_OF_PARTS = 0x100 };

static uint32_t mark_of(enum part p) {
    for (uint32_t i = 0; i < MEMBERS; i++)
        if (members[i].parent == p) return p | MADE_OF_PARTS;
    return p;
}

static enum part part_at(const struct path_node *node) {
    return (enum part)(node->part & (MADE_OF_PARTS - 1));
}

static bool is_made_of_parts(const struct path_node *node) {
    return (node->part & MADE_OF_PARTS) != 0;
}

static enum part part_of(enum part parent, value key) {
    for (uint32_t i = 0; i < MEMBERS; i++)
        if (members[i].parent == parent && text_equal(member_name(i), text_of(key)))
            return members[i].part;
    return PART_UNKNOWN;
}

static struct path_node *children(const struct path_node *node) { return at(node->children); }

static void mark(struct path_node *node, enum part part) {
    node->part = mark_of(part);
    if (!is_made_of_parts(node)) return;
    for (uint32_t i = 0; i < node->n_children; i++)
        mark(children(node) + i, part_of(part, children(node)[i].key));
}

static struct path_node *root(void) {
    uint32_t tree = module_header()->input_tree;
    return tree != 0 ? at(tree) : NULL;
}

void document_mark(void) {
    if (root() != NULL) mark(root(), PART_INPUT);
}

static bool names_body(const struct path_node *node) {
    enum part part = part_at(node);
    if (part == PART_PARSED_BODY || part == PART_TRUNCATED_BODY || part == PART_BODY) return true;
    for (uint32_t i = 0; is_made_of_parts(node) && i < node->n_children; i++)
        if (names_body(children(node) + i)) return true;
    return false;
}

bool document_names_body(void) { return root() != NULL && names_body(root()); }

/* ---- values ---- */

static void put(value *object, struct text key, value v) {
    if (!is_defined(v)) return;
    if (!is_defined(*object)) *object = object_new(8);
    object_put(*object, string_view(key), v);
}

static value string_of(struct text t) {
    return t.len > 0 ? string_view(request_clean(t)) : VALUE_UNDEFINED;
}

static value version(void) {
    value o = VALUE_UNDEFINED;
    put(&o, TEXT("encoding"), STRING("protojson"));
    put(&o, TEXT("ext_authz"), STRING("v3"));
    return o;
}

static value time_of_request(void) {
    enum { SECOND = 1000000000 };
    value o = VALUE_UNDEFINED;
    int64_t ns;
    if (!request_property_integer(TEXT("request\0time"), &ns)) return VALUE_UNDEFINED;
    put(&o, TEXT("seconds"), value_of_integer(ns / SECOND));
    put(&o, TEXT("nanos"), value_of_integer(ns % SECOND));
    return o;
}

static value size(void) {
    int64_t n;
    bool known = request_property_integer(TEXT("request\0size"), &n);
    return known && n > 0 && n <= INTEGER_MAX ? value_of_integer(n) : VALUE_UNDEFINED;
}

static value port_of(struct text digits) {
    int64_t port = 0;
    for (uint32_t i = 0; i < digits.len && port <= UINT16_MAX; i++)
        port = port * 10 + (digits.ptr[i] - '0');
    return port > 0 ? value_of_integer(port) : VALUE_UNDEFINED;
}

/* "10.0.0.1:80", "[::1]:80", or the path of a socket. */
static value address(struct text path) {
    value property = request_property(path), inner = VALUE_UNDEFINED, object = VALUE_UNDEFINED;
    if (!is_defined(property)) return VALUE_UNDEFINED;
    struct text t = text_of(property);
    int64_t colon = text_find_last(t, TEXT(":"));
    if (colon < 0 || t.ptr[0] == '/') {
        put(&inner, TEXT("path"), property);
        put(&object, TEXT("pipe"), inner);
        return object;
    }
    struct text host = text_slice(t, 0, (uint32_t)colon);
    if (host.len >= 2 && host.ptr[0] == '[') host = text_slice(host, 1, host.len - 1);
    put(&inner, TEXT("address"), string_of(host));
    put(&inner, TEXT("portValue"), port_of(text_slice(t, (uint32_t)colon + 1, t.len)));
    put(&object, TEXT("socketAddress"), inner);
    return object;
}

static value first_of(struct text a, struct text b, struct text c) {
    value v = request_property(a);
    if (!is_defined(v)) v = request_property(b);
    return is_defined(v) ? v : request_property(c);
}

/* The certificate's first URI, DNS name or subject, as Envoy chooses. */
static value source_principal(void) {
    return first_of(TEXT("connection\0uri_san_peer_certificate"),
                    TEXT("connection\0dns_san_peer_certificate"),
                    TEXT("connection\0subject_peer_certificate"));
}

static value destination_principal(void) {
    return first_of(TEXT("connection\0uri_san_local_certificate"),
                    TEXT("connection\0dns_san_local_certificate"),
                    TEXT("connection\0subject_local_certificate"));
}

/* ---- headers ---- */

static bool same(struct text t, value key) {
    return value_length(key) == t.len && bytes_equal(t.ptr, at(value_pointer(key)), t.len);
}

/* Envoy's own mark of a cut body: a client that sends it must not be believed. */
static bool is_hidden(struct text name) {
    return text_equal(name, TEXT("x-envoy-auth-partial-body"));
}

/* What a header's value is once another one of the same name has come, as in Envoy's ext_authz. */
static value with_more(value before, struct text raw) {
    struct text more = request_clean(raw), t;
    if (!is_defined(before)) return string_view(more);
    t = text_of(before);
    struct builder b = builder_new(t.len + more.len + 1);
    builder_text(&b, t);
    builder_put(&b, ',');
    builder_text(&b, more);
    return builder_string(&b);
}

static value headers(void) {
    const struct request *q = &filter.request;
    value object = object_new(q->n_headers);
    for (uint32_t i = 0; i < q->n_headers; i++) {
        if (is_hidden(q->headers[2 * i])) continue;
        value key = string_view(request_clean(q->headers[2 * i]));
        object_put(object, key, with_more(object_get(object, key), q->headers[2 * i + 1]));
    }
    return object;
}

/* Only those that are named. */
static void bind_headers(const struct path_node *node, value *slots) {
    const struct request *q = &filter.request;
    const struct path_node *child = children(node);
    for (uint32_t i = 0; i < q->n_headers; i++) {
        struct text name = q->headers[2 * i];
        for (uint32_t k = 0; k < node->n_children; k++) {
            if (!same(name, child[k].key) || child[k].slot < 0 || is_hidden(name)) continue;
            value *slot = &slots[child[k].slot];
            *slot = with_more(*slot, q->headers[2 * i + 1]);
        }
    }
}

/* ---- a part as a value ---- */

static value part_value(enum part part);

static value all_members(enum part part) {
    value o = VALUE_UNDEFINED;
    for (uint32_t i = 0; i < MEMBERS; i++)
        if (members[i].parent == part) put(&o, member_name(i), part_value(members[i].part));
    return o;
}

static value part_value(enum part part) {
    const struct request *q = &filter.request;
    switch (part) {
    case PART_UNKNOWN: return VALUE_UNDEFINED;
    case PART_INPUT:
    case PART_ATTRIBUTES:
    case PART_REQUEST:
    case PART_HTTP:
    case PART_SOURCE:
    case PART_DESTINATION:
    case PART_TLS_SESSION: return all_members(part);
    case PART_VERSION: return version();
    case PART_PARSED_PATH: return parse_path(q->path);
    case PART_PARSED_QUERY: return parse_query(q->path);
    case PART_PARSED_BODY: return parse_body();
    case PART_TRUNCATED_BODY: return value_of_boolean(parse_body_is_cut());
    case PART_SOURCE_PRINCIPAL: return source_principal();
    case PART_TIME: return time_of_request();
    case PART_METHOD: return string_of(q->method);
    case PART_PATH: return string_of(q->path);
    case PART_HOST: return string_of(q->host);
    case PART_SCHEME: return string_of(q->scheme);
    case PART_ID: return string_of(request_header(TEXT("x-request-id")));
    case PART_PROTOCOL: return request_property(TEXT("request\0protocol"));
    case PART_SIZE: return size();
    case PART_BODY: return string_of(q->body);
    case PART_HEADERS: return headers();
    case PART_SOURCE_ADDRESS: return address(TEXT("source\0address"));
    case PART_SOURCE_SERVICE:
        return string_of(request_header(TEXT("x-envoy-downstream-service-cluster")));
    case PART_DESTINATION_ADDRESS: return address(TEXT("destination\0address"));
    case PART_DESTINATION_PRINCIPAL: return destination_principal();
    case PART_SNI: return request_property(TEXT("connection\0requested_server_name"));
    }
    return VALUE_UNDEFINED;
}

/* ---- what the tree asks for ---- */

static void bind_part(const struct path_node *node, value *slots) {
    if (part_at(node) == PART_HEADERS && node->slot < 0) {
        bind_headers(node, slots);
    } else if (node->slot < 0 && is_made_of_parts(node)) {
        for (uint32_t i = 0; i < node->n_children; i++) bind_part(children(node) + i, slots);
    } else {
        bind_node(node, part_value(part_at(node)), slots);
    }
}

/* The same as a document, for code that changes it: parts without nodes are left out. */
static value document(const struct path_node *node) {
    value o = VALUE_UNDEFINED;
    if (node->slot >= 0 || !is_made_of_parts(node)) return part_value(part_at(node));
    for (uint32_t i = 0; i < node->n_children; i++)
        put(&o, text_of(children(node)[i].key), document(children(node) + i));
    return o;
}

void document_bind(void) {
    const struct path_node *tree = root();
    if (module_header()->flags & MODULE_INPUT_DOCUMENT) {
        value v = tree != NULL ? document(tree) : VALUE_UNDEFINED;
        eval_input_value(is_defined(v) ? v : object_new(0));
        return;
    }
    eval_no_input();
    if (tree != NULL) bind_part(tree, input_slots());
}
