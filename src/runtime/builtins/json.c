/* JSON builtins: marshal (with options), unmarshal, is_valid.
 * in:  any value; JSON text
 * out: text as Go's encoding/json writes it (with its HTML escapes); values
 * owns: nothing */
#include "runtime/builtins/builtin.h"

/* JSON text as Go has it: bytes in it that are no UTF-8 become the escape of U+FFFD. */
static value repaired(struct builder *json) {
    struct text t = builder_view(json);
    if (utf8_valid(t)) return builder_string(json);
    struct builder b = builder_new(t.len);
    for (uint32_t i = 0, from = 0, cp; i < t.len; from = i) {
        if (utf8_decode_checked(t, &i, &cp))
            builder_text(&b, text_slice(t, from, i));
        else
            builder_c(&b, "\\ufffd");
    }
    return builder_string(&b);
}

RT_EXPORT value bi_json_marshal(value a) {
    struct builder b = builder_new(64);
    json_write(&b, a, JSON_HTML);
    return repaired(&b);
}

struct marshal_options {
    struct text prefix, indent;
    bool wants_lines, pretty_given, pretty;
};
/* False after an error. */
static bool read_option(value key, value v, struct marshal_options *o) {
    static const char name[] = "json.marshal_with_options";
    bool prefix = is_string(key) && text_equal(text_of(key), TEXT("prefix"));
    bool indent = is_string(key) && text_equal(text_of(key), TEXT("indent"));
    bool pretty = is_string(key) && text_equal(text_of(key), TEXT("pretty"));
    if (!prefix && !indent && !pretty) {
        struct builder b = builder_new(16);
        term_write(&b, key);
        error_with_text(name, "operand 2 object contained unknown key ", builder_view(&b), "");
    } else if (pretty && !is_boolean(v)) {
        bi_error(name, "operand 2 key pretty failed cast to bool");
    } else if (!pretty && !is_string(v)) {
        bi_error(name, prefix ? "operand 2 key prefix failed cast to string"
                              : "operand 2 key indent failed cast to string");
    } else {
        if (prefix) o->prefix = text_of(v);
        if (indent) o->indent = text_of(v);
        if (pretty)
            o->pretty_given = true, o->pretty = v == VALUE_TRUE;
        else
            o->wants_lines = true;
        return true;
    }
    return false;
}

RT_EXPORT value bi_json_marshal_with_options(value a, value options) {
    NEED_OBJECT("json.marshal_with_options", 2, options);
    struct marshal_options o = {.prefix = TEXT(""), .indent = TEXT("\t")};
    for (uint32_t i = 0, n = object_len(options); i < n; i++) {
        struct pair p = object_pairs(options)[i];
        if (!read_option(p.key, p.value, &o)) return VALUE_UNDEFINED;
    }
    struct builder b = builder_new(64);
    bool lines = o.pretty_given ? o.pretty : o.wants_lines;
    if (lines) builder_text(&b, o.prefix); /* OPA: before the first line too */
    if (lines)
        json_write_indented(&b, a, JSON_HTML, o.prefix, o.indent);
    else
        json_write(&b, a, JSON_HTML);
    return repaired(&b);
}

RT_EXPORT value bi_json_unmarshal(value a) {
    NEED_STRING("json.unmarshal", 1, a);
    value out;
    struct json_problem problem;
    if (json_read(text_of(a), false, &out, &problem)) return out;
    return bi_error("json.unmarshal", problem.message);
}
RT_EXPORT value bi_json_is_valid(value a) {
    value out;
    return value_of_boolean(is_string(a) && json_read(text_of(a), false, &out, NULL));
}
