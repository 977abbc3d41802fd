/* Values as Rego text, as OPA's Value.String() gives it.
 * in:  a value
 * out: text such as {"a": [1, "x"]}, appended to a builder
 * owns: nothing */
#include "runtime/builtins/builtin.h"
#include "runtime/builtins/unicode.h"

static void put_hex(struct builder *b, uint32_t v, int digits) {
    for (int i = digits - 1; i >= 0; i--)
        builder_put(b, (uint8_t) "0123456789abcdef"[v >> (4 * i) & 15]);
}

/* The letter of a one-letter escape, or 0. */
static uint8_t escape_letter(uint32_t cp) {
    return cp >= 7 && cp <= 13 ? (uint8_t) "abtnvfr"[cp - 7] : 0;
}

void term_quote_char(struct builder *b, uint32_t cp, uint8_t quote, bool ascii) {
    if (cp == quote || cp == '\\') {
        builder_put(b, '\\');
        builder_put(b, (uint8_t)cp);
    } else if (rune_is_print(cp) && !(ascii && cp >= 0x80)) {
        builder_code_point(b, cp);
    } else if (escape_letter(cp)) {
        builder_put(b, '\\');
        builder_put(b, escape_letter(cp));
    } else if (cp < ' ' || cp == 0x7f) {
        builder_c(b, "\\x");
        put_hex(b, cp, 2);
    } else {
        builder_c(b, cp < 0x10000 ? "\\u" : "\\U");
        put_hex(b, cp, cp < 0x10000 ? 4 : 8);
    }
}

void term_quote(struct builder *b, struct text t, bool ascii) {
    builder_put(b, '"');
    for (uint32_t i = 0, cp; i < t.len;) {
        uint8_t byte = t.ptr[i];
        if (utf8_decode_checked(t, &i, &cp)) {
            term_quote_char(b, cp, '"', ascii);
        } else {
            builder_c(b, "\\x");
            put_hex(b, byte, 2);
        }
    }
    builder_put(b, '"');
}

static void write_value(struct builder *b, value v, uint32_t depth);

static void write_items(struct builder *b, const value *items, uint32_t n, uint32_t depth) {
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) builder_c(b, ", ");
        write_value(b, items[i], depth);
    }
}
static void write_object(struct builder *b, value v, uint32_t depth) {
    const struct pair *pairs = object_sorted(v);
    builder_put(b, '{');
    for (uint32_t i = 0, n = object_len(v); i < n; i++) {
        if (i > 0) builder_c(b, ", ");
        write_value(b, pairs[i].key, depth);
        builder_c(b, ": ");
        write_value(b, pairs[i].value, depth);
    }
    builder_put(b, '}');
}

static void write_value(struct builder *b, value v, uint32_t depth) {
    check_depth(++depth);
    switch (value_tag(v)) {
    case TAG_NULL: builder_c(b, "null"); break;
    case TAG_BOOLEAN: builder_c(b, v == VALUE_TRUE ? "true" : "false"); break;
    case TAG_INTEGER:
    case TAG_NUMBER: builder_number(b, v); break;
    case TAG_STRING: term_quote(b, text_of(v), false); break;
    case TAG_ARRAY:
        builder_put(b, '[');
        write_items(b, array_items(v), array_len(v), depth);
        builder_put(b, ']');
        break;
    case TAG_OBJECT: write_object(b, v, depth); break;
    case TAG_SET:
        if (set_len(v) == 0) {
            builder_c(b, "set()");
            break;
        }
        builder_put(b, '{');
        write_items(b, set_sorted(v), set_len(v), depth);
        builder_put(b, '}');
        break;
    default: builder_c(b, "<undefined>");
    }
}

void term_write(struct builder *b, value v) { write_value(b, v, 0); }
