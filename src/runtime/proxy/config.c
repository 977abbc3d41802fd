/* The plugin configuration: a JSON object.
 * in: the proxy's buffer. out: filter.root. owns: nothing. Every mistake is named, and what is not
 * known is one: a misspelt key must not weaken a filter. */
#include "runtime/proxy/filter.h"

RT_NORETURN static void fail(const char *before, struct text about, const char *after) {
    struct builder b = builder_new(128);
    builder_c(&b, before);
    builder_text(&b, about);
    builder_c(&b, after);
    builder_put(&b, 0);
    rt_fail("config", (const char *)b.ptr);
}

static struct text configuration(void) {
    uint32_t data = 0, len = 0;
    if (proxy_get_buffer_bytes(BUFFER_PLUGIN_CONFIGURATION, 0, UINT32_MAX, addr(&data), addr(&len)))
        len = 0;
    return (struct text){at(data), len};
}

/* ---- entrypoints ---- */

static value entrypoint_ids(void) {
    value v = VALUE_UNDEFINED;
    if (!json_read(text_of(module_header()->entrypoints), false, &v, NULL)) v = object_new(0);
    return v;
}

static struct text entrypoint_names(value ids) {
    struct builder b = builder_new(64);
    for (uint32_t i = 0; i < object_len(ids); i++) {
        if (i > 0) builder_c(&b, ", ");
        builder_text(&b, text_of(object_sorted(ids)[i].key));
    }
    return builder_view(&b);
}

static uint32_t entrypoint(const char *key, value v) {
    value ids = entrypoint_ids();
    if (!is_string(v)) fail(key, TEXT(""), " must be a string");
    value id = object_get(ids, v);
    if (is_defined(id)) return (uint32_t)value_integer(id);
    struct builder b = builder_new(128);
    builder_text(&b, TEXT(" names no entrypoint of this module: "));
    json_write_string(&b, text_of(v));
    builder_text(&b, TEXT("; it has: "));
    builder_text(&b, entrypoint_names(ids));
    fail(key, builder_view(&b), "");
}

/* ---- the other keys ---- */

static enum extent extent(const char *key, value v) {
    if (is_string(v)) {
        if (text_equal(text_of(v), TEXT("none"))) return EXTENT_NONE;
        if (text_equal(text_of(v), TEXT("denials"))) return EXTENT_DENIALS;
        if (text_equal(text_of(v), TEXT("all"))) return EXTENT_ALL;
    }
    fail(key, TEXT(""), " must be \"all\", \"denials\" or \"none\"");
}

static uint32_t bytes(value v) {
    bool fits = value_tag(v) == TAG_INTEGER && value_integer(v) >= 0 && value_integer(v) <= 1 << 24;
    if (!fits) fail("max_body_bytes must be a number from 0 to 16777216", TEXT(""), "");
    return (uint32_t)value_integer(v);
}

static bool is_token(struct text t) {
    for (uint32_t i = 0; i < t.len; i++) {
        uint8_t c = t.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return t.len > 0 && t.len <= HEADER_NAME_MAX;
}

static void decision_header(struct root *r, value v) {
    if (!is_string(v) || !is_token(text_of(v)))
        fail("decision_header must be a header name in lower case, of at most 64 characters",
             TEXT(""), "");
    r->decision_header_len = text_of(v).len;
    bytes_copy((uint8_t *)r->decision_header, text_of(v).ptr, text_of(v).len);
}

static void read_key(struct root *r, struct text key, value v) {
    if (text_equal(key, TEXT("entrypoint"))) {
        r->entrypoint = entrypoint("entrypoint", v);
    } else if (text_equal(key, TEXT("decision_entrypoint"))) {
        r->decision = entrypoint("decision_entrypoint", v);
        r->has_decision = true;
    } else if (text_equal(key, TEXT("log"))) {
        r->log = extent("log", v);
    } else if (text_equal(key, TEXT("metadata"))) {
        r->metadata = extent("metadata", v);
    } else if (text_equal(key, TEXT("max_body_bytes"))) {
        r->body_max = bytes(v);
    } else if (text_equal(key, TEXT("decision_header"))) {
        decision_header(r, v);
    } else {
        fail("there is no key \"", key,
             "\": entrypoint, decision_entrypoint, log, metadata, max_body_bytes, decision_header");
    }
}

void config_read(void) {
    struct text t = configuration();
    struct json_problem problem;
    value v = VALUE_UNDEFINED;
    struct root *r = filter.root;
    *r = (struct root){.id = r->id, .log = EXTENT_DENIALS, .metadata = EXTENT_DENIALS};
    r->body_max = document_names_body() ? BODY_MAX_DEFAULT : 0;
    if (t.len > 0 && !json_read(t, false, &v, &problem))
        fail("the plugin configuration is no JSON: ", TEXT(""), problem.message);
    if (!is_object(v)) v = t.len == 0 ? object_new(0) : v;
    if (!is_object(v)) fail("the plugin configuration must be a JSON object", TEXT(""), "");
    bool named = is_defined(object_get_text(v, TEXT("entrypoint")));
    if (!named && module_header()->n_entrypoints != 1)
        fail("\"entrypoint\" is missing; this module has: ", entrypoint_names(entrypoint_ids()),
             "");
    for (uint32_t i = 0; i < object_len(v); i++)
        read_key(r, text_of(object_pairs(v)[i].key), object_pairs(v)[i].value);
}
