/* URL queries: escaping, and objects to and from "a=1&a=2&b=3" (Go's net/url).
 * in:  strings, objects of strings or lists of strings
 * out: strings, objects of arrays of strings
 * owns: nothing */
#include "runtime/builtins/builtin.h"

static bool is_unreserved(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}
static void escape(struct builder *b, struct text t) {
    for (uint32_t i = 0; i < t.len; i++) {
        uint8_t c = t.ptr[i];
        if (is_unreserved(c)) {
            builder_put(b, c);
        } else if (c == ' ') {
            builder_put(b, '+');
        } else {
            builder_put(b, '%');
            builder_put(b, (uint8_t) "0123456789ABCDEF"[c >> 4]);
            builder_put(b, (uint8_t) "0123456789ABCDEF"[c & 15]);
        }
    }
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* VALUE_UNDEFINED after an error: '%' without two hexadecimal digits. */
static value unescape(const char *builtin, struct text t) {
    struct builder b = builder_new(t.len);
    for (uint32_t i = 0; i < t.len; i++) {
        uint8_t c = t.ptr[i];
        if (c == '%') {
            int high = t.len - i > 2 ? hex_digit(t.ptr[i + 1]) : -1;
            int low = t.len - i > 2 ? hex_digit(t.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) {
                struct text bad = text_slice(t, i, t.len - i > 3 ? i + 3 : t.len);
                return error_with_text(builtin, "invalid URL escape \"", bad, "\"");
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        builder_put(&b, c);
    }
    return builder_string(&b);
}

RT_EXPORT value bi_urlquery_encode(value a) {
    NEED_STRING("urlquery.encode", 1, a);
    struct builder b = builder_new(value_length(a));
    escape(&b, text_of(a));
    return builder_string(&b);
}
RT_EXPORT value bi_urlquery_decode(value a) {
    NEED_STRING("urlquery.decode", 1, a);
    return unescape("urlquery.decode", text_of(a));
}

static void put_parameter(struct builder *b, value key, value v) {
    if (b->len > 0) builder_put(b, '&');
    escape(b, text_of(key));
    builder_put(b, '=');
    escape(b, text_of(v));
}
/* Keys as strings: others as their JSON text. */
static value string_keys(value object) {
    value out = object_new(object_len(object));
    for (uint32_t i = 0, n = object_len(object); i < n; i++) {
        struct pair p = object_pairs(object)[i];
        struct builder b = builder_new(0);
        if (!is_string(p.key)) json_write(&b, p.key, JSON_PLAIN);
        object_put(out, is_string(p.key) ? p.key : builder_string(&b), p.value);
    }
    return out;
}
static bool all_strings(value list) {
    const value *items = is_set(list) ? set_items(list) : array_items(list);
    for (uint32_t i = 0, n = collection_len(list); i < n; i++)
        if (!is_string(items[i])) return false;
    return true;
}
RT_EXPORT value bi_urlquery_encode_object(value a) {
    NEED_OBJECT("urlquery.encode_object", 1, a);
    struct builder b = builder_new(64);
    value object = string_keys(a);
    const struct pair *pairs = object_sorted(object);
    for (uint32_t i = 0, n = object_len(object); i < n; i++) {
        value v = pairs[i].value;
        if (!is_string(v) && !(is_list(v) && all_strings(v)))
            return bi_error("urlquery.encode_object",
                            "operand 1 values must be string, array[string], or set[string]");
        if (is_string(v))
            put_parameter(&b, pairs[i].key, v);
        else
            for (uint32_t k = 0, m = collection_len(v); k < m; k++)
                put_parameter(&b, pairs[i].key, list_items(v)[k]);
    }
    return builder_string(&b);
}

enum { MAX_PARAMETERS = 10000 }; /* net/url's limit */

/* Adds one "key=value" to out; false after an error. */
static bool read_parameter(value out, struct text part) {
    static const char name[] = "urlquery.decode_object";
    if (part.len == 0) return true;
    if (text_find(part, TEXT(";"), 0) >= 0) {
        bi_error(name, "invalid semicolon separator in query");
        return false;
    }
    int64_t found = text_find(part, TEXT("="), 0);
    uint32_t end = found < 0 ? part.len : (uint32_t)found;
    value key = unescape(name, text_slice(part, 0, end));
    if (!is_defined(key)) return false;
    value v = unescape(name, text_slice(part, end < part.len ? end + 1 : end, part.len));
    if (!is_defined(v)) return false;
    value list = object_get(out, key);
    if (!is_defined(list)) object_put(out, key, list = array_new(1));
    array_push(list, v);
    return true;
}
RT_EXPORT value bi_urlquery_decode_object(value a) {
    NEED_STRING("urlquery.decode_object", 1, a);
    struct text t = text_of(a);
    value out = object_new(0);
    for (uint32_t i = 0, n = 0; i < t.len;) {
        int64_t found = text_find(t, TEXT("&"), i);
        if (found >= 0 && ++n == MAX_PARAMETERS)
            return bi_error("urlquery.decode_object",
                            "number of URL query parameters exceeded limit");
        uint32_t end = found < 0 ? t.len : (uint32_t)found;
        if (!read_parameter(out, text_slice(t, i, end))) return VALUE_UNDEFINED;
        i = end + 1;
    }
    return out;
}
