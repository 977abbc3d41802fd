/* What a decision asks of the proxy: headers for the upstream, or a response of its own.
 * in: a decision, in opa-envoy-plugin's words. out: calls of the proxy. owns: nothing. */
#include "runtime/proxy/filter.h"

enum { STATUS_MIN = 200, STATUS_MAX = 599, WORD = 4, NO_GRPC_STATUS = -1 };

static value member(value decision, struct text key) {
    return is_object(decision) ? object_get_text(decision, key) : VALUE_UNDEFINED;
}

RT_NORETURN static void mistyped(const char *what) { rt_fail("decision", what); }

/* ---- names and values of headers ---- */

struct header_list {
    struct text *items; /* name and value alternate */
    uint32_t n, cap;    /* headers */
};

static bool is_clean_header(struct text name, struct text v) {
    for (uint32_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f || (i > 0 && name.ptr[i] == ':'))
            return false;
    for (uint32_t i = 0; i < v.len; i++)
        if (v.ptr[i] == '\n' || v.ptr[i] == '\r' || v.ptr[i] == 0) return false;
    return name.len > 0;
}

static void add(struct header_list *l, value name, value v) {
    if (!is_string(name) || !is_string(v)) mistyped("headers must hold strings");
    if (!is_clean_header(text_of(name), text_of(v)))
        mistyped("a header's name or value cannot be sent");
    if (l->n == l->cap) {
        uint32_t cap = l->cap == 0 ? 8 : 2 * l->cap;
        l->items = rt_realloc(l->items, l->cap * 2 * (uint32_t)sizeof *l->items,
                              cap * 2 * (uint32_t)sizeof *l->items);
        l->cap = cap;
    }
    l->items[2 * l->n] = text_of(name);
    l->items[2 * l->n + 1] = text_of(v);
    l->n++;
}

static void add_object(struct header_list *l, value object) {
    if (!is_object(object)) mistyped("headers must be an object or a list of objects");
    for (uint32_t i = 0; i < object_len(object); i++) {
        struct pair p = object_sorted(object)[i];
        uint32_t n = is_array(p.value) ? array_len(p.value) : 1;
        for (uint32_t k = 0; k < n; k++)
            add(l, p.key, is_array(p.value) ? array_items(p.value)[k] : p.value);
    }
}

/* An object of strings or lists of strings, or a list of such objects; absent is empty. */
static struct header_list header_list(value v) {
    struct header_list l = {NULL, 0, 0};
    if (is_array(v))
        for (uint32_t i = 0; i < array_len(v); i++) add_object(&l, array_items(v)[i]);
    else if (is_defined(v))
        add_object(&l, v);
    return l;
}

static void put_word(struct builder *b, uint32_t w) {
    for (uint32_t i = 0; i < WORD; i++) builder_put(b, (uint8_t)(w >> 8 * i));
}

/* The form in which proxies pass lists of headers (request.c). */
static struct text packed(const struct header_list *l) {
    struct builder b = builder_new(256);
    put_word(&b, l->n);
    for (uint32_t i = 0; i < 2 * l->n; i++) put_word(&b, l->items[i].len);
    for (uint32_t i = 0; i < 2 * l->n; i++) {
        builder_text(&b, l->items[i]);
        builder_put(&b, 0);
    }
    return builder_view(&b);
}

/* ---- allowed ---- */

static void must(uint32_t status) {
    if (status != HOST_OK) rt_fail("decision", "the proxy refuses a change of headers");
}

/* The first value of a name replaces what the client sent; further ones come beside it. */
static bool is_repeated(const struct header_list *l, uint32_t i) {
    for (uint32_t k = 0; k < i; k++)
        if (text_equal(l->items[2 * k], l->items[2 * i])) return true;
    return false;
}

static void set_request_headers(const struct header_list *l) {
    for (uint32_t i = 0; i < l->n; i++) {
        struct text name = l->items[2 * i], v = l->items[2 * i + 1];
        must(is_repeated(l, i) ? proxy_add_header_map_value(MAP_REQUEST_HEADERS, addr(name.ptr),
                                                            name.len, addr(v.ptr), v.len)
                               : proxy_replace_header_map_value(MAP_REQUEST_HEADERS, addr(name.ptr),
                                                                name.len, addr(v.ptr), v.len));
    }
}

static void remove_request_headers(value names) {
    if (!is_defined(names)) return;
    if (!is_array(names)) mistyped("request_headers_to_remove must be a list of strings");
    for (uint32_t i = 0; i < array_len(names); i++) {
        value name = array_items(names)[i];
        if (!is_string(name)) mistyped("request_headers_to_remove must be a list of strings");
        must(proxy_remove_header_map_value(MAP_REQUEST_HEADERS, addr(text_of(name).ptr),
                                           text_of(name).len));
    }
}

/* By stream: other filters of the chain, even of this module, keep theirs. */
static struct text response_headers_name(void) {
    struct builder b = builder_new(40);
    builder_c(&b, "regent.response_headers.");
    builder_int(&b, filter.stream->id);
    return builder_view(&b);
}

/* The proxy keeps them: nothing of a stream lies in this memory. */
static void keep_response_headers(value v) {
    struct header_list l = header_list(v);
    struct text name = response_headers_name(), bytes = packed(&l);
    if (l.n == 0) return;
    if (!(module_header()->flags & MODULE_RESPONSE_HEADERS))
        mistyped("the name response_headers_to_add must stand in the policy or its data");
    must(proxy_set_property(addr(name.ptr), name.len, addr(bytes.ptr), bytes.len));
    filter.stream->response = true;
}

void reply_allow(value decision) {
    if (!is_object(decision)) return;
    value query_set = member(decision, TEXT("query_parameters_to_set"));
    value query_remove = member(decision, TEXT("query_parameters_to_remove"));
    struct header_list l = header_list(member(decision, TEXT("headers")));
    set_request_headers(&l);
    remove_request_headers(member(decision, TEXT("request_headers_to_remove")));
    keep_response_headers(member(decision, TEXT("response_headers_to_add")));
    if (is_defined(query_set) || is_defined(query_remove))
        mistyped("query parameters cannot be changed by this filter");
}

void reply_response_headers(void) {
    struct text name = response_headers_name(), bytes;
    uint32_t data = 0, len = 0;
    must(proxy_get_property(addr(name.ptr), name.len, addr(&data), addr(&len)));
    bytes = (struct text){at(data), len};
    uint32_t n = load32(bytes.ptr), from = WORD + 2 * n * WORD;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t name_len = load32(bytes.ptr + WORD + 2 * i * WORD);
        uint32_t value_len = load32(bytes.ptr + 2 * WORD + 2 * i * WORD);
        proxy_add_header_map_value(MAP_RESPONSE_HEADERS, addr(bytes.ptr + from), name_len,
                                   addr(bytes.ptr + from + name_len + 1), value_len);
        from += name_len + value_len + 2;
    }
}

/* ---- denied ---- */

static uint32_t status_of(uint32_t status, value decision) {
    value v = member(decision, TEXT("http_status"));
    if (!is_defined(v)) return status;
    bool fits = value_tag(v) == TAG_INTEGER && value_integer(v) >= STATUS_MIN &&
                value_integer(v) <= STATUS_MAX;
    if (!fits) mistyped("http_status must be an HTTP status code from 200 to 599");
    return (uint32_t)value_integer(v);
}

static struct text body_of(value decision, struct text reason) {
    value v = member(decision, TEXT("body"));
    struct builder b;
    if (is_defined(v) && !is_string(v)) mistyped("body must be a string");
    if (is_defined(v)) return text_of(v);
    if (reason.len == 0) return reason;
    b = builder_new(64);
    builder_c(&b, "{\"reason\":");
    json_write_string(&b, reason);
    builder_put(&b, '}');
    return builder_view(&b);
}

void reply_deny(uint32_t status, value decision, struct text reason) {
    struct text details = TEXT("regent_denied"), body = body_of(decision, reason);
    struct header_list l = header_list(member(decision, TEXT("headers")));
    struct text report = report_header();
    status = status_of(status, decision);
    if (report.len > 0) {
        value name = string_of_c(filter.root->decision_header);
        add(&l, name, string_view(report));
    }
    struct text headers = packed(&l);
    proxy_send_local_response(status, addr(details.ptr), details.len, addr(body.ptr), body.len,
                              addr(headers.ptr), headers.len, (uint32_t)NO_GRPC_STATUS);
}
