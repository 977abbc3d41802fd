/* Paths, queries and bodies, taken apart as opa-envoy-plugin does.
 * in: texts of the request. out: values. owns: nothing. */
#include "runtime/proxy/filter.h"

/* ---- percent encoding ---- */

static int32_t hex(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False on a '%' without two digits. `form`: '+' is a space. */
static bool decode(struct text t, bool form, struct text *out) {
    if (text_find(t, TEXT("%"), 0) < 0 && (!form || text_find(t, TEXT("+"), 0) < 0)) {
        *out = t;
        return true;
    }
    uint8_t *to = rt_alloc(t.len);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t.len; i++) {
        uint8_t c = t.ptr[i];
        if (c == '%') {
            int32_t high = t.len - i > 2 ? hex(t.ptr[i + 1]) : -1;
            int32_t low = high >= 0 ? hex(t.ptr[i + 2]) : -1;
            if (low < 0) return false;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (form && c == '+') {
            c = ' ';
        }
        to[n++] = c;
    }
    *out = (struct text){to, n};
    return true;
}

static struct text before_query(struct text path) {
    int64_t mark = text_find(path, TEXT("?"), 0);
    return mark < 0 ? path : text_slice(path, 0, (uint32_t)mark);
}

static struct text decoded_path(struct text path) {
    struct text t;
    if (!decode(before_query(path), false, &t))
        rt_fail("input", "the path has a bad percent escape");
    return t;
}

void parse_check_path(struct text path) {
    if (text_find(path, TEXT("%"), 0) >= 0) (void)decoded_path(path);
}

/* Cut at '?', decoded, without leading slashes, split; dot segments stay, as in the plugin. */
value parse_path(struct text path) {
    struct text t = request_clean(decoded_path(path));
    value parts = array_new(8);
    while (t.len > 0 && t.ptr[0] == '/') t = text_slice(t, 1, t.len);
    for (uint32_t i = 0;; i++) {
        uint32_t start = i;
        while (i < t.len && t.ptr[i] != '/') i++;
        array_push(parts, string_view(text_slice(t, start, i)));
        if (i >= t.len) return parts;
    }
}

/* ---- key=value&… ---- */

/* An object of lists. Pairs with bad escapes or semicolons are left out, or with `strict` make the
 * result undefined. */
static value form_values(struct text t, bool strict) {
    value object = object_new(4);
    for (uint32_t i = 0; i < t.len; i++) {
        uint32_t start = i;
        while (i < t.len && t.ptr[i] != '&') i++;
        struct text pair = text_slice(t, start, i), key, v;
        if (pair.len == 0) continue;
        int64_t equals = text_find(pair, TEXT("="), 0);
        struct text name = text_slice(pair, 0, equals < 0 ? pair.len : (uint32_t)equals);
        struct text rest = text_slice(pair, equals < 0 ? pair.len : (uint32_t)equals + 1, pair.len);
        if (text_find(pair, TEXT(";"), 0) >= 0 || !decode(name, true, &key) ||
            !decode(rest, true, &v)) {
            if (strict) return VALUE_UNDEFINED;
            continue;
        }
        value k = string_view(request_clean(key)), list = object_get(object, k);
        if (!is_defined(list)) object_put(object, k, list = array_new(1));
        array_push(list, string_view(request_clean(v)));
    }
    return object;
}

value parse_query(struct text path) {
    int64_t mark = text_find(path, TEXT("?"), 0);
    uint32_t from = mark < 0 ? path.len : (uint32_t)mark + 1;
    return form_values(text_slice(path, from, path.len), false);
}

/* ---- bodies ---- */

static value json_body(struct text t) {
    value v;
    if (!json_read(request_clean(t), false, &v, NULL))
        rt_fail("input", "the JSON body cannot be parsed");
    return v;
}

/* Content-length promises more than is there. */
static bool promises_more(struct text length, uint32_t bytes) {
    uint64_t n = 0;
    if (length.ptr == NULL) return false;
    for (uint32_t i = 0; i < length.len; i++) {
        if (length.ptr[i] < '0' || length.ptr[i] > '9' || i > 17)
            rt_fail("input", "content-length is no number");
        n = n * 10 + (uint64_t)(length.ptr[i] - '0');
    }
    return n > bytes;
}

bool parse_body_is_cut(void) {
    const struct request *q = &filter.request;
    return q->body_cut ||
           (q->has_body && promises_more(request_header(TEXT("content-length")), q->body.len));
}

value parse_body(void) {
    const struct request *q = &filter.request;
    struct text type = request_header(TEXT("content-type"));
    if (parse_body_is_cut() || q->body.len == 0 || type.ptr == NULL) return VALUE_NULL;
    if (text_find(type, TEXT("application/json"), 0) >= 0) return json_body(q->body);
    if (text_find(type, TEXT("multipart/form-data"), 0) >= 0)
        rt_fail("input", "multipart bodies are not supported");
    if (text_find(type, TEXT("application/grpc"), 0) >= 0) return VALUE_NULL;
    if (text_find(type, TEXT("application/x-www-form-urlencoded"), 0) < 0) return VALUE_NULL;
    value form = form_values(q->body, true);
    if (!is_defined(form)) rt_fail("input", "the form data cannot be parsed");
    return form;
}
